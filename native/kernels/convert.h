// Elements of 16 bits as float32, and back (rule 24). The twin of src/kernels/convert.ts.
// Included inside an ISA file's namespace, which gives the vector type F (width x float32).

// What is next in memory is asked for meanwhile: it comes while the kernel works on these (measured).
template <class T>
EVENKEEL_NOINLINE void widen(float* to, const uint16_t* from, size_t n) {
  const T* const x = reinterpret_cast<const T*>(from);
  each_unrolled(to, n, [=](auto at) {
    prefetch(x + n + at.i);
    at.write(to, at.read(x));
  });
}

// To the nearest, ties to even; one NaN.
template <class T>
EVENKEEL_NOINLINE void narrow(uint16_t* to, const float* from, size_t n, bool streamed) {
  T* const y = reinterpret_cast<T*>(to);
  const auto step = [=](auto at) { at.write(y, at.read(from)); };
  streams&& streamed ? each_streamed(y, n, step) : each_unrolled(y, n, step);
  if (streamed) end_of_stream();
}
