// CUDA's execution model on the CPU, for tests: the kernels' sources compile with a plain C++ compiler against this header.
//
// A block's threads are fibers on one operating-system thread; blocks run one after another. Each fiber runs until it meets a barrier
// (or a warp operation, which is one for its warp), so a missing barrier shows as a wrong result rather than as luck: warps, the
// lanes' direction and blocks run in an order drawn from a seed, shared memory starts as NaN, and asynchronous copies happen
// as late as their waits allow, with NaN in their destination until then. It stops the program (and says why) where threads of a block
// wait at different barriers, leave while others wait, write past their shared memory, or access vectors unaligned.
// Cost: some 10 ns for each thread and barrier. Warp operations take the full mask only. Half of the tests' time is spent here, so what a
// kernel asks for at every turn (its indices, its warp's values) is inline.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace xgen::cuda::emulation {

struct Place {
  uint3 thread, block;
  dim3 block_size, grid_size;
};

// The running fiber's place and where its warp's values are left, of this operating-system thread. The indices are one load away, as a
// library that is opened at run time has them only where the linker reserves their place beforehand.
#ifdef __GLIBC__
#define XGEN_RESERVED __attribute__((tls_model("initial-exec")))
#else
#define XGEN_RESERVED
#endif
extern __thread const Place* running_place XGEN_RESERVED;
inline const Place& place() { return *running_place; }
// A block has one dimension.
inline unsigned lane() { return running_place->thread.x & 31; }

// The order in which warps, lanes and blocks run on this thread's launches; 0: ascending.
void set_order_seed(std::uint64_t seed);
void run(const char* operation, dim3 grid, unsigned threads, std::size_t shared_bytes, const std::function<void()>& kernel);

// What a kernel that began before its inputs were written might have read in their place: in a shuffled order now and then another number.
std::int32_t stale(std::int32_t value);

// Every launch passes through here, with copies of all its arguments: a stream that is being captured records it instead of running it
// (device_emulated.cpp sets the hook). Without a hook launches run at once.
using SubmitHook = void (*)(void* stream, std::function<void()> launch);
inline SubmitHook submit_hook = nullptr;
inline void submit(void* stream, std::function<void()> launch) {
  if (submit_hook == nullptr) launch();
  else submit_hook(stream, std::move(launch));
}

void block_barrier(int line);
// Leaves this lane's bytes for its warp, waits for the other lanes, and returns all 32 lanes' (kSlotBytes apart, valid until the next
// warp operation).
constexpr std::size_t kSlotBytes = 32;
unsigned char* warp_slots();  // of the next operation
void warp_barrier();
template <class T>
const unsigned char* warp_exchange(const T& value) {
  static_assert(sizeof(T) <= kSlotBytes);
  unsigned char* const slots = warp_slots();
  std::memcpy(slots + lane() * kSlotBytes, &value, sizeof(T));
  warp_barrier();
  return slots;
}
void* shared_array(const void* key, std::size_t bytes);
void* dynamic_shared();
void copy_async(void* destination, const void* source, std::size_t bytes, std::size_t source_bytes);
void commit_copies();
void wait_copies(unsigned groups_left);
[[noreturn]] void fail(const char* message);

template <class T>
T exchanged(const unsigned char* slots, unsigned from) {
  T value;
  std::memcpy(&value, slots + (from & 31) * kSlotBytes, sizeof(T));
  return value;
}
inline void check_mask(unsigned mask) {
  if (mask != 0xffffffffu) fail("a warp operation with a partial mask");
}
template <class V>
void check_aligned(const V* pointer) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % alignof(V) != 0) fail("an unaligned vector access");
}

// Meets a guard page where the range leaves its array.
inline void check_readable(const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  if (reinterpret_cast<std::uintptr_t>(from) % 16 != 0 || bytes % 16 != 0) fail("a prefetch that is not of whole pieces of 16 bytes");
  const volatile unsigned char* const first = static_cast<const unsigned char*>(from);
  static_cast<void>(first[0]);
  static_cast<void>(first[bytes - 1]);
}

}  // namespace xgen::cuda::emulation

#define threadIdx (::xgen::cuda::emulation::place().thread)
#define blockIdx (::xgen::cuda::emulation::place().block)
#define blockDim (::xgen::cuda::emulation::place().block_size)
#define gridDim (::xgen::cuda::emulation::place().grid_size)
#define __syncthreads() (::xgen::cuda::emulation::block_barrier(__LINE__))

inline void __syncwarp(unsigned mask = 0xffffffffu) {
  xgen::cuda::emulation::check_mask(mask);
  const char nothing = 0;
  xgen::cuda::emulation::warp_exchange(nothing);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32) {
  using namespace xgen::cuda::emulation;
  check_mask(mask);
  const unsigned base = lane() & ~static_cast<unsigned>(width - 1);
  return exchanged<T>(warp_exchange(value), base + (static_cast<unsigned>(from) & static_cast<unsigned>(width - 1)));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes) {
  using namespace xgen::cuda::emulation;
  check_mask(mask);
  return exchanged<T>(warp_exchange(value), lane() ^ static_cast<unsigned>(lanes));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta) {
  using namespace xgen::cuda::emulation;
  check_mask(mask);
  const unsigned own = lane();
  return exchanged<T>(warp_exchange(value), own < delta ? own : own - delta);
}
inline unsigned __ballot_sync(unsigned mask, bool predicate) {
  using namespace xgen::cuda::emulation;
  check_mask(mask);
  const unsigned char own = predicate ? 1 : 0;
  const unsigned char* slots = warp_exchange(own);
  unsigned votes = 0;
  for (unsigned i = 0; i < 32; i++) votes |= static_cast<unsigned>(slots[i * kSlotBytes]) << i;
  return votes;
}
inline unsigned __match_any_sync(unsigned mask, unsigned value) {
  using namespace xgen::cuda::emulation;
  check_mask(mask);
  const unsigned char* slots = warp_exchange(value);
  unsigned same = 0;
  for (unsigned i = 0; i < 32; i++) same |= (exchanged<unsigned>(slots, i) == value ? 1u : 0u) << i;
  return same;
}

inline void __threadfence() {}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((std::uint64_t{a} * b) >> 32); }
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
template <class T>
T atomicAdd(T* address, T value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
template <class T>
T atomicCAS(T* address, T expected, T desired) {
  __atomic_compare_exchange_n(address, &expected, desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
using std::max;
using std::min;
