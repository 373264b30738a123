// The gradients of RMSNorm. Its kernel, rms_norm_backward, stands with rms_norm.
import { type AsyncOptions, asyncOptions, checkAsyncOptions } from '../call/async_options.js'
import type { Axis } from '../call/axes.js'
import type { Gradients, InFloat32 } from '../call/gradients.js'
import { type Known, readOptions } from '../call/options.js'
import { step } from '../call/plan.js'
import type { Result } from '../call/result.js'
import {
  type RowGradientCall,
  type RowGradientOptions,
  type RowKernels,
  readRowGradients,
  rowGradientOptions,
  runRowGradients,
  runRowGradientsAsync
} from '../call/row_gradients.js'
import { type GroupsOf, type NormalizedShape, readGroups } from '../call/rows.js'
import type { Operand } from '../call/tensor.js'
import { lengthOf } from '../kernels/arrays.js'
import { shifted } from '../kernels/rms_norm.js'
import { checkOffsetHasWeight, countedOf, type RMSNormConstants, readRMSNormConstants } from './rms_norm_call.js'

/** Options of one backward call of RMSNorm that are not parameters of the layer. */
export interface RMSNormBackwardOptions extends RowGradientOptions {}

/** Options of {@link rmsNormBackward}. */
export interface RMSNormBackwardFunctionOptions extends RMSNormBackwardOptions, RMSNormConstants {
  /** The forward's. Default: none (1). */
  weight?: Operand | undefined
}

const layerOptions: Known<RMSNormBackwardOptions> = rowGradientOptions
const functionOptions: Known<RMSNormBackwardFunctionOptions> = {
  weight: true,
  eps: true,
  weightOffset: true,
  partial: true,
  ...layerOptions
}

/** What a layer has, or the function is given. */
interface Parameters extends Required<RMSNormConstants> {
  readonly groups: GroupsOf
  readonly weight: Operand | undefined
}

/**
 * The gradients of {@link rmsNorm}: of x, weight and residual, from dy, the gradient of the result. With t = x * rstd and g = dy * (weight + weightOffset), `dx = rstd * (g - t * mean(g * t))`, the mean over the group;
 * dweight is the sum of dy * t over all rows. With `partial`, the mean is divided by the number of the elements that count, and
 * the others have `dx = rstd * g`. With `lengths` or `mask`, padded positions have the gradient 0 and count nowhere. The same bits
 * for any number of threads; dx also for any division of the rows into batches.
 *
 * @param dy gradient of the result; shape of x
 * @param x what the forward was given, not its result
 * @param normalizedShape the forward's: 4096, or dimensions; for a tensor also `{ axis }`
 * @returns `dx` as x came, an array or a tensor; `dweight`, `dresidual` where there is a weight, a residual, or a place for
 *   them
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * ```ts
 * import { rmsNormBackward } from 'evenkeel'
 *
 * const x = Float32Array.of(3, -3, 3, -3)
 * const dy = Float32Array.of(4, 0, 0, 0)
 * const { dx, dweight } = rmsNormBackward(dy, x, 4, { weight: Float32Array.of(3, 1, 1, 1), eps: 0 })
 * console.log(dx, dweight) // Float32Array(4) [ 3, 1, -1, 1 ] Float32Array(4) [ 4, 0, 0, 0 ]
 * ```
 */
export function rmsNormBackward<X extends Operand, Dx extends Operand | undefined = undefined>(
  dy: Operand,
  x: X,
  normalizedShape: NormalizedShape | Axis,
  options?: InFloat32<RMSNormBackwardFunctionOptions> & { dx?: Dx }
): Gradients<Result<X, Dx>, Float32Array>
export function rmsNormBackward<X extends Operand, Dx extends Operand | undefined = undefined>(
  dy: Operand,
  x: X,
  normalizedShape: NormalizedShape | Axis,
  options?: RMSNormBackwardFunctionOptions & { dx?: Dx }
): Gradients<Result<X, Dx>>
export function rmsNormBackward(
  dy: Operand,
  x: Operand,
  normalizedShape: NormalizedShape | Axis,
  options: RMSNormBackwardFunctionOptions = {}
): Gradients {
  const op = 'rmsNormBackward'
  const { weight, eps, weightOffset, partial, ...given } = readOptions(op, options, functionOptions)
  const groups = readGroups(op, normalizedShape)
  const constants = readRMSNormConstants(op, { eps, weightOffset, partial })
  checkOffsetHasWeight(op, constants.weightOffset, weight)
  return runRowGradients(readCall(op, dy, x, given, { groups, weight, ...constants }))
}

/** The same with a layer's parameters. */
export function rmsNormGradients(
  dy: Operand,
  x: Operand,
  options: RMSNormBackwardOptions,
  parameters: Parameters
): Gradients {
  const op = 'RMSNorm'
  return runRowGradients(readCall(op, dy, x, readOptions(op, options, layerOptions), parameters))
}

/** The same off the event loop. */
export async function rmsNormGradientsAsync(
  dy: Operand,
  x: Operand,
  options: RMSNormBackwardOptions & AsyncOptions,
  parameters: Parameters
): Promise<Gradients> {
  const op = 'RMSNorm'
  const given = readOptions(op, options, { ...layerOptions, ...asyncOptions })
  checkAsyncOptions(op, given)
  return runRowGradientsAsync(readCall(op, dy, x, given, parameters), given)
}

function readCall(op: string, dy: Operand, x: Operand, given: RMSNormBackwardOptions, parameters: Parameters) {
  const { groups, weight, eps, weightOffset, partial } = parameters
  const read = readRowGradients(op, dy, x, groups, given, weight, undefined, false)
  const call = weightOffset === 0 ? read : withOffset(read, weightOffset)
  const counted = countedOf(call.rows.size, partial)
  const kernels: RowKernels = {
    name: 'rms_norm_backward',
    call({ dx, dresidual, dweight, dy, x, dsum, rstd, weight, shape, residualScale }) {
      return { dx, dresidual, dweight, dy, x, dsum, rstd, weight, shape, counted, residualScale, eps }
    },
    statistics: function* (y, x, _, rstd, shape) {
      const numbers = { counted, residualScale: 1, eps, weightOffset: 0 }
      const absent = { sum: undefined, residual: undefined, weight: undefined }
      const done = yield* step('rms_norm', { ...absent, y, x, rstd, shape, ...numbers })
      return { x: done.x, mean: undefined, rstd: done.rstd }
    }
  }
  return { call, kernels }
}

/** The call with the offset added to its weight, as rule 7 has it: the kernel takes that as it is. */
function withOffset(call: RowGradientCall, offset: number): RowGradientCall {
  const { weight } = call.arrays
  return weight
    ? { ...call, arrays: { ...call.arrays, weight: shifted(weight, lengthOf(weight), Math.fround(offset)) } }
    : call
}
