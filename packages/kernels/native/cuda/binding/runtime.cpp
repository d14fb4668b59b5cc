// The device itself: finding it, memory, copies.
#include "device_call.h"
#include "values.h"
#include "xgen/error.h"

namespace xgen::cuda::binding {

namespace {

#ifdef XGEN_CUDA_EMULATION
constexpr bool kEmulated = true;
#else
constexpr bool kEmulated = false;
#endif

// → {emulated, available, reason, remedy, library, attentionLibrary, devices: [{name, major, minor, …}]}. Starts nothing.
napi_value probe(const xgen::binding::Call& call) {
  const napi_env env = call.env();
  const napi_value result = make_object(env);
  Probe device = probe_device();
  const MatmulLibrary library = probe_matmul();
  if (device.available && !library.available) device = {false, library.detail, library.remedy};
  set(env, result, "emulated", make_boolean(env, kEmulated));
  set(env, result, "available", make_boolean(env, device.available));
  set(env, result, "reason", make_text(env, device.reason));
  set(env, result, "remedy", make_text(env, device.remedy));
  set(env, result, "library", make_text(env, library.detail));
  set(env, result, "attentionLibrary", make_text(env, probe_fused_attention().detail));
  napi_value devices = nullptr;
  napi_create_array(env, &devices);
  const int count = device.available ? device_count() : 0;
  for (int i = 0; i < count; i++) {
    const DeviceProperties properties = device_properties(i);
    const napi_value one = make_object(env);
    set(env, one, "name", make_text(env, properties.name));
    set(env, one, "major", make_integer(env, properties.major));
    set(env, one, "minor", make_integer(env, properties.minor));
    set(env, one, "totalBytes", make_number(env, static_cast<double>(properties.total_bytes)));
    set(env, one, "multiprocessors", make_integer(env, properties.multiprocessors));
    set(env, one, "driverVersion", make_integer(env, properties.driver_version));
    set(env, one, "runtimeVersion", make_integer(env, properties.runtime_version));
    napi_set_element(env, devices, static_cast<std::uint32_t>(i), one);
  }
  set(env, result, "devices", devices);
  return result;
}

// ordinal. Once an environment.
napi_value start(const xgen::binding::Call& call) {
  Environment& environment = environment_of(call.env());
  if (environment.context == nullptr) environment.context = std::make_unique<Context>(call.integer(0));
  return nullptr;
}

napi_value label(const DeviceCall& call) { return make_number(call.env(), call.context().allocator.label(call.text(0))); }

// count, type, label → handle.
napi_value create(const DeviceCall& call) {
  return make_integer(call.env(), call.context().create(call.size(0), call.type(1), static_cast<Allocator::Label>(call.size(2))));
}

napi_value release(const DeviceCall& call) {
  call.context().release(call.handle(0));
  return nullptr;
}

// handle, type: converts the array where it is, under the same handle.
napi_value retype(const DeviceCall& call) {
  Context& context = call.context();
  const DeviceArray before = context.at(call.handle(0));
  const ElementType type = call.type(1);
  if (before.type == type) return nullptr;
  if (context.capturing()) throw Error("CAPTURE_FAILED", "An array's storage cannot be changed while launches are being recorded.");
  DeviceArray after = before;
  after.type = type;
  after.data = context.allocator.allocate(before.count * element_bytes(type), context.allocator.label("converted"));
  convert(call.stream(), {before.data, before.type}, {after.data, type}, before.count);
  context.replace(call.handle(0), after);
  return nullptr;
}

std::size_t bytes_of(const DeviceCall& call, std::size_t index, ElementType as) {
  return product(call.context().at(call.handle(index)).count, element_bytes(as));
}

// handle, Uint8Array.
napi_value upload(const DeviceCall& call) {
  const std::size_t bytes = bytes_of(call, 0, call.context().at(call.handle(0)).type);
  call.context().upload(call.handle(0), call.bytes(1, bytes), bytes);
  return nullptr;
}

// handle, type to convert to, Uint8Array.
napi_value readSync(const DeviceCall& call) {
  const ElementType as = call.type(1);
  call.context().read_now(call.handle(0), as, call.bytes(2, bytes_of(call, 0, as)));
  return nullptr;
}

// count, Int32Array of so many handles, Uint8Array of their elements, one array behind the other.
napi_value uploadTogether(const DeviceCall& call) {
  const std::vector<Handle> handles = call.handles(1, call.size(0));
  call.context().upload_together(handles, call.bytes(2, call.context().bytes_of(handles)));
  return nullptr;
}

// Likewise, to read.
napi_value readTogether(const DeviceCall& call) {
  const std::vector<Handle> handles = call.handles(1, call.size(0));
  call.context().read_together(handles, call.bytes(2, call.context().bytes_of(handles)));
  return nullptr;
}

// A read that waits on a thread of its own.
struct PendingRead {
  Context* context;
  Context::Read read;
  void* target;
  napi_ref target_reference = nullptr;
  napi_deferred deferred = nullptr;
  napi_async_work work = nullptr;
  std::string failure;
};

void finish(napi_env env, napi_status, void* data) {
  const std::unique_ptr<PendingRead> pending(static_cast<PendingRead*>(data));
  napi_value error = nullptr;
  try {
    if (!pending->failure.empty()) throw Error("CUDA_FAILURE", pending->failure);
    pending->context->finish_read(pending->read, pending->target);
  } catch (const Error& caught) {
    napi_create_error(env, make_text(env, caught.code()), make_text(env, caught.what()), &error);
  } catch (const std::exception& caught) {
    napi_create_error(env, make_text(env, "CUDA_FAILURE"), make_text(env, caught.what()), &error);
  }
  napi_value nothing = nullptr;
  napi_get_undefined(env, &nothing);
  if (error != nullptr) napi_reject_deferred(env, pending->deferred, error);
  else napi_resolve_deferred(env, pending->deferred, nothing);
  napi_delete_reference(env, pending->target_reference);
  napi_delete_async_work(env, pending->work);
}

// As readSync, but → a promise; the array may be released meanwhile, the Uint8Array belongs to the call until then.
napi_value read(const DeviceCall& call) {
  const ElementType as = call.type(1);
  void* target = call.bytes(2, bytes_of(call, 0, as));
  auto pending = std::make_unique<PendingRead>();
  pending->context = &call.context();
  pending->target = target;
  pending->read = call.context().start_read(call.handle(0), as);
  napi_value promise = nullptr;
  napi_create_promise(call.env(), &pending->deferred, &promise);
  napi_create_reference(call.env(), call.value(2), 1, &pending->target_reference);
  napi_create_async_work(
      call.env(), nullptr, make_text(call.env(), "xgen:read"),
      [](napi_env, void* data) {
        auto* one = static_cast<PendingRead*>(data);
        try {
          one->context->wait_read(one->read);
        } catch (const std::exception& caught) {
          one->failure = caught.what();
        }
      },
      finish, pending.get(), &pending->work);
  napi_queue_async_work(call.env(), pending->work);
  pending.release();
  return promise;
}

napi_value synchronizeDevice(const DeviceCall& call) {
  synchronize(call.stream());
  return nullptr;
}

// Whether a profiler from outside records what follows; waits for what came before.
napi_value setProfiling(const DeviceCall& call) {
  synchronize(call.stream());
  set_profiling(call.boolean(0));
  return nullptr;
}

napi_value holders(napi_env env, const std::vector<Allocator::Holder>& list) {
  napi_value result = nullptr;
  napi_create_array(env, &result);
  for (std::size_t i = 0; i < list.size(); i++) {
    const napi_value one = make_object(env);
    set(env, one, "name", make_text(env, list[i].name));
    set(env, one, "blocks", make_number(env, static_cast<double>(list[i].blocks)));
    set(env, one, "bytes", make_number(env, static_cast<double>(list[i].bytes)));
    napi_set_element(env, result, static_cast<std::uint32_t>(i), one);
  }
  return result;
}

napi_value statistics(const DeviceCall& call) {
  const napi_env env = call.env();
  const Allocator::Statistics now = call.context().allocator.statistics();
  std::size_t free_bytes = 0, total_bytes = 0;
  device_memory(&free_bytes, &total_bytes);
  const napi_value result = make_object(env);
  const auto number = [&](const char* name, std::size_t value) { set(env, result, name, make_number(env, static_cast<double>(value))); };
  number("liveBytes", now.live_bytes);
  number("liveBlocks", now.live_blocks);
  number("cachedBytes", now.reserved_bytes - now.live_bytes);
  number("reservedBytes", now.reserved_bytes);
  number("peakLiveBytes", now.peak_live_bytes);
  number("peakReservedBytes", now.peak_reserved_bytes);
  number("deviceAllocations", now.device_allocations);
  number("deviceFreeBytes", free_bytes);
  number("deviceTotalBytes", total_bytes);
  set(env, result, "bySize", holders(env, now.by_size));
  set(env, result, "byOperation", holders(env, now.by_label));
  return result;
}

napi_value resetPeaks(const DeviceCall& call) {
  call.context().allocator.reset_peaks();
  return nullptr;
}

napi_value releaseCached(const DeviceCall& call) {
  call.context().allocator.release_cached();
  return nullptr;
}

napi_value setPoison(const DeviceCall& call) {
  call.context().poison = call.boolean(0);
  return nullptr;
}

// Whether only kernels are used that give the same bits on every run.
napi_value setDeterministic(const DeviceCall& call) {
  call.context().deterministic = call.boolean(0);
  return nullptr;
}

// Whether cuDNN's attention is preferred to faster kernels here.
napi_value setLibraryAttention(const DeviceCall& call) {
  call.context().library_attention = call.boolean(0);
  return nullptr;
}

// Whether products of float32 matrices round their operands to TensorFloat-32.
napi_value setTensorFloat32(const DeviceCall& call) {
  call.context().float32_products = call.boolean(0) ? Float32Products::tensor_float32 : Float32Products::exact;
  return nullptr;
}

#ifdef XGEN_CUDA_EMULATION
// The emulated device's memory, before or after start.
napi_value setCapacity(const xgen::binding::Call& call) {
  set_emulated_capacity(call.size(0));
  return nullptr;
}
#endif

}  // namespace

const Registration kRuntimeFunctions[] = {
    {"probe", xgen::binding::guarded<probe>},
    {"start", xgen::binding::guarded<start>},
#ifdef XGEN_CUDA_EMULATION
    {"setCapacity", xgen::binding::guarded<setCapacity>},
#endif
    XGEN_REGISTER_DEVICE(label),
    XGEN_REGISTER_DEVICE(create),
    XGEN_REGISTER_DEVICE(release),
    XGEN_REGISTER_DEVICE(retype),
    XGEN_REGISTER_DEVICE(upload),
    XGEN_REGISTER_DEVICE(uploadTogether),
    XGEN_REGISTER_DEVICE(readSync),
    XGEN_REGISTER_DEVICE(readTogether),
    XGEN_REGISTER_DEVICE(read),
    XGEN_REGISTER_DEVICE(synchronizeDevice),
    XGEN_REGISTER_DEVICE(setProfiling),
    XGEN_REGISTER_DEVICE(statistics),
    XGEN_REGISTER_DEVICE(resetPeaks),
    XGEN_REGISTER_DEVICE(releaseCached),
    XGEN_REGISTER_DEVICE(setPoison),
    XGEN_REGISTER_DEVICE(setDeterministic),
    XGEN_REGISTER_DEVICE(setLibraryAttention),
    XGEN_REGISTER_DEVICE(setTensorFloat32),
    {nullptr, nullptr},
};

}  // namespace xgen::cuda::binding
