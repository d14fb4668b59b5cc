// Output projection and log-likelihood of the targets, holding the logits of a chunk of rows at a time (at most 1 GiB), forward
// and backward. Cost: 2 * rows * width * vocabulary multiply-adds forward, three times that backward.
#pragma once

#include "xgen/cuda/matmul.h"
#include "xgen/cuda/operations.h"

namespace xgen::cuda {

struct CrossEntropyShape {
  std::size_t rows, width, vocabulary;
  std::int32_t ignore_index;
};

// What products need: the library, its workspace, and what float32 is multiplied in.
struct Products {
  Matmul& matmul;
  void* workspace;
  Float32Products float32;
};

// Logits are float32 whatever hidden and weight (of one floating type) are.
std::size_t linear_cross_entropy_workspace_bytes(const CrossEntropyShape& shape);
void linear_cross_entropy(Stream stream, const Products& products, const CrossEntropyShape& shape, ConstArray hidden, ConstArray weight,
                          const std::int32_t* targets, float* log_probabilities, float* log_sum_exp, void* workspace, ErrorFlag* error);

// The logits' gradient is rounded to the type of hidden and weight; d_hidden is of that type or float32, d_weight float32, summed over
// chunks in it. Null outputs are not computed.
std::size_t linear_cross_entropy_grad_workspace_bytes(const CrossEntropyShape& shape, ElementType type);
void linear_cross_entropy_grad(Stream stream, const Products& products, const CrossEntropyShape& shape, ConstArray hidden, ConstArray weight,
                               const std::int32_t* targets, const float* log_sum_exp, const float* dy, Array d_hidden, float* d_weight,
                               void* workspace);

// Both in one pass over the logits, which are then computed once: for losses whose gradient with respect to every log-probability is the
// number `dy`, known beforehand. Logits are of the type of hidden and weight; outputs as above.
std::size_t linear_cross_entropy_with_gradient_workspace_bytes(const CrossEntropyShape& shape, ElementType type);
void linear_cross_entropy_with_gradient(Stream stream, const Products& products, const CrossEntropyShape& shape, ConstArray hidden,
                                        ConstArray weight, const std::int32_t* targets, float dy, float* log_probabilities, Array d_hidden,
                                        float* d_weight, void* workspace, ErrorFlag* error);

}  // namespace xgen::cuda
