// Counters of captured steps: a few numbers of several arrays in one launch, bound by the launch.
#include <algorithm>

#include "xgen/cuda/device.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kThreads = 256;

struct Counters {
  std::int32_t* data[kCounters];
};

// An array a row of blocks. Wraps, as integers of 32 bits do in tfjs.
__global__ void __launch_bounds__(kThreads) increment_kernel(const Counters counters, std::int32_t by, std::size_t count) {
  follow_previous();
  std::int32_t* const x = counters.data[blockIdx.y];
  const std::size_t i = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) x[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(x[i]) + static_cast<std::uint32_t>(by));
}

}  // namespace

void increment(Stream stream, std::int32_t* const* arrays, std::size_t arrays_count, std::int32_t by, std::size_t count) {
  constexpr const char* name = "increment";
  if (arrays_count == 0 || arrays_count > kCounters) fail_launch(name, "between 1 and 8 arrays can advance at once");
  Counters list = {};
  std::copy_n(arrays, arrays_count, list.data);
  const dim3 grid(grid_of(name, divide_up(count, kThreads)), static_cast<unsigned>(arrays_count));
  launch_early(name, increment_kernel, grid, kThreads, 0, stream, list, by, count);
}

}  // namespace xgen::cuda
