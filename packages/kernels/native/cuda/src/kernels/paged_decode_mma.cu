// Attention of a few new tokens over a paged cache on the tensor cores: bfloat16, heads of 64 and 128.
//
// Bound by memory: each cached key and value is read once, 4 * head_dimension bytes for 4 * head_dimension * group operations. To get there every
// processor must have some 35 KB under way at all times (4.5 TB/s / 132 times a microsecond). So all query heads of a group share one read, and
// - a block's warps take tiles of 16 keys (8 in heads of 128) by turns, each through a ring in shared memory that it alone reads (cp.async: bytes under way
//   need no registers, and no barriers of the block). Neighbouring lanes copy whole rows of a head: with the pieces that a lane itself multiplies
//   instead, halves of rows, contexts of 4,096 were read at 3.2 TB/s instead of 4.1 on an H200. A third stage of the ring was not faster;
// - the tensor cores multiply (mma.sync). Scores are Q Kᵀ with up to eight query rows as the upper half of a left operand, whose depth may
//   have any order: 16 bytes are what two products want of a lane. Results are Vᵀ Pᵀ, whose right operand is what a lane has of the scores; for the left
//   one a lane takes the same eight elements of four values and pairs them. Nothing is shuffled but maxima and what follows from them;
// - which rows of the cache the keys of a few tiles have is looked up by a lane each, before the ring has a place for them;
// - where sequences are many, a block takes several key-value heads (`Together`), so that all blocks are on the device at once.
//
// A short context is bound by latency: a chain of lengths, tables, keys, and a merge. So before its inputs are known to be up to date a block reads the
// lengths and tables as they are, guesses from them where its first keys lie, and asks for those to be brought into the second-level cache;
// afterwards it copies from there at once, and reads the lengths and tables beside: only where they tell otherwise does it copy again.
#include "mma.h"
#include "paged_decode.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kRows = 8;    // query rows of a product
constexpr unsigned kWarps = 8;
constexpr unsigned kStages = 2;  // of a warp's ring
constexpr unsigned kAbsent = ~0u;

// Of a kernel for heads of `Size`.
template <unsigned Size>
struct Layout {
  static constexpr unsigned kKeys = Size == 64 ? 16 : 8;              // of a tile
  static constexpr unsigned kChunks = Size / kChunk;                  // of 16 bytes, of a key
  static constexpr unsigned kTilePieces = 2 * kKeys * kChunks;        // of 16 bytes: its keys, then its values
  static constexpr unsigned kRingPieces = kStages * kTilePieces;      // of a warp
  static constexpr unsigned kBytes = kWarps * kRingPieces * 16;
  static constexpr unsigned kAtOnce = kWarp / kChunks;                // keys that a warp copies at once
  static constexpr unsigned kTiles = kWarp / kKeys;                   // whose rows are looked up together
  static constexpr unsigned kFirst = (kStages - 2) / kTiles + 1;      // such look-ups for the tiles that are copied first
  static constexpr unsigned kSumRow = Size + 4;                       // so that a warp's sums meet in few banks
  static_assert(kStages >= 2 && kRows * kSumRow * sizeof(float) <= kRingPieces * 16);
};

// Where in a tile a key's chunk stands: so that neither the lanes that read keys nor those that read values meet in a bank.
template <unsigned Size>
__device__ __forceinline__ unsigned key_place(unsigned key, unsigned chunk) { return key * Layout<Size>::kChunks + (chunk ^ (key % 2 * 4)); }
template <unsigned Size>
__device__ __forceinline__ unsigned value_place(unsigned key, unsigned chunk) { return key * Layout<Size>::kChunks + (chunk ^ (key / 2 % 4 * 2)); }

