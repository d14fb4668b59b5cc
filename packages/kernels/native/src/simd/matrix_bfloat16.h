// Products with bfloat16 inputs and float32 sums, where the processor has an instruction for them (vdpbf16ps).
#pragma once

#include "small_matrix.h"
#include "xgen/kernel_table.h"

namespace xgen::XGEN_VARIANT {

#if defined(XGEN_NATIVE_BFLOAT16)
constexpr bool kNativeBfloat16 = true;
#else
constexpr bool kNativeBfloat16 = false;
#endif

// `width` columns from panel number `panel` on. k0 is even. Packed: pairs of neighbouring k in one 32-bit word,
// [k/2][kColumnTile] words a panel.
void pack_right_bfloat16(const MatrixView& right, std::size_t k0, std::size_t k, std::size_t column, std::size_t width,
                         std::size_t panel, std::size_t panels, void* packed);
void multiply_block_bfloat16(const BlockProduct& product);

}  // namespace xgen::XGEN_VARIANT
