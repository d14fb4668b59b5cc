#include "xgen/cuda/ragged.h"

#include "xgen/cuda/device.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kThreads = 256;

// Where a document starts, made safe: between 0 and `tokens`. Beyond the last document: `tokens`.
__device__ __forceinline__ std::int64_t start_of(const std::int32_t* cumulative, std::size_t documents, std::size_t document, std::int64_t tokens) {
  const std::int64_t start = document < documents ? cumulative[document] : tokens;
  return start < 0 ? 0 : (start > tokens ? tokens : start);
}

__global__ void __launch_bounds__(kThreads) ragged_kernel(const std::int32_t* cumulative, std::size_t documents, std::size_t batch, std::int64_t tokens,
                                                          std::int64_t row, std::int64_t out_row, std::int64_t heads, RaggedOffsets offsets,
                                                          ErrorFlag* error) {
  const std::size_t d = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (d > batch) return;
  if (d <= documents) {
    const std::int32_t length = cumulative[d];
    const bool wrong = (d == 0 && length != 0) || (d > 0 && length < cumulative[d - 1]) || (d == documents && length != tokens);
    if (wrong) report(error, DeviceError::cumulative_lengths, static_cast<std::int64_t>(d), length);
  }
  const std::int64_t start = start_of(cumulative, documents, d, tokens);
  offsets.rows[d] = start * row;
  offsets.out[d] = start * out_row;
  offsets.statistics[d] = start * heads;
  if (d == batch) return;
  const std::int64_t length = start_of(cumulative, documents, d + 1, tokens) - start;
  offsets.lengths[d] = length < 0 ? 0 : static_cast<std::int32_t>(length);
}

}  // namespace

void ragged_offsets(Stream stream, const std::int32_t* cumulative, std::size_t documents, std::size_t batch, std::size_t tokens,
                    const AttentionShape& shape, const RaggedOffsets& offsets, ErrorFlag* error) {
  constexpr const char* name = "attention";
  const auto out_row = static_cast<std::int64_t>(shape.query_heads * shape.head_dimension);
  launch(name, ragged_kernel, grid_of(name, divide_up(batch + 1, kThreads)), kThreads, 0, stream, cumulative, documents, batch,
         static_cast<std::int64_t>(tokens), static_cast<std::int64_t>(shape.row()), out_row, static_cast<std::int64_t>(shape.query_heads), offsets, error);
}

}  // namespace xgen::cuda
