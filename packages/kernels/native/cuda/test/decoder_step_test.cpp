// A whole decoding step against float64: products, norms, rotary positions, the paged cache and its attention, layer upon layer.
#include <algorithm>

#include "attention_reference.h"
#include "harness.h"
#include "xgen/cuda/decoder_step.h"

namespace test {

using namespace xgen::cuda;

namespace {

using Values = std::vector<double>;

struct Kind {
  AttentionShape shape;
  std::size_t width, feed_forward, vocabulary, layers, block_size;
  ElementType norm_type, logits_type;
};

struct Layer {
  Tensor attention_norm, qkv, output, feed_forward_norm, gate_up, down, keys, values;
};

Values product(const Values& x, const Tensor& weight, std::size_t rows, std::size_t depth) {
  const std::size_t outputs = weight.count / depth;
  const Values w = weight.values();
  Values y(rows * outputs);
  for (std::size_t r = 0; r < rows; r++) {
    for (std::size_t o = 0; o < outputs; o++) {
      for (std::size_t k = 0; k < depth; k++) y[r * outputs + o] += x[r * depth + k] * w[o * depth + k];
    }
  }
  return y;
}

Values normalized(const Values& x, const Tensor& weight, double epsilon) {
  Values y(x.size());
  const std::size_t width = weight.count;
  for (std::size_t r = 0; r < x.size() / width; r++) {
    double squares = 0;
    for (std::size_t k = 0; k < width; k++) squares += x[r * width + k] * x[r * width + k];
    for (std::size_t k = 0; k < width; k++) y[r * width + k] = x[r * width + k] / std::sqrt(squares / static_cast<double>(width) + epsilon) * weight.at(k);
  }
  return y;
}

void add(Values& to, const Values& from) {
  for (std::size_t i = 0; i < to.size(); i++) to[i] += from[i];
}

// Rows with a context of kUnused have no slot either, unless `slots` says otherwise.
struct Batch {
  std::vector<std::int32_t> contexts, tables, slots;
  std::size_t max_blocks = 1, blocks = 2;

  Batch(const std::vector<std::int32_t>& given, std::size_t block_size) : contexts(given) {
    for (const std::int32_t context : contexts) max_blocks = std::max(max_blocks, used(context, block_size) + 1);
    for (const std::int32_t context : contexts) blocks += used(context, block_size);
    tables.assign(contexts.size() * max_blocks, -77);
    std::int32_t next = static_cast<std::int32_t>(blocks) - 1;
    for (std::size_t b = 0; b < max_blocks; b++) {
      for (std::size_t s = 0; s < contexts.size(); s++) {
        if (b < used(contexts[s], block_size)) tables[s * max_blocks + b] = next--;
      }
    }
    for (std::size_t s = 0; s < contexts.size(); s++) {
      slots.push_back(contexts[s] > 0 ? static_cast<std::int32_t>(row(s, static_cast<std::size_t>(contexts[s]) - 1, block_size)) : kUnused);
    }
  }
  static std::size_t used(std::int32_t context, std::size_t block_size) {
    return context < 0 ? 0 : (static_cast<std::size_t>(context) + block_size - 1) / block_size;
  }
  std::size_t row(std::size_t s, std::size_t position, std::size_t block_size) const {
    return static_cast<std::size_t>(tables[s * max_blocks + position / block_size]) * block_size + position % block_size;
  }
};

constexpr float kEpsilon = 1e-5f, kScaling = 1.25f;

struct Model {
  std::vector<Layer> layers;
  Tensor final_norm, head, frequencies;

