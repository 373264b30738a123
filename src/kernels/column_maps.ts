// Elementwise maps of columns (rules 7 and 8), a strip of them at a time. The twin of native/kernels/column_maps.h. "Rule n" is a rule of NUMERICS.md.
import { joined, type RowSet } from './columns.js'
import { clear } from './maps.js'
import { endOfSpans, firstSpan, spanBegin, spanEnd } from './operands.js'
import { type ChannelScales, type ColumnScales, NO_BIAS, NO_WEIGHT } from './scale.js'

/** Rows of a matrix that are normalized side by side, as affineRows and affineChannelRows are written. No bits depend on it. */
const ABREAST = 4

const f32 = Math.fround

/** Weights or biases of a matrix: that of row i is data[i * perRow]. */
export interface Weights {
  data: Float32Array
  perRow: number
}

/** The weight or bias of row i. */
function weightAt(weights: Weights | undefined, i: number, absent: number): number {
  return weights ? weights.data[i * weights.perRow] : absent
}

// Four rows side by side, so that the scales of a column are read once. Where `count` is less, the first stands in for
// those that are not there: it is read before it is written, and written four times alike.

/** Rules 7 and 8 over n <= STRIP columns of `size` rows, a scale for each column. */
export function affineColumns(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  stride: number,
  n: number,
  size: number,
  scales: ColumnScales,
  weight: Weights | undefined,
  bias: Weights | undefined
): void {
  const anyFloat64 = hasOne(scales.needsFloat64, n)
  for (let row = 0; row < size; row += ABREAST) {
    const count = Math.min(ABREAST, size - row)
    for (let i = 0; i < count; i++) {
      rowWeight[i] = weightAt(weight, row + i, NO_WEIGHT)
      rowBias[i] = weightAt(bias, row + i, NO_BIAS)
    }
    const at = row * stride
    if (anyFloat64) affineMixedRows(y, y0 + at, x, x0 + at, stride, n, count, scales)
    else affineRows(y, y0 + at, x, x0 + at, stride, n, count, scales)
  }
}

function hasOne(flags: Uint8Array, n: number): boolean {
  for (let k = 0; k < n; k++) if (flags[k] !== 0) return true
  return false
}

const rowWeight = new Float64Array(ABREAST)
const rowBias = new Float64Array(ABREAST)

/** `count` rows with a number of `rowWeight` and of `rowBias` each. */
function affineRows(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  stride: number,
  n: number,
  count: number,
  { m, r, c }: ColumnScales
): void {
  const i1 = count > 1 ? 1 : 0
  const i2 = count > 2 ? 2 : 0
  const i3 = count > 3 ? 3 : 0
  const x1 = x0 + i1 * stride
  const x2 = x0 + i2 * stride
  const x3 = x0 + i3 * stride
  const y1 = y0 + i1 * stride
  const y2 = y0 + i2 * stride
  const y3 = y0 + i3 * stride
  const w0 = rowWeight[0]
  const w1 = rowWeight[i1]
  const w2 = rowWeight[i2]
  const w3 = rowWeight[i3]
  const b0 = rowBias[0]
  const b1 = rowBias[i1]
  const b2 = rowBias[i2]
  const b3 = rowBias[i3]
  for (let k = 0; k < n; k++) {
    const mean = m[k]
    const rstd = r[k]
    const low = c[k]
    const t0 = f32(f32(f32(f32(x[x0 + k] - mean) * rstd) + low) * w0)
    const t1 = f32(f32(f32(f32(x[x1 + k] - mean) * rstd) + low) * w1)
    const t2 = f32(f32(f32(f32(x[x2 + k] - mean) * rstd) + low) * w2)
    const t3 = f32(f32(f32(f32(x[x3 + k] - mean) * rstd) + low) * w3)
    y[y0 + k] = t0 + b0
    y[y1 + k] = t1 + b1
    y[y2 + k] = t2 + b2
    y[y3 + k] = t3 + b3
  }
}

