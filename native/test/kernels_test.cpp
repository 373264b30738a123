// Every kernel of every backend that this machine has, on heap blocks of exactly the size that it may touch: under
// AddressSanitizer one element too far ends the test. Results are compared, bit for bit, with the portable kernels,
// which the JavaScript tests hold against the model; the hash of all of them is printed for comparison across machines.
#include <cinttypes>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "../dispatch.h"
#include "../platform/caches.h"
#include "../platform/float_control.h"
#include "blocks.h"
#include "check_elements.h"
#include "check_gradient_switches.h"
#include "check_gradients.h"

namespace {

constexpr size_t none = 0;
const char* const row_ops[] = {"layer_norm", "rms_norm", "normalize"};
const char* const volume_ops[] = {"batch_norm", "batch_statistics", "group_norm", "local_response_norm"};

struct RowOperands {
  evenkeel::Groups shape;
  unsigned options;
  Block<float> x, residual, weight, bias;

  RowOperands(evenkeel::Groups of, unsigned chosen, const char* kind)
      : shape(of),
        options(chosen),
        x(of.outer * of.size * of.inner),
        residual(of.outer * of.size * of.inner, chosen & 1),
        weight(of.size, chosen & 2),
        bias(of.size, chosen & 4) {
    x.fill(kind);
    for (Block<float>* block : {&residual, &weight, &bias}) block->fill("normal");
  }
};

Outputs run(const KernelTables& tables, const char* op, const RowOperands& of) {
  const auto& kernels = tables.float32;
  const size_t n = of.shape.size * of.shape.inner, groups = of.shape.outer * of.shape.inner;
  const bool adds = std::strcmp(op, "normalize") != 0;
  Outputs out{Block<float>(of.shape.outer * n),
              Block<float>(of.shape.outer * n, adds && (of.options & 8) && (of.options & 1)), Block<double>(groups),
              Block<double>(groups)};
  const evenkeel::PerGroup first{nullptr, out.first.get()}, second{nullptr, out.second.get()};
  const double scale = of.options & 16 ? 0.7 : 1;
  if (!std::strcmp(op, "layer_norm")) {
    kernels.layer_norm({out.y.get(), n}, {{out.sum.get(), n}}, first, second, {of.x.get(), n}, {{of.residual.get(), n}},
                       {of.weight.get()}, {of.bias.get()}, of.shape, scale, 1e-5);
  } else if (!std::strcmp(op, "rms_norm")) {
    const size_t counted = of.options & 4 ? of.shape.size : (of.shape.size + 1) / 2;
    kernels.rms_norm({out.y.get(), n}, {{out.sum.get(), n}}, first, {of.x.get(), n}, {{of.residual.get(), n}},
                     {of.weight.get()}, of.shape, {counted}, scale, 1e-5, of.bias.get() ? 1 : 0);
  } else {
    const double norms[] = {2, 1, HUGE_VAL, 2.7};
    const double p = of.shape.inner > 1 ? 2 : norms[of.options % 4];
    kernels.normalize({out.y.get(), n}, first, {of.x.get(), n}, of.shape, p, p == 2 ? of.options % 5 : 0, 1e-12, scale);
  }
  return out;
}

struct VolumeOperands {
  evenkeel::Volume shape;
  unsigned options;
  Block<float> x, weight, bias;
  Block<double> mean, variance;
  Block<int32_t> spans;

