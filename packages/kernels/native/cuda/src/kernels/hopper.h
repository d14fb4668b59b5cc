// Hopper's instructions: barriers in shared memory, tensor copies (TMA), matrix products of a warpgroup (wgmma), clusters. PTX ISA 8.0,
// sections "mbarrier", "cp.async.bulk.tensor", "wgmma". Only in code compiled for sm_90a.
#pragma once

#include <cuda.h>

#include <cstdint>

namespace xgen::cuda::hopper {

__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) { return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer)); }

// ------------------------------------------------------------------------------------------------------------ barriers

__device__ __forceinline__ void barrier_init(std::uint32_t barrier, std::uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}
// Makes the initialised barriers known to the cluster and to the copy engine.
__device__ __forceinline__ void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ __forceinline__ void barrier_arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// Arrives, and makes the phase wait for so many bytes besides.
__device__ __forceinline__ void barrier_expect(std::uint32_t barrier, std::uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
// At the same place of another block of the cluster, or of this one.
__device__ __forceinline__ void barrier_arrive_at(std::uint32_t barrier, std::uint32_t block) {
  std::uint32_t there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(barrier), "r"(block));
  asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(there) : "memory");
}
__device__ __forceinline__ void barrier_wait(std::uint32_t barrier, std::uint32_t parity) {
  std::uint32_t done;
  do {
    asm volatile(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
  } while (done == 0);
}
// Whether the phase has ended: not waited for.
__device__ __forceinline__ bool barrier_test(std::uint32_t barrier, std::uint32_t parity) {
  std::uint32_t done;
  asm volatile(
      "{\n.reg .pred p;\nmbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}
__device__ __forceinline__ void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
__device__ __forceinline__ std::uint32_t cluster_rank() {
  std::uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
// Where in a ring of stages a warpgroup is, and the parity that its barriers have there.
template <unsigned stages>
struct RingPlace {
  unsigned stage = 0, parity = 0;
  __device__ __forceinline__ void next() {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// -------------------------------------------------------------------------------------------------------------- copies

__device__ __forceinline__ void prefetch(const CUtensorMap* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }
// A box of a matrix, its first column and row given, to shared memory; the barrier counts its bytes.
__device__ __forceinline__ void load_box(std::uint32_t to, const CUtensorMap* map, int column, int row, std::uint32_t barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to), "l"(map),
               "r"(column), "r"(row), "r"(barrier)
               : "memory");
}
// To the same place in every block of the cluster that `blocks` has a bit for, and counted by the barrier there.
__device__ __forceinline__ void load_box_to(std::uint32_t to, const CUtensorMap* map, int column, int row, std::uint32_t barrier, std::uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
      "l"(map), "r"(column), "r"(row), "r"(barrier), "h"(blocks)
      : "memory");
}
__device__ __forceinline__ void store_box(const CUtensorMap* map, int column, int row, std::uint32_t from) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map), "r"(column), "r"(row), "r"(from) : "memory");
}
__device__ __forceinline__ void commit_stores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Until at most `left` of the committed groups still read shared memory.
template <int left>
__device__ __forceinline__ void wait_for_reads() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(left) : "memory");
}
// Ordinary writes to shared memory become visible to the copy engine.
__device__ __forceinline__ void fence_for_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// ------------------------------------------------------------------------------------------------------------ products

// A matrix in shared memory as boxes of 64 bf16 by rows, swizzled by 128 bytes. Along its rows (depth contiguous): eight rows are 1,024 bytes.
__device__ __forceinline__ std::uint64_t rows_descriptor(std::uint32_t address) {
  return std::uint64_t{(address & 0x3ffffu) >> 4} | std::uint64_t{1} << 16 | std::uint64_t{1024 >> 4} << 32 | std::uint64_t{1} << 62;
}
// The depth runs over the rows of boxes that stand `step` bytes apart.
__device__ __forceinline__ std::uint64_t columns_descriptor(std::uint32_t address, std::uint32_t step) {
  return std::uint64_t{(address & 0x3ffffu) >> 4} | std::uint64_t{step >> 4} << 16 | std::uint64_t{1024 >> 4} << 32 | std::uint64_t{1} << 62;
}
__device__ __forceinline__ void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int left>
__device__ __forceinline__ void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory");
}

// Nothing that uses these registers moves across.
template <unsigned count>
__device__ __forceinline__ void hold(float (&x)[count]) {
#pragma unroll
  for (unsigned i = 0; i < count; i++) asm volatile("" : "+f"(x[i])::"memory");
}
template <unsigned count>
__device__ __forceinline__ void hold(std::uint32_t (&x)[count]) {
#pragma unroll
  for (unsigned i = 0; i < count; i++) asm volatile("" : "+r"(x[i])::"memory");
}

#define XGEN_SUMS8(c, i) "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3]), "+f"(c[i + 4]), "+f"(c[i + 5]), "+f"(c[i + 6]), "+f"(c[i + 7])

// c (64 x 128) = a (64 x 16) b (16 x 128), or added to c. Of a row of warp w's sixteen, lane l holds columns 8 j + 2 (l % 4) and the next:
// row l / 4 in c[4 j], c[4 j + 1], row l / 4 + 8 in c[4 j + 2], c[4 j + 3].
template <bool columns>
__device__ __forceinline__ void multiply(float (&c)[64], std::uint64_t a, std::uint64_t b, bool add) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "
      "%30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, "
      "%58, %59, %60, %61, %62, %63}, %64, %65, p, 1, 1, 0, %67;\n}"
      : XGEN_SUMS8(c, 0), XGEN_SUMS8(c, 8), XGEN_SUMS8(c, 16), XGEN_SUMS8(c, 24), XGEN_SUMS8(c, 32), XGEN_SUMS8(c, 40), XGEN_SUMS8(c, 48), XGEN_SUMS8(c, 56)
      : "l"(a), "l"(b), "r"(static_cast<std::uint32_t>(add)), "n"(columns ? 1 : 0));
}

// Four 8 x 8 matrices of bf16 between registers, as a product's sums lie there, and shared memory: lane l names row l % 8 of matrix l / 8.
__device__ __forceinline__ void store_matrices(std::uint32_t to, std::uint32_t r0, std::uint32_t r1, std::uint32_t r2, std::uint32_t r3) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(r0), "r"(r1), "r"(r2), "r"(r3) : "memory");
}
__device__ __forceinline__ void load_matrices(std::uint32_t (&r)[4], std::uint32_t from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}

template <int registers>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}

}  // namespace xgen::cuda::hopper
