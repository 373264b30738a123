// AVX2, FMA and F16C: 8 float32 in a vector.
#include "isa.h"

#if EVENKEEL_X86_64

#include <immintrin.h>

EVENKEEL_TARGET_BEGIN("avx2,fma,f16c")

namespace evenkeel {
namespace avx2 {
namespace {

constexpr size_t width = 8;

struct F {
  __m256 v;
};
struct D {
  __m256d low, high;
};

// n ones and then zeros, as masks: read from index 8 - n.
constexpr int32_t first32[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
constexpr int64_t first64[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

inline __m256i mask32(size_t n) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first32 + 8 - n)); }
inline __m256d mask64(size_t n) { return _mm256_loadu_pd(reinterpret_cast<const double*>(first64 + 8 - n)); }

inline F load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline F load(const float* p, size_t n) { return {_mm256_maskload_ps(p, mask32(n))}; }
inline void store(float* p, F a) { _mm256_storeu_ps(p, a.v); }
inline void store(float* p, F a, size_t n) { _mm256_maskstore_ps(p, mask32(n), a.v); }
constexpr bool streams = true;
// Past the caches; p is aligned to a vector.
inline void stream(float* p, F a) { _mm256_stream_ps(p, a.v); }
inline void end_of_stream() { _mm_sfence(); }
// Inlined at once: GCC takes a call that does nothing else for one without effect, and leaves it out (measured).
template <class T>
EVENKEEL_INLINE void prefetch(const T* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

// Of 16 bits: parts of a vector by way of a copy.
inline F load(const Float16* p) { return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
inline F load(const Bfloat16* p) {
  const __m256i twice = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m256i places = _mm256_setr_epi8(-1, -1, 0, 1, -1, -1, 2, 3, -1, -1, 4, 5, -1, -1, 6, 7, -1, -1, 8, 9, -1, -1,
                                          10, 11, -1, -1, 12, 13, -1, -1, 14, 15);
  return {_mm256_castsi256_ps(_mm256_shuffle_epi8(twice, places))};
}
// The upper halves, rounded.
inline __m256i upper_halves(F a) {
  const __m256i bits = _mm256_castps_si256(a.v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd), 16);
}
inline __m128i bits_of_numbers(F a, const Float16*) {
  return _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline __m128i bits_of_numbers(F a, const Bfloat16*) {
  const __m256i upper = upper_halves(a);
  return _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1));
}
inline __m256i bits_of_numbers(F a, F b, const Float16* type) {
  return _mm256_set_m128i(bits_of_numbers(b, type), bits_of_numbers(a, type));
}
inline __m256i bits_of_numbers(F a, F b, const Bfloat16*) {
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(upper_halves(a), upper_halves(b)), 0xd8);
}
template <class T>
inline __m128i bits_of(F a, const T* type) {
  const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
  const __m256 no_number = _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q);
  return bits_of_numbers({_mm256_blendv_ps(a.v, nan, no_number)}, type);
}
template <class T>
inline void store(T* p, F a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bits_of(a, p));
}
inline bool any_nan(F a, F b, F c, F d) {
  const __m256 either = _mm256_cmp_ps(a.v, b.v, _CMP_UNORD_Q), other = _mm256_cmp_ps(c.v, d.v, _CMP_UNORD_Q);
  return _mm256_movemask_ps(_mm256_or_ps(either, other)) != 0;
}
// Two neighbors without NaN; past the caches p is aligned to both.
template <bool past_caches, class T>
inline void store_numbers(T* p, F a, F b) {
  auto* const to = reinterpret_cast<__m256i*>(p);
  const __m256i bits = bits_of_numbers(a, b, p);
  past_caches ? _mm256_stream_si256(to, bits) : _mm256_storeu_si256(to, bits);
}

