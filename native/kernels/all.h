// Included inside an ISA file's namespace, after its vector types: every kernel over them, and their tables.

// Each of these builds on those before.
// clang-format off
#include "power.h"
#include "cursors.h"
#include "convert.h"
#include "sections.h"
#include "lanes.h"
#include "columns.h"
#include "moments.h"
#include "scale.h"
#include "maps.h"
#include "rows.h"
#include "column_maps.h"
#include "gradient_sums.h"
#include "row_stream.h"
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

#define EVENKEEL_KERNEL(name, signature) &name<T>,
template <class T>
constexpr Kernels<T> kernels{EVENKEEL_OPS(EVENKEEL_KERNEL)};
#undef EVENKEEL_KERNEL

#define EVENKEEL_WIDEN(name, type) &widen<type>,
#define EVENKEEL_NARROW(name, type) &narrow<type>,
constexpr Conversions conversions{{EVENKEEL_ELEMENTS_OF_16_BITS(EVENKEEL_WIDEN)},
                                  {EVENKEEL_ELEMENTS_OF_16_BITS(EVENKEEL_NARROW)},
                                  &end_of_stream,
                                  &permute<uint16_t>};
#undef EVENKEEL_WIDEN
#undef EVENKEEL_NARROW
