// The public interface: exports, nothing else.

export { backend, backends } from './backend/choice.js'
export { type BackendInfo, backendInfo } from './backend/info.js'
export { getNumThreads, setNumThreads } from './backend/threads.js'
export type { BackendName } from './backend/types.js'
export type { AsyncOptions, Signal } from './call/async_options.js'
export type { Axis } from './call/axes.js'
export type { ChannelOptions, ChannelWeights, Layout, LayoutOption } from './call/channels.js'
export type { EmbeddingArray, EmbeddingArrays, EmbeddingTensor, Precision } from './call/codes.js'
export type { Bits16, Dtype, DtypeOption, Float16ArrayLike } from './call/elements.js'
export type { Gradients, InFloat32 } from './call/gradients.js'
export type { LayerParameters, LayerState, LoadableState, LoadStateOptions, StateValue } from './call/layer_state.js'
export type { PaddingOptions } from './call/padding.js'
export type { ElementArray, Embeddings, NewFloat32Array, Result } from './call/result.js'
export type { NormalizedShape, RowOptions } from './call/rows.js'
export type { Operand, TensorLike } from './call/tensor.js'
export { type View, type ViewOptions, view } from './call/views.js'
export type { Statistic } from './kernels/index.js'
export { BatchNorm, batchNorm } from './ops/batch_norm.js'
export {
  type BatchNormBackwardFunctionOptions,
  type BatchNormBackwardOptions,
  batchNormBackward
} from './ops/batch_norm_backward.js'
export type {
  BatchNormConstants,
  BatchNormForwardOptions,
  BatchNormLayerOptions,
  BatchNormOptions,
  RunningStatistics
} from './ops/batch_norm_options.js'
export { BatchStatistics, type BatchStatisticsJSON, batchStatistics } from './ops/batch_statistics.js'
export {
  calibrateEmbeddings,
  EmbeddingStatistics,
  type EmbeddingStatisticsJSON
} from './ops/calibrate_embeddings.js'
export type { BitOrder, CodeScale, QuantizeOptions } from './ops/embeddings_call.js'
export {
  GroupNorm,
  type GroupNormForwardOptions,
  type GroupNormOptions,
  groupNorm
} from './ops/group_norm.js'
export {
  type GroupNormBackwardFunctionOptions,
  type GroupNormBackwardOptions,
  groupNormBackward
} from './ops/group_norm_backward.js'
export {
  InstanceNorm,
  type InstanceNormForwardOptions,
  type InstanceNormOptions,
  instanceNorm
} from './ops/instance_norm.js'
export {
  type InstanceNormBackwardFunctionOptions,
  type InstanceNormBackwardOptions,
  instanceNormBackward
} from './ops/instance_norm_backward.js'
export {
  LayerNorm,
  type LayerNormForwardOptions,
  type LayerNormOptions,
  type LayerNormWeights,
  layerNorm
} from './ops/layer_norm.js'
export {
  type LayerNormBackwardFunctionOptions,
  type LayerNormBackwardOptions,
  layerNormBackward
} from './ops/layer_norm_backward.js'
export { type LocalResponseNormOptions, localResponseNorm } from './ops/local_response_norm.js'
export {
  Normalize,
  type NormalizeForwardOptions,
  type NormalizeOptions,
  normalize
} from './ops/normalize.js'
export {
  type NormalizeBackwardFunctionOptions,
  type NormalizeBackwardOptions,
  normalizeBackward
} from './ops/normalize_backward.js'
export type { NormalizeConstants, NormalizeRule } from './ops/normalize_call.js'
export {
  type EmbeddingForwardOptions,
  type EmbeddingLayerNorm,
  EmbeddingPooler,
  type PoolEmbeddingsOptions,
  type PoolingOptions,
  poolEmbeddings
} from './ops/pool_embeddings.js'
export type { Pooling } from './ops/pool_embeddings_call.js'
export {
  type DequantizeEmbeddingsOptions,
  dequantizeEmbeddings,
  type QuantizeEmbeddingsOptions,
  quantizeEmbeddings
} from './ops/quantize_embeddings.js'
export {
  RMSNorm,
  type RMSNormOptions,
  type RMSNormWeights,
  rmsNorm
} from './ops/rms_norm.js'
export {
  type RMSNormBackwardFunctionOptions,
  type RMSNormBackwardOptions,
  rmsNormBackward
} from './ops/rms_norm_backward.js'
export type { RMSNormConstants } from './ops/rms_norm_call.js'
