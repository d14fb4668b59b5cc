// The graphs of attention that cuDNN 9 knows by their shape, and their memory.
//
// Documents of one length that is a multiple of 128 are a dense batch. Others are ragged: lengths, and where each document's rows start in
// each array, lie in device memory (kernels/ragged.cu makes them of the cumulative lengths), so that a plan serves every batch of as many or
// fewer documents that are no longer. Both counts are rounded up, so that few plans are made. cuDNN's ragged gradient takes one set of
// places for an input, its gradient, and the sums and terms that lead to it: so queries, keys and values are taken apart before, and their
// gradients put together after it, at the price of reading and writing each twice.
#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

#include "graph_cudnn.h"
#include "xgen/cuda/fused_attention.h"
#include "xgen/cuda/ragged.h"
#include "xgen/cuda/runtime.h"
#include "xgen/error.h"

namespace xgen::cuda {

namespace {

using cudnn::Binding;
using cudnn::GraphBuilder;
using cudnn::Library;
using cudnn::Plan;
using cudnn::Sizes;
using cudnn::TensorNumber;
using cudnn::TensorOptions;
using Heads = SeparateHeads;

constexpr std::size_t kTile = 128;

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

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

// What a plan is made for.
struct Geometry {
  bool ragged;
  std::size_t batch, length;  // of the longest
  std::size_t query_heads, key_value_heads, head_dimension;
  bool gradient;
  auto key() const { return std::make_tuple(ragged, batch, length, query_heads, key_value_heads, head_dimension, gradient); }
};

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

// The tensors of a graph that are bound to memory.
struct Attention {
  std::optional<Plan> plan;
  TensorNumber query = 0, key = 0, value = 0, out = 0, statistics = 0, scale = 0, minus_infinity = 0;
  TensorNumber query_lengths = 0, key_lengths = 0, row_offsets = 0, out_offsets = 0, key_offsets = 0, statistics_offsets = 0;
  TensorNumber dy = 0, d_query = 0, d_key = 0, d_value = 0, delta = 0, query_sums = 0, key_sums = 0, value_sums = 0, one = 0;
};

// Makes both graphs: what they share first.
class Recipe {
 public:
  Recipe(const Library& library, cudnn::Handle handle, const Geometry& geometry) : g_(geometry), graph_(library, handle) {
    b_ = static_cast<std::int64_t>(g_.batch);
    s_ = static_cast<std::int64_t>(g_.length);
    hq_ = static_cast<std::int64_t>(g_.query_heads);
    hk_ = static_cast<std::int64_t>(g_.key_value_heads);
    d_ = static_cast<std::int64_t>(g_.head_dimension);
    row_ = (hq_ + 2 * hk_) * d_;
    if (g_.ragged) {
      const TensorOptions lengths = {cudnn::kInt32, false}, offsets = {cudnn::kInt64, false};
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
    graph_.reduce(cudnn::kMaximum, scores, largest);
    const TensorNumber weights = graph_.pointwise(cudnn::kExponential, graph_.pointwise(cudnn::kSubtract, scores, largest));
    graph_.reduce(cudnn::kSum, weights, sum);
    a_.statistics = statistics();
    graph_.pointwise(cudnn::kAdd, largest, graph_.pointwise(cudnn::kLogarithm, sum), -1, cudnn::kFloat32, cudnn::kFloat32, a_.statistics);
    const TensorNumber shares = graph_.pointwise(cudnn::kDivide, weights, sum, -1, cudnn::kBfloat16);
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
    const TensorNumber products = graph_.pointwise(cudnn::kMultiply, a_.dy, a_.out);
    const TensorNumber sum = column();
    graph_.reduce(cudnn::kSum, products, sum);
    a_.delta = statistics();
    graph_.pointwise(cudnn::kMultiply, sum, a_.one, -1, cudnn::kFloat32, cudnn::kFloat32, a_.delta);

    TensorNumber scores = scaled_scores();
    if (g_.ragged) scores = padded(scores);
    scores = causal(graph_.pointwise(cudnn::kSubtract, scores, a_.statistics));
    const TensorNumber weights = graph_.pointwise(cudnn::kExponential, scores);
    a_.d_value = heads_of(hk_, a_.key_offsets);
    a_.value_sums = gradient_of_keys(graph_.transposed(weights, cudnn::kBfloat16), a_.dy, a_.d_value);

    const TensorNumber d_weights = inside_scores();
    graph_.multiply(a_.dy, a_.value, d_weights, extents(Side::queries, Side::keys, Side::none));
    TensorNumber d_scores = graph_.pointwise(cudnn::kSubtract, d_weights, a_.delta);
    d_scores = graph_.pointwise(cudnn::kMultiply, d_scores, weights);
    d_scores = graph_.pointwise(cudnn::kMultiply, d_scores, a_.scale);
    a_.d_key = heads_of(hk_, a_.key_offsets);
    a_.key_sums = gradient_of_keys(graph_.transposed(d_scores, cudnn::kBfloat16), a_.query, a_.d_key);

    const TensorNumber keys = graph_.viewed(a_.key, {b_, hk_, s_, d_}, {s_ * key_row(), d_, key_row(), 1}, {cudnn::kBfloat16, true, false, offsets(a_.key_offsets)});
    a_.query_sums = g_.ragged ? graph_.tensor({b_, hq_, s_, d_}, {s_ * hq_ * d_, d_, hq_ * d_, 1}, {cudnn::kFloat32, false, false, a_.out_offsets})
                              : graph_.tensor({b_, hq_, s_, d_}, {hq_ * s_ * d_, s_ * d_, d_, 1}, {cudnn::kFloat32, false});
    graph_.multiply(d_scores, keys, a_.query_sums, extents(Side::queries, Side::none, Side::keys));
    a_.d_query = heads_of(hq_, a_.out_offsets);
    graph_.pointwise(cudnn::kIdentity, a_.query_sums, -1, -1, cudnn::kFloat32, cudnn::kFloat32, a_.d_query);
    a_.plan = graph_.build();
    return std::move(a_);
  }

 private:
  enum class Side { none, queries, keys };

  TensorNumber offsets(TensorNumber tensor) const { return g_.ragged ? tensor : -1; }
  TensorOptions bound(TensorNumber offset_tensor, int type = cudnn::kBfloat16) const { return {type, false, false, offsets(offset_tensor)}; }
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
    return graph_.tensor({b_, hq_, s_, 1}, {s_ * hq_, 1, hq_, 1}, bound(a_.statistics_offsets, cudnn::kFloat32));
  }
  TensorNumber column() { return graph_.inside({b_, hq_, s_, 1}); }
  TensorNumber inside_scores() { return graph_.inside({b_, hq_, s_, s_}); }

