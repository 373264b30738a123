// The doorway: turns every C signature of ops.h into a JavaScript function. The only file that includes node_api.h.
//
// Plain C Node-API, malloc and snprintf: nothing here may need the C++ library, so that one Linux binary serves every
// distribution (scripts/check-abi.mjs).
//
// TypeScript has checked a call before it comes here, with better words. What is checked again is what the safety of
// memory rests on: a caller may have got hold of these functions, or changed an array between that check and this one.
// Between reading an address here and the end of the kernel no JavaScript runs.
#include <node_api.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

#include "dispatch.h"
#include "isa/machine.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("Os")
#endif

namespace evenkeel {
namespace {

template <class T>
constexpr napi_typedarray_type array_type =
    std::is_same_v<std::remove_const_t<T>, double> ? napi_float64_array : napi_float32_array;

constexpr size_t max_arguments = 32;

// Memory that the addon owns and JavaScript sees: operands that are too small to be worth asking Node-API for their
// addresses are copied in and out. It is never freed, only used again by the next environment, so that nothing that
// refers to it can outlive it.
struct Arena {
  static constexpr size_t length = 1 << 16;

  float floats[length];
  Arena* next;
};

std::atomic_flag arenas_locked = ATOMIC_FLAG_INIT;
Arena* free_arenas = nullptr;

class ArenasLock {
 public:
  ArenasLock() {
    while (arenas_locked.test_and_set(std::memory_order_acquire)) {
    }
  }
  ~ArenasLock() { arenas_locked.clear(std::memory_order_release); }
};

Arena* take_arena() {
  const ArenasLock lock;
  Arena* arena = free_arenas;
  if (arena) free_arenas = arena->next;
  return arena ? arena : static_cast<Arena*>(std::calloc(1, sizeof(Arena)));
}

void give_back_arena(void* gone) {
  const ArenasLock lock;
  auto* arena = static_cast<Arena*>(gone);
  arena->next = free_arenas;
  free_arenas = arena;
}

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

  // From here on arrays are places in the arena: what is read may be used after the call.
  void only_in(Arena* arena) { arena_ = arena; }

  EVENKEEL_APART Array array() {
    const napi_value value = next();
    Array out{napi_int8_array, nullptr, 0, false};
    if (error) return out;
    napi_valuetype kind = napi_object;
    napi_typeof(env_, value, &kind);
    if (kind == napi_undefined) {
      out.absent = true;
    } else if (arena_) {
      --position;
      const size_t offset = size();
      if (offset > Arena::length) fail("a place in the arena");
      if (!error) out = {napi_float32_array, arena_->floats + offset, Arena::length - offset, false};
    } else if (napi_get_typedarray_info(env_, value, &out.type, &out.length, &out.data, nullptr, nullptr) != napi_ok) {
      fail("a typed array or undefined");
    }
    return out;
  }

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

