// Flash attention in float32 arithmetic on the ordinary cores, forward and backward: for float32 arrays, and for bfloat16 where the head
// size is neither 64 nor 128. The reference in speed is 67 TFLOP/s on an H100; a multiply-add here costs about one read of shared
// memory in four, so some half of that is the most to expect.
//
// 256 threads stand as 16 x 16 over a tile of `Tile` own rows (queries, or keys in the pass for their gradients) by `Tile` other rows: thread
// (y, x) has rows y * R ... y * R + R - 1 and columns x, x + 16, ...; the sixteen threads of a row are neighbours in one warp, so maxima and
// sums are shuffles. Rows in shared memory are 4 floats longer than a head: eight threads' 16-byte reads then fall in different banks.
// The backward pass is two kernels, one that owns queries (dq) and one that owns keys (dk, dv; all query heads of the group in turn),
// so that each gradient has one writer and one order.
#include "attention_tasks.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kSide = 16;

constexpr unsigned tile_of(unsigned size) { return size > 128 ? 32 : 64; }

// Sizes for heads of up to `Size`.
template <unsigned Size>
struct Geometry {
  static constexpr unsigned tile = tile_of(Size);
  static constexpr unsigned rows = tile / kSide;     // of a thread, and its columns of scores
  static constexpr unsigned columns = Size / kSide;  // of a thread's part of a result row
  static constexpr unsigned pitch = Size + 4;
  static constexpr unsigned weights_pitch = tile + 1;
  static constexpr std::size_t rows_bytes = std::size_t{tile} * pitch * sizeof(float);
  static constexpr std::size_t weights_bytes = std::size_t{tile} * weights_pitch * sizeof(float);
};

// Rows of T into shared memory as floats; null rows, and columns past the head, become 0.
template <unsigned Size, class RowOf>
__device__ __forceinline__ void load_rows(float* to, unsigned head_dimension, RowOf row_of) {
  using G = Geometry<Size>;
  if (head_dimension % kVector == 0) {
    for (unsigned i = threadIdx.x; i < G::tile * (Size / kVector); i += kThreads) {
      const unsigned row = i / (Size / kVector), column = i % (Size / kVector) * kVector;
      const auto* from = row_of(row);
      store8(to + row * G::pitch + column, from != nullptr && column < head_dimension ? load8(from + column) : Floats8{});
    }
  } else {
    for (unsigned i = threadIdx.x; i < G::tile * Size; i += kThreads) {
      const unsigned row = i / Size, column = i % Size;
      const auto* from = row_of(row);
      to[row * G::pitch + column] = from != nullptr && column < head_dimension ? to_float(from[column]) : 0.0f;
    }
  }
}

// scores[i][j] = own row y R + i times other row x + 16 j.
template <unsigned Size>
__device__ __forceinline__ void multiply_rows(const float* own, const float* other, unsigned head_dimension,
                                              float (&scores)[Geometry<Size>::rows][Geometry<Size>::rows]) {
  using G = Geometry<Size>;
  const unsigned x = threadIdx.x % kSide, y = threadIdx.x / kSide;
#pragma unroll
  for (unsigned i = 0; i < G::rows; i++) {
#pragma unroll
    for (unsigned j = 0; j < G::rows; j++) scores[i][j] = 0.0f;
  }
  for (unsigned d = 0; d < head_dimension; d += 4) {
    float4 a[G::rows], b[G::rows];
#pragma unroll
    for (unsigned i = 0; i < G::rows; i++) {
      a[i] = load_aligned<float4>(own + (y * G::rows + i) * G::pitch + d);
      b[i] = load_aligned<float4>(other + (x + i * kSide) * G::pitch + d);
    }
#pragma unroll
    for (unsigned i = 0; i < G::rows; i++) {
#pragma unroll
      for (unsigned j = 0; j < G::rows; j++) {
        scores[i][j] += a[i].x * b[j].x + a[i].y * b[j].y + a[i].z * b[j].z + a[i].w * b[j].w;
      }
    }
  }
}

template <unsigned Size>
__device__ __forceinline__ void store_weights(float* weights, const float (&values)[Geometry<Size>::rows][Geometry<Size>::rows]) {
  using G = Geometry<Size>;
  const unsigned x = threadIdx.x % kSide, y = threadIdx.x / kSide;
#pragma unroll
  for (unsigned i = 0; i < G::rows; i++) {
#pragma unroll
    for (unsigned j = 0; j < G::rows; j++) weights[(y * G::rows + i) * G::weights_pitch + x + j * kSide] = values[i][j];
  }
}

