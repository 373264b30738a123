// Plain C++ for any machine: 4 float32 in an array, for the compiler to vectorise as it can.
#include <cfloat>

#include "isa.h"

// Half of what -O3 makes of it, and not needed for speed: loops become vectors all the same.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("Os", "tree-vectorize", "vect-cost-model=dynamic")
#endif

static_assert(FLT_EVAL_METHOD == 0, "each operation must round to its own type: x87 arithmetic gives other bits");

namespace evenkeel {
namespace portable {
namespace {

constexpr size_t width = 4;

struct F {
  float v[width];
};
struct D {
  double v[width];
};

#include "../kernels/float16.h"

template <class Vector, class Op>
inline Vector build(Op op) {
  Vector out;
  for (size_t i = 0; i < width; ++i) out.v[i] = op(i);
  return out;
}

inline F load(const float* p) {
  return build<F>([=](size_t i) { return p[i]; });
}
inline F load(const float* p, size_t n) {
  return build<F>([=](size_t i) { return i < n ? p[i] : 0.0f; });
}
inline void store(float* p, F a) {
  for (size_t i = 0; i < width; ++i) p[i] = a.v[i];
}
inline void store(float* p, F a, size_t n) {
  for (size_t i = 0; i < n; ++i) p[i] = a.v[i];
}
constexpr bool streams = false;  // no store goes past the caches
inline void stream(float* p, F a) { store(p, a); }
inline void end_of_stream() {}
template <class T>
inline void prefetch(const T*) {}

// Of 16 bits: parts of a vector by way of a copy.
inline F load(const Float16* p) {
  return build<F>([=](size_t i) { return from_float16(p[i].bits); });
}
inline F load(const Bfloat16* p) {
  return build<F>([=](size_t i) { return from_bfloat16(p[i].bits); });
}
// By a copy: codes may begin at any byte.
template <class T, class Convert>
inline void store_each(T* p, F a, Convert convert) {
  T all[width];
  for (size_t i = 0; i < width; ++i) all[i].bits = static_cast<uint16_t>(convert(a.v[i]));
  std::memcpy(static_cast<void*>(p), all, sizeof all);
}
inline void store(Float16* p, F a) { store_each(p, a, to_float16); }
inline void store(Bfloat16* p, F a) { store_each(p, a, to_bfloat16); }
// NaN is rounded right with the others here.
inline bool any_nan(F, F, F, F) { return false; }
template <bool past_caches, class T>
inline void store_numbers(T* p, F a, F b) {
  store(p, a);
  store(p + width, b);
}

inline F broadcast(float x) {
  return build<F>([=](size_t) { return x; });
}
inline F operator+(F a, F b) {
  return build<F>([&](size_t i) { return a.v[i] + b.v[i]; });
}
inline F operator-(F a, F b) {
  return build<F>([&](size_t i) { return a.v[i] - b.v[i]; });
}
inline F operator*(F a, F b) {
  return build<F>([&](size_t i) { return a.v[i] * b.v[i]; });
}
inline F operator/(F a, F b) {
  return build<F>([&](size_t i) { return a.v[i] / b.v[i]; });
}

inline D load_wide(const float* p) {
  return build<D>([=](size_t i) { return static_cast<double>(p[i]); });
}
inline D load_wide(const float* p, size_t n) {
  return build<D>([=](size_t i) { return i < n ? static_cast<double>(p[i]) : 0.0; });
}
inline D widen(F a) {
  return build<D>([&](size_t i) { return static_cast<double>(a.v[i]); });
}
inline D load_wide(const double* p) {
  return build<D>([=](size_t i) { return p[i]; });
}
inline void store(double* p, D a) {
  for (size_t i = 0; i < width; ++i) p[i] = a.v[i];
}
inline F narrow(D a) {
  return build<F>([&](size_t i) { return static_cast<float>(a.v[i]); });
}
inline D broadcast(double x) {
  return build<D>([=](size_t) { return x; });
}
inline D operator+(D a, D b) {
  return build<D>([&](size_t i) { return a.v[i] + b.v[i]; });
}
inline D operator-(D a, D b) {
  return build<D>([&](size_t i) { return a.v[i] - b.v[i]; });
}
inline D operator*(D a, D b) {
  return build<D>([&](size_t i) { return a.v[i] * b.v[i]; });
}
inline D operator/(D a, D b) {
  return build<D>([&](size_t i) { return a.v[i] / b.v[i]; });
}
inline D root(D a) {
  return build<D>([&](size_t i) { return std::sqrt(a.v[i]); });
}
inline F magnitude(F a) {
  return build<F>([&](size_t i) { return absolute(a.v[i]); });
}
// b where a is NaN.
inline F larger(F a, F b) {
  return build<F>([&](size_t i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline F smaller(F a, F b) {
  return build<F>([&](size_t i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
// 0 where it is NaN.
inline F numbers(F a) {
  return build<F>([&](size_t i) { return a.v[i] == a.v[i] ? a.v[i] : 0.0f; });
}
// The lowest eight bits of integers.
inline void store(uint8_t* p, F a) {
  for (size_t i = 0; i < width; ++i) p[i] = static_cast<uint8_t>(static_cast<int>(a.v[i]));
}
inline D magnitude(D a) {
  return build<D>([&](size_t i) { return std::fabs(a.v[i]); });
}
inline D add_exact_square(D sum, D a) { return sum + a * a; }
inline D keep(D a, size_t n) {
  return build<D>([&](size_t i) { return i < n ? a.v[i] : 0.0; });
}
// Half a vector: lane j is j + (j + width / 2).
struct Half {
  double v[width / 2];
};
inline Half half(D a) { return {{a.v[0] + a.v[2], a.v[1] + a.v[3]}}; }
inline double fold(D a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
// The sums of `width` vectors, a lane each, in the order of `fold`.
inline D fold(const Half* a) {
  return build<D>([=](size_t i) { return a[i].v[0] + a[i].v[1]; });
}
// Whether a > b in all lanes.
inline bool all_above(D a, D b) {
  bool all = true;
  for (size_t i = 0; i < width; ++i) all &= a.v[i] > b.v[i];
  return all;
}

#include "../kernels/all.h"

}  // namespace
}  // namespace portable

EVENKEEL_EXPORT_TABLES(portable)

}  // namespace evenkeel
