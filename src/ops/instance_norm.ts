// InstanceNorm: the public operation and layer. Its kernel is group_norm, with each channel a group.
import { checkThis, refuseAssignments } from '../call/advice.js'
import { type AsyncOptions, asyncOptions, checkAsyncOptions } from '../call/async_options.js'
import { type ChannelOptions, type ChannelWeights, channelOptions } from '../call/channels.js'
import type { Gradients, InFloat32 } from '../call/gradients.js'
import {
  type LayerParameters,
  type LayerState,
  type LoadableState,
  LoadedState,
  type LoadStateOptions
} from '../call/layer_state.js'
import { LayerWeights } from '../call/layer_weights.js'
import { checkCount, checkEps, type Known, readOptions } from '../call/options.js'
import { hasOnlyOut } from '../call/quick.js'
import { QuickChannels } from '../call/quick_channels.js'
import type { Result } from '../call/result.js'
import type { Operand, TensorLike } from '../call/tensor.js'
import type { Statistic } from '../kernels/index.js'
import { groupLayerGradients, groupLayerGradientsAsync } from './group_norm_backward.js'
import { type GroupParameters, normalizeGroups, normalizeGroupsAsync } from './group_norm_call.js'
import type { InstanceNormBackwardOptions } from './instance_norm_backward.js'

/** Options of one InstanceNorm call that are not parameters of the layer. */
export interface InstanceNormForwardOptions extends ChannelOptions {
  /** N * C elements; receives the mean. NaN for a sample without real positions. */
  mean?: Statistic | undefined
  /** N * C elements; receives 1 / sqrt(variance + eps). NaN for a sample without real positions. */
  rstd?: Statistic | undefined
  /**
   * Receives the result: as many elements as x, as a tensor its dims. May be exactly x (the same memory from the first to the last
   * element), which makes the call in place. Otherwise it must share no memory with anything else in the call. Default: new memory.
   */
  out?: Operand | undefined
}

/** Options of {@link instanceNorm}. */
export interface InstanceNormOptions extends InstanceNormForwardOptions, ChannelWeights {
  /** Added to the variance, finite and >= 0. Default: 1e-5. */
  eps?: number | undefined
}

const forwardOptions: Known<InstanceNormForwardOptions> = { ...channelOptions, mean: true, rstd: true, out: true }
const parameters: Known<ChannelWeights & { eps?: number | undefined }> = { weight: true, bias: true, eps: true }
const functionOptions: Known<InstanceNormOptions> = { ...parameters, ...forwardOptions }

/**
 * Instance normalisation (Ulyanov, Vedaldi & Lempitsky 2016, arXiv 1607.08022; ONNX InstanceNormalization):
 * `y = (x - mean) / sqrt(variance + eps) * weight + bias` for each sample and channel over its positions, with their biased
 * variance. A channel of one position becomes the bias. With `lengths` or `mask`, padded positions do not count and become 0.
 *
 * @param x a tensor [N, C, ...], or [N, ..., C] with layout 'channels-last'
 * @returns `options.out` where that is a tensor, else a tensor of x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * ```ts
 * import { instanceNorm } from 'evenkeel'
 *
 * const x = { data: Float32Array.of(1, 3, 5, 9), dims: [1, 2, 2] } // one sample, two channels, two positions
 * console.log(instanceNorm(x, { weight: Float32Array.of(1, 2), eps: 0 }).data) // Float32Array(4) [ -1, 1, -2, 2 ]
 * ```
 */
export function instanceNorm<X extends TensorLike, Out extends Operand | undefined = undefined>(
  x: X,
  options: InstanceNormOptions & { out?: Out } = {}
): Result<X, Out> {
  const op = 'instanceNorm'
  const given = readOptions(op, options, functionOptions)
  const { weight, bias, eps = 1e-5 } = given
  const parameters = { weight, bias, eps: checkEps(op, eps), numGroups: undefined, numChannels: undefined }
  return normalizeGroups(op, x, given, parameters) as Result<X, Out>
}

/**
 * {@link instanceNorm} with its parameters read once and kept, as torch.nn.InstanceNorm1d, 2d and 3d.
 *
 * @example
 * ```ts
 * import { InstanceNorm } from 'evenkeel'
 *
 * const layer = new InstanceNorm(2, { eps: 0 })
 * console.log(layer.forward({ data: Float32Array.of(1, 3, 5, 9), dims: [1, 2, 2] }).data) // Float32Array(4) [ -1, 1, -1, 1 ]
 * ```
 */
export class InstanceNorm {
  readonly #numFeatures: number
  readonly #eps: number
  readonly #weights: LayerWeights
  readonly #quick: QuickChannels

