// Softmax in parts: lanes, warps or blocks each take some of a row's keys and keep the largest exponent, the sum of exponentials over it, and the sum
// of values with those weights. Parts are merged in their order, so that a result does not depend on who was done first. Exponents are in base 2.
#pragma once

#include "xgen/cuda/device.h"

namespace xgen::cuda {

struct alignas(8) SoftmaxStatistic {
  float maximum, total;
};

// What exponents are taken over: 0 where nothing was seen yet, since -infinity less -infinity is no number.
__device__ __forceinline__ float exponent_base(float maximum) { return maximum == -infinity() ? 0.0f : maximum; }

// Takes scores into the running softmax of a thread's rows: they become weights, and what was summed before is measured by the new largest.
template <unsigned Keys, unsigned Rows, unsigned Values>
__device__ __forceinline__ void take_scores(float (&scores)[Keys][Rows], float (&largest)[Rows], float (&total)[Rows], float (&sums)[Rows][Values]) {
#pragma unroll
  for (unsigned r = 0; r < Rows; r++) {
    float maximum = largest[r];
#pragma unroll
    for (unsigned u = 0; u < Keys; u++) maximum = fmaxf(maximum, scores[u][r]);
    const float base = exponent_base(maximum), shrink = exp2_fast(largest[r] - base);
    largest[r] = maximum;
    total[r] *= shrink;
#pragma unroll
    for (unsigned j = 0; j < Values; j++) sums[r][j] *= shrink;
#pragma unroll
    for (unsigned u = 0; u < Keys; u++) {
      scores[u][r] = exp2_fast(scores[u][r] - base);
      total[r] += scores[u][r];
    }
  }
}
// Joins a row's running softmax of the warp's groups of `lanes` lanes, in all of them.
template <unsigned lanes, unsigned Values>
__device__ __forceinline__ void join_lanes(float& largest, float& total, float (&sums)[Values]) {
#pragma unroll
  for (unsigned step = lanes; step < kWarp; step *= 2) {
    const float other_largest = __shfl_xor_sync(kFullMask, largest, static_cast<int>(step)), maximum = fmaxf(largest, other_largest);
    const float base = exponent_base(maximum), shrink = exp2_fast(largest - base), other_shrink = exp2_fast(other_largest - base);
    total = total * shrink + __shfl_xor_sync(kFullMask, total, static_cast<int>(step)) * other_shrink;
#pragma unroll
    for (unsigned j = 0; j < Values; j++) sums[j] = sums[j] * shrink + __shfl_xor_sync(kFullMask, sums[j], static_cast<int>(step)) * other_shrink;
    largest = maximum;
  }
}

// Parts of one row, `Values` of its elements.
template <unsigned Values>
struct Merged {
  float maximum = -infinity(), total = 0.0f, values[Values] = {};

  // `S` has a maximum and a total. Parts without keys have a total of 0, and whatever values.
  template <unsigned count, class S>
  __device__ __forceinline__ void add(const S (&statistics)[count], const float (&parts)[count][Values]) {
    const float before = maximum;
#pragma unroll
    for (unsigned k = 0; k < count; k++) maximum = fmaxf(maximum, statistics[k].maximum);
    const float base = exponent_base(maximum), shrink = exp2_fast(before - base);
    total *= shrink;
#pragma unroll
    for (unsigned j = 0; j < Values; j++) values[j] *= shrink;
#pragma unroll
    for (unsigned k = 0; k < count; k++) {
      const float share = exp2_fast(statistics[k].maximum - base);
      total += statistics[k].total * share;
#pragma unroll
      for (unsigned j = 0; j < Values; j++) {
        if (statistics[k].total > 0.0f) values[j] += parts[k][j] * share;
      }
    }
  }
  __device__ __forceinline__ float result(unsigned j = 0) const { return total > 0.0f ? values[j] / total : 0.0f; }
};

__device__ __forceinline__ void store_values(float* to, const float (&values)[1]) { *to = values[0]; }
__device__ __forceinline__ void store_values(float* to, const float (&values)[4]) {
  store_aligned(to, make_float4(values[0], values[1], values[2], values[3]));
}

// What another block of this grid has written and announced: from the second-level cache, as the first-level cache may hold what was there before.
__device__ __forceinline__ float2 load_announced(const float2* from) {
#ifdef XGEN_CUDA_EMULATION
  return load_aligned<float2>(from);
#else
  return __ldcg(from);
#endif
}
__device__ __forceinline__ SoftmaxStatistic load_announced(const SoftmaxStatistic* from) {
  const float2 both = load_announced(reinterpret_cast<const float2*>(from));
  return {both.x, both.y};
}
__device__ __forceinline__ void load_announced(float (&to)[1], const float* from) {
#ifdef XGEN_CUDA_EMULATION
  to[0] = *from;
#else
  to[0] = __ldcg(from);
#endif
}
__device__ __forceinline__ void load_announced(float (&to)[2], const float* from) {
  const float2 both = load_announced(reinterpret_cast<const float2*>(from));
  to[0] = both.x;
  to[1] = both.y;
}

}  // namespace xgen::cuda
