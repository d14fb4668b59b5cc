// The gated feed-forward layer.
#include "device_call.h"
#include "xgen/cuda/feed_forward.h"

namespace xgen::cuda::binding {

namespace {

// Arguments 0 to 5: rows, width, inner width, x, the weights of gate and up, and of the way down.
FeedForwardShape feed_forward_shape_of(const DeviceCall& call) { return {call.size(0), call.size(1), call.size(2)}; }
FeedForward layer_of(const DeviceCall& call, const FeedForwardShape& shape) {
  return {call.floating(3, product(shape.rows, shape.width)), call.floating(4, product(2 * shape.inner, shape.width)),
          call.floating(5, product(shape.width, shape.inner))};
}

// Then the residual or 0, gate and up, their activation, y.
napi_value feedForward(const DeviceCall& call) {
  const FeedForwardShape shape = feed_forward_shape_of(call);
  const std::size_t stream_count = product(shape.rows, shape.width), inner_count = product(shape.rows, shape.inner);
  feed_forward(call.stream(), products_of(call.context()), shape, layer_of(call, shape), call.optional_floating(6, stream_count),
               call.floating(7, product(2, inner_count)), call.floating(8, inner_count), call.floating(9, stream_count));
  return nullptr;
}

// rows, width, inner width, x, the weights of gate and up; gate and up, their activation.
napi_value gatedLinear(const DeviceCall& call) {
  const FeedForwardShape shape = feed_forward_shape_of(call);
  const std::size_t inner_count = product(shape.rows, shape.inner);
  gated_linear(call.stream(), products_of(call.context()), shape, call.floating(3, product(shape.rows, shape.width)),
               call.floating(4, product(2 * shape.inner, shape.width)), call.floating(5, product(2, inner_count)), call.floating(6, inner_count));
  return nullptr;
}

// Then gate and up, their activation, dy; the gradients of x and of the weights, or 0.
napi_value feedForwardGrad(const DeviceCall& call) {
  const FeedForwardShape shape = feed_forward_shape_of(call);
  const std::size_t stream_count = product(shape.rows, shape.width), inner_count = product(shape.rows, shape.inner);
  const Array dy = call.floating(8, stream_count);
  const Workspace workspace(call.context(), feed_forward_grad_workspace_bytes(shape, dy.type));
  feed_forward_grad(call.stream(), products_of(call.context()), shape, layer_of(call, shape), call.floating(6, product(2, inner_count)),
                    call.floating(7, inner_count), dy, call.optional_floating(9, stream_count),
                    call.optional_floating(10, product(2 * shape.inner, shape.width)), call.optional_floating(11, product(shape.width, shape.inner)),
                    workspace.data());
  return nullptr;
}

}  // namespace

const Registration kFeedForwardFunctions[] = {
    XGEN_REGISTER_DEVICE(feedForward),
    XGEN_REGISTER_DEVICE(gatedLinear),
    XGEN_REGISTER_DEVICE(feedForwardGrad),
    {nullptr, nullptr},
};

}  // namespace xgen::cuda::binding
