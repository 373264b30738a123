// How a case becomes a call of batch_statistics.
import type { Kernels } from '../backend.js'
import type { VolumeCase } from './volumes.js'

export function runBatchStatistics(kernels: Kernels, given: VolumeCase) {
  const { samples, groups, channels, positions, channelsLast, spans, x } = given
  const result = { mean: new Float64Array(groups), variance: new Float64Array(groups) }
  const { mean, variance } = result
  kernels.batch_statistics(mean, variance, x, spans, samples, groups, channels, positions, channelsLast)
  return result
}
