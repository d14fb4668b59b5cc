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
  std::size_t sequence, head, q0, q1, k0, k1;
  float* partial;  // null: the piece sees all its keys
};

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
  std::vector<Piece> pieces;
  std::size_t partial_floats = 0;
  const auto for_pieces = [&](float* partials) {
    pieces.clear();
    partial_floats = 0;
    for (std::size_t s = 0; s < batch.sequences; s++) {
      const std::size_t queries =
          static_cast<std::size_t>(batch.cumulative_query_lengths[s + 1] - batch.cumulative_query_lengths[s]);
      const std::size_t start = static_cast<std::size_t>(batch.context_lengths[s]) - queries;
      for (std::size_t q = 0; q < queries; q += kAttentionQueries) {
        const std::size_t q0 = start + q, q1 = start + std::min(queries, q + kAttentionQueries);
        // Prefill has query blocks enough to share out; a decode step's few rows are cut by segments instead.
        const bool split = queries <= 8 && q1 > kAttentionSegment;
        for (std::size_t h = 0; h < shape.key_value_heads; h++) {
          if (!split) {
            pieces.push_back({s, h, q0, q1, 0, q1, nullptr});
            continue;
          }
          for (std::size_t k = 0; k < q1; k += kAttentionSegment) {
            pieces.push_back({s, h, q0, q1, k, std::min(q1, k + kAttentionSegment),
                              partials == nullptr ? nullptr : partials + partial_floats});
            partial_floats += (q1 - q0) * group * partial_row;
          }
        }
      }
    }
  };
  for_pieces(nullptr);
  if (partial_floats > 0) for_pieces(thread_scratch(ScratchSlot::operation).reserve_array<float>(partial_floats));

  const auto first_token = [&](const Piece& p) {
    const std::size_t queries = static_cast<std::size_t>(batch.cumulative_query_lengths[p.sequence + 1]);
    return queries - (static_cast<std::size_t>(batch.context_lengths[p.sequence]) - p.q0);
  };
  parallel_for(pieces.size(), [&](std::size_t i) {
    const Piece& p = pieces[i];
    const std::size_t token = first_token(p);
    AttentionTask task;
    task.heads = {group, hd, shape.scale};
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
    for (std::size_t head = 0; head < group; head++) {
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
