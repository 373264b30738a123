// The kernels of two revisions against each other and against the best copy: forward and backward, in cache and from
// memory. bench/kernels.mjs builds it with the other revision in the namespace `other`, and runs it:
//   kernels <avx512|avx2> [part of the names of cases]
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "../native/dispatch.h"

namespace evenkeel {
extern const KernelTables avx2_kernels;
extern const KernelTables avx512_kernels;
}  // namespace evenkeel
// Its tables have the same form.
namespace other {
extern const evenkeel::KernelTables avx2_kernels;
extern const evenkeel::KernelTables avx512_kernels;
}  // namespace other

using namespace evenkeel;

// Memory that begins 16 bytes past a line, as Node.js has it; never freed before the end of a case.
std::vector<void *> taken;
template <class T>
T *memory(size_t n, double value, double spread) {
  char *const page = static_cast<char *>(std::aligned_alloc(4096, (n * sizeof(T) + 8191) / 4096 * 4096));
  taken.push_back(page);
  T *const data = reinterpret_cast<T *>(page + 16);
  unsigned state = static_cast<unsigned>(n);
  for (size_t i = 0; i < n; ++i) {
    state = state * 1664525u + 1013904223u;
    data[i] = static_cast<T>(value + spread * (static_cast<double>(state >> 8) / (1 << 23) - 1));
  }
  return data;
}

void past_the_caches(float *y, const float *x, size_t n) __attribute__((target("avx2")));
void past_the_caches(float *y, const float *x, size_t n) {
  size_t i = 0;
  for (; reinterpret_cast<uintptr_t>(y + i) % 32; ++i) y[i] = x[i];
  for (; i + 16 <= n; i += 16) {
    _mm_prefetch(reinterpret_cast<const char *>(x + i + 512), _MM_HINT_T0);
    _mm256_stream_ps(y + i, _mm256_loadu_ps(x + i));
    _mm256_stream_ps(y + i + 8, _mm256_loadu_ps(x + i + 8));
  }
  for (; i < n; ++i) y[i] = x[i];
  _mm_sfence();
}

