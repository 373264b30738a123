// NEON (ARMv8 Advanced SIMD): 4 float32 in a vector.
#include "isa.h"

#if EVENKEEL_ARM64

#include <arm_neon.h>

namespace evenkeel {
namespace neon {
namespace {

constexpr size_t width = 4;

struct F {
  float32x4_t v;
};
struct D {
  float64x2_t low, high;
};

inline F load(const float* p) { return {vld1q_f32(p)}; }
inline F load(const float* p, size_t n) {
  float part[width] = {};
  for (size_t i = 0; i < n; ++i) part[i] = p[i];
  return load(part);
}
inline void store(float* p, F a) { vst1q_f32(p, a.v); }
inline void store(float* p, F a, size_t n) {
  float part[width];
  store(part, a);
  for (size_t i = 0; i < n; ++i) p[i] = part[i];
}
constexpr bool streams = false;  // no store goes past the caches
inline void stream(float* p, F a) { store(p, a); }
inline void end_of_stream() {}
template <class T>
inline void prefetch(const T*) {}

// Of 16 bits: parts of a vector by way of a copy.
inline F load(const Float16* p) {
  return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const uint16_t*>(p))))};
}
inline F load(const Bfloat16* p) {
  return {vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(reinterpret_cast<const uint16_t*>(p)), 16))};
}
inline uint16x4_t bits_of(F a, const Float16*) {
  const uint16x4_t bits = vreinterpret_u16_f16(vcvt_f16_f32(a.v));
  return vbsl_u16(vmovn_u32(vceqq_f32(a.v, a.v)), bits, vdup_n_u16(0x7e00));
}
inline uint16x4_t bits_of(F a, const Bfloat16*) {
  const uint32x4_t bits = vreinterpretq_u32_f32(a.v);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  return vbsl_u16(vmovn_u32(vceqq_f32(a.v, a.v)), vshrn_n_u32(up, 16), vdup_n_u16(0x7fc0));
}
template <class T>
inline void store(T* p, F a) {
  vst1_u16(reinterpret_cast<uint16_t*>(p), bits_of(a, p));
}
// NaN is rounded right with the others here.
inline bool any_nan(F, F, F, F) { return false; }
template <bool past_caches, class T>
inline void store_numbers(T* p, F a, F b) {
  store(p, a);
  store(p + width, b);
}

inline F broadcast(float x) { return {vdupq_n_f32(x)}; }
inline F operator+(F a, F b) { return {vaddq_f32(a.v, b.v)}; }
inline F operator-(F a, F b) { return {vsubq_f32(a.v, b.v)}; }
inline F operator*(F a, F b) { return {vmulq_f32(a.v, b.v)}; }
inline F operator/(F a, F b) { return {vdivq_f32(a.v, b.v)}; }

inline D widen(F a) { return {vcvt_f64_f32(vget_low_f32(a.v)), vcvt_high_f64_f32(a.v)}; }
inline D load_wide(const float* p) { return widen(load(p)); }
inline D load_wide(const float* p, size_t n) { return widen(load(p, n)); }
inline D load_wide(const double* p) { return {vld1q_f64(p), vld1q_f64(p + 2)}; }
inline void store(double* p, D a) {
  vst1q_f64(p, a.low);
  vst1q_f64(p + 2, a.high);
}
inline F narrow(D a) { return {vcvt_high_f32_f64(vcvt_f32_f64(a.low), a.high)}; }
inline D broadcast(double x) { return {vdupq_n_f64(x), vdupq_n_f64(x)}; }
inline D operator+(D a, D b) { return {vaddq_f64(a.low, b.low), vaddq_f64(a.high, b.high)}; }
inline D operator-(D a, D b) { return {vsubq_f64(a.low, b.low), vsubq_f64(a.high, b.high)}; }
inline D operator*(D a, D b) { return {vmulq_f64(a.low, b.low), vmulq_f64(a.high, b.high)}; }
inline D operator/(D a, D b) { return {vdivq_f64(a.low, b.low), vdivq_f64(a.high, b.high)}; }
inline D root(D a) { return {vsqrtq_f64(a.low), vsqrtq_f64(a.high)}; }
inline F magnitude(F a) { return {vabsq_f32(a.v)}; }
inline F larger(F a, F b) { return {vmaxnmq_f32(a.v, b.v)}; }   // b where a is NaN
inline F smaller(F a, F b) { return {vminnmq_f32(a.v, b.v)}; }  // b where a is NaN
// 0 where it is NaN.
inline F numbers(F a) { return {vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a.v), vceqq_f32(a.v, a.v)))}; }
// The lowest eight bits of integers.
inline void store(uint8_t* p, F a) {
  const int16x4_t halves = vmovn_s32(vcvtq_s32_f32(a.v));
  const uint32_t all = vget_lane_u32(vreinterpret_u32_s8(vmovn_s16(vcombine_s16(halves, halves))), 0);
  std::memcpy(p, &all, sizeof all);
}
inline D magnitude(D a) { return {vabsq_f64(a.low), vabsq_f64(a.high)}; }
inline D add_exact_square(D sum, D a) {
  return {vfmaq_f64(sum.low, a.low, a.low), vfmaq_f64(sum.high, a.high, a.high)};
}
inline D keep(D a, size_t n) {
  double part[width];
  vst1q_f64(part, a.low);
  vst1q_f64(part + 2, a.high);
  for (size_t i = n; i < width; ++i) part[i] = 0;
  return {vld1q_f64(part), vld1q_f64(part + 2)};
}
// Half a vector: lane j is j + (j + width / 2).
using Half = float64x2_t;
inline Half half(D a) { return vaddq_f64(a.low, a.high); }
inline double fold(D a) {
  const float64x2_t two = half(a);
  return vgetq_lane_f64(two, 0) + vgetq_lane_f64(two, 1);
}
// The sums of `width` vectors, a lane each, in the order of `fold`.
inline D fold(const Half* a) { return {vpaddq_f64(a[0], a[1]), vpaddq_f64(a[2], a[3])}; }
// Whether a > b in all lanes.
inline bool all_above(D a, D b) {
  const uint64x2_t above = vandq_u64(vcgtq_f64(a.low, b.low), vcgtq_f64(a.high, b.high));
  return (vgetq_lane_u64(above, 0) & vgetq_lane_u64(above, 1)) != 0;
}

#include "../kernels/all.h"

}  // namespace
}  // namespace neon

EVENKEEL_EXPORT_TABLES(neon)

}  // namespace evenkeel

#endif
