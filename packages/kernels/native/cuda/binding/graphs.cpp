// Recording launches as a graph, and replaying it.
#include "device_call.h"
#include "values.h"

namespace xgen::cuda::binding {

namespace {

napi_value beginCapture(const DeviceCall& call) {
  call.context().begin_capture();
  return nullptr;
}

// → the graph's number.
napi_value endCapture(const DeviceCall& call) { return make_number(call.env(), call.context().end_capture()); }

napi_value abandonCapture(const DeviceCall& call) {
  call.context().abandon_capture();
  return nullptr;
}

napi_value replay(const DeviceCall& call) {
  call.context().replay(static_cast<std::uint32_t>(call.size(0)));
  return nullptr;
}

napi_value destroyGraph(const DeviceCall& call) {
  call.context().destroy_graph(static_cast<std::uint32_t>(call.size(0)));
  return nullptr;
}

}  // namespace

const Registration kGraphFunctions[] = {
    XGEN_REGISTER_DEVICE(beginCapture), XGEN_REGISTER_DEVICE(endCapture), XGEN_REGISTER_DEVICE(abandonCapture),
    XGEN_REGISTER_DEVICE(replay),       XGEN_REGISTER_DEVICE(destroyGraph), {nullptr, nullptr},
};

}  // namespace xgen::cuda::binding
