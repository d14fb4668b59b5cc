// A caching allocator for one stream.
//
// Memory comes from the device in segments, is cut to size and kept when released: the next request in stream order may have it
// at once, with no wait. Neighbours that are free grow together again. Requests of up to 1 MiB share segments of 2 MiB; larger ones
// take the smallest free block that fits, and leave the rest where it is worth it. Cost: one search in a balanced tree.
//
// When the device has no more: whatever segments are free as a whole go back to it, it is asked once more, and then
// xgen::Error("OUT_OF_MEMORY") says how much is held and by which operations.
//
// Not for several threads at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "xgen/cuda/runtime.h"

namespace xgen::cuda {

class Allocator {
 public:
  using Label = std::uint32_t;  // who asked; see `label`
  using Pool = std::uint32_t;   // 0: the common one
  struct Holder {
    std::string name;
    std::size_t blocks, bytes;
  };
  struct Statistics {
    std::size_t live_bytes, live_blocks;  // handed out, as rounded up
    std::size_t reserved_bytes;           // taken from the device: live, cached, and lost between
    std::size_t peak_live_bytes, peak_reserved_bytes;
    std::size_t device_allocations;       // times the device was asked
    std::vector<Holder> by_size;          // live, by powers of two, smallest first
    std::vector<Holder> by_label;         // live, largest first
  };

  // `before_release` runs before memory goes back to the device: the place to wait for the stream.
  explicit Allocator(std::function<void()> before_release);
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  Label label(const std::string& name);

  // At least `bytes` bytes (at least one), aligned to 256.
  void* allocate(std::size_t bytes, Label who);
  void release(void* memory);

  // Gives every segment that is free as a whole back to the device.
  void release_cached();

  // A captured graph keeps using the memory that its launches were given. Between the two calls all requests are served from a
  // pool of their own, which nothing else is served from until it is retired.
  Pool begin_private_pool();
  void end_private_pool();
  // What is free in it joins the common pool at once, what is live when it is released.
  void retire_private_pool(Pool pool);
  // Whether what `allocate` returned, and nobody has released, came from the pool that requests are served from now.
  bool from_current_pool(const void* memory) const;

  Statistics statistics() const;
  void reset_peaks();

 private:
  struct Block;
  struct Segment {
    void* memory;
    std::size_t bytes;
    Pool pool;
    bool small;
    Block* first;
  };
  struct Block {
    Segment* segment;
    char* data;
    std::size_t bytes;
    Block *previous, *next;  // neighbours in the segment
    bool live;
    Label who;
  };
  struct BySize {
    bool operator()(const Block* a, const Block* b) const { return a->bytes != b->bytes ? a->bytes < b->bytes : a->data < b->data; }
  };
  using FreeBlocks = std::set<Block*, BySize>;

  FreeBlocks& free_blocks(const Segment& segment) { return free_[{segment.pool, segment.small}]; }
  Block* take_cached(std::size_t bytes, bool small);
  Block* reserve(std::size_t bytes, bool small);
  void split(Block* block, std::size_t bytes);
  Block* merge(Block* block, Block* with);
  [[noreturn]] void out_of_memory(std::size_t bytes, Label who) const;

  std::function<void()> before_release_;
  std::map<std::pair<Pool, bool>, FreeBlocks> free_;
  std::vector<std::unique_ptr<Segment>> segments_;
  std::unordered_map<void*, Block*> live_;
  std::vector<std::string> labels_;
  std::unordered_map<std::string, Label> label_numbers_;
  Pool current_ = 0, last_pool_ = 0;
  std::size_t live_bytes_ = 0, reserved_bytes_ = 0, peak_live_ = 0, peak_reserved_ = 0, device_allocations_ = 0;
};

// "1.5 GiB"
std::string bytes_text(std::size_t bytes);

}  // namespace xgen::cuda
