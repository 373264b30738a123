// poolEmbeddings: from a model's last hidden states to embeddings as a database takes them, in one call. The kernels are
// pool_embeddings, layer_norm, normalize and quantize_embeddings, one after the other.
import { checkThis, gotTensor } from '../call/advice.js'
import { copied } from '../call/arrays.js'
import { type AsyncOptions, asyncOptions, checkAsyncOptions } from '../call/async_options.js'
import type { EmbeddingArray, EmbeddingArrays, EmbeddingTensor, Precision } from '../call/codes.js'
import { describe, wrongType, wrongValue } from '../call/errors.js'
import { LayerWeights } from '../call/layer_weights.js'
import { checkBoolean, checkChoice, checkCount, checkEps, type Known, readOptions } from '../call/options.js'
import { type PaddingOptions, paddingOptions } from '../call/padding.js'
import { isTensor, type Operand, readOperand, type TensorLike } from '../call/tensor.js'
import type { Statistic } from '../kernels/index.js'
import { type QuantizeOptions, quantizeOptions, readQuantization } from './embeddings_call.js'
import { type NormalizeConstants, type NormalizeNumbers, readNormalizeConstants } from './normalize_call.js'
import { type Plan, type Pooling, poolAtOnce, poolings, poolLater } from './pool_embeddings_call.js'

/** LayerNorm over all channels. */
export interface EmbeddingLayerNorm {
  /** Scale, one element per channel. Default: none (1). */
  weight?: Operand
  /** Shift, one element per channel. Default: none (0). */
  bias?: Operand
  /** Added to the variance, finite and >= 0. Default: 1e-5. */
  eps?: number
}

/** What an {@link EmbeddingPooler} does, in this order. */
export interface PoolingOptions extends QuantizeOptions {
  /**
   * How the real positions of a sample become one embedding: their mean; 'mean-sqrt', their sum over the root of their
   * number; 'weighted-mean', with weights 1, 2, 3, ...; the first ('cls') or the last of them; the largest number of each
   * channel ('max'). Several are concatenated. 'none': each position is an embedding. Default: 'mean'.
   */
  pooling?: Pooling | readonly Pooling[]
  /** LayerNorm over all channels, without (true) or with weight, bias and eps. Default: false. */
  layerNorm?: boolean | EmbeddingLayerNorm
  /** The first so many channels are kept (Matryoshka; Kusupati et al. 2022, arXiv 2205.13147). Default: all. */
  dimensions?: number
  /** Division by the norm, with the constants of {@link normalize}. Default: true, the 2-norm. */
  normalize?: boolean | NormalizeConstants
}

/** Options of one call of an {@link EmbeddingPooler}. */
export interface EmbeddingForwardOptions extends PaddingOptions {
  /** Leaves out the first so many real positions of each sample (a prompt): a number, or one per sample. Default: 0. */
  skip?: number | ArrayLike<number | bigint>
  /** The array of the precision, or a tensor of it; receives the result. Default: new memory. */
  out?: EmbeddingArray | TensorLike
  /** Receives what pooling gives, float32, before the other stages. */
  pooled?: Operand
  /** One element per row; receives its norm after LayerNorm and cut: 0, NaN or Infinity name a bad row. */
  norm?: Statistic
  /** One element per row; receives what codes are multiplied by (scale 'row'). */
  scales?: Float32Array
}

/** Options of {@link poolEmbeddings}. */
export interface PoolEmbeddingsOptions extends PoolingOptions, EmbeddingForwardOptions {}

const poolingOptions: Known<PoolingOptions> = {
  pooling: true,
  layerNorm: true,
  dimensions: true,
  normalize: true,
  ...quantizeOptions
}
const forwardOptions: Known<EmbeddingForwardOptions> = {
  ...paddingOptions,
  skip: true,
  out: true,
  pooled: true,
  norm: true,
  scales: true
}
const functionOptions: Known<PoolEmbeddingsOptions> = { ...poolingOptions, ...forwardOptions }

/** Reads what is the same for every call. */
function readPlan(op: string, options: PoolingOptions, channels: number): Plan {
  const { pooling = 'mean', layerNorm = false, normalize = true } = options
  const kinds = (Array.isArray(pooling) ? copied(op, 'pooling', pooling, poolings.length) : [pooling]) as Pooling[]
  for (const kind of kinds) checkChoice(op, 'pooling', kind, poolings, `one of ${poolings.join(', ')}`)
  if (kinds.length === 0) throw wrongValue(op, 'pooling', 'at least one', '[]')
  if (kinds.length > 1 && kinds.includes('none')) throw wrongValue(op, 'pooling', "'none' alone", describe(kinds))
  if (new Set(kinds).size < kinds.length) throw wrongValue(op, 'pooling', 'each once', describe(kinds))
  const width = channels * kinds.length
  const { dimensions = width } = options
  checkCount(op, 'dimensions', dimensions)
  if (dimensions > width) throw wrongValue(op, 'dimensions', `at most ${width} (channels)`, String(dimensions))
  return {
    channels,
    kinds,
    width,
    layerNorm: readLayerNorm(op, layerNorm, width),
    dimensions,
    normalize: readNormalize(op, normalize),
    quantization: readQuantization(op, options, dimensions)
  }
}

