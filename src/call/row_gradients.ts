// Reads the calls of the backward operations over rows, and what they take beside their kernel: a residual is added, groups
// that are no rows are copied into rows, and the gradients back.

import { kernelOf } from '../backend/choice.js'
import { elementTypeOf, lengthOf } from '../kernels/arrays.js'
import { type Call, kernels as typescript } from '../kernels/index.js'
import { type Axes, type Groups, partialSums } from '../kernels/operands.js'
import { resultMemory } from './async_memory.js'
import type { AsyncOptions } from './async_options.js'
import { inverse, orderedWeight } from './axes.js'
import { checkDtype, type DtypeOption } from './elements.js'
import {
  checkGradients,
  type GradientCall,
  type GradientMemory,
  type GradientPlaces,
  type Gradients,
  readSaved,
  readSum,
  runGradients,
  runGradientsAsync,
  type Sum,
  type Written
} from './gradients.js'
import { joinedSpans, type PaddingOptions, paddingOptions } from './padding.js'
import { type Plan, runPlan, step } from './plan.js'
import { type GroupsOf, groupsOf, readResidualScale, readRowPadding, withSpans } from './rows.js'
import { type Operand, readLikeX, readOperand, readOutput, readVector } from './tensor.js'

/** Options of a backward call of layerNorm or rmsNorm that are not parameters of the layer. */
export interface RowGradientOptions extends PaddingOptions, DtypeOption, GradientPlaces {
  /** The forward's; shape of x. It is less work to pass the forward's `sum` as x in place of x and residual. Default: none. */
  residual?: Operand | undefined
  /** The forward's. Default: 1. */
  residualScale?: number | undefined
  /** Shape of x; the gradient that arrives at the forward's `sum`: is added to that of x. */
  dsum?: Operand | undefined
  /** The Float64Array that the forward wrote as `rstd`, one element per group; the bits are the same. Default: computed again. */
  rstd?: Float64Array | undefined
  /**
   * As many elements as x; receives the gradient of the residual, that of x times residualScale. Default: new memory, where
   * there is a residual.
   */
  dresidual?: Operand | undefined
  /** As many elements as the weight; its gradient is written there, not added. Default: new memory, where there is a weight. */
  dweight?: Operand | undefined
}

/** The options of {@link RowGradientOptions}. */
export const rowGradientOptions = {
  residual: true,
  residualScale: true,
  dsum: true,
  rstd: true,
  ...paddingOptions,
  dtype: true,
  dx: true,
  dresidual: true,
  dweight: true
} as const

/** What an operation has of a backward call; it leaves out what it has not. */
interface Given extends RowGradientOptions {
  mean?: Float64Array | undefined
  dbias?: Operand | undefined
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
  dscale?: Sum | undefined
): RowGradientCall {
  const { dtype } = options
  checkDtype(op, dtype)
  const x = readOperand(op, 'x', givenX, dtype)
  const length = lengthOf(x.data)
  const hadResidual = options.residual !== undefined || options.dresidual !== undefined
  const residualScale = readResidualScale(op, options, hadResidual)
  const { groups, permutation, weightDims, weightPermutation } = groupsOf(op, over, x, length, true)
  const why = 'axes' in over ? 'axis' : 'normalizedShape'
  const dy = readLikeX(op, 'dy', givenDy, x)
  const residual = options.residual === undefined ? undefined : readLikeX(op, 'residual', options.residual, x)
  const dsum = options.dsum === undefined ? undefined : readLikeX(op, 'dsum', options.dsum, x)
  const weight = readVector(op, 'weight', givenWeight, weightDims, why, dtype)
  const bias = readVector(op, 'bias', givenBias, weightDims, why, dtype)
  const mean = readSaved(op, 'mean', options.mean, groups.outer, 'rows')
  const rstd = readSaved(op, 'rstd', options.rstd, groups.outer, 'rows')
  const dx = readOutput(op, x, options.dx, 'dx', true)
  const dresidual = hadResidual ? readOutput(op, x, options.dresidual, 'dresidual', true) : undefined
  const dweight = readSum(op, 'dweight', options.dweight, weight, weight !== undefined, weightDims, why, x)
  const hasDbias = hasBias && (weight !== undefined || bias !== undefined)
  const dbias = readSum(op, 'dbias', options.dbias, bias ?? weight, hasDbias, weightDims, why, x)
  const forward = permutation && !rstd ? groupsOf(op, over, x, length, false) : undefined
  const columns = forward && !forward.permutation ? forward.groups : undefined
  const spans = readRowPadding(op, x.dims, over, options, permutation !== undefined && !columns)
  const rows = withSpans(groups, spans && columns ? joinedSpans(spans, columns.outer, columns.inner) : spans)
  const sums = { dweight, dbias, dscale }
  checkGradients({ op, arrays: { dy, x: x.data, residual, dsum, mean, rstd, weight }, dx, dresidual, sums }, { bias })
  const ordered = orderedWeight(weight, weightPermutation)
  const arrays = { dy, x: x.data, residual, dsum, mean, rstd, weight: ordered }
  return {
    op,
    arrays,
    dx,
    dresidual,
    sums,
    residualScale,
    rows,
    columns: columns && withSpans(columns, spans),
    permutation,
    weightPermutation
  }
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
  /** Name of the backward kernel. */
  readonly name: 'layer_norm_backward' | 'normalize_backward' | 'rms_norm_backward'
  /** Its call. */
  call(operands: RowGradientOperands): object
  /** What it has written, where that is not what it was called with. */
  written?(done: object): Written
  /** mean and rstd of columns as the forward has them, with room for its result; absent where the op takes none. */
  statistics?(y: Float32Array, x: Float32Array, mean: Float64Array, rstd: Float64Array, shape: Groups): Plan<Statistics>
}

