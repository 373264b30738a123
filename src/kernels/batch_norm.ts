// batch_norm: y = (x - mean) / sqrt(variance + eps) * weight + bias, mean and variance given for each channel. The twin of
// native/kernels/batch_norm.h.
import { copyInto, subarrayOf } from './arrays.js'
import { affineChannels } from './column_maps.js'
import { countRows, type RowSet, STRIP } from './columns.js'
import { type Gradient, gradientColumns, gradientRealRun } from './gradient_maps.js'
import { columnGradientSums, columnGradients, realGradientSums } from './gradient_sums.js'
import { foldedSums } from './lanes.js'
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

/** Rule 23. In training mean and rstd are the batch's, whose gradient counts. */
export function batch_norm_backward(call: Call<'batch_norm_backward'>): void {
  const { dx, dweight, dbias, dy, x, mean, rstd, weight, shape, training } = call
  const { samples, groups, positions, channelsLast, spans } = shape
  const rows: RowSet = { first: 0, samples, positions, spans }
  const n = countRows(rows)
  const needsSums = training !== 0 || dweight !== undefined || dbias !== undefined
  const none = { s: 0, q: 0 }
  const gradientOf = (channel: number, w: number, s: number, q: number): Gradient => {
    if (dbias) dbias[channel] = s
    if (dweight) dweight[channel] = q
    return { mean: mean[channel], rstd: rstd[channel], a: (w * s) / n, b: (w * q) / n, linear: training === 0 }
  }
  if (channelsLast) {
    const of = columnGradients
    for (let first = 0; first < groups; first += STRIP) {
      const count = Math.min(STRIP, groups - first)
      copyInto(of.mean, subarrayOf(mean, first, first + count))
      copyInto(of.rstd, subarrayOf(rstd, first, first + count))
      const sums = needsSums ? columnGradientSums(count, dy, x, first, groups, rows) : undefined
      for (let k = 0; k < count; k++) {
        const w = weight ? weight[first + k] : NO_WEIGHT
        const { a, b } = gradientOf(first + k, w, sums ? sums.s[k] : 0, sums ? sums.q[k] : 0)
        of.w[k] = w
        of.a[k] = a
        of.b[k] = b
      }
      gradientColumns(dx, dy, x, first, groups, count, rows, training === 0)
    }
    return
  }
  for (let channel = 0; channel < groups; channel++) {
    const run = (sample: number) => (sample * groups + channel) * positions
    const sumsOfRun = (sample: number) =>
      realGradientSums(dy, x, run(sample), mean[channel], rstd[channel], positions, spans, sample)
    const { s, q } = needsSums ? foldedSums(samples, sumsOfRun) : none
    const w = weight ? weight[channel] : NO_WEIGHT
    const of = gradientOf(channel, w, s, q)
    for (let sample = 0; sample < samples; sample++) {
      gradientRealRun(dx, dy, x, run(sample), positions, spans, sample, of, w)
    }
  }
}
