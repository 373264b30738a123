#include "sections.h"

#include <algorithm>
#include <cstdlib>

#include "../platform/compiler.h"
#include "../platform/float_control.h"
#include "pool.h"

EVENKEEL_SMALL_BEGIN

namespace evenkeel {

void run_sections(const Sections& sections, size_t helpers) {
  struct Divided {
    const Sections& sections;
    size_t units, pieces;

    size_t begin(size_t piece) const { return std::min(sections.n, begin_of(piece, pieces, units) * sections.unit); }
  };
  const size_t units = (sections.n + sections.unit - 1) / sections.unit;
  const size_t pieces = sections.elements < worth_dividing ? 1 : std::min(units, sections.elements / piece_size);
  const Divided divided{sections, units, std::max<size_t>(1, pieces)};
  const auto run = [](const void* what, size_t piece) {
    const auto& of = *static_cast<const Divided*>(what);
    const DefaultFloatControl undisturbed;
    of.sections.run(of.sections.what, of.begin(piece), of.begin(piece + 1));
  };
  run_pieces({run, &divided, divided.pieces}, helpers);
}

bool add_in_order(double* s, double* q, const OrderedSums& sums, size_t helpers) {
  struct Round {
    const OrderedSums& sums;
    size_t first;
    double* waiting;
  };
  constexpr size_t most_waiting = 1 << 17;  // numbers
  const size_t columns = sums.columns, numbers = 2 * columns;
  const size_t units = std::min((sums.n + sums.unit - 1) / sums.unit, most_waiting / numbers);
  auto* const waiting = static_cast<double*>(std::malloc((units + 1) * numbers * sizeof(double)));
  if (!waiting) return false;
  Round round{sums, 0, waiting};
  const auto run = [](const void* what, size_t begin, size_t end) {
    auto& of = *static_cast<Round*>(const_cast<void*>(what));
    const size_t unit = of.sums.unit, columns = of.sums.columns;
    for (size_t i = begin; i < end; i += unit) {
      double* const to = of.waiting + i / unit * 2 * columns;
      of.sums.sums_of(of.sums.what, of.first + i, of.first + std::min(end, i + unit), to, to + columns);
    }
  };
  double* const fold = waiting + units * numbers;
  size_t added = 0;  // to the fold
  const auto finish_fold = [&] {
    for (size_t k = 0; k < columns; ++k) {
      s[k] += fold[k];
      q[k] += fold[columns + k];
    }
    std::fill_n(fold, numbers, 0.0);
    added = 0;
  };
  std::fill_n(s, columns, 0.0);
  std::fill_n(q, columns, 0.0);
  std::fill_n(fold, numbers, 0.0);
  for (; round.first < sums.n; round.first += units * sums.unit) {
    const size_t n = std::min(sums.n - round.first, units * sums.unit);
    run_sections({run, &round, n, sums.unit, sums.elements / sums.n * n}, helpers);
    for (size_t i = 0; i * sums.unit < n; ++i) {
      for (size_t k = 0; k < numbers; ++k) fold[k] += waiting[i * numbers + k];
      if (++added == sums.folded) finish_fold();
    }
  }
  if (added > 0) finish_fold();
  std::free(waiting);
  return true;
}

}  // namespace evenkeel

EVENKEEL_SMALL_END
