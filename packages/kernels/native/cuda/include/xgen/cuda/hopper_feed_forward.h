// Matrix products of a gated feed-forward layer with the activation in their epilogues, for Hopper (compute capability 9.0) and bfloat16.
//
// Of the product alone and the element-wise kernel alone each reads or writes the wide intermediate once more: fused, the forward pass saves
// reading gate_up (4 bytes an element of the layer's width), the backward pass writing and reading the activation's gradient.
#pragma once

#include <cstddef>

#include "xgen/cuda/operations.h"

namespace xgen::cuda {

struct FeedForwardShape {
  std::size_t rows, width, inner;  // tokens, the stream's width, the layer's
};

// Whether the current device and these sizes are taken: Hopper, widths that are multiples of 8, enough rows to fill tiles.
bool hopper_takes(const FeedForwardShape& shape);

// gate_up [rows, 2 inner] = x [rows, width] weight'[2 inner, width]; activation [rows, inner] = silu(gate) * up. All bfloat16, rows contiguous.
void hopper_gated_linear(Stream stream, const void* x, const void* weight, void* gate_up, void* activation, const FeedForwardShape& shape);

// With d = dy [rows, width] weight [width, inner], in float32: d_gate_up [rows, 2 inner], the gradient of silu(gate) * up for gate_up.
void hopper_gated_linear_grad(Stream stream, const void* dy, const void* weight, const void* gate_up, void* d_gate_up, const FeedForwardShape& shape);

}  // namespace xgen::cuda
