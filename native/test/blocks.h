// What the tests of the kernels share: blocks of memory of exactly the size that a kernel may touch, what is put into
// them, and how they are compared.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>

#include "../dispatch.h"
#include "../platform/compiler.h"

namespace {

using evenkeel::KernelTables;

uint32_t state = 1;
uint32_t random_bits() {
  state = state * 1664525u + 1013904223u;
  return state >> 8;
}
float uniform() { return static_cast<float>(random_bits()) / 8388608.0f - 1; }

// Apart from where n comes from: GCC warns of what no test asks for.
template <class T>
EVENKEEL_NOINLINE T* zeros(size_t n) {
  return new T[n]();
}

// A block of exactly n elements, or none.
template <class T>
class Block {
 public:
  explicit Block(size_t n, bool present = true) : n_(n), data_(present ? zeros<T>(n) : nullptr) {}
  T* get() const { return data_.get(); }
  size_t bytes() const { return data_ ? n_ * sizeof(T) : 0; }
  void fill(const char* kind) {
    if (!data_) return;
    const float constant = uniform();
    for (size_t i = 0; i < n_; ++i) {
      float value = uniform();
      if (!std::strcmp(kind, "offset")) value = 1e5f + value;
      if (!std::strcmp(kind, "huge")) value *= 3.3e38f;
      if (!std::strcmp(kind, "subnormal")) value *= 1e-40f;
      if (!std::strcmp(kind, "constant")) value = constant;
      if (!std::strcmp(kind, "infinite") && i == n_ / 2) value = std::numeric_limits<float>::infinity();
      data_[i] = value;
    }
  }

 private:
  size_t n_;
  std::unique_ptr<T[]> data_;
};

uint64_t hash = 14695981039346656037ull;  // FNV-1a

// Adds to the hash, with one pattern for every NaN (rule 10).
template <class T, class Bits>
void add_to_hash(const Block<T>& block) {
  for (size_t i = 0; i < block.bytes() / sizeof(T); ++i) {
    Bits word;
    const T value = block.get()[i];
    std::memcpy(&word, &value, sizeof word);
    if (std::isnan(value)) word = 0x7fc00000;
    for (size_t byte = 0; byte < sizeof word; ++byte) hash = (hash ^ ((word >> (8 * byte)) & 255)) * 1099511628211ull;
  }
}

template <class T>
bool same(const Block<T>& a, const Block<T>& b) {
  for (size_t i = 0; i < a.bytes() / sizeof(T); ++i) {
    const T x = a.get()[i], y = b.get()[i];
    if (std::memcmp(&x, &y, sizeof x) != 0 && !(std::isnan(x) && std::isnan(y))) return false;
  }
  return true;
}

// What a call wrote; what it did not is absent.
struct Outputs {
  Block<float> y, sum;
  Block<double> first, second;  // statistics

  bool operator==(const Outputs& other) const {
    return same(y, other.y) && same(sum, other.sum) && same(first, other.first) && same(second, other.second);
  }
  void hash_all() const {
    add_to_hash<float, uint32_t>(y);
    add_to_hash<float, uint32_t>(sum);
    add_to_hash<double, uint64_t>(first);
    add_to_hash<double, uint64_t>(second);
  }
};

// Runs the ops on these operands, on this backend and on the portable one; adds to the hash and counts.
template <class Operands, size_t n>
void compare(const evenkeel::Backend& backend, const char* const (&ops)[n], const Operands& operands, const char* kind,
             int& calls, int& failures) {
  for (const char* op : ops) {
    const Outputs expected = run(evenkeel::portable_kernels, op, operands);
    const Outputs actual = run(*backend.kernels, op, operands);
    ++calls;
    if (!(actual == expected) && failures++ < 5) {
      std::printf("FAIL %s: call %d, %s of %s, options %u\n", backend.name, calls, op, kind, operands.options);
    }
    actual.hash_all();
  }
}

const char* const kinds[] = {"normal", "offset", "huge", "subnormal", "constant", "infinite"};

}  // namespace
