// What products of a few rows need of Hopper besides hopper.h: products of a warpgroup with 8, 16 or 32 columns, copies of boxes that are read once,
// and shared memory of other blocks of the cluster. PTX ISA 8.0, sections "wgmma", "cp.async.bulk.tensor", "mapa", "barrier.cluster".
#pragma once

#include "hopper.h"

namespace xgen::cuda::hopper {

// c (64 x columns) = a (64 x 16) b (16 x columns), or added to c, as `multiply` (hopper.h); a and b in shared memory along their rows.
__device__ __forceinline__ void multiply_narrow(float (&c)[16], std::uint64_t a, std::uint64_t b, bool add) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %18, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, %16, %17, p, 1, 1, "
      "0, 0;\n}"
      : XGEN_SUMS8(c, 0), XGEN_SUMS8(c, 8)
      : "l"(a), "l"(b), "r"(static_cast<std::uint32_t>(add)));
}
__device__ __forceinline__ void multiply_narrow(float (&c)[8], std::uint64_t a, std::uint64_t b, bool add) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %10, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7}, %8, %9, p, 1, 1, 0, 0;\n}"
      : XGEN_SUMS8(c, 0)
      : "l"(a), "l"(b), "r"(static_cast<std::uint32_t>(add)));
}
__device__ __forceinline__ void multiply_narrow(float (&c)[4], std::uint64_t a, std::uint64_t b, bool add) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %6, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, %4, %5, p, 1, 1, 0, 0;\n}"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "l"(a), "l"(b), "r"(static_cast<std::uint32_t>(add)));
}

// As load_box, for what is not wanted again: `policy` says so to the second-level cache.
__device__ __forceinline__ void load_box_once(std::uint32_t to, const CUtensorMap* map, int column, int row, std::uint32_t barrier, std::uint64_t policy) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
               "l"(map), "r"(column), "r"(row), "r"(barrier), "l"(policy)
               : "memory");
}
// Asks for a box to be brought into the second-level cache.
__device__ __forceinline__ void prefetch_box(const CUtensorMap* map, int column, int row) {
  asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global [%0, {%1, %2}];" ::"l"(map), "r"(column), "r"(row) : "memory");
}

// The halves of cluster_sync: what threads wrote to shared memory before they arrived is seen by those that have waited.
__device__ __forceinline__ void cluster_arrive() { asm volatile("barrier.cluster.arrive.release;" ::: "memory"); }
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire;" ::: "memory"); }
// Writes four numbers to the same place of another block of the cluster, or of this one; the barrier there counts their bytes.
__device__ __forceinline__ void send4(std::uint32_t to, std::uint32_t barrier, std::uint32_t block, float4 x) {
  std::uint32_t there, barrier_there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(to), "r"(block));
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(barrier_there) : "r"(barrier), "r"(block));
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(there), "f"(x.x), "f"(x.y), "f"(x.z),
               "f"(x.w), "r"(barrier_there)
               : "memory");
}
// As barrier_wait, for what other blocks of the cluster sent.
__device__ __forceinline__ void barrier_wait_cluster(std::uint32_t barrier, std::uint32_t parity) {
  std::uint32_t done;
  do {
    asm volatile(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
  } while (done == 0);
}
// A barrier of `threads` threads of the block; `name` is not 0, which __syncthreads has.
template <int name, int threads>
__device__ __forceinline__ void sync_some() {
  asm volatile("barrier.sync %0, %1;" ::"n"(name), "n"(threads) : "memory");
}

}  // namespace xgen::cuda::hopper
