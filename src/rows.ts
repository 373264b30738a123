// What all row operations share: groups over the trailing dimensions or over axes, a fused residual, padding, outputs and
// statistics.
import { type Axis, type Gathering, type Groups, gatherGroups, groupsOver, readAxes, scatterGroups } from './axes.js'
import type { Kernels } from './backend.js'
import { type AsyncOptions, CallMemory, checkTransfer } from './background.js'
import type { Statistic } from './canonical.js'
import {
  checkApart,
  checkAttached,
  checkFinite,
  checkInPlace,
  checkLength,
  checkOptions,
  checkStatisticArray,
  describe,
  isShared,
  lengthOf,
  part,
  wrongType,
  wrongValue
} from './check.js'
import { keptRanges, type PaddingOptions, readPadding } from './padding.js'
import { like, type Operand, readOperand } from './tensor.js'

export type { Axis } from './axes.js'

/** The trailing dimensions that form a group: a number, or an array of numbers. */
export type NormalizedShape = number | readonly number[]

/** Options that every row operation has beside its parameters. */
export interface RowOptions extends PaddingOptions {
  /** Shape of x. Added first: x + residual * residualScale, rounded to float32, is what is normalised. */
  residual?: Operand
  /** Multiplies the residual, in float32: DeepNorm's alpha (Wang et al. 2022, arXiv 2203.00555). Default: 1. */
  residualScale?: number
  /** Shape of x; receives the sum. May be exactly x or residual. Needs `residual`. */
  sum?: Operand
  /** One element per row; receives 1 / sqrt(variance + eps), for RMS operations 1 / sqrt(mean of squares + eps). */
  rstd?: Statistic
  /** As many elements as x; receives the result. May be exactly x or residual. Default: new memory. */
  out?: Operand
}

/** The options of {@link RowOptions}. */
export const rowOptions = ['residual', 'residualScale', 'sum', 'rstd', 'lengths', 'mask', 'out']

