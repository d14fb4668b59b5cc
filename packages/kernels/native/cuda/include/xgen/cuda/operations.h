// The operations of a decoder on device memory: each function queues its kernels on a stream and returns.
//
// Contracts of the operations: packages/kernels/src/kernel-names.ts. What holds for all of them here:
// - pointers are device memory, rows are contiguous, and every array starts at a multiple of 16 bytes (an allocation does);
// - nothing is allocated: what a function needs besides its outputs is `workspace`, of at least the bytes that the function's
//   `..._workspace_bytes` returns for the same sizes (16-byte aligned, contents irrelevant before and after);
// - arithmetic is in float32 (float64 or integers where said), whatever the arrays hold; "float" below means float32 or bfloat16, chosen for
//   each array on its own unless said otherwise;
// - results are the same, bit by bit, on every run with the same arguments on one kind of device: no floating-point atomics;
// - a null output is not computed; outputs never overlap inputs, except where "in place" is said;
// - sizes are trusted; indices are not: one outside its range sets `error` (first one found wins), and is treated as said, without
//   an access outside the arrays. `error` may be read whenever the stream has reached that point;
// - everything may be captured in a CUDA graph, and replayed with other contents of the same arrays;
// - a launch that fails calls the hook below.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xgen::cuda {

using Stream = void*;  // a cudaStream_t

enum class ElementType : std::uint8_t { float32, bfloat16, int32, uint8 };

struct Array {
  void* data;
  ElementType type;
};
struct ConstArray {
  const void* data;
  ElementType type;
  ConstArray(const void* d, ElementType t) : data(d), type(t) {}
  ConstArray(const Array& a) : data(a.data), type(a.type) {}  // NOLINT: conversion intended
};

// What kernels found wrong, in device memory, all zero before.
enum class DeviceError : std::uint32_t { none, ids, targets, slots, cumulative_lengths, context_lengths, block_tables, gradient };
struct ErrorFlag {
  std::uint32_t code;      // a DeviceError
  std::int32_t value;      // the offending entry
  std::int64_t position;   // where it stands in its array
};

// Called with the operation's name and CUDA's message when a launch fails or a type is not supported; must throw. Without a
// hook, std::runtime_error is thrown.
using LaunchFailureHook = void (*)(const char* operation, const char* message);
void set_launch_failure_hook(LaunchFailureHook hook);

// An entry of a slots or contextLengths array that stands for "no row here": lets a captured graph of B rows serve fewer.
constexpr std::int32_t kUnused = INT32_MIN;

// ---------------------------------------------------------------------------------------------------------------- rows

// out[i] = weight[ids[i]]; weight and out float. A bad id gives a row of zeros.
void embedding(Stream stream, ConstArray weight, const std::int32_t* ids, Array out, std::size_t tokens, std::size_t width,
               std::size_t vocabulary, ErrorFlag* error);
// d_weight[ids[i]] += dy[i] in float32, in an order fixed by ids alone. Rows that no id names become 0, or, with `accumulate`, all
// rows keep what they held and the sum is added to it. Bad ids are left out. dy and d_weight float.
void embedding_grad(Stream stream, const std::int32_t* ids, ConstArray dy, Array d_weight, std::size_t tokens, std::size_t width,
                    std::size_t vocabulary, bool accumulate, void* workspace, ErrorFlag* error);
std::size_t embedding_grad_workspace_bytes(std::size_t tokens, std::size_t width, std::size_t vocabulary);

// residual.data and sum.data are both null (plain) or both set. x, residual, y and sum share one type; weight float. inverse_rms may be null.
// y is computed from `sum` as it is stored: rms_norm of it gives the same bits.
void rms_norm(Stream stream, ConstArray x, ConstArray residual, ConstArray weight, Array y, Array sum, float* inverse_rms,
              std::size_t rows, std::size_t width, float epsilon);
