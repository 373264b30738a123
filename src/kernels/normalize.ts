// normalize: y = x / max(norm, eps) * factor over each group, by several norms and rules. The twin of
// native/kernels/normalize.h.
import { affineColumns } from './column_maps.js'
import { columnSquares, type RowSet, STRIP } from './columns.js'
import { gradientRun } from './gradient_maps.js'
import { gradientSums } from './gradient_sums.js'
import { largestMagnitude, sumOfMagnitudes, sumOfPowers, sumOfSquares } from './lanes.js'
import { affineFloat64, scaleRun } from './maps.js'
import { type Groups, type Statistic, stridesOf } from './operands.js'
import { power } from './power.js'
import { makeColumnScales, scaleOf, setColumnScaleWithoutMean } from './scale.js'
import type { Call } from './signatures.js'

/** How eps keeps the division from zero, in the order of their numbers; the op's documentation says what each does. */
export const normalizeRules = ['clamp', 'clamp-square', 'add-square', 'mean-square', 'zero'] as const
const [CLAMP, CLAMP_SQUARE, ADD_SQUARE, MEAN_SQUARE, ZERO] = normalizeRules.keys()

const f32 = Math.fround
const squares = new Float64Array(STRIP)
const scales = makeColumnScales()

/** 1 over what x is divided by, from its norm; where p is 2 also from the sum of squares. */
function reciprocal(norm: number, square: number, n: number, rule: number, eps: number): number {
  if (rule === CLAMP) return 1 / (norm < eps ? Math.max(eps, 2 ** -1022) : norm) // rule 8c
  if (rule === CLAMP_SQUARE) return 1 / Math.sqrt(square < eps ? eps : square)
  if (rule === ADD_SQUARE) return 1 / Math.sqrt(square + eps)
  if (rule === MEAN_SQUARE) return 1 / Math.sqrt(square / n + eps)
  return norm === 0 ? 0 : 1 / norm
}

/** A norm, and what rule 8 asks of it: its square, for p < 1 that of the largest element (rule 8c). */
interface Norm {
  readonly length: number
  readonly square: number
}

function normOf(n: number, x: Float32Array, start: number, p: number): Norm {
  if (p === 1) {
    const sum = sumOfMagnitudes(n, x, start)
    return { length: sum, square: sum * sum }
  }
  const largest = largestMagnitude(n, x, start)
  if (p === Number.POSITIVE_INFINITY || !(largest > 0 && largest < Number.POSITIVE_INFINITY)) {
    return { length: largest, square: largest * largest }
  }
  const length = largest * power(sumOfPowers(n, x, start, largest, p), 1 / p)
  return { length, square: p < 1 ? largest * largest : length * length }
}

/** Every group of a call. More than one inner column needs p = 2. */
export function normalize(call: Call<'normalize'>): void {
  const { y, norm, x, shape, p, rule, eps, factor } = call
  const { outer, size, inner, pitch = inner } = shape
  const [yStride, , xStride] = stridesOf(call.strides, size * inner)
  const f = f32(factor)
  for (let row = 0; row < outer; row++) {
    const x0 = row * xStride
    const y0 = row * yStride
    if (pitch > 1) {
      normalizeColumns(y, y0, norm, row * inner, x, x0, shape, rule, eps, f)
      continue
    }
    const square = p === 2 ? sumOfSquares(size, 0, x, x0) : 0
    const second = Math.sqrt(square)
    const { length, square: v } = p === 2 ? { length: second, square: second * second } : normOf(size, x, x0, p)
    const of = scaleOf(0, v, reciprocal(length, square, size, rule, eps))
    if (norm) norm[row] = length
    if (of.needsFloat64) affineFloat64(y, y0, x, x0, size, of, Float32Array.of(f), undefined, 0, 0)
    else scaleRun(y, y0, x, x0, size, of.r, f)
  }
}

/** The groups of one matrix whose columns they are; p is 2. */
function normalizeColumns(
  y: Float32Array,
  y0: number,
  norm: Statistic | undefined,
  norm0: number,
  x: Float32Array,
  x0: number,
  { size, inner, pitch = inner }: Groups,
  rule: number,
  eps: number,
  factor: number
): void {
  const rows: RowSet = { first: 0, samples: 1, positions: size, spans: undefined }
  const weight = { data: Float32Array.of(factor), perRow: 0 }
  for (let first = 0; first < inner; first += STRIP) {
    const n = Math.min(STRIP, inner - first)
    columnSquares(squares, n, x, x0 + first, pitch, rows)
    for (let k = 0; k < n; k++) {
      const length = Math.sqrt(squares[k])
      setColumnScaleWithoutMean(scales, k, length * length, reciprocal(length, squares[k], size, rule, eps))
      if (norm) norm[norm0 + first + k] = length
    }
    affineColumns(y, y0 + first, x, x0 + first, pitch, n, size, scales, weight, undefined)
  }
}

/** Rule 21, with p = 2 and rows alone. `dots` receives the sum of dy * t of each row. */
export function normalize_backward(call: Call<'normalize_backward'>): void {
  const { dx, dots, dy, x, shape, rule, eps, factor } = call
  const { outer, size } = shape
  const f = f32(factor)
  for (let row = 0; row < outer; row++) {
    const at = row * size
    const square = sumOfSquares(size, 0, x, at)
    const norm = Math.sqrt(square)
    const r = reciprocal(norm, square, size, rule, eps)
    const dot = gradientSums(size, dy, x, at, 0, r, undefined).q
    if (dots) dots[row] = dot
    const limited =
      (rule === CLAMP && norm < eps) || (rule === CLAMP_SQUARE && square < eps) || (rule === ZERO && norm === 0)
    const b = rule === MEAN_SQUARE ? (dot * f) / size : dot * f
    const of = { mean: 0, rstd: r, a: 0, b, linear: limited }
    gradientRun(dx, dy, x, at, size, of, f)
  }
}
