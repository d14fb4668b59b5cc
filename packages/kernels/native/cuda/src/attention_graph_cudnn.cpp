#include "attention_graph_cudnn.h"

#include <algorithm>

namespace xgen::cuda::cudnn {

namespace {

constexpr std::size_t kTile = 128;

// Four steps from one power of two to the next.
std::size_t rounded_length(std::size_t length) {
  std::size_t power = kTile;
  while (power * 2 <= length) power *= 2;
  const std::size_t step = std::max(kTile, power / 4);
  return (length + step - 1) / step * step;
}
std::size_t rounded_count(std::size_t count) {
  std::size_t power = 1;
  while (power < count) power *= 2;
  return power;
}

// Makes both graphs: what they share first.
class Recipe {
 public:
  Recipe(const Library& library, Handle handle, const Geometry& geometry) : g_(geometry), graph_(library, handle) {
    b_ = static_cast<std::int64_t>(g_.batch);
    s_ = static_cast<std::int64_t>(g_.length);
    hq_ = static_cast<std::int64_t>(g_.query_heads);
    hk_ = static_cast<std::int64_t>(g_.key_value_heads);
    d_ = static_cast<std::int64_t>(g_.head_dimension);
    row_ = (hq_ + 2 * hk_) * d_;
    if (g_.ragged) {
      const TensorOptions lengths = {kInt32, false}, offsets = {kInt64, false};
      a_.query_lengths = graph_.tensor({b_, 1, 1, 1}, {1, 1, 1, 1}, lengths);
      a_.key_lengths = graph_.tensor({b_, 1, 1, 1}, {1, 1, 1, 1}, lengths);
      if (!g_.gradient) a_.row_offsets = graph_.tensor({b_ + 1, 1, 1, 1}, {1, 1, 1, 1}, offsets);
      a_.out_offsets = graph_.tensor({b_ + 1, 1, 1, 1}, {1, 1, 1, 1}, offsets);
      if (g_.gradient) a_.key_offsets = graph_.tensor({b_ + 1, 1, 1, 1}, {1, 1, 1, 1}, offsets);
      a_.statistics_offsets = graph_.tensor({b_ + 1, 1, 1, 1}, {1, 1, 1, 1}, offsets);
    }
  }

  Attention forward() {
    a_.query = heads_of_row(hq_);
    a_.key = graph_.tensor({b_, hk_, d_, s_}, {s_ * row_, d_, 1, row_}, bound(a_.row_offsets));
    a_.value = heads_of_row(hk_);
    const TensorNumber scores = masked(scaled_scores());
    const TensorNumber largest = column(), sum = column();
    graph_.reduce(kMaximum, scores, largest);
    const TensorNumber weights = graph_.pointwise(kExponential, graph_.pointwise(kSubtract, scores, largest));
    graph_.reduce(kSum, weights, sum);
    a_.statistics = statistics();
    graph_.pointwise(kAdd, largest, graph_.pointwise(kLogarithm, sum), -1, kFloat32, kFloat32, a_.statistics);
    const TensorNumber shares = graph_.pointwise(kDivide, weights, sum, -1, kBfloat16);
    a_.out = heads_of_out();
    graph_.multiply(shares, a_.value, a_.out, extents(Side::queries, Side::none, Side::keys));
    a_.plan = graph_.build();
    return std::move(a_);
  }

