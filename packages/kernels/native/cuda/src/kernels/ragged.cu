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
                                                          std::int64_t row, std::int64_t out_row, std::int64_t key_row, std::int64_t heads, RaggedOffsets offsets,
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
  offsets.keys[d] = start * key_row;
  offsets.statistics[d] = start * heads;
  if (d == batch) return;
  const std::int64_t length = start_of(cumulative, documents, d + 1, tokens) - start;
  offsets.lengths[d] = length < 0 ? 0 : static_cast<std::int32_t>(length);
}

// Thread i moves the i-th vector of eight of the rows.
template <bool unpack>
__global__ void __launch_bounds__(kThreads) pack_kernel(SeparateHeads heads, bfloat16* qkv, std::size_t count, unsigned query_vectors, unsigned key_vectors) {
  const std::size_t i = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const unsigned row_vectors = query_vectors + 2 * key_vectors;
  const std::size_t row = i / row_vectors;
  const unsigned at = static_cast<unsigned>(i - row * row_vectors);
  bfloat16* apart = static_cast<bfloat16*>(heads.query) + (row * query_vectors + at) * kVector;
  if (at >= query_vectors) {
    const unsigned beyond = at - query_vectors;
    const bool is_key = beyond < key_vectors;
    apart = static_cast<bfloat16*>(is_key ? heads.key : heads.value) + (row * key_vectors + (is_key ? beyond : beyond - key_vectors)) * kVector;
  }
  bfloat16* const together = qkv + i * kVector;
  store_aligned(unpack ? apart : together, load_aligned<uint4>(unpack ? together : apart));
}

template <bool unpack>
void move_rows(Stream stream, const SeparateHeads& heads, void* qkv, std::size_t tokens, const AttentionShape& shape) {
  constexpr const char* name = "attention_grad";
  const std::size_t count = tokens * shape.row() / kVector, vectors = shape.head_dimension / kVector;
  launch(name, pack_kernel<unpack>, grid_of(name, divide_up(count, kThreads)), kThreads, 0, stream, heads, static_cast<bfloat16*>(qkv), count,
         static_cast<unsigned>(shape.query_heads * vectors), static_cast<unsigned>(shape.key_value_heads * vectors));
}

}  // namespace

void pack_rows(Stream stream, const SeparateHeads& heads, void* qkv, std::size_t tokens, const AttentionShape& shape) {
  move_rows<false>(stream, heads, qkv, tokens, shape);
}

void unpack_rows(Stream stream, const void* qkv, const SeparateHeads& heads, std::size_t tokens, const AttentionShape& shape) {
  move_rows<true>(stream, heads, const_cast<void*>(qkv), tokens, shape);
}

void ragged_offsets(Stream stream, const std::int32_t* cumulative, std::size_t documents, std::size_t batch, std::size_t tokens,
                    const AttentionShape& shape, const RaggedOffsets& offsets, ErrorFlag* error) {
  constexpr const char* name = "attention";
  const auto out_row = static_cast<std::int64_t>(shape.query_heads * shape.head_dimension);
  const auto key_row = static_cast<std::int64_t>(shape.key_value_heads * shape.head_dimension);
  launch(name, ragged_kernel, grid_of(name, divide_up(batch + 1, kThreads)), kThreads, 0, stream, cumulative, documents, batch,
         static_cast<std::int64_t>(tokens), static_cast<std::int64_t>(shape.row()), out_row, key_row, static_cast<std::int64_t>(shape.query_heads), offsets, error);
}

}  // namespace xgen::cuda
