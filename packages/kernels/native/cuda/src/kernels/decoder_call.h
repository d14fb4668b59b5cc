// What a decoding step's kernel (decoder_step.cu) is called with, and where its blocks find what they exchange.
#pragma once

#include "attention.h"
#include "mma.h"
#include "split_softmax.h"
#include "xgen/cuda/decoder_step.h"
#ifndef XGEN_CUDA_EMULATION
#include "hopper.h"
#endif

namespace xgen::cuda::decoder {

using Statistic = SoftmaxStatistic;

// Bytes from the start of a layer's part.
struct ExchangePlaces {
  unsigned qkv, attended, middle, activation, out, statistics, partial;
};

enum : unsigned { kQkv, kOutput, kGateUp, kDown, kHead, kKinds };

struct Call {
  DecoderLayer layers[kMostDecoderLayers];
  const void* first;        // what rows of the stream start from: rows in their order, or a table's where there are ids
  const std::int32_t* ids;
  const bfloat16* head;
  const void* final_norm;
  void* logits;
  std::int32_t* positions;
  std::int32_t* slots;
  std::int32_t* context_lengths;
  const std::int32_t* block_tables;
  const float* inverse_frequencies;
  unsigned char* exchange;  // [layer_count][layer_bytes]
  std::uint32_t* counters;
  DecoderErrors errors;
  Heads heads;
  ExchangePlaces places;
  unsigned rows, width, feed_forward, vocabulary, layer_count, layer_bytes, split_bytes;
  unsigned segments[kKinds];  // pieces of a row
  unsigned chunks[kKinds];    // products that a product is cut into
  unsigned max_blocks, block_size, cache_blocks;
  unsigned splits, head_splits;  // of a context at most; where each query head has blocks of its own, or 0
  unsigned table_rows;
  int block_shift;  // block_size is 2 to this power, or -1
  unsigned slots_count;  // of the ring
  unsigned x_at, sums_at, turns_at, products_at, window_at, barriers_at;  // in shared memory, after the ring
  float rope_scaling, epsilon;
  ElementType norm_type, logits_type, first_type;
  bool advance;
};

// What the blocks exchange in a layer.
struct Exchange {
  bfloat16* qkv;         // [rows][...], as all of these
  bfloat16* attended;
  bfloat16* middle;      // the stream past attention
  bfloat16* activation;
  bfloat16* out;         // the stream past the layer
  Statistic* statistics; // of all splits but the first: [splits][rows][key-value heads][group]
  float* partial;        // likewise, [head_dimension]

  __device__ __forceinline__ Exchange(const Call& a, unsigned layer) {
    unsigned char* const from = a.exchange + std::size_t{layer} * a.layer_bytes;
    qkv = reinterpret_cast<bfloat16*>(from + a.places.qkv);
    attended = reinterpret_cast<bfloat16*>(from + a.places.attended);
    middle = reinterpret_cast<bfloat16*>(from + a.places.middle);
    activation = reinterpret_cast<bfloat16*>(from + a.places.activation);
    out = reinterpret_cast<bfloat16*>(from + a.places.out);
    statistics = reinterpret_cast<Statistic*>(from + a.places.statistics);
    partial = reinterpret_cast<float*>(from + a.places.partial);
  }
};

}  // namespace xgen::cuda::decoder
