// LayerNorm: the public operation and layer. Its kernel is layer_norm.
import { chosen, plainKernelOf } from '../backend/choice.js'
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
import { checkEps, type Known, readOptions } from '../call/options.js'
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
import type { Call, Statistic } from '../kernels/index.js'
import { type LayerNormBackwardOptions, layerNormGradients, layerNormGradientsAsync } from './layer_norm_backward.js'

/** Options of one LayerNorm call that are not parameters of the layer. */
export interface LayerNormForwardOptions extends RowOptions {
  /** One element per group; receives the mean. 0 for padded positions. */
  mean?: Statistic | undefined
  /** One element per group; receives the reciprocal standard deviation, 1 / sqrt(variance + eps). 0 for padded positions. */
  rstd?: Statistic | undefined
}

/** The parameters of LayerNorm. */
export interface LayerNormWeights {
  /** Scale, an element for each of a group. Default: none (1). */
  weight?: Operand | undefined
  /** Shift, an element for each of a group. Default: none (0). */
  bias?: Operand | undefined
}

/** Options of {@link layerNorm}. */
export interface LayerNormOptions extends LayerNormForwardOptions, LayerNormWeights {
  /** Added to the variance, finite and >= 0. Default: 1e-5. */
  eps?: number | undefined
}

const forwardOptions: Known<LayerNormForwardOptions> = { ...rowOptions, mean: true }
const functionOptions: Known<LayerNormOptions> = { weight: true, bias: true, eps: true, ...forwardOptions }
const parameters: Known<LayerNormWeights & { eps?: number | undefined }> = { weight: true, bias: true, eps: true }
const plain = plainKernelOf('layer_norm', { residualScale: 1 })

/**
 * Layer normalisation (Ba, Kiros & Hinton 2016, arXiv 1607.06450; ONNX LayerNormalization):
 * `y = (x - mean) / sqrt(variance + eps) * weight + bias` for each group of `normalizedShape` elements, with their mean and
 * biased variance. A constant group becomes the bias, with eps 0 NaN; a group that has NaN or an infinity becomes NaN. With
 * `lengths` or `mask`, padded positions become 0, in `sum` too.
 *
 * @param x whole groups, one behind the other, in a Float32Array; or a tensor whose last dims are normalizedShape
 * @param normalizedShape size of a group, 768, or its dimensions, [3, 256]; for a tensor also `{ axis }`
 * @returns for an array the Float32Array that was written; for a tensor `options.out` where that is a tensor, else a tensor of
 *   x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * ```ts
 * import { layerNorm } from 'evenkeel'
 *
 * const x = Float32Array.of(1, 3, 5, 9) // two rows of two
 * console.log(layerNorm(x, 2, { eps: 0 })) // Float32Array(4) [ -1, 1, -1, 1 ]
 *
 * const rstd = new Float64Array(2)
 * layerNorm(x, 2, { weight: Float32Array.of(1, 2), eps: 0, rstd, out: x }) // in place
 * console.log(x, rstd) // Float32Array(4) [ -1, 2, -1, 2 ] Float64Array(2) [ 1, 0.5 ]
 *
 * const tensor = { data: Float32Array.of(1, 2, 3, 6), dims: [1, 2, 2] }
 * console.log(layerNorm(tensor, { axis: 1 }, { eps: 0 }).data) // Float32Array(4) [ -1, -1, 1, 1 ]
 * ```
 */
export function layerNorm<X extends Operand, Out extends Operand | undefined = undefined>(
  x: X,
  normalizedShape: NormalizedShape | Axis,
  options?: (LayerNormOptions & { out?: Out }) | undefined
): Result<X, Out>
export function layerNorm(
  x: Operand,
  normalizedShape: NormalizedShape | Axis,
  options: LayerNormOptions = {}
): Operand {
  const op = 'layerNorm'
  let read = options
  if (typeof normalizedShape === 'number' && isPlain(options)) {
    const { weight, bias, eps = 1e-5, out } = options
    const y = quickOutput(x, normalizedShape, weight, bias, eps, out)
    if (y) {
      plain(y, x as Float32Array, normalizedShape, weight as Float32Array, bias as Float32Array, eps)
      return y
    }
    read = { weight, bias, eps, out }
  }
  const given = readOptions(op, read, functionOptions)
  const groups = readGroups(op, normalizedShape)
  const { eps = 1e-5 } = given
  checkEps(op, eps)
  const call = readRowCall(op, x, groups, given, given.weight, given.bias)
  return runCall('layer_norm', callOf(call, eps), call)
}

