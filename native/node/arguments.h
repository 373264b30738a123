// The arguments of a call from JavaScript: one block with all numbers, then the arrays that there are, in the order of
// the operands. The first number says which there are, a bit each. Raw Node-API: what is read here is most of what a
// small call costs (measured).
#pragma once

#include <napi.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "../operands.h"
#include "../platform/compiler.h"
#include "environment.h"

namespace evenkeel {
namespace {

// An array of JavaScript, as memory. What its elements are is checked in TypeScript: here its bytes bound all access.
struct View {
  void* data;
  size_t bytes;
  bool absent;
  const Storage* storage = nullptr;  // null where it is dense, of the type that its operand has

  // Whether it has n elements of a type, at addresses that such elements have.
  template <class T>
  bool holds(size_t n) const {
    return !storage && bytes / sizeof(T) >= n && reinterpret_cast<uintptr_t>(data) % alignof(T) == 0;
  }
  // The same of dense elements that may be of 16 bits.
  bool holds_elements(size_t n) const { return storage ? !storage->is_view && has(n) : holds<float>(n); }
  // Whether it has a view's rows of n elements, so many of them.
  EVENKEEL_NOINLINE bool holds_rows(size_t n, size_t rows, const Storages& all) const {
    size_t last = 0, count = 1;
    for (size_t i = 0; i < all.rank; ++i) {
      const size_t dim = all.dims[i], stride = storage->strides[i];
      if (dim == 0 || count > rows / dim || (stride > 0 && dim - 1 > beyond / stride)) return false;
      count *= dim;
      last += (dim - 1) * stride;
      if (last > beyond) return false;
    }
    return count == rows && n <= beyond && has(last + n);
  }

 private:
  static constexpr size_t beyond = SIZE_MAX / 32;  // elements that no memory has
  bool has(size_t n) const {
    const size_t size = bytes_of(storage->type);
    return bytes / size >= n && reinterpret_cast<uintptr_t>(data) % size == 0;
  }
};

// The buffers of a call's arrays, in the order of the arguments.
struct Kept {
  static constexpr size_t most = 16;
  struct Buffer {
    napi_value value;
    void* data;  // null where it is shared
    size_t bytes;
  };
  Buffer buffers[most];
  size_t count = 0;
};

class Arguments {
 public:
  static constexpr size_t most = 1 + 16;

  Arguments(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = most;
    napi_get_cb_info(env, info, &count, values_, nullptr, &data);
    const View block = read_view();
    if (!block.absent && block.holds<double>(1)) {
      numbers_ = static_cast<const double*>(block.data);
      numbers_left_ = block.bytes / sizeof(double);
    } else {
      fail("numbers expected a Float64Array");
    }
    const size_t first = size();
    present_ = static_cast<uint32_t>(first & 0xffff);
    storages.any = (first >> 16 & 1) != 0;
    if (storages.any) read_storages();
  }
  ~Arguments() { std::free(copy_); }
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  // From here on arrays have memory that a thread may keep: shared, or all of an ArrayBuffer that can be taken over.
  void keep_arrays(Kept* kept) { kept_ = kept; }

  // The next array, where the numbers say that there is one.
  View view() {
    const bool is_there = present_ & 1;
    present_ >>= 1;
    const size_t number = number_++;
    View out = is_there ? read_view() : View{nullptr, 0, true};
    if (storages.any && number < Storages::most && !storages.of[number].plain()) out.storage = &storages.of[number];
    return out;
  }

  // The next array where it is no tensor: never kept, since it is copied.
  View small_view() {
    Kept* const kept = std::exchange(kept_, nullptr);
    const View out = view();
    kept_ = kept;
    return out;
  }

  // A copy of an array that lives as long as this; null where there is no memory for it. At most one.
  const void* copy_of(const View& view) {
    copy_ = std::malloc(view.bytes + 1);
    if (copy_ && view.bytes > 0) std::memcpy(copy_, view.data, view.bytes);
    return copy_;
  }
  // Leaves that copy to the caller.
  void* release_copy() { return std::exchange(copy_, nullptr); }

  // The next number. Each is read once: the block may be shared memory.
  double number() {
    if (numbers_left_ == 0) {
      fail("numbers expected more of them");
      return 0;
    }
    --numbers_left_;
    return *static_cast<const volatile double*>(numbers_++);
  }