  Model(Context& c, const Kind& kind, const Batch& batch) {
    const AttentionShape& shape = kind.shape;
    const std::size_t q = shape.query_heads * shape.head_dimension, kv = shape.key_value_heads * shape.head_dimension, cache = batch.blocks * kind.block_size * kv;
    const auto matrix = [&](std::size_t outputs, std::size_t depth) { return c.floats(outputs * depth, bf16, 1 / std::sqrt(static_cast<double>(depth))); };
    const auto norm = [&] {
      Tensor t = c.floats(kind.width, kind.norm_type, 0.1);
      for (std::size_t i = 0; i < t.count; i++) write(t.as<void>(), kind.norm_type, i, 1 + t.at(i));
      return t;
    };
    // What no sequence owns stays NaN, and so do the new tokens' own rows.
    const auto cached = [&] {
      Tensor t = c.output(cache, bf16);
      for (std::size_t s = 0; s < batch.contexts.size(); s++) {
        for (std::int32_t position = 0; position + 1 < batch.contexts[s]; position++) {
          const std::size_t at = batch.row(s, static_cast<std::size_t>(position), kind.block_size) * kv;
          for (std::size_t e = 0; e < kv; e++) write(t.as<void>(), bf16, at + e, c.normal());
        }
      }
      return t;
    };
    for (std::size_t l = 0; l < kind.layers; l++) {
      const Tensor first = norm(), second = norm();
      layers.push_back({first, matrix(shape.row(), kind.width), matrix(kind.width, q), second, matrix(2 * kind.feed_forward, kind.width),
                        matrix(kind.width, kind.feed_forward), cached(), cached()});
    }
    final_norm = norm();
    head = matrix(kind.vocabulary, kind.width);
    Values turns;
    for (std::size_t i = 0; i < shape.head_dimension / 2; i++) turns.push_back(std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(shape.head_dimension)));
    frequencies = c.floats(turns, f32);
  }
};

// The logits; keys and values of the new tokens are written to `caches` [layer][keys, values].
Values reference(const Model& model, const Kind& kind, const Batch& batch, Values x, const Values& positions, std::vector<Values>& caches) {
  const AttentionShape& shape = kind.shape;
  const std::size_t rows = batch.contexts.size(), hd = shape.head_dimension, half = hd / 2, kv = shape.key_value_heads * hd, out_row = shape.query_heads * hd;
  for (std::size_t l = 0; l < kind.layers; l++) {
    const Layer& layer = model.layers[l];
    Values qkv = product(normalized(x, layer.attention_norm, kEpsilon), layer.qkv, rows, kind.width);
    for (std::size_t r = 0; r < rows; r++) {
      for (std::size_t h = 0; h < shape.query_heads + shape.key_value_heads; h++) {
        for (std::size_t i = 0; i < half; i++) {
          const double angle = positions[r] * model.frequencies.at(i);
          double &a = qkv[r * shape.row() + h * hd + i], &b = qkv[r * shape.row() + h * hd + half + i];
          const double first = a, second = b;
          a = (first * std::cos(angle) - second * std::sin(angle)) * kScaling;
          b = (second * std::cos(angle) + first * std::sin(angle)) * kScaling;
        }
      }
      if (batch.slots[r] < 0) continue;
      for (std::size_t which = 0; which < 2; which++) {
        std::copy_n(qkv.begin() + static_cast<std::ptrdiff_t>(r * shape.row() + out_row + which * kv), kv,
                    caches[2 * l + which].begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(batch.slots[r]) * kv));
      }
    }
    Values attended(rows * out_row);
    for (std::size_t r = 0; r < rows; r++) {
      if (batch.contexts[r] < 0) continue;
      for (std::size_t h = 0; h < shape.query_heads; h++) {
        const std::size_t offset = h / shape.group() * hd, context = static_cast<std::size_t>(batch.contexts[r]);
        const auto at = [&](std::size_t n) { return batch.row(r, n, kind.block_size) * kv + offset; };
        const Weights w = attend(&qkv[r * shape.row() + h * hd], context, hd, shape.scale, [&](std::size_t n) { return &caches[2 * l][at(n)]; });
        for (std::size_t n = 0; n < context; n++) {
          for (std::size_t e = 0; e < hd; e++) attended[r * out_row + h * hd + e] += w.p[n] * caches[2 * l + 1][at(n) + e];
        }
      }
    }
    add(x, product(attended, layer.output, rows, out_row));
    const Values gate_up = product(normalized(x, layer.feed_forward_norm, kEpsilon), layer.gate_up, rows, kind.width);
    Values activation(rows * kind.feed_forward);
    for (std::size_t r = 0; r < rows; r++) {
      for (std::size_t i = 0; i < kind.feed_forward; i++) {
        const double gate = gate_up[r * 2 * kind.feed_forward + i], up = gate_up[(r * 2 + 1) * kind.feed_forward + i];
        activation[r * kind.feed_forward + i] = gate / (1 + std::exp(-gate)) * up;
      }
    }
    add(x, product(activation, layer.down, rows, kind.feed_forward));
  }
  return product(normalized(x, model.final_norm, kEpsilon), model.head, rows, kind.width);
}

struct Run {
  Tensor stream, positions, slots, contexts, logits, counters;
};
// What the step begins with: a stream, or rows of a table, given by ids, which may be none of its rows; whether sequences advance.
struct Start {
  ElementType table = bf16;
  std::vector<std::int32_t> ids;
  bool advance = false;
};
constexpr std::size_t kTableRows = 11;

