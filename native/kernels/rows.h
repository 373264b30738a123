// The rows of a call, one after the other: their sums, what they are normalized with, their results. TypeScript has no
// such file: its kernels take each row whole. Included inside an ISA file's namespace, which gives the vector types F
// (width x float32) and D (width x float64). "Rule n" is a rule of NUMERICS.md.

// What an op over rows or columns normalizes, a group or a matrix at a time: x as it is, or x + residual * scale, which
// is written to `sum`, or to y where that is absent.
template <class T>
struct Input {
  In<T> x;
  MaybeIn<T> residual;
  float scale;
  Out<T> sum;

  Input(In<T> of, MaybeIn<T> with, double by, MaybeOut<T> to, Out<T> y)
      : x(of), residual(with), scale(static_cast<float>(by)), sum(to ? to : y) {}

  const T* at(size_t i) const { return residual ? sum.at(i) : x.at(i); }
  size_t stride() const { return residual ? sum.stride : x.stride; }
  void add(size_t i, size_t n, size_t from = 0) const {
    if (residual) add_residual(sum.at(i) + from, x.at(i) + from, residual.at(i) + from, n, scale);
  }
  // The same for all columns of a matrix, or for some.
  void add(size_t i, const Groups& shape) const {
    if (!residual) return;
    each_runs(shape.helpers, shape.size, shape.inner, [&](size_t begin, size_t end) {
      if (shape.pitch == shape.inner) return add(i, (end - begin) * shape.inner, begin * shape.inner);
      for (size_t row = begin; row < end; ++row) add(i, shape.inner, row * shape.pitch);
    });
  }
};

// The sums of `count` rows, 1 to `interleaved_rows`, from the given one of the call on, each of its first `counted`
// elements; those of the elements themselves are 0 where they are not `wanted`.
template <bool wanted, class T>
EVENKEEL_NOINLINE void sums_of_rows(Sums* total, const Input<T>& x, const Groups& shape, size_t row, size_t count,
                                    size_t counted) {
  for (size_t k = 0; k < count; ++k) x.add(shape.row(row + k), shape.size);
  if (count < interleaved_rows || interleaved_rows == 1) {
    for (size_t k = 0; k < count; ++k) {
      const T* in = x.at(shape.row(row + k));
      total[k] = wanted ? row_sums(counted, in) : Sums{0, row_squares(counted, in)};
    }
    return;
  }
  const T* rows[interleaved_rows];
  for (size_t k = 0; k < interleaved_rows; ++k) rows[k] = x.at(shape.row(row + k));
  Sums both[interleaved_rows];
  interleaved_sums<Squares::fused, interleaved_rows>(counted, 0, both,
                                                     [=](size_t k, auto at) { return at.read_wide(rows[k]); });
  for (size_t k = 0; k < interleaved_rows; ++k) total[k] = {wanted ? both[k].s : 0, both[k].q};
}

// Elements of a row up to which it waits longer for what follows its sums, divisions and a root, than for these.
constexpr size_t most_abreast = 256;

// `width` rows, whose statistics are computed together, and their sums, a lane each.
template <class T>
struct RowsAbreast {
  size_t at[width];
  T* y[width];
  const T* x[width];
  D s, q;

  // Those of a call from the given one on; the sums of the elements themselves are 0 where they are not `wanted`.
  template <bool wanted>
  EVENKEEL_NOINLINE void read(Out<T> to, const Input<T>& from, const Groups& shape, size_t row) {
    // Apart from each other: of one loop over rows that may be listed GCC makes masked loads and products of vectors,
    // which take longer than short rows (measured).
    if (shape.listed) {
      for (size_t k = 0; k < width; ++k) set(k, shape.listed[row + k], to, from);
    } else {
      for (size_t k = 0; k < width; ++k) {
        at[k] = row + k;
        y[k] = to.at(row) + k * to.stride;
        x[k] = from.at(row) + k * from.stride();
      }
    }
    if (from.residual) {
      for (size_t k = 0; k < width; ++k) from.add(at[k], shape.size);
    }
    sums_abreast<wanted>(shape.size, s, q, x);
  }
  void set(size_t k, size_t row, Out<T> to, const Input<T>& from) {
    at[k] = row;
    y[k] = to.at(row);
    x[k] = from.at(row);
  }
  void save(PerGroup to, D statistic) const {
    if (!to.single && !to.full) return;
    double of_row[width];
    store(of_row, statistic);
    for (size_t k = 0; k < width; ++k) to.set(at[k], of_row[k]);
  }
};

// Whether rows are to be asked for: those that are no neighbors, which the CPU does not see coming (measured), where
// they are not in its caches.
inline bool asks_for_rows(const Groups& shape) { return shape.listed && shape.whole * shape.size > near; }

// Asks for some of a call.
template <class T>
EVENKEEL_INLINE void ask_for(const Input<T>& x, const Groups& shape, size_t first, size_t count) {
  for (size_t k = first; k < first + count; ++k) {
    const T* in = x.x.at(shape.row(k));
    for (size_t i = 0; i < shape.size; i += line<T>) prefetch(in + i);
  }
}

