// The backends of this build: which there are, which this machine can run, best first.
#pragma once

#include "ops.h"

namespace evenkeel {

extern const KernelTables avx512_kernels;
extern const KernelTables avx2_kernels;
extern const KernelTables neon_kernels;
extern const KernelTables portable_kernels;

struct Backend {
  const char* name;
  bool supported;  // by this CPU and operating system
  const KernelTables* kernels;
};

// A value, no static one: threads may ask at the same time.
struct BackendList {
  static constexpr int most = 4;
  Backend rows[most];

  const Backend* begin() const { return rows; }
  const Backend* end() const {
    const Backend* row = rows;
    while (row < rows + most && row->name) ++row;
    return row;
  }
};

// Every backend of this build, best first. Call it once: it asks the CPU each time.
BackendList detect_backends();

}  // namespace evenkeel
