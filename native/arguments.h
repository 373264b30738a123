// Reads the arguments of a call from JavaScript and checks what the safety of memory rests on.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "environment.h"
#include "isa/machine.h"
#include "ops.h"

namespace evenkeel {
namespace {

template <class T>
constexpr napi_typedarray_type array_type =
    std::is_same_v<std::remove_const_t<T>, double> ? napi_float64_array : napi_float32_array;

constexpr size_t max_arguments = 32;

// The buffers of a call's arrays, in the order of the arguments.
struct Kept {
  struct Buffer {
    napi_value value;
    void* data;  // null where it is shared
    size_t bytes;
  };
  Buffer buffers[max_arguments];
  size_t count = 0;
};

// The arguments of one call, taken in order. The first that is wrong sets `error`; what is read after it is empty.
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = max_arguments;
    if (napi_get_cb_info(env, info, &count, values_, nullptr, &data) != napi_ok) fail("a call of at most 32 arguments");
  }

  struct Array {
    napi_typedarray_type type;
    void* data;
    size_t length;
    bool absent;
  };

  ~Arguments() { std::free(copy_); }
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  // From here on arrays are places in the arena: what is read may be used after the call.
  void only_in(Arena* arena) { arena_ = arena; }

  // From here on arrays have memory that a thread may keep: shared, or all of an ArrayBuffer that can be taken over.
  void keep_arrays(Kept* kept) { kept_ = kept; }

  EVENKEEL_APART Array array() {
    const napi_value value = next();
    Array out{napi_int8_array, nullptr, 0, false};
    if (error) return out;
    napi_valuetype kind = napi_object;
    napi_typeof(env_, value, &kind);
    napi_value buffer = nullptr;
    size_t offset = 0;
    if (kind == napi_undefined) {
      out.absent = true;
    } else if (arena_) {
      --position;
      offset = size();
      if (offset > Arena::length) fail("a place in the arena");
      if (!error) out = {napi_float32_array, arena_->floats + offset, Arena::length - offset, false};
    } else if (napi_get_typedarray_info(env_, value, &out.type, &out.length, &out.data, kept_ ? &buffer : nullptr,
                                        &offset) != napi_ok) {
      fail("a typed array or undefined");
    } else if (kept_ && out.type != napi_int32_array) {  // those are copied
      keep(buffer, out, offset);
    }
    return out;
  }

  // A copy of an array that lives as long as this; null where there is no memory for it. At most one.
  const void* copy_of(const Array& array, size_t bytes) {
    copy_ = std::malloc(bytes + 1);
    if (copy_ && bytes > 0) std::memcpy(copy_, array.data, bytes);
    return copy_;
  }
  // Leaves that copy to the caller.
  void* release_copy() { return std::exchange(copy_, nullptr); }

  EVENKEEL_APART double number() {
    const napi_value value = next();
    double out = 0;
    if (!error && napi_get_value_double(env_, value, &out) != napi_ok) fail("a number");
    return out;
  }

  EVENKEEL_APART size_t size() {
    const double value = number();
    if (value >= 0 && value <= 9007199254740991.0 && value == static_cast<double>(static_cast<uint64_t>(value))) {
      return static_cast<size_t>(value);
    }
    fail("an integer from 0 to 2^53 - 1");
    return 0;
  }

  EVENKEEL_APART bool flag() {
    const napi_value value = next();
    bool out = false;
    if (!error && napi_get_value_bool(env_, value, &out) != napi_ok) fail("a boolean");
    return out;
  }

  void fail(const char* expected) {
    if (error) return;
    error = expected;
    wrong = position;
  }

  void* data = nullptr;
  const char* error = nullptr;  // what was expected
  size_t wrong = 0;             // which argument was not that, from 1

 private:
  napi_value next() { return values_[position++]; }

  void keep(napi_value buffer, const Array& array, size_t offset) {
    Kept::Buffer& kept = kept_->buffers[kept_->count++];
    kept = {buffer, nullptr, 0};
    bool own = false;
    napi_is_arraybuffer(env_, buffer, &own);
    if (!own) return;  // a SharedArrayBuffer: nobody can take its memory away
    napi_get_arraybuffer_info(env_, buffer, &kept.data, &kept.bytes);
    const size_t element = array.type == napi_float64_array ? sizeof(double) : sizeof(float);
    if (kept.bytes == 0 || offset != 0 || array.length * element != kept.bytes) {
      fail("an array over all of its ArrayBuffer, or over a SharedArrayBuffer");
    }
  }

