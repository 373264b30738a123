// The public interface: exports, nothing else.
export type { Axis } from './axes.js'
export {
  type BackendInfo,
  type BackendName,
  backend,
  backendInfo,
  backends,
  getNumThreads,
  setNumThreads
} from './backend.js'
export type { AsyncOptions, Signal } from './background.js'
export type { Statistic } from './canonical.js'
export type { ChannelOptions, ChannelWeights, Layout, LayoutOption } from './channels.js'
export {
  BatchNorm,
  type BatchNormConstants,
  type BatchNormForwardOptions,
  type BatchNormOptions,
  batchNorm,
  type RunningStatistics
} from './ops/batch_norm.js'
export { BatchStatistics, type BatchStatisticsJSON, batchStatistics } from './ops/batch_statistics.js'
export {
  GroupNorm,
  type GroupNormForwardOptions,
  type GroupNormOptions,
  groupNorm
} from './ops/group_norm.js'
export {
  InstanceNorm,
  type InstanceNormForwardOptions,
  type InstanceNormOptions,
  instanceNorm
} from './ops/instance_norm.js'
export {
  LayerNorm,
  type LayerNormForwardOptions,
  type LayerNormOptions,
  type LayerNormWeights,
  layerNorm
} from './ops/layer_norm.js'
export { type LocalResponseNormOptions, localResponseNorm } from './ops/local_response_norm.js'
export { type NormalizeOptions, type NormalizeRule, normalize } from './ops/normalize.js'
export {
  RMSNorm,
  type RMSNormConstants,
  type RMSNormOptions,
  type RMSNormWeights,
  rmsNorm
} from './ops/rms_norm.js'
export type { PaddingOptions } from './padding.js'
export type { NormalizedShape, RowOptions } from './rows.js'
export type { Operand, TensorLike } from './tensor.js'
