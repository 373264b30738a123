// The gradients of BatchNorm. Its kernel, batch_norm_backward, stands with batch_norm.
import { type AsyncOptions, asyncOptions, checkAsyncOptions } from '../call/async_options.js'
import {
  type ChannelGradientCall,
  type ChannelGradientOptions,
  channelGradientOptions,
  readChannelGradients
} from '../call/channel_gradients.js'
import { describe, wrongType, wrongValue } from '../call/errors.js'
import {
  type GradientMemory,
  type Gradients,
  type InFloat32,
  runGradients,
  runGradientsAsync,
  type Written
} from '../call/gradients.js'
import { checkBoolean, checkEps, type Known, readOptions } from '../call/options.js'
import { type Plan, runPlan, step } from '../call/plan.js'
import type { Result } from '../call/result.js'
import type { Operand, TensorLike } from '../call/tensor.js'
import { countRows } from '../kernels/columns.js'
import type { Statistic } from '../kernels/index.js'
import { asFloat64, type BatchParameters, checkVariance } from './batch_norm_call.js'

/** Options of one backward call of BatchNorm that are not parameters of the layer. mean and rstd have C elements. */
export interface BatchNormBackwardOptions extends ChannelGradientOptions {}

/** Options of {@link batchNormBackward}. */
export interface BatchNormBackwardFunctionOptions extends BatchNormBackwardOptions {
  /** The forward's. Default: none (1). */
  weight?: Operand | undefined
  /** The forward's; its numbers do not matter, only that it is there. Default: none. */
  bias?: Operand | undefined
  /** The running mean that the forward used. Needed without `training`, unless mean and rstd are passed. */
  runningMean?: Operand | Statistic | undefined
  /** The running variance that the forward used. Needed as the running mean is. */
  runningVar?: Operand | Statistic | undefined
  /**
   * Whether the forward used the statistics of x, whose gradient then counts; running statistics are neither read nor changed.
   * Default: false.
   */
  training?: boolean | undefined
  /** The forward's. Default: 1e-5. */
  eps?: number | undefined
  /** Taken, so that the forward's options may be passed, and ignored. */
  momentum?: number | undefined
  /** Taken and ignored, too. */
  unbiased?: boolean | undefined
}

const layerOptions: Known<BatchNormBackwardOptions> = channelGradientOptions
const functionOptions: Known<BatchNormBackwardFunctionOptions> = {
  weight: true,
  bias: true,
  runningMean: true,
  runningVar: true,
  training: true,
  eps: true,
  momentum: true,
  unbiased: true,
  ...layerOptions
}

/** What a layer has, or the function is given. */
type Parameters = Omit<BatchParameters, 'unbiased'>

/**
 * The gradients of {@link batchNorm}: of x, weight and bias, from dy, the gradient of the result. With
 * t = (x - mean) * rstd and g = dy * weight, in training `dx = rstd * (g - mean(g) - t * mean(g * t))`, means over the channel's
 * batch; in evaluation `dx = rstd * g`. dweight is the sum of dy * t over samples and positions, dbias that of dy. With `lengths`
 * or `mask`, padded positions have the gradient 0 and count nowhere. The same bits for any number of threads.
 *
 * @param dy gradient of the result; shape of x
 * @param x what the forward was given, not its result: a tensor [N, C] or [N, C, ...], or [N, ..., C] with layout 'channels-last'
 * @returns `dx`, a tensor as x; `dweight` and `dbias`, C elements each, where there is a weight, a bias, or a
 *   place for them
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * ```ts
 * import { batchNormBackward } from 'evenkeel'
 *
 * const x = { data: Float32Array.of(1, 3), dims: [2, 1] } // two samples of one channel
 * const dy = Float32Array.of(1, 0)
 * const { dx, dweight, dbias } = batchNormBackward(dy, x, { weight: Float32Array.of(2), training: true, eps: 3 })
 * console.log(dx.data, dweight, dbias) // Float32Array(2) [ 0.375, -0.375 ] Float32Array(1) [ -0.5 ] Float32Array(1) [ 1 ]
 * ```
 */
export function batchNormBackward<X extends TensorLike, Dx extends Operand | undefined = undefined>(
  dy: Operand,
  x: X,
  options?: InFloat32<BatchNormBackwardFunctionOptions> & { dx?: Dx }
): Gradients<Result<X, Dx>, Float32Array>
export function batchNormBackward<X extends TensorLike, Dx extends Operand | undefined = undefined>(
  dy: Operand,
  x: X,
  options?: BatchNormBackwardFunctionOptions & { dx?: Dx }
): Gradients<Result<X, Dx>>
export function batchNormBackward(
  dy: Operand,
  x: TensorLike,
  options: BatchNormBackwardFunctionOptions = {}
): Gradients {
  const op = 'batchNormBackward'
  checkNoStatistics(op, options)
  const { weight, bias, runningMean, runningVar, ...given } = readOptions(op, options, functionOptions)
  const { training = false, eps = 1e-5, momentum: _, unbiased: __, ...places } = given
  checkBoolean(op, 'training', training)
  const parameters = { weight, bias, runningMean, runningVar, training, eps: checkEps(op, eps), numFeatures: undefined }
  const { call, plan } = readCall(op, dy, x, places, parameters)
  return runGradients(call, memory => runPlan(plan(memory)))
}

