// What compilers spell differently.
#pragma once

// Code of its own, once, for what is rare or long: inlined or cloned it would fill half the package. And code without
// which a loop is none. Of a lambda: behind its parameters.
#if defined(__clang__)
#define EVENKEEL_NOINLINE __attribute__((noinline))
#define EVENKEEL_INLINE inline __attribute__((always_inline))
#define EVENKEEL_INLINE_LAMBDA __attribute__((always_inline))
#define EVENKEEL_NOINLINE_LAMBDA __attribute__((noinline))
#define EVENKEEL_RARE EVENKEEL_NOINLINE
#elif defined(__GNUC__)
#define EVENKEEL_NOINLINE __attribute__((noinline, noclone))
#define EVENKEEL_RARE __attribute__((noinline, noclone, cold))
#define EVENKEEL_INLINE inline __attribute__((always_inline))
#define EVENKEEL_INLINE_LAMBDA __attribute__((always_inline))
#define EVENKEEL_NOINLINE_LAMBDA __attribute__((noinline))
#else
#define EVENKEEL_NOINLINE __declspec(noinline)
#define EVENKEEL_INLINE __forceinline
#define EVENKEEL_INLINE_LAMBDA
#define EVENKEEL_NOINLINE_LAMBDA
#define EVENKEEL_RARE EVENKEEL_NOINLINE
#endif

// Code that is to be small: a call goes through it once, or a block of it, and it would fill a quarter of the package.
#if defined(__GNUC__) && !defined(__clang__)
#define EVENKEEL_SMALL_BEGIN _Pragma("GCC push_options") _Pragma("GCC optimize(\"Os\")")
#define EVENKEEL_SMALL_END _Pragma("GCC pop_options")
#else
#define EVENKEEL_SMALL_BEGIN
#define EVENKEEL_SMALL_END
#endif
