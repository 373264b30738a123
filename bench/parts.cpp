// What the parts of kernels take of a row of 768 that is in the first cache: below their sum no call of a kernel can
// come, whatever memory does. `npx tsx bench/parts.ts` builds and runs it for each instruction set of the machine.
#ifdef EVENKEEL_PARTS_AVX2
#include "../native/isa/avx2.cpp"
#define EVENKEEL_PARTS_ISA avx2
#define EVENKEEL_PARTS_FEATURES "avx2,fma,f16c"
#else
#include "../native/isa/avx512.cpp"
#define EVENKEEL_PARTS_ISA avx512
#define EVENKEEL_PARTS_FEATURES "avx2,fma,f16c,avx512f"
#endif

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <type_traits>
#include <vector>

EVENKEEL_TARGET_BEGIN(EVENKEEL_PARTS_FEATURES)

namespace evenkeel {
namespace EVENKEEL_PARTS_ISA {
namespace {

constexpr size_t n = 768;
volatile double used;

// As in Node.js: arrays begin 16 bytes past a line of memory; ours at one.
template <class T>
T *memory(size_t count, double value, size_t past = 16) {
  char *const data = static_cast<char *>(std::aligned_alloc(64, (count * sizeof(T) + past + 63) / 64 * 64));
  T *const out = reinterpret_cast<T *>(data + past);
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<T>(value + 0.25 * static_cast<double>(i % 9));
  return out;
}

// Nanoseconds of a call: the median of many samples.
template <class Call>
double time(Call call) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> samples;
  for (int sample = 0; sample < 101; ++sample) {
    const auto start = Clock::now();
    for (int i = 0; i < 1000; ++i) call();
    samples.push_back(std::chrono::duration<double, std::nano>(Clock::now() - start).count() / 1000);
  }
  std::nth_element(samples.begin(), samples.begin() + 50, samples.end());
  return samples[50];
}

void measure() {
  float *const x = memory<float>(n, -1), *const y = memory<float>(n, 0), *const dy = memory<float>(n, -1);
  float *const w = memory<float>(n, 1), *const b = memory<float>(n, 0);
  double *const dw = memory<double>(n, 0), *const db = memory<double>(n, 0);
  uint16_t *const bits = reinterpret_cast<uint16_t *>(memory<float>(n, 0));
  float *const own = memory<float>(n, 0, 0);
  static Kept kept;
  const Scale scale = scale_of(0.1, 1, 0.9);
  const Gradient of{0.1, 0.9, 0.01, 0.02};
  const RowGradients<float> sums{nullptr, dw, db, nullptr, 1}, none{};
  const float *const absent = nullptr;
  const double copy = time([&] { each_unrolled(y, n, [=](auto at) { at.write(y, at.read(x)); }); });
  const auto print = [=](const char *what, double nanoseconds) {
    std::printf("| %s | %.1f | %.1f |\n", what, nanoseconds, nanoseconds / copy);
    return nanoseconds;
  };
  print("copy", copy);
  // As many rows in turn as the kernel takes, of one of them.
  const Input<float> input({x, 0}, {{nullptr, 0}}, 1, {{nullptr, 0}}, {y, 0});
  const Groups shape{interleaved_rows, n, 1};
  const auto sums_of = [&](auto wanted) {
    Sums total[interleaved_rows];
    sums_of_rows<decltype(wanted)::value>(total, input, shape, 0, interleaved_rows, n);
    used = total[0].q;
  };
  const double count = interleaved_rows;
  const double read = print("LayerNorm: sums", time([&] { sums_of(std::true_type{}); }) / count);
  const double written = print("LayerNorm: normalize", time([&] { affine_row(y, x, n, scale, w, b); }));
  print("LayerNorm: both", read + written);
  const double squares = print("RMSNorm: sum of squares", time([&] { sums_of(std::false_type{}); }) / count);
  const double scaled = print("RMSNorm: normalize", time([&] { scale_row(y, x, n, scale, w, 1.0f, 0.0f, false); }));
  print("RMSNorm: both", squares + scaled);
  const double first = print("LayerNorm backward: sums, kept",
                             time([&] { used = gradient_sums<true, true, true>(n, dy, x, 0.1, 0.9, w, &kept, {}).q; }));
  const double second = print(
      "LayerNorm backward: gradients",
      time([&] { write_gradients<Way::centered, true, true>(y, dy, x, n, of, w, no_weight, sums, &kept, {}, false); }));
  print("LayerNorm backward: both", first + second);
  constexpr size_t rows = gradient_rows;
  float *const many_x = memory<float>(rows * n, -1), *const many_dy = memory<float>(rows * n, -1);
  float *const many_dx = memory<float>(rows * n, 0);
  Gradient of_rows[rows];
  std::fill_n(of_rows, rows, of);
  const double abreast =
      print("LayerNorm backward, rows side by side: sums",
            time([&] {
              gradient_sums_abreast<true, rows, float>(n, {many_dy, n}, {many_x, n}, of_rows, w, many_dy);
              used = of_rows[0].a;
            }) / rows);
  const double mapped = print("LayerNorm backward, rows side by side: gradients",
                              time([&] {
                                gradients_abreast<Way::centered, float>(nullptr, {many_dx, n}, {many_dy, n},
                                                                        {many_x, n}, n, of_rows, w, dw, db, many_x);
                              }) / rows);
  print("LayerNorm backward, rows side by side: both", abreast + mapped);
  const double run = print("a channel's run, backward: sums",
                           time([&] { used = run_gradient_sums<float>(n, dy, x, 0.1, 0.9, {}).q; }));
  const double runs =
      print("a channel's run, backward: gradients", time([&] {
              write_gradients<Way::centered, false, false>(y, dy, x, n, of, absent, 1.0f, none, nullptr, {}, false);
            }));
  print("a channel's run, backward: both", run + runs);
  print("float16 to float32", time([&] { widen<Float16>(own, bits, n); }));
  print("float32 to float16", time([&] { narrow<Float16>(bits, own, n, false); }));
  print("bfloat16 to float32", time([&] { widen<Bfloat16>(own, bits, n); }));
  print("float32 to bfloat16", time([&] { narrow<Bfloat16>(bits, own, n, false); }));
}

}  // namespace
}  // namespace EVENKEEL_PARTS_ISA
}  // namespace evenkeel

int main() { evenkeel::EVENKEEL_PARTS_ISA::measure(); }

EVENKEEL_TARGET_END
