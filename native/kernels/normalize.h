// normalize: y = x / max(norm, eps) * factor over each group, by several norms and rules. The twin of
// src/kernels/normalize.ts.

enum NormalizeRule : size_t { clamp_norm, clamp_square, add_square, mean_square, zero };

// 1 over what x is divided by, from its norm; where p is 2 also from the sum of squares.
inline double reciprocal(double norm, double square, size_t n, size_t rule, double eps) {
  if (rule == clamp_norm) return 1 / (norm < eps ? std::fmax(eps, 0x1p-1022) : norm);  // rule 8c
  if (rule == clamp_square) return 1 / std::sqrt(square < eps ? eps : square);
  if (rule == add_square) return 1 / std::sqrt(square + eps);
  if (rule == mean_square) return 1 / std::sqrt(square / static_cast<double>(n) + eps);
  return norm == 0 ? 0 : 1 / norm;
}

// The same of `width` rows; false where one of them may be at a limit.
inline bool reciprocals(D& of, D norm, D square, size_t n, size_t rule, double eps) {
  const D limit = broadcast(eps);
  if (rule == clamp_norm && !all_above(norm, limit)) return false;
  if (rule == clamp_square && !all_above(square, limit)) return false;
  if (rule == zero && !all_above(norm, broadcast(0.0))) return false;
  D divisor = norm;
  if (rule == clamp_square) divisor = root(square);
  if (rule == add_square) divisor = root(square + limit);
  if (rule == mean_square) divisor = root(square / broadcast(static_cast<double>(n)) + limit);
  of = broadcast(1.0) / divisor;
  return true;
}

// A norm, and what rule 8 asks of it: its square, for p < 1 that of the largest element (rule 8c).
struct Norm {
  double length;
  double square;
};

// The sum of a norm other than the second, of a row that threads share.
template <class T>
EVENKEEL_RARE double shared_norm_sum(size_t helpers, size_t n, const T* x, double largest, double p) {
  return sums_in_sections(helpers, n,
                          [=](size_t i, size_t end) {
                            const double sum =
                                p == 1 ? sum_of_magnitudes(end - i, x + i) : sum_of_powers(end - i, x + i, largest, p);
                            return Sums{sum, 0};
                          })
      .s;
}

template <class T>
Norm norm_of(size_t n, const T* x, double p, size_t helpers) {
  if (p == 1) {
    const double sum = helpers > 0 ? shared_norm_sum(helpers, n, x, 1, p) : sum_of_magnitudes(n, x);
    return {sum, sum * sum};
  }
  const double largest = largest_magnitude(n, x);
  const double infinity = HUGE_VAL;
  if (p == infinity || !(largest > 0 && largest < infinity)) return {largest, largest * largest};
  const double sum = helpers > 0 ? shared_norm_sum(helpers, n, x, largest, p) : sum_of_powers(n, x, largest, p);
  const double length = largest * power(sum, 1 / p);
  return {length, p < 1 ? largest * largest : length * length};
}

// The groups of one matrix whose columns they are; p is 2.
template <class T>
void normalize_columns(T* y, PerGroup norm, size_t group, const T* x, Groups shape, size_t rule, double eps, T factor) {
  const RowSet rows{0, 1, shape.size, {}, shape.helpers};
  ColumnSums sums;
  ColumnScales scales;
  each_strip(shape.inner, [&](size_t first, size_t n) {
    column_sums<false>(sums, n, sums.s, x + first, shape.pitch, rows);
    for (size_t k = 0; k < n; ++k) {
      const double length = std::sqrt(sums.q[k]);
      scales.set(k, scale_without_mean(length * length, reciprocal(length, sums.q[k], shape.size, rule, eps)));
      norm.set(group + first + k, length);
    }
    affine_columns(y + first, x + first, shape.pitch, n, shape.size, shape.helpers, scales,
                   ByRow<T>{&factor, no_weight, 0}, ByRow<T>{nullptr, no_bias});
  });
}

template <class T>
void normalize(Out<T> y, PerGroup norm, In<T> x, Groups shape, double p, size_t rule, double eps, double factor) {
  const T f = static_cast<T>(factor);
  if (shape.pitch > 1) {
    for (size_t i = 0; i < shape.outer; ++i) {
      normalize_columns(y.at(i), norm, i * shape.inner, x.at(i), shape, rule, eps, f);
    }
    return;
  }
  const auto statistics = [=](size_t row, const T* in, Sums raw) {
    const double second = std::sqrt(raw.q);
    const Norm of = p == 2 ? Norm{second, second * second} : norm_of(shape.size, in, p, shape.helpers);
    norm.set(row, of.length);
    return scale_of(0, of.square, reciprocal(of.length, raw.q, shape.size, rule, eps));
  };
  const auto normalize_row = [=](size_t row, const T* in, const Scale& scale, bool streamed, size_t i, size_t n) {
    scale_row<T>(y.at(row) + i, in + i, n, scale, nullptr, f, 0, streamed);
  };
  const auto statistics_abreast = [=](const RowsAbreast<T>& rows, ScalesAbreast& scales) {
    const D length = root(rows.q);
    D rstd;
    if (!reciprocals(rstd, length, rows.q, shape.size, rule, eps)) return false;
    if (!scales.set(broadcast(0.0), length * length, rstd)) return false;
    rows.save(norm, length);
    return true;
  };
  const auto normalize_abreast = [=](const RowsAbreast<T>& rows, const ScalesAbreast& scales) {
    scale_rows<T>(rows.y, rows.x, shape.size, scales, nullptr, f, 0);
  };
  const Input<T> input(x, {{nullptr, 0}}, 1, {{nullptr, 0}}, y);
  each_row<false>(y, input, shape, p == 2 ? shape.size : 0, statistics, normalize_row, statistics_abreast,
                  normalize_abreast);
}

// Rule 21, with p = 2 and rows alone. `dots` receives the sum of dy * t of each row.
template <class T>
void normalize_backward(Out<T> dx, PerGroup dots, In<T> dy, In<T> x, Groups shape, size_t rule, double eps,
                        double factor) {
  const size_t n = shape.size;
  const float f = static_cast<float>(factor);
  const bool streamed = gradients_go_past_caches(dx.data, dy.data, x.data, shape.whole * n);
  for (size_t i = 0; i < shape.outer; ++i) {
    const size_t row = shape.row(i);
    const double square = row_squares(n, x.at(row), shape.helpers);
    const double norm = std::sqrt(square);
    Gradient of{};
    of.rstd = reciprocal(norm, square, n, rule, eps);
    const Next<T> next = next_of_row(dy, x, shape, i);
    const double dot = gradient_sums<T>(gradient_sums<false, false, false, T>, shape.helpers, n, dy.at(row), x.at(row),
                                        0, of.rstd, nullptr, nullptr, {next.dy, nullptr})
                           .q;
    dots.set(row, dot);
    of.b = rule == mean_square ? dot * static_cast<double>(f) / static_cast<double>(n) : dot * static_cast<double>(f);
    const bool limited =
        (rule == clamp_norm && norm < eps) || (rule == clamp_square && square < eps) || (rule == zero && norm == 0);
    const auto write = limited ? gradient_run<Way::linear, T> : gradient_run<Way::scaled, T>;
    write(dx.at(row), dy.at(row), x.at(row), n, of, f, {nullptr, next.x}, streamed, shape.helpers);
  }
  if (streamed) end_of_stream();
}
