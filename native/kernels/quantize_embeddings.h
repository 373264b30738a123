// quantize_embeddings: rows of float32 as codes of fewer bits (rule 19). The twin of
// src/kernels/quantize_embeddings.ts.

// The nearest integer, ties to even, of a number from -2^22 to 2^22.
inline F to_integer(F value) { return (value + broadcast(0x1.8p23f)) - broadcast(0x1.8p23f); }

// Within these limits; `low` for NaN.
inline F limited(F value, float low, float high) { return smaller(larger(value, broadcast(low)), broadcast(high)); }

inline F nearest_code(F value) { return to_integer(limited(numbers(value), -127, 127)); }

// The code of a number in [low, low + 256 * step): how many steps it is above the lowest, which are cut off when
// stored.
inline F range_code(F value, F low, F step) { return limited((value - low) / step, 0, 255); }

constexpr float sqlite_vec_step = 2.0f / 255.0f;

inline int8_t sqlite_vec_code(float value) {
  const double code = (static_cast<double>(value) + 1) / static_cast<double>(sqlite_vec_step) - 128;
  const double above = code > -128 ? code : -128;
  const double within = above < 127 ? above : 127;
  return static_cast<int8_t>(value == value ? within : 0);
}

// Bit c of a row: whether x[c] > 0. Bits beyond the last are 0.
template <class T>
EVENKEEL_NOINLINE void pack_bits(uint8_t* out, size_t n, const T* x, bool msb, uint8_t flip) {
  for (size_t i = 0; i < n; i += 8) {
    const size_t some = n - i < 8 ? n - i : 8;
    unsigned byte = 0;
    for (size_t k = 0; k < some; ++k) byte |= static_cast<unsigned>(x[i + k] > 0) << (msb ? 7 - k : k);
    out[i / 8] = static_cast<uint8_t>(byte ^ flip);
  }
}

template <class T>
EVENKEEL_NOINLINE void pack_ranges(uint8_t* out, size_t n, const T* x, const T* low, const T* step, uint8_t flip) {
  each(n, [=](auto at) { at.write(out, range_code(at.read(x), at.read(low), at.read(step))); });
  for (size_t k = 0; k < n; ++k) out[k] ^= flip;
}

template <class T>
EVENKEEL_NOINLINE void pack_unit(uint8_t* out, size_t n, const T* x) {
  each(n, [=](auto at) { at.write(out, nearest_code(at.read(x) * broadcast(127.0f))); });
}

template <class T>
EVENKEEL_NOINLINE void pack_sqlite_vec(uint8_t* out, size_t n, const T* x) {
  for (size_t k = 0; k < n; ++k) out[k] = static_cast<uint8_t>(sqlite_vec_code(static_cast<float>(x[k])));
}

// Returns what a code of the row is multiplied by.
template <class T>
EVENKEEL_NOINLINE float pack_row(uint8_t* out, size_t n, const T* x) {
  const float largest = static_cast<float>(largest_number(n, x));
  const float quotient = largest / 127.0f;
  const float scale = quotient == 0 ? 1.0f : quotient;
  // In a row with Inf, whose scale is Inf, these are the largest codes and all others 0: 2^130 leaves nothing of them.
  const float by = scale == HUGE_VALF ? 0x1p100f : scale, less = scale == HUGE_VALF ? 0x1p-30f : 1.0f;
  each(n, [=](auto at) { at.write(out, nearest_code(at.read(x) / broadcast(by) * broadcast(less))); });
  return scale;
}

template <class T>
void quantize_embeddings(Codes codes, PerGroup scales, In<T> x, PerElement<T> low, PerElement<T> step, Groups shape) {
  const size_t n = shape.size;
  for (size_t row = 0; row < shape.outer; ++row) {
    uint8_t* out = codes.at(row, n);
    const T* in = x.at(row);
    switch (codes.format) {
      case CodeFormat::float16:
        narrow<Float16>(reinterpret_cast<uint16_t*>(out), in, n, false);
        break;
      case CodeFormat::bfloat16:
        narrow<Bfloat16>(reinterpret_cast<uint16_t*>(out), in, n, false);
        break;
      case CodeFormat::int8_ranges:
      case CodeFormat::uint8_ranges:
        if (low.data && step.data) {
          pack_ranges(out, n, in, low.data, step.data, codes.format == CodeFormat::int8_ranges ? 0x80 : 0);
        }
        break;
      case CodeFormat::int8_unit:
        pack_unit(out, n, in);
        break;
      case CodeFormat::int8_row:
        scales.set(row, pack_row(out, n, in));
        break;
      case CodeFormat::int8_sqlite_vec:
        pack_sqlite_vec(out, n, in);
        break;
      default: {
        const bool msb = codes.format == CodeFormat::ubinary_msb || codes.format == CodeFormat::binary_msb;
        pack_bits(out, n, in, msb, codes.format >= CodeFormat::binary_msb ? 0x80 : 0);
      }
    }
  }
}
