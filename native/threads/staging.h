// How the elements of a call's operands stand in memory where they are no dense float32, and memory to bring them into:
// what staged calls (stage.h) are made of.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

#include "../ops.h"
#include "../platform/compiler.h"
#include "sections.h"
#include "shares.h"

EVENKEEL_SMALL_BEGIN

namespace evenkeel {

// Some of a volume: of a share also some of its positions.
struct Part {
  Share share;
  size_t from, positions;
};

// Where a row of a view begins; and what it is along each of the dimensions.
inline size_t offset_of(const Storages& all, const Storage& of, size_t row, size_t* index = nullptr) {
  size_t offset = 0;
  for (size_t d = all.rank; d-- > 0;) {
    const size_t at = row % all.dims[d];
    if (index) index[d] = at;
    row /= all.dims[d];
    offset += at * of.strides[d];
  }
  return offset;
}

// Goes from a row of a view to the next one, in the first `rank` dimensions.
inline void go_on(const Storages& all, const Storage& of, size_t rank, size_t* index, size_t& offset) {
  for (size_t d = rank; d-- > 0;) {
    offset += of.strides[d];
    if (++index[d] < all.dims[d]) break;
    offset -= all.dims[d] * of.strides[d];
    index[d] = 0;
  }
}

// Calls step(offset, place, n) for the runs of neighbors that an operand has of some matrices, as they stand in memory
// and one behind the other.
template <class Step>
void each_run(const Storages& all, const Storage& of, size_t stride, const Groups& shape, const Share& some,
              Step step) {
  const size_t n = shape.size, columns = some.columns;
  if (of.is_view) {
    // The last dimensions whose rows are neighbors are one run.
    size_t rank = all.rank, rows = 1;
    while (rank > 0 && of.strides[rank - 1] == rows * n) rows *= all.dims[--rank];
    size_t index[Axes::most];
    size_t offset = offset_of(all, of, some.first, index);
    for (size_t i = 0; i < some.count;) {
      const size_t skipped = rows > 1 ? (some.first + i) % rows : 0;
      const size_t together = std::min(rows - skipped, some.count - i);
      step(offset, i * n, together * n);
      i += together;
      offset -= skipped * n;
      go_on(all, of, rank, index, offset);
    }
    return;
  }
  if (columns == shape.pitch && stride == n * columns) return step(some.first * stride, 0, some.count * stride);
  for (size_t i = 0; i < some.count; ++i) {
    const size_t at = (some.first + i) * stride;
    if (columns == shape.pitch) {
      step(at, i * n * columns, n * columns);
      continue;
    }
    for (size_t row = 0; row < n; ++row) {
      step(at + row * shape.pitch + some.column, (i * n + row) * columns, columns);
    }
  }
}

// The same of some of a volume.
template <class Step>
void each_run(const Volume& shape, const Part& part, Step step) {
  const size_t per_group = shape.channels_per_group, pitch = shape.pitch, positions = shape.positions;
  const size_t channels = part.share.columns * per_group, channel = part.share.column * per_group;
  const size_t first = part.share.first, count = part.share.count, some = part.positions;
  const size_t sample = pitch * positions;
  if (channels == pitch && some == positions) return step(first * sample, 0, count * sample);
  for (size_t s = 0; s < count; ++s) {
    const size_t from = (first + s) * sample, to = s * channels * some;
    if (!shape.channels_last && some == positions) {
      step(from + channel * positions, to, channels * positions);
    } else if (!shape.channels_last) {
      for (size_t c = 0; c < channels; ++c) step(from + (channel + c) * positions + part.from, to + c * some, some);
    } else if (channels == pitch) {
      step(from + part.from * pitch, to, some * pitch);
    } else {
      for (size_t p = 0; p < some; ++p) step(from + (part.from + p) * pitch + channel, to + p * channels, channels);
    }
  }
}

// What an operand is.
template <class Operand>
constexpr bool takes_array =
    !std::is_same_v<Operand, size_t> && !std::is_same_v<Operand, double> && !std::is_same_v<Operand, Counted>;
template <class Operand>
constexpr bool is_input = false;
template <class T>
constexpr bool is_input<Matrix<const T>> = true;
template <class Operand>
constexpr bool is_maybe_input = false;
template <class T>
constexpr bool is_maybe_input<Maybe<const T>> = true;
template <class Operand>
constexpr bool is_parameter = false;
template <class T>
constexpr bool is_parameter<PerElement<T>> = true;
template <class T>
constexpr bool is_parameter<PerChannel<T>> = true;
template <class Operand>
constexpr bool is_matrix = false;
template <class T>
constexpr bool is_matrix<Matrix<T>> = true;
template <class T>
constexpr bool is_matrix<Maybe<T>> = true;
template <class T>
constexpr bool is_matrix<Tensor<T>> = true;
template <class Operand>
constexpr bool is_written = false;
template <class T>
constexpr bool is_written<Matrix<T>> = !std::is_const_v<T>;
template <class T>
constexpr bool is_written<Maybe<T>> = !std::is_const_v<T>;
template <class T>
constexpr bool is_written<Tensor<T>> = !std::is_const_v<T>;

// Calls step(i) for each of a call's operands, whose number is a constant.
template <class All, class Step, size_t... i>
void each_operand(Step step, std::index_sequence<i...>) {
  (step(std::integral_constant<size_t, i>{}), ...);
}
template <class All, class Step>
void each_operand(Step step) {
  each_operand<All>(step, std::make_index_sequence<std::tuple_size_v<All>>{});
}

// How many arrays a call has before an operand.
template <class All, size_t i = 0>
constexpr size_t array_of(size_t operand) {
  if constexpr (i == std::tuple_size_v<All>) {
    return 0;
  } else {
    return i < operand ? takes_array<std::tuple_element_t<i, All>> + array_of<All, i + 1>(operand) : 0;
  }
}

// Memory of a call, of which one block is kept for the next one: the system's would have to be cleared at each call,
// which can take as long as the call (measured).
class Memory {
 public:
  Memory() = default;
  ~Memory() {
    void* none = nullptr;
    if (!is_kept_ || !kept().compare_exchange_strong(none, data_)) std::free(data_);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Null where there is none.
  void* get(size_t bytes) {
    is_kept_ = bytes <= most_kept;
    if (is_kept_) data_ = kept().exchange(nullptr);
    if (!data_) data_ = std::malloc(is_kept_ ? most_kept : bytes);
    return data_;
  }

 private:
  static constexpr size_t most_kept = 1 << 18;
  static std::atomic<void*>& kept() {
    static std::atomic<void*> block{nullptr};
    return block;
  }

  void* data_ = nullptr;
  bool is_kept_ = false;
};

// What a call has beside its operands where not all of its arrays are dense float32: how they stand in memory, and
// memory for each of the threads that may work on it.
class Staging {
 public:
  Staging(const Storages& storages, const KernelTables& tables) : storages(storages), tables(tables) {}
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Memory for so many threads, of so many floats each, and for parameters; false where there is none.
  bool reserve(size_t threads, size_t elements, size_t parameters) {
    slots_ = threads;
    slot_ = elements;
    const size_t floats = sizeof(float), most = SIZE_MAX / 64;
    if (elements > most / (threads + 1) || parameters > most) return false;
    void* const memory =
        memory_.get((threads * elements + parameters) * floats + 64 + threads * sizeof(std::atomic<bool>));
    if (!memory) return false;
    first_ = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory) + 63) / 64 * 64);
    parameters_ = first_ + threads * elements;
    taken_ = reinterpret_cast<std::atomic<bool>*>(parameters_ + parameters);
    for (size_t i = 0; i < threads; ++i) new (taken_ + i) std::atomic<bool>(false);
    return true;
  }
  size_t threads() const { return slots_; }

  // Memory that no other thread has; there are as many as threads.
  size_t take() const {
    for (size_t i = 0;; i = (i + 1) % slots_) {
      if (!taken_[i].exchange(true, std::memory_order_acquire)) return i;
    }
  }
  void give_back(size_t slot) const { taken_[slot].store(false, std::memory_order_release); }
  float* memory(size_t slot) const { return first_ + slot * slot_; }

  // A parameter as float32, for good.
  const float* parameter(const float* data, const Storage& of, size_t n) {
    float* const to = parameters_;
    read(to, data, of, 0, n);
    parameters_ += rounded(n);
    return to;
  }

  // Elements of an operand as float32, and back.
  void read(float* to, const float* data, const Storage& of, size_t offset, size_t n, size_t helpers = 0) const {
    if (helpers > 0) return share(helpers, to, const_cast<float*>(data), of, offset, n, true);
    if (of.type == ElementType::float32) {
      std::memcpy(to, data + offset, n * sizeof(float));
    } else {
      tables.convert.widen[static_cast<size_t>(of.type) - 1](to, reinterpret_cast<const uint16_t*>(data) + offset, n);
    }
  }
  void write(float* data, const float* from, const Storage& of, size_t offset, size_t n, size_t helpers = 0) const {
    if (helpers > 0) return share(helpers, const_cast<float*>(from), data, of, offset, n, false);
    if (of.type == ElementType::float32) {
      std::memcpy(data + offset, from, n * sizeof(float));
    } else {
      tables.convert.narrow[static_cast<size_t>(of.type) - 1](reinterpret_cast<uint16_t*>(data) + offset, from, n,
                                                              streamed);
    }
  }

  // All of some matrices, whose single elements stand so far `apart` here, or of a part of a volume: brought in one
  // behind the other, and back; or 0 in their place.
  EVENKEEL_NOINLINE void bring_in(float* own, const float* data, const Storage& of, size_t stride, const Groups& shape,
                                  const Share& some, size_t apart) const {
    each_run(storages, of, stride, shape, some, [&](size_t offset, size_t place, size_t n) {
      read(own + place * apart, data, of, offset, n, shape.helpers);
    });
  }
  EVENKEEL_NOINLINE void bring_back(float* data, const float* own, const Storage& of, size_t stride,
                                    const Groups& shape, const Share& some, size_t apart) const {
    each_run(storages, of, stride, shape, some, [&](size_t offset, size_t place, size_t n) {
      write(data, own + place * apart, of, offset, n, shape.helpers);
    });
  }
  EVENKEEL_NOINLINE void bring_in(float* own, const float* data, const Storage& of, const Volume& shape,
                                  const Part& part) const {
    each_run(shape, part,
             [&](size_t offset, size_t place, size_t n) { read(own + place, data, of, offset, n, shape.helpers); });
  }
  EVENKEEL_NOINLINE void bring_back(float* data, const float* own, const Storage& of, const Volume& shape,
                                    const Part& part) const {
    each_run(shape, part,
             [&](size_t offset, size_t place, size_t n) { write(data, own + place, of, offset, n, shape.helpers); });
  }
  EVENKEEL_RARE void clear(float* data, const Storage& of, size_t stride, const Groups& shape,
                           const Share& some) const {
    const size_t bytes = bytes_of(of.type);
    each_run(storages, of, stride, shape, some, [&](size_t offset, size_t, size_t n) {
      std::memset(reinterpret_cast<char*>(data) + offset * bytes, 0, n * bytes);
    });
  }

  // Rows that stand at one stride in every operand, where nothing needs to be brought in for that: all are float32, and
  // there are enough of them to be a call of the kernel: of short rows more, which it takes many at a time (measured).
  // Else 0.
  size_t along(size_t size) const {
    for (const Storage& of : storages.of) {
      if (of.type != ElementType::float32) return 0;
    }
    const size_t last = storages.rank > 0 ? storages.dims[storages.rank - 1] : 0;
    return last >= (size > 256 ? 4 : 64) ? last : 0;
  }

  static size_t rounded(size_t n) { return (n + 15) / 16 * 16; }

  const Storages storages;
  const KernelTables& tables;
  bool streamed = false;  // whether results go past the caches

 private:
  // The same by several threads: `own` is what is in memory of the call's own.
  EVENKEEL_RARE void share(size_t helpers, float* own, float* data, const Storage& of, size_t offset, size_t n,
                           bool reads) const {
    struct Shared {
      const Staging& staging;
      float *own, *data;
      const Storage& of;
      size_t offset;
      bool reads;
    };
    const Shared shared{*this, own, data, of, offset, reads};
    const auto run = [](const void* what, size_t begin, size_t end) {
      const auto& all = *static_cast<const Shared*>(what);
      if (all.reads) {
        all.staging.read(all.own + begin, all.data, all.of, all.offset + begin, end - begin);
      } else {
        all.staging.write(all.data, all.own + begin, all.of, all.offset + begin, end - begin);
        all.staging.tables.convert.end_of_stream();
      }
    };
    run_sections({run, &shared, n, 1024, n}, helpers);
  }

  Memory memory_;
  size_t slots_ = 0, slot_ = 0;
  float* first_ = nullptr;
  float* parameters_ = nullptr;
  std::atomic<bool>* taken_ = nullptr;
};

}  // namespace evenkeel

EVENKEEL_SMALL_END
