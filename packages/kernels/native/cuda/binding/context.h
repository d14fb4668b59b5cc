// What one JavaScript environment has on the device: a stream, memory, arrays by handle, staging memory, error flags, graphs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <string>
#include <vector>

#include "staging.h"
#include "xgen/cuda/allocator.h"
#include "xgen/cuda/fused_attention.h"
#include "xgen/cuda/runtime.h"
#include "xgen/cuda/matmul.h"
#include "xgen/cuda/operations.h"

namespace xgen::cuda::binding {

std::size_t element_bytes(ElementType type);
const char* type_name(ElementType type);

// A device array as JavaScript holds it: a positive number, 0 for none. A number of an array that is gone is recognised.
using Handle = std::int32_t;

struct DeviceArray {
  void* data = nullptr;
  std::size_t count = 0;
  ElementType type = ElementType::float32;
};

// The operations whose kernels check indices: each has its own flag, so that a bad one is reported with its operation.
enum class Checked : std::uint32_t { embedding, embedding_grad, attention, attention_grad, cache_append, paged_attention, cross_entropy, count };

class Context {
 public:
  explicit Context(int ordinal);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const int ordinal;
  const Stream stream;
  Allocator allocator;
  Matmul matmul;
  FusedAttention fused_attention;
  Staging staging;
  // Fills new arrays with 0xFF (NaN, -1) before a kernel writes them: for tests.
  bool poison = false;
  Float32Products float32_products = Float32Products::exact;
  // Only kernels that give the same bits on every run.
  bool deterministic = false;
  // cuDNN's attention wherever it takes the case, even where a kernel here is faster: for comparisons.
  bool library_attention = false;

  Handle create(std::size_t count, ElementType type, Allocator::Label who);
  void release(Handle handle);
  const DeviceArray& at(Handle handle) const;
  // The handle keeps its number and stands for other memory from now on; what it had is released.
  void replace(Handle handle, const DeviceArray& with);

  void upload(Handle handle, const void* from, std::size_t bytes);
  std::size_t bytes_of(const std::vector<Handle>& handles) const;
  // Several arrays, whose elements lie one behind the other.
  void upload_together(const std::vector<Handle>& handles, const void* from);
  // Copies to device memory through staging memory; `from` may go at once. A graph that is being recorded copies the same at every replay.
  void copy_in(void* to, const void* from, std::size_t bytes);
  // Queues a copy of the array, converted to `as`, and of the error flags; `finish_read` may be called from any thread and throws what
  // kernels found wrong.
  struct Read {
    StagingBlock block;
    std::size_t bytes = 0;
    Event event = nullptr;
  };
  Read start_read(Handle handle, ElementType as);
  void wait_read(const Read& read) const;                        // any thread
  void finish_read(Read& read, void* to);                        // this thread, after wait_read
  void read_now(Handle handle, ElementType as, void* to);
  // Several arrays as they are, one behind the other, with one wait.
  void read_together(const std::vector<Handle>& handles, void* to);

  ErrorFlag* flag(Checked operation) const { return flags_ + static_cast<std::size_t>(operation); }
  // What paged attention counts its blocks with.
  std::uint32_t* arrivals() const { return arrivals_; }
  void* matmul_workspace();

  void begin_capture();
  std::uint32_t end_capture();
  void abandon_capture() noexcept;
  void replay(std::uint32_t graph);
  void destroy_graph(std::uint32_t graph);
  bool capturing() const { return capture_pool_ != 0; }
  // Whether no kernel that may still run when the next one begins writes an array's memory (FewRowsOptions): what a recorded graph reads from before
  // the recording was written before the graph begins, unless the graph itself changes it in place, as adamW does.
  bool settled(const void* data) const;
  void changes_in_place(const void* data);

 private:
  struct Slot {
    DeviceArray array;
    std::uint32_t generation = 1;
    bool live = false;
  };
  struct Captured {
    Graph graph = nullptr;
    Allocator::Pool pool = 0;
    std::vector<StagingBlock> uploads;
  };
  Slot& slot(Handle handle);
  void give_back_after_copy(const StagingBlock& block);
  void mark_read(Read& read);
  void check_flags(const ErrorFlag* flags);

  std::vector<Slot> slots_{1};  // number 0 stands for no array
  std::vector<std::uint32_t> free_slots_;
  ErrorFlag* flags_ = nullptr;
  std::uint32_t* arrivals_ = nullptr;
  void* matmul_workspace_ = nullptr;
  std::unordered_map<std::uint32_t, Captured> graphs_;
  std::uint32_t last_graph_ = 0;
  Allocator::Pool capture_pool_ = 0;
  std::vector<StagingBlock> capture_uploads_;
  std::unordered_set<const void*> capture_changes_;
};

// Device memory for the time of one call: the allocator hands it out again in stream order.
class Workspace {
 public:
  Workspace(Context& context, std::size_t bytes);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  Context& context_;
  void* data_ = nullptr;
};

}  // namespace xgen::cuda::binding
