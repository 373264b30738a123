// How a call is divided among threads: into pieces that are calls of the same kernel on a part of the operands. A piece
// has whole groups, so that no bit depends on how many there are.
#pragma once

#include <algorithm>
#include <tuple>
#include <type_traits>

#include "isa/machine.h"
#include "ops.h"
#include "threads.h"

namespace evenkeel {

// A part of a shape: some of its matrices or samples, and some of the columns or groups of each.
struct Part {
  size_t first, count;
  size_t column, columns;
};

inline Groups part_of(Groups shape, Groups, Part part) {
  return {part.count, shape.size, part.columns, shape.pitch, shape.whole};
}

inline Volume part_of(Volume shape, Volume, Part part) {
  return {part.count, part.columns, shape.channels, shape.positions, shape.channels_last, shape.pitch, shape.whole};
}

template <class T>
Matrix<T> part_of(Matrix<T> operand, Groups, Part part) {
  return {operand.at(part.first) + part.column, operand.stride};
}

template <class T>
Maybe<T> part_of(Maybe<T> operand, Groups, Part part) {
  return {{operand ? operand.at(part.first) + part.column : nullptr, operand.stride}};
}

template <class T>
Tensor<T> part_of(Tensor<T> operand, Volume shape, Part part) {
  const size_t channel = part.column * shape.channels;
  return {operand.data + part.first * shape.pitch * shape.positions +
          (shape.channels_last ? channel : channel * shape.positions)};
}

template <class T>
PerChannel<T> part_of(PerChannel<T> operand, Volume shape, Part part) {
  return {operand.data ? operand.data + part.column * shape.channels : nullptr};
}

template <class T>
OverBatch<T> part_of(OverBatch<T> operand, Volume, Part part) {
  return {operand.data + part.column};
}

inline PerGroup from(PerGroup operand, size_t group) {
  return {operand.single ? operand.single + group : nullptr, operand.full ? operand.full + group : nullptr};
}

inline PerGroup part_of(PerGroup operand, Groups shape, Part part) {
  return from(operand, part.first * shape.inner + part.column);
}

inline PerGroup part_of(PerGroup operand, Volume shape, Part part) {
  return from(operand, part.first * shape.groups + part.column);
}

inline Spans part_of(Spans operand, Volume, Part part) {
  return {operand.data ? operand.data + 2 * part.first : nullptr};
}

// Everything else is the same for every part.
template <class Operand, class Shape>
Operand part_of(Operand operand, Shape, Part) {
  return operand;
}

// The parts of a shape: `blocks` ranges of its matrices or samples, and each of them in `strips` ranges of columns.
struct Division {
  size_t outer, blocks;
  size_t columns, strips, unit;  // columns stay together in units

  size_t pieces() const { return blocks * strips; }
  Part part(size_t piece) const {
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
  using Shape = std::conditional_t<has<Volume>, Volume, Groups>;
  static constexpr bool over_batch = has<OverBatch<double>>;  // statistics of channels over all samples
  static constexpr bool by_channel = has<PerChannel<float>>;  // channels, or groups of them, each on its own
  static constexpr bool by_position = has<Volume> && !has<PerGroup> && !over_batch;

  static size_t elements(const Groups& shape) { return shape.outer * shape.size * shape.inner; }
  static size_t elements(const Volume& shape) { return shape.count() * shape.channels * shape.positions; }

  // The same elements in as many samples as can be: each position with all its channels.
  static void flatten(Volume& shape, const std::tuple<Operands...>& operands) {
    if (!shape.channels_last) return;
    if constexpr (has<Spans>) {
      if (std::get<Spans>(operands).data) return;
    }
    shape.samples *= shape.positions;
    shape.whole *= shape.positions;
    shape.positions = 1;
  }

  static Division divide(const Groups& shape, size_t pieces) {
    return evenkeel::divide(shape.outer, shape.inner, cache_line, pieces);
  }
  static Division divide(const Volume& shape, size_t pieces) {
    const size_t unit = shape.channels_last ? (cache_line + shape.channels - 1) / shape.channels : 1;
    if (over_batch) {
      const Division all = evenkeel::divide(1, shape.groups, unit, pieces);
      return {shape.samples, 1, all.columns, all.strips, all.unit};
    }
    return evenkeel::divide(shape.samples, shape.groups, by_channel ? unit : shape.groups, pieces);
  }
};

// Elements from which a call is divided, and how many a piece has about (measured: bench/results/choices.md).
constexpr size_t worth_dividing = 1 << 17;
constexpr size_t piece_size = 1 << 17;

// Runs a kernel, with at most so many idle threads to help.
template <class... Operands>
void run_divided(void (*kernel)(Operands...), std::tuple<Operands...> operands, size_t helpers) {
  using Split = Splitter<Operands...>;
  using Shape = typename Split::Shape;
  Shape& shape = std::get<Shape>(operands);
  const size_t elements = Split::elements(shape);
  if (helpers == 0 || elements < worth_dividing) {
    const DefaultFloatControl undisturbed;
    std::apply(kernel, operands);
    return;
  }
  if constexpr (Split::by_position) Split::flatten(shape, operands);
  struct Call {
    void (*kernel)(Operands...);
    const std::tuple<Operands...>& operands;
    const Shape& shape;
    Division division;
  };
  const Call call{kernel, operands, shape, Split::divide(shape, elements / piece_size)};
  const auto run = [](const void* what, size_t piece) {
    const auto& of = *static_cast<const Call*>(what);
    const Part part = of.division.part(piece);
    const DefaultFloatControl undisturbed;
    std::apply([&](const auto&... operand) { of.kernel(part_of(operand, of.shape, part)...); }, of.operands);
  };
  run_pieces({run, &call, call.division.pieces()}, helpers);
}

}  // namespace evenkeel
