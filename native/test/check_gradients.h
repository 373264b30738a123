// The backward kernels and residual_sum, as kernels_test.cpp checks all others: against the portable ones, on blocks of
// exactly the size that a call may touch.
#pragma once

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <tuple>
#include <vector>

#include "../platform/caches.h"
#include "../threads/divide.h"
#include "blocks.h"

namespace {

using evenkeel::Groups;
using evenkeel::SumOverRows;
using evenkeel::Volume;

// Which operands a call has, a bit each.
enum Has : unsigned {
  weights = 1,
  saved_mean = 2,
  saved_rstd = 4,
  weight_sums = 8,
  bias_sums = 16,
  padding = 32,
  arriving_sum = 64,
  residual_gradient = 128,
  gaps = 256,     // between rows
  partial = 512,  // some elements of a row do not count
  training = 1024,
  all_of_them = 2047
};

// Which positions are real, of each sample in one of several ways: none, some neighbors, short spans with holes, all.
Block<int32_t> random_spans(size_t samples, size_t positions, bool present) {
  std::vector<int32_t> list(samples + 1);
  const auto add = [&](size_t begin, size_t end) {
    list.push_back(static_cast<int32_t>(begin));
    list.push_back(static_cast<int32_t>(end));
  };
  for (size_t sample = 0; sample < samples; ++sample) {
    list[sample] = static_cast<int32_t>(list.size());
    const size_t way = random_bits() % 5;
    const size_t first = random_bits() % (positions + 1);
    if (way == 1) add(first, first + random_bits() % (positions - first + 1));
    for (size_t at = first % 3; (way == 2 || way == 3) && at < positions; at += 1 + random_bits() % 4) {
      const size_t end = std::min(positions, at + 1 + random_bits() % (way == 2 ? 3 : 90));
      add(at, end);
      at = end;
    }
    if (way == 4) add(0, positions);
  }
  list[samples] = static_cast<int32_t>(list.size());
  Block<int32_t> out(list.size(), present);
  if (present) std::copy(list.begin(), list.end(), out.get());
  return out;
}

void fill_statistics(const Block<double>& mean, const Block<double>& rstd, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    if (mean.get()) mean.get()[i] = static_cast<double>(uniform());
    if (rstd.get()) rstd.get()[i] = 1 / (1.1 + static_cast<double>(uniform()));
  }
}

// Elements of the partial sums of a call: those of its real rows alone.
template <class Shape>
size_t partial_sums(const Shape& shape) {
  const evenkeel::PartialSums sums(shape);
  return std::max<size_t>(1, sums.rows) * sums.n;
}

template <class Shape>
void add_up(const SumOverRows& operand, const Shape& shape) {
  const evenkeel::PartialSums sums(shape);
  if (operand.data) evenkeel::add_partial_sums(operand.data, sums.n, sums.rows, sums.folds, 0, sums.n);
}
template <class Operand, class Shape>
void add_up(const Operand&, const Shape&) {}

template <class T>
struct Given {
  using type = T;
};

// A call as it comes from JavaScript, on one thread.
template <class... Operands>
void run_call(void (*kernel)(Operands...), typename Given<Operands>::type... operands) {
  using Split = evenkeel::Splitter<Operands...>;
  const evenkeel::Call<Operands...> call{kernel, std::tuple<Operands...>(operands...), nullptr};
  const auto& shape = std::get<typename Split::Shape>(call.operands);
  call.run_real(shape, Split::all(shape));
  (add_up(operands, shape), ...);
}

struct GradientRows {
  Groups shape;
  unsigned options;
  size_t stride, elements;
  Block<float> dy, x, dsum, weight;
  Block<double> mean, rstd;
  Block<int32_t> spans;

  bool has(Has what) const { return options & what; }

  GradientRows(Groups of, unsigned chosen, const char* kind, const char* arriving)
      : shape(of),
        options(chosen),
        stride(of.size + (has(gaps) ? 3 : 0)),
        elements((of.outer - 1) * stride + of.size),
        dy(elements),
        x(elements),
        dsum(elements, has(arriving_sum)),
        weight(of.size, has(weights)),
        mean(of.outer, has(saved_mean)),
        rstd(of.outer, has(saved_rstd)),
        spans(random_spans(1, of.outer, has(padding))) {
    x.fill(kind);
    dy.fill(arriving);
    dsum.fill("normal");
    weight.fill("normal");
    fill_statistics(mean, rstd, of.outer);
    shape.spans.list = spans.get();
  }
};

Outputs run(const KernelTables& tables, const char* op, const GradientRows& of) {
  const auto& kernels = tables.float32;
  const bool is_layer = !std::strcmp(op, "layer_norm_backward"), is_rms = !std::strcmp(op, "rms_norm_backward");
  const bool has_dots = !std::strcmp(op, "normalize_backward");
  const size_t sums = partial_sums(of.shape), n = of.stride;
  Outputs out{Block<float>(of.elements), Block<float>(of.elements, (is_layer || is_rms) && of.has(residual_gradient)),
              Block<double>(has_dots ? of.shape.outer : sums, has_dots || of.has(weight_sums)),
              Block<double>(sums, is_layer && of.has(bias_sums))};
  const double scale = of.options % 3 ? 1 : 0.7;
  if (is_layer) {
    run_call(kernels.layer_norm_backward, {out.y.get(), n}, {{out.sum.get(), n}}, {out.first.get()}, {out.second.get()},
             {of.dy.get(), n}, {of.x.get(), n}, {{of.dsum.get(), n}}, {of.mean.get()}, {of.rstd.get()},
             {of.weight.get()}, of.shape, scale, 1e-5);
  } else if (is_rms) {
    run_call(kernels.rms_norm_backward, {out.y.get(), n}, {{out.sum.get(), n}}, {out.first.get()}, {of.dy.get(), n},
             {of.x.get(), n}, {{of.dsum.get(), n}}, {of.rstd.get()}, {of.weight.get()}, of.shape,
             {of.has(partial) ? (of.shape.size + 1) / 2 : of.shape.size}, scale, 1e-5);
  } else if (has_dots) {
    const double eps = of.options % 4 ? 1e-12 : 3;  // the second is above many a norm
    run_call(kernels.normalize_backward, {out.y.get(), n}, {nullptr, out.first.get()}, {of.dy.get(), n},
             {of.x.get(), n}, of.shape, of.options % 5, eps, scale);
  } else {
    run_call(kernels.residual_sum, {out.y.get(), n}, {of.x.get(), n}, {of.dy.get(), n}, of.shape, scale);
  }
  return out;
}

