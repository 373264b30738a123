// How many lanes: the float64 sums of a row on AVX2 with 8, 16 and 32 lanes (NUMERICS.md, rule 1), and what a second,
// centred pass costs (rule 5). Results: bench/results/choices.md.
//   g++ -O3 -std=c++17 -ffp-contract=off -mavx2 -mfma bench/lanes.cpp -o build/lanes && build/lanes
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

constexpr size_t columns = 768;
constexpr size_t rows = 8;  // in the first cache

template <size_t lanes, bool centred>
__attribute__((noinline)) double sums(const float* x, double centre) {
  constexpr size_t vectors = lanes / 4;
  __m256d s[vectors], q[vectors];
  for (size_t k = 0; k < vectors; ++k) s[k] = q[k] = _mm256_setzero_pd();
  for (size_t i = 0; i < columns; i += lanes) {
#pragma GCC unroll 8
    for (size_t k = 0; k < vectors; ++k) {
      __m256d v = _mm256_cvtps_pd(_mm_loadu_ps(x + i + 4 * k));
      if (centred) v = _mm256_sub_pd(v, _mm256_set1_pd(centre));
      s[k] = _mm256_add_pd(s[k], v);
      q[k] = centred ? _mm256_add_pd(q[k], _mm256_mul_pd(v, v)) : _mm256_fmadd_pd(v, v, q[k]);
    }
  }
  for (size_t half = vectors / 2; half > 0; half /= 2) {
    for (size_t k = 0; k < half; ++k) {
      s[k] = _mm256_add_pd(s[k], s[k + half]);
      q[k] = _mm256_add_pd(q[k], q[k + half]);
    }
  }
  return _mm256_cvtsd_f64(s[0]) + _mm256_cvtsd_f64(q[0]);
}

int main() {
  std::vector<float> x(rows * columns);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>((i * 2654435761u >> 8) % 4096) / 1024 - 2;
  struct Candidate {
    const char* name;
    double (*run)(const float*, double);
    std::vector<double> times;
  } candidates[] = {{"8 lanes", sums<8, false>, {}},
                    {"16 lanes", sums<16, false>, {}},
                    {"32 lanes", sums<32, false>, {}},
                    {"16 lanes, centred", sums<16, true>, {}}};
  volatile double sink = 0;
  for (int round = 0; round < 301; ++round) {
    for (Candidate& candidate : candidates) {
      const auto start = std::chrono::steady_clock::now();
      for (size_t call = 0; call < 400; ++call) sink = sink + candidate.run(&x[call % rows * columns], 0.1);
      const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
      candidate.times.push_back(time.count() / 400);
    }
  }
  for (Candidate& candidate : candidates) {
    std::sort(candidate.times.begin(), candidate.times.end());
    std::printf("%-18s %6.1f ns per row of %zu\n", candidate.name, candidate.times[150], columns);
  }
}
