// Transposing a square of registers: rows in, columns out, in place.
#pragma once

#include "vector.h"

namespace xgen::XGEN_VARIANT {

#if defined(XGEN_WIDTH_16)
XGEN_INLINE void transpose_registers(Vec r[16]) {
  __m512 t[16], u[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int half = 0; half < 2; half++) {
      const __m512d a = _mm512_castps_pd(t[i + half]), b = _mm512_castps_pd(t[i + 2 + half]);
      u[i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
      u[i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
  }
  // u[4g + c] holds, in 128-bit lane q, column 4q + c of rows 4g..4g+3.
  for (int c = 0; c < 4; c++) {
    const __m512 a = _mm512_shuffle_f32x4(u[c], u[4 + c], 0x88), b = _mm512_shuffle_f32x4(u[c], u[4 + c], 0xdd);
    const __m512 d = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0x88), e = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0xdd);
    r[c] = _mm512_shuffle_f32x4(a, d, 0x88);
    r[8 + c] = _mm512_shuffle_f32x4(a, d, 0xdd);
    r[4 + c] = _mm512_shuffle_f32x4(b, e, 0x88);
    r[12 + c] = _mm512_shuffle_f32x4(b, e, 0xdd);
  }
}
#elif defined(XGEN_WIDTH_8)
XGEN_INLINE void transpose_registers(Vec r[8]) {
  __m256 t[8], u[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int half = 0; half < 2; half++) {
      u[i + 2 * half] = _mm256_shuffle_ps(t[i + half], t[i + 2 + half], 0x44);
      u[i + 2 * half + 1] = _mm256_shuffle_ps(t[i + half], t[i + 2 + half], 0xee);
    }
  }
  for (int c = 0; c < 4; c++) {
    r[c] = _mm256_permute2f128_ps(u[c], u[4 + c], 0x20);
    r[4 + c] = _mm256_permute2f128_ps(u[c], u[4 + c], 0x31);
  }
}
#else
XGEN_INLINE void transpose_registers(Vec r[4]) {
  Vec t[4];
  for (int i = 0; i < 4; i++) t[i] = Vec{r[0][i], r[1][i], r[2][i], r[3][i]};
  for (int i = 0; i < 4; i++) r[i] = t[i];
}
#endif

}  // namespace xgen::XGEN_VARIANT
