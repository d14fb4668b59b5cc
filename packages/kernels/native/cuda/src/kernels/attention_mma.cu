// Flash attention forward on the tensor cores, bfloat16 in, float32 sums (FlashAttention-2, Dao 2023), over packed documents or over
// a paged cache (chunks of a prefill).
//
// Bound by arithmetic: 4 head sizes of operations for each pair of query and key, half of all pairs by causality. mma.sync reaches some
// 60 % of an H100's 989 TFLOP/s; exponentials (16 a clock and processor) cost about a fifth of the products' time at head size 128.
//
// A block is 4 warps with 32 queries each, over tiles of 64 keys. Each ldmatrix of keys or values then feeds four products, which
// keeps shared memory (128 bytes a clock) below the tensor cores' appetite. Keys and values are double-buffered with cp.async: tile
// n + 1 travels while tile n is worked on, with one barrier a tile. Shared memory: 128 + 4 * 64 rows = 96 KB at head size 128, so two
// blocks share a processor and one's exponentials hide behind the other's products. Weights go from the scores' registers straight
// into the second product's left operand. Tiles fully below the diagonal and inside the documents skip the mask.
#include "attention_tasks.h"
#include "mma.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kThreads = 128;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr unsigned kBlocks = 2;                    // of 16 queries a warp
constexpr unsigned kQueries = kWarps * kBlocks * 16;
constexpr unsigned kKeys = 64;

template <unsigned Size>
constexpr std::size_t shared_bytes() { return (kQueries + 4 * kKeys) * Size * sizeof(bfloat16); }

// Where a task's key rows lie, so that keys and values share one look-up.
__device__ __forceinline__ std::int64_t cache_row(const PackedTask<bfloat16>&, std::int32_t index) { return index; }
__device__ __forceinline__ std::int64_t cache_row(const PagedTask<bfloat16, bfloat16>& task, std::int32_t index) {
  return paged_row(task.a.pages, task.sequence, static_cast<unsigned>(index));
}
struct KeyArrays {
  const bfloat16* keys;
  const bfloat16* values;
  std::size_t stride;
};
__device__ __forceinline__ KeyArrays key_arrays(const PackedTask<bfloat16>& task) {
  const Heads& h = task.a.heads;
  return {task.a.qkv + h.key(task.head / h.group), task.a.qkv + h.value(task.head / h.group), h.row()};
}
__device__ __forceinline__ KeyArrays key_arrays(const PagedTask<bfloat16, bfloat16>& task) {
  const Heads& h = task.a.heads;
  const std::size_t offset = std::size_t{task.head / h.group} * h.head_dimension;
  return {task.a.key_cache + offset, task.a.value_cache + offset, std::size_t{h.key_value_heads} * h.head_dimension};
}

template <unsigned Size, class Task>
__device__ __forceinline__ void load_keys(const Task& task, const KeyArrays& arrays, std::int32_t k0, std::int32_t last, bfloat16* keys, bfloat16* values) {
  constexpr unsigned chunks = Size / kChunk;
#pragma unroll
  for (unsigned i = threadIdx.x; i < kKeys * chunks; i += kThreads) {
    const unsigned row = i / chunks, chunk = i % chunks;
    const std::int32_t index = k0 + static_cast<std::int32_t>(row);
    const std::int64_t at = index <= last ? cache_row(task, index) : -1;
    const std::size_t offset = static_cast<std::size_t>(at < 0 ? 0 : at) * arrays.stride + chunk * kChunk;
    copy_chunk(keys + tile_offset<Size>(row, chunk), arrays.keys + offset, at >= 0);
    copy_chunk(values + tile_offset<Size>(row, chunk), arrays.values + offset, at >= 0);
  }
}

