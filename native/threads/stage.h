// Calls whose elements in memory are no dense float32: those of 16 bits (rule 24), and views. Some groups at a time are
// brought into memory of the call's own, where the kernel works on them, and their results back. The twin of
// src/kernels/stage.ts, which takes all at once.
#pragma once

#include <algorithm>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "../ops.h"
#include "../platform/compiler.h"
#include "listed.h"
#include "shares.h"
#include "staging.h"

EVENKEEL_SMALL_BEGIN

namespace evenkeel {

// Elements that are brought in at a time: they stay in the first cache. Of channels that are last, so many that each
// line of memory is used whole.
constexpr size_t staged_elements = 3072;
constexpr size_t staged_columns = 32;

// How much of a shape is worked on at a time.
struct Blocks {
  size_t outer;    // matrices or samples
  size_t columns;  // or groups
  size_t positions;
  size_t elements;  // of all that
};

// A share of a call, some blocks at a time. `Split` says how its operands are divided (divide.h).
template <class Split, class... Operands>
class StagedCall {
  using Shape = typename Split::Shape;
  using All = std::tuple<Operands...>;
  static constexpr bool one_input = (size_t{is_input<Operands>} + ...) == 1;
  // A forward that adds a residual: the sum has x's type before it is normalised.
  static constexpr bool adds_residual = one_input && (is_maybe_input<Operands> || ...);

  template <class Wanted, size_t i = 0>
  static constexpr size_t index_of() {
    if constexpr (std::is_same_v<std::tuple_element_t<i, All>, Wanted>) {
      return i;
    } else {
      return index_of<Wanted, i + 1>();
    }
  }

 public:
  static Blocks blocks_of(const Groups& shape) {
    const size_t row = shape.size * shape.inner;
    if (row <= staged_elements || shape.inner == 1) {
      const size_t outer = std::min(shape.outer, std::max<size_t>(1, staged_elements / row));
      return {outer, shape.inner, 0, outer * row};
    }
    const size_t columns = std::min(shape.inner, std::max(staged_columns, staged_elements / shape.size));
    return {1, columns, 0, shape.size * columns};
  }
  static Blocks blocks_of(const Volume& shape) {
    const size_t per_group = shape.channels_per_group, positions = shape.positions;
    const size_t sample = shape.channels() * positions, samples = Split::over_batch ? shape.samples : 1;
    if (!Split::over_batch && sample <= staged_elements) {
      const size_t outer = std::min(shape.samples, staged_elements / sample);
      return {outer, shape.groups, positions, outer * sample};
    }
    const bool by_channel = Split::by_channel || Split::over_batch;
    if (Split::by_position && (shape.channels_last || !by_channel || positions > staged_elements)) {
      const size_t groups = shape.channels_last || !by_channel ? shape.groups : 1;
      const size_t least = shape.channels_last ? 1 : staged_columns;
      const size_t some = std::min(positions, std::max(least, staged_elements / (groups * per_group)));
      return {1, groups, some, groups * per_group * some};
    }
    const size_t group = samples * per_group * positions;
    const size_t least = shape.channels_last ? (staged_columns + per_group - 1) / per_group : 1;
    const size_t groups = std::min(shape.groups, std::max(least, staged_elements / group));
    return {samples, groups, positions, groups * group};
  }
  static Blocks blocks_of(const Axes&) { return {0, 0, 0, 0}; }

  // Floats that a thread needs.
  static size_t elements_of(const All& operands, const Shape& shape) {
    size_t matrices = 1;
    each_operand<All>([&](auto i) {
      using Operand = std::tuple_element_t<i, All>;
      if constexpr (is_matrix<Operand>) matrices += std::get<i>(operands).data != nullptr;
    });
    const size_t n = blocks_of(shape).elements;
    return n > SIZE_MAX / 64 / matrices ? SIZE_MAX : matrices * Staging::rounded(n);
  }
  // And all parameters.
  static size_t parameters_of(const All& operands, const Shape& shape, const Storages& storages) {
    size_t n = 0;
    each_operand<All>([&](auto i) {
      const auto& operand = std::get<i>(operands);
      if (!storages.of[array_of<All>(i)].plain()) n += Staging::rounded(parameter_size(operand, shape));
    });
    return n;
  }
  static void stage_parameters(All& operands, const Shape& shape, Staging& staging) {
    each_operand<All>([&](auto i) {
      const Storage& of = staging.storages.of[array_of<All>(i)];
      auto& operand = std::get<i>(operands);
      if constexpr (is_parameter<std::tuple_element_t<i, All>>) {
        if (operand.data && !of.plain()) {
          operand.data = staging.parameter(operand.data, of, parameter_size(operand, shape));
        }
      }
    });
  }

