// Rotary positions, the gated activation, and rows of a table. All bound by memory: each reads its inputs and writes its output once
// (at 3.35 TB/s: SwiGLU in bf16 6 bytes an output element, its gradient 10; RoPE 4 bytes an element rotated).
#include <algorithm>

#include "xgen/cuda/device.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kRopeThreads = 128;
constexpr unsigned kMaximumHalf = 512;  // half the largest head that RoPE takes

// ---- RoPE

template <class T>
struct Rope {
  const T* x;
  T* y;
  const std::int32_t* positions;
  const float* inverse_frequencies;
  unsigned heads, rotated_heads, head_dimension;
  float scaling;
  bool inverse;
};

// One row a block: angles once, then all heads.
template <class T, bool vectors>
__global__ void __launch_bounds__(kRopeThreads) rope_kernel(Rope<T> a) {
  XGEN_SHARED(float, cosines, kMaximumHalf);
  XGEN_SHARED(float, sines, kMaximumHalf);
  follow_previous();
  const unsigned half = a.head_dimension / 2;
  const float position = static_cast<float>(a.positions[blockIdx.x]);
  for (unsigned i = threadIdx.x; i < half; i += kRopeThreads) {
    const float2 turn = cos_sin(position * a.inverse_frequencies[i]);
    cosines[i] = turn.x * a.scaling;
    sines[i] = (a.inverse ? -turn.y : turn.y) * a.scaling;
  }
  __syncthreads();
  const std::size_t base = static_cast<std::size_t>(blockIdx.x) * a.heads * a.head_dimension;
  constexpr unsigned step = vectors ? kVector : 1;
  const unsigned pieces = half / step, rotated = a.rotated_heads * pieces;
  for (unsigned k = threadIdx.x; k < rotated; k += kRopeThreads) {
    const unsigned head = k / pieces, i = (k - head * pieces) * step;
    const std::size_t at = base + head * a.head_dimension + i;
    if constexpr (vectors) {
      Floats8 low = load8(a.x + at), high = load8(a.x + at + half);
      const Floats8 c = load8(cosines + i), s = load8(sines + i);
#pragma unroll
      for (int j = 0; j < 8; j++) {
        const float first = low.v[j], second = high.v[j];
        low.v[j] = first * c.v[j] - second * s.v[j];
        high.v[j] = second * c.v[j] + first * s.v[j];
      }
      store8(a.y + at, low);
      store8(a.y + at + half, high);
    } else {
      const float first = to_float(a.x[at]), second = to_float(a.x[at + half]);
      from_float(first * cosines[i] - second * sines[i], a.y[at]);
      from_float(second * cosines[i] + first * sines[i], a.y[at + half]);
    }
  }
  if (a.x == a.y) return;
  const unsigned end = a.heads * a.head_dimension;
  for (unsigned i = a.rotated_heads * a.head_dimension + threadIdx.x * step; i < end; i += kRopeThreads * step) {
    if constexpr (vectors) {
      store8(a.y + base + i, load8(a.x + base + i));
    } else {
      a.y[base + i] = a.x[base + i];
    }
  }
}

// ---- SwiGLU

// One vector (or element) of the output a thread.
template <class T, bool vectors>
__global__ void __launch_bounds__(kThreads) swiglu_kernel(const T* gate_up, T* y, std::size_t count, std::size_t pieces) {
  follow_previous();
  constexpr unsigned step = vectors ? kVector : 1;
  const std::size_t k = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (k >= count) return;
  const std::size_t row = quotient(k, pieces), width = pieces * step;
  const T* gate = gate_up + row * 2 * width + (k - row * pieces) * step;
  if constexpr (vectors) {
    Floats8 g = load8(gate);
    const Floats8 u = load8(gate + width);
#pragma unroll
    for (int j = 0; j < 8; j++) g.v[j] *= sigmoid(g.v[j]) * u.v[j];
    store8(y + k * step, g);
  } else {
    const float g = to_float(gate[0]);
    from_float(g * sigmoid(g) * to_float(gate[width]), y[k]);
  }
}

__device__ __forceinline__ float2 swiglu_derivative(float gate, float up, float dy) {
  const float s = sigmoid(gate);
  return make_float2(dy * up * s * (1.0f + gate * (1.0f - s)), dy * gate * s);
}

template <class T, bool vectors>
__global__ void __launch_bounds__(kThreads) swiglu_grad_kernel(const T* gate_up, const T* dy, T* d_gate_up, std::size_t count, std::size_t pieces) {
  constexpr unsigned step = vectors ? kVector : 1;
  const std::size_t k = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (k >= count) return;
  const std::size_t row = quotient(k, pieces), width = pieces * step, at = row * 2 * width + (k - row * pieces) * step;
  if constexpr (vectors) {
    Floats8 g = load8(gate_up + at), u = load8(gate_up + at + width);
    const Floats8 d = load8(dy + k * step);
#pragma unroll
    for (int j = 0; j < 8; j++) {
      const float2 both = swiglu_derivative(g.v[j], u.v[j], d.v[j]);
      g.v[j] = both.x;
      u.v[j] = both.y;
    }
    store8(d_gate_up + at, g);
    store8(d_gate_up + at + width, u);
  } else {
    const float2 both = swiglu_derivative(to_float(gate_up[at]), to_float(gate_up[at + width]), to_float(dy[k]));
    from_float(both.x, d_gate_up[at]);
    from_float(both.y, d_gate_up[at + width]);
  }
}

