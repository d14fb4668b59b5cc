// What attention needs of Hopper besides hopper.h: products of a warpgroup with 64 columns, with 64 or 128 where the left operand is in registers,
// and the exchange of words that makes whole 16 bytes of a row of sums. PTX ISA 8.0, section "wgmma".
#pragma once

#include "hopper.h"

namespace xgen::cuda::hopper {

#define XGEN_SUMS32_FROM(c, i) XGEN_SUMS8(c, i), XGEN_SUMS8(c, i + 8), XGEN_SUMS8(c, i + 16), XGEN_SUMS8(c, i + 24)
#define XGEN_NAMES32                                                                                                                             \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, " \
  "%30, %31"

// c (64 x 64) = a (64 x 16) b (16 x 64), or added to c; a and b in shared memory along their rows. Sums lie as for `multiply` of hopper.h.
template <bool add>
__device__ __forceinline__ void multiply_rows(float (&c)[32], std::uint64_t a, std::uint64_t b) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" XGEN_NAMES32
               "}, %32, %33, p, 1, 1, 0, 0;\n}"
               : XGEN_SUMS32_FROM(c, 0)
               : "l"(a), "l"(b), "n"(add ? 1 : 0));
}
// c (64 x 64) += a (64 x 16) b (16 x 64); a in registers as below.
__device__ __forceinline__ void multiply_columns(float (&c)[32], const std::uint32_t* a, std::uint64_t b) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" XGEN_NAMES32
               "}, {%32, %33, %34, %35}, %36, p, 1, 1, 1;\n}"
               : XGEN_SUMS32_FROM(c, 0)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(1));
}
// c (64 x 128) += a (64 x 16) b (16 x 128); a in registers (rows l / 4 and l / 4 + 8 at depth 2 (l % 4), then both at 8 more), b's depth down its columns.
__device__ __forceinline__ void multiply_columns(float (&c)[64], const std::uint32_t* a, std::uint64_t b) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" XGEN_NAMES32
               ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
               "{%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}"
               : XGEN_SUMS32_FROM(c, 0), XGEN_SUMS32_FROM(c, 32)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(1));
}
#undef XGEN_SUMS32_FROM
#undef XGEN_NAMES32

// Of four words in each of four lanes, transposed: lane l gets word l of each.
__device__ __forceinline__ void transpose_words(std::uint32_t (&x)[4], unsigned lane) {
#pragma unroll
  for (unsigned step = 1; step < 4; step *= 2) {
    const bool upper = (lane & step) != 0;
#pragma unroll
    for (unsigned i = 0; i < 4; i++) {
      if ((i & step) != 0) continue;
      const std::uint32_t given = __shfl_xor_sync(0xffffffffu, upper ? x[i] : x[i + step], step);
      if (upper) {
        x[i] = given;
      } else {
        x[i + step] = given;
      }
    }
  }
}

}  // namespace xgen::cuda::hopper
