// What the parts of a decoding step (decoder_step.cu) share: its call, the order in which a warp reads all weights of the step, the ring that
// the copy engine fills for it, and the barrier of the whole grid.
#pragma once

#include "attention.h"
#include "mma.h"
#include "xgen/cuda/decoder_step.h"
#ifndef XGEN_CUDA_EMULATION
#include "hopper.h"
#endif

namespace xgen::cuda::decoder {

constexpr unsigned kPiece = 1024;  // elements of a row of weights that are copied at once, at most: 2,048 took 757 us instead of 745 on an H200
constexpr unsigned kPieceBytes = kPiece * sizeof(bfloat16);

// Running softmax, of exponents in base 2.
struct alignas(8) Statistic {
  float maximum, total;
};

struct Call {
  DecoderLayer layers[kMostDecoderLayers];
  const bfloat16* stream;
  const bfloat16* head;
  const void* final_norm;
  void* logits;
  const std::int32_t* positions;
  const std::int32_t* slots;
  const std::int32_t* context_lengths;
  const std::int32_t* block_tables;
  const float* inverse_frequencies;
  // What blocks exchange: [rows][...].
  bfloat16* residual;
  bfloat16* qkv;
  bfloat16* attended;
  bfloat16* activation;
  float* partial;         // [rows][key-value heads][splits][group][head_dimension]
  Statistic* statistics;  // [rows][key-value heads][splits][group]
  std::uint32_t* counters;
  ErrorFlag* slots_error;
  ErrorFlag* pages_error;
  Heads heads;
  unsigned rows, width, feed_forward, vocabulary, layer_count;
  unsigned width_segments, heads_segments, feed_forward_segments;  // pieces of a row of each depth
  unsigned max_blocks, block_size, cache_blocks, splits;
  int block_shift;  // block_size is 2 to this power, or -1
  unsigned depth;   // of a warp's ring
  unsigned x_at, sums_at, turns_at, shares_at, early_at, barriers_at;  // in shared memory, after the rings
  float rope_scaling, epsilon;
  ElementType norm_type, logits_type;
};

// ------------------------------------------------------------------------------------------- what other blocks have written

// From the second-level cache: the first may hold what was there before.
__device__ __forceinline__ uint4 load_shared(const bfloat16* from) {
#ifdef XGEN_CUDA_EMULATION
  return load_aligned<uint4>(from);
#else
  return __ldcg(reinterpret_cast<const uint4*>(from));
#endif
}
__device__ __forceinline__ float load_shared_value(const bfloat16* from) {
#ifdef XGEN_CUDA_EMULATION
  return to_float(*from);
#else
  return to_float(bfloat16{__ldcg(reinterpret_cast<const std::uint16_t*>(from))});
#endif
}
__device__ __forceinline__ float load_shared(const float* from) {
#ifdef XGEN_CUDA_EMULATION
  return *from;
#else
  return __ldcg(from);
#endif
}
__device__ __forceinline__ float4 load_shared4(const float* from) {
#ifdef XGEN_CUDA_EMULATION
  return load_aligned<float4>(from);
#else
  return __ldcg(reinterpret_cast<const float4*>(from));
#endif
}
__device__ __forceinline__ Statistic load_shared(const Statistic* from) {
#ifdef XGEN_CUDA_EMULATION
  return *from;
#else
  const float2 both = __ldcg(reinterpret_cast<const float2*>(from));
  return {both.x, both.y};
#endif
}

// counters[0]: arrivals of the whole step; [1]: blocks that are done; from kPairs on, a counter for each row and key-value head.
constexpr unsigned kPairs = 32;

// Adds one; what the block wrote before is seen by whoever adds later, and what they wrote by this thread and, past a barrier, by its block.
__device__ __forceinline__ std::uint32_t add_and_see(std::uint32_t* count) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  std::uint32_t before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;" : "=r"(before) : "l"(count) : "memory");
  return before;
#else
  return atomicAdd(count, 1u);
#endif
}

// A barrier in device memory whose two halves lie apart. How many arrivals each one expects all blocks know.
struct Grid {
  std::uint32_t* count;
  std::uint32_t expected = 0;

