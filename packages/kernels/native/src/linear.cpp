#include "xgen/matrix.h"
#include "xgen/operations.h"
#include "xgen/thread_pool.h"

namespace xgen {

namespace {
MatrixView view(const float* data, std::size_t stride, bool transposed) {
  return {data, static_cast<std::ptrdiff_t>(stride), transposed};
}
}  // namespace

void linear(const float* x, const float* weight, float* y, std::size_t rows, std::size_t in, std::size_t out,
            Precision precision) {
  multiply({rows, out, in, view(x, in, false), view(weight, in, true), y, static_cast<std::ptrdiff_t>(out), false, precision});
}

void linear_grad(const float* x, const float* weight, const float* dy, float* dx, float* d_weight, std::size_t rows,
                 std::size_t in, std::size_t out, Precision precision) {
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(in);
  if (dx != nullptr) multiply({rows, in, out, view(dy, out, false), view(weight, in, false), dx, stride, false, precision});
  if (d_weight != nullptr) multiply({out, in, rows, view(dy, out, true), view(x, in, false), d_weight, stride, false, precision});
}

void batch_multiply(MatrixView a, MatrixView b, float* c, std::size_t batch, std::size_t a_step, std::size_t b_step,
                    std::size_t m, std::size_t n, std::size_t k, Precision precision) {
  const auto one = [&](std::size_t i) {
    multiply({m, n, k, {a.data + i * a_step, a.stride, a.transposed}, {b.data + i * b_step, b.stride, b.transposed},
              c + i * m * n, static_cast<std::ptrdiff_t>(n), false, precision});
  };
  // Many small products run side by side, a few large ones one after the other on all threads.
  if (batch >= 2 * static_cast<std::size_t>(thread_count())) {
    parallel_for(batch, one);
  } else {
    for (std::size_t i = 0; i < batch; i++) one(i);
  }
}

}  // namespace xgen
