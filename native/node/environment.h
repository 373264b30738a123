// What belongs to one environment of Node.js: the main thread's, or that of a worker.
#pragma once

#include <napi.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "../threads/pool.h"

namespace evenkeel {
namespace {

struct Environment {
  JobOwner jobs{};
  napi_threadsafe_function finished = nullptr;  // takes finished jobs to JavaScript; made with the first job
  size_t pending = 0;                           // jobs that JavaScript waits for
  napi_ref structured_clone = nullptr;          // as it was when the addon was loaded; null where there was none
};

// null where there is no memory.
inline Environment* make_environment(Napi::Env env) {
  void* memory = std::malloc(sizeof(Environment));
  if (!memory) return nullptr;
  auto* environment = new (memory) Environment;
  napi_add_env_cleanup_hook(
      env, [](void* gone) { std::free(gone); }, environment);
  const Napi::Value clone = env.Global().Get("structuredClone");
  if (clone.IsFunction()) napi_create_reference(env, clone, 1, &environment->structured_clone);
  return environment;
}

// Whether napi_get_buffer_info, which is documented for Buffers, tells of any typed array where it stands, as it does
// in Node.js. It takes half the time of napi_get_typedarray_info (measured).
inline bool buffer_info_serves(napi_env env) {
  napi_value buffer = nullptr, array = nullptr;
  void *base = nullptr, *data = nullptr;
  size_t bytes = 0;
  const bool good = napi_create_arraybuffer(env, 32, &base, &buffer) == napi_ok &&
                    napi_create_typedarray(env, napi_float32_array, 4, buffer, 8, &array) == napi_ok &&
                    napi_get_buffer_info(env, array, &data, &bytes) == napi_ok &&
                    data == static_cast<char*>(base) + 8 && bytes == 16;
  napi_value thrown = nullptr;
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending) napi_get_and_clear_last_exception(env, &thrown);
  return good;
}

// Of the process: every environment finds the same.
std::atomic<bool> uses_buffer_info{false};

// Bytes of an element of a typed array; 0 for a type that is not known here.
inline size_t element_size(napi_typedarray_type type) {
  static constexpr size_t sizes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};  // in the order of napi_typedarray_type
  const auto index = static_cast<size_t>(type);
  return index < sizeof sizes / sizeof *sizes ? sizes[index] : 0;
}

// Address and number of bytes of a typed array.
inline bool view_of(napi_env env, napi_value array, void** data, size_t* bytes) {
  if (uses_buffer_info.load(std::memory_order_relaxed)) return napi_get_buffer_info(env, array, data, bytes) == napi_ok;
  auto type = static_cast<napi_typedarray_type>(-1);  // Node.js 24.0 leaves it as it is for a Float16Array
  size_t length = 0;
  if (napi_get_typedarray_info(env, array, &type, &length, data, nullptr, nullptr) != napi_ok) return false;
  *bytes = length * element_size(type);
  return element_size(type) > 0;
}

}  // namespace
}  // namespace evenkeel
