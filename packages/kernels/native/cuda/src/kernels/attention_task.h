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

}  // namespace xgen::cuda
