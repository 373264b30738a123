// Groups that threads share (threads/sections.h): each element belongs to one section, sums are added in order, and
// kernels give with helpers the bits that the portable ones give without. Included by threads_test.cpp.
#pragma once

#include <cstdio>
#include <cstring>
#include <vector>

#include "../platform/caches.h"
#include "../threads/sections.h"
#include "blocks.h"
#include "check_sums.h"

namespace {

// Sections of n things, of which the numbers are added up as rule 2 adds up blocks.
const char* sections_of_numbers(Random& random) {
  const size_t unit = 1 + random.below(5), columns = 1 + random.below(random.below(2) ? 3 : 512);
  const size_t n = 1 + random.below(20000 / columns + 5), helpers = random.below(5);
  // So many elements that there are several pieces, of which none is checked for its size.
  const size_t elements = n * (1 + random.below(2000));
  std::vector<int> seen(n);
  const auto count = [](const void* what, size_t begin, size_t end) {
    auto* const all = static_cast<std::vector<int>*>(const_cast<void*>(what))->data();
    for (size_t i = begin; i < end; ++i) ++all[i];
  };
  evenkeel::run_sections({count, &seen, n, unit, elements}, helpers);
  for (const int times : seen) {
    if (times != 1) return "a thing of a section";
  }
  struct Given {
    size_t unit, columns;
  } given{unit, columns};
  const auto sums_of = [](const void* what, size_t begin, size_t end, double* s, double* q) {
    const auto& of = *static_cast<const Given*>(what);
    if (begin % of.unit != 0 || end - begin > of.unit) std::abort();
    for (size_t k = 0; k < of.columns; ++k) {
      s[k] = addend(begin, k);
      q[k] = addend(end, k);
    }
  };
  std::vector<double> s(columns, 7), q(columns, 7);
  const size_t folded = random.below(2) ? 1 : 1 + random.below(64);
  if (!evenkeel::add_in_order(s.data(), q.data(), {sums_of, &given, n, unit, elements, columns, folded}, helpers)) {
    return "memory for sums";
  }
  for (size_t k = 0; k < columns; ++k) {
    double of_s = 0, of_q = 0;
    for (size_t begin = 0; begin < n;) {
      double fold_s = 0, fold_q = 0;
      for (size_t i = 0; i < folded && begin < n; ++i, begin += unit) {
        fold_s += addend(begin, k);
        fold_q += addend(std::min(n, begin + unit), k);
      }
      of_s += fold_s;
      of_q += fold_q;
    }
    if (!same_bits(s[k], of_s) || !same_bits(q[k], of_q)) return "the order in which sections were added";
  }
  return nullptr;
}

// What a call writes: y or dx; sum or dresidual; statistics or sums over rows.
struct Written {
  Block<float> y, sum;
  Block<double> first, second;

  bool operator==(const Written& other) const {
    return same(y, other.y) && same(sum, other.sum) && same(first, other.first) && same(second, other.second);
  }
};

// Numbers for any op.
struct Given {
  Block<float> x, other, more, weight, bias;
  Block<double> mean, rstd;

