// The tensor cores' bf16 product of one warp (mma.sync.m16n8k16), the loads that feed it (ldmatrix), and asynchronous copies into shared
// memory (cp.async), on the device and in emulation.
//
// Of a 16 x 8 result, lane l holds row l / 4, columns 2 (l % 4) and the next in c[0], c[1], and the same of row l / 4 + 8 in c[2], c[3].
// Tiles in shared memory are rows of `Size` bf16 (64 or 128) in chunks of eight; chunk c of row r stands at c ^ (r % 8), so that the
// eight rows that ldmatrix reads at once lie in different banks.
#pragma once

#include "xgen/cuda/device.h"

namespace xgen::cuda {

constexpr unsigned kChunk = 8;  // bf16 in 16 bytes

template <unsigned Size>
__device__ __forceinline__ unsigned tile_offset(unsigned row, unsigned chunk) {
  return row * Size + ((chunk ^ (row % 8)) * kChunk);
}

#ifndef XGEN_CUDA_EMULATION
__device__ __forceinline__ unsigned shared_address(const void* pointer) { return static_cast<unsigned>(__cvta_generic_to_shared(pointer)); }
#endif

// Four 8 x 8 matrices: lane l names row l % 8 of matrix l / 8, and gets of matrix i, in r[i], row l / 4, columns 2 (l % 4) and the next; with
// `transposed` rows 2 (l % 4) and the next of column l / 4.
template <bool transposed>
__device__ __forceinline__ void load_matrices(std::uint32_t (&r)[4], const bfloat16* row) {
#ifdef XGEN_CUDA_EMULATION
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) emulation::fail("ldmatrix of an unaligned row");
  const unsigned char* slots = emulation::warp_exchange(row);
  const unsigned g = emulation::lane() / 4, t = emulation::lane() % 4;
  for (unsigned i = 0; i < 4; i++) {
    const auto at = [&](unsigned matrix_row, unsigned column) -> std::uint32_t {
      return emulation::exchanged<const bfloat16*>(slots, i * 8 + matrix_row)[column].bits;
    };
    r[i] = transposed ? at(2 * t, g) | at(2 * t + 1, g) << 16 : at(g, 2 * t) | at(g, 2 * t + 1) << 16;
  }
#else
  if constexpr (transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
  }
#endif
}

// c += a * b for a 16 x 16 (four registers) and b 16 x 8 (two).
__device__ __forceinline__ void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
#ifdef XGEN_CUDA_EMULATION
  const std::uint32_t own[6] = {a[0], a[1], a[2], a[3], b0, b1};
  const unsigned char* slots = emulation::warp_exchange(own);
  struct Registers {
    std::uint32_t r[6];
  };
  const unsigned g = emulation::lane() / 4, t = emulation::lane() % 4;
  for (unsigned half = 0; half < 2; half++) {
    for (unsigned column = 0; column < 2; column++) {
      double sum = 0;
      for (unsigned k = 0; k < 4; k++) {
        const Registers left = emulation::exchanged<Registers>(slots, g * 4 + k), right = emulation::exchanged<Registers>(slots, (2 * t + column) * 4 + k);
        for (unsigned part = 0; part < 2; part++) {
          const std::uint32_t x = left.r[half + 2 * part], y = right.r[4 + part];
          sum += static_cast<double>(low_bfloat16(x)) * low_bfloat16(y) + static_cast<double>(high_bfloat16(x)) * high_bfloat16(y);
        }
      }
      c[half * 2 + column] += static_cast<float>(sum);
    }
  }
