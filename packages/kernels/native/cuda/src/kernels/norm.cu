// RMS norm with and without a residual, and its gradient.
//
// Bound by memory: forward reads x (and residual) and writes y (and sum) once; backward reads x, dy (and d_sum), writes dx: at
// 3.35 TB/s a bf16 row of 4,096 takes 4.9 ns forward and 7.3 ns backward. A row stays in registers between its reduction and its
// use: `Group` threads hold up to `Vectors` vectors of eight elements each. Wider rows, and widths that are no multiple of eight,
// take the plain kernels at the end, which read rows twice.
//
// The weight's gradient is summed by each block over the rows that it walks, in registers, and over blocks by a second kernel.
#include <algorithm>

#include "reduce.h"
#include "xgen/cuda/device.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kPlainThreads = 256;
constexpr unsigned kForwardVectors = 4;
// Up to so many rows, a device is not full, and a row gets as many threads as it has vectors: it is done sooner.
constexpr std::size_t kFewRows = 512;
constexpr std::size_t kGradProcessors = 132;  // fixed, so that sums do not depend on the device: those of an H100

// As many blocks of the gradient as leave each thread 64 registers, or 128 for two vectors.
constexpr unsigned grad_blocks_a_processor(unsigned threads, unsigned vectors) { return threads <= 32 ? 16 : 1024 / (threads * vectors); }

template <class T>
struct NormForward {
  const T* x;
  const T* residual;
  const void* weight;
  ElementType weight_type;
  T* y;
  T* sum;
  float* inverse_rms;
  std::size_t rows;
  unsigned width;
  float epsilon;
};

// As it is stored. What is normalised is the sum as the gradient will read it, so that the norm of a sum that was kept has the same bits.
template <class T>
__device__ __forceinline__ float rounded(float x) {
  T stored;
  from_float(x, stored);
  return to_float(stored);
}

template <class T, unsigned Group, unsigned Vectors>
__global__ void __launch_bounds__(Group) norm_kernel(NormForward<T> a) {
  XGEN_SHARED(float, scratch, Group / kWarp);
  follow_previous();
  const std::size_t row = static_cast<std::size_t>(blockIdx.x) * a.width;
  const unsigned vectors = a.width / kVector;
  // All loads before the first store, so that they are under way together; of the weight too where a row has its own threads.
  Packed8<T> given[Vectors], residual[Vectors];
  Floats8 x[Vectors], w[Vectors];
#pragma unroll
  for (unsigned i = 0; i < Vectors; i++) {
    const unsigned v = i * Group + threadIdx.x;
    if (v >= vectors) continue;
    given[i] = load_packed8(a.x + row + v * kVector);
    if (a.residual != nullptr) residual[i] = load_packed8(a.residual + row + v * kVector);
    if (Vectors == 1) w[i] = load8(a.weight, a.weight_type, v * kVector);
  }
  float squares = 0.0f;
#pragma unroll
  for (unsigned i = 0; i < Vectors; i++) {
    const unsigned v = i * Group + threadIdx.x;
    if (v >= vectors) continue;
    x[i] = unpack8(given[i]);
    if (a.residual != nullptr) {
      const Floats8 r = unpack8(residual[i]);
#pragma unroll
      for (int j = 0; j < 8; j++) x[i].v[j] = rounded<T>(x[i].v[j] + r.v[j]);
      store8(a.sum + row + v * kVector, x[i]);
    }
#pragma unroll
    for (int j = 0; j < 8; j++) squares += x[i].v[j] * x[i].v[j];
  }
  squares = block_reduce<Group>(squares, Add{}, scratch);
  const float inverse = rsqrtf(squares / static_cast<float>(a.width) + a.epsilon);
  if (threadIdx.x == 0 && a.inverse_rms != nullptr) a.inverse_rms[blockIdx.x] = inverse;
#pragma unroll
  for (unsigned i = 0; i < Vectors; i++) {
    const unsigned v = i * Group + threadIdx.x;
    if (v >= vectors) continue;
    if (Vectors > 1) w[i] = load8(a.weight, a.weight_type, v * kVector);
#pragma unroll
    for (int j = 0; j < 8; j++) x[i].v[j] *= inverse * w[i].v[j];
    store8(a.y + row + v * kVector, x[i]);
  }
}

