// group_norm: y = (x - mean) / sqrt(var + eps) * weight + bias over each group of channels of each sample. The twin of
// src/ops/group_norm.ts.

// Groups of neighbouring columns, in every sample.
template <class T>
void group_norm_columns(T* y, PerGroup mean, PerGroup rstd, const T* x, const T* weight, const T* bias, Spans spans,
                        Volume shape, double eps) {
  const size_t stride = shape.pitch;
  const size_t width = bundle(shape.groups, shape.channels);
  double means[strip], variances[strip];
  ColumnScales scales;
  for (size_t sample = 0; sample < shape.samples; ++sample) {
    const RowSet rows{sample, 1, shape.positions, spans};
    for (size_t first = 0; first < shape.groups; first += width) {
      const size_t count = shape.groups - first < width ? shape.groups - first : width;
      column_moments(means, variances, count, shape.channels, x + first * shape.channels, stride, rows);
      for (size_t group = 0; group < count; ++group) {
        const size_t at = sample * shape.groups + first + group;
        mean.set(at, means[group]);
        rstd.set(at, 1 / std::sqrt(variances[group] + eps));  // rule 6
      }
      each_strip(count * shape.channels, [&](size_t column, size_t n) {
        for (size_t k = 0; k < n; ++k) {
          const size_t group = (column + k) / shape.channels;
          scales.set(k, scale_of(means[group], variances[group], 1 / std::sqrt(variances[group] + eps)));
        }
        const size_t start = first * shape.channels + column;
        normalise_columns(y + start, x + start, stride, n, rows, scales,
                          ByColumn<T>{weight ? weight + start : weight, no_weight},
                          ByColumn<T>{bias ? bias + start : bias, no_bias});
      });
    }
  }
}

// `spans` with one channel per group only.
template <class T>
void group_norm(Tensor<T> y, PerGroup mean, PerGroup rstd, Tensor<const T> x, PerChannel<T> weight, PerChannel<T> bias,
                Spans spans, Volume shape, double eps) {
  const T* w = weight.data;
  const T* b = bias.data;
  if (shape.channels_last) {
    group_norm_columns(y.data, mean, rstd, x.data, w, b, spans, shape, eps);
    return;
  }
  const bool streamed = goes_past_caches(y, x, shape);
  for (size_t sample = 0; sample < shape.samples; ++sample) {
    const size_t begin = spans.begin(sample);
    const size_t end = spans.end(sample, shape.positions);
    for (size_t group = 0; group < shape.groups; ++group) {
      const size_t at = (sample * shape.pitch + group * shape.channels) * shape.positions;
      const size_t n = shape.channels * shape.positions - (begin + shape.positions - end);
      const T* in = x.data + at + begin;
      const Moments of = moments(n, in, row_sums(n, in));
      const Scale scale = scale_of(of.mean, of.var, 1 / std::sqrt(of.var + eps));  // rule 6
      mean.set(sample * shape.groups + group, of.mean);
      rstd.set(sample * shape.groups + group, scale.rstd);
      if (shape.positions == 1) {
        const size_t channel = group * shape.channels;
        normalise_row(y.data + at, x.data + at, n, scale, w ? w + channel : w, b ? b + channel : b);
        continue;
      }
      for (size_t k = 0; k < shape.channels; ++k) {
        const size_t run = at + k * shape.positions;
        const size_t channel = group * shape.channels + k;
        clear(y.data + run, begin);
        normalise_run(y.data + run + begin, x.data + run + begin, end - begin, scale, w ? w + channel : w,
                      b ? b + channel : b, streamed);
        clear(y.data + run + end, shape.positions - end);
      }
    }
  }
  if (streamed) end_of_stream();
}
