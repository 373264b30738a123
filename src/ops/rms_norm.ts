// RMSNorm: the public operation and layer, and below them the kernel in TypeScript, the twin of native/ops/rms_norm.h.
import { kernelFor } from '../backend.js'
import { isWide, rowSums, type Statistic } from '../canonical.js'
import { checkEps, checkFinite, checkOptions, wrongType } from '../check.js'
import { type NormalizedShape, type RowOptions, readPerColumn, readRowCall, readShape, type Shape } from '../rows.js'
import type { Operand, TensorLike } from '../tensor.js'

/** The parameters of RMSNorm. */
export interface RMSNormWeights {
  /** Scale, normalizedShape elements. Default: none (1). */
  weight?: Operand
}

/** Options of RMSNorm that are no arrays. */
export interface RMSNormConstants {
  /** Added to the mean of squares, finite and >= 0. Default: 1e-6. */
  eps?: number
  /** Added to every weight in float32 before use: 1 for Gemma's and Qwen3-Next's weights. Default: 0. */
  weightOffset?: number
}

/** Options of {@link rmsNorm}. */
export interface RMSNormOptions extends RowOptions, RMSNormWeights, RMSNormConstants {}

const forwardOptions = ['residual', 'sum', 'rstd', 'out']
const functionOptions = ['weight', 'eps', 'weightOffset', ...forwardOptions]

/**
 * Root mean square normalisation over the trailing dimensions (Zhang & Sennrich 2019, arXiv 1910.07467; ONNX
 * RMSNormalization): `y = x / sqrt(mean(x^2) + eps) * (weight + weightOffset)` for each group of `normalizedShape`
 * elements.
 *
 * @param x whole groups: a Float32Array, or a tensor whose last dims are normalizedShape
 * @param normalizedShape the trailing dimensions of a group, e.g. 4096 or [8, 128]
 * @returns for an array the Float32Array that was written; for a tensor `options.out` where that is a tensor, else a tensor of
 *   x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 */
export function rmsNorm(x: Float32Array, normalizedShape: NormalizedShape, options?: RMSNormOptions): Float32Array
export function rmsNorm<X extends TensorLike>(x: X, normalizedShape: NormalizedShape, options?: RMSNormOptions): X
export function rmsNorm(x: Operand, normalizedShape: NormalizedShape, options: RMSNormOptions = {}): Operand {
  const op = 'rmsNorm'
  checkOptions(op, options, functionOptions)
  const shape = readShape(op, normalizedShape)
  const weight = readPerColumn(op, 'weight', options.weight, shape)
  const offset = checkWeightOffset(op, options.weightOffset === undefined ? 0 : options.weightOffset, weight)
  return forward(op, x, shape, weight, checkEps(op, options.eps === undefined ? 1e-6 : options.eps), offset, options)
}

/** RMS normalisation with its weight resolved once, as torch.nn.RMSNorm. See {@link rmsNorm}. */
export class RMSNorm {
  readonly normalizedShape: readonly number[]
  readonly eps: number
  readonly weightOffset: number
  readonly #shape: Shape
  #weight: Float32Array | undefined

  /** Copies the weight. `eps` is 1e-6 and `weightOffset` 0 unless given. Errors as {@link rmsNorm}. */
  constructor(normalizedShape: NormalizedShape, options: RMSNormWeights & RMSNormConstants = {}) {
    checkOptions('RMSNorm', options, ['weight', 'eps', 'weightOffset'])
    this.#shape = readShape('RMSNorm', normalizedShape)
    this.normalizedShape = Object.freeze(this.#shape.dims)
    this.eps = checkEps('RMSNorm', options.eps === undefined ? 1e-6 : options.eps)
    this.weightOffset = options.weightOffset === undefined ? 0 : options.weightOffset
    this.setWeights({ weight: options.weight })
  }

  /** Replaces the weight by a copy of this one; what is absent is none. */
  setWeights(weights: RMSNormWeights): void {
    checkOptions('RMSNorm', weights, ['weight'])
    const weight = readPerColumn('RMSNorm', 'weight', weights.weight, this.#shape)
    checkWeightOffset('RMSNorm', this.weightOffset, weight)
    this.#weight = weight && new Float32Array(weight)
  }

  /** The same result as {@link rmsNorm} with this layer's parameters. */
  forward(x: Float32Array, options?: RowOptions): Float32Array
  forward<X extends TensorLike>(x: X, options?: RowOptions): X
  forward(x: Operand, options: RowOptions = {}): Operand {
    checkOptions('RMSNorm', options, forwardOptions)
    return forward('RMSNorm', x, this.#shape, this.#weight, this.eps, this.weightOffset, options)
  }
}

function checkWeightOffset(op: string, offset: unknown, weight: Float32Array | undefined): number {
  checkFinite(op, 'weightOffset', offset)
  checkFinite(op, 'weightOffset as float32', f32(offset))
  if (offset !== 0 && !weight) throw wrongType(op, 'weight', 'an array, because weightOffset is given', 'undefined')
  return offset
}

function forward(
  op: string,
  x: Operand,
  shape: Shape,
  weight: Float32Array | undefined,
  eps: number,
  weightOffset: number,
  options: RowOptions
): Operand {
  const call = readRowCall(op, x, shape, options, weight, undefined)
  const { rows, cols, y, sum, rstd, residual } = call
  kernel(y, cols, sum, cols, rstd, call.x, cols, residual, cols, weight, rows, cols, eps, weightOffset)
  return call.result
}

const kernel = kernelFor('rms_norm', rms_norm)
const f32 = Math.fround

/** The kernel: every matrix with its row stride, outputs first. It checks nothing. */
export function rms_norm(
  y: Float32Array,
  yStride: number,
  sum: Float32Array | undefined,
  sumStride: number,
  rstd: Statistic | undefined,
  x: Float32Array,
  xStride: number,
  residual: Float32Array | undefined,
  residualStride: number,
  weight: Float32Array | undefined,
  rows: number,
  cols: number,
  eps: number,
  weightOffset: number
): void {
  // The weight with its offset, rounded to float32, made once: the C++ kernel adds it in registers.
  const offset = f32(weightOffset)
  const scales = weight && offset !== 0 ? Float32Array.from(weight, w => w + offset) : weight
  const added = sum ?? y
  const addedStride = sum ? sumStride : yStride
  const input = residual ? added : x
  const inputStride = residual ? addedStride : xStride
  for (let row = 0; row < rows; row++) {
    const raw = rowSums(cols, x, row * xStride, residual, row * residualStride, added, row * addedStride)
    const x0 = row * inputStride
    const y0 = row * yStride
    const power = raw.q / cols
    const scale = 1 / Math.sqrt(power + eps) // rule 6
    if (rstd) rstd[row] = scale

    if (isWide(0, power, scale)) {
      for (let i = 0; i < cols; i++) {
        let t = input[x0 + i] * scale
        if (scales) t = t * scales[i]
        y[y0 + i] = t
      }
      continue
    }
    const r = f32(scale)
    for (let i = 0; i < cols; i++) {
      let t = f32(input[x0 + i] * r)
      if (scales) t = f32(t * scales[i])
      y[y0 + i] = t
    }
  }
}
