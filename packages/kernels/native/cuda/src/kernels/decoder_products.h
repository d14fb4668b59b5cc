// The products of a decoding step (decoder_step.cu): a block's share of outputs, its warps by turns, with x in shared memory.
//
// The tensor cores multiply, with both rows of a pair as the left operand and x as the right one: lanes 4 g ... 4 g + 3 have row g of the first, row g + 8
// of the second, and column g of x. A lane has the same elements of the rows and of x, so the result's two diagonals are sums of eight parts each
// of the two dot products.
#pragma once

#include "decoder_spans.h"
#include "decoder_stream.h"

namespace xgen::cuda::decoder {

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
constexpr unsigned kParts = 8;  // of a dot product, of as many lanes

// A row of the stream that the step begins with, as bfloat16. null: zeros, where the id is none of the table's.
struct First {
  const void* row;
  ElementType type;

  __device__ __forceinline__ Packed8<bfloat16> part(unsigned at) const {
    if (row == nullptr) return {};
    if (type == ElementType::bfloat16) return load_packed8(static_cast<const bfloat16*>(row) + at);
    const Floats8 x = load8(static_cast<const float*>(row) + at);
    return {make_uint4(pack_bfloat16(x.v[0], x.v[1]), pack_bfloat16(x.v[2], x.v[3]), pack_bfloat16(x.v[4], x.v[5]), pack_bfloat16(x.v[6], x.v[7]))};
  }
  __device__ __forceinline__ std::uint16_t bits(unsigned at) const {
    if (row == nullptr) return 0;
    if (type == ElementType::bfloat16) return static_cast<const bfloat16*>(row)[at].bits;
    return static_cast<std::uint16_t>(pack_bfloat16(static_cast<const float*>(row)[at], 0.0f));
  }
};
__device__ __forceinline__ First first_of(const Call& a, unsigned row) {
  std::size_t number = row;
  if (a.ids != nullptr) {
    const std::int32_t id = a.ids[row];
    if (id < 0 || static_cast<unsigned>(id) >= a.table_rows) {
      if (blockIdx.x == 0) report(a.errors.ids, DeviceError::ids, row, id);
      return {nullptr, a.first_type};
    }
    number = static_cast<std::size_t>(id);
  }
  const std::size_t bytes = a.first_type == ElementType::bfloat16 ? sizeof(bfloat16) : sizeof(float);
  return {static_cast<const unsigned char*>(a.first) + number * a.width * bytes, a.first_type};
}

// Asks for the block's share of a row, or of a norm, to be brought into the second-level cache.
__device__ __forceinline__ void bring_share(const void* row, unsigned elements, ElementType type) {
  const unsigned bytes = elements * static_cast<unsigned>(type == ElementType::bfloat16 ? sizeof(bfloat16) : sizeof(float));
  for (unsigned at = blockIdx.x * kLine; row != nullptr && at < bytes; at += gridDim.x * kLine) prefetch_line(static_cast<const unsigned char*>(row) + at);
}

// What a product's results are added to.
struct Addend {
  const bfloat16* stream;  // rows that this block has waited for already
  const First* first;      // else rows that nobody publishes; both null: nothing

  __device__ __forceinline__ bool there() const { return stream != nullptr || first != nullptr; }
  __device__ __forceinline__ std::uint16_t bits(unsigned row, unsigned width, unsigned at) const {
    return stream != nullptr ? load_again(stream + std::size_t{row} * width + at) : first[row].bits(at);
  }
};

template <unsigned Rows, unsigned Size>
struct Block {
  static constexpr unsigned kKept = 2;  // parts of a row of the stream that stay in registers while it is normalised
  const Call& a;
  bfloat16* x;     // [Rows][depth]
  float* sums;     // [pair of pieces][Rows][kParts][2]
  float* scratch;  // [kWarps][Rows]
  const First* start;  // [Rows]
  Ring ring;
  unsigned index;  // of the warp's next pair in its product

  // x = rows of `from`, which blocks are publishing.
  __device__ __forceinline__ void load(const bfloat16* from, unsigned depth) {
    constexpr unsigned kTogether = 4;
    const unsigned parts = a.rows * depth / kVector;
    for (unsigned first = threadIdx.x; first < parts; first += kTogether * kThreads) {
      uint4 part[kTogether];
      bool lacks[kTogether];
#pragma unroll
      for (unsigned k = 0; k < kTogether; k++) lacks[k] = first + k * kThreads < parts;
      await([&] {
#pragma unroll
        for (unsigned k = 0; k < kTogether; k++) {
          if (lacks[k]) part[k] = look4(from + (first + k * kThreads) * kVector);
        }
        bool there = true;
#pragma unroll
        for (unsigned k = 0; k < kTogether; k++) {
          lacks[k] = lacks[k] && lacks_bfloat16(part[k]);
          there = there && !lacks[k];
        }
        return there;
      });
#pragma unroll
      for (unsigned k = 0; k < kTogether; k++) {
        if (first + k * kThreads < parts) store_aligned(x + (first + k * kThreads) * kVector, part[k]);
      }
    }
    XGEN_SYNC_WORKERS();
  }

