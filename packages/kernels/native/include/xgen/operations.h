// The fused operations of a decoder on raw pointers: parallel, checked for out-of-range indices, otherwise trusting their
// caller with sizes. docs in packages/kernels/src/kernel-names.ts. Gradient pointers that are null are not computed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "xgen/kernel_table.h"

namespace xgen {

// 0 <= indices[i] < limit for all i, else throws Error("INDEX_OUT_OF_RANGE") that names the first offender.
void check_indices(const char* name, const std::int32_t* indices, std::size_t count, std::int64_t limit);
// first 0, last `total`, not decreasing, else throws Error("INVALID_LENGTHS").
void check_cumulative(const char* name, const std::int32_t* lengths, std::size_t count, std::size_t total);

void embedding(const float* weight, const std::int32_t* ids, float* out, std::size_t tokens, std::size_t width,
               std::size_t vocabulary);
void embedding_grad(const std::int32_t* ids, const float* dy, float* d_weight, std::size_t tokens, std::size_t width,
                    std::size_t vocabulary);

// residual and sum are both null (plain) or both set.
void rms_norm(const float* x, const float* residual, const float* weight, float* y, float* sum, float* inverse_rms,
              std::size_t rows, std::size_t width, float epsilon);
void rms_norm_grad(const float* x, const float* weight, const float* inverse_rms, const float* dy, const float* d_sum,
                   float* dx, float* d_weight, std::size_t rows, std::size_t width);

void linear(const float* x, const float* weight, float* y, std::size_t rows, std::size_t in, std::size_t out, Precision precision);
void linear_grad(const float* x, const float* weight, const float* dy, float* dx, float* d_weight, std::size_t rows,
                 std::size_t in, std::size_t out, Precision precision);
// batch products of c[m][n] = a * b; a_step and b_step are 0 where one matrix serves all.
void batch_multiply(MatrixView a, MatrixView b, float* c, std::size_t batch, std::size_t a_step, std::size_t b_step,
                    std::size_t m, std::size_t n, std::size_t k, Precision precision);

void rope(const float* x, float* y, const std::int32_t* positions, const float* inverse_frequencies, std::size_t rows,
          std::size_t width, std::size_t rotated_heads, std::size_t head_dimension, float scaling, bool inverse);
void swiglu(const float* gate_up, float* y, std::size_t rows, std::size_t width);
void swiglu_grad(const float* gate_up, const float* dy, float* d_gate_up, std::size_t rows, std::size_t width);

struct AttentionShape {
  std::size_t query_heads, key_value_heads, head_dimension;
  float scale;
  std::size_t group() const { return query_heads / key_value_heads; }
  std::size_t row() const { return (query_heads + 2 * key_value_heads) * head_dimension; }
};

void attention(const float* qkv, const std::int32_t* cumulative, std::size_t documents, float* out, float* log_sum_exp,
               std::size_t tokens, const AttentionShape& shape);
void attention_grad(const float* qkv, const std::int32_t* cumulative, std::size_t documents, const float* out,
                    const float* log_sum_exp, const float* dy, float* d_qkv, std::size_t tokens, const AttentionShape& shape);

void paged_cache_append(float* key_cache, float* value_cache, std::size_t cache_rows, const float* qkv,
                        const std::int32_t* slots, std::size_t tokens, const AttentionShape& shape);
struct PagedBatch {
  const std::int32_t* cumulative_query_lengths;  // sequences + 1
  const std::int32_t* context_lengths;           // sequences
  const std::int32_t* block_tables;              // sequences x max_blocks
  std::size_t sequences, max_blocks, block_size, cache_rows;
};
void paged_attention(const float* qkv, const float* key_cache, const float* value_cache, const PagedBatch& batch, float* out,
                     std::size_t tokens, const AttentionShape& shape);

struct CrossEntropyShape {
  std::size_t rows, width, vocabulary;
  std::int32_t ignore_index;
};
void linear_cross_entropy(const float* hidden, const float* weight, const std::int32_t* targets, float* log_probabilities,
                          float* log_sum_exp, const CrossEntropyShape& shape, Precision precision);
void linear_cross_entropy_grad(const float* hidden, const float* weight, const std::int32_t* targets, const float* log_sum_exp,
                               const float* dy, float* d_hidden, float* d_weight, const CrossEntropyShape& shape,
                               Precision precision);

struct AdamWTensor {
  float* parameter;
  const float* gradient;
  float* first;
  float* second;
  std::size_t count;
  float weight_decay;
};
void adam_w(const AdamWTensor* tensors, std::size_t count, AdamWParameters parameters);
struct GradientRange {
  const float* data;
  std::size_t count;
};
double global_norm(const GradientRange* gradients, std::size_t count);

struct SamplingOptions {
  const float* temperature;
  const std::int32_t* top_k;
  const float* top_p;
  const float* min_p;
  const float* uniforms;
};
void sample_tokens(const float* logits, const SamplingOptions& options, std::int32_t* ids, float* log_probabilities,
                   std::size_t rows, std::size_t vocabulary);

// How the smaller operand of an elementwise operation repeats: not at all, as one number, or as one row.
enum class Repeat { none, scalar, row };
void binary(BinaryOperation operation, const float* a, const float* b, float* out, std::size_t count, Repeat repeat_a,
            Repeat repeat_b, std::size_t row);
void unary(UnaryOperation operation, const float* x, float* out, std::size_t count);
void add_n(const float* const* inputs, std::size_t inputs_count, float* out, std::size_t count);
void sum_rows(const float* x, float* out, std::size_t rows, std::size_t width);     // over the last axis
void sum_columns(const float* x, float* out, std::size_t rows, std::size_t width);  // over the first axis
void softmax(const float* x, float* y, std::size_t rows, std::size_t width);
void transpose(const float* x, float* y, std::size_t rows, std::size_t columns);

}  // namespace xgen
