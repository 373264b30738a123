// Calls with elements of 16 bits and with views, as threads/stage.h brings them in: against the float32 kernels on the
// same numbers, rounded (rule 24), on blocks of exactly the size that a call may touch.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <tuple>

#include "../threads/divide.h"
#include "blocks.h"
#include "check_gradients.h"

namespace {

using evenkeel::ElementType;
using evenkeel::Storages;

// Elements of any type, or none.
struct Elements {
  ElementType type;
  size_t n;
  Block<float> single;
  Block<uint16_t> bits;

  Elements(ElementType of, size_t count, bool present = true)
      : type(of),
        n(count),
        single(count, present && of == ElementType::float32),
        bits(count, present && of != ElementType::float32) {}
  float* get() const { return single.get() ? single.get() : reinterpret_cast<float*>(bits.get()); }

  void set(const KernelTables& tables, const float* from) const {
    if (single.get()) std::copy(from, from + n, single.get());
    if (bits.get()) tables.convert.narrow[static_cast<size_t>(type) - 1](bits.get(), from, n, false);
  }
  void fill(const KernelTables& tables, const char* kind) const {
    Block<float> numbers(n);
    numbers.fill(kind);
    set(tables, numbers.get());
  }
  Block<float> wide(const KernelTables& tables) const {
    Block<float> out(n, get() != nullptr);
    if (single.get()) std::copy(single.get(), single.get() + n, out.get());
    if (bits.get()) tables.convert.widen[static_cast<size_t>(type) - 1](out.get(), bits.get(), n);
    return out;
  }
  // Whether these are those numbers, rounded.
  bool are(const KernelTables& tables, const Block<float>& numbers) const {
    if (!get()) return true;
    if (single.get()) return same(single, numbers);
    const Elements rounded(type, n);
    rounded.set(tables, numbers.get());
    return std::memcmp(rounded.bits.get(), bits.get(), bits.bytes()) == 0;
  }
};

// The types of a call's arrays, in order; all that are not named are float32, or no elements.
Storages types_of(std::initializer_list<ElementType> types) {
  Storages out{};
  out.any = true;
  size_t i = 0;
  for (const ElementType type : types) out.of[i++].type = type;
  return out;
}

template <class... Operands>
struct TestedCall {
  void (*kernel)(Operands...);

