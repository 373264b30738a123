// The gradients of rows, runs and columns, from their sums (rules 21 to 23). The twin of src/kernels/gradient_maps.ts.
// Included inside an ISA file's namespace, which gives the vector types F (width x float32) and D (width x float64).
// "Rule n" is a rule of NUMERICS.md. With t = (x - mean) * rstd and g = dy * w, A is a sum of g and B one of g * t.

// How an element's gradient is made: rstd * ((g - a) - t * b), the same without a mean, or rstd * g.
enum class Way { centered, scaled, linear };

// The gradient of an element.
template <Way way>
EVENKEEL_INLINE D gradient(D g, D t, D r, D a, D b) {
  if constexpr (way == Way::centered) return r * ((g - a) - t * b);
  if constexpr (way == Way::scaled) return r * (g - t * b);
  return r * g;
}

// The same place for what is written beside dx: it need not be aligned where dx is, as a stream must.
EVENKEEL_INLINE Whole beside(Whole at) { return at; }
EVENKEEL_INLINE Tail beside(Tail at) { return at; }

// Adds to float64 sums: whole vectors, or the elements that there are, one by one (measured: with AVX2 a tenth less).
EVENKEEL_INLINE void add_to(double* sums, Whole at, D v) { store(sums + at.i, load_wide(sums + at.i) + v); }
EVENKEEL_INLINE void add_to(double* sums, Tail at, D v) {
  double lane[width];
  store(lane, v);
  for (size_t k = 0; k < at.n; ++k) sums[at.i + k] += lane[k];
}

// The sums of a block's rows, where they stand while rows are added: in whole lines of memory, which JavaScript's are
// not (measured: it saves a tenth). Those of long rows stay where they are.
class BlockSums {
 public:
  // For rows of n; streams are written to dx in aligned vectors, and begin so far from a line of memory.
  template <class T>
  BlockSums(size_t n, const T* dx, bool streamed) : n_(n), local_(sums_ + (streamed ? past_alignment(dx) : 0)) {}
  BlockSums(const BlockSums&) = delete;
  BlockSums& operator=(const BlockSums&) = delete;

  // Those that stand at `place` in memory; null where that is.
  double* of(double* place) {
    if (!place || n_ > kept_elements) return place;
    if (place != place_) {
      finish();
      std::memcpy(local_, place, n_ * sizeof(double));
      place_ = place;
    }
    return local_;
  }
  // Writes them back.
  void finish() const {
    if (place_) std::memcpy(place_, local_, n_ * sizeof(double));
  }

 private:
  size_t n_;
  double* place_ = nullptr;
  double* local_;
  alignas(64) double sums_[kept_elements + width];
};

// Where the gradients of a row go beside dx, and what is added to it: each may be null.
template <class T>
struct RowGradients {
  T* dresidual;
  double* dweight;
  double* dbias;
  const T* dsum;
  double residual_scale;

  RowGradients from(size_t i) const {
    return {dresidual ? dresidual + i : nullptr, dweight ? dweight + i : nullptr, dbias ? dbias + i : nullptr,
            dsum ? dsum + i : nullptr, residual_scale};
  }
};

// The gradients of n neighbors. `row` says that there may be a weight and what RowGradients has: else, and where
// `weight` is null, w is `all`. `keep` says whether g and t were kept.
template <Way way, bool row, bool keep, class T>
EVENKEEL_NOINLINE void write_gradients(T* dx, const T* dy, const T* x, size_t n, const Gradient& of, const T* weight,
                                       float all, const RowGradients<T>& to, const Kept* kept, Next<T> next,
                                       bool streamed) {
  constexpr bool centered = way == Way::centered;
  const Elements<T> w(weight, all);
  const D m = broadcast(of.mean), r = broadcast(of.rstd), a = broadcast(of.a), b = broadcast(of.b);
  // A copy: for all that the compiler knows, what is written might be `to` (measured: a twentieth).
  const RowGradients<T> own = to;
  const D scale = broadcast(own.residual_scale), of_all = broadcast(static_cast<double>(all));
  const auto step = [&](auto at) {
    next.ask(at);
    D g, t;
    if constexpr (keep) {
      g = load_wide(kept->g + at.i);
      t = load_wide(kept->t + at.i);
    } else {
      g = at.read_wide(dy) * (row ? w.read_wide(at) : of_all);
      t = normalized<centered>(at, x, m, r);
    }
    D d = gradient<way>(g, t, r, a, b);
    if constexpr (row) {
      if (own.dweight) add_to(own.dweight, at, at.read_wide(dy) * t);
      if (own.dbias) add_to(own.dbias, at, at.read_wide(dy));
      if (own.dsum) d = d + at.read_wide(own.dsum);
      if (own.dresidual) beside(at).write(own.dresidual, narrow(d * scale));
    }
    at.write(dx, narrow(d));
  };
  streams&& streamed ? each_streamed(dx, n, step) : each(n, step);
}