/** The operands of the backward kernel where groups are rows. */
function operandsOf(call: RowGradientCall, memory: GradientMemory): RowGradientOperands {
  const { residualScale, rows, sums } = call
  const { dx, dresidual, dy, x, dsum, mean, rstd, weight, zeros } = memory
  const length = sums.dweight || sums.dbias ? partialSums(rows, rows.size) : 0
  const dweight = sums.dweight && zeros(0, length)
  const dbias = sums.dbias && zeros(1, length)
  return { dx, dresidual, dweight, dbias, dy, x, dsum, mean, rstd, weight, shape: rows, residualScale }
}

/** A call that was read, and what it runs. */
export interface ReadRowGradients {
  readonly call: RowGradientCall
  readonly kernels: RowKernels
}

/** Runs the call; returns what the caller gets. */
export function runRowGradients({ call, kernels }: ReadRowGradients): Gradients {
  return runGradients(call, memory => atOnce(call, memory, kernels))
}

/** The same off the event loop. */
export function runRowGradientsAsync({ call, kernels }: ReadRowGradients, options: AsyncOptions): Promise<Gradients> {
  return runGradientsAsync(call, memory => allSteps(call, memory, kernels), options)
}

/** A call that is made at once: mostly its kernel alone. */
function atOnce(call: RowGradientCall, memory: GradientMemory, kernels: RowKernels): Written {
  if (memory.residual || call.permutation || call.weightPermutation) return runPlan(allSteps(call, memory, kernels))
  const done = kernels.call(operandsOf(call, memory))
  const kernel = kernelOf(kernels.name) as (call: object) => void
  kernel(done)
  return kernels.written ? kernels.written(done) : (done as Written)
}

/** All steps of a call. */
function* allSteps(call: RowGradientCall, memory: GradientMemory, kernels: RowKernels): Plan<Written> {
  const { residualScale, rows, columns, permutation, weightPermutation } = call
  const { size, outer } = rows
  let { dy, x, dsum, mean, rstd, dx, dresidual } = memory
  const length = lengthOf(x)
  const type = elementTypeOf(x)
  const space = () => resultMemory(length, type)
  const backward = function* (operands: RowGradientOperands): Plan<Written> {
    const done = yield { name: kernels.name, call: kernels.call(operands) }
    const written = kernels.written ? kernels.written(done) : (done as Written)
    const given = (of: Float64Array | undefined) => inGivenOrder(of, weightPermutation)
    return { ...written, dweight: given(written.dweight), dbias: given(written.dbias) }
  }
  if (memory.residual) {
    const shape = { outer, size, inner: 1 }
    x = (yield* step('residual_sum', { sum: space(), x, residual: memory.residual, shape, residualScale })).sum
  }
  if (columns && kernels.statistics) {
    const of = yield* kernels.statistics(space(), x, new Float64Array(outer), new Float64Array(outer), columns)
    x = of.x
    mean = of.mean as Float64Array
    rstd = of.rstd as Float64Array
  }
  const operands = operandsOf(call, { ...memory, x, mean, rstd })
  if (!permutation) return yield* backward(operands)
  const isOverDy = dx === dy
  const dyInRows = yield* step('permute', { y: space(), x: dy, shape: permutation })
  if (isOverDy) dx = dyInRows.x
  const xInRows = yield* step('permute', { y: space(), x, shape: permutation })
  const dsumRows = dsum && (yield* step('permute', { y: space(), x: dsum, shape: permutation })).y
  const inRows = { dx: dyInRows.y, dy: dyInRows.y, x: xInRows.y, dsum: dsumRows, dresidual: dresidual && space() }
  const done = yield* backward({ ...operands, ...inRows })
  const back = inverse(permutation)
  dx = (yield* step('permute', { y: dx, x: done.dx, shape: back })).y
  if (dresidual && done.dresidual) {
    dresidual = (yield* step('permute', { y: dresidual, x: done.dresidual, shape: back })).y
  }
  return { ...done, dx, dresidual }
}

/** Sums of a weight's elements in the order of the axes as they were given. */
function inGivenOrder(sums: Float64Array | undefined, permutation: Axes | undefined): Float64Array | undefined {
  if (!sums || !permutation) return sums
  const y = new Float64Array(permutation.dims.reduce((size, dim) => size * dim, 1))
  // The kernel copies elements, of whatever type they are.
  const permute = typescript.permute as unknown as (call: { y: Float64Array; x: Float64Array; shape: Axes }) => void
  permute({ y, x: sums, shape: inverse(permutation) })
  return y
}
