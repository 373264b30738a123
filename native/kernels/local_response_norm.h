// local_response_norm: y = x / (k + alpha * (sum of x^2 over neighboring channels))^beta. The twin of
// src/kernels/local_response_norm.ts.

// x^exponent of every lane.
inline D power(D x, double exponent) {
  if (is_quarter(exponent)) return quarter_power(x, broadcast(1.0), exponent);
  return each_lane(x, [=](double v) { return power(v, exponent); });
}

// A window from `before` channels before to `behind` channels behind. y is not x.
template <class T>
void local_response_norm(Tensor<T> y, Tensor<const T> x, Volume shape, size_t before, size_t behind, double alpha,
                         double beta, double k) {
  const size_t channels = shape.channels();
  const D a = broadcast(alpha);
  const D one = broadcast(k);
  // y of the element or elements at `at`, whose window is `count` channels from `window` on, `stride` apart.
  const auto element = [=](auto at, T* out, const T* in, const T* window, size_t stride, size_t count) {
    D squares = broadcast(0.0);
    for (size_t c = 0; c < count; ++c) squares = add_exact_square(squares, at.read_wide(window + c * stride));
    at.write(out, narrow(at.read_wide(in) / power(one + a * squares, beta)));
  };
  // The same, one by one: 0 stays what it is, also where the power vanishes.
  const auto single = [=](T* out, const T* in, const T* window, size_t stride, size_t n) {
    double squares = 0;
    for (size_t c = 0; c < n; ++c) {
      const double v = static_cast<double>(window[c * stride]);
      squares += v * v;
    }
    const double base = k + alpha * squares;
    *out = *in == 0 && base > 0 ? *in : static_cast<T>(static_cast<double>(*in) / power(base, beta));
  };
  // Whether no power can vanish or overflow: the base is between 2^-20 and 2^300, or infinite, whose power vanishes
  // where beta < 0.
  const bool ordinary = k >= 0x1p-20 && k <= 0x1p20 && alpha <= 1 && beta >= 0 && beta <= 2;
  const auto window_of = [=](size_t channel, size_t& count) {
    const size_t first = channel < before ? 0 : channel - before;
    const size_t last = channels - 1 - channel < behind ? channels - 1 : channel + behind;
    count = last - first + 1;
    return first;
  };
  size_t count;
  if (!shape.channels_last) {
    for (size_t sample = 0; sample < shape.samples; ++sample) {
      const size_t base = sample * channels * shape.positions;
      for (size_t channel = 0; channel < channels; ++channel) {
        const T* window = x.data + base + window_of(channel, count) * shape.positions;
        const size_t at = base + channel * shape.positions;
        if (ordinary) {
          each(shape.positions,
               [&](auto position) { element(position, y.data + at, x.data + at, window, shape.positions, count); });
          continue;
        }
        for (size_t i = 0; i < shape.positions; ++i) {
          single(y.data + at + i, x.data + at + i, window + i, shape.positions, count);
        }
      }
    }
    return;
  }
  // Channels with a whole window take the vector steps, those at the borders one each; all do where a power may vanish.
  const size_t low = ordinary && before < channels ? before : channels;
  const size_t high = behind < channels - low ? channels - behind : low;
  for (size_t row = 0; row < shape.samples * shape.positions; ++row) {
    T* out = y.data + row * channels;
    const T* in = x.data + row * channels;
    const auto one_by_one = [&](size_t from, size_t to) {
      for (size_t channel = from; channel < to; ++channel) {
        const T* window = in + window_of(channel, count);
        single(out + channel, in + channel, window, 1, count);
      }
    };
    one_by_one(0, low);
    each(high - low, [&](auto at) { element(at, out + low, in + low, in + low - before, 1, before + 1 + behind); });
    one_by_one(high, channels);
  }
}
