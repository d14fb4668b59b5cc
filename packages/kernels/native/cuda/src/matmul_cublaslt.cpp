// Products by cuBLASLt. It is column-major: a row-major c = a * b is its c' = b' * a', so operands change places.
#include <algorithm>
#include <array>
#include <map>
#include <memory>

#include "cublaslt.h"
#include "xgen/cuda/matmul.h"
#include "xgen/error.h"

namespace xgen::cuda {

namespace {

using cublaslt::Library;
using cublaslt::Status;

const Library& library() {
  std::string failure;
  const Library* opened = cublaslt::open(&failure);
  if (opened == nullptr) throw Error("CUBLASLT_UNAVAILABLE", "cuBLASLt cannot be opened (" + failure + ").");
  return *opened;
}

std::string version_text(std::size_t version) {
  const std::size_t major = version >= 100000 ? version / 10000 : version / 1000;
  const std::size_t rest = version >= 100000 ? version % 10000 : version % 1000;
  return std::to_string(major) + "." + std::to_string(rest / 100) + "." + std::to_string(rest % 100);
}

std::string describe(const MatmulShape& shape) {
  const auto text = [](std::size_t value) { return std::to_string(value); };
  return "[" + text(shape.m) + ", " + text(shape.k) + "]" + (shape.transposed_a ? "ᵀ" : "") + " · [" + text(shape.k) + ", " + text(shape.n) +
         "]" + (shape.transposed_b ? "ᵀ" : "") + (shape.batch > 1 ? ", " + text(shape.batch) + " times" : "");
}

void check(Status status, const char* what, const MatmulShape& shape) {
  if (status == 0) return;
  throw Error("CUBLASLT_FAILURE", std::string("cuBLASLt: ") + what + " " + describe(shape) + " failed with status " + std::to_string(status) +
                                      (status == cublaslt::kNotSupported ? " (not supported)." : "."));
}

// The largest power of two up to 256 that divides the address.
std::uint32_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  return static_cast<std::uint32_t>(std::min<std::uintptr_t>(256, address & (~address + 1)));
}

int data_type(ElementType type) { return type == ElementType::bfloat16 ? cublaslt::kBfloat16 : cublaslt::kFloat32; }

}  // namespace

// Everything that cuBLASLt's choice depends on.
using Key = std::array<std::uint64_t, 18>;

// One shape's descriptors and algorithm.
struct Plan {
  const Library& lib;
  cublaslt::Descriptor descriptor = nullptr;
  cublaslt::Layout a = nullptr, b = nullptr, c = nullptr;
  cublaslt::Algorithm algorithm{};

  explicit Plan(const Library& opened) : lib(opened) {}
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() {
    for (cublaslt::Layout layout : {a, b, c}) {
      if (layout != nullptr) lib.destroy_layout(layout);
    }
    if (descriptor != nullptr) lib.destroy_descriptor(descriptor);
  }
};

struct Matmul::State {
  const Library& lib = library();
  cublaslt::Handle handle = nullptr;
  std::map<Key, std::unique_ptr<Plan>> plans;

  State() {
    const Status status = lib.create(&handle);
    if (status != 0) {
      throw Error("CUBLASLT_UNAVAILABLE", "cuBLASLt " + version_text(lib.version) + " does not start (status " + std::to_string(status) + ").");
    }
  }
  ~State() {
    plans.clear();
    lib.destroy(handle);
  }

  cublaslt::Layout layout(const MatmulShape& shape, ElementType type, std::size_t rows, std::size_t columns, std::size_t stride, std::size_t step) {
    cublaslt::Layout made = nullptr;
    check(lib.create_layout(&made, data_type(type), rows, columns, static_cast<std::int64_t>(stride)), "describing", shape);
    if (shape.batch > 1) {
      const auto count = static_cast<std::int32_t>(shape.batch);
      const auto distance = static_cast<std::int64_t>(step);
      check(lib.set_layout(made, cublaslt::kLayoutBatchCount, &count, sizeof(count)), "describing", shape);
      check(lib.set_layout(made, cublaslt::kLayoutBatchStep, &distance, sizeof(distance)), "describing", shape);
    }
    return made;
  }

