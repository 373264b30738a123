// The only loops that know about lanes, blocks, strips and tails: statistics of a group and elementwise maps over it.
// Included inside an ISA file's namespace, which gives the vector types F (width x float32) and D (width x float64).
// src/canonical.ts has the same functions in the same order. "Rule n" is a rule of NUMERICS.md.
//
// A group is a row (n neighbouring elements), several runs (rows apart from each other) or a column of a matrix.

#include "power.h"

constexpr size_t lanes = 16;
constexpr size_t block = 4096;
constexpr size_t vectors = lanes / width;
constexpr size_t part = 64;  // runs or columns whose totals are added before they join the group's, rows of a block
// No bits depend on these three.
constexpr size_t strip = 256;   // columns that are worked on together: their sums fit the first-level cache
constexpr size_t together = 8;  // rows that are added to a column's sums in registers (measured)
// Rows whose sums are added side by side: as many as have enough registers and more than one addition at a time needs.
constexpr size_t side_by_side = vectors == 1 ? 2 : 1;
constexpr size_t abreast =
    2;  // rows normalised side by side (measured: from memory, more take up to 1.6 times as long)
static_assert(lanes % width == 0 && block % lanes == 0, "a block is whole rounds of the lanes");
static_assert(strip % width == 0, "a strip's arrays are read and written in whole vectors");

constexpr double threshold = 0x1p-12;  // rule 5
constexpr double large = 0x1p100;      // rule 8
constexpr double small = 0x1p-100;
constexpr double vanishing = 0x1p-200;

// Where in a group a vector stands: a whole one, or the last n < width elements. Both index any operand of the group.
struct Whole {
  size_t i;

  template <class T>
  F read(const T* p) const {
    return load(p + i);
  }
  template <class T>
  D read_wide(const T* p) const {
    return load_wide(p + i);
  }
  template <class T>
  void write(T* p, F v) const {
    store(p + i, v);
  }
  D only(D v) const { return v; }
};

// A whole one whose result goes past the caches.
struct Streamed : Whole {
  template <class T>
  void write(T* p, F v) const {
    stream(p + i, v);
  }
};

struct Part {
  size_t i;
  size_t n;

  template <class T>
  F read(const T* p) const {
    return load(p + i, n);
  }
  template <class T>
  D read_wide(const T* p) const {
    return load_wide(p + i, n);
  }
  template <class T>
  void write(T* p, F v) const {
    store(p + i, v, n);
  }
  D only(D v) const { return keep(v, n); }
};

// Calls step(at) for the elements 0..n-1, in vectors; no step depends on another.
template <class Step>
EVENKEEL_INLINE void each(size_t n, Step step) {
  size_t i = 0;
  for (; i + width <= n; i += width) step(Whole{i});
  if (i < n) step(Part{i, n - i});
}

// The same, four vectors at a time: for the loops that most of the work is in.
template <class T, class Step>
EVENKEEL_INLINE void each_unrolled(const T* y, size_t n, Step step) {
  size_t i = 0;
  // Vectors as long as a line of memory are written in whole lines: across two each takes twice as long (measured).
  if (width * sizeof(T) == 64 && n >= 8 * width) {
    i = (width - reinterpret_cast<uintptr_t>(y) / sizeof(T) % width) % width;
    if (i > 0) step(Part{0, i});
  }
  for (; i + 4 * width <= n; i += 4 * width) {
    step(Whole{i});
    step(Whole{i + width});
    step(Whole{i + 2 * width});
    step(Whole{i + 3 * width});
  }
  for (; i + width <= n; i += width) step(Whole{i});
  if (i < n) step(Part{i, n - i});
}

// The same for a result at y that does not stay in the caches: its whole vectors are those that are aligned.
template <class T, class Step>
EVENKEEL_INLINE void each_streamed(const T* y, size_t n, Step step) {
  const size_t past = reinterpret_cast<uintptr_t>(y) / sizeof(T) % width;
  size_t i = past == 0 ? 0 : width - past;
  if (i > n) i = n;
  if (i > 0) step(Part{0, i});
  for (; i + width <= n; i += width) step(Streamed{{i}});
  if (i < n) step(Part{i, n - i});
}

