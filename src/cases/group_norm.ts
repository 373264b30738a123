// How a case becomes a call of group_norm.
import type { Kernels } from '../backend.js'
import type { VolumeCase } from './volumes.js'

export function runGroupNorm(kernels: Kernels, given: VolumeCase) {
  const { samples, groups, channels, positions, channelsLast, spans, x, weight, bias, eps } = given
  const result = {
    y: new Float32Array(x.length),
    mean: new Float64Array(samples * groups),
    rstd: new Float64Array(samples * groups)
  }
  const { y, mean, rstd } = result
  // biome-ignore format: as the kernel's parameters stand
  kernels.group_norm(
    y, mean, rstd, x, weight, bias, spans, samples, groups, channels, positions, channelsLast, eps
  )
  return result
}
