// The gradients of InstanceNorm: those of GroupNorm, with each channel a group.
import type { Gradients, InFloat32 } from '../call/gradients.js'
import { checkEps, readOptions } from '../call/options.js'
import type { Result } from '../call/result.js'
import type { Operand, TensorLike } from '../call/tensor.js'
import {
  type GroupNormBackwardFunctionOptions,
  type GroupNormBackwardOptions,
  groupFunctionOptions,
  groupGradients
} from './group_norm_backward.js'

/** Options of one backward call of InstanceNorm that are not parameters of the layer. mean and rstd have N * C elements. */
export interface InstanceNormBackwardOptions extends GroupNormBackwardOptions {}

/** Options of {@link instanceNormBackward}. */
export interface InstanceNormBackwardFunctionOptions extends GroupNormBackwardFunctionOptions {}

/**
 * The gradients of {@link instanceNorm}: of x, weight and bias, from dy, the gradient of the result: those of {@link groupNormBackward} with each channel a group.
 *
 * @param dy gradient of the result; shape of x
 * @param x what the forward was given, not its result: a tensor [N, C, ...], or [N, ..., C] with layout 'channels-last'
 * @returns `dx`, a tensor as x; `dweight` and `dbias`, C elements each, where there is a weight, a bias, or a
 *   place for them
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * ```ts
 * import { instanceNormBackward } from 'evenkeel'
 *
 * const x = { data: Float32Array.of(1, 3), dims: [1, 1, 2] }
 * const { dx, dweight, dbias } = instanceNormBackward(Float32Array.of(1, 0), x, { weight: Float32Array.of(2), eps: 3 })
 * console.log(dx.data, dweight, dbias) // Float32Array(2) [ 0.375, -0.375 ] Float32Array(1) [ -0.5 ] Float32Array(1) [ 1 ]
 * ```
 */
export function instanceNormBackward<X extends TensorLike, Dx extends Operand | undefined = undefined>(
  dy: Operand,
  x: X,
  options?: InFloat32<InstanceNormBackwardFunctionOptions> & { dx?: Dx }
): Gradients<Result<X, Dx>, Float32Array>
export function instanceNormBackward<X extends TensorLike, Dx extends Operand | undefined = undefined>(
  dy: Operand,
  x: X,
  options?: InstanceNormBackwardFunctionOptions & { dx?: Dx }
): Gradients<Result<X, Dx>>
export function instanceNormBackward(
  dy: Operand,
  x: TensorLike,
  options: InstanceNormBackwardFunctionOptions = {}
): Gradients {
  const op = 'instanceNormBackward'
  const { weight, bias, eps = 1e-5, ...given } = readOptions(op, options, groupFunctionOptions)
  const parameters = { weight, bias, eps: checkEps(op, eps), numGroups: undefined, numChannels: undefined }
  return groupGradients(op, dy, x, given, parameters)
}
