// The doorway: turns every C signature of ops.h into functions of JavaScript. This folder is the only place that knows
// Node-API: node-addon-api for what is exported, thrown and promised, Node-API itself where a call's cost was measured.
//
// Nothing here may need the C++ library, so that one Linux binary serves every distribution (scripts/check-abi.mjs):
// memory.cpp has the operators that node-addon-api asks for.
//
// In a worker that is being terminated nothing can be thrown, and node-addon-api would end the process for it;
// binding.gyp says NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS, with which it does not.
//
// TypeScript has checked a call before it comes here, with better words. What is checked again is what the safety of
// memory rests on (readers.h).
#include <napi.h>

#include <cstdlib>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

#include "../dispatch.h"
#include "../platform/cpu.h"
#include "arguments.h"
#include "background.h"
#include "environment.h"
#include "prepared.h"
#include "prepared_channels.h"
#include "readers.h"

namespace evenkeel {
namespace {

template <class... Operands>
napi_value call(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto* kernel = static_cast<const Kernel<Operands...>*>(arguments.data);
  std::tuple<Operands...> operands;
  const Reading reading = read(arguments, operands);
  if (reading == Reading::good && arguments.storages.any) {
    Staging staging(arguments.storages, *kernel->tables);
    if (stage(staging, operands, helpers() + 1)) {
      run_divided(kernel->run, operands, helpers(), &staging);
    } else {
      arguments.fail(no_staging);
    }
  } else if (reading == Reading::good) {
    run_divided(kernel->run, operands, helpers());
  }
  return arguments.error ? refuse(env, kernel->name, arguments) : nullptr;
}

// A function of JavaScript for a kernel, as a property of a table.
template <class... Operands>
void add(Napi::Object table, napi_callback callback, const Kernel<Operands...>& kernel) {
  using Entry = Kernel<Operands...>;
  const Napi::Env env = table.Env();
  void* memory = std::malloc(sizeof(Entry));
  if (!memory) {
    Napi::Error::New(env, "evenkeel: no memory for a kernel").ThrowAsJavaScriptException();
    return;
  }
  auto* entry = new (memory) Entry(kernel);
  napi_value function = nullptr;
  if (napi_create_function(env, kernel.name, NAPI_AUTO_LENGTH, callback, entry, &function) != napi_ok) {
    std::free(entry);
    return;
  }
  const auto release = [](napi_env, void* gone, void*) { std::free(gone); };
  napi_add_finalizer(env, function, entry, release, nullptr, nullptr);
  table.Set(kernel.name, function);
}

// The functions of a backend: kernels that are called at once, that run in the background, that prepare a layer's.
struct Tables {
  Napi::Object run, start, prepare;
};

template <class T, class... Operands>
void add_all_of(const Tables& tables, const Kernel<Operands...>& kernel) {
  static_assert(sizeof...(Operands) + 2 <= Arguments::most, "a call's arguments are read into a fixed array");
  add(tables.run, call<Operands...>, kernel);
  add(tables.start, start<Operands...>, kernel);
  // Layers that are called with y and x alone.
  constexpr size_t inputs = (size_t{std::is_same_v<Operands, In<T>>} + ...);
  constexpr bool has_result = (std::is_same_v<Operands, Out<T>> || ...);
  if constexpr (has_result && inputs == 1) add(tables.prepare, prepare<T, Operands...>, kernel);
  // Those over channels: also with a number of positions, and running statistics.
  constexpr size_t tensors = (size_t{std::is_same_v<Operands, Tensor<const T>>} + ...);
  constexpr bool per_channel = (std::is_same_v<Operands, PerChannel<T>> || ...);
  if constexpr (per_channel && tensors == 1) add(tables.prepare, prepare_channels<T, Operands...>, kernel);
}

template <class... Operands>
Kernel<Operands...> kernel_of(Environment* environment, const char* name, void (*run)(Operands...),
                              const KernelTables& tables) {
  return {name, run, environment, &tables};
}

template <class T>
Napi::Object table_of(Napi::Env env, Environment* environment, const KernelTables& all, const Kernels<T>& kernels) {
  const Tables tables{Napi::Object::New(env), Napi::Object::New(env), Napi::Object::New(env)};
#define EVENKEEL_ADD(name, signature) add_all_of<T>(tables, kernel_of(environment, #name, kernels.name, all));
  EVENKEEL_OPS(EVENKEEL_ADD)
#undef EVENKEEL_ADD
  Napi::Object out = Napi::Object::New(env);
  out.Set("run", tables.run);
  out.Set("start", tables.start);
  out.Set("prepare", tables.prepare);
  return out;
}

// threads(): how many threads work on a call, 0 where no number was set yet. threads(n) sets it.
Napi::Value threads(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (info.Length() > 0 && !info[0].IsUndefined()) {
    const double n = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : 0;
    if (!(n >= 1 && n <= max_threads)) {
      Napi::RangeError::New(env, "threads: n expected a number from 1 to 1024, got something else")
          .ThrowAsJavaScriptException();
      return env.Undefined();
    }
    set_threads(static_cast<size_t>(n));
  }
  return Napi::Number::New(env, static_cast<double>(get_threads()));
}

void append(Napi::Array array, napi_value item) { array.Set(array.Length(), item); }

// The version stands in binding.gyp as a bare word: quotes would not survive every build system.
#define EVENKEEL_TEXT(word) EVENKEEL_QUOTE(word)
#define EVENKEEL_QUOTE(word) #word

Napi::Object init(Napi::Env env, Napi::Object exports) {
  Environment* environment = make_environment(env);
  if (!environment) {
    Napi::Error::New(env, "evenkeel: no memory for an environment").ThrowAsJavaScriptException();
    return exports;
  }
  if (buffer_info_serves(env)) uses_buffer_info.store(true, std::memory_order_relaxed);
  const Napi::Array backends = Napi::Array::New(env);
  const Napi::Array unsupported = Napi::Array::New(env);
  for (const Backend& backend : detect_backends()) {
    if (!backend.supported) {
      append(unsupported, Napi::String::New(env, backend.name));
      continue;
    }
    Napi::Object table = Napi::Object::New(env);
    table.Set("name", backend.name);
#define EVENKEEL_SET(name, type, array) \
  table.Set(#name, table_of<type>(env, environment, *backend.kernels, backend.kernels->name));
    EVENKEEL_ELEMENTS(EVENKEEL_SET)
#undef EVENKEEL_SET
    append(backends, table);
  }
  Napi::Object signatures = Napi::Object::New(env);
#define EVENKEEL_SIGN(name, signature) signatures.Set(#name, #signature);
  EVENKEEL_OPS(EVENKEEL_SIGN)
#undef EVENKEEL_SIGN
  const Napi::Array features = Napi::Array::New(env);
  const CpuFeatures cpu = detect_cpu();
  if (cpu.avx2) append(features, Napi::String::New(env, "avx2"));
  if (cpu.avx512) append(features, Napi::String::New(env, "avx512f"));
  if (cpu.neon) append(features, Napi::String::New(env, "neon"));
  exports.Set("version", EVENKEEL_TEXT(EVENKEEL_VERSION));
  exports.Set("signatures", signatures);
  exports.Set("backends", backends);
  exports.Set("unsupported", unsupported);
  exports.Set("cpuFeatures", features);
  exports.Set("threads", Napi::Function::New(env, threads, "threads"));
  return exports;
}

}  // namespace
}  // namespace evenkeel

using evenkeel::init;
NODE_API_MODULE(evenkeel, init)