// sums[i][c] += weights of own row i times the other rows' column x + 16 c.
template <unsigned Size>
__device__ __forceinline__ void accumulate(const float* weights, const float* other, float (&sums)[Geometry<Size>::rows][Geometry<Size>::columns]) {
  using G = Geometry<Size>;
  const unsigned x = threadIdx.x % kSide, y = threadIdx.x / kSide;
#pragma unroll 4
  for (unsigned k = 0; k < G::tile; k++) {
    float w[G::rows];
#pragma unroll
    for (unsigned i = 0; i < G::rows; i++) w[i] = weights[(y * G::rows + i) * G::weights_pitch + k];
#pragma unroll
    for (unsigned c = 0; c < G::columns; c++) {
      const float v = other[k * G::pitch + x + c * kSide];
#pragma unroll
      for (unsigned i = 0; i < G::rows; i++) sums[i][c] += w[i] * v;
    }
  }
}

template <unsigned Size, class T, class RowOf>
__device__ __forceinline__ void store_result(const float (&sums)[Geometry<Size>::rows][Geometry<Size>::columns], unsigned head_dimension, RowOf row_of,
                                             const T*) {
  using G = Geometry<Size>;
  const unsigned x = threadIdx.x % kSide, y = threadIdx.x / kSide;
#pragma unroll
  for (unsigned i = 0; i < G::rows; i++) {
    T* const to = row_of(y * G::rows + i);
    if (to == nullptr) continue;
#pragma unroll
    for (unsigned c = 0; c < G::columns; c++) {
      if (x + c * kSide < head_dimension) from_float(sums[i][c], to[x + c * kSide]);
    }
  }
}

template <unsigned Size, class Task>
__global__ void __launch_bounds__(kThreads) forward_kernel(Task task) {
  using G = Geometry<Size>;
  XGEN_DYNAMIC_SHARED(shared);
  float* const queries = reinterpret_cast<float*>(shared);
  float* const others = queries + G::tile * G::pitch;  // keys, then values
  float* const weights = others + G::tile * G::pitch;
  const unsigned x = threadIdx.x % kSide, y = threadIdx.x / kSide;
  if (!task.locate(blockIdx.x, G::tile)) return;
  const unsigned head_dimension = task.a.heads.head_dimension;
  const float factor = task.a.heads.scale * kLog2E;

  std::int32_t low[G::rows], high[G::rows];
  float largest[G::rows], total[G::rows], sums[G::rows][G::columns];
#pragma unroll
  for (unsigned i = 0; i < G::rows; i++) {
    const unsigned row = y * G::rows + i;
    low[i] = row < task.count ? task.low(row) : 0;
    high[i] = row < task.count ? task.high(row) : -1;
    largest[i] = -infinity();
    total[i] = 0.0f;
#pragma unroll
    for (unsigned c = 0; c < G::columns; c++) sums[i][c] = 0.0f;
  }
  load_rows<Size>(queries, head_dimension, [&](unsigned row) { return row < task.count ? task.query(row) : nullptr; });
  const std::int32_t last = task.high(task.count - 1);
  for (std::int32_t k0 = task.low(0); k0 <= last; k0 += static_cast<std::int32_t>(G::tile)) {
    __syncthreads();  // the last round's values and weights are read
    load_rows<Size>(others, head_dimension, [&](unsigned row) {
      const std::int32_t index = k0 + static_cast<std::int32_t>(row);
      return index <= last ? task.key(index) : nullptr;
    });
    __syncthreads();
    float scores[G::rows][G::rows];
    multiply_rows<Size>(queries, others, head_dimension, scores);
#pragma unroll
    for (unsigned i = 0; i < G::rows; i++) {
      float maximum = largest[i];
#pragma unroll
      for (unsigned j = 0; j < G::rows; j++) {
        const std::int32_t index = k0 + static_cast<std::int32_t>(x + j * kSide);
        const bool seen = index >= low[i] && index <= high[i];
        scores[i][j] = seen ? scores[i][j] * factor : -infinity();
        maximum = fmaxf(maximum, scores[i][j]);
      }
      maximum = warp_reduce<kSide>(maximum, [](float a, float b) { return fmaxf(a, b); });
      const float base = maximum == -infinity() ? 0.0f : maximum;
      const float shrink = exp2_fast(largest[i] - base);
      float sum = 0.0f;
#pragma unroll
      for (unsigned j = 0; j < G::rows; j++) {
        scores[i][j] = exp2_fast(scores[i][j] - base);
        sum += scores[i][j];
      }
      total[i] = total[i] * shrink + warp_reduce<kSide>(sum, Add{});
      largest[i] = maximum;
#pragma unroll
      for (unsigned c = 0; c < G::columns; c++) sums[i][c] *= shrink;
    }
    store_weights<Size>(weights, scores);
    __syncthreads();
    load_rows<Size>(others, head_dimension, [&](unsigned row) {
      const std::int32_t index = k0 + static_cast<std::int32_t>(row);
      return index <= last ? task.value(index) : nullptr;
    });
    __syncthreads();
    accumulate<Size>(weights, others, sums);
  }
#pragma unroll
  for (unsigned i = 0; i < G::rows; i++) {
    const float inverse = total[i] > 0.0f ? 1.0f / total[i] : 0.0f;
#pragma unroll
    for (unsigned c = 0; c < G::columns; c++) sums[i][c] *= inverse;
    if (x == 0 && y * G::rows + i < task.count) task.store_log_sum_exp(y * G::rows + i, largest[i] * kLn2 + logf(total[i]));
  }
  store_result<Size>(sums, head_dimension, [&](unsigned row) { return row < task.count ? task.out(row) : nullptr; },
                     static_cast<const typename Task::Query*>(nullptr));
}

