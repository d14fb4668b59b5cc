// Attention of a few new tokens over a paged cache in float32 arithmetic: any float types and head sizes. What runs on the tensor cores takes
// paged_decode_mma.cu instead.
//
// Bound by memory in float32 too: each cached key and value is read once. All query heads of a group share one read, in 16-byte loads; a block's four
// warps have some 16 KB of bfloat16 under way, twice that of float32.
//
// A short context is bound by latency: a chain of lengths, tables, keys, and a merge. So before its inputs are known to be up to date a block reads the
// lengths and tables as they are, guesses from them where its first keys lie, and asks for those to be brought into the second-level cache;
// afterwards it loads from there at once, and reads the lengths and tables beside: only where they tell otherwise does it load again.
#include "paged_decode.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kThreads = 128;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr unsigned kUnroll = 4;  // keys of a lane whose loads are under way together

// Eight elements as they lie in memory.
template <class T>
struct Raw;
template <>
struct Raw<bfloat16> {
  uint4 bits;
};
template <>
struct Raw<float> {
  float4 low, high;
};
__device__ __forceinline__ void load_raw(Raw<bfloat16>& to, const bfloat16* from) { to.bits = load_aligned<uint4>(from); }
__device__ __forceinline__ void load_raw(Raw<float>& to, const float* from) {
  to.low = load_aligned<float4>(from);
  to.high = load_aligned<float4>(from + 4);
}
__device__ __forceinline__ Floats8 unpack(const Raw<bfloat16>& raw) {
  const uint4& a = raw.bits;
  return {{low_bfloat16(a.x), high_bfloat16(a.x), low_bfloat16(a.y), high_bfloat16(a.y), low_bfloat16(a.z), high_bfloat16(a.z), low_bfloat16(a.w),
           high_bfloat16(a.w)}};
}
__device__ __forceinline__ Floats8 unpack(const Raw<float>& raw) {
  return {{raw.low.x, raw.low.y, raw.low.z, raw.low.w, raw.high.x, raw.high.y, raw.high.z, raw.high.w}};
}
__device__ __forceinline__ void pack(const Floats8& x, Raw<float>& to) {
  to.low = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
  to.high = make_float4(x.v[4], x.v[5], x.v[6], x.v[7]);
}
__device__ __forceinline__ void pack(const Floats8& x, Raw<bfloat16>& to) {
  to.bits = make_uint4(pack_bfloat16(x.v[0], x.v[1]), pack_bfloat16(x.v[2], x.v[3]), pack_bfloat16(x.v[4], x.v[5]), pack_bfloat16(x.v[6], x.v[7]));
}

// A lane's eight elements of a head from element d on; zeros past its end. `exact`: the head has none.
template <bool exact, class T>
__device__ __forceinline__ Raw<T> load_part(const T* head, unsigned d, unsigned head_dimension) {
  Raw<T> raw = {};
  if (exact || (head_dimension % kVector == 0 && d < head_dimension)) {
    load_raw(raw, head + d);
  } else if (d < head_dimension) {
    Floats8 x = {};
#pragma unroll
    for (unsigned j = 0; j < kVector; j++) {
      if (d + j < head_dimension) x.v[j] = to_float(head[d + j]);
    }
    pack(x, raw);
  }
  return raw;
}