template <class T>
__global__ void __launch_bounds__(kPlainThreads) norm_plain_kernel(NormForward<T> a) {
  XGEN_SHARED(float, scratch, kPlainThreads / kWarp);
  follow_previous();
  const std::size_t row = static_cast<std::size_t>(blockIdx.x) * a.width;
  const auto element = [&](unsigned i) {
    const float x = to_float(a.x[row + i]);
    return a.residual == nullptr ? x : rounded<T>(x + to_float(a.residual[row + i]));
  };
  float squares = 0.0f;
  for (unsigned i = threadIdx.x; i < a.width; i += kPlainThreads) squares += element(i) * element(i);
  squares = block_reduce<kPlainThreads>(squares, Add{}, scratch);
  const float inverse = rsqrtf(squares / static_cast<float>(a.width) + a.epsilon);
  if (threadIdx.x == 0 && a.inverse_rms != nullptr) a.inverse_rms[blockIdx.x] = inverse;
  for (unsigned i = threadIdx.x; i < a.width; i += kPlainThreads) {
    const float x = element(i);
    if (a.residual != nullptr) from_float(x, a.sum[row + i]);
    from_float(x * inverse * load1(a.weight, a.weight_type, i), a.y[row + i]);
  }
}

template <class T>
struct NormGrad {
  const T* x;
  const void* weight;
  ElementType weight_type;
  const float* inverse_rms;
  const T* dy;
  const T* d_sum;
  T* dx;
  float* partials;  // [blocks][width]: null when the weight's gradient is not wanted
  std::size_t rows;
  unsigned width;
};

// What one thread reads of a row.
template <class T, unsigned Vectors>
struct GradRow {
  Packed8<T> x[Vectors], dy[Vectors], d_sum[Vectors];
  float inverse;
};

template <unsigned Group, class T, unsigned Vectors>
__device__ __forceinline__ void load_row(const NormGrad<T>& a, std::size_t r, GradRow<T, Vectors>& row) {
  row.inverse = a.inverse_rms[r];
#pragma unroll
  for (unsigned i = 0; i < Vectors; i++) {
    const unsigned v = i * Group + threadIdx.x;
    if (v >= a.width / kVector) continue;
    const std::size_t at = r * a.width + v * kVector;
    row.x[i] = load_packed8(a.x + at);
    row.dy[i] = load_packed8(a.dy + at);
    if (a.d_sum != nullptr) row.d_sum[i] = load_packed8(a.d_sum + at);
  }
}

// dx = inverse * (weight dy - x inverse^2 mean(x weight dy)) + d_sum. Block b walks rows b, b + blocks, ..., and has the next row's loads
// in flight while it reduces one.
template <class T, unsigned Group, unsigned Vectors>
__global__ void __launch_bounds__(Group, sizeof(T) == 2 ? grad_blocks_a_processor(Group, Vectors) : 1) norm_grad_kernel(NormGrad<T> a) {
  XGEN_SHARED(float, scratch, 2 * (Group / kWarp));
  const unsigned vectors = a.width / kVector;
  Floats8 d_weight[Vectors] = {};
  GradRow<T, Vectors> row, next;
  load_row<Group>(a, blockIdx.x, next);
  unsigned turn = 0;
  for (std::size_t r = blockIdx.x; r < a.rows; r += gridDim.x, turn ^= 1) {
    row = next;
    if (r + gridDim.x < a.rows) load_row<Group>(a, r + gridDim.x, next);
    float dot = 0.0f;
#pragma unroll
    for (unsigned i = 0; i < Vectors; i++) {
      const unsigned v = i * Group + threadIdx.x;
      if (v >= vectors) continue;
      const Floats8 x = unpack8(row.x[i]), dy = unpack8(row.dy[i]), w = load8(a.weight, a.weight_type, v * kVector);
#pragma unroll
      for (int j = 0; j < 8; j++) {
        d_weight[i].v[j] += dy.v[j] * x.v[j] * row.inverse;
        dot += dy.v[j] * w.v[j] * x.v[j];
      }
    }
    if (a.dx == nullptr) continue;
    // Two scratches by turns: the barrier inside keeps the next row's writes from this row's reads.
    dot = block_reduce<Group>(dot, Add{}, scratch + turn * (Group / kWarp));
    const float pull = dot * row.inverse * row.inverse / static_cast<float>(a.width);
#pragma unroll
    for (unsigned i = 0; i < Vectors; i++) {
      const unsigned v = i * Group + threadIdx.x;
      if (v >= vectors) continue;
      const Floats8 x = unpack8(row.x[i]), dy = unpack8(row.dy[i]), w = load8(a.weight, a.weight_type, v * kVector);
      Floats8 dx = {};
      if (a.d_sum != nullptr) dx = unpack8(row.d_sum[i]);
#pragma unroll
      for (int j = 0; j < 8; j++) dx.v[j] += row.inverse * (dy.v[j] * w.v[j] - x.v[j] * pull);
      store8(a.dx + r * a.width + v * kVector, dx);
    }
  }
  if (a.partials == nullptr) return;
#pragma unroll
  for (unsigned i = 0; i < Vectors; i++) {
    const unsigned v = i * Group + threadIdx.x;
    if (v < vectors) store8(a.partials + static_cast<std::size_t>(blockIdx.x) * a.width + v * kVector, d_weight[i]);
  }
}

