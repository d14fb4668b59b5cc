#include "cublaslt.h"

#include "dynamic_library.h"

namespace xgen::cuda::cublaslt {

namespace {

// As CUDA's installers and NVIDIA's Python packages name it, newest first. Where the linker looks (LD_LIBRARY_PATH,
// ldconfig) comes before the toolkit's folder.
const char* const kNames[] = {
    "libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11", "/usr/local/cuda/lib64/libcublasLt.so", "libcublasLt.so",
};

bool fill(void* library, Library& into) {
  std::size_t (*version)() = nullptr;
  const bool complete =
      find_function(library, "cublasLtGetVersion", version) && find_function(library, "cublasLtCreate", into.create) &&
      find_function(library, "cublasLtDestroy", into.destroy) && find_function(library, "cublasLtMatmulDescCreate", into.create_descriptor) &&
      find_function(library, "cublasLtMatmulDescDestroy", into.destroy_descriptor) &&
      find_function(library, "cublasLtMatmulDescSetAttribute", into.set_descriptor) &&
      find_function(library, "cublasLtMatrixLayoutCreate", into.create_layout) &&
      find_function(library, "cublasLtMatrixLayoutDestroy", into.destroy_layout) &&
      find_function(library, "cublasLtMatrixLayoutSetAttribute", into.set_layout) &&
      find_function(library, "cublasLtMatmulPreferenceCreate", into.create_preference) &&
      find_function(library, "cublasLtMatmulPreferenceDestroy", into.destroy_preference) &&
      find_function(library, "cublasLtMatmulPreferenceSetAttribute", into.set_preference) &&
      find_function(library, "cublasLtMatmulAlgoGetHeuristic", into.heuristics) && find_function(library, "cublasLtMatmul", into.multiply);
  if (complete) into.version = version();
  return complete;
}

}  // namespace

const Library* open(std::string* failure) { return open_once<Library>(kNames, fill, failure); }

}  // namespace xgen::cuda::cublaslt
