// The kinds of operands that kernels have. The twin of src/kernels/operands.ts. What they do is inlined by force: no
// copy may be left that is compiled for another CPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "elements.h"
#include "platform/compiler.h"

namespace evenkeel {

// Which positions of each sample are real (rule 15), as spans [begin, end) of neighbors. First, for each sample and
// once more, where its spans stand in the list; then the spans, each as two numbers, in order and apart from each
// other. Absent where the list is null: all positions are real.
struct Spans {
  const int32_t* list = nullptr;
  size_t sample = 0;  // of the list, the one that is here the first
  size_t from = 0;    // the position that is here the first

  explicit operator bool() const { return list != nullptr; }
  const int32_t* first(size_t n) const { return list + list[sample + n]; }
};

// Of each source file its own: a shared copy could be one that is compiled for another CPU.
namespace {

// Calls step(begin, end) for each span of a sample, in order, as far as they lie from position `from` to position `to`.
template <class Step>
void each_span(const Spans& spans, size_t sample, size_t from, size_t to, Step step) {
  if (!spans) {
    step(from, to);
    return;
  }
  // The first that ends behind `from`: a call may have a share of very many.
  const int32_t* at = spans.first(sample);
  const int32_t* const end_of_spans = spans.first(sample + 1);
  const size_t first = spans.from + from, last = spans.from + to;
  for (size_t n = static_cast<size_t>(end_of_spans - at) / 2; n > 0;) {
    const size_t half = n / 2;
    const bool ends_before = static_cast<size_t>(at[2 * half + 1]) <= first;
    if (ends_before) at += 2 * (half + 1);
    n = ends_before ? n - half - 1 : half;
  }
  for (; at < end_of_spans && static_cast<size_t>(at[0]) < last; at += 2) {
    const size_t begin = static_cast<size_t>(at[0]), end = static_cast<size_t>(at[1]);
    step((begin > first ? begin : first) - spans.from, (end < last ? end : last) - spans.from);
  }
}

// The same for positions from 0 on.
template <class Step>
void each_span(const Spans& spans, size_t sample, size_t positions, Step step) {
  each_span(spans, sample, 0, positions, step);
}

// How many positions of a sample are real.
inline size_t count_real(const Spans& spans, size_t sample, size_t positions) {
  size_t count = 0;
  each_span(spans, sample, positions, [&](size_t begin, size_t end) { count += end - begin; });
  return count;
}

}  // namespace

// The shape of an op over rows or columns: `outer` matrices of `size` rows and `inner` columns, each column a group;
// with inner == 1 each matrix is one, and its elements are neighbors. Of the spans, the samples are the matrices and
// the positions their columns; with inner == 1 there is one sample, whose positions are the matrices. Kernels are
// called for real groups alone: divide.h sees to that.
struct Groups {
  size_t outer;
  size_t size;
  size_t inner;
  size_t pitch = inner;  // columns of a matrix in memory, of which these are neighbors: a thread's share
  size_t whole = outer;  // matrices of the whole call; 0 where what is here is in the caches, whatever that is
  Spans spans{};
  const uint32_t* listed = nullptr;  // of rows: those that are worked on, where they are not neighbors
  size_t helpers = 0;                // idle threads that may help with each group; else each thread has its own

  size_t count() const { return outer * inner; }
  // The row that is worked on as number i.
  size_t row(size_t i) const { return listed ? listed[i] : i; }
};

// The shape of an op over channels: samples x (groups * channels_per_group) x positions, or, where the channels are
// last, samples x positions x (groups * channels_per_group). A group is `channels_per_group` neighboring channels.
struct Volume {
  size_t samples;
  size_t groups;
  size_t channels_per_group;
  size_t positions;
  bool channels_last;
  size_t pitch = groups * channels_per_group;  // channels of the tensor in memory, of which these are neighbors
  size_t whole = samples;                      // samples of the whole call
  Spans spans{};
  bool in_caches = false;  // whatever the whole call is
  size_t helpers = 0;      // idle threads that may help with each group, where all positions are real

  EVENKEEL_INLINE size_t in_memory() const { return in_caches ? 0 : whole * pitch * positions; }
  size_t count() const { return samples * groups; }
  size_t channels() const { return groups * channels_per_group; }
};

// The shape of a copy in another order: its dimensions, and how far apart their elements stand in x and in y.
struct Axes {
  static constexpr size_t most = 16;
  size_t rank;
  size_t dims[most];
  size_t x_strides[most];
  size_t y_strides[most];

  EVENKEEL_INLINE size_t count() const {
    size_t n = 1;
    for (size_t i = 0; i < rank; ++i) n *= dims[i];
    return n;
  }
};

// Matrices one after the other: matrix i begins at data + i * stride (in elements).
template <class T>
struct Matrix {
  T* data;
  size_t stride;

