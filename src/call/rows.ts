// Reads the calls of all operations over rows: groups over the trailing dimensions or over axes, a fused residual, padding,
// outputs and statistics.
import type { Axes, Groups, Spans, Statistic, Strides } from '../kernels/operands.js'
import { bareArray, gotShape } from './advice.js'
import { checkStatisticArray, copied } from './arrays.js'
import { type Axis, type GroupShape, groupsOver, orderedWeight, readAxes } from './axes.js'
import { checkDtype, type DtypeOption } from './elements.js'
import { describe, wrongType, wrongValue } from './errors.js'
import { checkFinite, readOptions } from './options.js'
import { Operands } from './overlap.js'
import { type PaddingOptions, paddingOptions, readPadding } from './padding.js'
import type { ReadCall } from './run.js'
import {
  type Elements,
  newLike,
  type Operand,
  type Output,
  readOperand,
  readOutput,
  readVector,
  readViewLikeX
} from './tensor.js'
import { type PlacedRows, placeRows, type RowOperand } from './views.js'

/** The trailing dimensions of x that form a group: a positive integer, 768, or an array of them, [3, 256]. */
export type NormalizedShape = number | readonly number[]

/** Options of a call of rmsNorm, most of them of layerNorm too, that are not parameters of the layer. */
export interface RowOptions extends PaddingOptions, DtypeOption {
  /** Shape of x; is added first: what is normalised is x + residual * residualScale, rounded to float32. Default: none. */
  residual?: Operand | undefined
  /** Multiplies the residual, in float32: alpha of DeepNorm (Wang et al. 2022, arXiv 2203.00555). Needs `residual`. Default: 1. */
  residualScale?: number | undefined
  /** Shape of x; receives the sum of x and the residual. May be exactly x or residual, as `out` may. Needs `residual`. */
  sum?: Operand | undefined
  /** One element per group; receives 1 / sqrt(mean of x^2 + eps). 0 for padded positions. */
  rstd?: Statistic | undefined
  /**
   * Receives the result: as many elements as x, as a tensor its dims. May be exactly x or exactly the residual (the same memory
   * from the first to the last element), which makes the call in place. Otherwise it must share no memory with anything else in
   * the call. Default: new memory.
   */
  out?: Operand | undefined
}

/** The options of {@link RowOptions}. */
export const rowOptions = {
  residual: true,
  residualScale: true,
  sum: true,
  rstd: true,
  ...paddingOptions,
  dtype: true,
  out: true
} as const

/** residualScale: finite, also as float32, and only with a residual, or where one was. */
export function readResidualScale(
  op: string,
  { residual, residualScale = 1 }: { residual?: Operand | undefined; residualScale?: number | undefined },
  hadResidual = residual !== undefined
): number {
  checkFinite(op, 'residualScale', residualScale)
  checkFinite(op, 'residualScale as float32', Math.fround(residualScale))
  if (residualScale !== 1 && !hadResidual) {
    throw wrongType(op, 'residual', 'an array, because residualScale is given', 'undefined')
  }
  return residualScale
}

/** Positive integers, and their product. */
export interface Shape {
  readonly dims: readonly number[]
  readonly size: number
}

/** Reads `normalizedShape`; `axes` where `{ axis }` could stand in its place. */
export function readShape(op: string, normalizedShape: NormalizedShape, axes = false): Shape {
  const dims = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape
  const expected = 'a positive integer or an array of them'
  if (!Array.isArray(dims)) throw wrongType(op, 'normalizedShape', expected, gotShape(normalizedShape, axes))
  const copy = copied(op, 'normalizedShape', dims) as number[]
  let size = 1
  for (const dim of copy) {
    if (typeof dim !== 'number') throw wrongType(op, 'normalizedShape', expected, gotShape(normalizedShape, axes))
    size *= Number.isSafeInteger(dim) && dim > 0 ? dim : Number.NaN
  }
  if (copy.length === 0 || !Number.isSafeInteger(size)) {
    throw wrongValue(op, 'normalizedShape', expected, gotShape(normalizedShape, axes))
  }
  return { dims: copy, size }
}

/** What a call normalizes over: the trailing dimensions, or axes of a tensor. */
export type GroupsOf = Shape | { readonly axes: readonly number[] }

