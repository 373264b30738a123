// Elementwise maps of columns (rules 7 and 8), a strip of them at a time. The twin of src/kernels/column_maps.ts.
// Included inside an ISA file's namespace, which gives the vector types F (width x float32) and D (width x float64).
// "Rule n" is a rule of NUMERICS.md.

constexpr size_t rows_per_step =
    2;  // rows normalized side by side (measured: from memory, more take up to 1.6 times as long)

// Weights or biases of a matrix, one for every row or, with step 0, one for all. Absent where data is null: then what
// changes no bit, 1 or -0.
template <class T>
struct ByRow {
  const T* data;
  float absent;
  size_t step = 1;
  float offset = 0;  // added in float32; 0 is not

  ByRow from(size_t i) const { return {part(data, i * step), absent, step, offset}; }
  F row(size_t i) const { return broadcast(single(i)); }
  float single(size_t i) const {
    if (!data) return absent;
    const float w = static_cast<float>(data[i * step]);
    return offset == 0 ? w : w + offset;
  }
};

// `count` rows of affine_columns, from this one on. The columns' scales stay in registers from row to row.
template <class T>
void affine_rows(T* y, const T* x, size_t stride, size_t n, size_t row, size_t count, const ColumnScales& of,
                 bool any_float64, const ByRow<T>& weight, const ByRow<T>& bias) {
  // Captured by value, so that they can be in registers.
  const auto step = [=, &of](auto at) {
    const F m = at.read(of.m);
    const F r = at.read(of.r);
    const F c = at.read(of.c);
    for (size_t i = 0; i < count; ++i) {
      F t = (at.read(x + i * stride) - m) * r + c;
      t = t * weight.row(row + i);
      t = t + bias.row(row + i);
      at.write(y + i * stride, t);
    }
  };
  if (!any_float64) {
    each(n, step);
    return;
  }
  for (size_t k = 0; k < n; ++k) {
    if (!of.needs_float64[k]) {
      step(Tail{k, 1});
      continue;
    }
    for (size_t i = 0; i < count; ++i) {
      double t = (static_cast<double>(x[i * stride + k]) - of.mean[k]) * of.rstd[k];
      t = t * static_cast<double>(weight.single(row + i));
      t = t + static_cast<double>(bias.single(row + i));
      y[i * stride + k] = static_cast<T>(t);
    }
  }
}

// Rules 7 and 8 over n <= strip columns of some rows, a scale for each column.
template <class T>
EVENKEEL_NOINLINE void affine_columns(T* y, const T* x, size_t stride, size_t n, size_t rows, size_t helpers,
                                      const ColumnScales& of, const ByRow<T>& weight, const ByRow<T>& bias) {
  if (helpers > 0) {
    return in_sections(helpers, rows, rows_per_step, rows * n, [=, &of](size_t begin, size_t end) {
      affine_columns(y + begin * stride, x + begin * stride, stride, n, end - begin, 0, of, weight.from(begin),
                     bias.from(begin));
    });
  }
  const bool any_float64 = of.any_float64(n);
  for (size_t row = 0; row < rows; row += rows_per_step) {
    const size_t count = rows - row < rows_per_step ? rows - row : rows_per_step;
    affine_rows(y + row * stride, x + row * stride, stride, n, row, count, of, any_float64, weight, bias);
  }
}

// Calls step(at, count) for neighboring rows of n columns that are real, `count` from y + at on. The others become 0 in
// y (rule 15).
template <class T, class Step>
EVENKEEL_INLINE void each_real_rows(T* y, size_t stride, size_t n, RowSet given, Step step) {
  const RowSet rows = given.joined();
  for (size_t sample = rows.first; sample < rows.first + rows.samples; ++sample) {
    const size_t first = sample * rows.positions;
    size_t done = 0;
    each_span(rows.spans, sample, rows.positions, [&](size_t begin, size_t end) {
      for (; done < begin; ++done) clear(y + (first + done) * stride, n);
      step((first + begin) * stride, end - begin);
      done = end;
    });
    for (; done < rows.positions; ++done) clear(y + (first + done) * stride, n);
  }
}

// Rule 7a over n elements of rows, one behind the other, from the first channel on.
template <class T>
EVENKEEL_NOINLINE void affine_channel_rows(T* y, const T* x, size_t n, const ChannelScales& of, bool streamed) {
  const size_t period = of.period;
  const float *const m = of.m, *const f = of.f, *const c = of.c;
  size_t i = to_alignment(y);
  if (i > n) i = n;
  size_t channel = i;
  const auto step = [=](auto at, size_t k) { at.write(y, (at.read(x) - load(m + k)) * load(f + k) + load(c + k)); };
  if (i > 0) step(Tail{0, i}, 0);
  const auto all = [&](auto at) {
    while (i + width <= n) {
      // Up to where the channels begin anew.
      const size_t left = (n - i) / width, round = (period - channel + width - 1) / width;
      for (const size_t end = i + (left < round ? left : round) * width; i < end; i += width, channel += width) {
        at.i = i;
        if constexpr (decltype(at)::past_caches) prefetch(x + i + ahead);
        step(at, channel);
      }
      if (channel >= period) channel -= period;
    }
  };
  streams&& streamed ? all(Streamed{}) : all(Whole{});
  if (i < n) step(Tail{i, n - i}, channel);
}

// Rules 7a and 8a over columns that are channels, of any number of which some need float64: one after the other.
template <class T>
EVENKEEL_RARE void affine_mixed_channel_rows(T* y, const T* x, size_t stride, RowSet rows, const ChannelScales& of,
                                             const T* weight, const T* bias) {
  for (size_t k = 0; k < of.n; ++k) {
    const ChannelScale scale =
        channel_scale(of.mean[k], of.rstd[k], parameter(weight, k, no_weight), parameter(bias, k, no_bias));
    each_real_rows(y + k, stride, 1, rows, [&](size_t first, size_t count) {
      for (size_t row = 0; row < count; ++row) {
        const size_t at = first + row * stride + k;
        affine_run(y + at, x + at, 1, scale, false);
      }
    });
  }
}

// Rules 7a and 8a over columns that are channels, from the first of y and x on.
template <class T>
void affine_channels(T* y, const T* x, size_t stride, RowSet rows, ChannelScales& of, const T* weight, const T* bias,
                     bool streamed) {
  of.set(weight, bias, y, rows.samples * rows.positions);
  if (of.any_float64) return affine_mixed_channel_rows(y, x, stride, rows, of, weight, bias);
  each_real_rows(y, stride, of.n, rows, [&](size_t first, size_t count) {
    each_runs(rows.helpers, count, of.n, [=, &of](size_t begin, size_t end) {
      // Neighbors as one.
      const size_t step = stride == of.n ? end - begin : 1;
      for (size_t row = begin; row < end; row += step) {
        const size_t at = first + row * stride;
        affine_channel_rows(y + at, x + at, step * of.n, of, streamed);
      }
    });
  });
}
