// The floating-point environment of a thread (rule 9).
#pragma once

#include <cstdint>

#include "arch.h"

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

namespace evenkeel {

// The control word that says how this thread rounds and whether it flushes subnormals to zero.
#if EVENKEEL_X86_64

using FloatControl = uint32_t;
constexpr FloatControl default_float_control = 0x1f80;  // MXCSR: to nearest, no FTZ, no DAZ, exceptions masked
constexpr FloatControl float_control_mask = 0xffc0;     // without the sticky exception flags

inline FloatControl get_float_control() {
#if defined(_MSC_VER) && !defined(__clang__)
  return _mm_getcsr();
#else
  FloatControl value;
  __asm__ volatile("stmxcsr %0" : "=m"(value));
  return value;
#endif
}

inline void set_float_control(FloatControl value) {
#if defined(_MSC_VER) && !defined(__clang__)
  _mm_setcsr(value);
#else
  __asm__ volatile("ldmxcsr %0" : : "m"(value) : "memory");
#endif
}

#elif EVENKEEL_ARM64

using FloatControl = uint64_t;
constexpr FloatControl default_float_control = 0;   // FPCR: to nearest, no FZ, no default NaN, no traps
constexpr FloatControl float_control_mask = ~0ull;  // the exception flags live in another register

inline FloatControl get_float_control() {
#if defined(_MSC_VER) && !defined(__clang__)
  return static_cast<FloatControl>(_ReadStatusReg(ARM64_FPCR));
#else
  FloatControl value;
  __asm__ volatile("mrs %0, fpcr" : "=r"(value));
  return value;
#endif
}

inline void set_float_control(FloatControl value) {
#if defined(_MSC_VER) && !defined(__clang__)
  _WriteStatusReg(ARM64_FPCR, static_cast<__int64>(value));
#else
  __asm__ volatile("msr fpcr, %0" : : "r"(value) : "memory");
#endif
}

#else

// Other machines run the portable kernels with the environment they have.
using FloatControl = uint32_t;
constexpr FloatControl default_float_control = 0;
constexpr FloatControl float_control_mask = 0;
inline FloatControl get_float_control() { return 0; }
inline void set_float_control(FloatControl) {}

#endif

inline bool same_float_control(FloatControl a, FloatControl b) { return ((a ^ b) & float_control_mask) == 0; }

// NUMERICS rule 9: for its lifetime this thread rounds to nearest and keeps subnormals; then the old state is back.
class DefaultFloatControl {
 public:
  DefaultFloatControl() : saved_(get_float_control()), changed_(!same_float_control(saved_, default_float_control)) {
    if (changed_) set_float_control(default_float_control);
  }
  ~DefaultFloatControl() {
    if (changed_) set_float_control(saved_);
  }
  DefaultFloatControl(const DefaultFloatControl&) = delete;
  DefaultFloatControl& operator=(const DefaultFloatControl&) = delete;

 private:
  FloatControl saved_;
  bool changed_;
};

}  // namespace evenkeel
