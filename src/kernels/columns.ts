// Sums of the columns of a matrix (rule 14), a strip of them at a time. The twin of native/kernels/columns.h. "Rule n" is a rule of NUMERICS.md.
import { countReal, endOfSpans, FOLD64, firstSpan, type Spans, spanBegin, spanEnd } from './operands.js'

/** Columns that are worked on together: their sums stay in the first-level cache. No bits depend on it. */
export const STRIP = 256
/** Rows that are added to a column's sums in registers, as addFourRows is written. No bits depend on it. */
const TOGETHER = 4

/** Rows of a matrix: those of `samples` samples from the first, `positions` in each, of which `spans` says the real ones. */
export interface RowSet {
  first: number
  samples: number
  positions: number
  spans: Spans
}

/** How many rows a set has. */
export function countRows({ first, samples, positions, spans }: RowSet): number {
  if (!spans) return samples * positions
  let count = 0
  for (let n = first; n < first + samples; n++) count += countReal(spans, positions, n)
  return count
}

/** The same rows in as few samples as can be: without padding those of all samples from 0 on are neighbors. */
export function joined(rows: RowSet): RowSet {
  const { first, samples, positions, spans } = rows
  return spans || first > 0 ? rows : { first: 0, samples: 1, positions: samples * positions, spans }
}

/** Sums of the columns of a strip. */
export interface ColumnSums {
  readonly s: Float64Array
  readonly q: Float64Array
}

/** `sumsOfColumns` leaves them in `total`. */
const column = (): ColumnSums => ({ s: new Float64Array(STRIP), q: new Float64Array(STRIP) })
const inBlock = column()
const inFold = column()
const total = column()

function moveColumns(n: number, from: ColumnSums, to: ColumnSums): void {
  for (let k = 0; k < n; k++) {
    to.s[k] += from.s[k]
    to.q[k] += from.q[k]
    from.s[k] = 0
    from.q[k] = 0
  }
}

/** Rule 14: two sums of each of n <= STRIP columns. add(sums, row, count) adds `count` rows from that one on. */
export function sumsOfColumns(
  n: number,
  given: RowSet,
  add: (sums: ColumnSums, row: number, count: number) => void
): ColumnSums {
  const rows = joined(given)
  for (const sums of [inBlock, inFold, total]) {
    sums.s.fill(0, 0, n)
    sums.q.fill(0, 0, n)
  }
  let count = 0
  for (let sample = rows.first; sample < rows.first + rows.samples; sample++) {
    const last = endOfSpans(rows.spans, sample)
    for (let at = firstSpan(rows.spans, sample); at < last; at += 2) {
      const end = spanEnd(rows.spans, rows.positions, at)
      for (let position = spanBegin(rows.spans, at); position < end; ) {
        const take = Math.min(TOGETHER, FOLD64 - (count % FOLD64), end - position)
        add(inBlock, sample * rows.positions + position, take)
        position += take
        count += take
        if (count % FOLD64 === 0) moveColumns(n, inBlock, inFold)
        if (count % (FOLD64 * FOLD64) === 0) moveColumns(n, inFold, total)
      }
    }
  }
  moveColumns(n, inBlock, inFold)
  moveColumns(n, inFold, total)
  return total
}

/**
 * The sums of the elements and of their squares of the matrix whose row r begins at x[start + r * stride]. With centers, one
 * for each column, the sums are of the squares alone.
 */
export function columnSums(
  n: number,
  center: Float64Array | undefined,
  x: Float32Array,
  start: number,
  stride: number,
  rows: RowSet
): ColumnSums {
  return sumsOfColumns(n, rows, (_, row, count) => addRows(n, center, x, start + row * stride, stride, count))
}

/** Adds `count` rows, the first of which begins at x[start], to the sums of n columns. */
function addRows(
  n: number,
  center: Float64Array | undefined,
  x: Float32Array,
  start: number,
  stride: number,
  count: number
): void {
  if (count === TOGETHER) {
    if (center) squareFourRows(n, center, x, start, stride)
    else addFourRows(n, x, start, stride)
    return
  }
  for (let row = 0; row < count; row++) addRow(n, center ?? zeros, x, start + row * stride)
}

function addFourRows(n: number, x: Float32Array, start: number, stride: number): void {
  const { s, q } = inBlock
  const second = start + stride
  const third = second + stride
  const fourth = third + stride
  for (let k = 0; k < n; k++) {
    const v0 = x[start + k]
    const v1 = x[second + k]
    const v2 = x[third + k]
    const v3 = x[fourth + k]
    s[k] = s[k] + v0 + v1 + v2 + v3
    q[k] = q[k] + v0 * v0 + v1 * v1 + v2 * v2 + v3 * v3
  }
}

function squareFourRows(n: number, center: Float64Array, x: Float32Array, start: number, stride: number): void {
  const { q } = inBlock
  const second = start + stride
  const third = second + stride
  const fourth = third + stride
  for (let k = 0; k < n; k++) {
    const mean = center[k]
    const v0 = x[start + k] - mean
    const v1 = x[second + k] - mean
    const v2 = x[third + k] - mean
    const v3 = x[fourth + k] - mean
    q[k] = q[k] + v0 * v0 + v1 * v1 + v2 * v2 + v3 * v3
  }
}

const zeros = new Float64Array(STRIP)

function addRow(n: number, center: Float64Array, x: Float32Array, start: number): void {
  const { s, q } = inBlock
  for (let k = 0; k < n; k++) {
    const v = x[start + k] - center[k]
    s[k] += v
    q[k] += v * v
  }
}

/** How many groups of `channels` neighboring columns are worked on together: at most STRIP columns, or one group. */
export function bundle(groups: number, channels: number): number {
  return Math.min(groups, Math.max(1, Math.floor(STRIP / channels)))
}

/** Rule 14: adds the sums of a strip's columns to those of their groups; FOLD64 of them make a part. */
export function addColumns(
  to: Float64Array,
  columns: Float64Array,
  first: number,
  width: number,
  channels: number
): void {
  let part = 0
  for (let k = 0; k < width; k++) {
    const channel = (first + k) % channels
    part += columns[k]
    if (channel % FOLD64 === FOLD64 - 1 || channel === channels - 1) {
      to[Math.floor((first + k) / channels)] += part
      part = 0
    }
  }
}

/** Rule 14: sums of the squares of n <= STRIP columns. */
export function columnSquares(
  squares: Float64Array,
  n: number,
  x: Float32Array,
  start: number,
  stride: number,
  rows: RowSet
): void {
  squares.set(columnSums(n, undefined, x, start, stride, rows).q.subarray(0, n))
}
