// The gradient of flash attention on the tensor cores, bfloat16 with float32 sums, deterministic: one kernel owns queries and writes dq, one
// owns keys and writes dk and dv over all query heads of its group, each sum in one place and order. (A single kernel would save two of
// the seven products, but must then add to dq from many blocks, atomically or through memory.)
//
// Bound by arithmetic: seven products of 2 head sizes a pair of query and key, half of all pairs by causality.
//
// A block is 8 warps of 16 own rows, over tiles of 64 other rows, double-buffered with cp.async and one barrier a tile. In both kernels
// the scores' registers are the next product's left operand: no weight passes through shared memory. At head size 128 a block holds
// 128 + 128 own rows and 2 * (64 + 64) other rows, 128 KB, and the keys' kernel 128 registers of sums a thread: one block a processor.
#include "attention.h"
#include "mma.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kOwn = kThreads / kWarp * 16;
constexpr unsigned kOther = 64;

// After the tiles: log-sum-exp, delta and start of the 64 queries of each buffer, in the keys' kernel.
template <unsigned Size>
constexpr std::size_t shared_bytes(bool with_statistics) {
  return (2 * kOwn + 4 * kOther) * Size * sizeof(bfloat16) + (with_statistics ? 2 * 3 * kOther * 4 : 0);
}

// `rows` rows from `first` of two arrays into two tiles, rows from `end` on as zeros.
template <unsigned Size, unsigned rows>
__device__ __forceinline__ void load_pair(const bfloat16* a, std::size_t a_stride, bfloat16* to_a, const bfloat16* b, std::size_t b_stride, bfloat16* to_b,
                                          std::size_t first, std::size_t end) {
  constexpr unsigned chunks = Size / kChunk;
#pragma unroll 4
  for (unsigned i = threadIdx.x; i < rows * chunks; i += kThreads) {
    const unsigned row = i / chunks, chunk = i % chunks;
    const bool valid = first + row < end;
    const std::size_t at = valid ? first + row : 0;
    copy_chunk(to_a + tile_offset<Size>(row, chunk), a + at * a_stride + chunk * kChunk, valid);
    copy_chunk(to_b + tile_offset<Size>(row, chunk), b + at * b_stride + chunk * kChunk, valid);
  }
}

// c[n] = own rows row ... row + 15 of `own` times rows 8 n ... of `other`.
template <unsigned Size>
__device__ __forceinline__ void multiply_tiles(float (&c)[kOther / 8][4], const bfloat16* own, unsigned row, const bfloat16* other) {
#pragma unroll
  for (unsigned n = 0; n < kOther / 8; n++) {
#pragma unroll
    for (unsigned j = 0; j < 4; j++) c[n][j] = 0.0f;
  }
#pragma unroll
  for (unsigned k = 0; k < Size / 16; k++) {
    std::uint32_t left[4];
    load_left<Size>(left, own, row, k);
#pragma unroll
    for (unsigned n = 0; n < kOther / 16; n++) {
      std::uint32_t right[4];
      load_right_rows<Size>(right, other, n * 16, k);
      multiply_add(c[2 * n], left, right[0], right[1]);
      multiply_add(c[2 * n + 1], left, right[2], right[3]);
    }
  }
}

// sums += weights (16 x 64, in registers) times the 64 rows of `other`.
template <unsigned Size>
__device__ __forceinline__ void accumulate(float (&sums)[Size / 8][4], const float (&weights)[kOther / 8][4], const bfloat16* other) {
#pragma unroll
  for (unsigned k = 0; k < kOther / 16; k++) {
    std::uint32_t left[4];
    as_left(left, weights[2 * k], weights[2 * k + 1]);
#pragma unroll
    for (unsigned n = 0; n < Size / 16; n++) {
      std::uint32_t right[4];
      load_right_depth<Size>(right, other, k * 16, n);
      multiply_add(sums[2 * n], left, right[0], right[1]);
      multiply_add(sums[2 * n + 1], left, right[2], right[3]);
    }
  }
}

template <unsigned Size>
__device__ __forceinline__ void clear(float (&sums)[Size / 8][4]) {
#pragma unroll
  for (unsigned n = 0; n < Size / 8; n++) {
#pragma unroll
    for (unsigned j = 0; j < 4; j++) sums[n][j] = 0.0f;
  }
}

