// What all row operations share: groups over the trailing dimensions, a fused residual, outputs and statistics.
import type { Statistic } from './canonical.js'
import {
  checkApart,
  checkAttached,
  checkInPlace,
  checkLength,
  describe,
  lengthOf,
  typedArrayKind,
  wrongType,
  wrongValue
} from './check.js'
import { like, type Operand, readOperand } from './tensor.js'

/** The trailing dimensions that form a group: a number, or an array of numbers. */
export type NormalizedShape = number | readonly number[]

/** Options that every row operation has beside its parameters. */
export interface RowOptions {
  /** Shape of x. Added first: x + residual, rounded to float32, is what is normalised. */
  residual?: Operand
  /** Shape of x; receives x + residual. May be exactly x or residual. Needs `residual`. */
  sum?: Operand
  /** One element per row; receives 1 / sqrt(variance + eps), for RMS operations 1 / sqrt(mean of squares + eps). */
  rstd?: Statistic
  /** As many elements as x; receives the result. May be exactly x or residual. Default: new memory. */
  out?: Operand
}

/** Positive integers, and their product. */
export interface Shape {
  readonly dims: readonly number[]
  readonly size: number
}

/** Reads `normalizedShape`. */
export function readShape(op: string, normalizedShape: NormalizedShape): Shape {
  const dims = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape
  const expected = 'a positive integer or an array of them'
  if (!Array.isArray(dims)) throw wrongType(op, 'normalizedShape', expected, describe(normalizedShape))
  let size = 1
  for (const dim of dims) {
    if (typeof dim !== 'number') throw wrongType(op, 'normalizedShape', expected, describe(normalizedShape))
    size *= Number.isSafeInteger(dim) && dim > 0 ? dim : Number.NaN
  }
  if (dims.length === 0 || !Number.isSafeInteger(size)) {
    throw wrongValue(op, 'normalizedShape', expected, describe(normalizedShape))
  }
  return { dims: [...dims], size }
}

/** A weight or bias: one element per column, or absent. */
export function readPerColumn(
  op: string,
  what: string,
  value: Operand | undefined,
  shape: Shape
): Float32Array | undefined {
  if (value === undefined) return undefined
  const { data } = readOperand(op, what, value)
  checkLength(op, what, data, shape.size, 'normalizedShape')
  return data
}

/** A statistic: one element per row, or absent. */
function readPerRow(op: string, what: string, value: Statistic | undefined, rows: number): Statistic | undefined {
  if (value === undefined) return undefined
  const kind = typedArrayKind(value)
  if (kind !== 'Float32Array' && kind !== 'Float64Array') {
    throw wrongType(op, what, 'Float32Array or Float64Array', describe(value))
  }
  checkAttached(op, what, value)
  checkLength(op, what, value, rows, 'rows')
  return value
}

/** A checked call: everything that a kernel needs, and what the caller gets. */
export interface RowCall {
  rows: number
  cols: number
  x: Float32Array
  residual: Float32Array | undefined
  y: Float32Array
  sum: Float32Array | undefined
  mean: Statistic | undefined
  rstd: Statistic | undefined
  result: Operand
}

/** `out` and `sum` may each be exactly x or exactly residual; nothing else that they share memory with. */
function checkWritten(
  op: string,
  what: string,
  written: Float32Array,
  x: Float32Array,
  residual: Float32Array | undefined,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined
): void {
  checkInPlace(op, what, written, 'x', x)
  checkInPlace(op, what, written, 'residual', residual)
  checkApart(op, what, written, 'weight', weight)
  checkApart(op, what, written, 'bias', bias)
}

/** A statistic shares no memory with anything. */
function checkStatistic(
  op: string,
  what: string,
  statistic: Statistic,
  others: { [name: string]: Statistic | undefined }
) {
  for (const name of Object.keys(others)) checkApart(op, what, statistic, name, others[name])
}

/** Checks everything about one call; writes nothing. */
export function readRowCall(
  op: string,
  x: Operand,
  shape: Shape,
  options: RowOptions & { mean?: Statistic },
  weight: Float32Array | undefined,
  bias: Float32Array | undefined
): RowCall {
  // First everything that may run code of the caller's: getters, and the constructor of x's class.
  const { data, dims } = readOperand(op, 'x', x)
  const { residual: givenResidual, sum: givenSum, mean: givenMean, rstd: givenRstd, out: givenOut } = options
  const read = (what: string, value: Operand | undefined) =>
    value === undefined ? undefined : readOperand(op, what, value)
  const residual = read('residual', givenResidual)?.data
  const sum = read('sum', givenSum)?.data
  const out = read('out', givenOut)
  const length = lengthOf(data)
  const y = out?.data ?? new Float32Array(length)
  const result = dims && out?.dims ? (givenOut as Operand) : like(x, dims, y)

  // Then the checks, after which nothing but the kernel runs.
  const cols = shape.size
  if (dims) {
    const trailing = dims.slice(-shape.dims.length)
    if (trailing.length < shape.dims.length || trailing.some((dim, i) => dim !== shape.dims[i])) {
      throw wrongValue(op, 'normalizedShape', `the last dims of x, [${dims.join(', ')}]`, describe(shape.dims))
    }
  }
  if (length % cols !== 0) throw wrongValue(op, 'x.length', `a multiple of ${cols} (normalizedShape)`, String(length))
  const rows = length / cols
  checkLength(op, 'x', data, length, 'its length when it was read')
  checkAttached(op, 'x', data)
  if (weight) checkLength(op, 'weight', weight, cols, 'normalizedShape')
  if (bias) checkLength(op, 'bias', bias, cols, 'normalizedShape')
  if (residual) checkLength(op, 'residual', residual, length, 'x.length')
  if (sum) checkLength(op, 'sum', sum, length, 'x.length')
  if (sum && !residual) throw wrongType(op, 'residual', 'an array, because sum is given', 'undefined')
  const mean = readPerRow(op, 'mean', givenMean, rows)
  const rstd = readPerRow(op, 'rstd', givenRstd, rows)
  if (out) checkLength(op, 'out', y, length, 'x.length')

  if (out) checkWritten(op, 'out', y, data, residual, weight, bias)
  if (sum) {
    checkWritten(op, 'sum', sum, data, residual, weight, bias)
    checkApart(op, 'sum', sum, 'out', out?.data)
  }
  if (mean) checkStatistic(op, 'mean', mean, { x: data, residual, weight, bias, out: out?.data, sum })
  if (rstd) checkStatistic(op, 'rstd', rstd, { x: data, residual, weight, bias, out: out?.data, sum, mean })
  return { rows, cols, x: data, residual, y, sum, mean, rstd, result }
}
