// Attention over a paged cache, and appending to it, against float64.
#include <algorithm>

#include "attention_reference.h"
#include "harness.h"

namespace test {

using namespace xgen::cuda;

namespace {

struct Sequence {
  int queries, context;  // context kUnused: no sequence here
};
using Sequences = std::vector<Sequence>;

struct Kind {
  ElementType type, cache_type;
  AttentionShape shape;
  std::size_t block_size;
};

// A batch whose blocks lie in the pool from its end, in turns; entries of tables past a sequence's blocks are nonsense.
struct Batch {
  std::vector<std::int32_t> cumulative = {0}, contexts, tables;
  std::size_t max_blocks, blocks = 1;

  Batch(const Sequences& sequences, std::size_t block_size, std::size_t spare_blocks) {
    std::size_t most = 0;
    std::vector<std::size_t> used;
    for (const Sequence& s : sequences) {
      cumulative.push_back(cumulative.back() + s.queries);
      contexts.push_back(s.context);
      used.push_back(s.context < 0 ? 0 : (static_cast<std::size_t>(s.context) + block_size - 1) / block_size);
      most = std::max(most, used.back());
      blocks += used.back();
    }
    max_blocks = most + spare_blocks;
    tables.assign(sequences.size() * max_blocks, -77);
    std::int32_t next = static_cast<std::int32_t>(blocks) - 1;
    for (std::size_t b = 0; b < most; b++) {
      for (std::size_t s = 0; s < sequences.size(); s++) {
        if (b < used[s]) tables[s * max_blocks + b] = next--;
      }
    }
  }
  std::size_t row(std::size_t sequence, std::size_t position, std::size_t block_size) const {
    return static_cast<std::size_t>(tables[sequence * max_blocks + position / block_size]) * block_size + position % block_size;
  }
};

void paged_case(Context& c, const Kind& kind, const Sequences& sequences, std::size_t spare_blocks) {
  const AttentionShape& shape = kind.shape;
  const Batch batch(sequences, kind.block_size, spare_blocks);
  const std::size_t tokens = static_cast<std::size_t>(batch.cumulative.back()), hd = shape.head_dimension, row = shape.row();
  const std::size_t width = shape.key_value_heads * hd, rows = batch.blocks * kind.block_size, out_row = shape.query_heads * hd;
  const Tensor qkv = c.floats(tokens * row, kind.type), out = c.output(tokens * out_row, kind.type);
  // What no sequence owns stays NaN.
  const Tensor keys = c.output(rows * width, kind.cache_type), values = c.output(rows * width, kind.cache_type);
  for (std::size_t s = 0; s < sequences.size(); s++) {
    for (int position = 0; position < sequences[s].context; position++) {
      const std::size_t at = batch.row(s, static_cast<std::size_t>(position), kind.block_size) * width;
      for (std::size_t e = 0; e < width; e++) {
        write(keys.as<void>(), kind.cache_type, at + e, c.normal());
        write(values.as<void>(), kind.cache_type, at + e, c.normal());
      }
    }
  }
  const Tensor cumulative = c.integers(batch.cumulative), contexts = c.integers(batch.contexts), tables = c.integers(batch.tables);
  const PagedBatch given = {cumulative.as<std::int32_t>(), contexts.as<std::int32_t>(), tables.as<std::int32_t>(), sequences.size(),
                            batch.max_blocks, kind.block_size, rows};
  const Tensor arrivals = c.integers(std::vector<std::int32_t>(kPagedArrivals, 0));
  paged_attention(nullptr, qkv, keys, values, given, out, tokens, shape, c.workspace(paged_attention_workspace_bytes(given, tokens, shape)), arrivals.as<std::uint32_t>(), c.error());

  std::vector<double> expected(tokens * out_row);
  const std::vector<double> x = qkv.values(), k = keys.values(), v = values.values();
  for (std::size_t s = 0; s < sequences.size(); s++) {
    for (int i = 0; i < sequences[s].queries && sequences[s].context >= 0; i++) {
      const std::size_t token = static_cast<std::size_t>(batch.cumulative[s] + i);
      const std::size_t seen = static_cast<std::size_t>(sequences[s].context - sequences[s].queries + i + 1);
      for (std::size_t h = 0; h < shape.query_heads; h++) {
        const std::size_t offset = h / shape.group() * hd;
        const auto at = [&](std::size_t n) { return batch.row(s, n, kind.block_size) * width + offset; };
        const Weights w = attend(&x[token * row + h * hd], seen, hd, shape.scale, [&](std::size_t n) { return &k[at(n)]; });
        for (std::size_t n = 0; n < seen; n++) {
          for (std::size_t e = 0; e < hd; e++) expected[token * out_row + h * hd + e] += w.p[n] * v[at(n) + e];
        }
      }
    }
  }
  c.close("out", out, expected);
  c.equal("arrivals", arrivals, std::vector<double>(kPagedArrivals, 0));
  c.check(c.error_code() == DeviceError::none, "the error flag");
}

void append_case(Context& c, ElementType type, ElementType cache_type, const AttentionShape& shape, const std::vector<std::int32_t>& slots, std::size_t rows) {
  const std::size_t width = shape.key_value_heads * shape.head_dimension, row = shape.row(), tokens = slots.size();
  const Tensor keys = c.floats(rows * width, cache_type), values = c.floats(rows * width, cache_type), qkv = c.floats(tokens * row, type),
               slot_list = c.integers(slots);
  std::vector<double> expected[2] = {keys.values(), values.values()};
  const Tensor rounded = c.output(1, cache_type);
  bool bad = false;
  for (std::size_t t = 0; t < tokens; t++) {
    if (slots[t] == kUnused) continue;
    if (slots[t] < 0 || slots[t] >= static_cast<std::int32_t>(rows)) {
      bad = true;
      continue;
    }
    for (std::size_t part = 0; part < 2; part++) {
      for (std::size_t e = 0; e < width; e++) {
        write(rounded.as<void>(), cache_type, 0, qkv.at(t * row + shape.query_heads * shape.head_dimension + part * width + e));
        expected[part][static_cast<std::size_t>(slots[t]) * width + e] = rounded.at(0);
      }
    }
  }
  paged_cache_append(nullptr, keys, values, rows, qkv, slot_list.as<std::int32_t>(), tokens, shape, c.error());
  c.equal("keys", keys, expected[0]);
  c.equal("values", values, expected[1]);
  c.check((c.error_code() == DeviceError::slots) == bad, "the error flag");
}

// In one launch what rope and paged_cache_append give in two, bit by bit.
void rope_append_case(Context& c, ElementType type, const AttentionShape& shape, const std::vector<std::int32_t>& slots, std::size_t rows) {
  const std::size_t width = shape.key_value_heads * shape.head_dimension, count = slots.size() * shape.row();
  const std::size_t rotated = shape.query_heads + shape.key_value_heads;
  const Tensor qkv = c.floats(count, type), slot_list = c.integers(slots), positions = c.integers(slots.size(), 0, 200000);
  std::vector<double> frequencies;
  for (std::size_t i = 0; i < shape.head_dimension / 2; i++) frequencies.push_back(std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(shape.head_dimension)));
  const Tensor turns = c.floats(frequencies, f32);
  const Tensor before = c.floats(2 * rows * width, type);
  const auto copies = [&] {
    std::vector<double> halves[2];
    for (std::size_t i = 0; i < 2 * rows * width; i++) halves[i / (rows * width)].push_back(before.at(i));
    return std::make_pair(c.floats(halves[0], type), c.floats(halves[1], type));
  };
  const auto [keys, values] = copies();
  const auto [expected_keys, expected_values] = copies();
  const Tensor y = c.output(count, type), expected = c.output(count, type);
  rope_append(nullptr, qkv, y, positions.as<std::int32_t>(), turns.as<float>(), 1.25f, keys, values, rows, slot_list.as<std::int32_t>(), slots.size(), shape,
              c.error());
  const DeviceError found = c.error_code();
  rope(nullptr, qkv, expected, positions.as<std::int32_t>(), turns.as<float>(), slots.size(), rotated + shape.key_value_heads, rotated, shape.head_dimension,
       1.25f, false);
  c.error()->code = 0;
  paged_cache_append(nullptr, expected_keys, expected_values, rows, expected, slot_list.as<std::int32_t>(), slots.size(), shape, c.error());
  c.equal("y", y, expected.values());
  c.equal("keys", keys, expected_keys.values());
  c.equal("values", values, expected_values.values());
  c.check(found == c.error_code(), "the error flag");
}

// What cannot be is reported, and no access leaves the arrays.
void bad_case(Context& c, ElementType type, const AttentionShape& shape, std::vector<std::int32_t> cumulative, std::vector<std::int32_t> contexts,
              std::vector<std::int32_t> tables, std::size_t tokens, DeviceError wanted) {
  const std::size_t sequences = contexts.size(), max_blocks = tables.size() / sequences, rows = 6 * 16, width = shape.key_value_heads * shape.head_dimension;
  const Tensor qkv = c.floats(tokens * shape.row(), type), keys = c.floats(rows * width, type), values = c.floats(rows * width, type),
               out = c.output(tokens * shape.query_heads * shape.head_dimension, type);
  const Tensor lengths = c.integers(cumulative), context_list = c.integers(contexts), table_list = c.integers(tables);
  const PagedBatch batch = {lengths.as<std::int32_t>(), context_list.as<std::int32_t>(), table_list.as<std::int32_t>(), sequences, max_blocks, 16, rows};
  c.error()->code = 0;
  const Tensor arrivals = c.integers(std::vector<std::int32_t>(kPagedArrivals, 0));
  paged_attention(nullptr, qkv, keys, values, batch, out, tokens, shape, c.workspace(paged_attention_workspace_bytes(batch, tokens, shape)), arrivals.as<std::uint32_t>(), c.error());
  c.check(c.error_code() == wanted, "the error flag is " + std::to_string(c.error()->code) + " instead of " + std::to_string(static_cast<int>(wanted)));
}

const bool registered = [] {
  const std::vector<Kind> kinds = {
      {f32, f32, {4, 2, 64, 0.125f}, 16}, {f32, f32, {3, 3, 128, 0.09f}, 16}, {f32, f32, {6, 2, 10, 0.3f}, 4},   {f32, bf16, {4, 2, 64, 0.125f}, 16},
      {f32, bf16, {2, 1, 96, 0.1f}, 12},  {bf16, bf16, {8, 2, 64, 0.125f}, 16}, {bf16, bf16, {8, 1, 64, 0.1f}, 8}, {bf16, bf16, {2, 2, 128, 0.09f}, 16},
      {bf16, bf16, {3, 1, 128, 0.09f}, 5}, {bf16, bf16, {5, 1, 128, 0.09f}, 32}, {bf16, bf16, {12, 1, 64, 0.125f}, 7}, {bf16, bf16, {2, 1, 256, 0.06f}, 16},
      {bf16, bf16, {4, 2, 32, 0.2f}, 1}};
  struct Named {
    const char* name;
    Sequences sequences;
    std::size_t spare;
  };
  const std::vector<Named> batches = {
      {"one token", {{1, 1}}, 0},
      {"decode", {{1, 9}, {1, 16}, {1, 150}}, 1},
      {"decode with gaps", {{1, 64}, {0, 4}, {1, kUnused}, {0, kUnused}, {1, 33}}, 0},
      {"few tokens each", {{3, 70}, {1, 1}, {4, 131}, {2, 2}}, 3},
      {"prefill", {{150, 150}}, 0},
      {"chunk of a prefill", {{40, 201}}, 2},
      {"five tokens before one", {{5, 130}, {1, 97}, {33, 60}}, 0},
      {"prefill beside decode", {{1, 97}, {33, 60}, {0, 3}, {4, 100}, {5, 5}, {7, kUnused}, {1, kUnused}, {70, 131}}, 0}};
  for (const Kind& kind : kinds) {
    for (const Named& batch : batches) {
      const std::string name = std::string("paged attention ") + name_of(kind.type) + " " + name_of(kind.cache_type) + " " +
                               std::to_string(kind.shape.query_heads) + "/" + std::to_string(kind.shape.key_value_heads) + " " +
                               std::to_string(kind.shape.head_dimension) + " blocks of " + std::to_string(kind.block_size) + ": " + batch.name;
      Register(name, [=](Context& c) { paged_case(c, kind, batch.sequences, batch.spare); });
    }
  }
  Register("paged attention long", [](Context& c) { paged_case(c, {bf16, bf16, {4, 1, 64, 0.125f}, 16}, {{1, 1501}}, 5); });
  Register("paged attention long and short", [](Context& c) { paged_case(c, {bf16, bf16, {4, 1, 128, 0.09f}, 16}, {{1, 1100}, {1, 3}, {2, 700}}, 0); });
  // Blocks that take several key-value heads together, 1 to 8. Lengths about where a block's tiles, and its warps' rings, begin anew.
  const Sequences uneven = {{1, 15},  {1, 17},  {1, 127}, {1, 128}, {1, 129}, {1, kUnused}, {1, 255}, {1, 257},
                            {1, 383}, {1, 385}, {0, 9},   {1, 511}, {1, 530}, {1, 641},     {1, 1},   {4, 400}};
  for (const std::size_t size : {64, 128}) {
    for (const std::size_t heads : {1, 2, 3, 4, 8}) {
      const AttentionShape shape = {2 * heads, heads, size, 0.1f};
      const std::string name = "paged attention of " + std::to_string(heads) + " times " + std::to_string(size);
      Register(name + ", many uneven", [=](Context& c) { paged_case(c, {bf16, bf16, shape, 16}, uneven, 2); });
      Register(name + ", odd blocks", [=](Context& c) { paged_case(c, {bf16, bf16, shape, 6}, {{1, 385}, {3, 70}, {1, 33}, {1, kUnused}, {1, 100}}, 0); });
      // As many splits as there may be, of which some have no keys.
      Register(name + ", many splits", [=](Context& c) { paged_case(c, {bf16, bf16, shape, 16}, {{2, 3001}, {1, 40}, {1, kUnused}}, 40000); });
    }
    Register("paged attention of " + std::to_string(size) + " in float32, many uneven", [=](Context& c) { paged_case(c, {f32, f32, {6, 2, size, 0.1f}, 16}, uneven, 2); });
  }
  Register("paged attention room for much more", [](Context& c) { paged_case(c, {f32, f32, {2, 2, 64, 0.125f}, 16}, {{1, 100}, {1, 20}}, 600); });

  for (const ElementType type : kFloatTypes) {
    for (const ElementType cache : kFloatTypes) {
      const std::string name = std::string("cache append ") + name_of(type) + " " + name_of(cache);
      Register(name, [=](Context& c) { append_case(c, type, cache, {4, 2, 64, 1}, {5, 0, kUnused, 11, 3}, 12); });
      Register(name + " odd", [=](Context& c) { append_case(c, type, cache, {3, 3, 33, 1}, {30, 2, 31, 9}, 32); });
      Register(name + " wide", [=](Context& c) { append_case(c, type, cache, {8, 8, 128, 1}, {7, 1}, 9); });
      Register(name + " the last of a slot stays", [=](Context& c) { append_case(c, type, cache, {1, 1, 16, 1}, {2, 5, 2, 2, kUnused, 5, 0}, 6); });
      Register(name + " bad slots", [=](Context& c) { append_case(c, type, cache, {1, 1, 16, 1}, {2, -1, 6, 1000000, 0}, 6); });
    }
  }
  for (const ElementType type : kFloatTypes) {
    const std::string name = std::string("rope append ") + name_of(type);
    Register(name, [=](Context& c) { rope_append_case(c, type, {4, 2, 64, 1}, {5, 0, kUnused, 11, 3}, 12); });
    Register(name + " one row", [=](Context& c) { rope_append_case(c, type, {32, 8, 64, 1}, {2}, 3); });
    Register(name + " wide", [=](Context& c) { rope_append_case(c, type, {40, 8, 128, 1}, {3, 1}, 4); });
    Register(name + " odd", [=](Context& c) { rope_append_case(c, type, {3, 3, 38, 1}, {30, 2, 31, 9}, 32); });
    Register(name + " slots twice and bad ones", [=](Context& c) { rope_append_case(c, type, {2, 1, 16, 1}, {2, 5, 2, 2, kUnused, 5, 0, -1, 6, 77}, 6); });
  }
  Register("cache append many", [](Context& c) {
    std::vector<std::int32_t> slots;
    for (int i = 0; i < 400; i++) slots.push_back(c.integer(0, 150));
    append_case(c, bf16, bf16, {1, 1, 8, 1}, slots, 151);
  });
  for (const ElementType type : kFloatTypes) {
    const AttentionShape shape = {2, 1, 64, 0.125f};
    const auto bad = [&](const char* what, std::vector<std::int32_t> cumulative, std::vector<std::int32_t> contexts, std::vector<std::int32_t> tables,
                         std::size_t tokens, DeviceError wanted) {
      Register(std::string("paged attention ") + name_of(type) + " " + what,
               [=](Context& c) { bad_case(c, type, shape, cumulative, contexts, tables, tokens, wanted); });
    };
    const std::int32_t billions = 2000000000;
    bad("context too short", {0, 2}, {1}, {0, 1}, 2, DeviceError::context_lengths);
    bad("context too long", {0, 2}, {33}, {0, 1}, 2, DeviceError::context_lengths);
    bad("context negative", {0, 1, 2}, {-5, 1}, {0, 1, 2, 3}, 2, DeviceError::context_lengths);
    bad("context huge", {0, 1, 2}, {billions, 1}, {0, 1, 2, 3}, 2, DeviceError::context_lengths);
    bad("context too long for a prefill", {0, 20}, {40}, {0, 1}, 20, DeviceError::context_lengths);
    bad("block negative", {0, 1}, {20}, {0, -1}, 1, DeviceError::block_tables);
    bad("block too large", {0, 1}, {20}, {6, 0}, 1, DeviceError::block_tables);
    bad("block too large for a prefill", {0, 10}, {20}, {0, billions}, 10, DeviceError::block_tables);
    bad("lengths that end early", {0, 1}, {5}, {0}, 2, DeviceError::cumulative_lengths);
    bad("lengths that fall", {0, 2, 1, 3}, {5, 5, 5}, {0, 1, 2}, 3, DeviceError::cumulative_lengths);
    bad("lengths that start late", {1, 2}, {5}, {0}, 2, DeviceError::cumulative_lengths);
    bad("lengths that end late", {0, billions}, {5}, {0}, 2, DeviceError::cumulative_lengths);
    bad("lengths of a prefill that end early", {0, 10}, {15}, {0}, 16, DeviceError::cumulative_lengths);
    bad("lengths of a prefill that fall", {0, 10, -3, 16}, {16, 16, 16}, {0, 1, 2}, 16, DeviceError::cumulative_lengths);
  }
  return true;
}();

}  // namespace
}  // namespace test
