// Elementwise maps of rows and runs (rules 7 and 8). The twin of src/kernels/maps.ts.
// Included inside an ISA file's namespace, which gives the vector types F (width x float32) and D (width x float64).
// "Rule n" is a rule of NUMERICS.md.

// Rule 7: x + residual * scale, each step rounded to T.
template <class T>
EVENKEEL_NOINLINE void add_residual(T* sum, const T* x, const T* residual, size_t n, float scale) {
  const F s = broadcast(scale);
  each(n, [=](auto at) { at.write(sum, at.read(x) + at.read(residual) * s); });
}

// 0 in n elements.
template <class T>
EVENKEEL_NOINLINE void clear(T* y, size_t n) {
  each(n, [=](auto at) { at.write(y, broadcast(0.0f)); });
}

// Rule 8 over n elements, with weights and biases `step` apart, null where there are none; `offset` as in rule 7.
template <class T>
EVENKEEL_RARE void affine_float64(T* y, const T* x, size_t n, const Scale& scale, const T* weight, const T* bias,
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

// How far ahead to ask for x while a row of n elements is written past the caches: for what is read after it.
inline size_t next_row(size_t n) {
  if (n < 2 * ahead) return 2 * ahead;
  return n <= short_row ? n : ahead;
}

// Rules 7 and 8 over n elements with a weight and a bias each; null where there is none.
template <class T>
EVENKEEL_NOINLINE void affine_row(T* y, const T* x, size_t n, const Scale& scale, const T* weight, const T* bias,
                                  bool streamed = false) {
  if (scale.needs_float64) return affine_float64(y, x, n, scale, weight, bias, 1);
  const F m = broadcast(scale.m);
  const F r = broadcast(scale.r);
  const F c = broadcast(scale.c);
  if (weight && bias && !streamed) {
    each_unrolled(y, n, [=](auto at) { at.write(y, ((at.read(x) - m) * r + c) * at.read(weight) + at.read(bias)); });
    return;
  }
  const Elements<T> w(weight, no_weight), b(bias, no_bias);
  const T* const next = x + next_row(n);
  const auto step = [&](auto at) {
    if constexpr (decltype(at)::past_caches) prefetch(next + at.i);
    at.write(y, ((at.read(x) - m) * r + c) * w.read(at) + b.read(at));
  };
  streams&& streamed ? each_streamed(y, n, step) : each(n, step);
}

// Rule 7 over `width` rows, none of which needs float64: four at a time, for which a weight and a bias are read once.
template <class T>
EVENKEEL_NOINLINE void affine_rows(T* const* y, const T* const* x, size_t n, const ScalesAbreast& scales,
                                   const T* weight, const T* bias) {
  const Elements<T> w(weight, no_weight), b(bias, no_bias);
  for (size_t row = 0; row < width; row += 4) {
    T* to[4];
    const T* from[4];
    F m[4], r[4], c[4];
    for (size_t k = 0; k < 4; ++k) {
      to[k] = y[row + k];
      from[k] = x[row + k];
      m[k] = broadcast(scales.m[row + k]);
      r[k] = broadcast(scales.r[row + k]);
      c[k] = broadcast(scales.c[row + k]);
    }
    each_aligned(to[0], n, [&](auto at) {
      const F of_w = w.read(at), of_b = b.read(at);
      for (size_t k = 0; k < 4; ++k) at.write(to[k], ((at.read(from[k]) - m[k]) * r[k] + c[k]) * of_w + of_b);
    });
  }
}

// The same for an operation that subtracts no mean and adds no bias; `all` is the weight where there is none for each
// element, `offset` as in rule 7.
template <class T>
EVENKEEL_NOINLINE void scale_row(T* y, const T* x, size_t n, const Scale& scale, const T* weight, T all, float offset,
                                 bool streamed) {
  if (!weight) offset = 0;
  if (scale.needs_float64)
    return affine_float64<T>(y, x, n, scale, weight ? weight : &all, nullptr, weight ? 1 : 0, offset);
  const F r = broadcast(scale.r);
  const F o = broadcast(offset == 0 ? no_bias : offset);
  const Elements<T> w(weight, static_cast<float>(all));
  const T* const next = x + next_row(n);
  const auto step = [&](auto at) {
    if constexpr (decltype(at)::past_caches) prefetch(next + at.i);
    at.write(y, at.read(x) * r * (w.read(at) + o));
  };
  streams&& streamed ? each_streamed(y, n, step) : each_unrolled(y, n, step);
}

// The same over `width` rows, none of which needs float64, four at a time.
template <class T>
EVENKEEL_NOINLINE void scale_rows(T* const* y, const T* const* x, size_t n, const ScalesAbreast& scales,
                                  const T* weight, T all, float offset) {
  if (!weight) offset = 0;
  const F o = broadcast(offset == 0 ? no_bias : offset);
  const Elements<T> w(weight, static_cast<float>(all));
  for (size_t row = 0; row < width; row += 4) {
    T* to[4];
    const T* from[4];
    F r[4];
    for (size_t k = 0; k < 4; ++k) {
      to[k] = y[row + k];
      from[k] = x[row + k];
      r[k] = broadcast(scales.r[row + k]);
    }
    each_aligned(to[0], n, [&](auto at) {
      const F of_w = w.read(at) + o;
      for (size_t k = 0; k < 4; ++k) at.write(to[k], at.read(from[k]) * r[k] * of_w);
    });
  }
}

// Whether the results of a call go past the caches: those of large tensors, unless they are written where x is.
template <class T>
bool goes_past_caches(Tensor<T> y, Tensor<const T> x, Volume shape) {
  return streams && shape.in_memory() > cached && y.data != x.data;
}

// Rules 7a and 8a over n elements of a channel.
template <class T>
EVENKEEL_NOINLINE void affine_run(T* y, const T* x, size_t n, const ChannelScale& scale, bool streamed) {
  if (scale.needs_float64) {
    for (size_t i = 0; i < n; ++i) {
      y[i] = static_cast<T>((static_cast<double>(x[i]) - scale.mean) * scale.s + scale.bias);
    }
    return;
  }
  const F m = broadcast(scale.m);
  const F f = broadcast(scale.f);
  const F c = broadcast(scale.c);
  const auto step = [=](auto at) { at.write(y, (at.read(x) - m) * f + c); };
  if (!(streams && streamed)) return each(n, step);
  prefetch(y + n);  // two runs may share a line of memory, which a stream cannot write
  each_streamed(y, n, step);
}

// The same over runs that threads share, one behind the other: sections may begin within one.
template <class T, class ScaleOf>
EVENKEEL_RARE void share_affine_runs(size_t helpers, T* y, const T* x, size_t channels, size_t positions, bool streamed,
                                     ScaleOf scale_of_channel) {
  in_sections(helpers, channels * positions, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end;) {
      const size_t channel = i / positions, behind = (channel + 1) * positions;
      const size_t n = (behind < end ? behind : end) - i;
      affine_run(y + i, x + i, n, scale_of_channel(channel), streamed);
      i += n;
    }
  });
}

// The same over the real positions of a run (rule 15), in x and y alike; the others become 0.
template <class T>
void affine_real_run(T* y, const T* x, size_t positions, const Spans& spans, size_t sample, const ChannelScale& scale,
                     bool streamed) {
  size_t done = 0;
  each_span(spans, sample, positions, [&](size_t begin, size_t end) {
    clear(y + done, begin - done);
    affine_run(y + begin, x + begin, end - begin, scale, streamed);
    done = end;
  });
  clear(y + done, positions - done);
}
