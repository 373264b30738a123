// batch_statistics: mean and biased variance of each channel over a batch. The twin of src/kernels/batch_statistics.ts.

template <class T>
void batch_statistics(OverBatch<double> mean, OverBatch<double> variance, Tensor<const T> x, Volume shape) {
  const RowSet rows{0, shape.samples, shape.positions, shape.spans, shape.helpers};
  if (shape.channels_last) {
    const size_t width = bundle(shape.groups, 1);
    for (size_t first = 0; first < shape.groups; first += width) {
      const size_t n = shape.groups - first < width ? shape.groups - first : width;
      column_moments(mean.data + first, variance.data + first, n, 1, x.data + first, shape.pitch, rows);
    }
    return;
  }
  const double n = static_cast<double>(rows.count());
  for (size_t channel = 0; channel < shape.groups; ++channel) {
    const Sums raw = run_sums<false>(x.data, 0, channel, shape);
    const double m = raw.s / n;
    const double v = raw.q / n - m * m;
    const bool enough = raw.q == 0 || v > m * m * threshold;
    mean.data[channel] = m;
    variance.data[channel] = enough ? v : run_sums<true>(x.data, m, channel, shape).q / n;
  }
}
