// The only loops that know about lanes, blocks and tails: statistics of a group and elementwise maps over it.
// Included inside an ISA file's namespace, which gives the vector types F (width x float32) and D (width x float64).
// src/canonical.ts has the same functions in the same order. "Rule n" is a rule of NUMERICS.md.

constexpr size_t lanes = 16;
constexpr size_t block = 4096;
constexpr size_t vectors = lanes / width;
static_assert(lanes % width == 0 && block % lanes == 0, "a block is whole rounds of the lanes");

constexpr double cancelled = 0x1p-12;  // rule 5
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
void each(size_t n, Step step) {
  size_t i = 0;
  for (; i + width <= n; i += width) step(Whole{i});
  if (i < n) step(Part{i, n - i});
}

struct Sums {
  double s;  // sum of x, or of x - centre
  double q;  // sum of its squares
};

// Rules 1 to 3. read(at) gives the elements, widened; it is called once for each, in order.
// Centred: of x - centre, whose squares round, so that FMA is allowed only where it changes nothing: not here.
template <bool centred, class Read>
Sums sums(size_t n, double centre, Read read) {
  Sums total{0, 0};
  for (size_t begin = 0; begin < n; begin += block) {
    const size_t end = n - begin < block ? n : begin + block;
    D s[vectors], q[vectors];
    for (size_t k = 0; k < vectors; ++k) s[k] = q[k] = broadcast(0.0);

    const auto add = [&](size_t k, auto at) {
      D v = read(at);
      if constexpr (centred) {
        v = at.only(v - broadcast(centre));
        q[k] = q[k] + v * v;
      } else {
        q[k] = add_exact_square(q[k], v);
      }
      s[k] = s[k] + v;
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

    for (size_t half = vectors / 2; half > 0; half /= 2) {
      for (size_t k = 0; k < half; ++k) {
        s[k] = s[k] + s[k + half];
        q[k] = q[k] + q[k + half];
      }
    }
    total.s += fold(s[0]);
    total.q += fold(q[0]);
  }
  return total;
}

// The sums of the row that an op normalises: of x as it is, or of x + residual rounded to T, which is written to `sum`.
template <class T>
Sums row_sums(size_t n, const T* x, const T* residual, T* sum) {
  if (!residual) {
    return sums<false>(n, 0, [=](auto at) { return at.read_wide(x); });
  }
  return sums<false>(n, 0, [=](auto at) {
    at.write(sum, at.read(x) + at.read(residual));
    return at.read_wide(sum);
  });
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
  if (raw.q == 0 || var > mean * mean * cancelled) return {mean, var};
  return {mean, sums<true>(n, mean, [=](auto at) { return at.read_wide(x); }).q / count};
}

// Rule 8: whether float32 steps could overflow or vanish. `power` is what eps was added to.
inline bool is_wide(double mean, double power, double rstd) {
  return !(rstd > small && rstd < large && mean >= -large && mean <= large) ||
         (power > 0 && power * rstd * rstd < vanishing);
}
