// The addon's entry: the lists of functions, and the thread pool's lifetime.
#include "bindings.h"
#include "xgen/thread_pool.h"

namespace {

using xgen::binding::Registration;

napi_value initialize(napi_env env, napi_value exports) {
  const Registration* const lists[] = {
      xgen::binding::kRuntimeFunctions,   xgen::binding::kRowFunctions,      xgen::binding::kMatrixFunctions,
      xgen::binding::kAttentionFunctions, xgen::binding::kTrainingFunctions, xgen::binding::kElementwiseFunctions,
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
  // One reference a JavaScript environment (main thread or worker); the threads end with the last of them.
  xgen::retain_pool();
  napi_add_env_cleanup_hook(env, [](void*) { xgen::release_pool(); }, nullptr);
  return exports;
}

}  // namespace

NAPI_MODULE(xgen_native, initialize)
