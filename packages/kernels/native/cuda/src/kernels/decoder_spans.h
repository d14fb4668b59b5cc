// How the attention of a decoding step (decoder_step.cu) splits contexts over blocks, how readers merge the splits, and what is brought into the
// second-level cache for it.
#pragma once

#include "decoder_stream.h"
#include "split_softmax.h"

namespace xgen::cuda::decoder {

constexpr unsigned kLeastKeys = 128;  // of a split at least
constexpr unsigned kMostKeys = 384;   // of a split, before there are more splits than readers merge
constexpr unsigned kMergedByReaders = 4;  // splits
constexpr unsigned kPrefetchedKeys = 1024;  // of a split, that are brought into the second-level cache early
constexpr unsigned kLine = 128;  // bytes

// The caches' row of a position, or -1 where the table is wrong, which `wrong(block of the sequence, entry)` is told.
template <class Wrong>
__device__ __forceinline__ int cache_row(const Call& a, unsigned sequence, unsigned position, Wrong&& wrong) {
  const unsigned block = a.block_shift >= 0 ? position >> a.block_shift : position / a.block_size;
  const std::int32_t entry = a.block_tables[std::size_t{sequence} * a.max_blocks + block];
  if (entry < 0 || static_cast<unsigned>(entry) >= a.cache_blocks) {
    wrong(block, entry);
    return -1;
  }
  return static_cast<int>(static_cast<unsigned>(entry) * a.block_size + (position - block * a.block_size));
}
__device__ __forceinline__ int cache_row(const Call& a, unsigned sequence, unsigned position) {
  return cache_row(a, sequence, position, [](unsigned, std::int32_t) {});
}

// How a row's context is split: `used` spans of `length` positions. Up to kMergedByReaders of them whoever reads the result merges; else the block of
// a row and key-value head that is done last.
struct Span {
  unsigned context, length, used;
  bool bad;
  __device__ __forceinline__ bool merged() const { return used == 1 || used > kMergedByReaders; }  // `attended` has the result
};
template <unsigned Stride>
__device__ __forceinline__ Span span_of(const Call& a, unsigned row) {
  const std::int32_t given = a.context_lengths[row];
  const bool bad = given != kUnused && (given < 1 || static_cast<unsigned>(given) > a.max_blocks * a.block_size);
  const unsigned context = given == kUnused || bad ? 0 : static_cast<unsigned>(given);
  const auto length_of = [&](unsigned splits) {
    const unsigned length = ((context + splits - 1) / splits + Stride - 1) / Stride * Stride;
    return length < kLeastKeys ? kLeastKeys : length;
  };
  unsigned length = length_of(a.splits < kMergedByReaders ? a.splits : kMergedByReaders);
  if (length > kMostKeys) length = length_of(a.splits);
  return {context, length, context > 0 ? (context + length - 1) / length : 1, bad};
}

// What a block's first task of attention reads of every layer's caches, as far as it is brought early.
struct Early {
  unsigned sequence, head, begin, count;
};
__device__ __forceinline__ Early early_of(const Call& a, const Span* spans) {
  const unsigned pairs = a.rows * a.heads.key_value_heads, pair = blockIdx.x % pairs, split = blockIdx.x / pairs, sequence = pair / a.heads.key_value_heads;
  const Span& span = spans[sequence];
  const unsigned begin = split * span.length;
  if (split >= span.used || begin >= span.context) return {};
  const unsigned rest = span.context - begin, most = span.length < kPrefetchedKeys ? span.length : kPrefetchedKeys;
  return {sequence, pair % a.heads.key_value_heads, begin, rest < most ? rest : most};
}
// Their rows, once: looking them up takes longer than asking for them.
template <unsigned Warps>
__device__ __forceinline__ void find_early(const Call& a, const Early& early, int* rows) {
  for (unsigned i = threadIdx.x; i < early.count; i += Warps * kWarp) rows[i] = cache_row(a, early.sequence, early.begin + i);
}
// Asks for a layer's keys, values and norms to be brought into the second-level cache: long before they are wanted, since whenever the memory is
// asked it has megabytes of weights to bring first.
template <unsigned Size, unsigned Warps>
__device__ __forceinline__ void bring_early(const Call& a, unsigned layer, const Early& early, const int* rows) {
  constexpr unsigned kLineElements = kLine / sizeof(bfloat16);
  const DecoderLayer& weights = a.layers[layer];
  for (unsigned i = threadIdx.x; i < 2 * early.count; i += Warps * kWarp) {
    const int row = rows[i / 2];
    if (row < 0) continue;
    const bfloat16* const cache = static_cast<const bfloat16*>(i % 2 == 0 ? weights.key_cache : weights.value_cache);
    const bfloat16* const from = cache + (std::size_t(row) * a.heads.key_value_heads + early.head) * Size;
#pragma unroll
    for (unsigned at = 0; at < Size; at += kLineElements) prefetch_line(from + at);
  }
  if (blockIdx.x != layer % gridDim.x) return;
  const unsigned norm_bytes = a.width * static_cast<unsigned>(a.norm_type == ElementType::bfloat16 ? sizeof(bfloat16) : sizeof(float));
  for (unsigned at = threadIdx.x * kLine; at < norm_bytes; at += Warps * kWarp * kLine) {
    prefetch_line(static_cast<const unsigned char*>(weights.attention_norm) + at);
    prefetch_line(static_cast<const unsigned char*>(weights.feed_forward_norm) + at);
  }
}

// Rows of attention's result, where they are in several spans merged.
template <unsigned Size, unsigned Warps>
__device__ __forceinline__ void load_attended(const Call& a, const Span* spans, bfloat16* x) {
  const unsigned parts = static_cast<unsigned>(a.heads.out_row()) / kVector;
  for (unsigned i = threadIdx.x; i < a.rows * parts; i += Warps * kWarp) {
    const unsigned row = i / parts, column = (i - row * parts) * kVector, head = column / Size, element = column % Size;
    const Span& span = spans[row];
    bfloat16* const to = x + i * kVector;
    if (span.merged()) {
      store_aligned(to, load_shared(a.attended + i * kVector));
      continue;
    }
    const unsigned pair = row * a.heads.key_value_heads + head / a.heads.group;
    Statistic statistics[kMergedByReaders];
    float parts[kMergedByReaders][kVector] = {};
#pragma unroll
    for (unsigned k = 0; k < kMergedByReaders; k++) {
      statistics[k] = {-infinity(), 0.0f};
      if (k >= span.used) continue;
      const std::size_t unit = (std::size_t{pair} * a.splits + k) * a.heads.group + head % a.heads.group;
      statistics[k] = load_shared(a.statistics + unit);
      const Floats8 part = unpack8(Packed8<float>{load_shared4(a.partial + unit * Size + element), load_shared4(a.partial + unit * Size + element + 4)});
#pragma unroll
      for (unsigned j = 0; j < kVector; j++) parts[k][j] = part.v[j];
    }
    Merged<kVector> merged;
    merged.add(statistics, parts);
    Floats8 y;
#pragma unroll
    for (unsigned j = 0; j < kVector; j++) y.v[j] = merged.result(j);
    store8(to, y);
  }
  __syncthreads();
}

// Arrivals on the grid's barrier that attention makes, of all blocks.
__device__ __forceinline__ unsigned attention_arrivals(const Call& a, const Span* spans) {
  unsigned arrivals = 0;
  for (unsigned row = 0; row < a.rows; row++) arrivals += (spans[row].merged() ? 1 : spans[row].used) * a.heads.key_value_heads;
  return arrivals;
}

}  // namespace xgen::cuda::decoder
