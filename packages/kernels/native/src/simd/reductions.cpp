#include "ranges.h"

namespace xgen::XGEN_VARIANT {

namespace {

constexpr float kMinusInfinity = -__builtin_inff();

XGEN_INLINE double sum_doubles(DoubleVec v) {
  double x = 0;
  for (std::size_t i = 0; i < kWidth; i++) x += v[i];
  return x;
}

}  // namespace

float maximum(const float* x, std::size_t count) {
  Vec best = splat(kMinusInfinity);
  std::size_t i = 0;
  for (; i + kWidth <= count; i += kWidth) best = max_of(load(x + i), best);
  float result = max_lanes(best);
  for (; i < count; i++) result = x[i] > result ? x[i] : result;
  return result;
}

float row_sum(const float* x, std::size_t count) {
  Vec sums[4] = {};
  std::size_t i = 0;
  for (; i + 4 * kWidth <= count; i += 4 * kWidth) {
    for (std::size_t v = 0; v < 4; v++) sums[v] += load(x + i + v * kWidth);
  }
  for (; i < count; i += kWidth) sums[0] += load_first(x + i, count - i < kWidth ? count - i : kWidth);
  return sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

double exact_sum(const float* x, std::size_t count) {
  DoubleVec total = {};
  for (std::size_t i = 0; i < count; i += kWidth) {
    total += __builtin_convertvector(load_first(x + i, count - i < kWidth ? count - i : kWidth), DoubleVec);
  }
  return sum_doubles(total);
}

double exp_shifted(const float* x, float* out, std::size_t count, float shift, float factor) {
  DoubleVec total = {};
  for (std::size_t i = 0; i < count; i += kWidth) {
    const std::size_t width = count - i < kWidth ? count - i : kWidth;
    Vec v = exponential((load_first(x + i, width) - shift) * factor);
    if (width < kWidth) v = lanes() < static_cast<std::int32_t>(width) ? v : Vec{};
    store_first(out + i, v, width);
    total += __builtin_convertvector(v, DoubleVec);
  }
  return sum_doubles(total);
}

double sum_of_squares(const float* x, std::size_t count) {
  DoubleVec total = {};
  for (std::size_t i = 0; i < count; i += kWidth) {
    const DoubleVec v = __builtin_convertvector(load_first(x + i, count - i < kWidth ? count - i : kWidth), DoubleVec);
    total += v * v;
  }
  return sum_doubles(total);
}

// maxima[r] and sums[r] are overwritten: largest logit of the row, and the sum of exp(logit - largest).
void log_sum_exp_block(const float* logits, std::ptrdiff_t stride, std::size_t rows, std::size_t columns, float* maxima,
                       float* sums) {
  for (std::size_t r = 0; r < rows; r++, logits += stride) {
    const float largest = maximum(logits, columns);
    Vec sum = {};
    std::size_t i = 0;
    for (; i + kWidth <= columns; i += kWidth) sum += exponential(load(logits + i) - largest);
    if (i < columns) {
      const std::size_t rest = columns - i;
      const Vec v = exponential(load_first(logits + i, rest) - largest);
      sum += lanes() < static_cast<std::int32_t>(rest) ? v : Vec{};
    }
    maxima[r] = largest;
    sums[r] = sum_lanes(sum);
  }
}

// logit -> dy * ([column is the target] - softmax), in place.
void cross_entropy_grad_block(float* logits, std::ptrdiff_t stride, std::size_t rows, std::size_t columns,
                              const float* log_sum_exp, const float* dy, const std::int32_t* targets,
                              std::size_t first_column) {
  for (std::size_t r = 0; r < rows; r++, logits += stride) {
    const float lse = log_sum_exp[r], factor = -dy[r];
    std::size_t i = 0;
    for (; i + kWidth <= columns; i += kWidth) store(logits + i, exponential(load(logits + i) - lse) * factor);
    if (i < columns) {
      const std::size_t rest = columns - i;
      store_first(logits + i, exponential(load_first(logits + i, rest) - lse) * factor, rest);
    }
    const std::size_t target = static_cast<std::size_t>(targets[r]);
    if (target >= first_column && target < first_column + columns) logits[target - first_column] += dy[r];
  }
}

void softmax(const float* x, float* y, std::size_t rows, std::size_t width) {
  for (std::size_t r = 0; r < rows; r++, x += width, y += width) {
    const float largest = maximum(x, width);
    const float inverse = static_cast<float>(1.0 / exp_shifted(x, y, width, largest, 1.0f));
    for (std::size_t i = 0; i < width; i += kWidth) {
      const std::size_t count = width - i < kWidth ? width - i : kWidth;
      store_first(y + i, load_first(y + i, count) * inverse, count);
    }
  }
}

}  // namespace xgen::XGEN_VARIANT
