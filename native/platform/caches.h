// Sizes at which kernels change how they go through memory. No bits depend on them.
#pragma once

#include <cstddef>

namespace evenkeel {

// Elements of a tensor up to which it is cached. Beyond, results go past the caches, and each row is read and written
// before the next: memory likes that best (measured).
constexpr size_t cached = 5 << 19;
// Elements of a tensor up to which nothing is asked for ahead: it is in a core's own caches (measured).
constexpr size_t near = 1 << 18;
// Elements that are asked for ahead of a stream: it must cross the pages, where the CPU does not look ahead (measured).
constexpr size_t ahead = 512;
// Elements of a row up to which it is still in the first cache when the next ones have been read.
constexpr size_t short_row = 4096;

}  // namespace evenkeel
