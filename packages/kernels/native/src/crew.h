// How many threads take part in a job: all of them, unless others on this machine keep ours from running. A thread that is put
// aside in the middle of its task holds up the whole job, so that fewer threads are then faster.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>

namespace xgen {

class Crew {
  using Clock = std::chrono::steady_clock;

 public:
  void reset(int size) {
    size_ = size;
    active_.store(size, std::memory_order_relaxed);
    patience_ = kShortest;
  }

  int active() const { return active_.load(std::memory_order_relaxed); }

  // After a job: the caller did `tasks` tasks from `start` to `middle` and waited for the others until `end`.
  void learn(Clock::time_point start, Clock::time_point middle, Clock::time_point end, std::size_t tasks) {
    const Clock::duration waited = end - middle;
    const int count = active();
    if (count > 1 && waited > kStall && waited * static_cast<int>(tasks) > 4 * (middle - start)) {
      active_.store(count - 1, std::memory_order_relaxed);
      patience_ = std::min(patience_ * 2, kLongest);
      retry_ = end + patience_;
    } else if (count < size_ && end > retry_) {
      active_.store(count + 1, std::memory_order_relaxed);
      patience_ = std::max(patience_ / 2, kShortest);
      retry_ = end + patience_;
    }
  }

 private:
  static constexpr Clock::duration kStall = std::chrono::milliseconds(1);
  static constexpr Clock::duration kShortest = std::chrono::milliseconds(50);
  static constexpr Clock::duration kLongest = std::chrono::milliseconds(1600);
  int size_ = 1;
  std::atomic<int> active_{1};
  Clock::duration patience_ = kShortest;
  Clock::time_point retry_{};
};

}  // namespace xgen
