// What the kernels share: bfloat16, vector loads and stores as float32, warp and block reductions, fast exponentials.
#pragma once

#include "xgen/cuda/launch.h"

namespace xgen::cuda {

constexpr unsigned kWarp = 32;
constexpr unsigned kFullMask = 0xffffffffu;

// ------------------------------------------------------------------------------------------------------------ bfloat16

struct bfloat16 {
  std::uint16_t bits;
};

// Two floats, rounded to nearest even, the first in the low half.
__device__ __forceinline__ std::uint32_t pack_bfloat16(float low, float high) {
#ifdef XGEN_CUDA_EMULATION
  const auto rounded = [](float x) -> std::uint32_t {
    const std::uint32_t bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  };
  return rounded(low) | rounded(high) << 16;
#else
  std::uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#endif
}
__device__ __forceinline__ float low_bfloat16(std::uint32_t packed) { return __uint_as_float(packed << 16); }
__device__ __forceinline__ float high_bfloat16(std::uint32_t packed) { return __uint_as_float(packed & 0xffff0000u); }

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bfloat16 x) { return __uint_as_float(static_cast<std::uint32_t>(x.bits) << 16); }
__device__ __forceinline__ void from_float(float x, float& out) { out = x; }
__device__ __forceinline__ void from_float(float x, bfloat16& out) { out.bits = static_cast<std::uint16_t>(pack_bfloat16(x, 0.0f)); }

// -------------------------------------------------------------------------------------- kernels that follow one another

// See Follow (launch.h). Both do nothing in kernels that were launched after the end of the one before.
__device__ __forceinline__ void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void allow_next() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
// Where a kernel has nothing to do before the one before it has ended: the next may come, then wait.
__device__ __forceinline__ void follow_previous() {
  allow_next();
  wait_for_previous();
}
// Asks for `bytes` (a multiple of 16, at an address that is one) to be brought into the second-level cache.
__device__ __forceinline__ void prefetch([[maybe_unused]] const void* from, [[maybe_unused]] unsigned bytes) {
#ifdef XGEN_CUDA_EMULATION
  emulation::check_readable(from, bytes);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
#endif
}
// The line of 128 bytes that holds the address.
__device__ __forceinline__ void prefetch_line([[maybe_unused]] const void* from) {
#ifdef XGEN_CUDA_EMULATION
  static_cast<void>(*static_cast<const volatile unsigned char*>(from));  // meets a guard page where it is in no array
#else
  asm volatile("prefetch.global.L2 [%0];" ::"l"(from) : "memory");
#endif
}

// ------------------------------------------------------------------------------------------------------------- vectors

template <class V>
__device__ __forceinline__ V load_aligned(const void* from) {
  const V* pointer = static_cast<const V*>(from);
#ifdef XGEN_CUDA_EMULATION
  emulation::check_aligned(pointer);
#endif
  return *pointer;
}
template <class V>
__device__ __forceinline__ void store_aligned(void* to, V value) {
  V* pointer = static_cast<V*>(to);
#ifdef XGEN_CUDA_EMULATION
  emulation::check_aligned(pointer);
#endif
  *pointer = value;
}

// Eight neighbours as float32: two 16-byte accesses of float32, one of bfloat16. Pointers are multiples of eight elements.
constexpr unsigned kVector = 8;
struct Floats8 {
  float v[8];
};
// The same eight as they lie in memory: loads in flight take no more registers than their bytes.
template <class T>
struct Packed8;
template <>
struct Packed8<float> {
  float4 a, b;
};
template <>
struct Packed8<bfloat16> {
  uint4 a;
};
__device__ __forceinline__ Packed8<float> load_packed8(const float* from) {
  return {load_aligned<float4>(from), load_aligned<float4>(from + 4)};
}
__device__ __forceinline__ Packed8<bfloat16> load_packed8(const bfloat16* from) { return {load_aligned<uint4>(from)}; }
__device__ __forceinline__ Floats8 unpack8(const Packed8<float>& p) { return {{p.a.x, p.a.y, p.a.z, p.a.w, p.b.x, p.b.y, p.b.z, p.b.w}}; }
__device__ __forceinline__ Floats8 unpack8(const Packed8<bfloat16>& p) {
  return {{low_bfloat16(p.a.x), high_bfloat16(p.a.x), low_bfloat16(p.a.y), high_bfloat16(p.a.y), low_bfloat16(p.a.z), high_bfloat16(p.a.z),
           low_bfloat16(p.a.w), high_bfloat16(p.a.w)}};
}
template <class T>
__device__ __forceinline__ Floats8 load8(const T* from) { return unpack8(load_packed8(from)); }
__device__ __forceinline__ void store8(float* to, const Floats8& x) {
  store_aligned(to, make_float4(x.v[0], x.v[1], x.v[2], x.v[3]));
  store_aligned(to + 4, make_float4(x.v[4], x.v[5], x.v[6], x.v[7]));
}
__device__ __forceinline__ void store8(bfloat16* to, const Floats8& x) {
  store_aligned(to, make_uint4(pack_bfloat16(x.v[0], x.v[1]), pack_bfloat16(x.v[2], x.v[3]), pack_bfloat16(x.v[4], x.v[5]),
                               pack_bfloat16(x.v[6], x.v[7])));
}