// x is the normalised tensor (sum, when there was a residual). d_sum.data may be null. x, dy, d_sum and dx share one type; weight and
// d_weight float. dx may be dy or d_sum in place.
void rms_norm_grad(Stream stream, ConstArray x, ConstArray weight, const float* inverse_rms, ConstArray dy, ConstArray d_sum,
                   Array dx, Array d_weight, std::size_t rows, std::size_t width, void* workspace);
std::size_t rms_norm_grad_workspace_bytes(std::size_t rows, std::size_t width);

// Rows of `heads` heads, the first rotated_heads of which turn. x and y share one type; in place allowed.
void rope(Stream stream, ConstArray x, Array y, const std::int32_t* positions, const float* inverse_frequencies, std::size_t rows,
          std::size_t heads, std::size_t rotated_heads, std::size_t head_dimension, float scaling, bool inverse);

// gate_up [rows, 2 width], y [rows, width], one type.
void swiglu(Stream stream, ConstArray gate_up, Array y, std::size_t rows, std::size_t width);
// One type for all three; d_gate_up may be gate_up in place.
void swiglu_grad(Stream stream, ConstArray gate_up, ConstArray dy, Array d_gate_up, std::size_t rows, std::size_t width);

// ----------------------------------------------------------------------------------------------------------- attention

struct AttentionShape {
  std::size_t query_heads, key_value_heads, head_dimension;  // head_dimension even, at most 256
  float scale;
  std::size_t group() const { return query_heads / key_value_heads; }
  std::size_t row() const { return (query_heads + 2 * key_value_heads) * head_dimension; }
};

// qkv and out share one type: bfloat16 with head_dimension 64 or 128 runs on the tensor cores, all else in float32 arithmetic.
// Lengths that do not rise from 0 to `tokens` set `error`; out is then unspecified.
void attention(Stream stream, ConstArray qkv, const std::int32_t* cumulative, std::size_t documents, Array out, float* log_sum_exp,
               std::size_t tokens, const AttentionShape& shape, void* workspace, ErrorFlag* error);
std::size_t attention_workspace_bytes(std::size_t tokens, const AttentionShape& shape);
// Whether `attention` has a kernel for this case on the current device that is faster than cuDNN's.
bool attention_beats_library(ElementType type, std::size_t tokens, const AttentionShape& shape);
// qkv, out, dy and d_qkv share one type. Every element of d_qkv is written. any_order: sums may be added in an order that differs between runs, where
// that is faster (bfloat16, heads of 64 or 128, Hopper).
void attention_grad(Stream stream, ConstArray qkv, const std::int32_t* cumulative, std::size_t documents, ConstArray out,
                    const float* log_sum_exp, ConstArray dy, Array d_qkv, std::size_t tokens, const AttentionShape& shape,
                    void* workspace, ErrorFlag* error, bool any_order = false);
std::size_t attention_grad_workspace_bytes(std::size_t tokens, const AttentionShape& shape, bool any_order = false);
// Whether `attention_grad` in any order has a kernel for this case on the current device that is faster than cuDNN's.
bool attention_grad_beats_library(ElementType type, std::size_t tokens, const AttentionShape& shape);

// Writes keys and values of each row of qkv to cache row slots[i]; rows with slot kUnused, and bad slots, are skipped. Where
// rows name one slot, the last one's is kept. qkv float, both caches of one float type.
void paged_cache_append(Stream stream, Array key_cache, Array value_cache, std::size_t cache_rows, ConstArray qkv,
                        const std::int32_t* slots, std::size_t tokens, const AttentionShape& shape, ErrorFlag* error);

// rope of query and key heads and paged_cache_append of the result, in one launch. All of one type; y may be qkv in place.
void rope_append(Stream stream, ConstArray qkv, Array y, const std::int32_t* positions, const float* inverse_frequencies, float scaling,
                 Array key_cache, Array value_cache, std::size_t cache_rows, const std::int32_t* slots, std::size_t tokens,
                 const AttentionShape& shape, ErrorFlag* error);