// The same where threads share them: nothing was kept.
template <class T>
EVENKEEL_RARE void share_gradients(decltype(&write_gradients<Way::linear, false, false, T>) write, size_t helpers,
                                   T* dx, const T* dy, const T* x, size_t n, const Gradient& of, const T* weight,
                                   float all, const RowGradients<T>& to, bool streamed) {
  in_sections(helpers, n, [&](size_t i, size_t end) {
    write(dx + i, dy + i, x + i, end - i, of, part(weight, i), all, to.from(i), nullptr, {}, streamed);
  });
}

// The gradients of a row, whose g and t were kept where it is short enough, or of what is behind the kept elements.
template <Way way, bool keep, class T>
void gradient_row(T* dx, const T* dy, const T* x, size_t n, const Gradient& of, const T* weight, float all,
                  const RowGradients<T>& to, const Kept* kept, Next<T> next, bool streamed, size_t helpers = 0) {
  auto write = write_gradients<way, true, keep, T>;
  if constexpr (keep) {
    if (!to.dsum && !to.dresidual && !to.dweight && !to.dbias) write = write_gradients<way, false, true, T>;
  }
  if (!keep && helpers > 0) return share_gradients(write, helpers, dx, dy, x, n, of, weight, all, to, streamed);
  write(dx, dy, x, n, of, weight, all, to, kept, next, streamed);
}

// Rows whose gradients are made side by side: as many as have registers, those of a stream where there is one.
constexpr size_t gradient_rows = width == 16 ? RowStream<float>::rows : 2;

// The gradients of some rows side by side; sums are null where there are none. Of the rows at `next` as much is asked
// for. With a stream they go past the caches.
template <Way way, class T>
EVENKEEL_NOINLINE void gradients_abreast(RowStream<T>* stream, Out<T> dx, In<T> dy, In<T> x, size_t n,
                                         const Gradient* of, const T* weight, double* dweight, double* dbias,
                                         const T* next) {
  const Elements<T> w(weight, no_weight);
  // Captured by value, so that all of them can be in registers.
  const auto step = [=, &w](auto at, auto put) EVENKEEL_INLINE_LAMBDA {
    const D of_w = w.read_wide(at);
    D to_weight = broadcast(0.0), to_bias = broadcast(0.0);
    if (dweight) to_weight = at.read_wide(dweight);
    if (dbias) to_bias = at.read_wide(dbias);
    unrolled<gradient_rows>([&](size_t k) EVENKEEL_INLINE_LAMBDA {
      prefetch(next + k * x.stride + at.i);
      const D given = at.read_wide(dy.data + k * dy.stride);
      const D r = broadcast(of[k].rstd);
      const D t = normalized<way == Way::centered>(at, x.data + k * x.stride, broadcast(of[k].mean), r);
      put(k, at, narrow(gradient<way>(given * of_w, t, r, broadcast(of[k].a), broadcast(of[k].b))));
      to_weight = to_weight + given * t;
      to_bias = to_bias + given;
    });
    if (dweight) beside(at).write(dweight, to_weight);
    if (dbias) beside(at).write(dbias, to_bias);
  };
  if constexpr (width == 16) {
    if (stream) return stream->write(dx.data, step);
  }
  const auto put = [dx](size_t k, auto at, F v) EVENKEEL_INLINE_LAMBDA { at.write(dx.data + k * dx.stride, v); };
  each(n, [=](auto at) EVENKEEL_INLINE_LAMBDA { step(at, put); });
}

// Whether rows side by side take less time than one by one (all measured): short ones do, and longer ones where they go
// past the caches or where sums over rows are written once for all of them. With half as many registers they go past
// the caches as fast one by one, and are enough for long ones only without a mean.
template <Way way, class T>
bool gradients_go_abreast(Out<T> dx, SumOverRows dweight, SumOverRows dbias, const Groups& shape, bool streamed) {
  constexpr size_t short_rows = width == 16 ? 256 : 64;
  if (shape.helpers > 0 || shape.listed || (dweight.done | dbias.done) % gradient_rows > 0) return false;
  if (streamed && (width < 16 || !RowStream<T>::takes(dx.stride))) return false;
  if (shape.size <= short_rows) return true;
  if (shape.size > kept_elements) return false;  // they leave the first cache before they are read again
  return streamed || ((width == 16 || way == Way::scaled) && (dweight.data || dbias.data));
}

