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

/** Where the gradients of a row go beside dx, and what is added to it. `row` is the row's place in the first two and dsum. */
export interface RowGradients {
  readonly dresidual: Float32Array | undefined
  readonly dsum: Float32Array | undefined
  readonly residualScale: number
  readonly dweight: Float64Array | undefined
  readonly dbias: Float64Array | undefined
}

const NO_GRADIENTS: RowGradients = {
  dresidual: undefined,
  dsum: undefined,
  residualScale: 1,
  dweight: undefined,
  dbias: undefined
}

/**
 * The gradients of the elements `from` to `to` of a row: dresidual and dsum begin at `row`, weight and sums at element 0 and at
 * `sums`. Without a weight w is `all`.
 */
export function gradientRow(
  dx: Float32Array,
  dx0: number,
  dy: Float32Array,
  dy0: number,
  x: Float32Array,
  x0: number,
  from: number,
  to: number,
  of: Gradient,
  weight: Float32Array | undefined,
  all: number,
  row = 0,
  sums = 0,
  places: RowGradients = NO_GRADIENTS
): void {
  const { mean, rstd, a, b, linear } = of
  const { dresidual, dsum, dweight, dbias } = places
  const hasSum = dsum !== undefined || dresidual !== undefined
  if (weight && dweight && !linear && !hasSum) {
    allGradients(dx, dx0, dy, dy0, x, x0, from, to, mean, rstd, a, b, weight, dweight, dbias, sums)
    return
  }
  // First, since dx may be where dy or x is.
  if (dweight) addProducts(dweight, sums, dy, dy0, x, x0, from, to, mean, rstd)
  if (dbias) addElements(dbias, sums, dy, dy0, from, to)
  if (hasSum) {
    gradientWithSum(dx, dx0, dy, dy0, x, x0, from, to, of, weight, all, row, places)
  } else if (linear) {
    for (let i = from; i < to; i++) dx[dx0 + i] = rstd * (dy[dy0 + i] * (weight ? weight[i] : all))
  } else if (weight) {
    weightedGradient(dx, dx0, dy, dy0, x, x0, from, to, mean, rstd, a, b, weight)
  } else {
    scaledGradient(dx, dx0, dy, dy0, x, x0, from, to, mean, rstd, a, b, all)
  }
}

/** What a layer with a weight wants, in one loop: to load the elements once more takes twice as long (measured). */
function allGradients(
  dx: Float32Array,
  dx0: number,
  dy: Float32Array,
  dy0: number,
  x: Float32Array,
  x0: number,
  from: number,
  to: number,
  mean: number,
  rstd: number,
  a: number,
  b: number,
  weight: Float32Array,
  dweight: Float64Array,
  dbias: Float64Array | undefined,
  sums: number
): void {
  for (let i = from; i < to; i++) {
    const given = dy[dy0 + i]
    const t = (x[x0 + i] - mean) * rstd
    dweight[sums + i] += given * t
    if (dbias !== undefined) dbias[sums + i] += given
    dx[dx0 + i] = rstd * (given * weight[i] - a - t * b)
  }
}

/** Adds dy * t to sums. */
function addProducts(
  dweight: Float64Array,
  sums: number,
  dy: Float32Array,
  dy0: number,
  x: Float32Array,
  x0: number,
  from: number,
  to: number,
  mean: number,
  rstd: number
): void {
  for (let i = from; i < to; i++) dweight[sums + i] += dy[dy0 + i] * ((x[x0 + i] - mean) * rstd)
}

/** Adds dy to sums. */
function addElements(dbias: Float64Array, sums: number, dy: Float32Array, dy0: number, from: number, to: number): void {
  for (let i = from; i < to; i++) dbias[sums + i] += dy[dy0 + i]
}

/** dx with a weight for each element. */
function weightedGradient(
  dx: Float32Array,
  dx0: number,
  dy: Float32Array,
  dy0: number,
  x: Float32Array,
  x0: number,
  from: number,
  to: number,
  mean: number,
  rstd: number,
  a: number,
  b: number,
  weight: Float32Array
): void {
  for (let i = from; i < to; i++) {
    const t = (x[x0 + i] - mean) * rstd
    dx[dx0 + i] = rstd * (dy[dy0 + i] * weight[i] - a - t * b)
  }
}

/** dx with one weight for all. */
function scaledGradient(
  dx: Float32Array,
  dx0: number,
  dy: Float32Array,
  dy0: number,
  x: Float32Array,
  x0: number,
  from: number,
  to: number,
  mean: number,
  rstd: number,
  a: number,
  b: number,
  w: number
): void {
  for (let i = from; i < to; i++) {
    const t = (x[x0 + i] - mean) * rstd
    dx[dx0 + i] = rstd * (dy[dy0 + i] * w - a - t * b)
  }
}

/** dx with what is added to it, and dresidual. */
function gradientWithSum(
  dx: Float32Array,
  dx0: number,
  dy: Float32Array,
  dy0: number,
  x: Float32Array,
  x0: number,
  from: number,
  to: number,
  { mean, rstd, a, b, linear }: Gradient,
  weight: Float32Array | undefined,
  all: number,
  row: number,
  { dresidual, dsum, residualScale }: RowGradients
): void {
  for (let i = from; i < to; i++) {
    const g = dy[dy0 + i] * (weight ? weight[i] : all)
    let d = rstd * g
    if (!linear) d = rstd * (g - a - (x[x0 + i] - mean) * rstd * b)
    if (dsum) d += dsum[row + i]
    if (dresidual) dresidual[row + i] = d * residualScale
    dx[dx0 + i] = d
  }
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
    gradientRow(dx, start, dy, start, x, start, begin, end, of, undefined, w)
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
