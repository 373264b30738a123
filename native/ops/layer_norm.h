// layer_norm: y = (x - mean) / sqrt(var + eps) * weight + bias over each row. The twin of src/ops/layer_norm.ts.

template <class T>
void layer_norm(Out<T> y, MaybeOut<T> sum, PerRow mean, PerRow rstd, In<T> x, MaybeIn<T> residual, PerColumn<T> weight,
                PerColumn<T> bias, Rows shape, double eps) {
  const T* w = weight.data;
  const T* b = bias.data;
  for (size_t row = 0; row < shape.rows; ++row) {
    T* out = y.row(row);
    const T* in = x.row(row);
    T* added = sum ? sum.row(row) : out;
    const Sums raw = row_sums(shape.cols, in, residual.row(row), added);
    if (residual) in = added;
    const Moments of = moments(shape.cols, in, raw);
    const double scale = 1 / std::sqrt(of.var + eps);  // rule 6
    mean.set(row, of.mean);
    rstd.set(row, scale);

    if (is_wide(of.mean, of.var, scale)) {
      for (size_t i = 0; i < shape.cols; ++i) {
        double t = (static_cast<double>(in[i]) - of.mean) * scale;
        if (w) t = t * static_cast<double>(w[i]);
        if (b) t = t + static_cast<double>(b[i]);
        out[i] = static_cast<T>(t);
      }
      continue;
    }
    // Rule 7: the mean as a high and a low part.
    const float high = static_cast<float>(of.mean);
    const F m = broadcast(high);
    const F r = broadcast(static_cast<float>(scale));
    const F c = broadcast(static_cast<float>((high - of.mean) * scale));
    each(shape.cols, [=](auto at) {
      F t = (at.read(in) - m) * r + c;
      if (w) t = t * at.read(w);
      if (b) t = t + at.read(b);
      at.write(out, t);
    });
  }
}