inline F broadcast(float x) { return {_mm256_set1_ps(x)}; }
inline F operator+(F a, F b) { return {_mm256_add_ps(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm256_div_ps(a.v, b.v)}; }

// Two loads of 128 bits, not one of 256 and an extract: the conversions bound the statistics (measured).
inline D load_wide(const float* p) { return {_mm256_cvtps_pd(_mm_loadu_ps(p)), _mm256_cvtps_pd(_mm_loadu_ps(p + 4))}; }
inline D widen(F a) {
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(a.v)), _mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1))};
}
inline D load_wide(const float* p, size_t n) { return widen(load(p, n)); }
inline D load_wide(const double* p) { return {_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)}; }
inline void store(double* p, D a) {
  _mm256_storeu_pd(p, a.low);
  _mm256_storeu_pd(p + 4, a.high);
}
// The first n float64, half by half.
inline __m256i mask_low(size_t n) { return _mm256_castpd_si256(mask64(n < 4 ? n : 4)); }
inline __m256i mask_high(size_t n) { return _mm256_castpd_si256(mask64(n < 4 ? 0 : n - 4)); }
inline D load_wide(const double* p, size_t n) {
  return {_mm256_maskload_pd(p, mask_low(n)), _mm256_maskload_pd(p + 4, mask_high(n))};
}
inline void store(double* p, D a, size_t n) {
  _mm256_maskstore_pd(p, mask_low(n), a.low);
  _mm256_maskstore_pd(p + 4, mask_high(n), a.high);
}
inline F narrow(D a) { return {_mm256_set_m128(_mm256_cvtpd_ps(a.high), _mm256_cvtpd_ps(a.low))}; }
inline D broadcast(double x) { return {_mm256_set1_pd(x), _mm256_set1_pd(x)}; }
inline D operator+(D a, D b) { return {_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)}; }
inline D operator-(D a, D b) { return {_mm256_sub_pd(a.low, b.low), _mm256_sub_pd(a.high, b.high)}; }
inline D operator*(D a, D b) { return {_mm256_mul_pd(a.low, b.low), _mm256_mul_pd(a.high, b.high)}; }
inline D operator/(D a, D b) { return {_mm256_div_pd(a.low, b.low), _mm256_div_pd(a.high, b.high)}; }
inline D root(D a) { return {_mm256_sqrt_pd(a.low), _mm256_sqrt_pd(a.high)}; }
inline F magnitude(F a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
inline F larger(F a, F b) { return {_mm256_max_ps(a.v, b.v)}; }   // b where a is NaN
inline F smaller(F a, F b) { return {_mm256_min_ps(a.v, b.v)}; }  // b where a is NaN
// 0 where it is NaN.
inline F numbers(F a) { return {_mm256_and_ps(a.v, _mm256_cmp_ps(a.v, a.v, _CMP_ORD_Q))}; }
// The lowest eight bits of integers.
inline void store(uint8_t* p, F a) {
  const __m256i bits = _mm256_and_si256(_mm256_cvttps_epi32(a.v), _mm256_set1_epi32(0xff));
  const __m256i fours = _mm256_packus_epi16(_mm256_packus_epi32(bits, bits), bits);
  const __m128i all = _mm_unpacklo_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), all);
}
inline D magnitude(D a) {
  const __m256d sign = _mm256_set1_pd(-0.0);
  return {_mm256_andnot_pd(sign, a.low), _mm256_andnot_pd(sign, a.high)};
}
inline D add_exact_square(D sum, D a) {
  return {_mm256_fmadd_pd(a.low, a.low, sum.low), _mm256_fmadd_pd(a.high, a.high, sum.high)};
}
inline D keep(D a, size_t n) {
  return {_mm256_and_pd(a.low, mask64(n < 4 ? n : 4)), _mm256_and_pd(a.high, mask64(n < 4 ? 0 : n - 4))};
}
// Half a vector: lane j is j + (j + width / 2).
using Half = __m256d;
inline Half half(D a) { return _mm256_add_pd(a.low, a.high); }
inline double fold(D a) {
  const __m256d four = half(a);
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}
inline __m256d fold_twos(Half a, Half b) {
  return _mm256_add_pd(_mm256_permute2f128_pd(a, b, 0x20), _mm256_permute2f128_pd(a, b, 0x31));
}
inline __m256d fold_four(const Half* a) {
  const __m256d even = fold_twos(a[0], a[2]), odd = fold_twos(a[1], a[3]);
  return _mm256_add_pd(_mm256_unpacklo_pd(even, odd), _mm256_unpackhi_pd(even, odd));
}
// The sums of `width` vectors, a lane each, in the order of `fold`.
inline D fold(const Half* a) { return {fold_four(a), fold_four(a + 4)}; }
// Whether a > b in all lanes.
inline bool all_above(D a, D b) {
  const __m256d low = _mm256_cmp_pd(a.low, b.low, _CMP_GT_OQ), high = _mm256_cmp_pd(a.high, b.high, _CMP_GT_OQ);
  return _mm256_movemask_pd(_mm256_and_pd(low, high)) == 0xf;
}

#include "../kernels/all.h"

}  // namespace
}  // namespace avx2

EVENKEEL_EXPORT_TABLES(avx2)

}  // namespace evenkeel

EVENKEEL_TARGET_END

#endif
