// Sums of rows and runs: lanes, blocks and folds (rules 1 to 3, 13, 15, 16). The twin of src/kernels/lanes.ts.
// Included inside an ISA file's namespace, which gives the vector types F (width x float32) and D (width x float64).
// "Rule n" is a rule of NUMERICS.md.
//
// A group is a row (n neighboring elements), several runs (rows apart from each other) or a column of a matrix.

constexpr size_t lanes = 16;
constexpr size_t block = 4096;
constexpr size_t vectors = lanes / width;
// Rows whose sums are added in turn, one vector of each: as many as have enough registers and more than one addition at
// a time needs.
constexpr size_t interleaved_rows = vectors == 1 ? 2 : 1;
static_assert(lanes % width == 0 && block % lanes == 0, "a block is whole rounds of the lanes");

// How the squares of a row are summed: all give the same bits. A sum of plain squares may take FMA; without, a row
// alone waits half as long for its additions, several rows that are summed in turn take longer (measured).
enum class Squares { fused, separate, centered };

// Rules 1 to 3: two sums of each of several rows in turn, whose additions do not wait for each other, over the block
// from begin to end. add(s, q, row, at) adds what stands at `at` of a row to its two lanes; it is called once for each,
// in order. In the end the vectors of a row are folded to its first one, s[row * vectors] and q[row * vectors].
template <size_t rows, class Add>
EVENKEEL_INLINE void block_sums(size_t begin, size_t end, D* s, D* q, Add add_at) {
  unrolled<rows * vectors>([&](size_t k) EVENKEEL_INLINE_LAMBDA { s[k] = q[k] = broadcast(0.0); });
  const auto add = [&](size_t vector, auto at) EVENKEEL_INLINE_LAMBDA {
    unrolled<rows>([&](size_t row) EVENKEEL_INLINE_LAMBDA {
      const size_t k = row * vectors + vector;
      add_at(s[k], q[k], row, at);
    });
  };
  size_t i = begin;
  for (; i + lanes <= end; i += lanes) {
    unrolled<vectors>([&](size_t k) EVENKEEL_INLINE_LAMBDA { add(k, Whole{i + k * width}); });
  }
  // A lane of the tail without an element receives +0, which leaves its bits as they are (rule 3).
  unrolled<vectors>([&](size_t k) EVENKEEL_INLINE_LAMBDA {
    if (i + width <= end) {
      add(k, Whole{i});
    } else if (i < end) {
      add(k, Tail{i, end - i});
    }
    i += width;
  });
  unrolled<rows>([&](size_t row) EVENKEEL_INLINE_LAMBDA {
    const size_t first = row * vectors;
    for (size_t half = vectors / 2; half > 0; half /= 2) {
      for (size_t k = first; k < first + half; ++k) {
        s[k] = s[k] + s[k + half];
        q[k] = q[k] + q[k + half];
      }
    }
  });
}

// The same over whole rows.
template <size_t rows, class Add>
EVENKEEL_INLINE void lane_sums(size_t n, Sums* total, Add add_at) {
  for (size_t row = 0; row < rows; ++row) total[row] = {0, 0};
  for (size_t begin = 0; begin < n; begin += block) {
    D s[rows * vectors], q[rows * vectors];
    block_sums<rows>(begin, n - begin < block ? n : begin + block, s, q, add_at);
    for (size_t row = 0; row < rows; ++row) {
      total[row].s += fold(s[row * vectors]);
      total[row].q += fold(q[row * vectors]);
    }
  }
}

// The sums of x and of its square. read(row, at) gives the elements, widened. Centered: of x - center.
template <Squares squares, size_t rows, class Read>
EVENKEEL_INLINE void interleaved_sums(size_t n, double center, Sums* total, Read read) {
  lane_sums<rows>(n, total, [=](D& s, D& q, size_t row, auto at) {
    D v = read(row, at);
    if constexpr (squares == Squares::centered) v = at.only(v - broadcast(center));
    if constexpr (squares == Squares::fused) {
      q = add_exact_square(q, v);
    } else {
      q = q + v * v;
    }
    s = s + v;
  });
}

// The same for one row.
template <Squares squares, class Read>
EVENKEEL_INLINE Sums sums(size_t n, double center, Read read) {
  Sums total;
  interleaved_sums<squares, 1>(n, center, &total, [=](size_t, auto at) { return read(at); });
  return total;
}

// The sums of `width` rows of at most a block, a lane each; those of the elements themselves are 0 where they are not
// `wanted`.
template <bool wanted, class T>
EVENKEEL_NOINLINE void sums_abreast(size_t n, D& total_s, D& total_q, const T* const* rows) {
  Half s[width], q[width];
  for (size_t first = 0; first < width; first += interleaved_rows) {
    D of_s[interleaved_rows * vectors], of_q[interleaved_rows * vectors];
    const auto add = [=](D& sum, D& square, size_t row, auto at) EVENKEEL_INLINE_LAMBDA {
      const D v = at.read_wide(rows[first + row]);
      square = add_exact_square(square, v);
      if constexpr (wanted) sum = sum + v;
    };
    block_sums<interleaved_rows>(0, n, of_s, of_q, add);
    unrolled<interleaved_rows>([&](size_t row) EVENKEEL_INLINE_LAMBDA {
      s[first + row] = half(of_s[row * vectors]);
      q[first + row] = half(of_q[row * vectors]);
    });
  }
  total_s = wanted ? fold(s) : broadcast(0.0);
  total_q = fold(q);
}