// Block (split, sequence, key-value head). Eight elements of a head are one lane's; `Size` / 8 lanes have a key, and keep `Rows` query rows
// (new tokens times heads of the group) of their own running softmax, joined at the end.
template <class Q, class K, unsigned Size, unsigned Rows, bool exact>
__global__ void __launch_bounds__(kThreads) decode_kernel(Decode<Q, K> call) {
  constexpr unsigned lanes = Size / kVector, stride = kWarps * (kWarp / lanes), tile = stride * kUnroll;
  XGEN_SHARED(float, warp_sums, kWarps * Rows * Size);
  XGEN_SHARED(SoftmaxStatistic, warp_statistics, kWarps * Rows);
  XGEN_SHARED(bool, last, 1);
  allow_next();
  const DecodeBlock<Q, K, 1> block(call);
  const Heads& heads = call.a.heads;
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const unsigned own = warp * (kWarp / lanes) + lane / lanes, d = lane % lanes * kVector;

  // The lane's keys of the tile at p0, whose blocks the table names: `blocks`, or kUnused past the end.
  const auto look_up = [&](std::int32_t(&blocks)[kUnroll], unsigned p0, unsigned end, auto read) {
#pragma unroll
    for (unsigned u = 0; u < kUnroll; u++) {
      const unsigned position = p0 + u * stride + own;
      blocks[u] = position < end ? read(block.entry_of(position)) : kUnused;
    }
  };
  Raw<K> keys[kUnroll], values[kUnroll];
  const auto load = [&](Raw<K>(&to)[kUnroll], const K* cache, const std::int32_t(&blocks)[kUnroll], unsigned p0) {
#pragma unroll
    for (unsigned u = 0; u < kUnroll; u++) {
      to[u] = {};
      if (block.is_there(blocks[u])) to[u] = load_part<exact>(cache + block.offset_of(blocks[u], p0 + u * stride + own), d, heads.head_dimension);
    }
  };

  const KeySpan guess = block.span_of(block.lengths(ReadEarly{}), tile);
  std::int32_t guessed[kUnroll];
  look_up(guessed, guess.begin, guess.end, ReadEarly{});
#pragma unroll
  for (unsigned u = 0; u < kUnroll; u++) {
    if (!block.is_there(guessed[u]) || d * sizeof(K) % kCacheLine != 0 || d >= heads.head_dimension) continue;
    const std::size_t offset = block.offset_of(guessed[u], guess.begin + u * stride + own) + d;
    prefetch_line(call.a.key_cache + offset);
    prefetch_line(call.a.value_cache + offset);
  }
  wait_for_previous();
  const PagedSequence lengths = block.lengths(ReadNow{});
  load(keys, call.a.key_cache, guessed, guess.begin);
  load(values, call.a.value_cache, guessed, guess.begin);
  bool fresh = true;  // they are those of the guess

  if (!block.takes(lengths)) {
    block.check_lengths();
    return;
  }
  const unsigned context = static_cast<unsigned>(lengths.context), queries = static_cast<unsigned>(lengths.queries);
  const KeySpan span = block.span_of(lengths, tile);
  const unsigned begin = span.begin, end = span.end;
  const unsigned rows = queries * heads.group;
  const float factor = heads.scale * kLog2E;
  const bool empty = call.splits > 1 && begin >= end;
  for (unsigned row = threadIdx.x; empty && row < rows; row += kThreads) block.store_empty(lengths, block.head, row);

  const auto report_missing = [&](const std::int32_t(&blocks)[kUnroll], unsigned p0) {
#pragma unroll
    for (unsigned u = 0; u < kUnroll; u++) {
      const unsigned position = p0 + u * stride + own;
      if (d == 0 && position < end && !block.is_there(blocks[u])) block.report_missing(position, blocks[u]);
    }
  };

  for (unsigned row0 = 0; row0 < (empty ? 0 : rows); row0 += Rows) {
    std::int32_t blocks[kUnroll];
    look_up(blocks, begin, end, ReadNow{});
    float query[Rows][kVector], sums[Rows][kVector], largest[Rows], total[Rows];
    unsigned seen[Rows];  // positions before this one
#pragma unroll
    for (unsigned r = 0; r < Rows; r++) {
      const unsigned row = row0 + r, token = row / heads.group;
      const bool active = row < rows && context > 0;
      Floats8 x = {};
      if (active) x = unpack(load_part<exact>(block.query_row(lengths, block.head, row), d, heads.head_dimension));
      seen[r] = active ? context - queries + token + 1 : 0;
      largest[r] = -infinity();
      total[r] = 0.0f;
#pragma unroll
      for (unsigned j = 0; j < kVector; j++) {
        query[r][j] = x.v[j] * factor;
        sums[r][j] = 0.0f;
      }
    }
    bool right = fresh && begin == guess.begin;
#pragma unroll
    for (unsigned u = 0; u < kUnroll; u++) right = right && blocks[u] == guessed[u];
    if (!right) {
      load(keys, call.a.key_cache, blocks, begin);
      load(values, call.a.value_cache, blocks, begin);
    }
    fresh = false;
    for (unsigned p0 = begin; p0 < end; p0 += tile) {
      report_missing(blocks, p0);
      std::int32_t following[kUnroll];
      look_up(following, p0 + tile, end, ReadNow{});
      float scores[kUnroll][Rows];
#pragma unroll
      for (unsigned u = 0; u < kUnroll; u++) {
        const Floats8 key = unpack(keys[u]);
#pragma unroll
        for (unsigned r = 0; r < Rows; r++) {
          float dot = 0.0f;
#pragma unroll
          for (unsigned j = 0; j < kVector; j++) dot += query[r][j] * key.v[j];
          dot = warp_reduce<lanes>(dot, Add{});
          scores[u][r] = block.is_there(blocks[u]) && p0 + u * stride + own < seen[r] ? dot : -infinity();
        }
      }
      load(keys, call.a.key_cache, following, p0 + tile);
      take_scores(scores, largest, total, sums);
#pragma unroll
      for (unsigned u = 0; u < kUnroll; u++) {
        const Floats8 value = unpack(values[u]);
#pragma unroll
        for (unsigned r = 0; r < Rows; r++) {
#pragma unroll
          for (unsigned j = 0; j < kVector; j++) sums[r][j] += scores[u][r] * value.v[j];
        }
      }
      load(values, call.a.value_cache, following, p0 + tile);
#pragma unroll
      for (unsigned u = 0; u < kUnroll; u++) blocks[u] = following[u];
    }
    // The warp's groups of lanes, then the warps.
#pragma unroll
    for (unsigned r = 0; r < Rows; r++) {
      join_lanes<lanes>(largest[r], total[r], sums[r]);
      if (lane < lanes) {
        store8(warp_sums + (warp * Rows + r) * Size + d, Floats8{{sums[r][0], sums[r][1], sums[r][2], sums[r][3], sums[r][4], sums[r][5], sums[r][6], sums[r][7]}});
        if (lane == 0) warp_statistics[warp * Rows + r] = {largest[r], total[r]};
      }
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < Rows * Size; i += kThreads) {
      const unsigned r = i / Size, element = i % Size, row = row0 + r;
      if (row >= rows || element >= heads.head_dimension) continue;
      SoftmaxStatistic statistics[kWarps];
      float parts[kWarps][1];
#pragma unroll
      for (unsigned w = 0; w < kWarps; w++) {
        statistics[w] = warp_statistics[w * Rows + r];
        parts[w][0] = warp_sums[(w * Rows + r) * Size + element];
      }
      Merged<1> merged;
      merged.add(statistics, parts);
      block.store(lengths, block.head, row, element, merged);
    }
    __syncthreads();  // before the next rows' results
  }
  block.check_lengths();
  block.template merge_splits<1>(lengths, rows, heads.head_dimension, last);
}

}  // namespace

