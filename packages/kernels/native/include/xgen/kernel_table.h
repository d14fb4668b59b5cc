// The functions that exist once for each instruction set, and the choice between them.
//
// The sources under src/simd/ are compiled once for each variant, with that variant's flags, into its own namespace; each
// exports one table of serial functions. Everything else (checks, splitting, threads) is compiled once and calls through
// the table. Columns are always contiguous; strides count floats.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xgen {

enum class Precision { float32, bfloat16 };

// A matrix operand in row-major memory. `transposed` means that memory holds the transpose of what the product reads.
struct MatrixView {
  const float* data;
  std::ptrdiff_t stride;
  bool transposed;
};

// Rows m0..m1 of a left operand times a packed piece of the right one.
struct BlockProduct {
  MatrixView left;            // M x K
  std::size_t m0, m1;         // rows of the left operand and of c
  const void* packed;         // from pack_right: for each block of k, `panels` panels
  std::size_t panels;         // panels in `packed`
  std::size_t panel0, panel1; // panels to use
  std::size_t column0;        // column of c that panel 0 stands for
  std::size_t columns;        // columns of c, all panels: the last panel may be partly outside
  std::size_t k;
  float* c;
  std::ptrdiff_t c_stride;
  bool accumulate;
  Precision precision;
};

// Keys and values of one sequence: contiguous rows, or blocks of a paged cache when `block_table` is set.
struct KeyValueRows {
  const float* keys;    // of the first head, position 0 (or row 0 of the cache); heads head_dimension apart
  const float* values;
  std::ptrdiff_t stride;
  const std::int32_t* block_table;
  std::size_t block_size;
};

struct AttentionHeads {
  std::size_t key_heads;       // neighbouring key-value heads done together
  std::size_t group;           // query heads that share a key-value head
  std::size_t head_dimension;
  float scale;
};

// Query positions q0..q1 of one sequence and some key-value heads, over key positions k0..k1 (k0 a multiple of
// kAttentionSegment, at most one segment long unless `finish`).
struct AttentionTask {
  AttentionHeads heads;
  KeyValueRows rows;
  const float* queries;        // query head 0 of the group at position q0; heads head_dimension apart
  std::ptrdiff_t query_stride;
  std::size_t q0, q1;
  std::size_t k0, k1;
  float* out;                  // as queries; unused when partial is set
  std::ptrdiff_t out_stride;
  float* log_sum_exp;          // head 0 at q0, heads 1 apart; may be null
  std::ptrdiff_t log_sum_exp_stride;
  float* partial;              // null, or for each query head and position a row [maximum, sum, head_dimension floats]
};

struct AttentionGradTask {
  AttentionHeads heads;
  const float* queries;        // of the group, position 0 of the document
  const float* keys;
  const float* values;
  const float* dy;
  const float* log_sum_exp;    // [position][query heads]
  const float* delta;          // [position][query heads]: sum(dy * out)
  std::ptrdiff_t qkv_stride, out_stride, row_stat_stride;
  float* d_queries;            // null when this task is not to write them
  float* d_keys;               // null when this task is not to write keys' and values' gradients
  float* d_values;
  std::ptrdiff_t d_key_stride; // of d_keys and d_values
  std::size_t length;          // of the document
  std::size_t begin, end;      // key positions (queries, when only d_queries is set) of this task
};

struct AdamWParameters {
  float learning_rate, beta1, beta2, epsilon, weight_decay, gradient_scale, correction1, correction2;
};

enum class BinaryOperation { add, subtract, multiply, divide, maximum, minimum, squared_difference };
enum class UnaryOperation { exponential, negate, square, square_root, reciprocal_square_root, sigmoid, relu, absolute };

// Positions a tile of attention covers: key blocks start at multiples of kAttentionKeys of the position, whatever the
// caller's split, and partial results are merged at multiples of kAttentionSegment: so a token's output does not depend on
// how the sequence was cut into calls.
constexpr std::size_t kAttentionQueries = 112;
constexpr std::size_t kAttentionKeys = 64;
constexpr std::size_t kAttentionSegment = 2048;

