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

void pack_rows(const float* b, std::ptrdiff_t stride, std::size_t k, std::size_t columns, float* panels) {
  for (std::size_t j = 0; j < columns; j += kColumnTile) {
    float* panel = panels + j * k;
    const std::size_t width = columns - j < kColumnTile ? columns - j : kColumnTile;
    const float* source = b + j;
    if (width == kColumnTile) {
      for (std::size_t kk = 0; kk < k; kk++, source += stride, panel += kColumnTile) {
        for (std::size_t v = 0; v < kTileVectors; v++) store(panel + v * kWidth, load(source + v * kWidth));
      }
    } else {
      for (std::size_t kk = 0; kk < k; kk++, source += stride, panel += kColumnTile) {
        for (std::size_t v = 0; v < kTileVectors; v++) {
          const std::size_t first = v * kWidth;
          const std::size_t count = width <= first ? 0 : (width - first < kWidth ? width - first : kWidth);
          store(panel + first, load_first(source + first, count));
        }
      }
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
