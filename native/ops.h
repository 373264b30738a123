// The registry: every op's C signature, one entry per op, and the operand types that signatures are made of.
//
// The doorway (addon.cpp) turns each signature into a JavaScript function whose arguments stand in the same order:
// a matrix is two arguments (typed array, row stride), Rows is two numbers, everything else is one.
#pragma once

#include <cstddef>

namespace evenkeel {

// The shape of a row op: `rows` groups of `cols` elements each.
struct Rows {
  size_t rows;
  size_t cols;
};

// rows x cols elements of type T; row r begins at data + r * stride (in elements).
template <class T>
struct Matrix {
  T* data;
  size_t stride;

  T* row(size_t r) const { return data + r * stride; }
};

// A matrix that may be absent: then data is null, and so is every row.
template <class T>
struct Maybe : Matrix<T> {
  explicit operator bool() const { return this->data != nullptr; }
  T* row(size_t r) const { return this->data ? Matrix<T>::row(r) : nullptr; }
};

template <class T>
using Out = Matrix<T>;
template <class T>
using In = Matrix<const T>;
template <class T>
using MaybeOut = Maybe<T>;
template <class T>
using MaybeIn = Maybe<const T>;

// One value for every column (weight, bias). Absent where data is null.
template <class T>
struct PerColumn {
  const T* data;
};

// One statistic for every row, written as float32 or as float64. Absent where both are null.
struct PerRow {
  float* single;
  double* full;

  void set(size_t row, double value) const {
    if (single) single[row] = static_cast<float>(value);
    if (full) full[row] = value;
  }
};

// clang-format off
#define EVENKEEL_OPS(OP)                                                                             \
  OP(layer_norm, (Out<T> y, MaybeOut<T> sum, PerRow mean, PerRow rstd, In<T> x, MaybeIn<T> residual, \
                  PerColumn<T> weight, PerColumn<T> bias, Rows shape, double eps))                   \
  OP(rms_norm, (Out<T> y, MaybeOut<T> sum, PerRow rstd, In<T> x, MaybeIn<T> residual,                \
                PerColumn<T> weight, Rows shape, double eps, double weight_offset))
// clang-format on

// The kernels of one backend for elements of type T in memory.
template <class T>
struct Kernels {
#define EVENKEEL_MEMBER(name, signature) void(*name) signature;
  EVENKEEL_OPS(EVENKEEL_MEMBER)
#undef EVENKEEL_MEMBER
};

// Everything that one ISA file exports: its kernels for each element type.
struct KernelTables {
  Kernels<float> float32;
};

}  // namespace evenkeel
