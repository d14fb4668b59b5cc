#include "matrix_bfloat16.h"

#include "matrix.h"
#include "tile.h"
#include "transpose.h"
#include "xgen/memory.h"

namespace xgen::XGEN_VARIANT {

#if defined(XGEN_NATIVE_BFLOAT16)

namespace {

using Pair = std::uint32_t;  // bfloat16 of an even k in the low half, of the next one in the high half

constexpr std::size_t kLeftRows = kRowTile * 8;

// 16 pairs (low[i], high[i]).
XGEN_INLINE __m512i interleave(Vec low, Vec high) {
  const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(high, low);
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20,
                                         4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, halves);
}

// 32 floats in a row (those past `count` as zero) to 16 pairs.
XGEN_INLINE __m512i convert_row(const float* p, std::size_t count) {
  const Vec low = load_first(p, count < kWidth ? count : kWidth);
  const std::size_t rest = count < kWidth ? 0 : count - kWidth;
  const Vec high = rest == 0 ? Vec{} : load_first(p + kWidth, rest < kWidth ? rest : kWidth);
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

template <std::size_t kRows, bool kTransposed>
void multiply_tile_pairs(const Pair* a, std::ptrdiff_t a_stride, const Pair* b, std::size_t pairs, float* c,
                         std::ptrdiff_t c_stride, bool accumulate) {
  Vec sum[kRows][kTileVectors] = {};
  for (std::size_t kk = 0; kk < pairs; kk++) {
    __m512i right[kTileVectors];
    XGEN_UNROLL
    for (std::size_t v = 0; v < kTileVectors; v++) right[v] = _mm512_loadu_si512(b + v * kWidth);
    XGEN_UNROLL
    for (std::size_t i = 0; i < kRows; i++) {
      const Pair pair = kTransposed ? a[i] : a[static_cast<std::ptrdiff_t>(i) * a_stride];
      const __m512i left = _mm512_set1_epi32(static_cast<int>(pair));
      XGEN_UNROLL
      for (std::size_t v = 0; v < kTileVectors; v++) {
        sum[i][v] = _mm512_dpbf16_ps(sum[i][v], (__m512bh)left, (__m512bh)right[v]);
      }
    }
    a += kTransposed ? a_stride : 1;
    b += kColumnTile;
  }
  write_tile(sum, c, c_stride, accumulate);
}

using PairTileFunction = void (*)(const Pair*, std::ptrdiff_t, const Pair*, std::size_t, float*, std::ptrdiff_t, bool);

template <bool kTransposed, std::size_t... kCounts>
struct PairTileTable {
  static constexpr PairTileFunction functions[] = {multiply_tile_pairs<kCounts, kTransposed>...};
};
template <bool kTransposed>
using PairTiles = PairTileTable<kTransposed, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14>;

void copy_left(const float* source, std::ptrdiff_t source_stride, std::size_t rows, std::size_t k, Pair* target,
               std::size_t stride) {
  for (std::size_t i = 0; i < rows; i++, source += source_stride, target += stride) {
    for (std::size_t kk = 0; kk < k; kk += 2 * kWidth) _mm512_storeu_si512(target + kk / 2, convert_row(source + kk, k - kk));
  }
}

// As copy_left_transposed in matrix.cpp, in pairs.
void copy_left_transposed(const float* source, std::ptrdiff_t source_stride, std::size_t rows, std::size_t k, Pair* target,
                          std::size_t tile_stride) {
  for (std::size_t kk = 0; kk < k; kk += 2, source += 2 * source_stride, target += kRowTile) {
    if (kk + 1 + kRowsAhead < k) {
      const float* soon = source + static_cast<std::ptrdiff_t>(kRowsAhead) * source_stride;
      prefetch(soon, rows);
      prefetch(soon + source_stride, rows);
    }
    Pair* to = target;
    for (std::size_t i = 0; i < rows; i += kRowTile, to += tile_stride) {
      const std::size_t count = rows - i < kRowTile ? rows - i : kRowTile;
      const Vec low = load_first(source + i, count);
      const Vec high = kk + 1 < k ? load_first(source + source_stride + i, count) : Vec{};
      _mm512_storeu_si512(to, interleave(low, high));
    }
  }
}

// Columns of a right operand stored as rows, [columns][k]: transposed a square of registers at a time.
void pack_columns_pairs(const MatrixView& right, std::size_t k0, std::size_t k, std::size_t column, std::size_t width,
                        Pair* target) {
  const std::size_t pairs = (k + 1) / 2, total = panel_count(width) * kColumnTile;
  for (std::size_t j = 0; j < total; j += kWidth) {
    const std::size_t count = width <= j ? 0 : (width - j < kWidth ? width - j : kWidth);
    const float* source = right.data + static_cast<std::ptrdiff_t>(column + j) * right.stride + k0;
    Pair* to = target + j / kColumnTile * kColumnTile * pairs + j % kColumnTile;
    for (std::size_t kk = 0; kk < k; kk += 2 * kWidth) {
      Vec block[kWidth];
      for (std::size_t i = 0; i < kWidth; i++) {
        block[i] = i < count ? (Vec)convert_row(source + static_cast<std::ptrdiff_t>(i) * right.stride + kk, k - kk) : Vec{};
      }
      transpose_registers(block);
      const std::size_t depth = pairs - kk / 2 < kWidth ? pairs - kk / 2 : kWidth;
      for (std::size_t i = 0; i < depth; i++) _mm512_storeu_si512(to + (kk / 2 + i) * kColumnTile, (__m512i)block[i]);
    }
  }
}

// Columns of a right operand stored as it is, [k][columns]: two rows interleaved, read along.
void pack_rows_pairs(const MatrixView& right, std::size_t k0, std::size_t k, std::size_t column, std::size_t width,
                     Pair* target) {
  const std::size_t pairs = (k + 1) / 2, total = panel_count(width) * kColumnTile;
  const float* source = right.data + static_cast<std::ptrdiff_t>(k0) * right.stride + column;
  for (std::size_t kk = 0; kk < k; kk += 2, source += 2 * right.stride, target += kColumnTile) {
    for (std::size_t j = 0; j < total; j += kWidth) {
      const std::size_t count = width <= j ? 0 : (width - j < kWidth ? width - j : kWidth);
      const Vec low = load_first(source + j, count);
      const Vec high = kk + 1 < k ? load_first(source + right.stride + j, count) : Vec{};
      _mm512_storeu_si512(target + j / kColumnTile * kColumnTile * pairs + j % kColumnTile, interleave(low, high));
    }
  }
}

}  // namespace

void pack_right_bfloat16(const MatrixView& right, std::size_t k0, std::size_t k, std::size_t column, std::size_t width,
                         std::size_t panel, std::size_t panels, void* packed) {
  const std::size_t pairs = (k + 1) / 2;
  Pair* target = static_cast<Pair*>(packed) + k0 / 2 * panels * kColumnTile + panel * pairs * kColumnTile;
  if (right.transposed) {
    pack_columns_pairs(right, k0, k, column, width, target);
  } else {
    pack_rows_pairs(right, k0, k, column, width, target);
  }
}

void multiply_block_bfloat16(const BlockProduct& p) {
  const std::size_t depth = k_block(p.k, p.precision);
  Pair* buffer = thread_scratch(ScratchSlot::task).reserve_array<Pair>(kLeftRows * (depth / 2 + 3 * kWidth));
  for (std::size_t k0 = 0; k0 < p.k; k0 += depth) {
    const std::size_t k = p.k - k0 < depth ? p.k - k0 : depth;
    const std::size_t pairs = (k + 1) / 2;
    const Pair* panels = static_cast<const Pair*>(p.packed) + k0 / 2 * p.panels * kColumnTile;
    const bool accumulate = p.accumulate || k0 > 0;
    const std::size_t copy_stride = (pairs + kWidth - 1) / kWidth * kWidth + kWidth;
    const std::size_t tile_stride = pairs * kRowTile + kWidth;
    for (std::size_t i0 = p.m0; i0 < p.m1; i0 += kLeftRows) {
      const std::size_t chunk = p.m1 - i0 < kLeftRows ? p.m1 - i0 : kLeftRows;
      const std::ptrdiff_t row0 = static_cast<std::ptrdiff_t>(i0);
      if (p.left.transposed) {
        copy_left_transposed(p.left.data + static_cast<std::ptrdiff_t>(k0) * p.left.stride + row0, p.left.stride, chunk, k, buffer,
                             tile_stride);
      } else {
        copy_left(p.left.data + row0 * p.left.stride + k0, p.left.stride, chunk, k, buffer, copy_stride);
      }
      for (std::size_t i = 0; i < chunk; i += kRowTile) {
        const std::size_t count = chunk - i < kRowTile ? chunk - i : kRowTile;
        const Pair* a = p.left.transposed ? buffer + i / kRowTile * tile_stride : buffer + i * copy_stride;
        const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(p.left.transposed ? kRowTile : copy_stride);
        const PairTileFunction tile =
            p.left.transposed ? PairTiles<true>::functions[count - 1] : PairTiles<false>::functions[count - 1];
        float* c = p.c + (row0 + static_cast<std::ptrdiff_t>(i)) * p.c_stride;
        for (std::size_t panel = p.panel0; panel < p.panel1; panel++) {
          const std::size_t column = p.column0 + panel * kColumnTile;
          const std::size_t width = p.columns - column < kColumnTile ? p.columns - column : kColumnTile;
          const Pair* b = panels + panel * pairs * kColumnTile;
          if (width == kColumnTile) {
            tile(a, stride, b, pairs, c + column, p.c_stride, accumulate);
          } else {
            float partial[kRowTile * kColumnTile];
            tile(a, stride, b, pairs, partial, kColumnTile, false);
            merge_partial(partial, count, width, c + column, p.c_stride, accumulate);
          }
        }
      }
    }
  }
}

#else

void pack_right_bfloat16(const MatrixView&, std::size_t, std::size_t, std::size_t, std::size_t, std::size_t, std::size_t, void*) {}
void multiply_block_bfloat16(const BlockProduct&) {}

#endif

}  // namespace xgen::XGEN_VARIANT