  VolumeOperands(evenkeel::Volume of, unsigned chosen, const char* kind)
      : shape(of),
        options(chosen),
        x(of.count() * of.channels_per_group * of.positions),
        weight(of.channels(), chosen & 1),
        bias(of.channels(), chosen & 2),
        mean(of.groups),
        variance(of.groups),
        spans(3 * of.samples + 1, of.channels_per_group == 1 && (chosen & 4)) {
    x.fill(kind);
    weight.fill("normal");
    bias.fill("normal");
    for (size_t c = 0; c < of.groups; ++c) {
      mean.get()[c] = static_cast<double>(uniform());
      variance.get()[c] = c % 5 == 4 ? 1e40 : 1 + static_cast<double>(uniform());
    }
    if (!spans.get()) return;
    for (size_t n = 0; n <= of.samples; ++n) spans.get()[n] = static_cast<int32_t>(of.samples + 1 + 2 * n);
    for (size_t n = 0; n < of.samples; ++n) {
      const size_t begin = random_bits() % (of.positions + 1);
      spans.get()[of.samples + 1 + 2 * n] = static_cast<int32_t>(begin);
      spans.get()[of.samples + 2 + 2 * n] = static_cast<int32_t>(begin + random_bits() % (of.positions - begin + 1));
    }
    shape.spans.list = spans.get();
  }
};

Outputs run(const KernelTables& tables, const char* op, const VolumeOperands& of) {
  const auto& kernels = tables.float32;
  const evenkeel::Volume& shape = of.shape;
  const bool over_batch = !std::strcmp(op, "batch_statistics");
  const size_t statistics = over_batch ? shape.groups : shape.count();
  Outputs out{Block<float>(shape.count() * shape.channels_per_group * shape.positions, !over_batch),
              Block<float>(none, false), Block<double>(statistics), Block<double>(statistics)};
  if (!std::strcmp(op, "batch_norm")) {
    kernels.batch_norm({out.y.get()}, {of.x.get()}, {of.mean.get()}, {of.variance.get()}, {of.weight.get()},
                       {of.bias.get()}, shape, 1e-5);
  } else if (over_batch) {
    kernels.batch_statistics({out.first.get()}, {out.second.get()}, {of.x.get()}, shape);
  } else if (!std::strcmp(op, "group_norm")) {
    kernels.group_norm({out.y.get()}, {nullptr, out.first.get()}, {nullptr, out.second.get()}, {of.x.get()},
                       {of.weight.get()}, {of.bias.get()}, shape, 1e-5);
  } else {
    const double betas[] = {0.75, 0.5, 0.6, 1};
    kernels.local_response_norm({out.y.get()}, {of.x.get()}, shape, of.options % 4, of.options % 3, 1e-4,
                                betas[of.options % 4], 1);
  }
  return out;
}

int check_backend(const evenkeel::Backend& backend) {
  int failures = 0, calls = 0;
  hash = 14695981039346656037ull;
  state = 1;
  for (size_t cols = 1; cols <= 8200; cols += cols < 140 ? 1 : cols < 4080 ? 131 : cols < 4110 ? 1 : 1021) {
    for (const char* kind : kinds) {
      const RowOperands operands({cols < 140 ? size_t{3} : size_t{1}, cols, 1}, random_bits() % 32, kind);
      compare(backend, row_ops, operands, kind, calls, failures);
    }
  }
  for (const size_t rows : {1, 3, 8, 9, 63, 64, 65, 130, 4097}) {
    for (const size_t inner : {2, 3, 5, 8, 15, 16, 17, 33, 255, 257, 511, 512, 513, 600}) {
      if (rows * inner > 40000) continue;
      for (const char* kind : kinds) {
        const RowOperands operands({2, rows, inner}, random_bits() % 32, kind);
        compare(backend, row_ops, operands, kind, calls, failures);
      }
    }
  }
  for (const size_t samples : {1, 3, 66}) {
    for (const size_t groups : {1, 2, 7, 16, 33, 260, 1040}) {
      for (const size_t channels : {1, 3, 300}) {
        for (const size_t positions : {1, 5, 16, 67, 4100}) {
          if (samples * groups * channels * positions > 40000) continue;
          for (const bool last : {false, true}) {
            const char* kind = kinds[random_bits() % 6];
            const VolumeOperands operands({samples, groups, channels, positions, last}, random_bits() % 8, kind);
            compare(backend, volume_ops, operands, kind, calls, failures);
          }
        }
      }
    }
  }
  std::printf("%s: %d calls, %d differ from portable, hash %016" PRIx64 "\n", backend.name, calls, failures, hash);
  return failures;
}

// The bits of a row do not depend on how many rows there are, whether they are cached (the switches in caches.h), how
// y is aligned, or whether it is x: each row is compared with a call of its own.
int check_switches(const evenkeel::Backend& backend) {
  const auto& kernels = backend.kernels->float32;
  int failures = 0, calls = 0;
  const size_t many = evenkeel::cached / 61, wide = evenkeel::cached / 768;
  const evenkeel::Groups shapes[] = {
      {1, 67, 1},     {2, 67, 1},         {5, 67, 1},    {3, evenkeel::short_row, 1}, {3, evenkeel::short_row + 1, 1},
      {wide, 768, 1}, {wide + 1, 768, 1}, {many, 61, 1}, {many + 1, 61, 1},           {2, evenkeel::cached / 2 + 9, 1}};
  for (const evenkeel::Groups& shape : shapes) {
    const size_t n = shape.size, all = shape.outer * n;
    const RowOperands of(shape, 7, "normal");
    // Rows of each kind: one takes the second pass of rule 5, one needs float64.
    if (shape.outer > 4) {
      for (size_t i = 0; i < n; ++i) {
        of.x.get()[n + i] += 1e5f;
        of.x.get()[3 * n + i] *= 1e38f;
      }
    }
    for (const char* op : row_ops) {
      const bool adds = std::strcmp(op, "normalize") != 0;
      const auto run = [&](float* y, float* sum, double* first, const float* x, const float* residual,
                           evenkeel::Groups rows) {
        const evenkeel::PerGroup statistic{nullptr, first}, absent{nullptr, nullptr};
        if (!std::strcmp(op, "layer_norm")) {
          kernels.layer_norm({y, n}, {{sum, n}}, absent, statistic, {x, n}, {{residual, n}}, {of.weight.get()},
                             {of.bias.get()}, rows, 0.7, 1e-5);
        } else if (adds) {
          kernels.rms_norm({y, n}, {{sum, n}}, statistic, {x, n}, {{residual, n}}, {of.weight.get()}, rows, {n}, 0.7,
                           1e-5, 0);
        } else {
          kernels.normalize({y, n}, statistic, {x, n}, rows, 2, 0, 1e-12, 1);
        }
      };
      for (const bool residual : {false, true}) {
        if (residual && !adds) continue;
        const float* r = residual ? of.residual.get() : nullptr;
        Block<float> expected(all), row_sum(n);
        Block<double> expected_statistic(shape.outer);
        for (size_t row = 0; row < shape.outer; ++row) {
          run(expected.get() + row * n, residual ? row_sum.get() : nullptr, expected_statistic.get() + row,
              of.x.get() + row * n, r ? r + row * n : r, {1, n, 1});
        }
        for (const size_t offset : {0, 1, 4, 15}) {
          for (const bool in_place : {false, true}) {
            Block<float> memory(offset + all), sum(all);
            Block<double> statistic(shape.outer);
            float* y = memory.get() + offset;
            if (in_place) std::memcpy(y, of.x.get(), all * sizeof(float));
            const bool with_sum = residual && offset != 1;
            run(y, with_sum ? sum.get() : nullptr, statistic.get(), in_place ? y : of.x.get(), r, shape);
            ++calls;
            if (std::memcmp(y, expected.get(), all * sizeof(float)) != 0 || !same(statistic, expected_statistic)) {
              if (failures++ < 5) {
                std::printf("FAIL %s: %zu x %zu, y %zu elements on%s%s\n", op, shape.outer, n, offset,
                            in_place ? ", in place" : "", residual ? ", with a residual" : "");
              }
            }
          }
        }
      }
    }
  }
  std::printf("%s: %d calls across the switches, %d differ from row after row\n", backend.name, calls, failures);
  return failures;
}

// Rule 9: inside the guard this thread rounds to nearest and keeps subnormals, whatever it did before.
int check_float_control() {
#if EVENKEEL_X86_64
  const evenkeel::FloatControl disturbed = 0xffc0;  // flush to zero, denormals are zero, round towards zero
#elif EVENKEEL_ARM64
  const evenkeel::FloatControl disturbed = 0x1c00000;
#else
  const evenkeel::FloatControl disturbed = 0;
#endif
  const evenkeel::FloatControl before = evenkeel::get_float_control();
  evenkeel::set_float_control(disturbed);
  bool inside, outside;
  volatile float tiny = 1e-40f;
  {
    const evenkeel::DefaultFloatControl undisturbed;
    inside = evenkeel::same_float_control(evenkeel::get_float_control(), evenkeel::default_float_control) &&
             tiny * 1.0f != 0;
  }
  outside = evenkeel::same_float_control(evenkeel::get_float_control(), disturbed);
  evenkeel::set_float_control(before);
  std::printf("float control: %s\n", inside && outside ? "default inside, restored outside" : "FAIL");
  return inside && outside ? 0 : 1;
}

}  // namespace

// Arguments: names of backends, which this machine is expected to have; without any, all that it has.
int main(int argc, char** argv) {
  int failures = check_float_control();
  for (const evenkeel::Backend& backend : evenkeel::detect_backends()) {
    bool is_asked = argc == 1;
    for (int i = 1; i < argc && backend.supported; ++i) {
      if (std::strcmp(argv[i], backend.name)) continue;
      argv[i][0] = 0;
      is_asked = true;
    }
    if (!backend.supported || !is_asked) continue;
    failures += check_backend(backend) + check_switches(backend);
    failures += check_gradients(backend) + check_gradient_switches(backend);
    failures += check_elements(backend);
  }
  for (int i = 1; i < argc; ++i) {
    if (*argv[i]) {
      std::printf("FAIL %s is not supported here\n", argv[i]);
      ++failures;
    }
  }
  std::puts(failures ? "FAILED" : "passed");
  return failures ? 1 : 0;
}
