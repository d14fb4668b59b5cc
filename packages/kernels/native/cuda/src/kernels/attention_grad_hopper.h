// Attention's gradient for Hopper (compute capability 9.0), bfloat16 with heads of 64 (attention_grad_hopper.cu) or 128
// (attention_grad_heads128_hopper.cu), in an order of sums that is not fixed.
#pragma once

#include "attention.h"

namespace xgen::cuda {

#ifdef XGEN_CUDA_EMULATION
inline bool attention_grad_hopper_takes(std::size_t, const AttentionShape&) { return false; }
inline std::size_t attention_grad_hopper_workspace_bytes(std::size_t, const AttentionShape&) { return 0; }
inline void attention_grad_hopper(Stream, const AttentionBackward<bfloat16>&, const bfloat16*, void*) {
  fail_launch("attention_grad", "the emulated device is no Hopper");
}
#else
// Whether the current device and these sizes are taken.
bool attention_grad_hopper_takes(std::size_t tokens, const AttentionShape& shape);
std::size_t attention_grad_hopper_workspace_bytes(std::size_t tokens, const AttentionShape& shape);

// out [tokens][query heads * head size]: delta is made of it, and not taken from the arguments. The workspace is 128-byte aligned.
void attention_grad_hopper(Stream stream, const AttentionBackward<bfloat16>& arguments, const bfloat16* out, void* workspace);

// Its kernel's part for heads of 128 (attention_grad_heads128_hopper.cu).
struct GradientParts;
void multiply_gradient_heads128(Stream stream, const AttentionBackward<bfloat16>& arguments, const GradientParts& parts);

// What the three kernels share, in the workspace (attention_grad_rows_hopper.cu). Rows are padded, so that tiles end where they like.
constexpr std::size_t kGradientPadding = 128;
struct GradientParts {
  std::size_t padded;  // tokens, up to a multiple of kGradientPadding
  unsigned* next;      // item of work, 0 at first
  float* log_sum_exp;  // [query heads][padded], base 2; infinite in rows that are no tokens
  float* delta;        // likewise; 0
  float* sums;         // of the queries' gradients, before the scale, as products' sums lie:
                       // [query heads][padded / 64][head size / 64][4 warps][8][32 lanes][4]
  std::size_t bytes;   // of all this
};
GradientParts gradient_parts(void* workspace, std::size_t tokens, std::size_t query_heads, std::size_t size);
void prepare_gradient(Stream stream, const AttentionBackward<bfloat16>& arguments, const bfloat16* out, const GradientParts& parts);
void finish_gradient(Stream stream, const AttentionBackward<bfloat16>& arguments, const GradientParts& parts);
#endif

}  // namespace xgen::cuda
