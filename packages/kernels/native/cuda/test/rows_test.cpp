// RMS norm, RoPE, SwiGLU, embedding against float64.
#include "harness.h"

namespace test {

using namespace xgen::cuda;

namespace {

std::string label(const char* what, std::initializer_list<std::size_t> sizes, ElementType a, ElementType b) {
  std::string text = std::string(what) + " " + name_of(a) + " " + name_of(b);
  for (const std::size_t s : sizes) text += " " + std::to_string(s);
  return text;
}

void norm_case(Context& c, ElementType type, ElementType weight_type, std::size_t rows, std::size_t width, bool residual) {
  const double epsilon = 1e-5;
  const Tensor x = c.floats(rows * width, type), r = c.floats(rows * width, type), w = c.floats(width, weight_type);
  const Tensor y = c.output(rows * width, type), sum = c.output(rows * width, type), inverse = c.output(rows, f32);
  const ConstArray none(nullptr, type);
  rms_norm(nullptr, x, residual ? ConstArray(r) : none, w, y, residual ? Array(sum) : Array{nullptr, type}, inverse.as<float>(), rows,
           width, static_cast<float>(epsilon));
  if (residual) {
    std::vector<double> expected_sum(rows * width);
    for (std::size_t j = 0; j < rows * width; j++) expected_sum[j] = x.at(j) + r.at(j);
    c.close("sum", sum, expected_sum);
  }
  // The norm and its gradient take the sum as it was stored.
  const Tensor& input = residual ? sum : x;
  std::vector<double> expected(rows * width), inverses(rows);
  for (std::size_t i = 0; i < rows; i++) {
    double squares = 0;
    for (std::size_t j = i * width; j < (i + 1) * width; j++) squares += input.at(j) * input.at(j);
    inverses[i] = 1 / std::sqrt(squares / static_cast<double>(width) + epsilon);
    for (std::size_t j = 0; j < width; j++) expected[i * width + j] = input.at(i * width + j) * inverses[i] * w.at(j);
  }
  c.close("y", y, expected);
  c.close("inverseRms", inverse, inverses);
  const Tensor dy = c.floats(rows * width, type), ds = c.floats(rows * width, type);
  const Tensor dx = c.output(rows * width, type), dw = c.output(width, weight_type);
  void* workspace = c.workspace(rms_norm_grad_workspace_bytes(rows, width));
  rms_norm_grad(nullptr, input, w, inverse.as<float>(), dy, residual ? ConstArray(ds) : none, dx, dw, rows, width, workspace);
  std::vector<double> expected_dx(rows * width), expected_dw(width);
  for (std::size_t i = 0; i < rows; i++) {
    double dot = 0;
    const double n = inverse.at(i);
    for (std::size_t j = 0; j < width; j++) {
      const std::size_t k = i * width + j;
      dot += dy.at(k) * w.at(j) * input.at(k);
      expected_dw[j] += dy.at(k) * input.at(k) * n;
    }
    for (std::size_t j = 0; j < width; j++) {
      const std::size_t k = i * width + j;
      expected_dx[k] = n * (dy.at(k) * w.at(j) - input.at(k) * dot * n * n / static_cast<double>(width)) + (residual ? ds.at(k) : 0);
    }
  }
  c.close("dx", dx, expected_dx);
  c.close("dWeight", dw, expected_dw);
  // In place, and without the weight's gradient.
  rms_norm_grad(nullptr, input, w, inverse.as<float>(), dy, residual ? ConstArray(ds) : none, residual ? ds : dy, {nullptr, weight_type},
                rows, width, workspace);
  c.close("dx in place", residual ? ds : dy, expected_dx);
}

void rope_case(Context& c, ElementType type, std::size_t heads, std::size_t rotated, std::size_t hd, bool inverse, int largest) {
  const std::size_t rows = 7, width = heads * hd, half = hd / 2;
  const Tensor x = c.floats(rows * width, type), y = c.output(rows * width, type);
  Tensor positions = c.integers(rows, 0, largest);
  positions.as<std::int32_t>()[0] = 0;
  positions.as<std::int32_t>()[1] = largest;
  std::vector<double> frequencies(half);
  for (std::size_t i = 0; i < half; i++) frequencies[i] = std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(hd));
  const Tensor f = c.floats(frequencies, f32);
  rope(nullptr, x, y, positions.as<std::int32_t>(), f.as<float>(), rows, heads, rotated, hd, 1.25f, inverse);
  std::vector<double> expected = x.values();
  for (std::size_t r = 0; r < rows; r++) {
    for (std::size_t h = 0; h < rotated; h++) {
      for (std::size_t i = 0; i < half; i++) {
        const double angle = static_cast<float>(static_cast<float>(positions.at(r)) * static_cast<float>(f.at(i)));
        const double cosine = std::cos(angle) * 1.25, sine = std::sin(inverse ? -angle : angle) * 1.25;
        const std::size_t a = r * width + h * hd + i, b = a + half;
        expected[a] = x.at(a) * cosine - x.at(b) * sine;
        expected[b] = x.at(b) * cosine + x.at(a) * sine;
      }
    }
  }
  c.close("y", y, expected);
  rope(nullptr, x, x, positions.as<std::int32_t>(), f.as<float>(), rows, heads, rotated, hd, 1.25f, inverse);
  c.close("in place", x, expected);
}

void swiglu_case(Context& c, ElementType type, std::size_t rows, std::size_t width) {
  const Tensor x = c.floats(rows * 2 * width, type, 3), dy = c.floats(rows * width, type);
  const Tensor y = c.output(rows * width, type), dx = c.output(rows * 2 * width, type);
  swiglu(nullptr, x, y, rows, width);
  swiglu_grad(nullptr, x, dy, dx, rows, width);
  std::vector<double> expected(rows * width), expected_dx(rows * 2 * width);
  for (std::size_t r = 0; r < rows; r++) {
    for (std::size_t j = 0; j < width; j++) {
      const std::size_t k = r * width + j, a = r * 2 * width + j;
      const double g = x.at(a), u = x.at(a + width), s = 1 / (1 + std::exp(-g));
      expected[k] = g * s * u;
      expected_dx[a] = dy.at(k) * u * (s + g * s * (1 - s));
      expected_dx[a + width] = dy.at(k) * g * s;
    }
  }
  c.close("y", y, expected);
  c.close("dGateUp", dx, expected_dx);
  swiglu_grad(nullptr, x, dy, x, rows, width);
  c.close("dGateUp in place", x, expected_dx);
}

void embedding_case(Context& c, ElementType weight_type, ElementType type, std::size_t tokens, std::size_t width, std::size_t vocabulary,
                    bool skewed, bool bad) {
  const Tensor weight = c.floats(vocabulary * width, weight_type), out = c.output(tokens * width, type);
  Tensor ids = c.integers(tokens, 0, static_cast<int>(vocabulary) - 1);
  if (skewed) {
    for (std::size_t i = 0; i < tokens; i++) {
      if (c.integer(0, 3) != 0) ids.as<std::int32_t>()[i] = static_cast<std::int32_t>(vocabulary / 2);
    }
  }
  if (bad) {
    ids.as<std::int32_t>()[tokens / 2] = -1;
    ids.as<std::int32_t>()[tokens - 1] = static_cast<std::int32_t>(vocabulary);
  }
  const auto good = [&](std::size_t i) { return ids.at(i) >= 0 && ids.at(i) < static_cast<double>(vocabulary); };
  embedding(nullptr, weight, ids.as<std::int32_t>(), out, tokens, width, vocabulary, c.error());
  std::vector<double> expected(tokens * width, 0.0);
  for (std::size_t i = 0; i < tokens; i++) {
    for (std::size_t j = 0; good(i) && j < width; j++) expected[i * width + j] = weight.at(static_cast<std::size_t>(ids.at(i)) * width + j);
  }
  c.close("out", out, expected);
  c.check(c.error_code() == (bad ? DeviceError::ids : DeviceError::none), "the error flag");
  c.error()->code = 0;

  const Tensor dy = c.floats(tokens * width, type);
  for (const bool accumulate : {false, true}) {
    const Tensor dw = accumulate ? c.floats(vocabulary * width, weight_type) : c.output(vocabulary * width, weight_type);
    std::vector<double> expected_dw = accumulate ? dw.values() : std::vector<double>(vocabulary * width, 0.0);
    embedding_grad(nullptr, ids.as<std::int32_t>(), dy, dw, tokens, width, vocabulary, accumulate,
                   c.workspace(embedding_grad_workspace_bytes(tokens, width, vocabulary)), c.error());
    for (std::size_t i = 0; i < tokens; i++) {
      for (std::size_t j = 0; good(i) && j < width; j++) expected_dw[static_cast<std::size_t>(ids.at(i)) * width + j] += dy.at(i * width + j);
    }
    c.close(accumulate ? "dWeight, accumulated" : "dWeight", dw, expected_dw);
  }
  c.check(c.error_code() == (bad ? DeviceError::ids : DeviceError::none), "the gradient's error flag");
}

const bool registered = [] {
  for (const ElementType type : kFloatTypes) {
    for (const ElementType weight : kFloatTypes) {
      for (const std::size_t width : {8, 20, 64, 264, 1000, 2048, 4104}) {
        for (const bool residual : {false, true}) {
          const std::size_t rows = width > 2000 ? 5 : 37;
          Register(label(residual ? "norm residual" : "norm", {rows, width}, type, weight),
                   [=](Context& c) { norm_case(c, type, weight, rows, width, residual); });
        }
      }
      for (const std::size_t width : {3, 24, 1040}) {
        Register(label("embedding", {300, width, 50}, weight, type), [=](Context& c) { embedding_case(c, weight, type, 300, width, 50, false, false); });
        Register(label("embedding bad", {130, width, 700}, weight, type), [=](Context& c) { embedding_case(c, weight, type, 130, width, 700, false, true); });
      }
      Register(label("embedding skewed", {5000, 8, 66000}, weight, type), [=](Context& c) { embedding_case(c, weight, type, 5000, 8, 66000, true, true); });
      Register(label("embedding one", {1, 8, 1}, weight, type), [=](Context& c) { embedding_case(c, weight, type, 1, 8, 1, false, false); });
    }
    Register(label("norm plain wide", {2, 17000}, type, f32), [=](Context& c) { norm_case(c, type, f32, 2, 16400, true); });
    Register(label("norm 512 threads", {9, 8192}, type, bf16), [=](Context& c) { norm_case(c, type, bf16, 9, 8192, true); });
    Register(label("norm many rows", {2500, 16}, type, f32), [=](Context& c) { norm_case(c, type, f32, 2500, 16, false); });
    for (const bool inverse : {false, true}) {
      Register(label("rope", {6, 64, inverse}, type, f32), [=](Context& c) { rope_case(c, type, 6, 4, 64, inverse, 131071); });
      Register(label("rope", {3, 128, inverse}, type, f32), [=](Context& c) { rope_case(c, type, 3, 2, 128, inverse, 1 << 21); });
      Register(label("rope", {5, 10, inverse}, type, f32), [=](Context& c) { rope_case(c, type, 5, 3, 10, inverse, 500); });
      Register(label("rope", {4, 24, inverse}, type, f32), [=](Context& c) { rope_case(c, type, 4, 4, 24, inverse, 70000); });
    }
    for (const std::size_t width : {1, 8, 13, 344, 2056}) Register(label("swiglu", {5, width}, type, f32), [=](Context& c) { swiglu_case(c, type, 5, width); });
  }
  return true;
}();

}  // namespace
}  // namespace test