// f of every lane. Only for what has no vector form.
template <class Function>
D each_lane(D v, Function f) {
  double lane[width];
  store(lane, v);
  for (double& value : lane) value = f(value);
  return load_wide(lane);
}

struct Sums {
  double s;  // sum of x, or of x - centre
  double q;  // sum of its squares
};

// How the squares of a row are summed: all give the same bits. A sum of plain squares may take FMA; without, a row
// alone waits half as long for its additions, several rows that are summed side by side take longer (measured).
enum class Squares { fused, apart, centred };

// Rules 1 to 3, for several rows side by side, whose additions do not wait for each other. read(row, at) gives the
// elements, widened; it is called once for each, in order. Centred: of x - centre.
template <Squares squares, size_t rows, class Read>
EVENKEEL_INLINE void sums_side_by_side(size_t n, double centre, Sums* total, Read read) {
  for (size_t row = 0; row < rows; ++row) total[row] = {0, 0};
  for (size_t begin = 0; begin < n; begin += block) {
    const size_t end = n - begin < block ? n : begin + block;
    D s[rows * vectors], q[rows * vectors];
    for (D& sum : s) sum = broadcast(0.0);
    for (D& sum : q) sum = broadcast(0.0);
    const auto add = [&](size_t vector, auto at) {
      for (size_t row = 0; row < rows; ++row) {
        const size_t k = row * vectors + vector;
        D v = read(row, at);
        if constexpr (squares == Squares::centred) v = at.only(v - broadcast(centre));
        if constexpr (squares == Squares::fused) {
          q[k] = add_exact_square(q[k], v);
        } else {
          q[k] = q[k] + v * v;
        }
        s[k] = s[k] + v;
      }
    };
    size_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      for (size_t k = 0; k < vectors; ++k) add(k, Whole{i + k * width});
    }
    // A lane of the tail without an element receives +0, which leaves its bits as they are (rule 3).
    for (size_t k = 0; k < vectors; ++k, i += width) {
      if (i + width <= end) {
        add(k, Whole{i});
      } else if (i < end) {
        add(k, Part{i, end - i});
      }
    }
    for (size_t row = 0; row < rows; ++row) {
      const size_t first = row * vectors;
      for (size_t half = vectors / 2; half > 0; half /= 2) {
        for (size_t k = first; k < first + half; ++k) {
          s[k] = s[k] + s[k + half];
          q[k] = q[k] + q[k + half];
        }
      }
      total[row].s += fold(s[first]);
      total[row].q += fold(q[first]);
    }
  }
}

// The same for one row.
template <Squares squares, class Read>
EVENKEEL_INLINE Sums sums(size_t n, double centre, Read read) {
  Sums total;
  sums_side_by_side<squares, 1>(n, centre, &total, [=](size_t, auto at) { return read(at); });
  return total;
}

// Sum of |x|.
template <class T>
EVENKEEL_APART double sum_of_magnitudes(size_t n, const T* x) {
  return sums<Squares::fused>(n, 0, [=](auto at) { return magnitude(at.read_wide(x)); }).s;
}

// Largest |x|; NaN where there is one.
template <class T>
EVENKEEL_RARE double largest_magnitude(size_t n, const T* x) {
  double largest = 0;
  for (size_t i = 0; i < n; ++i) {
    const double a = std::fabs(static_cast<double>(x[i]));
    if (a > largest || a != a) largest = a;
    if (largest != largest) break;
  }
  return largest;
}

// Rule 16: sum of (|x| / largest)^p: no term is above 1, and one is 1.
template <class T>
EVENKEEL_APART double sum_of_powers(size_t n, const T* x, double largest, double p) {
  const auto term = [=](auto at) {
    return each_lane(at.read_wide(x), [=](double v) { return power(std::fabs(v) / largest, p); });
  };
  return sums<Squares::fused>(n, 0, term).s;
}

