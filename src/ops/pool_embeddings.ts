// poolEmbeddings: from a model's last hidden states to embeddings as a database takes them, in one call. The kernels are
// pool_embeddings, layer_norm, normalize and quantize_embeddings, one after the other.
import { checkThis, gotTensor, refuseAssignments } from '../call/advice.js'
import { copied } from '../call/arrays.js'
import { type AsyncOptions, asyncOptions, checkAsyncOptions } from '../call/async_options.js'
import type { EmbeddingArray, EmbeddingTensor, Precision } from '../call/codes.js'
import { checkDtype, type DtypeOption } from '../call/elements.js'
import { describe, wrongType, wrongValue } from '../call/errors.js'
import { LayerWeights } from '../call/layer_weights.js'
import { checkBoolean, checkChoice, checkCount, checkEps, type Known, readOptions } from '../call/options.js'
import { type PaddingOptions, paddingOptions } from '../call/padding.js'
import type { Embeddings } from '../call/result.js'
import { type Elements, isTensor, type Operand, readOperand, type TensorLike } from '../call/tensor.js'
import type { Statistic } from '../kernels/index.js'
import { type QuantizeOptions, quantizeOptions, readQuantization } from './embeddings_call.js'
import { type NormalizeConstants, type NormalizeNumbers, readNormalizeConstants } from './normalize_call.js'
import { type Plan, type Pooling, poolings, runPooling, runPoolingAsync } from './pool_embeddings_call.js'

/** The LayerNorm among the stages of {@link poolEmbeddings}, over all numbers of an embedding. */
export interface EmbeddingLayerNorm {
  /** Scale, an element for each number of an embedding before it is cut. Default: none (1). */
  weight?: Operand | undefined
  /** Shift, an element for each number of an embedding before it is cut. Default: none (0). */
  bias?: Operand | undefined
  /** Added to the variance, finite and >= 0. Default: 1e-5. */
  eps?: number | undefined
}

/** What an {@link EmbeddingPooler} does, in this order. */
export interface PoolingOptions extends QuantizeOptions {
  /**
   * How the real positions of a sample become one embedding: one {@link Pooling}, or an array of several, whose results are
   * concatenated in that order. Default: 'mean'.
   */
  pooling?: Pooling | readonly Pooling[] | undefined
  /** Whether each embedding goes through LayerNorm: true, or an object with weight, bias and eps. Default: false. */
  layerNorm?: boolean | EmbeddingLayerNorm | undefined
  /** How many numbers of an embedding are kept, from the first on (Matryoshka; Kusupati et al. 2022, arXiv 2205.13147). Default: all. */
  dimensions?: number | undefined
  /** Whether embeddings are divided by their norm: true, false, or the constants of {@link normalize}. Default: true (the 2-norm). */
  normalize?: boolean | NormalizeConstants | undefined
}

/** Options of one call of an {@link EmbeddingPooler}. */
export interface EmbeddingForwardOptions extends PaddingOptions, DtypeOption {
  /** How many real positions of each sample are left out, from the first on (a prompt): a number, or an array of N. Default: 0. */
  skip?: number | ArrayLike<number | bigint> | undefined
  /**
   * Receives the result: the array of the precision, or a tensor of it. Must share no memory with anything else in the call, unless
   * it is exactly that of x. Default: new memory.
   */
  out?: EmbeddingArray | TensorLike | undefined
  /** Receives the result of pooling, float32, before the other stages: as many numbers as all embeddings have before they are cut. */
  pooled?: Operand | undefined
  /** One element per embedding; receives its norm before the division. 0, NaN or Infinity are the mark of one that should not be stored. */
  norm?: Statistic | undefined
  /** One element per embedding; receives what its codes are to be multiplied by. With `scale: 'row'` only. */
  scales?: Float32Array | undefined
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
  dtype: true,
  skip: true,
  out: true,
  pooled: true,
  norm: true,
  scales: true
}
const functionOptions: Known<PoolEmbeddingsOptions> = { ...poolingOptions, ...forwardOptions }

/** Reads the hidden states. */
function readHidden(op: string, x: Operand, { dtype }: DtypeOption): Elements {
  checkDtype(op, dtype)
  return readOperand(op, 'x', x, dtype)
}

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
 * Embeddings from a model's last hidden states. The stages, in this order: `pooling` over the real positions of each sample;
 * `layerNorm` (off by default); the first `dimensions` numbers (all by default); `normalize` (on by default); `precision`
 * (float32 by default). NUMERICS.md, rules 18 and 19. The result has the bits of the stages called one by one. Padded positions
 * are left out, never multiplied by 0: NaN there does no harm. A sample without real positions becomes zeros.
 *
 * @param x the hidden states, N samples of L positions of C channels, a tensor [N, L, C]; with pooling 'none' also [N, C]
 * @returns `options.out` where that is a tensor, else a tensor [N, k], of x's class where that takes the type, over the
 *   memory that was written; [N, L, k] for pooling 'none' of [N, L, C]. k is `dimensions`, for 'binary' and 'ubinary'
 *   ceil(dimensions / 8)
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * ```ts
 * import { poolEmbeddings } from 'evenkeel'
 *
 * // as a session returns it: two texts of three tokens, the last of them padding in the second text
 * const last_hidden_state = { data: Float32Array.of(1, 2, 3, 4, 5, 6, 0, 1, 0, 3, NaN, NaN), dims: [2, 3, 2] }
 * const attention_mask = { data: BigInt64Array.of(1n, 1n, 1n, 1n, 1n, 0n), dims: [2, 3] }
 *
 * const { data, dims } = poolEmbeddings(last_hidden_state, { mask: attention_mask, normalize: false })
 * console.log(data, dims) // Float32Array(4) [ 3, 4, 0, 2 ] [ 2, 2 ]
 * const codes = poolEmbeddings(last_hidden_state, { mask: attention_mask, precision: 'int8', scale: 'unit' })
 * console.log(codes.data) // Int8Array(4) [ 76, 102, 0, 127 ]
 * ```
 */
