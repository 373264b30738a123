// GroupNorm: the public operation and layer. Its kernel is group_norm.
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
import { type GroupNormBackwardOptions, groupLayerGradients, groupLayerGradientsAsync } from './group_norm_backward.js'
import { checkDivides, type GroupParameters, normalizeGroups, normalizeGroupsAsync } from './group_norm_call.js'

/** Options of one GroupNorm call that are not parameters of the layer. */
export interface GroupNormForwardOptions extends ChannelOptions {
  /** samples * groups elements; receives the mean. NaN for a sample without real positions. */
  mean?: Statistic | undefined
  /** samples * groups elements; receives 1 / sqrt(variance + eps). NaN for a sample without real positions. */
  rstd?: Statistic | undefined
  /**
   * Receives the result: as many elements as x, as a tensor its dims. May be exactly x (the same memory from the first to the last
   * element), which makes the call in place. Otherwise it must share no memory with anything else in the call. Default: new memory.
   */
  out?: Operand | undefined
}

/** Options of {@link groupNorm}. */
export interface GroupNormOptions extends GroupNormForwardOptions, ChannelWeights {
  /** Added to the variance, finite and >= 0. Default: 1e-5. */
  eps?: number | undefined
}

const forwardOptions: Known<GroupNormForwardOptions> = { ...channelOptions, mean: true, rstd: true, out: true }
const parameters: Known<ChannelWeights & { eps?: number | undefined }> = { weight: true, bias: true, eps: true }
const functionOptions: Known<GroupNormOptions> = { ...parameters, ...forwardOptions }

/**
 * Group normalisation (Wu & He 2018, arXiv 1803.08494; ONNX GroupNormalization 21):
 * `y = (x - mean) / sqrt(variance + eps) * weight + bias` for each sample and each of `numGroups` groups of neighbouring
 * channels, with the biased variance of the group; weight and bias belong to channels. With `lengths` or `mask`, padded
 * positions do not count and become 0.
 *
 * @param x a tensor [N, C] or [N, C, ...], or [N, ..., C] with layout 'channels-last'
 * @param numGroups number of groups; divides C
 * @returns `options.out` where that is a tensor, else a tensor of x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * ```ts
 * import { groupNorm } from 'evenkeel'
 *
 * const x = { data: Float32Array.of(1, 3, 5, 9), dims: [1, 4, 1] } // one sample, four channels, one position
 * console.log(groupNorm(x, 2, { weight: Float32Array.of(1, 1, 2, 2), eps: 0 }).data) // Float32Array(4) [ -1, 1, -2, 2 ]
 * ```
 */
export function groupNorm<X extends TensorLike, Out extends Operand | undefined = undefined>(
  x: X,
  numGroups: number,
  options: GroupNormOptions & { out?: Out } = {}
): Result<X, Out> {
  const op = 'groupNorm'
  const given = readOptions(op, options, functionOptions)
  checkCount(op, 'numGroups', numGroups)
  const { weight, bias, eps = 1e-5 } = given
  const parameters = { weight, bias, eps: checkEps(op, eps), numGroups, numChannels: undefined }
  return normalizeGroups(op, x, given, parameters) as Result<X, Out>
}

/**
 * {@link groupNorm} with its parameters read once and kept, as torch.nn.GroupNorm.
 *
 * @example
 * ```ts
 * import { GroupNorm } from 'evenkeel'
 *
 * const layer = new GroupNorm(2, 4, { eps: 0 })
 * console.log(layer.forward({ data: Float32Array.of(1, 3, 5, 9), dims: [1, 4, 1] }).data) // Float32Array(4) [ -1, 1, -1, 1 ]
 * ```
 */
export class GroupNorm {
  readonly #numGroups: number
  readonly #numChannels: number
  readonly #eps: number
  readonly #weights: LayerWeights
  readonly #quick: QuickChannels

