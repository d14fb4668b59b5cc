// One pool of threads for the whole process.
//
// parallel_for(count, f) calls f(index) once for each index and returns when all are done; the caller works too. Which
// thread runs an index is open, so f must write only what belongs to its index: results then cannot depend on the
// number of threads. A fork and join costs 1-2 µs while the threads still spin (some 50 µs after the last job), a
// system call more when they have gone to sleep.
//
// On a busy machine a thread that is put aside in the middle of its task holds up all others. The pool notices (it waits much
// longer than a task takes), uses fewer threads, and tries more again after a while.
//
// Safe from any thread: one job runs at a time, and a caller that finds the pool busy does its own work alone. So does
// a call from inside a job.
#pragma once

#include <cstddef>
#include <type_traits>

namespace xgen {

using TaskFunction = void (*)(void* context, std::size_t index);

// Throws what a task threw first (all other tasks still run).
void run_tasks(std::size_t count, TaskFunction function, void* context);

template <class F>
void parallel_for(std::size_t count, F&& f) {
  using Function = std::remove_reference_t<F>;
  run_tasks(
      count, [](void* context, std::size_t index) { (*static_cast<Function*>(context))(index); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

// Threads that work on a job, the caller included.
int thread_count();
// Waits for the running job. 0 means default_thread_count().
void set_thread_count(int count);
// Cores this process may use: affinity and, on Linux, the control group's quota.
int default_thread_count();

// Each user of the library (a JavaScript environment) holds one reference; the threads end with the last.
void retain_pool();
void release_pool();

}  // namespace xgen
