// CPU detection, compiled at the baseline. Adding an ISA adds a row here.
#include "dispatch.h"

#include "platform/cpu.h"

namespace evenkeel {

BackendList detect_backends() {
  const CpuFeatures cpu = detect_cpu();
  (void)cpu;
  return {{
#if EVENKEEL_X86_64
      {"avx512", cpu.avx512, &avx512_kernels},
      {"avx2", cpu.avx2, &avx2_kernels},
#elif EVENKEEL_ARM64
      {"neon", cpu.neon, &neon_kernels},
#endif
#if !defined(EVENKEEL_WITHOUT_PORTABLE)
      {"portable", true, &portable_kernels},
#endif
  }};
}

}  // namespace evenkeel
