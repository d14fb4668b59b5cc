// Matrix products. `bfloat16` says that inputs are rounded to it.
#include "bindings.h"
#include "xgen/matrix.h"
#include "xgen/operations.h"

namespace xgen::binding {

namespace {

Precision precision_of(const Call& call, std::size_t index) {
  return call.boolean(index) ? Precision::bfloat16 : Precision::float32;
}

napi_value linear(const Call& call) {
  const std::size_t rows = call.size(0), in = call.size(1), out = call.size(2);
  xgen::linear(call.floats(4, product(rows, in)), call.floats(5, product(out, in)), call.floats(6, product(rows, out)), rows, in,
               out, precision_of(call, 3));
  return nullptr;
}

// How many bytes a packed weight takes: in, out, bfloat16.
napi_value packedWeightBytes(const Call& call) {
  napi_value result;
  napi_create_double(call.env(), static_cast<double>(packed_weight_bytes(call.size(0), call.size(1), precision_of(call, 2))), &result);
  return result;
}

// in, out, bfloat16, weight [out,in], buffer.
napi_value packWeight(const Call& call) {
  const std::size_t in = call.size(0), out = call.size(1);
  const Precision precision = precision_of(call, 2);
  const MatrixView weight = {call.floats(3, product(out, in)), static_cast<std::ptrdiff_t>(in), true};
  pack_weight(weight, in, out, precision, call.bytes(4, packed_weight_bytes(in, out, precision)));
  return nullptr;
}

// rows, in, out, bfloat16, x, packed weight, y.
napi_value linearPacked(const Call& call) {
  const std::size_t rows = call.size(0), in = call.size(1), out = call.size(2);
  const Precision precision = precision_of(call, 3);
  const std::size_t bytes = packed_weight_bytes(in, out, precision);
  const MatrixView x = {call.floats(4, product(rows, in)), static_cast<std::ptrdiff_t>(in), false};
  multiply_packed(x, call.bytes(5, bytes), bytes, call.floats(6, product(rows, out)), rows, out, in, precision);
  return nullptr;
}

napi_value linearGrad(const Call& call) {
  const std::size_t rows = call.size(0), in = call.size(1), out = call.size(2);
  xgen::linear_grad(call.floats(4, product(rows, in)), call.floats(5, product(out, in)), call.floats(6, product(rows, out)),
                    call.optional_floats(7, product(rows, in)), call.optional_floats(8, product(out, in)), rows, in, out,
                    precision_of(call, 3));
  return nullptr;
}

// batch, whether a and b are shared by the whole batch, m, n, k, whether a and b are stored transposed, bfloat16, a, b, c.
napi_value batchMatMul(const Call& call) {
  const std::size_t batch = call.size(0), m = call.size(3), n = call.size(4), k = call.size(5);
  const bool a_shared = call.boolean(1), b_shared = call.boolean(2), a_transposed = call.boolean(6), b_transposed = call.boolean(7);
  const std::size_t a_count = product(m, k), b_count = product(k, n);
  const float* a = call.floats(9, product(a_count, a_shared ? 1 : batch));
  const float* b = call.floats(10, product(b_count, b_shared ? 1 : batch));
  float* c = call.floats(11, product(product(m, n), batch));
  const MatrixView left = {a, static_cast<std::ptrdiff_t>(a_transposed ? m : k), a_transposed};
  const MatrixView right = {b, static_cast<std::ptrdiff_t>(b_transposed ? k : n), b_transposed};
  batch_multiply(left, right, c, batch, a_shared ? 0 : a_count, b_shared ? 0 : b_count, m, n, k, precision_of(call, 8));
  return nullptr;
}

}  // namespace

const Registration kMatrixFunctions[] = {
    XGEN_REGISTER(linear),       XGEN_REGISTER(linearGrad),  XGEN_REGISTER(packedWeightBytes), XGEN_REGISTER(packWeight),
    XGEN_REGISTER(linearPacked), XGEN_REGISTER(batchMatMul), {nullptr, nullptr},
};

}  // namespace xgen::binding
