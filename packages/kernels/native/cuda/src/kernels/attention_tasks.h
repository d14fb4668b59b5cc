// What a block of the attention kernels' forward pass works on: query rows of one head, the range of keys that each sees, and where rows lie.
#pragma once

#include "attention.h"

namespace xgen::cuda {

// Tiles of the packed batch; one that crosses a document's border takes the keys of both and masks.
template <class T>
struct PackedTask {
  AttentionForward<T> a;
  unsigned head;
  std::size_t first;  // query row of the tile's first row
  unsigned count;
  using Query = T;

  __device__ bool locate(unsigned block, unsigned tile) {
    const unsigned tiles = gridDim.x / a.heads.query_heads;
    head = block % a.heads.query_heads;
    first = std::size_t{tiles - 1 - block / a.heads.query_heads} * tile;  // the longest first
    count = static_cast<unsigned>(a.tokens - first < tile ? a.tokens - first : tile);
    return true;
  }
  __device__ std::int32_t low(unsigned row) const { return a.starts[first + row]; }
  __device__ std::int32_t high(unsigned row) const { return static_cast<std::int32_t>(first + row); }
  __device__ const T* query(unsigned row) const { return a.qkv + (first + row) * a.heads.row() + a.heads.query(head); }
  __device__ const T* key(std::int32_t index) const { return a.qkv + static_cast<std::size_t>(index) * a.heads.row() + a.heads.key(head / a.heads.group); }
  __device__ const T* value(std::int32_t index) const { return a.qkv + static_cast<std::size_t>(index) * a.heads.row() + a.heads.value(head / a.heads.group); }
  __device__ T* out(unsigned row) const { return a.out + (first + row) * a.heads.out_row() + a.heads.query(head); }
  __device__ void store_log_sum_exp(unsigned row, float x) const {
    if (a.log_sum_exp != nullptr) a.log_sum_exp[(first + row) * a.heads.query_heads + head] = x;
  }
};

template <class Q, class K>
struct PagedTask {
  PagedForward<Q, K> a;
  unsigned head, sequence;
  PagedSequence lengths;
  std::int32_t offset;  // the tile's first query among its sequence's
  unsigned count;
  using Query = Q;

  // Tiles are counted over the sequences: the grid holds tokens / tile + sequences of them, some of which find nothing to do.
  __device__ bool locate(unsigned block, unsigned tile) {
    head = block % a.heads.query_heads;
    unsigned wanted = block / a.heads.query_heads;
    for (sequence = 0; sequence < a.pages.sequences; sequence++) {
      lengths = paged_sequence(a.pages, sequence, static_cast<std::int64_t>(a.tokens));
      if (lengths.queries < a.fewest) continue;
      const unsigned tiles = (static_cast<unsigned>(lengths.queries) + tile - 1) / tile;
      if (wanted < tiles) {
        offset = static_cast<std::int32_t>(wanted * tile);
        const std::int32_t rest = lengths.queries - offset;
        count = rest < static_cast<std::int32_t>(tile) ? static_cast<unsigned>(rest) : tile;
        return true;
      }
      wanted -= tiles;
    }
    return false;
  }
  __device__ std::int32_t low(unsigned) const { return 0; }
  __device__ std::int32_t high(unsigned row) const {
    return lengths.context == 0 ? -1 : lengths.context - lengths.queries + offset + static_cast<std::int32_t>(row);
  }
  __device__ std::size_t token(unsigned row) const { return static_cast<std::size_t>(lengths.first_token + offset) + row; }
  __device__ const Q* query(unsigned row) const { return a.qkv + token(row) * a.heads.row() + a.heads.query(head); }
  __device__ const K* at(const K* cache, std::int32_t index) const {
    const std::int64_t row = paged_row(a.pages, sequence, static_cast<unsigned>(index));
    return row < 0 ? nullptr : cache + static_cast<std::size_t>(row * a.heads.key_value_heads + head / a.heads.group) * a.heads.head_dimension;
  }
  __device__ const K* key(std::int32_t index) const { return at(a.key_cache, index); }
  __device__ const K* value(std::int32_t index) const { return at(a.value_cache, index); }
  __device__ Q* out(unsigned row) const { return a.out + token(row) * a.heads.out_row() + a.heads.query(head); }
  __device__ void store_log_sum_exp(unsigned, float) const {}
};

}  // namespace xgen::cuda