  Attention backward() {
    a_.query = heads_of(hq_, a_.out_offsets);
    a_.key = transposed_keys();
    a_.value = transposed_keys();
    a_.out = heads_of_out();
    a_.dy = heads_of_out();
    a_.statistics = statistics();
    a_.one = graph_.number();

    // delta = the sum of dy * out over a head
    const TensorNumber products = graph_.pointwise(kMultiply, a_.dy, a_.out);
    const TensorNumber sum = column();
    graph_.reduce(kSum, products, sum);
    a_.delta = statistics();
    graph_.pointwise(kMultiply, sum, a_.one, -1, kFloat32, kFloat32, a_.delta);

    TensorNumber scores = scaled_scores();
    if (g_.ragged) scores = padded(scores);
    scores = causal(graph_.pointwise(kSubtract, scores, a_.statistics));
    const TensorNumber weights = graph_.pointwise(kExponential, scores);
    a_.d_value = heads_of(hk_, a_.key_offsets);
    a_.value_sums = gradient_of_keys(graph_.transposed(weights, kBfloat16), a_.dy, a_.d_value);

    const TensorNumber d_weights = inside_scores();
    graph_.multiply(a_.dy, a_.value, d_weights, extents(Side::queries, Side::keys, Side::none));
    TensorNumber d_scores = graph_.pointwise(kSubtract, d_weights, a_.delta);
    d_scores = graph_.pointwise(kMultiply, d_scores, weights);
    d_scores = graph_.pointwise(kMultiply, d_scores, a_.scale);
    a_.d_key = heads_of(hk_, a_.key_offsets);
    a_.key_sums = gradient_of_keys(graph_.transposed(d_scores, kBfloat16), a_.query, a_.d_key);

    const TensorNumber keys = graph_.viewed(a_.key, {b_, hk_, s_, d_}, {s_ * key_row(), d_, key_row(), 1}, {kBfloat16, true, false, offsets(a_.key_offsets)});
    a_.query_sums = g_.ragged ? graph_.tensor({b_, hq_, s_, d_}, {s_ * hq_ * d_, d_, hq_ * d_, 1}, {kFloat32, false, false, a_.out_offsets})
                              : graph_.tensor({b_, hq_, s_, d_}, {hq_ * s_ * d_, s_ * d_, d_, 1}, {kFloat32, false});
    graph_.multiply(d_scores, keys, a_.query_sums, extents(Side::queries, Side::none, Side::keys));
    a_.d_query = heads_of(hq_, a_.out_offsets);
    graph_.pointwise(kIdentity, a_.query_sums, -1, -1, kFloat32, kFloat32, a_.d_query);
    a_.plan = graph_.build();
    return std::move(a_);
  }

 private:
  enum class Side { none, queries, keys };

  TensorNumber offsets(TensorNumber tensor) const { return g_.ragged ? tensor : -1; }
  TensorOptions bound(TensorNumber offset_tensor, int type = kBfloat16) const { return {type, false, false, offsets(offset_tensor)}; }
  GraphBuilder::Extents extents(Side rows, Side columns, Side depth, bool padded = false) const {
    const auto of = [&](Side side) {
      if (!g_.ragged || side == Side::none) return TensorNumber{-1};
      return side == Side::queries ? a_.query_lengths : a_.key_lengths;
    };
    return {of(rows), of(columns), of(depth), padded && g_.ragged};
  }

  TensorNumber heads_of_row(std::int64_t heads) { return graph_.tensor({b_, heads, s_, d_}, {s_ * row_, d_, row_, 1}, bound(a_.row_offsets)); }
  TensorNumber heads_of_out() { return graph_.tensor({b_, hq_, s_, d_}, {s_ * hq_ * d_, d_, hq_ * d_, 1}, bound(a_.out_offsets)); }
  // Of rows, or where documents are ragged, apart.
  TensorNumber heads_of(std::int64_t heads, TensorNumber own_offsets) {
    if (!g_.ragged) return heads_of_row(heads);
    return graph_.tensor({b_, heads, s_, d_}, {s_ * heads * d_, d_, heads * d_, 1}, bound(own_offsets));
  }
  std::int64_t key_row() const { return g_.ragged ? hk_ * d_ : row_; }
  TensorNumber transposed_keys() { return graph_.tensor({b_, hk_, d_, s_}, {s_ * key_row(), d_, 1, key_row()}, bound(a_.key_offsets)); }
  // One number a row and head, as log_sum_exp lies in memory: heads side by side.
  TensorNumber statistics() {
    return graph_.tensor({b_, hq_, s_, 1}, {s_ * hq_, 1, hq_, 1}, bound(a_.statistics_offsets, kFloat32));
  }
  TensorNumber column() { return graph_.inside({b_, hq_, s_, 1}); }
  TensorNumber inside_scores() { return graph_.inside({b_, hq_, s_, s_}); }