Run run(Context& c, const Kind& kind, const Model& model, const Batch& batch, const Start& start) {
  const std::size_t rows = batch.contexts.size();
  const bool embedded = !start.ids.empty();
  const Tensor table = c.floats(kTableRows * kind.width, start.table), ids = c.integers(start.ids);
  Run result = {c.floats(rows * kind.width, bf16), c.integers(rows, 0, 20000), c.integers(batch.slots), c.integers(batch.contexts),
                c.output(rows * kind.vocabulary, kind.logits_type), c.integers(std::vector<std::int32_t>(kPagedArrivals, 0))};
  for (std::size_t r = 0; r < start.ids.size(); r++) {
    const std::int32_t id = start.ids[r];
    for (std::size_t k = 0; k < kind.width; k++) {
      const bool there = id >= 0 && static_cast<std::size_t>(id) < kTableRows;
      write(result.stream.as<void>(), bf16, r * kind.width + k, there ? table.at(static_cast<std::size_t>(id) * kind.width + k) : 0);
    }
  }
  const Tensor tables = c.integers(batch.tables);
  std::vector<DecoderLayer> layers;
  for (const Layer& l : model.layers) {
    layers.push_back({l.attention_norm.as<void>(), l.qkv.as<void>(), l.output.as<void>(), l.feed_forward_norm.as<void>(), l.gate_up.as<void>(), l.down.as<void>(),
                      l.keys.as<void>(), l.values.as<void>()});
  }
  const DecoderStep step = {rows, kind.width, kind.feed_forward, kind.vocabulary, kind.layers, layers.data(), kind.shape, kScaling, kEpsilon, kind.norm_type,
                            embedded ? nullptr : result.stream.as<void>(), table.as<void>(), start.table, kTableRows, ids.as<std::int32_t>(),
                            model.final_norm.as<void>(), model.head.as<void>(), result.logits, result.positions.as<std::int32_t>(),
                            result.slots.as<std::int32_t>(), model.frequencies.as<float>(), result.contexts.as<std::int32_t>(), tables.as<std::int32_t>(),
                            batch.max_blocks, kind.block_size, batch.blocks * kind.block_size, start.advance};
  c.check(decoder_step_takes(step), "the step is not taken");
  decoder_step(nullptr, step, c.workspace(decoder_step_workspace_bytes(step)), result.counters.as<std::uint32_t>(), {c.error(), c.error(), c.error()});
  return result;
}

void step_case(Context& c, const Kind& kind, const std::vector<std::int32_t>& given, const Start& start = {}) {
  const Batch batch(given, kind.block_size);
  const Model model(c, kind, batch);
  std::vector<Values> caches;
  for (const Layer& l : model.layers) {
    caches.push_back(l.keys.values());
    caches.push_back(l.values.values());
  }
  const Run result = run(c, kind, model, batch, start);
  const auto before = [&](const Tensor& counters) {
    Values values = counters.values();
    for (double& value : values) value -= start.advance ? 1 : 0;
    return values;
  };
  const Values logits = reference(model, kind, batch, result.stream.values(), before(result.positions), caches);
  c.check(before(result.slots) == Values(batch.slots.begin(), batch.slots.end()), "slots afterwards");
  c.check(before(result.contexts) == Values(batch.contexts.begin(), batch.contexts.end()), "context lengths afterwards");
  c.close("logits", result.logits, logits, 1e-2);
  for (std::size_t l = 0; l < kind.layers; l++) {
    c.close("keys", model.layers[l].keys, caches[2 * l]);
    c.close("values", model.layers[l].values, caches[2 * l + 1]);
  }
  c.equal("counters", result.counters, Values(kPagedArrivals, 0));
  c.check(c.error_code() == DeviceError::none, "the error flag");
}

// One thing wrong: told, and nothing outside the arrays is touched.
template <class Break>
void wrong_case(Context& c, DeviceError expected, Break change, const Start& start = {}) {
  const Kind kind = {{2, 1, 64, 0.125f}, 64, 64, 32, 2, 4, f32, f32};
  Batch batch({9, 150}, kind.block_size);
  const Model model(c, kind, batch);
  change(batch);
  const Run result = run(c, kind, model, batch, start);
  c.check(c.error_code() == expected, "the error flag is " + std::to_string(static_cast<int>(c.error_code())));
  c.equal("counters", result.counters, Values(kPagedArrivals, 0));
}

