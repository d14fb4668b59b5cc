// Products of up to 32 rows with a matrix of weights, y = x Wᵀ in bfloat16, on Hopper: decoding many sequences.
//
// Bound by the weights, which are read once: at an H200's 4.8 TB/s 14 us for 2,048 x 16,384. What is read of x comes from the second-level cache: a tile
// of 128 outputs makes that a quarter of the weights' bytes.
// - A block computes one tile, or with `splits` blocks as a cluster an equal part of the tile's depth: so small matrices fill the device as well. Each block
//   of a cluster stores a part of the tile, whose sums the others send to its shared memory; they are added in the order of the depth, so that the
//   bits depend on nothing else.
// - One thread copies: a ring of stages of 64 of the depth, for the tile's outputs and for all rows of x, that TMA fills. The weights are the left operand of
//   wgmma (64 outputs), the rows of x its columns; two warpgroups share the outputs. The tensor cores are busy for a quarter of the time.
// - A kernel that was launched early (launch.h) fills its ring with weights, or where those may still be written (`settled`) only the second-level cache, while
//   the kernels before it end. Two blocks fit on a processor, so that this can be.
// A depth that is no multiple of 64, and rows and outputs that are none of a tile, are filled up with zeros by TMA.
//
// Tried on an H200 and no faster: tiles of 256 outputs, other numbers of stages, asking for more weights than the ring holds to be brought into the
// second-level cache, the norm before a product inside it. Letting the next kernel begin at once is faster from product to product, by 1 % with 32 rows and
// 7 % with 16, but slower by a tenth with 32 where a kernel that reads as much as attention does is between.
#include <algorithm>

#include "few_rows_hopper.h"
#include "hopper_narrow.h"
#include "mma.h"
#include "tensor_map.h"

