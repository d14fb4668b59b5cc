// The attention of a decoding step (decoder_step.cu): rotary positions, the append of the new token's keys and values, and attention over the paged
// cache, all query heads of a group sharing one read of it.
//
// Bound by latency while contexts are short: a block looks up and loads its first keys and values before it waits for the new token's queries. A
// sequence and key-value head whose context is longer than kLeastKeys is split over blocks; where there are many splits, the block that is done last
// merges them, in their order, else whoever reads the result.
#pragma once

#include "decoder_spans.h"

namespace xgen::cuda::decoder {

constexpr unsigned kRowsTogether = 4;  // query heads that keep their sums in registers
constexpr unsigned kSplitsTogether = 8;  // whose results are loaded together

template <unsigned Size, unsigned Warps>
constexpr unsigned attention_scratch_floats() { return Warps * kRowsTogether * (Size + 2); }

// cos and sin of the rows' angles, times the scaling, [row][2][Size / 2].
template <unsigned Size, unsigned Warps>
__device__ __forceinline__ void turns_of(const Call& a, float* turns) {
  constexpr unsigned half = Size / 2;
  for (unsigned i = threadIdx.x; i < a.rows * half; i += Warps * kWarp) {
    const unsigned row = i / half, element = i % half;
    const float2 turn = cos_sin(static_cast<float>(a.positions[row]) * a.inverse_frequencies[element]);
    turns[row * Size + element] = turn.x * a.rope_scaling;
    turns[row * Size + half + element] = turn.y * a.rope_scaling;
  }
}

// Eight elements of a head from d on, rotated and rounded to bfloat16.
template <unsigned Size>
__device__ __forceinline__ Packed8<bfloat16> rotated(const bfloat16* head, unsigned d, const float* turns) {
  constexpr unsigned half = Size / 2;
  const Packed8<bfloat16> own = {load_shared(head + d)}, partner = {load_shared(head + (d ^ half))};
  const Floats8 x = unpack8(own), y = unpack8(partner), cosine = load8(turns + d % half), sine = load8(turns + half + d % half);
  const float sign = d < half ? -1.0f : 1.0f;
  Floats8 z;
#pragma unroll
  for (unsigned j = 0; j < kVector; j++) z.v[j] = x.v[j] * cosine.v[j] + sign * y.v[j] * sine.v[j];
  return {make_uint4(pack_bfloat16(z.v[0], z.v[1]), pack_bfloat16(z.v[2], z.v[3]), pack_bfloat16(z.v[4], z.v[5]), pack_bfloat16(z.v[6], z.v[7]))};
}

// Expects on `grid` the arrivals of the qkv product, and waits for them before it reads any; then arrives as attention_arrivals says.
template <unsigned Size, unsigned Warps>
__device__ __forceinline__ void attend(const Call& a, unsigned layer, Grid& grid, const float* turns, const Span* spans, float* scratch, unsigned* flag) {
  constexpr unsigned kThreads = Warps * kWarp, kUnroll = 4;
  constexpr unsigned lanes = Size / kVector, together = kWarp / lanes, stride = Warps * together, tile = stride * kUnroll;
  constexpr int kAbsent = -1, kFresh = -2;
  const Heads& heads = a.heads;
  const bfloat16* const key_cache = static_cast<const bfloat16*>(a.layers[layer].key_cache);
  const bfloat16* const value_cache = static_cast<const bfloat16*>(a.layers[layer].value_cache);
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, own = warp * together + lane / lanes, d = lane % lanes * kVector;
  const unsigned pairs = a.rows * heads.key_value_heads, width = heads.key_value_heads * Size;
  float* const warp_sums = scratch;
  Statistic* const warp_statistics = reinterpret_cast<Statistic*>(scratch + Warps * kRowsTogether * Size);
  bool waited = false;
  grid.expect(gridDim.x);

  for (unsigned task = blockIdx.x; task < pairs * a.splits; task += gridDim.x) {
    const unsigned pair = task % pairs, split = task / pairs, sequence = pair / heads.key_value_heads, head = pair % heads.key_value_heads;
    const Span span = spans[sequence];
    const unsigned context = span.context, length = span.length, used = span.used;
    if (split >= used) continue;
    const unsigned begin = split * length, end = begin + length < context ? begin + length : context;
    const auto row_of = [&](unsigned position) {
      return cache_row(a, sequence, position, [&](unsigned block, std::int32_t entry) {
        if (d == 0) report(a.pages_error, DeviceError::block_tables, static_cast<std::int64_t>(std::size_t{sequence} * a.max_blocks + block), entry);
      });
    };
    const std::int32_t slot = a.slots[sequence];
    const bool slot_good = slot >= 0 && static_cast<unsigned>(slot) < a.cache_blocks * a.block_size;
    if (threadIdx.x == 0 && split == 0) {
      if (span.bad) report(a.pages_error, DeviceError::context_lengths, sequence, a.context_lengths[sequence]);
      if (!slot_good && slot != kUnused) report(a.slots_error, DeviceError::slots, sequence, slot);
    }
    bool append = slot_good && split == 0;
    for (unsigned later = sequence + 1; later < a.rows; later++) append = append && a.slots[later] != slot;
    const unsigned newest = context - 1;
    const bool fresh = slot_good && newest >= begin && newest < end && row_of(newest) == slot;

    int rows[kUnroll];
    Packed8<bfloat16> keys[kUnroll], values[kUnroll], fresh_key = {}, fresh_value = {};
    const auto look_up = [&](unsigned p0) {
#pragma unroll
      for (unsigned u = 0; u < kUnroll; u++) {
        const unsigned position = p0 + u * stride + own;
        rows[u] = position >= end ? kAbsent : (fresh && position == newest ? kFresh : row_of(position));
      }
    };
    const auto load = [&](Packed8<bfloat16>(&to)[kUnroll], const bfloat16* cache, const Packed8<bfloat16>& newest_part) {
#pragma unroll
      for (unsigned u = 0; u < kUnroll; u++) {
        to[u] = newest_part;
        if (rows[u] >= 0) to[u] = load_packed8(cache + std::size_t(rows[u]) * width + head * Size + d);
      }
    };
    look_up(begin);
    load(keys, key_cache, fresh_key);
    load(values, value_cache, fresh_value);
    if (!waited) grid.wait();
    waited = true;

    const bfloat16* const qkv = a.qkv + sequence * heads.row();
    const float* const turn = turns + sequence * Size;
    if (fresh || append) {
      fresh_key = rotated<Size>(qkv + heads.key(head), d, turn);
      fresh_value = {load_shared(qkv + heads.value(head) + d)};
      if (append && threadIdx.x < lanes) {
        const std::size_t to = std::size_t(slot) * width + head * Size + d;
        store_aligned(static_cast<bfloat16*>(a.layers[layer].key_cache) + to, fresh_key.a);
        store_aligned(static_cast<bfloat16*>(a.layers[layer].value_cache) + to, fresh_value.a);
      }
    }
#pragma unroll
    for (unsigned u = 0; u < kUnroll; u++) {
      if (rows[u] != kFresh) continue;
      keys[u] = fresh_key;
      values[u] = fresh_value;
    }

    for (unsigned row0 = 0; row0 < heads.group; row0 += kRowsTogether) {
      if (row0 > 0) {
        look_up(begin);
        load(keys, key_cache, fresh_key);
        load(values, value_cache, fresh_value);
      }
      float query[kRowsTogether][kVector], sums[kRowsTogether][kVector], largest[kRowsTogether], total[kRowsTogether];
#pragma unroll
      for (unsigned r = 0; r < kRowsTogether; r++) {
        const unsigned row = row0 + r < heads.group ? row0 + r : row0;
        const Floats8 x = unpack8(rotated<Size>(qkv + heads.query(head * heads.group + row), d, turn));
        largest[r] = -infinity();
        total[r] = 0.0f;
#pragma unroll
        for (unsigned j = 0; j < kVector; j++) {
          query[r][j] = x.v[j] * (heads.scale * kLog2E);
          sums[r][j] = 0.0f;
        }
      }
      for (unsigned p0 = begin; p0 < end; p0 += tile) {
        float scores[kUnroll][kRowsTogether];
#pragma unroll
        for (unsigned u = 0; u < kUnroll; u++) {
          const Floats8 key = unpack8(keys[u]);
#pragma unroll
          for (unsigned r = 0; r < kRowsTogether; r++) {
            float dot = 0.0f;
#pragma unroll
            for (unsigned j = 0; j < kVector; j++) dot += query[r][j] * key.v[j];
            dot = warp_reduce<lanes>(dot, Add{});
            scores[u][r] = rows[u] != kAbsent ? dot : -infinity();
          }
        }
        look_up(p0 + tile);
        load(keys, key_cache, fresh_key);
#pragma unroll
        for (unsigned r = 0; r < kRowsTogether; r++) {
          float maximum = largest[r];
#pragma unroll
          for (unsigned u = 0; u < kUnroll; u++) maximum = fmaxf(maximum, scores[u][r]);
          const float base = exponent_base(maximum), shrink = exp2_fast(largest[r] - base);
          largest[r] = maximum;
          total[r] *= shrink;
#pragma unroll
          for (unsigned j = 0; j < kVector; j++) sums[r][j] *= shrink;
#pragma unroll
          for (unsigned u = 0; u < kUnroll; u++) {
            scores[u][r] = exp2_fast(scores[u][r] - base);
            total[r] += scores[u][r];
          }
        }
#pragma unroll
        for (unsigned u = 0; u < kUnroll; u++) {
          const Floats8 value = unpack8(values[u]);
#pragma unroll
          for (unsigned r = 0; r < kRowsTogether; r++) {
#pragma unroll
            for (unsigned j = 0; j < kVector; j++) sums[r][j] += scores[u][r] * value.v[j];
          }
        }
        load(values, value_cache, fresh_value);
      }
      // The warp's groups of lanes, then the warps.
#pragma unroll
      for (unsigned r = 0; r < kRowsTogether; r++) {
#pragma unroll
        for (unsigned step = lanes; step < kWarp; step *= 2) {
          const float other_largest = __shfl_xor_sync(kFullMask, largest[r], static_cast<int>(step)), maximum = fmaxf(largest[r], other_largest);
          const float base = exponent_base(maximum), shrink = exp2_fast(largest[r] - base), other_shrink = exp2_fast(other_largest - base);
          total[r] = total[r] * shrink + __shfl_xor_sync(kFullMask, total[r], static_cast<int>(step)) * other_shrink;
#pragma unroll
          for (unsigned j = 0; j < kVector; j++) {
            sums[r][j] = sums[r][j] * shrink + __shfl_xor_sync(kFullMask, sums[r][j], static_cast<int>(step)) * other_shrink;
          }
          largest[r] = maximum;
        }
        if (lane < lanes) {
          float* const to = warp_sums + (warp * kRowsTogether + r) * Size + d;
          store_aligned(to, make_float4(sums[r][0], sums[r][1], sums[r][2], sums[r][3]));
          store_aligned(to + 4, make_float4(sums[r][4], sums[r][5], sums[r][6], sums[r][7]));
          if (lane == 0) warp_statistics[warp * kRowsTogether + r] = {largest[r], total[r]};
        }
      }
      __syncthreads();
      for (unsigned i = threadIdx.x; i < kRowsTogether * Size; i += kThreads) {
        const unsigned r = i / Size, element = i % Size, row = row0 + r;
        if (row >= heads.group) continue;
        Statistic statistics[Warps];
        float parts[Warps][1];
#pragma unroll
        for (unsigned w = 0; w < Warps; w++) {
          statistics[w] = warp_statistics[w * kRowsTogether + r];
          parts[w][0] = warp_sums[(w * kRowsTogether + r) * Size + element];
        }
        Merged<1> merged;
        merged.add(statistics, parts);
        if (used == 1) {
          from_float(merged.result(), a.attended[sequence * heads.out_row() + heads.query(head * heads.group + row) + element]);
        } else {
          const std::size_t unit = (std::size_t{pair} * a.splits + split) * heads.group + row;
          a.partial[unit * Size + element] = merged.values[0];
          if (element == 0) a.statistics[unit] = {merged.maximum, merged.total};
        }
      }
      __syncthreads();  // before the next rows' results
    }
    if (used > kMergedByReaders) {
      if (threadIdx.x == 0) {
        std::uint32_t* const arrivals = a.counters + kPairs + pair;
        const bool last = add_and_see(arrivals) + 1 == used;
        if (last) *arrivals = 0;
        *flag = last ? 1 : 0;
      }
      __syncthreads();
      const bool last = *flag != 0;
      __syncthreads();
      if (!last) continue;
      for (unsigned i = threadIdx.x; i < heads.group * Size; i += kThreads) {
        const unsigned row = i / Size, element = i % Size;
        Merged<1> merged;
        for (unsigned first = 0; first < used; first += kSplitsTogether) {
          Statistic statistics[kSplitsTogether];
          float parts[kSplitsTogether][1];
#pragma unroll
          for (unsigned k = 0; k < kSplitsTogether; k++) {
            statistics[k] = {-infinity(), 0.0f};
            parts[k][0] = 0.0f;
            if (first + k >= used) continue;
            const std::size_t unit = (std::size_t{pair} * a.splits + first + k) * heads.group + row;
            statistics[k] = load_shared(a.statistics + unit);
            parts[k][0] = load_shared(a.partial + unit * Size + element);
          }
          merged.add(statistics, parts);
        }
        from_float(merged.result(), a.attended[sequence * heads.out_row() + heads.query(head * heads.group + row) + element]);
      }
    }
    grid.arrive();
  }
}

}  // namespace xgen::cuda::decoder
