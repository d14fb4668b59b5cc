// Products of a few rows with a matrix of weights, y = x Wᵀ in bfloat16: decoding.
//
// Bound by the weights, which are read once, whatever the rows: at 3.35 TB/s 3.8 us for 2,048 x 3,072, 20 us for 2,048 x 16,384. To get there
// every processor must have some 25 KB under way at all times (3.35 TB/s / 132 times a microsecond), from its first instruction to its last:
// - each thread copies its own 16-byte pieces of the weights into a ring in shared memory that it alone reads (cp.async: bytes under way need
//   no registers, and no barriers). The ring runs on over the end of a tile into the next one;
// - a block's eight warps share a tile's depth in chunks of 64 by turns, and add up their sums in shared memory, in the warps' order. So small
//   matrices fill the device as well, and a result is the same whatever the number of rows or blocks;
// - the tensor cores multiply (mma.sync, the weights as the left operand, eight rows of x as columns). The order of the depth within a
//   product is free, so that one 16-byte piece of a lane is what two products want of it, for x and weights alike: no shuffling;
// - before the kernel's inputs exist (launch.h) it asks for its first weights to be brought into the second-level cache. From
//   there on each block asks for its next tile when it begins one: while it reads from that cache what came before the kernel began, the memory
//   goes on with the rest;
// - with a norm's weight, a block normalises the rows of x itself, into shared memory, with its first weights on their way: a few
//   kilobytes that all blocks read, instead of a kernel before this one.
// Otherwise x comes through the first-level cache, each warp's next chunk while it works on one.
#include <algorithm>

#include "few_rows_hopper.h"
#include "mma.h"
#include "xgen/cuda/matmul.h"

