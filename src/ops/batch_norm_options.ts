// The options of BatchNorm: its function, its constructor and its calls.
import { type ChannelOptions, type ChannelWeights, channelOptions } from '../call/channels.js'
import type { Known } from '../call/options.js'
import type { Operand } from '../call/tensor.js'
import type { Statistic } from '../kernels/index.js'
import type { BatchStatistics } from './batch_statistics.js'

/** Options of one BatchNorm call that are not parameters of the layer. */
export interface BatchNormForwardOptions extends ChannelOptions {
  /** C elements; receives the mean that was used. */
  mean?: Statistic | undefined
  /** C elements; receives 1 / sqrt(variance + eps). */
  rstd?: Statistic | undefined
  /** In training: statistics to use in place of those of x, such as those of several workers, merged. Default: those of x. */
  statistics?: BatchStatistics | undefined
  /**
   * Receives the result: as many elements as x, as a tensor its dims. May be exactly x (the same memory from the first to the last
   * element), which makes the call in place. Otherwise it must share no memory with anything else in the call. Default: new memory.
   */
  out?: Operand | undefined
}

/** The running statistics of BatchNorm. */
export interface RunningStatistics {
  /** Running mean, C elements, float32 or float64. With `training` batchNorm updates it in place; without, it is needed. */
  runningMean?: Operand | Statistic | undefined
  /** Running variance, C elements, float32 or float64, >= 0. With `training` batchNorm updates it in place; without, it is needed. */
  runningVar?: Operand | Statistic | undefined
}

/** The numbers among the parameters of BatchNorm. */
export interface BatchNormConstants {
  /** Added to the variance, finite and >= 0. Default: 1e-5. */
  eps?: number | undefined
  /** Weight of the new value in the running statistics, 0 to 1. (In ONNX and Keras it is that of the old: 1 - momentum.) Default: 0.1. */
  momentum?: number | undefined
  /** Whether the running variance is divided by n - 1, as in PyTorch, or, with false, by n, as in ONNX and Keras. Default: true. */
  unbiased?: boolean | undefined
}

/** Options of {@link batchNorm}. */
export interface BatchNormOptions
  extends BatchNormForwardOptions,
    ChannelWeights,
    RunningStatistics,
    BatchNormConstants {
  /** Whether x is normalised with its own statistics, which then update the running ones, where there are any. Default: false. */
  training?: boolean | undefined
}

export const forwardOptions: Known<BatchNormForwardOptions> = {
  ...channelOptions,
  mean: true,
  rstd: true,
  statistics: true,
  out: true
}
export const functionOptions: Known<BatchNormOptions> = {
  runningMean: true,
  runningVar: true,
  weight: true,
  bias: true,
  training: true,
  eps: true,
  momentum: true,
  unbiased: true,
  ...forwardOptions
}

/** Options of the constructor of {@link BatchNorm}. */
export interface BatchNormLayerOptions extends ChannelWeights, RunningStatistics, Omit<BatchNormConstants, 'momentum'> {
  /** Weight of the new value in the running statistics, 0 to 1; null makes them the plain average over all batches. Default: 0.1. */
  momentum?: number | null | undefined
  /** Whether there are running statistics. Without, every call uses x's own. Default: true. */
  trackRunningStats?: boolean | undefined
  /** Whether the layer starts in training. Default: false where running statistics are passed (those of a trained model), else true. */
  training?: boolean | undefined
}

export const layerOptions: Known<BatchNormLayerOptions> = {
  weight: true,
  bias: true,
  runningMean: true,
  runningVar: true,
  eps: true,
  momentum: true,
  unbiased: true,
  trackRunningStats: true,
  training: true
}
