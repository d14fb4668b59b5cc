// The products of a decoding step (decoder_step.cu): a block's share of outputs, its warps by turns, with x in shared memory.
//
// The tensor cores multiply, with both rows of a pair as the left operand and x as the right one: lanes 4 g ... 4 g + 3 have row g of the first, row g + 8
// of the second, and column g of x. A lane has the same elements of the rows and of x, so the result's two diagonals are sums of eight parts each
// of the two dot products.
#pragma once

#include "decoder_stream.h"

namespace xgen::cuda::decoder {

constexpr unsigned kWarps = 8;
constexpr unsigned kChunks = kPiece / (kWarp * kVector);  // 16-byte parts of a piece, of a lane

// As it would be after being stored.
__device__ __forceinline__ float rounded(float x) { return low_bfloat16(pack_bfloat16(x, 0.0f)); }

// Dot products of a pair's two pieces with row r of x: sums of which lanes have parts.
struct Sums {
  float c[2][2][4] = {};  // four of each, so that products need not wait for each other

  __device__ __forceinline__ void add(unsigned i, const uint4& w0, const uint4& w1, const uint4& x) {
    const std::uint32_t low[4] = {w0.x, w1.x, w0.y, w1.y}, high[4] = {w0.z, w1.z, w0.w, w1.w};
    multiply_add(c[i % 2][0], low, x.x, x.y);
    multiply_add(c[i % 2][1], high, x.z, x.w);
  }
  // Lane 4 g + g / 2 has part g.
  __device__ __forceinline__ float part(unsigned which) const {
    const unsigned k = 2 * which;
    const float even = (c[0][0][k] + c[1][0][k]) + (c[0][1][k] + c[1][1][k]);
    const float odd = (c[0][0][k + 1] + c[1][0][k + 1]) + (c[0][1][k + 1] + c[1][1][k + 1]);
    return threadIdx.x / 4 % 2 == 0 ? even : odd;
  }
};
// The parts added up, to lane 0: they stand at 9 t and 9 t + 4.
__device__ __forceinline__ float add_parts(float part) {
  part += __shfl_xor_sync(kFullMask, part, 4);
  part += __shfl_xor_sync(kFullMask, part, 9);
  return part + __shfl_xor_sync(kFullMask, part, 18);
}

template <unsigned Rows, unsigned Size>
struct Block {
  static constexpr unsigned kThreads = kWarps * kWarp;
  static constexpr unsigned kKept = 2;  // parts of a row of the stream that stay in registers while it is normalised
  const Call& a;
  const Share* shares;
  bfloat16* x;     // [Rows][depth]
  float* sums;     // [pair of pieces][Rows][2]
  float* scratch;  // [kWarps][Rows]
  Ring ring;
  Cursor<kWarps> next;  // what the ring is filled with
  unsigned index;       // of the warp's next pair in its product

  // x = rows of `from`.
  __device__ __forceinline__ void load(const bfloat16* from, unsigned depth) {
    const unsigned pieces = a.rows * depth / kVector;
#pragma unroll 4
    for (unsigned i = threadIdx.x; i < pieces; i += kThreads) store_aligned(x + i * kVector, load_shared(from + i * kVector));
    __syncthreads();
  }

  // A norm's weight, as far as it stays in registers: loaded before the barrier that the stream waits for.
  struct Norm {
    Floats8 kept[kKept];
  };
  __device__ __forceinline__ unsigned part_at(unsigned k) const { return (k * kThreads + threadIdx.x) * kVector; }
  __device__ __forceinline__ Norm norm_of(const void* weight) const {
    Norm norm;
#pragma unroll
    for (unsigned k = 0; k < kKept; k++) norm.kept[k] = part_at(k) < a.width ? load8(weight, a.norm_type, part_at(k)) : Floats8{};
    return norm;
  }

  // x = rows of the stream over their root mean square, times the norm's weight.
  __device__ __forceinline__ void load_normalized(const bfloat16* from, const void* weight, const Norm& norm) {
    const unsigned warp = threadIdx.x / kWarp;
    Packed8<bfloat16> kept[Rows][kKept];
    float squares[Rows] = {};
#pragma unroll
    for (unsigned k = 0; k < kKept; k++) {
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) {
        kept[r][k] = {};
        if (part_at(k) < a.width && r < a.rows) kept[r][k].a = load_shared(from + r * a.width + part_at(k));
      }
    }
    const auto square = [&](const Packed8<bfloat16>& part, float& sum) {
      const Floats8 own = unpack8(part);
#pragma unroll
      for (unsigned j = 0; j < kVector; j++) sum += own.v[j] * own.v[j];
    };
#pragma unroll
    for (unsigned k = 0; k < kKept; k++) {
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) square(kept[r][k], squares[r]);
    }
    for (unsigned at = part_at(kKept); at < a.width; at += kThreads * kVector) {
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) {
        if (r < a.rows) square({load_shared(from + r * a.width + at)}, squares[r]);
      }
    }
#pragma unroll
    for (unsigned r = 0; r < Rows; r++) {
      squares[r] = warp_reduce(squares[r], Add{});
      if (threadIdx.x % kWarp == 0) scratch[warp * Rows + r] = squares[r];
    }
    __syncthreads();
    float inverse[Rows];
