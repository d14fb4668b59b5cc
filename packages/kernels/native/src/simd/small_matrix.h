// Products on packed panels: the inner loops that matrix products and attention share.
//
// A panel holds kColumnTile columns of the right operand, [k][kColumnTile], zeros where there is no column. Every element of a
// result is one chain of multiply-adds over k in rising order, whatever the number of rows or columns around it.
#pragma once

#include "vector.h"

namespace xgen::XGEN_VARIANT {

#if defined(XGEN_WIDTH_16)
constexpr std::size_t kRowTile = 14, kTileVectors = 2;
#elif defined(XGEN_WIDTH_8)
constexpr std::size_t kRowTile = 6, kTileVectors = 2;
#elif defined(__aarch64__)
constexpr std::size_t kRowTile = 6, kTileVectors = 4;
#else
constexpr std::size_t kRowTile = 4, kTileVectors = 2;
#endif
constexpr std::size_t kColumnTile = kTileVectors * kWidth;

XGEN_INLINE std::size_t panel_count(std::size_t columns) { return (columns + kColumnTile - 1) / kColumnTile; }

// c[rows][columns] (+)= a * panels. a is [rows][k] with `a_stride`, or [k][rows] when a_transposed.
void multiply_panels(const float* a, std::ptrdiff_t a_stride, bool a_transposed, std::size_t rows, const float* panels,
                     std::size_t k, float* c, std::ptrdiff_t c_stride, std::size_t columns, bool accumulate);

// Panels from rows: b is [k][columns].
void pack_rows(const float* b, std::ptrdiff_t stride, std::size_t k, std::size_t columns, float* panels);
// Panels from columns: b is [columns][k].
void pack_columns(const float* b, std::ptrdiff_t stride, std::size_t k, std::size_t columns, float* panels);


}  // namespace xgen::XGEN_VARIANT
