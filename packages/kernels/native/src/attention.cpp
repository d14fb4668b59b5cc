// Splits attention over a packed batch into tasks and runs them, the longest first.
#include <algorithm>
#include <vector>

#include "chunks.h"
#include "xgen/memory.h"
#include "xgen/operations.h"

namespace xgen {

namespace {

// Documents up to this length always get their gradients in one pass.
constexpr std::size_t kOnePassLength = 1024;
constexpr std::size_t kGradKeys = 4 * kAttentionKeys;
constexpr std::size_t kWays = 8;  // how many ways work should split evenly

struct Piece {
  std::size_t document, head, begin, end, cost;
  bool queries;  // of a gradient: this piece computes d_queries only
};

// How gradients are cut into tasks. A pass over a whole document costs 5 products a block but is one task for each head; cut by
// keys and by queries into two passes it costs 7. The choice depends on the shape of the batch alone.
enum class GradPlan {
  by_key_head,    // one pass, a task a key-value head
  by_query_head,  // one pass, a task a query head; keys' and values' gradients of a group are added afterwards
  two_passes,     // of the documents longer than kOnePassLength
};

void longest_first(std::vector<Piece>& pieces) {
  std::stable_sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.cost > b.cost; });
}

std::size_t length_of(const std::int32_t* cumulative, std::size_t document) {
  return static_cast<std::size_t>(cumulative[document + 1] - cumulative[document]);
}

GradPlan plan_grad(const std::int32_t* cumulative, std::size_t documents, const AttentionShape& shape) {
  std::size_t longest = 0, total = 0;
  for (std::size_t d = 0; d < documents; d++) {
    const std::size_t length = length_of(cumulative, d);
    longest = std::max(longest, length);
    total += length * length;
  }
  const std::size_t even = longest * longest * kWays;
  if (total * shape.key_value_heads >= even) return GradPlan::by_key_head;
  if (total * shape.query_heads >= even && shape.group() > 1) return GradPlan::by_query_head;
  return longest <= kOnePassLength ? GradPlan::by_key_head : GradPlan::two_passes;
}

std::vector<Piece> grad_pieces(const std::int32_t* cumulative, std::size_t documents, const AttentionShape& shape, GradPlan plan) {
  std::vector<Piece> pieces;
  const std::size_t heads = plan == GradPlan::by_query_head ? shape.query_heads : shape.key_value_heads;
  for (std::size_t d = 0; d < documents; d++) {
    const std::size_t length = length_of(cumulative, d);
    if (length == 0) continue;
    for (std::size_t h = 0; h < heads; h++) {
      if (plan != GradPlan::two_passes || length <= kOnePassLength) {
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
  return pieces;
}

// Keys' and values' gradients: the sum over the query heads of a group, in order.
void add_groups(const KernelTable& t, const float* partial, float* d_qkv, std::size_t tokens, const AttentionShape& shape) {
  const std::size_t hd = shape.head_dimension, group = shape.group(), row = shape.row();
  parallel_chunks(tokens, row_chunk(row), [&](std::size_t begin, std::size_t end) {
    for (std::size_t token = begin; token < end; token++) {
      for (std::size_t head = 0; head < shape.query_heads; head++) {
        const float* source = partial + (head * tokens + token) * 2 * hd;
        float* d_key = d_qkv + token * row + (shape.query_heads + head / group) * hd;
        float* d_value = d_key + shape.key_value_heads * hd;
        if (head % group == 0) {
          std::copy_n(source, hd, d_key);
          std::copy_n(source + hd, hd, d_value);
        } else {
          t.add_to(d_key, source, hd);
          t.add_to(d_value, source + hd, hd);
        }
      }
    }
  });
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
    task.heads = {1, group, hd, shape.scale};
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
  const GradPlan plan = plan_grad(cumulative, documents, shape);
  const bool split_heads = plan == GradPlan::by_query_head;
  // delta, then, when heads are split, [query head][token] of a key's and a value's gradient.
  const std::size_t statistics = tokens * shape.query_heads;
  float* delta =
      thread_scratch(ScratchSlot::operation).reserve_array<float>(statistics * (split_heads ? 1 + 2 * hd : 1));
  float* partial = delta + statistics;
  parallel_chunks(statistics, row_chunk(hd), [&](std::size_t begin, std::size_t end) {
    t.row_dots(dy + begin * hd, out + begin * hd, delta + begin, end - begin, hd);
  });

  const std::vector<Piece> pieces = grad_pieces(cumulative, documents, shape, plan);
  parallel_for(pieces.size(), [&](std::size_t i) {
    const Piece& p = pieces[i];
    const std::size_t first = static_cast<std::size_t>(cumulative[p.document]), length = length_of(cumulative, p.document);
    const std::size_t key_head = split_heads ? p.head / group : p.head, query_head = split_heads ? p.head : p.head * group;
    const std::size_t queries = first * row + query_head * hd;
    const std::size_t keys = first * row + (shape.query_heads + key_head) * hd, values = keys + shape.key_value_heads * hd;
    const bool whole = p.begin == 0 && p.end == length && !p.queries;
    AttentionGradTask task;
    task.heads = {1, split_heads ? 1 : group, hd, shape.scale};
    task.queries = qkv + queries;
    task.keys = qkv + keys;
    task.values = qkv + values;
    task.dy = dy + first * out_row + query_head * hd;
    task.log_sum_exp = log_sum_exp + first * shape.query_heads + query_head;
    task.delta = delta + first * shape.query_heads + query_head;
    task.qkv_stride = static_cast<std::ptrdiff_t>(row);
    task.out_stride = static_cast<std::ptrdiff_t>(out_row);
    task.row_stat_stride = static_cast<std::ptrdiff_t>(shape.query_heads);
    task.d_queries = whole || p.queries ? d_qkv + queries : nullptr;
    task.d_keys = p.queries ? nullptr : split_heads ? partial + (p.head * tokens + first) * 2 * hd : d_qkv + keys;
    task.d_values = p.queries ? nullptr : split_heads ? task.d_keys + hd : d_qkv + values;
    task.d_key_stride = static_cast<std::ptrdiff_t>(split_heads ? 2 * hd : row);
    task.length = length;
    task.begin = p.begin;
    task.end = p.end;
    if (p.queries) {
      t.attention_grad_queries(task);
    } else {
      t.attention_grad(task);
    }
  });
  if (split_heads) add_groups(t, partial, d_qkv, tokens, shape);
}

}  // namespace xgen
