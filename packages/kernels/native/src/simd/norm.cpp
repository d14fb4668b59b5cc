#include "rows.h"

namespace xgen::XGEN_VARIANT {

void rms_norm(const float* x, const float* residual, const float* weight, float* y, float* sum, float* inverse_rms,
              std::size_t rows, std::size_t width, float epsilon) {
  const std::size_t whole = width / kWidth * kWidth, rest = width - whole;
  for (std::size_t row = 0; row < rows; row++) {
    const float* source = x;
    Vec squares[2] = {};
    if (residual != nullptr) {
      std::size_t i = 0;
      for (; i < whole; i += kWidth) {
        const Vec v = load(x + i) + load(residual + i);
        store(sum + i, v);
        squares[i / kWidth % 2] += v * v;
      }
      if (rest > 0) {
        const Vec v = load_first(x + i, rest) + load_first(residual + i, rest);
        store_first(sum + i, v, rest);
        squares[0] += v * v;
      }
      source = sum;
      residual += width;
      sum += width;
    } else {
      std::size_t i = 0;
      for (; i < whole; i += kWidth) {
        const Vec v = load(x + i);
        squares[i / kWidth % 2] += v * v;
      }
      if (rest > 0) {
        const Vec v = load_first(x + i, rest);
        squares[0] += v * v;
      }
    }
    const float mean = sum_lanes(squares[0] + squares[1]) / static_cast<float>(width);
    const float inverse = 1.0f / __builtin_sqrtf(mean + epsilon);
    *inverse_rms++ = inverse;
    std::size_t i = 0;
    for (; i < whole; i += kWidth) store(y + i, load(source + i) * inverse * load(weight + i));
    if (rest > 0) store_first(y + i, load_first(source + i, rest) * inverse * load_first(weight + i, rest), rest);
    x += width;
    y += width;
  }
}

// With g = dy * weight: dx = inverse * g - x * inverse^3 / width * sum(g * x) (+ d_sum). d_weight is added to.
void rms_norm_grad(const float* x, const float* weight, const float* inverse_rms, const float* dy, const float* d_sum,
                   float* dx, float* d_weight, std::size_t rows, std::size_t width) {
  const std::size_t whole = width / kWidth * kWidth, rest = width - whole;
  for (std::size_t row = 0; row < rows; row++) {
    const float inverse = inverse_rms[row];
    if (dx != nullptr) {
      Vec dots[2] = {};
      std::size_t i = 0;
      for (; i < whole; i += kWidth) dots[i / kWidth % 2] += load(dy + i) * load(weight + i) * load(x + i);
      if (rest > 0) dots[0] += load_first(dy + i, rest) * load_first(weight + i, rest) * load_first(x + i, rest);
      const float dot = sum_lanes(dots[0] + dots[1]);
      const float factor = inverse * inverse * inverse * dot / static_cast<float>(width);
      for (i = 0; i < whole; i += kWidth) {
        Vec v = load(dy + i) * load(weight + i) * inverse - load(x + i) * factor;
        if (d_sum != nullptr) v += load(d_sum + i);
        store(dx + i, v);
      }
      if (rest > 0) {
        Vec v = load_first(dy + i, rest) * load_first(weight + i, rest) * inverse - load_first(x + i, rest) * factor;
        if (d_sum != nullptr) v += load_first(d_sum + i, rest);
        store_first(dx + i, v, rest);
      }
      dx += width;
      if (d_sum != nullptr) d_sum += width;
    }
    if (d_weight != nullptr) {
      std::size_t i = 0;
      for (; i < whole; i += kWidth) store(d_weight + i, load(d_weight + i) + load(dy + i) * load(x + i) * inverse);
      for (; i < width; i++) d_weight[i] += dy[i] * x[i] * inverse;
    }
    x += width;
    dy += width;
  }
}

}  // namespace xgen::XGEN_VARIANT