  StagedCall(void (*kernel)(Operands...), const All& operands, const Staging& staging)
      : kernel_(kernel), operands_(operands), staging_(staging) {}

  // A share of which all is real.
  EVENKEEL_RARE void run(const Shape& shape, const Share& share) const {
    const size_t slot = staging_.take();
    float* const memory = staging_.memory(slot);
    if constexpr (std::is_same_v<Shape, Groups>) run_groups(shape, share, memory);
    if constexpr (std::is_same_v<Shape, Volume>) run_volume(shape, share, memory);
    if constexpr (std::is_same_v<Shape, Axes>) run_axes(shape, share);
    // Once: after each block it took a fifth of the time from memory (measured).
    if (staging_.streamed) staging_.tables.convert.end_of_stream();
    staging_.give_back(slot);
  }

  // 0 in all that is written of a share (rule 15), which has all types alike.
  EVENKEEL_RARE void clear(const Groups& shape, const Share& share) const {
    each_operand<All>([&](auto i) {
      const auto& operand = std::get<i>(operands_);
      const Storage& of = staging_.storages.of[array_of<All>(i)];
      using Operand = std::tuple_element_t<i, All>;
      if constexpr (is_written<Operand>) {
        if (operand.data && !of.plain()) {
          staging_.clear(operand.data, of, operand.stride, shape, share);
          return;
        }
      }
      clear_share(operand, shape, share);
    });
  }

 private:
  template <class T>
  static size_t parameter_size(const PerElement<T>& operand, const Groups& shape) {
    return operand.data ? shape.size : 0;
  }
  template <class T>
  static size_t parameter_size(const PerChannel<T>& operand, const Volume& shape) {
    return operand.data ? shape.channels() : 0;
  }
  template <class Operand, class Other>
  static size_t parameter_size(const Operand&, const Other&) {
    return 0;
  }

  // Runs the kernel on a block of n elements: `place` gives an operand as it is there and reads it, `keep` writes back
  // what is in memory of the call's own.
  template <class Place, class Keep>
  void run_block(float* memory, size_t n, Place place, Keep keep) const {
    All placed;
    float* own[sizeof...(Operands)] = {};
    each_operand<All>([&](auto i) {
      using Operand = std::tuple_element_t<i, All>;
      if constexpr (is_matrix<Operand>) {
        if (std::get<i>(operands_).data) {
          own[i] = memory;
          memory += Staging::rounded(n);
        }
      }
      std::get<i>(placed) = place(i, own[i]);
    });
    if constexpr (adds_residual) add_rounded(placed, memory, n);
    std::apply(kernel_, placed);
    each_operand<All>([&](auto i) {
      using Operand = std::tuple_element_t<i, All>;
      if constexpr (is_written<Operand>) {
        if (own[i]) keep(i, own[i]);
      }
    });
  }

  struct Rounded {
    const KernelTables& tables;
    size_t type;
    float* to;
    const float* residual;
    uint16_t* bits;
    double scale;
  };
  static void add_rounded_section(const void* what, size_t begin, size_t end) {
    const auto& sum = *static_cast<const Rounded*>(what);
    const size_t n = end - begin;
    float* const to = sum.to + begin;
    sum.tables.float32.residual_sum({to, n}, {to, n}, {sum.residual + begin, n}, Groups{1, n, 1, 1, 0}, sum.scale);
    sum.tables.convert.narrow[sum.type](sum.bits + begin, to, n, false);
    sum.tables.convert.widen[sum.type](to, sum.bits + begin, n);
  }

