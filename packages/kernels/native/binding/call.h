// One call from JavaScript: typed access to its arguments, each checked. A wrong argument throws xgen::Error before any
// pointer is used; `guarded` turns that into a JavaScript error whose `code` is the Error's.
#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace xgen::binding {

class Call {
 public:
  Call(napi_env env, napi_callback_info info);

  napi_env env() const { return env_; }
  napi_value value(std::size_t index) const;
  bool missing(std::size_t index) const;  // undefined or null

  double number(std::size_t index) const;
  float real(std::size_t index) const { return static_cast<float>(number(index)); }
  std::size_t size(std::size_t index) const;  // a whole number >= 0
  std::int32_t integer(std::size_t index) const;
  bool boolean(std::size_t index) const;
  std::string text(std::size_t index) const;

  // Typed arrays of at least `count` elements. The pointer is good for the duration of the call.
  float* floats(std::size_t index, std::size_t count) const;
  std::int32_t* integers(std::size_t index, std::size_t count) const;
  std::uint8_t* bytes(std::size_t index, std::size_t count) const;  // of a Uint8Array
  float* optional_floats(std::size_t index, std::size_t count) const { return missing(index) ? nullptr : floats(index, count); }

  // Elements of an array argument.
  std::size_t array_length(std::size_t index) const;
  float* array_floats(std::size_t index, std::size_t element, std::size_t count) const;
  std::size_t array_floats_length(std::size_t index, std::size_t element) const;

 private:
  static constexpr std::size_t kMaximum = 28;
  void* typed(napi_value array, napi_typedarray_type type, std::size_t count, const std::string& name) const;

  napi_env env_;
  std::size_t count_ = kMaximum;
  napi_value values_[kMaximum];
};

// a * b * ..., or throws where the product does not fit.
std::size_t product(std::size_t a, std::size_t b);

using Function = napi_value (*)(const Call&);

template <Function kFunction>
napi_value guarded(napi_env env, napi_callback_info info);

void throw_current(napi_env env);  // inside a catch block

template <Function kFunction>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    return kFunction(Call(env, info));
  } catch (...) {
    throw_current(env);
    return nullptr;
  }
}

struct Registration {
  const char* name;
  napi_callback callback;
};
#define XGEN_REGISTER(function) \
  { #function, guarded<function> }

}  // namespace xgen::binding
