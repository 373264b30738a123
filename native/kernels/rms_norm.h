// rms_norm: y = x / sqrt(mean(x^2) + eps) * weight over each group. The twin of src/kernels/rms_norm.ts.

// The groups of one matrix whose columns they are.
template <class T>
void rms_norm_columns(T* y, PerGroup rstd, size_t group, const T* x, PerElement<T> weight, Groups shape,
                      Counted counted, double eps, float offset) {
  ColumnSums sums;
  ColumnScales scales;
  each_strip(shape.inner, [&](size_t first, size_t n) {
    column_sums<false>(sums, n, sums.s, x + first, shape.pitch, RowSet{0, 1, counted.n, {}, shape.helpers});
    for (size_t k = 0; k < n; ++k) {
      const double square = sums.q[k] / static_cast<double>(counted.n);
      scales.set(k, scale_without_mean(square, 1 / std::sqrt(square + eps)));  // rule 6
      rstd.set(group + first + k, scales.rstd[k]);
    }
    if (counted.n < shape.size) {
      float largest[strip];
      largest_of_columns(largest, n, x + first, shape.pitch, shape.size);
      for (size_t k = 0; k < n; ++k) {
        scales.needs_float64[k] = needs_float64_partial(static_cast<double>(largest[k]), scales.rstd[k]);
      }
    }
    affine_columns(y + first, x + first, shape.pitch, n, shape.size, shape.helpers, scales,
                   ByRow<T>{weight.data, no_weight, 1, offset}, ByRow<T>{nullptr, no_bias});
  });
}

template <class T>
void rms_norm(Out<T> y, MaybeOut<T> sum, PerGroup rstd, In<T> x, MaybeIn<T> residual, PerElement<T> weight,
              Groups shape, Counted counted, double residual_scale, double eps, double weight_offset) {
  const Input<T> input(x, residual, residual_scale, sum, y);
  const float offset = static_cast<float>(weight_offset);
  if (shape.pitch > 1) {
    for (size_t i = 0; i < shape.outer; ++i) {
      input.add(i, shape);
      rms_norm_columns(y.at(i), rstd, i * shape.inner, input.at(i), weight, shape, counted, eps, offset);
    }
    return;
  }
  const auto statistics = [=](size_t row, const T* in, Sums raw) {
    const double square = raw.q / static_cast<double>(counted.n);
    Scale scale = scale_of(0, square, 1 / std::sqrt(square + eps));  // rule 6
    if (counted.n < shape.size) {
      scale.needs_float64 = needs_float64_partial(largest_number(shape.size, in), scale.rstd);
    }
    rstd.set(row, scale.rstd);
    return scale;
  };
  const auto normalize_row = [=](size_t row, const T* in, const Scale& scale, bool streamed, size_t i, size_t n) {
    scale_row(y.at(row) + i, in + i, n, scale, part(weight.data, i), T{1}, offset, streamed);
  };
  const auto statistics_abreast = [=](const RowsAbreast<T>& rows, ScalesAbreast& scales) {
    const D square = rows.q / broadcast(static_cast<double>(shape.size));
    if (!scales.set(broadcast(0.0), square, broadcast(1.0) / root(square + broadcast(eps)))) return false;  // rule 6
    rows.save(rstd, scales.rstd);
    return true;
  };
  const auto normalize_abreast = [=](const RowsAbreast<T>& rows, const ScalesAbreast& scales) {
    scale_rows(rows.y, rows.x, shape.size, scales, weight.data, T{1}, offset);
  };
  each_row<false>(y, input, shape, counted.n, statistics, normalize_row, statistics_abreast, normalize_abreast);
}

// Rules 21 and 22: rows alone; the weight has its offset.
template <class T>
void rms_norm_backward(Out<T> dx, MaybeOut<T> dresidual, SumOverRows dweight, In<T> dy, In<T> x, MaybeIn<T> dsum,
                       SavedPerGroup rstd, PerElement<T> weight, Groups shape, Counted counted, double residual_scale,
                       double eps) {
  const size_t n = shape.size, k = counted.n;
  const double count = static_cast<double>(k);
  const double scale = static_cast<double>(static_cast<float>(residual_scale));
  const bool streamed = gradients_go_past_caches(dx.data, dy.data, x.data, shape.whole * n);
  const auto gradient_of = [=](size_t row) {
    const double r =
        rstd.data ? rstd.data[row] : 1 / std::sqrt(row_squares(k, x.at(row), shape.helpers) / count + eps);  // rule 6
    return Gradient{0, r, 0, 0};
  };
  size_t first = 0;
  if constexpr (width >= 8) {
    if (k == n && !dresidual && !dsum && gradients_go_abreast<Way::scaled>(dx, dweight, {nullptr}, shape, streamed)) {
      first = gradients_abreast<Way::scaled>(dx, dy, x, weight, dweight, {nullptr}, shape, streamed, gradient_of);
    }
  }
  Kept kept;
  BlockSums to_weight(n, dx.data, streamed);
  for (size_t i = first; i < shape.outer; ++i) {
    const size_t row = shape.row(i);
    // Two rows may share a line of memory, which a stream cannot write: the others would wait for it.
    if (streamed && i + 2 < shape.outer) prefetch(dx.at(shape.row(i + 2)));
    T* const to = dx.at(row);
    const T* const from = dy.at(row);
    const T* const in = x.at(row);
    Gradient of = gradient_of(row);
    const Next<T> next = next_of_row(dy, x, shape, i);
    of.b = row_gradient_sums<false>(n, from, in, of, weight.data, kept, {next.dy, nullptr}, shape.helpers).q / count;
    const RowGradients<T> more{dresidual.at(row), to_weight.of(dweight.at(i, shape)), nullptr, dsum.at(row), scale};
    const auto write = n <= kept_elements ? gradient_row<Way::scaled, true, T> : gradient_row<Way::scaled, false, T>;
    write(to, from, in, k, of, weight.data, no_weight, more, &kept, {nullptr, next.x}, streamed, shape.helpers);
    if (k == n) continue;
    const T* const rest = weight.data ? weight.data + k : nullptr;
    gradient_row<Way::linear, false>(to + k, from + k, in + k, n - k, of, rest, no_weight, more.from(k), nullptr, {},
                                     streamed, shape.helpers);
  }
  to_weight.finish();
  if (streamed) end_of_stream();
}
