// AdamW and the global norm over many tensors against float64; stochastic rounding against its expectation.
#include <cstring>

#include "harness.h"

namespace test {

using namespace xgen::cuda;

namespace {

struct Parameter {
  Tensor parameter, shadow, gradient, first, second;
};

void adam_case(Context& c, ElementType gradient_type, ElementType moment_type, bool shadow) {
  const double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, rate = 3e-3, scale = 0.37;
  const int step = 7;
  std::vector<Parameter> parameters;
  std::vector<AdamWTensor> list;
  for (const std::size_t count : {1, 16384, 16387, 3, 0, 40000, 8}) {
    Parameter p = {c.floats(count, f32), c.output(count, bf16), c.floats(count, gradient_type, 0.1), c.floats(count, moment_type, 0.01),
                   c.output(count, moment_type)};
    for (std::size_t i = 0; i < count; i++) write(p.second.buffer->data(), moment_type, i, c.uniform(1e-5, 1e-3));
    list.push_back({p.parameter.as<float>(), shadow ? p.shadow.buffer->data() : nullptr, p.gradient.buffer->data(), p.first.buffer->data(),
                    p.second.buffer->data(), count, 0, static_cast<float>(0.1 * static_cast<double>(list.size())), gradient_type, moment_type});
    parameters.push_back(p);
  }
  std::vector<std::vector<double>> p1, m1, v1;
  for (std::size_t t = 0; t < list.size(); t++) {
    const Parameter& p = parameters[t];
    p1.push_back(p.parameter.values());
    m1.push_back(p.first.values());
    v1.push_back(p.second.values());
    for (std::size_t i = 0; i < p1[t].size(); i++) {
      const double g = p.gradient.at(i) * static_cast<float>(scale);
      m1[t][i] = beta1 * m1[t][i] + (1 - beta1) * g;
      v1[t][i] = beta2 * v1[t][i] + (1 - beta2) * g * g;
      const double m_hat = m1[t][i] / (1 - std::pow(beta1, step)), v_hat = v1[t][i] / (1 - std::pow(beta2, step));
      p1[t][i] = p1[t][i] * (1 - rate * list[t].weight_decay) - rate * m_hat / (std::sqrt(v_hat) + epsilon);
    }
  }
  const std::size_t pieces = plan_adam_w(list.data(), list.size());
  AdamWTensor* const device = static_cast<AdamWTensor*>(c.workspace(list.size() * sizeof(AdamWTensor)));
  std::memcpy(device, list.data(), list.size() * sizeof(AdamWTensor));
  AdamWStep* const numbers = static_cast<AdamWStep*>(c.workspace(sizeof(AdamWStep)));
  *numbers = {static_cast<float>(rate), static_cast<float>(1 - std::pow(beta1, step)), static_cast<float>(1 - std::pow(beta2, step)), 0, 99};
  const Tensor factor = c.floats(std::vector<double>{scale}, f32);
  adam_w(nullptr, device, list.size(), pieces, numbers, factor.as<float>(), {beta1, beta2, epsilon});
  for (std::size_t t = 0; t < list.size(); t++) {
    c.close("parameter", parameters[t].parameter, p1[t]);
    // The change alone, too: small next to the parameter.
    c.close("first moment", parameters[t].first, m1[t]);
    c.close("second moment", parameters[t].second, v1[t]);
    if (shadow) c.close("shadow", parameters[t].shadow, p1[t]);
  }
}

// The step's numbers made on the device are those that the host would give.
void prepare_case(Context& c, std::int32_t number, std::int32_t counted) {
  const double beta1 = 0.9, beta2 = 0.999;
  const Tensor rate = c.floats(std::vector<double>{2.5e-4}, f32), step = c.integers({number});
  AdamWStep* const numbers = static_cast<AdamWStep*>(c.workspace(sizeof(AdamWStep)));
  prepare_adam_w(nullptr, rate.as<float>(), step.as<std::int32_t>(), {beta1, beta2, 1e-8}, numbers);
  const Tensor made = c.floats(std::vector<double>{numbers->learning_rate, numbers->correction1, numbers->correction2}, f32);
  c.close("numbers", made, {2.5e-4, 1 - std::pow(beta1, counted), 1 - std::pow(beta2, counted)}, 1e-7);
  c.check(numbers->seed == static_cast<std::uint64_t>(counted), "the seed");
}

// With a gradient of 0 and beta 1 close to 1 a moment should shrink by little a step, on average exactly so.
void rounding_case(Context& c) {
  constexpr std::size_t count = 65536;
  const Tensor p = c.output(count, f32), g = c.output(count, f32), m = c.output(count, bf16), v = c.output(count, bf16);
  for (std::size_t i = 0; i < count; i++) {
    p.as<float>()[i] = g.as<float>()[i] = 0;
    write(m.buffer->data(), bf16, i, 1.0);
    write(v.buffer->data(), bf16, i, 1.0);
  }
  AdamWTensor* const device = static_cast<AdamWTensor*>(c.workspace(sizeof(AdamWTensor)));
  AdamWTensor tensor = {p.as<float>(), nullptr, g.buffer->data(), m.buffer->data(), v.buffer->data(), count, 0, 0, f32, bf16};
  const std::size_t pieces = plan_adam_w(&tensor, 1);
  std::memcpy(device, &tensor, sizeof tensor);
  AdamWStep* const numbers = static_cast<AdamWStep*>(c.workspace(sizeof(AdamWStep)));
  for (std::uint64_t step = 0; step < 5; step++) {
    *numbers = {1e-3f, 0.5f, 0.5f, 0, step};
    adam_w(nullptr, device, 1, pieces, numbers, nullptr, {0.9995, 0.9999, 1e-8});
  }
  double mean_m = 0, mean_v = 0, both = 0;
  for (std::size_t i = 0; i < count; i++) {
    mean_m += m.at(i) / count;
    mean_v += v.at(i) / count;
    both += (m.at(i) - 1) * (v.at(i) - 1) / count;
  }
  const double expected_m = std::pow(0.9995, 5), expected_v = std::pow(0.9999, 5);
  // One rounding has a standard deviation of at most 2^-9 here; five of them over 65,536 numbers: 1.7e-5.
  c.check(std::fabs(mean_m - expected_m) < 7e-5, "the first moment's mean is off by " + std::to_string(mean_m - expected_m));
  c.check(std::fabs(mean_v - expected_v) < 7e-5, "the second moment's mean is off by " + std::to_string(mean_v - expected_v));
  c.check(std::fabs(both - (mean_m - 1) * (mean_v - 1)) < 1e-6, "the two moments are rounded alike");
  c.close("parameters", p, p.values());
}

void norm_case(Context& c, ElementType type, const std::vector<std::size_t>& counts, double scale, float maximum) {
  std::vector<Tensor> tensors;
  std::vector<NormTensor> list;
  double total = 0;
  for (const std::size_t count : counts) {
    tensors.push_back(c.floats(count, type, scale));
    list.push_back({tensors.back().buffer->data(), count, 0, type});
    for (const double x : tensors.back().values()) total += x * x;
  }
  total = std::sqrt(total);
  const std::size_t pieces = plan_global_norm(list.data(), list.size());
  NormTensor* const device = static_cast<NormTensor*>(c.workspace(list.size() * sizeof(NormTensor)));
  std::memcpy(device, list.data(), list.size() * sizeof(NormTensor));
  const Tensor norm = c.output(1, f32), factor = c.output(1, f32);
  global_norm(nullptr, device, list.size(), pieces, maximum, norm.as<float>(), factor.as<float>(), c.workspace(global_norm_workspace_bytes(pieces)));
  c.close("norm", norm, {total}, 1e-7);
  c.close("scale", factor, {total > maximum ? maximum / total : 1.0}, 1e-7);
  write(tensors[0].buffer->data(), type, 0, NAN);
  global_norm(nullptr, device, list.size(), pieces, maximum, norm.as<float>(), factor.as<float>(), c.workspace(global_norm_workspace_bytes(pieces)));
  c.equal("NaN norm", norm, {NAN});
  c.equal("NaN scale", factor, {NAN});
}

const bool registered = [] {
  for (const std::int32_t step : {1, 2, 1000, 10000000}) Register("AdamW prepared step " + std::to_string(step), [=](Context& c) { prepare_case(c, step, step); });
  Register("AdamW prepared step 0 counts as 1", [](Context& c) { prepare_case(c, 0, 1); });
  for (const ElementType gradient : kFloatTypes) {
    for (const ElementType moment : kFloatTypes) {
      Register(std::string("adam_w ") + name_of(gradient) + " " + name_of(moment), [=](Context& c) {
        adam_case(c, gradient, moment, true);
        adam_case(c, gradient, moment, false);
      });
    }
    Register(std::string("global_norm ") + name_of(gradient), [=](Context& c) {
      norm_case(c, gradient, {5}, 1, 1);
      norm_case(c, gradient, {1, 50000, 16384, 0, 7}, 2, 3);
      norm_case(c, gradient, {1, 50000, 16384, 0, 7}, 1e25, INFINITY);
      norm_case(c, gradient, {300}, 1e-3, 1);
    });
  }
  Register("stochastic rounding", rounding_case);
  return true;
}();

}  // namespace
}  // namespace test
