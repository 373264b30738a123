// The doorway: turns every C signature of ops.h into a JavaScript function. Together with arguments.h,
// background.h and environment.h the only place that knows Node-API.
//
// Plain C Node-API, malloc and snprintf: nothing here may need the C++ library, so that one Linux binary serves every
// distribution (scripts/check-abi.mjs).
//
// TypeScript has checked a call before it comes here, with better words. What is checked again is what the safety of
// memory rests on: a caller may have got hold of these functions, or changed an array between that check and this one.
// Between reading an address here and the end of the kernel no JavaScript runs.
#include <node_api.h>

#include <cstdlib>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

// Nothing here is worth the size that speed takes.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("Os")
#endif

#include "arguments.h"
#include "background.h"
#include "dispatch.h"
#include "environment.h"
#include "isa/machine.h"
#include "split.h"

namespace evenkeel {
namespace {

template <class... Operands>
napi_value call(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto* kernel = static_cast<const Kernel<Operands...>*>(arguments.data);
  std::tuple<Operands...> operands;
  if (read(arguments, operands)) run_divided(kernel->run, operands, helpers());
  return arguments.error ? refuse(env, kernel->name, arguments) : nullptr;
}

// A call whose arguments are in the arena, for being made again and again.
template <class... Operands>
struct Prepared {
  void (*run)(Operands...);
  std::tuple<Operands...> operands;
};

template <class... Operands>
napi_value call_prepared(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  const auto* prepared = static_cast<const Prepared<Operands...>*>(data);
  const DefaultFloatControl undisturbed;
  std::apply(prepared->run, prepared->operands);
  return nullptr;
}

// A function without arguments that makes this call.
template <class... Operands>
napi_value prepare(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto* kernel = static_cast<const Kernel<Operands...>*>(arguments.data);
  arguments.only_in(kernel->environment->arena);
  using Call = Prepared<Operands...>;
  std::tuple<Operands...> operands;
  void* memory = read(arguments, operands) ? std::malloc(sizeof(Call)) : nullptr;
  if (!memory) {
    arguments.fail("something to do");
    return refuse(env, kernel->name, arguments);
  }
  auto* prepared = new (memory) Call{kernel->run, operands};
  napi_value function = nullptr;
  if (napi_create_function(env, kernel->name, NAPI_AUTO_LENGTH, call_prepared<Operands...>, prepared, &function) !=
      napi_ok) {
    std::free(prepared);
    return nullptr;
  }
  const auto release = [](napi_env, void* gone, void*) { std::free(gone); };
  napi_add_finalizer(env, function, prepared, release, nullptr, nullptr);
  return function;
}

// Building the exports. A call that fails leaves an exception pending, and the calls after it fail as well: `require`
// throws it.
napi_value object(napi_env env) {
  napi_value out = nullptr;
  napi_create_object(env, &out);
  return out;
}

napi_value array(napi_env env) {
  napi_value out = nullptr;
  napi_create_array(env, &out);
  return out;
}

napi_value function(napi_env env, const char* name, napi_callback callback) {
  napi_value out = nullptr;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &out);
  return out;
}

napi_value text(napi_env env, const char* value) {
  napi_value out = nullptr;
  napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &out);
  return out;
}

void append(napi_env env, napi_value array, napi_value item) {
  uint32_t length = 0;
  napi_get_array_length(env, array, &length);
  napi_set_element(env, array, length, item);
}