  Given(size_t n, size_t parameters, size_t statistics, const char* kind)
      : x(n), other(n), more(n), weight(parameters), bias(parameters), mean(statistics), rstd(statistics) {
    x.fill(kind);
    for (Block<float>* block : {&other, &more, &weight, &bias}) block->fill("normal");
    for (size_t i = 0; i < statistics; ++i) {
      mean.get()[i] = static_cast<double>(uniform());
      rstd.get()[i] = 1.5 + static_cast<double>(uniform());
    }
  }
};

Written run_rows(const KernelTables& tables, size_t op, const Given& of, const Groups& shape) {
  const auto& kernels = tables.float32;
  const size_t n = shape.size * shape.inner, groups = shape.outer * shape.inner;
  const size_t sums = op < 4 ? groups : shape.size;
  Written to{Block<float>(shape.outer * n), Block<float>(shape.outer * n), Block<double>(sums), Block<double>(sums)};
  float *const y = to.y.get(), *const sum = to.sum.get(), *const w = of.weight.get();
  const float *const x = of.x.get(), *const other = of.other.get();
  double *const first = to.first.get(), *const second = to.second.get();
  const evenkeel::PerGroup none{nullptr, nullptr};
  switch (op) {
    case 0:
      kernels.layer_norm({y, n}, {{sum, n}}, {nullptr, first}, {nullptr, second}, {x, n}, {{other, n}}, {w},
                         {of.bias.get()}, shape, 0.7, 1e-5);
      break;
    case 1:
      kernels.rms_norm({y, n}, {{nullptr, n}}, {nullptr, first}, {x, n}, {{nullptr, n}}, {w}, shape,
                       {shape.size - shape.size / 3}, 1, 1e-6, 1);
      break;
    case 2:
      kernels.normalize({y, n}, {nullptr, first}, {x, n}, shape, 2, 0, 1e-12, 1.5);
      break;
    case 3:
      kernels.residual_sum({y, n}, {x, n}, {other, n}, shape, 0.7);
      break;
    case 4:
      kernels.layer_norm_backward({y, n}, {{sum, n}}, {first}, {second}, {other, n}, {x, n}, {{of.more.get(), n}},
                                  {nullptr}, {nullptr}, {w}, shape, 0.7, 1e-5);
      break;
    case 5:
      kernels.rms_norm_backward({y, n}, {{nullptr, n}}, {first}, {other, n}, {x, n}, {{nullptr, n}}, {of.rstd.get()},
                                {w}, shape, {shape.size - shape.size / 3}, 1, 1e-6);
      break;
    default:
      kernels.normalize_backward({y, n}, none, {other, n}, {x, n}, shape, op - 6, 1e-12, 1.5);
  }
  return to;
}

Written run_volume(const KernelTables& tables, size_t op, const Given& of, const Volume& shape) {
  const auto& kernels = tables.float32;
  const size_t sums = std::max(shape.count(), shape.samples * shape.channels());
  Written to{Block<float>(shape.samples * shape.channels() * shape.positions), Block<float>(1), Block<double>(sums),
             Block<double>(sums)};
  float* const y = to.y.get();
  const float *const x = of.x.get(), *const w = of.weight.get();
  double *const first = to.first.get(), *const second = to.second.get();
  switch (op) {
    case 0:
      kernels.group_norm({y}, {nullptr, first}, {nullptr, second}, {x}, {w}, {of.bias.get()}, shape, 1e-5);
      break;
    case 1:
      kernels.group_norm_backward({y}, {first}, {second}, {of.other.get()}, {x}, {nullptr}, {nullptr}, {w}, shape,
                                  1e-5);
      break;
    case 2:
      kernels.batch_norm({y}, {x}, {of.mean.get()}, {of.rstd.get()}, {w}, {of.bias.get()}, shape, 1e-5);
      break;
    case 3:
      kernels.batch_norm_backward({y}, {first}, {second}, {of.other.get()}, {x}, {of.mean.get()}, {of.rstd.get()}, {w},
                                  shape, 1);
      break;
    default:
      kernels.batch_statistics({first}, {second}, {x}, shape);
  }
  return to;
}

// Whether threads share groups. Kernels that only say whether they were told of helpers: in the first element of y.
void tell_rows(evenkeel::Out<float> y, evenkeel::PerGroup, evenkeel::In<float>, Groups shape) {
  if (shape.helpers > 0) y.data[0] = 1;
}
void tell_groups(evenkeel::Tensor<float> y, evenkeel::PerGroup, evenkeel::PerChannel<float>, Volume shape) {
  if (shape.helpers > 0) y.data[0] = 1;
}
void tell_batch(evenkeel::OverBatch<double> mean, evenkeel::Tensor<const float>, Volume shape) {
  if (shape.helpers > 0) *mean.data = 1;
}

bool shares(const Groups& shape, size_t threads) {
  float told = 0;
  const evenkeel::PerGroup none{nullptr, nullptr};
  evenkeel::run_divided(tell_rows,
                        std::make_tuple(evenkeel::Out<float>{&told, 0}, none, evenkeel::In<float>{&told, 0}, shape),
                        threads - 1);
  return told != 0;
}
bool shares(const Volume& shape, size_t threads, bool over_batch = false) {
  float told = 0;
  std::vector<double> of_batch(shape.groups);
  const evenkeel::PerGroup none{nullptr, nullptr};
  if (over_batch) {
    evenkeel::run_divided(
        tell_batch,
        std::make_tuple(evenkeel::OverBatch<double>{of_batch.data()}, evenkeel::Tensor<const float>{&told}, shape),
        threads - 1);
    return of_batch[0] != 0;
  }
  evenkeel::run_divided(
      tell_groups, std::make_tuple(evenkeel::Tensor<float>{&told}, none, evenkeel::PerChannel<float>{nullptr}, shape),
      threads - 1);
  return told != 0;
}

// Groups are shared where that takes less time than to give each thread its own, and nowhere else.
const char* check_decisions() {
  const bool shared = shares(Groups{1, 131'072, 1}, 2) && shares(Groups{3, 131'072, 1}, 2) &&
                      shares(Groups{1, 1 << 20, 1}, 8) && shares(Groups{1, 150'000, 3}, 4) &&
                      shares(Volume{1, 1, 320, 4096, false}, 2) && shares(Volume{3, 1, 512, 784, false}, 2) &&
                      shares(Volume{1, 3, 1, 1 << 20, false}, 2) && shares(Volume{1, 1, 320, 4096, true}, 2) &&
                      shares(Volume{1 << 18, 3, 1, 1, true}, 2, true);
  if (!shared) return "a group that threads should share";
  const bool apart =
      // enough for all; each too short for as many
      shares(Groups{4, 131'072, 1}, 2) || shares(Groups{7, 131'072, 1}, 8) || shares(Groups{200, 131'072, 1}, 64) ||
      shares(Groups{5, 131'072, 1}, 4) ||
      // columns of few rows; runs of few elements; channels first over a batch
      shares(Groups{1, 128, 1792}, 2) || shares(Volume{1, 7, 4, 40'000, false}, 8) ||
      shares(Volume{1, 32, 32, 196, true}, 2) || shares(Volume{128, 1536, 1, 1, true}, 2, true) ||
      shares(Volume{1, 3, 1, 1 << 20, false}, 2, true);
  return apart ? "groups that each thread should have its own of" : nullptr;
}

// Every op on every backend of this machine, with helpers.
const char* check_kernels() {
  const Groups rows[] = {{1, 400'001, 1}, {3, 131'072, 1}, {1, 50'001, 3}, {2, 8200, 40}};
  const Volume volumes[] = {{1, 2, 70, 2500, false}, {2, 1, 3, 50'001, false}, {1, 2, 1, 140'001, false},
                            {1, 1, 3, 50'001, true}, {2, 2, 40, 4097, true},   {3, 3, 1, 50'001, true}};
  const auto differs = [](const char* what, size_t op) {
    std::printf("FAIL %s: op %zu with helpers\n", what, op);
    return "a group that threads share";
  };
  for (const char* kind : {"normal", "offset"}) {
    for (const Groups& shape : rows) {
      const Given of(shape.outer * shape.size * shape.inner, shape.size, shape.outer, kind);
      for (size_t op = 0; op < 11; ++op) {
        if (shape.inner > 1 && op > 2) break;
        const Written expected = run_rows(evenkeel::portable_kernels, op, of, shape);
        for (const evenkeel::Backend& backend : evenkeel::detect_backends()) {
          if (!backend.supported) continue;
          for (const bool past_caches : {false, true}) {
            Groups shared = shape;
            shared.helpers = 4;
            if (past_caches) shared.whole = evenkeel::cached;
            if (!(run_rows(*backend.kernels, op, of, shared) == expected)) return differs(backend.name, op);
          }
        }
      }
    }
    for (const Volume& shape : volumes) {
      const Given of(shape.samples * shape.channels() * shape.positions, shape.channels(), shape.channels(), kind);
      for (size_t op = 0; op < 5; ++op) {
        if (op > 1 && shape.channels_per_group > 1) break;
        if (op > 2 && !shape.channels_last) break;
        const Written expected = run_volume(evenkeel::portable_kernels, op, of, shape);
        for (const evenkeel::Backend& backend : evenkeel::detect_backends()) {
          if (!backend.supported) continue;
          for (const bool past_caches : {false, true}) {
            Volume shared = shape;
            shared.helpers = 4;
            if (past_caches) shared.whole = 4096;  // not more: partial sums would be others
            if (!(run_volume(*backend.kernels, op, of, shared) == expected)) return differs(backend.name, 100 + op);
          }
        }
      }
    }
  }
  return nullptr;
}

}  // namespace
