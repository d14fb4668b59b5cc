// The weights of a decoding step (decoder_step.cu) as one block reads them: its shares of all products as one stream of pieces, and the ring in shared
// memory through which warps of their own, the producers, bring them.
//
// Of what is asked for and not there yet a block has kPace pairs of pieces at most, 96 KB: the memory is busy with less (its latency, 0.8 us, times the
// 34 KB a microsecond of an H200's processor), and whatever else blocks ask for, above all each other's activations, does not stand in line behind
// whole rings. A block that is ahead, because the ring has kAhead pairs that it has not read, asks for kPaceAhead at a time: those whose weights come
// late get them sooner, and for them all others wait.
#pragma once

#include "decoder_exchange.h"

namespace xgen::cuda::decoder {

// Measured on an H200, width 2,048, one row at a context of 512 (us a step): pieces of 2,048 elements with pace 12, ahead 12, pace then 4 took 602; pace 8, 603;
// without looking whether a block is ahead and pace 4, 6, 8, 12: 615, 609, 626, 640; with pieces of 1,024 and the same bytes on their way 607 and more.
constexpr unsigned kPiece = 2048;  // elements of a row of weights that are copied at once, at most
constexpr unsigned kPieceBytes = kPiece * sizeof(bfloat16);
constexpr unsigned kSlotBytes = 2 * kPieceBytes;
constexpr unsigned kProducers = 2;  // warps: one took 698 us where two took 609
constexpr unsigned kPace = 12, kAhead = 12, kPaceAhead = 4;  // pairs of pieces; no pace in rings that are smaller
static_assert(kPace % kProducers == 0 && kPaceAhead % kProducers == 0 && kWarps % kProducers == 0);

// ------------------------------------------------------------------------------------------------------ the order of weights

// A product's weights as one block reads them, which has `count` outputs from `first` on: pairs of rows, each in `segments` pieces of `elements`; a pair's
// pieces are read together. A pair is two neighbouring outputs, of which the second may not be there, or, where `gated`, the two rows of one output.
struct Product {
  const bfloat16* from;
  std::size_t second;  // elements from the first row of a pair to the other
  unsigned layer, kind, chunk;
  unsigned first, count, depth, segments, elements;
  unsigned pairs, full;  // of pieces, and those that have both
  unsigned stride;       // elements from a pair of rows to the next
  bool gated;

  __device__ __forceinline__ unsigned row_pairs() const { return gated ? count : (count + 1) / 2; }
  __device__ __forceinline__ const bfloat16* piece(unsigned pair) const {
    return from + std::size_t{pair / segments} * stride + pair % segments * elements;
  }
};

// Products are numbered through the step: the layers' in their order, then the head. One with many outputs is cut into several, which have its x
// in common. Blocks have equal shares up to one output; who has one more changes from product to product, so that all read the same in the end.
__device__ __forceinline__ unsigned chunks_a_layer(const Call& a) { return a.chunks[kQkv] + a.chunks[kOutput] + a.chunks[kGateUp] + a.chunks[kDown]; }
__device__ __forceinline__ unsigned product_count(const Call& a) { return a.layer_count * chunks_a_layer(a) + a.chunks[kHead]; }
__device__ __forceinline__ Product product_of(const Call& a, unsigned number) {
  Product p = {};
  p.layer = number / chunks_a_layer(a);
  p.chunk = number % chunks_a_layer(a);
  if (p.layer >= a.layer_count) {
    p.chunk = number - a.layer_count * chunks_a_layer(a);
    p.layer = a.layer_count;
    p.kind = kHead;
  } else {
    while (p.chunk >= a.chunks[p.kind]) p.chunk -= a.chunks[p.kind++];
  }
  const DecoderLayer& weights = a.layers[p.kind == kHead ? 0 : p.layer];
  const void* weight = a.head;
  unsigned outputs = a.vocabulary;
  p.depth = a.width;
  if (p.kind == kQkv) {
    weight = weights.qkv;
    outputs = static_cast<unsigned>(a.heads.row());
  } else if (p.kind == kOutput) {
    weight = weights.output;
    outputs = a.width;
    p.depth = static_cast<unsigned>(a.heads.out_row());
  } else if (p.kind == kGateUp) {
    weight = weights.gate_up;
    outputs = a.feed_forward;
    p.gated = true;
  } else if (p.kind == kDown) {
    weight = weights.down;
    outputs = a.width;
    p.depth = a.feed_forward;
  }
  const auto part = [](unsigned of, unsigned i, unsigned n, unsigned shift) { return static_cast<unsigned>((std::uint64_t{of} * i + shift) / n); };
  const unsigned begin = part(outputs, p.chunk, a.chunks[p.kind], 0), own = part(outputs, p.chunk + 1, a.chunks[p.kind], 0) - begin;
  const unsigned shift = number * 37 % gridDim.x, first = part(own, blockIdx.x, gridDim.x, shift);
  p.first = begin + first;
  p.count = part(own, blockIdx.x + 1, gridDim.x, shift) - first;
  p.from = static_cast<const bfloat16*>(weight) + std::size_t{p.first} * p.depth;
  p.segments = a.segments[p.kind];
  p.elements = p.depth / p.segments;
  p.second = p.gated ? std::size_t{a.feed_forward} * p.depth : p.depth;
  p.stride = p.gated ? p.depth : 2 * p.depth;
  p.pairs = p.row_pairs() * p.segments;
  p.full = (p.gated ? p.count : p.count / 2) * p.segments;
  return p;
}

// Every so-many-th pair of pieces of the block, all products one after the other.
struct Cursor {
  unsigned step;
  unsigned number, index, pairs, full, elements, segment, segments, segment_step;
  std::size_t second, from_step, wrap;
  const bfloat16* from;