  napi_env env_;
  Arena* arena_ = nullptr;
  Kept* kept_ = nullptr;
  void* copy_ = nullptr;
  napi_value values_[max_arguments];
  size_t position = 0;  // of the argument read last, from 1
};

// a * b, or a number that no array has elements of.
size_t times(size_t a, size_t b) { return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b; }

// How each operand type of ops.h is read, how many arguments that takes, and whether it holds what a kernel of the
// given shape touches.
template <class Operand>
struct Reader;

template <class T>
struct MatrixReader {
  static constexpr size_t arguments = 2;
  Arguments::Array array;
  size_t stride;

  explicit MatrixReader(Arguments& from) : array(from.array()), stride(from.size()) {
    if (!array.absent && array.type != array_type<T>) from.fail("elements of this kernel's type");
  }
  bool holds(const Groups& shape) const {
    const size_t n = shape.size * shape.inner;
    return stride >= n && array.length >= n && shape.outer - 1 <= (array.length - n) / stride;
  }
};

template <class T>
struct Reader<Matrix<T>> : MatrixReader<T> {
  using MatrixReader<T>::MatrixReader;
  bool fits(const Groups& shape) const { return !this->array.absent && this->holds(shape); }
  Matrix<T> value() const { return {static_cast<T*>(this->array.data), this->stride}; }
};

template <class T>
struct Reader<Maybe<T>> : MatrixReader<T> {
  using MatrixReader<T>::MatrixReader;
  bool fits(const Groups& shape) const { return this->array.absent || this->holds(shape); }
  Maybe<T> value() const { return {{static_cast<T*>(this->array.data), this->stride}}; }
};

template <class T>
struct ArrayReader {
  static constexpr size_t arguments = 1;
  Arguments::Array array;

  explicit ArrayReader(Arguments& from) : array(from.array()) {
    if (!array.absent && array.type != array_type<T>) from.fail("elements of this kernel's type");
  }
  bool holds(size_t n) const { return array.absent || array.length >= n; }
};

template <class T>
struct Reader<Tensor<T>> : ArrayReader<T> {
  using ArrayReader<T>::ArrayReader;
  bool fits(const Volume& shape) const {
    return !this->array.absent && this->holds(shape.count() * shape.channels * shape.positions);
  }
  Tensor<T> value() const { return {static_cast<T*>(this->array.data)}; }
};

template <class T>
struct Reader<PerElement<T>> : ArrayReader<T> {
  using ArrayReader<T>::ArrayReader;
  bool fits(const Groups& shape) const { return this->holds(shape.size); }
  PerElement<T> value() const { return {static_cast<const T*>(this->array.data)}; }
};

template <class T>
struct Reader<PerChannel<T>> : ArrayReader<T> {
  using ArrayReader<T>::ArrayReader;
  bool fits(const Volume& shape) const { return this->holds(shape.all_channels()); }
  PerChannel<T> value() const { return {static_cast<const T*>(this->array.data)}; }
};

template <class T>
struct Reader<OverBatch<T>> : ArrayReader<T> {
  using ArrayReader<T>::ArrayReader;
  bool fits(const Volume& shape) const { return !this->array.absent && this->holds(shape.groups); }
  OverBatch<T> value() const { return {static_cast<T*>(this->array.data)}; }
};

template <>
struct Reader<PerGroup> {
  static constexpr size_t arguments = 1;
  Arguments::Array array;

  explicit Reader(Arguments& from) : array(from.array()) {
    if (!array.absent && array.type != napi_float32_array && array.type != napi_float64_array) {
      from.fail("Float32Array or Float64Array");
    }
  }
  template <class Shape>
  bool fits(const Shape& shape) const {
    return array.absent || array.length >= shape.count();
  }
  PerGroup value() const {
    if (array.type == napi_float64_array) return {nullptr, static_cast<double*>(array.data)};
    return {static_cast<float*>(array.data), nullptr};
  }
};

// A copy, since the memory may be shared with a thread that changes it after it was checked.
template <>
struct Reader<Spans> {
  static constexpr size_t arguments = 1;
  size_t length = 0;
  const int32_t* copy = nullptr;

