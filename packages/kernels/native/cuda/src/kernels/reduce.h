// Shared between kernels' sources.
#pragma once

#include "xgen/cuda/operations.h"

namespace xgen::cuda {

// out[c] = reduction over r of x[r][c], in one kernel: for few rows (partial results), in a fixed order.
void combine_columns(const char* operation, Stream stream, Reduction reduction, const float* x, Array out, std::size_t rows,
                     std::size_t width);

}  // namespace xgen::cuda
