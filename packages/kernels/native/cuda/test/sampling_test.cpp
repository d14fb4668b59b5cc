// Drawing tokens, against the definition taken word by word in float64: a full sort, then one filter after the other.
#include <algorithm>
#include <limits>
#include <numeric>

#include "harness.h"

namespace test {

using namespace xgen::cuda;

namespace {

struct Draw {
  double temperature = 1, top_p = 1, min_p = 0, uniform = 0.5;
  int top_k = 0;
};

// Which tokens stay, and the weights of all; how far each decision was from going the other way, relative to the sum it was about.
struct Survivors {
  std::vector<double> weights;
  std::vector<bool> stays;
  double closest = INFINITY;
};

Survivors filter(const std::vector<double>& logits, const Draw& d) {
  const std::size_t n = logits.size();
  Survivors s = {std::vector<double>(n), std::vector<bool>(n), INFINITY};
  std::vector<std::size_t> ranked(n);
  std::iota(ranked.begin(), ranked.end(), std::size_t{0});
  std::stable_sort(ranked.begin(), ranked.end(), [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  for (std::size_t i = 0; i < n; i++) s.weights[i] = std::exp((logits[i] - logits[ranked[0]]) / d.temperature);
  if (d.top_k > 0) ranked.resize(std::min(n, static_cast<std::size_t>(d.top_k)));
  double mass = 0, before = 0;
  for (const std::size_t i : ranked) mass += s.weights[i];
  for (const std::size_t i : ranked) {
    if (d.top_p < 1 && before > 0) {
      s.closest = std::min(s.closest, std::fabs(before / mass - d.top_p));
      if (before >= d.top_p * mass) break;
    }
    before += s.weights[i];
    if (d.min_p > 0) s.closest = std::min(s.closest, std::fabs(s.weights[i] - d.min_p));
    s.stays[i] = s.weights[i] >= d.min_p;
  }
  return s;
}

// The id drawn; `closest` as above, over the draw as well.
std::size_t reference(const std::vector<double>& logits, const Draw& d, double& closest) {
  const std::size_t best = static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  closest = INFINITY;
  if (d.temperature == 0) return best;
  const Survivors s = filter(logits, d);
  closest = s.closest;
  double total = 0, running = 0;
  for (std::size_t i = 0; i < logits.size(); i++) total += s.stays[i] ? s.weights[i] : 0;
  std::size_t last = best;
  for (std::size_t i = 0; i < logits.size(); i++) {
    if (!s.stays[i] || s.weights[i] == 0) continue;
    running += s.weights[i];
    last = i;
    closest = std::min(closest, std::fabs(running / total - d.uniform));
    if (running > d.uniform * total) return i;
  }
  return last;
}

SampledTokens drawn_to(const Tensor& ids, const Tensor& into, const Tensor& log_probabilities) {
  return {ids.as<std::int32_t>(), into.as<std::int32_t>(), log_probabilities.as<float>()};
}

// Every row is compared whose outcome does not hang on the last bits of float32; `least`: so many of them there must be.
void sampling_case(Context& c, const Tensor& logits, std::size_t vocabulary, const std::vector<Draw>& draws, double least) {
  const std::size_t rows = draws.size();
  std::vector<double> columns[4];
  std::vector<std::int32_t> top_k;
  for (const Draw& d : draws) {
    columns[0].push_back(d.temperature);
    columns[1].push_back(d.top_p);
    columns[2].push_back(d.min_p);
    columns[3].push_back(d.uniform);
    top_k.push_back(d.top_k);
  }
  const Tensor temperature = c.floats(columns[0], f32), top_p = c.floats(columns[1], f32), min_p = c.floats(columns[2], f32),
               uniform = c.floats(columns[3], f32), k = c.integers(top_k);
  const Tensor ids = c.output(rows, i32), log_probabilities = c.output(rows, f32);
  const SamplingOptions options = {temperature.as<float>(), k.as<std::int32_t>(), top_p.as<float>(), min_p.as<float>(), uniform.as<float>()};
  const Tensor into = c.output(rows, i32);
  sample_tokens(nullptr, logits, options, drawn_to(ids, into, log_probabilities), rows, vocabulary,
                c.workspace(sample_tokens_workspace_bytes(rows, vocabulary)));
  c.equal("ids once more", into, ids.values());
  std::size_t compared = 0;
  std::vector<double> expected_ids(rows), expected_log(rows);
  for (std::size_t row = 0; row < rows; row++) {
    std::vector<double> own(vocabulary);
    for (std::size_t i = 0; i < vocabulary; i++) own[i] = logits.at(row * vocabulary + i);
    Draw d = draws[row];  // as float32 holds it
    d.temperature = temperature.at(row), d.top_p = top_p.at(row), d.min_p = min_p.at(row), d.uniform = uniform.at(row);
    double closest = 0;
    const std::size_t id = reference(own, d, closest);
    const std::size_t drawn = static_cast<std::size_t>(ids.at(row));
    const bool sure = closest > 1e-6;
    compared += sure ? 1 : 0;
    c.check(drawn < vocabulary, "an id outside the vocabulary");
    expected_ids[row] = sure ? static_cast<double>(id) : ids.at(row);
    const double largest = *std::max_element(own.begin(), own.end());
    double total = 0;
    for (const double x : own) total += std::exp(x - largest);
    expected_log[row] = own[std::min(drawn, vocabulary - 1)] - largest - std::log(total);
  }
  c.equal("ids", ids, expected_ids);
  c.close("logProbabilities", log_probabilities, expected_log, 1e-6);
  c.check(static_cast<double>(compared) >= least * static_cast<double>(rows), "only " + std::to_string(compared) + " rows were clear enough to compare");
}

void normal_case(Context& c, ElementType type, std::size_t vocabulary, std::size_t rows, double scale, const Draw& d, double least) {
  const Tensor logits = c.floats(rows * vocabulary, type, scale);
  std::vector<Draw> draws(rows, d);
  for (Draw& one : draws) one.uniform = c.uniform(0, 0.999);
  sampling_case(c, logits, vocabulary, draws, least);
}

// Over many draws the frequencies are the probabilities: 4 standard deviations.
void frequency_case(Context& c) {
  const std::size_t vocabulary = 12, rows = 600;
  const std::vector<double> row = {0.1, 2, -1, 2, 0.5, 1.7, -3, 0, 1, 2.2, -0.4, 1.1};
  const Draw d = {0.8, 0.9, 0.05, 0, 9};
  std::vector<double> all;
  for (std::size_t i = 0; i < rows; i++) all.insert(all.end(), row.begin(), row.end());
  const Tensor logits = c.floats(all, f32);
  std::vector<Draw> draws(rows, d);
  for (Draw& one : draws) one.uniform = c.uniform(0, 1);
  const Tensor temperature = c.floats(std::vector<double>(rows, d.temperature), f32), top_p = c.floats(std::vector<double>(rows, d.top_p), f32),
               min_p = c.floats(std::vector<double>(rows, d.min_p), f32), k = c.integers(std::vector<std::int32_t>(rows, d.top_k));
  std::vector<double> uniforms;
  for (const Draw& one : draws) uniforms.push_back(one.uniform);
  const Tensor uniform = c.floats(uniforms, f32), ids = c.output(rows, i32), log_probabilities = c.output(rows, f32);
  sample_tokens(nullptr, logits, {temperature.as<float>(), k.as<std::int32_t>(), top_p.as<float>(), min_p.as<float>(), uniform.as<float>()},
                {ids.as<std::int32_t>(), nullptr, log_probabilities.as<float>()}, rows, vocabulary, c.workspace(sample_tokens_workspace_bytes(rows, vocabulary)));
  const Survivors s = filter(row, d);
  double total = 0;
  for (std::size_t i = 0; i < vocabulary; i++) total += s.stays[i] ? s.weights[i] : 0;
  std::vector<double> counts(vocabulary);
  for (std::size_t i = 0; i < rows; i++) counts[static_cast<std::size_t>(ids.at(i))]++;
  for (std::size_t i = 0; i < vocabulary; i++) {
    const double p = s.stays[i] ? s.weights[i] / total : 0, deviation = std::sqrt(p * (1 - p) * static_cast<double>(rows));
    c.check(std::fabs(counts[i] - p * static_cast<double>(rows)) <= 4 * deviation, "token " + std::to_string(i) + " was drawn " + std::to_string(counts[i]) + " times");
  }
}

const bool registered = [] {
  struct Named {
    const char* name;
    Draw draw;
  };
  const std::vector<Named> settings = {{"no filter", {}},
                                       {"greedy", {0, 1, 0, 0, 0}},
                                       {"temperature", {0.7, 1, 0, 0, 0}},
                                       {"top-k", {1.5, 1, 0, 0, 5}},
                                       {"top-k 1", {1, 1, 0, 0, 1}},
                                       {"top-p", {1, 0.8, 0, 0, 0}},
                                       {"tiny top-p", {1, 1e-6, 0, 0, 0}},
                                       {"min-p", {1, 1, 0.1, 0, 0}},
                                       {"all filters", {1.2, 0.9, 0.02, 0, 20}}};
  for (const ElementType type : kFloatTypes) {
    for (const Named& s : settings) {
      const std::string name = std::string("sampling ") + name_of(type) + " " + s.name;
      for (const std::size_t vocabulary : {std::size_t{1}, std::size_t{33}, std::size_t{1024}, std::size_t{5003}}) {
        Register(name + " " + std::to_string(vocabulary), [=](Context& c) { normal_case(c, type, vocabulary, 3, 2, s.draw, 0.6); });
      }
    }
    for (const std::size_t vocabulary : {std::size_t{131072}, std::size_t{100277}}) {
      const Draw all = {1.2, 0.9, 0.001, 0, 1000};
      Register(std::string("sampling ") + name_of(type) + " " + std::to_string(vocabulary), [=](Context& c) { normal_case(c, type, vocabulary, 1, 2.5, all, 0); });
    }
    Register(std::string("sampling ") + name_of(type) + " one far ahead", [=](Context& c) {
      const Tensor logits = c.floats(3 * 4096, type);
      write(logits.as<void>(), type, 4096 + 1234, 30000);
      sampling_case(c, logits, 4096, {{1, 0.9, 0, 0.3, 50}, {1, 0.9, 0, 0.9, 50}, {1, 0.5, 0, 0.6, 0}}, 1);
    });
  }
  const double never = -std::numeric_limits<double>::infinity();
  Register("sampling ties", [=](Context& c) {
    sampling_case(c, c.floats({1, 2, 2, 2, 0, 1, 2, 2, 2, 0, 2, 2, 2, 2, 2}, f32), 5,
                  {{1, 1, 0, 0.25, 2}, {1, 1, 0, 0.75, 2}, {1, 0.5, 0, 0.9, 0}}, 1);
  });
  Register("sampling many ties", [=](Context& c) {
    std::vector<double> equal(2 * 3000, 1.25);
    sampling_case(c, c.floats(equal, f32), 3000, {{1, 1, 0, 0.98765, 1000}, {1, 0.40013, 0, 0.54321, 2500}}, 1);
  });
  Register("sampling zeros of both signs tie", [=](Context& c) {
    sampling_case(c, c.floats({-1, 0.0, -0.0, -1, -0.0, 0.0, -1, -1}, f32), 4, {{1, 1, 0, 0.7, 1}, {0, 1, 0, 0, 0}}, 1);
  });
  Register("sampling forbidden tokens", [=](Context& c) {
    sampling_case(c, c.floats({never, 1, 1, 0, never, never, never, 3, never}, f32), 3, {{1, 1, 0, 0, 0}, {1, 1, 0, 0.99, 2}, {2, 0.5, 0.5, 0.5, 2}}, 1);
  });
  Register("sampling at the ends of the draw", [=](Context& c) {
    sampling_case(c, c.floats({0, 1, 2, 0, 1, 2}, f32), 3, {{1, 1, 0, 0, 0}, {1, 1, 0, 0.99999994, 0}}, 0);
  });
  Register("sampling nothing possible", [=](Context& c) {
    const Tensor one = c.floats(std::vector<double>{1}, f32), zero = c.floats(std::vector<double>{0}, f32), k = c.integers({3}), ids = c.output(1, i32), log = c.output(1, f32);
    for (const double x : {never, static_cast<double>(NAN)}) {
      sample_tokens(nullptr, c.floats(std::vector<double>(9, x), f32), {one.as<float>(), k.as<std::int32_t>(), one.as<float>(), zero.as<float>(), zero.as<float>()},
                    {ids.as<std::int32_t>(), nullptr, log.as<float>()}, 1, 9, c.workspace(sample_tokens_workspace_bytes(1, 9)));
      c.check(ids.at(0) == 0, "the first token");
    }
  });
  Register("sampling frequencies", frequency_case);
  return true;
}();

}  // namespace
}  // namespace test
