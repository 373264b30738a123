// CPU detection.
#pragma once

#include <cstddef>
#include <cstdint>

#include "arch.h"

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

namespace evenkeel {

// The vector extensions that both the CPU and the operating system support.
struct CpuFeatures {
  bool avx2 = false;    // AVX2, FMA and F16C
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
  const bool fma = basic >> 12 & 1, osxsave = basic >> 27 & 1, avx = basic >> 28 & 1, f16c = basic >> 29 & 1;
  if (!osxsave || !avx) return cpu;
  const uint64_t saved = saved_registers();
  const bool ymm = (saved & 0x06) == 0x06;  // SSE and AVX state
  const bool zmm = (saved & 0xe6) == 0xe6;  // and opmask, upper ZMM, ZMM16..31
  cpu.avx2 = ymm && fma && f16c && (extended >> 5 & 1);
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

}  // namespace evenkeel