// p[i][j] and ds[i][j] of a pair of query and key, from scores = q.k and dp = dy.v.
__device__ __forceinline__ void differentiate(float& score, float& dp, bool seen, float factor, float log_sum_exp, float delta, float scale) {
  score = seen ? exp2_fast(score * factor - log_sum_exp * kLog2E) : 0.0f;
  dp = score * (dp - delta) * scale;
}

// Block (tile of queries, query head).
template <class T, unsigned Size>
__global__ void __launch_bounds__(kThreads) grad_queries_kernel(AttentionBackward<T> a) {
  using G = Geometry<Size>;
  XGEN_DYNAMIC_SHARED(shared);
  float* const queries = reinterpret_cast<float*>(shared);
  float* const dys = queries + G::tile * G::pitch;
  float* const keys = dys + G::tile * G::pitch;
  float* const values = keys + G::tile * G::pitch;
  float* const weights = values + G::tile * G::pitch;
  const unsigned x = threadIdx.x % kSide, y = threadIdx.x / kSide;
  const unsigned head = blockIdx.x % a.heads.query_heads, tiles = gridDim.x / a.heads.query_heads, head_dimension = a.heads.head_dimension;
  const std::size_t first = std::size_t{tiles - 1 - blockIdx.x / a.heads.query_heads} * G::tile;
  const unsigned count = static_cast<unsigned>(a.tokens - first < G::tile ? a.tokens - first : G::tile);
  const float factor = a.heads.scale * kLog2E;

  load_rows<Size>(queries, head_dimension, [&](unsigned row) { return row < count ? a.qkv + (first + row) * a.heads.row() + a.heads.query(head) : nullptr; });
  load_rows<Size>(dys, head_dimension, [&](unsigned row) { return row < count ? a.dy + (first + row) * a.heads.out_row() + a.heads.query(head) : nullptr; });
  std::int32_t low[G::rows];
  float log_sum_exp[G::rows], delta[G::rows], sums[G::rows][G::columns];
#pragma unroll
  for (unsigned i = 0; i < G::rows; i++) {
    const std::size_t row = first + y * G::rows + i;
    const bool inside = row < a.tokens;
    low[i] = inside ? a.starts[row] : 0;
    log_sum_exp[i] = inside ? a.log_sum_exp[row * a.heads.query_heads + head] : 0.0f;
    delta[i] = inside ? a.delta[row * a.heads.query_heads + head] : 0.0f;
#pragma unroll
    for (unsigned c = 0; c < G::columns; c++) sums[i][c] = 0.0f;
  }
  const std::size_t end = first + count;
  for (std::size_t k0 = static_cast<std::size_t>(a.starts[first]); k0 < end; k0 += G::tile) {
    __syncthreads();
    load_rows<Size>(keys, head_dimension, [&](unsigned row) { return k0 + row < end ? a.qkv + (k0 + row) * a.heads.row() + a.heads.key(head / a.heads.group) : nullptr; });
    load_rows<Size>(values, head_dimension, [&](unsigned row) { return k0 + row < end ? a.qkv + (k0 + row) * a.heads.row() + a.heads.value(head / a.heads.group) : nullptr; });
    __syncthreads();
    float p[G::rows][G::rows], ds[G::rows][G::rows];
    multiply_rows<Size>(queries, keys, head_dimension, p);
    multiply_rows<Size>(dys, values, head_dimension, ds);
#pragma unroll
    for (unsigned i = 0; i < G::rows; i++) {
      const std::size_t row = first + y * G::rows + i;
#pragma unroll
      for (unsigned j = 0; j < G::rows; j++) {
        const std::size_t index = k0 + x + j * kSide;
        const bool seen = row < a.tokens && index <= row && index >= static_cast<std::size_t>(low[i]);
        differentiate(p[i][j], ds[i][j], seen, factor, log_sum_exp[i], delta[i], a.heads.scale);
      }
    }
    store_weights<Size>(weights, ds);
    __syncthreads();
    accumulate<Size>(weights, keys, sums);
  }
  store_result<Size>(sums, head_dimension, [&](unsigned row) { return row < count ? a.d_qkv + (first + row) * a.heads.row() + a.heads.query(head) : nullptr; },
                     static_cast<const T*>(nullptr));
}

