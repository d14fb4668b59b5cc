// A persistent kernel of one block a processor and pairs of blocks as clusters. A block computes tiles of 256 rows by 128 columns: of its first
// warpgroup one thread copies in and two copy out, the two others multiply 128 rows each, sums in registers. Tiles pass through a ring of stages of 48 KB in shared
// memory: 64 of the depth for 256 rows and 128 columns. The blocks of a cluster take neighbouring columns of the same rows; each copies half of
// the rows to both, which halves what comes from the second-level cache.
//
// The epilogue takes its turn in the same ring. Forward, two stages without copies, each for 32 columns of gate, up and activation, from where
// they are copied out. Backward, four stages with 32 columns of gate and up, over which their gradients are written, and copied out. So the
// intermediate's traffic overlaps with the products of the next tile, as far as the ring is deep.
//
// Bound by arithmetic: 2 * rows * width * inner * (2 forward, 1 backward) over 989 TFLOP/s; backward with a width of 1,000 or less by memory,
// 8 bytes of the inner layer an element.
#include <algorithm>

#include "hopper.h"
#include "tensor_map.h"
#include "xgen/cuda/device.h"
#include "xgen/cuda/hopper_feed_forward.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kRows = 256, kColumns = 128, kDepth = 64, kStages = 4;
constexpr unsigned kThreads = 384;  // a copying warpgroup and two multiplying ones
constexpr unsigned kCluster = 2;
constexpr std::uint32_t kLeftBytes = kRows * kDepth * 2, kRightBytes = kColumns * kDepth * 2, kStageBytes = kLeftBytes + kRightBytes;
constexpr unsigned kSlice = 32;  // columns of an epilogue's stage
constexpr std::size_t kSharedBytes = kStages * kStageBytes + 1024 + 128;

// Matrices and the boxes that they are copied in.
struct Maps {
  CUtensorMap left;          // rows: 64 of the depth, 128 rows
  CUtensorMap right, right2; // forward: gate's and up's weights, 64 of the depth, 64 rows; backward: 64 columns, 64 of the depth
  CUtensorMap gate, up;      // backward: 32 columns, 256 rows, to be loaded
  CUtensorMap out[3];        // forward gate, up, activation; backward the gradients of gate and up: 32 columns, 128 rows
};

