// residual_sum: x + residual * scale (rule 7), for the backward of calls that had a residual. The twin of
// src/kernels/residual_sum.ts.

template <class T>
void residual_sum(Out<T> sum, In<T> x, In<T> residual, Groups shape, double residual_scale) {
  const float scale = static_cast<float>(residual_scale);
  for (size_t i = 0; i < shape.outer; ++i) {
    const size_t row = shape.row(i);
    const auto add = [=](size_t begin, size_t end) {
      add_residual(sum.at(row) + begin, x.at(row) + begin, residual.at(row) + begin, end - begin, scale);
    };
    if (shape.helpers > 0) {
      in_sections(shape.helpers, shape.size, add);
    } else {
      add(0, shape.size);
    }
  }
}
