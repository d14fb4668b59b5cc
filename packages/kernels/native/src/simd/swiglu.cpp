#include "rows.h"

namespace xgen::XGEN_VARIANT {

namespace {
XGEN_INLINE Vec sigmoid(Vec x) { return 1.0f / (1.0f + exponential(-x)); }

// Through sigma = sigmoid(gate): silu = gate * sigma, silu' = sigma * (1 + gate * (1 - sigma)).
XGEN_INLINE void gradient(Vec gate, Vec up, Vec dy, Vec& d_gate, Vec& d_up) {
  const Vec sigma = sigmoid(gate);
  d_up = dy * gate * sigma;
  d_gate = dy * up * sigma * (1.0f + gate * (1.0f - sigma));
}
}  // namespace

void swiglu(const float* gate_up, float* y, std::size_t rows, std::size_t width) {
  const std::size_t whole = width / kWidth * kWidth, rest = width - whole;
  for (std::size_t row = 0; row < rows; row++, gate_up += 2 * width, y += width) {
    std::size_t i = 0;
    for (; i < whole; i += kWidth) {
      const Vec gate = load(gate_up + i);
      store(y + i, gate * sigmoid(gate) * load(gate_up + width + i));
    }
    if (rest > 0) {
      const Vec gate = load_first(gate_up + i, rest);
      store_first(y + i, gate * sigmoid(gate) * load_first(gate_up + width + i, rest), rest);
    }
  }
}

void swiglu_grad(const float* gate_up, const float* dy, float* d_gate_up, std::size_t rows, std::size_t width) {
  const std::size_t whole = width / kWidth * kWidth, rest = width - whole;
  for (std::size_t row = 0; row < rows; row++, gate_up += 2 * width, d_gate_up += 2 * width, dy += width) {
    Vec d_gate, d_up;
    std::size_t i = 0;
    for (; i < whole; i += kWidth) {
      gradient(load(gate_up + i), load(gate_up + width + i), load(dy + i), d_gate, d_up);
      store(d_gate_up + i, d_gate);
      store(d_gate_up + width + i, d_up);
    }
    if (rest > 0) {
      gradient(load_first(gate_up + i, rest), load_first(gate_up + width + i, rest), load_first(dy + i, rest), d_gate, d_up);
      store_first(d_gate_up + i, d_gate, rest);
      store_first(d_gate_up + width + i, d_up, rest);
    }
  }
}

}  // namespace xgen::XGEN_VARIANT
