// What the two decoding kernels of paged attention share (paged_decode.cu, paged_decode_mma.cu): which keys a block has, where they lie, and what
// becomes of its results.
//
// A sequence's keys are split over as many blocks as fill the device once; a split's length follows from the lengths in device memory, so that a
// graph can be replayed while they grow. The block of a sequence and its key-value heads that is done last merges its splits, in their order.
#pragma once

#include "attention.h"
#include "split_softmax.h"

namespace xgen::cuda {

constexpr std::size_t kFewQueries = 4;  // new tokens of a sequence that the decoding kernels take where tiles are launched too
constexpr unsigned kSplitsAtOnce = 16;  // whose results are loaded together
constexpr unsigned kCacheLine = 128;    // bytes

template <class Q, class K>
struct Decode {
  PagedForward<Q, K> a;
  SoftmaxStatistic* statistics;  // [entries][query heads][splits]; both null where there is one split
  float* partial;                // likewise, times the head's elements, divided by nothing
  std::uint32_t* arrivals;       // [sequences][key-value heads]: blocks that are done; 0 before and after
  ErrorFlag* error;
  unsigned splits;
  int block_shift;    // block_size is 2 to this power, or -1
  bool by_token;      // entries are tokens; else kFewQueries for each sequence, and longer ones are left to tiles
  unsigned together;  // key-value heads of a block: `Together` of its kernel
};

// float32 arithmetic, for all types and sizes.
template <class Q, class K>
void paged_decode(Stream stream, const char* operation, const Decode<Q, K>& call);
// bfloat16 on the tensor cores, head sizes 64 and 128.
void paged_decode_mma(Stream stream, const char* operation, const Decode<bfloat16, bfloat16>& call);

template <class Q, class K>
unsigned decode_blocks(const char* operation, const Decode<Q, K>& call) {
  return grid_of(operation, std::size_t{call.splits} * call.a.pages.sequences * (call.a.heads.key_value_heads / call.together));
}

__device__ __forceinline__ void check_sequence(const Pages& pages, unsigned sequence, std::int64_t tokens, ErrorFlag* error) {
  const std::int32_t first = pages.cumulative_query_lengths[sequence], last = pages.cumulative_query_lengths[sequence + 1];
  if (sequence == 0 && first != 0) report(error, DeviceError::cumulative_lengths, 0, first);
  if (last < first || (sequence + 1 == pages.sequences && last != tokens)) report(error, DeviceError::cumulative_lengths, std::int64_t{sequence} + 1, last);
  const PagedSequence lengths = paged_sequence(pages, sequence, tokens);
  if (lengths.bad) report(error, DeviceError::context_lengths, sequence, lengths.context_given);
}

// An integer that may be about to change: it only leads to addresses inside the caches. Past the first-level cache, so that nothing old stays there.
struct ReadEarly {
  __device__ __forceinline__ std::int32_t operator()(const std::int32_t* from) const {
#ifdef XGEN_CUDA_EMULATION
    return emulation::stale(*from);
#else
    return __ldcg(from);
#endif
  }
};
struct ReadNow {
  __device__ __forceinline__ std::int32_t operator()(const std::int32_t* from) const { return *from; }
};

struct KeySpan {
  unsigned begin, end;
};

// Block (split, sequence, key-value heads), heads fastest.
template <class Q, class K, unsigned Together>
struct DecodeBlock {
  const Decode<Q, K>& call;
  const Heads& heads;
  const Pages& pages;
  unsigned head, sequence, split;  // its first head

  explicit __device__ __forceinline__ DecodeBlock(const Decode<Q, K>& c) : call(c), heads(c.a.heads), pages(c.a.pages) {
    const unsigned groups = heads.key_value_heads / Together, at = blockIdx.x / groups;
    head = blockIdx.x % groups * Together;
    sequence = at % pages.sequences;
    split = at / pages.sequences;
  }

  template <class Read>
  __device__ __forceinline__ PagedSequence lengths(Read read) const {
    return paged_sequence(pages, sequence, static_cast<std::int64_t>(call.a.tokens), read);
  }
  // The split's positions: as many as other splits', in multiples of `granule`.
  __device__ __forceinline__ KeySpan span_of(const PagedSequence& s, unsigned granule) const {
    const unsigned context = static_cast<unsigned>(s.context);
    if (call.splits == 1) return {0, context};
    const unsigned length = ((context + call.splits - 1) / call.splits + granule - 1) / granule * granule;
    const unsigned begin = split * length < context ? split * length : context;
    return {begin, begin + length < context ? begin + length : context};
  }

