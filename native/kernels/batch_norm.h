// batch_norm: y = (x - mean) / sqrt(var + eps) * weight + bias, mean and var given for each channel. The twin of
// src/kernels/batch_norm.ts.

template <class T>
void batch_norm(Tensor<T> y, Tensor<const T> x, OverBatch<const double> mean, OverBatch<const double> variance,
                PerChannel<T> weight, PerChannel<T> bias, Volume shape, double eps) {
  const T* w = weight.data;
  const T* b = bias.data;
  const auto scale_of_channel = [=](size_t channel) {
    const double v = variance.data[channel];
    return scale_of(mean.data[channel], v, 1 / std::sqrt(v + eps));  // rule 6
  };
  if (shape.channels_last) {
    const RowSet rows{0, shape.samples, shape.positions, shape.spans};
    ColumnScales scales;
    each_strip(shape.groups, [&](size_t first, size_t n) {
      for (size_t k = 0; k < n; ++k) scales.set(k, scale_of_channel(first + k));
      affine_columns(y.data + first, x.data + first, shape.pitch, n, rows, scales,
                     ByColumn<T>{w ? w + first : w, no_weight}, ByColumn<T>{b ? b + first : b, no_bias});
    });
    return;
  }
  const bool streamed = goes_past_caches(y, x, shape);
  for (size_t sample = 0; sample < shape.samples; ++sample) {
    for (size_t channel = 0; channel < shape.groups; ++channel) {
      const size_t at = (sample * shape.pitch + channel) * shape.positions;
      affine_real_run(y.data + at, x.data + at, shape.positions, shape.spans, sample, scale_of_channel(channel),
                      w ? w + channel : w, b ? b + channel : b, streamed);
    }
  }
  if (streamed) end_of_stream();
}