#else
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// Sixteen bytes from device to shared memory, later; zeros where `valid` is false (`from` must be an address inside an array all the same).
__device__ __forceinline__ void copy_chunk(bfloat16* to, const bfloat16* from, bool valid) {
#ifdef XGEN_CUDA_EMULATION
  emulation::copy_async(to, from, 16, valid ? 16 : 0);
#else
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid ? 16 : 0) : "memory");
#endif
}
// Likewise, of what is read once: the second-level cache may drop it first. `policy` is once_read()'s.
__device__ __forceinline__ void copy_chunk_once(bfloat16* to, const bfloat16* from, bool valid, [[maybe_unused]] std::uint64_t policy) {
#ifdef XGEN_CUDA_EMULATION
  copy_chunk(to, from, valid);
#else
  asm volatile("cp.async.cg.shared.global.L2::cache_hint.L2::128B [%0], [%1], 16, %2, %3;" ::"r"(shared_address(to)), "l"(from), "r"(valid ? 16 : 0), "l"(policy)
               : "memory");
#endif
}
__device__ __forceinline__ std::uint64_t once_read() {
#ifdef XGEN_CUDA_EMULATION
  return 0;
#else
  std::uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
#endif
}
// Four bytes, likewise.
template <class T>
__device__ __forceinline__ void copy_word(T* to, const T* from, bool valid) {
  static_assert(sizeof(T) == 4);
#ifdef XGEN_CUDA_EMULATION
  emulation::copy_async(to, from, 4, valid ? 4 : 0);
#else
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid ? 4 : 0) : "memory");
#endif
}
__device__ __forceinline__ void commit_copies() {
#ifdef XGEN_CUDA_EMULATION
  emulation::commit_copies();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until this thread's copies are there, apart from the last `groups` committed; those of others need a barrier besides.
template <unsigned groups = 0>
__device__ __forceinline__ void wait_for_copies() {
#ifdef XGEN_CUDA_EMULATION
  emulation::wait_copies(groups);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
#endif
}

// Rows row ... row + 15, elements 16 k ... 16 k + 15 of a tile, as a left operand.
template <unsigned Size>
__device__ __forceinline__ void load_left(std::uint32_t (&a)[4], const bfloat16* tile, unsigned row, unsigned k) {
  const unsigned lane = threadIdx.x % kWarp;
  load_matrices<false>(a, tile + tile_offset<Size>(row + lane % 8 + lane / 8 % 2 * 8, 2 * k + lane / 16));
}
// Right operands whose columns are the tile's rows: columns row ... row + 15 in b[0], b[1] and b[2], b[3]; depth 16 k ... 16 k + 15 along a row.
template <unsigned Size>
__device__ __forceinline__ void load_right_rows(std::uint32_t (&b)[4], const bfloat16* tile, unsigned row, unsigned k) {
  const unsigned lane = threadIdx.x % kWarp;
  load_matrices<false>(b, tile + tile_offset<Size>(row + lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2));
}
// Right operands whose depth runs over the tile's rows row ... row + 15; columns are its elements 16 n ... 16 n + 15, in two pairs.
template <unsigned Size>
__device__ __forceinline__ void load_right_depth(std::uint32_t (&b)[4], const bfloat16* tile, unsigned row, unsigned n) {
  const unsigned lane = threadIdx.x % kWarp;
  load_matrices<true>(b, tile + tile_offset<Size>(row + lane % 8 + lane / 8 % 2 * 8, 2 * n + lane / 16));
}

// Two neighbouring results, 16 x 16 together, as a left operand.
__device__ __forceinline__ void as_left(std::uint32_t (&a)[4], const float (&c0)[4], const float (&c1)[4]) {
  a[0] = pack_bfloat16(c0[0], c0[1]);
  a[1] = pack_bfloat16(c0[2], c0[3]);
  a[2] = pack_bfloat16(c1[0], c1[1]);
  a[3] = pack_bfloat16(c1[2], c1[3]);
}

// A result of 16 rows by Size columns, each row times its factor, through 16 rows of a tile that only this warp uses, to memory in chunks of
// 16 bytes. row_of gives where a row goes, or null.
template <unsigned Size, class RowOf>
__device__ __forceinline__ void store_rows(const float (&sums)[Size / 8][4], float low_factor, float high_factor, bfloat16* tile, unsigned row, RowOf row_of) {
  const unsigned lane = threadIdx.x % kWarp, g = lane / 4, t = lane % 4;
#pragma unroll
  for (unsigned n = 0; n < Size / 8; n++) {
    store_aligned(tile + tile_offset<Size>(row + g, n) + 2 * t, pack_bfloat16(sums[n][0] * low_factor, sums[n][1] * low_factor));
    store_aligned(tile + tile_offset<Size>(row + g + 8, n) + 2 * t, pack_bfloat16(sums[n][2] * high_factor, sums[n][3] * high_factor));
  }
  __syncwarp();
#pragma unroll
  for (unsigned i = lane; i < 16 * (Size / kChunk); i += kWarp) {
    const unsigned r = row + i / (Size / kChunk), chunk = i % (Size / kChunk);
    bfloat16* const to = row_of(r);
    if (to != nullptr) store_aligned(to + chunk * kChunk, load_aligned<uint4>(tile + tile_offset<Size>(r, chunk)));
  }
}

}  // namespace xgen::cuda
