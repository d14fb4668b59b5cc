// The attention of a decoding step (decoder_step.cu): rotary positions, the append of the new token's keys and values, and attention over the paged
// cache, all query heads of a group sharing one read of it.
//
// Bound by latency while contexts are short: a block loads its first keys and values before the new token's queries are computed. A sequence and
// key-value head whose context is longer than kLeastKeys is split over blocks; the block of the first split merges them, in their order.
#pragma once

#include "decoder_spans.h"

namespace xgen::cuda::decoder {

constexpr unsigned kRowsTogether = 4;  // query heads that keep their sums in registers
constexpr unsigned kSplitsTogether = 8;  // whose results are loaded together

template <unsigned Size>
constexpr unsigned attention_scratch_floats() { return kWarps * kRowsTogether * (Size + 2) + (kRowsTogether + 1) * Size; }

// cos and sin of the rows' angles, times the scaling, [row][2][Size / 2]: by `threads` threads, of which this is `thread`.
template <unsigned Size>
__device__ __forceinline__ void turns_of(const Call& a, float* turns, unsigned thread, unsigned threads) {
  constexpr unsigned half = Size / 2;
  for (unsigned i = thread; i < a.rows * half; i += threads) {
    const unsigned row = i / half, element = i % half;
    const float2 turn = cos_sin(static_cast<float>(a.positions[row]) * a.inverse_frequencies[element]);
    turns[row * Size + element] = turn.x * a.rope_scaling;
    turns[row * Size + half + element] = turn.y * a.rope_scaling;
  }
}

// Eight elements of a head from d on, and those half a head away, rotated and rounded to bfloat16.
template <unsigned Size>
__device__ __forceinline__ Packed8<bfloat16> rotated(const Packed8<bfloat16>& own, const Packed8<bfloat16>& partner, unsigned d, const float* turns) {
  constexpr unsigned half = Size / 2;
  const Floats8 x = unpack8(own), y = unpack8(partner), cosine = load8(turns + d % half), sine = load8(turns + half + d % half);
  const float sign = d < half ? -1.0f : 1.0f;
  Floats8 z;
#pragma unroll
  for (unsigned j = 0; j < kVector; j++) z.v[j] = x.v[j] * cosine.v[j] + sign * y.v[j] * sine.v[j];
  return {make_uint4(pack_bfloat16(z.v[0], z.v[1]), pack_bfloat16(z.v[2], z.v[3]), pack_bfloat16(z.v[4], z.v[5]), pack_bfloat16(z.v[6], z.v[7]))};
}

template <unsigned Rows, unsigned Size>
struct Attention {
  static constexpr unsigned kLanes = Size / kVector, kTogether = kWarp / kLanes, kStride = kWarps * kTogether, kOwn = kOwnUnroll<Rows>;
  static constexpr unsigned kNone = ~0u;
  static constexpr int kAbsent = -1, kFresh = -2;
  static_assert(kPrefetchedKeys >= kStride * kOwn && kOwn >= kUnroll && (kRowsTogether + 2) * kLanes <= kThreads);
  const Call& a;
  const Span* spans;
  const float* turns;
  int* window;  // the caches' rows of kPrefetchedKeys positions from window_from on
  float* scratch;
  unsigned window_from = kNone;
  unsigned tasks, chunks;  // of all blocks; of the query heads of a key-value head
  unsigned last = 0;       // of the block's tasks
  bool early;  // the block has one task, whose first keys and values are asked for ahead
  Task task = {};
  int rows[kOwn];
  Packed8<bfloat16> keys[kOwn], values[kOwn];

  using Split = Splitting<kStride, kStride * kOwn>;
  __device__ __forceinline__ Attention(const Call& call, const Split& splitting, const Span* s, const float* t, int* w, float* x)
      : a(call), spans(s), turns(t), window(w), scratch(x) {
    chunks = splitting.own_heads ? a.heads.group : 1;
    tasks = a.rows * a.heads.key_value_heads * splitting.most_used * chunks;
    unsigned active = 0;
    for (unsigned number = blockIdx.x; number < tasks; number += gridDim.x) {
      Task found;
      if (!task_of(a, spans, chunks, number, found)) continue;
      active++;
      task = found;
    }
    early = active == 1;
    if (blockIdx.x < tasks) last = blockIdx.x + (tasks - 1 - blockIdx.x) / gridDim.x * gridDim.x;
  }
  __device__ __forceinline__ unsigned own() const { return threadIdx.x / kWarp * kTogether + threadIdx.x % kWarp / kLanes; }
  __device__ __forceinline__ unsigned element() const { return threadIdx.x % kLanes * kVector; }