  // A norm's weight as it lies in memory, as far as it stays in registers: loaded before the stream is waited for, and nothing waits for it before it is used.
  struct Norm {
    uint4 kept[kKept][2];
  };
  __device__ __forceinline__ unsigned part_at(unsigned k) const { return (k * kThreads + threadIdx.x) * kVector; }
  __device__ __forceinline__ Norm norm_of(const void* weight) const {
    const bool narrow = a.norm_type == ElementType::bfloat16;
    Norm norm;
#pragma unroll
    for (unsigned k = 0; k < kKept; k++) {
      norm.kept[k][0] = norm.kept[k][1] = make_uint4(0, 0, 0, 0);
      if (part_at(k) >= a.width) continue;
      const unsigned char* const from = static_cast<const unsigned char*>(weight) + part_at(k) * (narrow ? sizeof(bfloat16) : sizeof(float));
      norm.kept[k][0] = load_aligned<uint4>(from);
      if (!narrow) norm.kept[k][1] = load_aligned<uint4>(from + sizeof(uint4));
    }
    return norm;
  }
  __device__ __forceinline__ Floats8 norm_part(const Norm& norm, unsigned k) const {
    const uint4 &low = norm.kept[k][0], &high = norm.kept[k][1];
    if (a.norm_type == ElementType::bfloat16) return unpack8(Packed8<bfloat16>{low});
    return {{__uint_as_float(low.x), __uint_as_float(low.y), __uint_as_float(low.z), __uint_as_float(low.w), __uint_as_float(high.x), __uint_as_float(high.y),
             __uint_as_float(high.z), __uint_as_float(high.w)}};
  }

  // x = rows of the stream over their root mean square, times the norm's weight. null: the rows that the step begins with, which may hold any bits.
  __device__ __forceinline__ void load_normalized(const bfloat16* from, const void* weight) {
    const unsigned warp = threadIdx.x / kWarp;
    const bool given = from == nullptr;
    const Norm norm = norm_of(weight);
    Packed8<bfloat16> kept[Rows][kKept];
    bool lacks[Rows][kKept];
    float squares[Rows] = {};
#pragma unroll
    for (unsigned k = 0; k < kKept; k++) {
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) {
        kept[r][k] = {};
        lacks[r][k] = part_at(k) < a.width && r < a.rows;
      }
    }
    const auto look = [&](unsigned r, unsigned at) { return given ? start[r].part(at).a : look4(from + r * a.width + at); };
    await([&] {
#pragma unroll
      for (unsigned k = 0; k < kKept; k++) {
#pragma unroll
        for (unsigned r = 0; r < Rows; r++) {
          if (lacks[r][k]) kept[r][k].a = look(r, part_at(k));
        }
      }
      bool there = true;
#pragma unroll
      for (unsigned k = 0; k < kKept; k++) {
#pragma unroll
        for (unsigned r = 0; r < Rows; r++) {
          lacks[r][k] = lacks[r][k] && !given && lacks_bfloat16(kept[r][k].a);
          there = there && !lacks[r][k];
        }
      }
      return there;
    });
    const auto rest = [&](unsigned r, unsigned at) {
      Packed8<bfloat16> part;
      await([&] {
        part.a = look(r, at);
        return given || !lacks_bfloat16(part.a);
      });
      return part;
    };
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
#pragma unroll 1
    for (unsigned at = part_at(kKept); at < a.width; at += kThreads * kVector) {
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) {
        if (r < a.rows) square(rest(r, at), squares[r]);
      }
    }
#pragma unroll
    for (unsigned r = 0; r < Rows; r++) {
      squares[r] = warp_reduce(squares[r], Add{});
      if (threadIdx.x % kWarp == 0) scratch[warp * Rows + r] = squares[r];
    }
    XGEN_SYNC_WORKERS();
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
      if (part_at(k) >= a.width) break;
      const Floats8 w = norm_part(norm, k);
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) {
        if (r < a.rows) put(r, part_at(k), kept[r][k], w);
      }
    }