template <class T>
__global__ void __launch_bounds__(kPlainThreads) norm_grad_plain_kernel(NormGrad<T> a) {
  XGEN_SHARED(float, scratch, 2 * (kPlainThreads / kWarp));
  float* const partial = a.partials == nullptr ? nullptr : a.partials + static_cast<std::size_t>(blockIdx.x) * a.width;
  if (partial != nullptr) {
    for (unsigned i = threadIdx.x; i < a.width; i += kPlainThreads) partial[i] = 0.0f;  // each thread returns to its own columns only
  }
  unsigned turn = 0;
  for (std::size_t r = blockIdx.x; r < a.rows; r += gridDim.x, turn ^= 1) {
    const std::size_t row = r * a.width;
    const float inverse = a.inverse_rms[r];
    float dot = 0.0f;
    for (unsigned i = threadIdx.x; i < a.width; i += kPlainThreads) {
      const float x = to_float(a.x[row + i]), dy = to_float(a.dy[row + i]);
      if (partial != nullptr) partial[i] += dy * x * inverse;
      dot += dy * load1(a.weight, a.weight_type, i) * x;
    }
    if (a.dx == nullptr) continue;
    dot = block_reduce<kPlainThreads>(dot, Add{}, scratch + turn * (kPlainThreads / kWarp));
    const float pull = dot * inverse * inverse / static_cast<float>(a.width);
    for (unsigned i = threadIdx.x; i < a.width; i += kPlainThreads) {
      const float x = to_float(a.x[row + i]), dy = to_float(a.dy[row + i]) * load1(a.weight, a.weight_type, i);
      const float passed = a.d_sum == nullptr ? 0.0f : to_float(a.d_sum[row + i]);
      from_float(passed + inverse * (dy - x * pull), a.dx[row + i]);
    }
  }
}

// Calls f with the group size (an integral constant) whose `vectors` a thread cover a row, or with 0 where there is none.
template <unsigned vectors, class F>
void with_group(std::size_t width, F&& f) {
  const std::size_t needed = width % kVector == 0 ? divide_up(width / kVector, vectors) : 1025;
  if (needed <= 32) {
    f(std::integral_constant<unsigned, 32>{});
  } else if (needed <= 96) {
    f(std::integral_constant<unsigned, 96>{});
  } else if (needed <= 128) {
    f(std::integral_constant<unsigned, 128>{});
  } else if (needed <= 256) {
    f(std::integral_constant<unsigned, 256>{});
  } else if (needed <= 384) {
    f(std::integral_constant<unsigned, 384>{});
  } else if (needed <= 512) {
    f(std::integral_constant<unsigned, 512>{});
  } else {
    f(std::integral_constant<unsigned, 0>{});
  }
}

