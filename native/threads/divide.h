// How a call is divided: among threads, and where some of its groups are padded. Every share is a call of the same
// kernel on a part of the operands (shares.h). A share has whole groups, so that no bit depends on how many there are.
#pragma once

#include <algorithm>
#include <cstring>
#include <tuple>
#include <type_traits>

#include "../ops.h"
#include "../platform/caches.h"
#include "../platform/compiler.h"
#include "../platform/float_control.h"
#include "padded_parts.h"
#include "pool.h"
#include "sections.h"
#include "shares.h"
#include "stage.h"

namespace evenkeel {

// Adds up partial sums, rows of n of which these columns are added: those of `folds` levels of 64 rows each, then all,
// in order. The first row becomes the sum.
inline void add_partial_sums(double* sums, size_t n, size_t rows, size_t folds, size_t column, size_t columns) {
  const auto add = [=](size_t to, size_t from) {
    double* const total = sums + to * n + column;
    const double* const more = sums + from * n + column;
    for (size_t k = 0; k < columns; ++k) total[k] += more[k];
  };
  const auto move = [=](size_t to, size_t from) {
    if (to != from) std::memcpy(sums + to * n + column, sums + from * n + column, columns * sizeof(double));
  };
  for (size_t fold = 0; fold < folds; ++fold) {
    size_t folded = 0;
    for (size_t first = 0; first < rows; first += fold64, ++folded) {
      move(folded, first);
      for (size_t i = first + 1; i < std::min(rows, first + fold64); ++i) add(folded, i);
    }
    rows = folded;
  }
  for (size_t i = 1; i < rows; ++i) add(0, i);
}

}  // namespace evenkeel

EVENKEEL_SMALL_BEGIN

namespace evenkeel {

template <class... Operands>
struct Splitter;

// A call of a kernel, or a share of it; `staging` where its elements are no dense float32.
template <class... Operands>
struct Call {
  using Staged = StagedCall<Splitter<Operands...>, Operands...>;
  void (*kernel)(Operands...);
  std::tuple<Operands...> operands;
  const Staging* staging;

  template <class Shape>
  void run(const Shape& shape, const Share& share) const {
    if (staging) return Staged(kernel, operands, *staging).run(shape, share);
    std::apply([&](const auto&... operand) { kernel(share_of(operand, shape, share)...); }, operands);
  }
  template <class Shape>
  void run_real(const Shape& shape, const Share& share) const {
    if constexpr (std::is_same_v<Shape, Groups>) {
      if (shape.spans) {
        const auto padded = [&](const Share& part) {
          if (staging) return Staged(kernel, operands, *staging).clear(shape, part);
          std::apply([&](const auto&... operand) { (clear_share(operand, shape, part), ...); }, operands);
        };
        const auto real = [&](const Share& part) { run(shape, part); };
        if (shape.inner == 1) {
          each_part_of_rows(shape, share, real, padded);
        } else {
          each_part_of_columns(shape, share, real, padded);
        }
        return;
      }
    }
    run(shape, share);
  }
};

// The shares of a shape: `blocks` ranges of its matrices or samples, and each of them in `strips` ranges of columns.
struct Division {
  size_t outer, blocks;
  size_t columns, strips, unit;  // columns stay together in units
  size_t together = 1;           // so do matrices or samples

  size_t pieces() const { return blocks * strips; }
  Share share(size_t piece) const {
    const size_t block = piece / strips, strip = piece % strips;
    const size_t all = (outer + together - 1) / together;
    const size_t first = begin_of(block, blocks, all) * together;
    const size_t last = std::min(outer, begin_of(block + 1, blocks, all) * together);
    const size_t units = (columns + unit - 1) / unit;
    const size_t column = std::min(columns, begin_of(strip, strips, units) * unit);
    const size_t end = std::min(columns, begin_of(strip + 1, strips, units) * unit);
    return {first, last - first, column, end - column};
  }
};

constexpr size_t cache_line = 16;  // in elements: threads that write into one hinder each other

// Divides by matrices or samples where there are enough of them, else by their columns as well.
inline Division divide(size_t outer, size_t columns, size_t unit, size_t pieces, size_t together = 1) {
  const size_t all = (outer + together - 1) / together;
  if (all >= pieces) return {outer, pieces, columns, 1, columns, together};
  const size_t units = (columns + unit - 1) / unit;
  return {outer, all, columns, std::min(units, (pieces + all - 1) / all), unit, together};
}

// The rows of a call whose sums are taken: ranges of whole blocks of real ones, which the padding behind them belongs
// to.
struct RowRanges {
  static constexpr size_t most = 256;
  size_t pieces;
  size_t first[most + 1];
  size_t done[most + 1];  // real rows before it

