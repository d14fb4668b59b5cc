// Stock element-wise operations, conversions and copies. All bound by memory (bytes of the operands over 3.35 TB/s on an H100).
//
// The operation and the element types are run-time values: a branch that the whole grid takes alike costs nothing next to the memory,
// and one kernel stands in for hundreds. Float arrays go eight elements a thread; other types and odd rows one.
#include "xgen/cuda/device.h"

namespace xgen::cuda {

namespace {

constexpr unsigned kThreads = 256;

__device__ __forceinline__ float load_any(const void* from, ElementType type, std::size_t i) {
  if (type == ElementType::int32) return static_cast<float>(static_cast<const std::int32_t*>(from)[i]);
  if (type == ElementType::uint8) return static_cast<float>(static_cast<const std::uint8_t*>(from)[i]);
  return load1(from, type, i);
}

// Towards zero, saturating; NaN gives 0.
__device__ __forceinline__ std::int32_t to_integer(float x) {
  if (x >= 2147483648.0f) return INT32_MAX;
  if (x <= -2147483648.0f) return INT32_MIN;
  return x == x ? static_cast<std::int32_t>(x) : 0;
}

__device__ __forceinline__ void store_any(void* to, ElementType type, std::size_t i, float x) {
  if (type == ElementType::int32) {
    static_cast<std::int32_t*>(to)[i] = to_integer(x);
  } else if (type == ElementType::uint8) {
    static_cast<std::uint8_t*>(to)[i] = x != 0.0f ? 1 : 0;
  } else {
    store1(to, type, i, x);
  }
}

__device__ __forceinline__ float compute(BinaryOperation operation, float a, float b) {
  switch (operation) {
    case BinaryOperation::add: return a + b;
    case BinaryOperation::subtract: return a - b;
    case BinaryOperation::multiply: return a * b;
    case BinaryOperation::divide: return a / b;
    case BinaryOperation::maximum: return Maximum{}(a, b);
    case BinaryOperation::minimum: return Minimum{}(a, b);
    case BinaryOperation::squared_difference: return (a - b) * (a - b);
    case BinaryOperation::power: return powf(a, b);
    case BinaryOperation::greater: return a > b ? 1.0f : 0.0f;
    case BinaryOperation::greater_equal: return a >= b ? 1.0f : 0.0f;
    case BinaryOperation::less: return a < b ? 1.0f : 0.0f;
    case BinaryOperation::less_equal: return a <= b ? 1.0f : 0.0f;
    case BinaryOperation::equal: return a == b ? 1.0f : 0.0f;
    case BinaryOperation::not_equal: return a != b ? 1.0f : 0.0f;
    case BinaryOperation::logical_and: return a != 0.0f && b != 0.0f ? 1.0f : 0.0f;
    case BinaryOperation::logical_or: return a != 0.0f || b != 0.0f ? 1.0f : 0.0f;
  }
  return 0.0f;
}

template <unsigned count, class F>
__device__ __forceinline__ void each(float (&v)[count], F f) {
#pragma unroll
  for (unsigned i = 0; i < count; i++) v[i] = f(v[i]);
}

// The branch stands outside the loop: with it inside, the compiler keeps the loop and with that the array in memory.
template <unsigned count>
__device__ __forceinline__ void compute(UnaryOperation operation, float (&v)[count]) {
  switch (operation) {
    case UnaryOperation::exponential: return each(v, [](float x) { return expf(x); });
    case UnaryOperation::negate: return each(v, [](float x) { return -x; });
    case UnaryOperation::square: return each(v, [](float x) { return x * x; });
    case UnaryOperation::square_root: return each(v, [](float x) { return sqrtf(x); });
    case UnaryOperation::reciprocal_square_root: return each(v, [](float x) { return 1.0f / sqrtf(x); });
    case UnaryOperation::sigmoid: return each(v, [](float x) { return sigmoid(x); });
    case UnaryOperation::relu: return each(v, [](float x) { return Maximum{}(x, 0.0f); });
    case UnaryOperation::absolute: return each(v, [](float x) { return fabsf(x); });
    case UnaryOperation::logarithm: return each(v, [](float x) { return logf(x); });
    case UnaryOperation::hyperbolic_tangent: return each(v, [](float x) { return tanhf(x); });
    case UnaryOperation::reciprocal: return each(v, [](float x) { return 1.0f / x; });
    case UnaryOperation::step: return each(v, [](float x) { return x != x ? x : (x > 0.0f ? 1.0f : 0.0f); });
    case UnaryOperation::sign: return each(v, [](float x) { return x > 0.0f ? 1.0f : (x < 0.0f ? -1.0f : x); });
    case UnaryOperation::floor: return each(v, [](float x) { return floorf(x); });
    case UnaryOperation::ceil: return each(v, [](float x) { return ceilf(x); });
    case UnaryOperation::exponential_minus_one: return each(v, [](float x) { return expm1f(x); });
    case UnaryOperation::logarithm_plus_one: return each(v, [](float x) { return log1pf(x); });
    case UnaryOperation::softplus: return each(v, [](float x) { return x > 15.0f ? x : log1pf(expf(x)); });
    case UnaryOperation::sine: return each(v, [](float x) { return cos_sin(x).y; });
    case UnaryOperation::cosine: return each(v, [](float x) { return cos_sin(x).x; });
    case UnaryOperation::logical_not: return each(v, [](float x) { return x == 0.0f ? 1.0f : 0.0f; });
    case UnaryOperation::is_nan: return each(v, [](float x) { return x != x ? 1.0f : 0.0f; });
  }
}

struct Operand {
  const void* data;
  ElementType type;
  Repeat repeat;
};

__device__ __forceinline__ Floats8 operand8(const Operand& a, std::size_t i, std::size_t row_index) {
  if (a.repeat == Repeat::scalar) {
    const float x = load1(a.data, a.type, 0);
    return {{x, x, x, x, x, x, x, x}};
  }
  return load8(a.data, a.type, a.repeat == Repeat::row ? row_index : i);
}

// The last count % 8 elements go one by one.
__global__ void __launch_bounds__(kThreads) binary_vector_kernel(BinaryOperation operation, Operand a, Operand b, void* out,
                                                                 ElementType out_type, std::size_t count, std::size_t row) {
  const std::size_t i = (static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x) * kVector;
  if (i >= count) return;
  if (i + kVector <= count) {
    const std::size_t row_index = i - quotient(i, row) * row;
    Floats8 x = operand8(a, i, row_index);
    const Floats8 y = operand8(b, i, row_index);
#pragma unroll
    for (int j = 0; j < 8; j++) x.v[j] = compute(operation, x.v[j], y.v[j]);
    store8(out, out_type, i, x);
    return;
  }
  for (std::size_t k = i; k < count; k++) {
    const std::size_t row_index = k - quotient(k, row) * row;
    const auto at = [&](const Operand& o) { return load1(o.data, o.type, o.repeat == Repeat::none ? k : (o.repeat == Repeat::row ? row_index : 0)); };
    store1(out, out_type, k, compute(operation, at(a), at(b)));
  }
}

__global__ void __launch_bounds__(kThreads) binary_plain_kernel(BinaryOperation operation, Operand a, Operand b, void* out,
                                                                ElementType out_type, std::size_t count, std::size_t row) {
  const std::size_t k = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (k >= count) return;
  const std::size_t row_index = k - quotient(k, row) * row;
  const auto at = [&](const Operand& o) { return load_any(o.data, o.type, o.repeat == Repeat::none ? k : (o.repeat == Repeat::row ? row_index : 0)); };
  store_any(out, out_type, k, compute(operation, at(a), at(b)));
}

__global__ void __launch_bounds__(kThreads) unary_vector_kernel(UnaryOperation operation, const void* x, ElementType type, void* out,
                                                                ElementType out_type, std::size_t count) {
  const std::size_t i = (static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x) * kVector;
  if (i >= count) return;
  if (i + kVector <= count) {
    Floats8 v = load8(x, type, i);
    compute(operation, v.v);
    store8(out, out_type, i, v);
    return;
  }
  for (std::size_t k = i; k < count; k++) {
    float single[1] = {load1(x, type, k)};
    compute(operation, single);
    store1(out, out_type, k, single[0]);
  }
}

__global__ void __launch_bounds__(kThreads) unary_plain_kernel(UnaryOperation operation, const void* x, ElementType type, void* out,
                                                               ElementType out_type, std::size_t count) {
  const std::size_t k = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (k >= count) return;
  float single[1] = {load_any(x, type, k)};
  compute(operation, single);
  store_any(out, out_type, k, single[0]);
}

struct AddInputs {
  const void* data[kAddInputs];
};

__global__ void __launch_bounds__(kThreads) add_kernel(const __grid_constant__ AddInputs inputs, unsigned inputs_count, void* out, ElementType type,
                                                       std::size_t count) {
  const std::size_t i = (static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x) * kVector;
  if (i >= count) return;
  if (i + kVector <= count) {
    Floats8 sum = load8(inputs.data[0], type, i);
    for (unsigned n = 1; n < inputs_count; n++) {
      const Floats8 x = load8(inputs.data[n], type, i);
#pragma unroll
      for (int j = 0; j < 8; j++) sum.v[j] += x.v[j];
    }
    store8(out, type, i, sum);
    return;
  }
  for (std::size_t k = i; k < count; k++) {
    float sum = load1(inputs.data[0], type, k);
    for (unsigned n = 1; n < inputs_count; n++) sum += load1(inputs.data[n], type, k);
    store1(out, type, k, sum);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) select_kernel(const std::uint8_t* condition, const T* a, const T* b, T* out, std::size_t count) {
  const std::size_t k = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (k < count) out[k] = condition[k] != 0 ? a[k] : b[k];
}

// Sixteen bytes a thread; the array's last bytes one element each.
template <class T>
__global__ void __launch_bounds__(kThreads) fill_kernel(T* out, T value, uint4 pattern, std::size_t count) {
  constexpr std::size_t each = 16 / sizeof(T);
  const std::size_t i = (static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x) * each;
  if (i + each <= count) {
    store_aligned(out + i, pattern);
  } else {
    for (std::size_t k = i; k < count; k++) out[k] = value;
  }
}

__global__ void __launch_bounds__(kThreads) convert_vector_kernel(const void* x, ElementType type, void* out, ElementType out_type,
                                                                  std::size_t count) {
  const std::size_t i = (static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x) * kVector;
  if (i + kVector <= count) {
    store8(out, out_type, i, load8(x, type, i));
  } else {
    for (std::size_t k = i; k < count; k++) store1(out, out_type, k, load1(x, type, k));
  }
}

__global__ void __launch_bounds__(kThreads) convert_plain_kernel(const void* x, ElementType type, void* out, ElementType out_type,
                                                                 std::size_t count) {
  const std::size_t k = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (k >= count) return;
  const bool integers = (type == ElementType::int32 || type == ElementType::uint8) && out_type == ElementType::int32;
  if (integers) {  // exactly
    static_cast<std::int32_t*>(out)[k] = type == ElementType::int32 ? static_cast<const std::int32_t*>(x)[k]
                                                                     : static_cast<const std::uint8_t*>(x)[k];
  } else if (type == ElementType::int32 && out_type == ElementType::uint8) {
    static_cast<std::uint8_t*>(out)[k] = static_cast<const std::int32_t*>(x)[k] != 0 ? 1 : 0;
  } else {
    store_any(out, out_type, k, load_any(x, type, k));
  }
}

constexpr unsigned kSide = 32;

// Tiles of 32 x 32 through shared memory; rows of the tile are 33 apart, so that columns fall in different banks.
template <class T>
__global__ void __launch_bounds__(kThreads) transpose_kernel(const T* x, T* y, std::size_t rows, std::size_t columns, unsigned across) {
  XGEN_SHARED(T, tile, kSide * (kSide + 1));
  const std::size_t r0 = static_cast<std::size_t>(blockIdx.x / across) * kSide, c0 = static_cast<std::size_t>(blockIdx.x % across) * kSide;
  const unsigned lane = threadIdx.x % kSide, first = threadIdx.x / kSide;
  for (unsigned i = first; i < kSide; i += kThreads / kSide) {
    if (r0 + i < rows && c0 + lane < columns) tile[i * (kSide + 1) + lane] = x[(r0 + i) * columns + c0 + lane];
  }
  __syncthreads();
  for (unsigned i = first; i < kSide; i += kThreads / kSide) {
    if (c0 + i < columns && r0 + lane < rows) y[(c0 + i) * rows + r0 + lane] = tile[lane * (kSide + 1) + i];
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) copy_strided_kernel(const T* src, T* dst, StridedCopy copy, std::size_t count) {
  std::size_t rest = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (rest >= count) return;
  std::int64_t from = 0, to = 0;
#pragma unroll
  for (int d = kCopyRank - 1; d >= 0; d--) {
    const std::size_t size = static_cast<std::size_t>(copy.sizes[d]);
    if (size == 1) continue;
    const std::size_t next = quotient(rest, size);
    const std::int64_t index = static_cast<std::int64_t>(rest - next * size);
    from += index * copy.src_strides[d];
    to += index * copy.dst_strides[d];
    rest = next;
  }
  dst[to] = src[from];
}

bool is_float(ElementType type) { return type == ElementType::float32 || type == ElementType::bfloat16; }

// Calls f with a value of an unsigned type of the element's size.
template <class F>
void with_bits(ElementType type, F&& f) {
  if (type == ElementType::uint8) {
    f(std::uint8_t{});
  } else if (type == ElementType::bfloat16) {
    f(std::uint16_t{});
  } else {
    f(std::uint32_t{});
  }
}

unsigned single_grid(const char* name, std::size_t count) { return grid_of(name, divide_up(count, kThreads)); }
unsigned vector_grid(const char* name, std::size_t count) { return grid_of(name, divide_up(count, kThreads * kVector)); }

}  // namespace

void binary(Stream stream, BinaryOperation operation, ConstArray a, ConstArray b, Array out, std::size_t count, Repeat repeat_a,
            Repeat repeat_b, std::size_t row) {
  constexpr const char* name = "binary";
  const Operand left = {a.data, a.type, repeat_a}, right = {b.data, b.type, repeat_b};
  const bool rows = repeat_a == Repeat::row || repeat_b == Repeat::row;
  if (!rows || row == 0) row = count == 0 ? 1 : count;
  if (is_float(a.type) && is_float(b.type) && is_float(out.type) && (!rows || row % kVector == 0)) {
    launch(name, binary_vector_kernel, vector_grid(name, count), kThreads, 0, stream, operation, left, right, out.data, out.type, count, row);
  } else {
    launch(name, binary_plain_kernel, single_grid(name, count), kThreads, 0, stream, operation, left, right, out.data, out.type, count, row);
  }
}

void unary(Stream stream, UnaryOperation operation, ConstArray x, Array out, std::size_t count) {
  constexpr const char* name = "unary";
  if (is_float(x.type) && is_float(out.type)) {
    launch(name, unary_vector_kernel, vector_grid(name, count), kThreads, 0, stream, operation, x.data, x.type, out.data, out.type, count);
  } else {
    launch(name, unary_plain_kernel, single_grid(name, count), kThreads, 0, stream, operation, x.data, x.type, out.data, out.type, count);
  }
}

void add_n(Stream stream, const void* const* inputs, std::size_t inputs_count, Array out, std::size_t count) {
  constexpr const char* name = "add_n";
  require_float(name, out.type);
  if (inputs_count == 0 || inputs_count > kAddInputs) fail_launch(name, "between 1 and 16 arrays can be added at once");
  AddInputs list = {};
  for (std::size_t i = 0; i < inputs_count; i++) list.data[i] = inputs[i];
  launch(name, add_kernel, vector_grid(name, count), kThreads, 0, stream, list, static_cast<unsigned>(inputs_count), out.data, out.type, count);
}

void select(Stream stream, const std::uint8_t* condition, ConstArray a, ConstArray b, Array out, std::size_t count) {
  constexpr const char* name = "select";
  require_same(name, a.type, b.type);
  require_same(name, a.type, out.type);
  with_bits(a.type, [&](auto bits) {
    using T = decltype(bits);
    launch(name, select_kernel<T>, single_grid(name, count), kThreads, 0, stream, condition, typed<T>(a), typed<T>(b), typed<T>(out), count);
  });
}

void fill(Stream stream, Array out, double value, std::size_t count) {
  constexpr const char* name = "fill";
  const float number = static_cast<float>(value);
  std::uint32_t bits;
  __builtin_memcpy(&bits, &number, 4);
  if (out.type == ElementType::bfloat16) {
    const bool nan = number != number;
    bits = nan ? 0x7fc0u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  } else if (out.type == ElementType::int32) {
    bits = static_cast<std::uint32_t>(value != value ? 0 : value >= 2147483647.0 ? INT32_MAX : value <= -2147483648.0 ? INT32_MIN : static_cast<std::int32_t>(value));
  } else if (out.type == ElementType::uint8) {
    bits = value != 0.0 ? 1u : 0u;
  }
  with_bits(out.type, [&](auto b) {
    using T = decltype(b);
    const unsigned word = sizeof(T) == 4 ? bits : sizeof(T) == 2 ? bits * 0x00010001u : bits * 0x01010101u;
    launch(name, fill_kernel<T>, grid_of(name, divide_up(count, kThreads * (16 / sizeof(T)))), kThreads, 0, stream, typed<T>(out),
           static_cast<T>(bits), make_uint4(word, word, word, word), count);
  });
}

void convert(Stream stream, ConstArray x, Array out, std::size_t count) {
  constexpr const char* name = "convert";
  if (is_float(x.type) && is_float(out.type)) {
    launch(name, convert_vector_kernel, vector_grid(name, count), kThreads, 0, stream, x.data, x.type, out.data, out.type, count);
  } else {
    launch(name, convert_plain_kernel, single_grid(name, count), kThreads, 0, stream, x.data, x.type, out.data, out.type, count);
  }
}

void transpose(Stream stream, ConstArray x, Array y, std::size_t rows, std::size_t columns) {
  constexpr const char* name = "transpose";
  require_same(name, x.type, y.type);
  const std::size_t across = divide_up(columns, kSide);
  with_bits(x.type, [&](auto bits) {
    using T = decltype(bits);
    launch(name, transpose_kernel<T>, grid_of(name, divide_up(rows, kSide) * across), kThreads, 0, stream, typed<T>(x), typed<T>(y), rows,
           columns, static_cast<unsigned>(across));
  });
}

void copy_strided(Stream stream, ConstArray src, Array dst, const StridedCopy& copy) {
  constexpr const char* name = "copy_strided";
  require_same(name, src.type, dst.type);
  if (copy.rank > kCopyRank) fail_launch(name, "more than 6 axes");
  StridedCopy whole = copy;
  std::size_t count = 1;
  for (std::size_t d = 0; d < kCopyRank; d++) {
    if (d < copy.rank) {
      count *= static_cast<std::size_t>(copy.sizes[d]);
    } else {
      whole.sizes[d] = 1;
      whole.src_strides[d] = whole.dst_strides[d] = 0;
    }
  }
  with_bits(src.type, [&](auto bits) {
    using T = decltype(bits);
    launch(name, copy_strided_kernel<T>, single_grid(name, count), kThreads, 0, stream, typed<T>(src), typed<T>(dst), whole, count);
  });
}

}  // namespace xgen::cuda
