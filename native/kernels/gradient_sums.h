// Sums of the gradients of rows, runs and columns (rules 21 to 23). The twin of src/kernels/gradient_sums.ts.
// Included inside an ISA file's namespace, which gives the vector types F (width x float32) and D (width x float64).
// "Rule n" is a rule of NUMERICS.md. With t = (x - mean) * rstd and g = dy * w, A is a sum of g and B one of g * t.

// What a group's gradient takes beside its elements.
struct Gradient {
  double mean;
  double rstd;
  double a;  // A / n
  double b;  // B / n
};

// t, which without a mean is x * rstd.
template <bool centered, class At, class T>
EVENKEEL_INLINE D normalized(At at, const T* x, D mean, D rstd) {
  if constexpr (centered) return (at.read_wide(x) - mean) * rstd;
  return at.read_wide(x) * rstd;
}

// g and t of a row that is short enough, kept from the sums to the gradients: to convert and compute them twice takes a
// third longer (measured).
constexpr size_t kept_elements = 2048;
struct Kept {
  alignas(64) double g[kept_elements + width];
  alignas(64) double t[kept_elements + width];
};

// What is needed after some elements of dy and x, as many; null where it need not be asked for.
template <class T>
struct Next {
  const T* dy = nullptr;
  const T* x = nullptr;

  template <class At>
  EVENKEEL_INLINE void ask(At at) const {
    if (dy) prefetch(dy + at.i);
    if (x) prefetch(x + at.i);
  }
};

// The row behind row i of a call.
template <class T>
Next<T> next_of_row(In<T> dy, In<T> x, const Groups& shape, size_t i) {
  if (shape.whole * shape.size <= near || i + 1 == shape.outer) return {};
  return {dy.at(shape.row(i + 1)), x.at(shape.row(i + 1))};
}

// The run of n elements that begins at `next` of dy and x, behind one that begins at `run`; of a long one what is next.
template <class T>
Next<T> next_of_run(const T* dy, const T* x, const Volume& shape, size_t run, size_t next) {
  if (shape.in_memory() <= near) return {};
  const size_t at = shape.positions <= short_row ? next : run + ahead;
  return {dy + at, x + at};
}

// A and B of n neighbors by rules 1 to 3; where `weight` is null or none is asked for w is 1. Without a mean no
// gradient takes A: it is 0.
template <bool centered, bool keep, bool weighted, class T>
EVENKEEL_NOINLINE Sums gradient_sums(size_t n, const T* dy, const T* x, double mean, double rstd, const T* weight,
                                     Kept* kept, Next<T> next) {
  const Elements<T> w(weight, no_weight);
  const D m = broadcast(mean), r = broadcast(rstd);
  Sums total;
  lane_sums<1>(n, &total, [&](D& a, D& b, size_t, auto at) {
    next.ask(at);
    D g = at.read_wide(dy);
    if constexpr (weighted) g = g * w.read_wide(at);
    const D t = normalized<centered>(at, x, m, r);
    if constexpr (keep) {
      store(kept->g + at.i, g);
      store(kept->t + at.i, t);
    }
    if constexpr (centered) a = a + g;
    b = b + at.only(g * t);
  });
  return total;
}

// The same of some rows side by side, to their a and b: what is weighted alike is read once, and the folds of one wait
// for none of the others. Of the rows at `next` as much of dy is asked for.
template <bool centered, size_t rows, class T>
EVENKEEL_NOINLINE void gradient_sums_abreast(size_t n, In<T> dy, In<T> x, Gradient* of, const T* weight,
                                             const T* next) {
  const Elements<T> w(weight, no_weight);
  Sums total[rows];
  lane_sums<rows>(n, total, [&](D& a, D& b, size_t k, auto at) EVENKEEL_INLINE_LAMBDA {
    prefetch(next + k * dy.stride + at.i);
    const D g = at.read_wide(dy.data + k * dy.stride) * w.read_wide(at);
    const D t = normalized<centered>(at, x.data + k * x.stride, broadcast(of[k].mean), broadcast(of[k].rstd));
    if constexpr (centered) a = a + g;
    b = b + at.only(g * t);
  });
  for (size_t k = 0; k < rows; ++k) {
    of[k].a = total[k].s / static_cast<double>(n);
    of[k].b = total[k].q / static_cast<double>(n);
  }
}

// The same of a row or run that threads share: nothing is kept.
template <class T>
using GradientSums = decltype(&gradient_sums<true, false, true, T>);
template <class T>
EVENKEEL_RARE Sums shared_gradient_sums(GradientSums<T> sums, size_t helpers, size_t n, const T* dy, const T* x,
                                        double mean, double rstd, const T* weight) {
  return sums_in_sections(helpers, n, [=](size_t i, size_t end) {
    return sums(end - i, dy + i, x + i, mean, rstd, part(weight, i), nullptr, Next<T>{});
  });
}
template <class T>
Sums gradient_sums(GradientSums<T> sums, size_t helpers, size_t n, const T* dy, const T* x, double mean, double rstd,
                   const T* weight, Kept* kept, Next<T> next) {
  return helpers > 0 ? shared_gradient_sums(sums, helpers, n, dy, x, mean, rstd, weight)
                     : sums(n, dy, x, mean, rstd, weight, kept, next);
}

