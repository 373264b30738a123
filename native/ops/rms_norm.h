// rms_norm: y = x / sqrt(mean(x^2) + eps) * weight over each row. The twin of src/ops/rms_norm.ts.

template <class T>
void rms_norm(Out<T> y, MaybeOut<T> sum, PerRow rstd, In<T> x, MaybeIn<T> residual, PerColumn<T> weight, Rows shape,
              double eps, double weight_offset) {
  const T* w = weight.data;
  const float offset = static_cast<float>(weight_offset);
  for (size_t row = 0; row < shape.rows; ++row) {
    T* out = y.row(row);
    const T* in = x.row(row);
    T* added = sum ? sum.row(row) : out;
    const Sums raw = row_sums(shape.cols, in, residual.row(row), added);
    if (residual) in = added;
    const double power = raw.q / static_cast<double>(shape.cols);
    const double scale = 1 / std::sqrt(power + eps);  // rule 6
    rstd.set(row, scale);

    if (is_wide(0, power, scale)) {
      for (size_t i = 0; i < shape.cols; ++i) {
        double t = static_cast<double>(in[i]) * scale;
        if (w) t = t * static_cast<double>(offset == 0 ? static_cast<float>(w[i]) : static_cast<float>(w[i]) + offset);
        out[i] = static_cast<T>(t);
      }
      continue;
    }
    const F r = broadcast(static_cast<float>(scale));
    const F o = broadcast(offset);
    each(shape.cols, [=](auto at) {
      F t = at.read(in) * r;
      if (w) t = t * (offset == 0 ? at.read(w) : at.read(w) + o);
      at.write(out, t);
    });
  }
}
