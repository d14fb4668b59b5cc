// One call from JavaScript on the environment's device: handles become arrays whose length and type are checked.
#pragma once

#include <cstddef>
#include <vector>

#include "call.h"
#include "context.h"
#include "xgen/cuda/linear_cross_entropy.h"

namespace xgen::cuda::binding {

using xgen::binding::product;
using xgen::binding::Registration;

// Set when the addon is loaded into an environment, and gone with it.
struct Environment {
  std::unique_ptr<Context> context;
};
Environment& environment_of(napi_env env);

// What matrix products are computed with.
inline Products products_of(Context& context) { return {context.matmul, context.matmul_workspace(), context.float32_products}; }

class DeviceCall : public xgen::binding::Call {
 public:
  DeviceCall(napi_env env, napi_callback_info info);

  Context& context() const { return *context_; }
  Stream stream() const { return context_->stream; }

  Handle handle(std::size_t index) const { return integer(index); }
  bool absent(std::size_t index) const { return handle(index) == 0; }
  ElementType type(std::size_t index) const;

  // A device array of at least `count` elements: of any type, of a floating type, of one type.
  Array array(std::size_t index, std::size_t count) const { return checked(handle(index), count, index); }
  Array floating(std::size_t index, std::size_t count) const { return floating(handle(index), count, index); }
  // Likewise one of a list that is argument `index`.
  Array floating(Handle one, std::size_t count, std::size_t index) const;
  Array optional_floating(std::size_t index, std::size_t count) const;
  float* float32(std::size_t index, std::size_t count) const;
  float* optional_float32(std::size_t index, std::size_t count) const { return absent(index) ? nullptr : float32(index, count); }
  std::int32_t* int32(std::size_t index, std::size_t count) const;

  // An Int32Array of handles.
  std::vector<Handle> handles(std::size_t index, std::size_t count) const;

 private:
  Array checked(Handle one, std::size_t count, std::size_t index) const;
  Context* context_;
};

using DeviceFunction = napi_value (*)(const DeviceCall&);

template <DeviceFunction kFunction>
napi_value guarded_device(napi_env env, napi_callback_info info) {
  try {
    return kFunction(DeviceCall(env, info));
  } catch (...) {
    xgen::binding::throw_current(env);
    return nullptr;
  }
}
#define XGEN_REGISTER_DEVICE(function) \
  { #function, guarded_device<function> }

// The functions each file of this folder gives to JavaScript. Every list ends with an empty entry.
extern const Registration kRuntimeFunctions[];
extern const Registration kGraphFunctions[];
extern const Registration kRowFunctions[];
extern const Registration kMatrixFunctions[];
extern const Registration kAttentionFunctions[];
extern const Registration kFeedForwardFunctions[];
extern const Registration kDecoderStepFunctions[];
extern const Registration kTrainingFunctions[];
extern const Registration kStockFunctions[];

}  // namespace xgen::cuda::binding
