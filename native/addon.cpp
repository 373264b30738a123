// The doorway: turns every C signature of ops.h into a JavaScript function. The only file that includes node_api.h.
//
// Plain C Node-API, malloc and snprintf: nothing here may need the C++ library, so that one Linux binary serves every
// distribution (scripts/check-abi.mjs).
//
// TypeScript has checked a call before it comes here, with better words. What is checked again is what the safety of
// memory rests on: a caller may have got hold of these functions, or changed an array between that check and this one.
// Between reading an address here and the end of the kernel no JavaScript runs.
#include <node_api.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "dispatch.h"
#include "isa/machine.h"

namespace evenkeel {
namespace {

template <class T>
constexpr napi_typedarray_type array_type =
    std::is_same_v<std::remove_const_t<T>, double> ? napi_float64_array : napi_float32_array;

constexpr size_t max_arguments = 32;

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

  Array array() {
    const napi_value value = next();
    Array out{static_cast<napi_typedarray_type>(-1), nullptr, 0, false};
    if (error) return out;
    napi_valuetype kind = napi_object;
    napi_typeof(env_, value, &kind);
    if (kind == napi_undefined) {
      out.absent = true;
    } else if (napi_get_typedarray_info(env_, value, &out.type, &out.length, &out.data, nullptr, nullptr) != napi_ok) {
      fail("a typed array or undefined");
    }
    return out;
  }

  double number() {
    const napi_value value = next();
    double out = 0;
    if (!error && napi_get_value_double(env_, value, &out) != napi_ok) fail("a number");
    return out;
  }

  size_t size() {
    const double value = number();
    if (value >= 0 && value <= 9007199254740991.0 && value == static_cast<double>(static_cast<uint64_t>(value))) {
      return static_cast<size_t>(value);
    }
    fail("an integer from 0 to 2^53 - 1");
    return 0;
  }