struct PagedBatch {
  const std::int32_t* cumulative_query_lengths;  // sequences + 1
  const std::int32_t* context_lengths;           // sequences; kUnused: its rows of out become 0
  const std::int32_t* block_tables;              // sequences x max_blocks
  std::size_t sequences, max_blocks, block_size, cache_rows;
};
// qkv and out share one type; caches of one float type; qkv bfloat16 needs bfloat16 caches. The work depends on the contents of the
// lengths, the launch only on the sizes here: keep max_blocks * block_size near the longest context.
// Lengths that cannot be, and blocks outside the cache, set `error`; their sequences' rows of out are then unspecified.
// arrivals: kPagedArrivals zeros, which are zero again at the end; calls of one stream share them.
constexpr std::size_t kPagedArrivals = 4096;
void paged_attention(Stream stream, ConstArray qkv, ConstArray key_cache, ConstArray value_cache, const PagedBatch& batch, Array out,
                     std::size_t tokens, const AttentionShape& shape, void* workspace, std::uint32_t* arrivals, ErrorFlag* error);
std::size_t paged_attention_workspace_bytes(const PagedBatch& batch, std::size_t tokens, const AttentionShape& shape);

// ------------------------------------------------------------------------------------------------------- cross-entropy

// The parts of linear + cross-entropy around the matrix products. Logits come in chunks [rows, columns] (row stride in elements)
// that hold the vocabulary's entries first_column … first_column + columns; any number of chunks, each entry once.
struct LogitsChunk {
  std::size_t rows, columns, stride, first_column;
};
// Online statistics: running maximum, sum of exponentials and the target's logit of each row, all [rows]. `first` starts afresh.
struct CrossEntropyState {
  float* maximum;
  float* sum;
  float* target_logit;
};
void cross_entropy_chunk(Stream stream, ConstArray logits, const LogitsChunk& chunk, const std::int32_t* targets,
                         const CrossEntropyState& state, bool first);
// After the last chunk. Rows with ignore_index give 0 and 0; so do bad targets, which also set `error`.
void cross_entropy_finish(Stream stream, const CrossEntropyState& state, const std::int32_t* targets, std::int32_t ignore_index,
                          std::size_t vocabulary, float* log_probabilities, float* log_sum_exp, std::size_t rows, ErrorFlag* error);
// Gradient of a chunk's logits: dy[row] * ((column == target) - exp(logit - log_sum_exp[row])); 0 where the target is ignore_index.
// In place where both have one type, else apart; both float, one stride. Rows with a bad target are unspecified.
void cross_entropy_grad_chunk(Stream stream, ConstArray logits, Array d_logits, const LogitsChunk& chunk,
                              const std::int32_t* targets, std::int32_t ignore_index, const float* log_sum_exp, const float* dy);

// Both at once for whole rows of logits (first_column is 0), which become the gradient, in place: the second look at a row finds it in the
// second-level cache. The gradient of every log-probability is `dy`; rows with ignore_index, and bad targets, which also set `error` (its
// position counted from `first_row`), give 0 and no gradient.
void cross_entropy_with_gradient(Stream stream, Array logits, const LogitsChunk& chunk, const std::int32_t* targets, std::int32_t ignore_index,
                                 float dy, float* log_probabilities, std::size_t first_row, ErrorFlag* error);
// Sets `error` where the gradient of a row that counts is not `expected`, up to rounding.
void expect_gradient(Stream stream, const float* dy, const std::int32_t* targets, std::int32_t ignore_index, std::size_t rows, float expected,
                     ErrorFlag* error);

// ------------------------------------------------------------------------------------------------------------ optimizer

