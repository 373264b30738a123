// batch_norm: y = (x - mean) / sqrt(variance + eps) * weight + bias, mean and variance given for each channel. The twin of
// native/kernels/batch_norm.h.
import { affineChannels } from './column_maps.js'
import { type RowSet, STRIP } from './columns.js'
import { affineRealRun } from './maps.js'
import { channelScale, makeChannelScales, NO_BIAS, NO_WEIGHT, setChannelScale } from './scale.js'
import type { Call } from './signatures.js'

const scales = makeChannelScales()

/** Every channel with its mean and variance. */
export function batch_norm(call: Call<'batch_norm'>): void {
  const { y, x, mean, variance, weight, bias, shape, eps } = call
  const { samples, groups, positions, channelsLast, spans } = shape
  if (channelsLast) {
    const rows: RowSet = { first: 0, samples, positions, spans }
    for (let first = 0; first < groups; first += STRIP) {
      const n = Math.min(STRIP, groups - first)
      for (let k = 0; k < n; k++) {
        const channel = first + k
        const rstd = 1 / Math.sqrt(variance[channel] + eps) // rule 6
        const w = weight ? weight[channel] : NO_WEIGHT
        const b = bias ? bias[channel] : NO_BIAS
        setChannelScale(scales, k, mean[channel], rstd, w, b)
      }
      affineChannels(y, x, first, groups, n, rows, scales)
    }
    return
  }
  for (let sample = 0; sample < samples; sample++) {
    for (let channel = 0; channel < groups; channel++) {
      const run = (sample * groups + channel) * positions
      const rstd = 1 / Math.sqrt(variance[channel] + eps) // rule 6
      const w = weight ? weight[channel] : NO_WEIGHT
      const b = bias ? bias[channel] : NO_BIAS
      affineRealRun(y, x, run, positions, spans, sample, channelScale(mean[channel], rstd, w, b))
    }
  }
}
