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

}  // namespace xgen::cuda