function readLayerNorm(op: string, given: boolean | EmbeddingLayerNorm, width: number): Plan['layerNorm'] {
  if (typeof given !== 'object' || given === null) checkBoolean(op, 'layerNorm', given)
  if (given === false) return undefined
  const options = given === true ? {} : given
  const {
    weight,
    bias,
    eps = 1e-5
  } = readOptions<EmbeddingLayerNorm>(`${op}: layerNorm`, options, {
    weight: true,
    bias: true,
    eps: true
  })
  const weights = new LayerWeights(op, [width], 'channels')
  weights.set({ weight, bias })
  return { weight: weights.weight, bias: weights.bias, eps: checkEps(op, eps) }
}

function readNormalize(op: string, given: boolean | NormalizeConstants): NormalizeNumbers | undefined {
  if (typeof given !== 'object' || given === null) checkBoolean(op, 'normalize', given)
  if (given === false) return undefined
  return readNormalizeConstants(op, given === true ? {} : given)
}

/**
 * Embeddings from a model's last hidden states: pooled over the real positions of each sample, then, in this order and as far
 * as asked for, LayerNorm, cut to the first dimensions, division by the norm, another precision (NUMERICS.md, rules 18 and
 * 19). The result has the bits of the stages called one by one. Padded positions are skipped, never multiplied by 0: NaN there
 * does no harm. A sample without real positions is pooled to zeros.
 *
 * @param hidden a tensor [N, L, C]; with pooling 'none' also [N, C]
 * @param options `lengths` or `mask` say which positions are real
 * @returns a tensor [N, k] of hidden's class where that takes the type, else a plain one; [N, L, k] for pooling 'none' of three
 *   dims; k is ceil(dimensions / 8) for 'binary' and 'ubinary'
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * const { last_hidden_state } = await session.run(inputs)
 * const { data } = poolEmbeddings(last_hidden_state, { mask: inputs.attention_mask, precision: 'int8', scale: 'unit' })
 */
export function poolEmbeddings<P extends Precision = 'float32'>(
  hidden: TensorLike,
  options: PoolEmbeddingsOptions & { precision?: P } = {}
): EmbeddingTensor<P> {
  const op = 'poolEmbeddings'
  const given = readOptions<PoolEmbeddingsOptions>(op, options, functionOptions)
  if (!isTensor(hidden)) throw wrongType(op, 'x', 'a tensor { data, dims }', gotTensor('x', hidden, '[N, L, C]'))
  const elements = readOperand(op, 'x', hidden)
  const channels = elements.dims?.at(-1)
  if (!channels) throw wrongValue(op, 'x.dims', '[N, L, C] with at least one channel', describe(elements.dims))
  return poolAtOnce(op, elements, given, readPlan(op, given, channels)) as EmbeddingTensor<P>
}

/**
 * {@link poolEmbeddings} with its options read once.
 *
 * @example
 * const pooler = new EmbeddingPooler(384, { dimensions: 256, precision: 'float16' })
 * const { data } = await pooler.forwardAsync(last_hidden_state, { mask: attention_mask, transfer: true })
 */
export class EmbeddingPooler<P extends Precision = 'float32'> {
  readonly #plan: Plan

  /**
   * @param channels C of the hidden states
   * @param options what to do; weights and ranges are copied
   * @throws TypeError for a wrong kind of argument, RangeError for a wrong value
   */
  constructor(channels: number, options: PoolingOptions & { precision?: P } = {}) {
    const op = 'EmbeddingPooler'
    const given = readOptions<PoolingOptions>(op, options, poolingOptions)
    checkCount(op, 'channels', channels)
    this.#plan = readPlan(op, given, channels)
  }

  /** Channels of the hidden states. */
  get channels(): number {
    return this.#plan.channels
  }

  /** Kinds of pooling, in the order in which they are concatenated. */
  get pooling(): readonly Pooling[] {
    return [...this.#plan.kinds]
  }

  /** Numbers of an embedding. */
  get dimensions(): number {
    return this.#plan.dimensions
  }

  /** What a result's elements are. */
  get precision(): P {
    return this.#plan.quantization.precision as P
  }

  /** The same result as {@link poolEmbeddings}. An array, whole rows of `channels`, needs pooling 'none'. */
  forward(hidden: Float32Array, options?: EmbeddingForwardOptions): EmbeddingArrays[P]
  forward(hidden: TensorLike, options?: EmbeddingForwardOptions): EmbeddingTensor<P>
  forward(hidden: Operand, options: EmbeddingForwardOptions = {}): EmbeddingArray | TensorLike {
    checkThis(this, 'EmbeddingPooler', 'forward')
    const op = 'EmbeddingPooler'
    return poolAtOnce(op, readOperand(op, 'x', hidden), readOptions(op, options, forwardOptions), this.#plan)
  }

  /**
   * The same result as a Promise, computed off the event loop. hidden is copied, unless `transfer` hands its memory over or it
   * is over a SharedArrayBuffer, which must not be written to before the Promise is settled. Errors reject the Promise.
   */
  forwardAsync(hidden: Float32Array, options?: EmbeddingForwardOptions & AsyncOptions): Promise<EmbeddingArrays[P]>
  forwardAsync(hidden: TensorLike, options?: EmbeddingForwardOptions & AsyncOptions): Promise<EmbeddingTensor<P>>
  async forwardAsync(
    hidden: Operand,
    options: EmbeddingForwardOptions & AsyncOptions = {}
  ): Promise<EmbeddingArray | TensorLike> {
    checkThis(this, 'EmbeddingPooler', 'forwardAsync')
    const op = 'EmbeddingPooler'
    const given = readOptions(op, options, { ...forwardOptions, ...asyncOptions })
    checkAsyncOptions(op, given)
    return poolLater(op, readOperand(op, 'x', hidden), given, this.#plan)
  }
}