  const Plan& plan(const MatmulShape& shape, ConstArray a, ConstArray b, Array c, Float32Products products) {
    const std::uint32_t alignments[] = {alignment_of(b.data), alignment_of(a.data), alignment_of(c.data)};
    const Key key = {shape.m, shape.n, shape.k, shape.transposed_a, shape.transposed_b, shape.row_a, shape.row_b, shape.row_c,
                     shape.batch, shape.step_a, shape.step_b, shape.step_c,
                     static_cast<std::uint64_t>(a.type) * 16 + static_cast<std::uint64_t>(c.type),
                     static_cast<std::uint64_t>(products), alignments[0], alignments[1], alignments[2], 0};
    std::unique_ptr<Plan>& known = plans[key];
    if (known != nullptr) return *known;
    auto made = std::make_unique<Plan>(lib);
    const bool tensor_float32 = a.type == ElementType::float32 && products == Float32Products::tensor_float32;
    check(lib.create_descriptor(&made->descriptor, tensor_float32 ? cublaslt::kComputeTensorFloat32 : cublaslt::kComputeFloat32,
                                cublaslt::kFloat32),
          "describing", shape);
    const std::int32_t first = shape.transposed_b ? cublaslt::kTransposed : cublaslt::kPlain;
    const std::int32_t second = shape.transposed_a ? cublaslt::kTransposed : cublaslt::kPlain;
    check(lib.set_descriptor(made->descriptor, cublaslt::kDescriptorTransposeA, &first, sizeof(first)), "describing", shape);
    check(lib.set_descriptor(made->descriptor, cublaslt::kDescriptorTransposeB, &second, sizeof(second)), "describing", shape);
    made->a = shape.transposed_b ? layout(shape, b.type, shape.k, shape.n, shape.row_b, shape.step_b)
                                 : layout(shape, b.type, shape.n, shape.k, shape.row_b, shape.step_b);
    made->b = shape.transposed_a ? layout(shape, a.type, shape.m, shape.k, shape.row_a, shape.step_a)
                                 : layout(shape, a.type, shape.k, shape.m, shape.row_a, shape.step_a);
    made->c = layout(shape, c.type, shape.n, shape.m, shape.row_c, shape.step_c);

    cublaslt::Preference preference = nullptr;
    check(lib.create_preference(&preference), "planning", shape);
    const std::unique_ptr<void, Status (*)(cublaslt::Preference)> owned(preference, lib.destroy_preference);
    const std::uint64_t workspace_bytes = kWorkspaceBytes;
    check(lib.set_preference(preference, cublaslt::kPreferenceWorkspaceBytes, &workspace_bytes, sizeof(workspace_bytes)), "planning", shape);
    const int attributes[] = {cublaslt::kPreferenceAlignmentA, cublaslt::kPreferenceAlignmentB, cublaslt::kPreferenceAlignmentC,
                              cublaslt::kPreferenceAlignmentD};
    const std::uint32_t values[] = {alignments[0], alignments[1], alignments[2], alignments[2]};
    for (int i = 0; i < 4; i++) check(lib.set_preference(preference, attributes[i], &values[i], sizeof(values[i])), "planning", shape);
    cublaslt::Heuristic found{};
    int count = 0;
    check(lib.heuristics(handle, made->descriptor, made->a, made->b, made->c, made->c, preference, 1, &found, &count), "planning", shape);
    if (count == 0) check(cublaslt::kNotSupported, "planning", shape);
    check(found.state, "planning", shape);
    made->algorithm = found.algorithm;
    known = std::move(made);
    return *known;
  }
};

MatmulLibrary probe_matmul() noexcept {
  try {
    std::string failure;
    const Library* opened = cublaslt::open(&failure);
    if (opened != nullptr) return {true, "cuBLASLt " + version_text(opened->version), ""};
    return {false, "cuBLASLt cannot be opened (" + failure + ").",
            "Install CUDA's cuBLAS (apt: libcublas-13-0; pip: nvidia-cublas) and let the linker find it: its folder in LD_LIBRARY_PATH or /etc/ld.so.conf.d."};
  } catch (...) {
    return {false, "cuBLASLt cannot be asked for.", "Install CUDA's cuBLAS."};
  }
}

Matmul::Matmul() : state_(std::make_unique<State>()) {}
Matmul::~Matmul() = default;

void Matmul::multiply(Stream stream, const MatmulShape& shape, ConstArray a, ConstArray b, Array c, bool accumulate,
                      Float32Products products, void* workspace, const void* addend) {
  if (shape.m == 0 || shape.n == 0 || shape.batch == 0) return;
  if (a.type != b.type || (a.type != ElementType::float32 && a.type != ElementType::bfloat16) ||
      (c.type != ElementType::float32 && c.type != a.type)) {
    throw Error("UNSUPPORTED", "There is no product of these element types.");
  }
  const void* const added = !accumulate ? nullptr : addend == nullptr ? c.data : addend;
  if (multiply_few_rows(stream, shape, a, b, c, {added})) return;
  const Plan& plan = state_->plan(shape, a, b, c, products);
  const float alpha = 1, beta = accumulate ? 1 : 0;
  check(state_->lib.multiply(state_->handle, plan.descriptor, &alpha, b.data, plan.a, a.data, plan.b, &beta, accumulate ? added : c.data, plan.c, c.data, plan.c,
                             &plan.algorithm, workspace, kWorkspaceBytes, stream),
        "multiplying", shape);
}

}  // namespace xgen::cuda
