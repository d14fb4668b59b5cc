// Attention of a few new tokens over a paged cache on the tensor cores: bfloat16, heads of 64 and 128.
//
// Bound by memory: each cached key and value is read once, 4 * head_dimension bytes for 4 * head_dimension * group operations. To get there every
// processor must have some 35 KB under way at all times (4.5 TB/s / 132 times a microsecond). So all query heads of a group share one read, and
// - a block's warps take tiles of 16 keys by turns, each through a ring in shared memory that it alone reads. Each lane copies the 16-byte pieces that it
//   will multiply (cp.async: bytes under way need no registers, and no barriers), so the pieces need no order there;
// - the tensor cores multiply (mma.sync). Scores are Q Kᵀ with up to eight query rows as the upper half of a left operand, whose depth may
//   have any order: a piece is what two products want of a lane. Results are Vᵀ Pᵀ, whose right operand is what a lane has of the scores; for the left
//   one a lane takes the same eight elements of four values and pairs them. Nothing is shuffled but maxima;
// - which rows of the cache a tile's keys have is looked up by a lane each, two tiles at once, before the ring has a place for them.
//
// A short context is bound by latency: a chain of lengths, tables, keys, and a merge. So before its inputs are known to be up to date a block reads the
// lengths and tables as they are, guesses from them where its first keys lie, and asks for those to be brought into the second-level cache;
// afterwards it copies from there at once, and reads the lengths and tables beside: only where they tell otherwise does it copy again.
#include "mma.h"
#include "paged_decode.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kRows = 8;    // query rows of a product
constexpr unsigned kKeys = 16;   // of a tile
constexpr unsigned kAbsent = ~0u;

// Of a kernel for heads of `Size`: two blocks are on a processor at once.
template <unsigned Size>
struct Layout {
  static constexpr unsigned kWarps = Size == 64 ? 8 : 4;
  static constexpr unsigned kStages = 3;
  static constexpr unsigned kKeyPieces = 2 * (Size / 32), kValuePieces = 4 * (Size / 64);  // of 16 bytes, of a lane and tile
  static constexpr unsigned kPieces = kKeyPieces + kValuePieces;
  static constexpr unsigned kWarpBytes = kStages * kPieces * kWarp * 16;
  static constexpr unsigned kSumRow = Size + 4;  // so that a warp's sums meet in few banks
  static constexpr unsigned kBytes = kWarps * kWarpBytes;
  static constexpr unsigned kFirstPairs = kStages / 2;                           // of tiles, that are copied before the first product
  static constexpr unsigned kEarlyPairs = kFirstPairs;                           // of tiles, that are brought early
  static_assert(kStages >= 2 && kRows * kSumRow * sizeof(float) <= kWarpBytes);
};

