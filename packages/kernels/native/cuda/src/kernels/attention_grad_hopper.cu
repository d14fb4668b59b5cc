// The gradient of flash attention for Hopper (sm_90a), bfloat16, head size 64, in one pass over the pairs of queries and keys.
//
// A persistent block, one a processor, takes 128 keys of a key-value head at a time: two warpgroups own 64 keys each and keep their gradients in
// registers, over all queries that see them and all query heads of the group; a third copies queries and dy in tiles of 64 through a ring in shared
// memory. Scores are made transposed, 64 keys x 64 queries a warpgroup, so that weights and their gradients go from the registers of one product
// into those of the next as left operands. Only the scores' gradients pass through shared memory, where both warpgroups' meet: the queries'
// gradient is summed over 128 keys, one warpgroup for each of two tiles, then added in memory, as float32 in the order in which sums lie in registers.
// So the sums' order is not fixed. attention_grad_rows_hopper.cu has what comes before and after: delta, sums that are 0, bfloat16 of the sums.
//
// Bound by arithmetic: five products of 128 operations a pair, half of all pairs by causality, over 989 TFLOP/s. Two warpgroups alternate: what each does
// between its products counts, so it is little and waits for nothing. (Slower, on an H200: adding to memory from registers, every fourth or eighth
// exponential as a polynomial, values as a left operand in registers for which the queries' gradient had to wait its turn, four stages.)
#include <algorithm>
#include <type_traits>

#include "attention_grad_items_hopper.h"

