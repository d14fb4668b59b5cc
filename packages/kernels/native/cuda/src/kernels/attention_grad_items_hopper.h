// What the blocks of attention's gradient share for heads of 64 and of 128 (attention_grad_hopper.cu, attention_grad_heads128_hopper.cu): an item of work is
// 128 keys of a key-value head, drawn by the copying warpgroup and told to the two that multiply; barriers, matrices, and how sums become rows.
#pragma once

#include "attention_grad_hopper.h"
#include "hopper_products.h"
#include "tensor_map.h"

namespace xgen::cuda::gradient {

constexpr unsigned kQueries = 64;   // of a tile
constexpr unsigned kKeys = 128;     // of an item
constexpr unsigned kGroup = 128;    // threads of a warpgroup
constexpr unsigned kThreads = 384;  // a copying warpgroup and two multiplying ones
constexpr unsigned kWarps = 8;      // that multiply
constexpr unsigned kWarpRows = 16;
constexpr std::uint32_t kBox = 64 * 64 * 2;  // bytes
constexpr std::uint32_t kStatisticsBytes = 2 * kQueries * 4;
static_assert(kGradientPadding % kKeys == 0 && kKeys == 2 * kQueries);

struct Maps {
  CUtensorMap rows, dy;  // 64 columns, 64 rows
  CUtensorMap d_rows;    // 64 columns, 16 rows
};

struct Task {
  const float* log_sum_exp;  // [query heads][padded], base 2
  const float* delta;        // likewise
  float* sums;               // as in GradientParts
  unsigned* next;            // item of work
  const std::int32_t* ends;
  unsigned tokens, padded;   // up to a multiple of 128
  Heads heads;
};

inline Maps maps_of(const char* name, const AttentionBackward<bfloat16>& a) {
  const auto map = [&](const void* data, std::size_t columns, unsigned box_rows) { return tensor_map(name, data, a.tokens, columns, columns, 64, box_rows); };
  return {map(a.qkv, a.heads.row(), 64), map(a.dy, a.heads.out_row(), 64), map(a.d_qkv, a.heads.row(), kWarpRows)};
}
inline Task task_of(const AttentionBackward<bfloat16>& a, const GradientParts& parts) {
  return {parts.log_sum_exp, parts.delta, parts.sums, parts.next, a.ends, static_cast<unsigned>(a.tokens), static_cast<unsigned>(parts.padded), a.heads};
}
inline std::size_t items_of(const AttentionBackward<bfloat16>& a, const GradientParts& parts) { return parts.padded / kKeys * a.heads.key_value_heads; }

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// In shared memory from `at` on: of each stage full and empty, of the keys likewise, of two buffers of scores' gradients that they are written, and the item.
template <unsigned stages>
struct Barriers {
  std::uint32_t at;

  __device__ __forceinline__ std::uint32_t full(unsigned stage) const { return at + stage * 8; }
  __device__ __forceinline__ std::uint32_t empty(unsigned stage) const { return at + (stages + stage) * 8; }
  __device__ __forceinline__ std::uint32_t keys_full() const { return at + 2 * stages * 8; }
  __device__ __forceinline__ std::uint32_t keys_empty() const { return keys_full() + 8; }
  __device__ __forceinline__ std::uint32_t written(unsigned buffer) const { return keys_full() + 16 + buffer * 8; }
  __device__ __forceinline__ std::uint32_t item_word() const { return keys_full() + 32; }

  __device__ __forceinline__ void init() const {
    for (unsigned i = 0; i < stages; i++) {
      hopper::barrier_init(full(i), 1);
      hopper::barrier_init(empty(i), kWarps);
    }
    hopper::barrier_init(keys_full(), 1);
    hopper::barrier_init(keys_empty(), kWarps);
    for (unsigned i = 0; i < 2; i++) hopper::barrier_init(written(i), kWarps);
    hopper::barrier_init_fence();
  }

  // Draws the next item and tells the block; false where there is none, which the block then knows.
  __device__ __forceinline__ bool draw(const Task& task, unsigned blocks, unsigned turn, unsigned& block, unsigned& key_head) const {
    const unsigned key_heads = task.heads.key_value_heads, item = atomicAdd(task.next, 1u);
    block = item / key_heads;
    key_head = item % key_heads;
    hopper::barrier_wait(keys_empty(), turn % 2 ^ 1);
    asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(item_word()), "r"(block), "r"(key_head) : "memory");
    if (block < blocks) return true;
    hopper::barrier_arrive(keys_full());
    return false;
  }
  // What was told, block and key-value head; the same in all lanes, and known to be.
  __device__ __forceinline__ uint2 item() const {
    unsigned block, key_head;
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(block), "=r"(key_head) : "r"(item_word()) : "memory");
    return make_uint2(__shfl_sync(kFullMask, block, 0), __shfl_sync(kFullMask, key_head, 0));
  }
};

// 16 bytes of a box.
__device__ __forceinline__ std::uint32_t chunk_address(std::uint32_t box, unsigned row, unsigned chunk) {
  return box + row * 128 + ((chunk ^ (row % 8)) * 16);
}
// So many queries at a time see the keys from `first` on: how many times.
template <unsigned queries>
__device__ __forceinline__ unsigned tiles_of(const Task& task, unsigned first) {
  const unsigned last = first + kKeys < task.tokens ? first + kKeys - 1 : task.tokens - 1;
  return (static_cast<unsigned>(task.ends[last]) - first + queries - 1) / queries;
}
// Where the queries end that see a key: nobody sees what lies after the tokens' end.
__device__ __forceinline__ unsigned end_of(const Task& task, unsigned key) { return key < task.tokens ? static_cast<unsigned>(task.ends[key]) : 0u; }

// Sums of 16 rows a warp as bfloat16 into boxes of 16 rows, 64 columns each.
template <unsigned count>
__device__ __forceinline__ void store_box_rows(std::uint32_t box, const float (&c)[count], float factor, unsigned lane) {
#pragma unroll
  for (unsigned i = 0; i < count / 8; i++) {
    const float* const s = c + 8 * i;
    hopper::store_matrices(chunk_address(box + i / 4 * (kWarpRows * 128), lane % 16, i % 4 * 2 + lane / 16), pack_bfloat16(s[0] * factor, s[1] * factor),
                           pack_bfloat16(s[2] * factor, s[3] * factor), pack_bfloat16(s[4] * factor, s[5] * factor),
                           pack_bfloat16(s[6] * factor, s[7] * factor));
  }
}

#endif

}  // namespace xgen::cuda::gradient