// Shared memory: the ring [warp][stage][piece][lane], a warp's part of which its sums [row][element] take in the end.
template <unsigned Size>
__global__ void __launch_bounds__(Layout<Size>::kWarps * kWarp, 2) decode_mma_kernel(Decode<bfloat16, bfloat16> call) {
  using Sizes = Layout<Size>;
  constexpr unsigned Warps = Sizes::kWarps, kStages = Sizes::kStages, kKeyPieces = Sizes::kKeyPieces, kPieces = Sizes::kPieces, kSumRow = Sizes::kSumRow;
  XGEN_DYNAMIC_SHARED(shared);
  XGEN_SHARED(SoftmaxStatistic, warp_statistics, Warps * kRows);
  XGEN_SHARED(bool, last, 1);
  allow_next();
  const DecodeBlock<bfloat16, bfloat16> own(call);
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, g = lane / 4, t = lane % 4;
  uint4* const ring = reinterpret_cast<uint4*>(shared + warp * Sizes::kWarpBytes) + lane;
  const std::size_t row_elements = std::size_t{own.heads.key_value_heads} * Size;
  const bfloat16* const keys = call.a.key_cache + own.head * Size;
  const bfloat16* const values = call.a.value_cache + own.head * Size;

  // The warp's tile `index`, whose keys start there.
  const auto tile_at = [&](const KeySpan& span, unsigned index) { return span.begin + (index * Warps + warp) * kKeys; };
  // The caches' row of the lane's key of two tiles, or kAbsent; `wrong` is told of positions whose blocks cannot be. Entries past the context are
  // read where the table has them, so that this need not wait for the context's length.
  const auto look_up = [&](const KeySpan& span, unsigned pair, auto read, auto wrong) -> unsigned {
    const unsigned position = tile_at(span, 2 * pair + lane / kKeys) + lane % kKeys;
    const std::int32_t block = own.block_of(position) < own.pages.max_blocks ? read(own.entry_of(position)) : kUnused;
    if (position >= span.end) return kAbsent;
    if (own.is_there(block)) return static_cast<unsigned>(block) * own.pages.block_size + (position - own.block_of(position) * own.pages.block_size);
    wrong(position, block);
    return kAbsent;
  };
  const auto look_up_now = [&](const KeySpan& span, unsigned pair) {
    return look_up(span, pair, ReadNow{}, [&](unsigned position, std::int32_t block) { own.report_missing(position, block); });
  };
  // `rows` has two tiles' rows, by lanes.
  const auto copy_tile = [&](unsigned stage, unsigned rows, unsigned half) {
    bfloat16* const to = reinterpret_cast<bfloat16*>(ring + stage * kPieces * kWarp);
    const auto copy = [&](unsigned piece, const bfloat16* from, bool there) { copy_chunk(to + piece * kWarp * kChunk, from, there); };
#pragma unroll
    for (unsigned h = 0; h < 2; h++) {
      const unsigned row = __shfl_sync(kFullMask, rows, static_cast<int>(half * kKeys + h * 8 + g));
      const bfloat16* const from = keys + (row == kAbsent ? 0 : row * row_elements) + t * kChunk;
#pragma unroll
      for (unsigned c = 0; c < Size / 32; c++) copy(h * (Size / 32) + c, from + c * 32, row != kAbsent);
    }
#pragma unroll
    for (unsigned k = 0; k < 4; k++) {
      const unsigned row = __shfl_sync(kFullMask, rows, static_cast<int>(half * kKeys + k / 2 * 8 + 2 * t + k % 2));
      const bfloat16* const from = values + (row == kAbsent ? 0 : row * row_elements) + g * kChunk;
#pragma unroll
      for (unsigned c = 0; c < Size / 64; c++) copy(kKeyPieces + k * (Size / 64) + c, from + c * 64, row != kAbsent);
    }
  };
  const auto copy_first = [&](const unsigned (&rows)[Sizes::kFirstPairs]) {
#pragma unroll
    for (unsigned s = 0; s + 1 < kStages; s++) {
      copy_tile(s, rows[s / 2], s % 2);
      commit_copies();
    }
  };

  const KeySpan guess = own.span_of(own.lengths(ReadEarly{}), kKeys);
  unsigned guessed[Sizes::kFirstPairs];
#pragma unroll
  for (unsigned pair = 0; pair < Sizes::kEarlyPairs; pair++) {
    const unsigned row = look_up(guess, pair, ReadEarly{}, [](unsigned, std::int32_t) {});
    if (pair < Sizes::kFirstPairs) guessed[pair] = row;
    if (row == kAbsent) continue;
#pragma unroll
    for (unsigned at = 0; at < Size; at += kCacheLine / sizeof(bfloat16)) {
      prefetch_line(keys + row * row_elements + at);
      prefetch_line(values + row * row_elements + at);
    }
  }
  wait_for_previous();
  copy_first(guessed);
  const PagedSequence lengths = own.lengths(ReadNow{});
  if (!own.takes(lengths)) {
    own.check_lengths();
    wait_for_copies();
    return;
  }
  const KeySpan span = own.span_of(lengths, kKeys);
  const unsigned context = static_cast<unsigned>(lengths.context), queries = static_cast<unsigned>(lengths.queries), rows = queries * own.heads.group;
  const bool empty = call.splits > 1 && span.begin >= span.end;
  for (unsigned row = threadIdx.x; empty && row < rows; row += Warps * kWarp) own.store_empty(lengths, row);
  const unsigned tiles = (span.end - span.begin + kKeys - 1) / kKeys, count = tiles > warp ? (tiles - warp + Warps - 1) / Warps : 0;
  const float factor = own.heads.scale * kLog2E;

  for (unsigned row0 = 0; row0 < (empty ? 0 : rows); row0 += kRows) {
    unsigned first[Sizes::kFirstPairs];
    bool right = row0 == 0 && span.begin == guess.begin;
#pragma unroll
    for (unsigned pair = 0; pair < Sizes::kFirstPairs; pair++) {
      first[pair] = look_up_now(span, pair);
      right = right && first[pair] == guessed[pair];
    }
    unsigned next = look_up_now(span, Sizes::kFirstPairs), current = first[Sizes::kFirstPairs - 1];
    // The lane's query row g, and how many positions it sees.
    const unsigned row = row0 + g;
    const bool active = row < rows && context > 0;
    uint4 query[Size / 32];
#pragma unroll
    for (unsigned c = 0; c < Size / 32; c++) {
      query[c] = make_uint4(0, 0, 0, 0);
      if (active) query[c] = load_aligned<uint4>(own.query_row(lengths, row) + c * 32 + t * kChunk);
    }
    const unsigned seen = active ? context - queries + row / own.heads.group + 1 : 0;
    if (__ballot_sync(kFullMask, right) != kFullMask) {
      wait_for_copies();
      copy_first(first);
    }
    float sums[Size / 16][4] = {}, largest = -infinity(), total = 0.0f;
    unsigned stage = 0, free_stage = kStages - 1;
    for (unsigned index = 0; index < count; index++) {
      const unsigned coming = index + kStages - 1;
      if (coming % 2 == 0) {
        current = next;
        next = look_up_now(span, coming / 2 + 1);
      }
      if (coming < count) copy_tile(free_stage, current, coming % 2);
      commit_copies();
      free_stage = free_stage + 1 == kStages ? 0 : free_stage + 1;
      wait_for_copies<kStages - 1>();
      const uint4* const pieces = ring + stage * kPieces * kWarp;
      stage = stage + 1 == kStages ? 0 : stage + 1;

      // Of keys 8 h + 2 t and the next: scores[h][0], [1].
      float scores[2][4] = {};
#pragma unroll
      for (unsigned c = 0; c < Size / 32; c++) {
#pragma unroll
        for (unsigned h = 0; h < 2; h++) {
          const uint4 key = load_aligned<uint4>(pieces + (h * (Size / 32) + c) * kWarp);
          const std::uint32_t low[4] = {query[c].x, 0, query[c].y, 0}, high[4] = {query[c].z, 0, query[c].w, 0};
          multiply_add(scores[h], low, key.x, key.y);
          multiply_add(scores[h], high, key.z, key.w);
        }
      }
      const unsigned position = tile_at(span, index) + 2 * t;
      float maximum = largest;
#pragma unroll
      for (unsigned i = 0; i < 4; i++) {
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
      for (unsigned i = 0; i < 4; i++) {
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
      const std::uint32_t weights[2] = {pack_bfloat16(scores[0][0], scores[0][1]), pack_bfloat16(scores[1][0], scores[1][1])};
#pragma unroll
      for (unsigned c = 0; c < Size / 64; c++) {
        std::uint32_t value[4][4];
#pragma unroll
        for (unsigned k = 0; k < 4; k++) {
          const uint4 piece = load_aligned<uint4>(pieces + (kKeyPieces + k * (Size / 64) + c) * kWarp);
          value[k][0] = piece.x;
          value[k][1] = piece.y;
          value[k][2] = piece.z;
          value[k][3] = piece.w;
        }
        // Element 64 c + 8 g + 2 m is row g of the product's left operand, the next one row g + 8.
#pragma unroll
        for (unsigned m = 0; m < 4; m++) {
          const auto lower = [&](unsigned k) { return (value[k][m] & 0xffffu) | value[k + 1][m] << 16; };
          const auto upper = [&](unsigned k) { return value[k][m] >> 16 | (value[k + 1][m] & 0xffff0000u); };
          const std::uint32_t left[4] = {lower(0), upper(0), lower(2), upper(2)};
          multiply_add(sums[c * 4 + m], left, weights[0], weights[1]);
        }
      }
    }

    total += __shfl_xor_sync(kFullMask, total, 1);
    total += __shfl_xor_sync(kFullMask, total, 2);
    if (t == 0) warp_statistics[warp * kRows + g] = {largest, total};
    const auto sums_of = [&](unsigned w) { return reinterpret_cast<float*>(shared + w * Sizes::kWarpBytes); };
    __syncwarp();
#pragma unroll
    for (unsigned c = 0; c < Size / 64; c++) {
#pragma unroll
      for (unsigned e = 0; e < 2; e++) {
        Floats8 part;
#pragma unroll
        for (unsigned j = 0; j < kVector; j++) part.v[j] = sums[c * 4 + j / 2][j % 2 * 2 + e];
        store8(sums_of(warp) + (2 * t + e) * kSumRow + c * 64 + g * kVector, part);
      }
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < kRows * Size; i += Warps * kWarp) {
      const unsigned r = i / Size, element = i % Size;
      if (row0 + r >= rows) continue;
      SoftmaxStatistic statistics[Warps];
      float parts[Warps][1];
#pragma unroll
      for (unsigned w = 0; w < Warps; w++) {
        statistics[w] = warp_statistics[w * kRows + r];
        parts[w][0] = sums_of(w)[r * kSumRow + element];
      }
      Merged<1> merged;
      merged.add(statistics, parts);
      own.store(lengths, row0 + r, element, merged);
    }
    __syncthreads();  // before the next rows' results
  }
  wait_for_copies();
  own.check_lengths();
  own.merge_splits(lengths, rows, last);
}

template <unsigned Size>
void run(Stream stream, const char* operation, const Decode<bfloat16, bfloat16>& call) {
  launch_early(operation, decode_mma_kernel<Size>, decode_blocks(operation, call), Layout<Size>::kWarps * kWarp, Layout<Size>::kBytes, stream, call);
}

}  // namespace

void paged_decode_mma(Stream stream, const char* operation, const Decode<bfloat16, bfloat16>& call) {
  if (call.a.heads.head_dimension == 64) return run<64>(stream, operation, call);
  run<128>(stream, operation, call);
}

}  // namespace xgen::cuda
