#include "chunks.h"
#include "xgen/memory.h"
#include "xgen/operations.h"

namespace xgen {

void binary(BinaryOperation operation, const float* a, const float* b, float* out, std::size_t count, Repeat repeat_a,
            Repeat repeat_b, std::size_t row) {
  const KernelTable& t = kernels();
  if (repeat_a == Repeat::row || repeat_b == Repeat::row) {
    parallel_chunks(count / row, row_chunk(row), [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; r++) {
        t.binary(operation, repeat_a == Repeat::row ? a : a + r * row, repeat_b == Repeat::row ? b : b + r * row, out + r * row, row);
      }
    });
    return;
  }
  parallel_chunks(count, kRangeChunk, [&](std::size_t begin, std::size_t end) {
    if (repeat_a == Repeat::scalar) {
      t.binary_scalar(operation, b + begin, a[0], out + begin, end - begin, true);
    } else if (repeat_b == Repeat::scalar) {
      t.binary_scalar(operation, a + begin, b[0], out + begin, end - begin, false);
    } else {
      t.binary(operation, a + begin, b + begin, out + begin, end - begin);
    }
  });
}

void unary(UnaryOperation operation, const float* x, float* out, std::size_t count) {
  const KernelTable& t = kernels();
  parallel_chunks(count, kRangeChunk,
                  [&](std::size_t begin, std::size_t end) { t.unary(operation, x + begin, out + begin, end - begin); });
}

void add_n(const float* const* inputs, std::size_t inputs_count, float* out, std::size_t count) {
  const KernelTable& t = kernels();
  parallel_chunks(count, kRangeChunk, [&](std::size_t begin, std::size_t end) {
    std::copy(inputs[0] + begin, inputs[0] + end, out + begin);
    for (std::size_t i = 1; i < inputs_count; i++) t.add_to(out + begin, inputs[i] + begin, end - begin);
  });
}

void sum_rows(const float* x, float* out, std::size_t rows, std::size_t width) {
  const KernelTable& t = kernels();
  if (rows > 1) {
    parallel_chunks(rows, row_chunk(width), [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; r++) out[r] = t.row_sum(x + r * width, width);
    });
    return;
  }
  const std::size_t chunks = chunk_count(width, kRangeChunk);
  float* partials = thread_scratch(ScratchSlot::operation).reserve_array<float>(chunks);
  parallel_chunks(width, kRangeChunk, [&](std::size_t begin, std::size_t end) {
    partials[begin / kRangeChunk] = t.row_sum(x + begin, end - begin);
  });
  double total = 0;
  for (std::size_t i = 0; i < chunks; i++) total += partials[i];
  if (rows == 1) out[0] = static_cast<float>(total);
}

void sum_columns(const float* x, float* out, std::size_t rows, std::size_t width) {
  const KernelTable& t = kernels();
  parallel_chunks(width, 64, [&](std::size_t begin, std::size_t end) {
    std::fill(out + begin, out + end, 0.0f);
    for (std::size_t r = 0; r < rows; r++) t.add_to(out + begin, x + r * width + begin, end - begin);
  });
}

void softmax(const float* x, float* y, std::size_t rows, std::size_t width) {
  const KernelTable& t = kernels();
  parallel_chunks(rows, row_chunk(width), [&](std::size_t begin, std::size_t end) {
    t.softmax(x + begin * width, y + begin * width, end - begin, width);
  });
}

void transpose(const float* x, float* y, std::size_t rows, std::size_t columns) {
  constexpr std::size_t kSide = 32;
  const std::size_t across = chunk_count(columns, kSide);
  parallel_chunks(chunk_count(rows, kSide) * across, 16, [&](std::size_t begin, std::size_t end) {
    for (std::size_t tile = begin; tile < end; tile++) {
      const std::size_t r0 = tile / across * kSide, c0 = tile % across * kSide;
      for (std::size_t c = c0; c < std::min(columns, c0 + kSide); c++) {
        for (std::size_t r = r0; r < std::min(rows, r0 + kSide); r++) y[c * rows + r] = x[r * columns + c];
      }
    }
  });
}

}  // namespace xgen
