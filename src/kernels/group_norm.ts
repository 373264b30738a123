// group_norm: y = (x - mean) / sqrt(variance + eps) * weight + bias over each group of channels of each sample. The twin of
// native/kernels/group_norm.h.
import { copyInto, subarrayOf } from './arrays.js'
import { affineChannels } from './column_maps.js'
import { addColumns, bundle, type RowSet, STRIP } from './columns.js'
import { gradientColumns, gradientRealRun } from './gradient_maps.js'
import { blockOfSample, columnGradientSums, columnGradients, realGradientSums } from './gradient_sums.js'
import { foldedSums, sums, withReal } from './lanes.js'
import { affineRealRun, affineRow } from './maps.js'
import { columnMoments, moments } from './moments.js'
import { countReal } from './operands.js'
import { channelScale, makeChannelScales, NO_BIAS, NO_WEIGHT, scaleOf, setChannelScale } from './scale.js'
import type { Call } from './signatures.js'

const groupMean = new Float64Array(STRIP)
const groupVariance = new Float64Array(STRIP)
const scales = makeChannelScales()

/** Every group of each sample. */
export function group_norm(call: Call<'group_norm'>): void {
  const { y, mean, rstd, x, weight, bias, shape, eps } = call
  const { samples, groups, channelsPerGroup, positions, channelsLast, spans } = shape
  if (channelsLast) {
    groupNormColumns(call)
    return
  }
  for (let sample = 0; sample < samples; sample++) {
    for (let group = 0; group < groups; group++) {
      const at = (sample * groups + group) * channelsPerGroup * positions
      const of = withReal(x, at, channelsPerGroup, positions, spans, sample, rowMoments)
      const r = 1 / Math.sqrt(of.variance + eps) // rule 6
      if (mean) mean[sample * groups + group] = of.mean
      if (rstd) rstd[sample * groups + group] = r
      const first = group * channelsPerGroup
      if (positions === 1 && countReal(spans, 1, sample) === 1) {
        affineRow(y, at, x, at, channelsPerGroup, scaleOf(of.mean, of.variance, r), weight, bias, first)
        continue
      }
      for (let k = 0; k < channelsPerGroup; k++) {
        const w = weight ? weight[first + k] : NO_WEIGHT
        const b = bias ? bias[first + k] : NO_BIAS
        const scale = channelScale(of.mean, r, w, b)
        affineRealRun(y, x, at + k * positions, positions, spans, sample, scale)
      }
    }
  }
}

const rowMoments = (n: number, x: Float32Array, start: number) => moments(n, x, start, sums(n, x, start))

/** Groups of neighboring columns, in every sample. */
function groupNormColumns({ y, mean, rstd, x, weight, bias, shape, eps }: Call<'group_norm'>): void {
  const { samples, groups, channelsPerGroup: channels, positions, spans } = shape
  const stride = groups * channels
  const width = bundle(groups, channels)
  for (let sample = 0; sample < samples; sample++) {
    const rows: RowSet = { first: sample, samples: 1, positions, spans }
    for (let first = 0; first < groups; first += width) {
      const count = Math.min(width, groups - first)
      columnMoments(groupMean, groupVariance, count, channels, x, first * channels, stride, rows)
      for (let group = 0; group < count; group++) {
        const at = sample * groups + first + group
        if (mean) mean[at] = groupMean[group]
        if (rstd) rstd[at] = 1 / Math.sqrt(groupVariance[group] + eps) // rule 6
      }
      for (let strip = 0; strip < count * channels; strip += STRIP) {
        const n = Math.min(STRIP, count * channels - strip)
        const start = first * channels + strip
        for (let k = 0; k < n; k++) {
          const group = Math.floor((strip + k) / channels)
          const r = 1 / Math.sqrt(groupVariance[group] + eps)
          const w = weight ? weight[start + k] : NO_WEIGHT
          const b = bias ? bias[start + k] : NO_BIAS
          setChannelScale(scales, k, groupMean[group], r, w, b)
        }
        affineChannels(y, x, start, stride, n, rows, scales)
      }
    }
  }
}

