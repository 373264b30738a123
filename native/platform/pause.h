// A short rest of a thread that waits for another.
#pragma once

#include "arch.h"

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

namespace evenkeel {

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

}  // namespace evenkeel
