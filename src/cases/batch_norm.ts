// How a case becomes a call of batch_norm.
import type { Kernels } from '../backend.js'
import { allRows, fill } from './data.js'
import type { VolumeCase } from './volumes.js'

/** Statistics that a channel may have: ordinary ones, and such as make float32 steps overflow or vanish. */
export function givenStatistics({ samples, groups, positions }: VolumeCase) {
  const seed = samples * 31 + groups * 7 + positions
  const variances = [1, 0.3, 1e-12, 1e40, 7e-40, 4, 1e-5, 100]
  return {
    mean: Float64Array.from(fill(allRows[groups % 2 ? 'N(3,0.5)' : 'log-uniform'], groups, seed)),
    variance: Float64Array.from({ length: groups }, (_, c) => variances[(seed + c) % variances.length])
  }
}

export function runBatchNorm(kernels: Kernels, given: VolumeCase) {
  const { samples, groups, channels, positions, channelsLast, spans, x, weight, bias, eps } = given
  const { mean, variance } = givenStatistics(given)
  const y = new Float32Array(x.length)
  // biome-ignore format: as the kernel's parameters stand
  kernels.batch_norm(
    y, x, mean, variance, weight, bias, spans, samples, groups, channels, positions, channelsLast, eps
  )
  return { y }
}
