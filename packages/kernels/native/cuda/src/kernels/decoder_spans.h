// How the attention of a decoding step (decoder_step.cu) splits contexts over blocks, and what is brought into the second-level cache for it.
#pragma once

#include "decoder_exchange.h"

namespace xgen::cuda::decoder {

constexpr unsigned kLeastKeys = 128;        // of a split at least
constexpr unsigned kUnroll = 4;             // keys that a thread takes at once
// Where a query head has blocks of its own: what registers allow.
template <unsigned Rows>
constexpr unsigned kOwnUnroll = Rows == 1 ? 6 : kUnroll;
constexpr unsigned kPrefetchedKeys = 1024;  // of a split, that are brought into the second-level cache early
constexpr unsigned kLine = 128;             // bytes

// The caches' row of a position, or -1 where the table is wrong, which the flag is told.
__device__ __forceinline__ int cache_row(const Call& a, unsigned sequence, unsigned position) {
  const unsigned block = a.block_shift >= 0 ? position >> a.block_shift : position / a.block_size;
  const std::size_t at = std::size_t{sequence} * a.max_blocks + block;
  const std::int32_t entry = a.block_tables[at];
  if (entry < 0 || static_cast<unsigned>(entry) >= a.cache_blocks) {
    report(a.errors.pages, DeviceError::block_tables, static_cast<std::int64_t>(at), entry);
    return -1;
  }
  return static_cast<int>(static_cast<unsigned>(entry) * a.block_size + (position - block * a.block_size));
}

// Tokens that a row attends to: none where it is unused, or its length cannot be.
__device__ __forceinline__ unsigned context_of(const Call& a, unsigned row) {
  const std::int32_t given = a.context_lengths[row];
  return given < 1 || static_cast<unsigned>(given) > a.max_blocks * a.block_size ? 0 : static_cast<unsigned>(given);
}

// How contexts are split. Query heads have blocks of their own where these then load all their keys at once: keys are read by every head of a group, but
// from the second-level cache, and a block computes a fraction.
template <unsigned Stride, unsigned OwnKeys>
struct Splitting {
  bool own_heads;
  unsigned splits, most_used = 1;

  __device__ __forceinline__ explicit Splitting(const Call& a) {
    unsigned longest = 0;
    for (unsigned row = 0; row < a.rows; row++) longest = context_of(a, row) > longest ? context_of(a, row) : longest;
    own_heads = a.head_splits > 0 && longest <= a.head_splits * OwnKeys;
    splits = own_heads ? a.head_splits : a.splits;
    for (unsigned row = 0; row < a.rows; row++) most_used = used(context_of(a, row)) > most_used ? used(context_of(a, row)) : most_used;
  }
  __device__ __forceinline__ unsigned length(unsigned context) const {
    const unsigned equal = ((context + splits - 1) / splits + Stride - 1) / Stride * Stride;
    return equal < kLeastKeys ? kLeastKeys : equal;
  }
  __device__ __forceinline__ unsigned used(unsigned context) const { return context > 0 ? (context + length(context) - 1) / length(context) : 1; }
};

// A row's context: `used` spans of `length` positions.
struct Span {
  unsigned context, length, used;
  std::int32_t slot;  // of the new token, or kUnused where there is none
  bool append;        // no later row has the same slot
  bool fresh;         // the table has the slot as the last position
};
template <class S>
__device__ __forceinline__ Span span_of(const Call& a, const S& splitting, unsigned row) {
  const std::int32_t given = a.context_lengths[row], slot = a.slots[row];
  const unsigned context = context_of(a, row);
  const bool bad = given != kUnused && context == 0;
  const bool slot_good = slot >= 0 && static_cast<unsigned>(slot) < a.cache_blocks * a.block_size;
  if (blockIdx.x == 0 && bad) report(a.errors.pages, DeviceError::context_lengths, row, given);
  if (blockIdx.x == 0 && !slot_good && slot != kUnused) report(a.errors.slots, DeviceError::slots, row, slot);
  bool append = slot_good;
  for (unsigned later = row + 1; later < a.rows; later++) append = append && a.slots[later] != slot;
  const bool fresh = slot_good && context > 0 && cache_row(a, row, context - 1) == slot;
  return {context, splitting.length(context), splitting.used(context), slot_good ? slot : kUnused, append, fresh};
}

// A block's part of attention: some positions of a sequence, for the query heads of a key-value head, or for one of them where there are blocks enough.
struct Task {
  unsigned sequence, head, pair, chunk, split, begin, end;
};
__device__ __forceinline__ bool task_of(const Call& a, const Span* spans, unsigned chunks, unsigned number, Task& task) {
  const unsigned pairs = a.rows * a.heads.key_value_heads;
  task.pair = number % pairs;
  task.chunk = number / pairs % chunks;
  task.split = number / pairs / chunks;
  task.sequence = task.pair / a.heads.key_value_heads;
  task.head = task.pair % a.heads.key_value_heads;
  const Span& span = spans[task.sequence];
  if (task.split >= span.used) return false;
  task.begin = task.split * span.length;
  task.end = task.begin + span.length < span.context ? task.begin + span.length : span.context;
  return true;
}
// Asks for a layer's keys, values and norms to be brought into the second-level cache, long before they are wanted.
template <unsigned Size>
__device__ __forceinline__ void bring_early(const Call& a, unsigned layer, bool early, const Task& task, const int* rows) {
  constexpr unsigned kLineElements = kLine / sizeof(bfloat16);
  const DecoderLayer& weights = a.layers[layer];
  if (early && task.chunk == 0) {
    const unsigned all = task.end - task.begin, count = all < kPrefetchedKeys ? all : kPrefetchedKeys;
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < 2 * count; i += kThreads) {
      const int row = rows[i / 2];
      if (row < 0) continue;
      const bfloat16* const cache = static_cast<const bfloat16*>(i % 2 == 0 ? weights.key_cache : weights.value_cache);
      const bfloat16* const from = cache + (std::size_t(row) * a.heads.key_value_heads + task.head) * Size;
#pragma unroll
      for (unsigned at = 0; at < Size; at += kLineElements) prefetch_line(from + at);
    }
  }
  if (blockIdx.x != layer % gridDim.x) return;
  const unsigned norm_bytes = a.width * static_cast<unsigned>(a.norm_type == ElementType::bfloat16 ? sizeof(bfloat16) : sizeof(float));
#pragma unroll 1
  for (unsigned at = threadIdx.x * kLine; at < norm_bytes; at += kThreads * kLine) {
    prefetch_line(static_cast<const unsigned char*>(weights.attention_norm) + at);
    prefetch_line(static_cast<const unsigned char*>(weights.feed_forward_norm) + at);
  }
}

}  // namespace xgen::cuda::decoder
