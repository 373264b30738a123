// Included inside an ISA file's namespace, after its vector types: every kernel over them, and their table.

#include "canonical.h"
#include "ops/batch_norm.h"
#include "ops/batch_statistics.h"
#include "ops/group_norm.h"
#include "ops/layer_norm.h"
#include "ops/local_response_norm.h"
#include "ops/normalize.h"
#include "ops/rms_norm.h"

#define EVENKEEL_KERNEL(name, signature) &name<T>,
template <class T>
constexpr Kernels<T> kernels{EVENKEEL_OPS(EVENKEEL_KERNEL)};
#undef EVENKEEL_KERNEL
