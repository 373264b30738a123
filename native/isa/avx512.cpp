// AVX-512 F: 16 float32 in a vector.
#include "isa.h"

#if EVENKEEL_X86_64

#include <immintrin.h>

EVENKEEL_TARGET_BEGIN("avx2,fma,f16c,avx512f")

namespace evenkeel {
namespace avx512 {
namespace {

constexpr size_t width = 16;

struct F {
  __m512 v;
};
struct D {
  __m512d low, high;
};

inline __mmask16 first(size_t n) { return static_cast<__mmask16>((1u << n) - 1); }

inline F load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline F load(const float* p, size_t n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
inline void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
inline void store(float* p, F a, size_t n) { _mm512_mask_storeu_ps(p, first(n), a.v); }
constexpr bool streams = true;
// Past the caches; p is aligned to a vector.
inline void stream(float* p, F a) { _mm512_stream_ps(p, a.v); }
inline void end_of_stream() { _mm_sfence(); }
// Inlined at once: GCC takes a call that does nothing else for one without effect, and leaves it out (measured).
template <class T>
EVENKEEL_INLINE void prefetch(const T* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

// Of 16 bits: parts of a vector by way of a copy.
inline F load(const Float16* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))}; }
inline F load(const Bfloat16* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
inline __m256i bits_of_numbers(F a, const Float16*) {
  return _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline __m256i bits_of_numbers(F a, const Bfloat16*) {
  const __m512i bits = _mm512_castps_si512(a.v);
  // -0x7fff where the upper half is even, -0x8000 where it is odd: -0x8000 | (1 & ~upper).
  const __m512i upper = _mm512_srli_epi32(bits, 16);
  const __m512i down = _mm512_ternarylogic_epi32(upper, _mm512_set1_epi32(1), _mm512_set1_epi32(-0x8000), 0xae);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_sub_epi32(bits, down), 16));
}
template <class T>
inline __m256i bits_of(F a, const T* type) {
  const __mmask16 no_number = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  const __m512 nan = _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000));
  return bits_of_numbers({_mm512_mask_mov_ps(a.v, no_number, nan)}, type);
}
template <class T>
inline void store(T* p, F a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bits_of(a, p));
}
inline bool any_nan(F a, F b, F c, F d) {
  const __mmask16 either = _mm512_cmp_ps_mask(a.v, b.v, _CMP_UNORD_Q),
                  other = _mm512_cmp_ps_mask(c.v, d.v, _CMP_UNORD_Q);
  return (either | other) != 0;
}
// Two neighbors without NaN; past the caches p is aligned to both.
template <bool past_caches, class T>
inline void store_numbers(T* p, F a, F b) {
  const __m256i low = bits_of_numbers(a, p), high = bits_of_numbers(b, p);
  if constexpr (past_caches) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(p), _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + width), high);
  }
}

inline F broadcast(float x) { return {_mm512_set1_ps(x)}; }
inline F operator+(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }

