// A small test program's frame: cases that register themselves, guarded buffers that stand for device memory, and comparison with
// float64 references. Every case runs twice, with threads and blocks in two different orders, and must give the same bytes.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "xgen/cuda/operations.h"

namespace test {

using xgen::cuda::Array;
using xgen::cuda::ConstArray;
using xgen::cuda::ElementType;

std::size_t bytes_of(ElementType type);
const char* name_of(ElementType type);
double read(const void* data, ElementType type, std::size_t index);
void write(void* data, ElementType type, std::size_t index, double value);

// Memory that ends at a page nobody may touch (and starts, up to 15 bytes, at another).
class Buffer {
 public:
  explicit Buffer(std::size_t bytes);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void* mapping_;
  std::size_t mapped_;
  void* data_;
  std::size_t bytes_;
};

struct Tensor {
  std::shared_ptr<Buffer> buffer;
  ElementType type;
  std::size_t count;
  operator Array() const { return {buffer->data(), type}; }
  operator ConstArray() const { return {buffer->data(), type}; }
  template <class T>
  T* as() const { return static_cast<T*>(buffer->data()); }
  double at(std::size_t i) const { return read(buffer->data(), type, i); }
  std::vector<double> values() const;
};

class Context {
 public:
  explicit Context(const std::string& name);
  std::mt19937_64 random;
  double uniform(double low, double high);
  double normal();
  int integer(int low, int high);  // both inclusive

  Tensor floats(std::size_t count, ElementType type, double scale = 1.0);  // normal
  Tensor integers(std::size_t count, int low, int high);
  Tensor integers(const std::vector<std::int32_t>& values);
  Tensor floats(const std::vector<double>& values, ElementType type);
  Tensor output(std::size_t count, ElementType type);  // poisoned
  void* workspace(std::size_t bytes);                  // poisoned
  xgen::cuda::ErrorFlag* error();                      // zero
  xgen::cuda::DeviceError error_code() const;

  // ||actual - expected|| <= tolerance * ||expected||, and nothing is NaN that should not be. No tolerance: 1e-5, in bfloat16 1e-2.
  void close(const char* what, const Tensor& actual, const std::vector<double>& expected, double tolerance = 0);
  void equal(const char* what, const Tensor& actual, const std::vector<double>& expected);
  void check(bool good, const std::string& message);
  // The largest error seen by close(), by type, for the summary.
  double worst[2] = {0, 0};
  std::vector<std::string> failures;
  std::uint64_t digest = 1469598103934665603u;

 private:
  void add_to_digest(const Tensor& tensor);
  std::vector<std::shared_ptr<Buffer>> kept_;
  xgen::cuda::ErrorFlag* error_ = nullptr;
};

struct Register {
  Register(std::string name, std::function<void(Context&)> run);
};

constexpr ElementType f32 = ElementType::float32;
constexpr ElementType bf16 = ElementType::bfloat16;
constexpr ElementType i32 = ElementType::int32;
constexpr ElementType u8 = ElementType::uint8;
constexpr ElementType kFloatTypes[] = {f32, bf16};

}  // namespace test