  bool flag() {
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

  napi_env env_;
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
  Arguments::Array array;
  int32_t* copy = nullptr;

  explicit Reader(Arguments& from) : array(from.array()) {
    if (array.absent || from.error) return;
    if (array.type != napi_int32_array) {
      from.fail("Int32Array");
      return;
    }
    const size_t bytes = array.length * sizeof(int32_t);
    copy = static_cast<int32_t*>(std::malloc(bytes + 1));
    if (!copy) {
      from.fail("an array small enough to copy");
      return;
    }
    if (bytes > 0) std::memcpy(copy, array.data, bytes);
  }
  Reader(Reader&& other) : array(other.array), copy(other.copy) { other.copy = nullptr; }
  ~Reader() { std::free(copy); }

  bool fits(const Volume& shape) const {
    if (!copy) return true;
    if (array.length / 2 < shape.samples) return false;
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
    shape.outer = from.size();
    shape.size = from.size();
    shape.inner = from.size();
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
    shape.samples = from.size();
    shape.groups = from.size();
    shape.channels = from.size();
    shape.positions = from.size();
    shape.channels_last = from.flag();
    if (shape.groups == 0 || shape.channels == 0) from.fail("at least one channel");
    const size_t channels = times(shape.groups, shape.channels);
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

template <class... Operands>
struct Kernel {
  const char* name;
  void (*run)(Operands...);
};

napi_value refuse(napi_env env, const char* kernel, const Arguments& arguments) {
  char message[200];
  std::snprintf(message, sizeof message, "%s: argument %u expected %s, got something else", kernel,
                static_cast<unsigned>(arguments.wrong), arguments.error);
  napi_throw_type_error(env, nullptr, message);
  return nullptr;
}

template <class... Operands>
napi_value call(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto* kernel = static_cast<const Kernel<Operands...>*>(arguments.data);
  // Braces: the readers take the arguments from left to right.
  const std::tuple<Reader<Operands>...> readers{Reader<Operands>(arguments)...};
  if (!arguments.error) {
    using Shape = std::conditional_t<(std::is_same_v<Operands, Volume> || ...), Volume, Groups>;
    const auto& reader_of_shape = std::get<Reader<Shape>>(readers);
    if (reader_of_shape.empty()) return nullptr;
    const Shape shape = reader_of_shape.value();
    const bool fits = std::apply([&](const auto&... reader) { return (reader.fits(shape) && ...); }, readers);
    if (fits) {
      const DefaultFloatControl undisturbed;
      std::apply([&](const auto&... reader) { kernel->run(reader.value()...); }, readers);
      return nullptr;
    }
    arguments.fail("arrays that hold what the shape says");
  }
  return refuse(env, kernel->name, arguments);
}

// Building the exports. A call that fails leaves an exception pending, and the calls after it fail as well: `require`
// throws it.
napi_value object(napi_env env) {
  napi_value out = nullptr;
  napi_create_object(env, &out);
  return out;
}

napi_value array(napi_env env) {
  napi_value out = nullptr;
  napi_create_array(env, &out);
  return out;
}

napi_value text(napi_env env, const char* value) {
  napi_value out = nullptr;
  napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &out);
  return out;
}

void append(napi_env env, napi_value array, napi_value item) {
  uint32_t length = 0;
  napi_get_array_length(env, array, &length);
  napi_set_element(env, array, length, item);
}

template <class... Operands>
void add(napi_env env, napi_value table, const char* name, void (*run)(Operands...)) {
  static_assert((Reader<Operands>::arguments + ...) <= max_arguments, "a call's arguments are read into a fixed array");
  using Entry = Kernel<Operands...>;
  auto* kernel = static_cast<Entry*>(std::malloc(sizeof(Entry)));
  if (!kernel) {
    napi_throw_error(env, nullptr, "no memory for a kernel");
    return;
  }
  *kernel = {name, run};
  napi_value function = nullptr;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, call<Operands...>, kernel, &function) != napi_ok) {
    std::free(kernel);
    return;
  }
  const auto release = [](napi_env, void* gone, void*) { std::free(gone); };
  napi_add_finalizer(env, function, kernel, release, nullptr, nullptr);
  napi_set_named_property(env, table, name, function);
}

template <class T>
napi_value functions(napi_env env, const Kernels<T>& kernels) {
  const napi_value table = object(env);
#define EVENKEEL_ADD(name, signature) add(env, table, #name, kernels.name);
  EVENKEEL_OPS(EVENKEEL_ADD)
#undef EVENKEEL_ADD
  return table;
}

// The version stands in binding.gyp as a bare word: quotes would not survive every build system.
#define EVENKEEL_TEXT(word) EVENKEEL_QUOTE(word)
#define EVENKEEL_QUOTE(word) #word

napi_value init(napi_env env, napi_value exports) {
  const napi_value backends = array(env);
  const napi_value unsupported = array(env);
  for (const Backend& backend : detect_backends()) {
    if (!backend.supported) {
      append(env, unsupported, text(env, backend.name));
      continue;
    }
    const napi_value table = object(env);
    napi_set_named_property(env, table, "name", text(env, backend.name));
    napi_set_named_property(env, table, "float32", functions(env, backend.kernels->float32));
    append(env, backends, table);
  }
  const napi_value features = array(env);
  const CpuFeatures cpu = detect_cpu();
  if (cpu.avx2) append(env, features, text(env, "avx2"));
  if (cpu.avx512) append(env, features, text(env, "avx512f"));
  if (cpu.neon) append(env, features, text(env, "neon"));
  napi_set_named_property(env, exports, "version", text(env, EVENKEEL_TEXT(EVENKEEL_VERSION)));
  napi_set_named_property(env, exports, "backends", backends);
  napi_set_named_property(env, exports, "unsupported", unsupported);
  napi_set_named_property(env, exports, "cpuFeatures", features);
  return exports;
}

}  // namespace
}  // namespace evenkeel

NAPI_MODULE_INIT() { return evenkeel::init(env, exports); }