  TensorNumber scaled_scores() {
    a_.scale = graph_.number();
    a_.minus_infinity = graph_.number();
    const TensorNumber scores = inside_scores();
    graph_.multiply(a_.query, a_.key, scores, extents(Side::queries, Side::keys, Side::none, !g_.gradient));
    return graph_.pointwise(kMultiply, scores, a_.scale);
  }

  // What lies beyond a document's end, and keys after their query, weigh nothing.
  TensorNumber masked(TensorNumber scores) { return causal(g_.ragged ? padded(scores) : scores); }
  TensorNumber padded(TensorNumber scores) {
    const TensorNumber rows = graph_.index(scores, 2, kInt32), columns = graph_.index(scores, 3, kInt32);
    const TensorNumber row_counts = graph_.pointwise(kLess, rows, a_.query_lengths, -1, kBoolean, kBoolean);
    const TensorNumber column_counts = graph_.pointwise(kLess, columns, a_.key_lengths, -1, kBoolean, kBoolean);
    const TensorNumber counts = graph_.pointwise(kAnd, row_counts, column_counts, -1, kBoolean, kBoolean);
    return graph_.pointwise(kSelect, scores, a_.minus_infinity, counts);
  }
  TensorNumber causal(TensorNumber scores) {
    const TensorNumber rows = graph_.index(scores, 2, kFloat32), columns = graph_.index(scores, 3, kFloat32);
    const TensorNumber seen = graph_.pointwise(kGreaterEqual, rows, columns, -1, kBoolean, kBoolean);
    return graph_.pointwise(kSelect, scores, a_.minus_infinity, seen);
  }

  // y = x * other, summed over the query heads that share a key head; returns what holds the sums' terms, or 0.
  TensorNumber gradient_of_keys(TensorNumber x, TensorNumber other, TensorNumber y) {
    const GraphBuilder::Extents of_documents = extents(Side::keys, Side::none, Side::queries);
    if (hq_ == hk_) {
      graph_.multiply(x, other, y, of_documents);
      return 0;
    }
    const TensorNumber terms = g_.ragged ? graph_.tensor({b_, hq_, s_, d_}, {s_ * hq_ * d_, d_, hq_ * d_, 1}, bound(a_.key_offsets))
                                         : graph_.inside({b_, hq_, s_, d_}, kBfloat16);
    graph_.multiply(x, other, terms, of_documents);
    graph_.reduce(kSum, terms, y);
    return g_.ragged ? terms : 0;
  }

  const Geometry g_;
  GraphBuilder graph_;
  Attention a_;
  std::int64_t b_, s_, hq_, hk_, d_, row_;
};

}  // namespace

Geometry geometry_of(const PackedBatch& batch, const AttentionShape& shape, bool gradient) {
  Geometry g = {true, 0, 0, shape.query_heads, shape.key_value_heads, shape.head_dimension, gradient};
  if (batch.longest > 0 && batch.longest % kTile == 0 && batch.longest * batch.documents == batch.tokens) {
    g.ragged = false;
    g.batch = batch.documents;
    g.length = batch.longest;
  } else {
    g.batch = rounded_count(batch.documents);
    g.length = rounded_length(batch.longest > 0 ? std::min(batch.longest, batch.tokens) : batch.tokens);
  }
  return g;
}

Attention attention_graph(const Library& library, Handle handle, const Geometry& geometry) {
  Recipe recipe(library, handle, geometry);
  return geometry.gradient ? recipe.backward() : recipe.forward();
}

}  // namespace xgen::cuda::cudnn