inline D load_wide(const float* p) {
  return {_mm512_cvtps_pd(_mm256_loadu_ps(p)), _mm512_cvtps_pd(_mm256_loadu_ps(p + 8))};
}
inline D widen(F a) {
  const __m256d high = _mm512_extractf64x4_pd(_mm512_castps_pd(a.v), 1);
  return {_mm512_cvtps_pd(_mm512_castps512_ps256(a.v)), _mm512_cvtps_pd(_mm256_castpd_ps(high))};
}
inline D load_wide(const float* p, size_t n) { return widen(load(p, n)); }
inline D load_wide(const double* p) { return {_mm512_loadu_pd(p), _mm512_loadu_pd(p + 8)}; }
inline void store(double* p, D a) {
  _mm512_storeu_pd(p, a.low);
  _mm512_storeu_pd(p + 8, a.high);
}
inline D load_wide(const double* p, size_t n) {
  return {_mm512_maskz_loadu_pd(static_cast<__mmask8>(first(n)), p),
          _mm512_maskz_loadu_pd(static_cast<__mmask8>(first(n) >> 8), p + 8)};
}
inline void store(double* p, D a, size_t n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>(first(n)), a.low);
  _mm512_mask_storeu_pd(p + 8, static_cast<__mmask8>(first(n) >> 8), a.high);
}
inline F narrow(D a) {
  const __m512d low = _mm512_castps_pd(_mm512_castps256_ps512(_mm512_cvtpd_ps(a.low)));
  return {_mm512_castpd_ps(_mm512_insertf64x4(low, _mm256_castps_pd(_mm512_cvtpd_ps(a.high)), 1))};
}
inline D broadcast(double x) { return {_mm512_set1_pd(x), _mm512_set1_pd(x)}; }
inline D operator+(D a, D b) { return {_mm512_add_pd(a.low, b.low), _mm512_add_pd(a.high, b.high)}; }
inline D operator-(D a, D b) { return {_mm512_sub_pd(a.low, b.low), _mm512_sub_pd(a.high, b.high)}; }
inline D operator*(D a, D b) { return {_mm512_mul_pd(a.low, b.low), _mm512_mul_pd(a.high, b.high)}; }
inline D operator/(D a, D b) { return {_mm512_div_pd(a.low, b.low), _mm512_div_pd(a.high, b.high)}; }
inline D root(D a) { return {_mm512_sqrt_pd(a.low), _mm512_sqrt_pd(a.high)}; }
inline F magnitude(F a) { return {_mm512_abs_ps(a.v)}; }
inline F larger(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }   // b where a is NaN
inline F smaller(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }  // b where a is NaN
// 0 where it is NaN.
inline F numbers(F a) { return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a.v, a.v, _CMP_ORD_Q), a.v)}; }
// The lowest eight bits of integers.
inline void store(uint8_t* p, F a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(a.v)));
}
inline D magnitude(D a) { return {_mm512_abs_pd(a.low), _mm512_abs_pd(a.high)}; }
inline D add_exact_square(D sum, D a) {
  return {_mm512_fmadd_pd(a.low, a.low, sum.low), _mm512_fmadd_pd(a.high, a.high, sum.high)};
}
inline D keep(D a, size_t n) {
  return {_mm512_maskz_mov_pd(static_cast<__mmask8>(first(n)), a.low),
          _mm512_maskz_mov_pd(static_cast<__mmask8>(first(n) >> 8), a.high)};
}
// Half a vector: lane j is j + (j + width / 2).
using Half = __m512d;
inline Half half(D a) { return _mm512_add_pd(a.low, a.high); }
inline double fold(D a) {
  const __m512d eight = half(a);
  const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}
// Masked, as GCC 12 warns of its own header in the others.
inline __m512d fold_fours(Half a, Half b) {
  return _mm512_add_pd(_mm512_maskz_shuffle_f64x2(0xff, a, b, 0x44), _mm512_maskz_shuffle_f64x2(0xff, a, b, 0xee));
}
inline __m512d fold_twos(__m512d a, __m512d b) {
  return _mm512_add_pd(_mm512_maskz_shuffle_f64x2(0xff, a, b, 0x88), _mm512_maskz_shuffle_f64x2(0xff, a, b, 0xdd));
}
inline __m512d fold_eight(const Half* a) {
  const __m512d even = fold_twos(fold_fours(a[0], a[2]), fold_fours(a[4], a[6]));
  const __m512d odd = fold_twos(fold_fours(a[1], a[3]), fold_fours(a[5], a[7]));
  return _mm512_add_pd(_mm512_maskz_unpacklo_pd(0xff, even, odd), _mm512_maskz_unpackhi_pd(0xff, even, odd));
}
// The sums of `width` vectors, a lane each, in the order of `fold`.
inline D fold(const Half* a) { return {fold_eight(a), fold_eight(a + 8)}; }
// Whether a > b in all lanes.
inline bool all_above(D a, D b) {
  return (_mm512_cmp_pd_mask(a.low, b.low, _CMP_GT_OQ) & _mm512_cmp_pd_mask(a.high, b.high, _CMP_GT_OQ)) == 0xff;
}

#include "../kernels/all.h"

}  // namespace
}  // namespace avx512

EVENKEEL_EXPORT_TABLES(avx512)

}  // namespace evenkeel

EVENKEEL_TARGET_END

#endif
