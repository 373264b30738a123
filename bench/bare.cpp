// The kernel of a call alone: layer_norm of one row with weight and bias, called without Node.js. calls.ts links it with the object
// file of an instruction set, whose name is EVENKEEL_KERNELS. usage: bare ELEMENTS...; prints nanoseconds, the quickest sample.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../native/dispatch.h"

namespace evenkeel {
extern const KernelTables EVENKEEL_KERNELS;
}

int main(int count, char **arguments) {
  const auto &kernels = evenkeel::EVENKEEL_KERNELS.float32;
  for (int i = 1; i < count; ++i) {
    const size_t n = static_cast<size_t>(std::atoi(arguments[i]));
    // As Node.js has it: 16 bytes past the begin of a line of memory.
    std::vector<float> memory(4 * (n + 32));
    const auto array = [&](size_t k) {
      float *const p = memory.data() + k * (n + 32);
      return p + (16 - reinterpret_cast<uintptr_t>(p) / 4 % 16) % 16 + 4;
    };
    float *const y = array(0), *const x = array(1), *const w = array(2), *const b = array(3);
    for (size_t k = 0; k < n; ++k) x[k] = w[k] = b[k] = static_cast<float>(k % 97) / 97;
    const evenkeel::PerGroup none{nullptr, nullptr};
    double best = 1e9;
    for (int sample = 0; sample < 60; ++sample) {
      const auto start = std::chrono::steady_clock::now();
      for (int call = 0; call < 1000; ++call)
        kernels.layer_norm({y, n}, {{nullptr, 0}}, none, none, {x, n}, {{nullptr, 0}}, {w}, {b}, {1, n, 1}, 1, 1e-5);
      const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
      if (time.count() / 1000 < best) best = time.count() / 1000;
    }
    std::printf("%.1f\n", best);
  }
}
