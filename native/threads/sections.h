// How threads share a group that is too long for one of them: they work on its sections. What a kernel asks for; how
// whole groups are shared stands in divide.h.
#pragma once

#include <cstddef>

namespace evenkeel {

// Elements from which a call or a group is divided, and how many a piece has about (measured:
// bench/results/choices.md).
constexpr size_t worth_dividing = 1 << 17;
constexpr size_t piece_size = 1 << 16;
static_assert(worth_dividing >= 2 * piece_size, "two threads have something to do");

// Columns that a kernel works on at a time.
constexpr size_t shared_columns = 512;

// Where range i of n things begins.
inline size_t begin_of(size_t i, size_t ranges, size_t n) {
  const size_t longer = n % ranges;  // by one
  return n / ranges * i + (longer < i ? longer : i);
}

// Work on n things in a row, of `elements` in all; `unit` of them stay together.
struct Sections {
  void (*run)(const void* what, size_t begin, size_t end);
  const void* what;
  size_t n, unit, elements;
};

// Does all of it, at most `helpers` idle threads taking part; when it returns all is done.
void run_sections(const Sections& sections, size_t helpers);

// Two sums of a group.
struct Sums {
  double s;  // sum of x, or of x - center
  double q;  // sum of its squares
};

// Sums of n things: `unit` of them at a time give two for each of some columns. So many of these are `folded` together,
// in order, before they are added to the others.
struct OrderedSums {
  void (*sums_of)(const void* what, size_t begin, size_t end, double* s, double* q);
  const void* what;
  size_t n, unit, elements, columns, folded;
};

// False where there is no memory for them.
bool add_in_order(double* s, double* q, const OrderedSums& sums, size_t helpers);

}  // namespace evenkeel
