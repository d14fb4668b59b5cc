#include "call.h"

#include <new>

#include "xgen/error.h"

namespace xgen::binding {

namespace {
constexpr double kLargestSize = 9007199254740992.0;  // 2^53

[[noreturn]] void refuse(const std::string& what) { throw Error("INVALID_ARGUMENT", what); }
const char* type_name(napi_typedarray_type type) {
  return type == napi_float32_array ? "Float32Array" : type == napi_int32_array ? "Int32Array" : "Uint8Array";
}
std::string argument(std::size_t index) { return "Argument " + std::to_string(index); }
}  // namespace

Call::Call(napi_env env, napi_callback_info info) : env_(env) {
  if (napi_get_cb_info(env, info, &count_, values_, nullptr, nullptr) != napi_ok) refuse("The call's arguments cannot be read.");
}

napi_value Call::value(std::size_t index) const {
  if (index >= count_ || index >= kMaximum) refuse(argument(index) + " is missing.");
  return values_[index];
}

bool Call::missing(std::size_t index) const {
  if (index >= count_) return true;
  napi_valuetype type;
  if (napi_typeof(env_, values_[index], &type) != napi_ok) return true;
  return type == napi_undefined || type == napi_null;
}

double Call::number(std::size_t index) const {
  double result;
  if (napi_get_value_double(env_, value(index), &result) != napi_ok) refuse(argument(index) + " is not a number.");
  return result;
}

std::size_t Call::size(std::size_t index) const {
  const double result = number(index);
  if (!(result >= 0) || result > kLargestSize || result != static_cast<double>(static_cast<std::uint64_t>(result))) {
    refuse(argument(index) + " is " + std::to_string(result) + ", not a size.");
  }
  return static_cast<std::size_t>(result);
}

std::int32_t Call::integer(std::size_t index) const {
  std::int32_t result;
  if (napi_get_value_int32(env_, value(index), &result) != napi_ok) refuse(argument(index) + " is not an integer.");
  return result;
}

bool Call::boolean(std::size_t index) const {
  bool result;
  if (napi_get_value_bool(env_, value(index), &result) != napi_ok) refuse(argument(index) + " is not a boolean.");
  return result;
}

std::string Call::text(std::size_t index) const {
  char buffer[256];
  std::size_t length = 0;
  if (napi_get_value_string_utf8(env_, value(index), buffer, sizeof(buffer), &length) != napi_ok) {
    refuse(argument(index) + " is not a string.");
  }
  return std::string(buffer, length);
}

void* Call::typed(napi_value array, napi_typedarray_type type, std::size_t count, const std::string& name) const {
  napi_typedarray_type actual;
  std::size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env_, array, &actual, &length, &data, nullptr, nullptr) != napi_ok || actual != type) {
    refuse(name + " is not a " + type_name(type) + ".");
  }
  if (length < count || (data == nullptr && count > 0)) {
    refuse(name + " has " + std::to_string(length) + " elements, fewer than the " + std::to_string(count) + " needed.");
  }
  return data;
}

float* Call::floats(std::size_t index, std::size_t count) const {
  return static_cast<float*>(typed(value(index), napi_float32_array, count, argument(index)));
}

std::int32_t* Call::integers(std::size_t index, std::size_t count) const {
  return static_cast<std::int32_t*>(typed(value(index), napi_int32_array, count, argument(index)));
}

std::uint8_t* Call::bytes(std::size_t index, std::size_t count) const {
  return static_cast<std::uint8_t*>(typed(value(index), napi_uint8_array, count, argument(index)));
}

std::size_t Call::array_length(std::size_t index) const {
  std::uint32_t length = 0;
  if (napi_get_array_length(env_, value(index), &length) != napi_ok) refuse(argument(index) + " is not an array.");
  return length;
}

float* Call::array_floats(std::size_t index, std::size_t element, std::size_t count) const {
  napi_value item;
  if (napi_get_element(env_, value(index), static_cast<std::uint32_t>(element), &item) != napi_ok) {
    refuse(argument(index) + " is not an array.");
  }
  return static_cast<float*>(
      typed(item, napi_float32_array, count, argument(index) + "[" + std::to_string(element) + "]"));
}

std::size_t Call::array_floats_length(std::size_t index, std::size_t element) const {
  napi_value item;
  napi_typedarray_type type;
  std::size_t length = 0;
  if (napi_get_element(env_, value(index), static_cast<std::uint32_t>(element), &item) != napi_ok ||
      napi_get_typedarray_info(env_, item, &type, &length, nullptr, nullptr, nullptr) != napi_ok) {
    refuse(argument(index) + "[" + std::to_string(element) + "] is not a typed array.");
  }
  return length;
}

std::size_t product(std::size_t a, std::size_t b) {
  if (b != 0 && a > static_cast<std::size_t>(kLargestSize) / b) refuse("A size is beyond 2^53.");
  return a * b;
}

void throw_current(napi_env env) {
  const char* code = "NATIVE_FAILURE";
  std::string message;
  try {
    throw;
  } catch (const Error& error) {
    napi_throw_error(env, error.code().c_str(), error.what());
    return;
  } catch (const std::bad_alloc&) {
    code = "OUT_OF_MEMORY";
    message = "There is not enough memory for this operation.";
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
    message = "An unknown failure in native code.";
  }
  napi_throw_error(env, code, message.c_str());
}

}  // namespace xgen::binding
