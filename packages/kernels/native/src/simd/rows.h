// Operations on the rows of a batch: normalisation, rotary positions, the gated activation.
#pragma once

#include "vector.h"

namespace xgen::XGEN_VARIANT {

void rms_norm(const float* x, const float* residual, const float* weight, float* y, float* sum, float* inverse_rms,
              std::size_t rows, std::size_t width, float epsilon);
void rms_norm_grad(const float* x, const float* weight, const float* inverse_rms, const float* dy, const float* d_sum,
                   float* dx, float* d_weight, std::size_t rows, std::size_t width);
void rope(const float* x, float* y, const std::int32_t* positions, const float* inverse_frequencies, std::size_t rows,
          std::size_t width, std::size_t rotated_heads, std::size_t head_dimension, float scaling, bool inverse);
void swiglu(const float* gate_up, float* y, std::size_t rows, std::size_t width);
void swiglu_grad(const float* gate_up, const float* dy, float* d_gate_up, std::size_t rows, std::size_t width);

}  // namespace xgen::XGEN_VARIANT
