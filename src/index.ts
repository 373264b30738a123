// The public interface: exports, nothing else.
export { type BackendInfo, type BackendName, backend, backendInfo, backends } from './backend.js'
export type { Statistic } from './canonical.js'
export {
  LayerNorm,
  type LayerNormForwardOptions,
  type LayerNormOptions,
  type LayerNormWeights,
  layerNorm
} from './ops/layer_norm.js'
export {
  RMSNorm,
  type RMSNormConstants,
  type RMSNormOptions,
  type RMSNormWeights,
  rmsNorm
} from './ops/rms_norm.js'
export type { NormalizedShape, RowOptions } from './rows.js'
export type { Operand, TensorLike } from './tensor.js'