// Block (tile of queries, query head).
template <unsigned Size>
__global__ void __launch_bounds__(kThreads, 1) grad_queries_kernel(AttentionBackward<bfloat16> a) {
  XGEN_DYNAMIC_SHARED(shared);
  bfloat16* const queries = reinterpret_cast<bfloat16*>(shared);
  bfloat16* const dys = queries + kOwn * Size;
  bfloat16* const buffers = dys + kOwn * Size;
  constexpr unsigned buffer_size = 2 * kOther * Size;
  const unsigned warp_row = threadIdx.x / kWarp * 16, lane = threadIdx.x % kWarp, g = lane / 4, t = lane % 4;
  const Heads& h = a.heads;
  const unsigned head = blockIdx.x % h.query_heads, tiles = gridDim.x / h.query_heads, key_head = head / h.group;
  const std::size_t first = std::size_t{tiles - 1 - blockIdx.x / h.query_heads} * kOwn;
  const std::size_t end = first + kOwn < a.tokens ? first + kOwn : a.tokens;
  const float factor = h.scale * kLog2E;
  const bfloat16* const keys = a.qkv + h.key(key_head);
  const bfloat16* const values = a.qkv + h.value(key_head);

  load_pair<Size, kOwn>(a.qkv + h.query(head), h.row(), queries, a.dy + h.query(head), h.out_row(), dys, first, end);
  std::size_t k0 = static_cast<std::size_t>(a.starts[first]);
  load_pair<Size, kOther>(keys, h.row(), buffers, values, h.row(), buffers + kOther * Size, k0, end);
  commit_copies();

  std::size_t row[2];
  std::size_t low[2];
  float log_sum_exp[2], delta[2], sums[Size / 8][4];
#pragma unroll
  for (unsigned i = 0; i < 2; i++) {
    row[i] = first + warp_row + i * 8 + g;
    const bool inside = row[i] < a.tokens;
    low[i] = inside ? static_cast<std::size_t>(a.starts[row[i]]) : a.tokens;
    log_sum_exp[i] = inside ? a.log_sum_exp[row[i] * h.query_heads + head] * kLog2E : 0.0f;
    delta[i] = inside ? a.delta[row[i] * h.query_heads + head] : 0.0f;
  }
  clear<Size>(sums);
  const std::size_t warp_first = first + warp_row, warp_last = warp_first + 15;
  const std::size_t last_low = warp_last < a.tokens ? static_cast<std::size_t>(a.starts[warp_last]) : a.tokens;  // past the end: always masked

  for (unsigned turn = 0; k0 < end; k0 += kOther, turn ^= 1) {
    wait_for_copies();
    __syncthreads();
    if (k0 + kOther < end) {
      bfloat16* const other = buffers + (turn ^ 1) * buffer_size;
      load_pair<Size, kOther>(keys, h.row(), other, values, h.row(), other + kOther * Size, k0 + kOther, end);
      commit_copies();
    }
    if (k0 > warp_last || warp_first >= a.tokens) continue;
    const bfloat16* const key_tile = buffers + turn * buffer_size;
    float p[kOther / 8][4], ds[kOther / 8][4];
    multiply_tiles<Size>(p, queries, warp_row, key_tile);
    multiply_tiles<Size>(ds, dys, warp_row, key_tile + kOther * Size);
    const bool masked = k0 + kOther - 1 > warp_first || k0 < last_low;
#pragma unroll
    for (unsigned n = 0; n < kOther / 8; n++) {
#pragma unroll
      for (unsigned j = 0; j < 4; j++) {
        float weight = exp2_fast(fmaf(p[n][j], factor, -log_sum_exp[j / 2]));
        if (masked) {
          const std::size_t index = k0 + n * 8 + 2 * t + j % 2;
          if (index > row[j / 2] || index < low[j / 2]) weight = 0.0f;
        }
        ds[n][j] = weight * (ds[n][j] - delta[j / 2]);
      }
    }
    accumulate<Size>(sums, ds, key_tile);
  }
  store_rows<Size>(sums, h.scale, h.scale, queries, warp_row,
                   [&](unsigned r) { return first + r < end ? a.d_qkv + (first + r) * h.row() + h.query(head) : nullptr; });
}