  TensorNumber scaled_scores() {
    a_.scale = graph_.number();
    a_.minus_infinity = graph_.number();
    const TensorNumber scores = inside_scores();
    graph_.multiply(a_.query, a_.key, scores, extents(Side::queries, Side::keys, Side::none, !g_.gradient));
    return graph_.pointwise(cudnn::kMultiply, scores, a_.scale);
  }

  // What lies beyond a document's end, and keys after their query, weigh nothing.
  TensorNumber masked(TensorNumber scores) { return causal(g_.ragged ? padded(scores) : scores); }
  TensorNumber padded(TensorNumber scores) {
    const TensorNumber rows = graph_.index(scores, 2, cudnn::kInt32), columns = graph_.index(scores, 3, cudnn::kInt32);
    const TensorNumber row_counts = graph_.pointwise(cudnn::kLess, rows, a_.query_lengths, -1, cudnn::kBoolean, cudnn::kBoolean);
    const TensorNumber column_counts = graph_.pointwise(cudnn::kLess, columns, a_.key_lengths, -1, cudnn::kBoolean, cudnn::kBoolean);
    const TensorNumber counts = graph_.pointwise(cudnn::kAnd, row_counts, column_counts, -1, cudnn::kBoolean, cudnn::kBoolean);
    return graph_.pointwise(cudnn::kSelect, scores, a_.minus_infinity, counts);
  }
  TensorNumber causal(TensorNumber scores) {
    const TensorNumber rows = graph_.index(scores, 2, cudnn::kFloat32), columns = graph_.index(scores, 3, cudnn::kFloat32);
    const TensorNumber seen = graph_.pointwise(cudnn::kGreaterEqual, rows, columns, -1, cudnn::kBoolean, cudnn::kBoolean);
    return graph_.pointwise(cudnn::kSelect, scores, a_.minus_infinity, seen);
  }

  // y = x * other, summed over the query heads that share a key head; returns what holds the sums' terms, or 0.
  TensorNumber gradient_of_keys(TensorNumber x, TensorNumber other, TensorNumber y) {
    const GraphBuilder::Extents of_documents = extents(Side::keys, Side::none, Side::queries);
    if (hq_ == hk_) {
      graph_.multiply(x, other, y, of_documents);
      return 0;
    }
    const TensorNumber terms = g_.ragged ? graph_.tensor({b_, hq_, s_, d_}, {s_ * hq_ * d_, d_, hq_ * d_, 1}, bound(a_.key_offsets))
                                         : graph_.inside({b_, hq_, s_, d_}, cudnn::kBfloat16);
    graph_.multiply(x, other, terms, of_documents);
    graph_.reduce(cudnn::kSum, terms, y);
    return g_.ragged ? terms : 0;
  }