  __device__ __forceinline__ void start(const Product* products, unsigned count, unsigned first, unsigned every) {
    step = every;
    number = 0;
    index = first;
    enter(products, count);
  }
  __device__ __forceinline__ bool there() const { return pairs > 0; }
  __device__ __forceinline__ bool both() const { return index < full; }
  __device__ __forceinline__ void advance(const Product* products, unsigned count) {
    index += step;
    if (index < pairs) {
      from += from_step;
      segment += segment_step;
      if (segment >= segments) {
        segment -= segments;
        from += wrap;
      }
      return;
    }
    enter(products, count);
  }

 private:
  // Finds `index` again, in a later product where it is past the end of this one.
  __device__ __forceinline__ void enter(const Product* products, unsigned count) {
    pairs = 0;
    while (number < count && index >= products[number].pairs) index -= products[number++].pairs;
    if (number == count) return;
    const Product& product = products[number];
    pairs = product.pairs;
    full = product.full;
    elements = product.elements;
    segments = product.segments;
    segment = index % segments;
    segment_step = step % segments;
    second = product.second;
    from_step = std::size_t{step / segments} * product.stride + segment_step * elements;
    wrap = product.stride - product.depth;
    from = product.piece(index);
  }
};

// -------------------------------------------------------------------------------------------------------------------- ring

#ifdef XGEN_CUDA_EMULATION

// Each warp copies what it reads.
struct Ring {
  unsigned char* slot;
  const Product* products = nullptr;
  unsigned count = 0;
  Cursor next = {};

  Ring(unsigned char* slots, std::uint64_t*, unsigned) : slot(slots + threadIdx.x / kWarp * kSlotBytes) {}
  void start(const Product* given, unsigned product_count) {
    products = given;
    count = product_count;
    next.start(products, count, threadIdx.x / kWarp, kWarps);
  }
  const bfloat16* front() {
    if (!next.there()) emulation::fail("more pieces of weights than there are");
    for (unsigned i = threadIdx.x % kWarp * kVector; i < next.elements; i += kWarp * kVector) {
      store_aligned(slot + i * sizeof(bfloat16), load_aligned<uint4>(next.from + i));
      if (next.both()) store_aligned(slot + kPieceBytes + i * sizeof(bfloat16), load_aligned<uint4>(next.from + next.second + i));
    }
    next.advance(products, count);
    __syncwarp();
    return reinterpret_cast<const bfloat16*>(slot);
  }
  void release() { __syncwarp(); }
};

#else

// The block's ring of pairs of pieces. Pair i of the whole step is in slot i % count; warp i % kWarps reads it, producer i % kProducers brings it. A wait that
// names a phase by its parity must not come two phases early. For producers `count` is a multiple of kProducers, so that a slot is always the same one's.
// For readers it is a multiple of kWarps, likewise, or at least kPace + kWarps: whoever comes to pair i has read i - kWarps, which was asked for
// when i - kWarps - kPace had arrived, and so has i - count.
struct Ring {
  unsigned char* slots;
  std::uint64_t* full;  // a barrier a slot that counts bytes; `count` further on those that say that a slot has been read
  unsigned count, slot, parity = 0;  // the warp's next