const Register registrations[] = {
    {"decoder step: one row, a short context", [](Context& c) { step_case(c, {{2, 1, 64, 0.125f}, 64, 96, 40, 2, 4, f32, bf16}, {5}); }},
    {"decoder step: a first token", [](Context& c) { step_case(c, {{2, 2, 64, 0.125f}, 64, 64, 32, 2, 16, bf16, f32}, {1}); }},
    {"decoder step: splits of an odd context", [](Context& c) { step_case(c, {{4, 1, 64, 0.1f}, 128, 200, 50, 2, 16, f32, f32}, {523}); }},
    {"decoder step: a long context, merged by its last block", [](Context& c) { step_case(c, {{2, 1, 64, 0.1f}, 64, 64, 24, 2, 16, f32, f32}, {2001}); }},
    {"decoder step: heads of 128, blocks of 5", [](Context& c) { step_case(c, {{6, 2, 128, 0.09f}, 136, 264, 33, 1, 5, f32, bf16}, {301}); }},
    {"decoder step: two rows", [](Context& c) { step_case(c, {{5, 1, 64, 0.125f}, 72, 136, 24, 2, 8, f32, f32}, {130, 7}); }},
    {"decoder step: three rows, one unused", [](Context& c) { step_case(c, {{4, 2, 64, 0.125f}, 64, 72, 24, 2, 8, bf16, f32}, {40, kUnused, 200}); }},
    {"decoder step: four rows, heads of 128", [](Context& c) { step_case(c, {{8, 1, 128, 0.09f}, 64, 64, 16, 2, 16, f32, f32}, {3, 17, 140, 64}); }},
    {"decoder step: rows of several pieces", [](Context& c) { step_case(c, {{2, 1, 64, 0.125f}, 2064, 4224, 16, 1, 16, f32, f32}, {20}); }},
    {"decoder step: rows of several pieces, three rows", [](Context& c) { step_case(c, {{34, 2, 64, 0.125f}, 64, 2304, 16, 1, 16, f32, f32}, {20, 5, 9}); }},
    {"decoder step: more keys than are looked up at once", [](Context& c) { step_case(c, {{8, 8, 64, 0.125f}, 64, 64, 16, 1, 16, f32, f32}, {1100}); }},
    {"decoder step: products cut into several", [](Context& c) { step_case(c, {{2, 1, 64, 0.125f}, 64, 1200, 2500, 1, 16, f32, f32}, {9, 40}); }},
    {"decoder step: rows of a table", [](Context& c) { step_case(c, {{2, 1, 64, 0.125f}, 64, 96, 40, 2, 4, f32, bf16}, {5}, {bf16, {7}}); }},
    {"decoder step: rows of a float32 table, sequences advance",
     [](Context& c) { step_case(c, {{4, 2, 64, 0.125f}, 72, 72, 24, 2, 8, bf16, f32}, {40, 6, 200}, {f32, {10, 0, 10}, true}); }},
    {"decoder step: a long row of a float32 table", [](Context& c) { step_case(c, {{2, 1, 64, 0.125f}, 4224, 64, 16, 1, 16, f32, f32}, {20}, {f32, {3}}); }},
    {"decoder step: a stream, the sequence advances", [](Context& c) { step_case(c, {{2, 1, 64, 0.125f}, 64, 96, 40, 1, 4, f32, bf16}, {5}, {bf16, {}, true}); }},
    {"decoder step: blocks for each head", [](Context& c) { step_case(c, {{4, 2, 64, 0.1f}, 128, 200, 50, 2, 16, f32, f32}, {301}); }},
    {"decoder step: one key more than blocks for each head take",
     [](Context& c) { step_case(c, {{4, 2, 64, 0.1f}, 64, 64, 24, 1, 16, f32, f32}, {385}); }},
    {"decoder step: blocks for each head, of 128", [](Context& c) { step_case(c, {{2, 1, 128, 0.1f}, 64, 64, 24, 1, 16, f32, f32}, {300}); }},
    {"decoder step: blocks for each head of two rows", [](Context& c) { step_case(c, {{2, 1, 64, 0.125f}, 72, 136, 24, 2, 8, f32, f32}, {250, 7}); }},
    {"decoder step: an id outside the table", [](Context& c) { wrong_case(c, DeviceError::ids, [](Batch&) {}, {f32, {3, kTableRows}}); }},
    {"decoder step: a negative id", [](Context& c) { wrong_case(c, DeviceError::ids, [](Batch&) {}, {bf16, {-1, 3}}); }},
    {"decoder step: a slot outside the cache", [](Context& c) { wrong_case(c, DeviceError::slots, [](Batch& b) { b.slots[1] = 100000; }); }},
    {"decoder step: a negative slot", [](Context& c) { wrong_case(c, DeviceError::slots, [](Batch& b) { b.slots[0] = -2; }); }},
    {"decoder step: a context longer than its table", [](Context& c) { wrong_case(c, DeviceError::context_lengths, [](Batch& b) { b.contexts[1] = 100000; }); }},
    {"decoder step: an empty context", [](Context& c) { wrong_case(c, DeviceError::context_lengths, [](Batch& b) { b.contexts[0] = 0; }); }},
    {"decoder step: a block outside the cache", [](Context& c) { wrong_case(c, DeviceError::block_tables, [](Batch& b) { b.tables[1] = 4000; }); }},
};

}  // namespace

}  // namespace test
