#include "xgen/thread_pool.h"

#include "crew.h"
#include "flush_denormals.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace xgen {

namespace {

// A job's state in one word, so that taking an index and checking that it belongs to the current job are one step:
// 24 bits of generation, 20 of task count, 20 of the next index. A thread that wakes late can only fail to take.
constexpr int kCountBits = 20;
constexpr std::uint64_t kCountMask = (std::uint64_t{1} << kCountBits) - 1;
// How long a thread without work stays awake. The first part it spins; for the rest it yields, so that others on a busy machine
// get its core. Sleeping sooner costs more than the wake-up: schedulers that pack woken threads on few cores put two of
// ours on one (measured: products of half a millisecond at 50 to 70 % of the rate, docs/log.md).
constexpr std::chrono::steady_clock::duration kSpinTime = std::chrono::microseconds(50);
constexpr std::chrono::steady_clock::duration kAwakeTime = std::chrono::milliseconds(2);

std::uint64_t next_index(std::uint64_t ticket) { return ticket & kCountMask; }
std::uint64_t task_count(std::uint64_t ticket) { return (ticket >> kCountBits) & kCountMask; }

void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

using Clock = std::chrono::steady_clock;

thread_local bool inside_task = false;

class Pool {
 public:
  Pool() { crew_.reset(size()); }

  int size() const { return size_.load(std::memory_order_relaxed); }

  void resize(int count) {
    std::lock_guard<std::mutex> lock(job_mutex_);
    stop_threads();
    size_.store(std::max(1, count), std::memory_order_relaxed);
    crew_.reset(size());
  }

  void retain() {
    std::lock_guard<std::mutex> lock(job_mutex_);
    references_++;
  }

  void release() {
    std::lock_guard<std::mutex> lock(job_mutex_);
    if (--references_ == 0) stop_threads();
  }

  void run(std::size_t count, TaskFunction function, void* context) {
    if (count == 0) return;
    const FlushDenormals flush;
    if (count == 1 || size() == 1 || inside_task || count >= kCountMask) return run_alone(count, function, context);
    std::unique_lock<std::mutex> lock(job_mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return run_alone(count, function, context);
    const Clock::time_point start = Clock::now();
    if (crew_.active() == 1) {
      crew_.learn(start, start, start, 0);
      lock.unlock();
      return run_alone(count, function, context);
    }
    start_threads();

    function_ = function;
    context_ = context;
    error_ = nullptr;
    completed_.store(0, std::memory_order_relaxed);
    generation_ = (generation_ + 1) & 0xffffff;
    const std::uint64_t base = (generation_ << (2 * kCountBits)) | (static_cast<std::uint64_t>(count) << kCountBits);
    ticket_.store(base, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) {
      { std::lock_guard<std::mutex> sleep_lock(sleep_mutex_); }
      wake_.notify_all();
    }

    std::size_t own = 0;
    inside_task = true;
    while (take_one()) own++;
    inside_task = false;
    const Clock::time_point middle = Clock::now();
    join(count);
    crew_.learn(start, middle, Clock::now(), own);
    if (error_) std::rethrow_exception(error_);
  }

 private:
  static void run_alone(std::size_t count, TaskFunction function, void* context) {
    for (std::size_t index = 0; index < count; index++) function(context, index);
  }

  // Spins, then yields, then sleeps: on a busy machine the thread that has the last task may be waiting for this very core.
  void join(std::size_t count) {
    const Clock::time_point start = Clock::now();
    for (unsigned spins = 1;; spins++) {
      if (completed_.load(std::memory_order_acquire) == count) return;
      if (spins % 64 != 0) {
        pause_briefly();
      } else if (const Clock::duration waited = Clock::now() - start; waited > kAwakeTime) {
        break;
      } else if (waited > kSpinTime) {
        std::this_thread::yield();
      }
    }
    std::unique_lock<std::mutex> lock(join_mutex_);
    joining_.store(true, std::memory_order_seq_cst);
    joined_.wait(lock, [this, count] { return completed_.load(std::memory_order_seq_cst) == count; });
    joining_.store(false, std::memory_order_relaxed);
  }

  bool has_work() const {
    const std::uint64_t ticket = ticket_.load(std::memory_order_seq_cst);
    return next_index(ticket) < task_count(ticket);
  }

  // Takes and runs one task of the current job; false when none is left.
  bool take_one() {
    std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
    do {
      if (next_index(ticket) >= task_count(ticket)) return false;
    } while (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire));
    // The job cannot end before this task does, so its fields stay valid from here on.
    try {
      function_(context_, static_cast<std::size_t>(next_index(ticket)));
    } catch (...) {
      std::lock_guard<std::mutex> lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
    const std::size_t completed = completed_.fetch_add(1, std::memory_order_seq_cst) + 1;
    if (completed == task_count(ticket) && joining_.load(std::memory_order_seq_cst)) {
      { std::lock_guard<std::mutex> lock(join_mutex_); }
      joined_.notify_one();
    }
    return true;
  }

  void start_threads() {
    if (!threads_.empty()) return;
    stopping_.store(false);
    for (int i = 1; i < size(); i++) threads_.emplace_back([this, i] { work(i); });
  }

  void stop_threads() {
    if (threads_.empty()) return;
    stopping_.store(true);
    { std::lock_guard<std::mutex> lock(sleep_mutex_); }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  // The thread numbered `number`; the caller of run is number 0.
  void work(int number) {
    const FlushDenormals flush;
    inside_task = true;
    Clock::time_point idle_since = Clock::now();
    for (unsigned spins = 1; !stopping_.load(std::memory_order_relaxed); spins++) {
      if (number < crew_.active() && take_one()) {
        idle_since = Clock::now();
        spins = 0;
        continue;
      }
      if (spins % 64 != 0) {
        pause_briefly();
      } else if (const Clock::duration idle = Clock::now() - idle_since; idle > kAwakeTime) {
        sleep(number);
        idle_since = Clock::now();
      } else if (idle > kSpinTime) {
        std::this_thread::yield();
      }
    }
  }

  void sleep(int number) {
    std::unique_lock<std::mutex> lock(sleep_mutex_);
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    wake_.wait(lock, [this, number] { return stopping_.load() || (number < crew_.active() && has_work()); });
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  }

  alignas(64) std::atomic<std::uint64_t> ticket_{0};
  alignas(64) std::atomic<std::size_t> completed_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> joining_{false};
  std::atomic<int> size_{default_thread_count()};
  Crew crew_;
  TaskFunction function_ = nullptr;
  void* context_ = nullptr;
  std::uint64_t generation_ = 0;
  std::exception_ptr error_;
  std::mutex error_mutex_;
  std::mutex job_mutex_;
  std::mutex sleep_mutex_;
  std::condition_variable wake_;
  std::mutex join_mutex_;
  std::condition_variable joined_;
  std::vector<std::thread> threads_;
  int references_ = 0;
};

// Never destroyed: a thread of another environment may still hold it while the process exits.
Pool& pool() {
  static Pool* instance = new Pool();
  return *instance;
}

}  // namespace

void run_tasks(std::size_t count, TaskFunction function, void* context) { pool().run(count, function, context); }

int thread_count() { return pool().size(); }

void set_thread_count(int count) { pool().resize(count > 0 ? count : default_thread_count()); }

int default_thread_count() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    long long quota = 0, period = 0;
    if (std::fscanf(file, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0) {
      cores = std::min(cores, static_cast<int>((quota + period - 1) / period));
    }
    std::fclose(file);
  }
#endif
  return std::max(1, cores);
}

void retain_pool() { pool().retain(); }
void release_pool() { pool().release(); }

}  // namespace xgen
