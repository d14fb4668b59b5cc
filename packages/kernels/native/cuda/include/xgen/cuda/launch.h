// Launching a kernel: on the device, or in emulation (XGEN_CUDA_EMULATION). Kernels' sources include this first.
#pragma once

#include <cstddef>
#include <tuple>
#include <utility>

#include "xgen/cuda/operations.h"

#ifdef XGEN_CUDA_EMULATION
#include "xgen/cuda/emulation.h"
// Names `name`, a pointer to `count` values of `type` in shared memory.
#define XGEN_SHARED(type, name, count) \
  static char name##_key;              \
  type* const name = static_cast<type*>(::xgen::cuda::emulation::shared_array(&name##_key, sizeof(type) * (count)))
#define XGEN_DYNAMIC_SHARED(name) \
  unsigned char* const name = static_cast<unsigned char*>(::xgen::cuda::emulation::dynamic_shared())
#else
#include <cuda_runtime.h>
#define XGEN_SHARED(type, name, count) __shared__ alignas(16) type name[count]
#define XGEN_DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#endif

namespace xgen::cuda {

// Calls the hook, or throws.
[[noreturn]] void fail_launch(const char* operation, const char* message);

// How many processors the current device has: what a launch that splits its work fills. The emulated device says 8.
std::size_t multiprocessors();

// Whether the current device starts a kernel before the one before it has ended, where both allow it (Hopper and later).
bool launches_overlap();

// How a kernel follows the one before it on its stream: when that one has ended, or, on devices that can, as soon as all of that one's
// blocks have called allow_next() or ended. A kernel that is launched `early` calls wait_for_previous() in every thread (device.h)
// before it reads or writes device memory; until then it may compute addresses and ask for memory to be brought into the
// second-level cache, which is coherent, and may read past the first-level cache what only leads to such requests, or
// what its caller says is settled. Every block waits, so a kernel that has ended has all earlier ones behind it. One that is
// launched `together` begins when the one before has ended, and only where all of its blocks run at the same time: they may wait for each other.
enum class Follow { ended, early, together };

// A processor's memory is split between shared memory and the first-level cache as a kernel prefers, and can be split anew only when
// it is idle. So early kernels of few blocks, as those of decoding are, all prefer one split: most of it shared, as the products with weights
// need it. Where many blocks stream through, the driver chooses.
constexpr std::size_t kFewBlocks = 4;  // a processor

// Runs kernel<<<grid, threads, shared_bytes, stream>>>(args...), each `cluster` neighbouring blocks as a cluster; an empty grid is nothing to do.
template <class... P, class... A>
void launch_following([[maybe_unused]] Follow follow, [[maybe_unused]] unsigned cluster, const char* operation, void (*kernel)(P...), dim3 grid,
                      unsigned threads, std::size_t shared_bytes, Stream stream, A&&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  std::tuple<P...> values(static_cast<P>(std::forward<A>(args))...);
#ifdef XGEN_CUDA_EMULATION
  emulation::submit(stream, [=] {
    emulation::run(operation, grid, threads, shared_bytes, [&] { std::apply(kernel, values); });
  });
#else
  const void* function = reinterpret_cast<const void*>(kernel);
  cudaError_t status = cudaSuccess;
  if (shared_bytes > 48 * 1024) {
    status = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  }
  if (status == cudaSuccess) {
    status = std::apply(
        [&](P&... parameters) {
          void* pointers[] = {static_cast<void*>(&parameters)...};
          cudaLaunchConfig_t configuration = {};
          configuration.gridDim = grid;
          configuration.blockDim = dim3(threads);
          configuration.dynamicSmemBytes = shared_bytes;
          configuration.stream = static_cast<cudaStream_t>(stream);
          cudaLaunchAttribute attributes[3] = {};
          configuration.attrs = attributes;
          if (follow == Follow::early && launches_overlap()) {
            attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
            attributes[0].val.programmaticStreamSerializationAllowed = 1;
            configuration.numAttrs = 1;
            if (std::size_t{grid.x} * grid.y * grid.z <= kFewBlocks * multiprocessors()) {
              attributes[1].id = cudaLaunchAttributePreferredSharedMemoryCarveout;
              attributes[1].val.sharedMemCarveout = cudaSharedmemCarveoutMaxShared;
              configuration.numAttrs = 2;
            }
          }
          if (follow == Follow::together) {
            attributes[0].id = cudaLaunchAttributeCooperative;
            attributes[0].val.cooperative = 1;
            configuration.numAttrs = 1;
          }
          if (cluster > 1) {
            cudaLaunchAttribute& attribute = attributes[configuration.numAttrs++];
            attribute.id = cudaLaunchAttributeClusterDimension;
            attribute.val.clusterDim.x = cluster;
            attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
          }
          return cudaLaunchKernelExC(&configuration, function, pointers);
        },
        values);
  }
  if (status != cudaSuccess) {
    cudaGetLastError();  // so that the next operation does not find this one's error
    fail_launch(operation, cudaGetErrorString(status));
  }
#endif
}
template <class... P, class... A>
void launch(const char* operation, void (*kernel)(P...), dim3 grid, unsigned threads, std::size_t shared_bytes, Stream stream,
            A&&... args) {
  launch_following(Follow::ended, 1, operation, kernel, grid, threads, shared_bytes, stream, std::forward<A>(args)...);
}
template <class... P, class... A>
void launch_early(const char* operation, void (*kernel)(P...), dim3 grid, unsigned threads, std::size_t shared_bytes, Stream stream,
                  A&&... args) {
  launch_following(Follow::early, 1, operation, kernel, grid, threads, shared_bytes, stream, std::forward<A>(args)...);
}

template <class... P, class... A>
void launch_clusters_early(const char* operation, void (*kernel)(P...), dim3 grid, unsigned cluster, unsigned threads, std::size_t shared_bytes,
                           Stream stream, A&&... args) {
  launch_following(Follow::early, cluster, operation, kernel, grid, threads, shared_bytes, stream, std::forward<A>(args)...);
}

constexpr std::size_t divide_up(std::size_t a, std::size_t b) { return (a + b - 1) / b; }
constexpr std::size_t align_up(std::size_t bytes) { return (bytes + 127) / 128 * 128; }

// Shared memory that a block of the current device may have at most. The emulated device says as much as an H100.
std::size_t most_shared_bytes();

// One dimension of a grid.
inline unsigned grid_of(const char* operation, std::size_t blocks) {
  if (blocks > 0x7fffffff) fail_launch(operation, "the arrays are too large: more than 2^31 blocks");
  return static_cast<unsigned>(blocks);
}

}  // namespace xgen::cuda