  explicit TestedCall(void (*of)(Operands...)) : kernel(of) {}
  void plain(Operands... operands) const { evenkeel::run_divided(kernel, std::tuple<Operands...>(operands...), 0); }
  bool staged(const KernelTables& tables, const Storages& storages, Operands... operands) const {
    std::tuple<Operands...> all(operands...);
    evenkeel::Staging staging(storages, tables);
    if (!evenkeel::stage(staging, all, 1)) return false;
    evenkeel::run_divided(kernel, all, 0, &staging);
    return true;
  }
};

// The types of a call: x, what is written, parameters.
struct Types {
  ElementType x, y, weight;
};
constexpr ElementType single = ElementType::float32, half = ElementType::float16, brain = ElementType::bfloat16;
constexpr Types types[] = {{half, half, single},  {brain, brain, brain}, {half, single, half},
                           {brain, half, single}, {single, brain, half}, {single, half, single}};

// Portable kernels and conversions say what is right.
const KernelTables& right = evenkeel::portable_kernels;

bool check_rows(const KernelTables& tables, Groups shape, const Types& of, const char* kind, unsigned options) {
  const size_t n = shape.size * shape.inner, all = shape.outer * n, groups = shape.outer * shape.inner;
  const bool adds = options & 1, padded = options & 2;
  const Block<int32_t> spans =
      shape.inner == 1 ? random_spans(1, shape.outer, padded) : random_spans(shape.outer, shape.inner, padded);
  shape.spans.list = spans.get();
  const Elements x(of.x, all), residual(of.x, all, adds), weight(of.weight, shape.size), bias(single, shape.size);
  for (const Elements* elements : {&x, &residual}) elements->fill(right, kind);
  for (const Elements* elements : {&weight, &bias}) elements->fill(right, "normal");
  const Block<float> wide_weight = weight.wide(right);
  Block<float> sum(all), y(all);
  Block<double> mean(groups), rstd(groups);
  // The sum, of the type of x.
  const Elements rounded(of.x, all);
  const Block<float> wide_x = x.wide(right), wide_residual = residual.wide(right);
  if (adds) {
    right.float32.residual_sum({sum.get(), all}, {wide_x.get(), all}, {wide_residual.get(), all}, {1, all, 1}, 0.7);
    rounded.set(right, sum.get());
  }
  const Block<float> normalized = adds ? rounded.wide(right) : x.wide(right);
  TestedCall(right.float32.layer_norm)
      .plain({y.get(), n}, {{nullptr, n}}, {nullptr, mean.get()}, {nullptr, rstd.get()}, {normalized.get(), n},
             {{nullptr, n}}, {wide_weight.get()}, {bias.get()}, shape, 1, 1e-5);
  const Elements own_y(of.y, all), own_sum(of.x, all, adds);
  Block<double> own_mean(groups), own_rstd(groups);
  const bool ran = TestedCall(tables.float32.layer_norm)
                       .staged(tables, types_of({of.y, of.x, single, single, of.x, of.x, of.weight}), {own_y.get(), n},
                               {{own_sum.get(), n}}, {nullptr, own_mean.get()}, {nullptr, own_rstd.get()}, {x.get(), n},
                               {{residual.get(), n}}, {weight.get()}, {bias.get()}, shape, 0.7, 1e-5);
  return ran && own_y.are(right, y) && same(own_mean, mean) && same(own_rstd, rstd) &&
         (!adds || padded || own_sum.are(right, sum));
}

bool check_row_gradients(const KernelTables& tables, Groups shape, const Types& of, const char* kind,
                         unsigned options) {
  const size_t n = shape.size, all = shape.outer * n;
  const size_t sums = (shape.outer + evenkeel::fold64 - 1) / evenkeel::fold64 * n;
  const Block<int32_t> spans = random_spans(1, shape.outer, options & 2);
  shape.spans.list = spans.get();
  const Elements dy(of.x, all), x(of.x, all), weight(of.weight, n), own(of.x, all);
  dy.fill(right, "normal");
  x.fill(right, kind);
  weight.fill(right, "normal");
  const Block<float> wide_dy = dy.wide(right), wide_x = x.wide(right), wide_weight = weight.wide(right);
  Block<float> dx(all);
  Block<double> dweight(sums), dbias(sums), own_dweight(sums), own_dbias(sums);
  TestedCall(right.float32.layer_norm_backward)
      .plain({dx.get(), n}, {{nullptr, n}}, {dweight.get()}, {dbias.get()}, {wide_dy.get(), n}, {wide_x.get(), n},
             {{nullptr, n}}, {nullptr}, {nullptr}, {wide_weight.get()}, shape, 1, 1e-5);
  const bool ran =
      TestedCall(tables.float32.layer_norm_backward)
          .staged(tables, types_of({of.x, single, single, single, of.x, of.x, single, single, single, of.weight}),
                  {own.get(), n}, {{nullptr, n}}, {own_dweight.get()}, {own_dbias.get()}, {dy.get(), n}, {x.get(), n},
                  {{nullptr, n}}, {nullptr}, {nullptr}, {weight.get()}, shape, 1, 1e-5);
  const auto first_row = [&](const Block<double>& a, const Block<double>& b) {
    for (size_t i = 0; i < n; ++i) {
      if (std::memcmp(a.get() + i, b.get() + i, sizeof(double)) != 0 &&
          !(std::isnan(a.get()[i]) && std::isnan(b.get()[i]))) {
        return false;
      }
    }
    return true;
  };
  return ran && own.are(right, dx) && first_row(own_dweight, dweight) && first_row(own_dbias, dbias);
}

bool check_volume(const KernelTables& tables, Volume shape, const Types& of, const char* kind, unsigned options) {
  const size_t channels = shape.channels(), all = shape.samples * channels * shape.positions, groups = shape.count();
  const Block<int32_t> spans = random_spans(shape.samples, shape.positions, options & 2);
  shape.spans.list = spans.get();
  const Elements x(of.x, all), weight(of.weight, channels), bias(single, channels), own_y(of.y, all);
  x.fill(right, kind);
  for (const Elements* elements : {&weight, &bias}) elements->fill(right, "normal");
  const Block<float> wide_x = x.wide(right), wide_weight = weight.wide(right);
  Block<float> y(all);
  Block<double> mean(groups), rstd(groups), own_mean(groups), own_rstd(groups);
  TestedCall(right.float32.group_norm)
      .plain({y.get()}, {nullptr, mean.get()}, {nullptr, rstd.get()}, {wide_x.get()}, {wide_weight.get()}, {bias.get()},
             shape, 1e-5);
  bool good =
      TestedCall(tables.float32.group_norm)
          .staged(tables, types_of({of.y, single, single, of.x, of.weight}), {own_y.get()}, {nullptr, own_mean.get()},
                  {nullptr, own_rstd.get()}, {x.get()}, {weight.get()}, {bias.get()}, shape, 1e-5);
  good = good && own_y.are(right, y) && same(own_mean, mean) && same(own_rstd, rstd);
  if (shape.channels_per_group > 1) return good;
  Block<double> variance(channels), own_variance(channels), centre(channels), own_centre(channels);
  TestedCall(right.float32.batch_statistics).plain({centre.get()}, {variance.get()}, {wide_x.get()}, shape);
  good = TestedCall(tables.float32.batch_statistics)
             .staged(tables, types_of({single, single, of.x}), {own_centre.get()}, {own_variance.get()}, {x.get()},
                     shape) &&
         good && same(own_centre, centre) && same(own_variance, variance);
  TestedCall(right.float32.batch_norm)
      .plain({y.get()}, {wide_x.get()}, {centre.get()}, {variance.get()}, {wide_weight.get()}, {bias.get()}, shape,
             1e-5);
  good = TestedCall(tables.float32.batch_norm)
             .staged(tables, types_of({of.y, of.x, single, single, of.weight}), {own_y.get()}, {x.get()},
                     {centre.get()}, {variance.get()}, {weight.get()}, {bias.get()}, shape, 1e-5) &&
         good && own_y.are(right, y);
  if (shape.spans) return good;
  TestedCall(right.float32.local_response_norm)
      .plain({y.get()}, {wide_x.get()}, shape, size_t{0}, std::min<size_t>(1, channels - 1), 0.1, 0.75, 1);
  return TestedCall(tables.float32.local_response_norm)
             .staged(tables, types_of({of.y, of.x}), {own_y.get()}, {x.get()}, shape, size_t{0},
                     std::min<size_t>(1, channels - 1), 0.1, 0.75, 1) &&
         good && own_y.are(right, y);
}

// Rows that stand apart, in two dimensions, also one over the other where they are read. Nothing between them is
// touched.
bool check_views(const KernelTables& tables, size_t n, size_t rows, size_t heads, const Types& of) {
  const size_t all = rows * heads * n, gap = 3 * n + 5, far = heads * gap + 2;
  const size_t end = (rows - 1) * far + (heads - 1) * gap + n;
  const Elements x(of.x, end), residual(of.x, n * heads), y(of.y, end);
  x.fill(right, "normal");
  residual.fill(right, "offset");
  Block<float> marks(end);
  for (size_t i = 0; i < end; ++i) marks.get()[i] = 7;
  y.set(right, marks.get());
  const Block<float> wide = x.wide(right), wide_residual = residual.wide(right);
  Block<float> dense(all), added(all), result(all);
  for (size_t i = 0; i < rows * heads; ++i) {
    std::copy_n(wide.get() + i / heads * far + i % heads * gap, n, dense.get() + i * n);
    std::copy_n(wide_residual.get() + i % heads * n, n, added.get() + i * n);
  }
  const Groups shape{rows * heads, n, 1};
  right.float32.residual_sum({dense.get(), all}, {dense.get(), all}, {added.get(), all}, {1, all, 1}, 1);
  const Elements rounded(of.x, all);
  rounded.set(right, dense.get());
  const Block<float> sum = rounded.wide(right);
  TestedCall(right.float32.rms_norm)
      .plain({result.get(), n}, {{nullptr, n}}, {nullptr, nullptr}, {sum.get(), n}, {{nullptr, n}}, {nullptr}, shape,
             {n}, 1, 1e-5, 0);
  for (size_t i = 0; i < rows * heads; ++i) {
    std::copy_n(result.get() + i * n, n, marks.get() + i / heads * far + i % heads * gap);
  }
  Storages storages = types_of({of.y, single, single, of.x, of.x});
  storages.rank = 2;
  storages.dims[0] = rows;
  storages.dims[1] = heads;
  for (const size_t array : {0, 3}) {
    storages.of[array].is_view = true;
    storages.of[array].strides[0] = far;
    storages.of[array].strides[1] = gap;
  }
  storages.of[4].is_view = true;  // the same for all rows
  storages.of[4].strides[0] = 0;
  storages.of[4].strides[1] = n;
  return TestedCall(tables.float32.rms_norm)
             .staged(tables, storages, {y.get(), n}, {{nullptr, n}}, {nullptr, nullptr}, {x.get(), n},
                     {{residual.get(), n}}, {nullptr}, shape, {n}, 1, 1e-5, 0) &&
         y.are(right, marks);
}

// All patterns there and back, and at every length: vectors, tails and results that go past the caches.
bool check_conversions(const KernelTables& tables) {
  for (size_t type = 0; type < evenkeel::types_of_16_bits; ++type) {
    for (size_t n = 0; n <= 65536; n += n < 140 ? 1 : n < 4000 ? 997 : 65536 - n) {
      const Block<uint16_t> bits(n), one(n), other(n);
      Block<float> a(n), b(n);
      for (size_t i = 0; i < n; ++i) bits.get()[i] = static_cast<uint16_t>(n == 65536 ? i : random_bits());
      tables.convert.widen[type](a.get(), bits.get(), n);
      right.convert.widen[type](b.get(), bits.get(), n);
      if (!same(a, b)) return false;
      for (const bool streamed : {false, true}) {
        tables.convert.narrow[type](one.get(), a.get(), n, streamed);
        right.convert.narrow[type](other.get(), b.get(), n, false);
        if (std::memcmp(one.get(), other.get(), 2 * n) != 0) return false;
      }
      if (n == 65536) break;
    }
  }
  return true;
}

int check_elements(const evenkeel::Backend& backend) {
  const KernelTables& tables = *backend.kernels;
  int failures = 0, calls = 0;
  state = 1;
  const auto expect = [&](bool good, const char* what) {
    ++calls;
    if (!good && failures++ < 5) std::printf("FAIL %s: call %d of 16 bits, %s\n", backend.name, calls, what);
  };
  expect(check_conversions(tables), "conversions");
  const Groups groups[] = {{1, 1, 1}, {3, 5, 1},   {9, 100, 1},  {300, 33, 1}, {2, 4096, 1}, {2, 4097, 1}, {1, 9000, 1},
                           {3, 7, 5}, {2, 65, 40}, {1, 5000, 3}, {2, 130, 70}, {40, 3, 33},  {1, 300, 33}};
  for (const Groups& shape : groups) {
    for (const Types& of : types) {
      for (unsigned options = 0; options < 4; ++options) {
        expect(check_rows(tables, shape, of, kinds[random_bits() % 6], options), "rows");
        if (shape.inner == 1)
          expect(check_row_gradients(tables, shape, of, kinds[random_bits() % 2], options), "gradients");
      }
    }
  }
  for (const size_t samples : {1, 3, 66}) {
    for (const size_t count : {1, 7, 33, 260}) {
      for (const size_t channels : {1, 3}) {
        for (const size_t positions : {1, 5, 67, 4100}) {
          if (samples * count * channels * positions > 40000) continue;
          for (const bool last : {false, true}) {
            const Types& of = types[random_bits() % 6];
            const Volume shape{samples, count, channels, positions, last};
            expect(check_volume(tables, shape, of, kinds[random_bits() % 6], random_bits() % 4), "volume");
          }
        }
      }
    }
  }
  for (const size_t n : {1, 8, 33, 128, 5000}) {
    for (const Types& of : types) expect(check_views(tables, n, 3, 4, of), "view");
  }
  std::printf("%s: %d calls of 16 bits and of views, %d differ from float32 rounded\n", backend.name, calls, failures);
  return failures;
}

}  // namespace
