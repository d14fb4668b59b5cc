// Embedding, normalisation, rotary positions, gated activation. Sizes first, then inputs, then outputs; a handle of 0 leaves an optional
// array out.
#include "device_call.h"
#include "xgen/error.h"

namespace xgen::cuda::binding {

namespace {

napi_value embedding(const DeviceCall& call) {
  const std::size_t tokens = call.size(0), width = call.size(1), vocabulary = call.size(2);
  xgen::cuda::embedding(call.stream(), call.floating(3, product(vocabulary, width)), call.int32(4, tokens),
                        call.floating(5, product(tokens, width)), tokens, width, vocabulary, call.context().flag(Checked::embedding));
  return nullptr;
}

napi_value embeddingGrad(const DeviceCall& call) {
  const std::size_t tokens = call.size(0), width = call.size(1), vocabulary = call.size(2);
  const Workspace workspace(call.context(), embedding_grad_workspace_bytes(tokens, width, vocabulary));
  embedding_grad(call.stream(), call.int32(3, tokens), call.floating(4, product(tokens, width)), call.floating(5, product(vocabulary, width)),
                 tokens, width, vocabulary, false, workspace.data(), call.context().flag(Checked::embedding_grad));
  return nullptr;
}

napi_value rmsNorm(const DeviceCall& call) {
  const std::size_t rows = call.size(0), width = call.size(1), count = product(rows, width);
  const Array residual = call.optional_floating(4, count), sum = call.optional_floating(7, count);
  if ((residual.data == nullptr) != (sum.data == nullptr)) throw Error("INVALID_ARGUMENT", "residual and sum go together.");
  rms_norm(call.stream(), call.floating(3, count), residual, call.floating(5, width), call.floating(6, count), sum,
           call.optional_float32(8, rows), rows, width, call.real(2));
  return nullptr;
}

napi_value rmsNormGrad(const DeviceCall& call) {
  const std::size_t rows = call.size(0), width = call.size(1), count = product(rows, width);
  const Workspace workspace(call.context(), rms_norm_grad_workspace_bytes(rows, width));
  rms_norm_grad(call.stream(), call.floating(2, count), call.floating(3, width), call.float32(4, rows), call.floating(5, count),
                call.optional_floating(6, count), call.optional_floating(7, count), call.optional_floating(8, width), rows, width,
                workspace.data());
  return nullptr;
}

napi_value rope(const DeviceCall& call) {
  const std::size_t rows = call.size(0), heads = call.size(1), rotated = call.size(2), head_dimension = call.size(3);
  const std::size_t count = product(rows, product(heads, head_dimension));
  if (rotated > heads || head_dimension % 2 != 0 || head_dimension == 0) throw Error("INVALID_ARGUMENT", "The rotated heads do not fit a row.");
  xgen::cuda::rope(call.stream(), call.floating(6, count), call.floating(9, count), call.int32(7, rows), call.float32(8, head_dimension / 2),
                   rows, heads, rotated, head_dimension, call.real(4), call.boolean(5));
  return nullptr;
}

napi_value swiglu(const DeviceCall& call) {
  const std::size_t rows = call.size(0), width = call.size(1), count = product(rows, width);
  xgen::cuda::swiglu(call.stream(), call.floating(2, 2 * count), call.floating(3, count), rows, width);
  return nullptr;
}

napi_value swigluGrad(const DeviceCall& call) {
  const std::size_t rows = call.size(0), width = call.size(1), count = product(rows, width);
  swiglu_grad(call.stream(), call.floating(2, 2 * count), call.floating(3, count), call.floating(4, 2 * count), rows, width);
  return nullptr;
}

}  // namespace

const Registration kRowFunctions[] = {
    XGEN_REGISTER_DEVICE(embedding), XGEN_REGISTER_DEVICE(embeddingGrad), XGEN_REGISTER_DEVICE(rmsNorm),    XGEN_REGISTER_DEVICE(rmsNormGrad),
    XGEN_REGISTER_DEVICE(rope),      XGEN_REGISTER_DEVICE(swiglu),        XGEN_REGISTER_DEVICE(swigluGrad), {nullptr, nullptr},
};

}  // namespace xgen::cuda::binding
