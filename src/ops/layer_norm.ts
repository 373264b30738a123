// LayerNorm: the public operation and layer, and below them the kernel in TypeScript, the twin of native/ops/layer_norm.h.
import { kernelFor } from '../backend.js'
import { type AsyncOptions, asyncOptions, checkAsyncOptions } from '../background.js'
import {
  addResidual,
  columnMoments,
  makeColumnScales,
  moments,
  normaliseColumns,
  normaliseRow,
  type RowSet,
  STRIP,
  type Statistic,
  scaleOf,
  setColumnScale,
  sums
} from '../canonical.js'
import { checkEps, checkOptions } from '../check.js'
import {
  type Axis,
  checkResidualScale,
  type GroupsOf,
  type NormalizedShape,
  type RowOptions,
  type RowPart,
  readGroups,
  readRowCall,
  readShape,
  rowOptions,
  runRowCall,
  runRowCallLater,
  type Shape
} from '../rows.js'
import { hasOnly, onlyOut, Preparations, SmallCalls } from '../small.js'
import { type Operand, readVector, type TensorLike } from '../tensor.js'

/** Options of one LayerNorm call that are not parameters of the layer. */
export interface LayerNormForwardOptions extends RowOptions {
  /** One element per group; receives the mean. */
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

const forwardOptions = [...rowOptions, 'mean']
const functionOptions = ['weight', 'bias', 'eps', ...forwardOptions]

/**
 * Layer normalisation over the trailing dimensions (Ba, Kiros & Hinton 2016, arXiv 1607.06450; ONNX LayerNormalization):
 * `y = (x - mean) / sqrt(variance + eps) * weight + bias` for each group of `normalizedShape` elements, with the biased
 * variance of the group. With `lengths` or `mask`, padded positions become 0, in `sum` and the statistics too.
 *
 * @param x whole groups: a Float32Array, or a tensor whose last dims are normalizedShape
 * @param normalizedShape the trailing dimensions of a group, e.g. 768 or [3, 256]; or, for a tensor, `{ axis }`: then weight
 *   and bias have the shape of these axes
 * @returns for an array the Float32Array that was written; for a tensor `options.out` where that is a tensor, else a tensor of
 *   x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 */
export function layerNorm(x: Float32Array, normalizedShape: NormalizedShape, options?: LayerNormOptions): Float32Array
export function layerNorm<X extends TensorLike>(
  x: X,
  normalizedShape: NormalizedShape | Axis,
  options?: LayerNormOptions
): X
export function layerNorm(
  x: Operand,
  normalizedShape: NormalizedShape | Axis,
  options: LayerNormOptions = {}
): Operand {
  const op = 'layerNorm'
  if (typeof normalizedShape === 'number' && hasOnly(options, smallOptions)) {
    const { weight, bias, eps = 1e-5, out } = options
    const small = smallCalls.call(x, out, weight, bias, false, normalizedShape, eps, 0, 0)
    if (small) return small
  }
  checkOptions(op, options, functionOptions)
  const groups = readGroups(op, normalizedShape)
  const eps = checkEps(op, options.eps === undefined ? 1e-5 : options.eps)
  return forward(op, x, groups, options.weight, options.bias, eps, options)
}

/** Layer normalisation with its weights resolved once, as torch.nn.LayerNorm. See {@link layerNorm}. */
export class LayerNorm {
  readonly normalizedShape: readonly number[]
  readonly eps: number
  readonly #shape: Shape
  #weight: Float32Array | undefined
  #bias: Float32Array | undefined
  readonly #small = new SmallCalls(preparations)

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
    const weight = readVector('LayerNorm', 'weight', weights.weight, this.#shape.size, 'normalizedShape')
    const bias = readVector('LayerNorm', 'bias', weights.bias, this.#shape.size, 'normalizedShape')
    this.#weight = weight && new Float32Array(weight)
    this.#bias = bias && new Float32Array(bias)
    this.#small.reset()
  }

  /** The same result as {@link layerNorm} with this layer's parameters. */
  forward(x: Float32Array, options?: LayerNormForwardOptions): Float32Array
  forward<X extends TensorLike>(x: X, options?: LayerNormForwardOptions): X
  forward(x: Operand, options: LayerNormForwardOptions = {}): Operand {
    if (hasOnly(options, onlyOut)) {
      const small = this.#small.call(x, options.out, this.#weight, this.#bias, true, this.#shape.size, this.eps, 0, 0)
      if (small) return small
    }
    checkOptions('LayerNorm', options, forwardOptions)
    return forward('LayerNorm', x, this.#shape, this.#weight, this.#bias, this.eps, options)
  }

  /**
   * The same result as a Promise, computed off the event loop. x is copied, at the cost of about as much time as computing
   * takes, unless `transfer` hands its memory over or it is over a SharedArrayBuffer; so are other operands that are not
   * shared. Nobody may write to shared ones before the Promise is settled. Errors reject the Promise.
   */
  forwardAsync(x: Float32Array, options?: LayerNormForwardOptions & AsyncOptions): Promise<Float32Array>
  forwardAsync<X extends TensorLike>(x: X, options?: LayerNormForwardOptions & AsyncOptions): Promise<X>
  async forwardAsync(x: Operand, options: LayerNormForwardOptions & AsyncOptions = {}): Promise<Operand> {
    const op = 'LayerNorm'
    checkOptions(op, options, [...forwardOptions, ...asyncOptions])
    checkAsyncOptions(op, options)
    const residualScale = checkResidualScale(op, options)
    const call = readRowCall(op, x, this.#shape, options, this.#weight, this.#bias, { later: true })
    return runRowCallLater(op, 'layer_norm', call, part => operandsOf(part, residualScale, this.eps), options)
  }
}

const none = [undefined, 0] as const
const preparations = new Preparations('layer_norm', (prepare, place, rows, [size, eps], weight, bias) => {
  const weights = [weight ? place.weight : undefined, bias ? place.bias : undefined] as const
  return prepare(
    place.y,
    size,
    ...none,
    undefined,
    undefined,
    place.x,
    size,
    ...none,
    ...weights,
    rows,
    size,
    1,
    1,
    eps
  )
})
const smallCalls = new SmallCalls(preparations)
const smallOptions = ['weight', 'bias', 'eps', 'out']

function forward(
  op: string,
  x: Operand,
  groups: GroupsOf,
  givenWeight: Operand | undefined,
  givenBias: Operand | undefined,
  eps: number,
  options: LayerNormForwardOptions
): Operand {
  const residualScale = checkResidualScale(op, options)
  const call = readRowCall(op, x, groups, options, givenWeight, givenBias)
  return runRowCall(call, part => kernel(...operandsOf(part, residualScale, eps)))
}

/** The kernel's arguments. */
function operandsOf(part: RowPart, residualScale: number, eps: number) {
  const { y, sum, mean, rstd, x, residual, weight, bias, outer, size, inner } = part
  const stride = size * inner
  // biome-ignore format: as the kernel's parameters stand
  return [
    y, stride, sum, stride, mean, rstd, x, stride, residual, stride, weight, bias,
    outer, size, inner, residualScale, eps
  ] as const
}

const kernel = kernelFor('layer_norm', layer_norm)
const columnMean = new Float64Array(STRIP)
const columnVariance = new Float64Array(STRIP)
const scales = makeColumnScales()

/** The kernel: every matrix with its stride, outputs first. It checks nothing. */
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
  outer: number,
  size: number,
  inner: number,
  residualScale: number,
  eps: number
): void {
  const scale = Math.fround(residualScale)
  const added = sum ?? y
  const addedStride = sum ? sumStride : yStride
  const input = residual ? added : x
  const inputStride = residual ? addedStride : xStride
  for (let row = 0; row < outer; row++) {
    const x0 = row * inputStride
    const y0 = row * yStride
    if (residual) {
      addResidual(added, row * addedStride, x, row * xStride, residual, row * residualStride, size * inner, scale)
    }
    if (inner > 1) {
      columns(y, y0, mean, rstd, row * inner, input, x0, weight, bias, size, inner, eps)
      continue
    }
    const { mean: mean64, variance } = moments(size, input, x0, sums(size, 0, input, x0))
    const of = scaleOf(mean64, variance, 1 / Math.sqrt(variance + eps)) // rule 6
    if (mean) mean[row] = of.mean
    if (rstd) rstd[row] = of.rstd
    normaliseRow(y, y0, input, x0, size, of, weight, bias, 0)
  }
}

/** The groups of one matrix whose columns they are. */
function columns(
  y: Float32Array,
  y0: number,
  mean: Statistic | undefined,
  rstd: Statistic | undefined,
  group0: number,
  x: Float32Array,
  x0: number,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined,
  size: number,
  inner: number,
  eps: number
): void {
  const rows: RowSet = { first: 0, samples: 1, positions: size, spans: undefined }
  const w = weight && { data: weight, start: 0, perRow: 1, perColumn: 0 }
  const b = bias && { data: bias, start: 0, perRow: 1, perColumn: 0 }
  for (let first = 0; first < inner; first += STRIP) {
    const n = Math.min(STRIP, inner - first)
    columnMoments(columnMean, columnVariance, n, 1, x, x0 + first, inner, rows)
    for (let k = 0; k < n; k++) {
      const v = columnVariance[k]
      setColumnScale(scales, k, columnMean[k], v, 1 / Math.sqrt(v + eps)) // rule 6
      if (mean) mean[group0 + first + k] = columnMean[k]
      if (rstd) rstd[group0 + first + k] = scales.rstd[k]
    }
    normaliseColumns(y, y0 + first, x, x0 + first, inner, n, rows, scales, w, b)
  }
}
