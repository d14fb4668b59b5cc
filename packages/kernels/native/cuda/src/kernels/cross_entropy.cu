// The parts of linear + cross-entropy around its matrix products, a chunk of logits at a time.
//
// Where the gradient is known beforehand, one kernel does it all: a block walks its row twice, and the second time finds it in the
// second-level cache (two blocks of 1,024 threads a processor hold 53 MB of float32 rows of 50,000, 26 MB of bfloat16).
//
// Bound by memory: the forward pass reads each logit once, the gradient reads and writes it once (bf16: 2 and 4 bytes; a chunk that was just
// multiplied may still lie in the second-level cache). One exponential a logit: 3.6e12 a second on an H100, above what memory delivers.
#include "xgen/cuda/device.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kThreads = 256, kRowThreads = 1024;
// A row of logits this long or shorter is held in shared memory: two blocks of 1,024 threads a processor must fit.
constexpr std::size_t kHeldBytes = std::size_t{96} << 10;

// A maximum and the sum of exponentials relative to it.
struct Tail {
  float maximum, sum;
};
struct Join {
  __device__ __forceinline__ Tail operator()(const Tail& a, const Tail& b) const {
    const float larger = a.maximum > b.maximum ? a.maximum : b.maximum;
    if (larger == -infinity()) return {larger, a.sum + b.sum};  // also where both are empty
    return {larger, a.sum * exp_fast(a.maximum - larger) + b.sum * exp_fast(b.maximum - larger)};
  }
};

// The tail of one row, walked by a block; `scratch` holds a value for each warp. Every thread gets the result.
template <unsigned threads, class T, bool vectors>
__device__ __forceinline__ Tail row_tail(const T* row, unsigned columns, Tail* scratch) {
  Tail own = {-infinity(), 0.0f};
  if constexpr (vectors) {
#pragma unroll 4
    for (unsigned i = threadIdx.x * kVector; i < columns; i += threads * kVector) {
      const Floats8 x = load8(row + i);
      float larger = own.maximum;
#pragma unroll
      for (int j = 0; j < 8; j++) larger = fmaxf(larger, x.v[j]);
      const float base = larger == -infinity() ? 0.0f : larger;
      own.sum *= exp_fast(own.maximum - base);
      own.maximum = larger;
#pragma unroll
      for (int j = 0; j < 8; j++) own.sum += exp_fast(x.v[j] - base);
    }
  } else {
    for (unsigned i = threadIdx.x; i < columns; i += threads) own = Join{}(own, {to_float(row[i]), 1.0f});
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    own = Join{}(own, {__shfl_xor_sync(kFullMask, own.maximum, step), __shfl_xor_sync(kFullMask, own.sum, step)});
  }
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = own;
  __syncthreads();
  own = scratch[0];
  for (unsigned w = 1; w < threads / kWarp; w++) own = Join{}(own, scratch[w]);
  return own;
}

// One row a block.
template <class T, bool vectors>
__global__ void __launch_bounds__(kThreads) chunk_kernel(const T* logits, std::size_t stride, unsigned columns, std::int64_t first_column,
                                                         const std::int32_t* targets, CrossEntropyState state, bool first) {
  XGEN_SHARED(Tail, scratch, kThreads / kWarp);
  const T* const row = logits + blockIdx.x * stride;
  Tail own = row_tail<kThreads, T, vectors>(row, columns, scratch);
  if (threadIdx.x != 0) return;
  if (!first) own = Join{}({state.maximum[blockIdx.x], state.sum[blockIdx.x]}, own);
  state.maximum[blockIdx.x] = own.maximum;
  state.sum[blockIdx.x] = own.sum;
  const std::int64_t column = targets[blockIdx.x] - first_column;
  if (column >= 0 && column < static_cast<std::int64_t>(columns)) {
    state.target_logit[blockIdx.x] = to_float(row[column]);
  } else if (first) {
    state.target_logit[blockIdx.x] = 0.0f;
  }
}

__global__ void __launch_bounds__(kThreads) finish_kernel(CrossEntropyState state, const std::int32_t* targets, std::int32_t ignore_index,
                                                          std::size_t vocabulary, float* log_probabilities, float* log_sum_exp,
                                                          std::size_t rows, ErrorFlag* error) {
  const std::size_t row = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= rows) return;
  const std::int32_t target = targets[row];
  const bool inside = target >= 0 && static_cast<std::size_t>(target) < vocabulary;
  const bool counts = target != ignore_index && inside;
  if (target != ignore_index && !inside) report(error, DeviceError::targets, static_cast<std::int64_t>(row), target);
  const float tail = logf(state.sum[row]);
  log_sum_exp[row] = counts ? state.maximum[row] + tail : 0.0f;
  // The two large numbers first: their difference is exact where it matters.
  log_probabilities[row] = counts ? (state.target_logit[row] - state.maximum[row]) - tail : 0.0f;
}