double now() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> &times) {
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

Kernels<float> ours, theirs;
std::string wanted;

// Times a case of n elements, from x to y.
void measure(const std::string &name, size_t n, float *y, const float *x,
             const std::function<void(const Kernels<float> &)> &run) {
  if (name.find(wanted) != std::string::npos) {
    const size_t repeats = std::max<size_t>(1, 2000000 / n);
    std::vector<double> before, after, copied, streamed;
    const auto time = [&](std::vector<double> &times, const auto &call) {
      const double start = now();
      for (size_t i = 0; i < repeats; ++i) call();
      times.push_back((now() - start) / static_cast<double>(repeats));
    };
    for (int round = 0; round < (n > 4000000 ? 31 : 81); ++round) {
      time(copied, [&] { std::memcpy(y, x, n * sizeof(float)); });
      time(streamed, [&] { past_the_caches(y, x, n); });
      run(theirs);  // what it streamed is not in the caches
      time(before, [&] { run(theirs); });
      time(after, [&] { run(ours); });
    }
    const double copy = std::min(median(copied), median(streamed));
    std::vector<float> bits(n);
    std::memcpy(bits.data(), y, n * sizeof(float));
    run(theirs);
    const bool same = std::memcmp(bits.data(), y, n * sizeof(float)) == 0;
    const double old = median(before), fresh = median(after);
    std::printf("| %s | %.1f | %.2f | %.2f | %.2f |%s\n", name.c_str(), fresh, old / copy, fresh / copy, fresh / old,
                same ? "" : " OTHER BITS |");
    std::fflush(stdout);
  }
  for (void *page : taken) std::free(page);
  taken.clear();
}

void rows_of(size_t rows, size_t n, bool backward) {
  const size_t all = rows * n;
  float *const x = memory<float>(all, 0, 1), *const y = memory<float>(all, 0, 1);
  float *const dy = memory<float>(all, 0, 1), *const w = memory<float>(n, 1, 1), *const b = memory<float>(n, 0, 1);
  double *const mean = memory<double>(rows, 0, 0.01), *const rstd = memory<double>(rows, 1.7, 0.1);
  double *const dw = memory<double>((rows + 63) / 64 * n, 0, 0), *const db = memory<double>((rows + 63) / 64 * n, 0, 0);
  const Groups shape{rows, n, 1};
  const Out<float> to{y, n};
  const In<float> in{x, n}, from{dy, n};
  const MaybeOut<float> no_out{{nullptr, n}};
  const MaybeIn<float> no_in{{nullptr, n}};
  const PerGroup none{nullptr, nullptr};
  const std::string at = " [" + std::to_string(rows) + ", " + std::to_string(n) + "]";
  if (!backward) {
    measure("layer_norm" + at, all, y, x,
            [=](auto &k) { k.layer_norm(to, no_out, none, none, in, no_in, {w}, {b}, shape, 1, 1e-5); });
    return;
  }
  measure("layer_norm_backward" + at, all, y, x, [=](auto &k) {
    k.layer_norm_backward(to, no_out, {dw}, {db}, from, in, no_in, {mean}, {rstd}, {w}, shape, 1, 1e-5);
  });
}

void square_rows_of(size_t rows, size_t n, bool backward) {
  const size_t all = rows * n;
  float *const x = memory<float>(all, 0, 1), *const y = memory<float>(all, 0, 1);
  float *const dy = memory<float>(all, 0, 1), *const w = memory<float>(n, 1, 1);
  double *const rstd = memory<double>(rows, 1.7, 0.1), *const dw = memory<double>((rows + 63) / 64 * n, 0, 0);
  const Groups shape{rows, n, 1};
  const Out<float> to{y, n};
  const In<float> in{x, n}, from{dy, n};
  const MaybeOut<float> no_out{{nullptr, n}};
  const MaybeIn<float> no_in{{nullptr, n}};
  const std::string at = " [" + std::to_string(rows) + ", " + std::to_string(n) + "]";
  if (!backward) {
    measure("rms_norm" + at, all, y, x, [=](auto &k) {
      k.rms_norm(to, no_out, {nullptr, nullptr}, in, no_in, {w}, shape, {n}, 1, 1e-5, 0);
    });
    return;
  }
  measure("rms_norm_backward" + at, all, y, x,
          [=](auto &k) { k.rms_norm_backward(to, no_out, {dw}, from, in, no_in, {rstd}, {w}, shape, {n}, 1, 1e-5); });
}

void unit_rows_of(size_t rows, size_t n) {
  const size_t all = rows * n;
  float *const x = memory<float>(all, 0, 1), *const y = memory<float>(all, 0, 1);
  const std::string at = " [" + std::to_string(rows) + ", " + std::to_string(n) + "]";
  measure("normalize" + at, all, y, x,
          [=](auto &k) { k.normalize({y, n}, {nullptr, nullptr}, {x, n}, {rows, n, 1}, 2, 0, 1e-12, 1); });
}

void channels_of(const char *at, Volume shape, size_t groups, const char *op) {
  const size_t channels = shape.groups, all = shape.samples * channels * shape.positions;
  float *const x = memory<float>(all, 0, 1), *const y = memory<float>(all, 0, 1), *const dy = memory<float>(all, 0, 1);
  float *const w = memory<float>(channels, 1, 1), *const b = memory<float>(channels, 0, 1);
  double *const mean = memory<double>(channels, 0, 0.1), *const variance = memory<double>(channels, 1, 0.1);
  double *const dw = memory<double>(shape.samples * channels, 0, 0);
  double *const db = memory<double>(shape.samples * channels, 0, 0);
  double *const means = memory<double>(shape.samples * groups, 0, 0.1);
  double *const rstds = memory<double>(shape.samples * groups, 1, 0.1);
  const Volume grouped{shape.samples, groups, channels / groups, shape.positions, shape.channels_last};
  const PerGroup none{nullptr, nullptr};
  const std::string name = std::string(op) + " " + at;
  measure(name, all, y, x, [=](auto &k) {
    if (!std::strcmp(op, "batch_norm")) k.batch_norm({y}, {x}, {mean}, {variance}, {w}, {b}, shape, 1e-5);
    if (!std::strcmp(op, "batch_norm in training")) {
      k.batch_statistics({mean}, {variance}, {x}, shape);
      k.batch_norm({y}, {x}, {mean}, {variance}, {w}, {b}, shape, 1e-5);
    }
    if (!std::strcmp(op, "batch_norm_backward"))
      k.batch_norm_backward({y}, {dw}, {db}, {dy}, {x}, {mean}, {variance}, {w}, shape, 1);
    if (!std::strcmp(op, "group_norm")) k.group_norm({y}, none, none, {x}, {w}, {b}, grouped, 1e-5);
    if (!std::strcmp(op, "group_norm_backward"))
      k.group_norm_backward({y}, {dw}, {db}, {dy}, {x}, {means}, {rstds}, {w}, grouped, 1e-5);
  });
}

int main(int, char **arguments) {
  const bool wide = std::string(arguments[1]) == "avx512";
  ours = (wide ? avx512_kernels : avx2_kernels).float32;
  theirs = (wide ? other::avx512_kernels : other::avx2_kernels).float32;
  wanted = arguments[2] ? arguments[2] : "";
  for (const size_t rows : {1, 32, 256, 1024, 8192, 32768}) rows_of(rows, 768, false);
  for (const size_t rows : {1, 32, 256, 1024, 8192, 32768}) square_rows_of(rows, 768, false);
  for (const size_t n : {64, 128, 256}) rows_of(4096, n, false);
  for (const size_t n : {64, 128, 256}) square_rows_of(4096, n, false);
  for (const size_t n : {64, 128, 256}) unit_rows_of(4096, n);
  rows_of(16384, 2048, false);
  square_rows_of(16384, 2048, false);
  for (const size_t rows : {64, 1024, 16384}) rows_of(rows, 768, true);
  for (const size_t rows : {64, 1024, 16384}) square_rows_of(rows, 768, true);
  for (const char *op : {"batch_norm", "batch_norm in training", "batch_norm_backward"}) {
    channels_of("[1024, 768]", {1024, 768, 1, 1, true}, 8, op);
    channels_of("[8192, 256]", {8192, 256, 1, 1, true}, 8, op);
    channels_of("[8, 64, 14, 14]", {8, 64, 1, 196, false}, 8, op);
    channels_of("[32768, 768]", {32768, 768, 1, 1, true}, 8, op);
    channels_of("[32, 56, 56, 64], channels last", {32, 64, 1, 3136, true}, 8, op);
    channels_of("[32, 64, 56, 56]", {32, 64, 1, 3136, false}, 8, op);
  }
  for (const char *op : {"group_norm", "group_norm_backward"}) {
    channels_of("of 8 groups, [32, 56, 56, 64], channels last", {32, 64, 1, 3136, true}, 8, op);
    channels_of("of 32 groups, [1, 256, 16, 16]", {1, 256, 1, 256, false}, 32, op);
    channels_of("of 8 groups, [32, 64, 56, 56]", {32, 64, 1, 3136, false}, 8, op);
  }
}
