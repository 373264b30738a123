// Mean and variance of rows and columns (rules 4, 5, 14 and 15). The twin of native/kernels/moments.h. "Rule n" is a rule of NUMERICS.md.
import { addColumns, columnSums, countRows, type RowSet, STRIP } from './columns.js'
import { type Sums, sumOfSquares } from './lanes.js'

export const CANCELLED = 2 ** -12 // rule 5

/** Mean and biased variance of a group. */
export interface Moments {
  mean: number
  variance: number
}

/** Rules 4 and 5: mean and biased variance of the n elements from x[start], whose sums are given. */
export function moments(n: number, x: Float32Array, start: number, raw: Sums): Moments {
  const mean = raw.s / n
  const variance = raw.q / n - mean * mean
  if (raw.q === 0 || variance > mean * mean * CANCELLED) return { mean, variance }
  return { mean, variance: sumOfSquares(n, mean, x, start) / n }
}

const centers = new Float64Array(STRIP)
const centeredSquares = new Float64Array(STRIP)

/**
 * Rules 4, 5 and 14: mean and biased variance of `groups` groups of `channels` neighboring columns each, as many as
 * `bundle` says at most, into the first elements of the two arrays.
 */
export function columnMoments(
  mean: Float64Array,
  variance: Float64Array,
  groups: number,
  channels: number,
  x: Float32Array,
  start: number,
  stride: number,
  rows: RowSet
): void {
  const columns = groups * channels
  const n = countRows(rows) * channels
  mean.fill(0, 0, groups)
  variance.fill(0, 0, groups)
  for (let first = 0; first < columns; first += STRIP) {
    const width = Math.min(STRIP, columns - first)
    const { s, q } = columnSums(width, undefined, x, start + first, stride, rows)
    addColumns(mean, s, first, width, channels)
    addColumns(variance, q, first, width, channels)
  }
  const cancelled: boolean[] = []
  for (let group = 0; group < groups; group++) {
    const q = variance[group]
    mean[group] /= n
    variance[group] = q / n - mean[group] * mean[group]
    cancelled[group] = !(q === 0 || variance[group] > mean[group] * mean[group] * CANCELLED)
  }
  if (!cancelled.includes(true)) return
  centeredSquares.fill(0, 0, groups)
  for (let first = 0; first < columns; first += STRIP) {
    const width = Math.min(STRIP, columns - first)
    for (let k = 0; k < width; k++) centers[k] = mean[Math.floor((first + k) / channels)]
    const { q } = columnSums(width, centers, x, start + first, stride, rows)
    addColumns(centeredSquares, q, first, width, channels)
  }
  for (let group = 0; group < groups; group++) if (cancelled[group]) variance[group] = centeredSquares[group] / n
}
