// Splits attention over a packed batch into tasks and runs them, the longest first.
#include <algorithm>
#include <vector>

#include "chunks.h"
#include "xgen/memory.h"
#include "xgen/operations.h"

namespace xgen {

namespace {

// Documents up to this length get their gradients in one pass (5 products a block); longer ones are cut by keys and by queries
// into two passes (7 products a block), because a pass over a whole document is one task.
constexpr std::size_t kOnePassLength = 1024;
constexpr std::size_t kGradKeys = 4 * kAttentionKeys;

struct Piece {
  std::size_t document, head, begin, end, cost;
  bool queries;  // of a gradient: this piece computes d_queries only
};

void longest_first(std::vector<Piece>& pieces) {
  std::stable_sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.cost > b.cost; });
}

std::size_t length_of(const std::int32_t* cumulative, std::size_t document) {
  return static_cast<std::size_t>(cumulative[document + 1] - cumulative[document]);
}

}  // namespace

void attention(const float* qkv, const std::int32_t* cumulative, std::size_t documents, float* out, float* log_sum_exp,
               std::size_t tokens, const AttentionShape& shape) {
  check_cumulative("cumulativeLengths", cumulative, documents + 1, tokens);
  const KernelTable& t = kernels();
  const std::size_t hd = shape.head_dimension, group = shape.group(), row = shape.row(), out_row = shape.query_heads * hd;
  std::vector<Piece> pieces;
  for (std::size_t d = 0; d < documents; d++) {
    const std::size_t length = length_of(cumulative, d);
    for (std::size_t q = 0; q < length; q += kAttentionQueries) {
      const std::size_t end = std::min(length, q + kAttentionQueries);
      for (std::size_t h = 0; h < shape.key_value_heads; h++) pieces.push_back({d, h, q, end, (end - q) * end, true});
    }
  }
  longest_first(pieces);
  parallel_for(pieces.size(), [&](std::size_t i) {
    const Piece& p = pieces[i];
    const std::size_t first = static_cast<std::size_t>(cumulative[p.document]), query = first + p.begin;
    const float* keys = qkv + first * row + (shape.query_heads + p.head) * hd;
    AttentionTask task;
    task.heads = {group, hd, shape.scale};
    task.rows = {keys, keys + shape.key_value_heads * hd, static_cast<std::ptrdiff_t>(row), nullptr, 0};
    task.queries = qkv + query * row + p.head * group * hd;
    task.query_stride = static_cast<std::ptrdiff_t>(row);
    task.q0 = p.begin;
    task.q1 = p.end;
    task.k0 = 0;
    task.k1 = p.end;
    task.out = out + query * out_row + p.head * group * hd;
    task.out_stride = static_cast<std::ptrdiff_t>(out_row);
    task.log_sum_exp = log_sum_exp + query * shape.query_heads + p.head * group;
    task.log_sum_exp_stride = static_cast<std::ptrdiff_t>(shape.query_heads);
    task.partial = nullptr;
    t.attention(task);
  });
}

void attention_grad(const float* qkv, const std::int32_t* cumulative, std::size_t documents, const float* out,
                    const float* log_sum_exp, const float* dy, float* d_qkv, std::size_t tokens, const AttentionShape& shape) {
  check_cumulative("cumulativeLengths", cumulative, documents + 1, tokens);
  const KernelTable& t = kernels();
  const std::size_t hd = shape.head_dimension, group = shape.group(), row = shape.row(), out_row = shape.query_heads * hd;
  float* delta = thread_scratch(ScratchSlot::operation).reserve_array<float>(tokens * shape.query_heads);
  parallel_chunks(tokens * shape.query_heads, row_chunk(hd), [&](std::size_t begin, std::size_t end) {
    t.row_dots(dy + begin * hd, out + begin * hd, delta + begin, end - begin, hd);
  });

  std::vector<Piece> pieces;
  for (std::size_t d = 0; d < documents; d++) {
    const std::size_t length = length_of(cumulative, d);
    if (length == 0) continue;
    for (std::size_t h = 0; h < shape.key_value_heads; h++) {
      if (length <= kOnePassLength) {
        pieces.push_back({d, h, 0, length, length * length * 5 / 2, false});
        continue;
      }
      for (std::size_t k = 0; k < length; k += kGradKeys) {
        const std::size_t end = std::min(length, k + kGradKeys);
        pieces.push_back({d, h, k, end, (end - k) * (length - k) * 4, false});
      }
      for (std::size_t q = 0; q < length; q += kAttentionQueries) {
        const std::size_t end = std::min(length, q + kAttentionQueries);
        pieces.push_back({d, h, q, end, (end - q) * end * 3, true});
      }
    }
  }
  longest_first(pieces);
  parallel_for(pieces.size(), [&](std::size_t i) {
    const Piece& p = pieces[i];
    const std::size_t first = static_cast<std::size_t>(cumulative[p.document]), length = length_of(cumulative, p.document);
    const std::size_t queries = first * row + p.head * group * hd;
    const std::size_t keys = first * row + (shape.query_heads + p.head) * hd, values = keys + shape.key_value_heads * hd;
    const std::size_t statistics = first * shape.query_heads + p.head * group;
    const bool one_pass = length <= kOnePassLength;
    AttentionGradTask task;
    task.heads = {group, hd, shape.scale};
    task.queries = qkv + queries;
    task.keys = qkv + keys;
    task.values = qkv + values;
    task.dy = dy + first * out_row + p.head * group * hd;
    task.log_sum_exp = log_sum_exp + statistics;
    task.delta = delta + statistics;
    task.qkv_stride = static_cast<std::ptrdiff_t>(row);
    task.out_stride = static_cast<std::ptrdiff_t>(out_row);
    task.row_stat_stride = static_cast<std::ptrdiff_t>(shape.query_heads);
    task.d_queries = one_pass || p.queries ? d_qkv + queries : nullptr;
    task.d_keys = p.queries ? nullptr : d_qkv + keys;
    task.d_values = p.queries ? nullptr : d_qkv + values;
    task.length = length;
    task.begin = p.begin;
    task.end = p.end;
    if (p.queries) {
      t.attention_grad_queries(task);
    } else {
      t.attention_grad(task);
    }
  });
}

}  // namespace xgen