  napi_env env_;
  Arena* arena_ = nullptr;
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
    shape.samples = from.size();
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

template <class... Operands>
struct Kernel {
  const char* name;
  void (*run)(Operands...);
  Arena* arena;
};

napi_value refuse(napi_env env, const char* kernel, const Arguments& arguments) {
  char message[200];
  std::snprintf(message, sizeof message, "%s: argument %u expected %s, got something else", kernel,
                static_cast<unsigned>(arguments.wrong), arguments.error);
  napi_throw_type_error(env, nullptr, message);
  return nullptr;
}

// Reads the arguments and hands them to `with`, where they hold what a kernel of this shape touches and that is
// anything.
template <class... Operands, class With>
void read(Arguments& arguments, With with) {
  // Braces: the readers take the arguments from left to right.
  const std::tuple<Reader<Operands>...> readers{Reader<Operands>(arguments)...};
  if (arguments.error) return;
  using Shape = std::conditional_t<(std::is_same_v<Operands, Volume> || ...), Volume, Groups>;
  const auto& reader_of_shape = std::get<Reader<Shape>>(readers);
  if (reader_of_shape.empty()) return;
  const Shape shape = reader_of_shape.value();
  if (std::apply([&](const auto&... reader) { return (reader.fits(shape) && ...); }, readers)) {
    std::apply([&](const auto&... reader) { with(reader.value()...); }, readers);
  } else {
    arguments.fail("arrays that hold what the shape says");
  }
}

template <class... Operands>
napi_value call(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto* kernel = static_cast<const Kernel<Operands...>*>(arguments.data);
  read<Operands...>(arguments, [=](Operands... operands) {
    const DefaultFloatControl undisturbed;
    kernel->run(operands...);
  });
  return arguments.error ? refuse(env, kernel->name, arguments) : nullptr;
}

// A call whose arguments are in the arena, for being made again and again.
template <class... Operands>
struct Prepared {
  void (*run)(Operands...);
  std::tuple<Operands...> operands;
};

template <class... Operands>
napi_value call_prepared(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  const auto* prepared = static_cast<const Prepared<Operands...>*>(data);
  const DefaultFloatControl undisturbed;
  std::apply(prepared->run, prepared->operands);
  return nullptr;
}

// A function without arguments that makes this call.
template <class... Operands>
napi_value prepare(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto* kernel = static_cast<const Kernel<Operands...>*>(arguments.data);
  arguments.only_in(kernel->arena);
  using Call = Prepared<Operands...>;
  Call* prepared = nullptr;
  read<Operands...>(arguments, [&](Operands... operands) {
    void* memory = std::malloc(sizeof(Call));
    if (memory) prepared = new (memory) Call{kernel->run, {operands...}};
  });
  if (!prepared) {
    arguments.fail("something to do");
    return refuse(env, kernel->name, arguments);
  }
  napi_value function = nullptr;
  if (napi_create_function(env, kernel->name, NAPI_AUTO_LENGTH, call_prepared<Operands...>, prepared, &function) !=
      napi_ok) {
    std::free(prepared);
    return nullptr;
  }
  const auto release = [](napi_env, void* gone, void*) { std::free(gone); };
  napi_add_finalizer(env, function, prepared, release, nullptr, nullptr);
  return function;
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
void add(napi_env env, napi_value table, napi_value preparers, Arena* arena, const char* name,
         void (*kernel)(Operands...)) {
  static_assert((Reader<Operands>::arguments + ...) <= max_arguments, "a call's arguments are read into a fixed array");
  using Entry = Kernel<Operands...>;
  auto* entry = static_cast<Entry*>(std::malloc(sizeof(Entry)));
  if (!entry) {
    napi_throw_error(env, nullptr, "no memory for a kernel");
    return;
  }
  *entry = {name, kernel, arena};
  napi_value function = nullptr;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, call<Operands...>, entry, &function) != napi_ok) {
    std::free(entry);
    return;
  }
  const auto release = [](napi_env, void* gone, void*) { std::free(gone); };
  napi_add_finalizer(env, function, entry, release, nullptr, nullptr);
  napi_set_named_property(env, table, name, function);
  // Ops over rows or columns; the volumes of the others are seldom small.
  if constexpr ((std::is_same_v<Operands, Groups> || ...)) {
    auto* own = static_cast<Entry*>(std::malloc(sizeof(Entry)));
    if (!own) return;
    *own = *entry;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, prepare<Operands...>, own, &function) != napi_ok) {
      std::free(own);
      return;
    }
    napi_add_finalizer(env, function, own, release, nullptr, nullptr);
    napi_set_named_property(env, preparers, name, function);
  }
}

// The arena as JavaScript sees it; undefined where the runtime lets it see no memory of others (Electron).
napi_value view_of(napi_env env, Arena* arena) {
  napi_value buffer = nullptr, view = nullptr;
  if (napi_create_external_arraybuffer(env, arena->floats, sizeof arena->floats, nullptr, nullptr, &buffer) !=
          napi_ok ||
      napi_create_typedarray(env, napi_float32_array, Arena::length, buffer, 0, &view) != napi_ok) {
    napi_get_undefined(env, &view);
  }
  return view;
}

template <class T>
void add_all(napi_env env, napi_value table, napi_value preparers, Arena* arena, const Kernels<T>& kernels) {
#define EVENKEEL_ADD(name, signature) add(env, table, preparers, arena, #name, kernels.name);
  EVENKEEL_OPS(EVENKEEL_ADD)
#undef EVENKEEL_ADD
}

// The version stands in binding.gyp as a bare word: quotes would not survive every build system.
#define EVENKEEL_TEXT(word) EVENKEEL_QUOTE(word)
#define EVENKEEL_QUOTE(word) #word

napi_value init(napi_env env, napi_value exports) {
  Arena* arena = take_arena();
  if (!arena) {
    napi_throw_error(env, nullptr, "no memory for the arena");
    return nullptr;
  }
  napi_add_env_cleanup_hook(env, give_back_arena, arena);
  const napi_value backends = array(env);
  const napi_value unsupported = array(env);
  for (const Backend& backend : detect_backends()) {
    if (!backend.supported) {
      append(env, unsupported, text(env, backend.name));
      continue;
    }
    const napi_value table = object(env);
    const napi_value float32 = object(env);
    const napi_value preparers = object(env);
    add_all(env, float32, preparers, arena, backend.kernels->float32);
    napi_set_named_property(env, table, "name", text(env, backend.name));
    napi_set_named_property(env, table, "float32", float32);
    napi_set_named_property(env, table, "prepare", preparers);
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
  napi_set_named_property(env, exports, "arena", view_of(env, arena));
  return exports;
}

}  // namespace
}  // namespace evenkeel

NAPI_MODULE_INIT() { return evenkeel::init(env, exports); }