/** The same where some columns need float64. */
function affineMixedRows(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  stride: number,
  n: number,
  count: number,
  { mean, rstd, m, r, c, needsFloat64 }: ColumnScales
): void {
  for (let i = 0; i < count; i++) {
    const w = rowWeight[i]
    const b = rowBias[i]
    const at = x0 + i * stride
    const to = y0 + i * stride
    for (let k = 0; k < n; k++) {
      const v = x[at + k]
      if (needsFloat64[k]) y[to + k] = (v - mean[k]) * rstd[k] * w + b
      else y[to + k] = f32(f32(f32(f32(v - m[k]) * r[k]) + c[k]) * w) + b
    }
  }
}

/**
 * Calls step(at, count) for rows of n <= STRIP columns that are real, `count` from y[at] on. The others become 0 in y (rule
 * 15).
 */
export function eachRealRows(
  y: Float32Array,
  start: number,
  stride: number,
  n: number,
  given: RowSet,
  step: (at: number, count: number) => void
): void {
  const { first: firstSample, samples, positions, spans } = joined(given)
  for (let sample = firstSample; sample < firstSample + samples; sample++) {
    const base = start + sample * positions * stride
    const last = endOfSpans(spans, sample)
    let done = 0
    for (let at = firstSpan(spans, sample); at < last; at += 2) {
      const begin = spanBegin(spans, at)
      const end = spanEnd(spans, positions, at)
      for (let position = done; position < begin; position++) clear(y, base + position * stride, n)
      for (let position = begin; position < end; position += ABREAST) {
        step(base + position * stride, Math.min(ABREAST, end - position))
      }
      done = end
    }
    for (let position = done; position < positions; position++) clear(y, base + position * stride, n)
  }
}

/** Rules 7a and 8a over n <= STRIP columns, which are channels. */
export function affineChannels(
  y: Float32Array,
  x: Float32Array,
  first: number,
  stride: number,
  n: number,
  rows: RowSet,
  scales: ChannelScales
): void {
  const affineRows = hasOne(scales.needsFloat64, n) ? affineMixedChannelRows : affineChannelRows
  eachRealRows(y, first, stride, n, rows, (at, count) => affineRows(y, x, at, stride, n, count, scales))
}

/** `count` rows from this element on, in x and y alike. */
function affineChannelRows(
  y: Float32Array,
  x: Float32Array,
  start: number,
  stride: number,
  n: number,
  count: number,
  { m, f, c }: ChannelScales
): void {
  const second = start + (count > 1 ? stride : 0)
  const third = start + (count > 2 ? 2 * stride : 0)
  const fourth = start + (count > 3 ? 3 * stride : 0)
  for (let k = 0; k < n; k++) {
    // V8 reads an element as often as it is written.
    const mean = m[k]
    const factor = f[k]
    const shift = c[k]
    const t0 = f32(f32(x[start + k] - mean) * factor)
    const t1 = f32(f32(x[second + k] - mean) * factor)
    const t2 = f32(f32(x[third + k] - mean) * factor)
    const t3 = f32(f32(x[fourth + k] - mean) * factor)
    y[start + k] = t0 + shift
    y[second + k] = t1 + shift
    y[third + k] = t2 + shift
    y[fourth + k] = t3 + shift
  }
}

/** The same where some channels need float64. */
function affineMixedChannelRows(
  y: Float32Array,
  x: Float32Array,
  start: number,
  stride: number,
  n: number,
  count: number,
  { mean, s, bias, m, f, c, needsFloat64 }: ChannelScales
): void {
  for (let i = 0; i < count; i++) {
    const row = start + i * stride
    for (let k = 0; k < n; k++) {
      const v = x[row + k]
      y[row + k] = needsFloat64[k] ? (v - mean[k]) * s[k] + bias[k] : f32(f32(v - m[k]) * f[k]) + c[k]
    }
  }
}
