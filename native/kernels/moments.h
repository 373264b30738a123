// Mean and variance of rows and columns (rules 4, 5, 14 and 15). The twin of src/kernels/moments.ts.
// Included inside an ISA file's namespace. "Rule n" is a rule of NUMERICS.md.

constexpr double threshold = 0x1p-12;  // rule 5

struct Moments {
  double mean;
  double var;
};

// Rules 4 and 5: mean and biased variance of x, whose sums are given.
template <class T>
Moments moments(size_t n, const T* x, Sums raw, size_t helpers) {
  const double count = static_cast<double>(n);
  const double mean = raw.s / count;
  const double var = raw.q / count - mean * mean;
  if (raw.q == 0 || var > mean * mean * threshold) return {mean, var};
  const double second = helpers > 0 ? shared_centered_squares(helpers, n, x, mean) : centered_squares(n, x, mean);
  return {mean, second / count};
}

// The same of `width` rows, a lane each, from their sums; false where one of them may need rule 5.
inline bool moments_abreast(D& mean, D& var, size_t n, D s, D q) {
  const D count = broadcast(static_cast<double>(n));
  mean = s / count;
  const D square = mean * mean;
  var = q / count - square;
  return all_above(var, square * broadcast(threshold));
}

// The same of the real elements of `channels` runs of a sample (rule 15).
template <class T>
Moments real_moments(const T* x, size_t channels, size_t positions, const Spans& spans, size_t sample, size_t helpers) {
  const size_t n = channels * positions;
  if (!spans) return moments(n, x, row_sums(n, x, helpers), helpers);
  const double count = static_cast<double>(channels * count_real(spans, sample, positions));
  const Sums raw = real_sums<false>(x, 0, channels, positions, spans, sample);
  const double mean = raw.s / count;
  const double var = raw.q / count - mean * mean;
  if (raw.q == 0 || var > mean * mean * threshold) return {mean, var};
  return {mean, real_sums<true>(x, mean, channels, positions, spans, sample).q / count};
}

// Rules 4, 5 and 14: mean and biased variance of `groups` groups of `channels` neighboring columns each, as many as
// `bundle` says at most, into the first elements of the two arrays.
template <class T>
EVENKEEL_NOINLINE void column_moments(double* mean, double* variance, size_t groups, size_t channels, const T* x,
                                      size_t stride, RowSet rows) {
  const size_t columns = groups * channels;
  const double n = static_cast<double>(rows.count() * channels);
  ColumnSums sums;
  double center[strip] = {};
  for (size_t group = 0; group < groups; ++group) mean[group] = variance[group] = 0;
  each_strip(columns, [&](size_t first, size_t width) {
    column_sums<false>(sums, width, center, x + first, stride, rows);
    add_columns(mean, sums.s, first, width, channels);
    add_columns(variance, sums.q, first, width, channels);
  });
  bool cancelled[strip];
  bool any = false;
  for (size_t group = 0; group < groups; ++group) {
    const double q = variance[group];
    mean[group] /= n;
    variance[group] = q / n - mean[group] * mean[group];
    cancelled[group] = !(q == 0 || variance[group] > mean[group] * mean[group] * threshold);
    any = any || cancelled[group];
  }
  if (!any) return;
  double second[strip] = {};
  each_strip(columns, [&](size_t first, size_t width) {
    for (size_t k = 0; k < width; ++k) center[k] = mean[(first + k) / channels];
    column_sums<true>(sums, width, center, x + first, stride, rows);
    add_columns(second, sums.q, first, width, channels);
  });
  for (size_t group = 0; group < groups; ++group) {
    if (cancelled[group]) variance[group] = second[group] / n;
  }
}
