// How each kind of operand is read from the arguments of a call, and what the safety of memory rests on: a caller may
// have got hold of the functions of the addon, or changed an array after TypeScript had checked it. Between reading an
// address here and the end of the kernel no JavaScript runs. src/backend/flatten.ts writes the numbers.
#pragma once

#include <tuple>
#include <type_traits>

#include "../ops.h"
#include "arguments.h"

namespace evenkeel {
namespace {

// a * b, or a number that no array has elements of.
inline size_t times(size_t a, size_t b) {
  if ((a | b) >> sizeof(size_t) * 4 == 0) return a * b;  // a division costs more than the rest (measured)
  return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

// How an operand is read, and whether it holds what a kernel of the given shape touches.
template <class Operand>
struct Reader;

template <class T>
struct MatrixReader {
  View view;
  size_t stride;
  const Storages& storages;

  explicit MatrixReader(Arguments& from) : view(from.view()), stride(from.size()), storages(from.storages) {}
  bool holds(const Groups& shape) const {
    const size_t n = times(shape.size, shape.inner);
    if (shape.outer == 0) return true;  // a layer that is prepared
    if (view.storage && view.storage->is_view) {
      return shape.inner == 1 && view.holds_rows(shape.size, shape.outer, storages);
    }
    if (stride < n || !view.holds_elements(n)) return false;
    const size_t elements = view.storage ? view.bytes / bytes_of(view.storage->type) : view.bytes / sizeof(T);
    return times(shape.outer - 1, stride) <= elements - n;
  }
};

template <class T>
struct Reader<Matrix<T>> : MatrixReader<T> {
  using MatrixReader<T>::MatrixReader;
  bool fits(const Groups& shape) const { return (!this->view.absent || shape.outer == 0) && this->holds(shape); }
  Matrix<T> value() const { return {static_cast<T*>(this->view.data), this->stride}; }
};

template <class T>
struct Reader<Maybe<T>> : MatrixReader<T> {
  using MatrixReader<T>::MatrixReader;
  bool fits(const Groups& shape) const { return this->view.absent || this->holds(shape); }
  Maybe<T> value() const { return {{static_cast<T*>(this->view.data), this->stride}}; }
};

template <class T>
struct ArrayReader {
  View view;

  explicit ArrayReader(Arguments& from) : view(from.view()) {}
  bool holds(size_t n) const { return !view.absent && view.holds<T>(n); }
  bool holds_elements(size_t n) const { return !view.absent && view.holds_elements(n); }
};

template <class T>
struct Reader<Tensor<T>> : ArrayReader<T> {
  using ArrayReader<T>::ArrayReader;
  bool fits(const Volume& shape) const {
    return (this->view.absent && shape.samples == 0) ||
           this->holds_elements(shape.in_memory());  // a layer that is prepared
  }
  bool fits(const Axes& shape) const {
    if (shape.count() == 0) return true;
    // The last element, checked not to be beyond any memory when the shape was read.
    size_t last = 0;
    for (size_t i = 0; i < shape.rank; ++i) {
      last += (shape.dims[i] - 1) * (std::is_const_v<T> ? shape.x_strides : shape.y_strides)[i];
    }
    return this->holds_elements(last + 1);
  }
  Tensor<T> value() const { return {static_cast<T*>(this->view.data)}; }
};

template <class T>
struct Reader<PerElement<T>> : ArrayReader<T> {
  using ArrayReader<T>::ArrayReader;
  bool fits(const Groups& shape) const { return this->view.absent || this->holds_elements(shape.size); }
  PerElement<T> value() const { return {static_cast<const T*>(this->view.data)}; }
};

template <class T>
struct Reader<PerChannel<T>> : ArrayReader<T> {
  using ArrayReader<T>::ArrayReader;
  bool fits(const Volume& shape) const { return this->view.absent || this->holds_elements(shape.channels()); }
  PerChannel<T> value() const { return {static_cast<const T*>(this->view.data)}; }
};

template <class T>
struct Reader<OverBatch<T>> : ArrayReader<T> {
  using ArrayReader<T>::ArrayReader;
  bool fits(const Volume& shape) const {
    return (this->view.absent && shape.samples == 0) || this->holds(shape.groups);
  }
  OverBatch<T> value() const { return {static_cast<T*>(this->view.data)}; }
};

template <>
struct Reader<MaybeOverBatch> : ArrayReader<double> {
  using ArrayReader<double>::ArrayReader;
  bool fits(const Volume& shape) const { return view.absent || holds(shape.groups); }
  MaybeOverBatch value() const { return {static_cast<double*>(view.data)}; }
};

template <>
struct Reader<SavedPerGroup> : ArrayReader<double> {
  using ArrayReader<double>::ArrayReader;
  template <class Shape>
  bool fits(const Shape& shape) const {
    return view.absent || holds(shape.count());
  }
  SavedPerGroup value() const { return {static_cast<const double*>(view.data)}; }
};

template <>
struct Reader<SumOverRows> : ArrayReader<double> {
  using ArrayReader<double>::ArrayReader;
  static size_t blocks(size_t n, size_t unit) { return n / unit + (n % unit ? 1 : 0); }
  bool fits(const Groups& shape) const { return view.absent || holds(times(blocks(shape.outer, fold64), shape.size)); }
  bool fits(const Volume& shape) const {
    return view.absent || holds(times(blocks(shape.samples, SumOverRows::unit(shape)), shape.channels()));
  }
  SumOverRows value() const { return {static_cast<double*>(view.data)}; }
};

template <>
struct Reader<PerGroup> {
  View view;
  bool is_double;

  explicit Reader(Arguments& from) : view(from.view()), is_double(from.size() != 0) {}
  template <class Shape>
  bool fits(const Shape& shape) const {
    const size_t n = shape.count();
    return view.absent || (is_double ? view.holds<double>(n) : view.holds<float>(n));
  }
  PerGroup value() const {
    if (is_double) return {nullptr, static_cast<double*>(view.data)};
    return {static_cast<float*>(view.data), nullptr};
  }
};

template <>
struct Reader<Codes> {
  View view;
  size_t format;

  explicit Reader(Arguments& from) : view(from.view()), format(from.size()) {
    if (format >= code_formats) from.fail("numbers expected a format of codes");
  }
  bool fits(const Groups& shape) const {
    return !view.absent && view.holds<uint8_t>(times(shape.outer, value().bytes(shape.size)));
  }
  Codes value() const { return {static_cast<uint8_t*>(view.data), static_cast<CodeFormat>(format)}; }
};

// The real positions of a shape, the last of its operands: a copy, since the memory may be shared with a thread that
// changes it after it was checked. False where they are no spans of so many samples and positions.
inline bool read_spans(Arguments& from, size_t samples, size_t positions, Spans& spans) {
  const View view = from.small_view();
  if (view.absent || from.error) return true;
  const size_t length = view.bytes / sizeof(int32_t);
  if (!view.holds<int32_t>(1) || samples > length - 1) return false;
  const auto* list = static_cast<const int32_t*>(from.copy_of(view));
  if (!list) {
    from.fail("spans expected memory for a copy");
    return true;
  }
  spans.list = list;
  if (static_cast<size_t>(list[0]) != samples + 1) return false;
  for (size_t n = 0; n < samples; ++n) {
    const int32_t first = list[n], last = list[n + 1];
    if (last < first || (last - first) % 2 != 0 || static_cast<size_t>(last) > length) return false;
    int32_t done = 0;
    for (int32_t at = first; at < last; at += 2) {
      if (list[at] < done || list[at + 1] < list[at]) return false;
      done = list[at + 1];
    }
    if (static_cast<size_t>(done) > positions) return false;
  }
  return true;
}

constexpr const char* no_spans = "spans expected those of the shape";

template <>
struct Reader<Groups> {
  Groups shape;

  explicit Reader(Arguments& from) {
    shape.whole = shape.outer = from.size();
    shape.size = from.size();
    shape.pitch = shape.inner = from.size();
    if (shape.size == 0 || shape.inner == 0) from.fail("shape expected at least one row and one column");
    if (times(times(shape.outer, shape.size), shape.inner) == SIZE_MAX) from.fail("shape expected one in memory");
    const bool rows = shape.inner == 1;
    if (!read_spans(from, rows ? 1 : shape.outer, rows ? shape.outer : shape.inner, shape.spans)) from.fail(no_spans);
  }
  bool empty() const { return shape.outer == 0; }
  bool fits(const Groups&) const { return true; }
  Groups value() const { return shape; }
};

template <>
struct Reader<Volume> {
  Volume shape;

  explicit Reader(Arguments& from) {
    shape.whole = shape.samples = from.size();
    shape.groups = from.size();
    shape.channels_per_group = from.size();
    shape.positions = from.size();
    shape.channels_last = from.size() != 0;
    if (shape.groups == 0 || shape.channels_per_group == 0) from.fail("shape expected at least one channel");
    const size_t channels = shape.pitch = times(shape.groups, shape.channels_per_group);
    if (times(times(shape.samples, channels), shape.positions) == SIZE_MAX ||
        times(shape.samples, channels) == SIZE_MAX || times(channels, shape.positions) == SIZE_MAX) {
      from.fail("shape expected one in memory");
    }
    if (!read_spans(from, shape.samples, shape.positions, shape.spans)) from.fail(no_spans);
  }
  bool empty() const { return shape.samples == 0 || shape.positions == 0; }
  bool fits(const Volume&) const { return true; }
  Volume value() const { return shape; }
};

template <>
struct Reader<Axes> {
  Axes shape;
  bool none = false;

  explicit Reader(Arguments& from) {
    shape.rank = from.size();
    if (shape.rank > Axes::most) {
      from.fail("shape expected at most 16 dimensions");
      shape.rank = 0;
    }
    size_t x = 0, y = 0;
    for (size_t i = 0; i < shape.rank; ++i) {
      shape.dims[i] = from.size();
      shape.x_strides[i] = from.size();
      shape.y_strides[i] = from.size();
      none = none || shape.dims[i] == 0;
      // Sums of products that no memory has: 2^53 and above.
      x = std::min(x + times(shape.dims[i], shape.x_strides[i]), beyond);
      y = std::min(y + times(shape.dims[i], shape.y_strides[i]), beyond);
      if (times(shape.dims[i], shape.x_strides[i]) >= beyond || times(shape.dims[i], shape.y_strides[i]) >= beyond) {
        x = beyond;
      }
    }
    size_t count = 1;
    for (size_t i = 0; i < shape.rank; ++i) count = times(count, shape.dims[i]);
    if (x >= beyond || y >= beyond || count >= beyond) from.fail("shape expected one in memory");
    from.small_view();  // no spans
  }
  bool empty() const { return none; }
  bool fits(const Axes&) const { return true; }
  Axes value() const { return shape; }

 private:
  static constexpr size_t beyond = size_t{1} << 53;
};

template <>
struct Reader<Counted> {
  size_t n;

  explicit Reader(Arguments& from) : n(from.size()) {}
  bool fits(const Groups& shape) const { return n >= 1 && n <= shape.size; }
  Counted value() const { return {n}; }
};

template <>
struct Reader<size_t> {
  size_t number;

  explicit Reader(Arguments& from) : number(from.size()) {}
  template <class Shape>
  bool fits(const Shape&) const {
    return true;
  }
  size_t value() const { return number; }
};

template <>
struct Reader<double> {
  double number;

  explicit Reader(Arguments& from) : number(from.number()) {}
  template <class Shape>
  bool fits(const Shape&) const {
    return true;
  }
  double value() const { return number; }
};

template <class... Operands>
using ShapeOf = std::conditional_t<(std::is_same_v<Operands, Volume> || ...), Volume,
                                   std::conditional_t<(std::is_same_v<Operands, Axes> || ...), Axes, Groups>>;

// What came of reading a call.
enum class Reading { wrong, empty, good };

// The readers of a call, in the order of its operands, each made where it stays: a std::tuple of them is made of
// copies, which wait for what was just written: 60 ns of every call (measured).
template <class... Operands>
struct Readers {
  explicit Readers(Arguments&) {}
  template <class Shape>
  bool fit(const Shape&) const {
    return true;
  }
  template <size_t at, class All>
  void write(All&) const {}
};
template <class First, class... Rest>
struct Readers<First, Rest...> {
  Reader<First> first;
  Readers<Rest...> rest;

  explicit Readers(Arguments& from) : first(from), rest(from) {}
  template <class Shape>
  bool fit(const Shape& shape) const {
    return first.fits(shape) && rest.fit(shape);
  }
  // The operands from number `at` on.
  template <size_t at, class All>
  void write(All& operands) const {
    std::get<at>(operands) = first.value();
    rest.template write<at + 1>(operands);
  }
  template <class Operand>
  const auto& of() const {
    if constexpr (std::is_same_v<First, Operand>) {
      return first;
    } else {
      return rest.template of<Operand>();
    }
  }
};

// Reads the arguments of a kernel; good where they hold what a kernel of this shape touches, and that is anything.
template <class... Operands>
Reading read(Arguments& arguments, std::tuple<Operands...>& operands) {
  using Shape = ShapeOf<Operands...>;
  const Readers<Operands...> readers(arguments);
  if (arguments.error) return Reading::wrong;
  const Reader<Shape>& reader_of_shape = readers.template of<Shape>();
  if (!readers.fit(reader_of_shape.shape)) {
    arguments.fail("arrays expected memory for what the shape says");
    return Reading::wrong;
  }
  if (arguments.storages.any && std::is_same_v<Shape, Axes> && !arguments.one_type()) {
    arguments.fail("arrays expected one type of elements");
    return Reading::wrong;
  }
  readers.template write<0>(operands);
  return reader_of_shape.empty() ? Reading::empty : Reading::good;
}

}  // namespace
}  // namespace evenkeel
