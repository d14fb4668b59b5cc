#include "device_call.h"

#include "xgen/error.h"

namespace xgen::cuda::binding {

Environment& environment_of(napi_env env) {
  void* data = nullptr;
  if (napi_get_instance_data(env, &data) != napi_ok || data == nullptr) throw Error("CUDA_FAILURE", "The addon was unloaded.");
  return *static_cast<Environment*>(data);
}

DeviceCall::DeviceCall(napi_env env, napi_callback_info info) : Call(env, info), context_(environment_of(env).context.get()) {
  if (context_ == nullptr) throw Error("CUDA_FAILURE", "The device was not started.");
}

ElementType DeviceCall::type(std::size_t index) const {
  const std::int32_t number = integer(index);
  if (number < 0 || number > 3) throw Error("INVALID_ARGUMENT", "There is no element type " + std::to_string(number) + ".");
  return static_cast<ElementType>(number);
}

Array DeviceCall::checked(Handle one, std::size_t count, std::size_t index) const {
  const DeviceArray& found = context_->at(one);
  if (found.count < count) {
    throw Error("INVALID_ARGUMENT", "Argument " + std::to_string(index) + " has " + std::to_string(found.count) + " elements, fewer than the " +
                                        std::to_string(count) + " needed.");
  }
  return {found.data, found.type};
}

Array DeviceCall::floating(Handle one, std::size_t count, std::size_t index) const {
  const Array found = checked(one, count, index);
  if (found.type != ElementType::float32 && found.type != ElementType::bfloat16) {
    throw Error("INVALID_ARGUMENT", "Argument " + std::to_string(index) + " is " + type_name(found.type) + ", not floating.");
  }
  return found;
}

Array DeviceCall::optional_floating(std::size_t index, std::size_t count) const {
  return absent(index) ? Array{nullptr, ElementType::float32} : floating(index, count);
}

float* DeviceCall::float32(std::size_t index, std::size_t count) const {
  const Array found = array(index, count);
  if (found.type != ElementType::float32) {
    throw Error("INVALID_ARGUMENT", "Argument " + std::to_string(index) + " is " + type_name(found.type) + ", not float32.");
  }
  return static_cast<float*>(found.data);
}

std::int32_t* DeviceCall::int32(std::size_t index, std::size_t count) const {
  const Array found = array(index, count);
  if (found.type != ElementType::int32) {
    throw Error("INVALID_ARGUMENT", "Argument " + std::to_string(index) + " is " + type_name(found.type) + ", not int32.");
  }
  return static_cast<std::int32_t*>(found.data);
}

std::vector<Handle> DeviceCall::handles(std::size_t index, std::size_t count) const {
  const std::int32_t* list = integers(index, count);
  return std::vector<Handle>(list, list + count);
}

}  // namespace xgen::cuda::binding
