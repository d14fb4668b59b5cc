// Stock operations that would be slow in JavaScript.
#include <vector>

#include "bindings.h"
#include "xgen/error.h"
#include "xgen/operations.h"

namespace xgen::binding {

namespace {

Repeat repeat_of(const Call& call, std::size_t index) {
  const std::size_t value = call.size(index);
  if (value > 2) throw Error("INVALID_ARGUMENT", "Unknown way to repeat an operand.");
  return static_cast<Repeat>(value);
}

std::size_t operand_count(Repeat repeat, std::size_t count, std::size_t row) {
  return repeat == Repeat::none ? count : repeat == Repeat::scalar ? 1 : row;
}

// operation, count, how a and b repeat, row length, a, b, out.
napi_value binary(const Call& call) {
  const std::size_t operation = call.size(0), count = call.size(1), row = call.size(4);
  const Repeat repeat_a = repeat_of(call, 2), repeat_b = repeat_of(call, 3);
  if (operation > static_cast<std::size_t>(BinaryOperation::squared_difference) || row == 0 || count % row != 0) {
    throw Error("INVALID_ARGUMENT", "Unknown operation or row length.");
  }
  xgen::binary(static_cast<BinaryOperation>(operation), call.floats(5, operand_count(repeat_a, count, row)),
               call.floats(6, operand_count(repeat_b, count, row)), call.floats(7, count), count, repeat_a, repeat_b, row);
  return nullptr;
}

napi_value unary(const Call& call) {
  const std::size_t operation = call.size(0), count = call.size(1);
  if (operation > static_cast<std::size_t>(UnaryOperation::absolute)) throw Error("INVALID_ARGUMENT", "Unknown operation.");
  xgen::unary(static_cast<UnaryOperation>(operation), call.floats(2, count), call.floats(3, count), count);
  return nullptr;
}

napi_value addN(const Call& call) {
  const std::size_t count = call.size(0), inputs = call.array_length(1);
  if (inputs == 0) throw Error("INVALID_ARGUMENT", "There is nothing to add.");
  std::vector<const float*> pointers(inputs);
  for (std::size_t i = 0; i < inputs; i++) pointers[i] = call.array_floats(1, i, count);
  xgen::add_n(pointers.data(), inputs, call.floats(2, count), count);
  return nullptr;
}

napi_value sumRows(const Call& call) {
  const std::size_t rows = call.size(0), width = call.size(1);
  xgen::sum_rows(call.floats(2, product(rows, width)), call.floats(3, rows), rows, width);
  return nullptr;
}

napi_value sumColumns(const Call& call) {
  const std::size_t rows = call.size(0), width = call.size(1);
  xgen::sum_columns(call.floats(2, product(rows, width)), call.floats(3, width), rows, width);
  return nullptr;
}

napi_value softmax(const Call& call) {
  const std::size_t rows = call.size(0), width = call.size(1), count = product(rows, width);
  xgen::softmax(call.floats(2, count), call.floats(3, count), rows, width);
  return nullptr;
}

napi_value transpose(const Call& call) {
  const std::size_t rows = call.size(0), columns = call.size(1), count = product(rows, columns);
  xgen::transpose(call.floats(2, count), call.floats(3, count), rows, columns);
  return nullptr;
}

}  // namespace

const Registration kElementwiseFunctions[] = {
    XGEN_REGISTER(binary),     XGEN_REGISTER(unary),   XGEN_REGISTER(addN),      XGEN_REGISTER(sumRows),
    XGEN_REGISTER(sumColumns), XGEN_REGISTER(softmax), XGEN_REGISTER(transpose), {nullptr, nullptr},
};

}  // namespace xgen::binding
