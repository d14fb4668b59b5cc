#include "attention.h"

#include "small_matrix.h"
#include "xgen/memory.h"

namespace xgen::XGEN_VARIANT {

namespace {

constexpr float kMinusInfinity = -__builtin_inff();

XGEN_INLINE float exponential_of(float x) { return exponential(splat(x))[0]; }

XGEN_INLINE void scale_row(float* row, std::size_t count, float factor) {
  std::size_t i = 0;
  for (; i + kWidth <= count; i += kWidth) store(row + i, load(row + i) * factor);
  for (; i < count; i++) row[i] *= factor;
}

// Running maximum, sum of exponentials and weighted values of one query row.
struct RowState {
  float maximum;
  float sum;
};

// Scores of one row to probabilities relative to the new maximum; keys from `limit` on become 0. Returns the factor by
// which everything summed before has to shrink.
XGEN_INLINE float absorb_scores(float* scores, std::size_t limit, float scale, RowState& state) {
  const IntVec lane = lanes();
  Vec best = splat(kMinusInfinity);
  for (std::size_t i = 0; i < kAttentionKeys; i += kWidth) {
    const IntVec inside = lane < static_cast<std::int32_t>(limit) - static_cast<std::int32_t>(i);
    const Vec v = inside ? load(scores + i) * scale : splat(kMinusInfinity);
    store(scores + i, v);
    best = max_of(v, best);
  }
  const float block_maximum = max_lanes(best);
  const float maximum = block_maximum > state.maximum ? block_maximum : state.maximum;
  Vec sums = {};
  for (std::size_t i = 0; i < kAttentionKeys; i += kWidth) {
    const Vec p = exponential(load(scores + i) - maximum);
    store(scores + i, p);
    sums += p;
  }
  const float shrink = maximum == state.maximum ? 1.0f : exponential_of(state.maximum - maximum);
  state.sum = state.sum * shrink + sum_lanes(sums);
  state.maximum = maximum;
  return shrink;
}

// Folds a segment's result into the total of those before it.
XGEN_INLINE void merge_row(RowState& total, float* total_values, const RowState& part, const float* part_values,
                           std::size_t width) {
  const float maximum = total.maximum > part.maximum ? total.maximum : part.maximum;
  const float a = exponential_of(total.maximum - maximum), b = exponential_of(part.maximum - maximum);
  total.sum = total.sum * a + part.sum * b;
  total.maximum = maximum;
  std::size_t i = 0;
  for (; i + kWidth <= width; i += kWidth) store(total_values + i, load(total_values + i) * a + load(part_values + i) * b);
  for (; i < width; i++) total_values[i] = total_values[i] * a + part_values[i] * b;
}

XGEN_INLINE void finish_row(const RowState& state, const float* values, std::size_t width, float* out, float* log_sum_exp) {
  const float inverse = 1.0f / state.sum;
  std::size_t i = 0;
  for (; i + kWidth <= width; i += kWidth) store(out + i, load(values + i) * inverse);
  for (; i < width; i++) out[i] = values[i] * inverse;
  if (log_sum_exp != nullptr) *log_sum_exp = state.maximum + __builtin_logf(state.sum);
}

// Where keys and values of some positions are.
struct Rows {
  const float* keys;
  const float* values;
  std::ptrdiff_t stride;
};

XGEN_INLINE std::ptrdiff_t cache_offset(const KeyValueRows& rows, std::size_t position) {
  const std::size_t block = static_cast<std::size_t>(rows.block_table[position / rows.block_size]);
  return static_cast<std::ptrdiff_t>(block * rows.block_size + position % rows.block_size) * rows.stride;
}

XGEN_INLINE void copy_row(const float* source, float* target, std::size_t width) {
  std::size_t j = 0;
  for (; j + kWidth <= width; j += kWidth) store(target + j, load(source + j));
  for (; j < width; j++) target[j] = source[j];
}

// Positions k0 to k0 + count: in place, or gathered from a paged cache into `buffer` (2 x kAttentionKeys x width). A cache's rows
// are far apart: those needed soon, up to position `end`, are asked for in time.
Rows rows_at(const KeyValueRows& rows, std::size_t k0, std::size_t count, std::size_t end, std::size_t width, float* buffer) {
  if (rows.block_table == nullptr) {
    const std::ptrdiff_t offset = static_cast<std::ptrdiff_t>(k0) * rows.stride;
    return {rows.keys + offset, rows.values + offset, rows.stride};
  }
  constexpr std::size_t kAhead = 16, kLine = 16;
  float* values = buffer + kAttentionKeys * width;
  for (std::size_t i = 0; i < count; i++) {
    if (k0 + i + kAhead < end) {
      const std::ptrdiff_t soon = cache_offset(rows, k0 + i + kAhead);
      for (std::size_t j = 0; j < width; j += kLine) {
        __builtin_prefetch(rows.keys + soon + j);
        __builtin_prefetch(rows.values + soon + j);
      }
    }
    const std::ptrdiff_t offset = cache_offset(rows, k0 + i);
    copy_row(rows.keys + offset, buffer + i * width, width);
    copy_row(rows.values + offset, values + i * width, width);
  }
  return {buffer, values, static_cast<std::ptrdiff_t>(width)};
}

struct Work {
  float* scores;      // rows x kAttentionKeys
  float* keys;        // panels, transposed
  float* values;      // panels
  float* gathered;    // rows of a paged cache, keys then values
  float* weighted;    // of this segment, [query heads][rows][width]
  float* total;       // of the segments before
  RowState* states;
  RowState* totals;
};

Work lay_out(const AttentionTask& task, std::size_t rows) {
  const std::size_t width = task.heads.head_dimension, all_rows = task.heads.key_heads * task.heads.group * rows;
  const std::size_t key_count = width * kAttentionKeys, value_count = panel_count(width) * kColumnTile * kAttentionKeys;
  const std::size_t gathered = task.rows.block_table == nullptr ? 0 : 2 * task.heads.key_heads * key_count;
  const std::size_t state_floats = sizeof(RowState) / sizeof(float);
  const std::size_t sum = rows * kAttentionKeys + key_count + value_count + gathered + 2 * all_rows * (width + state_floats);
  Work work;
  work.scores = thread_scratch(ScratchSlot::task).reserve_array<float>(sum);
  work.keys = work.scores + rows * kAttentionKeys;
  work.values = work.keys + key_count;
  work.gathered = work.values + value_count;
  work.weighted = work.gathered + gathered;
  work.total = work.weighted + all_rows * width;
  work.states = reinterpret_cast<RowState*>(work.total + all_rows * width);
  work.totals = work.states + all_rows;
  return work;
}

// Closes a segment: its rows go into the total, and the next one starts from nothing.
void fold_segment(const Work& work, std::size_t all_rows, std::size_t width, bool have_total) {
  for (std::size_t r = 0; r < all_rows; r++) {
    float* total = work.total + r * width;
    const float* part = work.weighted + r * width;
    if (have_total) {
      merge_row(work.totals[r], total, work.states[r], part, width);
    } else {
      copy_row(part, total, width);
      work.totals[r] = work.states[r];
    }
    work.states[r] = {kMinusInfinity, 0.0f};
  }
}

struct KeyBlock {
  std::size_t k0, count;
  bool first;  // of its segment, or of the task
};

// One query head against one block of packed keys and values.
void attend(const AttentionTask& task, const Work& work, std::size_t head, std::size_t rows, const KeyBlock& block) {
  const std::size_t width = task.heads.head_dimension;
  // Queries before the block see none of its keys.
  const std::size_t hidden = block.k0 > task.q0 ? (block.k0 - task.q0 < rows ? block.k0 - task.q0 : rows) : 0;
  const std::size_t live = rows - hidden;
  const float* queries = task.queries + static_cast<std::ptrdiff_t>(hidden) * task.query_stride + head * width;
  float* weighted = work.weighted + (head * rows + hidden) * width;
  RowState* states = work.states + head * rows + hidden;
  multiply_panels(queries, task.query_stride, false, live, work.keys, width, work.scores, kAttentionKeys,
                  panel_count(block.count) * kColumnTile, false);
  for (std::size_t r = 0; r < live; r++) {
    const std::size_t visible = task.q0 + hidden + r - block.k0 + 1;
    const std::size_t limit = visible < block.count ? visible : block.count;
    const float shrink = absorb_scores(work.scores + r * kAttentionKeys, limit, task.heads.scale, states[r]);
    if (!block.first && shrink != 1.0f) scale_row(weighted + r * width, width, shrink);
  }
  multiply_panels(work.scores, kAttentionKeys, false, live, work.values, block.count, weighted,
                  static_cast<std::ptrdiff_t>(width), width, !block.first);
  if (!block.first) return;
  for (float* value = work.weighted + head * rows * width; value < weighted; value++) *value = 0.0f;
}

void finish(const AttentionTask& task, const Work& work, std::size_t rows, bool have_total) {
  const std::size_t width = task.heads.head_dimension, heads = task.heads.key_heads * task.heads.group;
  for (std::size_t head = 0; head < heads; head++) {
    for (std::size_t r = 0; r < rows; r++) {
      const std::size_t index = head * rows + r;
      const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(r);
      float* values = work.weighted + index * width;
      RowState state = work.states[index];
      if (task.partial != nullptr) {
        float* target = task.partial + index * (width + 2);
        target[0] = state.maximum;
        target[1] = state.sum;
        copy_row(values, target + 2, width);
        continue;
      }
      if (have_total) {
        merge_row(work.totals[index], work.total + index * width, state, values, width);
        state = work.totals[index];
        values = work.total + index * width;
      }
      float* log_sum_exp = task.log_sum_exp == nullptr ? nullptr : task.log_sum_exp + row * task.log_sum_exp_stride + head;
      finish_row(state, values, width, task.out + row * task.out_stride + head * width, log_sum_exp);
    }
  }
}

}  // namespace

void attention(const AttentionTask& task) {
  const std::size_t width = task.heads.head_dimension, group = task.heads.group, rows = task.q1 - task.q0;
  const std::size_t all_rows = task.heads.key_heads * group * rows;
  const Work work = lay_out(task, rows);
  for (std::size_t r = 0; r < all_rows; r++) work.states[r] = {kMinusInfinity, 0.0f};
  bool have_total = false;
  KeyBlock block;
  for (block.k0 = task.k0; block.k0 < task.k1; block.k0 += kAttentionKeys) {
    const bool opens_segment = block.k0 % kAttentionSegment == 0;
    if (opens_segment && block.k0 != task.k0) {
      fold_segment(work, all_rows, width, have_total);
      have_total = true;
    }
    block.first = opens_segment || block.k0 == task.k0;
    block.count = task.k1 - block.k0 < kAttentionKeys ? task.k1 - block.k0 : kAttentionKeys;
    const Rows source = rows_at(task.rows, block.k0, block.count, task.k1, task.heads.key_heads * width, work.gathered);
    for (std::size_t key_head = 0; key_head < task.heads.key_heads; key_head++) {
      pack_columns(source.keys + key_head * width, source.stride, width, block.count, work.keys);
      pack_rows(source.values + key_head * width, source.stride, block.count, width, work.values);
      for (std::size_t g = 0; g < group; g++) attend(task, work, key_head * group + g, rows, block);
    }
  }
  finish(task, work, rows, have_total);
}

// partials[s]: [maximum, sum, values...] of segment s, in order. The first is overwritten with the total.
void attention_merge(const float* const* partials, std::size_t count, std::size_t head_dimension, float* out,
                     float* log_sum_exp) {
  float* first = const_cast<float*>(partials[0]);
  RowState total = {first[0], first[1]};
  for (std::size_t s = 1; s < count; s++) {
    merge_row(total, first + 2, RowState{partials[s][0], partials[s][1]}, partials[s] + 2, head_dimension);
  }
  finish_row(total, first + 2, head_dimension, out, log_sum_exp);
}

}  // namespace xgen::XGEN_VARIANT
