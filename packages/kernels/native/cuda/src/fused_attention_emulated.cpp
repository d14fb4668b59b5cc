// The emulated device has no cuDNN: the kernels here take every case.
#include "xgen/cuda/fused_attention.h"

#include "xgen/error.h"

namespace xgen::cuda {

struct FusedAttention::State {};

FusedAttentionLibrary probe_fused_attention() noexcept { return {false, "no cuDNN on the emulated device"}; }

FusedAttention::FusedAttention() = default;
FusedAttention::~FusedAttention() = default;

bool FusedAttention::takes(const PackedBatch&, const AttentionShape&, bool, std::size_t*) { return false; }

void FusedAttention::forward(Stream, const void*, const PackedBatch&, void*, float*, const AttentionShape&, void*, ErrorFlag*) {
  throw Error("UNSUPPORTED", "There is no cuDNN on the emulated device.");
}

void FusedAttention::backward(Stream, const void*, const PackedBatch&, const void*, const float*, const void*, void*, const AttentionShape&, void*,
                              ErrorFlag*) {
  throw Error("UNSUPPORTED", "There is no cuDNN on the emulated device.");
}

}  // namespace xgen::cuda