// A block's warps take `Together` heads, kWarps / Together warps each. Shared memory: a ring of tiles [key], then [value], for each warp, of which its
// sums [row][element] take the place in the end.
template <unsigned Size, unsigned Together>
__global__ void __launch_bounds__(kWarps * kWarp, 2) decode_mma_kernel(Decode<bfloat16, bfloat16> call) {
  using Sizes = Layout<Size>;
  constexpr unsigned kKeys = Sizes::kKeys, kHalves = kKeys / 8, kChunks = Sizes::kChunks, kTiles = Sizes::kTiles, kSumRow = Sizes::kSumRow;
  constexpr unsigned kSharing = kWarps / Together;
  XGEN_DYNAMIC_SHARED(shared);
  XGEN_SHARED(SoftmaxStatistic, warp_statistics, kWarps * kRows);
  XGEN_SHARED(bool, last, 1);
  allow_next();
  const DecodeBlock<bfloat16, bfloat16, Together> block(call);
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, g = lane / 4, t = lane % 4;
  const unsigned head = block.head + warp % Together, part = warp / Together;
  uint4* const ring = reinterpret_cast<uint4*>(shared) + warp * Sizes::kRingPieces;
  const std::size_t row_elements = std::size_t{block.heads.key_value_heads} * Size;
  const bfloat16* const keys = call.a.key_cache + head * Size;
  const bfloat16* const values = call.a.value_cache + head * Size;

  // Where the warp's tile `index` starts.
  const auto tile_at = [&](const KeySpan& span, unsigned index) { return span.begin + (index * kSharing + part) * kKeys; };
  // The caches' rows of the keys of kTiles tiles, a lane each, or kAbsent; `wrong` is told of positions whose blocks cannot be. Entries past the
  // context are read where the table has them, so that this need not wait for the context's length.
  const auto look_up = [&](const KeySpan& span, unsigned group, auto read, auto wrong) -> unsigned {
    const unsigned position = tile_at(span, group * kTiles + lane / kKeys) + lane % kKeys;
    const std::int32_t entry = block.block_of(position) < block.pages.max_blocks ? read(block.entry_of(position)) : kUnused;
    if (position >= span.end) return kAbsent;
    if (block.is_there(entry)) return static_cast<unsigned>(entry) * block.pages.block_size + (position - block.block_of(position) * block.pages.block_size);
    wrong(position, entry);
    return kAbsent;
  };
  const auto look_up_now = [&](const KeySpan& span, unsigned group) {
    return look_up(span, group, ReadNow{}, [&](unsigned position, std::int32_t entry) { block.report_missing(position, entry); });
  };
  const std::uint64_t policy = once_read();
  // Tile `tile` of those whose rows the lanes have: whole rows of a head, neighbouring lanes its chunks.
  const auto copy_tile = [&](unsigned stage, unsigned rows, unsigned tile) {
    uint4* const to = ring + stage * Sizes::kTilePieces;
    const unsigned chunk = lane % kChunks;
#pragma unroll
    for (unsigned i = 0; i < kKeys / Sizes::kAtOnce; i++) {
      const unsigned key = i * Sizes::kAtOnce + lane / kChunks, row = __shfl_sync(kFullMask, rows, static_cast<int>(tile * kKeys + key));
      const std::size_t from = (row == kAbsent ? 0 : row * row_elements) + chunk * kChunk;
      copy_chunk_once(reinterpret_cast<bfloat16*>(to + key_place<Size>(key, chunk)), keys + from, row != kAbsent, policy);
      copy_chunk_once(reinterpret_cast<bfloat16*>(to + kKeys * kChunks + value_place<Size>(key, chunk)), values + from, row != kAbsent, policy);
    }
  };
  const auto copy_first = [&](const unsigned (&rows)[Sizes::kFirst]) {
#pragma unroll
    for (unsigned s = 0; s + 1 < kStages; s++) {
      copy_tile(s, rows[s / kTiles], s % kTiles);
      commit_copies();
    }
  };

  const KeySpan guess = block.span_of(block.lengths(ReadEarly{}), kKeys);
  unsigned guessed[Sizes::kFirst];
#pragma unroll
  for (unsigned group = 0; group < Sizes::kFirst; group++) {
    guessed[group] = look_up(guess, group, ReadEarly{}, [](unsigned, std::int32_t) {});
    if (guessed[group] == kAbsent) continue;
#pragma unroll
    for (unsigned at = 0; at < Size; at += kCacheLine / sizeof(bfloat16)) {
      prefetch_line(keys + guessed[group] * row_elements + at);
      prefetch_line(values + guessed[group] * row_elements + at);
    }
  }
  wait_for_previous();
  copy_first(guessed);
  const PagedSequence lengths = block.lengths(ReadNow{});
  if (!block.takes(lengths)) {
    block.check_lengths();
    wait_for_copies();
    return;
  }
  const KeySpan span = block.span_of(lengths, kKeys);
  const unsigned context = static_cast<unsigned>(lengths.context), queries = static_cast<unsigned>(lengths.queries), rows = queries * block.heads.group;
  const bool empty = call.splits > 1 && span.begin >= span.end;
  for (unsigned row = threadIdx.x / Together; empty && row < rows; row += kWarps * kWarp / Together) {
    block.store_empty(lengths, block.head + threadIdx.x % Together, row);
  }
  const unsigned tiles = (span.end - span.begin + kKeys - 1) / kKeys, count = tiles > part ? (tiles - part + kSharing - 1) / kSharing : 0;
  const float factor = block.heads.scale * kLog2E;

  for (unsigned row0 = 0; row0 < (empty ? 0 : rows); row0 += kRows) {
    unsigned first[Sizes::kFirst];
    bool right = row0 == 0 && span.begin == guess.begin;
#pragma unroll
    for (unsigned group = 0; group < Sizes::kFirst; group++) {
      first[group] = look_up_now(span, group);
      right = right && first[group] == guessed[group];
    }
    unsigned next = look_up_now(span, Sizes::kFirst), current = first[Sizes::kFirst - 1];
    // The lane's query row g, and how many positions it sees.
    const unsigned row = row0 + g;
    const bool active = row < rows && context > 0;
    uint4 query[Size / 32];
#pragma unroll
    for (unsigned c = 0; c < Size / 32; c++) {
      query[c] = make_uint4(0, 0, 0, 0);
      if (active) query[c] = load_aligned<uint4>(block.query_row(lengths, head, row) + c * 32 + t * kChunk);
    }
    const unsigned seen = active ? context - queries + row / block.heads.group + 1 : 0;
    if (__ballot_sync(kFullMask, right) != kFullMask) {
      wait_for_copies();
      __syncwarp();
      copy_first(first);
    }
    float sums[Size / 16][4] = {}, largest = -infinity(), total = 0.0f;
    unsigned stage = 0, free_stage = kStages - 1;
    for (unsigned index = 0; index < count; index++) {
      wait_for_copies<kStages - 2>();
      __syncwarp();  // all lanes' copies of this tile are there, and nobody reads the one before
      const unsigned coming = index + kStages - 1;
      if (coming % kTiles == 0) {
        current = next;
        next = look_up_now(span, coming / kTiles + 1);
      }
      if (coming < count) copy_tile(free_stage, current, coming % kTiles);
      commit_copies();
      free_stage = free_stage + 1 == kStages ? 0 : free_stage + 1;
      const uint4* const tile = ring + stage * Sizes::kTilePieces;
      stage = stage + 1 == kStages ? 0 : stage + 1;

      // Of keys 8 h + 2 t and the next: scores[h][0], [1].
      float scores[kHalves][4] = {};
#pragma unroll
      for (unsigned c = 0; c < Size / 32; c++) {
#pragma unroll
        for (unsigned h = 0; h < kHalves; h++) {
          const uint4 key = load_aligned<uint4>(tile + key_place<Size>(h * 8 + g, c * 4 + t));
          const std::uint32_t low[4] = {query[c].x, 0, query[c].y, 0}, high[4] = {query[c].z, 0, query[c].w, 0};
          multiply_add(scores[h], low, key.x, key.y);
          multiply_add(scores[h], high, key.z, key.w);
        }
      }
      const unsigned position = tile_at(span, index) + 2 * t;
      float maximum = largest;
#pragma unroll
      for (unsigned i = 0; i < 2 * kHalves; i++) {
        float& score = scores[i / 2][i % 2];
        score = position + i / 2 * 8 + i % 2 < seen ? score * factor : -infinity();
        maximum = fmaxf(maximum, score);
      }
      maximum = fmaxf(maximum, __shfl_xor_sync(kFullMask, maximum, 1));
      maximum = fmaxf(maximum, __shfl_xor_sync(kFullMask, maximum, 2));
      const float base = exponent_base(maximum), shrink = exp2_fast(largest - base);
      largest = maximum;
      total *= shrink;
#pragma unroll
      for (unsigned i = 0; i < 2 * kHalves; i++) {
        float& score = scores[i / 2][i % 2];
        score = exp2_fast(score - base);
        total += score;
      }
      // The lane's columns of the result are rows 2 t and the next.
      const float even = __shfl_sync(kFullMask, shrink, static_cast<int>(8 * t)), odd = __shfl_sync(kFullMask, shrink, static_cast<int>(8 * t + 4));
#pragma unroll
      for (unsigned m = 0; m < Size / 16; m++) {
        sums[m][0] *= even;
        sums[m][1] *= odd;
        sums[m][2] *= even;
        sums[m][3] *= odd;
      }
      // Weights as two bfloat16 each, so that they are no less exact than in float32 arithmetic.
      std::uint32_t weights[2] = {}, rests[2] = {};
#pragma unroll
      for (unsigned h = 0; h < kHalves; h++) {
        weights[h] = pack_bfloat16(scores[h][0], scores[h][1]);
        rests[h] = pack_bfloat16(scores[h][0] - low_bfloat16(weights[h]), scores[h][1] - high_bfloat16(weights[h]));
      }
#pragma unroll
      for (unsigned c = 0; c < Size / 64; c++) {
        std::uint32_t value[2 * kHalves][4];
#pragma unroll
        for (unsigned k = 0; k < 2 * kHalves; k++) {
          const uint4 piece = load_aligned<uint4>(tile + kKeys * kChunks + value_place<Size>(k / 2 * 8 + 2 * t + k % 2, c * 8 + g));
          value[k][0] = piece.x;
          value[k][1] = piece.y;
          value[k][2] = piece.z;
          value[k][3] = piece.w;
        }
        // Element 64 c + 8 g + 2 m is row g of the product's left operand, the next one row g + 8.
        std::uint32_t left[4][4] = {};
#pragma unroll
        for (unsigned m = 0; m < 4; m++) {
#pragma unroll
          for (unsigned h = 0; h < kHalves; h++) {
            left[m][2 * h] = (value[2 * h][m] & 0xffffu) | value[2 * h + 1][m] << 16;
            left[m][2 * h + 1] = value[2 * h][m] >> 16 | (value[2 * h + 1][m] & 0xffff0000u);
          }
          multiply_add(sums[c * 4 + m], left[m], weights[0], weights[1]);
        }
#pragma unroll
        for (unsigned m = 0; m < 4; m++) multiply_add(sums[c * 4 + m], left[m], rests[0], rests[1]);
      }
    }

    total += __shfl_xor_sync(kFullMask, total, 1);
    total += __shfl_xor_sync(kFullMask, total, 2);
    if (t == 0) warp_statistics[warp * kRows + g] = {largest, total};
    const auto sums_of = [&](unsigned w) { return reinterpret_cast<float*>(shared + w * Sizes::kRingPieces * 16); };
    wait_for_copies();
    __syncwarp();
#pragma unroll
    for (unsigned c = 0; c < Size / 64; c++) {
#pragma unroll
      for (unsigned e = 0; e < 2; e++) {
        Floats8 own;
#pragma unroll
        for (unsigned j = 0; j < kVector; j++) own.v[j] = sums[c * 4 + j / 2][j % 2 * 2 + e];
        store8(sums_of(warp) + (2 * t + e) * kSumRow + c * 64 + g * kVector, own);
      }
    }
    __syncthreads();
    const unsigned here = rows - row0 < kRows ? rows - row0 : kRows;
    for (unsigned i = threadIdx.x; i < Together * here * (Size / 4); i += kWarps * kWarp) {
      const unsigned which = i / (Size / 4), element = i % (Size / 4) * 4, of = which / here, r = which - of * here;
      SoftmaxStatistic statistics[kSharing];
      float parts[kSharing][4];
#pragma unroll
      for (unsigned k = 0; k < kSharing; k++) {
        const unsigned w = k * Together + of;
        statistics[k] = warp_statistics[w * kRows + r];
        const float4 own = load_aligned<float4>(sums_of(w) + r * kSumRow + element);
        parts[k][0] = own.x;
        parts[k][1] = own.y;
        parts[k][2] = own.z;
        parts[k][3] = own.w;
      }
      Merged<4> merged;
      merged.add(statistics, parts);
      block.store(lengths, block.head + of, row0 + r, element, merged);
    }
    __syncthreads();  // before the next rows' results
  }
  wait_for_copies();
  block.check_lengths();
  block.template merge_splits<2>(lengths, rows, Size, last);
}

template <unsigned Size>
void run(Stream stream, const char* operation, const Decode<bfloat16, bfloat16>& call) {
  const auto launched = [&](auto kernel) { launch_early(operation, kernel, decode_blocks(operation, call), kWarps * kWarp, Layout<Size>::kBytes, stream, call); };
  if (call.together == 8) return launched(decode_mma_kernel<Size, 8>);
  if (call.together == 4) return launched(decode_mma_kernel<Size, 4>);
  if (call.together == 2) return launched(decode_mma_kernel<Size, 2>);
  launched(decode_mma_kernel<Size, 1>);
}

}  // namespace

void paged_decode_mma(Stream stream, const char* operation, const Decode<bfloat16, bfloat16>& call) {
  if (call.a.heads.head_dimension == 64) return run<64>(stream, operation, call);
  run<128>(stream, operation, call);
}

}  // namespace xgen::cuda