/** residualScale: finite, also as float32, and only with a residual. */
export function checkResidualScale(op: string, { residual, residualScale = 1 }: RowOptions): number {
  checkFinite(op, 'residualScale', residualScale)
  checkFinite(op, 'residualScale as float32', Math.fround(residualScale))
  if (residualScale !== 1 && residual === undefined) {
    throw wrongType(op, 'residual', 'an array, because residualScale is given', 'undefined')
  }
  return residualScale
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

/** What a call normalises over: the trailing dimensions, or axes of a tensor. */
export type GroupsOf = Shape | { readonly axes: readonly number[] }

/** Reads the second argument of a row operation: `normalizedShape`, or `{ axis }`. */
export function readGroups(op: string, given: NormalizedShape | Axis): GroupsOf {
  if (typeof given !== 'object' || given === null || Array.isArray(given) || !('axis' in given)) {
    return readShape(op, given as NormalizedShape)
  }
  checkOptions(op, given, ['axis'])
  return { axes: readAxes(op, given.axis) }
}

/** A statistic: one element per row, or absent. */
function readPerRow(op: string, what: string, value: Statistic | undefined, rows: number): Statistic | undefined {
  if (value !== undefined) checkStatisticArray(op, what, value, rows, 'rows')
  return value
}

/** A checked call: everything that a kernel needs, and what the caller gets. */
export interface RowCall extends Groups, RowArrays {
  /** Where padding is left out of rows: the ranges of them that are real. */
  readonly ranges: [number, number][] | undefined
  /** What the caller gets. With `later` undefined: it is made when there is memory for it. */
  readonly result: Operand | undefined
  /** The result over other memory. */
  readonly resultOver: (y: Float32Array) => Operand
  /** What is left to do after the kernel: 0 at padded positions, gathered groups back in their places. */
  readonly finish: ((arrays: RowArrays) => void) | undefined
}

interface RowArrays {
  readonly x: Float32Array
  readonly residual: Float32Array | undefined
  readonly y: Float32Array
  readonly sum: Float32Array | undefined
  readonly mean: Statistic | undefined
  readonly rstd: Statistic | undefined
  readonly norm: Statistic | undefined
  readonly weight: Float32Array | undefined
  readonly bias: Float32Array | undefined
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

/** Calls the kernel for all groups, or range by range for those that are real; then finishes the call. */
export function runRowCall(call: RowCall, kernel: (part: RowPart) => void): Operand {
  if (call.outer === 0 || call.inner === 0) {
    // No groups: nothing to write.
  } else if (!call.ranges) {
    kernel(call)
  } else {
    const { size } = call
    for (const [begin, end] of call.ranges) {
      const rows = (array: Float32Array | undefined) => array && part(array, begin * size, end * size)
      const statistics = (array: Statistic | undefined) => array && part(array, begin, end)
      kernel({
        ...call,
        outer: end - begin,
        x: part(call.x, begin * size, end * size),
        y: part(call.y, begin * size, end * size),
        residual: rows(call.residual),
        sum: rows(call.sum),
        mean: statistics(call.mean),
        rstd: statistics(call.rstd),
        norm: statistics(call.norm)
      })
    }
  }
  call.finish?.(call)
  return call.result as Operand
}

/** What a kernel works on: all of a call, or some of its groups. */
export type RowPart = RowArrays & Groups

/** Options of a layer's forwardAsync. */
export interface RowAsyncOptions extends RowOptions, AsyncOptions {}

/**
 * The same off the event loop. `operands` gives the kernel's. Everything is checked, and x copied or taken over, before this
 * comes back with its Promise.
 */
export async function runRowCallLater(
  op: string,
  kernel: keyof Kernels,
  call: RowCall,
  operands: (part: RowPart) => readonly unknown[],
  { transfer, signal, out }: RowAsyncOptions
): Promise<Operand> {
  if (transfer) {
    checkTransfer(op, 'x', call.x, out)
    checkApart(op, 'sum', call.sum, 'x', call.x)
  }
  const memory = new CallMemory(op)
  const residual = call.residual && memory.own(call.residual)
  const x = transfer ? memory.take('x', call.x) : memory.own(call.x)
  // In place where x is the call's own: then there is nothing else to allocate.
  const fresh = isShared(call.x) ? undefined : x
  const given = out !== undefined
  const y = given ? (memory.written('out', call.y, fresh) as Float32Array) : (fresh ?? new Float32Array(lengthOf(x)))
  const arrays = {
    x,
    y,
    residual,
    sum: memory.written('sum', call.sum),
    mean: memory.written('mean', call.mean),
    rstd: memory.written('rstd', call.rstd),
    norm: memory.written('norm', call.norm),
    weight: memory.weight(call.weight),
    bias: memory.weight(call.bias)
  }
  const { outer, size, inner } = call
  if (outer > 0) await memory.run(kernel, operands({ ...arrays, outer, size, inner }), signal)
  // Padded rows were computed as well: finish clears them.
  const now = <A extends Statistic>(array: A | undefined) => array && memory.now(array)
  const { mean, rstd, sum } = arrays
  call.finish?.({ ...arrays, y: memory.now(y), sum: now(sum), mean: now(mean), rstd: now(rstd) })
  memory.deliver()
  return call.resultOver(given ? call.y : memory.now(y))
}

/** The options that {@link readRowCall} reads; an operation leaves out what it has not. */
interface RowCallOptions extends RowOptions {
  mean?: Statistic
  norm?: Statistic
}

/**
 * Checks everything about one call; writes nothing. With `gather`, groups that are columns are copied into rows, too. With
 * `later`, where no `out` is given there is no place for the result yet: y is x.
 */
export function readRowCall(
  op: string,
  x: Operand,
  over: GroupsOf,
  options: RowCallOptions,
  givenWeight: Operand | undefined,
  givenBias: Operand | undefined,
  { gather = false, later = false } = {}
): RowCall {
  // First everything that may run code of the caller's: getters, and the constructor of x's class.
  const { data, dims } = readOperand(op, 'x', x)
  const { residual: givenResidual, sum: givenSum, out: givenOut } = options
  const { mean: givenMean, rstd: givenRstd, norm: givenNorm, lengths, mask } = options
  const read = (what: string, value: Operand | undefined) =>
    value === undefined ? undefined : readOperand(op, what, value)
  const weight = read('weight', givenWeight)?.data
  const bias = read('bias', givenBias)?.data
  const residual = read('residual', givenResidual)?.data
  const sum = read('sum', givenSum)?.data
  const out = read('out', givenOut)
  const length = lengthOf(data)
  const { groups, gathering } =
    'axes' in over ? overAxes(op, over.axes, dims, gather) : trailing(op, over, dims, length)
  const why = 'axes' in over ? 'axis' : 'normalizedShape'
  const padding =
    lengths === undefined && mask === undefined ? undefined : readRowPadding(op, dims, over, { lengths, mask })
  const y = out?.data ?? (later ? data : new Float32Array(length))
  const resultOver = (y: Float32Array) => (dims && out?.dims ? (givenOut as Operand) : like(x, dims, y))
  const result = later ? undefined : resultOver(y)

  // Then the checks, after which nothing but the kernel runs.
  const { size } = groups
  checkLength(op, 'x', data, length, 'its length when it was read')
  checkAttached(op, 'x', data)
  if (weight) checkLength(op, 'weight', weight, size, why)
  if (bias) checkLength(op, 'bias', bias, size, why)
  if (residual) checkLength(op, 'residual', residual, length, 'x.length')
  if (sum) checkLength(op, 'sum', sum, length, 'x.length')
  if (sum && !residual) throw wrongType(op, 'residual', 'an array, because sum is given', 'undefined')
  const count = length / size
  const mean = readPerRow(op, 'mean', givenMean, count)
  const rstd = readPerRow(op, 'rstd', givenRstd, count)
  const norm = readPerRow(op, 'norm', givenNorm, count)
  if (out) checkLength(op, 'out', y, length, 'x.length')

  if (out) checkWritten(op, 'out', y, data, residual, weight, bias)
  if (sum) {
    checkWritten(op, 'sum', sum, data, residual, weight, bias)
    checkApart(op, 'sum', sum, 'out', out?.data)
  }
  if (mean) checkStatistic(op, 'mean', mean, { x: data, residual, weight, bias, out: out?.data, sum })
  if (rstd) checkStatistic(op, 'rstd', rstd, { x: data, residual, weight, bias, out: out?.data, sum, mean })
  if (norm) checkStatistic(op, 'norm', norm, { x: data, out: out?.data })

  const arrays = { x: data, residual, y, sum, mean, rstd, norm, weight, bias }
  if (gathering) {
    const rows = gatherRows(arrays, gathering)
    return callOf(groups, rows, result, resultOver, undefined, rows => scatterRows(rows, arrays, gathering))
  }
  const finish = padding && ((arrays: RowArrays) => clearPadding(arrays, groups, padding))
  const ranges = padding && groups.inner === 1 ? keptRanges(padding) : undefined
  return callOf(groups, arrays, result, resultOver, ranges, finish)
}

/** Field by field: spreading two objects costs more than a small kernel (measured). */
function callOf(
  { outer, size, inner }: Groups,
  { x, residual, y, sum, mean, rstd, norm, weight, bias }: RowArrays,
  result: RowCall['result'],
  resultOver: RowCall['resultOver'],
  ranges: RowCall['ranges'],
  finish: RowCall['finish']
): RowCall {
  return { outer, size, inner, x, residual, y, sum, mean, rstd, norm, weight, bias, result, resultOver, ranges, finish }
}

function trailing(op: string, shape: Shape, dims: number[] | undefined, length: number) {
  if (dims) {
    const last = dims.slice(-shape.dims.length)
    if (last.length < shape.dims.length || last.some((dim, i) => dim !== shape.dims[i])) {
      throw wrongValue(op, 'normalizedShape', `the last dims of x, [${dims.join(', ')}]`, describe(shape.dims))
    }
  }
  const { size } = shape
  if (length % size !== 0) throw wrongValue(op, 'x.length', `a multiple of ${size} (normalizedShape)`, String(length))
  return { groups: { outer: length / size, size, inner: 1 }, gathering: undefined }
}

function overAxes(op: string, axes: readonly number[], dims: number[] | undefined, gather: boolean) {
  if (!dims) throw wrongType(op, 'x', 'a tensor { data, dims }, because axis is given', 'Float32Array')
  return groupsOver(op, axes, dims, gather)
}

/** Which groups are real: [N, L] flags. The group must be one axis of a tensor of three: the last or the second. */
function readRowPadding(
  op: string,
  dims: number[] | undefined,
  over: GroupsOf,
  options: PaddingOptions
): Uint8Array | undefined {
  const what = options.lengths === undefined ? 'mask' : 'lengths'
  if (!dims) throw wrongType(op, 'x', `a tensor { data, dims }, because ${what} is given`, 'Float32Array')
  const axes = 'axes' in over ? over.axes.map(axis => (axis < 0 ? axis + 3 : axis)) : over.dims.length === 1 ? [2] : []
  const last = axes[0] === 2
  if (dims.length !== 3 || axes.length !== 1 || (!last && axes[0] !== 1)) {
    throw wrongValue(op, 'x.dims', `[N, L, C] or [N, C, L] with C to normalise over (${what})`, describe(dims))
  }
  return readPadding(op, options, dims[0], last ? dims[1] : dims[2])?.kept
}

/** 0 at padded positions of all that was written. */
function clearPadding({ y, sum, mean, rstd }: RowArrays, { size, inner }: Groups, kept: Uint8Array): void {
  kept.forEach((flag, group) => {
    if (flag) return
    if (mean) mean[group] = 0
    if (rstd) rstd[group] = 0
    const first = inner === 1 ? group * size : Math.floor(group / inner) * size * inner + (group % inner)
    for (let i = 0; i < size; i++) {
      y[first + i * inner] = 0
      if (sum) sum[first + i * inner] = 0
    }
  })
}

function gatherRows(arrays: RowArrays, gathering: Gathering): RowArrays {
  const residual = arrays.residual && gatherGroups(arrays.residual, gathering)
  const x = gatherGroups(arrays.x, gathering)
  const sum = arrays.sum && new Float32Array(x.length)
  return { ...arrays, x, residual, sum, y: new Float32Array(x.length) }
}

function scatterRows(rows: RowArrays, arrays: RowArrays, gathering: Gathering): void {
  scatterGroups(rows.y, arrays.y, gathering)
  if (rows.sum && arrays.sum) scatterGroups(rows.sum, arrays.sum, gathering)
}
