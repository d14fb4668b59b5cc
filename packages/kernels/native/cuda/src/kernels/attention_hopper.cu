// Flash attention forward on Hopper's wgmma for heads of 64: bfloat16, packed documents, grouped queries.
//
// Bound: a pair of query and key takes 256 operations of products, 1/16 clock of a processor's tensor cores, and one exponential, 1/16 clock
// of its special function units: as long, and both contend with all else for registers' ports. So what stands around the products decides:
// - Four warpgroups of 64 rows each. While one waits for its products, others compute weights: more of them hide more than overlap within one.
// - No maximum is taken where none is needed. Weights are relative to a maximum of some earlier keys, the row's reference; as long as
//   their sum stays small beside what float32 and bfloat16 hold, it serves. Else, and for a row's first keys, it is found anew.
//
// A persistent block a processor takes tiles of 256 query rows of one head, in the order of a counter: heads that share keys side by side, the
// latest rows (the longest within a document) first. One thread copies in queries, keys and values, 64 keys a stage of a ring in shared
// memory. Blocks of keys are taken from the diagonal backwards; only those that the diagonal or a document's start crosses are masked.
#include <algorithm>

#include "attention_hopper.h"
#include "attention_softmax_hopper.h"
#include "attention_tiles_hopper.h"
#include "hopper_products.h"
#include "tensor_map.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kSize = 64;                                  // of a head
constexpr unsigned kGroups = 4, kGroupRows = 64, kRows = kGroups * kGroupRows;
constexpr unsigned kKeys = 64;                                  // a block
constexpr unsigned kGroup = 128;                                // threads of a warpgroup
constexpr unsigned kThreads = (1 + kGroups) * kGroup;           // one copies, the others compute
constexpr unsigned kStages = 6;
constexpr unsigned kStoreRows = 16;                             // a warp's
constexpr std::uint32_t kBoxBytes = 64 * kSize * 2, kStageBytes = 2 * kBoxBytes, kQueryBytes = kRows * kSize * 2;
constexpr std::size_t kSharedBytes = 2 * kQueryBytes + kStages * kStageBytes + 1024 + 256;

