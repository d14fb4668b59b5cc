// Operations on flat ranges, and reductions over rows.
#pragma once

#include "vector.h"
#include "xgen/kernel_table.h"

namespace xgen::XGEN_VARIANT {

void log_sum_exp_block(const float* logits, std::ptrdiff_t stride, std::size_t rows, std::size_t columns, float* maxima,
                       float* sums);
void cross_entropy_grad_block(float* logits, std::ptrdiff_t stride, std::size_t rows, std::size_t columns,
                              const float* log_sum_exp, const float* dy, const std::int32_t* targets,
                              std::size_t first_column);
void softmax(const float* x, float* y, std::size_t rows, std::size_t width);
float row_sum(const float* x, std::size_t count);
double exact_sum(const float* x, std::size_t count);
float maximum(const float* x, std::size_t count);
double exp_shifted(const float* x, float* out, std::size_t count, float shift, float factor);
double sum_of_squares(const float* x, std::size_t count);

void adam_w(float* parameter, const float* gradient, float* first, float* second, std::size_t count,
            const AdamWParameters& parameters);
void add_to(float* destination, const float* source, std::size_t count);
void binary(BinaryOperation operation, const float* a, const float* b, float* out, std::size_t count);
void binary_scalar(BinaryOperation operation, const float* a, float b, float* out, std::size_t count, bool scalar_first);
void unary(UnaryOperation operation, const float* x, float* out, std::size_t count);

}  // namespace xgen::XGEN_VARIANT
