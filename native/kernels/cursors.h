// Where in a group a vector stands, and loops over all vectors of a group.
// Included inside an ISA file's namespace, which gives the vector types F (width x float32) and D (width x float64).
// "Rule n" is a rule of NUMERICS.md.

// Elements of 16 bits, all of a vector or the first n.
template <class T>
F load(const T* p, size_t n) {
  T part[width] = {};
  std::memcpy(part, p, n * sizeof(T));
  return load(part);
}
template <class T>
D load_wide(const T* p) {
  return widen(load(p));
}
template <class T>
D load_wide(const T* p, size_t n) {
  return widen(load(p, n));
}
template <class T>
void store(T* p, F a, size_t n) {
  T part[width];
  store(part, a);
  std::memcpy(p, part, n * sizeof(T));
}

// Where in a group a vector stands: a whole one, or the last n < width elements. Both index any operand of the group.
struct Whole {
  static constexpr bool past_caches = false;
  size_t i;

  template <class T>
  F read(const T* p) const {
    return load(p + i);
  }
  template <class T>
  D read_wide(const T* p) const {
    return load_wide(p + i);
  }
  template <class T, class Vector>
  void write(T* p, Vector v) const {
    store(p + i, v);
  }
  D only(D v) const { return v; }
};

// A whole one whose result goes past the caches.
struct Streamed : Whole {
  static constexpr bool past_caches = true;
  template <class T>
  void write(T* p, F v) const {
    stream(p + i, v);
  }
};

struct Tail {
  static constexpr bool past_caches = false;
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
  template <class T, class Vector>
  void write(T* p, Vector v) const {
    store(p + i, v, n);
  }
  D only(D v) const { return keep(v, n); }
};

// Elements of a line of memory, the unit of the caches.
template <class T>
constexpr size_t line = 64 / sizeof(T);

// How many elements y begins behind the last place at which so many would be aligned, and before the next one.
template <size_t unit = width, class T>
size_t past_alignment(const T* y) {
  return reinterpret_cast<uintptr_t>(y) / sizeof(T) % unit;
}
template <size_t unit = width, class T>
size_t to_alignment(const T* y) {
  return (unit - past_alignment<unit>(y)) % unit;
}

// Calls step(0) to step(n - 1), each where it stands: the sums that they index can then be kept in registers.
template <size_t n, size_t k = 0, class Step>
EVENKEEL_INLINE void unrolled(Step step) {
  if constexpr (k < n) {
    step(k);
    unrolled<n, k + 1>(step);
  }
}

// Calls step(at) for the elements 0..n-1, in vectors; no step depends on another.
template <class Step>
EVENKEEL_INLINE void each(size_t n, Step step) {
  size_t i = 0;
  for (; i + width <= n; i += width) step(Whole{i});
  if (i < n) step(Tail{i, n - i});
}

// How many elements before the first whole vector of a result, so that these are aligned where that pays: vectors that
// straddle two lines of memory take twice as long to write, but masked ones take longer with AVX2 (measured).
template <class T>
size_t before_vectors(const T* y, size_t n) {
  constexpr size_t worth_aligning = width * sizeof(T) == 64 ? 8 : 64;  // vectors of a row
  return width * sizeof(T) >= 32 && n >= worth_aligning * width ? to_alignment(y) : 0;
}

// The same for a result at y, aligned.
template <class T, class Step>
EVENKEEL_INLINE void each_aligned(const T* y, size_t n, Step step) {
  size_t i = before_vectors(y, n);
  if (i > 0) step(Tail{0, i});
  for (; i + width <= n; i += width) step(Whole{i});
  if (i < n) step(Tail{i, n - i});
}

// Calls four(i) for four vectors at a time, from element `first` on, and step(at) for what is left.
template <class Four, class Step>
EVENKEEL_INLINE void each_four(size_t first, size_t n, Four four, Step step) {
  size_t i = first;
  for (; i + 4 * width <= n; i += 4 * width) four(i);
  for (; i + width <= n; i += width) step(Whole{i});
  if (i < n) step(Tail{i, n - i});
}
template <class Step>
EVENKEEL_INLINE void four_steps(size_t i, Step step) {
  unrolled<4>([&](size_t k) EVENKEEL_INLINE_LAMBDA { step(Whole{i + k * width}); });
}

// The same as each_aligned, four vectors at a time: for the loops that most of the work is in.
template <class T, class Step>
EVENKEEL_INLINE void each_unrolled(const T* y, size_t n, Step step) {
  const size_t first = before_vectors(y, n);
  if (first > 0) step(Tail{0, first});
  each_four(
      first, n, [&](size_t i) EVENKEEL_INLINE_LAMBDA { four_steps(i, step); }, step);
}

// The same for a result at y that does not stay in the caches: its whole vectors are those that are aligned.
template <class T, class Step>
EVENKEEL_INLINE void each_streamed(const T* y, size_t n, Step step) {
  size_t i = to_alignment(y);
  if (i > n) i = n;
  if (i > 0) step(Tail{0, i});
  for (; i + width <= n; i += width) step(Streamed{{i}});
  if (i < n) step(Tail{i, n - i});
}

// f of every lane. Only for what has no vector form.
template <class Function>
D each_lane(D v, Function f) {
  double lane[width];
  store(lane, v);
  for (double& value : lane) value = f(value);
  return load_wide(lane);
}

// Those of an array from the given one on; null where there is none.
template <class T>
const T* part(const T* data, size_t first) {
  return data ? data + first : nullptr;
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
  template <class At>
  D read_wide(At at) const {
    at.i &= step_;
    return at.read_wide(data_);
  }

 private:
  const T* data_;
  size_t step_;
  T all_[width];
};
