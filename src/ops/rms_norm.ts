// RMSNorm: the public operation and layer, and below them the kernel in TypeScript, the twin of native/ops/rms_norm.h.
import { kernelFor } from '../backend.js'
import { type AsyncOptions, asyncOptions, checkAsyncOptions } from '../background.js'
import {
  addResidual,
  columnSquares,
  makeColumnScales,
  normaliseColumns,
  type RowSet,
  STRIP,
  type Statistic,
  scaleOf,
  setColumnScaleWithoutMean,
  sums
} from '../canonical.js'
import { checkEps, checkFinite, checkOptions, describe, wrongType, wrongValue } from '../check.js'
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
  /**
   * Fraction of the group, from its first element, whose mean of squares is taken for that of all: pRMSNorm; 0.0625 in the
   * paper. Rounded up to whole elements. Default: 1.
   */
  partial?: number
}

/** Options of {@link rmsNorm}. */
export interface RMSNormOptions extends RowOptions, RMSNormWeights, RMSNormConstants {}

const forwardOptions = rowOptions
const functionOptions = ['weight', 'eps', 'weightOffset', 'partial', ...forwardOptions]

/**
 * Root mean square normalisation over the trailing dimensions (Zhang & Sennrich 2019, arXiv 1910.07467; ONNX
 * RMSNormalization): `y = x / sqrt(mean(x^2) + eps) * (weight + weightOffset)` for each group of `normalizedShape`
 * elements. With `lengths` or `mask`, padded positions become 0, in `sum` and the statistics too.
 *
 * @param x whole groups: a Float32Array, or a tensor whose last dims are normalizedShape
 * @param normalizedShape the trailing dimensions of a group, e.g. 4096 or [8, 128]; or, for a tensor, `{ axis }`: then
 *   the weight has the shape of these axes
 * @returns for an array the Float32Array that was written; for a tensor `options.out` where that is a tensor, else a tensor of
 *   x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 */
export function rmsNorm(x: Float32Array, normalizedShape: NormalizedShape, options?: RMSNormOptions): Float32Array
export function rmsNorm<X extends TensorLike>(
  x: X,
  normalizedShape: NormalizedShape | Axis,
  options?: RMSNormOptions
): X
export function rmsNorm(x: Operand, normalizedShape: NormalizedShape | Axis, options: RMSNormOptions = {}): Operand {
  const op = 'rmsNorm'
  if (typeof normalizedShape === 'number' && hasOnly(options, smallOptions)) {
    const { weight, eps = 1e-6, out } = options
    const small = smallCalls.call(x, out, weight, undefined, false, normalizedShape, eps, 0, 1)
    if (small) return small
  }
  checkOptions(op, options, functionOptions)
  const groups = readGroups(op, normalizedShape)
  return forward(op, x, groups, options.weight, readConstants(op, options), options)
}

/** RMS normalisation with its weight resolved once, as torch.nn.RMSNorm. See {@link rmsNorm}. */
export class RMSNorm {
  readonly normalizedShape: readonly number[]
  readonly eps: number
  readonly weightOffset: number
  readonly partial: number
  readonly #shape: Shape
  #weight: Float32Array | undefined
  readonly #small = new SmallCalls(preparations)

