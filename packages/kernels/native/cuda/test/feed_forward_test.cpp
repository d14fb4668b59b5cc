// The gated feed-forward layer as separate products and kernels, and its gradient, against float64.
#include "harness.h"
#include "xgen/cuda/feed_forward.h"

namespace test {

using namespace xgen::cuda;

namespace {

using Values = std::vector<double>;

// a [m][k] times b [k][n]; each may lie transposed.
Values product(const Values& a, const Values& b, std::size_t m, std::size_t n, std::size_t k, bool transposed_a, bool transposed_b) {
  Values out(m * n);
  for (std::size_t i = 0; i < m; i++) {
    for (std::size_t j = 0; j < n; j++) {
      for (std::size_t e = 0; e < k; e++) out[i * n + j] += a[transposed_a ? e * m + i : i * k + e] * b[transposed_b ? j * k + e : e * n + j];
    }
  }
  return out;
}

double silu(double x) { return x / (1 + std::exp(-x)); }
double silu_slope(double x) {
  const double s = 1 / (1 + std::exp(-x));
  return s + x * s * (1 - s);
}

void layer_case(Context& c, const FeedForwardShape& shape, ElementType type, bool residual) {
  const auto [rows, width, inner] = shape;
  const double wide = 1 / std::sqrt(static_cast<double>(width)), deep = 1 / std::sqrt(static_cast<double>(inner));
  const Tensor x = c.floats(rows * width, type), weight = c.floats(2 * inner * width, type, wide), down = c.floats(width * inner, type, deep);
  const Tensor added = c.floats(rows * width, type), dy = c.floats(rows * width, type);
  const FeedForward layer = {x, weight, down};
  Matmul matmul;
  const Products products = {matmul, nullptr, Float32Products::exact};

  const Tensor gate_up = c.output(rows * 2 * inner, type), activation = c.output(rows * inner, type), y = c.output(rows * width, type);
  feed_forward(nullptr, products, shape, layer, residual ? ConstArray(added) : ConstArray(nullptr, type), gate_up, activation, y);
  const Values expected_gate_up = product(x.values(), weight.values(), rows, 2 * inner, width, false, true);
  Values expected_activation(rows * inner);
  for (std::size_t r = 0; r < rows; r++) {
    for (std::size_t i = 0; i < inner; i++) {
      expected_activation[r * inner + i] = silu(expected_gate_up[r * 2 * inner + i]) * expected_gate_up[(r * 2 + 1) * inner + i];
    }
  }
  Values expected_y = product(expected_activation, down.values(), rows, width, inner, false, true);
  for (std::size_t i = 0; residual && i < expected_y.size(); i++) expected_y[i] += added.at(i);
  c.close("gateUp", gate_up, expected_gate_up);
  c.close("activation", activation, expected_activation);
  c.close("y", y, expected_y);

  // The first part alone gives the same bits: it stands in for the layer where a block is computed again.
  const Tensor gate_up_alone = c.output(rows * 2 * inner, type), activation_alone = c.output(rows * inner, type);
  gated_linear(nullptr, products, shape, x, weight, gate_up_alone, activation_alone);
  c.equal("gateUp alone", gate_up_alone, gate_up.values());
  c.equal("activation alone", activation_alone, activation.values());

  // The gradient takes gate, up and activation as they were stored.
  const Values d_activation = product(dy.values(), down.values(), rows, inner, width, false, false);
  Values d_gate_up(rows * 2 * inner);
  for (std::size_t r = 0; r < rows; r++) {
    for (std::size_t i = 0; i < inner; i++) {
      const std::size_t gate = r * 2 * inner + i, up = gate + inner;
      const double d = d_activation[r * inner + i];
      d_gate_up[gate] = d * gate_up.at(up) * silu_slope(gate_up.at(gate));
      d_gate_up[up] = d * silu(gate_up.at(gate));
    }
  }
  const Values expected_dx = product(d_gate_up, weight.values(), rows, width, 2 * inner, false, false);
  const Values expected_d_weight = product(d_gate_up, x.values(), 2 * inner, width, rows, true, false);
  const Values expected_d_down = product(dy.values(), activation.values(), width, inner, rows, true, false);
  for (int wanted = 7; wanted >= 0; wanted--) {
    const Tensor dx = c.output(rows * width, type), d_weight = c.output(2 * inner * width, type), d_down = c.output(width * inner, type);
    const auto asked = [&](int bit, const Tensor& tensor) { return wanted & bit ? Array(tensor) : Array{nullptr, type}; };
    feed_forward_grad(nullptr, products, shape, layer, gate_up, activation, dy, asked(1, dx), asked(2, d_weight), asked(4, d_down),
                      c.workspace(feed_forward_grad_workspace_bytes(shape, type)));
    if (wanted & 1) c.close("dx", dx, expected_dx);
    if (wanted & 2) c.close("dGateUpWeight", d_weight, expected_d_weight);
    if (wanted & 4) c.close("dDownWeight", d_down, expected_d_down);
  }
}

const bool registered = [] {
  // Widths of no vector, few rows (decoding's products), and more.
  for (const FeedForwardShape& shape :
       {FeedForwardShape{1, 1, 1}, FeedForwardShape{3, 5, 7}, FeedForwardShape{9, 64, 96}, FeedForwardShape{45, 40, 136}, FeedForwardShape{0, 8, 16}}) {
    for (const ElementType type : kFloatTypes) {
      for (const bool residual : {false, true}) {
        std::string name = "feed forward " + std::string(name_of(type)) + (residual ? " residual" : "");
        for (const std::size_t s : {shape.rows, shape.width, shape.inner}) name += " " + std::to_string(s);
        Register(name, [=](Context& c) { layer_case(c, shape, type, residual); });
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace test
