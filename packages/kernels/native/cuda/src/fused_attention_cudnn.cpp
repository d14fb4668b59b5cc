// Attention by cuDNN: plans by what they are made for (attention_graph_cudnn.h), and what they are bound to.
#include <algorithm>
#include <limits>
#include <map>

#include "attention_graph_cudnn.h"
#include "xgen/cuda/ragged.h"
#include "xgen/cuda/runtime.h"
#include "xgen/error.h"

namespace xgen::cuda {

namespace {

using cudnn::Attention;
using cudnn::Binding;
using cudnn::Geometry;
using cudnn::Library;
using Heads = SeparateHeads;

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

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
      for (Heads* apart : {&l.heads, &l.gradients}) *apart = {pieces.take(elements * 2), pieces.take(key_bytes), pieces.take(key_bytes)};
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
        entry->second = cudnn::attention_graph(library, handle, g);
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
  const Geometry g = cudnn::geometry_of(batch, shape, gradient);
  const Attention& attention = state_->attention(g);
  if (!attention.plan.has_value()) return false;
  Pieces pieces(nullptr);
  lay_out(pieces, attention, g, batch.tokens);
  *workspace_bytes = pieces.used();
  return true;
}

void FusedAttention::forward(Stream stream, const void* qkv, const PackedBatch& batch, void* out, float* log_sum_exp, const AttentionShape& shape,
                             void* workspace, ErrorFlag* error) {
  const Geometry g = cudnn::geometry_of(batch, shape, false);
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
  const Geometry g = cudnn::geometry_of(batch, shape, true);
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