export function poolEmbeddings<P extends Precision = 'float32'>(
  x: TensorLike,
  options: PoolEmbeddingsOptions & { precision?: P | undefined } = {}
): EmbeddingTensor<P> {
  const op = 'poolEmbeddings'
  const given = readOptions<PoolEmbeddingsOptions>(op, options, functionOptions)
  if (!isTensor(x)) throw wrongType(op, 'x', 'a tensor { data, dims }', gotTensor('x', x, '[N, L, C]'))
  const elements = readHidden(op, x, given)
  const channels = elements.dims?.at(-1)
  if (!channels) throw wrongValue(op, 'x.dims', '[N, L, C] with at least one channel', describe(elements.dims))
  return runPooling(op, elements, given, readPlan(op, given, channels)) as EmbeddingTensor<P>
}

/**
 * {@link poolEmbeddings} with its stages read once and kept.
 *
 * @example
 * ```ts
 * import { EmbeddingPooler } from 'evenkeel'
 *
 * const pooler = new EmbeddingPooler(2, { pooling: 'cls', precision: 'ubinary' })
 * const hidden = { data: Float32Array.of(3, 4, 0, 0, -1, 1, 0, 0), dims: [2, 2, 2] }
 * const norm = new Float32Array(2)
 * const { data, dims } = await pooler.forwardAsync(hidden, { lengths: [2, 1], norm })
 * console.log(data, dims, norm) // Uint8Array(2) [ 192, 64 ] [ 2, 1 ] Float32Array(2) [ 5, 1.4142135381698608 ]
 * ```
 */
export class EmbeddingPooler<P extends Precision = 'float32'> {
  readonly #plan: Plan

  /**
   * Copies weights and ranges.
   *
   * @param channels C of the hidden states
   * @throws TypeError for a wrong kind of argument, RangeError for a wrong value
   */
  constructor(channels: number, options: PoolingOptions & { precision?: P | undefined } = {}) {
    const op = 'EmbeddingPooler'
    const given = readOptions<PoolingOptions>(op, options, poolingOptions)
    checkCount(op, 'channels', channels)
    this.#plan = readPlan(op, given, channels)
  }

  /** C of the hidden states. */
  get channels(): number {
    return this.#plan.channels
  }

  /** The poolings, in the order in which they are concatenated. */
  get pooling(): readonly Pooling[] {
    return [...this.#plan.kinds]
  }

  /** How many numbers an embedding has. */
  get dimensions(): number {
    return this.#plan.dimensions
  }

  /** What the elements of a result are. */
  get precision(): P {
    return this.#plan.quantization.precision as P
  }

  /** The result of {@link poolEmbeddings} with these stages, and its errors. A Float32Array of rows of C numbers is taken with pooling 'none' alone. */
  forward<X extends Operand, Out extends EmbeddingArray | TensorLike | undefined = undefined>(
    x: X,
    options?: EmbeddingForwardOptions & { out?: Out }
  ): Embeddings<X, P, Out>
  forward(x: Operand, options: EmbeddingForwardOptions = {}): EmbeddingArray | TensorLike {
    checkThis(this, 'EmbeddingPooler', 'forward')
    const op = 'EmbeddingPooler'
    const given = readOptions(op, options, forwardOptions)
    return runPooling(op, readHidden(op, x, given), given, this.#plan)
  }

  /**
   * The result of {@link forward} as a Promise, computed off the event loop. x is copied, unless it is over a
   * SharedArrayBuffer, or `transfer` takes it over. Shared memory must not be written to before the Promise is settled. With
   * `transfer`, `out` may be there, but not with pooling 'none'.
   *
   * @returns a Promise; errors reject it
   */
  forwardAsync<X extends Operand, Out extends EmbeddingArray | TensorLike | undefined = undefined>(
    x: X,
    options?: EmbeddingForwardOptions & AsyncOptions & { out?: Out }
  ): Promise<Embeddings<X, P, Out>>
  async forwardAsync(
    x: Operand,
    options: EmbeddingForwardOptions & AsyncOptions = {}
  ): Promise<EmbeddingArray | TensorLike> {
    checkThis(this, 'EmbeddingPooler', 'forwardAsync')
    const op = 'EmbeddingPooler'
    const given = readOptions(op, options, { ...forwardOptions, ...asyncOptions })
    checkAsyncOptions(op, given)
    return runPoolingAsync(op, readHidden(op, x, given), given, this.#plan)
  }
}

refuseAssignments('EmbeddingPooler', EmbeddingPooler.prototype)
