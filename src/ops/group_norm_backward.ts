// The gradients of GroupNorm and InstanceNorm. Their kernel, group_norm_backward, stands with group_norm.
import { type AsyncOptions, asyncOptions, checkAsyncOptions } from '../call/async_options.js'
import {
  type ChannelGradientCall,
  type ChannelGradientOptions,
  channelGradientOptions,
  readChannelGradients
} from '../call/channel_gradients.js'
import {
  type GradientMemory,
  type Gradients,
  type InFloat32,
  runGradients,
  runGradientsAsync,
  type Written
} from '../call/gradients.js'
import { checkCount, checkEps, type Known, readOptions } from '../call/options.js'
import { type Plan, runPlan, step } from '../call/plan.js'
import type { Result } from '../call/result.js'
import type { Operand, TensorLike } from '../call/tensor.js'
import { partialSums, type Volume } from '../kernels/operands.js'
import { checkDivides, type GroupParameters } from './group_norm_call.js'

/**
 * Options of one backward call of GroupNorm that are not parameters of the layer. mean and rstd have samples * groups elements.
 */
export interface GroupNormBackwardOptions extends ChannelGradientOptions {}

/** Options of {@link groupNormBackward}. */
export interface GroupNormBackwardFunctionOptions extends GroupNormBackwardOptions {
  /** The forward's. Default: none (1). */
  weight?: Operand | undefined
  /** The forward's; its numbers do not matter, only that it is there. Default: none. */
  bias?: Operand | undefined
  /** The forward's. Default: 1e-5. */
  eps?: number | undefined
}

const layerOptions: Known<GroupNormBackwardOptions> = channelGradientOptions
export const groupFunctionOptions: Known<GroupNormBackwardFunctionOptions> = {
  weight: true,
  bias: true,
  eps: true,
  ...layerOptions
}

/**
 * The gradients of {@link groupNorm}: of x, weight and bias, from dy, the gradient of the result. With
 * t = (x - mean) * rstd and g = dy * weight, `dx = rstd * (g - mean(g) - t * mean(g * t))`, means over the group of each sample;
 * dweight is the sum of dy * t over samples and positions, dbias that of dy. With `lengths` or `mask`, padded positions have the
 * gradient 0 and count nowhere. The same bits for any number of threads; dx also for any division of the samples into batches.
 *
 * @param dy gradient of the result; shape of x
 * @param x what the forward was given, not its result: a tensor [N, C] or [N, C, ...], or [N, ..., C] with layout 'channels-last'
 * @param numGroups number of groups; divides C
 * @returns `dx`, a tensor as x; `dweight` and `dbias`, C elements each, where there is a weight, a bias, or a
 *   place for them
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * ```ts
 * import { groupNormBackward } from 'evenkeel'
 *
 * const x = { data: Float32Array.of(1, 3, 6, 8), dims: [1, 4, 1] }
 * const dy = Float32Array.of(1, 0, 0, 1)
 * const { dx, dweight, dbias } = groupNormBackward(dy, x, 2, { weight: Float32Array.of(2, 2, 2, 2), eps: 3 })
 * console.log(dx.data) // Float32Array(4) [ 0.375, -0.375, -0.375, 0.375 ]
 * console.log(dweight, dbias) // Float32Array(4) [ -0.5, 0, 0, 0.5 ] Float32Array(4) [ 1, 0, 0, 1 ]
 * ```
 */
export function groupNormBackward<X extends TensorLike, Dx extends Operand | undefined = undefined>(
  dy: Operand,
  x: X,
  numGroups: number,
  options?: InFloat32<GroupNormBackwardFunctionOptions> & { dx?: Dx }
): Gradients<Result<X, Dx>, Float32Array>
export function groupNormBackward<X extends TensorLike, Dx extends Operand | undefined = undefined>(
  dy: Operand,
  x: X,
  numGroups: number,
  options?: GroupNormBackwardFunctionOptions & { dx?: Dx }
): Gradients<Result<X, Dx>>
export function groupNormBackward(
  dy: Operand,
  x: TensorLike,
  numGroups: number,
  options: GroupNormBackwardFunctionOptions = {}
): Gradients {
  const op = 'groupNormBackward'
  const { weight, bias, eps = 1e-5, ...given } = readOptions(op, options, groupFunctionOptions)
  checkCount(op, 'numGroups', numGroups)
  const parameters = { weight, bias, eps: checkEps(op, eps), numGroups, numChannels: undefined }
  return groupGradients(op, dy, x, given, parameters)
}

/** The gradients, of options that were read. */
export function groupGradients(
  op: string,
  dy: Operand,
  x: TensorLike,
  given: GroupNormBackwardOptions,
  parameters: GroupParameters
): Gradients {
  const { call, plan } = readCall(op, dy, x, given, parameters)
  return runGradients(call, memory => runPlan(plan(memory)))
}

/** The same with a layer's parameters. */
export function groupLayerGradients(
  op: string,
  dy: Operand,
  x: TensorLike,
  options: GroupNormBackwardOptions,
  parameters: GroupParameters
): Gradients {
  return groupGradients(op, dy, x, readOptions(op, options, layerOptions), parameters)
}

/** The same off the event loop. */
export async function groupLayerGradientsAsync(
  op: string,
  dy: Operand,
  x: TensorLike,
  options: GroupNormBackwardOptions & AsyncOptions,
  parameters: GroupParameters
): Promise<Gradients> {
  const given = readOptions(op, options, { ...layerOptions, ...asyncOptions })
  checkAsyncOptions(op, given)
  const { call, plan } = readCall(op, dy, x, given, parameters)
  return runGradientsAsync(call, plan, given)
}

function readCall(
  op: string,
  dy: Operand,
  x: TensorLike,
  given: GroupNormBackwardOptions,
  parameters: GroupParameters
) {
  const { weight, bias, eps, numGroups, numChannels } = parameters
  const channels = numChannels === undefined ? undefined : ([numChannels, 'the layer'] as const)
  const groupsOf = (channels: number) => {
    const groups = numGroups ?? channels
    checkDivides(op, groups, channels)
    return groups
  }
  const count = (samples: number, channels: number) => samples * groupsOf(channels)
  const call = readChannelGradients(op, dy, x, given, { weight, bias, channels }, count, 'samples * groups')
  const { samples, groups: all, positions, spans } = call.input.shape
  const groups = groupsOf(all)
  // As in the forward: without positions a group's channels are neighbours in both layouts.
  const channelsLast = call.input.shape.channelsLast && positions > 1
  const shape: Volume = { samples, groups, channelsPerGroup: all / groups, positions, channelsLast, spans }
  return { call, plan: (memory: GradientMemory) => gradients(call, memory, shape, eps) }
}

function* gradients({ sums }: ChannelGradientCall, memory: GradientMemory, shape: Volume, eps: number): Plan<Written> {
  const { dx, dy, x, mean, rstd, weight, zeros } = memory
  const channels = shape.groups * shape.channelsPerGroup
  const length = partialSums(shape, channels)
  const dweight = sums.dweight && zeros(0, length)
  const dbias = sums.dbias && zeros(1, length)
  return yield* step('group_norm_backward', { dx, dweight, dbias, dy, x, mean, rstd, weight, shape, eps })
}
