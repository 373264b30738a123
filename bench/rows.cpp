// Rows of 768 against the best copy: kernels of every backend, called without Node.js. Results:
// bench/results/choices.md.
//   g++ -O3 -std=c++17 -ffp-contract=off -fno-unswitch-loops -fno-math-errno bench/rows.cpp native/dispatch.cpp \
//     native/isa/*.cpp -o build/rows && build/rows
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "../native/dispatch.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

constexpr size_t columns = 768;

struct Candidate {
  std::string name;
  std::function<void()> run;
  std::vector<double> times;
};

int main() {
  for (const size_t rows : {1, 32, 256, 1024, 8192, 32768}) {
    const size_t n = rows * columns;
    // As Node.js has it: 16 bytes past the begin of a line of memory.
    std::vector<float> memory_x(n + 32), memory_y(n + 32), w(columns, 0.5f), b(columns, 0.25f);
    const auto aligned = [](float* p) { return p + (16 - reinterpret_cast<uintptr_t>(p) / 4 % 16) % 16 + 4; };
    float* const x = aligned(memory_x.data());
    float* const y = aligned(memory_y.data());
    for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>((i * 2654435761u >> 8) % 4096) / 1024 - 2;
    std::vector<Candidate> all{{"memcpy", [=] { std::memcpy(y, x, n * sizeof(float)); }, {}}};
#if defined(__x86_64__)
    all.push_back({"stores past the caches",
                   [=] {
                     for (size_t i = 12; i + 4 <= n; i += 4) _mm_stream_ps(y + i, _mm_loadu_ps(x + i));
                     _mm_sfence();
                   },
                   {}});
#endif
    const evenkeel::Groups shape{rows, columns, 1};
    const evenkeel::PerGroup none{nullptr, nullptr};
    for (const evenkeel::Backend& backend : evenkeel::detect_backends()) {
      if (!backend.supported) continue;
      const auto& kernels = backend.kernels->float32;
      all.push_back({std::string("layer_norm ") + backend.name,
                     [=, &w, &b, &kernels] {
                       kernels.layer_norm({y, columns}, {{nullptr, 0}}, none, none, {x, columns}, {{nullptr, 0}},
                                          {w.data()}, {b.data()}, shape, 1, 1e-5);
                     },
                     {}});
      all.push_back({std::string("rms_norm ") + backend.name,
                     [=, &w, &kernels] {
                       kernels.rms_norm({y, columns}, {{nullptr, 0}}, none, {x, columns}, {{nullptr, 0}}, {w.data()},
                                        shape, {columns}, 1, 1e-5, 0);
                     },
                     {}});
    }
    const size_t calls = 2048 / rows + 1;
    for (int round = 0; round < 41; ++round) {
      for (Candidate& candidate : all) {
        const auto start = std::chrono::steady_clock::now();
        for (size_t call = 0; call < calls; ++call) candidate.run();
        const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
        candidate.times.push_back(time.count() / static_cast<double>(calls * rows));
      }
    }
    std::printf("%zu rows of %zu\n", rows, columns);
    for (Candidate& candidate : all) {
      std::sort(candidate.times.begin(), candidate.times.end());
      std::printf("  %-24s %7.1f ns per row\n", candidate.name.c_str(), candidate.times[20]);
    }
  }
}