  // The window has the rows of `keys` from p0 on.
  __device__ __forceinline__ void move_window(unsigned p0, unsigned count) {
    if (window_from != kNone && p0 >= window_from && p0 + count <= window_from + kPrefetchedKeys) return;
    XGEN_SYNC_WORKERS();
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < kPrefetchedKeys && p0 + i < task.end; i += kThreads) window[i] = cache_row(a, task.sequence, p0 + i);
    XGEN_SYNC_WORKERS();
    window_from = p0;
  }
  template <unsigned Unroll>
  __device__ __forceinline__ void look_up(unsigned p0) {
    const Span& span = spans[task.sequence];
#pragma unroll
    for (unsigned u = 0; u < Unroll; u++) {
      const unsigned position = p0 + u * kStride + own();
      rows[u] = position >= task.end ? kAbsent : span.fresh && position + 1 == span.context ? kFresh : window[position - window_from];
    }
  }
  template <unsigned Unroll>
  __device__ __forceinline__ void load(Packed8<bfloat16> (&to)[kOwn], const void* cache) const {
#pragma unroll
    for (unsigned u = 0; u < Unroll; u++) {
      to[u] = {};
      if (rows[u] >= 0) to[u] = load_packed8(static_cast<const bfloat16*>(cache) + (std::size_t(rows[u]) * a.heads.key_value_heads + task.head) * Size + element());
    }
  }
  template <unsigned Unroll>
  __device__ __forceinline__ void load_tile(unsigned layer, unsigned p0) {
    move_window(p0, kStride * Unroll);
    look_up<Unroll>(p0);
    load<Unroll>(keys, a.layers[layer].key_cache);
    load<Unroll>(values, a.layers[layer].value_cache);
  }
  // Asks for what the layer's attention reads: into the second-level cache, half a layer ahead; then into registers.
  __device__ __forceinline__ void bring(unsigned layer) {
    if (early) move_window(task.begin, kStride * kOwn);
    bring_early<Size>(a, layer, early, task, window);
  }
  __device__ __forceinline__ void load_first(unsigned layer) {
    if (!early) return;
    if (chunks == a.heads.group) {
      load_tile<kOwn>(layer, task.begin);
    } else {
      load_tile<kUnroll>(layer, task.begin);
    }
  }

  // The new token's queries, and key and value, to shared memory: a few threads wait for the qkv product and rotate them.
  __device__ __forceinline__ void stage(const Exchange& exchange, unsigned row0, unsigned staged, bool newest_too, float* queries, bfloat16* newest) const {
    const Heads& heads = a.heads;
    const bfloat16* const qkv = exchange.qkv + task.sequence * heads.row();
    const unsigned part = threadIdx.x / kLanes, d = element();
    if (part < staged + (newest_too ? 2 : 0)) {
      const bool value = part == staged + 1;
      const bfloat16* const from =
          qkv + (part < staged ? heads.query(task.head * heads.group + row0 + part) : value ? heads.value(task.head) : heads.key(task.head));
      Packed8<bfloat16> own_part, partner;
      await([&] {
        own_part.a = look4(from + d);
        partner.a = look4(from + (d ^ Size / 2));
        return !lacks_bfloat16(own_part.a) && (value || !lacks_bfloat16(partner.a));
      });
      if (!value) own_part = rotated<Size>(own_part, partner, d, turns + task.sequence * Size);
      if (part < staged) {
        Floats8 x = unpack8(own_part);
#pragma unroll
        for (unsigned j = 0; j < kVector; j++) x.v[j] *= heads.scale * kLog2E;
        store8(queries + part * Size + d, x);
      } else {
        store_aligned(newest + (part - staged) * Size + d, own_part.a);
      }
    }
    XGEN_SYNC_WORKERS();
  }

