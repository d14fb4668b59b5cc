// The microkernels: kRows x kColumnTile results held in registers while k runs.
#pragma once

#include "small_matrix.h"

#if defined(__clang__)
#define XGEN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define XGEN_UNROLL _Pragma("GCC unroll 32")
#endif

namespace xgen::XGEN_VARIANT {

using TileFunction = void (*)(const float* a, std::ptrdiff_t a_stride, const float* b, std::size_t k, float* c,
                              std::ptrdiff_t c_stride, bool accumulate);

template <std::size_t kRows>
XGEN_INLINE void write_tile(Vec (&sum)[kRows][kTileVectors], float* c, std::ptrdiff_t c_stride, bool accumulate) {
  if (accumulate) {
    XGEN_UNROLL
    for (std::size_t i = 0; i < kRows; i++) {
      XGEN_UNROLL
      for (std::size_t v = 0; v < kTileVectors; v++) {
        float* target = c + static_cast<std::ptrdiff_t>(i) * c_stride + v * kWidth;
        store(target, load(target) + sum[i][v]);
      }
    }
  } else {
    XGEN_UNROLL
    for (std::size_t i = 0; i < kRows; i++) {
      XGEN_UNROLL
      for (std::size_t v = 0; v < kTileVectors; v++) {
        store(c + static_cast<std::ptrdiff_t>(i) * c_stride + v * kWidth, sum[i][v]);
      }
    }
  }
}

template <std::size_t kRows, bool kTransposed>
static void multiply_tile(const float* a, std::ptrdiff_t a_stride, const float* b, std::size_t k, float* c,
                          std::ptrdiff_t c_stride, bool accumulate) {
  Vec sum[kRows][kTileVectors] = {};
  for (std::size_t kk = 0; kk < k; kk++) {
    Vec right[kTileVectors];
    XGEN_UNROLL
    for (std::size_t v = 0; v < kTileVectors; v++) right[v] = load(b + v * kWidth);
    XGEN_UNROLL
    for (std::size_t i = 0; i < kRows; i++) {
      const Vec left = splat(kTransposed ? a[i] : a[static_cast<std::ptrdiff_t>(i) * a_stride]);
      XGEN_UNROLL
      for (std::size_t v = 0; v < kTileVectors; v++) sum[i][v] += left * right[v];
    }
    a += kTransposed ? a_stride : 1;
    b += kColumnTile;
  }
  write_tile(sum, c, c_stride, accumulate);
}

template <bool kTransposed, std::size_t... kCounts>
struct TileTable {
  static constexpr TileFunction functions[] = {multiply_tile<kCounts, kTransposed>...};
};
#if defined(XGEN_WIDTH_16)
template <bool kTransposed>
using Tiles = TileTable<kTransposed, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14>;
#elif defined(XGEN_WIDTH_8) || defined(__aarch64__)
template <bool kTransposed>
using Tiles = TileTable<kTransposed, 1, 2, 3, 4, 5, 6>;
#else
template <bool kTransposed>
using Tiles = TileTable<kTransposed, 1, 2, 3, 4>;
#endif

XGEN_INLINE TileFunction tile_for(std::size_t rows, bool transposed) {
  return transposed ? Tiles<true>::functions[rows - 1] : Tiles<false>::functions[rows - 1];
}

// Adds or copies the first `width` columns of a tile computed aside.
XGEN_INLINE void merge_partial(const float* partial, std::size_t rows, std::size_t width, float* c, std::ptrdiff_t c_stride,
                               bool accumulate) {
  for (std::size_t i = 0; i < rows; i++) {
    float* target = c + static_cast<std::ptrdiff_t>(i) * c_stride;
    for (std::size_t j = 0; j < width; j++) target[j] = accumulate ? target[j] + partial[i * kColumnTile + j] : partial[i * kColumnTile + j];
  }
}

XGEN_INLINE void run_tile(TileFunction tile, std::size_t rows, const float* a, std::ptrdiff_t a_stride, const float* panel,
                          std::size_t k, float* c, std::ptrdiff_t c_stride, std::size_t width, bool accumulate) {
  if (width == kColumnTile) {
    tile(a, a_stride, panel, k, c, c_stride, accumulate);
    return;
  }
  float partial[kRowTile * kColumnTile];
  tile(a, a_stride, panel, k, partial, kColumnTile, false);
  merge_partial(partial, rows, width, c, c_stride, accumulate);
}

}  // namespace xgen::XGEN_VARIANT
