// What attention needs of Hopper besides hopper.h: products of a warpgroup of 64 x 64, and with the left operand in registers, copies of plain pieces of
// memory, and additions to memory. PTX ISA 8.1, sections "wgmma", "cp.async.bulk", "cp.reduce.async.bulk", "red".
#pragma once

#include "hopper.h"

namespace xgen::cuda::hopper {

#define XGEN_SUMS32(c, i) XGEN_SUMS8(c, i), XGEN_SUMS8(c, i + 8), XGEN_SUMS8(c, i + 16), XGEN_SUMS8(c, i + 24)
#define XGEN_SUM_NAMES32                                                                                                                         \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, " \
  "%30, %31"

// c (64 x 64) = a (64 x 16) b (16 x 64), or added to c; a in registers as sums lie (`multiply` of hopper.h), packed in pairs.
template <bool columns>
__device__ __forceinline__ void multiply64(float (&c)[32], const std::uint32_t* a, std::uint64_t b, bool add) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" XGEN_SUM_NAMES32 "}, {%32, %33, %34, %35}, %36, p, 1, 1, %38;\n}"
      : XGEN_SUMS32(c, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<std::uint32_t>(add)), "n"(columns ? 1 : 0));
}
// Likewise, a in shared memory along its rows.
template <bool columns>
__device__ __forceinline__ void multiply64(float (&c)[32], std::uint64_t a, std::uint64_t b, bool add) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" XGEN_SUM_NAMES32 "}, %32, %33, p, 1, 1, 0, %35;\n}"
      : XGEN_SUMS32(c, 0)
      : "l"(a), "l"(b), "r"(static_cast<std::uint32_t>(add)), "n"(columns ? 1 : 0));
}
// c (64 x 128) += a (64 x 16) b (16 x 128); a in registers as there, b's depth down its columns.
__device__ __forceinline__ void multiply128(float (&c)[64], const std::uint32_t* a, std::uint64_t b) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" XGEN_SUM_NAMES32
               ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
               "{%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}"
               : XGEN_SUMS32(c, 0), XGEN_SUMS32(c, 32)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(1));
}
// The descriptor of what lies so many bytes further; within shared memory the low word does not overflow.
__device__ __forceinline__ std::uint64_t moved(std::uint64_t descriptor, std::uint32_t bytes) {
  return (descriptor & 0xffffffff00000000u) | (static_cast<std::uint32_t>(descriptor) + (bytes >> 4));
}
// The lane, kept in a register: threadIdx would be read again wherever registers are few, which takes longer than an exponential.
__device__ __forceinline__ unsigned lane_kept() {
  unsigned lane;
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
}
// The compiler may not use sums before this: after the wait for the products that make them.
__device__ __forceinline__ void settle(float (&c)[32]) { asm volatile("" : XGEN_SUMS32(c, 0)::"memory"); }

// Of four words in each of four lanes, transposed: lane l gets word l of each.
__device__ __forceinline__ void transpose_words(std::uint32_t (&x)[4], unsigned lane) {
#pragma unroll
  for (unsigned step = 1; step < 4; step *= 2) {
    const bool upper = (lane & step) != 0;
#pragma unroll
    for (unsigned i = 0; i < 4; i++) {
      if ((i & step) != 0) continue;
      const std::uint32_t given = __shfl_xor_sync(kFullMask, upper ? x[i] : x[i + step], step);
      if (upper) {
        x[i] = given;
      } else {
        x[i + step] = given;
      }
    }
  }
}

// As store_matrices, each of the four transposed: lane l names column l % 8 of matrix l / 8.
__device__ __forceinline__ void store_matrices_transposed(std::uint32_t to, const std::uint32_t* r) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}

// A piece of memory, a multiple of 16 bytes, to shared memory; the barrier counts its bytes.
__device__ __forceinline__ void load_piece(std::uint32_t to, const void* from, std::uint32_t bytes, std::uint32_t barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to), "l"(from), "r"(bytes), "r"(barrier)
               : "memory");
}
// Adds a piece of shared memory, float32, to memory; of the thread's bulk group.
__device__ __forceinline__ void add_piece(float* to, std::uint32_t from, std::uint32_t bytes) {
  asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(to), "r"(from), "r"(bytes) : "memory");
}
__device__ __forceinline__ void store_shared(std::uint32_t to, float a, float b, float c, float d) {
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(to), "f"(a), "f"(b), "f"(c), "f"(d) : "memory");
}
__device__ __forceinline__ float2 load_shared(std::uint32_t from) {
  float2 x;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(x.x), "=f"(x.y) : "r"(from));
  return x;
}

}  // namespace xgen::cuda::hopper
