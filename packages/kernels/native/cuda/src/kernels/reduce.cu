// Reductions over rows and columns, and softmax. Bound by memory: each reads its input once (softmax twice, the second time from
// the caches for rows up to some 100,000 elements).
#include "reduce.h"

#include <algorithm>

#include "xgen/cuda/device.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr std::size_t kRowPiece = 32768;   // elements of a row that one block reduces
constexpr std::size_t kColumnPiece = 512;  // rows of a column that one block reduces
constexpr unsigned kColumns = 32;          // columns of a block: the lanes of its warps

__device__ __forceinline__ float apply(Reduction reduction, float a, float b) {
  if (reduction == Reduction::sum) return a + b;
  return reduction == Reduction::maximum ? Maximum{}(a, b) : Minimum{}(a, b);
}
__device__ __forceinline__ float identity(Reduction reduction) {
  if (reduction == Reduction::sum) return 0.0f;
  return reduction == Reduction::maximum ? -infinity() : infinity();
}
struct Reduce {
  Reduction reduction;
  __device__ __forceinline__ float operator()(float a, float b) const { return apply(reduction, a, b); }
};

// Block (row, piece): out[row * pieces + piece].
__global__ void __launch_bounds__(kThreads) rows_kernel(Reduction reduction, const void* x, ElementType type, void* out, ElementType out_type,
                                                        std::size_t width, unsigned pieces) {
  XGEN_SHARED(float, scratch, kThreads / kWarp);
  const std::size_t row = blockIdx.x / pieces, piece = blockIdx.x % pieces;
  const std::size_t begin = piece * kRowPiece, end = begin + kRowPiece < width ? begin + kRowPiece : width;
  const std::size_t base = row * width;
  float value = identity(reduction);
  if (width % kVector == 0) {
    for (std::size_t i = begin + threadIdx.x * kVector; i < end; i += kThreads * kVector) {
      const Floats8 v = load8(x, type, base + i);
#pragma unroll
      for (int j = 0; j < 8; j++) value = apply(reduction, value, v.v[j]);
    }
  } else {
    for (std::size_t i = begin + threadIdx.x; i < end; i += kThreads) value = apply(reduction, value, load1(x, type, base + i));
  }
  value = block_reduce<kThreads>(value, Reduce{reduction}, scratch);
  if (threadIdx.x == 0) store1(out, out_type, blockIdx.x, value);
}

// One warp a row: for many short rows.
__global__ void __launch_bounds__(kThreads) short_rows_kernel(Reduction reduction, const void* x, ElementType type, void* out,
                                                              ElementType out_type, std::size_t rows, std::size_t width) {
  const std::size_t row = static_cast<std::size_t>(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
  float value = identity(reduction);
  if (row < rows) {
    for (std::size_t i = threadIdx.x % kWarp; i < width; i += kWarp) value = apply(reduction, value, load1(x, type, row * width + i));
  }
  value = warp_reduce(value, Reduce{reduction});
  if (row < rows && threadIdx.x % kWarp == 0) store1(out, out_type, row, value);
}

// Block (columns, piece of rows): out[piece * width + column]. Each warp takes every `threads / 32`-th row of the piece.
template <unsigned threads>
__global__ void __launch_bounds__(threads) columns_kernel(Reduction reduction, const void* x, ElementType type, void* out,
                                                           ElementType out_type, std::size_t rows, std::size_t width,
                                                           std::size_t piece_rows) {
  XGEN_SHARED(float, partial, threads);
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const std::size_t column = static_cast<std::size_t>(blockIdx.x) * kColumns + lane;
  const std::size_t begin = blockIdx.y * piece_rows, end = begin + piece_rows < rows ? begin + piece_rows : rows;
  float value = identity(reduction);
  if (column < width) {
#pragma unroll 8
    for (std::size_t r = begin + warp; r < end; r += threads / kWarp) value = apply(reduction, value, load1(x, type, r * width + column));
  }
  partial[threadIdx.x] = value;
  __syncthreads();
  if (warp == 0 && column < width) {
    for (unsigned w = 1; w < threads / kWarp; w++) value = apply(reduction, value, partial[w * kWarp + lane]);
    store1(out, out_type, blockIdx.y * width + column, value);
  }
}

__global__ void __launch_bounds__(kThreads) softmax_kernel(const void* x, ElementType type, void* y, ElementType y_type, std::size_t width) {
  XGEN_SHARED(float, scratch, 2 * (kThreads / kWarp));
  const std::size_t base = static_cast<std::size_t>(blockIdx.x) * width;
  float largest = -infinity(), sum = 0.0f;
  // A thread's own maximum and sum, rescaled when the maximum rises.
  const auto take = [&](float value) {
    if (value > largest) {
      sum = sum * expf(largest - value) + 1.0f;
      largest = value;
    } else {
      sum += value == -infinity() ? 0.0f : expf(value - largest);
    }
  };
  const bool vectors = width % kVector == 0;
  if (vectors) {
    for (std::size_t i = threadIdx.x * kVector; i < width; i += kThreads * kVector) {
      const Floats8 v = load8(x, type, base + i);
#pragma unroll
      for (int j = 0; j < 8; j++) take(v.v[j]);
    }
  } else {
    for (std::size_t i = threadIdx.x; i < width; i += kThreads) take(load1(x, type, base + i));
  }
  const float row_largest = block_reduce<kThreads>(largest, Maximum{}, scratch);
  sum = largest == -infinity() ? sum : sum * expf(largest - row_largest);
  const float inverse = 1.0f / block_reduce<kThreads>(sum, Add{}, scratch + kThreads / kWarp);
  if (vectors) {
    for (std::size_t i = threadIdx.x * kVector; i < width; i += kThreads * kVector) {
      Floats8 v = load8(x, type, base + i);
#pragma unroll
      for (int j = 0; j < 8; j++) v.v[j] = expf(v.v[j] - row_largest) * inverse;
      store8(y, y_type, base + i, v);
    }
  } else {
    for (std::size_t i = threadIdx.x; i < width; i += kThreads) {
      store1(y, y_type, base + i, expf(load1(x, type, base + i) - row_largest) * inverse);
    }
  }
}

// Rows are cut only where there are too few of them to fill a device.
std::size_t row_pieces(std::size_t rows, std::size_t width) { return rows < 512 ? std::max<std::size_t>(1, divide_up(width, kRowPiece)) : 1; }
std::size_t column_pieces(std::size_t rows, std::size_t width) {
  return width < 65536 ? std::min<std::size_t>(1024, std::max<std::size_t>(1, divide_up(rows, kColumnPiece))) : 1;
}

// Few blocks have to hurry where one piece is all there is.
template <unsigned threads>
void columns(const char* name, Stream stream, Reduction reduction, ConstArray x, Array out, std::size_t rows, std::size_t width,
             std::size_t pieces) {
  launch(name, columns_kernel<threads>, dim3(grid_of(name, divide_up(width, kColumns)), static_cast<unsigned>(pieces)), threads, 0, stream,
         reduction, x.data, x.type, out.data, out.type, rows, width, divide_up(std::max<std::size_t>(rows, 1), pieces));
}

}  // namespace

