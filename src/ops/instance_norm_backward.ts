// The gradients of InstanceNorm: those of GroupNorm, with each channel a group.
import type { Gradients } from '../call/gradients.js'
import { checkEps, readOptions } from '../call/options.js'
import type { Operand, TensorLike } from '../call/tensor.js'
import {
  type GroupNormBackwardFunctionOptions,
  type GroupNormBackwardOptions,
  groupFunctionOptions,
  groupGradients
} from './group_norm_backward.js'

/** Options of one backward call of InstanceNorm that are not parameters of the layer. mean and rstd have N * C elements. */
export type InstanceNormBackwardOptions = GroupNormBackwardOptions

/** Options of {@link instanceNormBackward}. */
export type InstanceNormBackwardFunctionOptions = GroupNormBackwardFunctionOptions

/**
 * The gradients of {@link instanceNorm}: of x, weight and bias, from dy, that of the result (Ulyanov, Vedaldi & Lempitsky 2016,
 * arXiv 1607.08022): those of {@link groupNormBackward} with each channel a group.
 *
 * @param dy shape of x
 * @param x what the forward was given: a tensor [N, C, ...], or [N, ..., C] with layout 'channels-last'
 * @returns `dx`, a tensor as x; `dweight` and `dbias`, C elements, where they are wanted
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * const { dx, dweight, dbias } = instanceNormBackward(dy, x, { weight, bias })
 */
export function instanceNormBackward<X extends TensorLike>(
  dy: Operand,
  x: X,
  options: InstanceNormBackwardFunctionOptions = {}
): Gradients<X> {
  const op = 'instanceNormBackward'
  const { weight, bias, eps = 1e-5, ...given } = readOptions(op, options, groupFunctionOptions)
  const parameters = { weight, bias, eps: checkEps(op, eps), numGroups: undefined, numChannels: undefined }
  return groupGradients(op, dy, x, given, parameters) as Gradients<X>
}
