#include "staging.h"

namespace xgen::cuda::binding {

namespace {
constexpr std::size_t kSmallest = 4096;
constexpr std::size_t kKept = std::size_t{256} << 20;
}  // namespace

Staging::~Staging() {
  for (const Pending& one : pending_) {
    try {
      wait_event(one.event);
    } catch (...) {
      // The device is lost; its memory goes all the same.
    }
    destroy_event(one.event);
    pinned_release(one.block.data);
  }
  for (const auto& [bytes, data] : free_) pinned_release(data);
  for (const Event one : events_) destroy_event(one);
}

StagingBlock Staging::take(std::size_t bytes) {
  collect();
  std::size_t size = kSmallest;
  while (size < bytes) size *= 2;
  const auto found = free_.find(size);
  if (found == free_.end()) return {pinned_allocate(size), size};
  const StagingBlock block{found->second, size};
  free_.erase(found);
  free_bytes_ -= size;
  return block;
}

void Staging::give_back(StagingBlock block) {
  if (free_bytes_ + block.bytes > kKept) {
    pinned_release(block.data);
    return;
  }
  free_.emplace(block.bytes, block.data);
  free_bytes_ += block.bytes;
}

void Staging::give_back_after(StagingBlock block, Stream stream) {
  const Event marker = event();
  record_event(marker, stream);
  pending_.push_back({block, marker});
}

void Staging::collect() {
  std::size_t done = 0;
  // In stream order: behind one that is not finished none is.
  while (done < pending_.size() && event_finished(pending_[done].event)) {
    give_back(pending_[done].block);
    events_.push_back(pending_[done].event);
    done++;
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(done));
}

Event Staging::event() {
  if (events_.empty()) return create_event(false);
  const Event one = events_.back();
  events_.pop_back();
  return one;
}

}  // namespace xgen::cuda::binding