namespace xgen::cuda {

namespace {

constexpr const char* kName = "few_rows_product";
constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr unsigned kGroup = 16;             // outputs of one product of the tensor cores
constexpr unsigned kColumns = 8;            // rows of x of one
constexpr unsigned kDepth = 64;             // elements of a chunk: a line of 128 bytes of each row of weights
// Bytes that all blocks together ask for before a tile. The second-level cache of an H100 holds 50 MB, some of it twice, once for each of its
// halves; what was read is not wanted again and goes first.
constexpr std::size_t kPrefetched = std::size_t{24} << 20;
constexpr std::size_t kMostRows = 32;
constexpr std::size_t kMostDeepRows = 8;    // where x is too deep for the first-level cache: each tile reads all of it again
constexpr std::size_t kDeep = 4096;

struct FewRows {
  const bfloat16* x;
  const bfloat16* weight;
  void* y;
  const void* addend;  // of y's shape and type, or null
  ElementType y_type;
  unsigned rows, outputs, depth, tiles;
  std::size_t row_x, row_weight, row_y;
  unsigned prefetched;  // bytes of each row of weights that are asked for before its tile
  const void* norm;     // the norm's weight, or null
  ElementType norm_type;
  float epsilon;
};

// Sizes of a kernel's tiles and of its shared memory.
template <unsigned Groups, unsigned Parts>
struct Layout {
  static constexpr unsigned kStages = Groups == 1 ? 5 : 4;
  static constexpr unsigned kPieces = Groups * 4;                // of 16 bytes, of a lane and chunk
  static constexpr unsigned kSumRow = Parts * kColumns + 2;      // so that neither side of the exchange meets in few banks
  static constexpr std::size_t kRingBytes = std::size_t{kThreads} * kStages * kPieces * 16;
  static constexpr std::size_t kSumBytes = std::size_t{kWarps} * Groups * kGroup * kSumRow * sizeof(float);
  static constexpr std::size_t kBytes = kRingBytes + kSumBytes;
};

// As it would be after being stored.
__device__ __forceinline__ float stored(float x, ElementType type) { return type == ElementType::bfloat16 ? low_bfloat16(pack_bfloat16(x, 0.0f)) : x; }

// The rows of x over their root mean square, times the norm's weight, as the norm's own kernel (norm.cu) would store them. `scratch`: a float
// for each warp and row. Whatever rows there are, a row's sum has one order.
__device__ __forceinline__ void normalize_rows(const FewRows& a, float* scratch, bfloat16* to) {
  const unsigned warp = threadIdx.x / kWarp;
  float squares[kColumns] = {};
  for (unsigned at = threadIdx.x * kVector; at < a.depth; at += kThreads * kVector) {
    Packed8<bfloat16> x[kColumns];
#pragma unroll
    for (unsigned r = 0; r < kColumns; r++) {
      if (r < a.rows) x[r] = load_packed8(a.x + r * a.row_x + at);
    }
#pragma unroll
    for (unsigned r = 0; r < kColumns; r++) {
      if (r >= a.rows) continue;
      const Floats8 own = unpack8(x[r]);
#pragma unroll
      for (unsigned j = 0; j < kVector; j++) squares[r] += own.v[j] * own.v[j];
    }
  }
#pragma unroll
  for (unsigned r = 0; r < kColumns; r++) {
    if (r >= a.rows) continue;
    squares[r] = warp_reduce(squares[r], Add{});
    if (threadIdx.x % kWarp == 0) scratch[warp * kColumns + r] = squares[r];
  }
  __syncthreads();
  for (unsigned at = threadIdx.x * kVector; at < a.depth; at += kThreads * kVector) {
    const Floats8 w = load8(a.norm, a.norm_type, at);
    for (unsigned r = 0; r < a.rows; r++) {
      float total = 0.0f;
#pragma unroll
      for (unsigned i = 0; i < kWarps; i++) total += scratch[i * kColumns + r];
      const float inverse = rsqrtf(total / static_cast<float>(a.depth) + a.epsilon);
      Floats8 x = load8(a.x + r * a.row_x + at);
#pragma unroll
      for (unsigned j = 0; j < kVector; j++) x.v[j] *= inverse * w.v[j];
      store8(to + r * a.depth + at, x);
    }
  }
  __syncthreads();
}

// Tile t has outputs 16 Groups t ... of the weights' rows; `gated`: rows 16 t ... and those `outputs` further, whose results g and u become
// g sigmoid(g) u. x has at most 8 Parts rows. Shared memory: the ring [warp][stage][piece][lane], then sums [warp][output][row of x], then, if
// `normed`, the normalised rows.
template <unsigned Groups, unsigned Parts, bool gated, bool normed>
__global__ void __launch_bounds__(kThreads, Groups == 1 ? 2 : 1) few_rows_kernel(FewRows a) {
  using Sizes = Layout<Groups, Parts>;
  constexpr unsigned kStages = Sizes::kStages, kPieces = Sizes::kPieces, kSumRow = Sizes::kSumRow;
  static_assert(!gated || Groups == 2);
  static_assert(!normed || Parts == 1);
  XGEN_DYNAMIC_SHARED(shared);
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, g = lane / 4, t = lane % 4;
  uint4* const ring = reinterpret_cast<uint4*>(shared) + warp * kStages * kPieces * kWarp + lane;
  float* const sums = reinterpret_cast<float*>(shared + Sizes::kRingBytes);
  const unsigned chunks = (a.depth + kDepth - 1) / kDepth;
  // The weights' row of output i of a tile; a.outputs or more where there is none, before `gated` adds the second half.
  const auto output_of = [&](unsigned tile, unsigned i) { return gated ? tile * kGroup + i % kGroup : tile * Groups * kGroup + i; };
  const auto row_of = [&](unsigned tile, unsigned i) {
    return std::size_t{output_of(tile, i)} + (gated && i >= kGroup ? std::size_t{a.outputs} : 0);
  };

  const auto prefetch_tile = [&](unsigned tile) {
    if (threadIdx.x < Groups * kGroup && tile < a.tiles && output_of(tile, threadIdx.x) < a.outputs) {
      prefetch(a.weight + row_of(tile, threadIdx.x) * a.row_weight, a.prefetched);
    }
  };
  prefetch_tile(blockIdx.x);
  wait_for_previous();

  const std::uint64_t policy = once_read();
  // Copies the chunk at (tile, chunk), and goes on to the warp's next one.
  unsigned next_tile = warp < chunks ? blockIdx.x : a.tiles, next_chunk = warp, next_stage = 0;
  const auto copy_next = [&] {
    if (next_tile < a.tiles) {
#pragma unroll
      for (unsigned i = 0; i < kPieces; i++) {
        const unsigned output = i / 2 * 8 + g, at = next_chunk * kDepth + i % 2 * 32 + t * kChunk;
        const bool there = output_of(next_tile, output) < a.outputs && at < a.depth;
        copy_chunk_once(reinterpret_cast<bfloat16*>(ring + (next_stage * kPieces + i) * kWarp),
                        there ? a.weight + row_of(next_tile, output) * a.row_weight + at : a.weight, there, policy);
      }
      next_stage = next_stage + 1 == kStages ? 0 : next_stage + 1;
      next_chunk += kWarps;
      if (next_chunk >= chunks) {
        next_chunk = warp;
        next_tile += gridDim.x;
      }
      if (next_tile >= a.tiles) allow_next();  // with the last weights on their way
    }
    commit_copies();
  };
  struct Rows {
    uint4 part[Parts][2];
  };
  const bfloat16* const x_rows = normed ? reinterpret_cast<const bfloat16*>(shared + Sizes::kBytes) : a.x;
  const std::size_t row_x = normed ? a.depth : a.row_x;
  const auto load_rows = [&](unsigned chunk) {
    Rows x;
#pragma unroll
    for (unsigned p = 0; p < Parts; p++) {
#pragma unroll
      for (unsigned half = 0; half < 2; half++) {
        const unsigned row = p * kColumns + g, at = chunk * kDepth + half * 32 + t * kChunk;
        x.part[p][half] = row < a.rows && at < a.depth ? load_aligned<uint4>(x_rows + row * row_x + at) : make_uint4(0, 0, 0, 0);
      }
    }
    return x;
  };

  if constexpr (normed) {
#pragma unroll
    for (unsigned s = 0; s + 1 < kStages; s++) copy_next();
    normalize_rows(a, sums, reinterpret_cast<bfloat16*>(shared + Sizes::kBytes));
  }
  Rows following = load_rows(warp);
  if constexpr (!normed) {
#pragma unroll
    for (unsigned s = 0; s + 1 < kStages; s++) copy_next();
  }
  unsigned stage = 0;
  for (unsigned tile = blockIdx.x; tile < a.tiles; tile += gridDim.x) {
    prefetch_tile(tile + gridDim.x);
    float c[Groups][Parts][4] = {};
    for (unsigned chunk = warp; chunk < chunks; chunk += kWarps) {
      copy_next();
      const Rows x = following;
      following = load_rows(chunk + kWarps < chunks ? chunk + kWarps : warp);
      wait_for_copies<kStages - 1>();
      uint4 w[kPieces];
#pragma unroll
      for (unsigned i = 0; i < kPieces; i++) w[i] = load_aligned<uint4>(ring + (stage * kPieces + i) * kWarp);
      stage = stage + 1 == kStages ? 0 : stage + 1;
#pragma unroll
      for (unsigned half = 0; half < 2; half++) {
#pragma unroll
        for (unsigned r = 0; r < Groups; r++) {
          const uint4 &upper = w[r * 4 + half], &lower = w[r * 4 + 2 + half];
          const std::uint32_t first[4] = {upper.x, lower.x, upper.y, lower.y}, second[4] = {upper.z, lower.z, upper.w, lower.w};
#pragma unroll
          for (unsigned p = 0; p < Parts; p++) {
            multiply_add(c[r][p], first, x.part[p][half].x, x.part[p][half].y);
            multiply_add(c[r][p], second, x.part[p][half].z, x.part[p][half].w);
          }
        }
      }
    }
#pragma unroll
    for (unsigned r = 0; r < Groups; r++) {
#pragma unroll
      for (unsigned p = 0; p < Parts; p++) {
        float* const to = sums + ((warp * Groups + r) * kGroup + g) * kSumRow + p * kColumns + 2 * t;
        store_aligned(to, make_float2(c[r][p][0], c[r][p][1]));
        store_aligned(to + 8 * kSumRow, make_float2(c[r][p][2], c[r][p][3]));
      }
    }
    __syncthreads();
    const auto sum_of = [&](unsigned output, unsigned row) {
      float sum = 0.0f;
#pragma unroll
      for (unsigned w = 0; w < kWarps; w++) sum += sums[(w * Groups * kGroup + output) * kSumRow + row];
      return sum;
    };
    constexpr unsigned kResults = gated ? kGroup : Groups * kGroup;
    for (unsigned i = threadIdx.x; i < kResults * a.rows; i += kThreads) {
      const unsigned result = i % kResults, row = i / kResults, output = output_of(tile, result);
      if (output >= a.outputs) continue;
      float y = sum_of(result, row);
      if constexpr (gated) {
        const float gate = stored(y, a.y_type);
        y = gate * (sigmoid(gate) * stored(sum_of(result + kGroup, row), a.y_type));
      }
      if (a.addend != nullptr) y += load1(a.addend, a.y_type, row * a.row_y + output);
      store1(a.y, a.y_type, row * a.row_y + output, y);
    }
    __syncthreads();  // before the next tile's sums
  }
}

template <unsigned Groups, bool gated>
bool run(Stream stream, FewRows a, std::size_t blocks_a_processor) {
  const unsigned outputs = gated ? kGroup : Groups * kGroup;
  a.tiles = (a.outputs + outputs - 1) / outputs;
  const unsigned grid = static_cast<unsigned>(std::min<std::size_t>(a.tiles, multiprocessors() * blocks_a_processor));
  a.prefetched = static_cast<unsigned>(std::min(a.depth * sizeof(bfloat16), kPrefetched / (std::size_t{grid} * Groups * kGroup) / 16 * 16));
  const auto with_parts = [&](auto parts, auto normed) {
    constexpr unsigned kParts = decltype(parts)::value;
    constexpr bool kNormed = decltype(normed)::value;
    const std::size_t bytes = Layout<Groups, kParts>::kBytes + (kNormed ? std::size_t{a.rows} * a.depth * sizeof(bfloat16) : 0);
    if (bytes > most_shared_bytes()) return false;
    launch_early(kName, few_rows_kernel<Groups, kParts, gated, kNormed>, grid, kThreads, bytes, stream, a);
    return true;
  };
  const auto one = std::integral_constant<unsigned, 1>{};
  if (a.norm != nullptr) return a.rows <= kColumns && with_parts(one, std::true_type{});
  if (a.rows <= kColumns) return with_parts(one, std::false_type{});
  if (a.rows <= 2 * kColumns) return with_parts(std::integral_constant<unsigned, 2>{}, std::false_type{});
  return with_parts(std::integral_constant<unsigned, 4>{}, std::false_type{});
}

bool aligned(const void* pointer, std::size_t row) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0 && row % kChunk == 0; }

// What any kernel here wants.
bool suits(const MatmulShape& shape, const ConstArray& x, const ConstArray& weight) {
  return x.type == ElementType::bfloat16 && weight.type == ElementType::bfloat16 && !shape.transposed_a && shape.transposed_b && shape.batch == 1 &&
         shape.m > 0 && shape.m <= kMostRows && shape.n > 0 && shape.n <= (std::size_t{1} << 30) && shape.k > 0 && shape.k % kChunk == 0 &&
         shape.k <= (std::size_t{1} << 30) && aligned(x.data, shape.row_a) && aligned(weight.data, shape.row_b);
}

// Whether the kernel of this file takes it.
bool takes(const MatmulShape& shape, const FewRowsOptions& options) {
  const bool norm = options.norm.data != nullptr;
  if (norm && (!aligned(options.norm.data, 0) || shape.k > kDeep)) return false;
  return shape.m <= (shape.k > kDeep || norm ? kMostDeepRows : kMostRows);
}

bool hopper_takes(const MatmulShape& shape, const FewRowsOptions& options, bool gated) {
  return options.norm.data == nullptr && few_rows_hopper_takes(shape, gated);
}

FewRows arguments(const MatmulShape& shape, ConstArray x, ConstArray weight, Array y, const FewRowsOptions& options) {
  return {typed<bfloat16>(x), typed<bfloat16>(weight), y.data, options.addend, y.type, static_cast<unsigned>(shape.m), static_cast<unsigned>(shape.n),
          static_cast<unsigned>(shape.k), 0, shape.row_a, shape.row_b, shape.row_c, 0, options.norm.data, options.norm.type, options.epsilon};
}

}  // namespace

bool multiply_few_rows(Stream stream, const MatmulShape& shape, ConstArray a, ConstArray b, Array c, const FewRowsOptions& options) {
  if (!suits(shape, a, b)) return false;
  if (hopper_takes(shape, options, false)) {
    few_rows_hopper(stream, shape, a.data, b.data, c, options, false);
    return true;
  }
  if (!takes(shape, options)) return false;
  const FewRows given = arguments(shape, a, b, c, options);
  // Two groups a tile halve what is read of x; with one there are twice the tiles to go round.
  if (shape.n >= 2 * 2 * kGroup * multiprocessors() && run<2, false>(stream, given, 1)) return true;
  return run<1, false>(stream, given, 2);
}

bool multiply_few_rows_gated(Stream stream, const MatmulShape& shape, ConstArray a, ConstArray b, Array c, const FewRowsOptions& options) {
  if (!suits(shape, a, b)) return false;
  if (hopper_takes(shape, options, true)) {
    few_rows_hopper(stream, shape, a.data, b.data, c, options, true);
    return true;
  }
  return takes(shape, options) && run<2, true>(stream, arguments(shape, a, b, c, options), 1);
}

}  // namespace xgen::cuda
