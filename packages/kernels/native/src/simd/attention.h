// Attention of a block of query positions over a range of key positions (FlashAttention-2, Dao 2023): scores exist only a
// kAttentionQueries x kAttentionKeys block at a time.
#pragma once

#include "vector.h"
#include "xgen/kernel_table.h"

namespace xgen::XGEN_VARIANT {

void attention(const AttentionTask& task);
void attention_merge(const float* const* partials, std::size_t count, std::size_t head_dimension, float* out,
                     float* log_sum_exp);
void attention_grad(const AttentionGradTask& task);
void attention_grad_queries(const AttentionGradTask& task);
void row_dots(const float* a, const float* b, float* out, std::size_t rows, std::size_t width);

}  // namespace xgen::XGEN_VARIANT
