// Elementwise maps of columns (rules 7 and 8), a strip of them at a time. The twin of native/kernels/column_maps.h. "Rule n" is a rule of NUMERICS.md.
import { joined, type RowSet, STRIP } from './columns.js'
import { clear, NO_BIAS, NO_WEIGHT } from './maps.js'
import { endOfSpans, firstSpan, spanBegin, spanEnd } from './operands.js'
import type { ColumnScales } from './scale.js'

/** Rows of a matrix that are normalized side by side, as affineRowsByColumn is written. No bits depend on it. */
const ABREAST = 4

const f32 = Math.fround

/** Weights or biases of a matrix: that of row i and column k is data[start + i * perRow + k * perColumn]. */
export interface Weights {
  data: Float32Array
  start: number
  perRow: number
  perColumn: number
}

/** The weight or bias of row i and column k. */
function weightAt(weights: Weights | undefined, i: number, k: number, absent: number): number {
  return weights ? weights.data[weights.start + i * weights.perRow + k * weights.perColumn] : absent
}

/**
 * Rules 7 and 8 over n <= STRIP columns, a scale for each. Rows that are not real become 0 (rule 15).
 */
export function affineColumns(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  stride: number,
  n: number,
  given: RowSet,
  scales: ColumnScales,
  weight: Weights | undefined,
  bias: Weights | undefined
): void {
  const rows = joined(given)
  const anyFloat64 = scales.needsFloat64.subarray(0, n).includes(1)
  const byRow = (weight ? weight.perRow : 0) + (bias ? bias.perRow : 0) > 0
  for (let k = 0; k < n && !byRow; k++) {
    columnWeight[k] = weightAt(weight, 0, k, NO_WEIGHT)
    columnBias[k] = weightAt(bias, 0, k, NO_BIAS)
  }
  const { spans, positions } = rows
  for (let sample = rows.first; sample < rows.first + rows.samples; sample++) {
    const first = sample * positions
    const last = endOfSpans(spans, sample)
    let done = 0
    for (let at = firstSpan(spans, sample); at < last; at += 2) {
      const begin = spanBegin(spans, at)
      const end = spanEnd(spans, positions, at)
      for (let position = done; position < begin; position++) clear(y, y0 + (first + position) * stride, n)
      for (let position = begin; position < end; position += ABREAST) {
        const row = first + position
        const count = Math.min(ABREAST, end - position)
        affineRows(
          y,
          y0 + row * stride,
          x,
          x0 + row * stride,
          stride,
          n,
          row,
          count,
          scales,
          anyFloat64,
          byRow,
          weight,
          bias
        )
      }
      done = end
    }
    for (let position = done; position < positions; position++) clear(y, y0 + (first + position) * stride, n)
  }
}

/** `count` rows of affineColumns, from this one on. */
function affineRows(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  stride: number,
  n: number,
  row: number,
  count: number,
  scales: ColumnScales,
  anyFloat64: boolean,
  byRow: boolean,
  weight: Weights | undefined,
  bias: Weights | undefined
): void {
  if (anyFloat64) {
    for (let i = 0; i < count; i++) {
      affineMixedRow(y, y0 + i * stride, x, x0 + i * stride, row + i, n, scales, weight, bias)
    }
  } else if (byRow) {
    for (let i = 0; i < count; i++) {
      rowWeight[i] = weightAt(weight, row + i, 0, NO_WEIGHT)
      rowBias[i] = weightAt(bias, row + i, 0, NO_BIAS)
    }
    affineRowsByRow(y, y0, x, x0, stride, n, count, scales)
  } else {
    affineRowsByColumn(y, y0, x, x0, stride, n, count, scales)
  }
}

const columnWeight = new Float64Array(STRIP)
const columnBias = new Float64Array(STRIP)

// Four rows side by side, so that the scales of a column are read once. Where `count` is less, the first stands in for
// those that are not there: it is read before it is written, and written four times alike.

/** `count` rows with `columnWeight` and `columnBias`. */
function affineRowsByColumn(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  stride: number,
  n: number,
  count: number,
  { m, r, c }: ColumnScales
): void {
  const second = count > 1 ? stride : 0
  const third = count > 2 ? 2 * stride : 0
  const fourth = count > 3 ? 3 * stride : 0
  const x1 = x0 + second
  const x2 = x0 + third
  const x3 = x0 + fourth
  const y1 = y0 + second
  const y2 = y0 + third
  const y3 = y0 + fourth
  const w = columnWeight
  const b = columnBias
  for (let k = 0; k < n; k++) {
    // V8 reads an element as often as it is written.
    const mean = m[k]
    const rstd = r[k]
    const low = c[k]
    const weight = w[k]
    const bias = b[k]
    const t0 = f32(f32(f32(f32(x[x0 + k] - mean) * rstd) + low) * weight)
    const t1 = f32(f32(f32(f32(x[x1 + k] - mean) * rstd) + low) * weight)
    const t2 = f32(f32(f32(f32(x[x2 + k] - mean) * rstd) + low) * weight)
    const t3 = f32(f32(f32(f32(x[x3 + k] - mean) * rstd) + low) * weight)
    y[y0 + k] = t0 + bias
    y[y1 + k] = t1 + bias
    y[y2 + k] = t2 + bias
    y[y3 + k] = t3 + bias
  }
}

const rowWeight = new Float64Array(ABREAST)
const rowBias = new Float64Array(ABREAST)

/** `count` rows with a number of `rowWeight` and of `rowBias` each. */
function affineRowsByRow(
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

/** A row where some columns need float64. */
function affineMixedRow(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  row: number,
  n: number,
  { mean, rstd, m, r, c, needsFloat64 }: ColumnScales,
  weight: Weights | undefined,
  bias: Weights | undefined
): void {
  for (let k = 0; k < n; k++) {
    const v = x[x0 + k]
    const w = weightAt(weight, row, k, NO_WEIGHT)
    const b = weightAt(bias, row, k, NO_BIAS)
    if (needsFloat64[k]) y[y0 + k] = (v - mean[k]) * rstd[k] * w + b
    else y[y0 + k] = f32(f32(f32(f32(v - m[k]) * r[k]) + c[k]) * w) + b
  }
}