// The gradient's: one vector a thread up to a width of 4,096, two up to 8,192. f(threads, vectors)
template <class F>
void with_grad_group(std::size_t width, F&& f) {
  if (width <= 4096) {
    with_group<1>(width, [&](auto group) { f(group, std::integral_constant<unsigned, 1>{}); });
  } else {
    with_group<2>(width, [&](auto group) { f(group, std::integral_constant<unsigned, 2>{}); });
  }
}

std::size_t grad_blocks(std::size_t rows, std::size_t width) {
  std::size_t blocks = 0;
  with_grad_group(width, [&](auto group, auto vectors) {
    constexpr unsigned threads = decltype(group)::value;
    blocks = kGradProcessors * grad_blocks_a_processor(threads == 0 ? kPlainThreads : threads, decltype(vectors)::value);
  });
  return std::min(blocks, divide_up(rows, 4));
}

}  // namespace

void rms_norm(Stream stream, ConstArray x, ConstArray residual, ConstArray weight, Array y, Array sum, float* inverse_rms,
              std::size_t rows, std::size_t width, float epsilon) {
  constexpr const char* name = "rms_norm";
  require_same(name, x.type, y.type);
  require_float(name, weight.type);
  if (residual.data != nullptr) {
    require_same(name, x.type, residual.type);
    require_same(name, x.type, sum.type);
  }
  with_float(name, x.type, [&](auto t) {
    using T = decltype(t);
    const NormForward<T> arguments = {typed<T>(x), typed<T>(residual), weight.data, weight.type, typed<T>(y),
                                      typed<T>(sum), inverse_rms, rows, static_cast<unsigned>(width), epsilon};
    const unsigned grid = grid_of(name, rows);
    const auto run = [&](auto group, auto vectors) {
      constexpr unsigned threads = decltype(group)::value;
      if constexpr (threads == 0) {
        launch_early(name, norm_plain_kernel<T>, grid, kPlainThreads, 0, stream, arguments);
      } else {
        launch_early(name, norm_kernel<T, threads, decltype(vectors)::value>, grid, threads, 0, stream, arguments);
      }
    };
    if (rows <= kFewRows && width <= 4096) {
      with_group<1>(width, [&](auto group) { run(group, std::integral_constant<unsigned, 1>{}); });
    } else {
      with_group<kForwardVectors>(width, [&](auto group) { run(group, std::integral_constant<unsigned, kForwardVectors>{}); });
    }
  });
}

std::size_t rms_norm_grad_workspace_bytes(std::size_t rows, std::size_t width) {
  return grad_blocks(rows, width) * width * sizeof(float) + 16;
}

void rms_norm_grad(Stream stream, ConstArray x, ConstArray weight, const float* inverse_rms, ConstArray dy, ConstArray d_sum,
                   Array dx, Array d_weight, std::size_t rows, std::size_t width, void* workspace) {
  constexpr const char* name = "rms_norm_grad";
  require_same(name, x.type, dy.type);
  require_float(name, weight.type);
  if (dx.data != nullptr) require_same(name, x.type, dx.type);
  if (d_sum.data != nullptr) require_same(name, x.type, d_sum.type);
  float* const partials = d_weight.data == nullptr ? nullptr : static_cast<float*>(workspace);
  const unsigned grid = grid_of(name, grad_blocks(rows, width));
  with_float(name, x.type, [&](auto t) {
    using T = decltype(t);
    const NormGrad<T> arguments = {typed<T>(x), weight.data, weight.type, inverse_rms, typed<T>(dy), typed<T>(d_sum),
                                   typed<T>(dx), partials, rows, static_cast<unsigned>(width)};
    with_grad_group(width, [&](auto group, auto vectors) {
      constexpr unsigned threads = decltype(group)::value;
      if constexpr (threads == 0) {
        launch(name, norm_grad_plain_kernel<T>, grid, kPlainThreads, 0, stream, arguments);
      } else {
        launch(name, norm_grad_kernel<T, threads, decltype(vectors)::value>, grid, threads, 0, stream, arguments);
      }
    });
  });
  if (d_weight.data != nullptr) combine_columns(name, stream, Reduction::sum, partials, d_weight, grad_blocks(rows, width), width);
}

}  // namespace xgen::cuda
