// The gradient of flash attention for Hopper (sm_90a), bfloat16, head size 128, in one pass over the pairs of queries and keys. What is done by row
// before and after it: attention_grad_rows_hopper.cu.
//
// Bound by arithmetic: 1,280 operations of products a pair of query and key, half of all pairs by causality, over 989 TFLOP/s. A block has 128 keys,
// whose gradients stay in registers; the queries' are added to memory, in no fixed order.
#include <algorithm>

#include "attention_grad_items_hopper.h"

namespace xgen::cuda {

using namespace gradient;

namespace {

constexpr unsigned kStages = 3;
constexpr unsigned kWarpSums = kWarpRows * 64;

constexpr std::uint32_t kTile = 2 * kBox;  // bytes: of 64 rows
// Queries and dy of each stage, keys, values, gradients of two tiles of scores, what each warp hands out, statistics, barriers.
constexpr std::uint32_t kKeysAt = kStages * 2 * kTile, kValuesAt = kKeysAt + 2 * kTile, kScoresAt = kValuesAt + 2 * kTile, kOutAt = kScoresAt + 4 * kBox;
constexpr std::uint32_t kWarpOut = kWarpSums * 4;
constexpr std::uint32_t kStatisticsAt = kOutAt + kWarps * kWarpOut, kBarriersAt = kStatisticsAt + kStages * kStatisticsBytes;
constexpr std::size_t kSharedBytes = kBarriersAt + (2 * kStages + 4) * 8 + 16 + 1024;
static_assert(kSharedBytes <= 227 * 1024);

struct ScaledTask : Task {
  float factor;  // of scores, times log2(e)
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

constexpr unsigned kSize = 128;   // of a head
constexpr unsigned kEarly = 4;    // of a lane's 8 pairs of delta, loaded while products run: more were slower
constexpr std::uint32_t kStageBytes = 2 * kTile + kStatisticsBytes;

// Where in the ring a warpgroup is.
using Place = hopper::RingPlace<kStages>;

// Of two neighbouring tiles of eight queries, this lane's; where it is written, as a load that the compiler moves waits behind products.
__device__ __forceinline__ void load_statistics(float2* x, std::uint32_t from) {
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(x[0].x), "=f"(x[0].y), "=f"(x[1].x), "=f"(x[1].y) : "r"(from));
}

__global__ void __launch_bounds__(kThreads, 1) attention_grad_heads128_kernel(const __grid_constant__ Maps maps, ScaledTask task) {
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
        barrier_expect(barriers.keys_full(), 4 * kTile);
        for (unsigned i = 0; i < 4; i++) {
          const int row = static_cast<int>(first + i / 2 * 64), column = static_cast<int>(i % 2 * 64);
          load_box(base + kKeysAt + i * kBox, &maps.rows, static_cast<int>(task.heads.key(key_head)) + column, row, barriers.keys_full());
          load_box(base + kValuesAt + i * kBox, &maps.rows, static_cast<int>(task.heads.value(key_head)) + column, row, barriers.keys_full());
        }
        const unsigned tiles = tiles_of<kQueries>(task, first);
        unsigned which = key_head * task.heads.group * task.padded + first;
        int column = static_cast<int>(key_head * task.heads.group * kSize);
#pragma unroll 1
        for (unsigned head = 0; head < task.heads.group; head++, column += static_cast<int>(kSize), which += task.padded - tiles * kQueries) {
#pragma unroll 1
          for (unsigned tile = 0; tile < tiles; tile++, at.next(), which += kQueries) {
            const std::uint32_t stage = base + at.stage * 2 * kTile, statistics = base + kStatisticsAt + at.stage * kStatisticsBytes;
            const int row = static_cast<int>(first + tile * kQueries);
            barrier_wait(barriers.empty(at.stage), at.parity ^ 1);
            barrier_expect(barriers.full(at.stage), kStageBytes);
            load_box(stage, &maps.rows, column, row, barriers.full(at.stage));
            load_box(stage + kBox, &maps.rows, column + 64, row, barriers.full(at.stage));
            load_piece(statistics, task.log_sum_exp + which, kQueries * 4, barriers.full(at.stage));
            load_box(stage + kTile, &maps.dy, column, row, barriers.full(at.stage));
            load_box(stage + kTile + kBox, &maps.dy, column + 64, row, barriers.full(at.stage));
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
    // Where this lane stores gradients of scores, transposed: matrices (keys 0-7, queries 0-7), (8-15, 0-7), (0-7, 8-15), (8-15, 8-15).
    const std::uint32_t own_scores = chunk_address(base + kScoresAt + group * kBox, lane / 16 * 8 + lane % 8, 2 * warp + lane / 8 % 2);
    const std::uint64_t rows = rows_descriptor(base), columns = columns_descriptor(base, kBox);
    const auto own_out = [&] { return base + kOutAt + (group * 4 + warp) * kWarpOut; };

    Place at;
    unsigned count = 0;  // tiles: they take turns in the buffers
    for (unsigned turn = 0;; turn++) {
      barrier_wait(barriers.keys_full(), turn % 2);
      const uint2 here = barriers.item();
      if (here.x >= blocks) break;
      const unsigned first = here.x * kKeys, tiles = tiles_of<kQueries>(task, first);
      // Tiles from this on have queries that do not see all of the warpgroup's keys.
      const unsigned group_end = first + group * 64 + 63 < task.tokens ? end_of(task, first + group * 64) : 0u;
      const unsigned seen = group_end > first ? (group_end - first) / kQueries : 0u;

      float d_keys[64], d_values[64];
#pragma unroll
      for (unsigned i = 0; i < 64; i++) d_keys[i] = d_values[i] = 0.0f;
      std::uint32_t weights[16], gradients[16];
#pragma unroll
      for (unsigned i = 0; i < 16; i++) weights[i] = gradients[i] = 0;

      // Half of a tile's columns, over all keys.
      const auto multiply_queries = [&](float (&d_queries)[32], unsigned from) {
        const std::uint32_t left = kScoresAt + from * 2 * kBox, right = kKeysAt + group * kBox;
#pragma unroll
        for (unsigned k = 0; k < 8; k++) {
          multiply64<true>(d_queries, moved(rows, left + k / 4 * kBox + k % 4 * 32), moved(columns, right + k / 4 * kTile + k % 4 * (16 * 128)), k > 0);
        }
        products_commit();
      };
      // Of the tile before, in pieces of a warp's.
      unsigned sums = (here.y * task.heads.group * (task.padded / kQueries) + first / kQueries) * 8 + group * 4 + warp - 8;
      // The queries' gradient of the tile before goes to memory, after the words to say that the scores' gradients of this one may be read.
      const auto put_queries = [&](const float (&d_queries)[32], bool any, unsigned buffer) {
        if (any) {
          float* const to = task.sums + std::size_t{sums} * kWarpSums + lane * 4;
#pragma unroll
          for (unsigned i = 0; i < 8; i++) {
            asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to + i * 128), "f"(d_queries[4 * i]), "f"(d_queries[4 * i + 1]),
                         "f"(d_queries[4 * i + 2]), "f"(d_queries[4 * i + 3])
                         : "memory");
          }
        }
        if (lane == 0 && buffer < 2) barrier_arrive(barriers.written(buffer));
      };

      bool any = false;
      unsigned tile = 0, rounds = tiles * task.heads.group;
      const auto multiply_scores = [&](float (&scores)[32]) {
        const std::uint32_t stage = at.stage * 2 * kTile;
        products_begin();
#pragma unroll
        for (unsigned k = 0; k < 8; k++) {
          multiply64<false>(scores, moved(rows, kKeysAt + group * kTile + k / 4 * kBox + k % 4 * 32), moved(rows, stage + k / 4 * kBox + k % 4 * 32), k > 0);
        }
        products_commit();
      };
#pragma unroll 1
      do {
        float d_weights[32], d_queries[32];
        const std::uint32_t stage = at.stage * 2 * kTile, statistics = base + kStatisticsAt + at.stage * kStatisticsBytes + lane % 4 * 16;
        float scores[32];
        barrier_wait(barriers.full(at.stage), at.parity);
        float2 log_sum_exp[8], delta[8];
#pragma unroll
        for (unsigned j = 0; j < 8; j += 2) load_statistics(log_sum_exp + j, statistics + j * 32);
        multiply_scores(scores);
        products_begin();
#pragma unroll
        for (unsigned k = 0; k < 8; k++) {
          multiply64<false>(d_weights, moved(rows, kValuesAt + group * kTile + k / 4 * kBox + k % 4 * 32),
                            moved(rows, stage + kTile + k / 4 * kBox + k % 4 * 32), k > 0);
        }
        products_commit();
        products_wait<1>();
        settle(scores);
        if (tile <= group || tile >= seen) {
          const unsigned from = barriers.item().x * kKeys, key = from + group * 64 + warp * kWarpRows + lane / 4, end[2] = {end_of(task, key), end_of(task, key + 8)};
#pragma unroll
          for (unsigned i = 0; i < 32; i++) {
            const unsigned query = from + tile * kQueries + i / 4 * 8 + lane % 4 * 2 + i % 2;
            if (query < key + i % 4 / 2 * 8 || query >= end[i % 4 / 2]) scores[i] = -infinity();
          }
        }
#pragma unroll
        for (unsigned j = 0; j < 8; j++) {
          float* const s = scores + 4 * j;
          const float2 l = log_sum_exp[j];
#pragma unroll
          for (unsigned i = 0; i < 4; i++) s[i] = exp2_fast(fmaf(s[i], task.factor, -(i % 2 == 0 ? l.x : l.y)));
          weights[2 * j] = pack_bfloat16(s[0], s[1]);
          weights[2 * j + 1] = pack_bfloat16(s[2], s[3]);
        }
        products_begin();
#pragma unroll
        for (unsigned k = 0; k < 4; k++) multiply128(d_values, weights + 4 * k, moved(columns, stage + kTile + k * 16 * 128));
        products_commit();
#pragma unroll
        for (unsigned j = 0; j < kEarly; j += 2) load_statistics(delta + j, statistics + kQueries * 4 + j * 32);
        products_wait<1>();
        settle(d_weights);
#pragma unroll
        for (unsigned j = 0; j < 8; j++) {
          const float* const d = d_weights + 4 * j;
          const float* const s = scores + 4 * j;
          if (j >= kEarly && j % 2 == 0) load_statistics(delta + j, statistics + kQueries * 4 + j * 32);
          const float2 x = delta[j];
          gradients[2 * j] = pack_bfloat16(s[0] * (d[0] - x.x), s[1] * (d[1] - x.y));
          gradients[2 * j + 1] = pack_bfloat16(s[2] * (d[2] - x.x), s[3] * (d[3] - x.y));
        }
        // The other warpgroup has left the buffer, too.
        if (any) barrier_wait(barriers.written((count - 1) % 2), (count - 1) / 2 % 2);
#pragma unroll
        for (unsigned i = 0; i < 4; i++) store_matrices_transposed(own_scores + count % 2 * 2 * kBox + i * 16 * 128, gradients + 4 * i);
        fence_for_copies();
        __syncwarp();
        products_begin();
        multiply_queries(d_queries, (count - 1) % 2);
#pragma unroll
        for (unsigned k = 0; k < 4; k++) multiply128(d_keys, gradients + 4 * k, moved(columns, stage + k * 16 * 128));
        products_commit();
        products_wait<1>();
        settle(d_queries);
        hold(weights);
        hold(d_values);
        put_queries(d_queries, any, count % 2);
        products_wait<0>();
        hold(gradients);
        hold(d_keys);
        if (lane == 0) barrier_arrive(barriers.empty(at.stage));
        at.next();
        sums += any && tile == 0 ? (task.padded / kQueries - tiles + 1) * 8 : 8;
        if (++tile == tiles) tile = 0;
        any = true;
        count++;
      } while (--rounds > 0);
      barrier_wait(barriers.written((count - 1) % 2), (count - 1) / 2 % 2);
      float d_queries[32];
      products_begin();
      multiply_queries(d_queries, (count - 1) % 2);
      products_wait<0>();
      settle(d_queries);
      const uint2 still = barriers.item();
      __syncwarp();
      if (lane == 0) {
        barrier_arrive(barriers.keys_empty());
      }
      put_queries(d_queries, true, 2);
      const int row = static_cast<int>(still.x * kKeys + group * 64 + warp * kWarpRows);
      const auto put_keys = [&](const float (&c)[64], float by, std::size_t column) {
        if (lane == 0) wait_for_reads<0>();
        __syncwarp();
        store_box_rows(own_out(), c, by, lane);
        fence_for_copies();
        __syncwarp();
        if (lane == 0) {
          store_box(&maps.d_rows, static_cast<int>(column), row, own_out());
          store_box(&maps.d_rows, static_cast<int>(column) + 64, row, own_out() + kWarpOut / 2);
          commit_stores();
        }
      };
      put_keys(d_keys, task.heads.scale, task.heads.key(still.y));
      put_keys(d_values, 1.0f, task.heads.value(still.y));
    }
    if (lane == 0) wait_for_reads<0>();
  }
}

#else

__global__ void attention_grad_heads128_kernel(const __grid_constant__ Maps, ScaledTask) {}

#endif

// ---------------------------------------------------------------------------------------------------------------- host

constexpr const char* kName = "attention_grad";

}  // namespace

void multiply_gradient_heads128(Stream stream, const AttentionBackward<bfloat16>& a, const GradientParts& parts) {
  const ScaledTask task = {task_of(a, parts), a.heads.scale * kLog2E};
  launch(kName, attention_grad_heads128_kernel, grid_of(kName, std::min(multiprocessors(), items_of(a, parts))), kThreads, kSharedBytes, stream,
         maps_of(kName, a), task);
}

}  // namespace xgen::cuda