#pragma unroll 1
    for (unsigned at = part_at(kKept); at < a.width; at += kThreads * kVector) {
      const Floats8 w = load8(weight, a.norm_type, at);
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) {
        if (r < a.rows) put(r, at, rest(r, at), w);
      }
    }
    XGEN_SYNC_WORKERS();
  }

  // The warp's pairs of pieces of a product, times x, into sums.
  __device__ __forceinline__ void multiply(const Product& product) {
    const unsigned lane = threadIdx.x % kWarp, total = product.pairs, elements = product.elements;
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
    // Past a piece's end x is 0, and the weights are any of the piece.
    unsigned places[kChunks];
#pragma unroll
    for (unsigned i = 0; i < kChunks; i++) places[i] = (i * kWarp + lane) * kVector < elements ? (i * kWarp + lane) * kVector : 0;
    // The parts are added up after the product: shuffles here would stand in line behind all warps' reads of weights. A pair's parts are stored while the
    // next one is read.
    Sums own[Rows];
    float* before = nullptr;
    const auto finish = [&] {
      if (before == nullptr || lane % 4 != lane / 8) return;
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) store_aligned(before + r * kParts * 2, make_float2(own[r].part(0), own[r].part(1)));
    };
#pragma unroll 1
    for (; index < total; index += kWarps) {
      const bfloat16* const pair = ring.front();
      uint4 w[kChunks][2];
#pragma unroll
      for (unsigned i = 0; i < kChunks; i++) {
#pragma unroll
        for (unsigned k = 0; k < 2; k++) w[i][k] = load_aligned<uint4>(pair + k * kPiece + places[i]);
      }
      ring.release();
      finish();
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) own[r] = {};
#pragma unroll
      for (unsigned i = 0; i < kChunks; i++) {
        uint4 part[Rows];
        if constexpr (!kHeld) load_x(i, part);
#pragma unroll
        for (unsigned r = 0; r < Rows; r++) own[r].add(i, w[i][0], w[i][1], kHeld ? held[kHeld ? i : 0][r] : part[r]);
      }
      before = sums + (index * Rows * kParts + lane / 4) * 2;
      if (segment_step != 0) {
        segment += segment_step;
        if (segment >= product.segments) segment -= product.segments;
        load_all();
      }
    }
    finish();
    index -= total;
    XGEN_SYNC_WORKERS();
  }

  // Eight threads add up a pair of rows of weights, two of which have a result then, or one where the product is gated.
  struct Item {
    unsigned row, pair, output;  // output: in the share
    bool there, mine;
  };
  __device__ __forceinline__ Item item_of(const Product& product, unsigned first) const {
    const unsigned pairs = product.row_pairs(), item = first + threadIdx.x / kParts, part = threadIdx.x % kParts;
    Item i;
    i.there = item < pairs * a.rows;
    i.row = Rows == 1 ? 0 : item / pairs;
    i.pair = item - i.row * pairs;
    i.output = product.gated ? i.pair : 2 * i.pair + part;
    i.mine = i.there && part < (product.gated ? 1 : 2) && i.output < product.count;
    return i;
  }
  // What a thread's first result is added to, asked for before the product is multiplied.
  __device__ __forceinline__ std::uint16_t residual_of(const Product& product, const Addend& addend) const {
    const Item item = item_of(product, 0);
    return addend.there() && item.mine ? addend.bits(item.row, a.width, product.first + item.output) : std::uint16_t{0};
  }
  // Calls f(row, output, result, gate) for all of the block's results; where the product is gated, the result is of the second row of weights. To the
  // others the addend is added.
  template <class F>
  __device__ __forceinline__ void results(const Product& product, const Addend& addend, std::uint16_t first_residual, F&& f) const {
#pragma unroll 1
    for (unsigned first = 0; first < product.row_pairs() * a.rows; first += kThreads / kParts) {
      const Item item = item_of(product, first);
      float2 sum = make_float2(0.0f, 0.0f);
      if (item.there) {
        const float* from = sums + ((item.pair * product.segments * Rows + item.row) * kParts + threadIdx.x % kParts) * 2;
#pragma unroll 1
        for (unsigned s = 0; s < product.segments; s++, from += Rows * kParts * 2) {
          const float2 part = load_aligned<float2>(from);
          sum.x += part.x;
          sum.y += part.y;
        }
      }
      sum.x = warp_reduce<kParts>(sum.x, Add{});
      sum.y = warp_reduce<kParts>(sum.y, Add{});
      if (!item.mine) continue;
      float result = product.gated || threadIdx.x % kParts == 1 ? sum.y : sum.x;
      if (addend.there()) {
        const std::uint16_t residual = first == 0 ? first_residual : addend.bits(item.row, a.width, product.first + item.output);
        result += to_float(bfloat16{residual});
      }
      f(item.row, product.first + item.output, result, sum.x);
    }
    published();
  }
};

}  // namespace xgen::cuda::decoder