template <class T, class G, bool vectors>
__global__ void __launch_bounds__(kThreads) grad_kernel(const T* logits, G* d_logits, std::size_t stride, std::size_t pieces,
                                                        std::size_t count, std::int64_t first_column, const std::int32_t* targets,
                                                        std::int32_t ignore_index, const float* log_sum_exp, const float* dy) {
  const std::size_t k = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (k >= count) return;
  constexpr unsigned step = vectors ? kVector : 1;
  const std::size_t row = quotient(k, pieces), column = (k - row * pieces) * step, at = row * stride + column;
  const std::int32_t target = targets[row];
  const bool counts = target != ignore_index;
  const float factor = counts ? dy[row] : 0.0f, lse = log_sum_exp[row];
  const std::int64_t hit = counts ? target - first_column - static_cast<std::int64_t>(column) : -1;
  const auto gradient = [&](float x, int j) {
    if (factor == 0.0f) return 0.0f;  // whatever the logit
    return factor * ((hit == j ? 1.0f : 0.0f) - exp_fast(x - lse));
  };
  if constexpr (vectors) {
    Floats8 x = load8(logits + at);
#pragma unroll
    for (int j = 0; j < 8; j++) x.v[j] = gradient(x.v[j], j);
    store8(d_logits + at, x);
  } else {
    from_float(gradient(to_float(logits[at]), 0), d_logits[at]);
  }
}

// One row a block, twice: statistics, then the gradient over the logits. `held`: in shared memory meanwhile, so that it is read once.
template <class T, bool vectors, bool held>
__global__ void __launch_bounds__(kRowThreads) with_gradient_kernel(T* logits, std::size_t stride, unsigned columns,
                                                                    const std::int32_t* targets, std::int32_t ignore_index, float dy,
                                                                    float* log_probabilities, std::size_t first_row, ErrorFlag* error) {
  XGEN_SHARED(Tail, scratch, kRowThreads / kWarp);
  XGEN_DYNAMIC_SHARED(shared);
  T* const row = logits + blockIdx.x * stride;
  const T* const from = held ? reinterpret_cast<const T*>(shared) : row;
  const std::int32_t target = targets[blockIdx.x];
  const bool inside = target >= 0 && static_cast<unsigned>(target) < columns, counts = target != ignore_index && inside;
  Tail tail = {0.0f, 1.0f};
  if (counts) {  // one answer for the block
    if constexpr (held) {
      // Each thread reads what it wrote itself, but for the target's logit, which comes after a barrier.
#pragma unroll 8
      for (unsigned i = threadIdx.x * kVector; i < columns; i += kRowThreads * kVector) {
        store_aligned(reinterpret_cast<T*>(shared) + i, load_aligned<uint4>(row + i));
      }
    }
    tail = row_tail<kRowThreads, T, vectors>(from, columns, scratch);
    if (threadIdx.x == 0) log_probabilities[blockIdx.x] = (to_float(from[target]) - tail.maximum) - logf(tail.sum);
    __syncthreads();  // before the target's logit is written over
  } else if (threadIdx.x == 0) {
    if (target != ignore_index) report(error, DeviceError::targets, static_cast<std::int64_t>(first_row + blockIdx.x), target);
    log_probabilities[blockIdx.x] = 0.0f;
  }
  const float log_sum_exp = tail.maximum + logf(tail.sum);
  const auto gradient = [&](float x, unsigned column) {
    return counts ? dy * ((static_cast<unsigned>(target) == column ? 1.0f : 0.0f) - exp_fast(x - log_sum_exp)) : 0.0f;
  };
  if constexpr (vectors) {
#pragma unroll 4
    for (unsigned i = threadIdx.x * kVector; i < columns; i += kRowThreads * kVector) {
      Floats8 x = {};
      if (counts) x = load8(from + i);
#pragma unroll
      for (unsigned j = 0; j < 8; j++) x.v[j] = gradient(x.v[j], i + j);
      store8(row + i, x);
    }
  } else {
    for (unsigned i = threadIdx.x; i < columns; i += kRowThreads) from_float(gradient(to_float(row[i]), i), row[i]);
  }
}

