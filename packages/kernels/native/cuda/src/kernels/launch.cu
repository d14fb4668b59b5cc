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

#ifndef XGEN_CUDA_EMULATION
namespace {
constexpr int kDevices = 64;

// An attribute of the current device, which is above 0, asked for once.
int known_attribute(std::atomic<int> (&known)[kDevices], cudaDeviceAttr attribute, const char* name) {
  int device = 0, value = 0;
  if (cudaGetDevice(&device) != cudaSuccess) fail_launch(name, "no device is current");
  if (device < kDevices && (value = known[device].load()) != 0) return value;
  const cudaError_t status = cudaDeviceGetAttribute(&value, attribute, device);
  if (status != cudaSuccess) fail_launch(name, cudaGetErrorString(status));
  if (device < kDevices) known[device] = value;
  return value;
}
}  // namespace
#endif

std::size_t multiprocessors() {
#ifdef XGEN_CUDA_EMULATION
  return 8;
#else
  static std::atomic<int> known[kDevices];  // 0: not asked yet
  return static_cast<std::size_t>(known_attribute(known, cudaDevAttrMultiProcessorCount, "multiprocessors"));
#endif
}

std::size_t most_shared_bytes() {
#ifdef XGEN_CUDA_EMULATION
  return 227 * 1024;
#else
  static std::atomic<int> known[kDevices];
  return static_cast<std::size_t>(known_attribute(known, cudaDevAttrMaxSharedMemoryPerBlockOptin, "most_shared_bytes"));
#endif
}

bool launches_overlap() {
#ifdef XGEN_CUDA_EMULATION
  return false;
#else
  static std::atomic<int> known[kDevices];
  return known_attribute(known, cudaDevAttrComputeCapabilityMajor, "launches_overlap") >= 9;
#endif
}

}  // namespace xgen::cuda
