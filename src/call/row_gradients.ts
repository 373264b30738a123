// Reads the calls of the backward operations over rows, and what they take beside their kernel: a residual is added, groups
// that are no rows are copied into rows, and the gradients back.

import { lengthOf } from '../kernels/arrays.js'
import { type Call, kernels } from '../kernels/index.js'
import { type Axes, type Groups, partialSums } from '../kernels/operands.js'
import { resultMemory } from './async_memory.js'
import { inverse, orderedWeight } from './axes.js'
import {
  checkGradients,
  type GradientCall,
  type GradientMemory,
  type GradientPlaces,
  readLikeX,
  readSaved,
  readSum,
  type Sum,
  type Written
} from './gradients.js'
import { type PaddingOptions, paddingOptions } from './padding.js'
import { type Plan, step } from './plan.js'
import { type GroupsOf, groupsOf, readResidualScale, readRowPadding } from './rows.js'
import { type Operand, readOperand, readOutput, readVector } from './tensor.js'

/** Options that the backward of every operation over rows with a residual has. */
export interface RowGradientOptions extends PaddingOptions, GradientPlaces {
  /** Shape of x; the forward's. Without one, pass what was normalized, e.g. the forward's `sum`, as x: that is less work. */
  residual?: Operand
  /** The forward's. Default: 1. */
  residualScale?: number
  /** Shape of x; the gradient that arrives at the forward's `sum`: added to that of x. */
  dsum?: Operand
  /** One element per row: what the forward wrote as float64. Nothing is then computed again; the bits are the same. */
  rstd?: Float64Array
  /**
   * As many elements as x; receives the gradient of the residual, that of x times residualScale. Default: new memory, where
   * there is a residual.
   */
  dresidual?: Operand
  /** As many elements as the weight; receives its gradient. Default: new memory, where there is a weight. */
  dweight?: Operand
}

/** The options of {@link RowGradientOptions}. */
export const rowGradientOptions = {
  residual: true,
  residualScale: true,
  dsum: true,
  rstd: true,
  ...paddingOptions,
  dx: true,
  dresidual: true,
  dweight: true
} as const

/** What an operation has of a backward call; it leaves out what it has not. */
interface Given extends RowGradientOptions {
  mean?: Float64Array
  dbias?: Operand
}

/** What is read of a call beside its arrays. */
export interface RowGradientCall extends GradientCall {
  readonly residualScale: number
  /** Rows, and the real ones of them. */
  readonly rows: Groups
  /** Columns whose statistics are still to be computed, as the forward does. */
  readonly columns: Groups | undefined
  /** Where groups are no rows: the copy in which each is one. */
  readonly permutation: Axes | undefined
  /** Where the axes are given in another order than the tensor's: the copy of a weight in that. */
  readonly weightPermutation: Axes | undefined
}

/** Checks everything about one call; writes nothing. `hasBias` says whether the operation has one; `dscale` was read. */
export function readRowGradients(
  op: string,
  givenDy: Operand,
  givenX: Operand,
  over: GroupsOf,
  options: Given,
  givenWeight: Operand | undefined,
  givenBias: Operand | undefined,
  hasBias: boolean,
  dscale?: Sum
): RowGradientCall {
  const x = readOperand(op, 'x', givenX)
  const length = lengthOf(x.data)
  const hadResidual = options.residual !== undefined || options.dresidual !== undefined
  const residualScale = readResidualScale(op, options, hadResidual)
  const { groups, permutation, weightDims, weightPermutation } = groupsOf(op, over, x, length, true)
  const why = 'axes' in over ? 'axis' : 'normalizedShape'
  const dy = readLikeX(op, 'dy', givenDy, x)
  const like = (what: string, value: Operand | undefined) =>
    value === undefined ? undefined : readLikeX(op, what, value, x)
  const residual = like('residual', options.residual)
  const dsum = like('dsum', options.dsum)
  const weight = readVector(op, 'weight', givenWeight, weightDims, why)
  const bias = readVector(op, 'bias', givenBias, weightDims, why)
  const mean = readSaved(op, 'mean', options.mean, groups.outer, 'rows')
  const rstd = readSaved(op, 'rstd', options.rstd, groups.outer, 'rows')
  const dx = readOutput(op, x, options.dx, 'dx')
  const dresidual = hadResidual ? readOutput(op, x, options.dresidual, 'dresidual') : undefined
  const dweight = readSum(op, 'dweight', options.dweight, weight !== undefined, weightDims, why)
  const hasDbias = hasBias && (weight !== undefined || bias !== undefined)
  const dbias = readSum(op, 'dbias', options.dbias, hasDbias, weightDims, why)
  const padded = (asRows: boolean, shape: Groups): Groups => {
    const spans = readRowPadding(op, x.dims, over, options, asRows)
    return spans ? { ...shape, spans } : shape
  }
  const rows = padded(permutation !== undefined, groups)
  const forward = permutation && !rstd ? groupsOf(op, over, x, length, false) : undefined
  const columns = forward && !forward.permutation ? padded(false, forward.groups) : undefined
  const arrays = { dy, x: x.data, residual, dsum, mean, rstd, weight }
  const call = { op, arrays, dx, dresidual, sums: { dweight, dbias, dscale } }
  checkGradients(call, bias)
  const ordered = { ...arrays, weight: orderedWeight(weight, weightPermutation) }
  return { ...call, arrays: ordered, residualScale, rows, columns, permutation, weightPermutation }
}

