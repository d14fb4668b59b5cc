// The cross-entropy pieces, over several ways of cutting the vocabulary, against float64.
#include <algorithm>

#include "harness.h"

namespace test {

using namespace xgen::cuda;

namespace {

void cross_entropy_case(Context& c, ElementType type, ElementType grad_type, std::size_t rows, std::size_t vocabulary, std::size_t chunk_columns,
                        double scale) {
  const Tensor logits = c.floats(rows * vocabulary, type, scale);
  Tensor targets = c.integers(rows, 0, static_cast<int>(vocabulary) - 1);
  const std::int32_t ignore = -100;
  if (rows > 3) targets.as<std::int32_t>()[1] = ignore;
  if (rows > 3) targets.as<std::int32_t>()[2] = static_cast<std::int32_t>(vocabulary) - 1;
  if (vocabulary > 4) {
    write(logits.buffer->data(), type, vocabulary, -INFINITY);
    for (std::size_t j = 0; rows > 4 && j < std::min(chunk_columns, vocabulary - 1); j++) write(logits.buffer->data(), type, 3 * vocabulary + j, -INFINITY);
    if (rows > 4) targets.as<std::int32_t>()[3] = static_cast<std::int32_t>(vocabulary) - 1;
  }
  const Tensor maximum = c.output(rows, f32), sum = c.output(rows, f32), target = c.output(rows, f32);
  const CrossEntropyState state = {maximum.as<float>(), sum.as<float>(), target.as<float>()};
  const auto chunk_at = [&](const Tensor& t, std::size_t column) {
    return Array{t.as<unsigned char>() + column * bytes_of(t.type), t.type};
  };
  for (std::size_t column = 0; column < vocabulary; column += chunk_columns) {
    const LogitsChunk chunk = {rows, std::min(chunk_columns, vocabulary - column), vocabulary, column};
    cross_entropy_chunk(nullptr, chunk_at(logits, column), chunk, targets.as<std::int32_t>(), state, column == 0);
  }
  const Tensor log_probabilities = c.output(rows, f32), lse = c.output(rows, f32), dy = c.floats(rows, f32);
  cross_entropy_finish(nullptr, state, targets.as<std::int32_t>(), ignore, vocabulary, log_probabilities.as<float>(), lse.as<float>(), rows, c.error());
  std::vector<double> expected(rows), expected_lse(rows), expected_d(rows * vocabulary);
  for (std::size_t r = 0; r < rows; r++) {
    const int t = static_cast<int>(targets.at(r));
    if (t == ignore) continue;
    double largest = -INFINITY, total = 0;
    for (std::size_t j = 0; j < vocabulary; j++) largest = std::max(largest, logits.at(r * vocabulary + j));
    for (std::size_t j = 0; j < vocabulary; j++) total += std::exp(logits.at(r * vocabulary + j) - largest);
    expected_lse[r] = largest + std::log(total);
    expected[r] = logits.at(r * vocabulary + static_cast<std::size_t>(t)) - expected_lse[r];
    for (std::size_t j = 0; j < vocabulary; j++) {
      expected_d[r * vocabulary + j] = dy.at(r) * ((static_cast<int>(j) == t ? 1 : 0) - std::exp(logits.at(r * vocabulary + j) - expected_lse[r]));
    }
  }
  c.close("logProbabilities", log_probabilities, expected);
  c.close("logSumExp", lse, expected_lse);
  c.check(c.error_code() == DeviceError::none, "the error flag");
  const bool in_place = type == grad_type;
  const Tensor d = in_place ? logits : c.output(rows * vocabulary, grad_type);
  for (std::size_t column = 0; column < vocabulary; column += chunk_columns) {
    const LogitsChunk chunk = {rows, std::min(chunk_columns, vocabulary - column), vocabulary, column};
    cross_entropy_grad_chunk(nullptr, chunk_at(logits, column), chunk_at(d, column), chunk, targets.as<std::int32_t>(), ignore,
                             lse.as<float>(), dy.as<float>());
  }
  c.close("dLogits", d, expected_d);
}

void with_gradient_case(Context& c, ElementType type, std::size_t rows, std::size_t vocabulary, double scale) {
  const Tensor logits = c.floats(rows * vocabulary, type, scale);
  Tensor targets = c.integers(rows, 0, static_cast<int>(vocabulary) - 1);
  if (rows > 3) targets.as<std::int32_t>()[1] = -100;
  if (vocabulary > 4) write(logits.buffer->data(), type, vocabulary, -INFINITY);
  const float dy = -0.37f;
  std::vector<double> expected(rows), expected_d(rows * vocabulary);
  for (std::size_t r = 0; r < rows; r++) {
    const int t = static_cast<int>(targets.at(r));
    if (t == -100) continue;
    double largest = -INFINITY, total = 0;
    for (std::size_t j = 0; j < vocabulary; j++) largest = std::max(largest, logits.at(r * vocabulary + j));
    for (std::size_t j = 0; j < vocabulary; j++) total += std::exp(logits.at(r * vocabulary + j) - largest);
    for (std::size_t j = 0; j < vocabulary; j++) {
      expected_d[r * vocabulary + j] = dy * ((static_cast<int>(j) == t ? 1 : 0) - std::exp(logits.at(r * vocabulary + j) - largest) / total);
    }
    expected[r] = logits.at(r * vocabulary + static_cast<std::size_t>(t)) - largest - std::log(total);
  }
  const Tensor log_probabilities = c.output(rows, f32);
  cross_entropy_with_gradient(nullptr, logits, {rows, vocabulary, vocabulary, 0}, targets.as<std::int32_t>(), -100, dy,
                              log_probabilities.as<float>(), 0, c.error());
  c.close("logProbabilities", log_probabilities, expected);
  c.close("dLogits", logits, expected_d);
  c.check(c.error_code() == DeviceError::none, "the error flag");
}

void bad_target_with_gradient_case(Context& c) {
  const Tensor logits = c.floats(2 * 16, f32), targets = c.integers({4, 16}), out = c.output(2, f32);
  cross_entropy_with_gradient(nullptr, logits, {2, 16, 16, 0}, targets.as<std::int32_t>(), -100, 1, out.as<float>(), 5, c.error());
  c.check(c.error()->code == static_cast<std::uint32_t>(DeviceError::targets) && c.error()->position == 6 && c.error()->value == 16, "the error flag");
  c.check(out.at(1) == 0 && logits.at(16) == 0 && logits.at(31) == 0, "a row that does not count");
}

void bad_target_case(Context& c) {
  const Tensor logits = c.floats(3 * 16, f32), targets = c.integers({4, 16, -100}), a = c.output(3, f32), b = c.output(3, f32), t = c.output(3, f32);
  const Tensor out = c.output(3, f32), lse = c.output(3, f32);
  const CrossEntropyState state = {a.as<float>(), b.as<float>(), t.as<float>()};
  cross_entropy_chunk(nullptr, logits, {3, 16, 16, 0}, targets.as<std::int32_t>(), state, true);
  cross_entropy_finish(nullptr, state, targets.as<std::int32_t>(), -100, 16, out.as<float>(), lse.as<float>(), 3, c.error());
  c.check(c.error()->code == static_cast<std::uint32_t>(DeviceError::targets) && c.error()->position == 1 && c.error()->value == 16, "the error flag");
  c.check(out.at(1) == 0 && out.at(2) == 0 && lse.at(1) == 0 && out.at(0) < 0, "rows that do not count");
}

const bool registered = [] {
  for (const ElementType type : kFloatTypes) {
    for (const ElementType grad : kFloatTypes) {
      const std::string name = std::string("cross-entropy ") + name_of(type) + " " + name_of(grad);
      Register(name + " one chunk", [=](Context& c) { cross_entropy_case(c, type, grad, 9, 5003, 5003, 3); });
      Register(name + " chunks", [=](Context& c) { cross_entropy_case(c, type, grad, 9, 1000, 256, 3); });
      Register(name + " odd chunks", [=](Context& c) { cross_entropy_case(c, type, grad, 5, 1001, 77, 10); });
      Register(name + " large", [=](Context& c) { cross_entropy_case(c, type, grad, 3, 40960, 16384, 30); });
      Register(name + " tiny", [=](Context& c) { cross_entropy_case(c, type, grad, 1, 1, 1, 1); });
    }
  }
  for (const ElementType type : kFloatTypes) {
    const std::string name = std::string("cross-entropy with gradient ") + name_of(type);
    Register(name, [=](Context& c) { with_gradient_case(c, type, 5, 9000, 3); });
    Register(name + " odd", [=](Context& c) { with_gradient_case(c, type, 4, 1001, 10); });
    Register(name + " tiny", [=](Context& c) { with_gradient_case(c, type, 1, 1, 1); });
  }
  Register("cross-entropy bad target", bad_target_case);
  Register("cross-entropy with gradient bad target", bad_target_with_gradient_case);
  return true;
}();

}  // namespace
}  // namespace test