template <class Q, class K>
void paged_decode(Stream stream, const char* operation, const Decode<Q, K>& call) {
  const Heads& heads = call.a.heads;
  const auto run = [&](auto kernel) { launch_early(operation, kernel, decode_blocks(operation, call), kThreads, 0, stream, call); };
  // On the tensor cores otherwise.
  if constexpr (sizeof(Q) == sizeof(float)) {
    if (heads.head_dimension == 64) {
      if (heads.group == 1) return run(decode_kernel<Q, K, 64, 1, true>);
      if (heads.group <= 4) return run(decode_kernel<Q, K, 64, 4, true>);
      return run(decode_kernel<Q, K, 64, 8, true>);
    }
    if (heads.head_dimension == 128) {
      if (heads.group == 1) return run(decode_kernel<Q, K, 128, 1, true>);
      if (heads.group <= 4) return run(decode_kernel<Q, K, 128, 4, true>);
      return run(decode_kernel<Q, K, 128, 8, true>);
    }
  }
  if (heads.head_dimension < 128) return run(decode_kernel<Q, K, 128, 4, false>);
  run(decode_kernel<Q, K, 256, 4, false>);
}

template void paged_decode(Stream, const char*, const Decode<float, float>&);
template void paged_decode(Stream, const char*, const Decode<float, bfloat16>&);
template void paged_decode(Stream, const char*, const Decode<bfloat16, bfloat16>&);

}  // namespace xgen::cuda
