// The gradient of an embedding: rows of dy summed by id, in the order of the tokens, without floating-point atomics.
//
// The ids are sorted with their positions (a stable radix sort, 8 bits a pass), so that a row's tokens stand together. Blocks then sum
// pieces of 64 sorted entries; a run of one id that crosses pieces leaves partial sums, which a last kernel joins in order: a token that
// fills half the batch costs no more than others. Bound by memory: dy is read once (width * 2 bytes a token in bf16) and each
// row named is written once; without `accumulate` the whole of d_weight is cleared first (vocabulary * width). The sort moves
// 16 bytes a token and pass and is bound by the latency of its three launches a pass.
#include <algorithm>

#include "xgen/cuda/device.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr unsigned kDigits = 256;
constexpr unsigned kRounds = 8;                   // items a thread sorts
constexpr unsigned kTile = kThreads * kRounds;    // items a block sorts
constexpr unsigned kScanThreads = 1024;
constexpr unsigned kPiece = 64;                   // sorted entries a block sums
constexpr unsigned kSumThreads = 128;

// Reads the keys of a pass: of the first from the ids (a bad id sorts last, as `vocabulary`), later from the pass before.
struct Keys {
  const std::int32_t* ids;
  const std::uint32_t* keys;
  std::uint32_t vocabulary;
  __device__ __forceinline__ std::uint32_t operator()(std::size_t i) const {
    if (ids == nullptr) return keys[i];
    const std::uint32_t id = static_cast<std::uint32_t>(ids[i]);
    return id < vocabulary ? id : vocabulary;
  }
};

__global__ void __launch_bounds__(kThreads) histogram_kernel(Keys keys, unsigned shift, std::uint32_t* counts, std::size_t tokens,
                                                             unsigned blocks, ErrorFlag* error) {
  XGEN_SHARED(std::uint32_t, own, kDigits);
  own[threadIdx.x] = 0;
  __syncthreads();
  const std::size_t base = static_cast<std::size_t>(blockIdx.x) * kTile;
  for (unsigned i = threadIdx.x; i < kTile && base + i < tokens; i += kThreads) {
    const std::uint32_t key = keys(base + i);
    if (keys.ids != nullptr && key == keys.vocabulary) report(error, DeviceError::ids, static_cast<std::int64_t>(base + i), keys.ids[base + i]);
    atomicAdd(&own[(key >> shift) % kDigits], 1u);
  }
  __syncthreads();
  counts[threadIdx.x * blocks + blockIdx.x] = own[threadIdx.x];
}

// Exclusive sums of `counts` in place, by one block.
__global__ void __launch_bounds__(kScanThreads) scan_kernel(std::uint32_t* counts, std::size_t size) {
  XGEN_SHARED(std::uint32_t, totals, kScanThreads / kWarp);
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  std::uint32_t carry = 0;
  for (std::size_t base = 0; base < size; base += kScanThreads) {
    const std::size_t i = base + threadIdx.x;
    const std::uint32_t own = i < size ? counts[i] : 0;
    std::uint32_t sum = own;
#pragma unroll
    for (unsigned step = 1; step < kWarp; step *= 2) {
      const std::uint32_t other = __shfl_up_sync(kFullMask, sum, step);
      if (lane >= step) sum += other;
    }
    if (lane == kWarp - 1) totals[warp] = sum;
    __syncthreads();
    std::uint32_t before = carry;
    for (unsigned w = 0; w < kScanThreads / kWarp; w++) {
      if (w < warp) before += totals[w];
      carry += totals[w];
    }
    if (i < size) counts[i] = before + sum - own;
    __syncthreads();
  }
}

// Each warp ranks its 256 neighbouring items, 32 at a time, among equals before them.
__global__ void __launch_bounds__(kThreads) scatter_kernel(Keys keys, const std::uint32_t* positions, unsigned shift,
                                                           const std::uint32_t* offsets, std::uint32_t* out_keys,
                                                           std::uint32_t* out_positions, std::size_t tokens, unsigned blocks) {
  XGEN_SHARED(std::uint32_t, seen, kWarps * kDigits);
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  for (unsigned i = threadIdx.x; i < kWarps * kDigits; i += kThreads) seen[i] = 0;
  __syncthreads();
  const std::size_t base = static_cast<std::size_t>(blockIdx.x) * kTile + warp * (kRounds * kWarp) + lane;
  std::uint32_t key[kRounds], rank[kRounds];
#pragma unroll
  for (unsigned r = 0; r < kRounds; r++) {
    const bool inside = base + r * kWarp < tokens;
    key[r] = inside ? keys(base + r * kWarp) : 0;
    const std::uint32_t digit = inside ? (key[r] >> shift) % kDigits : kDigits;  // past the end: a digit of its own
    const unsigned same = __match_any_sync(kFullMask, digit);
    const unsigned before = static_cast<unsigned>(__popc(same & ((1u << lane) - 1u)));
    const std::uint32_t count = inside ? seen[warp * kDigits + digit] : 0;
    rank[r] = count + before;
    __syncwarp();
    if (inside && before == 0) seen[warp * kDigits + digit] = count + static_cast<std::uint32_t>(__popc(same));
    __syncwarp();
  }
  __syncthreads();
  std::uint32_t offset = offsets[threadIdx.x * blocks + blockIdx.x];
  for (unsigned w = 0; w < kWarps; w++) {
    const std::uint32_t count = seen[w * kDigits + threadIdx.x];
    seen[w * kDigits + threadIdx.x] = offset;
    offset += count;
  }
  __syncthreads();
#pragma unroll
  for (unsigned r = 0; r < kRounds; r++) {
    const std::size_t i = base + r * kWarp;
    if (i >= tokens) continue;
    const std::uint32_t to = seen[warp * kDigits + (key[r] >> shift) % kDigits] + rank[r];
    out_keys[to] = key[r];
    out_positions[to] = positions == nullptr ? static_cast<std::uint32_t>(i) : positions[i];
  }
}