#pragma unroll
    for (unsigned r = 0; r < Rows; r++) {
      float total = 0.0f;
#pragma unroll
      for (unsigned i = 0; i < kWarps; i++) total += scratch[i * Rows + r];
      inverse[r] = rsqrtf(total / static_cast<float>(a.width) + a.epsilon);
    }
    const auto put = [&](unsigned r, unsigned at, const Packed8<bfloat16>& part, const Floats8& w) {
      Floats8 y = unpack8(part);
#pragma unroll
      for (unsigned j = 0; j < kVector; j++) y.v[j] *= inverse[r] * w.v[j];
      store8(x + r * a.width + at, y);
    };
#pragma unroll
    for (unsigned k = 0; k < kKept; k++) {
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) {
        if (part_at(k) < a.width && r < a.rows) put(r, part_at(k), kept[r][k], norm.kept[k]);
      }
    }
    for (unsigned at = part_at(kKept); at < a.width; at += kThreads * kVector) {
      const Floats8 w = load8(weight, a.norm_type, at);
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) {
        if (r < a.rows) put(r, at, {load_shared(from + r * a.width + at)}, w);
      }
    }
    __syncthreads();
  }

  // The warp's pairs of pieces of a product, times x, into sums.
  __device__ __forceinline__ void multiply(const Product& product) {
    const unsigned lane = threadIdx.x % kWarp, total = product.pairs(), elements = product.elements;
    constexpr bool kHeld = Rows <= 2;  // x stays in registers while pieces are of one part of a row
    uint4 held[kHeld ? kChunks : 1][Rows];
    unsigned segment = product.segments == 1 ? 0 : index % product.segments;
    const unsigned segment_step = product.segments == 1 ? 0 : kWarps % product.segments;
    const auto load_x = [&](unsigned i, uint4(&to)[Rows]) {
      const bfloat16* const from = x + segment * elements + (i * kWarp + lane) * kVector;
      const bool there = (i * kWarp + lane) * kVector < elements;
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) to[r] = there ? load_aligned<uint4>(from + (r < a.rows ? r : 0) * product.depth) : make_uint4(0, 0, 0, 0);
    };
    const auto load_all = [&] {
      if constexpr (kHeld) {
#pragma unroll
        for (unsigned i = 0; i < kChunks; i++) load_x(i, held[i]);
      }
    };
    load_all();
    float parts[Rows][2] = {};  // of the pair before
    unsigned before = ~0u;
    const auto finish = [&] {
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) {
        const float2 both = make_float2(add_parts(parts[r][0]), add_parts(parts[r][1]));
        if (lane == 0) store_aligned(sums + (before * Rows + r) * 2, both);
      }
    };
    for (; index < total; index += kWarps) {
      const bfloat16* const pair = ring.front() + lane * kVector;
      uint4 w[kChunks][2];
#pragma unroll
      for (unsigned i = 0; i < kChunks; i++) {
        const bool there = elements == kPiece || (i * kWarp + lane) * kVector < elements;
#pragma unroll
        for (unsigned k = 0; k < 2; k++) w[i][k] = there ? load_aligned<uint4>(pair + k * kPiece + i * kWarp * kVector) : make_uint4(0, 0, 0, 0);
      }
      if (before != ~0u) finish();
      Sums own[Rows];
#pragma unroll
      for (unsigned i = 0; i < kChunks; i++) {
        uint4 part[Rows];
        if constexpr (!kHeld) load_x(i, part);
#pragma unroll
        for (unsigned r = 0; r < Rows; r++) own[r].add(i, w[i][0], w[i][1], kHeld ? held[kHeld ? i : 0][r] : part[r]);
      }
      if (next.there()) {
        ring.fill(ring.slot, next);
        next.advance(a, shares);
      }
      ring.next();
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) {
        parts[r][0] = own[r].part(0);
        parts[r][1] = own[r].part(1);
      }
      before = index;
      if (segment_step != 0) {
        segment += segment_step;
        if (segment >= product.segments) segment -= product.segments;
        load_all();
      }
    }
    if (before != ~0u) finish();
    index -= total;
    __syncthreads();
  }

  // The dot product of a row of x with the first or second row of pair `pair` (of rows).
  __device__ __forceinline__ float sum_of(const Product& product, unsigned pair, unsigned which, unsigned row) const {
    float sum = 0.0f;
    for (unsigned s = 0; s < product.segments; s++) sum += sums[((pair * product.segments + s) * Rows + row) * 2 + which];
    return sum;
  }
  // Calls f(row, output, its place in the share, f's number for this thread) for all of the block's results.
  template <class F>
  __device__ __forceinline__ void results(const Product& product, F&& f) const {
    const unsigned count = product.share.count;
    for (unsigned k = threadIdx.x; k < count * a.rows; k += kThreads) {
      const unsigned row = Rows == 1 ? 0 : k / count, i = k - row * count;
      f(row, product.share.first + i, i);
    }
  }
  // stream + the product, whose first results' part of the stream is loaded before it is multiplied.
  __device__ __forceinline__ void multiply_residual(const Product& product, const bfloat16* stream) {
    const unsigned count = product.share.count;
    const auto at = [&](unsigned row, unsigned output) { return std::size_t{row} * a.width + output; };
    float first = 0.0f;
    if (threadIdx.x < count * a.rows) {
      const unsigned row = Rows == 1 ? 0 : threadIdx.x / count;
      first = load_shared_value(stream + at(row, product.share.first + threadIdx.x - row * count));
    }
    multiply(product);
    bool early = true;
    results(product, [&](unsigned row, unsigned output, unsigned i) {
      const float residual = early ? first : load_shared_value(stream + at(row, output));
      early = false;
      from_float(sum_of(product, i / 2, i % 2, row) + residual, a.residual[at(row, output)]);
    });
  }
};

}  // namespace xgen::cuda::decoder