// One parameter. The list lies in device memory; the host fills it in, passes it once through plan_*, and uploads it.
struct AdamWTensor {
  float* parameter;
  void* shadow;              // bfloat16 copy of the new parameter, or null
  const void* gradient;
  void* first;
  void* second;
  std::uint64_t count;       // elements
  std::uint64_t first_piece; // set by plan_adam_w
  float weight_decay;
  ElementType gradient_type; // float
  ElementType moment_type;   // float; bfloat16 moments are rounded stochastically
};
// Read from device memory at every step, so that a graph can be replayed with new numbers.
struct AdamWStep {
  float learning_rate;
  float correction1, correction2;  // 1 - beta^step
  float padding;
  std::uint64_t seed;              // for stochastic rounding; a new one each step
};
struct AdamWConstants {
  double beta1, beta2, epsilon;
};
// Fills in first_piece (host memory); returns the number of pieces, which adam_w wants.
std::size_t plan_adam_w(AdamWTensor* tensors, std::size_t count);
// gradient_scale: one float in device memory, or null for 1.
// The step's numbers from two that lie in device memory themselves, so that a graph needs nothing from the host: learning_rate, and
// the steps done so far, this one included (from 1 on), which become the seed as well.
void prepare_adam_w(Stream stream, const float* learning_rate, const std::int32_t* step_number, AdamWConstants constants, AdamWStep* step);
void adam_w(Stream stream, const AdamWTensor* tensors, std::size_t count, std::size_t pieces, const AdamWStep* step,
            const float* gradient_scale, AdamWConstants constants);

struct NormTensor {
  const void* data;
  std::uint64_t count;
  std::uint64_t first_piece;  // set by plan_global_norm
  ElementType type;           // float
};
std::size_t plan_global_norm(NormTensor* tensors, std::size_t count);
// Accumulated in float64, in a fixed order. norm and scale: one float each, either may be null; maximum_norm may be infinite.
void global_norm(Stream stream, const NormTensor* tensors, std::size_t count, std::size_t pieces, float maximum_norm, float* norm,
                 float* scale, void* workspace);
std::size_t global_norm_workspace_bytes(std::size_t pieces);

// ------------------------------------------------------------------------------------------------------------- sampling

struct SamplingOptions {  // all [rows], device memory
  const float* temperature;
  const std::int32_t* top_k;
  const float* top_p;
  const float* min_p;
  const float* uniforms;
};
// logits float, at most 2^19 a row; NaN counts as -infinity. What is drawn from are probabilities as 64-bit integers (units of 2^-44 of the
// largest), whose sums do not depend on any order.
struct SampledTokens {  // [rows]
  std::int32_t* ids;
  std::int32_t* into;  // takes the ids as well, or null
  float* log_probabilities;
};
void sample_tokens(Stream stream, ConstArray logits, const SamplingOptions& options, const SampledTokens& sampled, std::size_t rows,
                   std::size_t vocabulary, void* workspace);
std::size_t sample_tokens_workspace_bytes(std::size_t rows, std::size_t vocabulary);

// --------------------------------------------------------------------------------------------- stock tensor operations

// The first seven are numbered as in xgen/kernel_table.h; comparisons give 1 or 0.
enum class BinaryOperation : std::uint8_t {
  add, subtract, multiply, divide, maximum, minimum, squared_difference,
  power, greater, greater_equal, less, less_equal, equal, not_equal, logical_and, logical_or
};
// The first eight are numbered as in xgen/kernel_table.h. Sine and cosine hold for angles up to 2^22.
enum class UnaryOperation : std::uint8_t {
  exponential, negate, square, square_root, reciprocal_square_root, sigmoid, relu, absolute,
  logarithm, hyperbolic_tangent, reciprocal, step, sign, floor, ceil, exponential_minus_one, logarithm_plus_one, softplus,
  sine, cosine, logical_not, is_nan
};
enum class Reduction : std::uint8_t { sum, maximum, minimum };
// How an operand repeats: not at all, as one number, or as one row of `row` elements.
enum class Repeat : std::uint8_t { none, scalar, row };