// ---- Embedding

__global__ void __launch_bounds__(kThreads) embedding_kernel(const void* weight, ElementType weight_type, const std::int32_t* ids, void* out,
                                                             ElementType out_type, std::size_t count, std::size_t pieces, unsigned step,
                                                             std::size_t vocabulary, ErrorFlag* error) {
  follow_previous();
  const std::size_t k = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (k >= count) return;
  const std::size_t token = quotient(k, pieces), column = (k - token * pieces) * step, width = pieces * step;
  const std::int32_t id = ids[token];
  const bool good = id >= 0 && static_cast<std::size_t>(id) < vocabulary;
  if (!good && column == 0) report(error, DeviceError::ids, static_cast<std::int64_t>(token), id);
  const std::size_t from = good ? static_cast<std::size_t>(id) * width + column : 0;
  if (step == kVector) {
    store8(out, out_type, token * width + column, good ? load8(weight, weight_type, from) : Floats8{});
  } else {
    store1(out, out_type, token * width + column, good ? load1(weight, weight_type, from) : 0.0f);
  }
}

}  // namespace

void rope(Stream stream, ConstArray x, Array y, const std::int32_t* positions, const float* inverse_frequencies, std::size_t rows,
          std::size_t heads, std::size_t rotated_heads, std::size_t head_dimension, float scaling, bool inverse) {
  constexpr const char* name = "rope";
  require_same(name, x.type, y.type);
  if (head_dimension % 2 != 0 || head_dimension > 2 * kMaximumHalf) fail_launch(name, "headDimension must be even and at most 1024");
  with_float(name, x.type, [&](auto t) {
    using T = decltype(t);
    const Rope<T> arguments = {typed<T>(x), typed<T>(y), positions, inverse_frequencies, static_cast<unsigned>(heads),
                               static_cast<unsigned>(rotated_heads), static_cast<unsigned>(head_dimension), scaling, inverse};
    const auto kernel = head_dimension % (2 * kVector) == 0 ? rope_kernel<T, true> : rope_kernel<T, false>;
    launch_early(name, kernel, grid_of(name, rows), kRopeThreads, 0, stream, arguments);
  });
}

void swiglu(Stream stream, ConstArray gate_up, Array y, std::size_t rows, std::size_t width) {
  constexpr const char* name = "swiglu";
  require_same(name, gate_up.type, y.type);
  const bool vectors = width % kVector == 0;
  const std::size_t pieces = vectors ? width / kVector : width, count = rows * pieces;
  with_float(name, y.type, [&](auto t) {
    using T = decltype(t);
    launch_early(name, vectors ? swiglu_kernel<T, true> : swiglu_kernel<T, false>, grid_of(name, divide_up(count, kThreads)), kThreads, 0, stream,
           typed<T>(gate_up), typed<T>(y), count, pieces);
  });
}

void swiglu_grad(Stream stream, ConstArray gate_up, ConstArray dy, Array d_gate_up, std::size_t rows, std::size_t width) {
  constexpr const char* name = "swiglu_grad";
  require_same(name, gate_up.type, dy.type);
  require_same(name, gate_up.type, d_gate_up.type);
  const bool vectors = width % kVector == 0;
  const std::size_t pieces = vectors ? width / kVector : width, count = rows * pieces;
  with_float(name, dy.type, [&](auto t) {
    using T = decltype(t);
    launch(name, vectors ? swiglu_grad_kernel<T, true> : swiglu_grad_kernel<T, false>, grid_of(name, divide_up(count, kThreads)), kThreads, 0,
           stream, typed<T>(gate_up), typed<T>(dy), typed<T>(d_gate_up), count, pieces);
  });
}

void embedding(Stream stream, ConstArray weight, const std::int32_t* ids, Array out, std::size_t tokens, std::size_t width,
               std::size_t vocabulary, ErrorFlag* error) {
  constexpr const char* name = "embedding";
  require_float(name, weight.type);
  require_float(name, out.type);
  const unsigned step = width % kVector == 0 ? kVector : 1;
  const std::size_t pieces = width / step, count = tokens * pieces;
  launch_early(name, embedding_kernel, grid_of(name, divide_up(count, kThreads)), kThreads, 0, stream, weight.data, weight.type, ids, out.data,
         out.type, count, pieces, step, vocabulary, error);
}

}  // namespace xgen::cuda