// Normalizes the first rows of a call, `width` at a time, and returns how many it did: statistics_abreast(rows, scales)
// is false where some may need more than all have in common (rules 5 and 8), which are then taken one by one.
template <bool wanted, class T, class Statistics, class Normalize, class StatisticsAbreast, class NormalizeAbreast>
size_t each_abreast(Out<T> y, const Input<T>& x, const Groups& shape, Statistics statistics, Normalize normalize_row,
                    StatisticsAbreast statistics_abreast, NormalizeAbreast normalize_abreast) {
  const size_t rows = shape.outer / width * width;
  if (rows == 0) return 0;
  RowsAbreast<T> next;
  next.template read<wanted>(y, x, shape, 0);
  const bool asks = asks_for_rows(shape);
  for (size_t row = 0; row < rows; row += width) {
    const RowsAbreast<T> now = next;
    ScalesAbreast scales;
    const bool alike = statistics_abreast(now, scales);
    if (asks && row + 3 * width <= rows) ask_for(x, shape, row + 2 * width, width);
    if (row + width < rows) next.template read<wanted>(y, x, shape, row + width);
    if (alike) {
      normalize_abreast(now, scales);
      continue;
    }
    double s[width], q[width];
    store(s, now.s);
    store(q, now.q);
    for (size_t k = 0; k < width; ++k) {
      const Scale scale = statistics(now.at[k], now.x[k], Sums{s[k], q[k]});
      normalize_row(now.at[k], now.x[k], scale, false, 0, shape.size);
    }
  }
  return rows;
}

// The same where threads share each row.
template <class T, class Statistics, class Normalize>
EVENKEEL_RARE void share_each_row(const Input<T>& x, const Groups& shape, size_t counted, bool streamed,
                                  Statistics statistics, Normalize normalize_row) {
  for (size_t i = 0; i < shape.outer; ++i) {
    const size_t row = shape.row(i);
    const auto add = [&](size_t begin, size_t end) { x.add(row, end - begin, begin); };
    if (x.residual) in_sections(shape.helpers, shape.size, add);
    const T* const in = x.at(row);
    const Scale scale = statistics(row, in, shared_row_sums(shape.helpers, counted, in));
    in_sections(shape.helpers, shape.size,
                [&](size_t begin, size_t end) { normalize_row(row, in, scale, streamed, begin, end - begin); });
  }
}

// Normalizes the rows of a call, or of a part of it: statistics(row, x, sums) gives the scale of each, from the sums of
// its first `counted` elements, and normalize_row(row, x, scale, streamed, i, n) writes n results from i on. Where the
// tensor is cached, the sums of the next rows are taken before these are written, so that nothing waits for divisions
// and roots; short rows are then taken by each_abreast.
template <bool wanted, class T, class Statistics, class Normalize, class StatisticsAbreast, class NormalizeAbreast>
void each_row(Out<T> y, const Input<T>& x, Groups shape, size_t counted, Statistics statistics, Normalize normalize_row,
              StatisticsAbreast statistics_abreast, NormalizeAbreast normalize_abreast) {
  const size_t rows = shape.outer, n = shape.size;
  const bool sums_first = shape.whole * n <= cached && n <= short_row;
  const bool streamed = streams && shape.whole * n > cached && x.at(0) != y.data;
  if (shape.helpers > 0) return share_each_row(x, shape, counted, streamed, statistics, normalize_row);
  const size_t rows_at_once = sums_first ? interleaved_rows : 1;
  size_t row = 0;
  // Of vectors of eight and more: it has not been measured to help others, and takes as much of the package.
  if (width >= 8 && sums_first && n <= most_abreast && counted == n) {
    row = each_abreast<wanted>(y, x, shape, statistics, normalize_row, statistics_abreast, normalize_abreast);
    if (row == rows) return;
  }
  Sums raw[interleaved_rows];
  Scale scale[interleaved_rows];
  size_t count = rows - row < rows_at_once ? rows - row : rows_at_once;
  const bool asks = asks_for_rows(shape);
  sums_of_rows<wanted>(raw, x, shape, row, count, counted);
  while (row < rows) {
    size_t at[interleaved_rows];
    for (size_t k = 0; k < count; ++k) {
      at[k] = shape.row(row + k);
      scale[k] = statistics(at[k], x.at(at[k]), raw[k]);
    }
    const size_t next = row + count;
    if (asks && next + 2 * rows_at_once <= rows) ask_for(x, shape, next + rows_at_once, rows_at_once);
    const size_t more = rows - next < rows_at_once ? rows - next : rows_at_once;
    if (sums_first && more > 0) sums_of_rows<wanted>(raw, x, shape, next, more, counted);
    // Two rows may share a line of memory, which a stream cannot write: the others would wait for it.
    if (streamed && row + 2 < rows) prefetch(y.at(shape.row(row + 2)));
    for (size_t k = 0; k < count; ++k) normalize_row(at[k], x.at(at[k]), scale[k], streamed, 0, n);
    if (!sums_first && more > 0) sums_of_rows<wanted>(raw, x, shape, next, more, counted);
    row = next;
    count = more;
  }
  if (streamed) end_of_stream();
}
