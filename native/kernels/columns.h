// Sums of the columns of a matrix (rule 14), a strip of them at a time. The twin of src/kernels/columns.ts.
// Included inside an ISA file's namespace, which gives the vector types F (width x float32) and D (width x float64).
// "Rule n" is a rule of NUMERICS.md.

// No bits depend on these two.
constexpr size_t strip = shared_columns;  // that are worked on together: their sums fit the first-level cache
constexpr size_t rows_in_registers = 8;   // rows that are added to a column's sums in registers (measured)
static_assert(strip % width == 0, "a strip's arrays are read and written in whole vectors");

// Rows of a matrix: those of `samples` samples from the first, `positions` in each, of which `spans` says the real
// ones.
struct RowSet {
  size_t first;
  size_t samples;
  size_t positions;
  Spans spans;
  size_t helpers = 0;  // idle threads that may help, where all are real

  size_t count() const {
    size_t rows = 0;
    for (size_t n = first; n < first + samples; ++n) rows += count_real(spans, n, positions);
    return rows;
  }
  // How many elements there are in memory.
  size_t elements(size_t stride) const { return samples * positions * stride; }
  // The same rows in as few samples as can be: without padding those of all samples from 0 on are neighbors.
  RowSet joined() const { return spans || first > 0 ? *this : RowSet{0, 1, samples * positions, spans, helpers}; }
};

// Sums of the columns of a strip.
struct ColumnSums {
  alignas(64) double s[strip];
  alignas(64) double q[strip];

  void clear(size_t n) {
    for (size_t k = 0; k < n; ++k) s[k] = q[k] = 0;
  }
  void move_to(ColumnSums& to, size_t n) {
    for (size_t k = 0; k < n; ++k) {
      to.s[k] += s[k];
      to.q[k] += q[k];
      s[k] = q[k] = 0;
    }
  }
};

// Adds `count` rows, the first of which begins at x, to the sums of n columns.
template <bool centered, class T>
void add_rows(ColumnSums& to, size_t n, const double* center, const T* x, size_t stride, size_t count) {
  each(n, [&](auto at) {
    D s = load_wide(to.s + at.i);
    D q = load_wide(to.q + at.i);
    for (size_t row = 0; row < count; ++row) {
      prefetch(x + (row + count) * stride + at.i);
      D v = at.read_wide(x + row * stride);
      if constexpr (centered) {
        v = v - load_wide(center + at.i);
        q = q + v * v;
      } else {
        q = add_exact_square(q, v);
      }
      s = s + v;
    }
    store(to.s + at.i, s);
    store(to.q + at.i, q);
  });
}

// Rule 14: two sums of each of n <= strip columns. add(sums, row, count) adds `count` rows from that one on.
template <class Add>
EVENKEEL_INLINE void sums_of_columns(ColumnSums& total, size_t n, RowSet given, Add add) {
  const RowSet rows = given.joined();
  ColumnSums in_block, in_fold;
  in_block.clear(strip);
  in_fold.clear(n);
  total.clear(n);
  size_t count = 0;
  for (size_t sample = rows.first; sample < rows.first + rows.samples; ++sample) {
    each_span(rows.spans, sample, rows.positions, [&](size_t begin, size_t end) {
      for (size_t position = begin; position < end;) {
        size_t take = rows_in_registers < fold64 - count % fold64 ? rows_in_registers : fold64 - count % fold64;
        if (take > end - position) take = end - position;
        add(in_block, sample * rows.positions + position, take);
        position += take;
        count += take;
        if (count % fold64 == 0) in_block.move_to(in_fold, n);
        if (count % (fold64 * fold64) == 0) in_fold.move_to(total, n);
      }
    });
  }
  in_block.move_to(in_fold, n);
  in_fold.move_to(total, n);
}

// The same where threads share the rows: of each block by itself. sums_of(sums, row, rows) gives those of some rows.
template <class SumsOf>
EVENKEEL_INLINE void columns_in_sections(ColumnSums& total, size_t n, RowSet rows, SumsOf sums_of) {
  struct Shared {
    size_t n, first;
    SumsOf sums_of;
  };
  const Shared shared{n, rows.first * rows.positions, sums_of};
  const auto run = [](const void* what, size_t begin, size_t end, double* s, double* q) {
    const auto& of = *static_cast<const Shared*>(what);
    ColumnSums sums;
    of.sums_of(sums, of.first + begin, RowSet{0, 1, end - begin, {}});
    std::memcpy(s, sums.s, of.n * sizeof(double));
    std::memcpy(q, sums.q, of.n * sizeof(double));
  };
  const size_t count = rows.samples * rows.positions;
  const OrderedSums all{run, &shared, count, fold64, count * n, n, fold64};
  if (!add_in_order(total.s, total.q, all, rows.helpers)) sums_of(total, shared.first, RowSet{0, 1, count, {}});
}

// The sums of the elements, less a center each, and of their squares, of the matrix whose row r begins at x + r *
// stride.
template <bool centered, class T>
EVENKEEL_NOINLINE void own_column_sums(ColumnSums& total, size_t n, const double* center, const T* x, size_t stride,
                                       RowSet rows) {
  sums_of_columns(total, n, rows, [=](ColumnSums& to, size_t row, size_t count) {
    add_rows<centered>(to, n, center, x + row * stride, stride, count);
  });
}
template <bool centered, class T>
EVENKEEL_RARE void shared_column_sums(ColumnSums& total, size_t n, const double* center, const T* x, size_t stride,
                                      RowSet rows) {
  columns_in_sections(total, n, rows, [=](ColumnSums& to, size_t row, RowSet some) {
    own_column_sums<centered>(to, n, center, x + row * stride, stride, some);
  });
}
template <bool centered, class T>
void column_sums(ColumnSums& total, size_t n, const double* center, const T* x, size_t stride, RowSet rows) {
  const auto sums = rows.helpers > 0 ? shared_column_sums<centered, T> : own_column_sums<centered, T>;
  sums(total, n, center, x, stride, rows);
}

// Largest |x| of each of n <= strip columns of `size` rows, NaN left out.
template <class T>
EVENKEEL_NOINLINE void largest_of_columns(float* largest, size_t n, const T* x, size_t stride, size_t size) {
  each(n, [&](auto at) {
    F out = broadcast(0.0f);
    for (size_t row = 0; row < size; ++row) out = larger(magnitude(at.read(x + row * stride)), out);
    at.write(largest, out);
  });
}

// How many groups of `channels` neighboring columns are worked on together: at most a strip, or one group.
inline size_t bundle(size_t groups, size_t channels) {
  const size_t fit = channels > strip ? 1 : strip / channels;
  return groups < fit ? groups : fit;
}

// Calls step(first, n) for each strip of the columns: n of them from the first.
template <class Step>
void each_strip(size_t columns, Step step) {
  for (size_t first = 0; first < columns; first += strip)
    step(first, columns - first < strip ? columns - first : strip);
}

// Rule 14: adds the sums of a strip's columns to those of their groups; 64 of them make a fold.
inline void add_columns(double* to, const double* columns, size_t first, size_t width, size_t channels) {
  if (channels == 1) {  // without divisions
    for (size_t k = 0; k < width; ++k) to[first + k] += columns[k];
    return;
  }
  double some = 0;
  for (size_t k = 0; k < width; ++k) {
    const size_t channel = (first + k) % channels;
    some += columns[k];
    if (channel % fold64 == fold64 - 1 || channel == channels - 1) {
      to[(first + k) / channels] += some;
      some = 0;
    }
  }
}
