#include "cublaslt.h"

#include <dlfcn.h>

#include <mutex>

namespace xgen::cuda::cublaslt {

namespace {

// As CUDA's installers and NVIDIA's Python packages name it, newest first. Where the linker looks (LD_LIBRARY_PATH,
// ldconfig) comes before the toolkit's folder.
const char* const kNames[] = {
    "libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11", "/usr/local/cuda/lib64/libcublasLt.so", "libcublasLt.so",
};

template <class F>
bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

bool fill(void* library, Library& into) {
  std::size_t (*version)() = nullptr;
  const bool complete =
      find(library, "cublasLtGetVersion", version) && find(library, "cublasLtCreate", into.create) &&
      find(library, "cublasLtDestroy", into.destroy) && find(library, "cublasLtMatmulDescCreate", into.create_descriptor) &&
      find(library, "cublasLtMatmulDescDestroy", into.destroy_descriptor) &&
      find(library, "cublasLtMatmulDescSetAttribute", into.set_descriptor) &&
      find(library, "cublasLtMatrixLayoutCreate", into.create_layout) &&
      find(library, "cublasLtMatrixLayoutDestroy", into.destroy_layout) &&
      find(library, "cublasLtMatrixLayoutSetAttribute", into.set_layout) &&
      find(library, "cublasLtMatmulPreferenceCreate", into.create_preference) &&
      find(library, "cublasLtMatmulPreferenceDestroy", into.destroy_preference) &&
      find(library, "cublasLtMatmulPreferenceSetAttribute", into.set_preference) &&
      find(library, "cublasLtMatmulAlgoGetHeuristic", into.heuristics) && find(library, "cublasLtMatmul", into.multiply);
  if (complete) into.version = version();
  return complete;
}

}  // namespace

const Library* open(std::string* failure) {
  static std::mutex mutex;
  static Library library;
  static bool opened = false;
  const std::lock_guard lock(mutex);
  if (opened) return &library;
  std::string first;
  for (const char* name : kNames) {
    void* handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* message = dlerror();
      if (first.empty()) first = message == nullptr ? "not found" : message;
      continue;
    }
    if (fill(handle, library)) {
      library.file = name;
      opened = true;
      return &library;
    }
    dlclose(handle);
    first = std::string(name) + " lacks functions";
  }
  if (failure != nullptr) *failure = first;
  return nullptr;
}

}  // namespace xgen::cuda::cublaslt
