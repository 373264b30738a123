// Included inside an ISA file's namespace, after its vector types: every kernel over them, and their table.

// Each of these builds on those before.
// clang-format off
#include "power.h"
#include "cursors.h"
#include "lanes.h"
#include "columns.h"
#include "moments.h"
#include "scale.h"
#include "maps.h"
#include "rows.h"
#include "column_maps.h"
#include "gradient_sums.h"
#include "gradient_maps.h"
// clang-format on

#include "batch_norm.h"
#include "batch_statistics.h"
#include "calibrate_embeddings.h"
#include "group_norm.h"
#include "layer_norm.h"
#include "local_response_norm.h"
#include "normalize.h"
#include "permute.h"
#include "pool_embeddings.h"
#include "quantize_embeddings.h"
#include "residual_sum.h"
#include "rms_norm.h"

// What belongs to no op; it takes some of them.
#include "convert.h"

#define EVENKEEL_KERNEL(name, signature) &name<T>,
template <class T>
constexpr Kernels<T> kernels{EVENKEEL_OPS(EVENKEEL_KERNEL)};
#undef EVENKEEL_KERNEL
