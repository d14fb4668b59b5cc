// What the attention kernels share. Everything is causal over packed documents: query row q of the batch sees keys starts[q] ... q, and key
// row k is seen by queries k ... ends[k] - 1, where starts and ends are of the row's document.
#pragma once

#include "xgen/cuda/device.h"

namespace xgen::cuda {

// Geometry of qkv rows, for kernels.
struct Heads {
  unsigned query_heads, key_value_heads, group, head_dimension;
  float scale;
  __host__ __device__ std::size_t row() const { return std::size_t{query_heads + 2 * key_value_heads} * head_dimension; }
  __host__ __device__ std::size_t out_row() const { return std::size_t{query_heads} * head_dimension; }
  __host__ __device__ std::size_t query(unsigned head) const { return std::size_t{head} * head_dimension; }
  __host__ __device__ std::size_t key(unsigned head) const { return std::size_t{query_heads + head} * head_dimension; }
  __host__ __device__ std::size_t value(unsigned head) const { return std::size_t{query_heads + key_value_heads + head} * head_dimension; }
};

inline Heads heads_of(const AttentionShape& shape) {
  return {static_cast<unsigned>(shape.query_heads), static_cast<unsigned>(shape.key_value_heads), static_cast<unsigned>(shape.group()),
          static_cast<unsigned>(shape.head_dimension), shape.scale};
}

template <class T>
struct AttentionForward {
  const T* qkv;
  const std::int32_t* starts;
  T* out;
  float* log_sum_exp;
  std::size_t tokens;
  Heads heads;
};

template <class T>
struct AttentionBackward {
  const T* qkv;
  const std::int32_t* starts;
  const std::int32_t* ends;
  const float* log_sum_exp;  // [tokens][query heads]
  const float* delta;        // likewise: sum of dy * out
  const T* dy;
  T* d_qkv;
  std::size_t tokens;
  Heads heads;
};

// Kernels in float32 arithmetic, for any head size to 256 (attention_general.cu).
template <class T>
void attention_general(Stream stream, const AttentionForward<T>& arguments);
template <class T>
void attention_grad_general(Stream stream, const AttentionBackward<T>& arguments);

// bfloat16 on the tensor cores, head sizes 64 and 128 (attention_mma.cu, attention_grad_mma.cu).
void attention_mma(Stream stream, const AttentionForward<bfloat16>& arguments);
void attention_grad_mma(Stream stream, const AttentionBackward<bfloat16>& arguments);

}  // namespace xgen::cuda