  explicit Reader(Arguments& from) {
    const Arguments::Array array = from.array();
    if (array.absent || from.error) return;
    if (array.type != napi_int32_array) {
      from.fail("Int32Array");
      return;
    }
    length = array.length;
    copy = static_cast<const int32_t*>(from.copy_of(array, length * sizeof(int32_t)));
    if (!copy) from.fail("an array small enough to copy");
  }

  bool fits(const Volume& shape) const {
    if (!copy) return true;
    if (length / 2 < shape.samples) return false;
    for (size_t n = 0; n < shape.samples; ++n) {
      const int32_t begin = copy[2 * n], end = copy[2 * n + 1];
      if (begin < 0 || end < begin || static_cast<size_t>(end) > shape.positions) return false;
    }
    return true;
  }
  Spans value() const { return {copy}; }
};

template <>
struct Reader<Groups> {
  static constexpr size_t arguments = 3;
  Groups shape;

  explicit Reader(Arguments& from) {
    shape.whole = shape.outer = from.size();
    shape.size = from.size();
    shape.pitch = shape.inner = from.size();
    if (shape.size == 0 || shape.inner == 0) from.fail("at least one row and one column");
    if (times(times(shape.outer, shape.size), shape.inner) == SIZE_MAX) from.fail("a shape in memory");
  }
  bool empty() const { return shape.outer == 0; }
  bool fits(const Groups&) const { return true; }
  Groups value() const { return shape; }
};

template <>
struct Reader<Volume> {
  static constexpr size_t arguments = 5;
  Volume shape;

  explicit Reader(Arguments& from) {
    shape.whole = shape.samples = from.size();
    shape.groups = from.size();
    shape.channels = from.size();
    shape.positions = from.size();
    shape.channels_last = from.flag();
    if (shape.groups == 0 || shape.channels == 0) from.fail("at least one channel");
    const size_t channels = shape.pitch = times(shape.groups, shape.channels);
    if (times(times(shape.samples, channels), shape.positions) == SIZE_MAX) from.fail("a shape in memory");
    if (times(shape.samples, channels) == SIZE_MAX || times(channels, shape.positions) == SIZE_MAX) {
      from.fail("a shape in memory");
    }
  }
  bool empty() const { return shape.samples == 0 || shape.positions == 0; }
  bool fits(const Volume&) const { return true; }
  Volume value() const { return shape; }
};

template <>
struct Reader<Counted> {
  static constexpr size_t arguments = 1;
  size_t n;

  explicit Reader(Arguments& from) : n(from.size()) {}
  bool fits(const Groups& shape) const { return n >= 1 && n <= shape.size; }
  Counted value() const { return {n}; }
};

template <>
struct Reader<size_t> {
  static constexpr size_t arguments = 1;
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
  static constexpr size_t arguments = 1;
  double number;

  explicit Reader(Arguments& from) : number(from.number()) {}
  template <class Shape>
  bool fits(const Shape&) const {
    return true;
  }
  double value() const { return number; }
};

// Reads the arguments of a kernel; true where they hold what a kernel of this shape touches, and that is anything.
template <class... Operands>
bool read(Arguments& arguments, std::tuple<Operands...>& operands) {
  // Braces: the readers take the arguments from left to right.
  const std::tuple<Reader<Operands>...> readers{Reader<Operands>(arguments)...};
  if (arguments.error) return false;
  using Shape = std::conditional_t<(std::is_same_v<Operands, Volume> || ...), Volume, Groups>;
  const auto& reader_of_shape = std::get<Reader<Shape>>(readers);
  if (reader_of_shape.empty()) return false;
  const Shape shape = reader_of_shape.value();
  if (!std::apply([&](const auto&... reader) { return (reader.fits(shape) && ...); }, readers)) {
    arguments.fail("arrays that hold what the shape says");
    return false;
  }
  operands = std::apply([](const auto&... reader) { return std::tuple<Operands...>{reader.value()...}; }, readers);
  return true;
}

napi_value refuse(napi_env env, const char* kernel, const Arguments& arguments) {
  char message[200];
  std::snprintf(message, sizeof message, "%s: argument %u expected %s, got something else", kernel,
                static_cast<unsigned>(arguments.wrong), arguments.error);
  napi_throw_type_error(env, nullptr, message);
  return nullptr;
}

}  // namespace
}  // namespace evenkeel
