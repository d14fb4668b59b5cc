// Cross-entropy straight from the hidden states: logits exist a block at a time.
//
// Forward: tasks of rows x kForwardColumns logits, each reduced to a maximum and a sum at once; the parts of a row are then
// joined in order. Backward: chunks of kGradRows x kGradColumns logits are recomputed, turned into their gradient while still
// in cache, and used for both products. Rows that are ignored, or whose dy is 0, take no part.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "chunks.h"
#include "xgen/matrix.h"
#include "xgen/memory.h"
#include "xgen/operations.h"

namespace xgen {

namespace {

constexpr std::size_t kForwardColumns = 512;
constexpr std::size_t kForwardSlice = 16384;  // columns of the weight packed at a time
constexpr std::size_t kGradRows = 2048;
constexpr std::size_t kGradColumns = 1024;

void check_targets(const std::int32_t* targets, const CrossEntropyShape& shape) {
  for (std::size_t i = 0; i < shape.rows; i++) {
    if (targets[i] != shape.ignore_index) check_indices("targets", targets + i, 1, static_cast<std::int64_t>(shape.vocabulary));
  }
}

// The rows that take part, brought together.
struct ActiveRows {
  std::size_t count;
  const float* hidden;
  const std::int32_t* targets;
  const std::int32_t* rows;  // null when all do
};

struct Stores {
  Scratch hidden, targets, rows, log_sum_exp, dy, d_hidden, logits, statistics;
};
Stores& stores() {
  thread_local Stores instance;
  return instance;
}

ActiveRows active_rows(const float* hidden, const std::int32_t* targets, const float* dy, const CrossEntropyShape& shape) {
  Stores& s = stores();
  std::int32_t* rows = s.rows.reserve_array<std::int32_t>(shape.rows);
  std::size_t count = 0;
  for (std::size_t i = 0; i < shape.rows; i++) {
    if (targets[i] != shape.ignore_index && (dy == nullptr || dy[i] != 0.0f)) rows[count++] = static_cast<std::int32_t>(i);
  }
  if (count == shape.rows) return {count, hidden, targets, nullptr};
  float* compact = s.hidden.reserve_array<float>(count * shape.width);
  std::int32_t* compact_targets = s.targets.reserve_array<std::int32_t>(count);
  parallel_chunks(count, row_chunk(shape.width), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; i++) {
      const std::size_t row = static_cast<std::size_t>(rows[i]);
      std::memcpy(compact + i * shape.width, hidden + row * shape.width, shape.width * sizeof(float));
      compact_targets[i] = targets[row];
    }
  });
  return {count, compact, compact_targets, rows};
}

}  // namespace

void linear_cross_entropy(const float* hidden, const float* weight, const std::int32_t* targets, float* log_probabilities,
                          float* log_sum_exp, const CrossEntropyShape& shape, Precision precision) {
  check_targets(targets, shape);
  const KernelTable& t = kernels();
  const ActiveRows active = active_rows(hidden, targets, nullptr, shape);
  std::fill_n(log_probabilities, shape.rows, 0.0f);
  std::fill_n(log_sum_exp, shape.rows, 0.0f);
  if (active.count == 0) return;
  const std::size_t width = shape.width, stride = width, blocks = chunk_count(shape.vocabulary, kForwardColumns);
  // [row][block] of maximum and sum, then one logit a row: the target's.
  float* maxima = stores().statistics.reserve_array<float>(active.count * (2 * blocks + 1));
  float* sums = maxima + active.count * blocks;
  float* target_logits = sums + active.count * blocks;
  const std::size_t row_block = 4 * t.row_tile, row_blocks = chunk_count(active.count, row_block);

  for (std::size_t slice = 0; slice < shape.vocabulary; slice += kForwardSlice) {
    const std::size_t columns = std::min(kForwardSlice, shape.vocabulary - slice);
    const MatrixView right = {weight + slice * width, static_cast<std::ptrdiff_t>(stride), true};
    const PackedRight packed = pack_all(right, width, columns, precision);
    parallel_for(row_blocks * chunk_count(columns, kForwardColumns), [&](std::size_t task) {
      const std::size_t row0 = task % row_blocks * row_block, rows = std::min(row_block, active.count - row0);
      const std::size_t first = task / row_blocks * kForwardColumns, count = std::min(kForwardColumns, columns - first);
      const std::size_t panel0 = first / t.column_tile, panel1 = chunk_count(first + count, t.column_tile);
      float* logits = thread_scratch(ScratchSlot::gather).reserve_array<float>(row_block * (kForwardColumns + 2));
      float* block_maxima = logits + row_block * kForwardColumns;
      float* block_sums = block_maxima + row_block;
      t.multiply_block({{active.hidden + row0 * width, static_cast<std::ptrdiff_t>(width), false}, 0, rows, packed.data,
                        packed.panels, panel0, panel1, std::size_t{0} - first, count, width, logits,
                        static_cast<std::ptrdiff_t>(kForwardColumns), false, precision});
      t.log_sum_exp_block(logits, static_cast<std::ptrdiff_t>(kForwardColumns), rows, count, block_maxima, block_sums);
      const std::size_t column = slice + first, block = column / kForwardColumns;
      for (std::size_t r = 0; r < rows; r++) {
        maxima[(row0 + r) * blocks + block] = block_maxima[r];
        sums[(row0 + r) * blocks + block] = block_sums[r];
        const std::size_t target = static_cast<std::size_t>(active.targets[row0 + r]);
        if (target >= column && target < column + count) target_logits[row0 + r] = logits[r * kForwardColumns + target - column];
      }
    });
  }

  parallel_chunks(active.count, 256, [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; r++) {
      const float* row_maxima = maxima + r * blocks;
      float largest = row_maxima[0];
      for (std::size_t b = 1; b < blocks; b++) largest = std::max(largest, row_maxima[b]);
      double sum = 0;
      for (std::size_t b = 0; b < blocks; b++) {
        sum += std::exp(static_cast<double>(row_maxima[b]) - largest) * sums[r * blocks + b];
      }
      const double lse = largest + std::log(sum);
      const std::size_t row = active.rows == nullptr ? r : static_cast<std::size_t>(active.rows[r]);
      log_sum_exp[row] = static_cast<float>(lse);
      log_probabilities[row] = static_cast<float>(target_logits[r] - lse);
    }
  });
}

