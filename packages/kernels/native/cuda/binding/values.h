// Making JavaScript values.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <string>

namespace xgen::cuda::binding {

inline napi_value make_number(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}
inline napi_value make_integer(napi_env env, std::int32_t value) {
  napi_value result = nullptr;
  napi_create_int32(env, value, &result);
  return result;
}
inline napi_value make_text(napi_env env, const std::string& value) {
  napi_value result = nullptr;
  napi_create_string_utf8(env, value.data(), value.size(), &result);
  return result;
}
inline napi_value make_boolean(napi_env env, bool value) {
  napi_value result = nullptr;
  napi_get_boolean(env, value, &result);
  return result;
}
inline napi_value make_object(napi_env env) {
  napi_value result = nullptr;
  napi_create_object(env, &result);
  return result;
}
inline void set(napi_env env, napi_value object, const char* name, napi_value value) { napi_set_named_property(env, object, name, value); }

}  // namespace xgen::cuda::binding