// Rule 7: x + residual * scale, each step rounded to T.
template <class T>
EVENKEEL_APART void add_residual(T* sum, const T* x, const T* residual, size_t n, float scale) {
  const F s = broadcast(scale);
  each(n, [=](auto at) { at.write(sum, at.read(x) + at.read(residual) * s); });
}

constexpr Squares alone = side_by_side > 1 ? Squares::apart : Squares::fused;

// The sums of a row.
template <class T>
EVENKEEL_APART Sums row_sums(size_t n, const T* x) {
  return sums<alone>(n, 0, [=](auto at) { return at.read_wide(x); });
}

// The sum of its squares: what is not used of the sums is not computed.
template <class T>
EVENKEEL_APART double row_squares(size_t n, const T* x) {
  return sums<alone>(n, 0, [=](auto at) { return at.read_wide(x); }).q;
}

// The second pass of rule 5: the sum of (x - mean)^2.
template <class T>
EVENKEEL_APART double centred_squares(size_t n, const T* x, double mean) {
  return sums<Squares::centred>(n, mean, [=](auto at) { return at.read_wide(x); }).q;
}

// Rule 13: the sums of one channel over the batch, a run in each sample: channels first.
template <bool centred, class T>
EVENKEEL_APART Sums run_sums(const T* x, double centre, size_t channel, Spans spans, Volume shape) {
  constexpr Squares squares = centred ? Squares::centred : Squares::fused;
  Sums total{0, 0};
  for (size_t first = 0; first < shape.samples; first += part) {
    Sums some{0, 0};
    const size_t end = shape.samples - first < part ? shape.samples : first + part;
    for (size_t n = first; n < end; ++n) {
      const T* run = x + (n * shape.pitch + channel) * shape.positions + spans.begin(n);
      const size_t length = spans.end(n, shape.positions) - spans.begin(n);
      const Sums of = sums<squares>(length, centre, [=](auto at) { return at.read_wide(run); });
      some.s += of.s;
      some.q += of.q;
    }
    total.s += some.s;
    total.q += some.q;
  }
  return total;
}

// Rows of a matrix: those of `samples` samples from the first, `positions` in each, of which `spans` says the real
// ones.
struct RowSet {
  size_t first;
  size_t samples;
  size_t positions;
  Spans spans;

