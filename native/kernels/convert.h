// Elements of 16 bits as float32, and back (rule 24). The twin of src/kernels/convert.ts.
// Included inside an ISA file's namespace, which gives the vector type F (width x float32).

// What is next in memory is asked for meanwhile: it comes while the kernel works on these (measured).
template <class T>
EVENKEEL_NOINLINE void widen(float* to, const uint16_t* from, size_t n) {
  const T* const x = reinterpret_cast<const T*>(from);
  const auto step = [=](auto at) { at.write(to, at.read(x)); };
  const auto four = [=](size_t i) {
    for (size_t k = 0; k < 4 * width; k += line<T>) prefetch(x + n + i + k);
    four_steps(i, step);
  };
  each_four(0, n, four, step);
}

template <bool past_caches, class T>
EVENKEEL_NOINLINE void narrow_from(T* y, const float* from, size_t first, size_t n) {
  const auto step = [=](auto at) { at.write(y, at.read(from)); };
  each_four(
      first, n,
      [=](size_t i) {
        const F a = load(from + i), b = load(from + i + width);
        const F c = load(from + i + 2 * width), d = load(from + i + 3 * width);
        // Asked of all at once: of each it takes a third of the time (measured).
        if (any_nan(a, b, c, d)) return four_steps(i, step);
        store_numbers<past_caches>(y + i, a, b);
        store_numbers<past_caches>(y + i + 2 * width, c, d);
      },
      step);
}

// To the nearest, ties to even; one NaN. Where it goes past the caches, `end_of_stream` is to follow.
template <class T>
EVENKEEL_NOINLINE void narrow(uint16_t* to, const float* from, size_t n, bool streamed) {
  T* const y = reinterpret_cast<T*>(to);
  if (!(streams && streamed)) return narrow_from<false>(y, from, 0, n);
  size_t first = to_alignment<line<T>>(y);
  if (first > n) first = n;
  narrow_from<false>(y, from, 0, first);
  narrow_from<true>(y, from, first, n);
}
