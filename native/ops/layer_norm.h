// layer_norm: y = (x - mean) / sqrt(var + eps) * weight + bias over each group. The twin of src/ops/layer_norm.ts.

// The groups of one matrix whose columns they are.
template <class T>
void layer_norm_columns(T* y, PerGroup mean, PerGroup rstd, size_t group, const T* x, PerElement<T> weight,
                        PerElement<T> bias, Groups shape, double eps) {
  const RowSet rows{0, 1, shape.size, {nullptr}};
  double means[strip], variances[strip];
  ColumnScales scales;
  each_strip(shape.inner, [&](size_t first, size_t n) {
    column_moments(means, variances, n, 1, x + first, shape.pitch, rows);
    for (size_t k = 0; k < n; ++k) {
      scales.set(k, scale_of(means[k], variances[k], 1 / std::sqrt(variances[k] + eps)));  // rule 6
      mean.set(group + first + k, means[k]);
      rstd.set(group + first + k, scales.rstd[k]);
    }
    normalise_columns(y + first, x + first, shape.pitch, n, rows, scales, ByRow<T>{weight.data, no_weight},
                      ByRow<T>{bias.data, no_bias});
  });
}

template <class T>
void layer_norm(Out<T> y, MaybeOut<T> sum, PerGroup mean, PerGroup rstd, In<T> x, MaybeIn<T> residual,
                PerElement<T> weight, PerElement<T> bias, Groups shape, double residual_scale, double eps) {
  const float residual_factor = static_cast<float>(residual_scale);
  for (size_t row = 0; row < shape.outer; ++row) {
    T* out = y.at(row);
    const T* in = x.at(row);
    T* added = sum ? sum.at(row) : out;
    if (shape.pitch > 1) {
      if (residual) {
        add_residual_matrix(added, in, residual.at(row), shape, residual_factor);
        in = added;
      }
      layer_norm_columns(out, mean, rstd, row * shape.inner, in, weight, bias, shape, eps);
      continue;
    }
    const Sums raw = row_sums(shape.size, in, residual.at(row), residual_factor, added);
    if (residual) in = added;
    const Moments of = moments(shape.size, in, raw);
    const Scale scale = scale_of(of.mean, of.var, 1 / std::sqrt(of.var + eps));  // rule 6
    mean.set(row, of.mean);
    rstd.set(row, scale.rstd);
    normalise_row(out, in, shape.size, scale, weight.data, bias.data);
  }
}
