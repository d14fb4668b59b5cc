// How the blocks of a decoding step (decoder_step.cu) hand activations to each other: every value says itself whether it is there.
//
// Each array that one block writes and others read is written once in a launch, and holds kUnwritten everywhere before: all ones, a NaN that no
// arithmetic gives and publish() does not write. Who reads looks until no such value is left. So a value is on its way as soon as it is stored, without
// a fence, a counter and a second load, and a block waits for what it reads, not for the grid: one trip to the second-level cache and back, 0.6 us,
// where a barrier of the grid and the loads after it took 2 to 4.
#pragma once

#include "decoder_call.h"

namespace xgen::cuda::decoder {

constexpr unsigned kWarps = 8;  // those that compute
constexpr unsigned kThreads = kWarps * kWarp;
constexpr std::uint32_t kUnwritten = 0xffffffffu;  // two bf16 or one float

// A barrier of the threads that compute.
#ifdef XGEN_CUDA_EMULATION
#define XGEN_SYNC_WORKERS() __syncthreads()
#else
#define XGEN_SYNC_WORKERS() asm volatile("bar.sync 1, %0;" ::"n"(::xgen::cuda::decoder::kThreads) : "memory")
#endif

// -------------------------------------------------------------------------------------------------------------- writing

__device__ __forceinline__ void publish(bfloat16* to, float x) {
  bfloat16 value;
  from_float(x, value);
  if (value.bits == 0xffffu) value.bits = 0x7fffu;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("st.relaxed.gpu.global.u16 [%0], %1;" ::"l"(to), "h"(value.bits) : "memory");
#else
  *to = value;
#endif
}
__device__ __forceinline__ void publish(float* to, float x) {
  std::uint32_t bits = __float_as_uint(x);
  if (bits == kUnwritten) bits = 0x7fffffffu;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(to), "r"(bits) : "memory");
#else
  *to = __uint_as_float(bits);
#endif
}

// -------------------------------------------------------------------------------------------------------------- reading

__device__ __forceinline__ uint4 unwritten4() { return make_uint4(kUnwritten, kUnwritten, kUnwritten, kUnwritten); }
// Whether one of the eight is not there: a half of all ones, which is a half of zeros in the complement.
__device__ __forceinline__ bool lacks_bfloat16(const uint4& v) {
  const auto lack = [](std::uint32_t both) { return (~both - 0x00010001u) & both; };
  return ((lack(v.x) | lack(v.y) | lack(v.z) | lack(v.w)) & 0x80008000u) != 0;
}
__device__ __forceinline__ bool lacks_float(std::uint32_t v) { return v == kUnwritten; }
__device__ __forceinline__ bool lacks_float(const uint2& v) { return v.x == kUnwritten || v.y == kUnwritten; }
// As it is now, past the first-level cache.
__device__ __forceinline__ uint4 look4(const void* from) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  uint4 v;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from) : "memory");
  return v;
#else
  return load_aligned<uint4>(from);
#endif
}
__device__ __forceinline__ uint2 look2(const void* from) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  uint2 v;
  asm volatile("ld.relaxed.gpu.global.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from) : "memory");
  return v;
#else
  return load_aligned<uint2>(from);
#endif
}
__device__ __forceinline__ std::uint32_t look1(const void* from) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  std::uint32_t v;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(from) : "memory");
  return v;
#else
  return load_aligned<std::uint32_t>(from);
#endif
}
// Calls look() until it returns true: whether all that it wants is there. It looks again only at what was not.
template <class Look>
__device__ __forceinline__ void await(Look&& look) {
#ifdef XGEN_CUDA_EMULATION
  if (!look()) emulation::fail("values that no block has written");
#else
  while (!look()) {
  }
#endif
}
// Where one block is the grid, its threads do not wait for each other by looking.
__device__ __forceinline__ void published() {
#ifdef XGEN_CUDA_EMULATION
  __syncthreads();
#endif
}
// What this block has waited for already: its bits, so that nothing waits for the load before they are used.
__device__ __forceinline__ std::uint16_t load_again(const bfloat16* from) {
#ifdef XGEN_CUDA_EMULATION
  return from->bits;
#else
  return __ldcg(reinterpret_cast<const std::uint16_t*>(from));
#endif
}

// ------------------------------------------------------------------------------------------------------------- clearing

// All values are absent before any is published. counters[0]: blocks that have cleared their part; [1]: blocks that are done.

// The block's part, of `used` splits: by `threads` of its threads, of which this is `thread`, and after a barrier of theirs by one of them.
__device__ __forceinline__ void clear_exchange(const Call& a, unsigned used, unsigned thread, unsigned threads) {
  const unsigned parts = (a.places.partial + used * a.split_bytes) / sizeof(uint4);
#pragma unroll 1
  for (unsigned layer = 0; layer < a.layer_count; layer++) {
    unsigned char* const to = a.exchange + std::size_t{layer} * a.layer_bytes;
    for (unsigned i = blockIdx.x * threads + thread; i < parts; i += gridDim.x * threads) store_aligned(to + i * sizeof(uint4), unwritten4());
  }
}
__device__ __forceinline__ void announce_cleared([[maybe_unused]] const Call& a) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(a.counters) : "memory");
#endif
}
// All blocks have.
__device__ __forceinline__ void wait_for_cleared([[maybe_unused]] const Call& a) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if (threadIdx.x == 0) {
    std::uint32_t now;
    do {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(a.counters) : "memory");
    } while (now < gridDim.x);
  }
#endif
  XGEN_SYNC_WORKERS();
}

}  // namespace xgen::cuda::decoder
