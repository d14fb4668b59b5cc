// Attention over packed documents by cuDNN, where it is present and has an engine for the case: faster than the kernels here except, on Hopper,
// those for heads of 64 and 128 (src/kernels/attention_hopper.cu, attention_grad_hopper.cu), but its gradient adds in no fixed order. bfloat16 only.
//
// Cost: a plan is made once for each combination of sizes, some milliseconds; after that a call costs the host some ten microseconds.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "xgen/cuda/operations.h"

namespace xgen::cuda {

struct FusedAttentionLibrary {
  bool available = false;
  std::string detail;  // version, or why not
};
FusedAttentionLibrary probe_fused_attention() noexcept;

// One batch: `documents` of them, of which the longest has `longest` tokens (0: the host does not know).
struct PackedBatch {
  const std::int32_t* cumulative;  // [documents + 1], device memory
  std::size_t tokens, documents, longest;
};

class FusedAttention {
 public:
  FusedAttention();
  ~FusedAttention();
  FusedAttention(const FusedAttention&) = delete;
  FusedAttention& operator=(const FusedAttention&) = delete;

  // Whether the library takes this case; then, the bytes of workspace (256-byte aligned) that the call wants.
  bool takes(const PackedBatch& batch, const AttentionShape& shape, bool gradient, std::size_t* workspace_bytes);

  // As `attention` and `attention_grad` of operations.h, all arrays bfloat16. Only after `takes`.
  void forward(Stream stream, const void* qkv, const PackedBatch& batch, void* out, float* log_sum_exp, const AttentionShape& shape, void* workspace,
               ErrorFlag* error);
  void backward(Stream stream, const void* qkv, const PackedBatch& batch, const void* out, const float* log_sum_exp, const void* dy, void* d_qkv,
                const AttentionShape& shape, void* workspace, ErrorFlag* error);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace xgen::cuda
