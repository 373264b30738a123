// LayerNorm: the public operation and layer, and below them the kernel in TypeScript, the twin of native/ops/layer_norm.h.
import { kernelFor } from '../backend.js'
import { isWide, moments, rowSums, type Statistic } from '../canonical.js'
import { checkEps, checkOptions } from '../check.js'
import { type NormalizedShape, type RowOptions, readPerColumn, readRowCall, readShape, type Shape } from '../rows.js'
import type { Operand, TensorLike } from '../tensor.js'

/** Options of one LayerNorm call that are not parameters of the layer. */
export interface LayerNormForwardOptions extends RowOptions {
  /** One element per row; receives the mean. */
  mean?: Statistic
}

/** The parameters of LayerNorm. */
export interface LayerNormWeights {
  /** Scale, normalizedShape elements. Default: none (1). */
  weight?: Operand
  /** Shift, normalizedShape elements. Default: none (0). */
  bias?: Operand
}

/** Options of {@link layerNorm}. */
export interface LayerNormOptions extends LayerNormForwardOptions, LayerNormWeights {
  /** Added to the variance, finite and >= 0. Default: 1e-5. */
  eps?: number
}

const forwardOptions = ['residual', 'sum', 'mean', 'rstd', 'out']
const functionOptions = ['weight', 'bias', 'eps', ...forwardOptions]

/**
 * Layer normalisation over the trailing dimensions (Ba, Kiros & Hinton 2016, arXiv 1607.06450; ONNX LayerNormalization):
 * `y = (x - mean) / sqrt(variance + eps) * weight + bias` for each group of `normalizedShape` elements, with the biased
 * variance of the group.
 *
 * @param x whole groups: a Float32Array, or a tensor whose last dims are normalizedShape
 * @param normalizedShape the trailing dimensions of a group, e.g. 768 or [3, 256]
 * @returns for an array the Float32Array that was written; for a tensor `options.out` where that is a tensor, else a tensor of
 *   x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 */
export function layerNorm(x: Float32Array, normalizedShape: NormalizedShape, options?: LayerNormOptions): Float32Array
export function layerNorm<X extends TensorLike>(x: X, normalizedShape: NormalizedShape, options?: LayerNormOptions): X
export function layerNorm(x: Operand, normalizedShape: NormalizedShape, options: LayerNormOptions = {}): Operand {
  const op = 'layerNorm'
  checkOptions(op, options, functionOptions)
  const shape = readShape(op, normalizedShape)
  const weight = readPerColumn(op, 'weight', options.weight, shape)
  const bias = readPerColumn(op, 'bias', options.bias, shape)
  return forward(op, x, shape, weight, bias, checkEps(op, options.eps === undefined ? 1e-5 : options.eps), options)
}

/** Layer normalisation with its weights resolved once, as torch.nn.LayerNorm. See {@link layerNorm}. */
export class LayerNorm {
  readonly normalizedShape: readonly number[]
  readonly eps: number
  readonly #shape: Shape
  #weight: Float32Array | undefined
  #bias: Float32Array | undefined

  /** Copies the weights. `eps` is 1e-5 unless given. Errors as {@link layerNorm}. */
  constructor(normalizedShape: NormalizedShape, options: LayerNormWeights & { eps?: number } = {}) {
    checkOptions('LayerNorm', options, ['weight', 'bias', 'eps'])
    this.#shape = readShape('LayerNorm', normalizedShape)
    this.normalizedShape = Object.freeze(this.#shape.dims)
    this.eps = checkEps('LayerNorm', options.eps === undefined ? 1e-5 : options.eps)
    this.setWeights({ weight: options.weight, bias: options.bias })
  }

  /** Replaces weight and bias by copies of these; what is absent is none. */
  setWeights(weights: LayerNormWeights): void {
    checkOptions('LayerNorm', weights, ['weight', 'bias'])
    const weight = readPerColumn('LayerNorm', 'weight', weights.weight, this.#shape)
    const bias = readPerColumn('LayerNorm', 'bias', weights.bias, this.#shape)
    this.#weight = weight && new Float32Array(weight)
    this.#bias = bias && new Float32Array(bias)
  }

  /** The same result as {@link layerNorm} with this layer's parameters. */
  forward(x: Float32Array, options?: LayerNormForwardOptions): Float32Array
  forward<X extends TensorLike>(x: X, options?: LayerNormForwardOptions): X
  forward(x: Operand, options: LayerNormForwardOptions = {}): Operand {
    checkOptions('LayerNorm', options, forwardOptions)
    return forward('LayerNorm', x, this.#shape, this.#weight, this.#bias, this.eps, options)
  }
}

function forward(
  op: string,
  x: Operand,
  shape: Shape,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined,
  eps: number,
  options: LayerNormForwardOptions
): Operand {
  const call = readRowCall(op, x, shape, options, weight, bias)
  const { rows, cols, y, sum, mean, rstd, residual } = call
  kernel(y, cols, sum, cols, mean, rstd, call.x, cols, residual, cols, weight, bias, rows, cols, eps)
  return call.result
}

const kernel = kernelFor('layer_norm', layer_norm)
const f32 = Math.fround

/** The kernel: every matrix with its row stride, outputs first. It checks nothing. */
export function layer_norm(
  y: Float32Array,
  yStride: number,
  sum: Float32Array | undefined,
  sumStride: number,
  mean: Statistic | undefined,
  rstd: Statistic | undefined,
  x: Float32Array,
  xStride: number,
  residual: Float32Array | undefined,
  residualStride: number,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined,
  rows: number,
  cols: number,
  eps: number
): void {
  const added = sum ?? y
  const addedStride = sum ? sumStride : yStride
  const input = residual ? added : x
  const inputStride = residual ? addedStride : xStride
  for (let row = 0; row < rows; row++) {
    const raw = rowSums(cols, x, row * xStride, residual, row * residualStride, added, row * addedStride)
    const x0 = row * inputStride
    const y0 = row * yStride
    const of = moments(cols, input, x0, raw)
    const scale = 1 / Math.sqrt(of.variance + eps) // rule 6
    if (mean) mean[row] = of.mean
    if (rstd) rstd[row] = scale

    if (isWide(of.mean, of.variance, scale)) {
      for (let i = 0; i < cols; i++) {
        let t = (input[x0 + i] - of.mean) * scale
        if (weight) t = t * weight[i]
        if (bias) t = t + bias[i]
        y[y0 + i] = t
      }
      continue
    }
    // Rule 7: the mean as a high and a low part.
    const m = f32(of.mean)
    const r = f32(scale)
    const c = f32((m - of.mean) * scale)
    for (let i = 0; i < cols; i++) {
      let t = f32(f32(f32(input[x0 + i] - m) * r) + c)
      if (weight) t = f32(t * weight[i])
      if (bias) t = f32(t + bias[i])
      y[y0 + i] = t
    }
  }
}
