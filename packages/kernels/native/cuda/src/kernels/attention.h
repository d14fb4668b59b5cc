// What the attention kernels share. Everything is causal over packed documents: query row q of the batch sees keys starts[q] ... q, and key
// row k is seen by queries k ... ends[k] - 1, where starts and ends are of the row's document.
#pragma once

#include "xgen/cuda/device.h"

namespace xgen::cuda {

// Geometry of qkv rows, for kernels.
struct Heads {
  unsigned query_heads, key_value_heads, group, head_dimension;
  float scale;
  __host__ __device__ std::size_t row() const { return std::size_t{query_heads + 2 * key_value_heads} * head_dimension; }
  __host__ __device__ std::size_t out_row() const { return std::size_t{query_heads} * head_dimension; }
  __host__ __device__ std::size_t query(unsigned head) const { return std::size_t{head} * head_dimension; }
  __host__ __device__ std::size_t key(unsigned head) const { return std::size_t{query_heads + head} * head_dimension; }
  __host__ __device__ std::size_t value(unsigned head) const { return std::size_t{query_heads + key_value_heads + head} * head_dimension; }
};

inline Heads heads_of(const AttentionShape& shape) {
  return {static_cast<unsigned>(shape.query_heads), static_cast<unsigned>(shape.key_value_heads), static_cast<unsigned>(shape.group()),
          static_cast<unsigned>(shape.head_dimension), shape.scale};
}

template <class T>
struct AttentionForward {
  const T* qkv;
  const std::int32_t* starts;
  T* out;
  float* log_sum_exp;
  std::size_t tokens;
  Heads heads;
};

template <class T>
struct AttentionBackward {
  const T* qkv;
  const std::int32_t* starts;
  const std::int32_t* ends;
  const float* log_sum_exp;  // [tokens][query heads]
  const float* delta;        // likewise: sum of dy * out
  const T* dy;
  T* d_qkv;
  std::size_t tokens;
  Heads heads;
};

// The batch of a paged call as kernels see it.
struct Pages {
  const std::int32_t* cumulative_query_lengths;
  const std::int32_t* context_lengths;
  const std::int32_t* block_tables;
  unsigned sequences, max_blocks, block_size, cache_blocks;
};

// A sequence of a paged batch with its lengths made safe. bad: what context_lengths says is impossible.
struct PagedSequence {
  std::int64_t first_token;
  std::int32_t queries, context;  // context: 0 where it is unused or bad
  std::int32_t context_given;
  bool bad;
};
// `read` loads an integer.
template <class Read>
__device__ __forceinline__ PagedSequence paged_sequence(const Pages& pages, unsigned sequence, std::int64_t tokens, Read read) {
  std::int64_t first = read(pages.cumulative_query_lengths + sequence), last = read(pages.cumulative_query_lengths + sequence + 1);
  first = first < 0 ? 0 : (first > tokens ? tokens : first);
  last = last < first ? first : (last > tokens ? tokens : last);
  const std::int32_t context = read(pages.context_lengths + sequence);
  const std::int64_t room = std::int64_t{pages.max_blocks} * pages.block_size;
  PagedSequence s = {first, static_cast<std::int32_t>(last - first), context, context, false};
  s.bad = context != kUnused && (context < s.queries || context > room);
  if (context == kUnused || s.bad) s.context = 0;
  return s;
}
__device__ __forceinline__ PagedSequence paged_sequence(const Pages& pages, unsigned sequence, std::int64_t tokens) {
  return paged_sequence(pages, sequence, tokens, [](const std::int32_t* from) { return *from; });
}
// The cache's row of a position, or -1 where the table is wrong.
__device__ __forceinline__ std::int64_t paged_row(const Pages& pages, unsigned sequence, unsigned position) {
  const std::int32_t block = pages.block_tables[std::size_t{sequence} * pages.max_blocks + position / pages.block_size];
  if (block < 0 || static_cast<unsigned>(block) >= pages.cache_blocks) return -1;
  return std::int64_t{block} * pages.block_size + position % pages.block_size;
}

template <class Q, class K>
struct PagedForward {
  const Q* qkv;
  const K* key_cache;
  const K* value_cache;
  Q* out;
  Pages pages;
  std::size_t tokens;
  Heads heads;
  std::int32_t fewest;  // new tokens of a sequence that tiles are for; shorter ones are done elsewhere
};

// Kernels in float32 arithmetic, for any head size to 256 (attention_general.cu).
template <class T>
void attention_general(Stream stream, const AttentionForward<T>& arguments);
template <class T>
void attention_grad_general(Stream stream, const AttentionBackward<T>& arguments);
template <class Q, class K>
void paged_attention_general(Stream stream, const PagedForward<Q, K>& arguments);

// bfloat16 on the tensor cores, head sizes 64 and 128 (attention_mma.cu, attention_grad_mma.cu).
void attention_mma(Stream stream, const AttentionForward<bfloat16>& arguments);
void attention_grad_mma(Stream stream, const AttentionBackward<bfloat16>& arguments);
void paged_attention_mma(Stream stream, const PagedForward<bfloat16, bfloat16>& arguments);

}  // namespace xgen::cuda
