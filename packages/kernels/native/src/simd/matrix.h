// Matrix products of a block of the result: packing and the loops around the microkernels.
#pragma once

#include "small_matrix.h"
#include "xgen/kernel_table.h"

namespace xgen::XGEN_VARIANT {

std::size_t k_block(std::size_t k, Precision precision);
std::size_t packed_bytes(std::size_t k, std::size_t panels, Precision precision);
void pack_right(const MatrixView& right, std::size_t k, std::size_t columns, std::size_t block, std::size_t panel0,
                std::size_t panel1, std::size_t panels, void* packed, Precision precision);
void multiply_block(const BlockProduct& product);

}  // namespace xgen::XGEN_VARIANT