// A function of JavaScript for a kernel, as a property of a table.
template <class... Operands>
void add(napi_env env, napi_value table, napi_callback callback, const Kernel<Operands...>& kernel) {
  using Entry = Kernel<Operands...>;
  void* memory = std::malloc(sizeof(Entry));
  if (!memory) {
    napi_throw_error(env, nullptr, "no memory for a kernel");
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
  napi_set_named_property(env, table, kernel.name, function);
}

// The functions of a backend: kernels that are called at once, that prepare a call, that run in the background.
struct Tables {
  napi_value now, prepare, background;
};

template <class... Operands>
void add(napi_env env, const Tables& tables, const Kernel<Operands...>& kernel) {
  static_assert((Reader<Operands>::arguments + ...) <= max_arguments, "a call's arguments are read into a fixed array");
  add(env, tables.now, call<Operands...>, kernel);
  add(env, tables.background, start<Operands...>, kernel);
  // Ops over rows or columns; the volumes of the others are seldom small.
  if constexpr ((std::is_same_v<Operands, Groups> || ...)) add(env, tables.prepare, prepare<Operands...>, kernel);
}

// The arena as JavaScript sees it; undefined where the runtime lets it see no memory of others (Electron).
napi_value view_of(napi_env env, Arena* arena) {
  napi_value buffer = nullptr, view = nullptr;
  if (napi_create_external_arraybuffer(env, arena->floats, sizeof arena->floats, nullptr, nullptr, &buffer) !=
          napi_ok ||
      napi_create_typedarray(env, napi_float32_array, Arena::length, buffer, 0, &view) != napi_ok) {
    napi_get_undefined(env, &view);
  }
  return view;
}

template <class... Operands>
Kernel<Operands...> kernel_of(Environment* environment, const char* name, void (*run)(Operands...)) {
  return {name, run, environment};
}

// threads(): how many threads work on a call, 0 where nobody has said so. threads(n) says so.
napi_value threads(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value value = nullptr;
  napi_valuetype kind = napi_undefined;
  napi_get_cb_info(env, info, &count, &value, nullptr, nullptr);
  napi_typeof(env, value, &kind);
  if (kind != napi_undefined) {
    double n = 0;
    napi_get_value_double(env, value, &n);
    if (!(n >= 1 && n <= max_threads)) {
      napi_throw_range_error(env, nullptr, "threads: argument 1 expected a number from 1 to 1024, got something else");
      return nullptr;
    }
    set_threads(static_cast<size_t>(n));
  }
  napi_create_double(env, static_cast<double>(get_threads()), &value);
  return value;
}

template <class T>
void add_all(napi_env env, const Tables& tables, Environment* environment, const Kernels<T>& kernels) {
#define EVENKEEL_ADD(name, signature) add(env, tables, kernel_of(environment, #name, kernels.name));
  EVENKEEL_OPS(EVENKEEL_ADD)
#undef EVENKEEL_ADD
}

// The version stands in binding.gyp as a bare word: quotes would not survive every build system.
#define EVENKEEL_TEXT(word) EVENKEEL_QUOTE(word)
#define EVENKEEL_QUOTE(word) #word

napi_value init(napi_env env, napi_value exports) {
  Environment* environment = make_environment(env);
  if (!environment) {
    napi_throw_error(env, nullptr, "no memory for the arena");
    return nullptr;
  }
  const napi_value backends = array(env);
  const napi_value unsupported = array(env);
  for (const Backend& backend : detect_backends()) {
    if (!backend.supported) {
      append(env, unsupported, text(env, backend.name));
      continue;
    }
    const napi_value table = object(env);
    const napi_value float32 = object(env);
    const napi_value preparers = object(env);
    const napi_value background = object(env);
    add_all(env, {float32, preparers, background}, environment, backend.kernels->float32);
    napi_set_named_property(env, table, "name", text(env, backend.name));
    napi_set_named_property(env, table, "float32", float32);
    napi_set_named_property(env, table, "prepare", preparers);
    napi_set_named_property(env, table, "background", background);
    append(env, backends, table);
  }
  const napi_value features = array(env);
  const CpuFeatures cpu = detect_cpu();
  if (cpu.avx2) append(env, features, text(env, "avx2"));
  if (cpu.avx512) append(env, features, text(env, "avx512f"));
  if (cpu.neon) append(env, features, text(env, "neon"));
  napi_set_named_property(env, exports, "version", text(env, EVENKEEL_TEXT(EVENKEEL_VERSION)));
  napi_set_named_property(env, exports, "backends", backends);
  napi_set_named_property(env, exports, "unsupported", unsupported);
  napi_set_named_property(env, exports, "cpuFeatures", features);
  napi_set_named_property(env, exports, "arena", view_of(env, environment->arena));
  napi_set_named_property(env, exports, "threads", function(env, "threads", threads));
  return exports;
}

}  // namespace
}  // namespace evenkeel

NAPI_MODULE_INIT() { return evenkeel::init(env, exports); }