  // The sum of x and the residual, rounded to the type of x before it is normalised (rule 24): in the place of x, and
  // of `sum` where there is one.
  void add_rounded(All& placed, float* memory, size_t n) const {
    constexpr size_t x = index_of<In<float>>(), residual = index_of<MaybeIn<float>>();
    constexpr size_t sum = index_of<MaybeOut<float>>(), scale = index_of<double>();
    const Storage& of = staging_.storages.of[array_of<All>(x)];
    auto& with = std::get<residual>(placed);
    if (!with || of.type == ElementType::float32) return;
    auto* const to = const_cast<float*>(std::get<x>(placed).data);
    const Rounded added{staging_.tables, static_cast<size_t>(of.type) - 1,    to,
                        with.data,       reinterpret_cast<uint16_t*>(memory), std::get<scale>(placed)};
    const size_t helpers = std::get<Groups>(placed).helpers;
    if (helpers > 0) {
      run_sections({&add_rounded_section, &added, n, 1024, n}, helpers);
    } else {
      add_rounded_section(&added, 0, n);
    }
    with.data = nullptr;
    auto& written = std::get<sum>(placed);
    if (written) std::memcpy(written.data, to, n * sizeof(float));
    written.data = nullptr;
  }

  EVENKEEL_RARE void run_groups(const Groups& shape, const Share& share, float* memory) const {
    if constexpr (!(has_numbers<Operands> || ...)) {
      if (run_listed(kernel_, operands_, staging_.storages, shape, share)) return;
    }
    const Blocks blocks = blocks_of(shape);
    // Statistics of several matrices stand side by side: with some of the columns each is on its own.
    const size_t most = share.columns == shape.inner ? blocks.outer : 1;
    const size_t along = staging_.along(shape.size);
    size_t done = share.done;
    for (size_t i = 0; i < share.count;) {
      // Rows that are listed: neighbors together.
      const size_t first = share.listed ? share.first + share.listed[i] : share.first + i;
      size_t count = 1;
      while (i + count < share.count && count < most &&
             (!share.listed || share.listed[i + count] == share.listed[i] + count)) {
        ++count;
      }
      if (along > 0) {
        count = std::min(count, along - first % along);
        run_views(shape, Share{first, count, 0, 1, nullptr, done});
      } else {
        for (size_t column = 0; column < share.columns; column += blocks.columns) {
          const size_t columns = std::min(blocks.columns, share.columns - column);
          run_matrices(shape, Share{first, count, share.column + column, columns, nullptr, done}, memory);
        }
      }
      i += count;
      done += count;
    }
  }

  // Rows along the last dimension of views, all float32: each operand has a stride there.
  void run_views(const Groups& shape, const Share& some) const {
    All placed;
    each_operand<All>([&](auto i) {
      using Operand = std::tuple_element_t<i, All>;
      const Storages& storages = staging_.storages;
      const Storage& of = storages.of[array_of<All>(i)];
      std::get<i>(placed) = share_of(std::get<i>(operands_), shape, some);
      if constexpr (is_matrix<Operand>) {
        if (std::get<i>(operands_).data && of.is_view) {
          std::get<i>(placed) = {std::get<i>(operands_).data + offset_of(storages, of, some.first),
                                 of.strides[storages.rank - 1]};
        }
      }
    });
    std::apply(kernel_, placed);
  }

