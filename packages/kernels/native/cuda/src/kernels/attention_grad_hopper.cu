// The gradient of flash attention for Hopper (sm_90a), bfloat16, head size 64, in one pass over the pairs of queries and keys.
//
// A persistent block, one a processor, takes 128 keys of a key-value head at a time: two warpgroups own 64 keys each and keep their gradients in
// registers, over all queries that see them and all query heads of the group; a third copies queries and dy in tiles of 64 through a ring in shared
// memory. Scores are made transposed, 64 keys x 64 queries a warpgroup, so that weights and their gradients go from the registers of one product
// into those of the next as left operands. Only the scores' gradients pass through shared memory, where both warpgroups' meet: the queries'
// gradient is summed over 128 keys, one warpgroup for each of two tiles, then added in memory, as float32 in the order in which sums lie in registers.
// So the sums' order is not fixed. A first kernel makes delta and clears those sums; a last one makes bfloat16 of them.
//
// Bound by arithmetic: five products of 128 operations a pair, half of all pairs by causality, over 989 TFLOP/s; besides 8 bytes an element of
// dy, out and the queries' gradient each are written and read in the first and the last kernel.
#include <algorithm>
#include <type_traits>

#include "attention_grad_hopper.h"
#include "hopper_products.h"

#ifndef XGEN_VALUES_IN_REGISTERS
#define XGEN_VALUES_IN_REGISTERS 0
#endif
#ifndef XGEN_POLYNOMIAL
#define XGEN_POLYNOMIAL 0
#endif
#ifndef XGEN_GRAD_STAGES
#define XGEN_GRAD_STAGES 5
#endif

