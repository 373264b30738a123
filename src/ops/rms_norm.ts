// RMSNorm: the public operation and layer. Its kernel is rms_norm.
import { chosen, kernelOf, plainKernelOf } from '../backend/choice.js'
import type { RunPrepared } from '../backend/types.js'
import { checkThis, refuseAssignments } from '../call/advice.js'
import { type AsyncOptions, asyncOptions, checkAsyncOptions } from '../call/async_options.js'
import type { Axis } from '../call/axes.js'
import type { Gradients, InFloat32 } from '../call/gradients.js'
import {
  type LayerParameters,
  type LayerState,
  type LoadableState,
  LoadedState,
  type LoadStateOptions
} from '../call/layer_state.js'
import { LayerWeights } from '../call/layer_weights.js'
import { type Known, readOptions } from '../call/options.js'
import { hasOnlyOut, isPlain, QuickLayer, quickOutput } from '../call/quick.js'
import type { Result } from '../call/result.js'
import {
  type NormalizedShape,
  type RowCall,
  type RowOptions,
  readGroups,
  readRowCall,
  readShape,
  rowOptions,
  type Shape
} from '../call/rows.js'
import { runCall, runCallAsync } from '../call/run.js'
import type { Operand } from '../call/tensor.js'
import { lengthOf } from '../kernels/arrays.js'
import type { Call } from '../kernels/index.js'
import { type RMSNormBackwardOptions, rmsNormGradients, rmsNormGradientsAsync } from './rms_norm_backward.js'
import { checkOffsetHasWeight, countedOf, type RMSNormConstants, readRMSNormConstants } from './rms_norm_call.js'

/** The parameters of RMSNorm. */
export interface RMSNormWeights {
  /** Scale, an element for each of a group. Default: none (1). */
  weight?: Operand | undefined
}

/** Options of {@link rmsNorm}. */
export interface RMSNormOptions extends RowOptions, RMSNormWeights, RMSNormConstants {}

const forwardOptions: Known<RowOptions> = rowOptions
const parameters: Known<RMSNormWeights & RMSNormConstants> = {
  weight: true,
  eps: true,
  weightOffset: true,
  partial: true
}
const functionOptions: Known<RMSNormOptions> = { ...parameters, ...forwardOptions }
const plain = plainKernelOf('rms_norm', { residualScale: 1, weightOffset: 0 })

/**
 * Root mean square normalisation (Zhang & Sennrich 2019, arXiv 1910.07467; ONNX RMSNormalization):
 * `y = x / sqrt(mean(x^2) + eps) * (weight + weightOffset)` for each group of `normalizedShape` elements. Its `rstd` is
 * `1 / sqrt(mean(x^2) + eps)`. A group of zeros stays zeros, with eps 0 NaN; a group that has NaN becomes NaN; with an infinity,
 * that becomes NaN and the others 0. With `lengths` or `mask`, padded positions become 0, in `sum` too.
 *
 * @param x whole groups, one behind the other, in a Float32Array; or a tensor whose last dims are normalizedShape
 * @param normalizedShape size of a group, 4096, or its dimensions, [8, 128]; for a tensor also `{ axis }`
 * @returns for an array the Float32Array that was written; for a tensor `options.out` where that is a tensor, else a tensor of
 *   x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * ```ts
 * import { rmsNorm } from 'evenkeel'
 *
 * const x = Float32Array.of(4, 0, 0, 0) // a row of four
 * console.log(rmsNorm(x, 4, { eps: 0 })) // Float32Array(4) [ 2, 0, 0, 0 ]
 *
 * const rstd = new Float32Array(1)
 * const weight = new Float32Array(4).fill(-0.5)
 * console.log(rmsNorm(x, 4, { weight, weightOffset: 1, eps: 0, rstd })) // Float32Array(4) [ 1, 0, 0, 0 ]
 * console.log(rstd) // Float32Array(1) [ 0.5 ]
 *
 * const sum = new Float32Array(4) // x + residual, for the next block
 * console.log(rmsNorm(x, 4, { residual: x, sum, eps: 0 }), sum) // Float32Array(4) [ 2, 0, 0, 0 ] Float32Array(4) [ 8, 0, 0, 0 ]
 * ```
 */
