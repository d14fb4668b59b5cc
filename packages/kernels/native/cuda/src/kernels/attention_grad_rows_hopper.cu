// Before and after Hopper's gradient of attention (attention_grad_hopper.cu): delta and log-sum-exp by head, sums that are 0; the queries' gradients from
// their sums.
//
// Bound by memory, 14 bytes an element of dy: it and out are read and the sums written, then the sums read and written as bfloat16.
#include "attention_grad_hopper.h"
#include "hopper_products.h"
#include "xgen/cuda/device.h"

namespace xgen::cuda {

namespace {

constexpr const char* kName = "attention_grad";
constexpr unsigned kColumns = 64;  // that lie together
constexpr unsigned kTileRows = 64, kWarpRows = 16, kWarpSums = kWarpRows * kColumns;
constexpr unsigned kThreads = kTileRows / kWarpRows * kWarp;  // of the last kernel

constexpr unsigned kRowThreads = 256;  // of the first
template <unsigned size>
constexpr unsigned kRowsOf = kRowThreads / (size / kVector);  // of its block, by the heads' size: eight elements a lane

// Of 64 rows' numbers, in the order in which lanes of a warpgroup take four at once: lane l % 4 has columns 8 j + 2 (l % 4) and the next of its product's.
__device__ __forceinline__ std::size_t statistics_place(std::size_t row) {
  const std::size_t j = row / 8, lane = row % 8 / 2;
  return (j / 2 * 4 + lane) * 4 + j % 2 * 2 + row % 2;
}

// delta and log-sum-exp by head; clears the queries' sums. Block (rows, head). Rows after the last weigh nothing.
template <unsigned kSize>
__global__ void __launch_bounds__(kRowThreads) prepare_kernel(const bfloat16* dy, const bfloat16* out, const float* log_sum_exp,
                                                              float* log_sum_exp_by_head, float* delta, float* sums, unsigned* next,
                                                              std::size_t tokens, std::size_t padded, Heads heads) {
  constexpr unsigned kRows = kRowsOf<kSize>;
  const unsigned head = blockIdx.x % heads.query_heads, lane = threadIdx.x % (kSize / kVector);
  const std::size_t first = std::size_t{blockIdx.x / heads.query_heads} * kRows, row = first + threadIdx.x / (kSize / kVector);
  const bool valid = row < tokens;
  float sum = 0.0f;
  if (valid) {
    const std::size_t at = (row * heads.query_heads + head) * kSize + lane * kVector;
    const Floats8 a = load8(dy + at), b = load8(out + at);
#pragma unroll
    for (unsigned i = 0; i < kVector; i++) sum = fmaf(a.v[i], b.v[i], sum);
  }
  float4* const clear = reinterpret_cast<float4*>(sums + (head * padded + first) * kSize);
#pragma unroll
  for (unsigned i = 0; i < kRows * kSize / 4 / kRowThreads; i++) clear[i * kRowThreads + threadIdx.x] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  sum = warp_reduce<kSize / kVector>(sum, Add{});
  if (lane == 0) {
    const std::size_t to = head * padded + (kSize == 64 ? row : row / kTileRows * kTileRows + statistics_place(row % kTileRows));
    delta[to] = sum;
    log_sum_exp_by_head[to] = valid ? log_sum_exp[row * heads.query_heads + head] * kLog2E : infinity();
  }
  if (blockIdx.x == 0 && threadIdx.x == 0) *next = 0;
}

// The queries' gradients from their sums; each warp 16 rows of 64 columns of a head.
template <unsigned kSize>
__global__ void __launch_bounds__(kThreads) finish_kernel(const float* sums, bfloat16* d_qkv, std::size_t tokens, std::size_t padded, Heads heads) {
  constexpr unsigned kParts = kSize / kColumns;
  const unsigned column = blockIdx.x % kParts, head = blockIdx.x / kParts % heads.query_heads, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const std::size_t tile = blockIdx.x / kParts / heads.query_heads;
  const float* const from = sums + (head * padded + tile * kTileRows) * kSize + (column * (kTileRows / kWarpRows) + warp) * kWarpSums;
  float4 c[8];
#pragma unroll
  for (unsigned i = 0; i < 8; i++) c[i] = load_aligned<float4>(from + (i * kWarp + lane) * 4);
#pragma unroll
  for (unsigned half = 0; half < 2; half++) {
    const std::size_t row = tile * kTileRows + warp * kWarpRows + half * 8 + lane / 4;
    bfloat16* const to = d_qkv + row * heads.row() + heads.query(head) + column * kColumns;
#pragma unroll
    for (unsigned part = 0; part < 2; part++) {
      std::uint32_t x[4];
#pragma unroll
      for (unsigned i = 0; i < 4; i++) {
        const float4& s = c[part * 4 + i];
        x[i] = half == 0 ? pack_bfloat16(s.x * heads.scale, s.y * heads.scale) : pack_bfloat16(s.z * heads.scale, s.w * heads.scale);
      }
      hopper::transpose_words(x, lane);
      if (row < tokens) store_aligned(to + (part * 4 + lane % 4) * kVector, make_uint4(x[0], x[1], x[2], x[3]));
    }
  }
}

}  // namespace

GradientParts gradient_parts(void* workspace, std::size_t tokens, std::size_t query_heads, std::size_t size) {
  constexpr std::size_t head = 32;  // so that what follows is aligned
  const std::size_t padded = divide_up(tokens, kGradientPadding) * kGradientPadding, rows = padded * query_heads;
  float* const base = static_cast<float*>(workspace);
  return {padded, static_cast<unsigned*>(workspace), base + head, base + head + rows, base + head + 2 * rows, (head + rows * (2 + size)) * sizeof(float)};
}

std::size_t attention_grad_hopper_workspace_bytes(std::size_t tokens, const AttentionShape& shape) {
  return gradient_parts(nullptr, tokens, shape.query_heads, shape.head_dimension).bytes;
}

void prepare_gradient(Stream stream, const AttentionBackward<bfloat16>& a, const bfloat16* out, const GradientParts& parts) {
  const bool wide = a.heads.head_dimension == 128;
  const std::size_t rows = wide ? kRowsOf<128> : kRowsOf<64>;
  launch(kName, wide ? prepare_kernel<128> : prepare_kernel<64>, grid_of(kName, parts.padded / rows * a.heads.query_heads), kRowThreads, 0, stream, a.dy,
         out, a.log_sum_exp, parts.log_sum_exp, parts.delta, parts.sums, parts.next, a.tokens, parts.padded, a.heads);
}

void finish_gradient(Stream stream, const AttentionBackward<bfloat16>& a, const GradientParts& parts) {
  const unsigned size = a.heads.head_dimension;
  const std::size_t blocks = parts.padded / kTileRows * a.heads.query_heads * (size / kColumns);
  launch(kName, size == 128 ? finish_kernel<128> : finish_kernel<64>, grid_of(kName, blocks), kThreads, 0, stream,
         static_cast<const float*>(parts.sums), a.d_qkv, a.tokens, parts.padded, a.heads);
}

}  // namespace xgen::cuda
