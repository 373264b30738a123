// rms_norm: y = x / sqrt(mean(x^2) + eps) * weight over each group. The twin of src/ops/rms_norm.ts.

// The groups of one matrix whose columns they are.
template <class T>
void rms_norm_columns(T* y, PerGroup rstd, size_t group, const T* x, PerElement<T> weight, Groups shape,
                      Counted counted, double eps, float offset) {
  ColumnSums sums;
  ColumnScales scales;
  each_strip(shape.inner, [&](size_t first, size_t n) {
    column_sums<false>(sums, n, sums.s, x + first, shape.pitch, RowSet{0, 1, counted.n, {nullptr}});
    for (size_t k = 0; k < n; ++k) {
      const double square = sums.q[k] / static_cast<double>(counted.n);
      scales.set(k, scale_without_mean(square, 1 / std::sqrt(square + eps)));  // rule 6
      rstd.set(group + first + k, scales.rstd[k]);
    }
    normalise_columns(y + first, x + first, shape.pitch, n, RowSet{0, 1, shape.size, {nullptr}}, scales,
                      ByRow<T>{weight.data, no_weight, 1, offset}, ByRow<T>{nullptr, no_bias});
  });
}

template <class T>
void rms_norm(Out<T> y, MaybeOut<T> sum, PerGroup rstd, In<T> x, MaybeIn<T> residual, PerElement<T> weight,
              Groups shape, Counted counted, double residual_scale, double eps, double weight_offset) {
  const T* w = weight.data;
  const float offset = static_cast<float>(weight_offset);
  const float residual_factor = static_cast<float>(residual_scale);
  for (size_t row = 0; row < shape.outer; ++row) {
    T* out = y.at(row);
    const T* in = x.at(row);
    T* added = sum ? sum.at(row) : out;
    if (shape.pitch > 1 || counted.n < shape.size) {
      if (residual) {
        add_residual_matrix(added, in, residual.at(row), shape, residual_factor);
        in = added;
      }
    }
    if (shape.pitch > 1) {
      rms_norm_columns(out, rstd, row * shape.inner, in, weight, shape, counted, eps, offset);
      continue;
    }
    const bool fused = counted.n == shape.size;
    const Sums raw = row_sums(counted.n, in, fused ? residual.at(row) : nullptr, residual_factor, added);
    if (residual) in = added;
    const double square = raw.q / static_cast<double>(counted.n);
    const Scale scale = scale_of(0, square, 1 / std::sqrt(square + eps));  // rule 6
    rstd.set(row, scale.rstd);

    if (scale.wide) {
      normalise_wide(out, in, shape.size, scale, w, static_cast<const T*>(nullptr), 1, offset);
      continue;
    }
    const F r = broadcast(scale.r);
    if (!w) {
      each(shape.size, [=](auto at) { at.write(out, at.read(in) * r); });
    } else if (offset == 0) {
      each(shape.size, [=](auto at) { at.write(out, at.read(in) * r * at.read(w)); });
    } else {
      const F o = broadcast(offset);
      each(shape.size, [=](auto at) { at.write(out, at.read(in) * r * (at.read(w) + o)); });
    }
  }
}
