// How attention's forward kernels for Hopper hand out tiles of query rows, for heads of 64 and of 128: in the order of a counter, heads that share keys side
// by side, the latest rows (the longest within a document) first; and what the copying thread tells the warpgroups of a tile.
#pragma once

#include "attention_hopper.h"
#include "hopper.h"

namespace xgen::cuda::hopper {

struct QueryTask {
  const std::int32_t* starts;
  float* log_sum_exp;
  unsigned* next;  // tile to take, 0 at first
  unsigned tokens, tiles, query_heads, key_value_heads, group;
  unsigned together;  // query heads whose tiles are taken side by side: a multiple of the group
  float scale;        // of scores, times log2(e)
};

inline QueryTask query_task(const AttentionForward<bfloat16>& a, std::size_t documents, unsigned* next, unsigned rows) {
  return {a.starts,
          a.log_sum_exp,
          next,
          static_cast<unsigned>(a.tokens),
          static_cast<unsigned>(divide_up(a.tokens, rows)),
          a.heads.query_heads,
          a.heads.key_value_heads,
          a.heads.group,
          attention_heads_together(a.tokens, documents, a.heads),
          a.heads.scale * kLog2E};
}

template <unsigned groups>
struct QueryTile {
  int index;  // -1: no more
  unsigned head;
  int low[groups];         // first block of keys of each group
  int last_start[groups];  // of the document of each group's last row
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// Where a tile of the counter is: `index` of its rows, and its query head.
struct TilePlace {
  unsigned index, head;
};
__device__ __forceinline__ TilePlace tile_place(const QueryTask& task, unsigned number) {
  const unsigned of_heads = task.tiles * task.together, rest = number % of_heads;
  return {task.tiles - 1 - rest / task.together, number / of_heads * task.together + rest % task.together};
}

// Fills in a tile of `rows` rows a group, in blocks of `keys`.
template <unsigned rows, unsigned keys, unsigned groups>
__device__ __forceinline__ void describe(QueryTile<groups>& tile, const QueryTask& task, const TilePlace& place) {
  const unsigned first = place.index * groups * rows, last = task.tokens - 1;
  tile.index = static_cast<int>(place.index);
  tile.head = place.head;
  for (unsigned group = 0; group < groups; group++) {
    const int start = task.starts[min(first + group * rows, last)] / static_cast<int>(keys);
    // Starts that fall, of lengths in disorder, must not make a group wait for keys that nobody copies.
    tile.low[group] = group == 0 ? start : max(start, tile.low[0]);
    tile.last_start[group] = task.starts[min(first + group * rows + rows - 1, last)];
  }
}

// So many stages of the ring, which other groups want. One warp follows it: parities say nothing to a warp that is a whole turn of it behind or ahead.
// Barriers of the block from 1 on are the groups'.
template <class Place, class Full, class Release>
__device__ __forceinline__ void skip_stages(Place& at, int stages, unsigned group, unsigned warp, Full&& full, Release&& release) {
  if (stages <= 0) return;
  for (; stages > 0; stages--, at.next()) {
    if (warp != 0) continue;
    barrier_wait(full(at.stage), at.parity);
    release(at.stage);
  }
  asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
}

// Descriptors of boxes in shared memory (rows_descriptor and columns_descriptor) as an address in units of 16 bytes, so that one addition moves them.
// `step`: bytes between boxes side by side.
__device__ __forceinline__ std::uint32_t rows_place(std::uint32_t address) { return address >> 4 | 0x10000u; }
__device__ __forceinline__ std::uint32_t columns_place(std::uint32_t address, std::uint32_t step) { return address >> 4 | (step >> 4) << 16; }
__device__ __forceinline__ std::uint64_t descriptor(std::uint32_t place) { return std::uint64_t{0x40000040u} << 32 | place; }

#endif

}  // namespace xgen::cuda::hopper
