// group_norm: y = (x - mean) / sqrt(var + eps) * weight + bias over each group of channels of each sample. The twin of
// src/kernels/group_norm.ts.

// Groups of neighboring columns, in every sample.
template <class T>
void group_norm_columns(T* y, PerGroup mean, PerGroup rstd, const T* x, const T* weight, const T* bias, Volume shape,
                        double eps) {
  const size_t stride = shape.pitch;
  const size_t width = bundle(shape.groups, shape.channels_per_group);
  double means[strip], variances[strip];
  ChannelScales scales;
  for (size_t sample = 0; sample < shape.samples; ++sample) {
    const RowSet rows{sample, 1, shape.positions, shape.spans};
    for (size_t first = 0; first < shape.groups; first += width) {
      const size_t count = shape.groups - first < width ? shape.groups - first : width;
      column_moments(means, variances, count, shape.channels_per_group, x + first * shape.channels_per_group, stride,
                     rows);
      for (size_t group = 0; group < count; ++group) {
        const size_t at = sample * shape.groups + first + group;
        mean.set(at, means[group]);
        rstd.set(at, 1 / std::sqrt(variances[group] + eps));  // rule 6
      }
      each_strip(count * shape.channels_per_group, [&](size_t column, size_t n) {
        const size_t start = first * shape.channels_per_group + column;
        for (size_t k = 0; k < n; ++k) {
          const size_t group = (column + k) / shape.channels_per_group;
          const float w = weight ? static_cast<float>(weight[start + k]) : no_weight;
          const float b = bias ? static_cast<float>(bias[start + k]) : no_bias;
          scales.set(k, channel_scale(means[group], 1 / std::sqrt(variances[group] + eps), w, b));
        }
        affine_channels(y + start, x + start, stride, n, rows, scales);
      });
    }
  }
}

template <class T>
void group_norm(Tensor<T> y, PerGroup mean, PerGroup rstd, Tensor<const T> x, PerChannel<T> weight, PerChannel<T> bias,
                Volume shape, double eps) {
  const T* w = weight.data;
  const T* b = bias.data;
  if (shape.channels_last) {
    group_norm_columns(y.data, mean, rstd, x.data, w, b, shape, eps);
    return;
  }
  const bool streamed = goes_past_caches(y, x, shape);
  for (size_t sample = 0; sample < shape.samples; ++sample) {
    for (size_t group = 0; group < shape.groups; ++group) {
      const size_t per_group = shape.channels_per_group;
      const size_t at = (sample * shape.pitch + group * per_group) * shape.positions;
      const Moments of = real_moments(x.data + at, per_group, shape.positions, shape.spans, sample);
      const double r = 1 / std::sqrt(of.var + eps);  // rule 6
      mean.set(sample * shape.groups + group, of.mean);
      rstd.set(sample * shape.groups + group, r);
      const size_t first = group * per_group;
      if (shape.positions == 1 && count_real(shape.spans, sample, 1) == 1) {
        affine_row(y.data + at, x.data + at, per_group, scale_of(of.mean, of.var, r), w ? w + first : w,
                   b ? b + first : b);
        continue;
      }
      for (size_t k = 0; k < per_group; ++k) {
        const size_t run = at + k * shape.positions;
        const ChannelScale scale = channel_scale(of.mean, r, w ? static_cast<float>(w[first + k]) : no_weight,
                                                 b ? static_cast<float>(b[first + k]) : no_bias);
        affine_real_run(y.data + run, x.data + run, shape.positions, shape.spans, sample, scale, streamed);
      }
    }
  }
  if (streamed) end_of_stream();
}