// The first rows of a call, some side by side: each sum is then written once for all of them, what is weighted alike is
// read once, and fewer writes wait behind those that go past the caches (measured: a quarter of the time). Returns how
// many rows it did. gradient_of(row) gives mean and rstd.
template <Way way, class T, class GradientOf>
size_t gradients_abreast(Out<T> dx, In<T> dy, In<T> x, PerElement<T> weight, SumOverRows dweight, SumOverRows dbias,
                         const Groups& shape, bool streamed, GradientOf gradient_of) {
  constexpr size_t together = gradient_rows;
  const size_t n = shape.size, rows = shape.outer / together * together;
  RowStream<T> stream(n, dx.stride);
  for (size_t i = 0; i < rows; i += together) {
    const size_t next = i + together < rows ? i + together : i;
    Gradient of[together];
    for (size_t k = 0; k < together; ++k) of[k] = gradient_of(i + k);
    const In<T> of_dy{dy.at(i), dy.stride}, of_x{x.at(i), x.stride};
    gradient_sums_abreast<way == Way::centered, together>(n, of_dy, of_x, of, weight.data, dy.at(next));
    gradients_abreast<way>(streamed ? &stream : nullptr, Out<T>{dx.at(i), dx.stride}, of_dy, of_x, n, of, weight.data,
                           dweight.at(i, shape), dbias.at(i, shape), x.at(next));
  }
  stream.finish();
  return rows;
}

// dx of n neighbors of a channel.
template <Way way, class T>
void gradient_run(T* dx, const T* dy, const T* x, size_t n, const Gradient& of, float w, Next<T> next, bool streamed,
                  size_t helpers = 0) {
  const T* const none = nullptr;
  const auto write = write_gradients<way, false, false, T>;
  const RowGradients<T> nothing{};
  if (helpers > 0) return share_gradients(write, helpers, dx, dy, x, n, of, none, w, nothing, streamed);
  write(dx, dy, x, n, of, none, w, nothing, nullptr, next, streamed);
}

// The same over the real positions of a run (rule 15); the others become 0.
template <Way way, class T>
void gradient_real_run(T* dx, const T* dy, const T* x, size_t positions, const Spans& spans, size_t sample,
                       const Gradient& of, float w, Next<T> next, bool streamed, size_t helpers = 0) {
  if (!spans) return gradient_run<way>(dx, dy, x, positions, of, w, next, streamed, helpers);
  size_t done = 0;
  each_span(spans, sample, positions, [&](size_t begin, size_t end) {
    clear(dx + done, begin - done);
    gradient_run<way>(dx + begin, dy + begin, x + begin, end - begin, of, w, Next<T>{}, streamed);
    done = end;
  });
  clear(dx + done, positions - done);
}

// Whether the gradients of a call go past the caches.
template <class T>
bool gradients_go_past_caches(const T* dx, const T* dy, const T* x, size_t elements) {
  return streams && elements > cached && dx != dy && dx != x;
}

// dx of n <= strip columns, which are channels. Rows that are not real become 0 (rule 15).
template <Way way, class T>
EVENKEEL_NOINLINE void gradient_columns(T* dx, const T* dy, const T* x, size_t stride, size_t n, RowSet rows,
                                        const ColumnGradients& of, bool streamed) {
  if (rows.helpers > 0) {
    const size_t count = rows.samples * rows.positions, row = rows.first * rows.positions;
    return in_sections(rows.helpers, count, 1, count * n, [=, &of](size_t begin, size_t end) {
      const size_t at = (row + begin) * stride;
      gradient_columns<way>(dx + at, dy + at, x + at, stride, n, RowSet{0, 1, end - begin, {}}, of, streamed);
    });
  }
  constexpr size_t together = RowStream<T>::rows;
  // Those of an evaluation take half as long, and each way of it a part of the package.
  constexpr bool may_stream = streams && way != Way::linear;
  RowStream<T> stream(n, stride);
  const bool past_caches = may_stream && streamed && RowStream<T>::takes(stride);
  // Where all is in a core's own caches the same row, which costs next to nothing.
  const size_t next = rows.elements(stride) > near ? rows_ahead(stride, together) * stride : 0;
  const auto some_rows = [=, &of](auto at, size_t first, size_t count, auto put) EVENKEEL_INLINE_LAMBDA {
    const D m = load_wide(of.mean + at.i), r = load_wide(of.rstd + at.i), w = load_wide(of.w + at.i);
    const D a = load_wide(of.a + at.i), b = load_wide(of.b + at.i);
    for (size_t i = 0; i < count; ++i) {
      const size_t row = first + i * stride;
      prefetch(dy + row + next + at.i);
      const D g = at.read_wide(dy + row) * w;
      if constexpr (way != Way::linear) prefetch(x + row + next + at.i);
      put(i, at, narrow(gradient<way>(g, normalized<true>(at, x + row, m, r), r, a, b)));
    }
  };
  each_real_rows(dx, stride, n, rows, [&](size_t first, size_t count) {
    for (size_t row = 0; row < count; row += together) {
      const size_t some = count - row < together ? count - row : together, from = first + row * stride;
      if constexpr (may_stream) {
        if (past_caches && some == together) {
          stream.write(dx + from,
                       [=](auto at, auto put) EVENKEEL_INLINE_LAMBDA { some_rows(at, from, together, put); });
          continue;
        }
      }
      const auto put = [=](size_t i, auto at, F v) { at.write(dx + from + i * stride, v); };
      each(n, [=](auto at) { some_rows(at, from, some, put); });
    }
  });
  stream.finish();
}