export function rmsNorm<X extends Operand, Out extends Operand | undefined = undefined>(
  x: X,
  normalizedShape: NormalizedShape | Axis,
  options?: (RMSNormOptions & { out?: Out }) | undefined
): Result<X, Out>
export function rmsNorm(x: Operand, normalizedShape: NormalizedShape | Axis, options: RMSNormOptions = {}): Operand {
  const op = 'rmsNorm'
  let read = options
  if (typeof normalizedShape === 'number' && isPlain(options) && !('bias' in options)) {
    const { weight, eps = 1e-6, out } = options
    const y = quickOutput(x, normalizedShape, weight, undefined, eps, out)
    if (y) {
      plain(y, x as Float32Array, normalizedShape, weight as Float32Array, undefined, eps)
      return y
    }
    read = { weight, eps, out }
  }
  const given = readOptions(op, read, functionOptions)
  const groups = readGroups(op, normalizedShape)
  const constants = readRMSNormConstants(op, given)
  checkOffsetHasWeight(op, constants.weightOffset, given.weight)
  const call = readRowCall(op, x, groups, given, given.weight, undefined)
  return runCall('rms_norm', callOf(call, constants), call)
}

/**
 * {@link rmsNorm} with its parameters read once and kept, as torch.nn.RMSNorm.
 *
 * @example
 * ```ts
 * import { RMSNorm } from 'evenkeel'
 *
 * const layer = new RMSNorm(4, { weight: Float32Array.of(1, 1, 2, 2), eps: 0 })
 * console.log(layer.forward(Float32Array.of(3, -3, 3, -3))) // Float32Array(4) [ 1, -1, 2, -2 ]
 * ```
 */
export class RMSNorm {
  readonly #shape: Shape
  readonly #constants: Required<RMSNormConstants>
  readonly #weights: LayerWeights
  readonly #quick: QuickLayer

