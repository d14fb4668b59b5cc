// Flash attention forward on Hopper's wgmma for heads of 128: bfloat16, packed documents, grouped queries.
//
// Bound by arithmetic: 512 operations of products a pair of query and key, half of all pairs by causality, over 989 TFLOP/s. As for heads of 64
// (attention_hopper.cu), but of three warpgroups of 64 rows, since their sums take twice the registers; keys and values of 64 positions are units of the
// ring apart from each other, so that the next block's keys are there before this one's values; and rows go out from registers.
#include <algorithm>

#include "attention_hopper.h"
#include "attention_softmax_hopper.h"
#include "attention_tiles_hopper.h"
#include "hopper_products.h"
#include "tensor_map.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kGroups = 3, kGroupRows = 64, kRows = kGroups * kGroupRows;
constexpr unsigned kKeys = 64;                         // a block
constexpr unsigned kGroup = 128;                       // threads of a warpgroup
constexpr unsigned kThreads = (1 + kGroups) * kGroup;  // one copies, the others compute
constexpr unsigned kUnits = 10;                        // of the ring: the keys of a block, or its values
constexpr std::uint32_t kQueryBox = kGroupRows * 128, kQueryBytes = kGroups * 2 * kQueryBox;
constexpr std::uint32_t kUnitBox = kKeys * 128, kUnitBytes = 2 * kUnitBox;
constexpr std::size_t kSharedBytes = kQueryBytes + kUnits * kUnitBytes + 1024 + 256;
static_assert(kSharedBytes <= 227 * 1024);

struct Maps {
  CUtensorMap queries;  // of qkv: 64 columns, 64 rows
  CUtensorMap keys;     // of qkv: 64 columns, as many rows as a block has keys
};