  EVENKEEL_INLINE T* at(size_t i) const { return data + i * stride; }
};

// Matrices that may be absent: then data is null, and so is every one.
template <class T>
struct Maybe : Matrix<T> {
  explicit operator bool() const { return this->data != nullptr; }
  EVENKEEL_INLINE T* at(size_t i) const { return this->data ? Matrix<T>::at(i) : nullptr; }
};

template <class T>
using Out = Matrix<T>;
template <class T>
using In = Matrix<const T>;
template <class T>
using MaybeOut = Maybe<T>;
template <class T>
using MaybeIn = Maybe<const T>;

// All elements of a volume.
template <class T>
struct Tensor {
  T* data;
};

// One value for every element of a group (weight, bias). Absent where data is null.
template <class T>
struct PerElement {
  const T* data;
};

// One value for every channel (weight, bias). Absent where data is null.
template <class T>
struct PerChannel {
  const T* data;
};

// One float64 for every group of a sample: the statistics of channels over a batch.
template <class T>
struct OverBatch {
  T* data;
};

// The same, where it may be absent: then data is null.
struct MaybeOverBatch {
  double* data;
};

// One statistic of every group that the forward wrote. Absent where data is null.
struct SavedPerGroup {
  const double* data;
};

// Runs or columns whose totals are added before they join the group's, rows of a block, blocks of a part (rules 13,
// 14).
constexpr size_t fold64 = 64;

// Sums over the rows of a call, or over its samples, of n elements each (rule 22). In memory there is a row of n
// partial sums for every block, or for every sample where there are not more than a part has. Those that threads have
// added up are brought together in the end, in order (divide.h): no bit depends on which thread it was. Absent where
// data is null.
struct SumOverRows {
  double* data;
  size_t done = 0;   // rows or samples before the first that is here
  size_t pitch = 0;  // of samples: channels of all sums, of which these are neighbors; 0 where those of the shape

  static size_t unit(const Volume& shape) { return shape.whole <= fold64 * fold64 ? 1 : fold64; }
  // Where the row that is worked on as number i adds to.
  EVENKEEL_INLINE double* at(size_t i, const Groups& shape) const {
    return data ? data + (done + i) / fold64 * shape.size : nullptr;
  }
  EVENKEEL_INLINE double* at(size_t sample, const Volume& shape) const {
    return data ? data + (done + sample) / unit(shape) * (pitch ? pitch : shape.pitch) : nullptr;
  }
};

// One statistic for every group, written as float32 or as float64. Absent where both are null.
struct PerGroup {
  float* single;
  double* full;

  void set(size_t group, double value) const {
    if (single) single[group] = static_cast<float>(value);
    if (full) full[group] = value;
  }
};

// What a code is. The numbers are those of src/kernels/operands.ts.
enum class CodeFormat : size_t {
  float16,
  bfloat16,
  int8_ranges,
  uint8_ranges,
  int8_unit,
  int8_row,
  int8_sqlite_vec,
  ubinary_msb,
  ubinary_lsb,
  binary_msb,
  binary_lsb
};
constexpr size_t code_formats = 11;

// The codes of every group, one after the other.
struct Codes {
  uint8_t* data;
  CodeFormat format;

  // Bytes of a group of n elements.
  size_t bytes(size_t n) const {
    if (format <= CodeFormat::bfloat16) return 2 * n;
    return format >= CodeFormat::ubinary_msb ? (n + 7) / 8 : n;
  }
  uint8_t* at(size_t i, size_t n) const { return data + i * bytes(n); }
};

// How many elements of a group count, from the first: 1 to size.
struct Counted {
  size_t n;
};

// How the elements of an operand stand in memory: those of a view row by row, of which it says how far apart they
// stand along each of the call's dimensions.
struct Storage {
  ElementType type;
  bool is_view;
  size_t strides[Axes::most];

  bool plain() const { return type == ElementType::float32 && !is_view; }
};

// The same of all arrays of a call, in order.
struct Storages {
  static constexpr size_t most = 16;
  bool any = false;
  Storage of[most];
  size_t rank;
  size_t dims[Axes::most];
};

// What the division of a call among threads asks of an operand's kind.
template <class Operand>
struct Traits {
  static constexpr bool over_batch = false;   // a statistic of channels over all samples, written
  static constexpr bool per_channel = false;  // the channels, or groups of them, are each on their own
  static constexpr bool per_group = false;    // a statistic of each group
  static constexpr bool over_rows = false;    // a sum over all rows or samples
};

template <>
struct Traits<OverBatch<double>> : Traits<void> {
  static constexpr bool over_batch = true;
};

template <>
struct Traits<MaybeOverBatch> : Traits<void> {
  static constexpr bool over_batch = true;
};

template <>
struct Traits<SumOverRows> : Traits<void> {
  static constexpr bool over_rows = true;
};

template <>
struct Traits<SavedPerGroup> : Traits<void> {
  static constexpr bool per_group = true;
};

template <class T>
struct Traits<PerChannel<T>> : Traits<void> {
  static constexpr bool per_channel = true;
};

template <>
struct Traits<PerGroup> : Traits<void> {
  static constexpr bool per_group = true;
};

}  // namespace evenkeel