template <unsigned Size, class Task>
__global__ void __launch_bounds__(kThreads, 2) forward_kernel(Task task) {
  XGEN_DYNAMIC_SHARED(shared);
  bfloat16* const queries = reinterpret_cast<bfloat16*>(shared);
  bfloat16* const buffers = queries + kQueries * Size;  // two times keys and values
  constexpr unsigned buffer_size = 2 * kKeys * Size;
  if (!task.locate(blockIdx.x, kQueries)) return;
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, g = lane / 4, t = lane % 4;
  const unsigned warp_row = warp * kBlocks * 16;
  const float factor = task.a.heads.scale * kLog2E;
  const KeyArrays arrays = key_arrays(task);
  const std::int32_t begin = task.low(0), last = task.high(task.count - 1);

  constexpr unsigned chunks = Size / kChunk;
#pragma unroll 4
  for (unsigned i = threadIdx.x; i < kQueries * chunks; i += kThreads) {
    const unsigned row = i / chunks, chunk = i % chunks;
    copy_chunk(queries + tile_offset<Size>(row, chunk), task.query(row < task.count ? row : 0) + chunk * kChunk, row < task.count);
  }
  if (begin <= last) load_keys<Size>(task, arrays, begin, last, buffers, buffers + kKeys * Size);
  commit_copies();

  // Rows of the warp's two blocks: g and g + 8 of each.
  float largest[kBlocks][2], total[kBlocks][2], sums[kBlocks][Size / 8][4];
#pragma unroll
  for (unsigned m = 0; m < kBlocks; m++) {
#pragma unroll
    for (unsigned h = 0; h < 2; h++) {
      largest[m][h] = -infinity();
      total[m][h] = 0.0f;
    }
#pragma unroll
    for (unsigned n = 0; n < Size / 8; n++) {
#pragma unroll
      for (unsigned j = 0; j < 4; j++) sums[m][n][j] = 0.0f;
    }
  }
  // Keys from here on may be hidden from the warp's first row, keys before that one from its last row.
  const bool any = warp_row < task.count;
  const unsigned final_row = warp_row + kBlocks * 16 <= task.count ? warp_row + kBlocks * 16 - 1 : (any ? task.count - 1 : 0);
  const std::int32_t first_high = any ? task.high(warp_row) : -1, last_high = any ? task.high(final_row) : -1;
  const std::int32_t last_low = any ? task.low(final_row) : 0;
  const bool full = warp_row + kBlocks * 16 <= task.count;

  unsigned turn = 0;
  for (std::int32_t k0 = begin; k0 <= last; k0 += static_cast<std::int32_t>(kKeys), turn ^= 1) {
    wait_for_copies();
    __syncthreads();  // tile n is there for all, and all have left tile n - 1
    const std::int32_t next = k0 + static_cast<std::int32_t>(kKeys);
    if (next <= last) {
      bfloat16* const other = buffers + (turn ^ 1) * buffer_size;
      load_keys<Size>(task, arrays, next, last, other, other + kKeys * Size);
      commit_copies();
    }
    if (k0 > last_high) continue;  // the whole warp
    const bfloat16* const keys = buffers + turn * buffer_size;
    const bfloat16* const values = keys + kKeys * Size;

    float scores[kBlocks][kKeys / 8][4];
#pragma unroll
    for (unsigned m = 0; m < kBlocks; m++) {
#pragma unroll
      for (unsigned n = 0; n < kKeys / 8; n++) {
#pragma unroll
        for (unsigned j = 0; j < 4; j++) scores[m][n][j] = 0.0f;
      }
    }
#pragma unroll
    for (unsigned k = 0; k < Size / 16; k++) {
      std::uint32_t left[kBlocks][4];
#pragma unroll
      for (unsigned m = 0; m < kBlocks; m++) load_left<Size>(left[m], queries, warp_row + m * 16, k);
#pragma unroll
      for (unsigned n = 0; n < kKeys / 16; n++) {
        std::uint32_t right[4];
        load_right_rows<Size>(right, keys, n * 16, k);
#pragma unroll
        for (unsigned m = 0; m < kBlocks; m++) {
          multiply_add(scores[m][2 * n], left[m], right[0], right[1]);
          multiply_add(scores[m][2 * n + 1], left[m], right[2], right[3]);
        }
      }
    }
    if (!full || next - 1 > first_high || k0 < last_low) {
#pragma unroll
      for (unsigned m = 0; m < kBlocks; m++) {
#pragma unroll
        for (unsigned h = 0; h < 2; h++) {
          const unsigned row = warp_row + m * 16 + h * 8 + g;
          const std::int32_t low = row < task.count ? task.low(row) : 0, high = row < task.count ? task.high(row) : -1;
#pragma unroll
          for (unsigned n = 0; n < kKeys / 8; n++) {
#pragma unroll
            for (unsigned j = 0; j < 2; j++) {
              const std::int32_t index = k0 + static_cast<std::int32_t>(n * 8 + 2 * t + j);
              if (index < low || index > high) scores[m][n][2 * h + j] = -infinity();
            }
          }
        }
      }
    }
#pragma unroll
    for (unsigned m = 0; m < kBlocks; m++) {
#pragma unroll
      for (unsigned h = 0; h < 2; h++) {
        float maximum = largest[m][h];
#pragma unroll
        for (unsigned n = 0; n < kKeys / 8; n++) maximum = fmaxf(maximum, fmaxf(scores[m][n][2 * h], scores[m][n][2 * h + 1]));
        maximum = warp_reduce<4>(maximum, [](float a, float b) { return fmaxf(a, b); });
        const float base = maximum == -infinity() ? 0.0f : maximum * factor;
        const float shrink = exp2_fast(largest[m][h] * factor - base);
        largest[m][h] = maximum;
        float sum = 0.0f;
#pragma unroll
        for (unsigned n = 0; n < kKeys / 8; n++) {
#pragma unroll
          for (unsigned j = 2 * h; j < 2 * h + 2; j++) {
            scores[m][n][j] = exp2_fast(fmaf(scores[m][n][j], factor, -base));
            sum += scores[m][n][j];
          }
        }
        total[m][h] = total[m][h] * shrink + sum;  // of this lane's columns; lanes are joined at the end
#pragma unroll
        for (unsigned n = 0; n < Size / 8; n++) {
          sums[m][n][2 * h] *= shrink;
          sums[m][n][2 * h + 1] *= shrink;
        }
      }
    }
#pragma unroll
    for (unsigned k = 0; k < kKeys / 16; k++) {
      std::uint32_t left[kBlocks][4];
#pragma unroll
      for (unsigned m = 0; m < kBlocks; m++) as_left(left[m], scores[m][2 * k], scores[m][2 * k + 1]);
#pragma unroll
      for (unsigned n = 0; n < Size / 16; n++) {
        std::uint32_t right[4];
        load_right_depth<Size>(right, values, k * 16, n);
#pragma unroll
        for (unsigned m = 0; m < kBlocks; m++) {
          multiply_add(sums[m][2 * n], left[m], right[0], right[1]);
          multiply_add(sums[m][2 * n + 1], left[m], right[2], right[3]);
        }
      }
    }
  }
  wait_for_copies();  // the queries', where there was no key at all
  __syncthreads();
#pragma unroll
  for (unsigned m = 0; m < kBlocks; m++) {
    float inverse[2];
#pragma unroll
    for (unsigned h = 0; h < 2; h++) {
      const float sum = warp_reduce<4>(total[m][h], Add{});
      inverse[h] = sum > 0.0f ? 1.0f / sum : 0.0f;
      const unsigned row = warp_row + m * 16 + h * 8 + g;
      if (t == 0 && row < task.count) task.store_log_sum_exp(row, largest[m][h] * task.a.heads.scale + logf(sum));
    }
    store_rows<Size>(sums[m], inverse[0], inverse[1], queries, warp_row + m * 16, [&](unsigned row) { return row < task.count ? task.out(row) : nullptr; });
  }
}