  RowRanges(const Groups& shape, size_t wanted) {
    const size_t real = count_real(shape.spans, 0, shape.outer);
    const size_t blocks = (real + fold64 - 1) / fold64;
    pieces = std::max<size_t>(1, std::min(std::min(wanted, blocks), most));
    for (size_t i = 0; i <= pieces; ++i) done[i] = std::min(real, begin_of(i, pieces, blocks) * fold64);
    size_t passed = 0, next = 0;
    each_span(shape.spans, 0, shape.outer, [&](size_t begin, size_t end) {
      for (; next <= pieces && done[next] < passed + (end - begin); ++next) first[next] = begin + (done[next] - passed);
      passed += end - begin;
    });
    for (; next <= pieces; ++next) first[next] = shape.outer;
    first[0] = 0;
  }
  Share share(size_t piece) const {
    return {first[piece], first[piece + 1] - first[piece], 0, 1, nullptr, done[piece]};
  }
};

// Kernels whose groups threads do not share: those that go through them in order, which no rule cuts into blocks, and
// those that know no groups.
template <class... Operands>
constexpr bool takes_groups_whole =
    [](auto... kernels) {
      return (std::is_same_v<void (*)(Operands...), decltype(kernels)> || ...);
    }(decltype(Kernels<float>::calibrate_embeddings){}, decltype(Kernels<float>::pool_embeddings){},
      decltype(Kernels<float>::local_response_norm){}, decltype(Kernels<float>::quantize_embeddings){});

// An op's operands say how its work can be divided.
template <class... Operands>
struct Splitter {
  template <class Operand>
  static constexpr bool has = (std::is_same_v<Operands, Operand> || ...);
  using Shape = std::conditional_t<has<Volume>, Volume, std::conditional_t<has<Axes>, Axes, Groups>>;
  static constexpr bool over_batch = (Traits<Operands>::over_batch || ...);
  static constexpr bool over_rows = (Traits<Operands>::over_rows || ...);
  static constexpr bool by_channel = ((Traits<Operands>::per_channel || Traits<Operands>::per_group) || ...);
  static constexpr bool by_position = has<Volume> && !(Traits<Operands>::per_group || ...) && !over_batch && !over_rows;

  static size_t elements(const Groups& shape) { return shape.outer * shape.size * shape.inner; }
  static size_t elements(const Volume& shape) { return shape.samples * shape.channels() * shape.positions; }
  static size_t elements(const Axes& shape) { return shape.count(); }

  // Whether groups are padded that are rows or columns: the kernel is called for the others alone.
  static bool padded_rows(const Groups& shape) { return static_cast<bool>(shape.spans); }
  template <class Other>
  static bool padded_rows(const Other&) {
    return false;
  }

  // How many sections a kernel makes of what it does at a time: a row; some columns; a run, or the runs of a group. Of
  // padded columns and samples it makes none, and of staged blocks only of rows.
  static size_t sections_of(const Groups& shape, bool staged) {
    if (shape.inner > 1 && (shape.spans || staged)) return 1;
    return shape.size * std::min(shape.inner, shared_columns) / piece_size;
  }
  static size_t sections_of(const Volume& shape, bool staged) {
    if (shape.spans || staged || (over_batch && !shape.channels_last)) return 1;
    if (!shape.channels_last) {
      const size_t runs = shape.positions > 1 ? shape.channels_per_group : 1;
      return std::max(shape.positions / piece_size, std::min(runs, runs * shape.positions / piece_size));
    }
    const size_t rows = shape.positions * (over_batch ? shape.samples : 1);
    return rows * std::min(shape.channels(), shared_columns) / piece_size;
  }
  static size_t sections_of(const Axes&, bool) { return 1; }

