// batch_norm: y = (x - mean) / sqrt(variance + eps) * weight + bias, mean and variance given for each channel. The twin of
// native/kernels/batch_norm.h.
import { affineColumns } from './column_maps.js'
import { type RowSet, STRIP } from './columns.js'
import { affineRealRun } from './maps.js'
import { makeColumnScales, scaleOf, setColumnScale } from './scale.js'
import type { Call } from './signatures.js'

const scales = makeColumnScales()

/** Every channel with its mean and variance. */
export function batch_norm(call: Call<'batch_norm'>): void {
  const { y, x, mean, variance, weight, bias, shape, eps } = call
  const { samples, groups, positions, channelsLast, spans } = shape
  if (channelsLast) {
    const rows: RowSet = { first: 0, samples, positions, spans }
    for (let first = 0; first < groups; first += STRIP) {
      const n = Math.min(STRIP, groups - first)
      for (let k = 0; k < n; k++) {
        const v = variance[first + k]
        setColumnScale(scales, k, mean[first + k], v, 1 / Math.sqrt(v + eps)) // rule 6
      }
      const w = weight && { data: weight, start: first, perRow: 0, perColumn: 1 }
      const b = bias && { data: bias, start: first, perRow: 0, perColumn: 1 }
      affineColumns(y, first, x, first, groups, n, rows, scales, w, b)
    }
    return
  }
  for (let sample = 0; sample < samples; sample++) {
    for (let channel = 0; channel < groups; channel++) {
      const run = (sample * groups + channel) * positions
      const v = variance[channel]
      const scale = scaleOf(mean[channel], v, 1 / Math.sqrt(v + eps)) // rule 6
      affineRealRun(y, x, run, positions, spans, sample, scale, weight, bias, channel)
    }
  }
}
