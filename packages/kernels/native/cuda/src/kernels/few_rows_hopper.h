// Products of a few rows on Hopper (compute capability 9.0): few_rows_hopper.cu. Else few_rows_product.cu has them.
#pragma once

#include "xgen/cuda/launch.h"
#include "xgen/cuda/matmul.h"

namespace xgen::cuda {

#ifdef XGEN_CUDA_EMULATION
inline bool few_rows_hopper_takes(const MatmulShape&, bool) { return false; }
inline void few_rows_hopper(Stream, const MatmulShape&, const void*, const void*, Array, const FewRowsOptions&, bool) {
  fail_launch("few_rows_product", "the emulated device is no Hopper");
}
#else
// Whether the current device and these sizes are taken, and faster than there, of what multiply_few_rows takes; any depth.
bool few_rows_hopper_takes(const MatmulShape& shape, bool gated);

// As multiply_few_rows, or multiply_few_rows_gated; without a norm.
void few_rows_hopper(Stream stream, const MatmulShape& shape, const void* x, const void* weight, Array y, const FewRowsOptions& options, bool gated);
#endif

}  // namespace xgen::cuda
