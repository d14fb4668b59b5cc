// Appending new tokens' keys and values to a paged cache: bound by memory, each read and written once.
#include "attention.h"

namespace xgen::cuda {

namespace {

constexpr const char* kName = "paged_cache_append";
constexpr unsigned kThreads = 128;

// A block for each token. Where a later token names the same slot, that one's row stays.
__global__ void __launch_bounds__(kThreads) append_kernel(void* keys, void* values, ElementType cache_type, std::size_t cache_rows, const void* qkv,
                                                          ElementType type, const std::int32_t* slots, std::size_t tokens, Heads heads, ErrorFlag* error) {
  XGEN_SHARED(unsigned, again, 1);
  follow_previous();
  const std::size_t token = blockIdx.x;
  const std::int32_t slot = slots[token];
  if (slot == kUnused) return;
  if (slot < 0 || static_cast<std::size_t>(slot) >= cache_rows) {
    if (threadIdx.x == 0) report(error, DeviceError::slots, static_cast<std::int64_t>(token), slot);
    return;
  }
  if (threadIdx.x == 0) *again = 0;
  __syncthreads();
  for (std::size_t i = token + 1 + threadIdx.x; i < tokens; i += kThreads) {
    if (slots[i] == slot) *again = 1;
  }
  __syncthreads();
  if (*again != 0) return;
  const unsigned width = heads.key_value_heads * heads.head_dimension;
  const std::size_t from = token * heads.row() + heads.key(0), to = static_cast<std::size_t>(slot) * width;
  if (heads.head_dimension % kVector == 0) {
    for (unsigned i = threadIdx.x * kVector; i < 2 * width; i += kThreads * kVector) {
      store8(i < width ? keys : values, cache_type, to + (i < width ? i : i - width), load8(qkv, type, from + i));
    }
  } else {
    for (unsigned i = threadIdx.x; i < 2 * width; i += kThreads) {
      store1(i < width ? keys : values, cache_type, to + (i < width ? i : i - width), load1(qkv, type, from + i));
    }
  }
}

}  // namespace

void paged_cache_append(Stream stream, Array key_cache, Array value_cache, std::size_t cache_rows, ConstArray qkv, const std::int32_t* slots,
                        std::size_t tokens, const AttentionShape& shape, ErrorFlag* error) {
  require_float(kName, qkv.type);
  require_float(kName, key_cache.type);
  require_same(kName, key_cache.type, value_cache.type);
  launch_early(kName, append_kernel, grid_of(kName, tokens), kThreads, 0, stream, key_cache.data, value_cache.data, key_cache.type, cache_rows, qkv.data,
               qkv.type, slots, tokens, heads_of(shape), error);
}

}  // namespace xgen::cuda
