// normalize: the public operation and layer. Its kernel is normalize.
import { chosen, plainKernelOf } from '../backend/choice.js'
import { checkThis, refuseAssignments } from '../call/advice.js'
import { type AsyncOptions, asyncOptions, checkAsyncOptions } from '../call/async_options.js'
import type { Axis } from '../call/axes.js'
import type { DtypeOption } from '../call/elements.js'
import type { Gradients, InFloat32 } from '../call/gradients.js'
import {
  type LayerParameters,
  type LayerState,
  type LoadableState,
  LoadedState,
  type LoadStateOptions
} from '../call/layer_state.js'
import { type Known, readOptions } from '../call/options.js'
import { type PaddingOptions, paddingOptions } from '../call/padding.js'
import { hasOnlyOut, isPlain, QuickLayer, quickOutput } from '../call/quick.js'
import type { Result } from '../call/result.js'
import { type GroupsOf, type NormalizedShape, type RowCall, readGroups, readRowCall } from '../call/rows.js'
import { runCall, runCallAsync } from '../call/run.js'
import type { Operand } from '../call/tensor.js'
import type { Call, Statistic } from '../kernels/index.js'
import { normalizeRules as rules } from '../kernels/normalize.js'
import { type NormalizeBackwardOptions, normalizeGradients, normalizeGradientsAsync } from './normalize_backward.js'
import {
  type NormalizeConstants,
  type NormalizeNumbers,
  type NormalizeRule,
  normalizeConstants,
  readNormalizeConstants
} from './normalize_call.js'

/** Options of one call of {@link Normalize}. */
export interface NormalizeForwardOptions extends PaddingOptions, DtypeOption {
  /** One element per group; receives the norm. 0 for padded positions. */
  norm?: Statistic | undefined
  /**
   * Receives the result: as many elements as x, as a tensor its dims. May be exactly x (the same memory from the first to the last
   * element), which makes the call in place. Otherwise it must share no memory with anything else in the call. Default: new memory.
   */
  out?: Operand | undefined
}

/** Options of {@link normalize}. */
export interface NormalizeOptions extends NormalizeConstants, NormalizeForwardOptions {}

const forwardOptions: Known<NormalizeForwardOptions> = { ...paddingOptions, dtype: true, norm: true, out: true }
const known: Known<NormalizeOptions> = { ...normalizeConstants, ...forwardOptions }
const plain = plainKernelOf('normalize', { p: 2, rule: 0, factor: 1 })

/**
 * Division by the p-norm (torch.nn.functional.normalize; ONNX LpNormalization): `y = x / max(norm, eps) * scale` for each
 * group of `normalizedShape` elements, with `norm = (sum of |x|^p)^(1/p)`; other uses of eps by `rule`. A zero vector stays a zero
 * vector (with eps 0 NaN, but not with the rule 'zero'). A group that has NaN becomes NaN; with an infinity, that becomes NaN and
 * the others 0. With `lengths` or `mask`, padded positions become 0.
 *
 * @param x whole groups, one behind the other, in a Float32Array; or a tensor whose last dims are normalizedShape
 * @param normalizedShape size of a group, 768, or its dimensions, [3, 256]; for a tensor also `{ axis }`
 * @returns for an array the Float32Array that was written; for a tensor `options.out` where that is a tensor, else a tensor
 *   of x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * ```ts
 * import { normalize } from 'evenkeel'
 *
 * const norm = new Float32Array(2)
 * const y = normalize(Float32Array.of(0, 8, 0, 0), 2, { norm }) // a vector of length 8, and a zero vector
 * console.log(y, norm) // Float32Array(4) [ 0, 1, 0, 0 ] Float32Array(2) [ 8, 0 ]
 * console.log(normalize(Float32Array.of(3, -4), 2, { p: Infinity })) // Float32Array(2) [ 0.75, -1 ]
 * ```
 */
export function normalize<X extends Operand, Out extends Operand | undefined = undefined>(
  x: X,
  normalizedShape: NormalizedShape | Axis,
  options?: (NormalizeOptions & { out?: Out }) | undefined
): Result<X, Out>
export function normalize(
  x: Operand,
  normalizedShape: NormalizedShape | Axis,
  options: NormalizeOptions = {}
): Operand {
  const op = 'normalize'
  let read = options
  if (typeof normalizedShape === 'number' && isPlain(options) && !('weight' in options || 'bias' in options)) {
    const { eps = 1e-12, out } = options
    const y = quickOutput(x, normalizedShape, undefined, undefined, eps, out)
    if (y) {
      plain(y, x as Float32Array, normalizedShape, undefined, undefined, eps)
      return y
    }
    read = { eps, out }
  }
  const { p, eps, rule, scale, ...forward } = readOptions(op, read, known)
  const numbers = readNormalizeConstants(op, { p, eps, rule, scale })
  const { call, operands } = readCall(op, x, readGroups(op, normalizedShape), forward, numbers, false)
  return runCall('normalize', operands, call)
}

/** Checks everything about a call; writes nothing. */
function readCall(
  op: string,
  x: Operand,
  groups: GroupsOf,
  options: NormalizeForwardOptions,
  numbers: NormalizeNumbers,
  async: boolean
): { call: RowCall; operands: Call<'normalize'> } {
  // Sums of other powers than squares are made over rows only.
  const call = readRowCall(op, x, groups, options, undefined, undefined, { asRows: numbers.p !== 2, async })
  const { y, x: data, shape, norm, strides } = call
  const { p, rule, eps, factor } = numbers
  return { call, operands: { y, norm, x: data, shape, p, rule, eps, factor, strides } }
}

