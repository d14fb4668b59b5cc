// Where documents lie for cuDNN, and rows of qkv taken apart and put together, against plain loops.
#include "harness.h"
#include "xgen/cuda/ragged.h"

namespace test {

using namespace xgen::cuda;

namespace {

// 64-bit offsets as pairs of 32-bit words, low ones first, since the frame's tensors know those.
struct Offsets {
  Tensor lengths, rows, out, keys, statistics;
  Offsets(Context& c, std::size_t batch)
      : lengths(c.output(batch, i32)), rows(words(c, batch)), out(words(c, batch)), keys(words(c, batch)), statistics(words(c, batch)) {}
  RaggedOffsets given() const {
    return {lengths.as<std::int32_t>(), rows.as<std::int64_t>(), out.as<std::int64_t>(), keys.as<std::int64_t>(), statistics.as<std::int64_t>()};
  }

 private:
  static Tensor words(Context& c, std::size_t batch) { return c.output(2 * (batch + 1), i32); }
};

std::vector<double> words_of(const std::vector<std::int64_t>& values) {
  std::vector<double> words;
  for (const std::int64_t value : values) {
    words.push_back(static_cast<std::int32_t>(value & 0xffffffff));
    words.push_back(static_cast<std::int32_t>(value >> 32));
  }
  return words;
}

std::vector<std::int64_t> times(const std::vector<std::int64_t>& values, std::size_t factor) {
  std::vector<std::int64_t> products;
  for (const std::int64_t value : values) products.push_back(value * static_cast<std::int64_t>(factor));
  return products;
}

void offsets_case(Context& c, const std::vector<std::int32_t>& documents, std::size_t batch, const AttentionShape& shape) {
  std::vector<std::int32_t> cumulative = {0};
  std::vector<std::int64_t> starts;
  std::vector<double> lengths;
  for (const std::int32_t length : documents) {
    starts.push_back(cumulative.back());
    lengths.push_back(length);
    cumulative.push_back(cumulative.back() + length);
  }
  const std::int32_t tokens = cumulative.back();
  starts.resize(batch + 1, tokens);
  lengths.resize(batch, 0);
  const Offsets offsets(c, batch);
  ragged_offsets(nullptr, c.integers(cumulative).as<std::int32_t>(), documents.size(), batch, static_cast<std::size_t>(tokens), shape, offsets.given(),
                 c.error());
  c.equal("lengths", offsets.lengths, lengths);
  c.equal("rows", offsets.rows, words_of(times(starts, (shape.query_heads + 2 * shape.key_value_heads) * shape.head_dimension)));
  c.equal("out", offsets.out, words_of(times(starts, shape.query_heads * shape.head_dimension)));
  c.equal("keys", offsets.keys, words_of(times(starts, shape.key_value_heads * shape.head_dimension)));
  c.equal("statistics", offsets.statistics, words_of(times(starts, shape.query_heads)));
  c.check(c.error_code() == DeviceError::none, "the error flag");
}

// `wrong`: the entries that may be reported.
void broken_case(Context& c, const std::vector<std::int32_t>& cumulative, std::int32_t tokens, const std::vector<std::size_t>& wrong) {
  const AttentionShape shape = {4, 2, 8, 1};
  const std::size_t documents = cumulative.size() - 1, batch = documents + 3;
  const Offsets offsets(c, batch);
  ragged_offsets(nullptr, c.integers(cumulative).as<std::int32_t>(), documents, batch, static_cast<std::size_t>(tokens), shape, offsets.given(), c.error());
  c.check(c.error_code() == DeviceError::cumulative_lengths, "the error flag");
  bool known = false;
  for (const std::size_t at : wrong) known = known || (c.error()->position == static_cast<std::int64_t>(at) && c.error()->value == cumulative[at]);
  c.check(known, "the flag's entry");
  // Nothing outside the arrays is named.
  const RaggedOffsets found = offsets.given();
  const auto inside = [&](const std::int64_t* starts, std::size_t width) {
    for (std::size_t d = 0; d <= batch; d++) {
      const std::int64_t length = d < batch ? found.lengths[d] : 0, row = static_cast<std::int64_t>(width);
      c.check(starts[d] >= 0 && starts[d] % row == 0 && length >= 0 && starts[d] / row + length <= tokens, "an offset outside");
    }
  };
  inside(found.rows, shape.row());
  inside(found.out, shape.query_heads * shape.head_dimension);
  inside(found.keys, shape.key_value_heads * shape.head_dimension);
  inside(found.statistics, shape.query_heads);
}

void rows_case(Context& c, std::size_t tokens, const AttentionShape& shape) {
  const std::size_t hd = shape.head_dimension, row = shape.row();
  const std::size_t widths[3] = {shape.query_heads * hd, shape.key_value_heads * hd, shape.key_value_heads * hd};
  const Tensor qkv = c.floats(tokens * row, bf16), together = c.output(tokens * row, bf16);
  const Tensor query = c.output(tokens * widths[0], bf16), key = c.output(tokens * widths[1], bf16), value = c.output(tokens * widths[2], bf16);
  const SeparateHeads heads = {query.as<void>(), key.as<void>(), value.as<void>()};
  unpack_rows(nullptr, qkv.as<void>(), heads, tokens, shape);
  std::vector<double> expected[3];
  for (std::size_t r = 0; r < tokens; r++) {
    std::size_t column = 0;
    for (std::size_t part = 0; part < 3; part++) {
      for (std::size_t i = 0; i < widths[part]; i++) expected[part].push_back(qkv.at(r * row + column++));
    }
  }
  c.equal("query", query, expected[0]);
  c.equal("key", key, expected[1]);
  c.equal("value", value, expected[2]);
  pack_rows(nullptr, heads, together.as<void>(), tokens, shape);
  c.equal("packed again", together, qkv.values());
}

const bool registered = [] {
  const AttentionShape small = {4, 2, 8, 1}, odd = {3, 1, 128, 1};
  Register("ragged offsets of one document", [=](Context& c) { offsets_case(c, {77}, 1, small); });
  Register("ragged offsets, odd and empty documents", [=](Context& c) { offsets_case(c, {0, 1, 0, 0, 13, 7, 0, 129, 0}, 9, odd); });
  Register("ragged offsets, a batch that is not full", [=](Context& c) { offsets_case(c, {5, 0, 31}, 8, small); });
  Register("ragged offsets of nothing", [=](Context& c) { offsets_case(c, {}, 2, small); });
  Register("ragged offsets of empty documents", [=](Context& c) { offsets_case(c, {0, 0}, 4, small); });
  Register("ragged offsets beyond 32 bits", [=](Context& c) { offsets_case(c, {1 << 29, 3, 1 << 28}, 4, {64, 8, 128, 1}); });
  Register("ragged offsets of several blocks", [=](Context& c) {
    std::vector<std::int32_t> documents;
    for (int i = 0; i < 700; i++) documents.push_back(c.integer(0, 40));
    offsets_case(c, documents, 1024, small);
  });
  Register("ragged offsets, lengths that start late", [](Context& c) { broken_case(c, {1, 5, 9}, 9, {0}); });
  Register("ragged offsets, lengths that end early", [](Context& c) { broken_case(c, {0, 5, 8}, 9, {2}); });
  Register("ragged offsets, lengths that end late", [](Context& c) { broken_case(c, {0, 5, 1 << 30}, 9, {2}); });
  Register("ragged offsets, lengths that fall", [](Context& c) { broken_case(c, {0, 7, 3, 9}, 9, {2}); });
  Register("ragged offsets, lengths that leave the tokens", [](Context& c) { broken_case(c, {0, 1 << 30, 3, 9}, 9, {2}); });
  Register("ragged offsets, negative lengths", [](Context& c) { broken_case(c, {0, -5, INT32_MIN, 9}, 9, {1, 2}); });

  for (const std::size_t tokens : {0, 1, 37, 300}) {
    for (const AttentionShape& shape : {small, odd, AttentionShape{5, 5, 64, 1}, AttentionShape{1, 1, 8, 1}}) {
      Register("rows of qkv apart " + std::to_string(tokens) + " " + std::to_string(shape.query_heads) + " " + std::to_string(shape.head_dimension),
               [=](Context& c) { rows_case(c, tokens, shape); });
    }
  }
  return true;
}();

}  // namespace
}  // namespace test
