// Loss, optimizer, gradient norm, sampling.
#include <vector>

#include "bindings.h"
#include "xgen/error.h"
#include "xgen/operations.h"

namespace xgen::binding {

namespace {

struct CrossEntropyCall {
  CrossEntropyShape shape;
  Precision precision;
};

CrossEntropyCall cross_entropy_of(const Call& call) {
  return {{call.size(0), call.size(1), call.size(2), call.integer(3)},
          call.boolean(4) ? Precision::bfloat16 : Precision::float32};
}

napi_value linearCrossEntropy(const Call& call) {
  const auto [shape, precision] = cross_entropy_of(call);
  xgen::linear_cross_entropy(call.floats(5, product(shape.rows, shape.width)), call.floats(6, product(shape.vocabulary, shape.width)),
                             call.integers(7, shape.rows), call.floats(8, shape.rows), call.floats(9, shape.rows), shape,
                             precision);
  return nullptr;
}

napi_value linearCrossEntropyGrad(const Call& call) {
  const auto [shape, precision] = cross_entropy_of(call);
  const std::size_t hidden = product(shape.rows, shape.width), weight = product(shape.vocabulary, shape.width);
  xgen::linear_cross_entropy_grad(call.floats(5, hidden), call.floats(6, weight), call.integers(7, shape.rows),
                                  call.floats(8, shape.rows), call.floats(9, shape.rows), call.optional_floats(10, hidden),
                                  call.optional_floats(11, weight), shape, precision);
  return nullptr;
}

// learningRate, beta1, beta2, epsilon, gradientScale, correction1, correction2, weightDecay (Float32Array, one a parameter),
// then arrays of parameters, gradients, first and second moments.
napi_value adamW(const Call& call) {
  const std::size_t count = call.array_length(8);
  const AdamWParameters parameters = {call.real(0), call.real(1), call.real(2), call.real(3),
                                      0.0f,         call.real(4), call.real(5), call.real(6)};
  const float* decay = call.floats(7, count);
  std::vector<AdamWTensor> tensors(count);
  for (std::size_t i = 0; i < count; i++) {
    const std::size_t size = call.array_floats_length(8, i);
    tensors[i] = {call.array_floats(8, i, size),  call.array_floats(9, i, size), call.array_floats(10, i, size),
                  call.array_floats(11, i, size), size,                          decay[i]};
  }
  xgen::adam_w(tensors.data(), count, parameters);
  return nullptr;
}

napi_value globalNorm(const Call& call) {
  const std::size_t count = call.array_length(0);
  std::vector<GradientRange> gradients(count);
  for (std::size_t i = 0; i < count; i++) {
    const std::size_t size = call.array_floats_length(0, i);
    gradients[i] = {call.array_floats(0, i, size), size};
  }
  napi_value result;
  napi_create_double(call.env(), xgen::global_norm(gradients.data(), count), &result);
  return result;
}

napi_value sampleTokens(const Call& call) {
  const std::size_t rows = call.size(0), vocabulary = call.size(1);
  if (vocabulary == 0) throw Error("INVALID_ARGUMENT", "There are no logits to draw from.");
  const SamplingOptions options = {call.floats(3, rows), call.integers(4, rows), call.floats(5, rows), call.floats(6, rows),
                                   call.floats(7, rows)};
  xgen::sample_tokens(call.floats(2, product(rows, vocabulary)), options, call.integers(8, rows), call.floats(9, rows), rows,
                      vocabulary);
  return nullptr;
}

}  // namespace

const Registration kTrainingFunctions[] = {
    XGEN_REGISTER(linearCrossEntropy), XGEN_REGISTER(linearCrossEntropyGrad), XGEN_REGISTER(adamW),
    XGEN_REGISTER(globalNorm),         XGEN_REGISTER(sampleTokens),           {nullptr, nullptr},
};

}  // namespace xgen::binding