// Any element types; computed in float32 (int32 operands beyond 2^24 lose digits), and rounded towards zero for integer results.
// out may be a or b in place where the types are equal and that operand does not repeat.
void binary(Stream stream, BinaryOperation operation, ConstArray a, ConstArray b, Array out, std::size_t count, Repeat repeat_a,
            Repeat repeat_b, std::size_t row);
void unary(Stream stream, UnaryOperation operation, ConstArray x, Array out, std::size_t count);  // in place as above
// Sum of up to kAddInputs arrays of one float type, out of the same; more: call again with out first (in place).
constexpr std::size_t kAddInputs = 16;
void add_n(Stream stream, const void* const* inputs, std::size_t inputs_count, Array out, std::size_t count);
// out[i] = condition[i] != 0 ? a[i] : b[i]; one type for a, b and out, condition uint8.
void select(Stream stream, const std::uint8_t* condition, ConstArray a, ConstArray b, Array out, std::size_t count);
// Over the last axis of [rows, width] (out [rows]) and over the first (out [width]); x and out float. An empty sum is 0, an empty
// maximum -infinity. Accumulated in float32 over fixed pieces.
void reduce_rows(Stream stream, Reduction reduction, ConstArray x, Array out, std::size_t rows, std::size_t width, void* workspace);
std::size_t reduce_rows_workspace_bytes(std::size_t rows, std::size_t width);
void reduce_columns(Stream stream, Reduction reduction, ConstArray x, Array out, std::size_t rows, std::size_t width, void* workspace);
std::size_t reduce_columns_workspace_bytes(std::size_t rows, std::size_t width);
// Over the last axis; x and y float.
void softmax(Stream stream, ConstArray x, Array y, std::size_t rows, std::size_t width);
// Running sums along the middle axis of [outer, width, inner], from its start or its end, of all up to an entry or of those before
// it. x and out share one type, float32 or int32; summed in it, in pieces of 256 whose order is fixed.
void cumulative_sum(Stream stream, ConstArray x, Array out, std::size_t outer, std::size_t width, std::size_t inner, bool exclusive, bool reverse);
// The k largest of each row, falling, lower indices first where they are equal; values [rows, k] float32 (may be null), indices
// [rows, k]. x float; NaN counts as largest. Reads each row k times: meant for small k.
void top_k(Stream stream, ConstArray x, float* values, std::int32_t* indices, std::size_t rows, std::size_t width, std::size_t k);
// out[i][j] = indices[i] == j ? on : off, [count, depth], of any type.
void one_hot(Stream stream, const std::int32_t* indices, Array out, std::size_t count, std::size_t depth, double on, double off);
void fill(Stream stream, Array out, double value, std::size_t count);
// Each of up to kCounters arrays of one length += by, in place; wraps.
constexpr std::size_t kCounters = 8;
void increment(Stream stream, std::int32_t* const* arrays, std::size_t arrays_count, std::int32_t by, std::size_t count);
// Between any two element types: float to integer rounds towards zero and saturates, to uint8 (bool) gives x != 0.
void convert(Stream stream, ConstArray x, Array out, std::size_t count);
// y [columns, rows] = x [rows, columns] transposed; one type for both.
void transpose(Stream stream, ConstArray x, Array y, std::size_t rows, std::size_t columns);
// dst[sum i_d * dst_strides[d]] = src[sum i_d * src_strides[d]] for all indices i_d < sizes[d], of elements of one type. Strides count elements
// and may be 0 (src: broadcast) or negative (src: reverse; src.data then points at the first element read). Covers slices,
// transposition of any rank, tiling, and the parts of concatenation and padding.
constexpr std::size_t kCopyRank = 6;
struct StridedCopy {
  std::size_t rank;
  std::int64_t sizes[kCopyRank], src_strides[kCopyRank], dst_strides[kCopyRank];
};
void copy_strided(Stream stream, ConstArray src, Array dst, const StridedCopy& copy);

}  // namespace xgen::cuda
