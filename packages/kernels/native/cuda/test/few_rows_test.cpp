// Products of few rows against float64.
#include <algorithm>

#include "harness.h"
#include "xgen/cuda/matmul.h"

namespace test {

using namespace xgen::cuda;

namespace {

struct Size {
  std::size_t rows, outputs, depth;
};

std::vector<double> product(const Tensor& x, const Tensor& weight, std::size_t rows, std::size_t outputs, std::size_t depth, std::size_t row_x) {
  std::vector<double> y(rows * outputs);
  for (std::size_t r = 0; r < rows; r++) {
    for (std::size_t o = 0; o < outputs; o++) {
      for (std::size_t i = 0; i < depth; i++) y[r * outputs + o] += x.at(r * row_x + i) * weight.at(o * depth + i);
    }
  }
  return y;
}

MatmulShape shape_of(const Size& size, std::size_t row_x) {
  return {size.rows, size.outputs, size.depth, false, true, row_x, size.depth, size.outputs};
}

std::vector<double> activated(const std::vector<double>& both, const Size& size) {
  std::vector<double> y(size.rows * size.outputs);
  for (std::size_t i = 0; i < y.size(); i++) {
    const std::size_t at = i / size.outputs * 2 * size.outputs + i % size.outputs;
    y[i] = both[at] / (1 + std::exp(-both[at])) * both[at + size.outputs];
  }
  return y;
}

void product_case(Context& c, const Size& size, ElementType type, bool gated) {
  const std::size_t row_x = size.depth + 8, matrices = gated ? 2 : 1;
  const Tensor x = c.floats((size.rows - 1) * row_x + size.depth, bf16), weight = c.floats(matrices * size.outputs * size.depth, bf16, 0.1);
  const Tensor y = c.output(size.rows * size.outputs, type);
  const auto multiply = [&](auto... given) { return gated ? multiply_few_rows_gated(given...) : multiply_few_rows(given...); };
  c.check(multiply(nullptr, shape_of(size, row_x), x, weight, y), "taken");
  std::vector<double> expected = product(x, weight, size.rows, matrices * size.outputs, size.depth, row_x);
  if (gated) expected = activated(expected, size);
  c.close("y", y, expected);
}

// With the norm inside: what it gives in float64, and what the norm's kernel and the product give one after the other, but for roundings.
void normed_case(Context& c, const Size& size, ElementType norm_type, bool gated) {
  const std::size_t row_x = size.depth + 8, matrices = gated ? 2 : 1;
  constexpr float kEpsilon = 0.01f;
  const Tensor x = c.floats((size.rows - 1) * row_x + size.depth, bf16), weight = c.floats(matrices * size.outputs * size.depth, bf16, 0.1);
  const Tensor norm = c.floats(size.depth, norm_type), y = c.output(size.rows * size.outputs, bf16);
  const Tensor normalized = c.output(size.rows * size.depth, bf16);
  for (std::size_t r = 0; r < size.rows; r++) {
    double squares = 0;
    for (std::size_t i = 0; i < size.depth; i++) squares += x.at(r * row_x + i) * x.at(r * row_x + i);
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(size.depth) + kEpsilon);
    for (std::size_t i = 0; i < size.depth; i++) write(normalized.as<void>(), bf16, r * size.depth + i, x.at(r * row_x + i) * inverse * norm.at(i));
  }
  FewRowsOptions options;
  options.norm = norm;
  options.epsilon = kEpsilon;
  const auto multiply = [&](auto... given) { return gated ? multiply_few_rows_gated(given...) : multiply_few_rows(given...); };
  c.check(multiply(nullptr, shape_of(size, row_x), x, weight, y, options), "taken");
  std::vector<double> expected = product(normalized, weight, size.rows, matrices * size.outputs, size.depth, size.depth);
  if (gated) expected = activated(expected, size);
  c.close("y", y, expected);
}

// The same bits whatever other rows there are.
void alone_case(Context& c, std::size_t outputs, std::size_t depth) {
  constexpr std::size_t kRows = 32;
  const Tensor x = c.floats(kRows * depth, bf16), weight = c.floats(outputs * depth, bf16), all = c.output(kRows * outputs, f32);
  c.check(multiply_few_rows(nullptr, shape_of({kRows, outputs, depth}, depth), x, weight, all), "taken");
  for (const std::size_t row : {0, 9, 31}) {
    const Tensor alone = c.output(outputs, f32), own = c.output(depth, bf16);
    for (std::size_t i = 0; i < depth; i++) write(own.as<void>(), bf16, i, x.at(row * depth + i));
    c.check(multiply_few_rows(nullptr, shape_of({1, outputs, depth}, depth), own, weight, alone), "taken");
    std::vector<double> expected;
    for (std::size_t i = 0; i < outputs; i++) expected.push_back(all.at(row * outputs + i));
    c.equal("a row alone", alone, expected);
  }
}

void alone_normed_case(Context& c, std::size_t outputs, std::size_t depth) {
  constexpr std::size_t kRows = 8;
  const Tensor x = c.floats(kRows * depth, bf16), weight = c.floats(outputs * depth, bf16), norm = c.floats(depth, f32), all = c.output(kRows * outputs, f32);
  FewRowsOptions options;
  options.norm = norm;
  c.check(multiply_few_rows(nullptr, shape_of({kRows, outputs, depth}, depth), x, weight, all, options), "taken");
  const Tensor alone = c.output(outputs, f32), own = c.output(depth, bf16);
  for (std::size_t i = 0; i < depth; i++) write(own.as<void>(), bf16, i, x.at(5 * depth + i));
  c.check(multiply_few_rows(nullptr, shape_of({1, outputs, depth}, depth), own, weight, alone, options), "taken");
  std::vector<double> expected;
  for (std::size_t i = 0; i < outputs; i++) expected.push_back(all.at(5 * outputs + i));
  c.equal("a row alone", alone, expected);
}

void refused_case(Context& c) {
  const Tensor x = c.floats(40 * 4104, bf16), weight = c.floats(16 * 4104, bf16), floats = c.floats(64, f32), y = c.output(40 * 16, bf16);
  const auto refuses = [&](const char* what, const MatmulShape& shape, ConstArray a, ConstArray b) {
    c.check(!multiply_few_rows(nullptr, shape, a, b, y), what);
  };
  refuses("33 rows", shape_of({33, 16, 64}, 64), x, weight);
  refuses("9 deep rows", shape_of({9, 16, 4104}, 4104), x, weight);
  refuses("a depth of 60", shape_of({1, 16, 60}, 64), x, weight);
  refuses("float32", shape_of({1, 1, 64}, 64), floats, floats);
  refuses("an unaligned row", shape_of({2, 16, 64}, 68), x, weight);
  MatmulShape shape = shape_of({1, 16, 64}, 64);
  shape.transposed_b = false;
  refuses("a matrix that is not transposed", shape, x, weight);
  shape = shape_of({1, 16, 64}, 64);
  shape.batch = 2;
  refuses("a batch", shape, x, weight);
  FewRowsOptions normed;
  normed.norm = floats;
  c.check(!multiply_few_rows(nullptr, shape_of({9, 16, 64}, 64), x, weight, y, normed), "9 rows to normalise");
  c.check(!multiply_few_rows(nullptr, shape_of({1, 16, 4104}, 4104), x, weight, y, normed), "deep rows to normalise");
  refuses("an unaligned matrix", shape_of({1, 8, 64}, 64), x, {weight.as<std::uint16_t>() + 1, bf16});
}

const bool registered = [] {
  const std::vector<Size> sizes = {{1, 1, 8},     {1, 16, 64},   {1, 40, 520}, {2, 17, 72},    {5, 33, 1096}, {8, 100, 256},  {9, 48, 640},
                                   {16, 31, 512}, {17, 20, 128}, {31, 50, 88}, {32, 33, 4096}, {8, 20, 8200}, {1, 530, 200}, {7, 700, 96}};
  for (const Size& size : sizes) {
    const std::string name = std::to_string(size.rows) + " x " + std::to_string(size.depth) + " x " + std::to_string(size.outputs);
    for (const ElementType type : kFloatTypes) {
      Register("few rows product " + name + " " + name_of(type), [=](Context& c) { product_case(c, size, type, false); });
      Register("few rows gated product " + name + " " + name_of(type), [=](Context& c) { product_case(c, size, type, true); });
      if (size.rows > 8 || size.depth > 4096) continue;
      Register("few rows product with norm " + name + " " + name_of(type), [=](Context& c) { normed_case(c, size, type, false); });
      Register("few rows gated product with norm " + name + " " + name_of(type), [=](Context& c) { normed_case(c, size, type, true); });
    }
  }
  Register("few rows product of a row alone", [](Context& c) { alone_case(c, 70, 1000); });
  Register("few rows product of a row alone, many outputs", [](Context& c) { alone_case(c, 600, 136); });
  Register("few rows product alone with norm", [](Context& c) { alone_normed_case(c, 40, 1096); });
  Register("few rows product refuses", refused_case);
  return true;
}();

}  // namespace
}  // namespace test
