#include "ranges.h"

namespace xgen::XGEN_VARIANT {

namespace {

template <class F>
XGEN_INLINE void for_vectors(std::size_t count, F&& f) {
  std::size_t i = 0;
  for (; i + kWidth <= count; i += kWidth) f(i, kWidth);
  if (i < count) f(i, count - i);
}

XGEN_INLINE Vec load_some(const float* p, std::size_t n) { return n == kWidth ? load(p) : load_first(p, n); }
XGEN_INLINE void store_some(float* p, Vec v, std::size_t n) {
  if (n == kWidth) {
    store(p, v);
  } else {
    store_first(p, v, n);
  }
}

template <BinaryOperation kOperation>
XGEN_INLINE Vec combine(Vec a, Vec b) {
  switch (kOperation) {
    case BinaryOperation::add:
      return a + b;
    case BinaryOperation::subtract:
      return a - b;
    case BinaryOperation::multiply:
      return a * b;
    case BinaryOperation::divide:
      return a / b;
    // As Math.max and Math.min: NaN if either is.
    case BinaryOperation::maximum:
      return a != a ? a : (b != b ? b : max_of(a, b));
    case BinaryOperation::minimum:
      return a != a ? a : (b != b ? b : min_of(a, b));
    case BinaryOperation::squared_difference:
      return (a - b) * (a - b);
  }
  return a;
}

template <BinaryOperation kOperation>
void binary_range(const float* a, const float* b, float* out, std::size_t count) {
  for_vectors(count, [&](std::size_t i, std::size_t n) {
    store_some(out + i, combine<kOperation>(load_some(a + i, n), load_some(b + i, n)), n);
  });
}

template <BinaryOperation kOperation>
void binary_scalar_range(const float* a, float b, float* out, std::size_t count, bool scalar_first) {
  const Vec scalar = splat(b);
  for_vectors(count, [&](std::size_t i, std::size_t n) {
    const Vec v = load_some(a + i, n);
    store_some(out + i, scalar_first ? combine<kOperation>(scalar, v) : combine<kOperation>(v, scalar), n);
  });
}

// exponential() stops at 88; past it take one e out, so that values up to the largest float come out and then infinity.
XGEN_INLINE Vec full_exponential(Vec x) {
  const IntVec large = x > 88.0f;
  const Vec y = exponential(large ? x - 1.0f : x) * (large ? splat(2.718281828f) : splat(1.0f));
  return x > 88.7228394f ? splat(__builtin_inff()) : y;
}

template <UnaryOperation kOperation>
XGEN_INLINE Vec apply(Vec x) {
  switch (kOperation) {
    case UnaryOperation::exponential:
      return full_exponential(x);
    case UnaryOperation::negate:
      return -x;
    case UnaryOperation::square:
      return x * x;
    case UnaryOperation::square_root:
      return square_root(x);
    case UnaryOperation::reciprocal_square_root:
      return 1.0f / square_root(x);
    case UnaryOperation::sigmoid:
      return 1.0f / (1.0f + exponential(-x));
    case UnaryOperation::relu:
      return x != x ? x : max_of(x, Vec{});
    case UnaryOperation::absolute:
      return from_bits(bits(x) & 0x7fffffff);
  }
  return x;
}

template <UnaryOperation kOperation>
void unary_range(const float* x, float* out, std::size_t count) {
  for_vectors(count, [&](std::size_t i, std::size_t n) { store_some(out + i, apply<kOperation>(load_some(x + i, n)), n); });
}

}  // namespace

void add_to(float* destination, const float* source, std::size_t count) {
  binary_range<BinaryOperation::add>(destination, source, destination, count);
}

void binary(BinaryOperation operation, const float* a, const float* b, float* out, std::size_t count) {
  switch (operation) {
    case BinaryOperation::add:
      return binary_range<BinaryOperation::add>(a, b, out, count);
    case BinaryOperation::subtract:
      return binary_range<BinaryOperation::subtract>(a, b, out, count);
    case BinaryOperation::multiply:
      return binary_range<BinaryOperation::multiply>(a, b, out, count);
    case BinaryOperation::divide:
      return binary_range<BinaryOperation::divide>(a, b, out, count);
    case BinaryOperation::maximum:
      return binary_range<BinaryOperation::maximum>(a, b, out, count);
    case BinaryOperation::minimum:
      return binary_range<BinaryOperation::minimum>(a, b, out, count);
    case BinaryOperation::squared_difference:
      return binary_range<BinaryOperation::squared_difference>(a, b, out, count);
  }
}

void binary_scalar(BinaryOperation operation, const float* a, float b, float* out, std::size_t count, bool scalar_first) {
  switch (operation) {
    case BinaryOperation::add:
      return binary_scalar_range<BinaryOperation::add>(a, b, out, count, scalar_first);
    case BinaryOperation::subtract:
      return binary_scalar_range<BinaryOperation::subtract>(a, b, out, count, scalar_first);
    case BinaryOperation::multiply:
      return binary_scalar_range<BinaryOperation::multiply>(a, b, out, count, scalar_first);
    case BinaryOperation::divide:
      return binary_scalar_range<BinaryOperation::divide>(a, b, out, count, scalar_first);
    case BinaryOperation::maximum:
      return binary_scalar_range<BinaryOperation::maximum>(a, b, out, count, scalar_first);
    case BinaryOperation::minimum:
      return binary_scalar_range<BinaryOperation::minimum>(a, b, out, count, scalar_first);
    case BinaryOperation::squared_difference:
      return binary_scalar_range<BinaryOperation::squared_difference>(a, b, out, count, scalar_first);
  }
}

void unary(UnaryOperation operation, const float* x, float* out, std::size_t count) {
  switch (operation) {
    case UnaryOperation::exponential:
      return unary_range<UnaryOperation::exponential>(x, out, count);
    case UnaryOperation::negate:
      return unary_range<UnaryOperation::negate>(x, out, count);
    case UnaryOperation::square:
      return unary_range<UnaryOperation::square>(x, out, count);
    case UnaryOperation::square_root:
      return unary_range<UnaryOperation::square_root>(x, out, count);
    case UnaryOperation::reciprocal_square_root:
      return unary_range<UnaryOperation::reciprocal_square_root>(x, out, count);
    case UnaryOperation::sigmoid:
      return unary_range<UnaryOperation::sigmoid>(x, out, count);
    case UnaryOperation::relu:
      return unary_range<UnaryOperation::relu>(x, out, count);
    case UnaryOperation::absolute:
      return unary_range<UnaryOperation::absolute>(x, out, count);
  }
}

void adam_w(float* parameter, const float* gradient, float* first, float* second, std::size_t count,
            const AdamWParameters& o) {
  const float keep = 1.0f - o.learning_rate * o.weight_decay;
  const float rate = o.learning_rate / o.correction1;
  const float inverse_correction2 = 1.0f / o.correction2;
  for_vectors(count, [&](std::size_t i, std::size_t n) {
    const Vec g = load_some(gradient + i, n) * o.gradient_scale;
    const Vec m = load_some(first + i, n) * o.beta1 + g * (1.0f - o.beta1);
    const Vec v = load_some(second + i, n) * o.beta2 + g * g * (1.0f - o.beta2);
    store_some(first + i, m, n);
    store_some(second + i, v, n);
    const Vec step = m * rate / (square_root(v * inverse_correction2) + o.epsilon);
    store_some(parameter + i, load_some(parameter + i, n) * keep - step, n);
  });
}

}  // namespace xgen::XGEN_VARIANT