struct Maps {
  CUtensorMap rows;  // qkv: 64 columns, 64 rows
  CUtensorMap out;   // 64 columns, 16 rows
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

using Tile = hopper::QueryTile<kGroups>;
using Rows = hopper::SoftmaxRows<kKeys, kSize>;
// Where in the ring a warpgroup is.
using Place = hopper::RingPlace<kStages>;

__device__ __forceinline__ void multiply_queries(Rows& rows, std::uint32_t queries, std::uint32_t keys) {
#pragma unroll
  for (unsigned k = 0; k < kSize / 16; k++) hopper::multiply64<false>(rows.scores, hopper::descriptor(queries + 2 * k), hopper::descriptor(keys + 2 * k), k > 0);
}
__device__ __forceinline__ void multiply_values(Rows& rows, std::uint32_t values) {
#pragma unroll
  for (unsigned k = 0; k < kKeys / 16; k++) hopper::multiply64<true>(rows.sums, rows.weights + 4 * k, hopper::descriptor(values + k * (16 * 128 / 16)), true);
}

// Of a box [64 rows][64] swizzled by 128 bytes: 16 bytes of a row.
__device__ __forceinline__ std::uint32_t box_address(std::uint32_t box, unsigned row, unsigned chunk) {
  return box + row * 128 + ((chunk ^ (row % 8)) * 16);
}

__global__ void __launch_bounds__(kThreads, 1) attention_hopper_kernel(const __grid_constant__ Maps maps, const hopper::QueryTask task) {
  using namespace hopper;
  extern __shared__ unsigned char shared[];
  const std::uint32_t base = (shared_address(shared) + 1023u) & ~1023u, ring = base + 2 * kQueryBytes, barriers = ring + kStages * kStageBytes;
  Tile* const tiles = reinterpret_cast<Tile*>(shared + (barriers - shared_address(shared)) + (2 * kStages + 4) * 8);  // of each buffer of queries
  const auto full = [&](unsigned stage) { return barriers + stage * 8; };
  const auto empty = [&](unsigned stage) { return barriers + (kStages + stage) * 8; };
  const auto asked = [&](unsigned buffer) { return barriers + (2 * kStages + buffer) * 8; };
  const auto answered = [&](unsigned buffer) { return barriers + (2 * kStages + 2 + buffer) * 8; };
  if (threadIdx.x == 0) {
    for (unsigned i = 0; i < kStages; i++) {
      barrier_init(full(i), 1);
      barrier_init(empty(i), kGroups);
    }
    for (unsigned i = 0; i < 2; i++) {
      barrier_init(asked(i), 1);
      barrier_init(answered(i), kGroups * kGroup / kWarp);
    }
    barrier_init_fence();
  }
  __syncthreads();

  if (threadIdx.x < kGroup) {
    give_registers<24>();
    if (threadIdx.x == 0) {
      prefetch(&maps.rows);
      prefetch(&maps.out);
      const unsigned units = task.tiles * task.query_heads;
      Place at;
      for (unsigned turn = 0;; turn++) {
        const unsigned buffer = turn % 2, unit = atomicAdd(task.next, 1u);
        Tile& tile = tiles[buffer];
        barrier_wait(answered(buffer), (turn / 2 % 2) ^ 1);
        if (unit >= units) {
          tile.index = -1;
          barrier_arrive(asked(buffer));
          break;
        }
        const TilePlace place = tile_place(task, unit);
        const unsigned head = place.head, key_head = head / task.group, first = place.index * kRows;
        describe<kGroupRows, kKeys>(tile, task, place);
        const int low = tile.low[0];
        barrier_expect(asked(buffer), kQueryBytes);
        for (unsigned i = 0; i < kGroups; i++) {
          load_box(base + buffer * kQueryBytes + i * kBoxBytes, &maps.rows, static_cast<int>(head * kSize), static_cast<int>(first + i * kGroupRows),
                   asked(buffer));
        }
        const int key_column = static_cast<int>((task.query_heads + key_head) * kSize);
        const int value_column = key_column + static_cast<int>(task.key_value_heads * kSize);
        for (int block = static_cast<int>((first + kRows) / kKeys) - 1; block >= low; block--, at.next()) {
          const std::uint32_t to = ring + at.stage * kStageBytes;
          barrier_wait(empty(at.stage), at.parity ^ 1);
          barrier_expect(full(at.stage), kStageBytes);
          load_box(to, &maps.rows, key_column, block * static_cast<int>(kKeys), full(at.stage));
          load_box(to + kBoxBytes, &maps.rows, value_column, block * static_cast<int>(kKeys), full(at.stage));
        }
      }
    }
  } else {
    take_registers<112>();
    const unsigned group = __shfl_sync(kFullMask, threadIdx.x / kGroup - 1, 0), thread = threadIdx.x % kGroup, lane = thread % 32;
    const unsigned warp = __shfl_sync(kFullMask, thread / 32, 0);
    const auto release = [&](unsigned stage) {
      if (thread == 0) barrier_arrive(empty(stage));
    };
    const float scale = task.scale;
    Place at;
    const auto skip = [&](int blocks) { skip_stages(at, blocks, group, warp, full, release); };
    for (unsigned turn = 0;; turn++) {
      const unsigned buffer = turn % 2;
      barrier_wait(asked(buffer), turn / 2 % 2);
      const Tile& tile = tiles[buffer];
      const int index = tile.index;
      if (index < 0) break;
      const std::uint32_t queries = base + buffer * kQueryBytes + group * kBoxBytes;
      if (turn > 0 && lane == 0) {  // the tile before has left its buffer
        wait_for_reads<0>();
        barrier_arrive(answered(buffer ^ 1));
      }
      Rows rows(-infinity());
      const int first = index * static_cast<int>(kRows) + static_cast<int>(group * kGroupRows), row = first + static_cast<int>(warp * 16 + lane / 4);
      const int low = tile.low[group], last_start = tile.last_start[group];
      const int diagonal = first / static_cast<int>(kKeys);
      const auto crosses = [&](int block) { return block * static_cast<int>(kKeys) < last_start; };
      const auto mask_block = [&](int block) {
        rows.mask(task.starts, crosses(block), task.tokens, row, block * static_cast<int>(kKeys), threadIdx.x % kWarp);
      };
      const std::uint32_t queries_place = rows_place(queries), ring_place = rows_place(ring);
      const auto keys_of = [&](const Place& place) { return ring_place + place.stage * (kStageBytes / 16); };
      const auto values_of = [&](const Place& place) { return ring_place + kBoxBytes / 16 + place.stage * (kStageBytes / 16); };

      skip(static_cast<int>(kGroups - 1 - group));
      Place now = at;
      barrier_wait(full(now.stage), now.parity);
      at.next();
      products_begin();
      multiply_queries(rows, queries_place, keys_of(now));
      products_commit();
      products_wait<0>();
      rows.hold_all();
      const auto step = [&](int block, auto masked) {
        const bool ready = barrier_test(full(at.stage), at.parity);
        if constexpr (masked.value) mask_block(block);
        rows.soften(scale);
        if (!ready) barrier_wait(full(at.stage), at.parity);
        products_begin();
        multiply_values(rows, values_of(now));
        multiply_queries(rows, queries_place, keys_of(at));
        products_commit();
        products_wait<0>();
        rows.hold_all();
        release(now.stage);
        now = at;
        at.next();
      };
      int block = diagonal;
      if (block > low) {
        step(block--, std::true_type{});
        for (; block > low && !crosses(block); block--) step(block, std::false_type{});
        for (; block > low; block--) step(block, std::true_type{});
      }
      if (block == diagonal || crosses(block)) mask_block(block);
      rows.soften(scale);
      products_begin();
      multiply_values(rows, values_of(now));
      products_commit();
      products_wait<0>();
      rows.hold_all();
      release(now.stage);
      skip(low - tile.low[0]);

      // Out through the queries' place.
      const unsigned head = tile.head;
      float inverse[2];
#pragma unroll
      for (unsigned r = 0; r < 2; r++) {
        const float total = warp_reduce<4>(rows.total[r], Add{});
        inverse[r] = 1.0f / total;
        const unsigned at_row = static_cast<unsigned>(row) + r * 8;
        if (lane % 4 == 0 && at_row < task.tokens && task.log_sum_exp != nullptr) {
          task.log_sum_exp[std::size_t{at_row} * task.query_heads + head] = (rows.reference[r] + log2f(total)) * kLn2;
        }
      }
#pragma unroll
      for (unsigned k = 0; k < kSize / 16; k++) {
        const float* const s = rows.sums + 8 * k;
        store_matrices(box_address(queries, warp * 16 + lane % 16, 2 * k + lane / 16), pack_bfloat16(s[0] * inverse[0], s[1] * inverse[0]),
                       pack_bfloat16(s[2] * inverse[1], s[3] * inverse[1]), pack_bfloat16(s[4] * inverse[0], s[5] * inverse[0]),
                       pack_bfloat16(s[6] * inverse[1], s[7] * inverse[1]));
      }
      fence_for_copies();
      __syncwarp();
      if (lane == 0) {
        store_box(&maps.out, static_cast<int>(head * kSize), first + static_cast<int>(warp * 16), queries + warp * (kStoreRows * 128));
        commit_stores();
      }
    }
    if (lane == 0) wait_for_reads<0>();  // shared memory outlives the stores
  }
}

#else

__global__ void attention_hopper_kernel(const __grid_constant__ Maps, const hopper::QueryTask) {}

#endif

}  // namespace

