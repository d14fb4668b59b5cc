// Element-wise operations, reductions, conversions and copies against float64.
#include <algorithm>

#include "harness.h"

namespace test {

using namespace xgen::cuda;

namespace {

double apply(BinaryOperation operation, double a, double b) {
  switch (operation) {
    case BinaryOperation::add: return a + b;
    case BinaryOperation::subtract: return a - b;
    case BinaryOperation::multiply: return a * b;
    case BinaryOperation::divide: return a / b;
    case BinaryOperation::maximum: return std::max(a, b);
    case BinaryOperation::minimum: return std::min(a, b);
    case BinaryOperation::squared_difference: return (a - b) * (a - b);
    case BinaryOperation::power: return std::pow(a, b);
    case BinaryOperation::greater: return a > b;
    case BinaryOperation::greater_equal: return a >= b;
    case BinaryOperation::less: return a < b;
    case BinaryOperation::less_equal: return a <= b;
    case BinaryOperation::equal: return a == b;
    case BinaryOperation::not_equal: return a != b;
    case BinaryOperation::logical_and: return a != 0 && b != 0;
    case BinaryOperation::logical_or: return a != 0 || b != 0;
  }
  return 0;
}

double apply(UnaryOperation operation, double x) {
  switch (operation) {
    case UnaryOperation::exponential: return std::exp(x);
    case UnaryOperation::negate: return -x;
    case UnaryOperation::square: return x * x;
    case UnaryOperation::square_root: return std::sqrt(x);
    case UnaryOperation::reciprocal_square_root: return 1 / std::sqrt(x);
    case UnaryOperation::sigmoid: return 1 / (1 + std::exp(-x));
    case UnaryOperation::relu: return std::max(x, 0.0);
    case UnaryOperation::absolute: return std::fabs(x);
    case UnaryOperation::logarithm: return std::log(x);
    case UnaryOperation::hyperbolic_tangent: return std::tanh(x);
    case UnaryOperation::reciprocal: return 1 / x;
    case UnaryOperation::step: return x > 0;
    case UnaryOperation::sign: return x > 0 ? 1 : x < 0 ? -1 : 0;
    case UnaryOperation::floor: return std::floor(x);
    case UnaryOperation::ceil: return std::ceil(x);
    case UnaryOperation::exponential_minus_one: return std::expm1(x);
    case UnaryOperation::logarithm_plus_one: return std::log1p(x);
    case UnaryOperation::softplus: return std::log1p(std::exp(x));
    case UnaryOperation::sine: return std::sin(x);
    case UnaryOperation::cosine: return std::cos(x);
    case UnaryOperation::logical_not: return x == 0;
    case UnaryOperation::is_nan: return x != x;
  }
  return 0;
}

constexpr ElementType kAllTypes[] = {f32, bf16, i32, u8};

Tensor values_of(Context& c, ElementType type, std::size_t count, bool positive) {
  std::vector<double> values(count);
  for (double& v : values) {
    v = type == u8 ? c.integer(0, 1) : type == i32 ? c.integer(positive ? 1 : -9, 9) : positive ? c.uniform(0.1, 3) : c.normal();
  }
  return c.floats(values, type);
}

double stored(ElementType type, double x) { return type == u8 ? (x != 0 ? 1 : 0) : type == i32 ? std::trunc(x) : x; }

void binary_case(Context& c, BinaryOperation operation, ElementType type_a, ElementType type_b, ElementType type, std::size_t rows, std::size_t row) {
  const bool positive = operation == BinaryOperation::power || operation == BinaryOperation::divide;
  const bool zero_divisor = operation == BinaryOperation::divide && type_b == u8;
  if (zero_divisor) return;
  const std::size_t count = rows * row;
  const Tensor a = values_of(c, type_a, count, positive), b = values_of(c, type_b, count, positive), out = c.output(count, type);
  const Tensor b_row = values_of(c, type_b, row, positive), a_one = values_of(c, type_a, 1, positive);
  std::vector<double> plain(count), with_row(count), with_one(count);
  for (std::size_t i = 0; i < count; i++) {
    plain[i] = stored(type, apply(operation, a.at(i), b.at(i)));
    with_row[i] = stored(type, apply(operation, a.at(i), b_row.at(i % row)));
    with_one[i] = stored(type, apply(operation, a_one.at(0), b.at(i)));
  }
  binary(nullptr, operation, a, b, out, count, Repeat::none, Repeat::none, 0);
  c.close("plain", out, plain);
  binary(nullptr, operation, a, b_row, out, count, Repeat::none, Repeat::row, row);
  c.close("row", out, with_row);
  binary(nullptr, operation, a_one, b, out, count, Repeat::scalar, Repeat::none, 0);
  c.close("scalar", out, with_one);
  if (type == type_a) {
    binary(nullptr, operation, a, b, a, count, Repeat::none, Repeat::none, 0);
    c.close("in place", a, plain);
  }
}

void unary_case(Context& c, UnaryOperation operation, ElementType from, ElementType to, std::size_t count) {
  const bool positive = operation == UnaryOperation::square_root || operation == UnaryOperation::reciprocal_square_root ||
                        operation == UnaryOperation::logarithm || operation == UnaryOperation::logarithm_plus_one ||
                        operation == UnaryOperation::reciprocal;
  const Tensor x = values_of(c, from, count, positive), y = c.output(count, to);
  std::vector<double> expected(count);
  for (std::size_t i = 0; i < count; i++) {
    const double v = apply(operation, x.at(i));
    expected[i] = stored(to, from == u8 && (std::isinf(v)) ? v : v);
  }
  unary(nullptr, operation, x, y, count);
  c.close("y", y, expected, from == to ? 0 : to == bf16 ? 1e-2 : 1e-5);
}

void reduce_case(Context& c, Reduction reduction, ElementType type, ElementType out_type, std::size_t rows, std::size_t width) {
  const Tensor x = c.floats(rows * width, type);
  for (std::size_t i = 0; i < x.count; i++) write(x.buffer->data(), type, i, x.at(i) + 0.5);
  const double start = reduction == Reduction::sum ? 0 : reduction == Reduction::maximum ? -INFINITY : INFINITY;
  const auto join = [&](double a, double b) { return reduction == Reduction::sum ? a + b : reduction == Reduction::maximum ? std::max(a, b) : std::min(a, b); };
  std::vector<double> by_row(rows, start), by_column(width, start);
  for (std::size_t r = 0; r < rows; r++) {
    for (std::size_t j = 0; j < width; j++) {
      by_row[r] = join(by_row[r], x.at(r * width + j));
      by_column[j] = join(by_column[j], x.at(r * width + j));
    }
  }
  const Tensor out_rows = c.output(rows, out_type), out_columns = c.output(width, out_type);
  reduce_rows(nullptr, reduction, x, out_rows, rows, width, c.workspace(reduce_rows_workspace_bytes(rows, width)));
  c.close("rows", out_rows, by_row);
  reduce_columns(nullptr, reduction, x, out_columns, rows, width, c.workspace(reduce_columns_workspace_bytes(rows, width)));
  c.close("columns", out_columns, by_column);
}

void softmax_case(Context& c, ElementType type, std::size_t rows, std::size_t width) {
  const Tensor x = c.floats(rows * width, type, 5), y = c.output(rows * width, type);
  if (width > 3) write(x.buffer->data(), type, 2, -INFINITY);
  std::vector<double> expected(rows * width);
  for (std::size_t r = 0; r < rows; r++) {
    double largest = -INFINITY, sum = 0;
    for (std::size_t j = 0; j < width; j++) largest = std::max(largest, x.at(r * width + j));
    for (std::size_t j = 0; j < width; j++) sum += std::exp(x.at(r * width + j) - largest);
    for (std::size_t j = 0; j < width; j++) expected[r * width + j] = std::exp(x.at(r * width + j) - largest) / sum;
  }
  softmax(nullptr, x, y, rows, width);
  c.close("y", y, expected);
}

void copies_case(Context& c, ElementType type) {
  const auto values = [&](std::size_t count) { return values_of(c, type, count, false); };
  for (const std::size_t rows : {1, 31, 70}) {
    for (const std::size_t columns : {1, 33, 100}) {
      const Tensor x = values(rows * columns), y = c.output(rows * columns, type);
      std::vector<double> expected(rows * columns);
      for (std::size_t i = 0; i < rows * columns; i++) expected[i % columns * rows + i / columns] = x.at(i);
      transpose(nullptr, x, y, rows, columns);
      c.equal("transpose", y, expected);
    }
  }
  // [3, 4, 5] -> axes (2, 0, 1), the second reversed, written into the middle of a larger array.
  const Tensor x = values(60), y = values(200);
  std::vector<double> expected = y.values();
  for (int i = 0; i < 5; i++) {
    for (int j = 0; j < 3; j++) {
      for (int k = 0; k < 4; k++) expected[static_cast<std::size_t>(7 + i * 30 + j * 6 + k)] = x.at(static_cast<std::size_t>((2 - j) * 20 + k * 5 + i));
    }
  }
  StridedCopy copy = {3, {5, 3, 4}, {1, -20, 5}, {30, 6, 1}};
  unsigned char* const from = x.as<unsigned char>() + 40 * bytes_of(type);
  copy_strided(nullptr, {from, type}, {y.as<unsigned char>() + 7 * bytes_of(type), type}, copy);
  c.equal("strided", y, expected);
  // A row repeated, and an empty copy.
  const Tensor tiled = c.output(60 * 3, type);
  std::vector<double> repeated(180);
  for (std::size_t i = 0; i < 180; i++) repeated[i] = x.at(i % 60);
  copy_strided(nullptr, x, tiled, {2, {3, 60}, {0, 1}, {60, 1}});
  c.equal("tile", tiled, repeated);
  copy_strided(nullptr, x, tiled, {2, {0, 60}, {0, 1}, {60, 1}});

  for (const std::size_t count : {1, 7, 16, 5000}) {
    const Tensor condition = values_of(c, u8, count, false), a = values(count), b = values(count), out = c.output(count, type);
    std::vector<double> chosen(count);
    for (std::size_t i = 0; i < count; i++) chosen[i] = condition.at(i) != 0 ? a.at(i) : b.at(i);
    select(nullptr, condition.as<std::uint8_t>(), a, b, out, count);
    c.equal("select", out, chosen);
    fill(nullptr, out, 1.0, count);
    c.equal("fill", out, std::vector<double>(count, 1.0));
    for (const ElementType to : kAllTypes) {
      const Tensor converted = c.output(count, to);
      std::vector<double> as(count);
      for (std::size_t i = 0; i < count; i++) as[i] = stored(to, a.at(i));
      convert(nullptr, a, converted, count);
      c.close("convert", converted, as, to == bf16 ? 1e-2 : 1e-7);
    }
  }
}

void exact_case(Context& c) {
  const Tensor big = c.integers({INT32_MAX, INT32_MIN, 16777217, -16777217, 0}), same = c.output(5, i32), bits = c.output(5, u8);
  convert(nullptr, big, same, 5);
  c.equal("int32 kept", same, big.values());
  convert(nullptr, big, bits, 5);
  c.equal("int32 to bool", bits, {1, 1, 1, 1, 0});
  const Tensor wild = c.floats({1e20, -1e20, NAN, 2.9, -2.9}, f32);
  convert(nullptr, wild, same, 5);
  c.equal("saturated", same, {static_cast<double>(INT32_MAX), static_cast<double>(INT32_MIN), 0.0, 2.0, -2.0});
  const Tensor counters = c.integers({0, -5, 16777217, 2147483647, 7});
  const Tensor others = c.integers({3, 4, 5, 6, 7});
  std::int32_t* const both[] = {counters.as<std::int32_t>(), others.as<std::int32_t>()};
  increment(nullptr, both, 2, 1, 4);
  c.equal("increment", counters, {1, -4, 16777218, -2147483648.0, 7});
  c.equal("increment of another", others, {4, 5, 6, 7, 7});
  fill(nullptr, same, -7, 5);
  c.equal("fill int32", same, std::vector<double>(5, -7));
  const Tensor half = c.output(3, bf16), expected = c.floats({1.00390625, 1.00390625, 1.00390625}, bf16);
  fill(nullptr, half, 1.00390625, 3);  // a tie: to even
  c.equal("fill bf16", half, expected.values());
  const Tensor nan = c.floats({NAN, 1.0}, f32), other = c.floats({2.0, NAN}, f32), out = c.output(2, f32);
  for (const BinaryOperation operation : {BinaryOperation::maximum, BinaryOperation::minimum}) {
    binary(nullptr, operation, nan, other, out, 2, Repeat::none, Repeat::none, 0);
    c.equal("NaN wins", out, {NAN, NAN});
  }
  const Tensor flags = c.output(2, u8);
  unary(nullptr, UnaryOperation::is_nan, nan, flags, 2);
  c.equal("is_nan", flags, {1, 0});
  for (const ElementType type : kFloatTypes) {
    std::vector<Tensor> tensors;
    std::vector<const void*> pointers;
    std::vector<double> sums(1003, 0.0);
    for (std::size_t n = 0; n < kAddInputs; n++) {
      tensors.push_back(c.floats(sums.size(), type));
      pointers.push_back(tensors[n].buffer->data());
      for (std::size_t i = 0; i < sums.size(); i++) sums[i] += tensors[n].at(i);
    }
    add_n(nullptr, pointers.data(), pointers.size(), tensors[0], sums.size());
    c.close("add_n in place", tensors[0], sums);
  }
}

const bool registered = [] {
  for (int o = 0; o <= static_cast<int>(BinaryOperation::logical_or); o++) {
    const auto operation = static_cast<BinaryOperation>(o);
    const std::string name = "binary " + std::to_string(o);
    for (const ElementType a : kFloatTypes) {
      for (const ElementType b : kFloatTypes) {
        Register(name + " " + name_of(a) + " " + name_of(b), [=](Context& c) {
          binary_case(c, operation, a, b, a, 37, 48);
          binary_case(c, operation, a, b, b, 11, 13);
        });
      }
      Register(name + " mixed " + name_of(a), [=](Context& c) {
        binary_case(c, operation, a, i32, u8, 9, 16);
        binary_case(c, operation, i32, i32, i32, 9, 16);
        binary_case(c, operation, u8, u8, a, 5, 3);
      });
    }
  }
  for (int o = 0; o <= static_cast<int>(UnaryOperation::is_nan); o++) {
    const auto operation = static_cast<UnaryOperation>(o);
    Register("unary " + std::to_string(o), [=](Context& c) {
      for (const ElementType from : kFloatTypes) {
        for (const ElementType to : kFloatTypes) unary_case(c, operation, from, to, 2051);
      }
      unary_case(c, operation, f32, u8, 100);
    });
  }
  const std::pair<std::size_t, std::size_t> shapes[] = {{1, 1}, {3, 5}, {70, 256}, {600, 33}, {5, 1000}, {2, 70000}, {1, 40001}, {1500, 40}, {520, 264}};
  for (const Reduction reduction : {Reduction::sum, Reduction::maximum, Reduction::minimum}) {
    for (const auto& [rows, width] : shapes) {
      for (const ElementType type : kFloatTypes) {
        const std::size_t r = rows, w = width;
        Register("reduce " + std::to_string(static_cast<int>(reduction)) + " " + name_of(type) + " " + std::to_string(r) + " " + std::to_string(w),
                 [=](Context& c) { reduce_case(c, reduction, type, type == f32 ? f32 : (w % 2 ? bf16 : f32), r, w); });
      }
    }
  }
  Register("reduce long uncut rows", [](Context& c) { reduce_case(c, Reduction::sum, bf16, f32, 513, 32800 / 8); });
  for (const ElementType type : kFloatTypes) {
    for (const std::size_t width : {1, 5, 64, 1000, 40001}) {
      Register(std::string("softmax ") + name_of(type) + " " + std::to_string(width), [=](Context& c) { softmax_case(c, type, 3, width); });
    }
  }
  for (const ElementType type : kAllTypes) Register(std::string("copies ") + name_of(type), [=](Context& c) { copies_case(c, type); });
  Register("exact values", exact_case);
  return true;
}();

}  // namespace
}  // namespace test
