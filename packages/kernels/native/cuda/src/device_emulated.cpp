// The device emulated by this process: memory from the heap, launches that run at once, graphs as lists of closures.
//
// Fresh memory is filled with 0xFF (NaN in float32 and bfloat16, -1 in integers), so that reading what no one wrote shows.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <unordered_map>
#include <utility>
#include <vector>

#include "xgen/cuda/runtime.h"
#include "xgen/cuda/emulation.h"
#include "xgen/error.h"

namespace xgen::cuda {

namespace {

using Work = std::function<void()>;
using Recording = std::vector<Work>;
using Clock = std::chrono::steady_clock;

struct EmulatedStream {
  bool capturing = false;
  Recording recording;
};
struct EmulatedEvent {
  Clock::time_point time;
};

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kDefaultCapacity = std::size_t{16} << 30;

std::mutex memory_mutex;
std::unordered_map<void*, std::size_t> allocations;  // guarded by memory_mutex
std::size_t allocated = 0;                           // guarded by memory_mutex
std::atomic<std::size_t> capacity{kDefaultCapacity};

EmulatedStream& stream_of(Stream stream) {
  if (stream == nullptr) throw Error("CUDA_FAILURE", "There is no stream.");
  return *static_cast<EmulatedStream*>(stream);
}

void* aligned_block(std::size_t bytes) {
  void* block = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

// Kernels' launches take the same way as copies.
[[maybe_unused]] const bool hooked = (emulation::submit_hook = submit) != nullptr;

}  // namespace

Probe probe_device() noexcept { return {true, "", ""}; }

DeviceProperties device_properties(int) {
  DeviceProperties properties;
  properties.name = "emulated device";
  properties.total_bytes = capacity;
  properties.multiprocessors = 1;
  properties.shared_bytes_a_block = 227 * 1024;
  return properties;
}

int device_count() { return 1; }

void use_device(int ordinal) {
  if (ordinal != 0) throw Error("CUDA_FAILURE", "There is one emulated device, number 0.");
}

void device_memory(std::size_t* free_bytes, std::size_t* total_bytes) {
  const std::lock_guard lock(memory_mutex);
  *total_bytes = capacity;
  *free_bytes = allocated < *total_bytes ? *total_bytes - allocated : 0;
}

void* device_allocate(std::size_t bytes) {
  const std::lock_guard lock(memory_mutex);
  if (bytes > capacity || allocated > capacity - bytes) return nullptr;
  void* block = aligned_block(bytes);
  std::memset(block, 0xFF, bytes);
  allocations[block] = bytes;
  allocated += bytes;
  return block;
}

void device_release(void* memory) noexcept {
  const std::lock_guard lock(memory_mutex);
  const auto found = allocations.find(memory);
  if (found == allocations.end()) return;
  allocated -= found->second;
  allocations.erase(found);
  std::free(memory);
}

void* pinned_allocate(std::size_t bytes) { return aligned_block(bytes); }
void pinned_release(void* memory) noexcept { std::free(memory); }

Stream create_stream() { return new EmulatedStream(); }
void destroy_stream(Stream stream) noexcept { delete static_cast<EmulatedStream*>(stream); }
void set_profiling(bool) noexcept {}

void synchronize(Stream stream) {
  if (stream_of(stream).capturing) throw Error("CUDA_FAILURE", "A stream that is being captured cannot be waited for.");
}

Event create_event(bool) { return new EmulatedEvent(); }
void destroy_event(Event event) noexcept { delete static_cast<EmulatedEvent*>(event); }
void record_event(Event event, Stream stream) {
  submit(stream, [event] { static_cast<EmulatedEvent*>(event)->time = Clock::now(); });
}
bool event_finished(Event) { return true; }
void wait_event(Event) {}
float elapsed_milliseconds(Event start, Event end) {
  const auto difference = static_cast<EmulatedEvent*>(end)->time - static_cast<EmulatedEvent*>(start)->time;
  return std::chrono::duration<float, std::milli>(difference).count();
}

void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) { copy_on_device(to, from, bytes, stream); }
void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) { copy_on_device(to, from, bytes, stream); }
void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  if (bytes > 0) submit(stream, [=] { std::memcpy(to, from, bytes); });
}
void fill_bytes(void* memory, std::uint8_t value, std::size_t bytes, Stream stream) {
  if (bytes > 0) submit(stream, [=] { std::memset(memory, value, bytes); });
}

void begin_capture(Stream stream) {
  EmulatedStream& one = stream_of(stream);
  if (one.capturing) throw Error("CUDA_FAILURE", "The stream is being captured already.");
  one.capturing = true;
  one.recording.clear();
}

Graph end_capture(Stream stream) {
  EmulatedStream& one = stream_of(stream);
  if (!one.capturing) throw Error("CUDA_FAILURE", "The stream is not being captured.");
  one.capturing = false;
  return new Recording(std::exchange(one.recording, {}));
}

void abandon_capture(Stream stream) noexcept {
  auto* one = static_cast<EmulatedStream*>(stream);
  one->capturing = false;
  one->recording.clear();
}

bool is_capturing(Stream stream) { return stream_of(stream).capturing; }

void launch_graph(Graph graph, Stream stream) {
  const auto* recording = static_cast<Recording*>(graph);
  for (const Work& work : *recording) submit(stream, work);
}

void destroy_graph(Graph graph) noexcept { delete static_cast<Recording*>(graph); }

void submit(Stream stream, Work work) {
  EmulatedStream& one = stream_of(stream);
  if (one.capturing) one.recording.push_back(std::move(work));
  else work();
}

void set_emulated_capacity(std::size_t bytes) { capacity = bytes; }

}  // namespace xgen::cuda
