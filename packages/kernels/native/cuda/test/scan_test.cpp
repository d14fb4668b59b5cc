// Running sums, largest entries and one-hot rows against plain loops.
#include <algorithm>
#include <limits>
#include <numeric>

#include "harness.h"

namespace test {

using namespace xgen::cuda;

namespace {

void sum_case(Context& c, ElementType type, std::size_t outer, std::size_t width, std::size_t inner, bool exclusive, bool reverse) {
  const std::size_t count = outer * width * inner;
  const Tensor x = type == i32 ? c.integers(count, -50, 50) : c.floats(count, type), out = c.output(count, type);
  cumulative_sum(nullptr, x, out, outer, width, inner, exclusive, reverse);
  std::vector<double> expected(count);
  for (std::size_t o = 0; o < outer; o++) {
    for (std::size_t n = 0; n < inner; n++) {
      double sum = 0;
      for (std::size_t i = 0; i < width; i++) {
        const std::size_t at = (o * width + (reverse ? width - 1 - i : i)) * inner + n;
        if (exclusive) expected[at] = sum;
        sum += x.at(at);
        if (!exclusive) expected[at] = sum;
      }
    }
  }
  if (type == i32) c.equal("out", out, expected);
  else c.close("out", out, expected);
}

void top_k_case(Context& c, const Tensor& x, std::size_t rows, std::size_t width, std::size_t k, bool with_values) {
  const Tensor values = c.output(rows * k, f32), indices = c.output(rows * k, i32);
  top_k(nullptr, x, with_values ? values.as<float>() : nullptr, indices.as<std::int32_t>(), rows, width, k);
  std::vector<double> expected_values, expected_indices;
  for (std::size_t row = 0; row < rows; row++) {
    const auto at = [&](std::size_t i) {
      const double value = x.at(row * width + i);
      return value == value ? value : std::numeric_limits<double>::infinity();
    };
    std::vector<std::size_t> ranked(width);
    std::iota(ranked.begin(), ranked.end(), std::size_t{0});
    std::stable_sort(ranked.begin(), ranked.end(), [&](std::size_t a, std::size_t b) { return at(a) > at(b); });
    for (std::size_t i = 0; i < k; i++) {
      expected_indices.push_back(static_cast<double>(ranked[i]));
      expected_values.push_back(x.at(row * width + ranked[i]));
    }
  }
  if (with_values) c.equal("values", values, expected_values);
  c.equal("indices", indices, expected_indices);
}

void one_hot_case(Context& c, ElementType type, std::size_t depth, double on, double off) {
  const Tensor indices = c.integers({0, 3, -1, 2147483647, 2, 2, -2147483647, 299}), out = c.output(8 * depth, type);
  one_hot(nullptr, indices.as<std::int32_t>(), out, 8, depth, on, off);
  std::vector<double> expected(8 * depth, off);
  for (std::size_t i = 0; i < 8; i++) {
    if (indices.at(i) >= 0 && indices.at(i) < static_cast<double>(depth)) expected[i * depth + static_cast<std::size_t>(indices.at(i))] = on;
  }
  c.equal("out", out, expected);
}

const bool registered = [] {
  for (const ElementType type : {f32, i32}) {
    for (const bool exclusive : {false, true}) {
      for (const bool reverse : {false, true}) {
        const std::string name = std::string("running sum ") + name_of(type) + (exclusive ? " exclusive" : "") + (reverse ? " reverse" : "");
        for (const std::size_t width : {1, 31, 256, 257, 1000}) {
          Register(name + " " + std::to_string(width), [=](Context& c) { sum_case(c, type, 3, width, 1, exclusive, reverse); });
        }
        Register(name + " middle axis", [=](Context& c) { sum_case(c, type, 2, 300, 5, exclusive, reverse); });
      }
    }
  }
  for (const ElementType type : kFloatTypes) {
    const std::string name = std::string("top-k ") + name_of(type);
    for (const std::size_t width : {1, 33, 256, 1001}) {
      Register(name + " of " + std::to_string(width), [=](Context& c) {
        top_k_case(c, c.floats(4 * width, type), 4, width, 1, false);
        top_k_case(c, c.floats(4 * width, type), 4, width, std::min<std::size_t>(width, 20), true);
      });
    }
    Register(name + " all of it", [=](Context& c) { top_k_case(c, c.floats(2 * 70, type), 2, 70, 70, true); });
    Register(name + " ties", [=](Context& c) {
      const double infinite = std::numeric_limits<double>::infinity();
      top_k_case(c, c.floats({1, 0.0, -0.0, 0.0, 2, 2, -1, -0.0, -infinite, NAN, infinite, -infinite}, type), 1, 12, 12, false);
      top_k_case(c, c.floats({3, 3, 3, 3, 3, 3}, type), 2, 3, 2, true);
    });
  }
  for (const ElementType type : {f32, i32, u8}) {
    for (const std::size_t depth : {1, 4, 300}) {
      Register(std::string("one-hot ") + name_of(type) + " " + std::to_string(depth), [=](Context& c) { one_hot_case(c, type, depth, 1, 0); });
    }
  }
  Register("one-hot of other numbers", [](Context& c) { one_hot_case(c, f32, 5, 0.75, -2); });
  return true;
}();

}  // namespace
}  // namespace test