// Sum of |x|.
template <class T>
EVENKEEL_NOINLINE double sum_of_magnitudes(size_t n, const T* x) {
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

// Largest |x|, NaN left out.
template <class T>
EVENKEEL_NOINLINE double largest_number(size_t n, const T* x) {
  F largest = broadcast(0.0f);
  each(n, [&](auto at) { largest = larger(magnitude(at.read(x)), largest); });
  float lane[width];
  store(lane, largest);
  float out = 0;
  for (const float value : lane) out = value > out ? value : out;
  return static_cast<double>(out);
}

// Rule 16: sum of (|x| / largest)^p: no term is above 1, and one is 1.
template <class T>
EVENKEEL_NOINLINE double sum_of_powers(size_t n, const T* x, double largest, double p) {
  const auto term = [=](auto at) {
    return each_lane(at.read_wide(x), [=](double v) { return power(std::fabs(v) / largest, p); });
  };
  return sums<Squares::fused>(n, 0, term).s;
}

// Sums of a row that threads share, of each block by itself: sums_of(begin, end) gives those of some elements.
template <class SumsOf>
EVENKEEL_INLINE Sums sums_in_sections(size_t helpers, size_t n, const SumsOf& sums_of) {
  return sums_in_sections(helpers, n, block, n, sums_of);
}

constexpr Squares squares_of_row = interleaved_rows > 1 ? Squares::separate : Squares::fused;

// The sums of a row.
template <class T>
EVENKEEL_NOINLINE Sums row_sums(size_t n, const T* x) {
  return sums<squares_of_row>(n, 0, [=](auto at) { return at.read_wide(x); });
}
template <class T>
EVENKEEL_RARE Sums shared_row_sums(size_t helpers, size_t n, const T* x) {
  return sums_in_sections(helpers, n, [=](size_t i, size_t end) { return row_sums(end - i, x + i); });
}
template <class T>
Sums row_sums(size_t n, const T* x, size_t helpers) {
  return helpers > 0 ? shared_row_sums(helpers, n, x) : row_sums(n, x);
}

// The sum of its squares: what is not used of the sums is not computed.
template <class T>
EVENKEEL_NOINLINE double row_squares(size_t n, const T* x) {
  return sums<squares_of_row>(n, 0, [=](auto at) { return at.read_wide(x); }).q;
}
template <class T>
double row_squares(size_t n, const T* x, size_t helpers) {
  return helpers > 0 ? shared_row_sums(helpers, n, x).q : row_squares(n, x);
}

// The second pass of rule 5: the sum of (x - mean)^2.
template <class T>
EVENKEEL_NOINLINE double centered_squares(size_t n, const T* x, double mean) {
  return sums<Squares::centered>(n, mean, [=](auto at) { return at.read_wide(x); }).q;
}
template <class T>
EVENKEEL_RARE double shared_centered_squares(size_t helpers, size_t n, const T* x, double mean) {
  return sums_in_sections(helpers, n,
                          [=](size_t i, size_t end) {
                            return Sums{0, centered_squares(end - i, x + i, mean)};
                          })
      .q;
}

// Rule 15: the sums of the real elements of `channels` runs of a sample, one after the other. Where they have gaps they
// are copied together, a block at a time.
template <bool centered, class T>
EVENKEEL_NOINLINE Sums real_sums(const T* x, double center, size_t channels, size_t positions, const Spans& spans,
                                 size_t sample) {
  constexpr Squares squares = centered ? Squares::centered : Squares::fused;
  const auto sums_of = [=](size_t n, const T* in) {
    return sums<squares>(n, center, [=](auto at) { return at.read_wide(in); });
  };
  if (!spans) return sums_of(channels * positions, x);
  if (channels == 1 && spans.first(sample + 1) == spans.first(sample) + 2) {
    Sums total{0, 0};
    each_span(spans, sample, positions, [&](size_t begin, size_t end) { total = sums_of(end - begin, x + begin); });
    return total;
  }
  T packed[block];
  size_t filled = 0;
  Sums total{0, 0};
  const auto flush = [&] {
    const Sums of_block = sums_of(filled, packed);
    total.s += of_block.s;
    total.q += of_block.q;
    filled = 0;
  };
  for (size_t channel = 0; channel < channels; ++channel) {
    each_span(spans, sample, positions, [&](size_t begin, size_t end) {
      const T* from = x + channel * positions + begin;
      for (size_t left = end - begin; left > 0;) {
        const size_t n = left < block - filled ? left : block - filled;
        std::memcpy(packed + filled, from, n * sizeof(T));
        from += n;
        left -= n;
        filled += n;
        if (filled == block) flush();
      }
    });
  }
  if (filled > 0) flush();
  return total;
}

// Rule 13: the sums of one channel over the batch, a run in each sample: channels first.
template <bool centered, class T>
Sums run_sums(const T* x, double center, size_t channel, const Volume& shape) {
  Sums total{0, 0};
  for (size_t first = 0; first < shape.samples; first += fold64) {
    Sums fold{0, 0};
    const size_t end = shape.samples - first < fold64 ? shape.samples : first + fold64;
    for (size_t n = first; n < end; ++n) {
      const T* run = x + (n * shape.pitch + channel) * shape.positions;
      const Sums of_run = real_sums<centered>(run, center, 1, shape.positions, shape.spans, n);
      fold.s += of_run.s;
      fold.q += of_run.q;
    }
    total.s += fold.s;
    total.q += fold.q;
  }
  return total;
}