// Block (tile of keys, key-value head).
template <unsigned Size>
__global__ void __launch_bounds__(kThreads, 1) grad_keys_kernel(AttentionBackward<bfloat16> a) {
  XGEN_DYNAMIC_SHARED(shared);
  bfloat16* const keys = reinterpret_cast<bfloat16*>(shared);
  bfloat16* const values = keys + kOwn * Size;
  bfloat16* const buffers = values + kOwn * Size;
  constexpr unsigned buffer_size = 2 * kOther * Size;
  float* const statistics = reinterpret_cast<float*>(buffers + 2 * buffer_size);
  const unsigned warp_row = threadIdx.x / kWarp * 16, lane = threadIdx.x % kWarp, g = lane / 4, t = lane % 4;
  const Heads& h = a.heads;
  const unsigned key_head = blockIdx.x % h.key_value_heads;
  const std::size_t first = std::size_t{blockIdx.x / h.key_value_heads} * kOwn;  // the first keys are seen by the most queries
  const std::size_t own_end = first + kOwn < a.tokens ? first + kOwn : a.tokens;
  const std::size_t end = static_cast<std::size_t>(a.ends[own_end - 1]);         // of the queries
  const float factor = h.scale * kLog2E;
  const unsigned tiles = static_cast<unsigned>((end - first + kOther - 1) / kOther), rounds = tiles * h.group;

  // Round r is query tile r % tiles of the group's head r / tiles.
  const auto load_round = [&](unsigned round, unsigned buffer) {
    const unsigned head = key_head * h.group + round / tiles;
    const std::size_t q0 = first + std::size_t{round % tiles} * kOther;
    bfloat16* const to = buffers + buffer * buffer_size;
    load_pair<Size, kOther>(a.qkv + h.query(head), h.row(), to, a.dy + h.query(head), h.out_row(), to + kOther * Size, q0, end);
    const unsigned i = threadIdx.x % kOther, which = threadIdx.x / kOther;
    const bool valid = q0 + i < end;
    const std::size_t at = valid ? q0 + i : 0;
    float* const word = statistics + (buffer * 3 + which) * kOther + i;
    if (which == 0) copy_word(word, a.log_sum_exp + at * h.query_heads + head, valid);
    if (which == 1) copy_word(word, a.delta + at * h.query_heads + head, valid);
    if (which == 2) copy_word(reinterpret_cast<std::int32_t*>(word), a.starts + at, valid);
    commit_copies();
  };
  load_pair<Size, kOwn>(a.qkv + h.key(key_head), h.row(), keys, a.qkv + h.value(key_head), h.row(), values, first, own_end);
  load_round(0, 0);

  float d_keys[Size / 8][4], d_values[Size / 8][4];
  clear<Size>(d_keys);
  clear<Size>(d_values);
  const std::size_t warp_first = first + warp_row, warp_last = warp_first + 15;
  const std::size_t warp_end = warp_first < a.tokens ? static_cast<std::size_t>(a.ends[warp_first]) : 0;  // where queries stop to see its first key

  unsigned tile = 0;
  for (unsigned round = 0; round < rounds; round++, tile = tile + 1 == tiles ? 0 : tile + 1) {
    wait_for_copies();
    __syncthreads();
    if (round + 1 < rounds) load_round(round + 1, (round + 1) % 2);
    const std::size_t q0 = first + std::size_t{tile} * kOther;
    if (q0 + kOther <= warp_first || warp_first >= a.tokens) continue;  // every query of the tile comes before the warp's keys
    const bfloat16* const query_tile = buffers + round % 2 * buffer_size;
    const bfloat16* const dy_tile = query_tile + kOther * Size;
    const float* const log_sum_exp = statistics + round % 2 * 3 * kOther;
    const float* const delta = log_sum_exp + kOther;
    const std::int32_t* const starts = reinterpret_cast<const std::int32_t*>(delta + kOther);

    float p[kOther / 8][4], ds[kOther / 8][4];
    multiply_tiles<Size>(p, keys, warp_row, query_tile);
    multiply_tiles<Size>(ds, values, warp_row, dy_tile);
    const bool masked = q0 < warp_last || q0 + kOther > warp_end;
#pragma unroll
    for (unsigned n = 0; n < kOther / 8; n++) {
      const unsigned column = n * 8 + 2 * t;
      const float2 lse = load_aligned<float2>(log_sum_exp + column), d = load_aligned<float2>(delta + column);
#pragma unroll
      for (unsigned j = 0; j < 4; j++) {
        float weight = exp2_fast(fmaf(p[n][j], factor, -(j % 2 == 0 ? lse.x : lse.y) * kLog2E));
        if (masked) {
          const std::size_t query = q0 + column + j % 2, key = warp_first + j / 2 * 8 + g;
          if (query >= end || key > query || key < static_cast<std::size_t>(starts[column + j % 2])) weight = 0.0f;
        }
        p[n][j] = weight;
        ds[n][j] = weight * (ds[n][j] - (j % 2 == 0 ? d.x : d.y));
      }
    }
    accumulate<Size>(d_values, p, dy_tile);
    accumulate<Size>(d_keys, ds, query_tile);
  }
  store_rows<Size>(d_keys, h.scale, h.scale, keys, warp_row,
                   [&](unsigned r) { return first + r < own_end ? a.d_qkv + (first + r) * h.row() + h.key(key_head) : nullptr; });
  store_rows<Size>(d_values, 1.0f, 1.0f, values, warp_row,
                   [&](unsigned r) { return first + r < own_end ? a.d_qkv + (first + r) * h.row() + h.value(key_head) : nullptr; });
}

template <unsigned Size>
void launch_both(Stream stream, const AttentionBackward<bfloat16>& arguments) {
  constexpr const char* name = "attention_grad";
  const std::size_t tiles = divide_up(arguments.tokens, kOwn);
  launch(name, grad_keys_kernel<Size>, grid_of(name, tiles * arguments.heads.key_value_heads), kThreads, shared_bytes<Size>(true), stream, arguments);
  launch(name, grad_queries_kernel<Size>, grid_of(name, tiles * arguments.heads.query_heads), kThreads, shared_bytes<Size>(false), stream, arguments);
}

}  // namespace

void attention_grad_mma(Stream stream, const AttentionBackward<bfloat16>& arguments) {
  if (arguments.heads.head_dimension == 64) {
    launch_both<64>(stream, arguments);
  } else if (arguments.heads.head_dimension == 128) {
    launch_both<128>(stream, arguments);
  } else {
    fail_launch("attention_grad", "the tensor cores' kernel takes head sizes 64 and 128");
  }
}

}  // namespace xgen::cuda
