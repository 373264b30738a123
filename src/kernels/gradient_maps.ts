// The gradients of rows, runs and columns, from their sums (rules 21 to 23). The twin of native/kernels/gradient_maps.h. "Rule n" is a rule
// of NUMERICS.md. With t = (x - mean) * rstd and g = dy * w, A is the sum of g and B that of g * t. Without a mean it is 0 here: that
// changes no bit.
import { eachRealRows } from './column_maps.js'
import type { RowSet } from './columns.js'
import { columnGradients } from './gradient_sums.js'
import { clear } from './maps.js'
import { endOfSpans, firstSpan, type Spans, spanBegin, spanEnd } from './operands.js'

/** What a group's gradient takes beside its elements. */
export interface Gradient {
  readonly mean: number
  readonly rstd: number
  /** A / n. */
  readonly a: number
  /** B / n. */
  readonly b: number
  /** Whether dx is rstd * g. */
  readonly linear: boolean
}

/** Where the gradients of rows go beside dx, and what is added to it. */
export interface RowGradients {
  readonly dresidual: Float32Array | undefined
  readonly dsum: Float32Array | undefined
  readonly residualScale: number
  readonly dweight: Float64Array | undefined
  readonly dbias: Float64Array | undefined
}

/**
 * The gradients of the elements `from` to `to` of the row that begins at `start` of all arrays but the weight and the sums, which
 * begin at `sums`. Without a weight w is 1.
 */
export function gradientRow(
  dx: Float32Array,
  dy: Float32Array,
  x: Float32Array,
  start: number,
  from: number,
  to: number,
  of: Gradient,
  weight: Float32Array | undefined,
  sums: number,
  places: RowGradients
): void {
  const { mean, rstd, a, b, linear } = of
  const { dresidual, dsum, residualScale, dweight, dbias } = places
  if (weight && dweight && !linear && !dsum && !dresidual) {
    weightedRow(dx, dy, x, start, from, to, of, weight, sums, dweight, dbias)
    return
  }
  for (let i = from; i < to; i++) {
    const given = dy[start + i]
    const g = weight ? given * weight[i] : given
    const t = (x[start + i] - mean) * rstd
    let d = linear ? rstd * g : rstd * (g - a - t * b)
    if (dweight) dweight[sums + i] += given * t
    if (dbias) dbias[sums + i] += given
    if (dsum) d += dsum[start + i]
    if (dresidual) dresidual[start + i] = d * residualScale
    dx[start + i] = d
  }
}

/** What a layer with a weight mostly wants: with nothing else to ask for it takes two thirds of the time (measured). */
function weightedRow(
  dx: Float32Array,
  dy: Float32Array,
  x: Float32Array,
  start: number,
  from: number,
  to: number,
  { mean, rstd, a, b }: Gradient,
  weight: Float32Array,
  sums: number,
  dweight: Float64Array,
  dbias: Float64Array | undefined
): void {
  for (let i = from; i < to; i++) {
    const given = dy[start + i]
    const t = (x[start + i] - mean) * rstd
    dweight[sums + i] += given * t
    if (dbias !== undefined) dbias[sums + i] += given
    dx[start + i] = rstd * (given * weight[i] - a - t * b)
  }
}

/** dx of n neighbors of a channel. */
export function gradientRun(
  dx: Float32Array,
  dy: Float32Array,
  x: Float32Array,
  start: number,
  n: number,
  { mean, rstd, a, b, linear }: Gradient,
  w: number
): void {
  const end = start + n
  if (linear) {
    for (let i = start; i < end; i++) dx[i] = rstd * (dy[i] * w)
    return
  }
  for (let i = start; i < end; i++) dx[i] = rstd * (dy[i] * w - a - (x[i] - mean) * rstd * b)
}

/** dx over the real positions of a run of a channel (rule 15); the others become 0. */
export function gradientRealRun(
  dx: Float32Array,
  dy: Float32Array,
  x: Float32Array,
  start: number,
  positions: number,
  spans: Spans,
  sample: number,
  of: Gradient,
  w: number
): void {
  let done = 0
  for (let at = firstSpan(spans, sample); at < endOfSpans(spans, sample); at += 2) {
    const begin = spanBegin(spans, at)
    const end = spanEnd(spans, positions, at)
    clear(dx, start + done, begin - done)
    gradientRun(dx, dy, x, start + begin, end - begin, of, w)
    done = end
  }
  clear(dx, start + done, positions - done)
}

/** dx of n <= STRIP columns, which are channels; `linear`: it is rstd * g. Rows that are not real become 0 (rule 15). */
export function gradientColumns(
  dx: Float32Array,
  dy: Float32Array,
  x: Float32Array,
  start: number,
  stride: number,
  n: number,
  rows: RowSet,
  linear: boolean
): void {
  const { mean, rstd, w, a, b } = columnGradients
  eachRealRows(dx, start, stride, n, rows, (first, count) => {
    for (let i = 0; i < count; i++) {
      const at = first + i * stride
      for (let k = 0; k < n; k++) {
        const g = dy[at + k] * w[k]
        dx[at + k] = linear ? rstd[k] * g : rstd[k] * (g - a[k] - (x[at + k] - mean[k]) * rstd[k] * b[k])
      }
    }
  })
}
