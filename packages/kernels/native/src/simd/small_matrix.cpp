#include "small_matrix.h"

#include "tile.h"
#include "transpose.h"

namespace xgen::XGEN_VARIANT {

void multiply_panels(const float* a, std::ptrdiff_t a_stride, bool a_transposed, std::size_t rows, const float* panels,
                     std::size_t k, float* c, std::ptrdiff_t c_stride, std::size_t columns, bool accumulate) {
  for (std::size_t i = 0; i < rows; i += kRowTile) {
    const std::size_t count = rows - i < kRowTile ? rows - i : kRowTile;
    const float* a_tile = a_transposed ? a + i : a + static_cast<std::ptrdiff_t>(i) * a_stride;
    const TileFunction tile = tile_for(count, a_transposed);
    for (std::size_t j = 0; j < columns; j += kColumnTile) {
      const std::size_t width = columns - j < kColumnTile ? columns - j : kColumnTile;
      run_tile(tile, count, a_tile, a_stride, panels + j * k, k, c + static_cast<std::ptrdiff_t>(i) * c_stride + j, c_stride,
               width, accumulate);
    }
  }
}

// Rows are read along, a few panels side by side: one line after the other, which the processor fetches ahead.
void pack_rows(const float* b, std::ptrdiff_t stride, std::size_t k, std::size_t columns, float* panels) {
  const std::size_t whole = columns / kColumnTile, rest = columns % kColumnTile;
  constexpr std::size_t kTogether = 256 / kColumnTile;
  for (std::size_t first = 0; first < whole; first += kTogether) {
    const std::size_t count = whole - first < kTogether ? whole - first : kTogether;
    const float* source = b + first * kColumnTile;
    float* target = panels + first * kColumnTile * k;
    for (std::size_t kk = 0; kk < k; kk++, source += stride, target += kColumnTile) {
      if (kk + kRowsAhead < k) prefetch(source + static_cast<std::ptrdiff_t>(kRowsAhead) * stride, count * kColumnTile);
      for (std::size_t panel = 0; panel < count; panel++) {
        for (std::size_t v = 0; v < kTileVectors; v++) {
          store(target + panel * kColumnTile * k + v * kWidth, load(source + panel * kColumnTile + v * kWidth));
        }
      }
    }
  }
  if (rest == 0) return;
  const float* source = b + whole * kColumnTile;
  float* target = panels + whole * kColumnTile * k;
  for (std::size_t kk = 0; kk < k; kk++, source += stride, target += kColumnTile) {
    for (std::size_t v = 0; v < kTileVectors; v++) {
      const std::size_t column = v * kWidth;
      const std::size_t count = rest <= column ? 0 : (rest - column < kWidth ? rest - column : kWidth);
      store(target + column, load_first(source + column, count));
    }
  }
}

void pack_columns(const float* b, std::ptrdiff_t stride, std::size_t k, std::size_t columns, float* panels) {
  for (std::size_t j = 0; j < columns; j += kWidth) {
    float* panel = panels + j / kColumnTile * kColumnTile * k + j % kColumnTile;
    const std::size_t count = columns - j < kWidth ? columns - j : kWidth;
    const float* source = b + static_cast<std::ptrdiff_t>(j) * stride;
    for (std::size_t kk = 0; kk < k; kk += kWidth) {
      const std::size_t depth = k - kk < kWidth ? k - kk : kWidth;
      Vec block[kWidth];
      for (std::size_t i = 0; i < kWidth; i++) {
        block[i] = i >= count ? Vec{}
                   : depth == kWidth ? load(source + static_cast<std::ptrdiff_t>(i) * stride + kk)
                                     : load_first(source + static_cast<std::ptrdiff_t>(i) * stride + kk, depth);
      }
      transpose_registers(block);
      for (std::size_t i = 0; i < depth; i++) store(panel + (kk + i) * kColumnTile, block[i]);
    }
  }
  // Whole vectors of missing columns in the last panel.
  const std::size_t filled = (columns + kWidth - 1) / kWidth * kWidth;
  const std::size_t total = panel_count(columns) * kColumnTile;
  for (std::size_t j = filled; j < total; j += kWidth) {
    float* panel = panels + j / kColumnTile * kColumnTile * k + j % kColumnTile;
    for (std::size_t kk = 0; kk < k; kk++) store(panel + kk * kColumnTile, Vec{});
  }
}

}  // namespace xgen::XGEN_VARIANT