/** Rule 23. */
export function group_norm_backward(call: Call<'group_norm_backward'>): void {
  const { dx, dweight, dbias, dy, x, mean, rstd, weight, shape, eps } = call
  const { samples, groups, channelsPerGroup, positions, channelsLast, spans } = shape
  if (channelsLast) {
    groupNormBackwardColumns(call)
    return
  }
  for (let sample = 0; sample < samples; sample++) {
    const n = channelsPerGroup * countReal(spans, positions, sample)
    const block = blockOfSample(sample, shape)
    for (let group = 0; group < groups; group++) {
      const first = group * channelsPerGroup
      const at = (sample * groups * channelsPerGroup + first) * positions
      const own = mean && rstd ? undefined : withReal(x, at, channelsPerGroup, positions, spans, sample, rowMoments)
      const m = own ? own.mean : (mean as Float64Array)[sample * groups + group]
      const r = own ? 1 / Math.sqrt(own.variance + eps) : (rstd as Float64Array)[sample * groups + group] // rule 6
      const weightOf = (k: number) => (weight ? weight[first + k] : NO_WEIGHT)
      const { s, q } = foldedSums(channelsPerGroup, k => {
        const sums = realGradientSums(dy, x, at + k * positions, m, r, positions, spans, sample)
        if (dbias) dbias[block + first + k] += sums.s
        if (dweight) dweight[block + first + k] += sums.q
        return { s: weightOf(k) * sums.s, q: weightOf(k) * sums.q }
      })
      const of = { mean: m, rstd: r, a: s / n, b: q / n, linear: false }
      for (let k = 0; k < channelsPerGroup; k++) {
        gradientRealRun(dx, dy, x, at + k * positions, positions, spans, sample, of, weightOf(k))
      }
    }
  }
}

const groupRstd = new Float64Array(STRIP)
const groupA = new Float64Array(STRIP)
const groupB = new Float64Array(STRIP)

/** Groups of neighboring columns, in every sample. */
function groupNormBackwardColumns(call: Call<'group_norm_backward'>): void {
  const { dx, dweight, dbias, dy, x, mean, rstd, weight, shape, eps } = call
  const { samples, groups, channelsPerGroup: channels, positions, spans } = shape
  const stride = groups * channels
  const width = bundle(groups, channels)
  const of = columnGradients
  for (let sample = 0; sample < samples; sample++) {
    const rows: RowSet = { first: sample, samples: 1, positions, spans }
    const n = countReal(spans, positions, sample) * channels
    const block = blockOfSample(sample, shape)
    for (let first = 0; first < groups; first += width) {
      const count = Math.min(width, groups - first)
      if (mean && rstd) {
        const at = sample * groups + first
        copyInto(groupMean, subarrayOf(mean, at, at + count))
        copyInto(groupRstd, subarrayOf(rstd, at, at + count))
      } else {
        columnMoments(groupMean, groupVariance, count, channels, x, first * channels, stride, rows)
        for (let group = 0; group < count; group++) groupRstd[group] = 1 / Math.sqrt(groupVariance[group] + eps) // rule 6
      }
      const prepare = (column: number, stripWidth: number) => {
        for (let k = 0; k < stripWidth; k++) {
          const group = Math.floor((column + k) / channels)
          of.mean[k] = groupMean[group]
          of.rstd[k] = groupRstd[group]
          of.w[k] = weight ? weight[first * channels + column + k] : NO_WEIGHT
          of.a[k] = groupA[group] / n
          of.b[k] = groupB[group] / n
        }
      }
      groupA.fill(0, 0, count)
      groupB.fill(0, 0, count)
      for (let column = 0; column < count * channels; column += STRIP) {
        const stripWidth = Math.min(STRIP, count * channels - column)
        const start = first * channels + column
        prepare(column, stripWidth)
        const { s, q } = columnGradientSums(stripWidth, dy, x, start, stride, rows)
        for (let k = 0; k < stripWidth; k++) {
          if (dbias) dbias[block + start + k] += s[k]
          if (dweight) dweight[block + start + k] += q[k]
          s[k] *= of.w[k]
          q[k] *= of.w[k]
        }
        addColumns(groupA, s, column, stripWidth, channels)
        addColumns(groupB, q, column, stripWidth, channels)
      }
      for (let column = 0; column < count * channels; column += STRIP) {
        const stripWidth = Math.min(STRIP, count * channels - column)
        prepare(column, stripWidth)
        gradientColumns(dx, dy, x, first * channels + column, stride, stripWidth, rows, false)
      }
    }
  }
}
