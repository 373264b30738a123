// The registry: every op's C signature, one entry per op, and the operand types that signatures are made of.
//
// The doorway (addon.cpp) turns each signature into a JavaScript function whose arguments stand in the same order:
// a matrix is two arguments (typed array, stride), a shape its numbers, everything else is one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace evenkeel {

// The shape of an op over rows or columns: `outer` matrices of `size` rows and `inner` columns, each column a group;
// with inner == 1 each matrix is one, and its elements are neighbours.
struct Groups {
  size_t outer;
  size_t size;
  size_t inner;
  size_t pitch = inner;  // columns of a matrix in memory, of which these are neighbours: a thread's share
  size_t whole = outer;  // matrices of the whole call

  size_t count() const { return outer * inner; }
};

// The shape of an op over channels: samples x (groups * channels) x positions, or, where the channels are last, samples
// x positions x (groups * channels). A group is `channels` neighbouring channels.
struct Volume {
  size_t samples;
  size_t groups;
  size_t channels;
  size_t positions;
  bool channels_last;
  size_t pitch = groups * channels;  // channels of the tensor in memory, of which these are neighbours
  size_t whole = samples;            // samples of the whole call

  size_t in_memory() const { return whole * pitch * positions; }
  size_t count() const { return samples * groups; }
  size_t all_channels() const { return groups * channels; }
};

// Matrices one after the other: matrix i begins at data + i * stride (in elements).
template <class T>
struct Matrix {
  T* data;
  size_t stride;

  T* at(size_t i) const { return data + i * stride; }
};

// Matrices that may be absent: then data is null, and so is every one.
template <class T>
struct Maybe : Matrix<T> {
  explicit operator bool() const { return this->data != nullptr; }
  T* at(size_t i) const { return this->data ? Matrix<T>::at(i) : nullptr; }
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

// One statistic for every group, written as float32 or as float64. Absent where both are null.
struct PerGroup {
  float* single;
  double* full;

  void set(size_t group, double value) const {
    if (single) single[group] = static_cast<float>(value);
    if (full) full[group] = value;
  }
};

// The real positions of each sample, [begin, end) in turn (rule 15). Absent where data is null: then all are.
struct Spans {
  const int32_t* data;

  size_t begin(size_t sample) const { return data ? static_cast<size_t>(data[2 * sample]) : 0; }
  size_t end(size_t sample, size_t positions) const {
    return data ? static_cast<size_t>(data[2 * sample + 1]) : positions;
  }
};

// How many elements of a group count, from the first: 1 to size.
struct Counted {
  size_t n;
};

// clang-format off
#define EVENKEEL_OPS(OP)                                                                                   \
  OP(batch_norm, (Tensor<T> y, Tensor<const T> x, OverBatch<const double> mean,                            \
                  OverBatch<const double> variance, PerChannel<T> weight, PerChannel<T> bias, Spans spans, \
                  Volume shape, double eps))                                                               \
  OP(batch_statistics, (OverBatch<double> mean, OverBatch<double> variance, Tensor<const T> x,             \
                        Spans spans, Volume shape))                                                        \
  OP(group_norm, (Tensor<T> y, PerGroup mean, PerGroup rstd, Tensor<const T> x, PerChannel<T> weight,      \
                  PerChannel<T> bias, Spans spans, Volume shape, double eps))                              \
  OP(layer_norm, (Out<T> y, MaybeOut<T> sum, PerGroup mean, PerGroup rstd, In<T> x, MaybeIn<T> residual,   \
                  PerElement<T> weight, PerElement<T> bias, Groups shape, double residual_scale,           \
                  double eps))                                                                             \
  OP(local_response_norm, (Tensor<T> y, Tensor<const T> x, Volume shape, size_t before, size_t behind,     \
                           double alpha, double beta, double k))                                           \
  OP(normalize, (Out<T> y, PerGroup norm, In<T> x, Groups shape, double p, size_t rule, double eps,        \
                 double factor))                                                                           \
  OP(rms_norm, (Out<T> y, MaybeOut<T> sum, PerGroup rstd, In<T> x, MaybeIn<T> residual,                    \
                PerElement<T> weight, Groups shape, Counted counted, double residual_scale, double eps,    \
                double weight_offset))
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
