#include "xgen/cuda/linear_cross_entropy.h"

#include <algorithm>

#include "xgen/cuda/runtime.h"

namespace xgen::cuda {

namespace {

// A chunk of logits. Each chunk reads and writes the weight's whole gradient once: fewer, larger ones keep that below the time of its product.
constexpr std::size_t kLogitBytes = std::size_t{1} << 30;

std::size_t chunk_rows(const CrossEntropyShape& shape, std::size_t element = sizeof(float)) {
  const std::size_t fitting = kLogitBytes / (element * std::max<std::size_t>(shape.vocabulary, 1));
  const std::size_t rows = fitting >= 128 ? fitting / 128 * 128 : std::max<std::size_t>(fitting, 1);
  return std::min(rows, shape.rows);
}

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }
std::size_t logit_bytes(const CrossEntropyShape& shape, std::size_t element) { return aligned(chunk_rows(shape) * shape.vocabulary * element); }
std::size_t element_bytes(ElementType type) { return type == ElementType::bfloat16 ? 2 : 4; }

ConstArray rows_from(ConstArray array, std::size_t row, std::size_t width) {
  return {static_cast<const char*>(array.data) + row * width * element_bytes(array.type), array.type};
}

// logits [count, vocabulary] of the rows from `first` on.
void project(Stream stream, const Products& products, const CrossEntropyShape& shape, ConstArray hidden, ConstArray weight,
             std::size_t first, std::size_t count, Array logits) {
  const MatmulShape product{count, shape.vocabulary, shape.width, false, true, shape.width, shape.width, shape.vocabulary};
  products.matmul.multiply(stream, product, rows_from(hidden, first, shape.width), weight, logits, false, products.float32, products.workspace);
}

// The gradients of these rows' hidden states, and their part of the weight's, from the logits'.
void project_back(Stream stream, const Products& products, const CrossEntropyShape& shape, ConstArray d_logits, ConstArray hidden,
                  ConstArray weight, std::size_t first, std::size_t count, Array d_hidden, float* d_weight) {
  const std::size_t width = shape.width, vocabulary = shape.vocabulary;
  if (d_hidden.data != nullptr) {
    const MatmulShape product{count, width, vocabulary, false, false, vocabulary, width, width};
    const Array part{static_cast<char*>(d_hidden.data) + first * width * element_bytes(d_hidden.type), d_hidden.type};
    products.matmul.multiply(stream, product, d_logits, weight, part, false, products.float32, products.workspace);
  }
  if (d_weight != nullptr) {
    const MatmulShape product{vocabulary, width, count, true, false, vocabulary, width, width};
    products.matmul.multiply(stream, product, d_logits, rows_from(hidden, first, width), {d_weight, ElementType::float32}, first > 0,
                             products.float32, products.workspace);
  }
}

}  // namespace

std::size_t linear_cross_entropy_workspace_bytes(const CrossEntropyShape& shape) {
  return 3 * aligned(shape.rows * sizeof(float)) + logit_bytes(shape, sizeof(float));
}

void linear_cross_entropy(Stream stream, const Products& products, const CrossEntropyShape& shape, ConstArray hidden, ConstArray weight,
                          const std::int32_t* targets, float* log_probabilities, float* log_sum_exp, void* workspace, ErrorFlag* error) {
  if (shape.rows == 0) return;
  char* next = static_cast<char*>(workspace);
  float* parts[3];
  for (float*& part : parts) {
    part = reinterpret_cast<float*>(next);
    next += aligned(shape.rows * sizeof(float));
  }
  float* logits = reinterpret_cast<float*>(next);
  const std::size_t step = chunk_rows(shape);
  for (std::size_t first = 0; first < shape.rows; first += step) {
    const std::size_t count = std::min(step, shape.rows - first);
    project(stream, products, shape, hidden, weight, first, count, {logits, ElementType::float32});
    cross_entropy_chunk(stream, {logits, ElementType::float32}, {count, shape.vocabulary, shape.vocabulary, 0}, targets + first,
                        {parts[0] + first, parts[1] + first, parts[2] + first}, true);
  }
  cross_entropy_finish(stream, {parts[0], parts[1], parts[2]}, targets, shape.ignore_index, shape.vocabulary, log_probabilities, log_sum_exp,
                       shape.rows, error);
}

std::size_t linear_cross_entropy_grad_workspace_bytes(const CrossEntropyShape& shape, ElementType type) {
  return logit_bytes(shape, sizeof(float)) + (type == ElementType::bfloat16 ? logit_bytes(shape, 2) : 0);
}

void linear_cross_entropy_grad(Stream stream, const Products& products, const CrossEntropyShape& shape, ConstArray hidden, ConstArray weight,
                               const std::int32_t* targets, const float* log_sum_exp, const float* dy, Array d_hidden, float* d_weight,
                               void* workspace) {
  const auto [rows, width, vocabulary, ignore_index] = shape;
  if (rows == 0) {
    if (d_weight != nullptr) fill_bytes(d_weight, 0, vocabulary * width * sizeof(float), stream);
    return;
  }
  float* logits = static_cast<float*>(workspace);
  const bool in_place = hidden.type == ElementType::float32;
  void* gradients = in_place ? workspace : static_cast<char*>(workspace) + logit_bytes(shape, sizeof(float));
  const Array d_logits{gradients, hidden.type};
  const std::size_t step = chunk_rows(shape);
  for (std::size_t first = 0; first < rows; first += step) {
    const std::size_t count = std::min(step, rows - first);
    project(stream, products, shape, hidden, weight, first, count, {logits, ElementType::float32});
    cross_entropy_grad_chunk(stream, {logits, ElementType::float32}, d_logits, {count, vocabulary, vocabulary, 0}, targets + first,
                             ignore_index, log_sum_exp + first, dy + first);
    project_back(stream, products, shape, d_logits, hidden, weight, first, count, d_hidden, d_weight);
  }
}

std::size_t linear_cross_entropy_with_gradient_workspace_bytes(const CrossEntropyShape& shape, ElementType type) {
  const std::size_t element = element_bytes(type);
  return aligned(chunk_rows(shape, element) * shape.vocabulary * element);
}

void linear_cross_entropy_with_gradient(Stream stream, const Products& products, const CrossEntropyShape& shape, ConstArray hidden,
                                        ConstArray weight, const std::int32_t* targets, float dy, float* log_probabilities, Array d_hidden,
                                        float* d_weight, void* workspace, ErrorFlag* error) {
  const auto [rows, width, vocabulary, ignore_index] = shape;
  if (rows == 0 && d_weight != nullptr) fill_bytes(d_weight, 0, vocabulary * width * sizeof(float), stream);
  const Array logits{workspace, hidden.type};
  const std::size_t step = chunk_rows(shape, element_bytes(hidden.type));
  for (std::size_t first = 0; first < rows; first += step) {
    const std::size_t count = std::min(step, rows - first);
    project(stream, products, shape, hidden, weight, first, count, logits);
    cross_entropy_with_gradient(stream, logits, {count, vocabulary, vocabulary, 0}, targets + first, ignore_index, dy,
                                log_probabilities + first, first, error);
    project_back(stream, products, shape, logits, hidden, weight, first, count, d_hidden, d_weight);
  }
}

}  // namespace xgen::cuda