  const Geometry g_;
  GraphBuilder graph_;
  Attention a_;
  std::int64_t b_, s_, hq_, hk_, d_, row_;
};

// Hands out pieces of a workspace, or only counts them.
class Pieces {
 public:
  explicit Pieces(void* workspace) : workspace_(static_cast<char*>(workspace)) {}
  void* take(std::size_t bytes) {
    void* piece = workspace_ == nullptr ? nullptr : workspace_ + used_;
    used_ += aligned(bytes);
    return piece;
  }
  std::size_t used() const { return used_; }

 private:
  char* workspace_;
  std::size_t used_ = 0;
};

// Where the heads of the first row start.
Heads heads_in_rows(void* qkv, const AttentionShape& shape) {
  auto* const rows = static_cast<std::uint16_t*>(qkv);
  std::uint16_t* const key = rows + shape.query_heads * shape.head_dimension;
  return {rows, key, key + shape.key_value_heads * shape.head_dimension};
}

struct Layout {
  RaggedOffsets offsets = {};
  void *delta, *query_sums, *key_sums, *value_sums, *plan;
  Heads heads, gradients;  // of ragged documents, apart
};

Layout lay_out(Pieces& pieces, const Attention& attention, const Geometry& g, std::size_t tokens) {
  Layout l = {};
  if (g.ragged) {
    l.offsets.lengths = static_cast<std::int32_t*>(pieces.take(g.batch * sizeof(std::int32_t)));
    for (std::int64_t** list : {&l.offsets.rows, &l.offsets.out, &l.offsets.keys, &l.offsets.statistics}) {
      *list = static_cast<std::int64_t*>(pieces.take((g.batch + 1) * sizeof(std::int64_t)));
    }
  }
  if (g.gradient) {
    const std::size_t heads = tokens * g.query_heads, elements = heads * g.head_dimension;
    l.delta = pieces.take(heads * sizeof(float));
    l.query_sums = pieces.take(elements * sizeof(float));
    if (attention.key_sums != 0) l.key_sums = pieces.take(elements * sizeof(float));
    if (attention.value_sums != 0) l.value_sums = pieces.take(elements * sizeof(float));
    if (g.ragged) {
      const std::size_t key_bytes = tokens * g.key_value_heads * g.head_dimension * 2;
      for (Heads* heads : {&l.heads, &l.gradients}) *heads = {pieces.take(elements * 2), pieces.take(key_bytes), pieces.take(key_bytes)};
    }
  }
  l.plan = pieces.take(std::max<std::size_t>(attention.plan->workspace_bytes, 1));
  return l;
}

}  // namespace

struct FusedAttention::State {
  const Library& library;
  cudnn::Handle handle = nullptr;
  std::map<decltype(Geometry{}.key()), Attention> known;

  bool started = false;

  explicit State(const Library& opened) : library(opened) {}
  ~State() {
    known.clear();
    if (handle != nullptr) library.destroy(handle);
  }

  Attention& attention(const Geometry& g) {
    if (!started && library.create(&handle) != 0) handle = nullptr;
    started = true;
    const auto [entry, added] = known.try_emplace(g.key());
    if (added && handle != nullptr) {
      try {
        Recipe recipe(library, handle, g);
        entry->second = g.gradient ? recipe.backward() : recipe.forward();
      } catch (const Error& error) {
        if (error.code() != "CUDNN_UNSUPPORTED") {
          known.erase(entry);
          throw;
        }
      }
    }
    return entry->second;
  }