  __device__ __forceinline__ Ring(unsigned char* s, std::uint64_t* b, unsigned c) : slots(s), full(b), count(c), slot(threadIdx.x / kWarp) {}
  __device__ __forceinline__ std::uint32_t filled(unsigned at) const { return hopper::shared_address(full + at); }
  __device__ __forceinline__ std::uint32_t emptied(unsigned at) const { return hopper::shared_address(full + count + at); }
  // By one thread, before a barrier of the block.
  __device__ __forceinline__ void init() const {
    for (unsigned i = 0; i < 2 * count; i++) hopper::barrier_init(filled(i), 1);
    hopper::barrier_init_fence();
  }
  // By all lanes of a warp that computes.
  __device__ __forceinline__ const bfloat16* front() const {
    hopper::barrier_wait(filled(slot), parity);
    return reinterpret_cast<const bfloat16*>(slots + slot * kSlotBytes);
  }
  // The warp has the front in registers.
  __device__ __forceinline__ void release() {
    __syncwarp();
    if (threadIdx.x % kWarp == 0) hopper::barrier_arrive(emptied(slot));
    slot += kWarps;
    if (slot < count) return;
    slot -= count;
    parity ^= 1;
  }

  // By the first two lanes of each of kProducers warps: all weights of the step, a pair at a time and by turns, a lane a piece.
  __device__ __forceinline__ void produce(const Product* products, unsigned product_count, unsigned producer, unsigned lane) const {
    constexpr unsigned kMask = 3;
    const std::uint64_t policy = once_read();
    const bool second = lane == 1;
    unsigned at = producer, round = 0;
    Cursor next;
    next.start(products, product_count, producer, kProducers);
    // The slot of the pair that comes `pairs` before the next one, and its barriers' parity then; a pair before the first is not looked at.
    const auto earlier = [&](unsigned pairs, auto&& look) {
      if (round * count + at >= pairs) look(at >= pairs ? at - pairs : at + count - pairs, (at >= pairs ? round : round - 1) % 2);
    };
    const auto arrived = [&](unsigned there, unsigned phase) { hopper::barrier_wait(filled(there), phase); };
    while (next.there()) {
      if (round > 0) hopper::barrier_wait(emptied(at), (round - 1) % 2);
      if (kPace <= count) earlier(kPace, arrived);
      if (kAhead <= count) {
        bool ahead = false;
        earlier(kAhead, [&](unsigned there, unsigned phase) { ahead = !hopper::barrier_test(emptied(there), phase); });
        if (ahead) earlier(kPaceAhead, arrived);
      }
      const std::uint32_t barrier = filled(at), bytes = next.elements * sizeof(bfloat16);
      if (!second) hopper::barrier_expect(barrier, next.both() ? 2 * bytes : bytes);
      __syncwarp(kMask);
      if (!second || next.both()) {
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(
                         hopper::shared_address(slots + at * kSlotBytes + (second ? kPieceBytes : 0))),
                     "l"(next.from + (second ? next.second : 0)), "r"(bytes), "r"(barrier), "l"(policy)
                     : "memory");
      }
      next.advance(products, product_count);
      at += kProducers;
      if (at >= count) {
        at -= count;
        round++;
      }
    }
  }
};

#endif

}  // namespace xgen::cuda::decoder