/** The operands of a backward kernel over rows, without the operation's own numbers. */
export type RowGradientOperands = Pick<
  Call<'layer_norm_backward'>,
  | 'dx'
  | 'dresidual'
  | 'dweight'
  | 'dbias'
  | 'dy'
  | 'x'
  | 'dsum'
  | 'mean'
  | 'rstd'
  | 'weight'
  | 'shape'
  | 'residualScale'
>

/** What is written with statistics: x as it is then, and they. */
export type Statistics = Pick<Call<'layer_norm'>, 'x' | 'mean' | 'rstd'>

/** An operation's kernels. */
export interface RowKernels {
  backward(operands: RowGradientOperands): Plan<Written>
  /** mean and rstd of columns as the forward has them, with room for its result; absent where the op takes none. */
  statistics?(y: Float32Array, x: Float32Array, mean: Float64Array, rstd: Float64Array, shape: Groups): Plan<Statistics>
}

/** All steps of a call. */
export function* rowGradients(call: RowGradientCall, memory: GradientMemory, kernels: RowKernels): Plan<Written> {
  const { residualScale, rows, columns, permutation, sums } = call
  const { size, outer } = rows
  let { dy, x, dsum, mean, rstd, dx, dresidual } = memory
  const length = lengthOf(x)
  const space = () => resultMemory(length)
  if (memory.residual) {
    const shape = { outer, size, inner: 1 }
    x = (yield* step('residual_sum', { sum: space(), x, residual: memory.residual, shape, residualScale })).sum
  }
  if (columns && kernels.statistics) {
    const places = [new Float64Array(outer), new Float64Array(outer)] as const
    const of = yield* kernels.statistics(space(), x, ...places, columns)
    x = of.x
    mean = of.mean as Float64Array
    rstd = of.rstd as Float64Array
  }
  const sum = (wanted: unknown) => (wanted ? new Float64Array(partialSums(rows, size)) : undefined)
  const operands = {
    ...{ dx, dresidual, dy, x, dsum, mean, rstd, weight: memory.weight, shape: rows, residualScale },
    dweight: sum(sums.dweight),
    dbias: sum(sums.dbias)
  }
  const given = (of: Float64Array | undefined) => inGivenOrder(of, call.weightPermutation)
  if (!permutation) {
    const done = yield* kernels.backward(operands)
    return { ...done, dweight: given(done.dweight), dbias: given(done.dbias) }
  }
  const isOverDy = dx === dy
  const dyInRows = yield* step('permute', { y: space(), x: dy, shape: permutation })
  if (isOverDy) dx = dyInRows.x
  const xInRows = yield* step('permute', { y: space(), x, shape: permutation })
  const dsumRows = dsum && (yield* step('permute', { y: space(), x: dsum, shape: permutation })).y
  const inRows = { dx: dyInRows.y, dy: dyInRows.y, x: xInRows.y, dsum: dsumRows, dresidual: dresidual && space() }
  const done = yield* kernels.backward({ ...operands, ...inRows })
  const back = inverse(permutation)
  dx = (yield* step('permute', { y: dx, x: done.dx, shape: back })).y
  if (dresidual && done.dresidual) {
    dresidual = (yield* step('permute', { y: dresidual, x: done.dresidual, shape: back })).y
  }
  return { dx, dresidual, dweight: given(done.dweight), dbias: given(done.dbias), dscale: done.dscale }
}

/** Sums of a weight's elements in the order of the axes as they were given. */
function inGivenOrder(sums: Float64Array | undefined, permutation: Axes | undefined): Float64Array | undefined {
  if (!sums || !permutation) return sums
  const y = new Float64Array(permutation.dims.reduce((size, dim) => size * dim, 1))
  // The kernel copies elements, of whatever type they are.
  const permute = kernels.permute as unknown as (call: { y: Float64Array; x: Float64Array; shape: Axes }) => void
  permute({ y, x: sums, shape: inverse(permutation) })
  return y
}