__global__ void __launch_bounds__(kThreads) expect_kernel(const float* dy, const std::int32_t* targets, std::int32_t ignore_index,
                                                          std::size_t rows, float expected, ErrorFlag* error) {
  const std::size_t i = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= rows || targets[i] == ignore_index) return;
  if (!(fabsf(dy[i] - expected) <= 1e-5f * fabsf(expected))) report(error, DeviceError::gradient, static_cast<std::int64_t>(i), 0);
}

bool in_vectors(const LogitsChunk& chunk) { return chunk.columns % kVector == 0 && chunk.stride % kVector == 0; }

}  // namespace

void cross_entropy_chunk(Stream stream, ConstArray logits, const LogitsChunk& chunk, const std::int32_t* targets,
                         const CrossEntropyState& state, bool first) {
  constexpr const char* name = "cross_entropy_chunk";
  with_float(name, logits.type, [&](auto t) {
    using T = decltype(t);
    launch(name, in_vectors(chunk) ? chunk_kernel<T, true> : chunk_kernel<T, false>, grid_of(name, chunk.rows), kThreads, 0, stream,
           typed<T>(logits), chunk.stride, static_cast<unsigned>(chunk.columns), static_cast<std::int64_t>(chunk.first_column), targets,
           state, first);
  });
}

void cross_entropy_finish(Stream stream, const CrossEntropyState& state, const std::int32_t* targets, std::int32_t ignore_index,
                          std::size_t vocabulary, float* log_probabilities, float* log_sum_exp, std::size_t rows, ErrorFlag* error) {
  constexpr const char* name = "cross_entropy_finish";
  launch(name, finish_kernel, grid_of(name, divide_up(rows, kThreads)), kThreads, 0, stream, state, targets, ignore_index, vocabulary,
         log_probabilities, log_sum_exp, rows, error);
}

void cross_entropy_grad_chunk(Stream stream, ConstArray logits, Array d_logits, const LogitsChunk& chunk, const std::int32_t* targets,
                              std::int32_t ignore_index, const float* log_sum_exp, const float* dy) {
  constexpr const char* name = "cross_entropy_grad_chunk";
  const bool vectors = in_vectors(chunk);
  const std::size_t pieces = vectors ? chunk.columns / kVector : chunk.columns, count = chunk.rows * pieces;
  with_float(name, logits.type, [&](auto t) {
    with_float(name, d_logits.type, [&](auto g) {
      using T = decltype(t);
      using G = decltype(g);
      launch(name, vectors ? grad_kernel<T, G, true> : grad_kernel<T, G, false>, grid_of(name, divide_up(count, kThreads)), kThreads, 0,
             stream, typed<T>(logits), typed<G>(d_logits), chunk.stride, pieces, count, static_cast<std::int64_t>(chunk.first_column),
             targets, ignore_index, log_sum_exp, dy);
    });
  });
}

void cross_entropy_with_gradient(Stream stream, Array logits, const LogitsChunk& chunk, const std::int32_t* targets, std::int32_t ignore_index,
                                 float dy, float* log_probabilities, std::size_t first_row, ErrorFlag* error) {
  constexpr const char* name = "cross_entropy_with_gradient";
  with_float(name, logits.type, [&](auto t) {
    using T = decltype(t);
    const std::size_t bytes = chunk.columns * sizeof(T);
    const bool held = sizeof(T) == 2 && in_vectors(chunk) && bytes <= kHeldBytes;
    auto* kernel = in_vectors(chunk) ? with_gradient_kernel<T, true, false> : with_gradient_kernel<T, false, false>;
    if (held) kernel = with_gradient_kernel<T, true, sizeof(T) == 2>;
    launch(name, kernel, grid_of(name, chunk.rows), kRowThreads, held ? bytes : 0, stream, typed<T>(logits), chunk.stride,
           static_cast<unsigned>(chunk.columns), targets, ignore_index, dy, log_probabilities, first_row, error);
  });
}

void expect_gradient(Stream stream, const float* dy, const std::int32_t* targets, std::int32_t ignore_index, std::size_t rows, float expected,
                     ErrorFlag* error) {
  constexpr const char* name = "expect_gradient";
  launch(name, expect_kernel, grid_of(name, divide_up(rows, kThreads)), kThreads, 0, stream, dy, targets, ignore_index, rows, expected, error);
}

}  // namespace xgen::cuda