  // Everything that both directions bind, and the offsets of ragged documents.
  Layout prepare(Stream stream, const Attention& a, const Geometry& g, const PackedBatch& batch, const AttentionShape& shape, void* workspace,
                 std::vector<Binding>& bindings, ErrorFlag* error) {
    Pieces pieces(workspace);
    const Layout layout = lay_out(pieces, a, g, batch.tokens);
    if (g.ragged) {
      ragged_offsets(stream, batch.cumulative, batch.documents, g.batch, batch.tokens, shape, layout.offsets, error);
      bindings.push_back({a.query_lengths, layout.offsets.lengths});
      bindings.push_back({a.key_lengths, layout.offsets.lengths});
      if (!g.gradient) bindings.push_back({a.row_offsets, layout.offsets.rows});
      bindings.push_back({a.out_offsets, layout.offsets.out});
      if (g.gradient) bindings.push_back({a.key_offsets, layout.offsets.keys});
      bindings.push_back({a.statistics_offsets, layout.offsets.statistics});
    }
    if (library.set_stream(handle, stream) != 0) throw Error("CUDNN_FAILURE", "cuDNN does not take the stream.");
    return layout;
  }
};

FusedAttentionLibrary probe_fused_attention() noexcept {
  try {
    std::string failure;
    const Library* library = cudnn::open(&failure);
    if (library == nullptr) return {false, "cuDNN 9 cannot be opened (" + failure + ")"};
    const std::size_t version = library->version;
    return {true, "cuDNN " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." + std::to_string(version % 100)};
  } catch (...) {
    return {false, "cuDNN cannot be asked for"};
  }
}

FusedAttention::FusedAttention() {
  const Library* library = cudnn::open(nullptr);
  if (library != nullptr) state_ = std::make_unique<State>(*library);
}
FusedAttention::~FusedAttention() = default;

bool FusedAttention::takes(const PackedBatch& batch, const AttentionShape& shape, bool gradient, std::size_t* workspace_bytes) {
  const bool known_to_work = shape.head_dimension == 64 || shape.head_dimension == 128;
  if (state_ == nullptr || batch.tokens == 0 || batch.documents == 0 || !known_to_work) return false;
  const Geometry g = geometry_of(batch, shape, gradient);
  const Attention& attention = state_->attention(g);
  if (!attention.plan.has_value()) return false;
  Pieces pieces(nullptr);
  lay_out(pieces, attention, g, batch.tokens);
  *workspace_bytes = pieces.used();
  return true;
}

void FusedAttention::forward(Stream stream, const void* qkv, const PackedBatch& batch, void* out, float* log_sum_exp, const AttentionShape& shape,
                             void* workspace, ErrorFlag* error) {
  const Geometry g = geometry_of(batch, shape, false);
  const Attention& a = state_->attention(g);
  std::vector<Binding> bindings;
  const Layout layout = state_->prepare(stream, a, g, batch, shape, workspace, bindings, error);
  const Heads heads = heads_in_rows(const_cast<void*>(qkv), shape);
  const float minus_infinity = -std::numeric_limits<float>::infinity();
  bindings.push_back({a.query, heads.query});
  bindings.push_back({a.key, heads.key});
  bindings.push_back({a.value, heads.value});
  bindings.push_back({a.out, out});
  bindings.push_back({a.statistics, log_sum_exp});
  bindings.push_back({a.scale, &shape.scale});
  bindings.push_back({a.minus_infinity, &minus_infinity});
  execute(state_->library, state_->handle, *a.plan, bindings, layout.plan);
}

void FusedAttention::backward(Stream stream, const void* qkv, const PackedBatch& batch, const void* out, const float* log_sum_exp, const void* dy,
                              void* d_qkv, const AttentionShape& shape, void* workspace, ErrorFlag* error) {
  const Geometry g = geometry_of(batch, shape, true);
  const Attention& a = state_->attention(g);
  std::vector<Binding> bindings;
  const Layout layout = state_->prepare(stream, a, g, batch, shape, workspace, bindings, error);
  Heads heads = layout.heads, gradients = layout.gradients;
  if (g.ragged) {
    unpack_rows(stream, qkv, heads, batch.tokens, shape);
  } else {
    heads = heads_in_rows(const_cast<void*>(qkv), shape);
    gradients = heads_in_rows(d_qkv, shape);
  }
  const float one = 1, minus_infinity = -std::numeric_limits<float>::infinity();
  bindings.push_back({a.query, heads.query});
  bindings.push_back({a.key, heads.key});
  bindings.push_back({a.value, heads.value});
  bindings.push_back({a.out, out});
  bindings.push_back({a.dy, dy});
  bindings.push_back({a.statistics, log_sum_exp});
  bindings.push_back({a.scale, &shape.scale});
  bindings.push_back({a.minus_infinity, &minus_infinity});
  bindings.push_back({a.one, &one});
  bindings.push_back({a.d_query, gradients.query});
  bindings.push_back({a.d_key, gradients.key});
  bindings.push_back({a.d_value, gradients.value});
  bindings.push_back({a.delta, layout.delta});
  bindings.push_back({a.query_sums, layout.query_sums});
  if (a.key_sums != 0) bindings.push_back({a.key_sums, layout.key_sums});
  if (a.value_sums != 0) bindings.push_back({a.value_sums, layout.value_sums});
  execute(state_->library, state_->handle, *a.plan, bindings, layout.plan);
  if (g.ragged) pack_rows(stream, gradients, d_qkv, batch.tokens, shape);
}

}  // namespace xgen::cuda