  /** Copies the weight. `eps` is 1e-6, `weightOffset` 0 and `partial` 1 unless given. Errors as {@link rmsNorm}. */
  constructor(normalizedShape: NormalizedShape, options: RMSNormWeights & RMSNormConstants = {}) {
    checkOptions('RMSNorm', options, ['weight', 'eps', 'weightOffset', 'partial'])
    this.#shape = readShape('RMSNorm', normalizedShape)
    this.normalizedShape = Object.freeze(this.#shape.dims)
    const { eps, weightOffset, partial } = readConstants('RMSNorm', options)
    this.eps = eps
    this.weightOffset = weightOffset
    this.partial = partial
    this.setWeights({ weight: options.weight })
  }

  /** Replaces the weight by a copy of this one; what is absent is none. */
  setWeights(weights: RMSNormWeights): void {
    checkOptions('RMSNorm', weights, ['weight'])
    const weight = readVector('RMSNorm', 'weight', weights.weight, this.#shape.size, 'normalizedShape')
    checkOffsetHasWeight('RMSNorm', this.weightOffset, weight)
    this.#weight = weight && new Float32Array(weight)
    this.#small.reset()
  }

  /** The same result as {@link rmsNorm} with this layer's parameters. */
  forward(x: Float32Array, options?: RowOptions): Float32Array
  forward<X extends TensorLike>(x: X, options?: RowOptions): X
  forward(x: Operand, options: RowOptions = {}): Operand {
    if (hasOnly(options, onlyOut)) {
      const { eps, weightOffset, partial } = this
      const { size } = this.#shape
      const small = this.#small.call(x, options.out, this.#weight, undefined, true, size, eps, weightOffset, partial)
      if (small) return small
    }
    checkOptions('RMSNorm', options, forwardOptions)
    return forward('RMSNorm', x, this.#shape, this.#weight, this, options)
  }

  /** The same result as a Promise, computed off the event loop. See {@link LayerNorm.forwardAsync}. */
  forwardAsync(x: Float32Array, options?: RowOptions & AsyncOptions): Promise<Float32Array>
  forwardAsync<X extends TensorLike>(x: X, options?: RowOptions & AsyncOptions): Promise<X>
  async forwardAsync(x: Operand, options: RowOptions & AsyncOptions = {}): Promise<Operand> {
    const op = 'RMSNorm'
    checkOptions(op, options, [...forwardOptions, ...asyncOptions])
    checkAsyncOptions(op, options)
    const residualScale = checkResidualScale(op, options)
    const call = readRowCall(op, x, this.#shape, options, this.#weight, undefined, { later: true })
    return runRowCallLater(op, 'rms_norm', call, part => operandsOf(part, residualScale, this), options)
  }
}

function readConstants(op: string, options: RMSNormConstants): Required<RMSNormConstants> {
  const { eps = 1e-6, weightOffset = 0, partial = 1 } = options
  checkEps(op, eps)
  checkFinite(op, 'weightOffset', weightOffset)
  checkFinite(op, 'weightOffset as float32', f32(weightOffset))
  checkFinite(op, 'partial', partial)
  if (partial <= 0 || partial > 1) throw wrongValue(op, 'partial', 'a number > 0 and <= 1', describe(partial))
  return { eps, weightOffset, partial }
}

function checkOffsetHasWeight(op: string, offset: number, weight: unknown): void {
  if (offset !== 0 && !weight) throw wrongType(op, 'weight', 'an array, because weightOffset is given', 'undefined')
}

/** How many elements a fraction is: one that floating point puts just above a whole number is that number. */
const countedOf = (size: number, partial: number) => Math.max(1, Math.ceil(size * partial - 1e-9))

const none = [undefined, 0] as const
const preparations = new Preparations(
  'rms_norm',
  (prepare, place, rows, [size, eps, weightOffset, partial], weight) => {
    const places = [
      place.y,
      size,
      ...none,
      undefined,
      place.x,
      size,
      ...none,
      weight ? place.weight : undefined
    ] as const
    return prepare(...places, rows, size, 1, countedOf(size, partial), 1, eps, weightOffset)
  }
)
const smallCalls = new SmallCalls(preparations)
const smallOptions = ['weight', 'eps', 'out']

function forward(
  op: string,
  x: Operand,
  groups: GroupsOf,
  givenWeight: Operand | undefined,
  constants: Required<RMSNormConstants>,
  options: RowOptions
): Operand {
  const residualScale = checkResidualScale(op, options)
  checkOffsetHasWeight(op, constants.weightOffset, givenWeight)
  const call = readRowCall(op, x, groups, options, givenWeight, undefined)
  return runRowCall(call, part => kernel(...operandsOf(part, residualScale, constants)))
}

/** The kernel's arguments. */
function operandsOf(part: RowPart, residualScale: number, constants: Required<RMSNormConstants>) {
  const { y, sum, rstd, x, residual, weight, outer, size, inner } = part
  const { eps, weightOffset, partial } = constants
  const stride = size * inner
  // biome-ignore format: as the kernel's parameters stand
  return [
    y, stride, sum, stride, rstd, x, stride, residual, stride, weight,
    outer, size, inner, countedOf(size, partial), residualScale, eps, weightOffset
  ] as const
}

const kernel = kernelFor('rms_norm', rms_norm)
const f32 = Math.fround
const squares = new Float64Array(STRIP)
const scales = makeColumnScales()

/** w + offset in float32. */
function shifted(weight: Float32Array, size: number, offset: number): Float32Array {
  const out = new Float32Array(size)
  for (let i = 0; i < size; i++) out[i] = weight[i] + offset
  return out
}

/** The kernel: every matrix with its stride, outputs first. The first `counted` rows or elements count. It checks nothing. */
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
  outer: number,
  size: number,
  inner: number,
  counted: number,
  residualScale: number,
  eps: number,
  weightOffset: number
): void {
  // The weight with its offset, rounded to float32, made once: the C++ kernel adds it in registers.
  const offset = f32(weightOffset)
  const weights = weight && offset !== 0 ? shifted(weight, size, offset) : weight
  const scale = f32(residualScale)
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
      columns(y, y0, rstd, row * inner, input, x0, weights, size, inner, counted, eps)
      continue
    }
    const square = sums(counted, 0, input, x0).q / counted
    const { wide, rstd: s, r } = scaleOf(0, square, 1 / Math.sqrt(square + eps)) // rule 6
    if (rstd) rstd[row] = s

    if (wide) {
      for (let i = 0; i < size; i++) {
        let t = input[x0 + i] * s
        if (weights) t = t * weights[i]
        y[y0 + i] = t
      }
      continue
    }
    for (let i = 0; i < size; i++) {
      let t = f32(input[x0 + i] * r)
      if (weights) t = f32(t * weights[i])
      y[y0 + i] = t
    }
  }
}

/** The groups of one matrix whose columns they are. */
function columns(
  y: Float32Array,
  y0: number,
  rstd: Statistic | undefined,
  group0: number,
  x: Float32Array,
  x0: number,
  weight: Float32Array | undefined,
  size: number,
  inner: number,
  counted: number,
  eps: number
): void {
  const w = weight && { data: weight, start: 0, perRow: 1, perColumn: 0 }
  for (let first = 0; first < inner; first += STRIP) {
    const n = Math.min(STRIP, inner - first)
    columnSquares(squares, n, x, x0 + first, inner, { first: 0, samples: 1, positions: counted, spans: undefined })
    for (let k = 0; k < n; k++) {
      const square = squares[k] / counted
      setColumnScaleWithoutMean(scales, k, square, 1 / Math.sqrt(square + eps)) // rule 6
      if (rstd) rstd[group0 + first + k] = scales.rstd[k]
    }
    const rows: RowSet = { first: 0, samples: 1, positions: size, spans: undefined }
    normaliseColumns(y, y0 + first, x, x0 + first, inner, n, rows, scales, w, undefined)
  }
}
