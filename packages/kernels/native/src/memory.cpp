#include "xgen/memory.h"

#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace xgen {

namespace {
constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t round_up(std::size_t value, std::size_t unit) { return (value + unit - 1) / unit * unit; }
}  // namespace

void* allocate_block(std::size_t bytes) {
  const bool huge = bytes >= kHugePage;
  const std::size_t alignment = huge ? kHugePage : kAlignment;
  const std::size_t size = round_up(bytes == 0 ? 1 : bytes, huge ? std::size_t{4096} : kAlignment);
  void* block = nullptr;
  if (posix_memalign(&block, alignment, size) != 0) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (huge) madvise(block, size, MADV_HUGEPAGE);  // A hint: its failure changes nothing but speed.
#endif
  return block;
}

void release_block(void* block) noexcept { std::free(block); }

Scratch::~Scratch() { release_block(data_); }

void* Scratch::reserve(std::size_t bytes) {
  if (bytes > capacity_) {
    release_block(data_);
    data_ = nullptr;
    capacity_ = 0;
    const std::size_t capacity = round_up(bytes + bytes / 4, 4096);
    data_ = allocate_block(capacity);
    capacity_ = capacity;
  }
  return data_;
}

Scratch& thread_scratch(ScratchSlot slot) {
  thread_local Scratch slots[static_cast<int>(ScratchSlot::count)];
  return slots[static_cast<int>(slot)];
}

}  // namespace xgen
