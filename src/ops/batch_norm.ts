// BatchNorm: the public operation and layer. Its kernels are batch_norm and, in training, batch_statistics.
import { checkThis, refuseAssignments } from '../call/advice.js'
import { type AsyncOptions, asyncOptions, checkAsyncOptions } from '../call/async_options.js'
import type { ChannelWeights } from '../call/channels.js'
import { describe, wrongType, wrongValue } from '../call/errors.js'
import type { Gradients, InFloat32 } from '../call/gradients.js'
import {
  type LayerParameters,
  type LayerState,
  type LoadableState,
  LoadedState,
  type LoadStateOptions,
  rounded
} from '../call/layer_state.js'
import { LayerWeights } from '../call/layer_weights.js'
import { checkBoolean, checkCount, readOptions } from '../call/options.js'
import { hasOnlyOut } from '../call/quick.js'
import { QuickChannels } from '../call/quick_channels.js'
import type { Result } from '../call/result.js'
import { type Operand, readStatistic, type TensorLike } from '../call/tensor.js'
import type { Statistic } from '../kernels/index.js'
import { type BatchNormBackwardOptions, batchNormGradients, batchNormGradientsAsync } from './batch_norm_backward.js'
import {
  type BatchParameters,
  checkMomentum,
  checkVariance,
  normalizeBatch,
  normalizeBatchAsync,
  readConstants,
  readRunning,
  runningNames
} from './batch_norm_call.js'
import {
  type BatchNormForwardOptions,
  type BatchNormLayerOptions,
  type BatchNormOptions,
  forwardOptions,
  functionOptions,
  layerOptions
} from './batch_norm_options.js'

/**
 * Batch normalisation (Ioffe & Szegedy 2015, arXiv 1502.03167; ONNX BatchNormalization):
 * `y = (x - mean) / sqrt(variance + eps) * weight + bias` for each channel. Mean and variance are the running ones, or,
 * with `training`, those of x over samples and positions (variance biased), which then update the running ones in place
 * as PyTorch does: `running = (1 - momentum) * running + momentum * new`. With `lengths` or `mask`, padded positions count in no
 * statistic and become 0.
 *
 * @param x a tensor [N, C] or [N, C, ...], or [N, ..., C] with layout 'channels-last'
 * @returns `options.out` where that is a tensor, else a tensor of x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value (among them training with one value per
 *   channel), before anything is written
 * @example
 * ```ts
 * import { batchNorm } from 'evenkeel'
 *
 * const x = { data: Float32Array.of(1, 10, 3, 50), dims: [2, 2] } // two samples of two channels
 * const runningMean = Float32Array.of(1, 20)
 * const runningVar = Float32Array.of(4, 100)
 * console.log(batchNorm(x, { runningMean, runningVar, eps: 0 }).data) // Float32Array(4) [ 0, -1, 1, 3 ]
 * console.log(batchNorm(x, { runningMean, runningVar, eps: 0, training: true, momentum: 0.5 }).data) // Float32Array(4) [ -1, -1, 1, 1 ]
 * console.log(runningMean, runningVar) // Float32Array(2) [ 1.5, 25 ] Float32Array(2) [ 3, 450 ]
 * ```
 */
export function batchNorm<X extends TensorLike, Out extends Operand | undefined = undefined>(
  x: X,
  options: BatchNormOptions & { out?: Out } = {}
): Result<X, Out> {
  const op = 'batchNorm'
  const given = readOptions(op, options, functionOptions)
  const { training = false, momentum = 0.1 } = given
  checkBoolean(op, 'training', training)
  const { eps, unbiased } = readConstants(op, given)
  checkMomentum(op, momentum)
  const { weight, bias, runningMean, runningVar } = given
  const parameters = { weight, bias, runningMean, runningVar, eps, unbiased, training, numFeatures: undefined }
  return normalizeBatch(op, x, given, parameters, momentum).y as Result<X, Out>
}

/**
 * {@link batchNorm} with parameters and running statistics that are kept, as torch.nn.BatchNorm1d, 2d and 3d.
 * {@link train} and {@link eval} say whether calls use the statistics of their batch.
 *
 * @example
 * ```ts
 * import { BatchNorm } from 'evenkeel'
 *
 * const layer = new BatchNorm(2, { eps: 0, momentum: 0.5 }) // starts in training
 * layer.forward({ data: Float32Array.of(1, 10, 3, 50), dims: [2, 2] })
 * console.log(layer.runningMean, layer.runningVar) // Float32Array(2) [ 1, 15 ] Float32Array(2) [ 1.5, 400.5 ]
 * console.log(layer.eval().forward({ data: Float32Array.of(1, 15), dims: [1, 2] }).data) // Float32Array(2) [ 0, 0 ]
 * ```
 */
export class BatchNorm {
  readonly #numFeatures: number
  readonly #eps: number
  readonly #momentum: number | null
  readonly #unbiased: boolean
  readonly #runningMean: Float32Array | undefined
  readonly #runningVar: Float32Array | undefined
  readonly #weights: LayerWeights
  readonly #quick: QuickChannels
  #numBatchesTracked = 0
  #training: boolean
  /** Settled when all calls of forwardAsync so far have updated the running statistics. */
  #updates: Promise<void> = Promise.resolve()

