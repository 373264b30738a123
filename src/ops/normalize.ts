// normalize: the public operation, and below it the kernel in TypeScript, the twin of native/ops/normalize.h.
import { kernelFor } from '../backend.js'
import {
  columnSquares,
  largestMagnitude,
  makeColumnScales,
  normaliseColumns,
  type RowSet,
  STRIP,
  type Statistic,
  scaleOf,
  setColumnScaleWithoutMean,
  sumOfMagnitudes,
  sumOfPowers,
  sums
} from '../canonical.js'
import { checkEps, checkFinite, checkOptions, describe, wrongType, wrongValue } from '../check.js'
import { power } from '../power.js'
import { type Axis, type NormalizedShape, readGroups, readRowCall, runRowCall } from '../rows.js'
import { hasOnly, Preparations, SmallCalls } from '../small.js'
import type { Operand, TensorLike } from '../tensor.js'

/**
 * How eps keeps the division from zero. n is the size of a group:
 * - `'clamp'`: x / max(norm, eps), PyTorch's
 * - `'clamp-square'`: x / sqrt(max(sum of squares, eps)), TensorFlow's
 * - `'add-square'`: x / sqrt(sum of squares + eps), Qwen3-Next's
 * - `'mean-square'`: x / sqrt(sum of squares / n + eps), Llama 4's and SGLang's; that of rmsNorm
 * - `'zero'`: x / norm, and 0 where the norm is 0; no eps, ONNX's
 */
export type NormalizeRule = 'clamp' | 'clamp-square' | 'add-square' | 'mean-square' | 'zero'

const rules: readonly NormalizeRule[] = ['clamp', 'clamp-square', 'add-square', 'mean-square', 'zero']
const [CLAMP, CLAMP_SQUARE, ADD_SQUARE, MEAN_SQUARE] = rules.keys()

/** Options of {@link normalize}. */
export interface NormalizeOptions {
  /** Which norm: > 0, Infinity for the largest magnitude. Default: 2. */
  p?: number
  /** Finite and >= 0; what it does, `rule` says. Default: 1e-12. */
  eps?: number
  /** How eps is used; those with a square need p = 2. Default: 'clamp'. */
  rule?: NormalizeRule
  /** Multiplies every result: the learned scale of ScaleNorm (Nguyen & Salazar 2019, arXiv 1910.05895). Default: 1. */
  scale?: number
  /** One element per group; receives the norm. */
  norm?: Statistic
  /** As many elements as x; receives the result. May be exactly x. Default: new memory. */
  out?: Operand
}

const smallOptions = ['eps', 'out']
const known = ['p', 'eps', 'rule', 'scale', 'norm', 'out']

/**
 * Division by the p-norm (torch.nn.functional.normalize; ONNX LpNormalization): `y = x / max(norm, eps) * scale` for each
 * group of `normalizedShape` elements, with `norm = (sum of |x|^p)^(1/p)`.
 *
 * @param x whole groups: a Float32Array, or a tensor whose last dims are normalizedShape
 * @param normalizedShape the trailing dimensions of a group, e.g. 768; or, for a tensor, `{ axis }`
 * @returns for an array the Float32Array that was written; for a tensor `options.out` where that is a tensor, else a tensor
 *   of x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 */
export function normalize(x: Float32Array, normalizedShape: NormalizedShape, options?: NormalizeOptions): Float32Array
export function normalize<X extends TensorLike>(
  x: X,
  normalizedShape: NormalizedShape | Axis,
  options?: NormalizeOptions
): X
export function normalize(
  x: Operand,
  normalizedShape: NormalizedShape | Axis,
  options: NormalizeOptions = {}
): Operand {
  const op = 'normalize'
  if (typeof normalizedShape === 'number' && hasOnly(options, smallOptions)) {
    const { eps = 1e-12, out } = options
    const small = smallCalls.call(x, out, undefined, undefined, false, normalizedShape, eps, 0, 0)
    if (small) return small
  }
  checkOptions(op, options, known)
  const groups = readGroups(op, normalizedShape)
  const { p = 2, eps = 1e-12, rule = 'clamp', scale = 1, norm, out } = options
  if (typeof p !== 'number') throw wrongType(op, 'p', 'a number', describe(p))
  if (!(p > 0 && 1 / p < Number.POSITIVE_INFINITY)) throw wrongValue(op, 'p', 'a number > 0', describe(p))
  checkEps(op, eps)
  if (!rules.includes(rule)) {
    throw (typeof rule === 'string' ? wrongValue : wrongType)(op, 'rule', `one of ${rules.join(', ')}`, describe(rule))
  }
  if (p !== 2 && rule.endsWith('square')) throw wrongValue(op, 'p', `2 (rule ${rule})`, String(p))
  checkFinite(op, 'scale', scale)
  checkFinite(op, 'scale as float32', f32(scale))
  // Sums of other powers than squares are made over rows only.
  const call = readRowCall(op, x, groups, { out, norm }, undefined, undefined, { gather: p !== 2 })
  return runRowCall(call, ({ y, norm, x, outer, size, inner }) =>
    kernel(y, size * inner, norm, x, size * inner, outer, size, inner, p, rules.indexOf(rule), eps, scale)
  )
}