  void run_matrices(const Groups& shape, const Share& some, float* memory) const {
    const Storages& storages = staging_.storages;
    // A column by itself has a place beside it: with a pitch of 1 it would be a row, which rule 14 adds up otherwise.
    const size_t pitch = shape.pitch > 1 ? std::max<size_t>(2, some.columns) : some.columns;
    const size_t row = shape.size * pitch, apart = pitch / some.columns;
    // Rows have a stride each, columns of matrices one for all operands.
    const auto stays = [&](const Storage& of) { return shape.pitch == 1 && of.plain(); };
    float* result = nullptr;  // in place: of two matrices less stays in the first cache (measured)
    run_block(
        memory, some.count * row,
        [&](auto i, float*& own) {
          using Operand = std::tuple_element_t<i, All>;
          Operand operand = share_of(std::get<i>(operands_), shape, some);
          if constexpr (std::is_same_v<Operand, Groups>) {
            operand = Groups{some.count, shape.size, some.columns, pitch, 0, {}, nullptr, shape.helpers};
          }
          if constexpr (is_matrix<Operand>) {
            const Storage& of = storages.of[array_of<All>(i)];
            if (own && stays(of)) own = nullptr;
            if constexpr (one_input && std::is_same_v<Operand, In<float>>) {
              if (own && result) own = result;
            }
            if constexpr (one_input && std::is_same_v<Operand, Out<float>>) result = own;
            if (own) {
              if (apart > 1) std::memset(own, 0, some.count * row * sizeof(float));
              if constexpr (!is_written<Operand>) {
                const auto& from = std::get<i>(operands_);
                staging_.bring_in(own, from.data, of, from.stride, shape, some, apart);
              }
              operand.data = own;
              operand.stride = row;
            }
          }
          return operand;
        },
        [&](auto i, const float* own) {
          const Storage& of = storages.of[array_of<All>(i)];
          const auto& to = std::get<i>(operands_);
          staging_.bring_back(to.data, own, of, to.stride, shape, some, apart);
        });
  }

  EVENKEEL_RARE void run_volume(const Volume& shape, const Share& share, float* memory) const {
    const Blocks blocks = blocks_of(shape);
    // Statistics of several samples stand side by side: with some of the groups each sample is on its own.
    const bool whole = share.columns == shape.groups && blocks.columns >= share.columns;
    const size_t most = Split::over_batch || whole ? blocks.outer : 1;
    for (size_t sample = 0; sample < share.count; sample += most) {
      const size_t samples = std::min(most, share.count - sample);
      for (size_t column = 0; column < share.columns; column += blocks.columns) {
        const size_t columns = std::min(blocks.columns, share.columns - column);
        const Share some{share.first + sample, samples, share.column + column, columns};
        for (size_t from = 0; from < shape.positions; from += blocks.positions) {
          run_part(shape, Part{some, from, std::min(blocks.positions, shape.positions - from)}, memory);
        }
      }
    }
  }

  void run_part(const Volume& shape, const Part& part, float* memory) const {
    const Share& some = part.share;
    const size_t channels = some.columns * shape.channels_per_group;
    run_block(
        memory, some.count * channels * part.positions,
        [&](auto i, float* own) {
          using Operand = std::tuple_element_t<i, All>;
          Operand operand = share_of(std::get<i>(operands_), shape, some);
          if constexpr (std::is_same_v<Operand, Volume>) {
            operand.positions = part.positions;
            operand.pitch = channels;
            operand.spans.from += part.from;
            operand.in_caches = true;
          }
          if constexpr (is_matrix<Operand>) {
            if constexpr (!is_written<Operand>) {
              const Storage& of = staging_.storages.of[array_of<All>(i)];
              const auto& from = std::get<i>(operands_);
              staging_.bring_in(own, from.data, of, shape, part);
            }
            operand.data = own;
          }
          return operand;
        },
        [&](auto i, const float* own) {
          const Storage& of = staging_.storages.of[array_of<All>(i)];
          const auto& to = std::get<i>(operands_);
          staging_.bring_back(to.data, own, of, shape, part);
        });
  }

  // A copy, of elements of 16 bits as they are.
  void run_axes(const Axes& shape, const Share& share) const {
    constexpr size_t y = index_of<Tensor<float>>(), x = index_of<Tensor<const float>>();
    const Tensor<uint16_t> to{reinterpret_cast<uint16_t*>(std::get<y>(operands_).data)};
    const Tensor<const uint16_t> from{reinterpret_cast<const uint16_t*>(std::get<x>(operands_).data)};
    staging_.tables.convert.permute(share_of(to, shape, share), share_of(from, shape, share),
                                    share_of(shape, shape, share));
  }

  void (*kernel_)(Operands...);
  const All& operands_;
  const Staging& staging_;
};

}  // namespace evenkeel

EVENKEEL_SMALL_END
