// Opening libraries that a machine may lack.
#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <mutex>
#include <string>

namespace xgen::cuda {

template <class F>
bool find_function(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

// Opens the first of `names` that is there and that `fill(handle)` finds complete, and returns its name; null where none is, with why
// the first one failed. The library stays open.
template <std::size_t count, class Fill>
const char* open_first(const char* const (&names)[count], Fill&& fill, std::string* failure) {
  std::string first;
  for (const char* name : names) {
    void* handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* message = dlerror();
      if (first.empty()) first = message == nullptr ? "not found" : message;
      continue;
    }
    if (fill(handle)) return name;
    dlclose(handle);
    first = std::string(name) + " is too old or incomplete";
  }
  if (failure != nullptr) *failure = first;
  return nullptr;
}

// The one `Library` of a program, filled by `fill(handle, library)` from the first of `names` that is complete, its name in `file`; or null, and
// then the next call tries again.
template <class Library, std::size_t count>
const Library* open_once(const char* const (&names)[count], bool (*fill)(void*, Library&), std::string* failure) {
  static std::mutex mutex;
  static Library library;
  static bool opened = false;
  const std::lock_guard lock(mutex);
  if (opened) return &library;
  const char* name = open_first(names, [fill](void* handle) { return fill(handle, library); }, failure);
  if (name == nullptr) return nullptr;
  library.file = name;
  opened = true;
  return &library;
}

}  // namespace xgen::cuda