  // All of the block's writes are seen by blocks that have waited.
  __device__ __forceinline__ void arrive() {
    __syncthreads();
    if (threadIdx.x == 0) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
      asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(count) : "memory");
#else
      atomicAdd(count, 1u);
#endif
    }
  }
  __device__ __forceinline__ void expect(unsigned arrivals) { expected += arrivals; }
  __device__ __forceinline__ void wait() {
    if (threadIdx.x == 0) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
      std::uint32_t now;
      do {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(count) : "memory");
      } while (static_cast<std::int32_t>(now - expected) < 0);
#elif defined(XGEN_CUDA_EMULATION)
      if (*count != expected) emulation::fail("a barrier of the grid that its blocks do not reach");
#endif
    }
    __syncthreads();
  }
};

// ------------------------------------------------------------------------------------------------------ the order of weights

enum : unsigned { kQkv, kOutput, kGateUp, kDown, kProducts };

// Outputs of a product that are one block's.
struct Share {
  unsigned first, count;
};

// A product's weights as one block reads them: pairs of rows, each in `segments` pieces of `elements`; a pair's pieces are read together. A pair is
// two neighbouring outputs, of which the second may not be there, or, where `gated`, the two rows of one output.
struct Product {
  const bfloat16* weight;
  Share share;
  unsigned depth, segments, elements, second;  // second: rows from the first of a pair to the other
  bool gated;

  __device__ __forceinline__ unsigned pairs() const { return (gated ? share.count : (share.count + 1) / 2) * segments; }
  // Pairs that have both.
  __device__ __forceinline__ unsigned full_pairs() const { return (gated ? share.count : share.count / 2) * segments; }
  __device__ __forceinline__ unsigned rows_a_pair() const { return gated ? 1 : 2; }
  __device__ __forceinline__ const bfloat16* piece(unsigned pair) const {
    const unsigned output = pair / segments * rows_a_pair();
    return weight + (std::size_t{share.first} + output) * depth + pair % segments * elements;
  }
};

// Products are numbered through the step: kProducts a layer, then the head. Blocks have equal shares up to one output; who has one more changes
// from layer to layer, so that all read the same in the end.
__device__ __forceinline__ unsigned product_count(const Call& a) { return a.layer_count * kProducts + 1; }
__device__ __forceinline__ Share share_of(const Call& a, unsigned number) {
  const unsigned kind = number % kProducts, shift = number * 37 % gridDim.x;
  const unsigned outputs = number + 1 == product_count(a) ? a.vocabulary
                           : kind == kQkv                 ? static_cast<unsigned>(a.heads.row())
                           : kind == kGateUp              ? a.feed_forward
                                                          : a.width;
  const unsigned first = (outputs * blockIdx.x + shift) / gridDim.x;
  return {first, (outputs * (blockIdx.x + 1) + shift) / gridDim.x - first};
}
__device__ __forceinline__ Product product_of(const Call& a, unsigned number, const Share* shares) {
  Product p = {a.head, shares[number], a.width, a.width_segments, 0, 1, false};
  if (number + 1 < product_count(a)) {
    const DecoderLayer& weights = a.layers[number / kProducts];
    switch (number % kProducts) {
      case kQkv:
        p.weight = static_cast<const bfloat16*>(weights.qkv);
        break;
      case kOutput:
        p.weight = static_cast<const bfloat16*>(weights.output);
        p.depth = static_cast<unsigned>(a.heads.out_row());
        p.segments = a.heads_segments;
        break;
      case kGateUp:
        p.weight = static_cast<const bfloat16*>(weights.gate_up);
        p.second = a.feed_forward;
        p.gated = true;
        break;
      default:
        p.weight = static_cast<const bfloat16*>(weights.down);
        p.depth = a.feed_forward;
        p.segments = a.feed_forward_segments;
    }
  }
  p.elements = p.segments == 1 ? p.depth : p.depth / p.segments;
  return p;
}

// Where a warp is in the block's pairs of pieces, all products one after the other: warp w of W has pairs w, w + W, ...
template <unsigned Warps>
struct Cursor {
  unsigned number, left;  // pairs of the product from this one on
  unsigned index, full, elements, step;
  std::size_t second;  // elements from the first piece of a pair to the other
  const bfloat16* from;

