#include "xgen/cuda/feed_forward.h"

namespace xgen::cuda {

namespace {

std::size_t element_bytes(ElementType type) { return type == ElementType::bfloat16 ? 2 : 4; }
std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

bool fused(const FeedForwardShape& shape, ElementType type) { return type == ElementType::bfloat16 && hopper_takes(shape); }

// c [m, n] = a b, + addend where there is one.
void multiply(Stream stream, const Products& products, std::size_t m, std::size_t n, std::size_t k, bool transposed_a, bool transposed_b, ConstArray a,
              ConstArray b, Array c, const void* addend = nullptr) {
  const MatmulShape shape{m, n, k, transposed_a, transposed_b, transposed_a ? m : k, transposed_b ? k : n, n};
  products.matmul.multiply(stream, shape, a, b, c, addend != nullptr, products.float32, products.workspace, addend);
}

}  // namespace

void gated_linear(Stream stream, const Products& products, const FeedForwardShape& shape, ConstArray x, ConstArray weight, Array gate_up,
                  Array activation) {
  const auto [rows, width, inner] = shape;
  if (fused(shape, x.type)) {
    hopper_gated_linear(stream, x.data, weight.data, gate_up.data, activation.data, shape);
  } else {
    multiply(stream, products, rows, 2 * inner, width, false, true, x, weight, gate_up);
    swiglu(stream, gate_up, activation, rows, inner);
  }
}

void feed_forward(Stream stream, const Products& products, const FeedForwardShape& shape, const FeedForward& layer, ConstArray residual, Array gate_up,
                  Array activation, Array y) {
  const auto [rows, width, inner] = shape;
  gated_linear(stream, products, shape, layer.x, layer.gate_up_weight, gate_up, activation);
  multiply(stream, products, rows, width, inner, false, true, activation, layer.down_weight, y, residual.data);
}

std::size_t feed_forward_grad_workspace_bytes(const FeedForwardShape& shape, ElementType type) {
  const std::size_t inner = aligned(shape.rows * shape.inner * element_bytes(type));
  return fused(shape, type) ? 2 * inner : 3 * inner;
}

void feed_forward_grad(Stream stream, const Products& products, const FeedForwardShape& shape, const FeedForward& layer, ConstArray gate_up,
                       ConstArray activation, ConstArray dy, Array dx, Array d_gate_up_weight, Array d_down_weight, void* workspace) {
  const auto [rows, width, inner] = shape;
  const ElementType type = dy.type;
  if (d_down_weight.data != nullptr) multiply(stream, products, width, inner, rows, true, false, dy, activation, d_down_weight);
  if (dx.data == nullptr && d_gate_up_weight.data == nullptr) return;
  const Array d_gate_up{workspace, type};
  if (fused(shape, type)) {
    hopper_gated_linear_grad(stream, dy.data, layer.down_weight.data, gate_up.data, d_gate_up.data, shape);
  } else {
    const Array d_activation{static_cast<char*>(workspace) + 2 * aligned(rows * inner * element_bytes(type)), type};
    multiply(stream, products, rows, inner, width, false, false, dy, layer.down_weight, d_activation);
    swiglu_grad(stream, gate_up, d_activation, d_gate_up, rows, inner);
  }
  if (dx.data != nullptr) multiply(stream, products, rows, width, 2 * inner, false, false, d_gate_up, layer.gate_up_weight, dx);
  if (d_gate_up_weight.data != nullptr) multiply(stream, products, 2 * inner, width, rows, true, false, d_gate_up, layer.x, d_gate_up_weight);
}

}  // namespace xgen::cuda
