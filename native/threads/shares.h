// A part of a call, and what it is of each kind of operand. The twin of src/kernels/padding.ts for what is padded.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "../operands.h"

namespace evenkeel {

// A part of a call: some of its matrices or samples, and some of the columns or groups of each. Of a copy in another
// order: some of the indices of its longest dimension.
struct Share {
  size_t first, count;
  size_t column, columns;
  const uint32_t* listed = nullptr;  // of rows: which of them, from the first
  size_t done = 0;                   // of rows: how many real ones there are before the first
};

inline size_t longest_axis(const Axes& shape) {
  size_t longest = 0;
  for (size_t i = 1; i < shape.rank; ++i) {
    if (shape.dims[i] > shape.dims[longest]) longest = i;
  }
  return longest;
}

inline Groups share_of(Groups shape, Groups, Share share) {
  return {share.count, shape.size, share.columns, shape.pitch, shape.whole, {}, share.listed, shape.helpers};
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
          {spans.list, spans.sample + share.first, 0},
          shape.in_caches,
          shape.helpers};
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

inline MaybeOverBatch share_of(MaybeOverBatch operand, Volume, Share share) {
  return {operand.data ? operand.data + share.column : nullptr};
}

inline SumOverRows share_of(SumOverRows operand, Groups, Share share) { return {operand.data, share.done}; }

inline SumOverRows share_of(SumOverRows operand, Volume shape, Share share) {
  return {operand.data ? operand.data + share.column * shape.channels_per_group : nullptr, operand.done + share.first,
          operand.pitch ? operand.pitch : shape.pitch};
}

inline SavedPerGroup share_of(SavedPerGroup operand, Groups shape, Share share) {
  return {operand.data ? operand.data + share.first * shape.inner + share.column : nullptr};
}

inline SavedPerGroup share_of(SavedPerGroup operand, Volume shape, Share share) {
  return {operand.data ? operand.data + share.first * shape.groups + share.column : nullptr};
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

}  // namespace evenkeel
