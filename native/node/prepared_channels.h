// Layers over channels: as those over rows, but that a call passes its number of positions, and running statistics,
// which a caller may have written to since the last call.
#pragma once

#include "prepared.h"

namespace evenkeel {
namespace {

inline bool share_memory(const View& a, const View& b) {
  const auto at = reinterpret_cast<uintptr_t>(a.data), other = reinterpret_cast<uintptr_t>(b.data);
  return at < other + b.bytes && other < at + a.bytes;
}

// Reads the running statistics that are next into the layer's room for them; false where they are not of `channels`
// channels, share memory with y, or a variance is negative. (It is NaN where training made it so.)
template <class Operand>
bool refill(Operand&, bool&, const View*&, const View&, size_t) {
  return true;
}
inline bool refill(OverBatch<const double>& operand, bool& is_variance, const View*& next, const View& y,
                   size_t channels) {
  const View& given = *next++;
  if (!given.holds<float>(channels) || given.bytes / sizeof(float) != channels || share_memory(y, given)) return false;
  const auto* from = static_cast<const float*>(given.data);
  auto* to = const_cast<double*>(operand.data);  // the layer's own
  bool negative = false;
  for (size_t c = 0; c < channels; ++c) {
    const double value = static_cast<double>(from[c]);
    negative |= value < 0;
    to[c] = value;
  }
  const bool good = !negative || !is_variance;
  is_variance = true;  // the one that comes behind the mean
  return good;
}

// y, x, the number of positions; of batch_norm running mean and variance. Returns true where the kernel ran, which
// it does not where anything is wrong, y shares a part of its memory with x, or any with the statistics.
template <class T, class... Operands>
napi_value call_prepared_channels(napi_env env, napi_callback_info info) {
  constexpr size_t statistics = (size_t{std::is_same_v<Operands, OverBatch<const double>>} + ...);
  size_t count = 3 + statistics;
  napi_value values[3 + statistics];
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, values, nullptr, &data);
  const auto* prepared = static_cast<const Prepared<Operands...>*>(data);

  View views[2 + statistics];  // y, x, statistics
  for (size_t i = 0; i < 2 + statistics; ++i) {
    const napi_value value = values[i < 2 ? i : i + 1];
    bool is_array = false;
    napi_is_typedarray(env, value, &is_array);
    if (!is_array || !view_of(env, value, &views[i].data, &views[i].bytes)) return nullptr;
  }
  const View &y = views[0], &x = views[1];
  double positions = 0;
  if (napi_get_value_double(env, values[2], &positions) != napi_ok) return nullptr;
  if (!(positions >= 1 && positions <= 9007199254740991.0)) return nullptr;

  auto operands = prepared->operands;
  Volume& shape = std::get<Volume>(operands);
  shape.positions = static_cast<size_t>(positions);
  const size_t sample = times(times(shape.channels(), shape.positions), sizeof(T));
  shape.whole = shape.samples = x.bytes / sample;
  if (shape.samples == 0 || x.bytes % sample != 0 || y.bytes != x.bytes) return nullptr;
  if (!y.holds<T>(1) || !x.holds<T>(1) || (y.data != x.data && share_memory(y, x))) return nullptr;
  // Without positions a sample is a row of a matrix, whose columns are the channels where the layer says so.
  shape.channels_last = shape.channels_last && shape.positions == 1;
  const View* next = views + 2;
  bool is_variance = false;
  const bool good = std::apply(
      [&](auto&... operand) { return (refill(operand, is_variance, next, y, shape.groups) && ...); }, operands);
  if (!good) return nullptr;
  std::get<Tensor<T>>(operands).data = static_cast<T*>(y.data);
  std::get<Tensor<const T>>(operands).data = static_cast<const T*>(x.data);
  run_divided(prepared->run, operands, helpers());
  napi_value out = nullptr;
  napi_get_boolean(env, true, &out);
  return out;
}

constexpr size_t most_channels = size_t{1} << 53;  // more than any memory has

// The arguments of the kernel, without y, x, statistics and a number of samples. Returns a function.
template <class T, class... Operands>
napi_value prepare_channels(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto* kernel = static_cast<const Kernel<Operands...>*>(arguments.data);
  std::tuple<Operands...> operands;
  read(arguments, operands);
  const Volume& shape = std::get<Volume>(operands);
  const bool fits_shape = shape.samples == 0 && shape.positions == 1 && shape.pitch <= most_channels && !shape.spans;
  if (!arguments.error && !fits_shape) arguments.fail("shape expected channels of one position, no samples yet");
  const auto fits = [&](const auto&... operand) { return (fits_layer(operand) && ...); };
  if (arguments.storages.any) arguments.fail("arrays expected float32");
  if (!arguments.error && !std::apply(fits, operands)) arguments.fail("arrays expected parameters alone");
  if (arguments.error) return refuse(env, kernel->name, arguments);
  return layer_of(env, *kernel, operands, shape.channels(), call_prepared_channels<T, Operands...>);
}

}  // namespace
}  // namespace evenkeel
