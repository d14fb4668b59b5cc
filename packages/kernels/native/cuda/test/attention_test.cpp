// Attention over packed documents, forward and backward, against float64.
#include <algorithm>

#include "attention_reference.h"
#include "harness.h"

namespace test {

using namespace xgen::cuda;

namespace {

// Lengths of documents, zero among them.
using Documents = std::vector<int>;

void attention_case(Context& c, ElementType type, const AttentionShape& shape, const Documents& documents) {
  std::vector<std::int32_t> lengths = {0};
  for (const int d : documents) lengths.push_back(lengths.back() + d);
  const std::size_t tokens = static_cast<std::size_t>(lengths.back()), hd = shape.head_dimension, row = shape.row();
  const std::size_t heads = shape.query_heads, out_row = heads * hd;
  const Tensor cumulative = c.integers(lengths), qkv = c.floats(tokens * row, type), dy = c.floats(tokens * out_row, type);
  const Tensor out = c.output(tokens * out_row, type), lse = c.output(tokens * heads, f32), d_qkv = c.output(tokens * row, type);
  attention(nullptr, qkv, cumulative.as<std::int32_t>(), documents.size(), out, lse.as<float>(), tokens, shape,
            c.workspace(attention_workspace_bytes(tokens, shape)), c.error());

  std::vector<double> expected(tokens * out_row), expected_lse(tokens * heads), expected_d(tokens * row);
  const std::vector<double> x = qkv.values(), dys = dy.values();
  for (std::size_t document = 0; document < documents.size(); document++) {
    const std::size_t start = static_cast<std::size_t>(lengths[document]), end = static_cast<std::size_t>(lengths[document + 1]);
    for (std::size_t h = 0; h < heads; h++) {
      const std::size_t q = h * hd, k = (heads + h / shape.group()) * hd, v = k + shape.key_value_heads * hd;
      for (std::size_t i = start; i < end; i++) {
        Weights w = attend(&x[i * row + q], i + 1 - start, hd, shape.scale, [&](std::size_t n) { return &x[(start + n) * row + k]; });
        expected_lse[i * heads + h] = w.log_sum_exp;
        const double* d = &dys[i * out_row + q];
        double delta = 0;
        for (std::size_t n = 0; n < w.p.size(); n++) {
          for (std::size_t e = 0; e < hd; e++) {
            const double value = w.p[n] * x[(start + n) * row + v + e];
            expected[i * out_row + q + e] += value;
            delta += value * d[e];
          }
        }
        for (std::size_t n = 0; n < w.p.size(); n++) {
          const std::size_t other = (start + n) * row;
          double dp = 0;
          for (std::size_t e = 0; e < hd; e++) dp += d[e] * x[other + v + e];
          const double ds = w.p[n] * (dp - delta) * shape.scale;
          for (std::size_t e = 0; e < hd; e++) {
            expected_d[other + v + e] += w.p[n] * d[e];
            expected_d[i * row + q + e] += ds * x[other + k + e];
            expected_d[other + k + e] += ds * x[i * row + q + e];
          }
        }
      }
    }
  }
  c.close("out", out, expected);
  c.close("logSumExp", lse, expected_lse, type == bf16 ? 1e-4 : 1e-6);
  attention_grad(nullptr, qkv, cumulative.as<std::int32_t>(), documents.size(), out, lse.as<float>(), dy, d_qkv, tokens, shape,
                 c.workspace(attention_grad_workspace_bytes(tokens, shape)), c.error());
  c.close("dQkv", d_qkv, expected_d);
  c.check(c.error_code() == DeviceError::none, "the error flag");
}

// Lengths that are wrong in every way are reported, and no access leaves the arrays.
void bad_lengths_case(Context& c) {
  const AttentionShape shape = {2, 1, 64, 0.125f};
  const std::vector<std::vector<std::int32_t>> wrong = {{0, 50, 40, 100}, {3, 100}, {0, 99}, {0, 1000}, {-5, 100}, {0, 2000000000, 100}, {0, -7, 100}};
  for (const ElementType type : kFloatTypes) {
    for (const auto& lengths : wrong) {
      const std::size_t tokens = 100;
      const Tensor qkv = c.floats(tokens * shape.row(), type), dy = c.floats(tokens * 128, type), out = c.output(tokens * 128, type),
                   lse = c.output(tokens * 2, f32), d = c.output(tokens * shape.row(), type), cumulative = c.integers(lengths);
      c.error()->code = 0;
      attention(nullptr, qkv, cumulative.as<std::int32_t>(), lengths.size() - 1, out, lse.as<float>(), tokens, shape,
                c.workspace(attention_workspace_bytes(tokens, shape)), c.error());
      c.check(c.error_code() == DeviceError::cumulative_lengths, "the error flag");
      attention_grad(nullptr, qkv, cumulative.as<std::int32_t>(), lengths.size() - 1, out, lse.as<float>(), dy, d, tokens, shape,
                     c.workspace(attention_grad_workspace_bytes(tokens, shape)), c.error());
    }
  }
}

const bool registered = [] {
  const std::vector<Documents> batches = {{1}, {17}, {64}, {130}, {1, 1, 1, 0, 2}, {40, 0, 90, 3, 61}, {200, 73}};
  struct Kind {
    ElementType type;
    AttentionShape shape;
  };
  const std::vector<Kind> kinds = {
      {f32, {2, 1, 16, 0.25f}}, {f32, {2, 2, 10, 0.3f}},    {f32, {4, 2, 64, 0.125f}}, {f32, {2, 1, 128, 0.0884f}}, {f32, {1, 1, 256, 0.0625f}},
      {f32, {3, 1, 96, 0.1f}},  {bf16, {2, 1, 32, 0.18f}},  {bf16, {2, 1, 80, 0.11f}}, {bf16, {4, 2, 64, 0.125f}},  {bf16, {3, 3, 64, 0.25f}},
      {bf16, {2, 1, 128, 0.0884f}}, {bf16, {2, 2, 128, 0.2f}}, {bf16, {1, 1, 256, 0.0625f}}};
  for (const Kind& kind : kinds) {
    for (const Documents& documents : batches) {
      std::string name = std::string("attention ") + name_of(kind.type) + " " + std::to_string(kind.shape.query_heads) + "/" +
                         std::to_string(kind.shape.key_value_heads) + " " + std::to_string(kind.shape.head_dimension) + ":";
      for (const int d : documents) name += " " + std::to_string(d);
      Register(name, [=](Context& c) { attention_case(c, kind.type, kind.shape, documents); });
    }
  }
  for (const std::size_t hd : {64, 128}) {
    Register("attention long " + std::to_string(hd), [=](Context& c) { attention_case(c, bf16, {2, 1, hd, 0.1f}, {300, 5, 421}); });
    Register("attention groups " + std::to_string(hd), [=](Context& c) { attention_case(c, bf16, {6, 2, hd, 0.1f}, {193, 0, 1, 64}); });
  }
  Register("attention bad lengths", bad_lengths_case);
  return true;
}();

}  // namespace
}  // namespace test