  /**
   * Copies all arrays, running statistics as float32. Without these the layer starts with means 0 and variances 1.
   *
   * A layer that is constructed without weight (or bias) has none and learns none. PyTorch's start with ones and zeros: to train
   * one like these, pass `weight: new Float32Array(C).fill(1)` and `bias: new Float32Array(C)`.
   *
   * @param numFeatures C, the number of channels
   * @throws TypeError for a wrong kind of argument, RangeError for a wrong value
   */
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    const op = 'BatchNorm'
    const given = readOptions(op, options, layerOptions)
    checkCount(op, 'numFeatures', numFeatures)
    if (numFeatures >= 2 ** 31) throw wrongValue(op, 'numFeatures', 'a number below 2^31', String(numFeatures))
    const { momentum = 0.1, trackRunningStats = true, runningMean, runningVar, weight, bias } = given
    checkBoolean(op, 'trackRunningStats', trackRunningStats)
    const hasRunning = runningMean !== undefined || runningVar !== undefined
    const { training = !hasRunning } = given
    checkBoolean(op, 'training', training)
    this.#numFeatures = numFeatures
    if (momentum !== null) checkMomentum(op, momentum)
    this.#momentum = momentum
    const { eps, unbiased } = readConstants(op, given)
    this.#eps = eps
    this.#unbiased = unbiased
    this.#training = training
    const read = (what: string, value: Operand | Statistic | undefined, first: number) => {
      const array = readStatistic(op, what, value, [numFeatures], 'numFeatures')
      if (array && !trackRunningStats) {
        throw wrongType(op, what, 'undefined, because trackRunningStats is false', describe(value))
      }
      if (!trackRunningStats) return undefined
      if (what === 'runningVar') checkVariance(op, array) // before it is rounded
      return array ? rounded(op, what, array) : new Float32Array(numFeatures).fill(first)
    }
    this.#runningMean = read('runningMean', runningMean, 0)
    this.#runningVar = read('runningVar', runningVar, 1)
    this.#weights = new LayerWeights(op, [numFeatures], 'channels')
    this.#weights.set({ weight, bias })
    this.#quick = new QuickChannels('batch_norm', numFeatures, 1, eps, this.#weights)
  }

  /** Number of channels. */
  get numFeatures(): number {
    return this.#numFeatures
  }

  /** Added to the variance. */
  get eps(): number {
    return this.#eps
  }

  /** Weight of the new value; null: the running statistics are the plain average over all batches. */
  get momentum(): number | null {
    return this.#momentum
  }

  /** Whether the running variance is divided by n - 1. */
  get unbiased(): boolean {
    return this.#unbiased
  }

  /** Running mean, zeros at first, updated in place; undefined with `trackRunningStats: false`. */
  get runningMean(): Float32Array | undefined {
    return this.#runningMean
  }

  /** Running variance, ones at first, updated in place; undefined with `trackRunningStats: false`. */
  get runningVar(): Float32Array | undefined {
    return this.#runningVar
  }

  /** Number of training calls that updated the running statistics. */
  get numBatchesTracked(): number {
    return this.#numBatchesTracked
  }

  /** Whether calls use and count the statistics of their batch. */
  get training(): boolean {
    return this.#training
  }

  /** A copy of the scale, undefined where there is none. {@link setWeights} changes it. */
  get weight(): Float32Array | undefined {
    return this.#weights.copies().weight
  }

  /** A copy of the shift, undefined where there is none. {@link setWeights} changes it. */
  get bias(): Float32Array | undefined {
    return this.#weights.copies().bias
  }

  /** Replaces weight and bias with copies, C elements each. An omitted one is removed: to change one of them, pass both. */
  setWeights(weights: ChannelWeights): void {
    this.#weights.set(weights)
  }

  /** Copies of what an optimiser updates: weight and bias, C elements each, as far as the layer has them. */
  parameters(): LayerParameters {
    return this.#weights.copies()
  }

  /**
   * Copies of weight, bias and the running statistics by PyTorch's names, as far as the layer has them; `num_batches_tracked`
   * as a BigInt64Array of one element. {@link loadState} takes them back.
   */
  state(): LayerState {
    const state: LayerState = this.#weights.copies()
    if (!this.#runningMean || !this.#runningVar) return state
    state.running_mean = new Float32Array(this.#runningMean)
    state.running_var = new Float32Array(this.#runningVar)
    state.num_batches_tracked = BigInt64Array.of(BigInt(this.#numBatchesTracked))
    return state
  }

  /**
   * Replaces the parameters with those of a state: weight and bias, C elements each; and, unless the layer was constructed with
   * `trackRunningStats: false`, `running_mean` and `running_var`, which must be there, and `num_batches_tracked`, without which
   * the layer's number stays. The running statistics are written in place; {@link training} stays as it is. Await calls of
   * {@link forwardAsync} in training first: those update the running statistics when they end. See {@link LayerNorm.loadState}.
   *
   * @throws RangeError also for a running variance below 0 or NaN
   */
  loadState(state: LoadableState, options: LoadStateOptions = {}): this {
    const loaded = new LoadedState(state, options, [...this.#weights.names, ...(this.#runningMean ? runningNames : [])])
    const replaceWeights = this.#weights.read(loaded)
    const replaceRunning = readRunning(loaded, this.#runningMean, this.#runningVar, this.#numFeatures)
    this.#numBatchesTracked = replaceRunning() ?? this.#numBatchesTracked
    replaceWeights()
    return this
  }

  /** From now on each call uses its batch's statistics and updates the running ones. */
  train(training = true): this {
    checkBoolean('BatchNorm', 'training', training)
    this.#training = training
    return this
  }

  /** From now on each call uses the running statistics. */
  eval(): this {
    return this.train(false)
  }

  /** The result of {@link batchNorm} with this layer's parameters and statistics, which it updates in training; and its errors. */
  forward<X extends TensorLike, Out extends Operand | undefined = undefined>(
    x: X,
    options: BatchNormForwardOptions & { out?: Out } = {}
  ): Result<X, Out> {
    checkThis(this, 'BatchNorm', 'forward')
    const plain = hasOnlyOut(options)
    const given = plain ? { out: options.out } : readOptions('BatchNorm', options, forwardOptions)
    const parameters = this.#parameters()
    const quick = plain && !parameters.training ? this.#quick : undefined
    const { y, updated } = normalizeBatch('BatchNorm', x, given, parameters, this.#nextMomentum(), quick)
    if (updated) this.#numBatchesTracked++
    return y as Result<X, Out>
  }

  /**
   * The result of {@link forward} as a Promise, computed off the event loop. See {@link LayerNorm.forwardAsync}. In training the
   * running statistics are updated before the Promise is fulfilled, in the order of the calls.
   */
  async forwardAsync<X extends TensorLike, Out extends Operand | undefined = undefined>(
    x: X,
    options: BatchNormForwardOptions & AsyncOptions & { out?: Out } = {}
  ): Promise<Result<X, Out>> {
    checkThis(this, 'BatchNorm', 'forwardAsync')
    const op = 'BatchNorm'
    const given = readOptions(op, options, { ...forwardOptions, ...asyncOptions })
    checkAsyncOptions(op, given)
    const parameters = this.#parameters()
    const before = this.#updates
    const y = normalizeBatchAsync(op, x, given, parameters, async update => {
      await before
      if (update(this.#nextMomentum())) this.#numBatchesTracked++
    })
    if (parameters.training) {
      // Promises of nothing: one of the result would keep that for good.
      const settled = y.then(nothing, nothing)
      this.#updates = before.then(() => settled)
    }
    return (await y) as Result<X, Out>
  }

  /**
   * The gradients of {@link forward}: the result of {@link batchNormBackward} with this layer's parameters, in training or, with
   * its running statistics as they are now, in evaluation. Changes no running statistics. See {@link LayerNorm.backward}.
   */
  backward<X extends TensorLike, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: InFloat32<BatchNormBackwardOptions> & { dx?: Dx }
  ): Gradients<Result<X, Dx>, Float32Array>
  backward<X extends TensorLike, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: BatchNormBackwardOptions & { dx?: Dx }
  ): Gradients<Result<X, Dx>>
  backward(dy: Operand, x: TensorLike, options: BatchNormBackwardOptions = {}): Gradients {
    checkThis(this, 'BatchNorm', 'backward')
    return batchNormGradients(dy, x, options, this.#parameters())
  }

  /** The gradients as a Promise, computed off the event loop. See {@link LayerNorm.backwardAsync}. */
  backwardAsync<X extends TensorLike, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: InFloat32<BatchNormBackwardOptions> & AsyncOptions & { dx?: Dx }
  ): Promise<Gradients<Result<X, Dx>, Float32Array>>
  backwardAsync<X extends TensorLike, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: BatchNormBackwardOptions & AsyncOptions & { dx?: Dx }
  ): Promise<Gradients<Result<X, Dx>>>
  async backwardAsync(
    dy: Operand,
    x: TensorLike,
    options: BatchNormBackwardOptions & AsyncOptions = {}
  ): Promise<Gradients> {
    checkThis(this, 'BatchNorm', 'backwardAsync')
    return batchNormGradientsAsync(dy, x, options, this.#parameters())
  }

  #parameters(): BatchParameters {
    return {
      weight: this.#weights.weight,
      bias: this.#weights.bias,
      runningMean: this.#runningMean,
      runningVar: this.#runningVar,
      eps: this.#eps,
      unbiased: this.#unbiased,
      training: this.#training || !this.#runningMean,
      numFeatures: this.#numFeatures
    }
  }

  #nextMomentum(): number {
    return this.#momentum ?? 1 / (this.#numBatchesTracked + 1)
  }
}

refuseAssignments('BatchNorm', BatchNorm.prototype)

function nothing(): void {}