namespace xgen::cuda {

using namespace gradient;

namespace {

constexpr unsigned kSize = 64;      // of a head
constexpr unsigned kStages = 5;
constexpr unsigned kWarpSums = kWarpRows * kSize;

// Queries and dy of each stage, keys, values, gradients of two pairs of tiles of scores, what each warp hands out, statistics, barriers.
constexpr std::uint32_t kKeysAt = kStages * 2 * kBox, kValuesAt = kKeysAt + 2 * kBox, kScoresAt = kValuesAt + 2 * kBox, kOutAt = kScoresAt + 8 * kBox;
constexpr std::uint32_t kWarpOut = kWarpSums * 4;
constexpr std::uint32_t kStatisticsAt = kOutAt + kWarps * kWarpOut, kBarriersAt = kStatisticsAt + kStages * kStatisticsBytes;
constexpr std::size_t kSharedBytes = kBarriersAt + (2 * kStages + 4) * 8 + 16 + 1024;

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

constexpr unsigned kTileSums = kQueries * kSize;
constexpr std::uint32_t kStageBytes = 2 * kBox + kStatisticsBytes;

// Where in the ring a warpgroup is.
using Place = hopper::RingPlace<kStages>;

__global__ void __launch_bounds__(kThreads, 1) attention_grad_kernel(const __grid_constant__ Maps maps, Task task) {
  using namespace hopper;
  extern __shared__ unsigned char shared[];
  const std::uint32_t base = (shared_address(shared) + 1023u) & ~1023u;
  const Barriers<kStages> barriers = {base + kBarriersAt};
  if (threadIdx.x == 0) barriers.init();
  __syncthreads();

  const unsigned blocks = task.padded / kKeys;
  if (threadIdx.x < kGroup) {
    give_registers<24>();
    if (threadIdx.x == 0) {
      Place at;
      for (unsigned turn = 0;; turn++) {
        unsigned block, key_head;
        if (!barriers.draw(task, blocks, turn, block, key_head)) break;
        const unsigned first = block * kKeys;
        barrier_expect(barriers.keys_full(), 4 * kBox);
        for (unsigned half = 0; half < 2; half++) {
          const int row = static_cast<int>(first + half * 64);
          load_box(base + kKeysAt + half * kBox, &maps.rows, static_cast<int>(task.heads.key(key_head)), row, barriers.keys_full());
          load_box(base + kValuesAt + half * kBox, &maps.rows, static_cast<int>(task.heads.value(key_head)), row, barriers.keys_full());
        }
        const unsigned tiles = 2 * tiles_of<2 * kQueries>(task, first);
        for (unsigned head = key_head * task.heads.group; head < (key_head + 1) * task.heads.group; head++) {
          for (unsigned tile = 0; tile < tiles; tile++, at.next()) {
            const std::uint32_t stage = base + at.stage * 2 * kBox, statistics = base + kStatisticsAt + at.stage * kStatisticsBytes;
            const unsigned row = first + tile * kQueries;
            const std::size_t which = std::size_t{head} * task.padded + row;
            barrier_wait(barriers.empty(at.stage), at.parity ^ 1);
            barrier_expect(barriers.full(at.stage), kStageBytes);
            load_box(stage, &maps.rows, static_cast<int>(head * kSize), static_cast<int>(row), barriers.full(at.stage));
            load_piece(statistics, task.log_sum_exp + which, kQueries * 4, barriers.full(at.stage));
            load_box(stage + kBox, &maps.dy, static_cast<int>(head * kSize), static_cast<int>(row), barriers.full(at.stage));
            load_piece(statistics + kQueries * 4, task.delta + which, kQueries * 4, barriers.full(at.stage));
          }
        }
      }
    }
  } else {
    take_registers<240>();
    // The same in all lanes, and known to be.
    const unsigned group = __shfl_sync(kFullMask, threadIdx.x / kGroup - 1, 0), lane = lane_kept();
    const unsigned warp = __shfl_sync(kFullMask, threadIdx.x % kGroup / 32, 0);
    const std::uint32_t own_out = base + kOutAt + (group * 4 + warp) * kWarpOut;
    const float factor = task.heads.scale * kLog2E;
    // Where this lane stores gradients of scores, transposed: matrices (keys 0-7, queries 0-7), (8-15, 0-7), (0-7, 8-15), (8-15, 8-15).
    const std::uint32_t own_scores = chunk_address(base + kScoresAt + group * kBox, lane / 16 * 8 + lane % 8, 2 * warp + lane / 8 % 2);

    const std::uint64_t rows = rows_descriptor(base), columns = columns_descriptor(base, kBox);

    Place at;
    unsigned pair = 0;  // of tiles, counted: two take turns in the buffers
    for (unsigned turn = 0;; turn++) {
      barrier_wait(barriers.keys_full(), turn % 2);
      const uint2 item = barriers.item();
      const unsigned block = item.x, key_head = item.y;
      if (block >= blocks) break;
      const unsigned first = block * kKeys, own_first = first + group * 64;
      const unsigned pairs = tiles_of<2 * kQueries>(task, first), rounds = pairs * task.heads.group;
      // Of this lane's two keys, and the warpgroup's first.
      const unsigned key = own_first + warp * kWarpRows + lane / 4;
      const unsigned end[2] = {end_of(task, key), end_of(task, key + 8)}, group_end = own_first + 63 < task.tokens ? end_of(task, own_first) : 0u;

      std::uint32_t key_part[16];
#pragma unroll
      for (unsigned i = 0; i < 4; i++) {
        load_matrices(*reinterpret_cast<std::uint32_t(*)[4]>(key_part + 4 * i),
                      chunk_address(base + kKeysAt + group * kBox, warp * kWarpRows + lane % 16, 2 * i + lane / 16));
      }

      float scores[32], d_weights[32], d_queries[32], d_keys[32], d_values[32];
#pragma unroll
      for (unsigned i = 0; i < 32; i++) d_keys[i] = d_values[i] = 0.0f;

      // Of tile `group` of the pair in the buffer, over all keys.
      const auto multiply_queries = [&](unsigned from) {
        const std::uint32_t left = kScoresAt + (from * 4 + group * 2) * kBox;
        products_begin();
#pragma unroll
        for (unsigned k = 0; k < 8; k++) {
          multiply64<true>(d_queries, moved(rows, left + k / 4 * kBox + k % 4 * 32), moved(columns, kKeysAt + k * 16 * 128), k > 0);
        }
        products_commit();
      };
      // What was written to shared memory goes on its way: the pair's gradients of scores to both warpgroups, queries' gradients to memory.
      const auto hand_over = [&](unsigned of_pair, float* to) {
        fence_for_copies();
        __syncwarp();
        if (lane == 0) {
          barrier_arrive(barriers.written(of_pair % 2));
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
        const std::uint32_t stage = before * 2 * kBox;
#pragma unroll
        for (unsigned k = 0; k < 4; k++) multiply64<true>(d_keys, gradients + 4 * k, moved(columns, stage + k * 16 * 128), true);
        products_commit();
      };

      // One tile of queries. The keys' gradient follows a tile behind (at first of zeros), the queries' a pair behind, so that products are under way
      // while weights and their gradients are computed; each wait names how many later groups of products may still be.
      const auto step = [&](auto which, unsigned round) {
        constexpr unsigned sub = decltype(which)::value;
        const std::uint32_t stage = at.stage * 2 * kBox, statistics = base + kStatisticsAt + at.stage * kStatisticsBytes + lane % 4 * 8;
        const unsigned row = first + (tile * 2 + sub) * kQueries;
        barrier_wait(barriers.full(at.stage), at.parity);
        float2 log_sum_exp[8], delta[8];
#pragma unroll
        for (unsigned j = 0; j < 8; j++) log_sum_exp[j] = load_shared(statistics + j * 32);
        products_begin();
#pragma unroll
        for (unsigned k = 0; k < 4; k++) multiply64<false>(scores, key_part + 4 * k, moved(rows, stage + k * 32), k > 0);
        products_commit();
#pragma unroll
        for (unsigned k = 0; k < 4; k++) {
          multiply64<false>(d_weights, moved(rows, kValuesAt + group * kBox + k * 32), moved(rows, stage + kBox + k * 32), k > 0);
        }
        products_commit();
        multiply_keys();
        if constexpr (sub == 0) {
          if (round > 0) hand_over(pair - 1, sums_put);
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
          for (unsigned i = 0; i < 4; i++) s[i] = exp2_fast(fmaf(s[i], factor, -(i % 2 == 0 ? log_sum_exp[j].x : log_sum_exp[j].y)));
          weights[2 * j] = pack_bfloat16(s[0], s[1]);
          weights[2 * j + 1] = pack_bfloat16(s[2], s[3]);
        }
#pragma unroll
        for (unsigned j = 0; j < 8; j++) delta[j] = load_shared(statistics + kQueries * 4 + j * 32);
        products_begin();
#pragma unroll
        for (unsigned k = 0; k < 4; k++) multiply64<true>(d_values, weights + 4 * k, moved(columns, stage + kBox + k * 16 * 128), true);
        products_commit();
        if constexpr (sub == 0) {
          if (round > 0) barrier_wait(barriers.written((pair - 1) % 2), (pair - 1) / 2 % 2);
          multiply_queries((pair - 1) % 2);  // in the first round of nothing in particular, which nobody takes
        }
        products_wait<sub == 0 ? 2 : 1>();
        settle(d_weights);
        if ((sub == 1 || round > 0) && lane == 0) barrier_arrive(barriers.empty(before));
#pragma unroll
        for (unsigned j = 0; j < 8; j++) {
          const float* const s = scores + 4 * j;
          const float* const d = d_weights + 4 * j;
          gradients[2 * j] = pack_bfloat16(s[0] * (d[0] - delta[j].x), s[1] * (d[1] - delta[j].y));
          gradients[2 * j + 1] = pack_bfloat16(s[2] * (d[2] - delta[j].x), s[3] * (d[3] - delta[j].y));
        }
#pragma unroll
        for (unsigned i = 0; i < 4; i++) store_matrices_transposed(own_scores + (pair % 2 * 4 + sub * 2) * kBox + i * 16 * 128, gradients + 4 * i);
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
      hand_over(pair - 1, sums_put);
      barrier_wait(barriers.written((pair - 1) % 2), (pair - 1) / 2 % 2);
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
        barrier_arrive(barriers.empty(before));
        barrier_arrive(barriers.keys_empty());
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

// ---------------------------------------------------------------------------------------------------------------- host

constexpr const char* kName = "attention_grad";

}  // namespace

bool attention_grad_hopper_takes(std::size_t tokens, const AttentionShape& shape) {
  const bool size = shape.head_dimension == kSize || (shape.head_dimension == 128 && tokens * shape.query_heads < (std::size_t{1} << 31));
  return on_hopper() && size && tokens > 0 && tokens < (std::size_t{1} << 30);
}

void attention_grad_hopper(Stream stream, const AttentionBackward<bfloat16>& a, const bfloat16* out, void* workspace) {
  const GradientParts parts = gradient_parts(workspace, a.tokens, a.heads.query_heads, a.heads.head_dimension);
  prepare_gradient(stream, a, out, parts);
  if (a.heads.head_dimension == 128) {
    multiply_gradient_heads128(stream, a, parts);
  } else {
    launch(kName, attention_grad_kernel, grid_of(kName, std::min(multiprocessors(), items_of(a, parts))), kThreads, kSharedBytes, stream, maps_of(kName, a),
           task_of(a, parts));
  }
  finish_gradient(stream, a, parts);
}

}  // namespace xgen::cuda
