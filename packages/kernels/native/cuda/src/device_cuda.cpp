// The device through CUDA's runtime, which is linked in statically: the addon loads on machines without a driver, and says so.
#include <cuda_profiler_api.h>
#include <cuda_runtime_api.h>

#include <string>

#include "xgen/cuda/runtime.h"
#include "xgen/error.h"

namespace xgen::cuda {

namespace {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // forget it, unless the device is beyond recovery
  throw Error("CUDA_FAILURE", std::string(what) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ").");
}

cudaStream_t stream_of(Stream stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t event_of(Event event) { return static_cast<cudaEvent_t>(event); }

std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

Probe unavailable(std::string reason, std::string remedy) { return {false, std::move(reason), std::move(remedy)}; }

}  // namespace

Probe probe_device() noexcept {
  try {
    int driver = 0, runtime = 0, count = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    cudaGetLastError();
    if (driver == 0) {
      return unavailable("There is no NVIDIA driver.", "On a machine with an NVIDIA GPU, install its driver; in a container, pass the GPU in (docker: --gpus all).");
    }
    if (driver / 1000 < runtime / 1000) {
      return unavailable("The NVIDIA driver supports CUDA " + version_text(driver) + ", but the addon was built with CUDA " + version_text(runtime) + ".",
                         "Install a newer driver, or build with a CUDA toolkit of version " + std::to_string(driver / 1000) + ".");
    }
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess || count == 0) {
      cudaGetLastError();
      return unavailable(status == cudaSuccess ? "There is no NVIDIA GPU." : std::string("No GPU can be used: ") + cudaGetErrorString(status) + ".",
                         "Check `nvidia-smi`; in a container, pass the GPU in (docker: --gpus all).");
    }
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) {
      cudaGetLastError();
      return unavailable("The GPU does not answer.", "Check `nvidia-smi`.");
    }
    if (properties.major < 8) {
      return unavailable(std::string(properties.name) + " has compute capability " + std::to_string(properties.major) + "." +
                             std::to_string(properties.minor) + ", below the 8.0 (Ampere) that the kernels need.",
                         "Use a newer GPU.");
    }
    return {true, "", ""};
  } catch (...) {
    return {false, "The GPU cannot be asked for.", "Check `nvidia-smi`."};
  }
}

DeviceProperties device_properties(int ordinal) {
  cudaDeviceProp raw;
  check(cudaGetDeviceProperties(&raw, ordinal), "Reading the device's properties");
  DeviceProperties properties;
  properties.name = raw.name;
  properties.major = raw.major;
  properties.minor = raw.minor;
  properties.total_bytes = raw.totalGlobalMem;
  properties.multiprocessors = raw.multiProcessorCount;
  properties.l2_bytes = static_cast<std::size_t>(raw.l2CacheSize);
  properties.shared_bytes_a_block = raw.sharedMemPerBlockOptin;
  cudaDriverGetVersion(&properties.driver_version);
  cudaRuntimeGetVersion(&properties.runtime_version);
  return properties;
}

int device_count() {
  int count = 0;
  check(cudaGetDeviceCount(&count), "Counting devices");
  return count;
}

void use_device(int ordinal) { check(cudaSetDevice(ordinal), "Choosing the device"); }

void device_memory(std::size_t* free_bytes, std::size_t* total_bytes) {
  check(cudaMemGetInfo(free_bytes, total_bytes), "Asking for free memory");
}

void* device_allocate(std::size_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check(status, "Allocating device memory");
  return memory;
}

void device_release(void* memory) noexcept { cudaFree(memory); }

void* pinned_allocate(std::size_t bytes) {
  void* memory = nullptr;
  check(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault), "Allocating pinned memory");
  return memory;
}

void pinned_release(void* memory) noexcept { cudaFreeHost(memory); }

Stream create_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "Creating a stream");
  return stream;
}

void destroy_stream(Stream stream) noexcept { cudaStreamDestroy(stream_of(stream)); }
void synchronize(Stream stream) { check(cudaStreamSynchronize(stream_of(stream)), "Waiting for the device"); }

void set_profiling(bool on) noexcept {
  on ? cudaProfilerStart() : cudaProfilerStop();
  cudaGetLastError();
}

Event create_event(bool timed) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, timed ? cudaEventDefault : cudaEventDisableTiming | cudaEventBlockingSync), "Creating an event");
  return event;
}

void destroy_event(Event event) noexcept { cudaEventDestroy(event_of(event)); }
void record_event(Event event, Stream stream) { check(cudaEventRecord(event_of(event), stream_of(stream)), "Recording an event"); }

bool event_finished(Event event) {
  const cudaError_t status = cudaEventQuery(event_of(event));
  if (status == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  check(status, "Asking for an event");
  return true;
}

void wait_event(Event event) { check(cudaEventSynchronize(event_of(event)), "Waiting for the device"); }

float elapsed_milliseconds(Event start, Event end) {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, event_of(start), event_of(end)), "Measuring time on the device");
  return milliseconds;
}

void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  if (bytes > 0) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_of(stream)), "Copying to the device");
}

void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) {
  if (bytes > 0) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_of(stream)), "Copying from the device");
}

void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  if (bytes > 0) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_of(stream)), "Copying on the device");
}

void fill_bytes(void* memory, std::uint8_t value, std::size_t bytes, Stream stream) {
  if (bytes > 0) check(cudaMemsetAsync(memory, value, bytes, stream_of(stream)), "Filling device memory");
}

void begin_capture(Stream stream) {
  // Relaxed: memory may be allocated meanwhile.
  check(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeRelaxed), "Starting to capture a graph");
}

Graph end_capture(Stream stream) {
  cudaGraph_t recorded = nullptr;
  check(cudaStreamEndCapture(stream_of(stream), &recorded), "Capturing a graph");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, recorded, 0);
  cudaGraphDestroy(recorded);
  check(status, "Preparing a captured graph");
  return executable;
}

void abandon_capture(Stream stream) noexcept {
  cudaGraph_t recorded = nullptr;
  cudaStreamEndCapture(stream_of(stream), &recorded);
  if (recorded != nullptr) cudaGraphDestroy(recorded);
  cudaGetLastError();
}

bool is_capturing(Stream stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream_of(stream), &status), "Asking whether a stream is captured");
  return status != cudaStreamCaptureStatusNone;
}

void launch_graph(Graph graph, Stream stream) {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream_of(stream)), "Launching a graph");
}

void destroy_graph(Graph graph) noexcept { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }

}  // namespace xgen::cuda
