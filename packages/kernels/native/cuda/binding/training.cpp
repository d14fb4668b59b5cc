// Loss, optimizer, gradient norm, sampling.
#include <cstring>
#include <limits>
#include <vector>

#include "device_call.h"
#include "xgen/cuda/linear_cross_entropy.h"
#include "xgen/error.h"

namespace xgen::cuda::binding {

namespace {

CrossEntropyShape cross_entropy_of(const DeviceCall& call) { return {call.size(0), call.size(1), call.size(2), call.integer(3)}; }

napi_value linearCrossEntropy(const DeviceCall& call) {
  const CrossEntropyShape shape = cross_entropy_of(call);
  Context& context = call.context();
  const Workspace workspace(context, linear_cross_entropy_workspace_bytes(shape));
  linear_cross_entropy(call.stream(), products_of(context), shape, call.floating(4, product(shape.rows, shape.width)),
                       call.floating(5, product(shape.vocabulary, shape.width)), call.int32(6, shape.rows), call.float32(7, shape.rows),
                       call.float32(8, shape.rows), workspace.data(), context.flag(Checked::cross_entropy));
  return nullptr;
}

napi_value linearCrossEntropyGrad(const DeviceCall& call) {
  const CrossEntropyShape shape = cross_entropy_of(call);
  const std::size_t hidden_count = product(shape.rows, shape.width), weight_count = product(shape.vocabulary, shape.width);
  Context& context = call.context();
  const Array hidden = call.floating(4, hidden_count);
  const Workspace workspace(context, linear_cross_entropy_grad_workspace_bytes(shape, hidden.type));
  linear_cross_entropy_grad(call.stream(), products_of(context), shape, hidden, call.floating(5, weight_count), call.int32(6, shape.rows),
                            call.float32(7, shape.rows), call.float32(8, shape.rows), call.optional_floating(9, hidden_count),
                            call.optional_float32(10, weight_count), workspace.data());
  return nullptr;
}

// As linearCrossEntropy, then the gradient of every log-probability; hidden, weight, targets; log-probabilities, dHidden, dWeight or 0.
napi_value linearCrossEntropyWithGradient(const DeviceCall& call) {
  const CrossEntropyShape shape = cross_entropy_of(call);
  const std::size_t hidden_count = product(shape.rows, shape.width), weight_count = product(shape.vocabulary, shape.width);
  Context& context = call.context();
  const Array hidden = call.floating(5, hidden_count);
  const Workspace workspace(context, linear_cross_entropy_with_gradient_workspace_bytes(shape, hidden.type));
  linear_cross_entropy_with_gradient(call.stream(), products_of(context), shape, hidden, call.floating(6, weight_count),
                                     call.int32(7, shape.rows), static_cast<float>(call.real(4)), call.float32(8, shape.rows),
                                     call.optional_floating(9, hidden_count), call.optional_float32(10, weight_count), workspace.data(),
                                     context.flag(Checked::cross_entropy));
  return nullptr;
}

// rows, ignoreIndex, expected, dy, targets: reports at the next read where dy is something else.
napi_value expectGradient(const DeviceCall& call) {
  const std::size_t rows = call.size(0);
  expect_gradient(call.stream(), call.float32(3, rows), call.int32(4, rows), call.integer(1), rows, static_cast<float>(call.real(2)),
                  call.context().flag(Checked::cross_entropy));
  return nullptr;
}

// learningRate, beta1, beta2, epsilon, correction1, correction2, seed, weightDecay (Float32Array, one a parameter), gradientScale or 0, then
// lists of parameters, shadows (0: none), gradients, first and second moments; then arrays of one learning rate and one step number that
// count instead of the numbers, or 0.
napi_value adamW(const DeviceCall& call) {
  Context& context = call.context();
  const bool on_device = !call.absent(14);
  if (context.capturing() && !on_device) {
    throw Error("CAPTURE_FAILED", "The optimizer's learning rate and step are numbers here, which a recorded function would repeat: give both as tensors.");
  }
  std::size_t count = 0;
  napi_typedarray_type type;
  if (napi_get_typedarray_info(call.env(), call.value(7), &type, &count, nullptr, nullptr, nullptr) != napi_ok) {
    throw Error("INVALID_ARGUMENT", "The decays are no typed array.");
  }
  const float* decay = call.floats(7, count);
  const float* scale = call.absent(8) ? nullptr : call.float32(8, 1);
  const auto parameters = call.handles(9, count), shadows = call.handles(10, count), gradients = call.handles(11, count),
             firsts = call.handles(12, count), seconds = call.handles(13, count);
  std::vector<AdamWTensor> tensors(count);
  for (std::size_t i = 0; i < count; i++) {
    const DeviceArray &parameter = context.at(parameters[i]), &gradient = context.at(gradients[i]), &first = context.at(firsts[i]),
                      &second = context.at(seconds[i]);
    const DeviceArray shadow = shadows[i] == 0 ? DeviceArray{nullptr, parameter.count, ElementType::bfloat16} : context.at(shadows[i]);
    const bool sizes_agree = gradient.count == parameter.count && first.count == parameter.count && second.count == parameter.count &&
                             shadow.count == parameter.count;
    if (!sizes_agree || parameter.type != ElementType::float32 || shadow.type != ElementType::bfloat16 || first.type != second.type) {
      throw Error("INVALID_ARGUMENT", "Parameter " + std::to_string(i) + " and its gradient or moments do not agree in size or type.");
    }
    tensors[i] = {static_cast<float*>(parameter.data), shadow.data, gradient.data, first.data, second.data, parameter.count, 0, decay[i],
                  gradient.type, first.type};
    context.changes_in_place(parameter.data);
    context.changes_in_place(shadow.data);
  }
  const std::size_t pieces = plan_adam_w(tensors.data(), count);
  const AdamWStep step{call.real(0), call.real(4), call.real(5), 0, static_cast<std::uint64_t>(call.size(6))};
  // The step first: it stays aligned whatever the list's length.
  std::vector<unsigned char> bytes(sizeof(AdamWStep) + count * sizeof(AdamWTensor));
  static_assert(sizeof(AdamWStep) % alignof(AdamWTensor) == 0);
  std::memcpy(bytes.data(), &step, sizeof(step));
  if (count > 0) std::memcpy(bytes.data() + sizeof(step), tensors.data(), count * sizeof(AdamWTensor));
  const Workspace list(context, bytes.size());
  context.copy_in(list.data(), bytes.data(), bytes.size());
  const AdamWConstants constants = {call.number(1), call.number(2), call.number(3)};
  if (on_device) prepare_adam_w(call.stream(), call.float32(14, 1), call.int32(15, 1), constants, list.as<AdamWStep>());
  adam_w(call.stream(), reinterpret_cast<const AdamWTensor*>(list.as<char>() + sizeof(AdamWStep)), count, pieces, list.as<AdamWStep>(), scale,
         constants);
  return nullptr;
}

// maximumNorm (may be infinite), count, list of gradients, norm, scale.
napi_value globalNorm(const DeviceCall& call) {
  Context& context = call.context();
  const std::size_t count = call.size(1);
  const auto gradients = call.handles(2, count);
  std::vector<NormTensor> tensors(count);
  for (std::size_t i = 0; i < count; i++) {
    const DeviceArray& gradient = context.at(gradients[i]);
    if (gradient.type != ElementType::float32 && gradient.type != ElementType::bfloat16) {
      throw Error("INVALID_ARGUMENT", "Gradient " + std::to_string(i) + " is not floating.");
    }
    tensors[i] = {gradient.data, gradient.count, 0, gradient.type};
  }
  const std::size_t pieces = plan_global_norm(tensors.data(), count);
  const Workspace list(context, count * sizeof(NormTensor)), workspace(context, global_norm_workspace_bytes(pieces));
  context.copy_in(list.data(), tensors.data(), count * sizeof(NormTensor));
  const double limit = call.number(0);
  const float maximum = limit > std::numeric_limits<float>::max() ? std::numeric_limits<float>::infinity() : static_cast<float>(limit);
  global_norm(call.stream(), list.as<NormTensor>(), count, pieces, maximum, call.float32(3, 1), call.float32(4, 1), workspace.data());
  return nullptr;
}

// The last argument may be absent: what takes the ids as well.
napi_value sampleTokens(const DeviceCall& call) {
  const std::size_t rows = call.size(0), vocabulary = call.size(1);
  if (vocabulary == 0) throw Error("INVALID_ARGUMENT", "There are no logits to draw from.");
  const Workspace workspace(call.context(), sample_tokens_workspace_bytes(rows, vocabulary));
  const SamplingOptions options = {call.float32(3, rows), call.int32(4, rows), call.float32(5, rows), call.float32(6, rows),
                                   call.float32(7, rows)};
  const SampledTokens sampled = {call.int32(8, rows), call.absent(10) ? nullptr : call.int32(10, rows), call.float32(9, rows)};
  sample_tokens(call.stream(), call.floating(2, product(rows, vocabulary)), options, sampled, rows, vocabulary, workspace.data());
  return nullptr;
}

}  // namespace

const Registration kTrainingFunctions[] = {
    XGEN_REGISTER_DEVICE(linearCrossEntropy), XGEN_REGISTER_DEVICE(linearCrossEntropyGrad),
    XGEN_REGISTER_DEVICE(linearCrossEntropyWithGradient), XGEN_REGISTER_DEVICE(expectGradient), XGEN_REGISTER_DEVICE(adamW),
    XGEN_REGISTER_DEVICE(globalNorm),         XGEN_REGISTER_DEVICE(sampleTokens),           {nullptr, nullptr},
};

}  // namespace xgen::cuda::binding
