// What every ISA file starts with. Standard headers stand here, above the target pragma: an inline function of theirs
// compiled for AVX-512 could be the copy that the linker keeps for all files.
#pragma once

// A tenth of the package, and not needed for speed (measured). Here and not among the flags: clang knows them not.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-pre", "no-version-loops-for-strides", "no-align-jumps", "no-align-labels")
#endif

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../dispatch.h"
#include "../platform/arch.h"
#include "../platform/caches.h"
#include "../platform/compiler.h"
#include "../threads/sections.h"

// Everything between BEGIN and END may use the named extensions, whatever the build flags say.
#define EVENKEEL_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define EVENKEEL_TARGET_BEGIN(features) \
  EVENKEEL_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define EVENKEEL_TARGET_END _Pragma("clang attribute pop")
#elif defined(__GNUC__)
#define EVENKEEL_TARGET_BEGIN(features) _Pragma("GCC push_options") EVENKEEL_PRAGMA(GCC target(features))
#define EVENKEEL_TARGET_END _Pragma("GCC pop_options")
#else  // MSVC compiles any intrinsic anywhere
#define EVENKEEL_TARGET_BEGIN(features)
#define EVENKEEL_TARGET_END
#pragma fp_contract(off)
#endif

// The tables of an ISA file, from its namespace of that name: kernels for each type of elements.
#define EVENKEEL_KERNELS_OF(name, type, array) kernels<type>,
#define EVENKEEL_EXPORT_TABLES(isa)                                                  \
  namespace isa {                                                                    \
  constexpr KernelTables tables{EVENKEEL_ELEMENTS(EVENKEEL_KERNELS_OF) conversions}; \
  }                                                                                  \
  extern const KernelTables isa##_kernels = isa::tables;
