// kernels_test [--threads n] [part of a case's name]: runs the cases, prints failures and a summary.
#include <sys/mman.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

#include "harness.h"
#include "xgen/cuda/emulation.h"
#include "xgen/cuda/runtime.h"

// Products queue their work through the device, of which there is none here: it runs at once, as kernels do.
void xgen::cuda::submit(Stream, std::function<void()> work) { work(); }

namespace test {

namespace {

struct Case {
  std::string name;
  std::function<void(Context&)> run;
};
std::vector<Case>& cases() {
  static std::vector<Case> list;
  return list;
}

constexpr std::size_t kPage = 4096;

std::uint64_t hash(const std::string& text) {
  std::uint64_t h = 1469598103934665603u;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return h;
}

std::uint16_t to_bfloat16(double value) {
  const float x = static_cast<float>(value);
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if (x != x) return 0x7fc0;
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// What a kernel that leaves its arrays is told by.
thread_local const char* running = "";
void access_violation(int) {
  std::fprintf(stderr, "FAILED %s\n  an access outside the arrays\n", running);
  std::_Exit(1);
}

}  // namespace

Register::Register(std::string name, std::function<void(Context&)> run) { cases().push_back({std::move(name), std::move(run)}); }

std::size_t bytes_of(ElementType type) { return type == u8 ? 1 : type == bf16 ? 2 : 4; }
const char* name_of(ElementType type) { return type == f32 ? "f32" : type == bf16 ? "bf16" : type == i32 ? "i32" : "u8"; }

double read(const void* data, ElementType type, std::size_t i) {
  if (type == f32) return static_cast<const float*>(data)[i];
  if (type == i32) return static_cast<const std::int32_t*>(data)[i];
  if (type == u8) return static_cast<const std::uint8_t*>(data)[i];
  const std::uint32_t bits = std::uint32_t{static_cast<const std::uint16_t*>(data)[i]} << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

void write(void* data, ElementType type, std::size_t i, double value) {
  if (type == f32) static_cast<float*>(data)[i] = static_cast<float>(value);
  if (type == i32) static_cast<std::int32_t*>(data)[i] = static_cast<std::int32_t>(value);
  if (type == u8) static_cast<std::uint8_t*>(data)[i] = static_cast<std::uint8_t>(value);
  if (type == bf16) static_cast<std::uint16_t*>(data)[i] = to_bfloat16(value);
}

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
  const std::size_t pages = (bytes + 15) / kPage + 1;
  mapped_ = (pages + 2) * kPage;
  mapping_ = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  unsigned char* const first = static_cast<unsigned char*>(mapping_) + kPage;
  if (mapping_ == MAP_FAILED || mprotect(first, pages * kPage, PROT_READ | PROT_WRITE) != 0) std::abort();
  data_ = first + (pages * kPage - bytes) / 16 * 16;
  std::memset(first, 0xff, pages * kPage);
}
Buffer::~Buffer() { munmap(mapping_, mapped_); }

std::vector<double> Tensor::values() const {
  std::vector<double> out(count);
  for (std::size_t i = 0; i < count; i++) out[i] = at(i);
  return out;
}

Context::Context(const std::string& name) : random(hash(name)) {}
double Context::uniform(double low, double high) { return low + (high - low) * std::uniform_real_distribution<double>()(random); }
double Context::normal() { return std::normal_distribution<double>()(random); }
int Context::integer(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); }

Tensor Context::output(std::size_t count, ElementType type) {
  return {std::make_shared<Buffer>(count * bytes_of(type)), type, count};
}
Tensor Context::floats(std::size_t count, ElementType type, double scale) {
  Tensor t = output(count, type);
  for (std::size_t i = 0; i < count; i++) write(t.buffer->data(), type, i, normal() * scale);
  return t;
}
Tensor Context::floats(const std::vector<double>& values, ElementType type) {
  Tensor t = output(values.size(), type);
  for (std::size_t i = 0; i < values.size(); i++) write(t.buffer->data(), type, i, values[i]);
  return t;
}
Tensor Context::integers(std::size_t count, int low, int high) {
  Tensor t = output(count, i32);
  for (std::size_t i = 0; i < count; i++) t.as<std::int32_t>()[i] = integer(low, high);
  return t;
}
Tensor Context::integers(const std::vector<std::int32_t>& values) {
  Tensor t = output(values.size(), i32);
  for (std::size_t i = 0; i < values.size(); i++) t.as<std::int32_t>()[i] = values[i];
  return t;
}
void* Context::workspace(std::size_t bytes) {
  kept_.push_back(std::make_shared<Buffer>(bytes));
  return kept_.back()->data();
}
xgen::cuda::ErrorFlag* Context::error() {
  if (error_ == nullptr) {
    error_ = static_cast<xgen::cuda::ErrorFlag*>(workspace(sizeof(xgen::cuda::ErrorFlag)));
    std::memset(error_, 0, sizeof *error_);
  }
  return error_;
}
xgen::cuda::DeviceError Context::error_code() const {
  return error_ == nullptr ? xgen::cuda::DeviceError::none : static_cast<xgen::cuda::DeviceError>(error_->code);
}

void Context::add_to_digest(const Tensor& tensor) {
  const unsigned char* bytes = static_cast<const unsigned char*>(tensor.buffer->data());
  for (std::size_t i = 0; i < tensor.count * bytes_of(tensor.type); i++) digest = (digest ^ bytes[i]) * 1099511628211u;
}

void Context::check(bool good, const std::string& message) {
  if (!good) failures.push_back(message);
}

void Context::close(const char* what, const Tensor& actual, const std::vector<double>& expected, double tolerance) {
  add_to_digest(actual);
  if (expected.size() != actual.count) return check(false, std::string(what) + ": the reference has another size");
  if (tolerance == 0) tolerance = actual.type == bf16 ? 1e-2 : 1e-5;
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); i++) {
    const double x = actual.at(i), e = expected[i];
    if (x == e || (x != x && e != e)) {
      size += e == e && !std::isinf(e) ? e * e : 0;
      continue;
    }
    if (x != x || e != e || std::isinf(x) || std::isinf(e)) {
      return check(false, std::string(what) + "[" + std::to_string(i) + "] is " + std::to_string(x) + ", expected " + std::to_string(e));
    }
    difference += (x - e) * (x - e);
    size += e * e;
  }
  const double relative = difference == 0 ? 0 : std::sqrt(difference / std::max(size, 1e-30));
  double& largest = worst[actual.type == bf16 ? 1 : 0];
  largest = std::max(largest, relative);
  char message[200];
  std::snprintf(message, sizeof message, "%s: relative error %.3g, allowed %.3g", what, relative, tolerance);
  check(relative <= tolerance, message);
}

