// Rotary positions, the gated activation, and rows of a table. All bound by memory: each reads its inputs and writes its output once
// (at 3.35 TB/s: SwiGLU in bf16 6 bytes an output element, its gradient 10; RoPE 4 bytes an element rotated).
#include <algorithm>
#include <type_traits>

#include "xgen/cuda/device.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kRopeThreads = 128, kFewRowsRopeThreads = 256;  // a row; where few rows leave processors idle
constexpr std::size_t kFewRows = 512;
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

// Where the rotated keys and the values of a row go besides: the last `key_value_heads` of the rotated heads, and all later ones.
template <class T>
struct Append {
  T* keys;
  T* values;
  const std::int32_t* slots;
  std::size_t cache_rows, tokens;
  unsigned key_value_heads;
  ErrorFlag* error;
};

// One row a block: angles once, then all heads, a thread's first piece of them being under way meanwhile.
template <class T, bool vectors, bool append, unsigned threads>
__global__ void __launch_bounds__(threads) rope_kernel(Rope<T> a, Append<T> cache) {
  XGEN_SHARED(float, cosines, kMaximumHalf);
  XGEN_SHARED(float, sines, kMaximumHalf);
  XGEN_SHARED(unsigned, later, threads / kWarp);
  follow_previous();
  constexpr unsigned step = vectors ? kVector : 1;
  using Part = std::conditional_t<vectors, Packed8<T>, T>;
  const unsigned half = a.head_dimension / 2, pieces = half / step;
  const std::size_t base = static_cast<std::size_t>(blockIdx.x) * a.heads * a.head_dimension;
  const unsigned rotated = a.rotated_heads * pieces;
  const unsigned items = rotated + (a.x == a.y && !append ? 0 : (a.heads - a.rotated_heads) * 2 * pieces);
  // Where in the row item k starts: first the halves of heads that turn, then what is copied.
  const auto start_of = [&](unsigned k) {
    if (k >= rotated) return a.rotated_heads * a.head_dimension + (k - rotated) * step;
    const unsigned head = k / pieces;
    return head * a.head_dimension + (k - head * pieces) * step;
  };
  const auto load = [&](unsigned at) {
    if constexpr (vectors) {
      return load_packed8(a.x + base + at);
    } else {
      return a.x[base + at];
    }
  };
  Part low = {}, high = {};
  if (threadIdx.x < items) low = load(start_of(threadIdx.x));
  if (threadIdx.x < rotated) high = load(start_of(threadIdx.x) + half);

  // All first loads before their first use.
  const float position = static_cast<float>(a.positions[blockIdx.x]);
  float frequency = threadIdx.x < half ? a.inverse_frequencies[threadIdx.x] : 0.0f;
  std::int32_t slot = kUnused;
  bool again = false;
  if constexpr (append) {
    slot = cache.slots[blockIdx.x];
    std::size_t other = std::size_t{blockIdx.x} + 1 + threadIdx.x;
    std::int32_t following = other < cache.tokens ? cache.slots[other] : kUnused;
    for (; other < cache.tokens; other += threads) {
      again = again || following == slot;
      if (other + threads < cache.tokens) following = cache.slots[other + threads];
    }
  }
  for (unsigned i = threadIdx.x; i < half; i += threads) {
    const float2 turn = cos_sin(position * frequency);
    cosines[i] = turn.x * a.scaling;
    sines[i] = (a.inverse ? -turn.y : turn.y) * a.scaling;
    if (i + threads < half) frequency = a.inverse_frequencies[i + threads];
  }
  if constexpr (append) {
    const unsigned votes = __ballot_sync(kFullMask, again);
    if (threadIdx.x % kWarp == 0) later[threadIdx.x / kWarp] = votes;
  }
  __syncthreads();
  if constexpr (append) {
    const bool bad = slot != kUnused && (slot < 0 || static_cast<std::size_t>(slot) >= cache.cache_rows);
    if (bad && threadIdx.x == 0) report(cache.error, DeviceError::slots, static_cast<std::int64_t>(blockIdx.x), slot);
    unsigned named = 0;
    for (unsigned w = 0; w < threads / kWarp; w++) named |= later[w];
    // Where a later row names the same slot, that one's stays.
    if (bad || named != 0) slot = kUnused;
  }
  const unsigned first_key = (a.rotated_heads - cache.key_value_heads) * a.head_dimension, first_value = a.rotated_heads * a.head_dimension;
  const std::size_t cache_row = slot == kUnused ? 0 : static_cast<std::size_t>(slot) * cache.key_value_heads * a.head_dimension;
  const auto store = [&](unsigned at, const auto& part) {
    const auto put = [&](T* to) {
      if constexpr (vectors) {
        store8(to, part);
      } else {
        from_float(part, *to);
      }
    };
    put(a.y + base + at);
    if constexpr (append) {
      if (slot != kUnused && at >= first_key) put(at < first_value ? cache.keys + cache_row + (at - first_key) : cache.values + cache_row + (at - first_value));
    }
  };
  for (unsigned k = threadIdx.x; k < items; k += threads) {
    const unsigned at = start_of(k);
    if constexpr (vectors) {
      Floats8 first = unpack8(low);
      if (k < rotated) {
        const unsigned i = at % a.head_dimension;
        Floats8 second = unpack8(high);
        const Floats8 c = load8(cosines + i), s = load8(sines + i);
#pragma unroll
        for (int j = 0; j < 8; j++) {
          const float x = first.v[j], y = second.v[j];
          first.v[j] = x * c.v[j] - y * s.v[j];
          second.v[j] = y * c.v[j] + x * s.v[j];
        }
        store(at + half, second);
      }
      store(at, first);
    } else {
      float first = to_float(low);
      if (k < rotated) {
        const unsigned i = at % a.head_dimension;
        const float x = first, y = to_float(high);
        first = x * cosines[i] - y * sines[i];
        store(at + half, y * cosines[i] + x * sines[i]);
      }
      store(at, first);
    }
    const unsigned next = k + threads;
    if (next < items) low = load(start_of(next));
    if (next < rotated) high = load(start_of(next) + half);
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

// Calls f with how many threads take a row.
template <class F>
void with_rope_threads(std::size_t rows, F&& f) {
  if (rows <= kFewRows) {
    f(std::integral_constant<unsigned, kFewRowsRopeThreads>{});
  } else {
    f(std::integral_constant<unsigned, kRopeThreads>{});
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
    with_rope_threads(rows, [&](auto threads) {
      constexpr unsigned count = decltype(threads)::value;
      const auto kernel = head_dimension % (2 * kVector) == 0 ? rope_kernel<T, true, false, count> : rope_kernel<T, false, false, count>;
      launch_early(name, kernel, grid_of(name, rows), count, 0, stream, arguments, Append<T>{});
    });
  });
}

void rope_append(Stream stream, ConstArray qkv, Array y, const std::int32_t* positions, const float* inverse_frequencies, float scaling,
                 Array key_cache, Array value_cache, std::size_t cache_rows, const std::int32_t* slots, std::size_t tokens,
                 const AttentionShape& shape, ErrorFlag* error) {
  constexpr const char* name = "rope_append";
  require_same(name, qkv.type, y.type);
  require_same(name, qkv.type, key_cache.type);
  require_same(name, qkv.type, value_cache.type);
  const std::size_t head_dimension = shape.head_dimension, rotated_heads = shape.query_heads + shape.key_value_heads;
  if (head_dimension % 2 != 0 || head_dimension > 2 * kMaximumHalf) fail_launch(name, "headDimension must be even and at most 1024");
  with_float(name, qkv.type, [&](auto t) {
    using T = decltype(t);
    const Rope<T> arguments = {typed<T>(qkv), typed<T>(y), positions, inverse_frequencies, static_cast<unsigned>(rotated_heads + shape.key_value_heads),
                               static_cast<unsigned>(rotated_heads), static_cast<unsigned>(head_dimension), scaling, false};
    const Append<T> cache = {typed<T>(key_cache), typed<T>(value_cache), slots, cache_rows, tokens, static_cast<unsigned>(shape.key_value_heads), error};
    with_rope_threads(tokens, [&](auto threads) {
      constexpr unsigned count = decltype(threads)::value;
      const auto kernel = head_dimension % (2 * kVector) == 0 ? rope_kernel<T, true, true, count> : rope_kernel<T, false, true, count>;
      launch_early(name, kernel, grid_of(name, tokens), count, 0, stream, arguments, cache);
    });
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