/** Reads the second argument of a row operation: `normalizedShape`, or `{ axis }`. */
export function readGroups(op: string, given: NormalizedShape | Axis): GroupsOf {
  if (typeof given !== 'object' || given === null || Array.isArray(given) || !('axis' in given)) {
    return readShape(op, given as NormalizedShape, true)
  }
  const { axis } = readOptions<Axis>(op, given, { axis: true })
  return { axes: readAxes(op, axis) }
}

/** The operands that a row operation may have, by name, as kernels take them. */
export interface RowCall extends ReadCall {
  readonly y: Float32Array
  readonly residual: Float32Array | undefined
  readonly residualScale: number
  readonly sum: Float32Array | undefined
  readonly mean: Statistic | undefined
  readonly rstd: Statistic | undefined
  readonly norm: Statistic | undefined
  readonly weight: Float32Array | undefined
  readonly bias: Float32Array | undefined
  readonly shape: Groups
  /** Of views: elements from one row to the next. */
  readonly strides: Strides | undefined
}

/** The options that {@link readRowCall} reads; an operation leaves out what it has not. */
interface RowCallOptions extends RowOptions {
  mean?: Statistic | undefined
  norm?: Statistic | undefined
}

/**
 * Checks everything about one call; writes nothing. With `asRows`, groups that are columns are copied into rows, too. With
 * `async`, where no `out` is given there is no place for the result yet: y is x.
 */
export function readRowCall(
  op: string,
  given: Operand,
  over: GroupsOf,
  options: RowCallOptions,
  givenWeight: Operand | undefined,
  givenBias: Operand | undefined,
  { asRows = false, async = false } = {}
): RowCall {
  // First everything that may run code of the caller's: getters, and the constructor of x's class.
  const { dtype } = options
  checkDtype(op, dtype)
  const x = readOperand(op, 'x', given, dtype, true)
  const length = x.count
  const residualScale = readResidualScale(op, options)
  const { groups, permutation, weightDims, weightPermutation } = groupsOf(op, over, x, length, asRows)
  const why = 'axes' in over ? 'axis' : 'normalizedShape'
  const weight = readVector(op, 'weight', givenWeight, weightDims, why, dtype)
  const bias = readVector(op, 'bias', givenBias, weightDims, why, dtype)
  const residual = options.residual === undefined ? undefined : readViewLikeX(op, 'residual', options.residual, x)
  const sum = options.sum === undefined ? undefined : readOutput(op, x, options.sum, 'sum', true, true)
  if (sum && !residual) throw wrongType(op, 'residual', 'an array, because sum is given', 'undefined')
  const output = readOutput(op, x, options.out, 'out', false, true)
  const { resultOver } = output
  const perGroup = (what: string, value: Statistic | undefined) => {
    if (value !== undefined) checkStatisticArray(op, what, value, length / groups.size, 'rows')
    return value
  }
  const mean = perGroup('mean', options.mean)
  const rstd = perGroup('rstd', options.rstd)
  const norm = perGroup('norm', options.norm)
  const spans = readRowPadding(op, x.dims, over, options, permutation !== undefined)
  const rows = readViews(op, { x, residual, sum, output }, groups, permutation !== undefined)
  const strides = rows && stridesOf(rows)
  const placed = {
    x: rows?.x?.array ?? x.data,
    residual: rows?.residual?.array ?? residual?.data,
    sum: rows?.sum?.array ?? sum?.out,
    out: rows?.out?.array ?? output.out
  }
  const { out } = placed
  const y = out ?? (async && !rows ? x.data : newLike(x))
  const result = async ? undefined : resultOver(output.out ?? y)

  // Then the checks, after which nothing but the kernel runs.
  const operands = new Operands(op)
  operands.add('x', placed.x, 'input', undefined, rows?.x?.rows)
  operands.add('residual', placed.residual, 'input', undefined, rows?.residual?.rows)
  operands.add('weight', weight, 'parameter')
  operands.add('bias', bias, 'parameter')
  operands.add('out', out, 'result', undefined, rows?.out?.rows)
  operands.add('sum', placed.sum, 'result', undefined, rows?.sum?.rows)
  operands.add('mean', mean, 'statistic')
  operands.add('rstd', rstd, 'statistic')
  operands.add('norm', norm, 'statistic')
  operands.check()
  return {
    x: placed.x,
    y,
    out,
    residual: placed.residual,
    residualScale,
    sum: placed.sum,
    mean,
    rstd,
    norm,
    weight: orderedWeight(weight, weightPermutation),
    bias: orderedWeight(bias, weightPermutation),
    shape: withSpans(groups, spans),
    permutation,
    empty: groups.outer === 0 || groups.inner === 0,
    result,
    resultOver,
    strides,
    views: rows && { x: rows.x?.rows, residual: rows.residual?.rows, sum: rows.sum?.rows, out: rows.out?.rows }
  }
}