struct Sorted {
  const std::uint32_t* keys;
  const std::uint32_t* positions;
  std::size_t tokens;
  std::uint32_t vocabulary;
};

__device__ __forceinline__ void write_row(void* d_weight, ElementType type, std::size_t at, Floats8 sum, bool accumulate, bool vectors) {
  if (vectors) {
    if (accumulate) {
      const Floats8 old = load8(d_weight, type, at);
#pragma unroll
      for (int j = 0; j < 8; j++) sum.v[j] += old.v[j];
    }
    store8(d_weight, type, at, sum);
  } else {
    store1(d_weight, type, at, accumulate ? load1(d_weight, type, at) + sum.v[0] : sum.v[0]);
  }
}

// Block (columns, piece). partials [piece][2][width]: the run that came in from the piece before, and the one that goes on after it.
template <bool vectors>
__global__ void __launch_bounds__(kSumThreads) sum_kernel(Sorted sorted, const void* dy, ElementType dy_type, void* d_weight,
                                                          ElementType type, float* partials, std::size_t width, bool accumulate) {
  XGEN_SHARED(std::uint32_t, keys, kPiece + 2);
  XGEN_SHARED(std::uint32_t, positions, kPiece);
  constexpr std::uint32_t none = 0xffffffffu;
  const std::size_t begin = static_cast<std::size_t>(blockIdx.x) * kPiece;
  const unsigned size = static_cast<unsigned>(sorted.tokens - begin < kPiece ? sorted.tokens - begin : kPiece);
  // keys[i + 1] is of entry i; before the first and after the last stand their neighbours.
  for (unsigned i = threadIdx.x; i < size + 2; i += kSumThreads) {
    const bool outside = (begin == 0 && i == 0) || begin + i - 1 >= sorted.tokens;
    keys[i] = outside ? none : sorted.keys[begin + i - 1];
    if (i < size) positions[i] = sorted.positions[begin + i];
  }
  __syncthreads();
  constexpr unsigned step = vectors ? kVector : 1;
  const std::size_t column = (static_cast<std::size_t>(blockIdx.y) * kSumThreads + threadIdx.x) * step;
  if (column >= width) return;
  constexpr unsigned ahead = 4;  // loads in flight
  bool from_before = keys[0] == keys[1];
  Floats8 sum = {};
  for (unsigned first = 0; first < size; first += ahead) {
    Floats8 rows[ahead];
#pragma unroll
    for (unsigned a = 0; a < ahead; a++) {
      if (first + a >= size) continue;
      const std::size_t at = static_cast<std::size_t>(positions[first + a]) * width + column;
      if (vectors) {
        rows[a] = load8(dy, dy_type, at);
      } else {
        rows[a].v[0] = load1(dy, dy_type, at);
      }
    }
#pragma unroll
    for (unsigned a = 0; a < ahead; a++) {
      const unsigned i = first + a;
      if (i >= size) continue;
#pragma unroll
      for (unsigned j = 0; j < step; j++) sum.v[j] += rows[a].v[j];
      const std::uint32_t key = keys[i + 1];
      const bool goes_on = keys[i + 2] == key;
      if (goes_on && i + 1 < size) continue;
      if (from_before || goes_on) {
        float* partial = partials + (static_cast<std::size_t>(blockIdx.x) * 2 + (from_before ? 0 : 1)) * width + column;
        if (vectors) {
          store8(partial, sum);
        } else {
          partial[0] = sum.v[0];
        }
      } else if (key < sorted.vocabulary) {
        write_row(d_weight, type, static_cast<std::size_t>(key) * width + column, sum, accumulate, vectors);
      }
      from_before = false;
      sum = Floats8{};
    }
  }
}