namespace xgen::cuda {

namespace {

constexpr unsigned kSize = 64;      // of a head
constexpr unsigned kQueries = 64;   // of a tile
constexpr unsigned kKeys = 128;     // of a block
constexpr unsigned kStages = XGEN_GRAD_STAGES;
constexpr unsigned kThreads = 384;  // a copying warpgroup and two multiplying ones
constexpr unsigned kGroup = 128;    // threads of a warpgroup
constexpr unsigned kWarps = 8;      // that multiply
constexpr unsigned kWarpRows = 16;
constexpr unsigned kTileSums = kQueries * kSize, kWarpSums = kWarpRows * kSize;

constexpr std::uint32_t kBox = 64 * 64 * 2;  // bytes
constexpr std::uint32_t kStatisticsBytes = 2 * kQueries * 4;
constexpr std::uint32_t kStageBytes = 2 * kBox + kStatisticsBytes;
// Queries and dy of each stage, keys, values, gradients of two pairs of tiles of scores, what each warp hands out, statistics, barriers.
constexpr std::uint32_t kKeysAt = kStages * 2 * kBox, kValuesAt = kKeysAt + 2 * kBox, kScoresAt = kValuesAt + 2 * kBox, kOutAt = kScoresAt + 8 * kBox;
constexpr std::uint32_t kWarpOut = kWarpSums * 4;
constexpr std::uint32_t kStatisticsAt = kOutAt + kWarps * kWarpOut, kBarriersAt = kStatisticsAt + kStages * kStatisticsBytes;
constexpr std::size_t kSharedBytes = kBarriersAt + (2 * kStages + 4) * 8 + 16 + 1024;

struct Maps {
  CUtensorMap rows, dy;  // 64 columns, 64 rows
  CUtensorMap d_rows;    // 64 columns, 16 rows
};

struct Task {
  const float* log_sum_exp;  // [query heads][padded], base 2
  const float* delta;        // likewise
  float* sums;               // [query heads][padded / 64][4 warps][8][32 lanes][4]
  unsigned* next;            // item of work
  const std::int32_t* ends;
  unsigned tokens, padded;   // up to a multiple of 128
  Heads heads;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// Where in the ring a warpgroup is.
struct Place {
  unsigned stage = 0, parity = 0;
  __device__ __forceinline__ void next() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// 16 bytes of a box.
__device__ __forceinline__ std::uint32_t chunk_address(std::uint32_t box, unsigned row, unsigned chunk) { return box + row * 128 + ((chunk ^ (row % 8)) * 16); }

// Pairs of tiles of queries that see the keys from `first` on.
__device__ __forceinline__ unsigned pairs_of(const Task& task, unsigned first) {
  const unsigned last = first + kKeys < task.tokens ? first + kKeys - 1 : task.tokens - 1;
  return (static_cast<unsigned>(task.ends[last]) - first + 2 * kQueries - 1) / (2 * kQueries);
}

// Sums of 16 rows a warp, by 64, as bfloat16 into a box of 16 rows.
__device__ __forceinline__ void store_box_rows(std::uint32_t box, const float (&c)[32], float factor, unsigned lane) {
#pragma unroll
  for (unsigned i = 0; i < kSize / 16; i++) {
    const float* const s = c + 8 * i;
    hopper::store_matrices(chunk_address(box, lane % 16, 2 * i + lane / 16), pack_bfloat16(s[0] * factor, s[1] * factor),
                           pack_bfloat16(s[2] * factor, s[3] * factor), pack_bfloat16(s[4] * factor, s[5] * factor),
                           pack_bfloat16(s[6] * factor, s[7] * factor));
  }
}

// 2^x without the unit for exponentials, which would else be the limit: the nearest integer goes to the exponent, 2^f is a polynomial, to 1e-4.
// At least 2^-126, which bfloat16 sums do not see.
__device__ __forceinline__ float exp2_polynomial(float x) {
  x = fmaxf(x, -126.0f);
  const float shifted = x + 12582912.0f, f = x - (shifted - 12582912.0f);
  const float p = fmaf(fmaf(fmaf(0.0550072425f, f, 0.2422069025f), f, 0.6932826490f), f, 1.0f);
  return __uint_as_float(__float_as_uint(p) + (__float_as_uint(shifted) << 23));
}

__global__ void __launch_bounds__(kThreads, 1) attention_grad_kernel(const __grid_constant__ Maps maps, Task task) {
  using namespace hopper;
  extern __shared__ unsigned char shared[];
  const std::uint32_t base = (shared_address(shared) + 1023u) & ~1023u, barriers = base + kBarriersAt;
  const auto full = [&](unsigned stage) { return barriers + stage * 8; };
  const auto empty = [&](unsigned stage) { return barriers + (kStages + stage) * 8; };
  const std::uint32_t keys_full = barriers + 2 * kStages * 8, keys_empty = keys_full + 8;
  const auto written = [&](unsigned buffer) { return keys_full + 16 + buffer * 8; };
  const std::uint32_t item_word = keys_full + 32;
  if (threadIdx.x == 0) {
    for (unsigned i = 0; i < kStages; i++) {
      barrier_init(full(i), 1);
      barrier_init(empty(i), kWarps);
    }
    barrier_init(keys_full, 1);
    barrier_init(keys_empty, kWarps);
    for (unsigned i = 0; i < 2; i++) barrier_init(written(i), kWarps);
    barrier_init_fence();
  }
  __syncthreads();

  const unsigned key_heads = task.heads.key_value_heads, items = task.padded / kKeys * key_heads;
  if (threadIdx.x < kGroup) {
    give_registers<24>();
    if (threadIdx.x == 0) {
      Place at;
      for (unsigned turn = 0;; turn++) {
        const unsigned item = atomicAdd(task.next, 1u);
        barrier_wait(keys_empty, turn % 2 ^ 1);
        asm volatile("st.shared.u32 [%0], %1;" ::"r"(item_word), "r"(item) : "memory");
        if (item >= items) {
          barrier_arrive(keys_full);
          break;
        }
        const unsigned first = item / key_heads * kKeys, key_head = item % key_heads;
        barrier_expect(keys_full, 4 * kBox);
        for (unsigned half = 0; half < 2; half++) {
          const int row = static_cast<int>(first + half * 64);
          load_box(base + kKeysAt + half * kBox, &maps.rows, static_cast<int>(task.heads.key(key_head)), row, keys_full);
          load_box(base + kValuesAt + half * kBox, &maps.rows, static_cast<int>(task.heads.value(key_head)), row, keys_full);
        }
        const unsigned tiles = 2 * pairs_of(task, first);
        for (unsigned head = key_head * task.heads.group; head < (key_head + 1) * task.heads.group; head++) {
          for (unsigned tile = 0; tile < tiles; tile++, at.next()) {
            const std::uint32_t stage = base + at.stage * 2 * kBox, statistics = base + kStatisticsAt + at.stage * kStatisticsBytes;
            const unsigned row = first + tile * kQueries;
            const std::size_t which = std::size_t{head} * task.padded + row;
            barrier_wait(empty(at.stage), at.parity ^ 1);
            barrier_expect(full(at.stage), kStageBytes);
            load_box(stage, &maps.rows, static_cast<int>(head * kSize), static_cast<int>(row), full(at.stage));
            load_piece(statistics, task.log_sum_exp + which, kQueries * 4, full(at.stage));
            load_box(stage + kBox, &maps.dy, static_cast<int>(head * kSize), static_cast<int>(row), full(at.stage));
            load_piece(statistics + kQueries * 4, task.delta + which, kQueries * 4, full(at.stage));
          }
        }
      }
    }
  } else {
    take_registers<240>();
    // The same in all lanes, and known to be.
    const unsigned group = __shfl_sync(kFullMask, threadIdx.x / kGroup - 1, 0), lane = threadIdx.x % 32;
    const unsigned warp = __shfl_sync(kFullMask, threadIdx.x % kGroup / 32, 0);
    const std::uint32_t own_out = base + kOutAt + (group * 4 + warp) * kWarpOut;
    const float factor = task.heads.scale * kLog2E;
    // Where this lane stores gradients of scores, transposed: matrices (keys 0-7, queries 0-7), (8-15, 0-7), (0-7, 8-15), (8-15, 8-15).
    const std::uint32_t own_scores = chunk_address(base + kScoresAt + group * kBox, lane / 16 * 8 + lane % 8, 2 * warp + lane / 8 % 2);

    Place at;
    unsigned pair = 0;  // of tiles, counted: two take turns in the buffers
    for (unsigned turn = 0;; turn++) {
      barrier_wait(keys_full, turn % 2);
      unsigned item;
      asm volatile("ld.shared.u32 %0, [%1];" : "=r"(item) : "r"(item_word) : "memory");
      item = __shfl_sync(kFullMask, item, 0);
      if (item >= items) break;
      const unsigned first = item / key_heads * kKeys, key_head = item % key_heads, own_first = first + group * 64;
      const unsigned pairs = pairs_of(task, first), rounds = pairs * task.heads.group;
      // Where the queries end that see this lane's two keys, and the warpgroup's first: nobody sees what lies after the tokens' end.
      const unsigned key = own_first + warp * kWarpRows + lane / 4;
      const unsigned end[2] = {key < task.tokens ? static_cast<unsigned>(task.ends[key]) : 0u, key + 8 < task.tokens ? static_cast<unsigned>(task.ends[key + 8]) : 0u};
      const unsigned group_end = own_first + 63 < task.tokens ? static_cast<unsigned>(task.ends[own_first]) : 0u;

      std::uint32_t key_part[16];
#pragma unroll
      for (unsigned i = 0; i < 4; i++) {
        load_matrices(*reinterpret_cast<std::uint32_t(*)[4]>(key_part + 4 * i),
                      chunk_address(base + kKeysAt + group * kBox, warp * kWarpRows + lane % 16, 2 * i + lane / 16));
      }
#if XGEN_VALUES_IN_REGISTERS
      std::uint32_t value_part[16];
#pragma unroll
      for (unsigned i = 0; i < 4; i++) {
        load_matrices(*reinterpret_cast<std::uint32_t(*)[4]>(value_part + 4 * i),
                      chunk_address(base + kValuesAt + group * kBox, warp * kWarpRows + lane % 16, 2 * i + lane / 16));
      }
#endif

      float scores[32], d_weights[32], d_queries[32], d_keys[32], d_values[32];
#pragma unroll
      for (unsigned i = 0; i < 32; i++) d_keys[i] = d_values[i] = 0.0f;

      // Of tile `group` of the pair in the buffer, over all keys.
      const auto multiply_queries = [&](unsigned from) {
        const std::uint32_t left = base + kScoresAt + (from * 4 + group * 2) * kBox, right = base + kKeysAt;
        products_begin();
#pragma unroll
        for (unsigned k = 0; k < 8; k++) {
          multiply64<true>(d_queries, rows_descriptor(left + k / 4 * kBox + k % 4 * 32), columns_descriptor(right + k * 16 * 128, kBox), k > 0);
        }
        products_commit();
      };
      // What was written to shared memory goes on its way: the pair's gradients of scores to both warpgroups, queries' gradients to memory.
      const auto hand_over = [&](unsigned of_pair, float* to) {
        fence_for_copies();
        __syncwarp();
        if (lane == 0) {
          barrier_arrive(written(of_pair % 2));
          if (to != nullptr) {
            add_piece(to, own_out, kWarpOut);
            commit_stores();
          }
        }
      };
      const auto put_queries = [&] {
        if (lane == 0) wait_for_reads<0>();
        __syncwarp();
#pragma unroll
        for (unsigned i = 0; i < 8; i++) {
          store_shared(own_out + (i * 32 + lane) * 16, d_queries[4 * i], d_queries[4 * i + 1], d_queries[4 * i + 2], d_queries[4 * i + 3]);
        }
      };

      float* sums = task.sums + (std::size_t{key_head} * task.heads.group * task.padded + first + group * kQueries) * kSize + warp * kWarpSums;
      float* sums_before = nullptr;  // of the pair before, whose sums are not made yet
      float* sums_put = nullptr;     // of those that wait in shared memory
      unsigned tile = 0, before = 0;

      std::uint32_t weights[16], gradients[16];
#pragma unroll
      for (unsigned i = 0; i < 16; i++) gradients[i] = 0;
      const auto multiply_keys = [&] {
        const std::uint32_t queries = base + before * 2 * kBox;
#pragma unroll
        for (unsigned k = 0; k < 4; k++) multiply64<true>(d_keys, gradients + 4 * k, columns_descriptor(queries + k * 16 * 128, kBox), true);
        products_commit();
      };

      // One tile of queries. The keys' gradient follows a tile behind (at first of zeros), the queries' a pair behind: there is always a product
      // to be done while exponentials are taken.
      const auto step = [&](auto which, unsigned round) {
        constexpr unsigned sub = decltype(which)::value;
        const std::uint32_t queries = base + at.stage * 2 * kBox, statistics = base + kStatisticsAt + at.stage * kStatisticsBytes + lane % 4 * 8;
        const unsigned row = first + (tile * 2 + sub) * kQueries;
        barrier_wait(full(at.stage), at.parity);
        float2 log_sum_exp[8], delta[8];
#pragma unroll
        for (unsigned j = 0; j < 8; j++) log_sum_exp[j] = load_shared(statistics + j * 32);
        products_begin();
#pragma unroll
        for (unsigned k = 0; k < 4; k++) multiply64<false>(scores, key_part + 4 * k, rows_descriptor(queries + k * 32), k > 0);
        products_commit();
#pragma unroll
        for (unsigned k = 0; k < 4; k++) {
#if XGEN_VALUES_IN_REGISTERS
          multiply64<false>(d_weights, value_part + 4 * k, rows_descriptor(queries + kBox + k * 32), k > 0);
#else
          multiply64<false>(d_weights, rows_descriptor(base + kValuesAt + group * kBox + k * 32), rows_descriptor(queries + kBox + k * 32), k > 0);
#endif
        }
        products_commit();
        multiply_keys();
        if constexpr (sub == 0) {
#if !XGEN_HAND_OVER_EARLY
          if (round > 0) hand_over(pair - 1, sums_put);
#endif
        }

        products_wait<2>();
        settle(scores);
        if constexpr (sub == 1) {
          settle(d_queries);
          if (round > 0) put_queries();
          sums_put = sums_before;
        }
        if (row < own_first + 63 || row + kQueries > group_end) {
#pragma unroll
          for (unsigned i = 0; i < 32; i++) {
            const unsigned query = row + i / 4 * 8 + lane % 4 * 2 + i % 2;
            if (query < key + i % 4 / 2 * 8 || query >= end[i % 4 / 2]) scores[i] = -infinity();
          }
        }
#pragma unroll
        for (unsigned j = 0; j < 8; j++) {
          float* const s = scores + 4 * j;
#pragma unroll
          for (unsigned i = 0; i < 4; i++) {
            const float x = fmaf(s[i], factor, -(i % 2 == 0 ? log_sum_exp[j].x : log_sum_exp[j].y));
            s[i] = XGEN_POLYNOMIAL > 0 && static_cast<int>((j * 4 + i) % 8) < XGEN_POLYNOMIAL ? exp2_polynomial(x) : exp2_fast(x);
          }
          weights[2 * j] = pack_bfloat16(s[0], s[1]);
          weights[2 * j + 1] = pack_bfloat16(s[2], s[3]);
        }
        products_begin();
#pragma unroll
        for (unsigned k = 0; k < 4; k++) multiply64<true>(d_values, weights + 4 * k, columns_descriptor(queries + kBox + k * 16 * 128, kBox), true);
        products_commit();
#pragma unroll
        for (unsigned j = 0; j < 8; j++) delta[j] = load_shared(statistics + kQueries * 4 + j * 32);
        if constexpr (sub == 0) {
          if (round > 0) barrier_wait(written((pair - 1) % 2), (pair - 1) / 2 % 2);
          multiply_queries((pair - 1) % 2);  // in the first round of nothing in particular, which nobody takes
        }
        products_wait<sub == 0 ? 2 : 1>();
        settle(d_weights);
        if ((sub == 1 || round > 0) && lane == 0) barrier_arrive(empty(before));
#pragma unroll
        for (unsigned j = 0; j < 8; j++) {
          const float* const s = scores + 4 * j;
          const float* const d = d_weights + 4 * j;
          gradients[2 * j] = pack_bfloat16(s[0] * (d[0] - delta[j].x), s[1] * (d[1] - delta[j].y));
          gradients[2 * j + 1] = pack_bfloat16(s[2] * (d[2] - delta[j].x), s[3] * (d[3] - delta[j].y));
        }
#pragma unroll
        for (unsigned i = 0; i < 4; i++) store_matrices_transposed(own_scores + (pair % 2 * 4 + sub * 2) * kBox + i * 16 * 128, gradients + 4 * i);
#if XGEN_HAND_OVER_EARLY
        if constexpr (sub == 1) hand_over(pair, sums_put);
#endif
        products_wait<sub == 0 ? 1 : 0>();
        before = at.stage;
        at.next();
      };

      before = at.stage;
      settle(d_keys);
      settle(d_values);
      for (unsigned round = 0; round < rounds; round++, pair++) {
        step(std::integral_constant<unsigned, 0>{}, round);
        step(std::integral_constant<unsigned, 1>{}, round);
        sums_before = sums;
        sums += 2 * kTileSums;
        if (++tile == pairs) {
          tile = 0;
          sums += (std::size_t{task.padded} - pairs * 2 * kQueries) * kSize;
        }
      }
      products_begin();
      multiply_keys();
#if !XGEN_HAND_OVER_EARLY
      hand_over(pair - 1, sums_put);
#endif
      barrier_wait(written((pair - 1) % 2), (pair - 1) / 2 % 2);
      multiply_queries((pair - 1) % 2);
      products_wait<0>();
      settle(d_queries);
      settle(d_keys);
      settle(d_values);
      put_queries();
      fence_for_copies();
      __syncwarp();
      if (lane == 0) {
        add_piece(sums_before, own_out, kWarpOut);
        commit_stores();
        barrier_arrive(empty(before));
        barrier_arrive(keys_empty);
        wait_for_reads<0>();
      }
      __syncwarp();
      store_box_rows(own_out, d_keys, task.heads.scale, lane);
      store_box_rows(own_out + kWarpOut / 2, d_values, 1.0f, lane);
      fence_for_copies();
      __syncwarp();
      if (lane == 0) {
        const int row = static_cast<int>(own_first + warp * kWarpRows);
        store_box(&maps.d_rows, static_cast<int>(task.heads.key(key_head)), row, own_out);
        store_box(&maps.d_rows, static_cast<int>(task.heads.value(key_head)), row, own_out + kWarpOut / 2);
        commit_stores();
      }
    }
    if (lane == 0) wait_for_reads<0>();
  }
}

#else

__global__ void attention_grad_kernel(const __grid_constant__ Maps, Task) {}

#endif

// ------------------------------------------------------------------------------------------------------ before and after

constexpr unsigned kRowThreads = 256;
constexpr unsigned kRows = kRowThreads / (kSize / kVector);  // a block of the first kernel: eight lanes a row

// delta and log-sum-exp by head; clears the queries' sums. Block (rows, head). Rows after the last weigh nothing.
__global__ void __launch_bounds__(kRowThreads) prepare_kernel(const bfloat16* dy, const bfloat16* out, const float* log_sum_exp, float* log_sum_exp_by_head,
                                                              float* delta, float* sums, unsigned* next, std::size_t tokens, std::size_t padded, Heads heads) {
  const unsigned head = blockIdx.x % heads.query_heads, lane = threadIdx.x % (kSize / kVector);
  const std::size_t first = std::size_t{blockIdx.x / heads.query_heads} * kRows, row = first + threadIdx.x / (kSize / kVector);
  const bool valid = row < tokens;
  float sum = 0.0f;
  if (valid) {
    const std::size_t at = (row * heads.query_heads + head) * kSize + lane * kVector;
    const Floats8 a = load8(dy + at), b = load8(out + at);
#pragma unroll
    for (unsigned i = 0; i < kVector; i++) sum = fmaf(a.v[i], b.v[i], sum);
  }
  float4* const clear = reinterpret_cast<float4*>(sums + (head * padded + first) * kSize);
#pragma unroll
  for (unsigned i = 0; i < kRows * kSize / 4 / kRowThreads; i++) clear[i * kRowThreads + threadIdx.x] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  sum = warp_reduce<kSize / kVector>(sum, Add{});
  if (lane == 0) {
    delta[head * padded + row] = sum;
    log_sum_exp_by_head[head * padded + row] = valid ? log_sum_exp[row * heads.query_heads + head] * kLog2E : infinity();
  }
  if (blockIdx.x == 0 && threadIdx.x == 0) *next = 0;
}

// Of four words in each of four lanes, transposed: lane l gets word l of each.
__device__ __forceinline__ void transpose_words(std::uint32_t (&x)[4], unsigned lane) {
#pragma unroll
  for (unsigned step = 1; step < 4; step *= 2) {
    const bool upper = (lane & step) != 0;
#pragma unroll
    for (unsigned i = 0; i < 4; i++) {
      if ((i & step) != 0) continue;
      const std::uint32_t given = __shfl_xor_sync(kFullMask, upper ? x[i] : x[i + step], step);
      if (upper) {
        x[i] = given;
      } else {
        x[i + step] = given;
      }
    }
  }
}

// The queries' gradients from their sums; each warp 16 rows of a head.
__global__ void __launch_bounds__(kGroup) finish_kernel(const float* sums, bfloat16* d_qkv, std::size_t tokens, std::size_t padded, Heads heads) {
  const unsigned head = blockIdx.x % heads.query_heads, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const std::size_t tile = blockIdx.x / heads.query_heads;
  const float* const from = sums + (head * padded + tile * kQueries) * kSize + warp * kWarpSums;
  float4 c[8];
#pragma unroll
  for (unsigned i = 0; i < 8; i++) c[i] = load_aligned<float4>(from + (i * kWarp + lane) * 4);
#pragma unroll
  for (unsigned half = 0; half < 2; half++) {
    const std::size_t row = tile * kQueries + warp * kWarpRows + half * 8 + lane / 4;
    bfloat16* const to = d_qkv + row * heads.row() + heads.query(head);
#pragma unroll
    for (unsigned part = 0; part < 2; part++) {
      std::uint32_t x[4];
#pragma unroll
      for (unsigned i = 0; i < 4; i++) {
        const float4& s = c[part * 4 + i];
        x[i] = half == 0 ? pack_bfloat16(s.x * heads.scale, s.y * heads.scale) : pack_bfloat16(s.z * heads.scale, s.w * heads.scale);
      }
      transpose_words(x, lane);
      if (row < tokens) store_aligned(to + (part * 4 + lane % 4) * kVector, make_uint4(x[0], x[1], x[2], x[3]));
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------- host

using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*, const cuuint32_t*, const cuuint32_t*,
                            CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

Encode encode_function() {
  static const Encode function = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
    const cudaError_t status = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result);
    cudaGetLastError();
    return status == cudaSuccess && result == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(found) : nullptr;
  }();
  return function;
}

constexpr const char* kName = "attention_grad";

// Heads of bf16 rows, copied in boxes of one head's columns.
CUtensorMap map_of(const void* data, std::size_t rows, std::size_t columns, unsigned box_rows) {
  CUtensorMap map;
  const cuuint64_t sizes[] = {columns, rows}, strides[] = {columns * 2};
  const cuuint32_t box[] = {kSize, box_rows}, steps[] = {1, 1};
  const CUresult status = encode_function()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(data), sizes, strides, box, steps,
                                            CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                            CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) fail_launch(kName, "a matrix cannot be described to the copy engine");
  return map;
}

std::size_t padded_of(std::size_t tokens) { return divide_up(tokens, kKeys) * kKeys; }

struct Workspace {
  unsigned* next;
  float *log_sum_exp, *delta, *sums;
  std::size_t bytes;
};
Workspace workspace_of(void* workspace, std::size_t tokens, std::size_t query_heads) {
  const std::size_t rows = padded_of(tokens) * query_heads;
  float* const base = static_cast<float*>(workspace);
  return {static_cast<unsigned*>(workspace), base + 32, base + 32 + rows, base + 32 + 2 * rows, (32 + rows * (2 + kSize)) * sizeof(float)};
}

}  // namespace

bool attention_grad_hopper_takes(std::size_t tokens, const AttentionShape& shape) {
  static const bool hopper = [] {
    int device = 0, major = 0;
    const bool asked = cudaGetDevice(&device) == cudaSuccess && cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess;
    return asked && major == 9 && encode_function() != nullptr;
  }();
  return hopper && shape.head_dimension == kSize && tokens > 0 && tokens < (std::size_t{1} << 30);
}

std::size_t attention_grad_hopper_workspace_bytes(std::size_t tokens, const AttentionShape& shape) {
  return workspace_of(nullptr, tokens, shape.query_heads).bytes;
}

void attention_grad_hopper(Stream stream, const AttentionBackward<bfloat16>& a, const bfloat16* out, void* workspace) {
  const Heads& h = a.heads;
  const std::size_t padded = padded_of(a.tokens);
  const Workspace w = workspace_of(workspace, a.tokens, h.query_heads);
  launch(kName, prepare_kernel, grid_of(kName, padded / kRows * h.query_heads), kRowThreads, 0, stream, a.dy, out, a.log_sum_exp, w.log_sum_exp, w.delta,
         w.sums, w.next, a.tokens, padded, h);
  const Maps maps = {map_of(a.qkv, a.tokens, h.row(), 64), map_of(a.dy, a.tokens, h.out_row(), 64), map_of(a.d_qkv, a.tokens, h.row(), kWarpRows)};
  const Task task = {w.log_sum_exp, w.delta, w.sums, w.next, a.ends, static_cast<unsigned>(a.tokens), static_cast<unsigned>(padded), h};
  launch(kName, attention_grad_kernel, grid_of(kName, std::min(multiprocessors(), padded / kKeys * h.key_value_heads)), kThreads, kSharedBytes, stream, maps, task);
  launch(kName, finish_kernel, grid_of(kName, padded / kQueries * h.query_heads), kGroup, 0, stream, static_cast<const float*>(w.sums), a.d_qkv, a.tokens, padded, h);
}

}  // namespace xgen::cuda
