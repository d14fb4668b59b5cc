// One vector type for every variant, by the compilers' vector extensions, and the few operations they lack.
//
// Each source of this folder is compiled once a variant, with XGEN_VARIANT as its namespace. Nothing here may use templates or
// inline functions of the standard library: the linker keeps one copy of those, and it could be the one that an older
// processor cannot run.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(XGEN_WIDTH_16) || defined(XGEN_WIDTH_8)
#include <immintrin.h>
#endif

#define XGEN_INLINE static inline __attribute__((always_inline))

namespace xgen::XGEN_VARIANT {

#if defined(XGEN_WIDTH_16)
constexpr std::size_t kWidth = 16;
#elif defined(XGEN_WIDTH_8)
constexpr std::size_t kWidth = 8;
#else
constexpr std::size_t kWidth = 4;
#endif

typedef float Vec __attribute__((vector_size(kWidth * 4)));
typedef std::int32_t IntVec __attribute__((vector_size(kWidth * 4)));
typedef float VecUnaligned __attribute__((vector_size(kWidth * 4), aligned(4), may_alias));
typedef std::int32_t IntVecUnaligned __attribute__((vector_size(kWidth * 4), aligned(4), may_alias));
typedef double DoubleVec __attribute__((vector_size(kWidth * 8)));
typedef std::int64_t LongVec __attribute__((vector_size(kWidth * 8)));

// Asks for `count` floats some time before they are read.
XGEN_INLINE void prefetch(const float* p, std::size_t count) {
  constexpr std::size_t kLineFloats = 16;
  for (std::size_t i = 0; i < count; i += kLineFloats) __builtin_prefetch(p + i);
}
// How many rows ahead, where rows lie too far apart for the processor to see the pattern.
constexpr std::size_t kRowsAhead = 8;

XGEN_INLINE Vec load(const float* p) { return *reinterpret_cast<const VecUnaligned*>(p); }
XGEN_INLINE void store(float* p, Vec v) { *reinterpret_cast<VecUnaligned*>(p) = v; }
XGEN_INLINE Vec splat(float x) { return x - Vec{}; }
XGEN_INLINE IntVec splat_int(std::int32_t x) { return x - IntVec{}; }

XGEN_INLINE IntVec lanes() {
  IntVec v = {};
  for (std::size_t i = 0; i < kWidth; i++) v[i] = static_cast<std::int32_t>(i);
  return v;
}

#if defined(XGEN_WIDTH_8)
// From element kWidth - n on: a mask of the first n lanes.
alignas(64) constexpr std::int32_t kFirstLanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
#endif

// The first n lanes; the others are zero. 0 <= n <= kWidth.
XGEN_INLINE Vec load_first(const float* p, std::size_t n) {
#if defined(XGEN_WIDTH_16)
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
#elif defined(XGEN_WIDTH_8)
  return _mm256_maskload_ps(p, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kFirstLanes + kWidth - n)));
#else
  Vec v = {};
  for (std::size_t i = 0; i < n; i++) v[i] = p[i];
  return v;
#endif
}

XGEN_INLINE void store_first(float* p, Vec v, std::size_t n) {
#if defined(XGEN_WIDTH_16)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
#elif defined(XGEN_WIDTH_8)
  _mm256_maskstore_ps(p, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kFirstLanes + kWidth - n)), v);
#else
  for (std::size_t i = 0; i < n; i++) p[i] = v[i];
#endif
}

XGEN_INLINE Vec max_of(Vec a, Vec b) { return a > b ? a : b; }
XGEN_INLINE Vec min_of(Vec a, Vec b) { return a < b ? a : b; }
XGEN_INLINE IntVec bits(Vec v) { return reinterpret_cast<IntVec>(v); }
XGEN_INLINE Vec from_bits(IntVec v) { return reinterpret_cast<Vec>(v); }

// Sums and maxima over lanes pair lane i with lane i + half, always in the same order.
XGEN_INLINE float sum_lanes(Vec v) {
#if defined(XGEN_WIDTH_16)
  return _mm512_reduce_add_ps(v);
#else
  float x[kWidth];
  store(x, v);
  for (std::size_t half = kWidth / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; i++) x[i] += x[i + half];
  }
  return x[0];
#endif
}

XGEN_INLINE float max_lanes(Vec v) {
#if defined(XGEN_WIDTH_16)
  return _mm512_reduce_max_ps(v);
#else
  float x[kWidth];
  store(x, v);
  for (std::size_t half = kWidth / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; i++) x[i] = x[i] > x[i + half] ? x[i] : x[i + half];
  }
  return x[0];
#endif
}

// Rounds to the nearest bfloat16, ties to even, and stays in float32. NaN stays NaN.
XGEN_INLINE Vec round_to_bfloat16(Vec v) {
  const IntVec u = bits(v);
  const IntVec rounded = (u + 0x7fff + ((u >> 16) & 1)) & static_cast<std::int32_t>(0xffff0000u);
  return v == v ? from_bits(rounded) : v;
}

// exp(x) for x <= 88: relative error below 2e-7 down to -87.3, 0 below that (so for minus infinity); larger x count as
// 88; NaN stays NaN. x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial in r (minimax), and 2^n put together from bits.
XGEN_INLINE Vec exponential(Vec x) {
  const Vec low = splat(-87.33654f), high = splat(88.0f);
  const Vec y = x > high ? high : x;
  const Vec magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const Vec shifted = y * 1.44269504088896341f + magic;
  const Vec n = shifted - magic;
  const Vec r = (y - n * 0.693145751953125f) - n * 1.42860682030941723e-6f;
  Vec p = splat(0.0013814466074109077f);
  p = p * r + 0.008368780836462975f;
  p = p * r + 0.04166839271783829f;
  p = p * r + 0.1666651964187622f;
  p = p * r + 0.4999999403953552f;
  p = p * (r * r) + r + 1.0f;
  const Vec result = p * from_bits((bits(shifted) + 127) << 23);
  return y < low ? Vec{} : result;
}

XGEN_INLINE Vec square_root(Vec v) {
#if defined(XGEN_WIDTH_16)
  return _mm512_sqrt_ps(v);
#elif defined(XGEN_WIDTH_8)
  return _mm256_sqrt_ps(v);
#else
  for (std::size_t i = 0; i < kWidth; i++) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

}  // namespace xgen::XGEN_VARIANT
