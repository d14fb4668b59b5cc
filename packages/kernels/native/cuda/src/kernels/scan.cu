// Running sums, the largest entries of rows, one-hot rows: what evaluation and curricula ask for, on short rows.
#include "xgen/cuda/device.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kThreads = 256;

// Block (outer, inner): 256 entries at a time.
template <class T>
__global__ void __launch_bounds__(kThreads) cumulative_kernel(const T* x, T* out, std::size_t width, std::size_t inner, bool exclusive, bool reverse) {
  XGEN_SHARED(T, warps, kThreads / kWarp);
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const std::size_t base = blockIdx.x / inner * width * inner + blockIdx.x % inner;
  T carried = 0;
  for (std::size_t begin = 0; begin < width; begin += kThreads) {
    const std::size_t i = begin + threadIdx.x, at = base + (reverse ? width - 1 - i : i) * inner;
    T sum = i < width ? x[at] : T(0);
#pragma unroll
    for (unsigned step = 1; step < kWarp; step *= 2) {
      const T lower = __shfl_up_sync(kFullMask, sum, step);
      if (lane >= step) sum += lower;
    }
    if (lane == kWarp - 1) warps[warp] = sum;
    __syncthreads();
    T before = carried;
    for (unsigned w = 0; w < kThreads / kWarp; w++) {
      if (w < warp) before += warps[w];
      carried += warps[w];
    }
    const T left = __shfl_up_sync(kFullMask, sum, 1u);  // not sum - own, which would lose digits
    if (i < width) out[at] = exclusive ? (lane == 0 ? before : before + left) : before + sum;
    __syncthreads();
  }
}

// Block: a row. Each round finds the best entry after the last one found.
__global__ void __launch_bounds__(kThreads) top_k_kernel(const void* x, ElementType type, float* values, std::int32_t* indices, std::size_t width,
                                                         std::size_t k) {
  using Rank = unsigned long long;
  XGEN_SHARED(Rank, scratch, kThreads / kWarp);
  const std::size_t base = blockIdx.x * width;
  const auto rank_of = [&](std::size_t i) {
    const float value = load1(x, type, base + i);
    return Rank{value == value ? falling_order(value) : 0u} << 32 | i;
  };
  Rank last = 0;
  for (std::size_t round = 0; round < k; round++) {
    Rank best = ~Rank{0};
    for (std::size_t i = threadIdx.x; i < width; i += kThreads) {
      const Rank own = rank_of(i);
      if ((round == 0 || own > last) && own < best) best = own;
    }
    best = block_reduce<kThreads>(best, [](Rank a, Rank b) { return a < b ? a : b; }, scratch);
    __syncthreads();
    if (threadIdx.x == 0) {
      const std::size_t i = static_cast<std::uint32_t>(best);
      indices[blockIdx.x * k + round] = static_cast<std::int32_t>(i);
      if (values != nullptr) values[blockIdx.x * k + round] = load1(x, type, base + i);
    }
    last = best;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) one_hot_kernel(const std::int32_t* indices, T* out, std::size_t count, std::size_t depth, T on, T off) {
  const std::size_t i = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count * depth) return;
  const std::size_t row = quotient(i, depth);
  const std::int32_t index = indices[row];
  out[i] = index >= 0 && static_cast<std::size_t>(index) == i - row * depth ? on : off;
}

template <class T>
void one_hot_as(Stream stream, const std::int32_t* indices, const Array& out, std::size_t count, std::size_t depth, T on, T off) {
  constexpr const char* name = "one_hot";
  launch(name, one_hot_kernel<T>, grid_of(name, divide_up(count * depth, kThreads)), kThreads, 0, stream, indices, typed<T>(out), count, depth, on, off);
}

}  // namespace

void cumulative_sum(Stream stream, ConstArray x, Array out, std::size_t outer, std::size_t width, std::size_t inner, bool exclusive, bool reverse) {
  constexpr const char* name = "cumulative_sum";
  require_same(name, x.type, out.type);
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    launch(name, cumulative_kernel<T>, grid_of(name, outer * inner), kThreads, 0, stream, typed<T>(x), typed<T>(out), width, inner, exclusive, reverse);
  };
  if (x.type == ElementType::float32) run(float{});
  else if (x.type == ElementType::int32) run(std::int32_t{});
  else fail_launch(name, "the array must be float32 or int32");
}

void top_k(Stream stream, ConstArray x, float* values, std::int32_t* indices, std::size_t rows, std::size_t width, std::size_t k) {
  constexpr const char* name = "top_k";
  require_float(name, x.type);
  if (k > width || width > 0x7fffffff) fail_launch(name, "there are not so many entries");
  if (k == 0) return;
  launch(name, top_k_kernel, grid_of(name, rows), kThreads, 0, stream, x.data, x.type, values, indices, width, k);
}

void one_hot(Stream stream, const std::int32_t* indices, Array out, std::size_t count, std::size_t depth, double on, double off) {
  if (out.type == ElementType::float32) return one_hot_as(stream, indices, out, count, depth, static_cast<float>(on), static_cast<float>(off));
  if (out.type == ElementType::int32) {
    return one_hot_as(stream, indices, out, count, depth, static_cast<std::int32_t>(on), static_cast<std::int32_t>(off));
  }
  if (out.type == ElementType::uint8) return one_hot_as(stream, indices, out, count, depth, static_cast<std::uint8_t>(on), static_cast<std::uint8_t>(off));
  fail_launch("one_hot", "the array must not be bfloat16");
}

}  // namespace xgen::cuda