  size_t size() {
    const double value = number();
    if (value >= 0 && value <= 9007199254740991.0 && value == static_cast<double>(static_cast<int64_t>(value))) {
      return static_cast<size_t>(static_cast<int64_t>(value));
    }
    fail("numbers expected an integer from 0 to 2^53 - 1 for a size");
    return 0;
  }

  // Whether the first two arrays have the same type, of 16 bits.
  bool one_type() const {
    return storages.of[0].type == storages.of[1].type && storages.of[0].type != ElementType::float32;
  }

  // The first that is wrong is reported; what is read after it is empty.
  void fail(const char* what) {
    if (error) return;
    error = what;
    numbers_left_ = 0;
  }

  void* data = nullptr;
  const char* error = nullptr;  // what was expected
  Storages storages;            // of the arrays

 private:
  // The types of all arrays, two bits each; which are views, one bit each; the dimensions of these, and the strides of
  // each.
  EVENKEEL_NOINLINE void read_storages() {
    const size_t types = size(), views = size();
    storages.rank = size();
    if (storages.rank > Axes::most) {
      fail("numbers expected at most 16 dimensions of a view");
      storages.rank = 0;
    }
    for (size_t i = 0; i < storages.rank; ++i) storages.dims[i] = size();
    for (size_t k = 0; k < Storages::most; ++k) {
      Storage& of = storages.of[k];
      const size_t type = types >> 2 * k & 3;
      if (type >= element_types) fail("numbers expected a type of elements");
      of.type = static_cast<ElementType>(type < element_types ? type : 0);
      of.is_view = (views >> k & 1) != 0;
      for (size_t i = 0; i < storages.rank && of.is_view; ++i) of.strides[i] = size();
    }
    // Whatever the caller says: nothing is to be brought in where all are plain.
    storages.any = (types | views) != 0;
  }

  EVENKEEL_NOINLINE View read_view() {
    const napi_value value = values_[position_++];
    View out{nullptr, 0, false};
    bool is_array = false;
    napi_is_typedarray(env_, value, &is_array);
    if (!is_array) {
      out.absent = true;
      fail("arrays expected a typed array");
    } else if (kept_) {
      keep(value, out);
    } else if (!view_of(env_, value, &out.data, &out.bytes)) {
      fail("arrays expected memory that can be read");
    }
    return out;
  }

  // An array for a thread, with its buffer.
  void keep(napi_value value, View& out) {
    auto type = static_cast<napi_typedarray_type>(-1);
    napi_value buffer = nullptr;
    size_t length = 0, offset = 0;
    if (kept_->count == Kept::most ||
        napi_get_typedarray_info(env_, value, &type, &length, &out.data, &buffer, &offset) != napi_ok ||
        element_size(type) == 0) {
      fail("arrays expected memory that can be read");
      return;
    }
    out.bytes = length * element_size(type);
    Kept::Buffer& kept = kept_->buffers[kept_->count++];
    kept = {buffer, nullptr, 0};
    bool own = false;
    napi_is_arraybuffer(env_, buffer, &own);
    if (!own) return;  // a SharedArrayBuffer: its memory cannot be taken away
    napi_get_arraybuffer_info(env_, buffer, &kept.data, &kept.bytes);
    if (kept.bytes == 0 || offset != 0 || out.bytes != kept.bytes) {
      fail("arrays expected all of their ArrayBuffer, or a SharedArrayBuffer");
    }
  }

  napi_env env_;
  Kept* kept_ = nullptr;
  void* copy_ = nullptr;
  napi_value values_[most];
  size_t position_ = 0;
  size_t number_ = 0;  // of the next array, those that are absent counted
  const double* numbers_ = nullptr;
  size_t numbers_left_ = 0;
  uint32_t present_ = 0;  // of the arrays that are still to be read, a bit each
};

// Throws what is wrong with the arguments of a kernel.
inline napi_value refuse(napi_env env, const char* kernel, const Arguments& arguments) {
  char message[200];
  std::snprintf(message, sizeof message, "%s: %s, got something else", kernel, arguments.error);
  napi_throw_type_error(env, nullptr, message);
  return nullptr;
}

}  // namespace
}  // namespace evenkeel
