// The emulated device is no Hopper: the separate product and element-wise kernel take every case.
#include "xgen/cuda/hopper_feed_forward.h"
#include "xgen/error.h"

namespace xgen::cuda {

bool hopper_takes(const FeedForwardShape&) { return false; }

void hopper_gated_linear(Stream, const void*, const void*, void*, void*, const FeedForwardShape&) {
  throw Error("UNSUPPORTED", "The emulated device is no Hopper.");
}

void hopper_gated_linear_grad(Stream, const void*, const void*, const void*, void*, const FeedForwardShape&) {
  throw Error("UNSUPPORTED", "The emulated device is no Hopper.");
}

}  // namespace xgen::cuda