// Block (tile of keys, key-value head).
template <class T, unsigned Size>
__global__ void __launch_bounds__(kThreads) grad_keys_kernel(AttentionBackward<T> a) {
  using G = Geometry<Size>;
  XGEN_DYNAMIC_SHARED(shared);
  float* const keys = reinterpret_cast<float*>(shared);
  float* const values = keys + G::tile * G::pitch;
  float* const queries = values + G::tile * G::pitch;
  float* const dys = queries + G::tile * G::pitch;
  float* const weights = dys + G::tile * G::pitch;
  const unsigned x = threadIdx.x % kSide, y = threadIdx.x / kSide;
  const unsigned key_head = blockIdx.x % a.heads.key_value_heads, head_dimension = a.heads.head_dimension;
  const std::size_t first = std::size_t{blockIdx.x / a.heads.key_value_heads} * G::tile;  // the first keys are seen by the most queries
  const unsigned count = static_cast<unsigned>(a.tokens - first < G::tile ? a.tokens - first : G::tile);
  const float factor = a.heads.scale * kLog2E;

  load_rows<Size>(keys, head_dimension, [&](unsigned row) { return row < count ? a.qkv + (first + row) * a.heads.row() + a.heads.key(key_head) : nullptr; });
  load_rows<Size>(values, head_dimension, [&](unsigned row) { return row < count ? a.qkv + (first + row) * a.heads.row() + a.heads.value(key_head) : nullptr; });
  float d_keys[G::rows][G::columns], d_values[G::rows][G::columns];
#pragma unroll
  for (unsigned i = 0; i < G::rows; i++) {
#pragma unroll
    for (unsigned c = 0; c < G::columns; c++) d_keys[i][c] = d_values[i][c] = 0.0f;
  }
  const std::size_t end = static_cast<std::size_t>(a.ends[first + count - 1]);
  for (unsigned head = key_head * a.heads.group; head < (key_head + 1) * a.heads.group; head++) {
    for (std::size_t q0 = first; q0 < end; q0 += G::tile) {
      __syncthreads();
      load_rows<Size>(queries, head_dimension, [&](unsigned row) { return q0 + row < end ? a.qkv + (q0 + row) * a.heads.row() + a.heads.query(head) : nullptr; });
      load_rows<Size>(dys, head_dimension, [&](unsigned row) { return q0 + row < end ? a.dy + (q0 + row) * a.heads.out_row() + a.heads.query(head) : nullptr; });
      __syncthreads();
      float p[G::rows][G::rows], ds[G::rows][G::rows];
      multiply_rows<Size>(keys, queries, head_dimension, p);
      multiply_rows<Size>(values, dys, head_dimension, ds);
#pragma unroll
      for (unsigned j = 0; j < G::rows; j++) {
        const std::size_t row = q0 + x + j * kSide;
        const bool inside = row < end;
        const float log_sum_exp = inside ? a.log_sum_exp[row * a.heads.query_heads + head] : 0.0f;
        const float delta = inside ? a.delta[row * a.heads.query_heads + head] : 0.0f;
        const std::size_t low = inside ? static_cast<std::size_t>(a.starts[row]) : 0;
#pragma unroll
        for (unsigned i = 0; i < G::rows; i++) {
          const std::size_t index = first + y * G::rows + i;
          const bool seen = inside && index <= row && index >= low;
          differentiate(p[i][j], ds[i][j], seen, factor, log_sum_exp, delta, a.heads.scale);
        }
      }
      store_weights<Size>(weights, p);
      __syncthreads();
      accumulate<Size>(weights, dys, d_values);
      __syncthreads();
      store_weights<Size>(weights, ds);
      __syncthreads();
      accumulate<Size>(weights, queries, d_keys);
    }
  }
  store_result<Size>(d_keys, head_dimension, [&](unsigned row) { return row < count ? a.d_qkv + (first + row) * a.heads.row() + a.heads.key(key_head) : nullptr; },
                     static_cast<const T*>(nullptr));
  store_result<Size>(d_values, head_dimension, [&](unsigned row) { return row < count ? a.d_qkv + (first + row) * a.heads.row() + a.heads.value(key_head) : nullptr; },
                     static_cast<const T*>(nullptr));
}