struct GradientVolume {
  Volume shape;
  unsigned options;
  size_t elements;
  Block<float> dy, x, weight;
  Block<double> mean, rstd;
  Block<int32_t> spans;

  bool has(Has what) const { return options & what; }

  GradientVolume(Volume of, unsigned chosen, const char* kind, const char* arriving)
      : shape(of),
        options(chosen),
        elements(of.in_memory()),
        dy(elements),
        x(elements),
        weight(of.channels(), has(weights)),
        mean(of.count(), has(saved_mean)),
        rstd(of.count(), has(saved_rstd)),
        spans(random_spans(of.samples, of.positions, has(padding))) {
    x.fill(kind);
    dy.fill(arriving);
    weight.fill("normal");
    fill_statistics(mean, rstd, of.count());
    shape.spans.list = spans.get();
  }
};

Outputs run(const KernelTables& tables, const char* op, const GradientVolume& of) {
  const auto& kernels = tables.float32;
  const bool over_batch = !std::strcmp(op, "batch_norm_backward");
  const size_t sums = over_batch ? of.shape.groups : partial_sums(of.shape);
  Outputs out{Block<float>(of.elements), Block<float>(0, false), Block<double>(sums, of.has(weight_sums)),
              Block<double>(sums, of.has(bias_sums))};
  if (over_batch) {
    // Statistics of their own: there is one of each channel, and none may be absent.
    const Block<double> mean(sums), rstd(sums);
    for (size_t c = 0; c < sums; ++c) mean.get()[c] = 0.01 * static_cast<double>(c), rstd.get()[c] = 0.3;
    run_call(kernels.batch_norm_backward, {out.y.get()}, {out.first.get()}, {out.second.get()}, {of.dy.get()},
             {of.x.get()}, {mean.get()}, {rstd.get()}, {of.weight.get()}, of.shape, of.has(training));
  } else {
    run_call(kernels.group_norm_backward, {out.y.get()}, {out.first.get()}, {out.second.get()}, {of.dy.get()},
             {of.x.get()}, {of.mean.get()}, {of.rstd.get()}, {of.weight.get()}, of.shape, 1e-5);
  }
  return out;
}

int check_gradients(const evenkeel::Backend& backend) {
  const char* const row_ops[] = {"layer_norm_backward", "rms_norm_backward", "normalize_backward", "residual_sum"};
  const char* const batch_ops[] = {"batch_norm_backward"};
  const char* const group_ops[] = {"group_norm_backward"};
  int failures = 0, calls = 0;
  hash = 14695981039346656037ull;
  state = 2;
  const auto options = [] { return random_bits() % (all_of_them + 1); };
  // Also as a part of a call that is too large for the caches, past which it is then written.
  const auto rows_of = [&](size_t rows, size_t cols) {
    for (const char* kind : kinds) {
      GradientRows operands({rows, cols, 1}, options(), kind, kinds[random_bits() % 6]);
      compare(backend, row_ops, operands, kind, calls, failures);
      operands.shape.whole = evenkeel::cached + 1;
      compare(backend, row_ops, operands, kind, calls, failures);
    }
  };
  for (size_t cols = 1; cols <= 8200; cols += cols < 70 ? 1 : cols < 4080 ? 401 : cols < 4100 ? 1 : 1363) {
    rows_of(cols < 70 ? 3 : 1, cols);
  }
  for (const size_t rows : {63, 64, 65, 130, 300, 4097}) {
    for (const size_t cols : {1, 2, 7, 16, 17, 48}) rows_of(rows, cols);
  }
  for (const size_t samples : {1, 3, 66, 4096, 4097}) {
    for (const size_t groups : {1, 2, 7, 33, 260, 520}) {
      for (const size_t channels : {1, 3, 70, 300}) {
        for (const size_t positions : {1, 5, 16, 67, 4100}) {
          if (samples * groups * channels * positions > 40000) continue;
          for (const bool last : {false, true}) {
            const char* kind = kinds[random_bits() % 6];
            GradientVolume operands({samples, groups, channels, positions, last}, options(), kind,
                                    kinds[random_bits() % 6]);
            compare(backend, group_ops, operands, kind, calls, failures);
            for (const size_t whole : {samples, evenkeel::cached + 1}) {
              operands.shape.whole = whole;
              if (channels == 1) compare(backend, batch_ops, operands, kind, calls, failures);
            }
          }
        }
      }
    }
  }
  std::printf("%s: %d backward calls, %d differ from portable, hash %016" PRIx64 "\n", backend.name, calls, failures,
              hash);
  return failures;
}

}  // namespace
