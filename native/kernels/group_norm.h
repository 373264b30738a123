// group_norm: y = (x - mean) / sqrt(var + eps) * weight + bias over each group of channels of each sample. The twin of
// src/kernels/group_norm.ts.

// Groups of neighboring columns, in every sample.
template <class T>
void group_norm_columns(T* y, PerGroup mean, PerGroup rstd, const T* x, const T* weight, const T* bias, Volume shape,
                        double eps, bool streamed) {
  const size_t stride = shape.pitch;
  const size_t width = bundle(shape.groups, shape.channels_per_group);
  double means[strip], variances[strip], rstds[strip];
  ChannelScales of;
  for (size_t sample = 0; sample < shape.samples; ++sample) {
    const RowSet rows{sample, 1, shape.positions, shape.spans, shape.helpers};
    for (size_t first = 0; first < shape.groups; first += width) {
      const size_t count = shape.groups - first < width ? shape.groups - first : width;
      column_moments(means, variances, count, shape.channels_per_group, x + first * shape.channels_per_group, stride,
                     rows);
      for (size_t group = 0; group < count; ++group) {
        const size_t at = sample * shape.groups + first + group;
        mean.set(at, means[group]);
        rstds[group] = 1 / std::sqrt(variances[group] + eps);  // rule 6
        rstd.set(at, rstds[group]);
      }
      each_strip(count * shape.channels_per_group, [&](size_t column, size_t n) {
        const size_t start = first * shape.channels_per_group + column;
        of.n = n;
        for (size_t k = 0; k < n; ++k) {
          const size_t group = (column + k) / shape.channels_per_group;
          of.mean[k] = means[group];
          of.rstd[k] = rstds[group];
        }
        affine_channels(y + start, x + start, stride, rows, of, part(weight, start), part(bias, start), streamed);
      });
    }
  }
}

template <class T>
void group_norm(Tensor<T> y, PerGroup mean, PerGroup rstd, Tensor<const T> x, PerChannel<T> weight, PerChannel<T> bias,
                Volume shape, double eps) {
  const T* w = weight.data;
  const T* b = bias.data;
  const bool streamed = goes_past_caches(y, x, shape);
  if (shape.channels_last) {
    group_norm_columns(y.data, mean, rstd, x.data, w, b, shape, eps, streamed);
    if (streamed) end_of_stream();
    return;
  }
  for (size_t sample = 0; sample < shape.samples; ++sample) {
    for (size_t group = 0; group < shape.groups; ++group) {
      const size_t per_group = shape.channels_per_group;
      const size_t at = (sample * shape.pitch + group * per_group) * shape.positions;
      const Moments of = real_moments(x.data + at, per_group, shape.positions, shape.spans, sample, shape.helpers);
      const double r = 1 / std::sqrt(of.var + eps);  // rule 6
      mean.set(sample * shape.groups + group, of.mean);
      rstd.set(sample * shape.groups + group, r);
      const size_t first = group * per_group;
      if (shape.positions == 1 && count_real(shape.spans, sample, 1) == 1) {
        affine_row(y.data + at, x.data + at, per_group, scale_of(of.mean, of.var, r), w ? w + first : w,
                   b ? b + first : b);
        continue;
      }
      const auto scale_of_channel = [=](size_t k) {
        return channel_scale(of.mean, r, parameter(w, first + k, no_weight), parameter(b, first + k, no_bias));
      };
      if (shape.helpers > 0) {
        share_affine_runs(shape.helpers, y.data + at, x.data + at, per_group, shape.positions, streamed,
                          scale_of_channel);
        continue;
      }
      for (size_t k = 0; k < per_group; ++k) {
        const size_t run = at + k * shape.positions;
        affine_real_run(y.data + run, x.data + run, shape.positions, shape.spans, sample, scale_of_channel(k),
                        streamed);
      }
    }
  }
  if (streamed) end_of_stream();
}