// ---------------------------------------------------------------------------------------------------------------- host

bool attention_hopper_takes(std::size_t tokens, const AttentionShape& shape) {
  const bool size = shape.head_dimension == kSize || shape.head_dimension == 128;
  return on_hopper() && size && tokens > 0 && tokens < (std::size_t{1} << 31) - kRows;
}

unsigned attention_heads_together(std::size_t tokens, std::size_t documents, const Heads& heads) {
  constexpr std::size_t cache_bytes = std::size_t{24} << 20;  // of the second-level cache, to be filled with keys and values
  const std::size_t document_bytes = tokens / std::max<std::size_t>(documents, 1) * heads.head_dimension * 4;
  unsigned together = heads.key_value_heads;
  while (together > 1 && (together * document_bytes > cache_bytes || heads.key_value_heads % together != 0)) together--;
  return together * heads.group;
}

void attention_hopper(Stream stream, const AttentionForward<bfloat16>& arguments, std::size_t documents, unsigned* next) {
  constexpr const char* name = "attention";
  const Heads& heads = arguments.heads;
  if (heads.head_dimension == 128) return attention_heads128_hopper(stream, arguments, documents, next);
  Maps maps = {};
  maps.rows = tensor_map(name, arguments.qkv, arguments.tokens, heads.row(), heads.row(), kSize, kKeys);
  maps.out = tensor_map(name, arguments.out, arguments.tokens, heads.out_row(), heads.out_row(), kSize, kStoreRows);
  const hopper::QueryTask task = hopper::query_task(arguments, documents, next, kRows);
  const std::size_t blocks = std::min<std::size_t>(multiprocessors(), std::size_t{task.tiles} * heads.query_heads);
  launch(name, attention_hopper_kernel, grid_of(name, blocks), kThreads, kSharedBytes, stream, maps, task);
}

}  // namespace xgen::cuda