// Calls f with the head size as a constant.
template <class F>
void with_size(const char* name, unsigned head_dimension, F&& f) {
  if (head_dimension == 64) {
    f(std::integral_constant<unsigned, 64>{});
  } else if (head_dimension == 128) {
    f(std::integral_constant<unsigned, 128>{});
  } else {
    fail_launch(name, "the tensor cores' kernel takes head sizes 64 and 128");
  }
}

}  // namespace

void attention_mma(Stream stream, const AttentionForward<bfloat16>& arguments) {
  constexpr const char* name = "attention";
  with_size(name, arguments.heads.head_dimension, [&](auto size) {
    constexpr unsigned Size = decltype(size)::value;
    launch(name, forward_kernel<Size, PackedTask<bfloat16>>, grid_of(name, divide_up(arguments.tokens, kQueries) * arguments.heads.query_heads),
           kThreads, shared_bytes<Size>(), stream, PackedTask<bfloat16>{arguments, 0, 0, 0});
  });
}

void paged_attention_mma(Stream stream, const PagedForward<bfloat16, bfloat16>& arguments) {
  constexpr const char* name = "paged_attention";
  with_size(name, arguments.heads.head_dimension, [&](auto size) {
    constexpr unsigned Size = decltype(size)::value;
    const std::size_t tiles = arguments.tokens / kQueries + arguments.pages.sequences;
    launch(name, forward_kernel<Size, PagedTask<bfloat16, bfloat16>>, grid_of(name, tiles * arguments.heads.query_heads), kThreads,
           shared_bytes<Size>(), stream, PagedTask<bfloat16, bfloat16>{arguments, 0, 0, {}, 0, 0});
  });
}

}  // namespace xgen::cuda
