// Aligned memory: blocks for tensors, and scratch space that each thread keeps between calls.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xgen {

constexpr std::size_t kAlignment = 64;

// At least `bytes` bytes, aligned to a cache line, not initialised; blocks of 2 MiB and more ask for huge pages.
// Throws std::bad_alloc. Free with release_block.
void* allocate_block(std::size_t bytes);
void release_block(void* block) noexcept;

// A growing buffer; its content is lost when it grows.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();

  // Room for `bytes` bytes, aligned to a cache line.
  void* reserve(std::size_t bytes);
  template <class T>
  T* reserve_array(std::size_t count) {
    return static_cast<T*>(reserve(count * sizeof(T)));
  }

 private:
  void* data_ = nullptr;
  std::size_t capacity_ = 0;
};

// Scratch of the calling thread, by purpose: two users of one slot must not overlap in time.
enum class ScratchSlot { task, packed_right, operation, gather, count };
Scratch& thread_scratch(ScratchSlot slot);

// Hands out pieces of one reserved buffer, each on its own cache line. First pass: add up sizes; second: take pointers.
class ScratchLayout {
 public:
  template <class T>
  std::size_t add(std::size_t count) {
    const std::size_t offset = size_;
    size_ += (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return offset;
  }
  std::size_t size() const { return size_; }

 private:
  std::size_t size_ = 0;
};

}  // namespace xgen
