// The paged key-value cache: appending to it, and attention of new tokens over it (PagedAttention, Kwon et al. 2023). Long
// contexts are cut into segments that run side by side and are merged in order, as the training kernel merges them: a
// token's output is bit-identical to the one a single pass over the whole sequence gives.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "chunks.h"
#include "xgen/error.h"
#include "xgen/memory.h"
#include "xgen/operations.h"

namespace xgen {

namespace {

struct Piece {
  std::size_t sequence, head, heads, q0, q1, k0, k1;  // `heads` key-value heads from `head` on
  float* partial;  // null: the piece sees all its keys
};

std::size_t partial_size(const Piece& p, const AttentionShape& shape) {
  return (p.q1 - p.q0) * p.heads * shape.group() * (shape.head_dimension + 2);
}

void check_batch(const PagedBatch& batch, std::size_t tokens) {
  check_cumulative("cumulativeQueryLengths", batch.cumulative_query_lengths, batch.sequences + 1, tokens);
  const std::size_t cache_blocks = batch.cache_rows / batch.block_size;
  for (std::size_t s = 0; s < batch.sequences; s++) {
    const std::int64_t queries = batch.cumulative_query_lengths[s + 1] - batch.cumulative_query_lengths[s];
    const std::int64_t context = batch.context_lengths[s];
    const std::int64_t room = static_cast<std::int64_t>(batch.max_blocks * batch.block_size);
    if (context < queries || context > room) {
      throw Error("INVALID_LENGTHS", "contextLengths[" + std::to_string(s) + "] is " + std::to_string(context) + ", outside " +
                                         std::to_string(queries) + " (its new tokens) … " + std::to_string(room) +
                                         " (maxBlocks * blockSize).");
    }
    if (queries == 0) continue;
    const std::size_t used = chunk_count(static_cast<std::size_t>(context), batch.block_size);
    check_indices(("blockTables of sequence " + std::to_string(s)).c_str(), batch.block_tables + s * batch.max_blocks, used,
                  static_cast<std::int64_t>(cache_blocks));
  }
}

// A decode step's few rows: long contexts are cut by segments, and neighbouring heads are done together where there is enough to do
// anyway, since the cache holds them side by side. Prefill has query blocks enough to share out.
constexpr std::size_t kFewQueries = 8;

std::vector<Piece> pieces_of(const PagedBatch& batch, const AttentionShape& shape) {
  std::vector<Piece> pieces;
  const std::size_t heads = shape.key_value_heads;
  const std::size_t enough = 4 * static_cast<std::size_t>(thread_count());
  const std::size_t together = std::clamp<std::size_t>(batch.sequences * heads / enough, 1, heads);
  std::size_t partial_floats = 0;
  for (std::size_t s = 0; s < batch.sequences; s++) {
    const std::size_t queries =
        static_cast<std::size_t>(batch.cumulative_query_lengths[s + 1] - batch.cumulative_query_lengths[s]);
    const std::size_t start = static_cast<std::size_t>(batch.context_lengths[s]) - queries;
    const bool few = queries <= kFewQueries;
    for (std::size_t q = 0; q < queries; q += kAttentionQueries) {
      const std::size_t q0 = start + q, q1 = start + std::min(queries, q + kAttentionQueries);
      const bool split = few && q1 > kAttentionSegment;
      for (std::size_t h = 0; h < heads; h += few ? together : 1) {
        const std::size_t count = few ? std::min(together, heads - h) : 1;
        for (std::size_t k = 0; k < q1; k += split ? kAttentionSegment : q1) {
          pieces.push_back({s, h, count, q0, q1, k, split ? std::min(q1, k + kAttentionSegment) : q1, nullptr});
          if (split) partial_floats += partial_size(pieces.back(), shape);
        }
      }
    }
  }
  float* partial = partial_floats == 0 ? nullptr : thread_scratch(ScratchSlot::operation).reserve_array<float>(partial_floats);
  for (Piece& p : pieces) {
    if (p.k0 == 0 && p.k1 == p.q1) continue;
    p.partial = partial;
    partial += partial_size(p, shape);
  }
  return pieces;
}

}  // namespace

void paged_cache_append(float* key_cache, float* value_cache, std::size_t cache_rows, const float* qkv,
                        const std::int32_t* slots, std::size_t tokens, const AttentionShape& shape) {
  check_indices("slots", slots, tokens, static_cast<std::int64_t>(cache_rows));
  const std::size_t width = shape.key_value_heads * shape.head_dimension, row = shape.row();
  // In order: if two tokens name one slot, the later one wins.
  for (std::size_t i = 0; i < tokens; i++) {
    const float* keys = qkv + i * row + shape.query_heads * shape.head_dimension;
    const std::size_t slot = static_cast<std::size_t>(slots[i]);
    std::memcpy(key_cache + slot * width, keys, width * sizeof(float));
    std::memcpy(value_cache + slot * width, keys + width, width * sizeof(float));
  }
}

void paged_attention(const float* qkv, const float* key_cache, const float* value_cache, const PagedBatch& batch, float* out,
                     std::size_t tokens, const AttentionShape& shape) {
  check_batch(batch, tokens);
  const KernelTable& t = kernels();
  const std::size_t hd = shape.head_dimension, group = shape.group(), row = shape.row(), out_row = shape.query_heads * hd;
  const std::size_t partial_row = hd + 2;
  const std::vector<Piece> pieces = pieces_of(batch, shape);

  const auto first_token = [&](const Piece& p) {
    const std::size_t queries = static_cast<std::size_t>(batch.cumulative_query_lengths[p.sequence + 1]);
    return queries - (static_cast<std::size_t>(batch.context_lengths[p.sequence]) - p.q0);
  };
  parallel_for(pieces.size(), [&](std::size_t i) {
    const Piece& p = pieces[i];
    const std::size_t token = first_token(p);
    AttentionTask task;
    task.heads = {p.heads, group, hd, shape.scale};
    task.rows = {key_cache + p.head * hd, value_cache + p.head * hd,
                 static_cast<std::ptrdiff_t>(shape.key_value_heads * hd), batch.block_tables + p.sequence * batch.max_blocks,
                 batch.block_size};
    task.queries = qkv + token * row + p.head * group * hd;
    task.query_stride = static_cast<std::ptrdiff_t>(row);
    task.q0 = p.q0;
    task.q1 = p.q1;
    task.k0 = p.k0;
    task.k1 = p.k1;
    task.out = out + token * out_row + p.head * group * hd;
    task.out_stride = static_cast<std::ptrdiff_t>(out_row);
    task.log_sum_exp = nullptr;
    task.log_sum_exp_stride = 0;
    task.partial = p.partial;
    t.attention(task);
  });

  std::vector<const float*> parts;
  for (std::size_t i = 0; i < pieces.size();) {
    const Piece& p = pieces[i];
    if (p.partial == nullptr) {
      i++;
      continue;
    }
    std::size_t end = i + 1;
    while (end < pieces.size() && pieces[end].partial != nullptr && pieces[end].k0 > 0) end++;
    const std::size_t rows = p.q1 - p.q0, token = first_token(p);
    for (std::size_t head = 0; head < p.heads * group; head++) {
      for (std::size_t r = 0; r < rows; r++) {
        parts.clear();
        for (std::size_t s = i; s < end; s++) parts.push_back(pieces[s].partial + (head * rows + r) * partial_row);
        t.attention_merge(parts.data(), parts.size(), hd, out + (token + r) * out_row + (p.head * group + head) * hd, nullptr);
      }
    }
    i = end;
  }
}

}  // namespace xgen
