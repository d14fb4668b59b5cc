#include "cudnn.h"
#include "dynamic_library.h"

namespace xgen::cuda::cudnn {

namespace {

// As NVIDIA's installers and Python packages name it. Where the linker looks (LD_LIBRARY_PATH, ldconfig) comes first.
const char* const kNames[] = {"libcudnn.so.9", "/usr/local/cuda/lib64/libcudnn.so.9", "libcudnn.so"};
// Grouped heads of packed documents have gradients since 9.6.
constexpr std::size_t kOldest = 90600;

bool fill(void* library, Library& into) {
  std::size_t (*version)() = nullptr;
  if (!find_function(library, "cudnnGetVersion", version) || version() < kOldest) return false;
  into.version = version();
  return find_function(library, "cudnnCreate", into.create) && find_function(library, "cudnnDestroy", into.destroy) &&
         find_function(library, "cudnnSetStream", into.set_stream) && find_function(library, "cudnnGetLastErrorString", into.last_error) &&
         find_function(library, "cudnnBackendCreateDescriptor", into.create_descriptor) &&
         find_function(library, "cudnnBackendDestroyDescriptor", into.destroy_descriptor) &&
         find_function(library, "cudnnBackendFinalize", into.finalize) &&
         find_function(library, "cudnnBackendSetAttribute", into.set_attribute) &&
         find_function(library, "cudnnBackendGetAttribute", into.get_attribute) && find_function(library, "cudnnBackendExecute", into.execute);
}

}  // namespace

const Library* open(std::string* failure) { return open_once<Library>(kNames, fill, failure); }

}  // namespace xgen::cuda::cudnn
