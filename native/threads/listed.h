// Views whose rows stand alike in all operands of a call, as they do in place: a list says where, and the kernel works
// on them where they are. TypeScript has no such file: it brings all rows in (src/kernels/stage.ts).
#pragma once

#include <algorithm>
#include <cstring>
#include <tuple>
#include <type_traits>

#include "../ops.h"
#include "../platform/compiler.h"
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
              std::memcmp(of.strides, first->strides, storages.rank * sizeof(size_t)) == 0;
    } else {
      alike = alike && !is_asked(operand);
    }
  });
  if (!alike || !first) return nullptr;
  size_t last = 0;
  for (size_t d = 0; d < storages.rank; ++d) last += (storages.dims[d] - 1) * first->strides[d];
  return last <= UINT32_MAX ? first : nullptr;
}

// Rows along the last dimension that are written to a list together: behind the last one there is room for so many.
constexpr size_t listed_together = 8;

// Lists where `count` rows begin, from number `done` of a share on, that stand as one view says.
EVENKEEL_NOINLINE inline void list_rows(uint32_t* list, const Storages& storages, const Storage& place,
                                        const Share& share, size_t done, size_t count) {
  if (share.listed) {
    for (size_t i = 0; i < count; ++i) {
      list[i] = static_cast<uint32_t>(offset_of(storages, place, share.first + share.listed[done + i]));
    }
    return;
  }
  const size_t last = storages.rank - 1, stride = place.strides[last];
  uint32_t steps[listed_together];
  for (size_t k = 0; k < listed_together; ++k) steps[k] = static_cast<uint32_t>(k * stride);
  size_t index[Axes::most];
  size_t offset = offset_of(storages, place, share.first + done, index);
  for (size_t i = 0; i < count;) {
    const size_t from = index[last], along = std::min(count - i, storages.dims[last] - from);
    for (size_t k = 0; k < along; k += listed_together) {
      const auto first = static_cast<uint32_t>(offset + k * stride);
      for (size_t j = 0; j < listed_together; ++j) list[i + k + j] = first + steps[j];
    }
    i += along;
    index[last] = 0;
    offset -= from * stride;
    go_on(storages, place, last, index, offset);
  }
}

// Runs the kernel on a share of such rows: each has the number of its first element. False where they are not alike.
// Rows that are brought in take half as long again (measured).
template <class... Operands>
bool run_listed(void (*kernel)(Operands...), const std::tuple<Operands...>& operands, const Storages& storages,
                const Groups& shape, const Share& share) {
  using All = std::tuple<Operands...>;
  const Storage* const place = place_of_rows(operands, storages, shape);
  if (!place) return false;
  uint32_t list[listed_rows + listed_together];
  for (size_t done = 0; done < share.count;) {
    const size_t count = std::min(listed_rows, share.count - done);
    list_rows(list, storages, *place, share, done, count);
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
