// How a call is divided: among threads, and where some of its groups are padded. Every share is a call of the same
// kernel on a part of the operands. A share has whole groups, so that no bit depends on how many there are. The twin of
// src/kernels/padding.ts for what is padded.
#pragma once

#include <algorithm>
#include <cstring>
#include <tuple>
#include <type_traits>

#include "../ops.h"
#include "../platform/float_control.h"
#include "pool.h"

namespace evenkeel {

// A part of a call: some of its matrices or samples, and some of the columns or groups of each. Of a copy in another
// order: some of the indices of its longest dimension.
struct Share {
  size_t first, count;
  size_t column, columns;
  const uint32_t* listed = nullptr;  // of rows: which of them, from the first
};

inline size_t longest_axis(const Axes& shape) {
  size_t longest = 0;
  for (size_t i = 1; i < shape.rank; ++i) {
    if (shape.dims[i] > shape.dims[longest]) longest = i;
  }
  return longest;
}

inline Groups share_of(Groups shape, Groups, Share share) {
  return {share.count, shape.size, share.columns, shape.pitch, shape.whole, {}, share.listed};
}

inline Volume share_of(Volume shape, Volume, Share share) {
  const Spans& spans = shape.spans;
  return {share.count,
          share.columns,
          shape.channels_per_group,
          shape.positions,
          shape.channels_last,
          shape.pitch,
          shape.whole,
          {spans.list, spans.sample + share.first, 0}};
}

inline Axes share_of(Axes shape, Axes, Share share) {
  if (shape.rank > 0) shape.dims[longest_axis(shape)] = share.count;
  return shape;
}

template <class T>
Matrix<T> share_of(Matrix<T> operand, Groups, Share share) {
  return {operand.at(share.first) + share.column, operand.stride};
}

template <class T>
Maybe<T> share_of(Maybe<T> operand, Groups, Share share) {
  return {{operand ? operand.at(share.first) + share.column : nullptr, operand.stride}};
}

template <class T>
Tensor<T> share_of(Tensor<T> operand, Volume shape, Share share) {
  const size_t channel = share.column * shape.channels_per_group;
  return {operand.data + share.first * shape.pitch * shape.positions +
          (shape.channels_last ? channel : channel * shape.positions)};
}

template <class T>
Tensor<T> share_of(Tensor<T> operand, Axes shape, Share share) {
  if (shape.rank == 0) return operand;
  const size_t* strides = std::is_const_v<T> ? shape.x_strides : shape.y_strides;
  return {operand.data + share.first * strides[longest_axis(shape)]};
}

template <class T>
PerChannel<T> share_of(PerChannel<T> operand, Volume shape, Share share) {
  return {operand.data ? operand.data + share.column * shape.channels_per_group : nullptr};
}

template <class T>
OverBatch<T> share_of(OverBatch<T> operand, Volume, Share share) {
  return {operand.data + share.column};
}

inline PerGroup from(PerGroup operand, size_t group) {
  return {operand.single ? operand.single + group : nullptr, operand.full ? operand.full + group : nullptr};
}

inline PerGroup share_of(PerGroup operand, Groups shape, Share share) {
  return from(operand, share.first * shape.inner + share.column);
}

inline PerGroup share_of(PerGroup operand, Volume shape, Share share) {
  return from(operand, share.first * shape.groups + share.column);
}

inline Codes share_of(Codes operand, Groups shape, Share share) {
  return {operand.at(share.first, shape.size), operand.format};
}

// Everything else is the same for every share.
template <class Operand, class Shape>
Operand share_of(Operand operand, Shape, Share) {
  return operand;
}

// 0 in a share of what a call writes (rule 15); nothing in what it reads.
template <class T>
void clear_share(Matrix<T> operand, const Groups& shape, const Share& share) {
  const size_t n = shape.size * shape.pitch;
  if (share.columns == shape.pitch && (operand.stride == n || share.count == 1)) {
    // All at once: the C library then writes past the caches where that is quicker.
    std::memset(static_cast<void*>(operand.at(share.first)), 0, share.count * n * sizeof(T));
    return;
  }
  for (size_t i = 0; i < share.count; ++i) {
    T* first = operand.at(share.first + i) + share.column;
    if (share.columns == shape.pitch) {
      std::fill_n(first, shape.size * shape.pitch, T{0});
      continue;
    }
    for (size_t row = 0; row < shape.size; ++row) std::fill_n(first + row * shape.pitch, share.columns, T{0});
  }
}

template <class T>
void clear_share(Matrix<const T>, const Groups&, const Share&) {}

template <class T>
void clear_share(Maybe<T> operand, const Groups& shape, const Share& share) {
  if (operand) clear_share(Matrix<T>{operand.data, operand.stride}, shape, share);
}

inline void clear_share(PerGroup operand, const Groups& shape, const Share& share) {
  for (size_t i = 0; i < share.count; ++i) {
    for (size_t k = 0; k < share.columns; ++k) operand.set((share.first + i) * shape.inner + share.column + k, 0);
  }
}

template <class Operand>
void clear_share(Operand, const Groups&, const Share&) {}

constexpr size_t most_listed = 256;

// Calls real(share) and padded(share) for the rows of a share that are so. Real ones are listed, since a call of the
// kernel for each few neighbors would cost more than these (measured).
template <class Real, class Padded>
void each_part_of_rows(const Groups& shape, const Share& share, Real real, Padded padded) {
  uint32_t listed[most_listed];
  const size_t end = share.first + share.count;
  for (size_t first = share.first; first < end; first += most_listed) {
    const size_t last = std::min(end, first + most_listed);
    size_t done = first, count = 0;
    each_span(shape.spans, 0, first, last, [&](size_t from, size_t to) {
      if (done < from) padded(Share{done, from - done, 0, 1});
      for (size_t row = from; row < to; ++row) listed[count++] = static_cast<uint32_t>(row - first);
      done = to;
    });
    if (done < last) padded(Share{done, last - done, 0, 1});
    if (count > 0) real(Share{first, count, 0, 1, count < last - first ? listed : nullptr});
  }
}

// The same of columns.
template <class Real, class Padded>
void each_part_of_columns(const Groups& shape, const Share& share, Real real, Padded padded) {
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

// A call of a kernel, or a share of it.
template <class... Operands>
struct Call {
  void (*kernel)(Operands...);
  std::tuple<Operands...> operands;

  template <class Shape>
  void run(const Shape& shape, const Share& share) const {
    std::apply([&](const auto&... operand) { kernel(share_of(operand, shape, share)...); }, operands);
  }
  template <class Shape>
  void run_real(const Shape& shape, const Share& share) const {
    if constexpr (std::is_same_v<Shape, Groups>) {
      if (shape.spans) {
        const auto padded = [&](const Share& part) {
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

  size_t pieces() const { return blocks * strips; }
  Share share(size_t piece) const {
    const auto begin = [](size_t n, size_t ranges, size_t i) { return n / ranges * i + std::min(n % ranges, i); };
    const size_t block = piece / strips, strip = piece % strips;
    const size_t first = begin(outer, blocks, block);
    const size_t units = (columns + unit - 1) / unit;
    const size_t column = std::min(columns, begin(units, strips, strip) * unit);
    const size_t end = std::min(columns, begin(units, strips, strip + 1) * unit);
    return {first, begin(outer, blocks, block + 1) - first, column, end - column};
  }
};

constexpr size_t cache_line = 16;  // in elements: threads that write into one hinder each other

// Divides by matrices or samples where there are enough of them, else by their columns as well.
inline Division divide(size_t outer, size_t columns, size_t unit, size_t pieces) {
  if (outer >= pieces) return {outer, pieces, columns, 1, columns};
  const size_t units = (columns + unit - 1) / unit;
  return {outer, outer, columns, std::min(units, (pieces + outer - 1) / outer), unit};
}

// An op's operands say how its work can be divided.
template <class... Operands>
struct Splitter {
  template <class Operand>
  static constexpr bool has = (std::is_same_v<Operands, Operand> || ...);
  using Shape = std::conditional_t<has<Volume>, Volume, std::conditional_t<has<Axes>, Axes, Groups>>;
  static constexpr bool over_batch = (Traits<Operands>::over_batch || ...);
  static constexpr bool by_channel = ((Traits<Operands>::per_channel || Traits<Operands>::per_group) || ...);
  static constexpr bool by_position = has<Volume> && !(Traits<Operands>::per_group || ...) && !over_batch;

  static size_t elements(const Groups& shape) { return shape.outer * shape.size * shape.inner; }
  static size_t elements(const Volume& shape) { return shape.samples * shape.channels() * shape.positions; }
  static size_t elements(const Axes& shape) { return shape.count(); }

  // Whether groups are padded that are rows or columns: the kernel is called for the others alone.
  static bool padded_rows(const Groups& shape) { return static_cast<bool>(shape.spans); }
  template <class Other>
  static bool padded_rows(const Other&) {
    return false;
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
    return evenkeel::divide(shape.samples, shape.groups, by_channel ? unit : shape.groups, pieces);
  }
  static Division divide(const Axes& shape, size_t pieces) {
    const size_t n = all(shape).count;
    return {n, std::min(n, pieces), 1, 1, 1};
  }
};

// Elements from which a call is divided, and how many a piece has about (measured: bench/results/choices.md).
constexpr size_t worth_dividing = 1 << 17;
constexpr size_t piece_size = 1 << 17;

// Runs a kernel, with at most so many idle threads to help.
template <class... Operands>
void run_divided(void (*kernel)(Operands...), const std::tuple<Operands...>& operands, size_t helpers) {
  using Split = Splitter<Operands...>;
  using Shape = typename Split::Shape;
  const size_t elements = Split::elements(std::get<Shape>(operands));
  const bool whole = helpers == 0 || elements < worth_dividing;
  if (whole && !Split::padded_rows(std::get<Shape>(operands))) {
    const DefaultFloatControl undisturbed;
    std::apply(kernel, operands);
    return;
  }
  Call<Operands...> call{kernel, operands};
  Shape& shape = std::get<Shape>(call.operands);
  if (whole) {
    const DefaultFloatControl undisturbed;
    return call.run_real(shape, Split::all(shape));
  }
  if constexpr (Split::by_position) Split::flatten(shape);
  struct Divided {
    const Call<Operands...>& call;
    const Shape& shape;
    Division division;
  };
  const Divided divided{call, shape, Split::divide(shape, elements / piece_size)};
  const auto run = [](const void* what, size_t piece) {
    const auto& of = *static_cast<const Divided*>(what);
    const DefaultFloatControl undisturbed;
    of.call.run_real(of.shape, of.division.share(piece));
  };
  run_pieces({run, &divided, divided.division.pieces()}, helpers);
}

}  // namespace evenkeel
