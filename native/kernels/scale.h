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

// What stands in for an absent weight or bias: multiplying by one and adding the other change no bit.
constexpr float no_weight = 1.0f;
constexpr float no_bias = -0.0f;

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

inline ChannelScale channel_scale(double mean, double rstd, float weight, float bias) {
  const double s = rstd * static_cast<double>(weight);
  const float m = static_cast<float>(mean);
  const double low = (static_cast<double>(m) - mean) * s;
  const double magnitude = std::fabs(s);
  const bool in_range =
      std::fabs(mean) <= large && std::fabs(low) <= large && (s == 0 || (magnitude > small && magnitude < large));
  return {mean,
          s,
          static_cast<double>(bias),
          !in_range,
          m,
          static_cast<float>(s),
          static_cast<float>(low + static_cast<double>(bias))};
}

// The same of a strip's columns.
struct ChannelScales {
  double mean[strip];
  double s[strip];
  double bias[strip];
  alignas(64) float m[strip];
  alignas(64) float f[strip];
  alignas(64) float c[strip];
  bool needs_float64[strip];
  bool any_float64 = false;

  void set(size_t k, const ChannelScale& scale) {
    mean[k] = scale.mean;
    s[k] = scale.s;
    bias[k] = scale.bias;
    m[k] = scale.m;
    f[k] = scale.f;
    c[k] = scale.c;
    needs_float64[k] = scale.needs_float64;
    any_float64 = k == 0 ? scale.needs_float64 : any_float64 || scale.needs_float64;
  }
};
