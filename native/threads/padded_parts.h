// The parts of a share in which some rows or columns are padded: the kernel is called for the others.
#pragma once

#include <algorithm>

#include "../platform/compiler.h"
#include "shares.h"

EVENKEEL_SMALL_BEGIN

namespace evenkeel {

constexpr size_t most_listed = 256;

// Calls real(share) and padded(share) for the rows of a share that are so. Real ones are listed, since a call of the
// kernel for each few neighbors would cost more than these (measured).
template <class Real, class Padded>
EVENKEEL_RARE void each_part_of_rows(const Groups& shape, const Share& share, Real real, Padded padded) {
  uint32_t listed[most_listed];
  const size_t end = share.first + share.count;
  size_t before = share.done;
  for (size_t first = share.first; first < end; first += most_listed) {
    const size_t last = std::min(end, first + most_listed);
    size_t done = first, count = 0;
    each_span(shape.spans, 0, first, last, [&](size_t from, size_t to) {
      if (done < from) padded(Share{done, from - done, 0, 1});
      for (size_t row = from; row < to; ++row) listed[count++] = static_cast<uint32_t>(row - first);
      done = to;
    });
    if (done < last) padded(Share{done, last - done, 0, 1});
    if (count > 0) real(Share{first, count, 0, 1, count < last - first ? listed : nullptr, before});
    before += count;
  }
}

// The same of columns.
template <class Real, class Padded>
EVENKEEL_RARE void each_part_of_columns(const Groups& shape, const Share& share, Real real, Padded padded) {
  const size_t begin = share.column, end = begin + share.columns;
  for (size_t i = share.first; i < share.first + share.count; ++i) {
    size_t done = begin;
    each_span(shape.spans, i, begin, end, [&](size_t from, size_t to) {
      if (done < from) padded(Share{i, 1, done, from - done});
      real(Share{i, 1, from, to - from});
      done = to;
    });
    if (done < end) padded(Share{i, 1, done, end - done});
  }
}

}  // namespace evenkeel

EVENKEEL_SMALL_END