  __device__ __forceinline__ void start(const Call& a, const Share* shares, unsigned warp) {
    number = 0;
    index = warp;
    enter(a, shares);
  }
  __device__ __forceinline__ bool there() const { return left > 0; }
  __device__ __forceinline__ bool both() const { return index < full; }
  __device__ __forceinline__ void advance(const Call& a, const Share* shares) {
    index += Warps;
    if (left > Warps && step > 0) {
      left -= Warps;
      from += step;
      return;
    }
    enter(a, shares);
  }

 private:
  // Finds `index` again, in the next product where it is past the end of this one.
  __device__ __forceinline__ void enter(const Call& a, const Share* shares) {
    for (; number < product_count(a); number++) {
      const Product product = product_of(a, number, shares);
      const unsigned total = product.pairs();
      if (index < total) {
        left = total - index;
        full = product.full_pairs();
        elements = product.elements;
        second = std::size_t{product.second} * product.depth;
        step = Warps % product.segments == 0 ? Warps / product.segments * product.rows_a_pair() * product.depth : 0;
        from = product.piece(index);
        return;
      }
      index -= total;
    }
    left = 0;
  }
};

// -------------------------------------------------------------------------------------------------------------------- ring

constexpr unsigned kSlotBytes = 2 * kPieceBytes;

// A warp's ring of pairs of pieces: whoever has read a slot has the next pair copied to it. All lanes call everything.
struct Ring {
  unsigned char* slots;
  std::uint64_t* barriers;
  unsigned depth, slot = 0, parity = 0;
  std::uint64_t policy = 0;
#ifdef XGEN_CUDA_EMULATION
  unsigned under_way = 0;
#endif

  __device__ __forceinline__ Ring(unsigned char* s, std::uint64_t* b, unsigned d) : slots(s), barriers(b), depth(d) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    policy = once_read();
    if (threadIdx.x % kWarp == 0) {
      for (unsigned i = 0; i < depth; i++) hopper::barrier_init(hopper::shared_address(barriers + i), 1);
      hopper::barrier_init_fence();
    }
    __syncwarp();
#endif
  }
  // Nobody reads slot `at` any more.
  template <unsigned Warps>
  __device__ __forceinline__ void fill(unsigned at, const Cursor<Warps>& next) {
    __syncwarp();
    if (threadIdx.x % kWarp != 0) return;
    const unsigned bytes = next.elements * sizeof(bfloat16);
    unsigned char* const to = slots + at * kSlotBytes;
#ifdef XGEN_CUDA_EMULATION
    for (unsigned i = 0; i < bytes; i += 16) {
      emulation::copy_async(to + i, next.from + i / sizeof(bfloat16), 16, 16);
      if (next.both()) emulation::copy_async(to + kPieceBytes + i, next.from + next.second + i / sizeof(bfloat16), 16, 16);
    }
    emulation::commit_copies();
    under_way++;
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    const std::uint32_t barrier = hopper::shared_address(barriers + at);
    const auto copy = [&](unsigned char* there, const bfloat16* from) {
      asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(
                       hopper::shared_address(there)),
                   "l"(from), "r"(bytes), "r"(barrier), "l"(policy)
                   : "memory");
    };
    hopper::barrier_expect(barrier, next.both() ? 2 * bytes : bytes);
    copy(to, next.from);
    if (next.both()) copy(to + kPieceBytes, next.from + next.second);
#endif
  }
  __device__ __forceinline__ const bfloat16* front() {
#ifdef XGEN_CUDA_EMULATION
    if (threadIdx.x % kWarp == 0) emulation::wait_copies(--under_way);
    __syncwarp();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    const std::uint32_t barrier = hopper::shared_address(barriers + slot);
    std::uint32_t done;
    do {
      asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                   : "=r"(done)
                   : "r"(barrier), "r"(parity)
                   : "memory");
    } while (done == 0);
#endif
    return reinterpret_cast<const bfloat16*>(slots + slot * kSlotBytes);
  }
  __device__ __forceinline__ void next() {
    if (++slot < depth) return;
    slot = 0;
    parity ^= 1;
  }
};

}  // namespace xgen::cuda::decoder