void combine_columns(const char* operation, Stream stream, Reduction reduction, const float* x, Array out, std::size_t rows,
                     std::size_t width) {
  require_float(operation, out.type);
  columns<1024>(operation, stream, reduction, {x, ElementType::float32}, out, rows, width, 1);
}

std::size_t reduce_rows_workspace_bytes(std::size_t rows, std::size_t width) { return rows * row_pieces(rows, width) * sizeof(float) + 16; }

void reduce_rows(Stream stream, Reduction reduction, ConstArray x, Array out, std::size_t rows, std::size_t width, void* workspace) {
  constexpr const char* name = "reduce_rows";
  require_float(name, x.type);
  require_float(name, out.type);
  const std::size_t pieces = row_pieces(rows, width);
  if (width <= 256) {
    launch(name, short_rows_kernel, grid_of(name, divide_up(rows, kThreads / kWarp)), kThreads, 0, stream, reduction, x.data, x.type,
           out.data, out.type, rows, width);
    return;
  }
  // A row that is not cut may be longer than a piece.
  const bool cut = pieces > 1;
  if (!cut && width > kRowPiece) {
    launch(name, short_rows_kernel, grid_of(name, divide_up(rows, kThreads / kWarp)), kThreads, 0, stream, reduction, x.data, x.type,
           out.data, out.type, rows, width);
    return;
  }
  const Array first = cut ? Array{workspace, ElementType::float32} : out;
  launch(name, rows_kernel, grid_of(name, rows * pieces), kThreads, 0, stream, reduction, x.data, x.type, first.data, first.type, width,
         static_cast<unsigned>(pieces));
  if (!cut) return;
  launch(name, short_rows_kernel, grid_of(name, divide_up(rows, kThreads / kWarp)), kThreads, 0, stream, reduction, workspace,
         ElementType::float32, out.data, out.type, rows, pieces);
}

std::size_t reduce_columns_workspace_bytes(std::size_t rows, std::size_t width) {
  return column_pieces(rows, width) * width * sizeof(float) + 16;
}

void reduce_columns(Stream stream, Reduction reduction, ConstArray x, Array out, std::size_t rows, std::size_t width, void* workspace) {
  constexpr const char* name = "reduce_columns";
  require_float(name, x.type);
  require_float(name, out.type);
  const std::size_t pieces = column_pieces(rows, width);
  if (pieces == 1) {
    columns<kThreads>(name, stream, reduction, x, out, rows, width, 1);
    return;
  }
  columns<kThreads>(name, stream, reduction, x, {workspace, ElementType::float32}, rows, width, pieces);
  columns<1024>(name, stream, reduction, {workspace, ElementType::float32}, out, pieces, width, 1);
}

void softmax(Stream stream, ConstArray x, Array y, std::size_t rows, std::size_t width) {
  constexpr const char* name = "softmax";
  require_float(name, x.type);
  require_float(name, y.type);
  if (width == 0) return;
  launch(name, softmax_kernel, grid_of(name, rows), kThreads, 0, stream, x.data, x.type, y.data, y.type, width);
}

}  // namespace xgen::cuda