/** The same with a layer's parameters and statistics. */
export function batchNormGradients(
  dy: Operand,
  x: TensorLike,
  options: BatchNormBackwardOptions,
  parameters: Parameters
): Gradients {
  const op = 'BatchNorm'
  checkNoStatistics(op, options)
  const { call, plan } = readCall(op, dy, x, readOptions(op, options, layerOptions), parameters)
  return runGradients(call, memory => runPlan(plan(memory)))
}

/** The same off the event loop. */
export async function batchNormGradientsAsync(
  dy: Operand,
  x: TensorLike,
  options: BatchNormBackwardOptions & AsyncOptions,
  parameters: Parameters
): Promise<Gradients> {
  const op = 'BatchNorm'
  checkNoStatistics(op, options)
  const given = readOptions(op, options, { ...layerOptions, ...asyncOptions })
  checkAsyncOptions(op, given)
  const { call, plan } = readCall(op, dy, x, given, parameters)
  return runGradientsAsync(call, plan, given)
}

/** The gradient of merged statistics would need merging itself. */
function checkNoStatistics(op: string, options: object): void {
  if (typeof options !== 'object' || options === null || !('statistics' in options)) return
  const { statistics } = options
  if (statistics === undefined) return
  const expected = 'undefined (the gradient of merged statistics would need sums that are merged)'
  throw wrongType(op, 'statistics', expected, describe(statistics))
}

function readCall(op: string, dy: Operand, x: TensorLike, given: BatchNormBackwardOptions, parameters: Parameters) {
  const { weight, bias, training, eps, numFeatures } = parameters
  const channels = numFeatures === undefined ? undefined : ([numFeatures, 'numFeatures'] as const)
  const usesRunning = !training && given.rstd === undefined
  const runningMean = usesRunning ? parameters.runningMean : undefined
  const runningVar = usesRunning ? parameters.runningVar : undefined
  const known = { weight, bias, channels, runningMean, runningVar }
  const call = readChannelGradients(op, dy, x, given, known, (_, channels) => channels, 'channels')
  const { samples, positions, spans } = call.input.shape
  const count = countRows({ first: 0, samples, positions, spans })
  if (training && count === 1) {
    throw wrongValue(op, 'x', 'more than one value per channel in training', String(count))
  }
  const plan = (memory: GradientMemory) => gradients(call, memory, training, eps)
  if (!usesRunning) return { call, plan }
  // Here and below by name: to spread an object takes V8 longer than a small kernel (measured).
  const { mean, rstd } = statisticsOf(op, call, eps)
  const arrays = { dy: call.arrays.dy, x: call.arrays.x, mean, rstd, weight: call.arrays.weight }
  return { call: { op, arrays, dx: call.dx, dresidual: undefined, sums: call.sums }, plan }
}

/** mean and rstd by running statistics. */
function statisticsOf(op: string, { runningMean, runningVar }: ChannelGradientCall, eps: number) {
  if (!runningMean || !runningVar) {
    const missing = runningMean ? 'runningVar' : 'runningMean'
    throw wrongType(op, missing, 'an array, because training is false and there are no mean and rstd', 'undefined')
  }
  const variance = asFloat64(runningVar)
  checkVariance(op, variance)
  return { mean: asFloat64(runningMean), rstd: reciprocalRoots(variance, eps) }
}

/** Rule 6. */
const reciprocalRoots = (variance: Float64Array, eps: number) => variance.map(value => 1 / Math.sqrt(value + eps))

function* gradients(
  { sums, input }: ChannelGradientCall,
  memory: GradientMemory,
  training: boolean,
  eps: number
): Plan<Written> {
  const { dx, dy, weight, zeros } = memory
  const { shape } = input
  let { x, mean, rstd } = memory
  if (!mean || !rstd) {
    const variance = new Float64Array(shape.groups)
    const done = yield* step('batch_statistics', { mean: new Float64Array(shape.groups), variance, x, shape })
    x = done.x
    mean = done.mean
    rstd = reciprocalRoots(done.variance, eps)
  }
  const { groups } = shape
  const dweight = sums.dweight && zeros(0, groups)
  const dbias = sums.dbias && zeros(1, groups)
  const operands = { dx, dweight, dbias, dy, x, mean, rstd, weight, shape, training: training ? 1 : 0 }
  return yield* step('batch_norm_backward', operands)
}