  // Whether threads share each group, one group after the other, rather than pieces, of which some threads have one
  // more than others: where that takes less time.
  static bool shares_groups(const Shape& shape, size_t pieces, size_t threads, bool staged) {
    if (takes_groups_whole<Operands...>) return false;
    const size_t rounds = (pieces + threads - 1) / threads;
    return std::min(threads, sections_of(shape, staged)) * rounds > pieces;
  }

  static Share all(const Groups& shape) { return {0, shape.outer, 0, shape.inner}; }
  static Share all(const Volume& shape) { return {0, shape.samples, 0, shape.groups}; }
  static Share all(const Axes& shape) { return {0, shape.rank == 0 ? 1 : shape.dims[longest_axis(shape)], 0, 1}; }

  // The same elements in as many samples as can be: each position with all its channels.
  static void flatten(Volume& shape) {
    if (!shape.channels_last || shape.spans) return;
    shape.samples *= shape.positions;
    shape.whole *= shape.positions;
    shape.positions = 1;
  }

  static Division divide(const Groups& shape, size_t pieces) {
    return evenkeel::divide(shape.outer, shape.inner, cache_line, pieces);
  }
  static Division divide(const Volume& shape, size_t pieces) {
    const size_t per_group = shape.channels_per_group;
    const size_t unit = shape.channels_last ? (cache_line + per_group - 1) / per_group : 1;
    if (over_batch) {
      const Division all = evenkeel::divide(1, shape.groups, unit, pieces);
      return {shape.samples, 1, all.columns, all.strips, all.unit};
    }
    return evenkeel::divide(shape.samples, shape.groups, by_channel ? unit : shape.groups, pieces,
                            over_rows ? SumOverRows::unit(shape) : 1);
  }
  static Division divide(const Axes& shape, size_t pieces) {
    const size_t n = all(shape).count;
    return {n, std::min(n, pieces), 1, 1, 1};
  }
};

// How many rows of partial sums a call has, of how many elements, and how often they are folded (rule 22).
struct PartialSums {
  size_t rows, n, folds;

