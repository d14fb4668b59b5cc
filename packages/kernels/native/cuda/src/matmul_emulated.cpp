// Products of the emulated device: plain loops, sums in float32 in rising k.
#include <cstring>
#include <vector>

#include "xgen/cuda/runtime.h"
#include "xgen/cuda/matmul.h"
#include "xgen/error.h"

namespace xgen::cuda {

namespace {

float from_bfloat16(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

std::uint16_t to_bfloat16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if (value != value) return 0x7FFF;
  return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

float round_to_tensor_float32(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  bits = (bits + 0xFFF + ((bits >> 13) & 1)) & ~std::uint32_t{0x1FFF};
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

float load(ConstArray array, std::size_t index) {
  if (array.type == ElementType::bfloat16) return from_bfloat16(static_cast<const std::uint16_t*>(array.data)[index]);
  return static_cast<const float*>(array.data)[index];
}

// One operand as rows of k numbers: a [m][k], b [n][k].
std::vector<float> gather(ConstArray array, std::size_t offset, std::size_t rows, std::size_t k, std::size_t stride, bool k_is_row,
                          bool rounded) {
  std::vector<float> out(rows * k);
  for (std::size_t row = 0; row < rows; row++) {
    for (std::size_t i = 0; i < k; i++) {
      const float value = load(array, offset + (k_is_row ? i * stride + row : row * stride + i));
      out[row * k + i] = rounded ? round_to_tensor_float32(value) : value;
    }
  }
  return out;
}

void product(const MatmulShape& shape, ConstArray a, ConstArray b, Array c, const void* addend, bool rounded) {
  for (std::size_t batch = 0; batch < shape.batch; batch++) {
    const auto left = gather(a, batch * shape.step_a, shape.m, shape.k, shape.row_a, shape.transposed_a, rounded);
    const auto right = gather(b, batch * shape.step_b, shape.n, shape.k, shape.row_b, !shape.transposed_b, rounded);
    for (std::size_t row = 0; row < shape.m; row++) {
      for (std::size_t column = 0; column < shape.n; column++) {
        // Four chains, as wide as a processor adds at once.
        float sums[4] = {0, 0, 0, 0};
        const float *x = &left[row * shape.k], *y = &right[column * shape.k];
        std::size_t i = 0;
        for (; i + 4 <= shape.k; i += 4) {
          for (std::size_t lane = 0; lane < 4; lane++) sums[lane] += x[i + lane] * y[i + lane];
        }
        for (; i < shape.k; i++) sums[0] += x[i] * y[i];
        float sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        const std::size_t at = batch * shape.step_c + row * shape.row_c + column;
        if (addend != nullptr) sum += load({addend, c.type}, at);
        if (c.type == ElementType::bfloat16) static_cast<std::uint16_t*>(c.data)[at] = to_bfloat16(sum);
        else static_cast<float*>(c.data)[at] = sum;
      }
    }
  }
}

}  // namespace

struct Matmul::State {};

MatmulLibrary probe_matmul() noexcept { return {true, "products by the processor", ""}; }
Matmul::Matmul() = default;
Matmul::~Matmul() = default;

void Matmul::multiply(Stream stream, const MatmulShape& shape, ConstArray a, ConstArray b, Array c, bool accumulate,
                      Float32Products products, void*, const void* addend) {
  if (shape.m == 0 || shape.n == 0 || shape.batch == 0) return;
  if (a.type != b.type || (a.type != ElementType::float32 && a.type != ElementType::bfloat16) ||
      (c.type != ElementType::float32 && c.type != a.type)) {
    throw Error("UNSUPPORTED", "There is no product of these element types.");
  }
  const void* const added = !accumulate ? nullptr : addend == nullptr ? c.data : addend;
  if (multiply_few_rows(stream, shape, a, b, c, {added})) return;
  const bool rounded = products == Float32Products::tensor_float32 && a.type == ElementType::float32;
  submit(stream, [=] { product(shape, a, b, c, added, rounded); });
}

}  // namespace xgen::cuda