const preparations = new Preparations('normalize', (prepare, place, rows, [size, eps]) =>
  prepare(place.y, size, undefined, place.x, size, rows, size, 1, 2, 0, eps, 1)
)
const smallCalls = new SmallCalls(preparations)
const kernel = kernelFor('normalize', normalize_kernel)
const f32 = Math.fround
const squares = new Float64Array(STRIP)
const scales = makeColumnScales()

/** 1 over what x is divided by, from its norm; where p is 2 also from the sum of squares. */
function reciprocal(norm: number, square: number, n: number, rule: number, eps: number): number {
  if (rule === CLAMP) return 1 / (norm < eps ? eps : norm)
  if (rule === CLAMP_SQUARE) return 1 / Math.sqrt(square < eps ? eps : square)
  if (rule === ADD_SQUARE) return 1 / Math.sqrt(square + eps)
  if (rule === MEAN_SQUARE) return 1 / Math.sqrt(square / n + eps)
  return norm === 0 ? 0 : 1 / norm
}

function normOf(n: number, x: Float32Array, start: number, p: number): number {
  if (p === 1) return sumOfMagnitudes(n, x, start)
  const largest = largestMagnitude(n, x, start)
  if (p === Number.POSITIVE_INFINITY || !(largest > 0 && largest < Number.POSITIVE_INFINITY)) return largest
  return largest * power(sumOfPowers(n, x, start, largest, p), 1 / p)
}

/** The kernel. More than one inner column needs p = 2. It checks nothing. */
export function normalize_kernel(
  y: Float32Array,
  yStride: number,
  norm: Statistic | undefined,
  x: Float32Array,
  xStride: number,
  outer: number,
  size: number,
  inner: number,
  p: number,
  rule: number,
  eps: number,
  factor: number
): void {
  const f = f32(factor)
  for (let row = 0; row < outer; row++) {
    const x0 = row * xStride
    const y0 = row * yStride
    if (inner > 1) {
      columns(y, y0, norm, row * inner, x, x0, size, inner, rule, eps, f)
      continue
    }
    const square = p === 2 ? sums(size, 0, x, x0).q : 0
    const length = p === 2 ? Math.sqrt(square) : normOf(size, x, x0, p)
    const of = scaleOf(0, length * length, reciprocal(length, square, size, rule, eps))
    if (norm) norm[row] = length
    if (of.wide) for (let i = 0; i < size; i++) y[y0 + i] = x[x0 + i] * of.rstd * f
    else for (let i = 0; i < size; i++) y[y0 + i] = f32(x[x0 + i] * of.r) * f
  }
}

function columns(
  y: Float32Array,
  y0: number,
  norm: Statistic | undefined,
  norm0: number,
  x: Float32Array,
  x0: number,
  size: number,
  inner: number,
  rule: number,
  eps: number,
  factor: number
): void {
  const rows: RowSet = { first: 0, samples: 1, positions: size, spans: undefined }
  const weight = { data: Float32Array.of(factor), start: 0, perRow: 0, perColumn: 0 }
  for (let first = 0; first < inner; first += STRIP) {
    const n = Math.min(STRIP, inner - first)
    columnSquares(squares, n, x, x0 + first, inner, rows)
    for (let k = 0; k < n; k++) {
      const length = Math.sqrt(squares[k])
      setColumnScaleWithoutMean(scales, k, length * length, reciprocal(length, squares[k], size, rule, eps))
      if (norm) norm[norm0 + first + k] = length
    }
    normaliseColumns(y, y0 + first, x, x0 + first, inner, n, rows, scales, weight, undefined)
  }
}
