// Embedding, normalisation, rotary positions, gated activation. Sizes first, then inputs, then outputs.
#include "bindings.h"
#include "xgen/error.h"
#include "xgen/operations.h"

namespace xgen::binding {

namespace {

napi_value embedding(const Call& call) {
  const std::size_t tokens = call.size(0), width = call.size(1), vocabulary = call.size(2);
  xgen::embedding(call.floats(3, product(vocabulary, width)), call.integers(4, tokens), call.floats(5, product(tokens, width)),
                  tokens, width, vocabulary);
  return nullptr;
}

napi_value embeddingGrad(const Call& call) {
  const std::size_t tokens = call.size(0), width = call.size(1), vocabulary = call.size(2);
  xgen::embedding_grad(call.integers(3, tokens), call.floats(4, product(tokens, width)),
                       call.floats(5, product(vocabulary, width)), tokens, width, vocabulary);
  return nullptr;
}

napi_value rmsNorm(const Call& call) {
  const std::size_t rows = call.size(0), width = call.size(1), count = product(rows, width);
  const float* residual = call.optional_floats(4, count);
  float* sum = call.optional_floats(7, count);
  if ((residual == nullptr) != (sum == nullptr)) throw Error("INVALID_ARGUMENT", "residual and sum go together.");
  xgen::rms_norm(call.floats(3, count), residual, call.floats(5, width), call.floats(6, count), sum, call.floats(8, rows), rows,
                 width, call.real(2));
  return nullptr;
}

napi_value rmsNormGrad(const Call& call) {
  const std::size_t rows = call.size(0), width = call.size(1), count = product(rows, width);
  xgen::rms_norm_grad(call.floats(2, count), call.floats(3, width), call.floats(4, rows), call.floats(5, count),
                      call.optional_floats(6, count), call.optional_floats(7, count), call.optional_floats(8, width), rows, width);
  return nullptr;
}

napi_value rope(const Call& call) {
  const std::size_t rows = call.size(0), width = call.size(1), heads = call.size(2), head_dimension = call.size(3);
  const std::size_t count = product(rows, width);
  if (product(heads, head_dimension) > width || head_dimension % 2 != 0 || head_dimension == 0) {
    throw Error("INVALID_ARGUMENT", "The rotated heads do not fit a row.");
  }
  xgen::rope(call.floats(6, count), call.floats(9, count), call.integers(7, rows), call.floats(8, head_dimension / 2), rows,
             width, heads, head_dimension, call.real(4), call.boolean(5));
  return nullptr;
}

napi_value swiglu(const Call& call) {
  const std::size_t rows = call.size(0), width = call.size(1), count = product(rows, width);
  xgen::swiglu(call.floats(2, 2 * count), call.floats(3, count), rows, width);
  return nullptr;
}

napi_value swigluGrad(const Call& call) {
  const std::size_t rows = call.size(0), width = call.size(1), count = product(rows, width);
  xgen::swiglu_grad(call.floats(2, 2 * count), call.floats(3, count), call.floats(4, 2 * count), rows, width);
  return nullptr;
}

}  // namespace

const Registration kRowFunctions[] = {
    XGEN_REGISTER(embedding), XGEN_REGISTER(embeddingGrad), XGEN_REGISTER(rmsNorm),    XGEN_REGISTER(rmsNormGrad),
    XGEN_REGISTER(rope),      XGEN_REGISTER(swiglu),        XGEN_REGISTER(swigluGrad), {nullptr, nullptr},
};

}  // namespace xgen::binding
