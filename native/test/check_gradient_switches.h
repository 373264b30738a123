// The backward kernels across the sizes at which they change how they go through memory, and in parts.
#pragma once

#include <cstdio>
#include <cstring>
#include <vector>

#include "../platform/caches.h"
#include "check_gradients.h"

namespace {

// What dx is: memory of its own, or exactly an input.
enum Place { apart, over_dy, over_x, over_dsum };

// The bits of a row do not depend on how many rows there are, whether they are cached, how dx is aligned, also against
// dresidual, and whether it is an input: each row is compared with a call of its own, as are the sums.
int check_gradient_rows(const evenkeel::Backend& backend, const Groups& shape, int& calls) {
  const auto& kernels = backend.kernels->float32;
  const size_t n = shape.size, all = shape.outer * n;
  int failures = 0;
  const GradientRows of(shape, weights | arriving_sum, "normal", "normal");
  for (const char* op : {"layer_norm_backward", "rms_norm_backward", "normalize_backward"}) {
    const bool has_more = std::strcmp(op, "normalize_backward") != 0;
    for (const bool more : {false, true}) {
      if (more && !has_more) continue;
      const auto run = [&](float* dx, float* dresidual, const SumOverRows& dweight, const float* dy, const float* x,
                           const float* dsum, const Groups& rows) {
        if (!has_more) {
          kernels.normalize_backward({dx, n}, {nullptr, nullptr}, {dy, n}, {x, n}, rows, 0, 1e-12, 0.7);
        } else if (!std::strcmp(op, "rms_norm_backward")) {
          kernels.rms_norm_backward({dx, n}, {{dresidual, n}}, dweight, {dy, n}, {x, n}, {{dsum, n}}, {nullptr},
                                    {of.weight.get()}, rows, {n - n / 3}, 0.7, 1e-5);
        } else {
          kernels.layer_norm_backward({dx, n}, {{dresidual, n}}, dweight, dweight, {dy, n}, {x, n}, {{dsum, n}},
                                      {nullptr}, {nullptr}, {of.weight.get()}, rows, 0.7, 1e-5);
        }
      };
      Block<float> expected(all), expected_residual(all, more);
      Block<double> expected_sums(partial_sums(shape), more);
      for (size_t row = 0; row < shape.outer; ++row) {
        const size_t at = row * n;
        run(expected.get() + at, more ? expected_residual.get() + at : nullptr, {expected_sums.get(), row},
            of.dy.get() + at, of.x.get() + at, more ? of.dsum.get() + at : nullptr, {1, n, 1});
      }
      for (const Place place : {apart, over_dy, over_x, over_dsum}) {
        if (place == over_dsum && !more) continue;
        for (const size_t offset : {0, 1, 15}) {
          if (place != apart && offset != 1) continue;
          const float* inputs[] = {of.dy.get(), of.x.get(), of.dsum.get()};
          Block<float> memory(offset + all), residual(all, more);
          Block<double> sums(partial_sums(shape), more);
          float* const dx = memory.get() + offset;
          if (place != apart) {
            std::memcpy(dx, inputs[place - over_dy], all * sizeof(float));
            inputs[place - over_dy] = dx;
          }
          run(dx, residual.get(), {sums.get()}, inputs[0], inputs[1], more ? inputs[2] : nullptr, shape);
          ++calls;
          if (std::memcmp(dx, expected.get(), all * sizeof(float)) != 0 || !same(residual, expected_residual) ||
              !same(sums, expected_sums)) {
            if (failures++ < 5) {
              std::printf("FAIL %s: %s, %zu x %zu, dx %zu elements on, in place %d%s\n", backend.name, op, shape.outer,
                          n, offset, place, more ? ", with more than dx" : "");
            }
          }
        }
      }
    }
  }
  return failures;
}

// Runs of channels past the caches: the portable kernels have no stores that go there.
int check_gradient_runs(const evenkeel::Backend& backend, const Volume& shape, int& calls) {
  const size_t all = shape.in_memory();
  int failures = 0;
  const GradientVolume of(shape, weights | saved_mean | saved_rstd, "normal", "normal");
  for (const bool over_batch : {false, true}) {
    const auto run = [&](const KernelTables& tables, float* dx, const float* dy, const float* x) {
      const auto& kernels = tables.float32;
      if (over_batch) {
        kernels.batch_norm_backward({dx}, {nullptr}, {nullptr}, {dy}, {x}, {of.mean.get()}, {of.rstd.get()},
                                    {of.weight.get()}, shape, 1);
      } else {
        kernels.group_norm_backward({dx}, {nullptr}, {nullptr}, {dy}, {x}, {of.mean.get()}, {of.rstd.get()},
                                    {of.weight.get()}, shape, 1e-5);
      }
    };
    Block<float> expected(all);
    run(evenkeel::portable_kernels, expected.get(), of.dy.get(), of.x.get());
    for (const Place place : {apart, over_dy, over_x}) {
      for (const size_t offset : {0, 1}) {
        Block<float> memory(offset + all);
        float* const dx = memory.get() + offset;
        if (place != apart) std::memcpy(dx, (place == over_dy ? of.dy : of.x).get(), all * sizeof(float));
        run(*backend.kernels, dx, place == over_dy ? dx : of.dy.get(), place == over_x ? dx : of.x.get());
        ++calls;
        if (std::memcmp(dx, expected.get(), all * sizeof(float)) != 0 && failures++ < 5) {
          std::printf("FAIL %s: gradients of %zu positions, over the batch %d, dx %zu elements on, in place %d\n",
                      backend.name, shape.positions, over_batch, offset, place);
        }
      }
    }
  }
  return failures;
}

// Parts of a call whose rows share lines of memory.
int check_gradient_parts(const evenkeel::Backend& backend, size_t rows, size_t n, int& calls) {
  const Groups shape{rows, n, 1, 1, evenkeel::cached};
  const GradientRows of(shape, weights | saved_mean | saved_rstd, "normal", "normal");
  const auto run = [&](const KernelTables& tables, float* dx, double* dweight, double* dbias,
                       std::vector<size_t> ends) {
    size_t first = 0;
    for (const size_t end : ends) {
      const size_t at = first * n;
      tables.float32.layer_norm_backward({dx + at, n}, {{nullptr, n}}, {dweight, first}, {dbias, first},
                                         {of.dy.get() + at, n}, {of.x.get() + at, n}, {{nullptr, n}},
                                         {of.mean.get() + first}, {of.rstd.get() + first}, {of.weight.get()},
                                         {end - first, n, 1, 1, evenkeel::cached}, 1, 1e-5);
      first = end;
    }
  };
  const size_t sums = partial_sums(shape);
  Block<float> expected(rows * n);
  Block<double> expected_weight(sums), expected_bias(sums);
  run(evenkeel::portable_kernels, expected.get(), expected_weight.get(), expected_bias.get(), {rows});
  int failures = 0;
  for (const size_t offset : {0, 1, 4, 12}) {
    for (const size_t middle : {4, 7, 64, 68}) {
      Block<float> memory(offset + rows * n);
      Block<double> dweight(sums), dbias(sums);
      run(*backend.kernels, memory.get() + offset, dweight.get(), dbias.get(), {middle, middle + 9, rows});
      ++calls;
      if (std::memcmp(memory.get() + offset, expected.get(), expected.bytes()) != 0 ||
          !same(dweight, expected_weight) || !same(dbias, expected_bias)) {
        if (failures++ < 5) {
          std::printf("FAIL %s: gradients of %zu rows of %zu in parts, the first of %zu, dx %zu elements on\n",
                      backend.name, rows, n, middle, offset);
        }
      }
    }
  }
  return failures;
}

int check_gradient_switches(const evenkeel::Backend& backend) {
  const size_t many = evenkeel::cached / 61;
  int failures = 0, calls = 0;
  for (const Groups& shape :
       {Groups{5, 67, 1}, Groups{3, 4097, 1}, Groups{many + 1, 61, 1}, Groups{2, evenkeel::cached / 2 + 9, 1}}) {
    failures += check_gradient_rows(backend, shape, calls);
  }
  for (const size_t positions : {evenkeel::cached / 6 - 1, evenkeel::cached / 6 + 9}) {
    failures += check_gradient_runs(backend, {2, 3, 1, positions, false}, calls);
  }
  // Channels that are last, of one sample: past the caches; and those of several strips.
  for (const size_t channels : {64, 600}) {
    failures += check_gradient_runs(backend, {1, channels, 1, evenkeel::cached / channels + 6, true}, calls);
  }
  for (const size_t n : {16, 21, 64}) failures += check_gradient_parts(backend, 150, n, calls);
  std::printf("%s: %d backward calls across the switches, %d differ\n", backend.name, calls, failures);
  return failures;
}

}  // namespace
