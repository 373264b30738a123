// What groups are normalized with (rules 6 to 8). The twin of src/kernels/scale.ts.
// Included inside an ISA file's namespace. "Rule n" is a rule of NUMERICS.md.

constexpr double large = 0x1p100;  // rule 8
constexpr double small = 0x1p-100;
constexpr double vanishing = 0x1p-200;

// Rule 8: whether float32 steps could overflow or vanish. `square` is what eps was added to.
inline bool needs_float64(double mean, double square, double rstd) {
  return !(rstd > small && rstd < large && mean >= -large && mean <= large) ||
         (square > 0 && square * rstd * rstd < vanishing);
}

// Rule 8b: the same for a group whose statistics are those of a part of it; `largest` is the largest |x| of all.
inline bool needs_float64_partial(double largest, double rstd) {
  const double scaled = largest * rstd;
  return !(rstd > small && rstd < large && (largest == 0 || (scaled > small && scaled < large)));
}

// What a group is normalized with: rules 6 to 8.
struct Scale {
  double mean;
  double rstd;
  bool needs_float64;
  float m, c;  // the mean as a high and a low part
  float r;
};

// Rules 6 to 8 for a group whose statistics are known. Operations without a mean give 0 for it.
inline Scale scale_of(double mean, double square, double rstd) {
  const float m = static_cast<float>(mean);
  return {mean,
          rstd,
          needs_float64(mean, square, rstd),
          m,
          static_cast<float>((m - mean) * rstd),
          static_cast<float>(rstd)};
}

// The same of `width` rows, none of which needs float64.
struct ScalesAbreast {
  D rstd;
  alignas(64) float m[width];
  alignas(64) float r[width];
  alignas(64) float c[width];

  // false where one of them may need it.
  bool set(D mean, D square, D of_rstd) {
    rstd = of_rstd;
    store(m, narrow(mean));
    store(r, narrow(rstd));
    store(c, narrow((load_wide(m) - mean) * rstd));
    const D most = broadcast(large);
    return all_above(rstd, broadcast(small)) && all_above(most, rstd) && all_above(most, magnitude(mean)) &&
           all_above(square * rstd * rstd, broadcast(vanishing));
  }
};

// What stands in for an absent weight or bias: multiplying by one and adding the other change no bit.
constexpr float no_weight = 1.0f;
constexpr float no_bias = -0.0f;

// The parameter of a channel, or what stands in for an absent one.
template <class T>
float parameter(const T* data, size_t channel, float absent) {
  return data ? static_cast<float>(data[channel]) : absent;
}

// The same for an operation that subtracts no mean, where the steps of one that does are taken: they change no bit.
inline Scale scale_without_mean(double square, double rstd) {
  return {0, rstd, needs_float64(0, square, rstd), 0, -0.0f, static_cast<float>(rstd)};
}

// The scales of a strip's columns.
struct ColumnScales {
  double mean[strip];
  double rstd[strip];
  alignas(64) float m[strip];
  alignas(64) float r[strip];
  alignas(64) float c[strip];
  bool needs_float64[strip];

  // Rules 6 to 8 for column k.
  void set(size_t k, const Scale& scale) {
    mean[k] = scale.mean;
    rstd[k] = scale.rstd;
    m[k] = scale.m;
    r[k] = scale.r;
    c[k] = scale.c;
    needs_float64[k] = scale.needs_float64;
  }
  bool any_float64(size_t n) const {
    for (size_t k = 0; k < n; ++k) {
      if (needs_float64[k]) return true;
    }
    return false;
  }
};

// What a channel is normalized with where weight and bias belong to channels (rules 7a and 8a).
struct ChannelScale {
  double mean;
  double s;  // rstd * weight
  double bias;
  bool needs_float64;
  float m, f, c;  // y = (x - m) * f + c
};

// Rule 8a: whether three steps of float32 can neither overflow nor vanish.
inline bool in_range(double mean, double low, double s) {
  const double magnitude = std::fabs(s);
  return (std::fabs(mean) <= large) & (std::fabs(low) <= large) &
         ((s == 0) | ((magnitude > small) & (magnitude < large)));
}

inline ChannelScale channel_scale(double mean, double rstd, float weight, float bias) {
  const double s = rstd * static_cast<double>(weight);
  const float m = static_cast<float>(mean);
  const double low = (static_cast<double>(m) - mean) * s;
  return {mean,
          s,
          static_cast<double>(bias),
          !in_range(mean, low, s),
          m,
          static_cast<float>(s),
          static_cast<float>(low + static_cast<double>(bias))};
}

// The same of neighboring channels, as vectors read them from rows.
struct ChannelScales {
  static constexpr size_t most = 1024;     // channels: their numbers stay in the first cache while rows go by
  static constexpr size_t repeated = 256;  // up to so many, few channels are repeated: a loop over them is long enough

  size_t n;
  double mean[most];
  double rstd[most];
  bool any_float64;
  // Those of `period` elements of rows that stand one behind the other, and of a vector more: one may begin at any.
  size_t period;
  const float *m, *f, *c;

  // Rules 7a and 8a for n channels, whose mean and rstd are here, for so many rows that are written to y.
  template <class T>
  void set(const T* weight, const T* bias, const T* y, size_t rows) {
    // Where vectors of y are aligned, so are these: one that straddles two lines takes twice as long (measured).
    const size_t past = past_alignment(y);
    float *const to_m = m_ + past, *const to_f = f_ + past, *const to_c = c_ + past;
    m = to_m;
    f = to_f;
    c = to_c;
    for (size_t k = n; k % width > 0; ++k) mean[k] = rstd[k] = 0;
    const Elements<T> weights(weight, no_weight), biases(bias, no_bias);
    any_float64 = false;
    each(n, [&](auto at) {
      const D of_channel = load_wide(mean + at.i);
      const D s = load_wide(rstd + at.i) * weights.read_wide(at);
      store(to_m + at.i, narrow(of_channel));
      const D low = (load_wide(to_m + at.i) - of_channel) * s;
      store(to_f + at.i, narrow(s));
      store(to_c + at.i, narrow(low + biases.read_wide(at)));
      double of_s[width], of_low[width];
      store(of_s, s);
      store(of_low, low);
      for (size_t k = 0; k < width; ++k) any_float64 |= !in_range(mean[at.i + k], of_low[k], of_s[k]);
    });
    period = n;
    while (period < width || (period + n <= repeated && period < rows * n)) period += n;
    for (size_t k = n; k < period + width; ++k) {
      to_m[k] = to_m[k - n];
      to_f[k] = to_f[k - n];
      to_c[k] = to_c[k - n];
    }
  }

 private:
  alignas(64) float m_[most + 2 * width];
  alignas(64) float f_[most + 2 * width];
  alignas(64) float c_[most + 2 * width];
};
