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
#include <limits>
#include <memory>

#include "../dispatch.h"
#include "../isa/machine.h"

namespace {

using evenkeel::KernelTables;

uint32_t state = 1;
uint32_t random_bits() {
  state = state * 1664525u + 1013904223u;
  return state >> 8;
}
float uniform() { return static_cast<float>(random_bits()) / 8388608.0f - 1; }

// A block of exactly n elements, or none.
template <class T>
class Block {
 public:
  explicit Block(size_t n, bool present = true) : n_(n), data_(present ? new T[n]() : nullptr) {}
  T* get() const { return data_.get(); }
  size_t bytes() const { return data_ ? n_ * sizeof(T) : 0; }
  void fill(const char* kind) {
    if (!data_) return;
    const float constant = uniform();
    for (size_t i = 0; i < n_; ++i) {
      float value = uniform();
      if (!std::strcmp(kind, "offset")) value = 1e5f + value;
      if (!std::strcmp(kind, "huge")) value *= 3.3e38f;
      if (!std::strcmp(kind, "subnormal")) value *= 1e-40f;
      if (!std::strcmp(kind, "constant")) value = constant;
      if (!std::strcmp(kind, "infinite") && i == n_ / 2) value = std::numeric_limits<float>::infinity();
      data_[i] = value;
    }
  }

 private:
  size_t n_;
  std::unique_ptr<T[]> data_;
};

uint64_t hash = 14695981039346656037ull;  // FNV-1a

// Adds to the hash, with one pattern for every NaN (rule 10).
template <class T, class Bits>
void add_to_hash(const Block<T>& block) {
  for (size_t i = 0; i < block.bytes() / sizeof(T); ++i) {
    Bits word;
    const T value = block.get()[i];
    std::memcpy(&word, &value, sizeof word);
    if (std::isnan(value)) word = 0x7fc00000;
    for (size_t byte = 0; byte < sizeof word; ++byte) hash = (hash ^ ((word >> (8 * byte)) & 255)) * 1099511628211ull;
  }
}

template <class T>
bool same(const Block<T>& a, const Block<T>& b) {
  for (size_t i = 0; i < a.bytes() / sizeof(T); ++i) {
    const T x = a.get()[i], y = b.get()[i];
    if (std::memcmp(&x, &y, sizeof x) != 0 && !(std::isnan(x) && std::isnan(y))) return false;
  }
  return true;
}

struct Outputs {
  Block<float> y, sum;
  Block<double> mean, rstd;
};

// What both ops do with these operands, one after the other.
Outputs run(const KernelTables& kernels, bool centred, size_t rows, size_t cols, float eps, bool keeps_sum,
            const Block<float>& x, const Block<float>& residual, const Block<float>& weight, const Block<float>& bias) {
  const size_t n = rows * cols;
  Outputs out{Block<float>(n), Block<float>(n, keeps_sum && residual.get()), Block<double>(rows, centred),
              Block<double>(rows)};
  const evenkeel::PerRow mean{nullptr, out.mean.get()}, rstd{nullptr, out.rstd.get()};
  if (centred) {
    kernels.float32.layer_norm({out.y.get(), cols}, {{out.sum.get(), cols}}, mean, rstd, {x.get(), cols},
                               {{residual.get(), cols}}, {weight.get()}, {bias.get()}, {rows, cols}, eps);
  } else {
    kernels.float32.rms_norm({out.y.get(), cols}, {{out.sum.get(), cols}}, rstd, {x.get(), cols},
                             {{residual.get(), cols}}, {weight.get()}, {rows, cols}, eps, bias.get() ? 1 : 0);
  }
  return out;
}

int check_backend(const evenkeel::Backend& backend) {
  int failures = 0, calls = 0;
  hash = 14695981039346656037ull;
  state = 1;
  for (size_t cols = 1; cols <= 8200; cols += cols < 140 ? 1 : cols < 4080 ? 131 : cols < 4110 ? 1 : 1021) {
    for (const char* kind : {"normal", "offset", "huge", "subnormal", "constant", "infinite"}) {
      const unsigned options = random_bits() % 16;
      const size_t rows = cols < 140 ? 3 : 1;
      Block<float> x(rows * cols), residual(rows * cols, options & 1), weight(cols, options & 2),
          bias(cols, options & 4);
      x.fill(kind);
      for (Block<float>* block : {&residual, &weight, &bias}) block->fill("normal");
      for (const bool centred : {true, false}) {
        const Outputs expected =
            run(evenkeel::portable_kernels, centred, rows, cols, 1e-5f, options & 8, x, residual, weight, bias);
        const Outputs actual =
            run(*backend.kernels, centred, rows, cols, 1e-5f, options & 8, x, residual, weight, bias);
        ++calls;
        if (!same(actual.y, expected.y) || !same(actual.sum, expected.sum) || !same(actual.mean, expected.mean) ||
            !same(actual.rstd, expected.rstd)) {
          if (failures++ < 5) {
            std::printf("FAIL %s: %s of %zu x %zu %s, options %u\n", backend.name, centred ? "layer_norm" : "rms_norm",
                        rows, cols, kind, options);
          }
        }
        add_to_hash<float, uint32_t>(actual.y);
        add_to_hash<float, uint32_t>(actual.sum);
        add_to_hash<double, uint64_t>(actual.mean);
        add_to_hash<double, uint64_t>(actual.rstd);
      }
    }
  }
  std::printf("%s: %d calls, %d differ from portable, hash %016" PRIx64 "\n", backend.name, calls, failures, hash);
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

// Arguments: names of backends that this machine is expected to have.
int main(int argc, char** argv) {
  int failures = check_float_control();
  for (const evenkeel::Backend& backend : evenkeel::detect_backends()) {
    if (backend.supported) failures += check_backend(backend);
    for (int i = 1; i < argc; ++i) {
      if (backend.supported && !std::strcmp(argv[i], backend.name)) argv[i][0] = 0;
    }
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
