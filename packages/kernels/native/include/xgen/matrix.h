// Parallel matrix products, built from the variant's serial blocks.
#pragma once

#include "xgen/kernel_table.h"

namespace xgen {

// c[m][n] (+)= left[m][k] * right[k][n]. With Precision::bfloat16 both inputs are rounded to bfloat16; sums are float32.
//
// Every element is the same chain of multiply-adds whatever m, n, the split into tasks and the number of threads: a row of a
// large product and the same row alone come out bit-identical.
struct MatrixProduct {
  std::size_t m, n, k;
  MatrixView left, right;
  float* c;
  std::ptrdiff_t c_stride;
  bool accumulate;
  Precision precision;
};

// Called, from several threads, for each finished block of c.
struct BlockCallback {
  void (*call)(void* context, std::size_t m0, std::size_t m1, std::size_t n0, std::size_t n1);
  void* context;
};

void multiply(const MatrixProduct& product, const BlockCallback* finished = nullptr);

// A right operand packed ahead and kept by the caller, for products of few rows with a matrix that stays the same: packing would
// cost them as much as multiplying. Results have the same bits. A packed weight fits the variant it was made with.
std::size_t packed_weight_bytes(std::size_t k, std::size_t columns, Precision precision);
void pack_weight(const MatrixView& right, std::size_t k, std::size_t columns, Precision precision, void* packed);
// Throws Error("STALE_WEIGHT") where `packed` was not made for these sizes, this precision and the variant in use.
void multiply_packed(const MatrixView& left, const void* packed, std::size_t bytes, float* c, std::size_t m, std::size_t n,
                     std::size_t k, Precision precision);

// The right operand packed once for many uses of the same columns, in the calling thread's scratch (until its next product).
struct PackedRight {
  const void* data;
  std::size_t panels;
};
PackedRight pack_all(const MatrixView& right, std::size_t k, std::size_t columns, Precision precision);

}  // namespace xgen
