// Attention's forward pass for Hopper (compute capability 9.0), bfloat16 with heads of 64 (attention_hopper.cu) or 128 (attention_heads128_hopper.cu).
#pragma once

#include "attention.h"

namespace xgen::cuda {

#ifdef XGEN_CUDA_EMULATION
inline bool attention_hopper_takes(std::size_t, const AttentionShape&) { return false; }
inline void attention_hopper(Stream, const AttentionForward<bfloat16>&, std::size_t, unsigned*) {
  fail_launch("attention", "the emulated device is no Hopper");
}
#else
// Whether the current device and these sizes are taken: heads of 64 and 128.
bool attention_hopper_takes(std::size_t tokens, const AttentionShape& shape);

// `next`: a number in device memory that is 0 when the kernel starts; it hands out tiles.
void attention_hopper(Stream stream, const AttentionForward<bfloat16>& arguments, std::size_t documents, unsigned* next);
// Its part for heads of 128 (attention_heads128_hopper.cu).
void attention_heads128_hopper(Stream stream, const AttentionForward<bfloat16>& arguments, std::size_t documents, unsigned* next);
// Heads that share keys side by side: as many as have room for a document's keys and values in the second-level cache.
unsigned attention_heads_together(std::size_t tokens, std::size_t documents, const Heads& heads);
#endif

}  // namespace xgen::cuda
