// Attention over packed documents: where each row's document starts and ends, the sums of dy * out, and the choice of kernels.
#include "attention.h"

#include <algorithm>

#include "attention_grad_hopper.h"
#include "attention_hopper.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kThreads = 256;

// Each token finds its document by bisection. Lengths that do not rise from 0 to `tokens` are reported, and bounded. `next`, where there is
// one, becomes 0.
__global__ void __launch_bounds__(kThreads) documents_kernel(const std::int32_t* cumulative, std::size_t documents, std::int32_t* starts,
                                                             std::int32_t* ends, unsigned* next, std::size_t tokens, ErrorFlag* error) {
  const std::size_t i = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i == 0 && next != nullptr) *next = 0;
  const std::size_t threads = static_cast<std::size_t>(gridDim.x) * kThreads;
  for (std::size_t d = i; d <= documents; d += threads) {
    const std::int32_t length = cumulative[d];
    const bool wrong = (d == 0 && length != 0) || (d > 0 && length < cumulative[d - 1]) ||
                       (d == documents && length != static_cast<std::int32_t>(tokens));
    if (wrong) report(error, DeviceError::cumulative_lengths, static_cast<std::int64_t>(d), length);
  }
  if (i >= tokens) return;
  const std::int32_t token = static_cast<std::int32_t>(i);
  std::size_t low = 0, high = documents;  // cumulative[low] <= token < cumulative[high], where the lengths are in order
  while (high - low > 1) {
    const std::size_t middle = (low + high) / 2;
    if (cumulative[middle] <= token) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const std::int32_t start = cumulative[low], end = documents == 0 ? token + 1 : cumulative[high], last = static_cast<std::int32_t>(tokens);
  starts[i] = start < 0 || start > token ? token : start;
  ends[i] = end <= token || end > last ? token + 1 : end;
}

// delta[token][head] = sum of dy * out over the head; one warp each.
template <class T>
__global__ void __launch_bounds__(kThreads) delta_kernel(const T* dy, const T* out, float* delta, std::size_t count, unsigned head_dimension) {
  const std::size_t k = static_cast<std::size_t>(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
  const unsigned lane = threadIdx.x % kWarp;
  float sum = 0.0f;
  if (k < count) {
    for (unsigned d = lane; d < head_dimension; d += kWarp) sum += to_float(dy[k * head_dimension + d]) * to_float(out[k * head_dimension + d]);
  }
  sum = warp_reduce(sum, Add{});
  if (k < count && lane == 0) delta[k] = sum;
}

bool on_tensor_cores(ElementType type, std::size_t head_dimension) {
  return type == ElementType::bfloat16 && (head_dimension == 64 || head_dimension == 128);
}

struct Workspace {
  std::int32_t* starts;
  std::int32_t* ends;
  float* delta;    // backward, or the workspace of Hopper's gradient
  unsigned* next;  // forward: the tile to take, in delta's place
};
std::size_t rows_bytes(std::size_t tokens) { return align_up(tokens * sizeof(std::int32_t)); }
Workspace workspace_of(void* workspace, std::size_t tokens) {
  unsigned char* const base = static_cast<unsigned char*>(workspace);
  return {reinterpret_cast<std::int32_t*>(base), reinterpret_cast<std::int32_t*>(base + rows_bytes(tokens)),
          reinterpret_cast<float*>(base + 2 * rows_bytes(tokens)), reinterpret_cast<unsigned*>(base + 2 * rows_bytes(tokens))};
}

void find_documents(const char* name, Stream stream, const std::int32_t* cumulative, std::size_t documents, const Workspace& w, unsigned* next,
                    std::size_t tokens, ErrorFlag* error) {
  launch(name, documents_kernel, grid_of(name, divide_up(tokens, kThreads)), kThreads, 0, stream, cumulative, documents, w.starts, w.ends, next,
         tokens, error);
}

}  // namespace

bool attention_beats_library(ElementType type, std::size_t tokens, const AttentionShape& shape) {
  return type == ElementType::bfloat16 && attention_hopper_takes(tokens, shape);
}

std::size_t attention_workspace_bytes(std::size_t tokens, const AttentionShape&) { return 2 * rows_bytes(tokens) + 16; }

void attention(Stream stream, ConstArray qkv, const std::int32_t* cumulative, std::size_t documents, Array out, float* log_sum_exp,
               std::size_t tokens, const AttentionShape& shape, void* workspace, ErrorFlag* error) {
  constexpr const char* name = "attention";
  require_same(name, qkv.type, out.type);
  const Workspace w = workspace_of(workspace, tokens);
  find_documents(name, stream, cumulative, documents, w, w.next, tokens, error);
  with_float(name, qkv.type, [&](auto t) {
    using T = decltype(t);
    const AttentionForward<T> arguments = {typed<T>(qkv), w.starts, typed<T>(out), log_sum_exp, tokens, heads_of(shape)};
    if constexpr (sizeof(T) == sizeof(bfloat16)) {
      if (attention_hopper_takes(tokens, shape)) return attention_hopper(stream, arguments, documents, w.next);
      if (on_tensor_cores(qkv.type, shape.head_dimension)) return attention_mma(stream, arguments);
    }
    attention_general(stream, arguments);
  });
}

bool attention_grad_beats_library(ElementType type, std::size_t tokens, const AttentionShape& shape) {
  return type == ElementType::bfloat16 && attention_grad_hopper_takes(tokens, shape);
}

std::size_t attention_grad_workspace_bytes(std::size_t tokens, const AttentionShape& shape, bool any_order) {
  const std::size_t delta = tokens * shape.query_heads * sizeof(float);
  const bool hopper = any_order && attention_grad_hopper_takes(tokens, shape);
  return 2 * rows_bytes(tokens) + (hopper ? std::max(delta, attention_grad_hopper_workspace_bytes(tokens, shape)) : delta) + 16;
}

void attention_grad(Stream stream, ConstArray qkv, const std::int32_t* cumulative, std::size_t documents, ConstArray out,
                    const float* log_sum_exp, ConstArray dy, Array d_qkv, std::size_t tokens, const AttentionShape& shape, void* workspace,
                    ErrorFlag* error, bool any_order) {
  constexpr const char* name = "attention_grad";
  require_same(name, qkv.type, out.type);
  require_same(name, qkv.type, dy.type);
  require_same(name, qkv.type, d_qkv.type);
  const Workspace w = workspace_of(workspace, tokens);
  find_documents(name, stream, cumulative, documents, w, nullptr, tokens, error);
  with_float(name, qkv.type, [&](auto t) {
    using T = decltype(t);
    const AttentionBackward<T> arguments = {typed<T>(qkv), w.starts, w.ends, log_sum_exp, w.delta, typed<T>(dy), typed<T>(d_qkv), tokens,
                                            heads_of(shape)};
    if constexpr (sizeof(T) == sizeof(bfloat16)) {
      if (any_order && attention_grad_hopper_takes(tokens, shape)) return attention_grad_hopper(stream, arguments, typed<T>(out), w.delta);
    }
    const std::size_t count = tokens * shape.query_heads;
    launch(name, delta_kernel<T>, grid_of(name, divide_up(count, kThreads / kWarp)), kThreads, 0, stream, typed<T>(dy), typed<T>(out), w.delta,
           count, static_cast<unsigned>(shape.head_dimension));
    if constexpr (sizeof(T) == sizeof(bfloat16)) {
      if (on_tensor_cores(qkv.type, shape.head_dimension)) return attention_grad_mma(stream, arguments);
    }
    attention_grad_general(stream, arguments);
  });
}

}  // namespace xgen::cuda