// Calls f with the smallest size (an integral constant) that holds the heads.
template <class F>
void with_size(const char* name, unsigned head_dimension, F&& f) {
  if (head_dimension <= 32) {
    f(std::integral_constant<unsigned, 32>{});
  } else if (head_dimension <= 64) {
    f(std::integral_constant<unsigned, 64>{});
  } else if (head_dimension <= 128) {
    f(std::integral_constant<unsigned, 128>{});
  } else if (head_dimension <= 256) {
    f(std::integral_constant<unsigned, 256>{});
  } else {
    fail_launch(name, "headDimension is over 256");
  }
}

}  // namespace

template <class T>
void attention_general(Stream stream, const AttentionForward<T>& arguments) {
  constexpr const char* name = "attention";
  with_size(name, arguments.heads.head_dimension, [&](auto size) {
    constexpr unsigned Size = decltype(size)::value;
    using G = Geometry<Size>;
    launch(name, forward_kernel<Size, PackedTask<T>>, grid_of(name, divide_up(arguments.tokens, G::tile) * arguments.heads.query_heads), kThreads,
           2 * G::rows_bytes + G::weights_bytes, stream, PackedTask<T>{arguments, 0, 0, 0});
  });
}

template <class T>
void attention_grad_general(Stream stream, const AttentionBackward<T>& arguments) {
  constexpr const char* name = "attention_grad";
  with_size(name, arguments.heads.head_dimension, [&](auto size) {
    constexpr unsigned Size = decltype(size)::value;
    using G = Geometry<Size>;
    const std::size_t tiles = divide_up(arguments.tokens, G::tile), bytes = 4 * G::rows_bytes + G::weights_bytes;
    launch(name, grad_queries_kernel<T, Size>, grid_of(name, tiles * arguments.heads.query_heads), kThreads, bytes, stream, arguments);
    launch(name, grad_keys_kernel<T, Size>, grid_of(name, tiles * arguments.heads.key_value_heads), kThreads, bytes, stream, arguments);
  });
}

template <class Q, class K>
void paged_attention_general(Stream stream, const PagedForward<Q, K>& arguments) {
  constexpr const char* name = "paged_attention";
  with_size(name, arguments.heads.head_dimension, [&](auto size) {
    constexpr unsigned Size = decltype(size)::value;
    using G = Geometry<Size>;
    const std::size_t tiles = arguments.tokens / G::tile + arguments.pages.sequences;
    launch(name, forward_kernel<Size, PagedTask<Q, K>>, grid_of(name, tiles * arguments.heads.query_heads), kThreads,
           2 * G::rows_bytes + G::weights_bytes, stream, PagedTask<Q, K>{arguments, 0, 0, {}, 0, 0});
  });
}

template void attention_general(Stream, const AttentionForward<float>&);
template void attention_general(Stream, const AttentionForward<bfloat16>&);
template void attention_grad_general(Stream, const AttentionBackward<float>&);
template void attention_grad_general(Stream, const AttentionBackward<bfloat16>&);
template void paged_attention_general(Stream, const PagedForward<float, float>&);
template void paged_attention_general(Stream, const PagedForward<float, bfloat16>&);
template void paged_attention_general(Stream, const PagedForward<bfloat16, bfloat16>&);

}  // namespace xgen::cuda
