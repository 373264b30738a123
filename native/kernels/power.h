// Powers by + - * / and roots alone (rule 16), so that they have the same bits everywhere. The twin of
// src/kernels/power.ts. Included inside an ISA file's namespace.

constexpr double log2_e = 1.4426950408889634;
constexpr double ln_2 = 0.6931471805599453;
constexpr double sqrt_2 = 1.4142135623730951;

// 2^k for -1022 <= k <= 1023.
inline double two_to(int k) {
  const uint64_t bits = static_cast<uint64_t>(k + 1023) << 52;
  double out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

// log2 of a positive finite number: the exponent, and atanh's series for the mantissa between sqrt(1/2) and sqrt(2).
inline double log_2(double x) {
  int e = 0;
  if (x < 0x1p-1022) {
    x *= 0x1p54;
    e = -54;
  }
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  e += static_cast<int>(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffffull) | 0x3ff0000000000000ull;
  double m;
  std::memcpy(&m, &bits, sizeof m);
  if (m > sqrt_2) {
    m *= 0.5;
    e += 1;
  }
  const double s = (m - 1) / (m + 1);
  const double z = s * s;
  double sum = 1.0 / 21;
  for (int n = 19; n >= 1; n -= 2) sum = sum * z + 1.0 / n;
  return e + 2 * s * sum * log2_e;
}

// 2^t: a power of two, and the series of e^z for |z| <= ln(2) / 2.
inline double exp_2(double t) {
  if (t >= 1024) return HUGE_VAL;
  if (t < -1080) return 0;
  const double nearest = t + 0.5;
  const int truncated = static_cast<int>(nearest);
  const int k = truncated > nearest ? truncated - 1 : truncated;  // its floor
  const double z = (t - k) * ln_2;
  double sum = 1;
  for (int n = 14; n >= 1; --n) sum = 1 + (sum * z) / n;
  const int half = (k + 2048) / 2 - 1024;
  return sum * two_to(half) * two_to(k - half);
}

// Whether an exponent is a multiple of 1/4 from 0 to 16, which takes multiplications and roots only.
inline bool is_quarter(double exponent) {
  return exponent >= 0 && exponent <= 16 && exponent * 4 == static_cast<double>(static_cast<int>(exponent * 4));
}

inline double root(double x) { return std::sqrt(x); }

// x^exponent for such an exponent; for a number or for a vector.
template <class Number>
Number quarter_power(Number x, Number one, double exponent) {
  const int quarters = static_cast<int>(exponent * 4);
  Number result = one;
  Number square = x;
  for (int left = quarters / 4; left > 0; left /= 2) {
    if (left % 2 == 1) result = result * square;
    square = square * square;
  }
  if (quarters % 4 >= 2) result = result * root(x);
  if (quarters % 2 == 1) result = result * root(root(x));
  return result;
}

// x^exponent for x >= 0; NaN for x < 0.
EVENKEEL_NOINLINE double power(double x, double exponent) {
  if (is_quarter(exponent)) return quarter_power(x, 1.0, exponent);
  if (x == 0) return exponent > 0 ? 0 : HUGE_VAL;
  if (x == HUGE_VAL) return exponent > 0 ? x : 0;
  if (!(x > 0)) return NAN;
  return exp_2(exponent * log_2(x));
}