  explicit PartialSums(const Groups& shape)
      : rows((count_real(shape.spans, 0, shape.outer) + fold64 - 1) / fold64), n(shape.size), folds(1) {}
  explicit PartialSums(const Volume& shape)
      : rows((shape.samples + SumOverRows::unit(shape) - 1) / SumOverRows::unit(shape)),
        n(shape.channels()),
        folds(SumOverRows::unit(shape) == 1 ? 2 : 1) {}
};

inline bool has_sums(const SumOverRows& operand) { return operand.data != nullptr; }
template <class Operand>
bool has_sums(const Operand&) {
  return false;
}

// Brings the partial sums of a call together.
template <class Shape>
void finish(const SumOverRows& operand, const Shape& shape, size_t helpers) {
  if (!operand.data) return;
  struct Pieces {
    double* data;
    PartialSums sums;
    Division division;
  };
  const PartialSums sums(shape);
  const size_t elements = sums.rows * sums.n;
  const size_t pieces = helpers == 0 || elements < worth_dividing ? 1 : elements / piece_size;
  const Pieces all{operand.data, sums, divide(1, sums.n, cache_line, pieces)};
  const auto run = [](const void* what, size_t piece) {
    const auto& of = *static_cast<const Pieces*>(what);
    const DefaultFloatControl undisturbed;
    const Share share = of.division.share(piece);
    add_partial_sums(of.data, of.sums.n, of.sums.rows, of.sums.folds, share.column, share.columns);
  };
  run_pieces({run, &all, all.division.pieces()}, helpers);
}
template <class Operand, class Shape>
void finish(const Operand&, const Shape&, size_t) {}

// Runs a kernel on each share of a division.
template <class Call, class Shape, class Division>
EVENKEEL_RARE void run_shares(const Call& call, const Shape& shape, const Division& division, size_t pieces,
                              size_t helpers) {
  struct Divided {
    const Call& call;
    const Shape& shape;
    const Division& division;
  };
  const Divided divided{call, shape, division};
  const auto run = [](const void* what, size_t piece) {
    const auto& of = *static_cast<const Divided*>(what);
    const DefaultFloatControl undisturbed;
    of.call.run_real(of.shape, of.division.share(piece));
  };
  run_pieces({run, &divided, pieces}, helpers);
}

// Memory for a call whose elements are no dense float32, on at most so many threads; its parameters are brought in.
// False where there is none.
template <class... Operands>
EVENKEEL_RARE bool stage(Staging& staging, std::tuple<Operands...>& operands, size_t most) {
  using Split = Splitter<Operands...>;
  using Staged = StagedCall<Split, Operands...>;
  const auto shape = std::get<typename Split::Shape>(operands);
  const size_t threads = std::max<size_t>(1, std::min(most, Split::elements(shape) / piece_size));
  size_t elements = Staged::elements_of(operands, shape);
  if constexpr (Split::by_position) {
    auto flat = shape;
    Split::flatten(flat);
    elements = std::max(elements, Staged::elements_of(operands, flat));
  }
  if (!staging.reserve(threads, elements, Staged::parameters_of(operands, shape, staging.storages))) return false;
  Staged::stage_parameters(operands, shape, staging);
  staging.streamed = Split::elements(shape) > cached;
  return true;
}

// Brings together what a call has of partial sums.
template <class... Operands>
void finish_all(const std::tuple<Operands...>& operands, size_t helpers) {
  using Split = Splitter<Operands...>;
  if constexpr (Split::over_rows) {
    const auto& shape = std::get<typename Split::Shape>(operands);
    std::apply([&](const auto&... operand) { (finish(operand, shape, helpers), ...); }, operands);
  }
}

// A call that is large, padded or staged.
template <class... Operands>
EVENKEEL_NOINLINE void run_in_parts(void (*kernel)(Operands...), const std::tuple<Operands...>& operands,
                                    size_t helpers, const Staging* staging) {
  using Split = Splitter<Operands...>;
  using Shape = typename Split::Shape;
  Call<Operands...> call{kernel, operands, staging};
  Shape& shape = std::get<Shape>(call.operands);
  const size_t elements = Split::elements(shape);
  const auto run_all_of = [&](const auto& division, size_t pieces) {
    if (Split::shares_groups(shape, pieces, helpers + 1, staging != nullptr)) return false;
    run_shares(call, shape, division, pieces, helpers);
    finish_all(operands, helpers);
    return true;
  };
  if (helpers > 0 && elements >= worth_dividing) {
    // Without sums rows need not stay together in blocks.
    bool by_rows = false;
    if constexpr (Split::over_rows && std::is_same_v<Shape, Groups>) {
      by_rows = std::apply([](const auto&... operand) { return (has_sums(operand) || ...); }, operands);
      if (by_rows) {
        const RowRanges ranges(shape, elements / piece_size);
        if (run_all_of(ranges, ranges.pieces)) return;
      }
    }
    if (!by_rows) {
      if constexpr (Split::by_position) Split::flatten(shape);
      const Division division = Split::divide(shape, elements / piece_size);
      if (run_all_of(division, division.pieces())) return;
    }
    if constexpr (!std::is_same_v<Shape, Axes>) shape.helpers = helpers;
  }
  const DefaultFloatControl undisturbed;
  call.run_real(shape, Split::all(shape));
  finish_all(operands, helpers);
}

}  // namespace evenkeel

EVENKEEL_SMALL_END

namespace evenkeel {

// Runs a kernel, with at most so many idle threads to help.
template <class... Operands>
void run_divided(void (*kernel)(Operands...), const std::tuple<Operands...>& operands, size_t threads,
                 const Staging* staging = nullptr) {
  using Split = Splitter<Operands...>;
  const auto& shape = std::get<typename Split::Shape>(operands);
  const size_t helpers = staging ? std::min(threads, staging->threads() - 1) : threads;
  const bool whole = helpers == 0 || Split::elements(shape) < worth_dividing;
  if (!whole || staging || Split::padded_rows(shape)) return run_in_parts(kernel, operands, helpers, staging);
  const DefaultFloatControl undisturbed;
  std::apply(kernel, operands);
  finish_all(operands, helpers);
}

}  // namespace evenkeel