void linear_cross_entropy_grad(const float* hidden, const float* weight, const std::int32_t* targets, const float* log_sum_exp,
                               const float* dy, float* d_hidden, float* d_weight, const CrossEntropyShape& shape,
                               Precision precision) {
  check_targets(targets, shape);
  const KernelTable& t = kernels();
  Stores& s = stores();
  const ActiveRows active = active_rows(hidden, targets, dy, shape);
  const std::size_t width = shape.width;
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(width);

  const float* lse = log_sum_exp;
  const float* factors = dy;
  float* d_active = d_hidden;
  if (active.rows != nullptr) {
    float* compact_lse = s.log_sum_exp.reserve_array<float>(active.count);
    float* compact_dy = s.dy.reserve_array<float>(active.count);
    for (std::size_t i = 0; i < active.count; i++) {
      compact_lse[i] = log_sum_exp[active.rows[i]];
      compact_dy[i] = dy[active.rows[i]];
    }
    lse = compact_lse;
    factors = compact_dy;
    if (d_hidden != nullptr) d_active = s.d_hidden.reserve_array<float>(active.count * width);
  }
  if (active.count == 0 && d_weight != nullptr) std::fill_n(d_weight, shape.vocabulary * width, 0.0f);

  float* logits = s.logits.reserve_array<float>(std::min(kGradRows, active.count) * kGradColumns);
  for (std::size_t row = 0; row < active.count; row += kGradRows) {
    const std::size_t rows = std::min(kGradRows, active.count - row);
    for (std::size_t column = 0; column < shape.vocabulary; column += kGradColumns) {
      const std::size_t columns = std::min(kGradColumns, shape.vocabulary - column);
      const MatrixView chunk = {weight + column * width, stride, true};
      const std::ptrdiff_t logit_stride = static_cast<std::ptrdiff_t>(columns);
      auto differentiate = [&](std::size_t m0, std::size_t m1, std::size_t n0, std::size_t n1) {
        t.cross_entropy_grad_block(logits + m0 * columns + n0, logit_stride, m1 - m0, n1 - n0, lse + row + m0,
                                   factors + row + m0, active.targets + row + m0, column + n0);
      };
      const BlockCallback finished = {
          [](void* context, std::size_t m0, std::size_t m1, std::size_t n0, std::size_t n1) {
            (*static_cast<decltype(differentiate)*>(context))(m0, m1, n0, n1);
          },
          &differentiate};
      const MatrixView rows_view = {active.hidden + row * width, stride, false};
      multiply({rows, columns, width, rows_view, chunk, logits, logit_stride, false, precision}, &finished);
      if (d_hidden != nullptr) {
        multiply({rows, width, columns, {logits, logit_stride, false}, {chunk.data, stride, false}, d_active + row * width,
                  stride, column > 0, precision});
      }
      if (d_weight != nullptr) {
        multiply({columns, width, rows, {logits, logit_stride, true}, rows_view, d_weight + column * width, stride, row > 0,
                  precision});
      }
    }
  }

  if (d_hidden != nullptr && active.rows != nullptr) {
    std::fill_n(d_hidden, shape.rows * width, 0.0f);
    for (std::size_t i = 0; i < active.count; i++) {
      std::memcpy(d_hidden + static_cast<std::size_t>(active.rows[i]) * width, d_active + i * width, width * sizeof(float));
    }
  }
}

}  // namespace xgen
