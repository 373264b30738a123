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
#include <tuple>
#include <utility>

#include "dispatch.h"
#include "isa/machine.h"

namespace evenkeel {
namespace {

template <class T>
constexpr napi_typedarray_type array_type = napi_float32_array;  // of elements of type T; float32 is all so far

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

// How each operand type of ops.h is read, and whether it holds what a kernel of the given shape touches.
template <class Operand>
struct Reader;

template <class T>
struct MatrixReader {
  Arguments::Array array;
  size_t stride;

  explicit MatrixReader(Arguments& from) : array(from.array()), stride(from.size()) {
    if (!array.absent && array.type != array_type<T>) from.fail("elements of this kernel's type");
  }
  bool holds(Rows shape) const {
    return stride >= shape.cols && array.length >= shape.cols && shape.rows - 1 <= (array.length - shape.cols) / stride;
  }
};

template <class T>
struct Reader<Matrix<T>> : MatrixReader<T> {
  using MatrixReader<T>::MatrixReader;
  bool fits(Rows shape) const { return !this->array.absent && this->holds(shape); }
  Matrix<T> value() const { return {static_cast<T*>(this->array.data), this->stride}; }
};

template <class T>
struct Reader<Maybe<T>> : MatrixReader<T> {
  using MatrixReader<T>::MatrixReader;
  bool fits(Rows shape) const { return this->array.absent || this->holds(shape); }
  Maybe<T> value() const { return {{static_cast<T*>(this->array.data), this->stride}}; }
};

template <class T>
struct Reader<PerColumn<T>> {
  Arguments::Array array;

  explicit Reader(Arguments& from) : array(from.array()) {
    if (!array.absent && array.type != array_type<T>) from.fail("elements of this kernel's type");
  }
  bool fits(Rows shape) const { return array.absent || array.length >= shape.cols; }
  PerColumn<T> value() const { return {static_cast<const T*>(array.data)}; }
};

template <>
struct Reader<PerRow> {
  Arguments::Array array;

  explicit Reader(Arguments& from) : array(from.array()) {
    if (!array.absent && array.type != napi_float32_array && array.type != napi_float64_array) {
      from.fail("Float32Array or Float64Array");
    }
  }
  bool fits(Rows shape) const { return array.absent || array.length >= shape.rows; }
  PerRow value() const {
    if (array.type == napi_float64_array) return {nullptr, static_cast<double*>(array.data)};
    return {static_cast<float*>(array.data), nullptr};
  }
};

template <>
struct Reader<Rows> {
  Rows shape;

  explicit Reader(Arguments& from) {
    shape.rows = from.size();
    shape.cols = from.size();
    if (shape.cols == 0) from.fail("at least one column");
  }
  bool fits(Rows) const { return true; }
  Rows value() const { return shape; }
};

template <>
struct Reader<double> {
  double number;

  explicit Reader(Arguments& from) : number(from.number()) {}
  bool fits(Rows) const { return true; }
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
    const Rows shape = std::get<Reader<Rows>>(readers).value();
    if (shape.rows == 0) return nullptr;
    const bool fits = std::apply([&](const auto&... reader) { return (reader.fits(shape) && ...); }, readers);
    if (fits) {
      const DefaultFloatControl undisturbed;
      std::apply([&](const auto&... reader) { kernel->run(reader.value()...); }, readers);
      return nullptr;
    }
    arguments.fail("arrays that hold rows and cols");
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
  static_assert(2 * sizeof...(Operands) <= max_arguments, "an operand takes at most two arguments");
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