namespace xgen::cuda {

namespace {

constexpr const char* kName = "few_rows_product";
constexpr unsigned kDepth = 64;              // elements of a stage
constexpr unsigned kBoxRows = 64;            // outputs of one product of the tensor cores, and of one copy
constexpr unsigned kOutputs = 2 * kBoxRows;  // of a tile
constexpr unsigned kMultiplying = 256;       // threads: two warpgroups
constexpr unsigned kThreads = kMultiplying + kWarp;
constexpr unsigned kStages = 4;
constexpr unsigned kMostSplits = 8;  // blocks of a cluster
constexpr std::uint32_t kBoxBytes = kBoxRows * kDepth * 2, kWeightBytes = 2 * kBoxBytes;
constexpr unsigned kSumRow = kOutputs + 4;  // of [row of x][output]: so that a warp's sums meet in no bank

// Shared memory of a block with up to `Rows` rows of x: the ring, whose memory has the block's sums at the end; what the cluster's blocks send to this
// one, [block][gates, ups][row of x][output]; barriers.
template <unsigned Rows>
struct Layout {
  static constexpr std::uint32_t kStageBytes = kWeightBytes + Rows * kDepth * 2, kReceived = kStages * kStageBytes;
  static constexpr std::uint32_t kBarriers = kReceived + Rows * kOutputs * sizeof(float);
  static constexpr std::size_t kSharedBytes = kBarriers + 128 + 1024;
  static_assert(Rows * kSumRow * sizeof(float) <= kReceived && (2 * kStages + 1) * 8 <= 128);
};

struct Task {
  void* y;
  const void* addend;
  std::size_t row_y;
  ElementType y_type;
  unsigned rows, outputs, chunks;
  unsigned split_shift;  // 2 to this power blocks share a tile
  bool gated, settled;
  bool vectors;  // four neighbours of y, and of the addend, are one access
};

struct Maps {
  CUtensorMap x, weight;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

__device__ __forceinline__ float stored(float x, ElementType type) { return type == ElementType::bfloat16 ? low_bfloat16(pack_bfloat16(x, 0.0f)) : x; }

struct Floats4 {
  float v[4];
};
// Four neighbours of y's type, those of the first `count` that are there.
__device__ __forceinline__ Floats4 load4(const void* from, ElementType type, std::size_t index, unsigned count, bool vectors) {
  Floats4 x = {};
  if (vectors && count >= 4) {
    if (type == ElementType::bfloat16) {
      const uint2 two = load_aligned<uint2>(static_cast<const bfloat16*>(from) + index);
      return {{low_bfloat16(two.x), high_bfloat16(two.x), low_bfloat16(two.y), high_bfloat16(two.y)}};
    }
    const float4 four = load_aligned<float4>(static_cast<const float*>(from) + index);
    return {{four.x, four.y, four.z, four.w}};
  }
#pragma unroll
  for (unsigned i = 0; i < 4; i++) {
    if (i < count) x.v[i] = load1(from, type, index + i);
  }
  return x;
}
__device__ __forceinline__ void store4(void* to, ElementType type, std::size_t index, unsigned count, bool vectors, const Floats4& x) {
  if (vectors && count >= 4) {
    if (type == ElementType::bfloat16) {
      store_aligned(static_cast<bfloat16*>(to) + index, make_uint2(pack_bfloat16(x.v[0], x.v[1]), pack_bfloat16(x.v[2], x.v[3])));
    } else {
      store_aligned(static_cast<float*>(to) + index, make_float4(x.v[0], x.v[1], x.v[2], x.v[3]));
    }
    return;
  }
#pragma unroll
  for (unsigned i = 0; i < 4; i++) {
    if (i < count) store1(to, type, index + i, x.v[i]);
  }
}

__device__ __forceinline__ Floats4 floats4(const float4& x) { return {{x.x, x.y, x.z, x.w}}; }

template <unsigned Rows>
__global__ void __launch_bounds__(kThreads, 2) few_rows_hopper_kernel(const __grid_constant__ Maps maps, const Task a) {
  using Sizes = Layout<Rows>;
  extern __shared__ unsigned char shared[];
  const std::uint32_t base = (hopper::shared_address(shared) + 1023u) & ~1023u, barriers = base + Sizes::kBarriers;
  unsigned char* const memory = shared + (base - hopper::shared_address(shared));
  const auto full = [&](unsigned stage) { return barriers + stage * 8; };
  const auto empty = [&](unsigned stage) { return barriers + (kStages + stage) * 8; };
  const std::uint32_t received = barriers + 2 * kStages * 8;
  const unsigned splits = 1u << a.split_shift, tile = blockIdx.x >> a.split_shift, rank = blockIdx.x & (splits - 1);
  const unsigned first = a.chunks * rank >> a.split_shift, count = (a.chunks * (rank + 1) >> a.split_shift) - first;
  const unsigned filled = count < kStages ? count : kStages;
  // Results are stored in fours. Of a row a tile has so many, and this block so many of them.
  const unsigned parts = a.gated ? 2 : 1, results = kOutputs / parts, row_shift = a.gated ? 4 : 5, own_shift = row_shift - a.split_shift;

  const std::uint64_t policy = once_read();
  const auto column_of = [&](unsigned chunk) { return static_cast<int>((first + chunk) * kDepth); };
  const auto row_of = [&](unsigned box) { return static_cast<int>(tile * results + box * (a.gated ? a.outputs : kBoxRows)); };
  const auto load_weights = [&](unsigned chunk, unsigned stage) {
    hopper::barrier_expect(full(stage), Sizes::kStageBytes);
#pragma unroll
    for (unsigned box = 0; box < 2; box++) {
      hopper::load_box_once(base + stage * Sizes::kStageBytes + box * kBoxBytes, &maps.weight, column_of(chunk), row_of(box), full(stage), policy);
    }
  };
  const auto load_rows = [&](unsigned chunk, unsigned stage) {
    hopper::load_box(base + stage * Sizes::kStageBytes + kWeightBytes, &maps.x, column_of(chunk), 0, full(stage));
  };
  if (threadIdx.x == kMultiplying) {
    hopper::prefetch(&maps.weight);
    hopper::prefetch(&maps.x);
    for (unsigned i = 0; i < kStages; i++) {
      hopper::barrier_init(full(i), 1);
      hopper::barrier_init(empty(i), kMultiplying / kWarp);
    }
    hopper::barrier_init(received, 1);
    hopper::barrier_init_fence();
    if (splits > 1) hopper::barrier_expect(received, (a.rows * parts << row_shift) * 16);
    for (unsigned i = 0; i < filled; i++) {
      if (a.settled) {
        load_weights(i, i);
      } else {
        for (unsigned box = 0; box < 2; box++) hopper::prefetch_box(&maps.weight, column_of(i), row_of(box));
      }
    }
  }
  __syncthreads();
  if (splits > 1) hopper::cluster_arrive();  // others may send from there on

  wait_for_previous();
  if (threadIdx.x >= kMultiplying) {
    if (threadIdx.x == kMultiplying) {
      for (unsigned i = 0; i < filled; i++) {
        if (!a.settled) load_weights(i, i);
        load_rows(i, i);
      }
      hopper::RingPlace<kStages> at;
      for (unsigned i = filled; i < count; i++, at.next()) {
        hopper::barrier_wait(empty(at.stage), at.parity);
        load_weights(i, at.stage);
        load_rows(i, at.stage);
      }
      allow_next();  // with the last weights on their way
    }
    if (splits > 1) hopper::cluster_wait();
    return;
  }

  // The same in all lanes, and known to be.
  const unsigned group = __shfl_sync(kFullMask, threadIdx.x / (kMultiplying / 2), 0), warp = __shfl_sync(kFullMask, threadIdx.x / kWarp % 4, 0);
  const unsigned lane = threadIdx.x % kWarp;
  // This thread's results: four of a row, and of the rows `row_step` further each.
  const unsigned own_four = threadIdx.x & ((1u << own_shift) - 1), own_row = threadIdx.x >> own_shift, row_step = kMultiplying >> own_shift;
  const unsigned output = tile * results + ((rank << own_shift) + own_four) * 4;
  constexpr unsigned kFours = Rows * kOutputs / 4 / kMultiplying;
  Floats4 added[kFours] = {};  // there before the sums are
  if (a.addend != nullptr && output < a.outputs) {
#pragma unroll
    for (unsigned j = 0; j < kFours; j++) {
      const unsigned row = own_row + j * row_step;
      if (row < a.rows) added[j] = load4(a.addend, a.y_type, row * a.row_y + output, a.outputs - output, a.vectors);
    }
  }

  float sums[Rows / 2];
  const auto multiply_stage = [&](unsigned i, unsigned stage) {
    const std::uint32_t left = base + stage * Sizes::kStageBytes + group * kBoxBytes, right = base + stage * Sizes::kStageBytes + kWeightBytes;
    hopper::products_begin();
#pragma unroll
    for (unsigned k = 0; k < kDepth / 16; k++) {
      hopper::multiply_narrow(sums, hopper::rows_descriptor(left + k * 32), hopper::rows_descriptor(right + k * 32), i > 0 || k > 0);
    }
    hopper::products_commit();
  };
  const auto release = [&](unsigned stage) {
    if (lane == 0) hopper::barrier_arrive(empty(stage));
  };
  // Weights that came before the rows of x are all there with those: products without a pause. From there on a stage is free as soon as it can be.
  for (unsigned i = 0; i < filled; i++) {
    hopper::barrier_wait(full(i), 0);
    multiply_stage(i, i);
    if (i > 0) {
      hopper::products_wait<1>();
      release(i - 1);
    }
  }
  hopper::products_wait<0>();
  release(filled - 1);
  hopper::RingPlace<kStages> at;
  at.parity = 1;
  for (unsigned i = filled; i < count; i++, at.next()) {
    hopper::barrier_wait(full(at.stage), at.parity);
    multiply_stage(i, at.stage);
    hopper::products_wait<0>();
    release(at.stage);
  }

  hopper::sync_some<1, kMultiplying>();  // the ring is not read any more
  float* const tile_sums = reinterpret_cast<float*>(memory);
  float* const to = tile_sums + 2 * (lane % 4) * kSumRow + group * kBoxRows + warp * 16 + lane / 4;
#pragma unroll
  for (unsigned j = 0; j < Rows / 8; j++) {
    to[8 * j * kSumRow] = sums[4 * j];
    to[(8 * j + 1) * kSumRow] = sums[4 * j + 1];
    to[8 * j * kSumRow + 8] = sums[4 * j + 2];
    to[(8 * j + 1) * kSumRow + 8] = sums[4 * j + 3];
  }
  hopper::sync_some<1, kMultiplying>();

  // Where four results of a block lie that `from` sent.
  const auto slot_of = [&](unsigned from, unsigned part, unsigned row, unsigned four) {
    return (((((from * parts + part) * Rows) + row) << own_shift) + four) * 16;
  };
  if (splits > 1) {
    hopper::cluster_wait();
#pragma unroll
    for (unsigned j = 0; j < kFours; j++) {
      const unsigned i = threadIdx.x + j * kMultiplying, row = i / (kOutputs / 4), four = i % (kOutputs / 4), part = four >> row_shift;
      if (row >= a.rows) continue;
      const unsigned of_part = four & ((1u << row_shift) - 1), block = of_part >> own_shift;
      const std::uint32_t slot = slot_of(rank, part, row, of_part & ((1u << own_shift) - 1));
      hopper::send4(base + Sizes::kReceived + slot, received, block, load_aligned<float4>(tile_sums + row * kSumRow + four * 4));
    }
    hopper::barrier_wait_cluster(received, 0);
  }
  if (output >= a.outputs) return;
  // In the order of the depth.
  const auto sum_of = [&](unsigned part, unsigned row) {
    if (splits == 1) return floats4(load_aligned<float4>(tile_sums + row * kSumRow + part * results + own_four * 4));
    Floats4 sum = {};
#pragma unroll
    for (unsigned k = 0; k < kMostSplits; k++) {
      if (k >= splits) continue;
      const Floats4 one = floats4(load_aligned<float4>(memory + Sizes::kReceived + slot_of(k, part, row, own_four)));
#pragma unroll
      for (unsigned e = 0; e < 4; e++) sum.v[e] += one.v[e];
    }
    return sum;
  };
#pragma unroll
  for (unsigned j = 0; j < kFours; j++) {
    const unsigned row = own_row + j * row_step;
    if (row >= a.rows) continue;
    Floats4 y = sum_of(0, row);
    if (a.gated) {
      const Floats4 up = sum_of(1, row);
#pragma unroll
      for (unsigned e = 0; e < 4; e++) {
        const float gate = stored(y.v[e], a.y_type);
        y.v[e] = gate * (sigmoid(gate) * stored(up.v[e], a.y_type));
      }
    }
#pragma unroll
    for (unsigned e = 0; e < 4; e++) y.v[e] += added[j].v[e];
    store4(a.y, a.y_type, row * a.row_y + output, a.outputs - output, a.vectors, y);
  }
}

#else

template <unsigned Rows>
__global__ void few_rows_hopper_kernel(const __grid_constant__ Maps, const Task) {}

#endif

// ---------------------------------------------------------------------------------------------------------------- host

template <unsigned Rows>
void run(Stream stream, const Maps& maps, const Task& task) {
  const std::size_t tiles = divide_up(task.outputs, task.gated ? kOutputs / 2 : kOutputs);
  launch_clusters_early(kName, few_rows_hopper_kernel<Rows>, grid_of(kName, tiles << task.split_shift), 1u << task.split_shift, kThreads,
                        Layout<Rows>::kSharedBytes, stream, maps, task);
}

}  // namespace

bool few_rows_hopper_takes(const MatmulShape& shape, bool gated) {
  // Up to 8 rows the other kernel reads little of x, and small matrices sooner.
  constexpr std::size_t kFew = 8, kMost = 32, kLarge = std::size_t{1} << 24;
  return on_hopper() && shape.m <= kMost && (shape.m > kFew || shape.n * shape.k * (gated ? 2 : 1) >= kLarge);
}

void few_rows_hopper(Stream stream, const MatmulShape& shape, const void* x, const void* weight, Array y, const FewRowsOptions& options, bool gated) {
  Task task = {};
  task.y = y.data;
  task.addend = options.addend;
  task.row_y = shape.row_c;
  task.y_type = y.type;
  task.rows = static_cast<unsigned>(shape.m);
  task.outputs = static_cast<unsigned>(shape.n);
  task.chunks = static_cast<unsigned>(divide_up(shape.k, kDepth));
  task.gated = gated;
  task.settled = options.settled;
  const std::size_t vector = y.type == ElementType::bfloat16 ? 8 : 16;
  const auto aligned = [&](const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % vector == 0; };
  task.vectors = shape.row_c % 4 == 0 && aligned(y.data) && aligned(options.addend);
  // As many blocks a tile as there are processors for, whatever the rows: a row's bits depend on none of the others.
  const std::size_t tiles = divide_up(shape.n, gated ? kOutputs / 2 : kOutputs);
  for (unsigned splits = 2; splits <= kMostSplits && splits <= task.chunks && tiles * splits <= multiprocessors(); splits *= 2) task.split_shift++;

  const unsigned rows = shape.m <= 8 ? 8 : shape.m <= 16 ? 16 : 32;
  Maps maps;
  maps.x = tensor_map(kName, x, shape.m, shape.k, shape.row_a, kDepth, rows, CU_TENSOR_MAP_L2_PROMOTION_L2_128B);
  maps.weight = tensor_map(kName, weight, (gated ? 2 : 1) * shape.n, shape.k, shape.row_b, kDepth, kBoxRows, CU_TENSOR_MAP_L2_PROMOTION_L2_128B);
  const auto chosen = rows == 8 ? run<8> : rows == 16 ? run<16> : run<32>;
  chosen(stream, maps, task);
}

}  // namespace xgen::cuda
