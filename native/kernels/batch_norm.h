// batch_norm: y = (x - mean) / sqrt(var + eps) * weight + bias, mean and var given for each channel. The twin of
// src/kernels/batch_norm.ts.

template <class T>
void batch_norm(Tensor<T> y, Tensor<const T> x, OverBatch<const double> mean, OverBatch<const double> variance,
                PerChannel<T> weight, PerChannel<T> bias, Volume shape, double eps) {
  const auto scale_of_channel = [=](size_t channel) {
    const float w = weight.data ? static_cast<float>(weight.data[channel]) : no_weight;
    const float b = bias.data ? static_cast<float>(bias.data[channel]) : no_bias;
    return channel_scale(mean.data[channel], 1 / std::sqrt(variance.data[channel] + eps), w, b);  // rule 6
  };
  if (shape.channels_last) {
    const RowSet rows{0, shape.samples, shape.positions, shape.spans};
    ChannelScales scales;
    each_strip(shape.groups, [&](size_t first, size_t n) {
      for (size_t k = 0; k < n; ++k) scales.set(k, scale_of_channel(first + k));
      affine_channels(y.data + first, x.data + first, shape.pitch, n, rows, scales);
    });
    return;
  }
  const bool streamed = goes_past_caches(y, x, shape);
  for (size_t sample = 0; sample < shape.samples; ++sample) {
    for (size_t channel = 0; channel < shape.groups; ++channel) {
      const size_t at = (sample * shape.pitch + channel) * shape.positions;
      affine_real_run(y.data + at, x.data + at, shape.positions, shape.spans, sample, scale_of_channel(channel),
                      streamed);
    }
  }
  if (streamed) end_of_stream();
}
