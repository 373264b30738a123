// layer_norm: y = (x - mean) / sqrt(var + eps) * weight + bias over each group. The twin of src/kernels/layer_norm.ts.

// The groups of one matrix whose columns they are.
template <class T>
void layer_norm_columns(T* y, PerGroup mean, PerGroup rstd, size_t group, const T* x, PerElement<T> weight,
                        PerElement<T> bias, Groups shape, double eps) {
  const RowSet rows{0, 1, shape.size, {}, shape.helpers};
  double means[strip], variances[strip];
  ColumnScales scales;
  each_strip(shape.inner, [&](size_t first, size_t n) {
    column_moments(means, variances, n, 1, x + first, shape.pitch, rows);
    for (size_t k = 0; k < n; ++k) {
      scales.set(k, scale_of(means[k], variances[k], 1 / std::sqrt(variances[k] + eps)));  // rule 6
      mean.set(group + first + k, means[k]);
      rstd.set(group + first + k, scales.rstd[k]);
    }
    affine_columns(y + first, x + first, shape.pitch, n, shape.size, shape.helpers, scales,
                   ByRow<T>{weight.data, no_weight}, ByRow<T>{bias.data, no_bias});
  });
}

template <class T>
void layer_norm(Out<T> y, MaybeOut<T> sum, PerGroup mean, PerGroup rstd, In<T> x, MaybeIn<T> residual,
                PerElement<T> weight, PerElement<T> bias, Groups shape, double residual_scale, double eps) {
  const Input<T> input(x, residual, residual_scale, sum, y);
  if (shape.pitch > 1) {
    for (size_t i = 0; i < shape.outer; ++i) {
      input.add(i, shape);
      layer_norm_columns(y.at(i), mean, rstd, i * shape.inner, input.at(i), weight, bias, shape, eps);
    }
    return;
  }
  const auto statistics = [=](size_t row, const T* in, Sums raw) {
    const Moments of = moments(shape.size, in, raw, shape.helpers);
    const Scale scale = scale_of(of.mean, of.var, 1 / std::sqrt(of.var + eps));  // rule 6
    mean.set(row, of.mean);
    rstd.set(row, scale.rstd);
    return scale;
  };
  const auto normalize_row = [=](size_t row, const T* in, const Scale& scale, bool streamed, size_t i, size_t n) {
    affine_row(y.at(row) + i, in + i, n, scale, part(weight.data, i), part(bias.data, i), streamed);
  };
  const auto statistics_abreast = [=](const RowsAbreast<T>& rows, ScalesAbreast& scales) {
    D means, variances;
    if (!moments_abreast(means, variances, shape.size, rows.s, rows.q)) return false;
    if (!scales.set(means, variances, broadcast(1.0) / root(variances + broadcast(eps)))) return false;  // rule 6
    rows.save(mean, means);
    rows.save(rstd, scales.rstd);
    return true;
  };
  const auto normalize_abreast = [=](const RowsAbreast<T>& rows, const ScalesAbreast& scales) {
    affine_rows(rows.y, rows.x, shape.size, scales, weight.data, bias.data);
  };
  each_row<true>(y, input, shape, shape.size, statistics, normalize_row, statistics_abreast, normalize_abreast);
}

// Rules 21 and 22: rows alone.
template <class T>
void layer_norm_backward(Out<T> dx, MaybeOut<T> dresidual, SumOverRows dweight, SumOverRows dbias, In<T> dy, In<T> x,
                         MaybeIn<T> dsum, SavedPerGroup mean, SavedPerGroup rstd, PerElement<T> weight, Groups shape,
                         double residual_scale, double eps) {
  const size_t n = shape.size;
  const double count = static_cast<double>(n);
  const double scale = static_cast<double>(static_cast<float>(residual_scale));
  const bool streamed = gradients_go_past_caches(dx.data, dy.data, x.data, shape.whole * n);
  const auto gradient_of = [=](size_t row) {
    if (mean.data && rstd.data) return Gradient{mean.data[row], rstd.data[row], 0, 0};
    const Moments own = moments(n, x.at(row), row_sums(n, x.at(row), shape.helpers), shape.helpers);
    return Gradient{own.mean, 1 / std::sqrt(own.var + eps), 0, 0};  // rule 6
  };
  size_t first = 0;
  if constexpr (width >= 8) {
    if (!dresidual && !dsum && gradients_go_abreast<Way::centered>(dx, dweight, dbias, shape, streamed)) {
      first = gradients_abreast<Way::centered>(dx, dy, x, weight, dweight, dbias, shape, streamed, gradient_of);
    }
  }
  Kept kept;
  BlockSums to_weight(n, dx.data, streamed), to_bias(n, dx.data, streamed);
  for (size_t i = first; i < shape.outer; ++i) {
    const size_t row = shape.row(i);
    // Two rows may share a line of memory, which a stream cannot write: the others would wait for it.
    if (streamed && i + 2 < shape.outer) prefetch(dx.at(shape.row(i + 2)));
    Gradient of = gradient_of(row);
    const Next<T> next = next_of_row(dy, x, shape, i);
    const Sums sums =
        row_gradient_sums<true>(n, dy.at(row), x.at(row), of, weight.data, kept, {next.dy, nullptr}, shape.helpers);
    of.a = sums.s / count;
    of.b = sums.q / count;
    const RowGradients<T> to{dresidual.at(row), to_weight.of(dweight.at(i, shape)), to_bias.of(dbias.at(i, shape)),
                             dsum.at(row), scale};
    const auto write =
        n <= kept_elements ? gradient_row<Way::centered, true, T> : gradient_row<Way::centered, false, T>;
    write(dx.at(row), dy.at(row), x.at(row), n, of, weight.data, no_weight, to, &kept, {nullptr, next.x}, streamed,
          shape.helpers);
  }
  to_weight.finish();
  to_bias.finish();
  if (streamed) end_of_stream();
}
