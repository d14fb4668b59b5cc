// float32 products, and bfloat16 ones where the processor has no instruction for them: inputs are then rounded while they
// are packed, and multiplied as float32. matrix_bfloat16.cpp has the native kind.
#include "matrix.h"

#include "matrix_bfloat16.h"
#include "tile.h"
#include "xgen/memory.h"

namespace xgen::XGEN_VARIANT {

namespace {

constexpr std::size_t kDepthLimit = kColumnTile < 32 ? 256 : 384;        // of a block of k: a row tile of it stays in the first-level cache
constexpr std::size_t kLeftRows = kRowTile * ((112 + kRowTile - 1) / kRowTile);  // packed at a time

// Which of the two operands of a tile waits in the first-level cache while the other comes from the second: the larger one
// that still fits. A row tile of AVX-512 is half of that cache, its panel too large for it; a panel of the others fits.
constexpr bool kPanelsOutside = kColumnTile < 32;

void round_in_place(float* x, std::size_t count) {
  std::size_t i = 0;
  for (; i + kWidth <= count; i += kWidth) store(x + i, round_to_bfloat16(load(x + i)));
  if (i < count) store_first(x + i, round_to_bfloat16(load_first(x + i, count - i)), count - i);
}

// A strided read is fine until many rows of a tile fall into the same cache sets.
bool reads_well_in_place(std::ptrdiff_t stride, std::size_t rows) { return stride % 256 != 0 || rows <= 4; }

// [rows][k] copied to rows of `stride` floats.
void copy_left(const float* source, std::ptrdiff_t source_stride, std::size_t rows, std::size_t k, float* target,
               std::size_t stride, bool round) {
  for (std::size_t i = 0; i < rows; i++, source += source_stride, target += stride) {
    std::size_t kk = 0;
    for (; kk + kWidth <= k; kk += kWidth) {
      const Vec v = load(source + kk);
      store(target + kk, round ? round_to_bfloat16(v) : v);
    }
    if (kk < k) {
      const Vec v = load_first(source + kk, k - kk);
      store(target + kk, round ? round_to_bfloat16(v) : v);
    }
  }
}

// [k][rows] copied to tiles of [k][kRowTile], `tile_stride` floats apart. Rows of the source are read along. Stores are whole
// vectors: what they write too far is overwritten by the next, and a tile has room for the last.
void copy_left_transposed(const float* source, std::ptrdiff_t source_stride, std::size_t rows, std::size_t k, float* target,
                          std::size_t tile_stride, bool round) {
  for (std::size_t kk = 0; kk < k; kk++, source += source_stride, target += kRowTile) {
    if (kk + kRowsAhead < k) prefetch(source + static_cast<std::ptrdiff_t>(kRowsAhead) * source_stride, rows);
    float* to = target;
    for (std::size_t i = 0; i < rows; i += kRowTile, to += tile_stride) {
      const std::size_t count = rows - i < kRowTile ? rows - i : kRowTile;
      for (std::size_t first = 0; first < count; first += kWidth) {
        const std::size_t left = count - first;
        const Vec v = load_first(source + i + first, left < kWidth ? left : kWidth);
        store(to + first, round ? round_to_bfloat16(v) : v);
      }
    }
  }
}

void multiply_block_float32(const BlockProduct& p) {
  const bool round = p.precision == Precision::bfloat16;
  const std::size_t depth = k_block(p.k, p.precision);
  const std::size_t rows = p.m1 - p.m0;
  const bool in_place = !round && !p.left.transposed && reads_well_in_place(p.left.stride, rows);
  float* buffer = in_place ? nullptr
                           : thread_scratch(ScratchSlot::task).reserve_array<float>(kLeftRows * (depth + 2 * kWidth));

  for (std::size_t k0 = 0; k0 < p.k; k0 += depth) {
    const std::size_t k = p.k - k0 < depth ? p.k - k0 : depth;
    const float* panels = static_cast<const float*>(p.packed) + k0 * p.panels * kColumnTile;
    const bool accumulate = p.accumulate || k0 > 0;
    // Rows of the copy are kept out of step with the cache's sets.
    const std::size_t copy_stride = (k + kWidth - 1) / kWidth * kWidth + kWidth;
    const std::size_t tile_stride = k * kRowTile + kWidth;
    for (std::size_t i0 = p.m0; i0 < p.m1; i0 += kLeftRows) {
      const std::size_t chunk = p.m1 - i0 < kLeftRows ? p.m1 - i0 : kLeftRows;
      const std::ptrdiff_t row0 = static_cast<std::ptrdiff_t>(i0);
      const float* left = p.left.transposed ? p.left.data + static_cast<std::ptrdiff_t>(k0) * p.left.stride + row0
                                            : p.left.data + row0 * p.left.stride + k0;
      if (p.left.transposed) {
        copy_left_transposed(left, p.left.stride, chunk, k, buffer, tile_stride, round);
      } else if (!in_place) {
        copy_left(left, p.left.stride, chunk, k, buffer, copy_stride, round);
      }
      const auto run_one = [&](std::size_t i, std::size_t panel) {
        const std::size_t count = chunk - i < kRowTile ? chunk - i : kRowTile;
        const float* a = p.left.transposed ? buffer + i / kRowTile * tile_stride
                         : in_place        ? left + static_cast<std::ptrdiff_t>(i) * p.left.stride
                                           : buffer + i * copy_stride;
        const std::ptrdiff_t stride = p.left.transposed ? static_cast<std::ptrdiff_t>(kRowTile)
                                      : in_place        ? p.left.stride
                                                        : static_cast<std::ptrdiff_t>(copy_stride);
        const std::size_t column = p.column0 + panel * kColumnTile;
        const std::size_t width = p.columns - column < kColumnTile ? p.columns - column : kColumnTile;
        float* c = p.c + (row0 + static_cast<std::ptrdiff_t>(i)) * p.c_stride + column;
        run_tile(tile_for(count, p.left.transposed), count, a, stride, panels + panel * k * kColumnTile, k, c, p.c_stride, width,
                 accumulate);
      };
      if (kPanelsOutside) {
        for (std::size_t panel = p.panel0; panel < p.panel1; panel++) {
          for (std::size_t i = 0; i < chunk; i += kRowTile) run_one(i, panel);
        }
      } else {
        for (std::size_t i = 0; i < chunk; i += kRowTile) {
          for (std::size_t panel = p.panel0; panel < p.panel1; panel++) run_one(i, panel);
        }
      }
    }
  }
}

}  // namespace

std::size_t k_block(std::size_t k, Precision precision) {
  const std::size_t limit = precision == Precision::bfloat16 && kNativeBfloat16 ? 2 * kDepthLimit : kDepthLimit;
  const std::size_t blocks = k <= limit ? 1 : (k + limit - 1) / limit;
  const std::size_t depth = (k + blocks - 1) / blocks;
  return depth == 0 ? 16 : (depth + 15) / 16 * 16;
}

std::size_t packed_bytes(std::size_t k, std::size_t panels, Precision precision) {
  if (precision == Precision::bfloat16 && kNativeBfloat16) return (k + 1) / 2 * 2 * panels * kColumnTile * 2;
  return k * panels * kColumnTile * 4;
}

void pack_right(const MatrixView& right, std::size_t k, std::size_t columns, std::size_t block, std::size_t panel0,
                std::size_t panel1, std::size_t panels, void* packed, Precision precision) {
  const std::size_t depth = k_block(k, precision);
  const std::size_t k0 = block * depth;
  const std::size_t count = k - k0 < depth ? k - k0 : depth;
  const std::size_t column = panel0 * kColumnTile;
  const std::size_t width = columns < panel1 * kColumnTile ? columns - column : (panel1 - panel0) * kColumnTile;
  if (precision == Precision::bfloat16 && kNativeBfloat16) {
    pack_right_bfloat16(right, k0, count, column, width, panel0, panels, packed);
    return;
  }
  float* target = static_cast<float*>(packed) + k0 * panels * kColumnTile + panel0 * count * kColumnTile;
  const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(right.transposed ? column : k0);
  const float* source = right.data + row * right.stride + (right.transposed ? k0 : column);
  if (right.transposed) {
    pack_columns(source, right.stride, count, width, target);
  } else {
    pack_rows(source, right.stride, count, width, target);
  }
  if (precision == Precision::bfloat16) round_in_place(target, (panel1 - panel0) * count * kColumnTile);
}

void multiply_block(const BlockProduct& product) {
  if (product.precision == Precision::bfloat16 && kNativeBfloat16) {
    multiply_block_bfloat16(product);
  } else {
    multiply_block_float32(product);
  }
}

}  // namespace xgen::XGEN_VARIANT
