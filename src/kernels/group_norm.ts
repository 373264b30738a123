// group_norm: y = (x - mean) / sqrt(variance + eps) * weight + bias over each group of channels of each sample. The twin of
// native/kernels/group_norm.h.
import { affineChannels } from './column_maps.js'
import { bundle, type RowSet, STRIP } from './columns.js'
import { sums, withReal } from './lanes.js'
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
