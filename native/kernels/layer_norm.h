// layer_norm: y = (x - mean) / sqrt(var + eps) * weight + bias over each group. The twin of src/kernels/layer_norm.ts.

// The groups of one matrix whose columns they are.
template <class T>
void layer_norm_columns(T* y, PerGroup mean, PerGroup rstd, size_t group, const T* x, PerElement<T> weight,
                        PerElement<T> bias, Groups shape, double eps) {
  const RowSet rows{0, 1, shape.size, {}};
  double means[strip], variances[strip];
  ColumnScales scales;
  each_strip(shape.inner, [&](size_t first, size_t n) {
    column_moments(means, variances, n, 1, x + first, shape.pitch, rows);
    for (size_t k = 0; k < n; ++k) {
      scales.set(k, scale_of(means[k], variances[k], 1 / std::sqrt(variances[k] + eps)));  // rule 6
      mean.set(group + first + k, means[k]);
      rstd.set(group + first + k, scales.rstd[k]);
    }
    affine_columns(y + first, x + first, shape.pitch, n, shape.size, scales, ByRow<T>{weight.data, no_weight},
                   ByRow<T>{bias.data, no_bias});
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
    const Moments of = moments(shape.size, in, raw);
    const Scale scale = scale_of(of.mean, of.var, 1 / std::sqrt(of.var + eps));  // rule 6
    mean.set(row, of.mean);
    rstd.set(row, scale.rstd);
    return scale;
  };
  const auto normalize_row = [=](size_t row, const T* in, const Scale& scale, bool streamed) {
    affine_row(y.at(row), in, shape.size, scale, weight.data, bias.data, streamed);
  };
  each_row<true>(y, input, shape, shape.size, statistics, normalize_row);
}
