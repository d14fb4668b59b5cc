// Attention as graphs that cuDNN 9 knows by their shape.
//
// Documents of one length that is a multiple of 128 are a dense batch. Others are ragged: lengths, and where each document's rows start in
// each array, lie in device memory (kernels/ragged.cu makes them of the cumulative lengths), so that a plan serves every batch of as many or
// fewer documents that are no longer. Both counts are rounded up, so that few plans are made. cuDNN's ragged gradient takes one set of
// places for an input, its gradient, and the sums and terms that lead to it: so queries, keys and values are taken apart before, and their
// gradients put together after it, at the price of reading and writing each twice.
#pragma once

#include <tuple>

#include "graph_cudnn.h"
#include "xgen/cuda/fused_attention.h"

namespace xgen::cuda::cudnn {

// What a plan is made for.
struct Geometry {
  bool ragged;
  std::size_t batch, length;  // of the longest
  std::size_t query_heads, key_value_heads, head_dimension;
  bool gradient;
  auto key() const { return std::make_tuple(ragged, batch, length, query_heads, key_value_heads, head_dimension, gradient); }
};

Geometry geometry_of(const PackedBatch& batch, const AttentionShape& shape, bool gradient);

// The tensors of a graph that are bound to memory.
struct Attention {
  std::optional<Plan> plan;
  TensorNumber query = 0, key = 0, value = 0, out = 0, statistics = 0, scale = 0, minus_infinity = 0;
  TensorNumber query_lengths = 0, key_lengths = 0, row_offsets = 0, out_offsets = 0, key_offsets = 0, statistics_offsets = 0;
  TensorNumber dy = 0, d_query = 0, d_key = 0, d_value = 0, delta = 0, query_sums = 0, key_sums = 0, value_sums = 0, one = 0;
};

// The graph of a forward or a backward pass, planned; without a plan where cuDNN has none that works. Throws as GraphBuilder does.
Attention attention_graph(const Library& library, Handle handle, const Geometry& geometry);

}  // namespace xgen::cuda::cudnn
