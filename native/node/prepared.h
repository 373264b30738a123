// Layers: their parameters and numbers live in native memory. A call of one over rows passes y and x alone; those over
// channels are in prepared_channels.h.
#pragma once

#include <napi.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <tuple>

#include "background.h"

namespace evenkeel {
namespace {

// A layer's kernel, for any number of dense rows.
template <class... Operands>
struct Prepared {
  const char* name;
  void (*run)(Operands...);
  std::tuple<Operands...> operands;
  void* parameters;
  int64_t bytes;  // as V8 knows them, which else would collect too late
};

constexpr size_t alignment = 64;

// Copies a parameter to `to`, which goes on behind it; other operands stay as they are.
template <class T>
void own(PerElement<T>& operand, size_t size, char*& to) {
  if (!operand.data) return;
  std::memcpy(to, operand.data, size * sizeof(T));
  operand.data = reinterpret_cast<const T*>(to);
  to += (size * sizeof(T) + alignment - 1) / alignment * alignment;
}
template <class T>
void own(PerChannel<T>& operand, size_t size, char*& to) {
  PerElement<T> copy{operand.data};
  own(copy, size, to);
  operand.data = copy.data;
}
// Running statistics, which each call brings: room for them.
inline void own(OverBatch<const double>& operand, size_t size, char*& to) {
  operand.data = reinterpret_cast<const double*>(to);
  to += (size * sizeof(double) + alignment - 1) / alignment * alignment;
}
template <class Operand>
void own(Operand&, size_t, char*&) {}

template <class T>
size_t bytes_of(const PerElement<T>& operand, size_t size) {
  return operand.data ? (size * sizeof(T) + alignment - 1) / alignment * alignment : 0;
}
template <class T>
size_t bytes_of(const PerChannel<T>& operand, size_t size) {
  return bytes_of(PerElement<T>{operand.data}, size);
}
inline size_t bytes_of(const OverBatch<const double>&, size_t size) {
  return (size * sizeof(double) + alignment - 1) / alignment * alignment;
}
template <class Operand>
size_t bytes_of(const Operand&, size_t) {
  return 0;
}

// Whether a layer may have an operand: parameters and numbers, nothing that each call has.
template <class T>
bool fits_layer(const Matrix<T>& operand) {
  return operand.data == nullptr;
}
template <class T>
bool fits_layer(const Maybe<T>& operand) {
  return operand.data == nullptr;
}
template <class T>
bool fits_layer(const Tensor<T>& operand) {
  return operand.data == nullptr;
}
inline bool fits_layer(const OverBatch<const double>& operand) { return operand.data == nullptr; }
inline bool fits_layer(const PerGroup& operand) { return !operand.single && !operand.full; }
template <class Operand>
bool fits_layer(const Operand&) {
  return true;
}

template <class T, class... Operands>
napi_value call_prepared(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value values[2];
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, values, nullptr, &data);
  const auto* prepared = static_cast<const Prepared<Operands...>*>(data);
  View views[2];
  for (size_t i = 0; i < 2; ++i) {
    bool is_array = false;
    napi_is_typedarray(env, values[i], &is_array);
    if (!is_array || !view_of(env, values[i], &views[i].data, &views[i].bytes)) views[i].bytes = 0;
  }
  auto operands = prepared->operands;
  Groups& shape = std::get<Groups>(operands);
  const size_t row = shape.size * sizeof(T);
  shape.whole = shape.outer = views[0].bytes / row;
  if (views[0].bytes != views[1].bytes || shape.outer == 0 || views[0].bytes % row != 0 ||
      !views[0].template holds<T>(shape.size) || !views[1].template holds<T>(shape.size)) {
    char message[100];
    std::snprintf(message, sizeof message, "%s: arrays expected two of as many whole rows, got others", prepared->name);
    napi_throw_type_error(env, nullptr, message);
    return nullptr;
  }
  std::get<Out<T>>(operands).data = static_cast<T*>(views[0].data);
  std::get<In<T>>(operands).data = static_cast<const T*>(views[1].data);
  run_divided(prepared->run, operands, helpers());
  return nullptr;
}

// A function of JavaScript that has a layer: a copy of its parameters, of so many elements each.
template <class... Operands>
EVENKEEL_RARE napi_value layer_of(napi_env env, const Kernel<Operands...>& kernel,
                                  const std::tuple<Operands...>& operands, size_t size, napi_callback callback) {
  using Layer = Prepared<Operands...>;
  const size_t bytes =
      std::apply([&](const auto&... operand) { return (bytes_of(operand, size) + ... + 0); }, operands);
  void* parameters = std::malloc(bytes + alignment);
  void* memory = std::malloc(sizeof(Layer));
  if (!parameters || !memory) {
    std::free(parameters);
    std::free(memory);
    napi_throw_error(env, nullptr, "evenkeel: no memory for a layer");
    return nullptr;
  }
  char* to = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(parameters) + alignment - 1) / alignment * alignment);
  auto* layer = new (memory) Layer{kernel.name, kernel.run, operands, parameters, static_cast<int64_t>(bytes)};
  std::apply([&](auto&... operand) { (own(operand, size, to), ...); }, layer->operands);
  const auto release = [](napi_env env, void* gone, void*) {
    auto* layer = static_cast<Layer*>(gone);
    int64_t known = 0;
    napi_adjust_external_memory(env, -layer->bytes, &known);
    std::free(layer->parameters);
    std::free(layer);
  };
  int64_t known = 0;
  napi_adjust_external_memory(env, layer->bytes, &known);
  napi_value function = nullptr;
  if (napi_create_function(env, kernel.name, NAPI_AUTO_LENGTH, callback, layer, &function) != napi_ok ||
      napi_add_finalizer(env, function, layer, release, nullptr, nullptr) != napi_ok) {
    release(env, layer, nullptr);
    return nullptr;
  }
  return function;
}

// The arguments of the kernel, without y, x and a number of rows. Returns a function of y and x.
template <class T, class... Operands>
EVENKEEL_RARE napi_value prepare(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto* kernel = static_cast<const Kernel<Operands...>*>(arguments.data);
  std::tuple<Operands...> operands;
  const Reading reading = read(arguments, operands);
  const Groups& shape = std::get<Groups>(operands);
  if (reading == Reading::good) arguments.fail("shape expected no rows yet");
  if (!arguments.error && (shape.inner != 1 || shape.spans)) arguments.fail("shape expected rows without padding");
  const auto fits = [&](const auto&... operand) { return (fits_layer(operand) && ...); };
  if (arguments.storages.any) arguments.fail("arrays expected float32");
  if (!arguments.error && !std::apply(fits, operands)) arguments.fail("arrays expected parameters alone");
  if (arguments.error) return refuse(env, kernel->name, arguments);
  // Every call has dense rows: no stride that was passed here was held against any memory.
  std::get<Out<T>>(operands).stride = std::get<In<T>>(operands).stride = shape.size;
  return layer_of(env, *kernel, operands, shape.size, call_prepared<T, Operands...>);
}

}  // namespace
}  // namespace evenkeel