// The same of a row, which is kept where it is short enough.
template <bool centered, class T>
Sums row_gradient_sums(size_t n, const T* dy, const T* x, const Gradient& of, const T* weight, Kept& kept, Next<T> next,
                       size_t helpers) {
  const auto sums =
      n <= kept_elements ? gradient_sums<centered, true, true, T> : gradient_sums<centered, false, true, T>;
  return gradient_sums<T>(sums, helpers, n, dy, x, of.mean, of.rstd, weight, &kept, next);
}

// The sums of dy (s) and of dy * t (q) of a run.
template <class T>
Sums run_gradient_sums(size_t n, const T* dy, const T* x, double mean, double rstd, Next<T> next = {},
                       size_t helpers = 0) {
  return gradient_sums<T>(gradient_sums<true, false, false, T>, helpers, n, dy, x, mean, rstd, nullptr, nullptr, next);
}

// Rule 15: the same of the real elements of a run. Where they have gaps they are copied together, a block at
// a time.
template <class T>
EVENKEEL_NOINLINE Sums real_gradient_sums(const T* dy, const T* x, double mean, double rstd, size_t positions,
                                          const Spans& spans, size_t sample, Next<T> next, size_t helpers = 0) {
  if (!spans) return run_gradient_sums(positions, dy, x, mean, rstd, next, helpers);
  Sums total{0, 0};
  if (spans.first(sample + 1) == spans.first(sample) + 2) {
    each_span(spans, sample, positions, [&](size_t begin, size_t end) {
      total = run_gradient_sums(end - begin, dy + begin, x + begin, mean, rstd);
    });
    return total;
  }
  T packed_dy[block], packed_x[block];
  size_t filled = 0;
  const auto flush = [&] {
    const Sums of_block = run_gradient_sums(filled, packed_dy, packed_x, mean, rstd);
    total.s += of_block.s;
    total.q += of_block.q;
    filled = 0;
  };
  each_span(spans, sample, positions, [&](size_t begin, size_t end) {
    while (begin < end) {
      const size_t n = end - begin < block - filled ? end - begin : block - filled;
      std::memcpy(packed_dy + filled, dy + begin, n * sizeof(T));
      std::memcpy(packed_x + filled, x + begin, n * sizeof(T));
      begin += n;
      filled += n;
      if (filled == block) flush();
    }
  });
  if (filled > 0) flush();
  return total;
}

// What the gradients of a strip's columns take.
struct ColumnGradients {
  alignas(64) double mean[strip];
  alignas(64) double rstd[strip];
  alignas(64) double w[strip];
  alignas(64) double a[strip];
  alignas(64) double b[strip];
};

// How many rows ahead to ask for, at least as many as are worked on together: of short ones those across a page.
inline size_t rows_ahead(size_t stride, size_t together) {
  const size_t rows = 2 * ahead / stride;
  return rows > together ? rows : together;
}

// Rule 14: the sums of dy (s) and of dy * t (q) of n <= strip columns.
template <class T>
EVENKEEL_NOINLINE void own_column_gradient_sums(ColumnSums& total, size_t n, const ColumnGradients& of, const T* dy,
                                                const T* x, size_t stride, RowSet rows) {
  const size_t next = rows_ahead(stride, rows_in_registers) * stride;
  sums_of_columns(total, n, rows, [=, &of](ColumnSums& to, size_t row, size_t count) {
    const T* const first_dy = dy + row * stride;
    const T* const first_x = x + row * stride;
    each(n, [&](auto at) {
      const D m = load_wide(of.mean + at.i), r = load_wide(of.rstd + at.i);
      D s = load_wide(to.s + at.i), q = load_wide(to.q + at.i);
      for (size_t i = 0; i < count; ++i) {
        prefetch(first_dy + i * stride + next + at.i);
        prefetch(first_x + i * stride + next + at.i);
        const D given = at.read_wide(first_dy + i * stride);
        s = s + given;
        q = q + given * normalized<true>(at, first_x + i * stride, m, r);
      }
      store(to.s + at.i, s);
      store(to.q + at.i, q);
    });
  });
}
template <class T>
EVENKEEL_RARE void shared_column_gradient_sums(ColumnSums& total, size_t n, const ColumnGradients& of, const T* dy,
                                               const T* x, size_t stride, RowSet rows) {
  columns_in_sections(total, n, rows, [=, &of](ColumnSums& to, size_t row, RowSet some) {
    own_column_gradient_sums(to, n, of, dy + row * stride, x + row * stride, stride, some);
  });
}
template <class T>
void column_gradient_sums(ColumnSums& total, size_t n, const ColumnGradients& of, const T* dy, const T* x,
                          size_t stride, RowSet rows) {
  const auto sums = rows.helpers > 0 ? shared_column_gradient_sums<T> : own_column_gradient_sums<T>;
  sums(total, n, of, dy, x, stride, rows);
}