struct KernelTable {
  const char* name;

  // Matrix products.
  std::size_t row_tile, column_tile;
  std::size_t (*k_block)(std::size_t k, Precision precision);
  std::size_t (*packed_bytes)(std::size_t k, std::size_t panels, Precision precision);
  // Packs k-block number `block` of panels panel0..panel1 (columns from panel0 * column_tile) of the right operand (K x columns).
  void (*pack_right)(const MatrixView& right, std::size_t k, std::size_t columns, std::size_t block, std::size_t panel0,
                     std::size_t panel1, std::size_t panels, void* packed, Precision precision);
  void (*multiply_block)(const BlockProduct& product);

  // Rows of a batch.
  void (*rms_norm)(const float* x, const float* residual, const float* weight, float* y, float* sum, float* inverse_rms,
                   std::size_t rows, std::size_t width, float epsilon);
  void (*rms_norm_grad)(const float* x, const float* weight, const float* inverse_rms, const float* dy, const float* d_sum,
                        float* dx, float* d_weight, std::size_t rows, std::size_t width);
  void (*rope)(const float* x, float* y, const std::int32_t* positions, const float* inverse_frequencies, std::size_t rows,
               std::size_t width, std::size_t rotated_heads, std::size_t head_dimension, float scaling, bool inverse);
  void (*swiglu)(const float* gate_up, float* y, std::size_t rows, std::size_t width);
  void (*swiglu_grad)(const float* gate_up, const float* dy, float* d_gate_up, std::size_t rows, std::size_t width);

  // Attention.
  void (*attention)(const AttentionTask& task);
  void (*attention_merge)(const float* const* partials, std::size_t count, std::size_t head_dimension, float* out,
                          float* log_sum_exp);
  void (*attention_grad)(const AttentionGradTask& task);
  void (*attention_grad_queries)(const AttentionGradTask& task);
  void (*row_dots)(const float* a, const float* b, float* out, std::size_t rows, std::size_t width);

  // Cross-entropy over blocks of logits [rows][columns].
  void (*log_sum_exp_block)(const float* logits, std::ptrdiff_t stride, std::size_t rows, std::size_t columns, float* maxima,
                            float* sums);
  void (*cross_entropy_grad_block)(float* logits, std::ptrdiff_t stride, std::size_t rows, std::size_t columns,
                                   const float* log_sum_exp, const float* dy, const std::int32_t* targets,
                                   std::size_t first_column);

  // Ranges.
  void (*adam_w)(float* parameter, const float* gradient, float* first, float* second, std::size_t count,
                 const AdamWParameters& parameters);
  double (*sum_of_squares)(const float* x, std::size_t count);
  void (*add_to)(float* destination, const float* source, std::size_t count);
  void (*binary)(BinaryOperation operation, const float* a, const float* b, float* out, std::size_t count);
  void (*binary_scalar)(BinaryOperation operation, const float* a, float b, float* out, std::size_t count, bool scalar_first);
  void (*unary)(UnaryOperation operation, const float* x, float* out, std::size_t count);
  float (*row_sum)(const float* x, std::size_t count);
  double (*exact_sum)(const float* x, std::size_t count);  // in float64
  void (*softmax)(const float* x, float* y, std::size_t rows, std::size_t width);
  float (*maximum)(const float* x, std::size_t count);
  // out[i] = exp((x[i] - shift) * factor); returns the sum in float64.
  double (*exp_shifted)(const float* x, float* out, std::size_t count, float shift, float factor);
};

// The table in use: the best this processor has, unless one was forced.
const KernelTable& kernels();

// Variants in this binary, best first; `supported` says whether this processor can run it.
struct VariantDescription {
  const char* name;
  bool supported;
};
std::size_t variant_count();
VariantDescription variant_at(std::size_t index);
// Forces a variant ("" = best again). Throws Error for a name that is unknown or that this processor lacks.
void select_variant(const char* name);

}  // namespace xgen
