// InstanceNorm: the public operation and layer. Its kernel is group_norm's, with each channel a group.
import { type AsyncOptions, asyncOptions } from '../background.js'
import type { Statistic } from '../canonical.js'
import { type ChannelOptions, type ChannelWeights, channelOptions, checkCount, OwnWeights } from '../channels.js'
import { checkEps, checkOptions } from '../check.js'
import type { Operand, TensorLike } from '../tensor.js'
import { normaliseGroups, normaliseGroupsLater } from './group_norm.js'

/** Options of one InstanceNorm call that are not parameters of the layer. */
export interface InstanceNormForwardOptions extends ChannelOptions {
  /** N * C elements; receives the mean. NaN for a sample without real positions. */
  mean?: Statistic
  /** N * C elements; receives 1 / sqrt(variance + eps). NaN for a sample without real positions. */
  rstd?: Statistic
  /** As many elements as x; receives the result. May be exactly x. Default: new memory. */
  out?: Operand
}

/** Options of {@link instanceNorm}. */
export interface InstanceNormOptions extends InstanceNormForwardOptions, ChannelWeights {
  /** Added to the variance, finite and >= 0. Default: 1e-5. */
  eps?: number
}

const forwardOptions = [...channelOptions, 'mean', 'rstd', 'out']
const functionOptions = ['weight', 'bias', 'eps', ...forwardOptions]

/**
 * Instance normalisation (Ulyanov, Vedaldi & Lempitsky 2016, arXiv 1607.08022; ONNX InstanceNormalization):
 * `y = (x - mean) / sqrt(variance + eps) * weight + bias` for each sample and channel over its positions, with their biased
 * variance. A channel of one position becomes the bias. With `lengths` or `mask`, padded positions do not count and become 0.
 *
 * @param x a tensor [N, C, ...], or [N, ..., C] with layout 'channels-last'
 * @returns `options.out` where that is a tensor, else a tensor of x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 */
export function instanceNorm<X extends TensorLike>(x: X, options: InstanceNormOptions = {}): X {
  const op = 'instanceNorm'
  checkOptions(op, options, functionOptions)
  return normaliseGroups(op, x, undefined, {
    ...options,
    eps: checkEps(op, options.eps === undefined ? 1e-5 : options.eps)
  }) as X
}

/** Instance normalisation with its weights resolved once, as torch.nn.InstanceNorm1d, 2d and 3d. See {@link instanceNorm}. */
export class InstanceNorm {
  readonly numFeatures: number
  readonly eps: number
  readonly #weights: OwnWeights

  /** Copies the weights. `eps` is 1e-5 unless given. Errors as {@link instanceNorm}. */
  constructor(numFeatures: number, options: ChannelWeights & { eps?: number } = {}) {
    const op = 'InstanceNorm'
    checkOptions(op, options, ['weight', 'bias', 'eps'])
    checkCount(op, 'numFeatures', numFeatures)
    this.numFeatures = numFeatures
    this.eps = checkEps(op, options.eps === undefined ? 1e-5 : options.eps)
    this.#weights = new OwnWeights(op, numFeatures, options)
  }

  /** Replaces weight and bias by copies of these; what is absent is none. */
  setWeights(weights: ChannelWeights): void {
    this.#weights.set(weights)
  }

  /** The same result as {@link instanceNorm} with this layer's parameters. */
  forward<X extends TensorLike>(x: X, options: InstanceNormForwardOptions = {}): X {
    const op = 'InstanceNorm'
    checkOptions(op, options, forwardOptions)
    return normaliseGroups(op, x, undefined, { ...options, ...this.#parameters() }) as X
  }

  /** The same result as a Promise, computed off the event loop. See {@link LayerNorm.forwardAsync}. */
  async forwardAsync<X extends TensorLike>(x: X, options: InstanceNormForwardOptions & AsyncOptions = {}): Promise<X> {
    const op = 'InstanceNorm'
    checkOptions(op, options, [...forwardOptions, ...asyncOptions])
    return (await normaliseGroupsLater(op, x, undefined, { ...options, ...this.#parameters() })) as X
  }

  #parameters() {
    const { weight, bias } = this.#weights
    return { weight, bias, eps: this.eps, numChannels: this.numFeatures }
  }
}