// Rule 23: groups of neighboring columns, in every sample.
template <class T>
void group_norm_backward_columns(T* dx, SumOverRows dweight, SumOverRows dbias, const T* dy, const T* x,
                                 SavedPerGroup saved_mean, SavedPerGroup saved_rstd, const T* weight, Volume shape,
                                 double eps) {
  const size_t stride = shape.pitch, channels = shape.channels_per_group;
  const size_t in_memory = stride / channels;  // groups of a sample, of which these are neighbors
  const size_t width = bundle(shape.groups, channels);
  double mean[strip], rstd[strip], a[strip], b[strip];
  // Short rows are parts of lines for the most part, and a sample that was just read may be in the caches: those go
  // there (measured).
  const bool streamed = stride >= 128 && gradients_go_past_caches(dx, dy, x, shape.in_memory());
  ColumnGradients of{};
  ColumnSums sums{};
  for (size_t sample = 0; sample < shape.samples; ++sample) {
    const RowSet rows{sample, 1, shape.positions, shape.spans, shape.helpers};
    const double n = static_cast<double>(rows.count() * channels);
    for (size_t first = 0; first < shape.groups; first += width) {
      const size_t count = shape.groups - first < width ? shape.groups - first : width;
      if (saved_mean.data && saved_rstd.data) {
        std::memcpy(mean, saved_mean.data + sample * in_memory + first, count * sizeof(double));
        std::memcpy(rstd, saved_rstd.data + sample * in_memory + first, count * sizeof(double));
      } else {
        column_moments(mean, rstd, count, channels, x + first * channels, stride, rows);
        for (size_t group = 0; group < count; ++group) rstd[group] = 1 / std::sqrt(rstd[group] + eps);  // rule 6
      }
      const auto prepare = [&](size_t column, size_t strip_width) {
        for (size_t k = 0; k < strip_width; ++k) {
          const size_t group = (column + k) / channels;
          of.mean[k] = mean[group];
          of.rstd[k] = rstd[group];
          of.w[k] = static_cast<double>(parameter(weight, first * channels + column + k, no_weight));
          of.a[k] = a[group] / n;
          of.b[k] = b[group] / n;
        }
      };
      for (size_t group = 0; group < count; ++group) a[group] = b[group] = 0;
      each_strip(count * channels, [&](size_t column, size_t strip_width) {
        const size_t start = first * channels + column;
        prepare(column, strip_width);
        column_gradient_sums(sums, strip_width, of, dy + start, x + start, stride, rows);
        double* const to_bias = dbias.at(sample, shape);
        double* const to_weight = dweight.at(sample, shape);
        for (size_t k = 0; k < strip_width; ++k) {
          if (to_bias) to_bias[start + k] += sums.s[k];
          if (to_weight) to_weight[start + k] += sums.q[k];
          sums.s[k] = of.w[k] * sums.s[k];
          sums.q[k] = of.w[k] * sums.q[k];
        }
        add_columns(a, sums.s, column, strip_width, channels);
        add_columns(b, sums.q, column, strip_width, channels);
      });
      each_strip(count * channels, [&](size_t column, size_t strip_width) {
        const size_t start = first * channels + column;
        prepare(column, strip_width);
        gradient_columns<Way::centered>(dx + start, dy + start, x + start, stride, strip_width, rows, of, streamed);
      });
    }
  }
  if (streamed) end_of_stream();
}

// Rule 23.
template <class T>
void group_norm_backward(Tensor<T> dx, SumOverRows dweight, SumOverRows dbias, Tensor<const T> dy, Tensor<const T> x,
                         SavedPerGroup mean, SavedPerGroup rstd, PerChannel<T> weight, Volume shape, double eps) {
  if (shape.channels_last) {
    group_norm_backward_columns(dx.data, dweight, dbias, dy.data, x.data, mean, rstd, weight.data, shape, eps);
    return;
  }
  const size_t per_group = shape.channels_per_group;
  const size_t in_memory = shape.pitch / per_group;  // groups of a sample, of which these are neighbors
  const bool streamed = gradients_go_past_caches(dx.data, dy.data, x.data, shape.in_memory());
  const RunHelpers helpers(shape.helpers, per_group, shape.positions);
  for (size_t sample = 0; sample < shape.samples; ++sample) {
    const double n = static_cast<double>(per_group * count_real(shape.spans, sample, shape.positions));
    double* const to_weight = dweight.at(sample, shape);
    double* const to_bias = dbias.at(sample, shape);
    for (size_t group = 0; group < shape.groups; ++group) {
      const size_t first = group * per_group;
      const size_t at = (sample * shape.pitch + first) * shape.positions;
      Gradient of{};
      if (mean.data && rstd.data) {
        of.mean = mean.data[sample * in_memory + group];
        of.rstd = rstd.data[sample * in_memory + group];
      } else {
        const Moments own = real_moments(x.data + at, per_group, shape.positions, shape.spans, sample, shape.helpers);
        of.mean = own.mean;
        of.rstd = 1 / std::sqrt(own.var + eps);  // rule 6
      }
      const auto next = [&](size_t k) {
        const size_t run = at + k * shape.positions;
        return next_of_run(dy.data, x.data, shape, run, run + shape.positions);
      };
      // Where two groups fit into a core's own caches, those of the next one come while this one is written (measured).
      const auto later = [&](size_t k) {
        const size_t run = at + k * shape.positions, group = per_group * shape.positions;
        return 4 * group <= near ? next_of_run(dy.data, x.data, shape, run + group - ahead, run + group) : next(k);
      };
      const auto weight_of = [&](size_t k) { return parameter(weight.data, first + k, no_weight); };
      const auto sums_of = [&](size_t begin, size_t end) {
        Sums total{0, 0};
        for (size_t k = begin; k < end;) {
          Sums fold{0, 0};
          for (const size_t stop = end - k < fold64 ? end : k + fold64; k < stop; ++k) {
            const size_t run = at + k * shape.positions;
            const Sums sums = real_gradient_sums(dy.data + run, x.data + run, of.mean, of.rstd, shape.positions,
                                                 shape.spans, sample, next(k), helpers.of_run);
            if (to_bias) to_bias[first + k] += sums.s;
            if (to_weight) to_weight[first + k] += sums.q;
            fold.s += static_cast<double>(weight_of(k)) * sums.s;
            fold.q += static_cast<double>(weight_of(k)) * sums.q;
          }
          total.s += fold.s;
          total.q += fold.q;
        }
        return total;
      };
      const Sums total = sums_of_runs(helpers.of_runs, per_group, shape.positions, sums_of);
      of.a = total.s / n;
      of.b = total.q / n;
      each_runs(helpers.of_runs, per_group, shape.positions, [&](size_t begin, size_t end) {
        for (size_t k = begin; k < end; ++k) {
          const size_t run = at + k * shape.positions;
          gradient_real_run<Way::centered>(dx.data + run, dy.data + run, x.data + run, shape.positions, shape.spans,
                                           sample, of, weight_of(k), later(k), streamed, helpers.of_run);
        }
      });
    }
  }
  if (streamed) end_of_stream();
}
