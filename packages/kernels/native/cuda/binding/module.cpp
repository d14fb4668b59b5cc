// The addon's entry: the lists of functions, and what an environment owns.
#include "device_call.h"

namespace {

using namespace xgen::cuda::binding;

napi_value initialize(napi_env env, napi_value exports) {
  const Registration* const lists[] = {
      kRuntimeFunctions,   kGraphFunctions,       kRowFunctions,      kMatrixFunctions,   kAttentionFunctions,
      kFeedForwardFunctions, kDecoderStepFunctions, kTrainingFunctions, kStockFunctions,
  };
  for (const Registration* list : lists) {
    for (const Registration* entry = list; entry->name != nullptr; entry++) {
      napi_value function;
      if (napi_create_function(env, entry->name, NAPI_AUTO_LENGTH, entry->callback, nullptr, &function) != napi_ok ||
          napi_set_named_property(env, exports, entry->name, function) != napi_ok) {
        return nullptr;
      }
    }
  }
  napi_set_instance_data(env, new Environment(), [](napi_env, void* data, void*) { delete static_cast<Environment*>(data); }, nullptr);
  return exports;
}

}  // namespace

NAPI_MODULE(xgen_cuda, initialize)
