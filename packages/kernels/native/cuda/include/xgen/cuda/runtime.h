// One CUDA device behind plain functions: memory, streams, events, copies, graphs, properties. Two implementations, of which a
// program links one: src/device_cuda.cpp (CUDA's runtime, statically linked) and src/device_emulated.cpp (this process's
// memory and processor, for tests on machines without a GPU).
//
// Handles are opaque. Work on a stream runs in the order of the calls. Functions throw xgen::Error("CUDA_FAILURE" |
// "CUDA_UNAVAILABLE") with CUDA's own text; those marked noexcept say by their result. They act on the device that
// `use_device` chose for the calling thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#ifdef XGEN_CUDA_EMULATION
#include <functional>
#endif

namespace xgen::cuda {

using Stream = void*;
using Event = void*;
using Graph = void*;  // ready to launch

// Whether there is a device to work with. Needs no driver: where it is missing, says so.
struct Probe {
  bool available = false;
  std::string reason;  // why not
  std::string remedy;  // what to do
};
Probe probe_device() noexcept;

struct DeviceProperties {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  std::size_t total_bytes = 0;
  int multiprocessors = 0;
  std::size_t l2_bytes = 0;
  std::size_t shared_bytes_a_block = 0;  // after opting in
  int driver_version = 0;                // as CUDA numbers them: 1000 * major + 10 * minor
  int runtime_version = 0;
};
DeviceProperties device_properties(int ordinal);
int device_count();
void use_device(int ordinal);

// Free and total bytes of the device, other programs counted in.
void device_memory(std::size_t* free_bytes, std::size_t* total_bytes);

// Device memory aligned to 256 bytes; null when there is not enough. device_release waits for the device first.
void* device_allocate(std::size_t bytes);
void device_release(void* memory) noexcept;
// Host memory that copies to and from the device overlap with.
void* pinned_allocate(std::size_t bytes);
void pinned_release(void* memory) noexcept;

Stream create_stream();
void destroy_stream(Stream stream) noexcept;
void synchronize(Stream stream);
// Opens or closes the range that a profiler attached from outside records (ncu --profile-from-start off).
void set_profiling(bool on) noexcept;

// `timed` events can be compared with elapsed_milliseconds; others make the waiting thread sleep instead of spin.
Event create_event(bool timed);
void destroy_event(Event event) noexcept;
void record_event(Event event, Stream stream);
bool event_finished(Event event);
void wait_event(Event event);
float elapsed_milliseconds(Event start, Event end);

// Copies and fills are asynchronous; host memory has to be pinned and to stay until they are done.
void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream);
void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream);
void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream);
void fill_bytes(void* memory, std::uint8_t value, std::size_t bytes, Stream stream);

// What is launched on `stream` between the two calls is recorded instead of run. A graph keeps the pointers and numbers of
// its launches: their memory must stay.
void begin_capture(Stream stream);
Graph end_capture(Stream stream);
void abandon_capture(Stream stream) noexcept;
bool is_capturing(Stream stream);
void launch_graph(Graph graph, Stream stream);
void destroy_graph(Graph graph) noexcept;

#ifdef XGEN_CUDA_EMULATION
// Runs `work` now, or records it while `stream` is being captured. Everything an emulated stream does passes through here: a
// kernel launch in emulation is submit(stream, [copies of all arguments] { run every block });
void submit(Stream stream, std::function<void()> work);
// What device_allocate hands out at most; for tests of running out of memory.
void set_emulated_capacity(std::size_t bytes);
#endif

}  // namespace xgen::cuda
