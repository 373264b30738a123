// pool_embeddings: one embedding of each sample's real positions, by as many kinds of pooling as there are places for
// (rule 18). The twin of src/kernels/pool_embeddings.ts.

// Channels whose sums are kept at a time. No bits depend on it.
constexpr size_t pooled_channels = 1024;

// What has been added of some channels.
struct Pooled {
  alignas(64) double sum[pooled_channels];
  alignas(64) double weighted[pooled_channels];
  alignas(64) float largest[pooled_channels];
};

inline void clear_vectors(double* sum, size_t n) {
  for (size_t i = 0; i < n; i += width) store(sum + i, broadcast(0.0));
}

// sum += x, or sum += weight * x with the weights from `first` on, of `count` positions one after the other.
template <bool weighted, class T>
void add_positions(double* sum, size_t n, const T* x, size_t stride, size_t count, double first) {
  each(n, [&](auto at) {
    D s = load_wide(sum + at.i);
    for (size_t p = 0; p < count; ++p) {
      const D v = at.read_wide(x + p * stride);
      s = s + (weighted ? v * broadcast(first + static_cast<double>(p)) : v);
    }
    store(sum + at.i, s);
  });
}

// The larger of the two, the first of equals, NaN where there was one.
template <class T>
void keep_largest(float* largest, size_t n, const T* x) {
  for (size_t k = 0; k < n; ++k) {
    const float v = static_cast<float>(x[k]);
    largest[k] = v > largest[k] || v != v ? v : largest[k];
  }
}

// Rounds sum / divisor into the places of n groups.
inline void set_quotients(PerGroup to, size_t group, size_t n, const double* sum, double divisor) {
  const D by = broadcast(divisor);
  if (!to.full) {
    if (!to.single) return;
    each(n, [&](auto at) { at.write(to.single + group, narrow(load_wide(sum + at.i) / by)); });
    return;
  }
  for (size_t k = 0; k < n; ++k) to.set(group + k, sum[k] / divisor);
}

template <class T>
void set_elements(PerGroup to, size_t group, size_t n, const T* x) {
  if constexpr (std::is_same_v<T, float>) {
    if (to.single) std::memcpy(to.single + group, x, n * sizeof(T));  // NaN keeps its bits
  }
  if (to.full || !std::is_same_v<T, float>) {
    for (size_t k = 0; k < n; ++k) to.set(group + k, static_cast<double>(x[k]));
  }
}

inline bool has_place(PerGroup to) { return to.single || to.full; }

template <class T>
void pool_embeddings(PerGroup mean, PerGroup mean_sqrt, PerGroup weighted_mean, PerGroup cls, PerGroup last,
                     PerGroup max, Tensor<const T> x, Volume shape) {
  const bool adds = has_place(mean) || has_place(mean_sqrt), weighs = has_place(weighted_mean);
  if (!shape.channels_last) return;  // only who calls the addon itself can say so
  Pooled pooled;
  for (size_t sample = 0; sample < shape.samples; ++sample) {
    const size_t real = count_real(shape.spans, sample, shape.positions);
    for (size_t first = 0; first < shape.groups; first += pooled_channels) {
      const size_t n = shape.groups - first < pooled_channels ? shape.groups - first : pooled_channels;
      const size_t group = sample * shape.groups + first;
      // What is not read is not cleared, and in vectors: GCC's instruction for it takes a tenth of the call (measured).
      if (adds || real == 0) clear_vectors(pooled.sum, n);
      if (weighs) clear_vectors(pooled.weighted, n);
      if (real == 0) clear(pooled.largest, n);
      size_t done = 0;
      each_span(shape.spans, sample, shape.positions, [&](size_t begin, size_t end) {
        for (size_t position = begin; position < end;) {
          const size_t take = end - position < rows_in_registers ? end - position : rows_in_registers;
          const T* in = x.data + (sample * shape.positions + position) * shape.pitch + first;
          if (adds) add_positions<false>(pooled.sum, n, in, shape.pitch, take, 0);
          if (weighs) add_positions<true>(pooled.weighted, n, in, shape.pitch, take, static_cast<double>(done + 1));
          if (done == 0) set_elements(cls, group, n, in);
          if (has_place(max)) {
            if (done == 0) {
              for (size_t k = 0; k < n; ++k) pooled.largest[k] = static_cast<float>(in[k]);
            }
            for (size_t p = 0; p < take; ++p) keep_largest(pooled.largest, n, in + p * shape.pitch);
          }
          position += take;
          done += take;
          if (done == real) set_elements(last, group, n, in + (take - 1) * shape.pitch);
        }
      });
      if (real == 0) {  // zeros, whatever the kind
        set_quotients(cls, group, n, pooled.sum, 1);
        set_quotients(last, group, n, pooled.sum, 1);
      }
      const double count = real == 0 ? 1 : static_cast<double>(real);
      set_quotients(mean, group, n, pooled.sum, count);
      set_quotients(mean_sqrt, group, n, pooled.sum, std::sqrt(count));
      set_quotients(weighted_mean, group, n, pooled.weighted, count * (count + 1) / 2);
      set_elements(max, group, n, pooled.largest);
    }
  }
}
