// Views whose rows stand alike in all operands of a call, as they do in place: a list says where, and the kernel works
// on them where they are. TypeScript has no such file: it brings all rows in (src/kernels/stage.ts).
#pragma once

#include <algorithm>
#include <tuple>
#include <type_traits>

#include "../ops.h"
#include "staging.h"

namespace evenkeel {

// Rows whose places are listed at a time.
constexpr size_t listed_rows = 512;

// Whether a kernel may ask an operand for a row by its number; of a statistic only where it is there. Backward calls,
// which take no views, have others.
template <class Operand>
constexpr bool has_numbers = takes_array<Operand> && !is_matrix<Operand> && !is_parameter<Operand> &&
                             !std::is_same_v<Operand, Groups> && !std::is_same_v<Operand, PerGroup>;
template <class Operand>
bool is_asked(const Operand&) {
  return false;
}
inline bool is_asked(const PerGroup& operand) { return operand.single || operand.full; }

// Where the rows of all operands stand, where that is alike; else null.
template <class All>
const Storage* place_of_rows(const All& operands, const Storages& storages, const Groups& shape) {
  const Storage* first = nullptr;
  bool alike = shape.pitch == 1 && storages.rank > 0;
  each_operand<All>([&](auto i) {
    const auto& operand = std::get<i>(operands);
    if constexpr (is_matrix<std::tuple_element_t<i, All>>) {
      if (!operand.data) return;
      const Storage& of = storages.of[array_of<All>(i)];
      if (!first) first = &of;
      alike = alike && of.is_view && of.type == ElementType::float32 &&
              std::equal(of.strides, of.strides + storages.rank, first->strides);
    } else {
      alike = alike && !is_asked(operand);
    }
  });
  if (!alike || !first) return nullptr;
  size_t last = 0;
  for (size_t d = 0; d < storages.rank; ++d) last += (storages.dims[d] - 1) * first->strides[d];
  return last <= UINT32_MAX ? first : nullptr;
}

// Runs the kernel on a share of such rows: each has the number of its first element. False where they are not alike.
// Rows that are brought in take half as long again (measured).
template <class... Operands>
bool run_listed(void (*kernel)(Operands...), const std::tuple<Operands...>& operands, const Storages& storages,
                const Groups& shape, const Share& share) {
  using All = std::tuple<Operands...>;
  const Storage* const place = place_of_rows(operands, storages, shape);
  if (!place) return false;
  const size_t* const strides = place->strides;
  const size_t last = storages.rank - 1;
  uint32_t list[listed_rows];
  size_t index[Axes::most];
  size_t offset = 0, next = SIZE_MAX;
  for (size_t done = 0; done < share.count;) {
    const size_t count = std::min(listed_rows, share.count - done);
    for (size_t i = 0; i < count;) {
      const size_t row = share.first + (share.listed ? share.listed[done + i] : done + i);
      if (row != next) offset = offset_of(storages, *place, row, index);
      // Along the last dimension as many as there are, where none is left out.
      const size_t along = share.listed ? 1 : std::min(count - i, storages.dims[last] - index[last]);
      for (size_t k = 0; k < along; ++k) list[i + k] = static_cast<uint32_t>(offset + k * strides[last]);
      i += along;
      next = row + along;
      index[last] += along - 1;
      offset += (along - 1) * strides[last];
      go_on(storages, *place, storages.rank, index, offset);
    }
    All placed;
    each_operand<All>([&](auto i) {
      const auto& operand = std::get<i>(operands);
      if constexpr (is_matrix<std::tuple_element_t<i, All>>) {
        std::get<i>(placed) = operand;
        std::get<i>(placed).stride = 1;
      } else {
        std::get<i>(placed) = share_of(operand, shape, Share{0, count, 0, 1, list, share.done + done});
      }
    });
    std::apply(kernel, placed);
    done += count;
  }
  return true;
}

}  // namespace evenkeel