// Arrays whose type is only known at run time: the branch is the same for the whole grid.
__device__ __forceinline__ Floats8 load8(const void* from, ElementType type, std::size_t index) {
  return type == ElementType::bfloat16 ? load8(static_cast<const bfloat16*>(from) + index)
                                       : load8(static_cast<const float*>(from) + index);
}
__device__ __forceinline__ void store8(void* to, ElementType type, std::size_t index, const Floats8& x) {
  if (type == ElementType::bfloat16) {
    store8(static_cast<bfloat16*>(to) + index, x);
  } else {
    store8(static_cast<float*>(to) + index, x);
  }
}
__device__ __forceinline__ float load1(const void* from, ElementType type, std::size_t index) {
  return type == ElementType::bfloat16 ? to_float(static_cast<const bfloat16*>(from)[index]) : static_cast<const float*>(from)[index];
}
__device__ __forceinline__ void store1(void* to, ElementType type, std::size_t index, float x) {
  if (type == ElementType::bfloat16) {
    from_float(x, static_cast<bfloat16*>(to)[index]);
  } else {
    static_cast<float*>(to)[index] = x;
  }
}

// ---------------------------------------------------------------------------------------------------------- reductions

struct Add {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const { return a + b; }
};
// NaN wins, as in tfjs.
struct Maximum {
  __device__ __forceinline__ float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};
struct Minimum {
  __device__ __forceinline__ float operator()(float a, float b) const { return a < b || a != a ? a : b; }
};

// Over groups of `lanes` neighbouring lanes; every lane gets the result.
template <int lanes = 32, class T, class Operation>
__device__ __forceinline__ T warp_reduce(T value, Operation operation) {
#pragma unroll
  for (int step = lanes / 2; step > 0; step /= 2) value = operation(value, __shfl_xor_sync(kFullMask, value, step));
  return value;
}

// Over a block of `threads`; every thread gets the result. `scratch` holds threads / 32 values, which the next call may overwrite only
// after a barrier of the caller's.
template <unsigned threads, class T, class Operation>
__device__ __forceinline__ T block_reduce(T value, Operation operation, T* scratch) {
  value = warp_reduce(value, operation);
  if (threads == kWarp) return value;
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = value;
  __syncthreads();
  T total = scratch[0];
#pragma unroll
  for (unsigned i = 1; i < threads / kWarp; i++) total = operation(total, scratch[i]);
  return total;
}

// --------------------------------------------------------------------------------------------------------- arithmetic

constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;

// 2^x, to 2 units in the last place; 0 below -126.
__device__ __forceinline__ float exp2_fast(float x) {
#ifdef XGEN_CUDA_EMULATION
  return x < -126.0f ? 0.0f : std::exp2(x);
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}
__device__ __forceinline__ float exp_fast(float x) { return exp2_fast(x * kLog2E); }

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }

// cos and sin of an angle in float32, for |x| up to 2^22: the multiple of pi/2 is taken off in three parts, each exact or rounded once,
// and polynomials do the rest. (sinf and cosf have a slow path from 105,615 on, which long contexts reach.)
__device__ __forceinline__ float2 cos_sin(float x) {
  const float turns = rintf(x * 0.636619772367581343f);
  float r = fmaf(-turns, 1.57079625129699707031f, x);
  r = fmaf(-turns, 7.54978941586159635335e-8f, r);
  r = fmaf(-turns, 5.39030285815811905e-15f, r);
  const float s = r * r;
  const float sine = fmaf(r * s, fmaf(s, fmaf(s, fmaf(s, 2.718311493989822e-6f, -1.984090468e-4f), 8.333329385889463e-3f), -1.666666664e-1f), r);
  const float cosine = fmaf(s, fmaf(s, fmaf(s, fmaf(s, 2.43904487962774090654e-5f, -1.38867637746099294692e-3f), 4.16666233237390631894e-2f), -0.5f), 1.0f);
  const int quadrant = static_cast<int>(turns) & 3;
  const float c = (quadrant & 1) != 0 ? sine : cosine, n = (quadrant & 1) != 0 ? cosine : sine;
  return make_float2(quadrant == 1 || quadrant == 2 ? -c : c, quadrant >= 2 ? -n : n);
}

// Unsigned integers in falling order of numbers: less is larger. Zeros of both signs are equal.
__device__ __forceinline__ std::uint32_t falling_order(float x) {
  const std::uint32_t bits = __float_as_uint(x + 0.0f);
  return (bits >> 31) != 0 ? bits : ~bits & 0x7fffffffu;
}

// Division of 32-bit numbers by one that the launch knows: where arrays are larger than 2^32 vectors, plain division.
__device__ __forceinline__ std::size_t quotient(std::size_t a, std::size_t b) {
  return (a | b) >> 32 == 0 ? static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b) : a / b;
}

// The first error found stays.
__device__ __forceinline__ void report(ErrorFlag* flag, DeviceError code, std::int64_t position, std::int32_t value) {
  if (flag == nullptr) return;
  if (atomicCAS(&flag->code, 0u, static_cast<std::uint32_t>(code)) == 0u) {
    flag->value = value;
    flag->position = position;
  }
}

// -------------------------------------------------------------------------------------------------------- host helpers

inline void require_float(const char* operation, ElementType type) {
  if (type != ElementType::float32 && type != ElementType::bfloat16) fail_launch(operation, "an array here must be float32 or bfloat16");
}
inline void require_same(const char* operation, ElementType a, ElementType b) {
  if (a != b) fail_launch(operation, "these arrays must have one element type");
}
// Calls f(T{}) with T the C++ type of a float element type.
template <class F>
void with_float(const char* operation, ElementType type, F&& f) {
  require_float(operation, type);
  if (type == ElementType::bfloat16) {
    f(bfloat16{});
  } else {
    f(float{});
  }
}
template <class T>
T* typed(const Array& array) { return static_cast<T*>(array.data); }
template <class T>
const T* typed(const ConstArray& array) { return static_cast<const T*>(array.data); }

}  // namespace xgen::cuda