/**
 * {@link normalize} with its constants read once.
 *
 * @example
 * ```ts
 * import { Normalize } from 'evenkeel'
 *
 * const unit = new Normalize(2)
 * console.log(unit.forward(Float32Array.of(0, 8))) // Float32Array(2) [ 0, 1 ]
 * ```
 */
export class Normalize {
  readonly #groups: GroupsOf
  readonly #numbers: NormalizeNumbers
  readonly #hasScale: boolean
  readonly #quick: QuickLayer

  /**
   * Keeps the constants.
   *
   * @param normalizedShape as {@link normalize} has it
   * @throws TypeError for a wrong kind of argument, RangeError for a wrong value
   */
  constructor(normalizedShape: NormalizedShape | Axis, options: NormalizeConstants = {}) {
    const op = 'Normalize'
    const constants = readOptions(op, options, normalizeConstants)
    this.#numbers = readNormalizeConstants(op, constants)
    this.#hasScale = constants.scale !== undefined
    this.#groups = readGroups(op, normalizedShape)
    const { p, rule, factor, eps } = this.#numbers
    const run = plainKernelOf('normalize', { p, rule, factor })
    this.#quick = new QuickLayer('size' in this.#groups ? this.#groups.size : Number.NaN, size => {
      const prepared = chosen.prepare?.normalize?.({ shape: { outer: 0, size, inner: 1 }, ...this.#numbers })
      return prepared ?? ((y, x) => run(y, x, size, undefined, undefined, eps))
    })
  }

  /** Which norm. */
  get p(): number {
    return this.#numbers.p
  }

  /** What keeps the division from zero. */
  get eps(): number {
    return this.#numbers.eps
  }

  /** How eps is used. */
  get rule(): NormalizeRule {
    return rules[this.#numbers.rule]
  }

  /** Multiplies every result. */
  get scale(): number {
    return this.#numbers.factor
  }

  /** Empty: `scale` is a constant. Here so that a network may ask each of its layers. */
  parameters(): LayerParameters {
    return {}
  }

  /** Empty, as {@link parameters}. */
  state(): LayerState {
    return {}
  }

  /** Loads nothing; throws where there is anything under the prefix. See {@link LayerNorm.loadState}. */
  loadState(state: LoadableState, options: LoadStateOptions = {}): this {
    new LoadedState(state, options, [])
    return this
  }

  /** The result of {@link normalize} with these constants, and its errors. */
  forward<X extends Operand, Out extends Operand | undefined = undefined>(
    x: X,
    options?: NormalizeForwardOptions & { out?: Out }
  ): Result<X, Out>
  forward(x: Operand, options: NormalizeForwardOptions = {}): Operand {
    checkThis(this, 'Normalize', 'forward')
    const op = 'Normalize'
    let read = options
    if (hasOnlyOut(options)) {
      const { out } = options
      const y = this.#quick.forward(x, out)
      if (y) return y
      read = { out }
    }
    const given = readOptions(op, read, forwardOptions)
    const { call, operands } = readCall(op, x, this.#groups, given, this.#numbers, false)
    return runCall('normalize', operands, call)
  }

  /** The result of {@link forward} as a Promise, computed off the event loop. See {@link LayerNorm.forwardAsync}. */
  forwardAsync<X extends Operand, Out extends Operand | undefined = undefined>(
    x: X,
    options?: NormalizeForwardOptions & AsyncOptions & { out?: Out }
  ): Promise<Result<X, Out>>
  async forwardAsync(x: Operand, options: NormalizeForwardOptions & AsyncOptions = {}): Promise<Operand> {
    checkThis(this, 'Normalize', 'forwardAsync')
    const op = 'Normalize'
    const given = readOptions(op, options, { ...forwardOptions, ...asyncOptions })
    checkAsyncOptions(op, given)
    const { call, operands } = readCall(op, x, this.#groups, given, this.#numbers, true)
    return runCallAsync(op, 'normalize', operands, call, given)
  }

  /**
   * The gradients of {@link forward}: the result of {@link normalizeBackward} with these constants; p must be 2. See
   * {@link LayerNorm.backward}.
   */
  backward<X extends Operand, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: InFloat32<NormalizeBackwardOptions> & { dx?: Dx }
  ): Gradients<Result<X, Dx>, Float32Array>
  backward<X extends Operand, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: NormalizeBackwardOptions & { dx?: Dx }
  ): Gradients<Result<X, Dx>>
  backward(dy: Operand, x: Operand, options: NormalizeBackwardOptions = {}): Gradients {
    checkThis(this, 'Normalize', 'backward')
    return normalizeGradients(dy, x, options, this.#parameters())
  }

  /** The gradients as a Promise, computed off the event loop. See {@link LayerNorm.backwardAsync}. */
  backwardAsync<X extends Operand, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: InFloat32<NormalizeBackwardOptions> & AsyncOptions & { dx?: Dx }
  ): Promise<Gradients<Result<X, Dx>, Float32Array>>
  backwardAsync<X extends Operand, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: NormalizeBackwardOptions & AsyncOptions & { dx?: Dx }
  ): Promise<Gradients<Result<X, Dx>>>
  async backwardAsync(
    dy: Operand,
    x: Operand,
    options: NormalizeBackwardOptions & AsyncOptions = {}
  ): Promise<Gradients> {
    checkThis(this, 'Normalize', 'backwardAsync')
    return normalizeGradientsAsync(dy, x, options, this.#parameters())
  }

  #parameters() {
    return { groups: this.#groups, numbers: this.#numbers, hasScale: this.#hasScale }
  }
}

refuseAssignments('Normalize', Normalize.prototype)
