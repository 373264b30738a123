// The registry: every op's C signature, one entry per op. src/kernels/signatures.ts lists the same operands by the same
// names, in the same order (test/tools/architecture.test.ts compares the two).
//
// The doorway (node/addon.cpp) turns each signature into functions of JavaScript: all numbers of a call stand in one
// block, in order, then come its arrays.
#pragma once

#include "elements.h"
#include "operands.h"

namespace evenkeel {

// clang-format off
#define EVENKEEL_OPS(OP)                                                                                   \
  OP(batch_norm, (Tensor<T> y, Tensor<const T> x, OverBatch<const double> mean,                            \
                  OverBatch<const double> variance, PerChannel<T> weight, PerChannel<T> bias,              \
                  Volume shape, double eps))                                                               \
  OP(batch_norm_backward, (Tensor<T> dx, MaybeOverBatch dweight, MaybeOverBatch dbias, Tensor<const T> dy, \
                           Tensor<const T> x, OverBatch<const double> mean, OverBatch<const double> rstd,  \
                           PerChannel<T> weight, Volume shape, size_t training))                           \
  OP(batch_statistics, (OverBatch<double> mean, OverBatch<double> variance, Tensor<const T> x,             \
                        Volume shape))                                                                     \
  OP(calibrate_embeddings, (OverBatch<double> count, OverBatch<double> min, OverBatch<double> max,         \
                            OverBatch<double> mean, OverBatch<double> squares, Tensor<const T> x,          \
                            Volume shape))                                                                 \
  OP(group_norm, (Tensor<T> y, PerGroup mean, PerGroup rstd, Tensor<const T> x, PerChannel<T> weight,      \
                  PerChannel<T> bias, Volume shape, double eps))                                           \
  OP(group_norm_backward, (Tensor<T> dx, SumOverRows dweight, SumOverRows dbias, Tensor<const T> dy,       \
                           Tensor<const T> x, SavedPerGroup mean, SavedPerGroup rstd, PerChannel<T> weight,\
                           Volume shape, double eps))                                                      \
  OP(layer_norm, (Out<T> y, MaybeOut<T> sum, PerGroup mean, PerGroup rstd, In<T> x, MaybeIn<T> residual,   \
                  PerElement<T> weight, PerElement<T> bias, Groups shape, double residual_scale,           \
                  double eps))                                                                             \
  OP(layer_norm_backward, (Out<T> dx, MaybeOut<T> dresidual, SumOverRows dweight, SumOverRows dbias,       \
                           In<T> dy, In<T> x, MaybeIn<T> dsum, SavedPerGroup mean, SavedPerGroup rstd,     \
                           PerElement<T> weight, Groups shape, double residual_scale, double eps))         \
  OP(local_response_norm, (Tensor<T> y, Tensor<const T> x, Volume shape, size_t before, size_t behind,     \
                           double alpha, double beta, double k))                                           \
  OP(normalize, (Out<T> y, PerGroup norm, In<T> x, Groups shape, double p, size_t rule, double eps,        \
                 double factor))                                                                           \
  OP(normalize_backward, (Out<T> dx, PerGroup dots, In<T> dy, In<T> x, Groups shape, size_t rule, double eps,\
                          double factor))                                                                  \
  OP(permute, (Tensor<T> y, Tensor<const T> x, Axes shape))                                                \
  OP(pool_embeddings, (PerGroup mean, PerGroup mean_sqrt, PerGroup weighted_mean, PerGroup cls,            \
                       PerGroup last, PerGroup max, Tensor<const T> x, Volume shape))                      \
  OP(quantize_embeddings, (Codes codes, PerGroup scales, In<T> x, PerElement<T> low, PerElement<T> step,   \
                           Groups shape))                                                                  \
  OP(residual_sum, (Out<T> sum, In<T> x, In<T> residual, Groups shape, double residual_scale))             \
  OP(rms_norm, (Out<T> y, MaybeOut<T> sum, PerGroup rstd, In<T> x, MaybeIn<T> residual,                    \
                PerElement<T> weight, Groups shape, Counted counted, double residual_scale, double eps,    \
                double weight_offset))                                                                     \
  OP(rms_norm_backward, (Out<T> dx, MaybeOut<T> dresidual, SumOverRows dweight, In<T> dy, In<T> x,         \
                         MaybeIn<T> dsum, SavedPerGroup rstd, PerElement<T> weight, Groups shape,          \
                         Counted counted, double residual_scale, double eps))
// clang-format on

// The kernels of one backend for elements of type T in memory.
template <class T>
struct Kernels {
#define EVENKEEL_MEMBER(name, signature) void(*name) signature;
  EVENKEEL_OPS(EVENKEEL_MEMBER)
#undef EVENKEEL_MEMBER
};

// Elements of 16 bits as float32, and back, of each of their types in order; a copy in another order of any.
struct Conversions {
  void (*widen[types_of_16_bits])(float* to, const uint16_t* from, size_t n);
  void (*narrow[types_of_16_bits])(uint16_t* to, const float* from, size_t n, bool streamed);
  void (*end_of_stream)();  // before another thread reads what was streamed
  void (*permute)(Tensor<uint16_t> y, Tensor<const uint16_t> x, Axes shape);
};

// Everything that one ISA file exports: its kernels for each element type, and conversions.
struct KernelTables {
#define EVENKEEL_TABLE(name, type, array) Kernels<type> name;
  EVENKEEL_ELEMENTS(EVENKEEL_TABLE)
#undef EVENKEEL_TABLE
  Conversions convert;
};

}  // namespace evenkeel
