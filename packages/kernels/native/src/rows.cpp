// Embedding, normalisation, rotary positions, the gated activation.
#include <algorithm>
#include <cstring>

#include "chunks.h"
#include "xgen/memory.h"
#include "xgen/operations.h"

namespace xgen {

namespace {
constexpr std::size_t kNormRows = 64;        // rows of one partial sum of a norm's weight gradient
constexpr std::size_t kEmbeddingColumns = 64;  // columns of one task of the embedding's gradient
}  // namespace

void embedding(const float* weight, const std::int32_t* ids, float* out, std::size_t tokens, std::size_t width,
               std::size_t vocabulary) {
  check_indices("ids", ids, tokens, static_cast<std::int64_t>(vocabulary));
  parallel_chunks(tokens, row_chunk(width), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; i++) {
      std::memcpy(out + i * width, weight + static_cast<std::size_t>(ids[i]) * width, width * sizeof(float));
    }
  });
}

void embedding_grad(const std::int32_t* ids, const float* dy, float* d_weight, std::size_t tokens, std::size_t width,
                    std::size_t vocabulary) {
  check_indices("ids", ids, tokens, static_cast<std::int64_t>(vocabulary));
  parallel_chunks(vocabulary * width, kRangeChunk,
                  [&](std::size_t begin, std::size_t end) { std::fill(d_weight + begin, d_weight + end, 0.0f); });
  const KernelTable& t = kernels();
  // Each task owns columns and walks all tokens in order.
  parallel_chunks(width, kEmbeddingColumns, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = 0; i < tokens; i++) {
      t.add_to(d_weight + static_cast<std::size_t>(ids[i]) * width + begin, dy + i * width + begin, end - begin);
    }
  });
}

void rms_norm(const float* x, const float* residual, const float* weight, float* y, float* sum, float* inverse_rms,
              std::size_t rows, std::size_t width, float epsilon) {
  const KernelTable& t = kernels();
  parallel_chunks(rows, row_chunk(width), [&](std::size_t begin, std::size_t end) {
    const std::size_t offset = begin * width;
    t.rms_norm(x + offset, residual == nullptr ? nullptr : residual + offset, weight, y + offset,
               sum == nullptr ? nullptr : sum + offset, inverse_rms + begin, end - begin, width, epsilon);
  });
}

void rms_norm_grad(const float* x, const float* weight, const float* inverse_rms, const float* dy, const float* d_sum,
                   float* dx, float* d_weight, std::size_t rows, std::size_t width) {
  const KernelTable& t = kernels();
  const std::size_t chunks = chunk_count(rows, kNormRows);
  float* partials =
      d_weight == nullptr ? nullptr : thread_scratch(ScratchSlot::operation).reserve_array<float>(chunks * width);
  parallel_for(chunks, [&](std::size_t chunk) {
    const std::size_t begin = chunk * kNormRows, count = std::min(kNormRows, rows - begin), offset = begin * width;
    float* partial = partials == nullptr ? nullptr : partials + chunk * width;
    if (partial != nullptr) std::fill_n(partial, width, 0.0f);
    t.rms_norm_grad(x + offset, weight, inverse_rms + begin, dy + offset, d_sum == nullptr ? nullptr : d_sum + offset,
                    dx == nullptr ? nullptr : dx + offset, partial, count, width);
  });
  if (d_weight == nullptr) return;
  parallel_chunks(width, 512, [&](std::size_t begin, std::size_t end) {
    std::fill(d_weight + begin, d_weight + end, 0.0f);
    for (std::size_t chunk = 0; chunk < chunks; chunk++) t.add_to(d_weight + begin, partials + chunk * width + begin, end - begin);
  });
}

void rope(const float* x, float* y, const std::int32_t* positions, const float* inverse_frequencies, std::size_t rows,
          std::size_t width, std::size_t rotated_heads, std::size_t head_dimension, float scaling, bool inverse) {
  const KernelTable& t = kernels();
  parallel_chunks(rows, row_chunk(width), [&](std::size_t begin, std::size_t end) {
    t.rope(x + begin * width, y + begin * width, positions + begin, inverse_frequencies, end - begin, width, rotated_heads,
           head_dimension, scaling, inverse);
  });
}

void swiglu(const float* gate_up, float* y, std::size_t rows, std::size_t width) {
  const KernelTable& t = kernels();
  parallel_chunks(rows, row_chunk(2 * width), [&](std::size_t begin, std::size_t end) {
    t.swiglu(gate_up + begin * 2 * width, y + begin * width, end - begin, width);
  });
}

void swiglu_grad(const float* gate_up, const float* dy, float* d_gate_up, std::size_t rows, std::size_t width) {
  const KernelTable& t = kernels();
  parallel_chunks(rows, row_chunk(2 * width), [&](std::size_t begin, std::size_t end) {
    t.swiglu_grad(gate_up + begin * 2 * width, dy + begin * width, d_gate_up + begin * 2 * width, end - begin, width);
  });
}

}  // namespace xgen