/**
 * {@link layerNorm} with its parameters read once and kept, as torch.nn.LayerNorm: the fast way to make many calls.
 *
 * @example
 * ```ts
 * import { LayerNorm } from 'evenkeel'
 *
 * const layer = new LayerNorm(2, { weight: Float32Array.of(1, 2), bias: Float32Array.of(0, 1), eps: 0 })
 * const x = Float32Array.of(1, 3, 5, 9)
 * layer.forward(x, { out: x }) // in place: allocates nothing
 * console.log(x) // Float32Array(4) [ -1, 3, -1, 3 ]
 * console.log(await layer.forwardAsync(Float32Array.of(1, 3))) // Float32Array(2) [ -1, 3 ]
 *
 * // training: keep mean and rstd of the forward for the backward
 * const [mean, rstd] = [new Float64Array(2), new Float64Array(2)]
 * layer.forward(x, { mean, rstd })
 * const { dx, dweight, dbias } = layer.backward(Float32Array.of(1, 0, 0, 1), x, { mean, rstd })
 * console.log(dweight, dbias) // Float32Array(2) [ -1, 1 ] Float32Array(2) [ 1, 1 ]
 * ```
 */
export class LayerNorm {
  readonly #shape: Shape
  readonly #eps: number
  readonly #weights: LayerWeights
  readonly #quick: QuickLayer

