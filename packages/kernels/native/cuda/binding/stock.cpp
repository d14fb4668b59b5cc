// Stock tensor operations. Operations are numbered as in xgen/cuda/operations.h.
#include <algorithm>

#include "device_call.h"
#include "xgen/error.h"

namespace xgen::cuda::binding {

namespace {

template <class E>
E numbered(const DeviceCall& call, std::size_t index, E last) {
  const std::size_t number = call.size(index);
  if (number > static_cast<std::size_t>(last)) throw Error("INVALID_ARGUMENT", "There is no operation " + std::to_string(number) + ".");
  return static_cast<E>(number);
}

std::size_t repeated(Repeat repeat, std::size_t count, std::size_t row) {
  return repeat == Repeat::none ? count : repeat == Repeat::scalar ? 1 : row;
}

// operation, count, repeat of a and of b, row, a, b, out.
napi_value binary(const DeviceCall& call) {
  const auto operation = numbered(call, 0, BinaryOperation::logical_or);
  const std::size_t count = call.size(1), row = call.size(4);
  const auto repeat_a = numbered(call, 2, Repeat::row), repeat_b = numbered(call, 3, Repeat::row);
  if (count > 0 && (row == 0 || count % row != 0)) throw Error("INVALID_ARGUMENT", "Rows do not fill the array.");
  xgen::cuda::binary(call.stream(), operation, call.array(5, repeated(repeat_a, count, row)), call.array(6, repeated(repeat_b, count, row)),
                     call.array(7, count), count, repeat_a, repeat_b, row);
  return nullptr;
}

napi_value unary(const DeviceCall& call) {
  const std::size_t count = call.size(1);
  xgen::cuda::unary(call.stream(), numbered(call, 0, UnaryOperation::is_nan), call.array(2, count), call.array(3, count), count);
  return nullptr;
}

// count, list of inputs, out: one floating type.
napi_value addN(const DeviceCall& call) {
  const std::size_t count = call.size(0), inputs = call.size(1);
  const auto list = call.handles(2, inputs);
  const Array out = call.floating(3, count);
  std::vector<const void*> pointers;
  for (const Handle one : list) {
    const DeviceArray& array = call.context().at(one);
    if (array.count < count || array.type != out.type) throw Error("INVALID_ARGUMENT", "The terms of a sum differ in size or type.");
    pointers.push_back(array.data);
  }
  if (pointers.empty()) throw Error("INVALID_ARGUMENT", "There is nothing to add up.");
  std::size_t done = std::min(pointers.size(), kAddInputs);
  add_n(call.stream(), pointers.data(), done, out, count);
  while (done < pointers.size()) {
    const std::size_t taken = std::min(pointers.size() - done, kAddInputs - 1);
    std::vector<const void*> next(pointers.begin() + static_cast<std::ptrdiff_t>(done), pointers.begin() + static_cast<std::ptrdiff_t>(done + taken));
    next.insert(next.begin(), out.data);
    add_n(call.stream(), next.data(), next.size(), out, count);
    done += taken;
  }
  return nullptr;
}

// count, condition (uint8), a, b, out.
napi_value select(const DeviceCall& call) {
  const std::size_t count = call.size(0);
  const Array condition = call.array(1, count), a = call.array(2, count), b = call.array(3, count), out = call.array(4, count);
  if (condition.type != ElementType::uint8 || a.type != b.type || a.type != out.type) throw Error("INVALID_ARGUMENT", "select: types differ.");
  xgen::cuda::select(call.stream(), static_cast<const std::uint8_t*>(condition.data), a, b, out, count);
  return nullptr;
}

// operation, rows, width, x, out.
napi_value reduceRows(const DeviceCall& call) {
  const std::size_t rows = call.size(1), width = call.size(2);
  const Workspace workspace(call.context(), reduce_rows_workspace_bytes(rows, width));
  reduce_rows(call.stream(), numbered(call, 0, Reduction::minimum), call.floating(3, product(rows, width)), call.floating(4, rows), rows, width,
              workspace.data());
  return nullptr;
}

napi_value reduceColumns(const DeviceCall& call) {
  const std::size_t rows = call.size(1), width = call.size(2);
  const Workspace workspace(call.context(), reduce_columns_workspace_bytes(rows, width));
  reduce_columns(call.stream(), numbered(call, 0, Reduction::minimum), call.floating(3, product(rows, width)), call.floating(4, width), rows,
                 width, workspace.data());
  return nullptr;
}

napi_value softmax(const DeviceCall& call) {
  const std::size_t rows = call.size(0), width = call.size(1), count = product(rows, width);
  xgen::cuda::softmax(call.stream(), call.floating(2, count), call.floating(3, count), rows, width);
  return nullptr;
}

// outer, width, inner, exclusive, reverse, x, out.
napi_value cumulativeSum(const DeviceCall& call) {
  const std::size_t outer = call.size(0), width = call.size(1), inner = call.size(2), count = product(product(outer, width), inner);
  cumulative_sum(call.stream(), call.array(5, count), call.array(6, count), outer, width, inner, call.boolean(3), call.boolean(4));
  return nullptr;
}

// rows, width, k, x, values (0: none), indices.
napi_value topK(const DeviceCall& call) {
  const std::size_t rows = call.size(0), width = call.size(1), k = call.size(2);
  top_k(call.stream(), call.floating(3, product(rows, width)), call.optional_float32(4, product(rows, k)), call.int32(5, product(rows, k)), rows, width, k);
  return nullptr;
}

// count, depth, on, off, indices, out.
napi_value oneHot(const DeviceCall& call) {
  const std::size_t count = call.size(0), depth = call.size(1);
  one_hot(call.stream(), call.int32(4, count), call.array(5, product(count, depth)), count, depth, call.number(2), call.number(3));
  return nullptr;
}

// count, value, out.
napi_value fill(const DeviceCall& call) {
  const std::size_t count = call.size(0);
  xgen::cuda::fill(call.stream(), call.array(2, count), call.number(1), count);
  return nullptr;
}

// count, by, number of arrays, list of them: in place.
napi_value increment(const DeviceCall& call) {
  const std::size_t count = call.size(0), arrays = call.size(2);
  std::vector<std::int32_t*> pointers;
  for (const Handle one : call.handles(3, arrays)) {
    const DeviceArray& array = call.context().at(one);
    if (array.count < count || array.type != ElementType::int32) throw Error("INVALID_ARGUMENT", "A counter differs in size or is not int32.");
    pointers.push_back(static_cast<std::int32_t*>(array.data));
  }
  for (std::size_t done = 0; done < arrays; done += kCounters) {
    xgen::cuda::increment(call.stream(), pointers.data() + done, std::min(arrays - done, kCounters), call.integer(1), count);
  }
  return nullptr;
}

// count, x, out, of any types.
napi_value convertTo(const DeviceCall& call) {
  const std::size_t count = call.size(0);
  const Array x = call.array(1, count), out = call.array(2, count);
  if (x.type == out.type) copy_on_device(out.data, x.data, count * element_bytes(x.type), call.stream());
  else convert(call.stream(), x, out, count);
  return nullptr;
}

napi_value transpose(const DeviceCall& call) {
  const std::size_t rows = call.size(0), columns = call.size(1), count = product(rows, columns);
  const Array x = call.array(2, count), y = call.array(3, count);
  if (x.type != y.type) throw Error("INVALID_ARGUMENT", "transpose: types differ.");
  xgen::cuda::transpose(call.stream(), x, y, rows, columns);
  return nullptr;
}

// [first, last] element that strides reach from `offset`; sizes are at least 1.
void check_reach(const Array& array, std::size_t available, double offset, const StridedCopy& copy, const std::int64_t* strides) {
  double low = offset, high = offset;
  for (std::size_t axis = 0; axis < copy.rank; axis++) {
    const double reach = static_cast<double>(copy.sizes[axis] - 1) * static_cast<double>(strides[axis]);
    (reach < 0 ? low : high) += reach;
  }
  if (low < 0 || high >= static_cast<double>(available)) {
    throw Error("INVALID_ARGUMENT", std::string("A copy leaves its ") + type_name(array.type) + " array.");
  }
}

// x, offset of the first element read, out, offset of the first written, Int32Array of sizes, of source strides, of target strides, rank.
napi_value copyStrided(const DeviceCall& call) {
  StridedCopy copy{};
  copy.rank = call.size(7);
  if (copy.rank > kCopyRank) throw Error("UNSUPPORTED", "A copy has at most " + std::to_string(kCopyRank) + " axes.");
  const std::int32_t *sizes = call.integers(4, copy.rank), *from = call.integers(5, copy.rank), *to = call.integers(6, copy.rank);
  bool empty = false;
  for (std::size_t axis = 0; axis < copy.rank; axis++) {
    if (sizes[axis] < 0) throw Error("INVALID_ARGUMENT", "A size is negative.");
    empty = empty || sizes[axis] == 0;
    copy.sizes[axis] = sizes[axis];
    copy.src_strides[axis] = from[axis];
    copy.dst_strides[axis] = to[axis];
  }
  if (empty) return nullptr;
  const Array x = call.array(0, 0), out = call.array(2, 0);
  if (x.type != out.type) throw Error("INVALID_ARGUMENT", "copyStrided: types differ.");
  const std::size_t read_at = call.size(1), write_at = call.size(3);
  check_reach(x, call.context().at(call.handle(0)).count, static_cast<double>(read_at), copy, copy.src_strides);
  check_reach(out, call.context().at(call.handle(2)).count, static_cast<double>(write_at), copy, copy.dst_strides);
  const std::size_t bytes = element_bytes(x.type);
  copy_strided(call.stream(), {static_cast<const char*>(x.data) + read_at * bytes, x.type}, {static_cast<char*>(out.data) + write_at * bytes, out.type},
               copy);
  return nullptr;
}

// count, x, first element read, out, first element written: of one type.
napi_value copyRange(const DeviceCall& call) {
  const std::size_t count = call.size(0), read_at = call.size(2), write_at = call.size(4);
  const Array x = call.array(1, read_at + count), out = call.array(3, write_at + count);
  if (x.type != out.type) throw Error("INVALID_ARGUMENT", "copyRange: types differ.");
  const std::size_t bytes = element_bytes(x.type);
  copy_on_device(static_cast<char*>(out.data) + write_at * bytes, static_cast<const char*>(x.data) + read_at * bytes, count * bytes, call.stream());
  return nullptr;
}

}  // namespace

const Registration kStockFunctions[] = {
    XGEN_REGISTER_DEVICE(binary),     XGEN_REGISTER_DEVICE(unary),         XGEN_REGISTER_DEVICE(addN),        XGEN_REGISTER_DEVICE(select),
    XGEN_REGISTER_DEVICE(reduceRows), XGEN_REGISTER_DEVICE(reduceColumns), XGEN_REGISTER_DEVICE(softmax),     XGEN_REGISTER_DEVICE(fill),
    XGEN_REGISTER_DEVICE(increment),
    XGEN_REGISTER_DEVICE(convertTo),  XGEN_REGISTER_DEVICE(transpose),     XGEN_REGISTER_DEVICE(copyStrided), XGEN_REGISTER_DEVICE(copyRange),
    XGEN_REGISTER_DEVICE(cumulativeSum), XGEN_REGISTER_DEVICE(topK),       XGEN_REGISTER_DEVICE(oneHot),      {nullptr, nullptr},
};

}  // namespace xgen::cuda::binding