struct Task : hopper::QueryTask {
  bfloat16* out;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

constexpr unsigned kSize = 128;    // of a head
constexpr float kLowest = -1e30f;  // a reference below all: of rows that have seen no key

using Tile = hopper::QueryTile<kGroups>;
using Rows = hopper::SoftmaxRows<kKeys, kSize>;
using Place = hopper::RingPlace<kUnits>;

__device__ __forceinline__ void multiply_queries(Rows& rows, std::uint32_t queries, std::uint32_t keys) {
#pragma unroll
  for (unsigned k = 0; k < kSize / 16; k++) {
    const std::uint64_t a = hopper::descriptor(queries + k / 4 * (kQueryBox / 16) + k % 4 * 2), b = hopper::descriptor(keys + k / 4 * (kUnitBox / 16) + k % 4 * 2);
    hopper::multiply64<false>(rows.scores, a, b, k > 0);
  }
}
__device__ __forceinline__ void multiply_values(Rows& rows, std::uint32_t values) {
#pragma unroll
  for (unsigned k = 0; k < kKeys / 16; k++) hopper::multiply128(rows.sums, rows.weights + 4 * k, hopper::descriptor(values + k * (16 * 128 / 16)));
}

__global__ void __launch_bounds__(kThreads, 1) attention_heads128_kernel(const __grid_constant__ Maps maps, const Task task) {
  using namespace hopper;
  extern __shared__ unsigned char shared[];
  const std::uint32_t base = (shared_address(shared) + 1023u) & ~1023u, ring = base + kQueryBytes, barriers = ring + kUnits * kUnitBytes;
  Tile* const tiles = reinterpret_cast<Tile*>(shared + (barriers - shared_address(shared)) + (2 * kUnits + 2) * 8);  // taken in turn
  const auto full = [&](unsigned stage) { return barriers + stage * 8; };
  const auto empty = [&](unsigned stage) { return barriers + (kUnits + stage) * 8; };
  const std::uint32_t queries_full = barriers + 2 * kUnits * 8, queries_empty = queries_full + 8;
  if (threadIdx.x == 0) {
    for (unsigned i = 0; i < kUnits; i++) {
      barrier_init(full(i), 1);
      barrier_init(empty(i), kGroups);
    }
    barrier_init(queries_full, 1);
    barrier_init(queries_empty, kGroups);
    barrier_init_fence();
  }
  __syncthreads();

  if (threadIdx.x < kGroup) {
    give_registers<32>();
    if (threadIdx.x == 0) {
      prefetch(&maps.queries);
      prefetch(&maps.keys);
      const unsigned units = task.tiles * task.query_heads;
      Place at;
      for (unsigned turn = 0;; turn++) {
        const unsigned unit = atomicAdd(task.next, 1u);
        Tile& tile = tiles[turn % 2];
        if (unit >= units) {
          barrier_wait(queries_empty, turn % 2 ^ 1);
          tile.index = -1;
          barrier_arrive(queries_full);
          break;
        }
        const TilePlace place = tile_place(task, unit);
        const unsigned head = place.head, key_head = head / task.group, first = place.index * kRows;
        const int key_column = static_cast<int>((task.query_heads + key_head) * kSize);
        const int value_column = key_column + static_cast<int>(task.key_value_heads * kSize);
        const auto load = [&](int column, int block) {
          const std::uint32_t to = ring + at.stage * kUnitBytes;
          barrier_wait(empty(at.stage), at.parity ^ 1);
          barrier_expect(full(at.stage), kUnitBytes);
          load_box(to, &maps.keys, column, block * static_cast<int>(kKeys), full(at.stage));
          load_box(to + kUnitBox, &maps.keys, column + 64, block * static_cast<int>(kKeys), full(at.stage));
          at.next();
        };
        int block = static_cast<int>((first + kRows - 1) / kKeys);
        load(key_column, block);
        barrier_wait(queries_empty, turn % 2 ^ 1);
        describe<kGroupRows, kKeys>(tile, task, place);
        const int low = tile.low[0];
        barrier_expect(queries_full, kQueryBytes);
        for (unsigned i = 0; i < 2 * kGroups; i++) {
          load_box(base + i * kQueryBox, &maps.queries, static_cast<int>(head * kSize + i % 2 * 64), static_cast<int>(first + i / 2 * kGroupRows), queries_full);
        }
        for (; block > low; block--) {
          load(key_column, block - 1);
          load(value_column, block);
        }
        load(value_column, low);
      }
    }
  } else {
    take_registers<160>();
    const unsigned group = __shfl_sync(kFullMask, threadIdx.x / kGroup - 1, 0), thread = threadIdx.x % kGroup, lane = thread % 32;
    const unsigned warp = __shfl_sync(kFullMask, thread / 32, 0);
    const auto release = [&](unsigned stage) {
      if (thread == 0) barrier_arrive(empty(stage));
    };
    const float scale = task.scale;
    Place at;
    const auto skip = [&](int units) { skip_stages(at, units, group, warp, full, release); };
    const std::uint32_t queries_place = rows_place(base + group * 2 * kQueryBox), keys_place = rows_place(ring), values_place = columns_place(ring, kUnitBox);
    const auto keys_of = [&](const Place& place) { return keys_place + place.stage * (kUnitBytes / 16); };
    const auto values_of = [&](const Place& place) { return values_place + place.stage * (kUnitBytes / 16); };
    for (unsigned turn = 0;; turn++) {
      barrier_wait(queries_full, turn % 2);
      const Tile& tile = tiles[turn % 2];
      const int index = tile.index;
      if (index < 0) break;
      Rows rows(kLowest);
      const int first = index * static_cast<int>(kRows) + static_cast<int>(group * kGroupRows);
      const int low = tile.low[group];
      const int diagonal = (first + static_cast<int>(kGroupRows) - 1) / static_cast<int>(kKeys);
      const int above = (index * static_cast<int>(kRows) + static_cast<int>(kRows) - 1) / static_cast<int>(kKeys) - diagonal;
      // Blocks that neither the diagonal nor a document's start crosses.
      const int clear_from = (tile.last_start[group] + static_cast<int>(kKeys) - 1) / static_cast<int>(kKeys), clear_to = (first + 1) / static_cast<int>(kKeys);
      const auto mask_block = [&](int block) {
        if (block >= clear_from && block < clear_to) return;
        const int own = static_cast<const volatile Tile&>(tile).index * static_cast<int>(kRows) + static_cast<int>(group * kGroupRows);
        rows.mask(task.starts, block < clear_from, task.tokens, own + static_cast<int>(warp * 16 + lane / 4), block * static_cast<int>(kKeys), lane);
      };

      skip(2 * above - 1);
      barrier_wait(full(at.stage), at.parity);
      products_begin();
      multiply_queries(rows, queries_place, keys_of(at));
      products_commit();
      products_wait<0>();
      hold(rows.scores);
      release(at.stage);
      at.next();
      if (above > 0) skip(1);
      for (int block = diagonal; block > low; block--) {
        const Place keys = at;
        at.next();
        const bool keys_ready = barrier_test(full(keys.stage), keys.parity), values_ready = barrier_test(full(at.stage), at.parity);
        mask_block(block);
        rows.soften(scale);
        if (!keys_ready) barrier_wait(full(keys.stage), keys.parity);
        if (!values_ready) barrier_wait(full(at.stage), at.parity);
        products_begin();
        multiply_values(rows, values_of(at));
        multiply_queries(rows, queries_place, keys_of(keys));
        products_commit();
        products_wait<0>();
        hold(rows.scores);
        hold(rows.weights);
        hold(rows.sums);
        release(keys.stage);
        release(at.stage);
        at.next();
      }
      if (thread == 0) barrier_arrive(queries_empty);
      mask_block(low);
      rows.soften(scale);
      const int below = low - static_cast<const volatile Tile&>(tile).low[0];
      if (below > 0) skip(1);
      barrier_wait(full(at.stage), at.parity);
      products_begin();
      multiply_values(rows, values_of(at));
      products_commit();
      products_wait<0>();
      hold(rows.weights);
      hold(rows.sums);
      release(at.stage);
      at.next();
      skip(2 * below - 1);

      const unsigned head = static_cast<const volatile Tile&>(tile).head;
      const unsigned row = static_cast<const volatile Tile&>(tile).index * kRows + group * kGroupRows + warp * 16 + lane / 4;
#pragma unroll
      for (unsigned r = 0; r < 2; r++) {
        const float total = warp_reduce<4>(rows.total[r], Add{}), inverse = 1.0f / total;
        const unsigned at_row = row + r * 8;
        const bool valid = at_row < task.tokens;
        if (lane % 4 == 0 && valid && task.log_sum_exp != nullptr) {
          task.log_sum_exp[std::size_t{at_row} * task.query_heads + head] = (rows.reference[r] + log2f(total)) * kLn2;
        }
        bfloat16* const to = task.out + (std::size_t{at_row} * task.query_heads + head) * kSize;
#pragma unroll
        for (unsigned part = 0; part < kSize / 32; part++) {
          std::uint32_t x[4];
#pragma unroll
          for (unsigned i = 0; i < 4; i++) {
            const float* const s = rows.sums + (part * 4 + i) * 4 + 2 * r;
            x[i] = pack_bfloat16(s[0] * inverse, s[1] * inverse);
          }
          transpose_words(x, lane);
          if (valid) store_aligned(to + (part * 4 + lane % 4) * kVector, make_uint4(x[0], x[1], x[2], x[3]));
        }
      }
    }
  }
}

#else

__global__ void attention_heads128_kernel(const __grid_constant__ Maps, const Task) {}

#endif

}  // namespace

// ---------------------------------------------------------------------------------------------------------------- host

void attention_heads128_hopper(Stream stream, const AttentionForward<bfloat16>& arguments, std::size_t documents, unsigned* next) {
  constexpr const char* name = "attention";
  const Heads& heads = arguments.heads;
  Maps maps = {};
  maps.queries = tensor_map(name, arguments.qkv, arguments.tokens, heads.row(), heads.row(), 64, kGroupRows);
  maps.keys = tensor_map(name, arguments.qkv, arguments.tokens, heads.row(), heads.row(), 64, kKeys);
  const Task task = {hopper::query_task(arguments, documents, next, kRows), arguments.out};
  const std::size_t blocks = std::min<std::size_t>(multiprocessors(), std::size_t{task.tiles} * heads.query_heads);
  launch(name, attention_heads128_kernel, grid_of(name, blocks), kThreads, kSharedBytes, stream, maps, task);
}

}  // namespace xgen::cuda