  /**
   * Copies weight and bias.
   *
   * A layer that is constructed without weight (or bias) has none and learns none. PyTorch's have none either, unless made with
   * `affine=True`: then they start with ones and zeros. To train one like these, pass `weight: new Float32Array(C).fill(1)` and
   * `bias: new Float32Array(C)`.
   *
   * @param numFeatures C, the number of channels
   * @throws TypeError for a wrong kind of argument, RangeError for a wrong value
   */
  constructor(numFeatures: number, options: ChannelWeights & { eps?: number | undefined } = {}) {
    const op = 'InstanceNorm'
    const { weight, bias, eps = 1e-5 } = readOptions(op, options, parameters)
    checkCount(op, 'numFeatures', numFeatures)
    this.#numFeatures = numFeatures
    this.#eps = checkEps(op, eps)
    this.#weights = new LayerWeights(op, [numFeatures], 'channels')
    this.#weights.set({ weight, bias })
    this.#quick = new QuickChannels('group_norm', numFeatures, 1, this.#eps, this.#weights)
  }

  /** Number of channels. */
  get numFeatures(): number {
    return this.#numFeatures
  }

  /** Added to the variance. */
  get eps(): number {
    return this.#eps
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

  /** The same copies by PyTorch's names. {@link loadState} takes them back. */
  state(): LayerState {
    return this.#weights.copies()
  }

  /** Replaces weight and bias with those of a state, C elements each. See {@link LayerNorm.loadState}. */
  loadState(state: LoadableState, options: LoadStateOptions = {}): this {
    this.#weights.read(new LoadedState(state, options, this.#weights.names))()
    return this
  }

  /** The result of {@link instanceNorm} with this layer's parameters, and its errors. */
  forward<X extends TensorLike, Out extends Operand | undefined = undefined>(
    x: X,
    options: InstanceNormForwardOptions & { out?: Out } = {}
  ): Result<X, Out> {
    checkThis(this, 'InstanceNorm', 'forward')
    const op = 'InstanceNorm'
    const plain = hasOnlyOut(options)
    const given = plain ? { out: options.out } : readOptions(op, options, forwardOptions)
    return normalizeGroups(op, x, given, this.#parameters(), plain ? this.#quick : undefined) as Result<X, Out>
  }

  /** The result of {@link forward} as a Promise, computed off the event loop. See {@link LayerNorm.forwardAsync}. */
  async forwardAsync<X extends TensorLike, Out extends Operand | undefined = undefined>(
    x: X,
    options: InstanceNormForwardOptions & AsyncOptions & { out?: Out } = {}
  ): Promise<Result<X, Out>> {
    checkThis(this, 'InstanceNorm', 'forwardAsync')
    const op = 'InstanceNorm'
    const given = readOptions(op, options, { ...forwardOptions, ...asyncOptions })
    checkAsyncOptions(op, given)
    return (await normalizeGroupsAsync(op, x, given, this.#parameters())) as Result<X, Out>
  }

  /**
   * The gradients of {@link forward}: the result of {@link instanceNormBackward} with this layer's parameters. See
   * {@link LayerNorm.backward}.
   */
  backward<X extends TensorLike, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: InFloat32<InstanceNormBackwardOptions> & { dx?: Dx }
  ): Gradients<Result<X, Dx>, Float32Array>
  backward<X extends TensorLike, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: InstanceNormBackwardOptions & { dx?: Dx }
  ): Gradients<Result<X, Dx>>
  backward(dy: Operand, x: TensorLike, options: InstanceNormBackwardOptions = {}): Gradients {
    checkThis(this, 'InstanceNorm', 'backward')
    return groupLayerGradients('InstanceNorm', dy, x, options, this.#parameters())
  }

  /** The gradients as a Promise, computed off the event loop. See {@link LayerNorm.backwardAsync}. */
  backwardAsync<X extends TensorLike, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: InFloat32<InstanceNormBackwardOptions> & AsyncOptions & { dx?: Dx }
  ): Promise<Gradients<Result<X, Dx>, Float32Array>>
  backwardAsync<X extends TensorLike, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: InstanceNormBackwardOptions & AsyncOptions & { dx?: Dx }
  ): Promise<Gradients<Result<X, Dx>>>
  async backwardAsync(
    dy: Operand,
    x: TensorLike,
    options: InstanceNormBackwardOptions & AsyncOptions = {}
  ): Promise<Gradients> {
    checkThis(this, 'InstanceNorm', 'backwardAsync')
    return groupLayerGradientsAsync('InstanceNorm', dy, x, options, this.#parameters())
  }

  #parameters(): GroupParameters {
    const { weight, bias } = this.#weights
    return { weight, bias, numGroups: undefined, numChannels: this.#numFeatures, eps: this.#eps }
  }
}

refuseAssignments('InstanceNorm', InstanceNorm.prototype)
