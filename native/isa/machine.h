// What differs between machines besides their vectors: CPU detection and the floating-point environment of a thread.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

#if defined(__x86_64__) || defined(_M_X64)
#define EVENKEEL_X86_64 1
#elif defined(__aarch64__) || defined(_M_ARM64)
#define EVENKEEL_ARM64 1
#endif

// Code of its own, once, for what is rare or long: inlined or cloned it would fill half the package. And code without
// which a loop is none.
#if defined(__clang__)
#define EVENKEEL_APART __attribute__((noinline))
#define EVENKEEL_INLINE inline __attribute__((always_inline))
#define EVENKEEL_RARE EVENKEEL_APART
#elif defined(__GNUC__)
#define EVENKEEL_APART __attribute__((noinline, noclone))
#define EVENKEEL_RARE __attribute__((noinline, noclone, cold))
#define EVENKEEL_INLINE inline __attribute__((always_inline))
#else
#define EVENKEEL_APART __declspec(noinline)
#define EVENKEEL_INLINE __forceinline
#define EVENKEEL_RARE EVENKEEL_APART
#endif

namespace evenkeel {

// Elements of a tensor up to which it is cached. Beyond, results go past the caches, and each row is read and written
// before the next: memory likes that best (measured).
constexpr size_t cached = 5 << 19;
// Elements of a row up to which it is still in the first cache when the next ones have been read.
constexpr size_t short_row = 4096;

// The vector extensions that both the CPU and the operating system support.
struct CpuFeatures {
  bool avx2 = false;    // AVX2 and FMA
  bool avx512 = false;  // AVX-512 F
  bool neon = false;    // Advanced SIMD; every 64-bit ARM has it
};

#if EVENKEEL_X86_64

struct CpuidRegisters {
  uint32_t eax, ebx, ecx, edx;
};

inline CpuidRegisters cpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidRegisters out;
#if defined(_MSC_VER) && !defined(__clang__)
  int registers[4];
  __cpuidex(registers, static_cast<int>(leaf), static_cast<int>(subleaf));
  out = {static_cast<uint32_t>(registers[0]), static_cast<uint32_t>(registers[1]), static_cast<uint32_t>(registers[2]),
         static_cast<uint32_t>(registers[3])};
#else
  __asm__ volatile("cpuid" : "=a"(out.eax), "=b"(out.ebx), "=c"(out.ecx), "=d"(out.edx) : "a"(leaf), "c"(subleaf));
#endif
  return out;
}

// XCR0: which register sets the operating system saves at a context switch. Call only when cpuid reports OSXSAVE.
inline uint64_t saved_registers() {
#if defined(_MSC_VER) && !defined(__clang__)
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
#endif
}

inline CpuFeatures detect_cpu() {
  CpuFeatures cpu;
  if (cpuid(0, 0).eax < 7) return cpu;
  const uint32_t basic = cpuid(1, 0).ecx;
  const uint32_t extended = cpuid(7, 0).ebx;
  const bool fma = basic >> 12 & 1, osxsave = basic >> 27 & 1, avx = basic >> 28 & 1;
  if (!osxsave || !avx) return cpu;
  const uint64_t saved = saved_registers();
  const bool ymm = (saved & 0x06) == 0x06;  // SSE and AVX state
  const bool zmm = (saved & 0xe6) == 0xe6;  // and opmask, upper ZMM, ZMM16..31
  cpu.avx2 = ymm && fma && (extended >> 5 & 1);
  cpu.avx512 = cpu.avx2 && zmm && (extended >> 16 & 1);
  return cpu;
}

#else

inline CpuFeatures detect_cpu() {
  CpuFeatures cpu;
#if EVENKEEL_ARM64
  cpu.neon = true;
#endif
  return cpu;
}

#endif

// What a thread does between two looks at something that another thread is about to change.
inline void pause_thread() {
#if EVENKEEL_X86_64
#if defined(_MSC_VER) && !defined(__clang__)
  _mm_pause();
#else
  __asm__ volatile("pause" : : : "memory");
#endif
#elif EVENKEEL_ARM64
#if defined(_MSC_VER) && !defined(__clang__)
  __yield();
#else
  __asm__ volatile("yield" : : : "memory");
#endif
#endif
}

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
