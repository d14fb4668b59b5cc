#include <atomic>
#include <stdexcept>
#include <string>

#include "xgen/cuda/launch.h"

namespace xgen::cuda {

namespace {
std::atomic<LaunchFailureHook> hook{nullptr};
}

void set_launch_failure_hook(LaunchFailureHook new_hook) { hook = new_hook; }

void fail_launch(const char* operation, const char* message) {
  if (const LaunchFailureHook own = hook.load()) own(operation, message);
  throw std::runtime_error(std::string(operation) + ": " + message);
}

std::size_t multiprocessors() {
#ifdef XGEN_CUDA_EMULATION
  return 8;
#else
  constexpr int kDevices = 64;
  static std::atomic<int> known[kDevices];  // 0: not asked yet
  int device = 0, count = 0;
  if (cudaGetDevice(&device) != cudaSuccess) fail_launch("multiprocessors", "no device is current");
  if (device < kDevices && (count = known[device].load()) != 0) return static_cast<std::size_t>(count);
  const cudaError_t status = cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  if (status != cudaSuccess) fail_launch("multiprocessors", cudaGetErrorString(status));
  if (device < kDevices) known[device] = count;
  return static_cast<std::size_t>(count);
#endif
}

}  // namespace xgen::cuda
