// The softmax of a warpgroup's 64 query rows over one block of keys after another, between two products of wgmma whose sums and left operand it is:
// what attention's forward kernels for heads of 64 and of 128 share. Online softmax: arXiv 2205.14135, algorithm 1.
//
// A row's exponents are relative to a reference that changes only where a block's sum would grow too large, so mostly no maximum is looked for.
#pragma once

#include "hopper.h"

namespace xgen::cuda::hopper {

constexpr float kSumLimit = 1e9f;  // of a lane's sum of weights in a block: beyond it the reference is too small

// A lane's part of its warpgroup's rows, l / 4 and l / 4 + 8 of its warp's sixteen: scores of a block of `keys`, `size` columns of values.
template <unsigned keys, unsigned size>
struct SoftmaxRows {
  float scores[keys / 2];
  std::uint32_t weights[keys / 4];
  float sums[size / 2] = {};
  float reference[2];   // of the exponents, in powers of two
  float total[2] = {};  // this lane's

  // `lowest`: below the exponents of all rows, those included that have seen no key.
  __device__ __forceinline__ explicit SoftmaxRows(float lowest) : reference{lowest, lowest} {}

  __device__ __forceinline__ void hold_all() {
    hold(scores);
    hold(weights);
    hold(sums);
  }

  // weights = 2^(scores * scale - reference), as the left operand of a product; the sums of a lane's columns for both rows.
  __device__ __forceinline__ void exponentials(float scale, float (&block)[2]) {
    block[0] = block[1] = 0.0f;
#pragma unroll
    for (unsigned i = 0; i < keys / 2; i += 2) {
      const unsigned row = i / 2 % 2;
      const float low = exp2_fast(fmaf(scores[i], scale, -reference[row]));
      const float high = exp2_fast(fmaf(scores[i + 1], scale, -reference[row]));
      block[row] += low + high;
      weights[i / 2] = pack_bfloat16(low, high);
    }
  }

  // New references, of the scores there are; the sums and totals so far relative to them.
  __device__ __forceinline__ void refer(float scale) {
    float shrink[2];
#pragma unroll
    for (unsigned row = 0; row < 2; row++) {
      float largest = fmaxf(scores[2 * row], scores[2 * row + 1]);
#pragma unroll
      for (unsigned i = 4; i < keys / 2; i += 4) largest = fmaxf(largest, fmaxf(scores[i + 2 * row], scores[i + 2 * row + 1]));
      largest = warp_reduce<4>(largest, [](float a, float b) { return fmaxf(a, b); });
      const float higher = fmaxf(reference[row], largest * scale);
      shrink[row] = exp2_fast(reference[row] - higher);
      reference[row] = higher;
      total[row] *= shrink[row];
    }
#pragma unroll
    for (unsigned i = 0; i < size / 2; i++) sums[i] *= shrink[i / 2 % 2];
  }

  // Of a block's scores to weights. The first block finds references that make no sum that is below the limit.
  __device__ __forceinline__ void soften(float scale) {
    float block[2];
    exponentials(scale, block);
    if (__builtin_expect(__any_sync(kFullMask, !(block[0] + block[1] < kSumLimit)), 0)) {
      refer(scale);
      exponentials(scale, block);
    }
    total[0] += block[0];
    total[1] += block[1];
  }

  // Keys after their query, and, where a document begins, before its start weigh nothing. `row`: this lane's first; `key`: the block's first.
  __device__ __forceinline__ void mask(const std::int32_t* starts, bool begins, unsigned tokens, int row, int key, unsigned lane) {
    const int column = key + static_cast<int>(lane % 4 * 2);
#pragma unroll
    for (unsigned r = 0; r < 2; r++) {
      const int at = row + static_cast<int>(8 * r);
      const int low = begins ? starts[min(at, static_cast<int>(tokens) - 1)] - column : -static_cast<int>(keys);
      const int high = at - column;
#pragma unroll
      for (unsigned i = 0; i < keys / 4; i++) {
        const int offset = static_cast<int>(i / 2 * 8 + i % 2);
        float& score = scores[i / 2 * 4 + i % 2 + 2 * r];
        if (offset < low || offset > high) score = -infinity();
      }
    }
  }
};

}  // namespace xgen::cuda::hopper
