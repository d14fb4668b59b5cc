// Threads, variants, memory.
#include "bindings.h"
#include "xgen/error.h"
#include "xgen/kernel_table.h"
#include "xgen/memory.h"
#include "xgen/thread_pool.h"

namespace xgen::binding {

namespace {

napi_value make_number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

napi_value make_text(napi_env env, const char* value) {
  napi_value result;
  napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &result);
  return result;
}

napi_value threadCount(const Call& call) { return make_number(call.env(), thread_count()); }

napi_value setThreadCount(const Call& call) {
  set_thread_count(call.integer(0));
  return nullptr;
}

napi_value variant(const Call& call) { return make_text(call.env(), kernels().name); }

napi_value setVariant(const Call& call) {
  select_variant(call.text(0).c_str());
  return nullptr;
}

// The variants this processor can run, best first.
napi_value variants(const Call& call) {
  napi_value list;
  napi_create_array(call.env(), &list);
  std::uint32_t length = 0;
  for (std::size_t i = 0; i < variant_count(); i++) {
    const VariantDescription description = variant_at(i);
    if (description.supported) napi_set_element(call.env(), list, length++, make_text(call.env(), description.name));
  }
  return list;
}

// An ArrayBuffer that is not filled with zeros and is aligned to a cache line.
napi_value allocate(const Call& call) {
  const std::size_t bytes = call.size(0);
  void* block = allocate_block(bytes);
  napi_value result;
  const napi_status status = napi_create_external_arraybuffer(
      call.env(), block, bytes, [](napi_env, void* data, void*) { release_block(data); }, nullptr, &result);
  if (status != napi_ok) {
    release_block(block);
    throw Error("NATIVE_FAILURE", "This runtime takes no memory from addons.");
  }
  return result;
}

}  // namespace

const Registration kRuntimeFunctions[] = {
    XGEN_REGISTER(threadCount), XGEN_REGISTER(setThreadCount), XGEN_REGISTER(variant),
    XGEN_REGISTER(setVariant),  XGEN_REGISTER(variants),       XGEN_REGISTER(allocate),
    {nullptr, nullptr},
};

}  // namespace xgen::binding
