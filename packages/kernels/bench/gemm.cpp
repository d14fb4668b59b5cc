// Matrix products against OpenBLAS, at the shapes of a training step of `tiny` (2,048 tokens) and 1,024^3.
//
//   xgen_gemm_bench <threads> <rounds> [<variant>] [<path of libopenblas>]
//
// Prints one JSON object. Ours in float32 and bfloat16 and OpenBLAS run in turns, round by round, so that a busy machine slows
// all of them; rates are of each one's best round, and medians stand beside them. On one thread the clock counts processor time,
// which other programs disturb less than the time of day.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "xgen/kernel_table.h"
#include "xgen/matrix.h"
#include "xgen/memory.h"
#include "xgen/thread_pool.h"

namespace {

// cblas.h, as far as it is used.
enum CblasOrder { kRowMajor = 101 };
enum CblasTranspose { kNoTranspose = 111, kTranspose = 112 };
using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int, float, float*, int);
using SetThreads = void (*)(int);
using GetConfig = char* (*)();

struct OpenBlas {
  Sgemm sgemm = nullptr;
  std::string config;
};

OpenBlas open_blas(const char* path, int threads) {
  OpenBlas blas;
  for (const char* name : {path, "libopenblas.so.0", "libopenblas.so", "libopenblas.dylib"}) {
    void* library = name == nullptr ? nullptr : dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) continue;
    const auto sgemm = reinterpret_cast<Sgemm>(dlsym(library, "cblas_sgemm"));
    const auto set_threads = reinterpret_cast<SetThreads>(dlsym(library, "openblas_set_num_threads"));
    const auto config = reinterpret_cast<GetConfig>(dlsym(library, "openblas_get_config"));
    if (sgemm == nullptr || set_threads == nullptr) continue;
    set_threads(threads);
    return {sgemm, config == nullptr ? "unknown" : config()};
  }
  return blas;
}

struct Shape {
  const char* name;
  int m, n, k;
  bool transposed_a, transposed_b;
};

// x [tokens,in], weight [out,in]: y = x w', dx = dy w, dw = dy' x.
const Shape kShapes[] = {
    {"qkv forward", 2048, 512, 256, false, true},      {"qkv dX", 2048, 256, 512, false, false},
    {"qkv dW", 512, 256, 2048, true, false},           {"out forward", 2048, 256, 256, false, true},
    {"out dX", 2048, 256, 256, false, false},          {"out dW", 256, 256, 2048, true, false},
    {"gateUp forward", 2048, 1408, 256, false, true},  {"gateUp dX", 2048, 256, 1408, false, false},
    {"gateUp dW", 1408, 256, 2048, true, false},       {"down forward", 2048, 256, 704, false, true},
    {"down dX", 2048, 704, 256, false, false},         {"down dW", 256, 704, 2048, true, false},
    {"head forward", 2048, 8192, 256, false, true},    {"head dX", 2048, 256, 8192, false, false},
    {"head dW", 8192, 256, 2048, true, false},         {"1024 cubed", 1024, 1024, 1024, false, false},
    {"decode 1 x head", 1, 8192, 256, false, true},    {"decode 1 x gateUp", 1, 1408, 256, false, true},
    {"decode 16 x head", 16, 8192, 256, false, true},  {"decode 64 x gateUp", 64, 1408, 256, false, true},
};

float* random_matrix(std::size_t count, unsigned seed) {
  float* data = static_cast<float*>(xgen::allocate_block(count * sizeof(float)));
  for (std::size_t i = 0; i < count; i++) {
    seed = seed * 1664525u + 1013904223u;
    data[i] = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
  }
  return data;
}

double now(bool processor_time) {
  if (processor_time) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The threads of a library go on spinning for a while after its product (OpenBLAS's for 2^26 cycles) and would take the next
// one's cores: they are given time to fall asleep, and each library's threads are woken before its clock starts.
double seconds(const std::function<void()>& f, int repeats, bool processor_time) {
  if (!processor_time) std::this_thread::sleep_for(std::chrono::milliseconds(40));
  f();
  const double start = now(processor_time);
  for (int i = 0; i < repeats; i++) f();
  return (now(processor_time) - start) / repeats;
}

struct Contestant {
  const char* name;
  std::function<void()> run;
  std::vector<double> times;
};

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1, rounds = argc > 2 ? std::atoi(argv[2]) : 15;
  if (argc > 3) xgen::select_variant(argv[3]);
  const OpenBlas blas = open_blas(argc > 4 ? argv[4] : nullptr, threads);
  xgen::set_thread_count(threads);
  std::printf("{\"threads\":%d,\"rounds\":%d,\"variant\":\"%s\",\"openblas\":\"%s\",\"products\":[", threads, rounds,
              xgen::kernels().name, blas.config.c_str());
  bool first = true;
  for (const Shape& s : kShapes) {
    const std::size_t m = s.m, n = s.n, k = s.k;
    float* a = random_matrix(m * k, 1);
    float* b = random_matrix(k * n, 2);
    float* c = random_matrix(m * n, 3);
    const std::ptrdiff_t a_stride = s.transposed_a ? s.m : s.k, b_stride = s.transposed_b ? s.k : s.n;
    const auto ours = [&](xgen::Precision precision) {
      xgen::multiply({m, n, k, {a, a_stride, s.transposed_a}, {b, b_stride, s.transposed_b}, c, s.n, false, precision});
    };
    std::vector<Contestant> contestants = {
        {"float32", [&] { ours(xgen::Precision::float32); }, {}},
        {"bfloat16", [&] { ours(xgen::Precision::bfloat16); }, {}},
    };
    if (blas.sgemm != nullptr) {
      contestants.push_back({"openblas",
                             [&] {
                               blas.sgemm(kRowMajor, s.transposed_a ? kTranspose : kNoTranspose,
                                          s.transposed_b ? kTranspose : kNoTranspose, s.m, s.n, s.k, 1.0f, a,
                                          static_cast<int>(a_stride), b, static_cast<int>(b_stride), 0.0f, c, s.n);
                             },
                             {}});
    }
    const double flops = 2.0 * s.m * s.n * s.k;
    const int repeats = std::max(1, static_cast<int>(3e9 * threads / flops));
    for (int round = 0; round < rounds; round++) {
      for (Contestant& one : contestants) one.times.push_back(seconds(one.run, repeats, threads == 1));
    }
    std::printf("%s\n{\"name\":\"%s\",\"m\":%d,\"n\":%d,\"k\":%d", first ? "" : ",", s.name, s.m, s.n, s.k);
    for (Contestant& one : contestants) {
      std::sort(one.times.begin(), one.times.end());
      std::printf(",\"%s\":{\"gflops\":%.1f,\"median\":%.1f}", one.name, flops / one.times.front() / 1e9,
                  flops / one.times[one.times.size() / 2] / 1e9);
    }
    std::printf("}");
    std::fflush(stdout);
    first = false;
    xgen::release_block(a);
    xgen::release_block(b);
    xgen::release_block(c);
  }
  std::printf("\n]}\n");
  return 0;
}
