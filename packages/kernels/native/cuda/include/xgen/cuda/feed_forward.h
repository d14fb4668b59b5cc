// A gated feed-forward layer, silu(x gate') * (x up') down', and its gradient: three matrix products forward, six backward, with the
// activation in their epilogues where the device is a Hopper (hopper_feed_forward.h).
#pragma once

#include "xgen/cuda/hopper_feed_forward.h"
#include "xgen/cuda/linear_cross_entropy.h"

namespace xgen::cuda {

// All arrays of one floating type, rows contiguous; the weights as linear's: [2 inner, width] with gate's rows first, and [width, inner].
struct FeedForward {
  ConstArray x, gate_up_weight, down_weight;
};

// y [rows, width]; `residual` of that shape is added, unless its data is null. gate_up [rows, 2 inner] and activation [rows, inner] are
// for the gradient.
void feed_forward(Stream stream, const Products& products, const FeedForwardShape& shape, const FeedForward& layer, ConstArray residual, Array gate_up,
                  Array activation, Array y);

// The first part alone: gate_up = x weight', activation = silu(gate) * up.
void gated_linear(Stream stream, const Products& products, const FeedForwardShape& shape, ConstArray x, ConstArray weight, Array gate_up,
                  Array activation);

// Null outputs are not computed.
std::size_t feed_forward_grad_workspace_bytes(const FeedForwardShape& shape, ElementType type);
void feed_forward_grad(Stream stream, const Products& products, const FeedForwardShape& shape, const FeedForward& layer, ConstArray gate_up,
                       ConstArray activation, ConstArray dy, Array dx, Array d_gate_up_weight, Array d_down_weight, void* workspace);

}  // namespace xgen::cuda
