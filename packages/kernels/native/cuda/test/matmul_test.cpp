// Products that are added to something, against float64: through the kernel for few rows, and the emulated device's loops for all else.
#include "harness.h"
#include "xgen/cuda/matmul.h"

namespace test {

using namespace xgen::cuda;

namespace {

enum class Added { nothing, itself, apart, itself_named, refused };

struct Size {
  std::size_t m, n, k, batch;
};

// c [batch][m] rows of n numbers, and a gap after each.
void addend_case(Context& c, const Size& size, bool transposed_a, bool transposed_b, ElementType type, ElementType out_type, Added added) {
  constexpr std::size_t kGap = 8;
  const std::size_t row_a = transposed_a ? size.m : size.k, row_b = transposed_b ? size.k : size.n, row_c = size.n + kGap;
  const MatmulShape shape = {size.m, size.n,     size.k,          transposed_a,    transposed_b,  row_a, row_b, row_c,
                             size.batch, size.m * size.k, size.n * size.k, size.m * row_c};
  const Tensor a = c.floats(size.batch * size.m * size.k, type), b = c.floats(size.batch * size.n * size.k, type, 0.2);
  const Tensor y = c.floats(size.batch * size.m * row_c, out_type), addend = c.floats(size.batch * size.m * row_c, out_type);
  std::vector<double> expected = y.values();
  for (std::size_t batch = 0; batch < size.batch; batch++) {
    for (std::size_t i = 0; i < size.m; i++) {
      for (std::size_t j = 0; j < size.n; j++) {
        const std::size_t at = (batch * size.m + i) * row_c + j, first_a = batch * size.m * size.k, first_b = batch * size.n * size.k;
        double sum = added == Added::apart ? addend.at(at) : added == Added::nothing || added == Added::refused ? 0 : y.at(at);
        for (std::size_t k = 0; k < size.k; k++) {
          sum += a.at(first_a + (transposed_a ? k * row_a + i : i * row_a + k)) * b.at(first_b + (transposed_b ? j * row_b + k : k * row_b + j));
        }
        expected[at] = sum;
      }
    }
  }
  const bool accumulate = added != Added::nothing && added != Added::refused;
  const void* const given = added == Added::apart || added == Added::refused ? addend.as<void>() : added == Added::itself_named ? y.as<void>() : nullptr;
  Matmul matmul;
  matmul.multiply(nullptr, shape, a, b, y, accumulate, Float32Products::exact, nullptr, given);
  c.close("c", y, expected);
}

// 1 + 2^-8 is no bfloat16 number, but with -1 added it is.
void rounded_once_case(Context& c, std::size_t rows) {
  constexpr std::size_t kDepth = 8, kOutputs = 16;
  std::vector<double> left(rows * kDepth);
  for (std::size_t i = 0; i < left.size(); i++) left[i] = i % kDepth == 0 ? 1 : i % kDepth == 1 ? 1.0 / 256 : 0;
  const Tensor a = c.floats(left, bf16), b = c.floats(std::vector<double>(kOutputs * kDepth, 1), bf16);
  const Tensor addend = c.floats(std::vector<double>(rows * kOutputs, -1), bf16), y = c.output(rows * kOutputs, bf16);
  Matmul matmul;
  matmul.multiply(nullptr, {rows, kOutputs, kDepth, false, true, kDepth, kDepth, kOutputs}, a, b, y, true, Float32Products::exact, nullptr,
                  addend.as<void>());
  c.equal("c", y, std::vector<double>(rows * kOutputs, 1.0 / 256));
}

const bool registered = [] {
  const std::pair<Added, const char*> ways[] = {{Added::nothing, "nothing"},
                                                {Added::itself, "itself"},
                                                {Added::apart, "an addend"},
                                                {Added::itself_named, "itself by name"},
                                                {Added::refused, "an addend without accumulate"}};
  // Of the first sizes the kernel for few rows takes those that it can.
  for (const Size& size : {Size{3, 40, 64, 1}, Size{32, 17, 136, 1}, Size{1, 1, 1, 1}, Size{45, 23, 70, 1}, Size{5, 7, 12, 3}}) {
    for (const auto& [type, out] : {std::pair{f32, f32}, std::pair{bf16, bf16}, std::pair{bf16, f32}}) {
      for (const auto& [added, what] : ways) {
        for (int transposed = 0; transposed < 4; transposed++) {
          const bool a = transposed & 1, b = transposed & 2;
          std::string name = "product added to " + std::string(what) + " " + name_of(type) + " " + name_of(out) + (a ? " a'" : "") + (b ? " b'" : "");
          for (const std::size_t s : {size.m, size.n, size.k, size.batch}) name += " " + std::to_string(s);
          Register(name, [=, type = type, out = out, added = added](Context& c) { addend_case(c, size, a, b, type, out, added); });
        }
      }
    }
  }
  Register("product and addend are rounded once, few rows", [](Context& c) { rounded_once_case(c, 4); });
  Register("product and addend are rounded once", [](Context& c) { rounded_once_case(c, 40); });
  return true;
}();

}  // namespace
}  // namespace test
