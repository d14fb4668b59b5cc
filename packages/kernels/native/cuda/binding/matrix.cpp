// Matrix products.
#include "device_call.h"
#include "xgen/error.h"

namespace xgen::cuda::binding {

namespace {

// batch, whether a and b are shared by the whole batch, m, n, k, whether a and b are stored transposed, a, b, c. a and b of one floating
// type; c float32 or that type.
napi_value matMul(const DeviceCall& call) {
  const std::size_t batch = call.size(0), m = call.size(3), n = call.size(4), k = call.size(5);
  const bool a_shared = call.boolean(1), b_shared = call.boolean(2), a_transposed = call.boolean(6), b_transposed = call.boolean(7);
  const std::size_t a_count = product(m, k), b_count = product(k, n), c_count = product(m, n);
  const Array a = call.floating(8, product(a_count, a_shared ? 1 : batch));
  const Array b = call.floating(9, product(b_count, b_shared ? 1 : batch));
  const Array c = call.floating(10, product(c_count, batch));
  if (k == 0) {
    fill_bytes(c.data, 0, product(product(c_count, batch), element_bytes(c.type)), call.stream());
    return nullptr;
  }
  MatmulShape shape{m, n, k, a_transposed, b_transposed, a_transposed ? m : k, b_transposed ? k : n, n};
  shape.batch = batch;
  shape.step_a = a_shared ? 0 : a_count;
  shape.step_b = b_shared ? 0 : b_count;
  shape.step_c = c_count;
  // One shared right-hand matrix is one product of all rows.
  if (batch > 1 && b_shared && !a_shared && !a_transposed) {
    shape.m = product(m, batch);
    shape.batch = 1;
    shape.step_a = shape.step_b = shape.step_c = 0;
  }
  Context& context = call.context();
  context.matmul.multiply(context.stream, shape, a, b, c, false, context.float32_products, context.matmul_workspace());
  return nullptr;
}

// x [rows,depth] as products read it: itself, or, with a norm's weight, normalised into a workspace.
struct Normalized {
  Workspace workspace;
  ConstArray x;

  Normalized(Context& context, const ConstArray& given, const ConstArray& norm, float epsilon, std::size_t rows, std::size_t depth)
      : workspace(context, norm.data == nullptr ? 0 : product(product(rows, depth), element_bytes(given.type))), x(given) {
    if (norm.data == nullptr || rows == 0 || depth == 0) return;
    const Array y = {workspace.data(), given.type};
    rms_norm(context.stream, given, {nullptr, given.type}, norm, y, {nullptr, given.type}, nullptr, rows, depth, epsilon);
    x = y;
  }
};

// rows, width, depth, epsilon, x [rows,depth], norm [depth] or none, weight [width,depth], residual [rows,width] or none, y [rows,width]:
// x weight' + residual. The residual is of the result's type.
napi_value linear(const DeviceCall& call) {
  const std::size_t rows = call.size(0), width = call.size(1), depth = call.size(2), count = product(rows, width);
  const float epsilon = call.real(3);
  const Array x = call.floating(4, product(rows, depth)), norm = call.optional_floating(5, depth), weight = call.floating(6, product(width, depth));
  const Array residual = call.optional_floating(7, count), y = call.floating(8, count);
  if (residual.data != nullptr && residual.type != y.type) throw Error("INVALID_ARGUMENT", "The residual and the result must be of one type.");
  Context& context = call.context();
  if (depth == 0) {
    const std::size_t bytes = count * element_bytes(y.type);
    if (residual.data == nullptr) fill_bytes(y.data, 0, bytes, context.stream);
    else copy_on_device(y.data, residual.data, bytes, context.stream);
    return nullptr;
  }
  const MatmulShape shape{rows, width, depth, false, true, depth, depth, width};
  const bool settled = context.settled(weight.data);
  if (norm.data != nullptr && multiply_few_rows(context.stream, shape, x, weight, y, {residual.data, norm, epsilon, settled})) return nullptr;
  const Normalized rows_of(context, x, norm, epsilon, rows, depth);
  if (multiply_few_rows(context.stream, shape, rows_of.x, weight, y, {residual.data, {nullptr, norm.type}, 0.0f, settled})) return nullptr;
  context.matmul.multiply(context.stream, shape, rows_of.x, weight, y, residual.data != nullptr, context.float32_products, context.matmul_workspace(),
                          residual.data);
  return nullptr;
}

// rows, width, depth, epsilon, x [rows,depth], norm [depth] or none, weight [2 width,depth] (gates first), y [rows,width], all but the norm of one
// type: silu(gate) * up.
napi_value linearSwiglu(const DeviceCall& call) {
  const std::size_t rows = call.size(0), width = call.size(1), depth = call.size(2), count = product(rows, width);
  const float epsilon = call.real(3);
  const Array x = call.floating(4, product(rows, depth)), norm = call.optional_floating(5, depth), weight = call.floating(6, product(2 * width, depth)),
              y = call.floating(7, count);
  if (count == 0) return nullptr;
  Context& context = call.context();
  MatmulShape shape{rows, width, depth, false, true, depth, depth, width};
  const bool settled = context.settled(weight.data);
  if (y.type == x.type && multiply_few_rows_gated(context.stream, shape, x, weight, y, {nullptr, norm, epsilon, settled})) return nullptr;
  const Normalized rows_of(context, x, norm, epsilon, rows, depth);
  const FewRowsOptions plain = {nullptr, {nullptr, norm.type}, 0.0f, settled};
  if (norm.data != nullptr && y.type == x.type && multiply_few_rows_gated(context.stream, shape, rows_of.x, weight, y, plain)) return nullptr;
  const Workspace both(context, product(2 * count, element_bytes(y.type)));
  const Array gate_up = {both.data(), y.type};
  shape.n = shape.row_c = 2 * width;
  if (depth == 0) {
    fill_bytes(gate_up.data, 0, 2 * count * element_bytes(y.type), context.stream);
  } else {
    context.matmul.multiply(context.stream, shape, rows_of.x, weight, gate_up, false, context.float32_products, context.matmul_workspace());
  }
  swiglu(context.stream, gate_up, y, rows, width);
  return nullptr;
}

}  // namespace

const Registration kMatrixFunctions[] = {XGEN_REGISTER_DEVICE(matMul), XGEN_REGISTER_DEVICE(linear), XGEN_REGISTER_DEVICE(linearSwiglu), {nullptr, nullptr}};

}  // namespace xgen::cuda::binding