  size_t count() const {
    size_t rows = 0;
    for (size_t n = first; n < first + samples; ++n) rows += spans.end(n, positions) - spans.begin(n);
    return rows;
  }
  // The same rows in as few samples as can be: without padding those of all samples from 0 on are neighbours.
  RowSet joined() const { return spans.data || first > 0 ? *this : RowSet{0, 1, samples * positions, spans}; }
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
template <bool centred, class T>
void add_rows(ColumnSums& to, size_t n, const double* centre, const T* x, size_t stride, size_t count) {
  each(n, [&](auto at) {
    D s = load_wide(to.s + at.i);
    D q = load_wide(to.q + at.i);
    for (size_t row = 0; row < count; ++row) {
      D v = at.read_wide(x + row * stride);
      if constexpr (centred) {
        v = v - load_wide(centre + at.i);
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

// Rule 14: the sums of n <= strip columns of the matrix whose row r begins at x + r * stride, less a centre each.
template <bool centred, class T>
EVENKEEL_APART void column_sums(ColumnSums& total, size_t n, const double* centre, const T* x, size_t stride,
                                RowSet given) {
  const RowSet rows = given.joined();
  ColumnSums in_block, in_part;
  in_block.clear(strip);
  in_part.clear(n);
  total.clear(n);
  size_t count = 0;
  for (size_t sample = rows.first; sample < rows.first + rows.samples; ++sample) {
    const size_t end = rows.spans.end(sample, rows.positions);
    for (size_t position = rows.spans.begin(sample); position < end;) {
      size_t take = together < part - count % part ? together : part - count % part;
      if (take > end - position) take = end - position;
      add_rows<centred>(in_block, n, centre, x + (sample * rows.positions + position) * stride, stride, take);
      position += take;
      count += take;
      if (count % part == 0) in_block.move_to(in_part, n);
      if (count % (part * part) == 0) in_part.move_to(total, n);
    }
  }
  in_block.move_to(in_part, n);
  in_part.move_to(total, n);
}

struct Moments {
  double mean;
  double var;
};

// Rules 4 and 5: mean and biased variance of x, whose sums are given.
template <class T>
Moments moments(size_t n, const T* x, Sums raw) {
  const double count = static_cast<double>(n);
  const double mean = raw.s / count;
  const double var = raw.q / count - mean * mean;
  if (raw.q == 0 || var > mean * mean * threshold) return {mean, var};
  return {mean, centred_squares(n, x, mean) / count};
}

// How many groups of `channels` neighbouring columns are worked on together: at most a strip, or one group.
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

// Rule 14: adds the sums of a strip's columns to those of their groups; `part` of them make a part.
inline void add_columns(double* to, const double* columns, size_t first, size_t width, size_t channels) {
  double some = 0;
  for (size_t k = 0; k < width; ++k) {
    const size_t channel = (first + k) % channels;
    some += columns[k];
    if (channel % part == part - 1 || channel == channels - 1) {
      to[(first + k) / channels] += some;
      some = 0;
    }
  }
}

// Rules 4, 5 and 14: mean and biased variance of `groups` groups of `channels` neighbouring columns each, as many as
// `bundle` says at most, into the first elements of the two arrays.
template <class T>
EVENKEEL_APART void column_moments(double* mean, double* variance, size_t groups, size_t channels, const T* x,
                                   size_t stride, RowSet rows) {
  const size_t columns = groups * channels;
  const double n = static_cast<double>(rows.count() * channels);
  ColumnSums sums;
  double centre[strip] = {};
  for (size_t group = 0; group < groups; ++group) mean[group] = variance[group] = 0;
  each_strip(columns, [&](size_t first, size_t width) {
    column_sums<false>(sums, width, centre, x + first, stride, rows);
    add_columns(mean, sums.s, first, width, channels);
    add_columns(variance, sums.q, first, width, channels);
  });
  bool cancelled[strip];
  bool any = false;
  for (size_t group = 0; group < groups; ++group) {
    const double q = variance[group];
    mean[group] /= n;
    variance[group] = q / n - mean[group] * mean[group];
    cancelled[group] = !(q == 0 || variance[group] > mean[group] * mean[group] * threshold);
    any = any || cancelled[group];
  }
  if (!any) return;
  double second[strip] = {};
  each_strip(columns, [&](size_t first, size_t width) {
    for (size_t k = 0; k < width; ++k) centre[k] = mean[(first + k) / channels];
    column_sums<true>(sums, width, centre, x + first, stride, rows);
    add_columns(second, sums.q, first, width, channels);
  });
  for (size_t group = 0; group < groups; ++group) {
    if (cancelled[group]) variance[group] = second[group] / n;
  }
}

// Rule 8: whether float32 steps could overflow or vanish. `square` is what eps was added to.
inline bool is_wide(double mean, double square, double rstd) {
  return !(rstd > small && rstd < large && mean >= -large && mean <= large) ||
         (square > 0 && square * rstd * rstd < vanishing);
}

// What a group is normalised with: rules 6 to 8.
struct Scale {
  double mean;
  double rstd;
  bool wide;
  float m, c;  // the mean as a high and a low part
  float r;
};

// Rules 6 to 8 for a group whose statistics are known. Operations without a mean give 0 for it.
inline Scale scale_of(double mean, double square, double rstd) {
  const float m = static_cast<float>(mean);
  return {mean, rstd, is_wide(mean, square, rstd), m, static_cast<float>((m - mean) * rstd), static_cast<float>(rstd)};
}

// What stands in for an absent weight or bias: multiplying by one and adding the other change no bit.
constexpr float no_weight = 1.0f;
constexpr float no_bias = -0.0f;

// The same for an operation that subtracts no mean, where the steps of one that does are taken: they change no bit.
inline Scale scale_without_mean(double square, double rstd) {
  return {0, rstd, is_wide(0, square, rstd), 0, -0.0f, static_cast<float>(rstd)};
}

// 0 in n elements.
template <class T>
EVENKEEL_APART void clear(T* y, size_t n) {
  each(n, [=](auto at) { at.write(y, broadcast(0.0f)); });
}

// Rule 8 over n elements, with weights and biases `step` apart, null where there are none; `offset` as in rule 7.
template <class T>
EVENKEEL_RARE void normalise_wide(T* y, const T* x, size_t n, const Scale& scale, const T* weight, const T* bias,
                                  size_t step, float offset = 0) {
  for (size_t i = 0; i < n; ++i) {
    double t = (static_cast<double>(x[i]) - scale.mean) * scale.rstd;
    if (weight) {
      const float w = static_cast<float>(weight[i * step]);
      t = t * static_cast<double>(offset == 0 ? w : w + offset);
    }
    if (bias) t = t + static_cast<double>(bias[i * step]);
    y[i] = static_cast<T>(t);
  }
}

// A weight or a bias for every element of a row; where data is null one for all.
template <class T>
class Elements {
 public:
  Elements(const T* data, float all) : data_(data ? data : all_), step_(data ? SIZE_MAX : 0) {
    store(all_, broadcast(all));
  }
  Elements(const Elements&) = delete;
  Elements& operator=(const Elements&) = delete;

  // Without a branch, which would cost up to a third (measured).
  template <class At>
  F read(At at) const {
    at.i &= step_;
    return at.read(data_);
  }

 private:
  const T* data_;
  size_t step_;
  T all_[width];
};

// Rules 7 and 8 over n elements with a weight and a bias each; null where there is none.
template <class T>
EVENKEEL_APART void normalise_row(T* y, const T* x, size_t n, const Scale& scale, const T* weight, const T* bias,
                                  bool streamed = false) {
  if (scale.wide) return normalise_wide(y, x, n, scale, weight, bias, 1);
  const F m = broadcast(scale.m);
  const F r = broadcast(scale.r);
  const F c = broadcast(scale.c);
  if (weight && bias && !streamed) {
    each_unrolled(y, n, [=](auto at) { at.write(y, ((at.read(x) - m) * r + c) * at.read(weight) + at.read(bias)); });
    return;
  }
  const Elements<T> w(weight, no_weight), b(bias, no_bias);
  const auto step = [&](auto at) { at.write(y, ((at.read(x) - m) * r + c) * w.read(at) + b.read(at)); };
  streams&& streamed ? each_streamed(y, n, step) : each(n, step);
}

// The same for an operation that subtracts no mean and adds no bias; `all` is the weight where there is none for each
// element, `offset` as in rule 7.
template <class T>
EVENKEEL_APART void scale_row(T* y, const T* x, size_t n, const Scale& scale, const T* weight, T all, float offset,
                              bool streamed) {
  if (!weight) offset = 0;
  if (scale.wide) return normalise_wide<T>(y, x, n, scale, weight ? weight : &all, nullptr, weight ? 1 : 0, offset);
  const F r = broadcast(scale.r);
  const F o = broadcast(offset == 0 ? no_bias : offset);
  const Elements<T> w(weight, static_cast<float>(all));
  const auto step = [&](auto at) { at.write(y, at.read(x) * r * (w.read(at) + o)); };
  streams&& streamed ? each_streamed(y, n, step) : each_unrolled(y, n, step);
}

// What an op over rows or columns normalises, a group or a matrix at a time: x as it is, or x + residual * scale, which
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
  void add(size_t i, size_t n, size_t from = 0) const {
    if (residual) add_residual(sum.at(i) + from, x.at(i) + from, residual.at(i) + from, n, scale);
  }
  // The same for all columns of a matrix, or for some.
  void add(size_t i, Groups shape) const {
    if (shape.pitch == shape.inner) return add(i, shape.size * shape.inner);
    for (size_t row = 0; row < shape.size; ++row) add(i, shape.inner, row * shape.pitch);
  }
};

// The sums of `count` rows, 1 to `side_by_side`, from the given one on, each of its first `counted` elements of n;
// those of the elements themselves are 0 where they are not `wanted`.
template <bool wanted, class T>
EVENKEEL_APART void sums_of_rows(Sums* total, const Input<T>& x, size_t row, size_t count, size_t n, size_t counted) {
  for (size_t k = 0; k < count; ++k) x.add(row + k, n);
  if (count < side_by_side || side_by_side == 1) {
    for (size_t k = 0; k < count; ++k) {
      const T* in = x.at(row + k);
      total[k] = wanted ? row_sums(counted, in) : Sums{0, row_squares(counted, in)};
    }
    return;
  }
  const T* rows[side_by_side];
  for (size_t k = 0; k < side_by_side; ++k) rows[k] = x.at(row + k);
  Sums both[side_by_side];
  sums_side_by_side<Squares::fused, side_by_side>(counted, 0, both,
                                                  [=](size_t k, auto at) { return at.read_wide(rows[k]); });
  for (size_t k = 0; k < side_by_side; ++k) total[k] = {wanted ? both[k].s : 0, both[k].q};
}

// Normalises the rows of a call, or of a part of it: statistics(row, x, sums) gives the scale of each, from the sums of
// its first `counted` elements, and normalise(row, x, scale, streamed) writes its result. Where the tensor is cached,
// the sums of the next rows are taken before these are written, so that nothing waits for divisions and roots.
template <bool wanted, class T, class Statistics, class Normalise>
void each_row(Out<T> y, const Input<T>& x, Groups shape, size_t counted, Statistics statistics, Normalise normalise) {
  const size_t rows = shape.outer, n = shape.size;
  const bool ahead = shape.whole * n <= cached && n <= short_row;
  const bool streamed = streams && shape.whole * n > cached && x.at(0) != y.data;
  const size_t flight = ahead ? side_by_side : 1;
  Sums raw[side_by_side];
  Scale scale[side_by_side];
  size_t count = rows < flight ? rows : flight;
  sums_of_rows<wanted>(raw, x, 0, count, n, counted);
  for (size_t row = 0; row < rows;) {
    for (size_t k = 0; k < count; ++k) scale[k] = statistics(row + k, x.at(row + k), raw[k]);
    const size_t next = row + count;
    const size_t more = rows - next < flight ? rows - next : flight;
    if (ahead && more > 0) sums_of_rows<wanted>(raw, x, next, more, n, counted);
    // Two rows may share a line of memory, which a stream cannot write: the others would wait for it.
    if (streamed && row + 2 < rows) prefetch(y.at(row + 2));
    for (size_t k = 0; k < count; ++k) normalise(row + k, x.at(row + k), scale[k], streamed);
    if (!ahead && more > 0) sums_of_rows<wanted>(raw, x, next, more, n, counted);
    row = next;
    count = more;
  }
  if (streamed) end_of_stream();
}

// Whether the results of a call go past the caches: those of large tensors, unless they are written where x is.
template <class T>
bool goes_past_caches(Tensor<T> y, Tensor<const T> x, Volume shape) {
  return streams && shape.in_memory() > cached && y.data != x.data;
}

// Rules 7 and 8 over n elements that share a weight and a bias, null where there is none: a channel.
template <class T>
EVENKEEL_APART void normalise_run(T* y, const T* x, size_t n, const Scale& scale, const T* weight, const T* bias,
                                  bool streamed) {
  if (scale.wide) return normalise_wide(y, x, n, scale, weight, bias, 0);
  const F m = broadcast(scale.m);
  const F r = broadcast(scale.r);
  const F c = broadcast(scale.c);
  // What is absent changes no bit.
  const F w = broadcast(weight ? static_cast<float>(*weight) : no_weight);
  const F b = broadcast(bias ? static_cast<float>(*bias) : no_bias);
  const auto step = [=](auto at) { at.write(y, ((at.read(x) - m) * r + c) * w + b); };
  if (!(streams && streamed)) return each(n, step);
  prefetch(y + n);  // two runs may share a line of memory, which a stream cannot write
  each_streamed(y, n, step);
}

// The scales of a strip's columns.
struct ColumnScales {
  double mean[strip];
  double rstd[strip];
  alignas(64) float m[strip];
  alignas(64) float r[strip];
  alignas(64) float c[strip];
  bool wide[strip];

  // Rules 6 to 8 for column k.
  void set(size_t k, const Scale& scale) {
    mean[k] = scale.mean;
    rstd[k] = scale.rstd;
    m[k] = scale.m;
    r[k] = scale.r;
    c[k] = scale.c;
    wide[k] = scale.wide;
  }
  bool any_wide(size_t n) const {
    for (size_t k = 0; k < n; ++k) {
      if (wide[k]) return true;
    }
    return false;
  }
};

// Weights or biases of a matrix, one for every column. Absent where data is null: then what changes no bit, 1 or -0.
template <class T>
struct ByColumn {
  const T* data;
  float absent;

  template <class At>
  F columns(At at) const {
    return data ? at.read(data) : broadcast(absent);
  }
  F row(size_t, F columns) const { return columns; }
  float single(size_t, size_t k) const { return data ? static_cast<float>(data[k]) : absent; }
};

// One for every row, or, with step 0, one for all. Absent where data is null.
template <class T>
struct ByRow {
  const T* data;
  float absent;
  size_t step = 1;
  float offset = 0;  // added in float32; 0 is not

  template <class At>
  F columns(At) const {
    return broadcast(absent);
  }
  F row(size_t i, F columns) const { return data ? broadcast(single(i, 0)) : columns; }
  float single(size_t i, size_t) const {
    if (!data) return absent;
    const float w = static_cast<float>(data[i * step]);
    return offset == 0 ? w : w + offset;
  }
};

// `count` rows of normalise_columns, from this one on. The columns' scales and weights stay in registers from row to
// row.
template <class T, class Weights>
void normalise_rows(T* y, const T* x, size_t stride, size_t n, size_t row, size_t count, const ColumnScales& of,
                    bool any_wide, Weights weight, Weights bias) {
  const auto step = [&](auto at) {
    const F m = at.read(of.m);
    const F r = at.read(of.r);
    const F c = at.read(of.c);
    const F weights = weight.columns(at);
    const F biases = bias.columns(at);
    for (size_t i = 0; i < count; ++i) {
      F t = (at.read(x + i * stride) - m) * r + c;
      t = t * weight.row(row + i, weights);
      t = t + bias.row(row + i, biases);
      at.write(y + i * stride, t);
    }
  };
  if (!any_wide) {
    each(n, step);
    return;
  }
  for (size_t k = 0; k < n; ++k) {
    if (!of.wide[k]) {
      step(Part{k, 1});
      continue;
    }
    for (size_t i = 0; i < count; ++i) {
      double t = (static_cast<double>(x[i * stride + k]) - of.mean[k]) * of.rstd[k];
      t = t * static_cast<double>(weight.single(row + i, k));
      t = t + static_cast<double>(bias.single(row + i, k));
      y[i * stride + k] = static_cast<T>(t);
    }
  }
}

// Rules 7 and 8 over n <= strip columns, a scale for each. Rows that are not real become 0 (rule 15). Centred: there is
// a mean to subtract.
template <class T, class Weights>
EVENKEEL_APART void normalise_columns(T* y, const T* x, size_t stride, size_t n, RowSet given, const ColumnScales& of,
                                      Weights weight, Weights bias) {
  const RowSet rows = given.joined();
  const bool any_wide = of.any_wide(n);
  for (size_t sample = rows.first; sample < rows.first + rows.samples; ++sample) {
    const size_t begin = rows.spans.begin(sample);
    const size_t end = rows.spans.end(sample, rows.positions);
    const size_t first = sample * rows.positions;
    for (size_t position = 0; position < begin; ++position) clear(y + (first + position) * stride, n);
    for (size_t position = begin; position < end; position += abreast) {
      const size_t row = first + position;
      const size_t count = end - position < abreast ? end - position : abreast;
      normalise_rows(y + row * stride, x + row * stride, stride, n, row, count, of, any_wide, weight, bias);
    }
    for (size_t position = end; position < rows.positions; ++position) clear(y + (first + position) * stride, n);
  }
}
