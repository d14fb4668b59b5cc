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

// Where the keys (or values) of positions k0... are: in place, or gathered from a paged cache into `buffer`.
const float* contiguous_rows(const KeyValueRows& rows, const float* base, std::size_t k0, std::size_t count, std::size_t width,
                             float* buffer, std::ptrdiff_t& stride) {
  if (rows.block_table == nullptr) {
    stride = rows.stride;
    return base + static_cast<std::ptrdiff_t>(k0) * rows.stride;
  }
  for (std::size_t i = 0; i < count; i++) {
    const std::size_t position = k0 + i;
    const std::size_t row = static_cast<std::size_t>(rows.block_table[position / rows.block_size]) * rows.block_size +
                            position % rows.block_size;
    const float* source = base + static_cast<std::ptrdiff_t>(row) * rows.stride;
    float* target = buffer + i * width;
    std::size_t j = 0;
    for (; j + kWidth <= width; j += kWidth) store(target + j, load(source + j));
    for (; j < width; j++) target[j] = source[j];
  }
  stride = static_cast<std::ptrdiff_t>(width);
  return buffer;
}

struct Work {
  float* scores;      // kAttentionQueries x kAttentionKeys
  float* keys;        // panels, transposed
  float* values;      // panels
  float* gathered;
  float* weighted;    // of this segment, [group][queries][width]
  float* total;       // of the segments before
  RowState* states;
  RowState* totals;
};

Work lay_out(std::size_t group, std::size_t width) {
  const std::size_t wide = panel_count(width) * kColumnTile;
  const std::size_t rows = group * kAttentionQueries;
  const std::size_t score_count = kAttentionQueries * kAttentionKeys;
  const std::size_t key_count = width * kAttentionKeys, value_count = wide * kAttentionKeys;
  const std::size_t state_count = rows * 2;
  float* base = thread_scratch(ScratchSlot::task)
                    .reserve_array<float>(score_count + 2 * key_count + value_count + 2 * rows * width + 2 * state_count + 64);
  Work work;
  work.scores = base;
  work.keys = work.scores + score_count;
  work.gathered = work.keys + key_count;
  work.values = work.gathered + key_count;
  work.weighted = work.values + value_count;
  work.total = work.weighted + rows * width;
  work.states = reinterpret_cast<RowState*>(work.total + rows * width);
  work.totals = work.states + rows;
  return work;
}

}  // namespace

void attention(const AttentionTask& task) {
  const std::size_t group = task.heads.group, width = task.heads.head_dimension;
  const std::size_t rows = task.q1 - task.q0;
  const Work work = lay_out(group, width);
  for (std::size_t r = 0; r < group * rows; r++) work.states[r] = {kMinusInfinity, 0.0f};
  bool have_total = false;

  for (std::size_t k0 = task.k0; k0 < task.k1; k0 += kAttentionKeys) {
    const bool segment_start = k0 % kAttentionSegment == 0;
    if (segment_start && k0 != task.k0) {
      for (std::size_t r = 0; r < group * rows; r++) {
        float* total = work.total + r * width;
        const float* part = work.weighted + r * width;
        if (have_total) {
          merge_row(work.totals[r], total, work.states[r], part, width);
        } else {
          for (std::size_t i = 0; i < width; i++) total[i] = part[i];
          work.totals[r] = work.states[r];
        }
        work.states[r] = {kMinusInfinity, 0.0f};
      }
      have_total = true;
    }
    const bool first_block = segment_start || k0 == task.k0;
    const std::size_t key_count = task.k1 - k0 < kAttentionKeys ? task.k1 - k0 : kAttentionKeys;
    std::ptrdiff_t stride;
    const float* keys = contiguous_rows(task.rows, task.rows.keys, k0, key_count, width, work.gathered, stride);
    pack_columns(keys, stride, width, key_count, work.keys);
    const float* values = contiguous_rows(task.rows, task.rows.values, k0, key_count, width, work.gathered, stride);
    pack_rows(values, stride, key_count, width, work.values);
    // Queries before k0 see none of these keys.
    const std::size_t first_row = k0 > task.q0 ? (k0 - task.q0 < rows ? k0 - task.q0 : rows) : 0;
    const std::size_t live = rows - first_row;

    for (std::size_t head = 0; head < group; head++) {
      const float* queries = task.queries + static_cast<std::ptrdiff_t>(first_row) * task.query_stride + head * width;
      float* weighted = work.weighted + (head * rows + first_row) * width;
      RowState* states = work.states + head * rows + first_row;
      multiply_panels(queries, task.query_stride, false, live, work.keys, width, work.scores, kAttentionKeys,
                      panel_count(key_count) * kColumnTile, false);
      for (std::size_t r = 0; r < live; r++) {
        const std::size_t visible = task.q0 + first_row + r - k0 + 1;
        const std::size_t limit = visible < key_count ? visible : key_count;
        const float shrink = absorb_scores(work.scores + r * kAttentionKeys, limit, task.heads.scale, states[r]);
        if (!first_block && shrink != 1.0f) scale_row(weighted + r * width, width, shrink);
      }
      multiply_panels(work.scores, kAttentionKeys, false, live, work.values, key_count, weighted,
                      static_cast<std::ptrdiff_t>(width), width, !first_block);
      // Rows that begin later in this task's first block of a segment have nothing to add to yet.
      if (first_block) {
        for (std::size_t r = 0; r < first_row; r++) {
          float* row = work.weighted + (head * rows + r) * width;
          for (std::size_t i = 0; i < width; i++) row[i] = 0.0f;
        }
      }
    }
  }

  for (std::size_t head = 0; head < group; head++) {
    for (std::size_t r = 0; r < rows; r++) {
      const std::size_t index = head * rows + r;
      float* values = work.weighted + index * width;
      RowState state = work.states[index];
      if (task.partial != nullptr) {
        float* target = task.partial + index * (width + 2);
        target[0] = state.maximum;
        target[1] = state.sum;
        for (std::size_t i = 0; i < width; i++) target[2 + i] = values[i];
        continue;
      }
      if (have_total) {
        merge_row(work.totals[index], work.total + index * width, state, values, width);
        state = work.totals[index];
        values = work.total + index * width;
      }
      finish_row(state, values, width, task.out + static_cast<std::ptrdiff_t>(r) * task.out_stride + head * width,
                 task.log_sum_exp == nullptr
                     ? nullptr
                     : task.log_sum_exp + static_cast<std::ptrdiff_t>(r) * task.log_sum_exp_stride + head);
    }
  }
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
