// Attention's gradient for Hopper (compute capability 9.0), bfloat16 with heads of 64, in an order of sums that is not fixed (attention_grad_hopper.cu).
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

// out [tokens][query heads * 64]: delta is made of it, and not taken from the arguments. The workspace is 128-byte aligned.
void attention_grad_hopper(Stream stream, const AttentionBackward<bfloat16>& arguments, const bfloat16* out, void* workspace);
#endif

}  // namespace xgen::cuda