/** The operands of a call that may be views. */
interface Views {
  readonly x: Elements
  readonly residual: Elements | undefined
  readonly sum: Output | undefined
  readonly output: Output
}

/** The rows of all of them, where one is a view or is broadcast; else undefined. */
function readViews(
  op: string,
  { x, residual, sum, output }: Views,
  groups: Groups,
  permuted: boolean
): { [name in RowOperand]: PlacedRows | undefined } | undefined {
  const { dims } = x
  const isBroadcast = residual?.dims && residual.count !== x.count
  if (!dims || !(x.layout || residual?.layout || sum?.layout || output.layout || isBroadcast)) return undefined
  if (permuted || groups.inner !== 1) {
    const views = { x: x.layout, residual: residual?.layout ?? isBroadcast, sum: sum?.layout, out: output.layout }
    const [what] = Object.entries(views).find(([, isView]) => isView) as [string, unknown]
    throw wrongValue(op, `${what}.strides`, 'those of a dense tensor, where the axes are not the last ones', 'a view')
  }
  const written = (place: Output | undefined) =>
    place?.out && { data: place.out, dims: undefined, layout: place.layout }
  const operands = { x, residual, sum: written(sum), out: written(output) }
  return placeRows(op, operands, dims, groups)
}

/** The strides of a call's matrices, where the kernel is to be told. */
function stridesOf(rows: { [name in RowOperand]: PlacedRows | undefined }): Strides | undefined {
  return { x: rows.x?.stride, residual: rows.residual?.stride, sum: rows.sum?.stride, y: rows.out?.stride }
}

/** The groups of x. With `asRows`, those that are columns are copied into rows, too. */
export function groupsOf(op: string, over: GroupsOf, x: Elements, length: number, asRows: boolean): GroupShape {
  const { dims } = x
  if ('axes' in over) {
    if (!dims) throw wrongType(op, 'x', 'a tensor { data, dims }, because axis is given', bareArray('x', '[...]'))
    return groupsOver(op, over.axes, dims, asRows)
  }
  const { size } = over
  if (dims) {
    const last = dims.slice(-over.dims.length)
    if (last.length < over.dims.length || last.some((dim, i) => dim !== over.dims[i])) {
      throw wrongValue(op, 'normalizedShape', `the last dims of x, [${dims.join(', ')}]`, describe(over.dims))
    }
  }
  if (length % size !== 0) throw wrongValue(op, 'x.length', `a multiple of ${size} (normalizedShape)`, String(length))
  const groups = { outer: length / size, size, inner: 1 }
  return { groups, permutation: undefined as Axes | undefined, weightDims: over.dims, weightPermutation: undefined }
}

/** Some groups, of which these are real. By name: to spread an object takes V8 longer than a small kernel (measured). */
export function withSpans(groups: Groups, spans: Spans): Groups {
  return spans ? { outer: groups.outer, size: groups.size, inner: groups.inner, spans } : groups
}

/** Which groups are real. The group must be one axis of a tensor of three: the last or the second; `asRows` where it is copied. */
export function readRowPadding(
  op: string,
  dims: number[] | undefined,
  over: GroupsOf,
  options: PaddingOptions,
  asRows: boolean
): Spans {
  const { lengths, mask } = options
  if (lengths === undefined && mask === undefined) return undefined
  const what = lengths === undefined ? 'mask' : 'lengths'
  if (!dims) throw wrongType(op, 'x', `a tensor { data, dims }, because ${what} is given`, bareArray('x', '[N, L, C]'))
  const axes = 'axes' in over ? over.axes.map(axis => (axis < 0 ? axis + 3 : axis)) : over.dims.length === 1 ? [2] : []
  const last = axes[0] === 2
  if (dims.length !== 3 || axes.length !== 1 || (!last && axes[0] !== 1)) {
    throw wrongValue(op, 'x.dims', `[N, L, C] or [N, C, L] with C to normalize over (${what})`, describe(dims))
  }
  const positions = last ? dims[1] : dims[2]
  // Rows of a call are the positions of one sample: so are the columns of matrices of one column.
  return readPadding(op, options, dims[0], positions, last || asRows || positions === 1 || dims[1] === 1)
}
