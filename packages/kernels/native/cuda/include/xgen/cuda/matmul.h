// Matrix products on the device: a kernel of ours for few rows, else cuBLASLt, opened at run time (src/matmul_cublaslt.cpp), or loops on the
// processor where the device is emulated (src/matmul_emulated.cpp).
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "xgen/cuda/operations.h"

namespace xgen::cuda {

// What float32 operands are multiplied in. bfloat16 operands always are multiplied as they are, and summed in float32.
enum class Float32Products { exact, tensor_float32 };

// c [m,n] = a [m,k] * b [k,n], row-major, each `batch` times. A transposed operand lies in memory as [k,m] or [n,k]. Strides count
// elements: of a row (at least its length) and from one matrix of the batch to the next (0: the same for all).
struct MatmulShape {
  std::size_t m, n, k;
  bool transposed_a, transposed_b;
  std::size_t row_a, row_b, row_c;
  std::size_t batch = 1, step_a = 0, step_b = 0, step_c = 0;
};

struct FewRowsOptions {
  const void* addend = nullptr;  // of c's shape and type, added before the result is rounded; may be c itself
  // With a weight [k], float32 or bfloat16, rows of a are first divided by sqrt(their mean square + epsilon), multiplied by it and rounded, as
  // rms_norm does: at most 8 rows then, and k at most 4,096.
  ConstArray norm = {nullptr, ElementType::float32};
  float epsilon = 0.0f;
  // Whether no kernel queued before that may still run when this one begins (launch.h) writes b: then the kernel reads b before those have ended.
  bool settled = false;
};

// Products with few rows in a and b [n,k] stored transposed, as decoding has them, by kernels that read b once at the memory's speed
// (src/kernels/few_rows_product.cu and few_rows_hopper.cu). False, with nothing queued, where they do not take the shape or the types: they want a and b in
// bfloat16, at most 32 rows (8 where k is above 4,096 and the device no Hopper), k and the strides of rows multiples of 8, and no batch. A row of c depends
// on no other row, but up to 8 rows may have other bits than 9 and more.
// Gated: b is [2n,k], gates first, and c = silu(gate) * up, bit by bit what the product and swiglu would give.
bool multiply_few_rows(Stream stream, const MatmulShape& shape, ConstArray a, ConstArray b, Array c, const FewRowsOptions& options = {});
bool multiply_few_rows_gated(Stream stream, const MatmulShape& shape, ConstArray a, ConstArray b, Array c, const FewRowsOptions& options = {});

// Finding out whether products can be computed, without a device.
struct MatmulLibrary {
  bool available = false;
  std::string detail;  // version and file, or why not
  std::string remedy;
};
MatmulLibrary probe_matmul() noexcept;

class Matmul {
 public:
  Matmul();  // throws Error("CUBLASLT_UNAVAILABLE")
  ~Matmul();
  Matmul(const Matmul&) = delete;
  Matmul& operator=(const Matmul&) = delete;

  static constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

  // a and b of one type, float32 or bfloat16; c float32 or the type of a. With `accumulate` the product is added to what `addend` holds,
  // of c's shape and type (null: to c itself), else c is written without being read. workspace: kWorkspaceBytes, 256-byte
  // aligned. The algorithm is chosen once for each shape and kept, so the same call gives the same bits.
  void multiply(Stream stream, const MatmulShape& shape, ConstArray a, ConstArray b, Array c, bool accumulate,
                Float32Products products, void* workspace, const void* addend = nullptr);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace xgen::cuda