// The piece in which a run that crosses pieces begins joins it.
template <bool vectors>
__global__ void __launch_bounds__(kSumThreads) join_kernel(Sorted sorted, void* d_weight, ElementType type, const float* partials,
                                                           std::size_t width, bool accumulate) {
  const std::size_t begin = static_cast<std::size_t>(blockIdx.x) * kPiece, next = begin + kPiece;
  if (next >= sorted.tokens) return;
  const std::uint32_t key = sorted.keys[next - 1];
  const bool starts_here = sorted.keys[begin] != key || begin == 0 || sorted.keys[begin - 1] != key;
  if (key >= sorted.vocabulary || sorted.keys[next] != key || !starts_here) return;
  constexpr unsigned step = vectors ? kVector : 1;
  const std::size_t column = (static_cast<std::size_t>(blockIdx.y) * kSumThreads + threadIdx.x) * step;
  if (column >= width) return;
  Floats8 sum = {};
  std::size_t piece = blockIdx.x, slot = 1;
  do {
    const float* partial = partials + (piece * 2 + slot) * width + column;
    if (vectors) {
      const Floats8 part = load8(partial);
#pragma unroll
      for (int j = 0; j < 8; j++) sum.v[j] += part.v[j];
    } else {
      sum.v[0] += partial[0];
    }
    piece++;
    slot = 0;
  } while (piece * kPiece < sorted.tokens && sorted.keys[piece * kPiece] == key);
  write_row(d_weight, type, static_cast<std::size_t>(key) * width + column, sum, accumulate, vectors);
}

struct Workspace {
  std::size_t blocks, counts, keys, partials, bytes;  // the last four in bytes
};
Workspace workspace_of(std::size_t tokens, std::size_t width) {
  Workspace w;
  w.blocks = divide_up(tokens, kTile);
  w.counts = align_up(w.blocks * kDigits * sizeof(std::uint32_t));
  w.keys = align_up(tokens * sizeof(std::uint32_t));
  w.partials = align_up(divide_up(tokens, kPiece) * 2 * width * sizeof(float));
  w.bytes = w.counts + 4 * w.keys + w.partials + 16;
  return w;
}

}  // namespace

std::size_t embedding_grad_workspace_bytes(std::size_t tokens, std::size_t width, std::size_t) { return workspace_of(tokens, width).bytes; }

void embedding_grad(Stream stream, const std::int32_t* ids, ConstArray dy, Array d_weight, std::size_t tokens, std::size_t width,
                    std::size_t vocabulary, bool accumulate, void* workspace, ErrorFlag* error) {
  constexpr const char* name = "embedding_grad";
  require_float(name, dy.type);
  require_float(name, d_weight.type);
  if (!accumulate) fill(stream, d_weight, 0.0, vocabulary * width);
  if (tokens == 0 || width == 0) return;
  const Workspace w = workspace_of(tokens, width);
  unsigned char* const base = static_cast<unsigned char*>(workspace);
  std::uint32_t* const counts = reinterpret_cast<std::uint32_t*>(base);
  const auto buffer = [&](std::size_t i) { return reinterpret_cast<std::uint32_t*>(base + w.counts + i * w.keys); };
  float* const partials = reinterpret_cast<float*>(base + w.counts + 4 * w.keys);
  const unsigned blocks = grid_of(name, w.blocks);
  Keys keys = {ids, nullptr, static_cast<std::uint32_t>(vocabulary)};
  const std::uint32_t* positions = nullptr;
  std::size_t turn = 0;
  for (unsigned shift = 0; shift == 0 || vocabulary >> shift != 0; shift += 8, turn ^= 2) {
    launch(name, histogram_kernel, blocks, kThreads, 0, stream, keys, shift, counts, tokens, blocks, error);
    launch(name, scan_kernel, 1, kScanThreads, 0, stream, counts, w.blocks * kDigits);
    launch(name, scatter_kernel, blocks, kThreads, 0, stream, keys, positions, shift, counts, buffer(turn), buffer(turn + 1), tokens, blocks);
    keys = {nullptr, buffer(turn), static_cast<std::uint32_t>(vocabulary)};
    positions = buffer(turn + 1);
  }
  const Sorted sorted = {keys.keys, positions, tokens, static_cast<std::uint32_t>(vocabulary)};
  const bool vectors = width % kVector == 0;
  const dim3 grid(grid_of(name, divide_up(tokens, kPiece)), static_cast<unsigned>(divide_up(width / (vectors ? kVector : 1), kSumThreads)));
  launch(name, vectors ? sum_kernel<true> : sum_kernel<false>, grid, kSumThreads, 0, stream, sorted, dy.data, dy.type, d_weight.data,
         d_weight.type, partials, width, accumulate);
  launch(name, vectors ? join_kernel<true> : join_kernel<false>, grid, kSumThreads, 0, stream, sorted, d_weight.data, d_weight.type, partials,
         width, accumulate);
}

}  // namespace xgen::cuda