struct Task {
  unsigned row_tiles, column_pairs, depth_blocks;
  std::uint64_t units() const { return std::uint64_t{row_tiles} * column_pairs; }
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

constexpr unsigned kGroup = 128;                           // threads of a warpgroup
constexpr std::uint32_t kSliceBytes = kRows * kSlice * 2;  // of one array
constexpr unsigned kNanosecondsABlock = 600;               // that a stage of the ring takes, about
constexpr unsigned kRowTilesTogether = 8;                  // tiles that run at about the same time share rows and columns, in squares

// Where in the ring a warpgroup is.
using Place = hopper::RingPlace<kStages>;

struct Tile {
  int row, pair;  // first row; which pair of column tiles
};
__device__ __forceinline__ Tile tile_of(const Task& task, unsigned unit) {
  const unsigned together = kRowTilesTogether * task.column_pairs, group = unit / together, rest = unit % together;
  const unsigned first = group * kRowTilesTogether;
  const unsigned rows = task.row_tiles - first < kRowTilesTogether ? task.row_tiles - first : kRowTilesTogether;
  return {static_cast<int>((first + rest % rows) * kRows), static_cast<int>(rest / rows)};
}

__device__ __forceinline__ std::uint32_t pack(float low, float high) { return pack_bfloat16(low, high); }

// Logistic function.
__device__ __forceinline__ float logistic(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

// Address of 16 bytes of a slice [rows][32] bf16, swizzled by 64 bytes.
__device__ __forceinline__ std::uint32_t slice_address(std::uint32_t slice, unsigned row, unsigned chunk) {
  return slice + row * (kSlice * 2) + ((chunk ^ (row / 2 % 4)) * 16);
}

template <bool backward>
__global__ void __cluster_dims__(kCluster, 1, 1) __launch_bounds__(kThreads, 1) feed_forward_kernel(const __grid_constant__ Maps maps, Task task) {
  using namespace hopper;
  extern __shared__ unsigned char shared[];
  const std::uint32_t base = (shared_address(shared) + 1023u) & ~1023u, barriers = base + kStages * kStageBytes;
  const auto full = [&](unsigned stage) { return barriers + stage * 8; };
  const auto empty = [&](unsigned stage) { return barriers + (kStages + stage) * 8; };
  const auto written = [&](unsigned group, unsigned stage) { return barriers + (2 * kStages + group * kStages + stage) * 8; };
  const std::uint32_t rank = cluster_rank();
  if (threadIdx.x == 0) {
    for (unsigned i = 0; i < kStages; i++) {
      barrier_init(full(i), 1);
      barrier_init(empty(i), 2 * kCluster);  // both multiplying groups of both blocks, or who copies out for them
      for (unsigned group = 0; group < 2; group++) barrier_init(written(group, i), kGroup / kWarp);
    }
    barrier_init_fence();
  }
  __syncthreads();
  cluster_sync();

  const unsigned units = task.row_tiles * task.column_pairs, clusters = gridDim.x / kCluster, own = blockIdx.x / kCluster;
  constexpr unsigned epilogue_stages = backward ? kColumns / kSlice : 2;
  if (threadIdx.x < kGroup) {
    give_registers<40>();
    if (threadIdx.x == 0) {
      // Blocks that do the same at the same time would all wait for memory in their epilogues, and leave it idle between: spread over a tile.
      if (units > 8 * clusters) __nanosleep(static_cast<unsigned>(std::uint64_t{task.depth_blocks} * kNanosecondsABlock * own / clusters));
      Place at;
      for (unsigned unit = own; unit < units; unit += clusters) {
        const Tile tile = tile_of(task, unit);
        const int column = (tile.pair * 2 + static_cast<int>(rank)) * static_cast<int>(backward ? kColumns : kColumns / 2);
        for (unsigned block = 0; block < task.depth_blocks; block++, at.next()) {
          const std::uint32_t left = base + at.stage * kStageBytes, right = left + kLeftBytes;
          const int depth = static_cast<int>(block * kDepth);
          barrier_wait(empty(at.stage), at.parity ^ 1);
          barrier_expect(full(at.stage), kStageBytes);
          load_box_to(left + rank * (kLeftBytes / 2), &maps.left, depth, tile.row + static_cast<int>(rank * (kRows / 2)), full(at.stage), 3);
          if constexpr (backward) {
            load_box(right, &maps.right, column, depth, full(at.stage));
            load_box(right + kRightBytes / 2, &maps.right, column + 64, depth, full(at.stage));
          } else {
            load_box(right, &maps.right, depth, column, full(at.stage));
            load_box(right + kRightBytes / 2, &maps.right2, depth, column, full(at.stage));
          }
        }
        for (unsigned slice = 0; slice < epilogue_stages; slice++, at.next()) {
          const std::uint32_t stage = base + at.stage * kStageBytes;
          barrier_wait(empty(at.stage), at.parity ^ 1);
          if constexpr (backward) {
            barrier_expect(full(at.stage), 2 * kSliceBytes);
            load_box(stage, &maps.gate, column + static_cast<int>(slice * kSlice), tile.row, full(at.stage));
            load_box(stage + kSliceBytes, &maps.up, column + static_cast<int>(slice * kSlice), tile.row, full(at.stage));
          } else {
            barrier_arrive(full(at.stage));
          }
        }
      }
    }
    if (threadIdx.x % kWarp == 0 && (threadIdx.x / kWarp == 1 || threadIdx.x / kWarp == 2)) {
      // What a multiplying group wrote goes out, and its part of the stage is free when that was read: not sooner, and nobody waits for it.
      const unsigned group = threadIdx.x / kWarp - 1;
      const auto release = [&](unsigned stage) {
        for (unsigned block = 0; block < kCluster; block++) barrier_arrive_at(empty(stage), block);
      };
      unsigned position = 0, parities = 0;  // in the ring; of each stage's barrier, which only epilogues use
      for (unsigned unit = own; unit < units; unit += clusters) {
        const Tile tile = tile_of(task, unit);
        const int column = (tile.pair * 2 + static_cast<int>(rank)) * static_cast<int>(backward ? kColumns : kColumns / 2);
        position += task.depth_blocks;
        for (unsigned slice = 0; slice < epilogue_stages; slice++, position++) {
          const unsigned stage = position % kStages;
          const std::uint32_t from = base + stage * kStageBytes + group * (kSliceBytes / 2);
          barrier_wait(written(group, stage), parities >> stage & 1);
          parities ^= 1u << stage;
          for (unsigned i = 0; i < (backward ? 2 : 3); i++) {
            store_box(&maps.out[i], column + static_cast<int>(slice * kSlice), tile.row + static_cast<int>(group * 128), from + i * kSliceBytes);
          }
          commit_stores();
          wait_for_reads<0>();
          release(stage);
        }
      }
    }
  } else {
    take_registers<232>();
    // The same in all lanes, and known to be.
    const unsigned group = __shfl_sync(kFullMask, threadIdx.x / kGroup - 1, 0), thread = threadIdx.x % kGroup, lane = thread % 32;
    const unsigned warp = __shfl_sync(kFullMask, thread / 32, 0);
    // Of both blocks of the cluster, since each fills the stages of both.
    const auto release = [&](unsigned stage) {
      if (thread < kCluster) barrier_arrive_at(empty(stage), thread);
    };
    Place at;
    for (unsigned unit = own; unit < units; unit += clusters) {
      float sums[2][64];
      unsigned before = 0;
      for (unsigned block = 0; block < task.depth_blocks; block++) {
        const std::uint32_t left = base + at.stage * kStageBytes + group * (kLeftBytes / 2), right = base + at.stage * kStageBytes + kLeftBytes;
        barrier_wait(full(at.stage), at.parity);
        products_begin();
#pragma unroll
        for (unsigned k = 0; k < kDepth / 16; k++) {
          const std::uint64_t b = backward ? columns_descriptor(right + k * 16 * 128, kRightBytes / 2) : rows_descriptor(right + k * 32);
          multiply<backward>(sums[0], rows_descriptor(left + k * 32), b, block > 0 || k > 0);
          multiply<backward>(sums[1], rows_descriptor(left + 64 * 128 + k * 32), b, block > 0 || k > 0);
        }
        products_commit();
        products_wait<1>();
        if (block > 0) release(before);
        before = at.stage;
        at.next();
      }
      products_wait<0>();
      release(before);

      // The sixteen rows of each of the two parts of 64 that this warp owns; the row and the chunk of eight columns that this lane names.
      const unsigned row = group * 128 + warp * 16 + lane % 16, chunk = lane / 16;
#pragma unroll
      for (unsigned slice = 0; slice < epilogue_stages; slice++) {
        const std::uint32_t stage = base + at.stage * kStageBytes;
        barrier_wait(full(at.stage), at.parity);
#pragma unroll
        for (unsigned part = 0; part < 2; part++) {
#pragma unroll
          for (unsigned pair = 0; pair < 2; pair++) {  // of chunks of eight columns
            const std::uint32_t where = slice_address(stage, row + part * 64, pair * 2 + chunk);
            if constexpr (backward) {
              std::uint32_t gate[4], up[4];
              load_matrices(gate, where);
              load_matrices(up, where + kSliceBytes);
#pragma unroll
              for (unsigned i = 0; i < 4; i++) {
                const unsigned at_sum = (slice * 4 + pair * 2 + i / 2) * 4 + i % 2 * 2;
                float d_gate[2], d_up[2];
#pragma unroll
                for (unsigned j = 0; j < 2; j++) {
                  const float d = sums[part][at_sum + j];
                  const float g = j == 0 ? low_bfloat16(gate[i]) : high_bfloat16(gate[i]), u = j == 0 ? low_bfloat16(up[i]) : high_bfloat16(up[i]);
                  const float s = logistic(g), silu = g * s;
                  d_gate[j] = d * u * (s + silu * (1.0f - s));
                  d_up[j] = d * silu;
                }
                gate[i] = pack(d_gate[0], d_gate[1]);
                up[i] = pack(d_up[0], d_up[1]);
              }
              __syncwarp();
              store_matrices(where, gate[0], gate[1], gate[2], gate[3]);
              store_matrices(where + kSliceBytes, up[0], up[1], up[2], up[3]);
            } else {
              std::uint32_t gate[4], up[4], activation[4];
#pragma unroll
              for (unsigned i = 0; i < 4; i++) {
                const unsigned at_gate = (slice * 4 + pair * 2 + i / 2) * 4 + i % 2 * 2, at_up = at_gate + 32;
                const float g0 = sums[part][at_gate], g1 = sums[part][at_gate + 1], u0 = sums[part][at_up], u1 = sums[part][at_up + 1];
                gate[i] = pack(g0, g1);
                up[i] = pack(u0, u1);
                activation[i] = pack(g0 * logistic(g0) * u0, g1 * logistic(g1) * u1);
              }
              store_matrices(where, gate[0], gate[1], gate[2], gate[3]);
              store_matrices(where + kSliceBytes, up[0], up[1], up[2], up[3]);
              store_matrices(where + 2 * kSliceBytes, activation[0], activation[1], activation[2], activation[3]);
            }
          }
        }
        fence_for_copies();
        __syncwarp();
        if (lane == 0) barrier_arrive(written(group, at.stage));
        at.next();
      }
    }
  }
  cluster_sync();  // nobody leaves while others still write to, or arrive at, its shared memory
}

#else

template <bool backward>
__global__ void feed_forward_kernel(const __grid_constant__ Maps, Task) {}

#endif

// ---------------------------------------------------------------------------------------------------------------- host

const std::uint16_t* from(const void* data, std::size_t element) { return static_cast<const std::uint16_t*>(data) + element; }

void run(const char* name, void (*kernel)(Maps, Task), Stream stream, const Maps& maps, const Task& task) {
  const std::size_t blocks = std::min<std::size_t>(multiprocessors() / kCluster, task.units()) * kCluster;
  launch(name, kernel, grid_of(name, blocks), kThreads, kSharedBytes, stream, maps, task);
}

unsigned tiles(std::size_t size, unsigned tile) { return static_cast<unsigned>(divide_up(size, tile)); }

}  // namespace

bool hopper_takes(const FeedForwardShape& shape) {
  return on_hopper() && shape.width % 8 == 0 && shape.inner % 8 == 0 && shape.width >= kDepth && shape.inner >= kColumns && shape.rows >= kRows &&
         shape.rows < (std::size_t{1} << 31);
}

void hopper_gated_linear(Stream stream, const void* x, const void* weight, void* gate_up, void* activation, const FeedForwardShape& shape) {
  constexpr const char* name = "feed_forward";
  const auto [rows, width, inner] = shape;
  Maps maps = {};
  maps.left = tensor_map(name, x, rows, width, width, kDepth, kRows / 2);
  maps.right = tensor_map(name, weight, inner, width, width, kDepth, kColumns / 2);
  maps.right2 = tensor_map(name, from(weight, inner * width), inner, width, width, kDepth, kColumns / 2);
  maps.out[0] = tensor_map(name, gate_up, rows, inner, 2 * inner, kSlice, kRows / 2);
  maps.out[1] = tensor_map(name, from(gate_up, inner), rows, inner, 2 * inner, kSlice, kRows / 2);
  maps.out[2] = tensor_map(name, activation, rows, inner, inner, kSlice, kRows / 2);
  run(name, feed_forward_kernel<false>, stream, maps, {tiles(rows, kRows), tiles(inner, kColumns), tiles(width, kDepth)});
}

void hopper_gated_linear_grad(Stream stream, const void* dy, const void* weight, const void* gate_up, void* d_gate_up, const FeedForwardShape& shape) {
  constexpr const char* name = "feed_forward_grad";
  const auto [rows, width, inner] = shape;
  Maps maps = {};
  maps.left = tensor_map(name, dy, rows, width, width, kDepth, kRows / 2);
  maps.right = tensor_map(name, weight, width, inner, inner, 64, kDepth);
  maps.gate = tensor_map(name, gate_up, rows, inner, 2 * inner, kSlice, kRows);
  maps.up = tensor_map(name, from(gate_up, inner), rows, inner, 2 * inner, kSlice, kRows);
  maps.out[0] = tensor_map(name, d_gate_up, rows, inner, 2 * inner, kSlice, kRows / 2);
  maps.out[1] = tensor_map(name, from(d_gate_up, inner), rows, inner, 2 * inner, kSlice, kRows / 2);
  run(name, feed_forward_kernel<true>, stream, maps, {tiles(rows, kRows), tiles(inner, 2 * kColumns), tiles(width, kDepth)});
}

}  // namespace xgen::cuda