  /**
   * Copies the weight.
   *
   * A layer that is constructed without weight has none and learns none. PyTorch's start with ones: to train one like these, pass
   * `weight: new Float32Array(n).fill(1)`.
   *
   * @param normalizedShape size of a group, 4096, or its dimensions, [8, 128]; no `{ axis }`
   * @throws TypeError for a wrong kind of argument, RangeError for a wrong value
   */
  constructor(normalizedShape: NormalizedShape, options: RMSNormWeights & RMSNormConstants = {}) {
    const op = 'RMSNorm'
    const { weight, ...constants } = readOptions(op, options, parameters)
    this.#shape = readShape(op, normalizedShape)
    this.#constants = readRMSNormConstants(op, constants)
    this.#weights = new LayerWeights(op, this.#shape.dims, 'normalizedShape', { weight: true })
    this.#quick = new QuickLayer(this.#shape.size, size => this.#prepare(size))
    this.setWeights({ weight })
    Object.freeze(this.#shape.dims)
  }

  /** The dimensions of a group. */
  get normalizedShape(): readonly number[] {
    return this.#shape.dims
  }

  /** Added to the mean of squares. */
  get eps(): number {
    return this.#constants.eps
  }

  /** Added to every weight. */
  get weightOffset(): number {
    return this.#constants.weightOffset
  }

  /** Fraction of the group whose mean of squares is taken. */
  get partial(): number {
    return this.#constants.partial
  }

  /** A copy of the scale, undefined where there is none. {@link setWeights} changes it. */
  get weight(): Float32Array | undefined {
    return this.#weights.copies().weight
  }

  /** Replaces the weight with a copy. An omitted one is removed. */
  setWeights(weights: RMSNormWeights): void {
    const { weight } = readOptions<RMSNormWeights>('RMSNorm', weights, { weight: true })
    checkOffsetHasWeight('RMSNorm', this.weightOffset, weight)
    this.#weights.set({ weight })
    this.#quick.reset()
  }

  /** A copy of what an optimiser updates: the weight, an element for each of a group, flat, where the layer has one. */
  parameters(): LayerParameters {
    return this.#weights.copies()
  }

  /** The same copy by PyTorch's name. {@link loadState} takes it back. */
  state(): LayerState {
    return this.#weights.copies()
  }

  /** Replaces the weight with that of a state, flat or of the shape normalizedShape. See {@link LayerNorm.loadState}. */
  loadState(state: LoadableState, options: LoadStateOptions = {}): this {
    this.#weights.read(new LoadedState(state, options, this.#weights.names))()
    this.#quick.reset()
    return this
  }

  /** The result of {@link rmsNorm} with this layer's parameters, and its errors. */
  forward<X extends Operand, Out extends Operand | undefined = undefined>(
    x: X,
    options?: RowOptions & { out?: Out }
  ): Result<X, Out>
  forward(x: Operand, options: RowOptions = {}): Operand {
    checkThis(this, 'RMSNorm', 'forward')
    let read = options
    if (hasOnlyOut(options)) {
      const { out } = options
      const y = this.#quick.forward(x, out)
      if (y) return y
      read = { out }
    }
    const call = this.#read(x, readOptions('RMSNorm', read, forwardOptions), false)
    return runCall('rms_norm', callOf(call, this.#constants), call)
  }

  /** The result of {@link forward} as a Promise, computed off the event loop. See {@link LayerNorm.forwardAsync}. */
  forwardAsync<X extends Operand, Out extends Operand | undefined = undefined>(
    x: X,
    options?: RowOptions & AsyncOptions & { out?: Out }
  ): Promise<Result<X, Out>>
  async forwardAsync(x: Operand, options: RowOptions & AsyncOptions = {}): Promise<Operand> {
    checkThis(this, 'RMSNorm', 'forwardAsync')
    const op = 'RMSNorm'
    const given = readOptions(op, options, { ...forwardOptions, ...asyncOptions })
    checkAsyncOptions(op, given)
    const call = this.#read(x, given, true)
    return runCallAsync(op, 'rms_norm', callOf(call, this.#constants), call, given)
  }

  /**
   * The gradients of {@link forward}: the result of {@link rmsNormBackward} with this layer's parameters. See
   * {@link LayerNorm.backward}.
   */
  backward<X extends Operand, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: InFloat32<RMSNormBackwardOptions> & { dx?: Dx }
  ): Gradients<Result<X, Dx>, Float32Array>
  backward<X extends Operand, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: RMSNormBackwardOptions & { dx?: Dx }
  ): Gradients<Result<X, Dx>>
  backward(dy: Operand, x: Operand, options: RMSNormBackwardOptions = {}): Gradients {
    checkThis(this, 'RMSNorm', 'backward')
    return rmsNormGradients(dy, x, options, this.#parameters())
  }

  /** The gradients as a Promise, computed off the event loop. See {@link LayerNorm.backwardAsync}. */
  backwardAsync<X extends Operand, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: InFloat32<RMSNormBackwardOptions> & AsyncOptions & { dx?: Dx }
  ): Promise<Gradients<Result<X, Dx>, Float32Array>>
  backwardAsync<X extends Operand, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: RMSNormBackwardOptions & AsyncOptions & { dx?: Dx }
  ): Promise<Gradients<Result<X, Dx>>>
  async backwardAsync(
    dy: Operand,
    x: Operand,
    options: RMSNormBackwardOptions & AsyncOptions = {}
  ): Promise<Gradients> {
    checkThis(this, 'RMSNorm', 'backwardAsync')
    return rmsNormGradientsAsync(dy, x, options, this.#parameters())
  }

  #parameters() {
    return { groups: this.#shape, weight: this.#weights.weight, ...this.#constants }
  }

  #prepare(size: number): RunPrepared {
    const { weight } = this.#weights
    const { eps, weightOffset, partial } = this.#constants
    const shape = { outer: 0, size, inner: 1 }
    const counted = countedOf(size, partial)
    const residualScale = 1
    const prepared = chosen.prepare?.rms_norm?.({ weight, shape, counted, residualScale, eps, weightOffset })
    if (prepared) return prepared
    const [sum, rstd, residual] = [undefined, undefined, undefined]
    return (y, x) => {
      // Written out: to spread objects into it took ten times as long as a short row (measured).
      const shape = { outer: lengthOf(x) / size, size, inner: 1 }
      const rows = { y, sum, rstd, x, residual, weight, shape, counted, residualScale, eps, weightOffset }
      kernelOf('rms_norm')(rows)
    }
  }

  #read(x: Operand, options: RowOptions, async: boolean): RowCall {
    return readRowCall('RMSNorm', x, this.#shape, options, this.#weights.weight, undefined, { async })
  }
}

refuseAssignments('RMSNorm', RMSNorm.prototype)

/** The kernel's operands. */
function callOf(call: RowCall, { eps, weightOffset, partial }: Required<RMSNormConstants>): Call<'rms_norm'> {
  const { y, sum, rstd, x, residual, weight, shape, residualScale, strides } = call
  const counted = countedOf(shape.size, partial)
  return { y, sum, rstd, x, residual, weight, shape, counted, residualScale, eps, weightOffset, strides }
}