  /**
   * Copies weight and bias.
   *
   * A layer that is constructed without weight (or bias) has none and learns none. PyTorch's start with ones and zeros: to train
   * one like these, pass `weight: new Float32Array(n).fill(1)` and `bias: new Float32Array(n)`.
   *
   * @param normalizedShape size of a group, 768, or its dimensions, [3, 256]; no `{ axis }`
   * @throws TypeError for a wrong kind of argument, RangeError for a wrong value
   */
  constructor(normalizedShape: NormalizedShape, options: LayerNormWeights & { eps?: number | undefined } = {}) {
    const op = 'LayerNorm'
    const { weight, bias, eps = 1e-5 } = readOptions(op, options, parameters)
    this.#shape = readShape(op, normalizedShape)
    this.#eps = checkEps(op, eps)
    this.#weights = new LayerWeights(op, this.#shape.dims, 'normalizedShape')
    this.#weights.set({ weight, bias })
    this.#quick = new QuickLayer(this.#shape.size, size => {
      const { weight, bias } = this.#weights
      const shape = { outer: 0, size, inner: 1 }
      const prepared = chosen.prepare?.layer_norm?.({ weight, bias, shape, residualScale: 1, eps: this.#eps })
      return prepared ?? ((y, x) => plain(y, x, size, weight, bias, this.#eps))
    })
    Object.freeze(this.#shape.dims)
  }

  /** The dimensions of a group. */
  get normalizedShape(): readonly number[] {
    return this.#shape.dims
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

  /**
   * Replaces weight and bias with copies. An omitted one is removed: to change one of them, pass both.
   *
   * @example
   * ```ts
   * import { LayerNorm } from 'evenkeel'
   *
   * const layer = new LayerNorm(2, { weight: Float32Array.of(1, 1), bias: Float32Array.of(0, 0) })
   * const dweight = Float32Array.of(2, -2) // as backward returns it
   * layer.setWeights({ ...layer.parameters(), weight: layer.weight?.map((w, i) => w - 0.25 * dweight[i]) })
   * console.log(layer.weight, layer.bias) // Float32Array(2) [ 0.5, 1.5 ] Float32Array(2) [ 0, 0 ]
   * ```
   */
  setWeights(weights: LayerNormWeights): void {
    this.#weights.set(weights)
    this.#quick.reset()
  }

  /** Copies of what an optimiser updates: weight and bias, an element for each of a group, flat, as far as the layer has them. */
  parameters(): LayerParameters {
    return this.#weights.copies()
  }

  /**
   * The same copies by PyTorch's names. {@link loadState} takes them back, also from a `structuredClone`. For JSON write
   * `Array.from(value, Number)` of each, and make that a Float32Array again.
   */
  state(): LayerState {
    return this.#weights.copies()
  }

  /**
   * Replaces the parameters with copies of those of a state, by PyTorch's names: `weight` and `bias`, flat or of the shape
   * normalizedShape. float64 is rounded to float32, float16 and bfloat16 are widened. A layer that was constructed without
   * parameters takes what there is. Nothing changes before everything is read and checked.
   *
   * @param state a plain object of arrays or tensors of float32, float64 or float16 by name, or the bytes of a .safetensors
   *   file, of which only the header and the layer's tensors are read (F32, F64, F16 or BF16)
   * @returns the layer
   * @throws TypeError for an unknown name under the prefix, for none where the state has others, for one that the layer has and
   *   the state has not, or for a wrong type; RangeError for a wrong length or shape, a finite number beyond float32, or bytes
   *   that are no .safetensors file
   * @example
   * ```ts
   * import { LayerNorm } from 'evenkeel'
   *
   * // or the bytes of a file: await readFile('model.safetensors')
   * const state = { 'encoder.norm.weight': Float64Array.of(0.5, 2), 'encoder.norm.bias': Float32Array.of(0, 1) }
   * const layer = new LayerNorm(2, { eps: 1e-12 }).loadState(state, { prefix: 'encoder.norm.' })
   * console.log(layer.weight, layer.bias) // Float32Array(2) [ 0.5, 2 ] Float32Array(2) [ 0, 1 ]
   * ```
   */
  loadState(state: LoadableState, options: LoadStateOptions = {}): this {
    this.#weights.read(new LoadedState(state, options, this.#weights.names))()
    this.#quick.reset()
    return this
  }

  /** The result of {@link layerNorm} with this layer's parameters, and its errors. */
  forward<X extends Operand, Out extends Operand | undefined = undefined>(
    x: X,
    options?: LayerNormForwardOptions & { out?: Out }
  ): Result<X, Out>
  forward(x: Operand, options: LayerNormForwardOptions = {}): Operand {
    checkThis(this, 'LayerNorm', 'forward')
    let read = options
    if (hasOnlyOut(options)) {
      const { out } = options
      const y = this.#quick.forward(x, out)
      if (y) return y
      read = { out }
    }
    const call = this.#read(x, readOptions('LayerNorm', read, forwardOptions), false)
    return runCall('layer_norm', callOf(call, this.#eps), call)
  }

  /**
   * The result of {@link forward} as a Promise, computed off the event loop. x and the residual are copied, which takes about as
   * much time as computing, unless they are over SharedArrayBuffers, or `transfer` takes x over. Shared memory must not be written
   * to before the Promise is settled.
   *
   * @returns a Promise; errors reject it
   */
  forwardAsync<X extends Operand, Out extends Operand | undefined = undefined>(
    x: X,
    options?: LayerNormForwardOptions & AsyncOptions & { out?: Out }
  ): Promise<Result<X, Out>>
  async forwardAsync(x: Operand, options: LayerNormForwardOptions & AsyncOptions = {}): Promise<Operand> {
    checkThis(this, 'LayerNorm', 'forwardAsync')
    const op = 'LayerNorm'
    const given = readOptions(op, options, { ...forwardOptions, ...asyncOptions })
    checkAsyncOptions(op, given)
    const call = this.#read(x, given, true)
    return runCallAsync(op, 'layer_norm', callOf(call, this.#eps), call, given)
  }

  /**
   * The gradients of {@link forward}: the result of {@link layerNormBackward} with this layer's parameters. The layer keeps
   * nothing of a forward call: pass the same x again.
   *
   * @param dy gradient of the result; shape of x
   * @param x what forward was given, not its result
   * @returns `dx` as x came, an array or a tensor; `dweight`, `dbias`, `dresidual` where there is a weight, a bias, a residual
   */
  backward<X extends Operand, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: InFloat32<LayerNormBackwardOptions> & { dx?: Dx }
  ): Gradients<Result<X, Dx>, Float32Array>
  backward<X extends Operand, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: LayerNormBackwardOptions & { dx?: Dx }
  ): Gradients<Result<X, Dx>>
  backward(dy: Operand, x: Operand, options: LayerNormBackwardOptions = {}): Gradients {
    checkThis(this, 'LayerNorm', 'backward')
    return layerNormGradients(dy, x, options, this.#parameters())
  }

  /**
   * The gradients as a Promise, computed off the event loop. dy and x are copied, unless they are over SharedArrayBuffers, or
   * `transfer` takes both over. See {@link forwardAsync}.
   */
  backwardAsync<X extends Operand, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: InFloat32<LayerNormBackwardOptions> & AsyncOptions & { dx?: Dx }
  ): Promise<Gradients<Result<X, Dx>, Float32Array>>
  backwardAsync<X extends Operand, Dx extends Operand | undefined = undefined>(
    dy: Operand,
    x: X,
    options?: LayerNormBackwardOptions & AsyncOptions & { dx?: Dx }
  ): Promise<Gradients<Result<X, Dx>>>
  async backwardAsync(
    dy: Operand,
    x: Operand,
    options: LayerNormBackwardOptions & AsyncOptions = {}
  ): Promise<Gradients> {
    checkThis(this, 'LayerNorm', 'backwardAsync')
    return layerNormGradientsAsync(dy, x, options, this.#parameters())
  }

  #parameters() {
    const { weight, bias } = this.#weights
    return { groups: this.#shape, weight, bias, eps: this.#eps }
  }

  #read(x: Operand, options: LayerNormForwardOptions, async: boolean): RowCall {
    const { weight, bias } = this.#weights
    return readRowCall('LayerNorm', x, this.#shape, options, weight, bias, { async })
  }
}

refuseAssignments('LayerNorm', LayerNorm.prototype)

/** The kernel's operands. */
function callOf(call: RowCall, eps: number): Call<'layer_norm'> {
  const { y, sum, mean, rstd, x, residual, weight, bias, shape, residualScale, strides } = call
  return { y, sum, mean, rstd, x, residual, weight, bias, shape, residualScale, eps, strides }
}