  __device__ __forceinline__ unsigned block_of(unsigned position) const {
    return call.block_shift >= 0 ? position >> call.block_shift : position / pages.block_size;
  }
  __device__ __forceinline__ const std::int32_t* entry_of(unsigned position) const {
    return pages.block_tables + std::size_t{sequence} * pages.max_blocks + block_of(position);
  }
  __device__ __forceinline__ bool is_there(std::int32_t block) const { return block >= 0 && static_cast<unsigned>(block) < pages.cache_blocks; }
  // Of the head's elements in a cache.
  __device__ __forceinline__ std::size_t offset_of(std::int32_t block, unsigned position) const {
    const std::size_t row = std::size_t{static_cast<unsigned>(block)} * pages.block_size + (position - block_of(position) * pages.block_size);
    return (row * heads.key_value_heads + head) * heads.head_dimension;
  }
  __device__ __forceinline__ void report_missing(unsigned position, std::int32_t block) const {
    report(call.error, DeviceError::block_tables, entry_of(position) - pages.block_tables, block);
  }
  // One thread of the sequence's blocks checks its lengths.
  __device__ __forceinline__ void check_lengths() const {
    if (split == 0 && head == 0 && threadIdx.x == 0) check_sequence(pages, sequence, static_cast<std::int64_t>(call.a.tokens), call.error);
  }
  // Whether the sequence's new tokens are this kernel's.
  __device__ __forceinline__ bool takes(const PagedSequence& s) const {
    return s.queries > 0 && (call.by_token || s.queries <= static_cast<std::int32_t>(kFewQueries));
  }

  // Row `row` of the sequence and key-value head `of`: of its new tokens times the group's query heads.
  __device__ __forceinline__ std::size_t token_of(const PagedSequence& s, unsigned row) const { return static_cast<std::size_t>(s.first_token) + row / heads.group; }
  __device__ __forceinline__ std::size_t query_of(unsigned of, unsigned row) const { return heads.query(of * heads.group + row % heads.group); }
  __device__ __forceinline__ const Q* query_row(const PagedSequence& s, unsigned of, unsigned row) const {
    return call.a.qkv + token_of(s, row) * heads.row() + query_of(of, row);
  }
  __device__ __forceinline__ Q* out_row(const PagedSequence& s, unsigned of, unsigned row) const {
    return call.a.out + token_of(s, row) * heads.out_row() + query_of(of, row);
  }
  // Where its first split's results are kept.
  __device__ __forceinline__ std::size_t unit_of(const PagedSequence& s, unsigned of, unsigned row) const {
    const std::size_t entry = call.by_token ? token_of(s, row) : sequence * kFewQueries + row / heads.group;
    return (entry * heads.query_heads + of * heads.group + row % heads.group) * call.splits;
  }

  // A split without keys only says so.
  __device__ __forceinline__ void store_empty(const PagedSequence& s, unsigned of, unsigned row) const {
    call.statistics[unit_of(s, of, row) + split] = {-infinity(), 0.0f};
  }
  template <unsigned Values>
  __device__ __forceinline__ void store(const PagedSequence& s, unsigned of, unsigned row, unsigned element, const Merged<Values>& merged) const {
    if (call.splits == 1) {
#pragma unroll
      for (unsigned j = 0; j < Values; j++) from_float(merged.result(j), out_row(s, of, row)[element + j]);
      return;
    }
    const std::size_t unit = unit_of(s, of, row) + split;
    store_values(call.partial + unit * heads.head_dimension + element, merged.values);
    if (element == 0) call.statistics[unit] = {merged.maximum, merged.total};
  }
  // After all of the block's results: the last block merges all splits', `Values` elements a thread, with a trip to memory for each kSplitsAtOnce.
  // `size`: the heads', as a constant where the kernel has it.
  template <unsigned Values>
  __device__ __forceinline__ void merge_splits(const PagedSequence& s, unsigned rows, unsigned size, bool* last) const {
    if (call.splits == 1) return;
    std::uint32_t* const count = call.arrivals + std::size_t{sequence} * heads.key_value_heads + head;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) *last = atomicAdd(count, 1u) + 1 == call.splits;
    __syncthreads();
    if (!*last) return;
    if (threadIdx.x == 0) *count = 0;
    __threadfence();
    const unsigned parts_a_row = size / Values;
    for (unsigned i = threadIdx.x; i < Together * rows * parts_a_row; i += blockDim.x) {
      const unsigned which = i / parts_a_row, element = (i - which * parts_a_row) * Values;
      const unsigned nth = Together == 1 ? 0 : which / rows, row = which - nth * rows;
      const std::size_t unit = unit_of(s, head + nth, row);
      Merged<Values> merged;
      for (unsigned first = 0; first < call.splits; first += kSplitsAtOnce) {
        SoftmaxStatistic statistics[kSplitsAtOnce];
        float parts[kSplitsAtOnce][Values] = {};
#pragma unroll
        for (unsigned k = 0; k < kSplitsAtOnce; k++) {
          statistics[k] = {-infinity(), 0.0f};
          if (first + k >= call.splits) continue;
          statistics[k] = load_announced(call.statistics + unit + first + k);
          load_announced(parts[k], call.partial + (unit + first + k) * heads.head_dimension + element);
        }
        merged.add(statistics, parts);
      }
#pragma unroll
      for (unsigned j = 0; j < Values; j++) from_float(merged.result(j), out_row(s, head + nth, row)[element + j]);
    }
  }
};

}  // namespace xgen::cuda
