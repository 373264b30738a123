// The machine that is compiled for.
#pragma once

#if defined(__x86_64__) || defined(_M_X64)
#define EVENKEEL_X86_64 1
#elif defined(__aarch64__) || defined(_M_ARM64)
#define EVENKEEL_ARM64 1
#endif
