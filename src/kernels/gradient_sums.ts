// Sums of the gradients of rows, runs and columns (rules 21 to 23). The twin of native/kernels/gradient_sums.h. "Rule n" is a rule of
// NUMERICS.md. With t = (x - mean) * rstd and g = dy * w, A is a sum of g and B one of g * t. Without a mean it is 0 here: that changes
// no bit.
import { type ColumnSums, type RowSet, STRIP, sumsOfColumns } from './columns.js'
import { BLOCK, LANES, type Sums } from './lanes.js'
import {
  countReal,
  endOfSpans,
  FOLD64,
  firstSpan,
  type Groups,
  type Spans,
  spanBegin,
  spanEnd,
  unitOf,
  type Volume
} from './operands.js'

// As in lanes.ts: lanes j, j + 4, j + 8 and j + 12 fold first, so four loops with four lanes each make a block.
const STEP = LANES / 4
const partA = new Float64Array(STEP)
const partB = new Float64Array(STEP)

/** A (s) and B (q) of the n elements from dy[start] and x[start] by rules 1 to 3; without a weight w is 1. */
export function gradientSums(
  n: number,
  dy: Float32Array,
  x: Float32Array,
  start: number,
  mean: number,
  rstd: number,
  weight: Float32Array | undefined
): Sums {
  let s = 0
  let q = 0
  for (let begin = 0; begin < n; begin += BLOCK) {
    const end = Math.min(begin + BLOCK, n)
    for (let lane = 0; lane < STEP; lane++) sumFourLanes(dy, x, start, begin, end, lane, mean, rstd, weight)
    s += partA[0] + partA[2] + (partA[1] + partA[3])
    q += partB[0] + partB[2] + (partB[1] + partB[3])
  }
  return { s, q }
}

/** Every fourth lane of the block from `begin` to `end` from `lane` on, folded. */
function sumFourLanes(
  dy: Float32Array,
  x: Float32Array,
  start: number,
  begin: number,
  end: number,
  lane: number,
  mean: number,
  rstd: number,
  weight: Float32Array | undefined
): void {
  let a0 = 0
  let a1 = 0
  let a2 = 0
  let a3 = 0
  let b0 = 0
  let b1 = 0
  let b2 = 0
  let b3 = 0
  let i = begin + lane
  const hasWeight = weight !== undefined
  for (; i + 12 < end; i += LANES) {
    const g0 = hasWeight ? dy[start + i] * weight[i] : dy[start + i]
    const g1 = hasWeight ? dy[start + i + 4] * weight[i + 4] : dy[start + i + 4]
    const g2 = hasWeight ? dy[start + i + 8] * weight[i + 8] : dy[start + i + 8]
    const g3 = hasWeight ? dy[start + i + 12] * weight[i + 12] : dy[start + i + 12]
    a0 += g0
    a1 += g1
    a2 += g2
    a3 += g3
    b0 += g0 * ((x[start + i] - mean) * rstd)
    b1 += g1 * ((x[start + i + 4] - mean) * rstd)
    b2 += g2 * ((x[start + i + 8] - mean) * rstd)
    b3 += g3 * ((x[start + i + 12] - mean) * rstd)
  }
  if (i < end) {
    const g = hasWeight ? dy[start + i] * weight[i] : dy[start + i]
    a0 += g
    b0 += g * ((x[start + i] - mean) * rstd)
  }
  if (i + 4 < end) {
    const g = hasWeight ? dy[start + i + 4] * weight[i + 4] : dy[start + i + 4]
    a1 += g
    b1 += g * ((x[start + i + 4] - mean) * rstd)
  }
  if (i + 8 < end) {
    const g = hasWeight ? dy[start + i + 8] * weight[i + 8] : dy[start + i + 8]
    a2 += g
    b2 += g * ((x[start + i + 8] - mean) * rstd)
  }
  partA[lane] = a0 + a2 + (a1 + a3)
  partB[lane] = b0 + b2 + (b1 + b3)
}

/** The real elements of two runs that have gaps, one after the other. They grow as needed. */
let packedDy = new Float32Array(0)
let packedX = new Float32Array(0)

/** Rule 15: the sums of dy (s) and of dy * t (q) of the real elements of the run that begins at `start`. */
export function realGradientSums(
  dy: Float32Array,
  x: Float32Array,
  start: number,
  mean: number,
  rstd: number,
  positions: number,
  spans: Spans,
  sample: number
): Sums {
  const last = endOfSpans(spans, sample)
  const first = firstSpan(spans, sample)
  if (last === first + 2) {
    const begin = spanBegin(spans, first)
    return gradientSums(spanEnd(spans, positions, first) - begin, dy, x, start + begin, mean, rstd, undefined)
  }
  const n = countReal(spans, positions, sample)
  if (packedX.length < n) {
    packedDy = new Float32Array(n)
    packedX = new Float32Array(n)
  }
  let to = 0
  for (let at = first; at < last; at += 2) {
    const end = start + spanEnd(spans, positions, at)
    for (let i = start + spanBegin(spans, at); i < end; i++) {
      packedDy[to] = dy[i]
      packedX[to++] = x[i]
    }
  }
  return gradientSums(n, packedDy, packedX, 0, mean, rstd, undefined)
}

/** Where partial sums of n elements begin that row i of a call adds to (rule 22). */
export function blockOfRow(i: number, n: number): number {
  return Math.floor(i / FOLD64) * n
}

/** Rule 22: the sum of a number of each real row, as a column. */
export function sumOfRows(values: Float64Array, { outer, spans }: Groups): number {
  let total = 0
  let inFold = 0
  let inBlock = 0
  let count = 0
  for (let at = firstSpan(spans, 0); at < endOfSpans(spans, 0); at += 2) {
    const end = spanEnd(spans, outer, at)
    for (let row = spanBegin(spans, at); row < end; row++) {
      inBlock += values[row]
      if (++count % FOLD64 > 0) continue
      inFold += inBlock
      inBlock = 0
      if (count % FOLD64 ** 2 > 0) continue
      total += inFold
      inFold = 0
    }
  }
  return total + (inFold + inBlock)
}

/** Where those of a sample of a call over channels begin. */
export function blockOfSample(sample: number, shape: Volume): number {
  return Math.floor(sample / unitOf(shape)) * shape.groups * shape.channelsPerGroup
}

/** What the gradients of a strip's columns take. */
export const columnGradients: { readonly [name in 'mean' | 'rstd' | 'w' | 'a' | 'b']: Float64Array } = {
  mean: new Float64Array(STRIP),
  rstd: new Float64Array(STRIP),
  w: new Float64Array(STRIP),
  a: new Float64Array(STRIP),
  b: new Float64Array(STRIP)
}

/** Rule 14: the sums of dy (s) and of dy * t (q) of n <= STRIP columns. */
export function columnGradientSums(
  n: number,
  dy: Float32Array,
  x: Float32Array,
  start: number,
  stride: number,
  rows: RowSet
): ColumnSums {
  const { mean, rstd } = columnGradients
  return sumsOfColumns(n, rows, ({ s, q }, row, count) => {
    for (let i = 0; i < count; i++) {
      const at = start + (row + i) * stride
      for (let k = 0; k < n; k++) {
        const given = dy[at + k]
        s[k] += given
        q[k] += given * ((x[at + k] - mean[k]) * rstd[k])
      }
    }
  })
}
