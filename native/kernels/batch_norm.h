// batch_norm: y = (x - mean) / sqrt(var + eps) * weight + bias, mean and var given for each channel. The twin of
// src/kernels/batch_norm.ts.

template <class T>
void batch_norm(Tensor<T> y, Tensor<const T> x, OverBatch<const double> mean, OverBatch<const double> variance,
                PerChannel<T> weight, PerChannel<T> bias, Volume shape, double eps) {
  const bool streamed = goes_past_caches(y, x, shape);
  if (shape.channels_last) {
    const RowSet rows{0, shape.samples, shape.positions, shape.spans, shape.helpers};
    ChannelScales of;
    for (size_t first = 0; first < shape.groups; first += of.n) {
      of.n = shape.groups - first < ChannelScales::most ? shape.groups - first : ChannelScales::most;
      std::memcpy(of.mean, mean.data + first, of.n * sizeof(double));
      std::memcpy(of.rstd, variance.data + first, of.n * sizeof(double));
      each(of.n, [&](auto at) {
        double* const to = of.rstd + at.i;
        store(to, broadcast(1.0) / root(load_wide(to) + broadcast(eps)));  // rule 6
      });
      affine_channels(y.data + first, x.data + first, shape.pitch, rows, of, part(weight.data, first),
                      part(bias.data, first), streamed);
    }
    if (streamed) end_of_stream();
    return;
  }
  const auto scale_of_channel = [=](size_t channel) {
    const double rstd = 1 / std::sqrt(variance.data[channel] + eps);  // rule 6
    return channel_scale(mean.data[channel], rstd, parameter(weight.data, channel, no_weight),
                         parameter(bias.data, channel, no_bias));
  };
  for (size_t sample = 0; sample < shape.samples; ++sample) {
    const size_t first = sample * shape.pitch * shape.positions;
    if (shape.helpers > 0) {
      share_affine_runs(shape.helpers, y.data + first, x.data + first, shape.groups, shape.positions, streamed,
                        scale_of_channel);
      continue;
    }
    for (size_t channel = 0; channel < shape.groups; ++channel) {
      const size_t at = first + channel * shape.positions;
      affine_real_run(y.data + at, x.data + at, shape.positions, shape.spans, sample, scale_of_channel(channel),
                      streamed);
    }
  }
  if (streamed) end_of_stream();
}

// Rule 23. In training mean and rstd are the batch's, whose gradient counts.
template <class T>
void batch_norm_backward(Tensor<T> dx, MaybeOverBatch dweight, MaybeOverBatch dbias, Tensor<const T> dy,
                         Tensor<const T> x, OverBatch<const double> mean, OverBatch<const double> rstd,
                         PerChannel<T> weight, Volume shape, size_t training) {
  const RowSet rows{0, shape.samples, shape.positions, shape.spans, shape.helpers};
  const double n = static_cast<double>(rows.count());
  const bool needs_sums = training || dweight.data || dbias.data;
  const bool streamed = gradients_go_past_caches(dx.data, dy.data, x.data, shape.in_memory());
  if (shape.channels_last) {
    ColumnGradients of{};
    ColumnSums sums{};
    each_strip(shape.groups, [&](size_t first, size_t count) {
      std::memcpy(of.mean, mean.data + first, count * sizeof(double));
      std::memcpy(of.rstd, rstd.data + first, count * sizeof(double));
      const T* const from = dy.data + first;
      const T* const in = x.data + first;
      if (needs_sums) column_gradient_sums(sums, count, of, from, in, shape.pitch, rows);
      if (dbias.data) std::memcpy(dbias.data + first, sums.s, count * sizeof(double));
      if (dweight.data) std::memcpy(dweight.data + first, sums.q, count * sizeof(double));
      const Elements<T> weights(part(weight.data, first), no_weight);
      each(count, [&](auto at) {
        const D w = weights.read_wide(at);
        store(of.w + at.i, w);
        store(of.a + at.i, w * load_wide(sums.s + at.i) / broadcast(n));
        store(of.b + at.i, w * load_wide(sums.q + at.i) / broadcast(n));
      });
      const auto write = training ? gradient_columns<Way::centered, T> : gradient_columns<Way::linear, T>;
      write(dx.data + first, from, in, shape.pitch, count, rows, of, streamed);
    });
    if (streamed) end_of_stream();
    return;
  }
  const auto write = training ? gradient_real_run<Way::centered, T> : gradient_real_run<Way::linear, T>;
  for (size_t channel = 0; channel < shape.groups; ++channel) {
    const auto run = [&](size_t sample) { return (sample * shape.pitch + channel) * shape.positions; };
    const auto next = [&](size_t sample) { return next_of_run(dy.data, x.data, shape, run(sample), run(sample + 1)); };
    Sums total{0, 0};
    for (size_t first = 0; needs_sums && first < shape.samples; first += fold64) {
      Sums fold{0, 0};
      const size_t end = shape.samples - first < fold64 ? shape.samples : first + fold64;
      for (size_t sample = first; sample < end; ++sample) {
        const Sums of_run = real_gradient_sums(dy.data + run(sample), x.data + run(sample), mean.data[channel],
                                               rstd.data[channel], shape.positions, shape.spans, sample, next(sample));
        fold.s += of_run.s;
        fold.q += of_run.q;
      }
      total.s += fold.s;
      total.q += fold.q;
    }
    if (dbias.data) dbias.data[channel] = total.s;
    if (dweight.data) dweight.data[channel] = total.q;
    const float w = parameter(weight.data, channel, no_weight);
    const double factor = static_cast<double>(w);
    const Gradient of{mean.data[channel], rstd.data[channel], factor * total.s / n, factor * total.q / n};
    for (size_t sample = 0; sample < shape.samples; ++sample) {
      const size_t at = run(sample);
      write(dx.data + at, dy.data + at, x.data + at, shape.positions, shape.spans, sample, of, w, next(sample),
            streamed, 0);
    }
  }
  if (streamed) end_of_stream();
}