  __device__ __forceinline__ void attend(unsigned layer, const Exchange& exchange) {
    if (blockIdx.x >= tasks) return;
    // Later splits come first, so that none waits for a task that its own block has still to do.
#pragma unroll 1
    for (unsigned number = last;; number -= gridDim.x) {
      if (!early) window_from = kNone;
      if (early || task_of(a, spans, chunks, number, task)) {
        if (chunks == a.heads.group) {
          attend_task<1, kOwn>(layer, exchange, task.chunk, task.chunk + 1);
        } else {
          attend_task<kRowsTogether, kUnroll>(layer, exchange, 0, a.heads.group);
        }
      }
      if (early || number == blockIdx.x) break;
    }
  }

 private:
  // Of the key-value head's query heads those from row_begin to row_end, `Together` at a time.
  template <unsigned Together, unsigned Unroll>
  __device__ __forceinline__ void attend_task(unsigned layer, const Exchange& exchange, unsigned row_begin, unsigned row_end) {
    constexpr unsigned kTile = kStride * Unroll;
    const Heads& heads = a.heads;
    const Span span = spans[task.sequence];
    const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, d = element();
    float* const warp_sums = scratch;  // [kWarps][Together][Size]
    Statistic* const warp_statistics = reinterpret_cast<Statistic*>(scratch + kWarps * Together * Size);
    float* const queries = scratch + kWarps * Together * (Size + 2);                  // [Together][Size], scaled
    bfloat16* const newest = reinterpret_cast<bfloat16*>(queries + Together * Size);  // key, value
    const bool fresh = span.fresh && span.context > task.begin && span.context <= task.end, append = span.append && task.split == 0 && row_begin == 0;
#pragma unroll 1
    for (unsigned row0 = row_begin; row0 < row_end; row0 += Together) {
      const unsigned together = row_end - row0 < Together ? row_end - row0 : Together;
      if (!early || row0 > row_begin) load_tile<Unroll>(layer, task.begin);
      stage(exchange, row0, together, row0 == row_begin && (fresh || append), queries, newest);
      if (append && row0 == row_begin && threadIdx.x < kLanes) {
        const std::size_t to = (std::size_t(span.slot) * heads.key_value_heads + task.head) * Size + d;
        store_aligned(static_cast<bfloat16*>(a.layers[layer].key_cache) + to, load_packed8(newest + d).a);
        store_aligned(static_cast<bfloat16*>(a.layers[layer].value_cache) + to, load_packed8(newest + Size + d).a);
      }
      float query[Together][kVector], sums[Together][kVector], largest[Together], total[Together];
#pragma unroll
      for (unsigned r = 0; r < Together; r++) {
        const Floats8 x = load8(queries + (r < together ? r : 0) * Size + d);
        largest[r] = -infinity();
        total[r] = 0.0f;
#pragma unroll
        for (unsigned j = 0; j < kVector; j++) {
          query[r][j] = x.v[j];
          sums[r][j] = 0.0f;
        }
      }
#pragma unroll 1
      for (unsigned p0 = task.begin; p0 < task.end; p0 += kTile) {
        float scores[Unroll][Together];
        const unsigned left = task.end - p0;
#pragma unroll
        for (unsigned u = 0; u < Unroll; u++) {
          if (u * kStride >= left) {
#pragma unroll
            for (unsigned r = 0; r < Together; r++) scores[u][r] = -infinity();
            continue;
          }
          if (rows[u] == kFresh) {
            keys[u] = load_packed8(newest + d);
            values[u] = load_packed8(newest + Size + d);
          }
          const Floats8 key = unpack8(keys[u]);
#pragma unroll
          for (unsigned r = 0; r < Together; r++) {
            float dot = 0.0f;
#pragma unroll
            for (unsigned j = 0; j < kVector; j++) dot += query[r][j] * key.v[j];
            dot = warp_reduce<kLanes>(dot, Add{});
            scores[u][r] = rows[u] != kAbsent ? dot : -infinity();
          }
        }
        const bool more = p0 + kTile < task.end;
        if (more) {
          move_window(p0 + kTile, kTile);
          look_up<Unroll>(p0 + kTile);
          load<Unroll>(keys, a.layers[layer].key_cache);
        }
        take_scores(scores, largest, total, sums);
#pragma unroll
        for (unsigned u = 0; u < Unroll; u++) {
          if (u * kStride >= left) continue;
          const Floats8 value = unpack8(values[u]);
#pragma unroll
          for (unsigned r = 0; r < Together; r++) {
#pragma unroll
            for (unsigned j = 0; j < kVector; j++) sums[r][j] += scores[u][r] * value.v[j];
          }
        }
        if (more) load<Unroll>(values, a.layers[layer].value_cache);
      }
      // The warp's groups of lanes, then the warps.
#pragma unroll
      for (unsigned r = 0; r < Together; r++) {
        join_lanes<kLanes>(largest[r], total[r], sums[r]);
        if (lane < kLanes) {
          float* const to = warp_sums + (warp * Together + r) * Size + d;
          store_aligned(to, make_float4(sums[r][0], sums[r][1], sums[r][2], sums[r][3]));
          store_aligned(to + 4, make_float4(sums[r][4], sums[r][5], sums[r][6], sums[r][7]));
          if (lane == 0) warp_statistics[warp * Together + r] = {largest[r], total[r]};
        }
      }
      XGEN_SYNC_WORKERS();
#pragma unroll 1
      for (unsigned i = threadIdx.x; i < together * Size; i += kThreads) {
        const unsigned r = i / Size, element_of = i % Size, row = row0 + r;
        float maximum = -infinity(), sum = 0.0f, result = 0.0f;
#pragma unroll
        for (unsigned w = 0; w < kWarps; w++) maximum = fmaxf(maximum, warp_statistics[w * Together + r].maximum);
        const float base = exponent_base(maximum);
#pragma unroll
        for (unsigned w = 0; w < kWarps; w++) {
          const float shrink = exp2_fast(warp_statistics[w * Together + r].maximum - base);
          sum += warp_statistics[w * Together + r].total * shrink;
          result += warp_sums[(w * Together + r) * Size + element_of] * shrink;
        }
        const auto unit_of = [&](unsigned split) { return (split * a.rows * heads.key_value_heads + task.pair) * heads.group + row; };
        if (task.split > 0) {
          publish(exchange.partial + unit_of(task.split) * Size + element_of, result);
          if (element_of == 0) {
            publish(&exchange.statistics[unit_of(task.split)].maximum, maximum);
            publish(&exchange.statistics[unit_of(task.split)].total, sum);
          }
          continue;
        }
        merge_splits(exchange, span.used, unit_of, element_of, maximum, sum, result);
        publish(exchange.attended + task.sequence * heads.out_row() + heads.query(task.head * heads.group + row) + element_of, sum > 0.0f ? result / sum : 0.0f);
      }
      XGEN_SYNC_WORKERS();  // before the next rows' results
    }
  }
  template <class Unit>
  __device__ __forceinline__ void merge_splits(const Exchange& exchange, unsigned used, Unit&& unit_of, unsigned element_of, float& maximum, float& sum,
                                               float& result) const {
#pragma unroll 1
    for (unsigned first = 1; first < used; first += kSplitsTogether) {
      uint2 statistics[kSplitsTogether];
      std::uint32_t parts[kSplitsTogether];
      bool lacks[kSplitsTogether];
#pragma unroll
      for (unsigned k = 0; k < kSplitsTogether; k++) {
        lacks[k] = first + k < used;
        statistics[k] = make_uint2(__float_as_uint(-infinity()), 0);
        parts[k] = 0;
      }
      await([&] {
#pragma unroll
        for (unsigned k = 0; k < kSplitsTogether; k++) {
          if (!lacks[k]) continue;
          statistics[k] = look2(exchange.statistics + unit_of(first + k));
          parts[k] = look1(exchange.partial + unit_of(first + k) * Size + element_of);
        }
        bool there = true;
#pragma unroll
        for (unsigned k = 0; k < kSplitsTogether; k++) {
          lacks[k] = lacks[k] && (lacks_float(statistics[k]) || lacks_float(parts[k]));
          there = there && !lacks[k];
        }
        return there;
      });
      const float before = maximum;
#pragma unroll
      for (unsigned k = 0; k < kSplitsTogether; k++) maximum = fmaxf(maximum, __uint_as_float(statistics[k].x));
      const float base = exponent_base(maximum), shrink = exp2_fast(before - base);
      sum *= shrink;
      result *= shrink;
#pragma unroll
      for (unsigned k = 0; k < kSplitsTogether; k++) {
        const float share = exp2_fast(__uint_as_float(statistics[k].x) - base);
        sum += __uint_as_float(statistics[k].y) * share;
        result += __uint_as_float(parts[k]) * share;
      }
    }
  }
};

}  // namespace xgen::cuda::decoder
