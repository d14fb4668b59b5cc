// A whole decoding step of a Llama-type decoder in one launch (src/kernels/decoder_step.cu): a few sequences, one new token each.
#pragma once

#include "xgen/cuda/operations.h"

namespace xgen::cuda {

// Weights are bfloat16 [out][in], rows contiguous; norms of DecoderStep::norm_type. With `width` the stream's elements, q the query heads' together, k
// the key heads':
struct DecoderLayer {
  const void* attention_norm;     // [width]
  const void* qkv;                // [q + 2 k][width]
  const void* output;             // [width][q]
  const void* feed_forward_norm;  // [width]
  const void* gate_up;            // [2 feed_forward][width], gates first
  const void* down;               // [width][feed_forward]
  void* key_cache;                // [cache_rows][k], bfloat16
  void* value_cache;
};
// They are passed by value, within the 4 KB that every device allows.
constexpr std::size_t kMostDecoderLayers = 56;
constexpr std::size_t kMostDecoderRows = 4;

struct DecoderStep {
  std::size_t rows, width, feed_forward, vocabulary, layer_count;
  const DecoderLayer* layers;  // host memory
  AttentionShape shape;        // heads of 64 or 128
  float rope_scaling, epsilon;
  ElementType norm_type;
  const void* stream;          // bfloat16 [rows][width]; null: rows of `table`
  const void* table;           // [table_rows][width] of table_type, float32 or bfloat16
  ElementType table_type;
  std::size_t table_rows;
  const std::int32_t* ids;     // [rows], of the table
  const void* final_norm;      // [width]
  const void* head;            // bfloat16 [vocabulary][width]
  Array logits;                // [rows][vocabulary], float
  std::int32_t* positions;                 // [rows]
  std::int32_t* slots;                     // [rows], as in paged_cache_append
  const float* inverse_frequencies;        // [head_dimension / 2]
  std::int32_t* context_lengths;           // [rows], the new token counted; kUnused: attention gives 0
  const std::int32_t* block_tables;        // [rows][max_blocks]
  std::size_t max_blocks, block_size, cache_rows;
  bool advance;  // positions, slots and context lengths are one more at the end
};

// Whether sizes and device allow it: Hopper or later (or the emulated device), at most kMostDecoderRows rows and kMostDecoderLayers layers, sizes multiples of 8.
bool decoder_step_takes(const DecoderStep& step);
// No two rows name one slot: what a position holds that another row of this step writes is unspecified. A slot is where its own row's table has the last
// position. counters: kPagedArrivals zeros, zero again at the end (operations.h). Wrong ids, slots, lengths and
// tables set the errors as embedding, paged_cache_append and paged_attention do.
struct DecoderErrors {
  ErrorFlag *ids, *slots, *pages;
};
void decoder_step(Stream stream, const DecoderStep& step, void* workspace, std::uint32_t* counters, const DecoderErrors& errors);
std::size_t decoder_step_workspace_bytes(const DecoderStep& step);

}  // namespace xgen::cuda