void Context::equal(const char* what, const Tensor& actual, const std::vector<double>& expected) {
  add_to_digest(actual);
  if (expected.size() != actual.count) return check(false, std::string(what) + ": the reference has another size");
  for (std::size_t i = 0; i < expected.size(); i++) {
    const double x = actual.at(i), e = expected[i];
    if (x != e && !(x != x && e != e)) {
      return check(false, std::string(what) + "[" + std::to_string(i) + "] is " + std::to_string(x) + ", expected " + std::to_string(e));
    }
  }
}

}  // namespace test

int main(int argc, char** argv) {
  using namespace test;
  unsigned threads = 2;
  std::string filter;
  for (int i = 1; i < argc; i++) {
    if (std::strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
      threads = static_cast<unsigned>(std::atoi(argv[++i]));
    } else {
      filter = argv[i];
    }
  }
  std::signal(SIGSEGV, access_violation);
  std::vector<const Case*> chosen;
  for (const Case& c : cases()) {
    if (c.name.find(filter) != std::string::npos) chosen.push_back(&c);
  }
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  unsigned failed = 0;
  double worst[2] = {0, 0};
  const auto work = [&] {
    for (std::size_t i = next++; i < chosen.size(); i = next++) {
      const Case& c = *chosen[i];
      running = c.name.c_str();
      std::vector<std::string> failures;
      std::uint64_t digests[2];
      double own_worst[2] = {0, 0};
      for (unsigned order = 0; order < 2; order++) {
        xgen::cuda::emulation::set_order_seed(order == 0 ? 0 : hash(c.name) | 1);
        Context context(c.name);
        try {
          c.run(context);
        } catch (const std::exception& e) {
          context.failures.push_back(std::string("threw: ") + e.what());
        }
        for (const std::string& f : context.failures) failures.push_back(f + (order == 0 ? "" : " (shuffled order)"));
        digests[order] = context.digest;
        for (int k = 0; k < 2; k++) own_worst[k] = std::max(own_worst[k], context.worst[k]);
      }
      if (digests[0] != digests[1]) failures.push_back("the order of threads or blocks changes the result");
      const std::lock_guard<std::mutex> lock(mutex);
      for (int k = 0; k < 2; k++) worst[k] = std::max(worst[k], own_worst[k]);
      if (failures.empty()) continue;
      failed++;
      std::printf("FAILED %s\n", c.name.c_str());
      for (std::size_t k = 0; k < failures.size() && k < 8; k++) std::printf("  %s\n", failures[k].c_str());
      std::fflush(stdout);
    }
  };
  std::vector<std::thread> pool;
  for (unsigned t = 1; t < threads; t++) pool.emplace_back(work);
  work();
  for (std::thread& t : pool) t.join();
  std::printf("%zu cases, %u failed; largest relative error %.2g (f32), %.2g (bf16)\n", chosen.size(), failed, worst[0], worst[1]);
  return failed == 0 && !chosen.empty() ? 0 : 1;
}