  /**
   * Copies weight and bias.
   *
   * A layer that is constructed without weight (or bias) has none and learns none. PyTorch's start with ones and zeros: to train
   * one like these, pass `weight: new Float32Array(C).fill(1)` and `bias: new Float32Array(C)`.
   *
   * @param numGroups number of groups; divides numChannels
   * @param numChannels C, the number of channels
   * @throws TypeError for a wrong kind of argument, RangeError for a wrong value
   */
  constructor(numGroups: number, numChannels: number, options: ChannelWeights & { eps?: number | undefined } = {}) {
    const op = 'GroupNorm'
    const { weight, bias, eps = 1e-5 } = readOptions(op, options, parameters)
    checkCount(op, 'numGroups', numGroups)
    checkCount(op, 'numChannels', numChannels)
    checkDivides(op, numGroups, numChannels)
    this.#numGroups = numGroups
    this.#numChannels = numChannels
    this.#eps = checkEps(op, eps)
    this.#weights = new LayerWeights(op, [numChannels], 'channels')
    this.#weights.set({ weight, bias })
    this.#quick = new QuickChannels('group_norm', numGroups, numChannels / numGroups, this.#eps, this.#weights)
  }

  /** Number of groups. */
  get numGroups(): number {
    return this.#numGroups
  }

  /** Number of channels. */
  get numChannels(): number {
    return this.#numChannels
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

  /** The result of {@link groupNorm} with this layer's parameters, and its errors. */
  forward<X extends TensorLike, Out extends Operand | undefined = undefined>(
    x: X,
    options: GroupNormForwardOptions & { out?: Out } = {}
  ): Result<X, Out> {
    checkThis(this, 'GroupNorm', 'forward')
    const op = 'GroupNorm'
    const plain = hasOnlyOut(options)
    const given = plain ? { out: options.out } : readOptions(op, options, forwardOptions)
    return normalizeGroups(op, x, given, this.#parameters(), plain ? this.#quick : undefined) as Result<X, Out>
  }

  /** The result of {@link forward} as a Promise, computed off the event loop. See {@link LayerNorm.forwardAsync}. */
  async forwardAsync<X extends TensorLike, Out extends Operand | undefined = undefined>(
    x: X,
    options: GroupNormForwardOptions & AsyncOptions & { out?: Out } = {}
  ): Promise<Result<X, Out>> {
    checkThis(this, 'GroupNorm', 'forwardAsync')
    const op = 'GroupNorm'
    const given = readOptions(op, options, { ...forwardOptions, ...asyncOptions })
    checkAsyncOptions(op, given)
    return (await normalizeGroupsAsync(op, x, given, this.#parameters())) as Result<X, Out>
  }

  /**
   * The gradients of {@link forward}: the result of {@link groupNormBackward} with this layer's parameters. See
   * {@link LayerNorm.backward}.
   */
  backward<X extends TensorLike, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: InFloat32<GroupNormBackwardOptions> & { dx?: Dx }
  ): Gradients<Result<X, Dx>, Float32Array>
  backward<X extends TensorLike, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: GroupNormBackwardOptions & { dx?: Dx }
  ): Gradients<Result<X, Dx>>
  backward(dy: Operand, x: TensorLike, options: GroupNormBackwardOptions = {}): Gradients {
    checkThis(this, 'GroupNorm', 'backward')
    return groupLayerGradients('GroupNorm', dy, x, options, this.#parameters())
  }

  /** The gradients as a Promise, computed off the event loop. See {@link LayerNorm.backwardAsync}. */
  backwardAsync<X extends TensorLike, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: InFloat32<GroupNormBackwardOptions> & AsyncOptions & { dx?: Dx }
  ): Promise<Gradients<Result<X, Dx>, Float32Array>>
  backwardAsync<X extends TensorLike, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: GroupNormBackwardOptions & AsyncOptions & { dx?: Dx }
  ): Promise<Gradients<Result<X, Dx>>>
  async backwardAsync(
    dy: Operand,
    x: TensorLike,
    options: GroupNormBackwardOptions & AsyncOptions = {}
  ): Promise<Gradients> {
    checkThis(this, 'GroupNorm', 'backwardAsync')
    return groupLayerGradientsAsync('GroupNorm', dy, x, options, this.#parameters())
  }

  #parameters(): GroupParameters {
    const { weight, bias } = this.#weights
    return { weight, bias, numGroups: this.#numGroups, numChannels: this.#numChannels, eps: this.#eps }
  }
}

refuseAssignments('GroupNorm', GroupNorm.prototype)
