// Gradients of attention: probabilities are recomputed block by block from the saved log-sum-exp (FlashAttention-2, Dao
// 2023, algorithm 2). With P the probabilities and delta = sum(dy * out): dV = P' dy, dS = P (dy V' - delta) scale,
// dQ = dS K, dK = dS' Q.
#include "attention.h"
#include "small_matrix.h"
#include "xgen/memory.h"

namespace xgen::XGEN_VARIANT {

namespace {

struct Work {
  float* probabilities;  // kAttentionQueries x kAttentionKeys
  float* gradients;      // the same of dS
  float* keys_t;         // panels: keys as columns
  float* values_t;       // panels: values as columns
  float* keys;           // panels: keys as rows
  float* queries;        // panels: queries as rows
  float* dy;             // panels: dy as rows
  float* d_keys;
  float* d_values;
};

Work lay_out(std::size_t width) {
  const std::size_t wide = panel_count(width) * kColumnTile;
  const std::size_t square = kAttentionQueries * kAttentionKeys;
  const std::size_t columns = width * kAttentionKeys, rows = wide * kAttentionKeys, tall = wide * kAttentionQueries;
  float* base =
      thread_scratch(ScratchSlot::task).reserve_array<float>(2 * square + 4 * columns + rows + 2 * tall);
  Work work;
  work.probabilities = base;
  work.gradients = work.probabilities + square;
  work.keys_t = work.gradients + square;
  work.values_t = work.keys_t + columns;
  work.d_keys = work.values_t + columns;
  work.d_values = work.d_keys + columns;
  work.keys = work.d_values + columns;
  work.queries = work.keys + rows;
  work.dy = work.queries + tall;
  return work;
}

// Scores and dy V' of one block to P and dS, in place. Row r stands for position q0 + r.
void differentiate(float* probabilities, float* gradients, std::size_t rows, std::size_t q0, std::size_t k0,
                   std::size_t key_count, float scale, const float* log_sum_exp, const float* delta, std::ptrdiff_t stride) {
  const IntVec lane = lanes();
  for (std::size_t r = 0; r < rows; r++) {
    const std::size_t visible = q0 + r - k0 + 1;
    const std::int32_t limit = static_cast<std::int32_t>(visible < key_count ? visible : key_count);
    const float lse = log_sum_exp[static_cast<std::ptrdiff_t>(r) * stride];
    const float d = delta[static_cast<std::ptrdiff_t>(r) * stride];
    float* p = probabilities + r * kAttentionKeys;
    float* g = gradients + r * kAttentionKeys;
    for (std::size_t i = 0; i < kAttentionKeys; i += kWidth) {
      const IntVec inside = lane < limit - static_cast<std::int32_t>(i);
      const Vec probability = inside ? exponential(load(p + i) * scale - lse) : Vec{};
      store(p + i, probability);
      store(g + i, inside ? probability * (load(g + i) - d) * scale : Vec{});
    }
  }
}

// One block of queries of one head against one block of packed keys.
struct Block {
  std::size_t q0, rows, k0, key_count;
};

void probabilities_of(const AttentionGradTask& task, const Work& work, std::size_t head, const Block& b) {
  const std::size_t width = task.heads.head_dimension;
  const std::ptrdiff_t q0 = static_cast<std::ptrdiff_t>(b.q0);
  const std::size_t columns = panel_count(b.key_count) * kColumnTile;
  multiply_panels(task.queries + q0 * task.qkv_stride + head * width, task.qkv_stride, false, b.rows, work.keys_t, width,
                  work.probabilities, kAttentionKeys, columns, false);
  multiply_panels(task.dy + q0 * task.out_stride + head * width, task.out_stride, false, b.rows, work.values_t, width,
                  work.gradients, kAttentionKeys, columns, false);
  differentiate(work.probabilities, work.gradients, b.rows, b.q0, b.k0, b.key_count, task.heads.scale,
                task.log_sum_exp + q0 * task.row_stat_stride + head, task.delta + q0 * task.row_stat_stride + head,
                task.row_stat_stride);
}

void pack_keys(const AttentionGradTask& task, const Work& work, const Block& b) {
  const std::size_t width = task.heads.head_dimension;
  const std::ptrdiff_t offset = static_cast<std::ptrdiff_t>(b.k0) * task.qkv_stride;
  pack_columns(task.keys + offset, task.qkv_stride, width, b.key_count, work.keys_t);
  pack_columns(task.values + offset, task.qkv_stride, width, b.key_count, work.values_t);
  if (task.d_queries != nullptr) pack_rows(task.keys + offset, task.qkv_stride, b.key_count, width, work.keys);
}

void add_query_gradients(const AttentionGradTask& task, const Work& work, std::size_t head, const Block& b) {
  const std::size_t width = task.heads.head_dimension;
  multiply_panels(work.gradients, kAttentionKeys, false, b.rows, work.keys, b.key_count,
                  task.d_queries + static_cast<std::ptrdiff_t>(b.q0) * task.qkv_stride + head * width, task.qkv_stride, width,
                  b.k0 > 0);
}

}  // namespace

void attention_grad(const AttentionGradTask& task) {
  const std::size_t width = task.heads.head_dimension;
  const Work work = lay_out(width);
  Block b;
  for (b.k0 = task.begin; b.k0 < task.end; b.k0 += kAttentionKeys) {
    b.key_count = task.end - b.k0 < kAttentionKeys ? task.end - b.k0 : kAttentionKeys;
    pack_keys(task, work, b);
    bool started = false;
    for (std::size_t head = 0; head < task.heads.group; head++) {
      for (b.q0 = b.k0; b.q0 < task.length; b.q0 += kAttentionQueries) {
        b.rows = task.length - b.q0 < kAttentionQueries ? task.length - b.q0 : kAttentionQueries;
        probabilities_of(task, work, head, b);
        const std::ptrdiff_t q0 = static_cast<std::ptrdiff_t>(b.q0);
        pack_rows(task.dy + q0 * task.out_stride + head * width, task.out_stride, b.rows, width, work.dy);
        multiply_panels(work.probabilities, kAttentionKeys, true, b.key_count, work.dy, b.rows, work.d_values,
                        static_cast<std::ptrdiff_t>(width), width, started);
        pack_rows(task.queries + q0 * task.qkv_stride + head * width, task.qkv_stride, b.rows, width, work.queries);
        multiply_panels(work.gradients, kAttentionKeys, true, b.key_count, work.queries, b.rows, work.d_keys,
                        static_cast<std::ptrdiff_t>(width), width, started);
        if (task.d_queries != nullptr) add_query_gradients(task, work, head, b);
        started = true;
      }
    }
    for (std::size_t i = 0; i < b.key_count; i++) {
      const std::ptrdiff_t offset = static_cast<std::ptrdiff_t>(b.k0 + i) * task.d_key_stride;
      for (std::size_t j = 0; j < width; j++) {
        task.d_keys[offset + static_cast<std::ptrdiff_t>(j)] = work.d_keys[i * width + j];
        task.d_values[offset + static_cast<std::ptrdiff_t>(j)] = work.d_values[i * width + j];
      }
    }
  }
}

void attention_grad_queries(const AttentionGradTask& task) {
  const Work work = lay_out(task.heads.head_dimension);
  Block b;
  for (b.k0 = 0; b.k0 < task.end; b.k0 += kAttentionKeys) {
    b.key_count = task.end - b.k0 < kAttentionKeys ? task.end - b.k0 : kAttentionKeys;
    pack_keys(task, work, b);
    for (std::size_t head = 0; head < task.heads.group; head++) {
      b.q0 = b.k0 > task.begin ? b.k0 : task.begin;
      for (; b.q0 < task.end; b.q0 += kAttentionQueries) {
        b.rows = task.end - b.q0 < kAttentionQueries ? task.end - b.q0 : kAttentionQueries;
        probabilities_of(task, work, head, b);
        add_query_gradients(task, work, head, b);
      }
    }
  }
}

void row_dots(const float* a, const float* b, float* out, std::size_t rows, std::size_t width) {
  const std::size_t whole = width / kWidth * kWidth;
  for (std::size_t r = 0; r < rows; r++, a += width, b += width) {
    Vec sum = {};
    std::size_t i = 0;
    for (; i < whole; i += kWidth) sum += load(a + i) * load(b + i);
    if (i < width) sum += load_first(a + i, width - i) * load_first(b + i, width - i);
    out[r] = sum_lanes(sum);
  }
}

}  // namespace xgen::XGEN_VARIANT
