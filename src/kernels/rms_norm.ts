// rms_norm: y = x / sqrt(mean of x^2 + eps) * weight over each group. The twin of native/kernels/rms_norm.h.
import { affineColumns } from './column_maps.js'
import { columnSquares, STRIP } from './columns.js'
import { gradientRow } from './gradient_maps.js'
import { blockOfRow, gradientSums } from './gradient_sums.js'
import { largestNumber, sumOfSquares } from './lanes.js'
import { addResidual, affineFloat64, scaleRow, scaleRun } from './maps.js'
import { type Groups, type Statistic, stridesOf } from './operands.js'
import { makeColumnScales, needsFloat64Partial, scaleOf, setColumnScaleWithoutMean } from './scale.js'
import type { Call } from './signatures.js'

const f32 = Math.fround
const squares = new Float64Array(STRIP)
const scales = makeColumnScales()

/** w + offset in float32. */
export function shifted(weight: Float32Array, size: number, offset: number): Float32Array {
  const out = new Float32Array(size)
  for (let i = 0; i < size; i++) out[i] = weight[i] + offset
  return out
}

/** Every group of a call. The first `counted` elements of each count. */
export function rms_norm(call: Call<'rms_norm'>): void {
  const { y, sum, rstd, x, residual, weight, shape, counted, residualScale, eps, weightOffset } = call
  const { outer, size, inner, pitch = inner } = shape
  const [yStride, sumStride, xStride, residualStride] = stridesOf(call.strides, size * inner)
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
      addResidual(added, row * addedStride, x, row * xStride, residual, row * residualStride, shape, scale)
    }
    if (pitch > 1) {
      rmsNormColumns(y, y0, rstd, row * inner, input, x0, weights, shape, counted, eps)
      continue
    }
    const square = sumOfSquares(counted, 0, input, x0) / counted
    const of = scaleOf(0, square, 1 / Math.sqrt(square + eps)) // rule 6
    if (rstd) rstd[row] = of.rstd

    const asFloat64 = counted < size ? needsFloat64Partial(largestNumber(size, input, x0), of.rstd) : of.needsFloat64
    if (asFloat64) affineFloat64(y, y0, input, x0, size, of, weights, undefined, 0, 1)
    else if (weights) scaleRow(y, y0, input, x0, size, of.r, weights)
    else scaleRun(y, y0, input, x0, size, of.r, 1)
  }
}

/** The groups of one matrix whose columns they are. */
function rmsNormColumns(
  y: Float32Array,
  y0: number,
  rstd: Statistic | undefined,
  group0: number,
  x: Float32Array,
  x0: number,
  weight: Float32Array | undefined,
  { size, inner, pitch = inner }: Groups,
  counted: number,
  eps: number
): void {
  const w = weight && { data: weight, perRow: 1 }
  for (let first = 0; first < inner; first += STRIP) {
    const n = Math.min(STRIP, inner - first)
    columnSquares(squares, n, x, x0 + first, pitch, { first: 0, samples: 1, positions: counted, spans: undefined })
    for (let k = 0; k < n; k++) {
      const square = squares[k] / counted
      setColumnScaleWithoutMean(scales, k, square, 1 / Math.sqrt(square + eps)) // rule 6
      if (rstd) rstd[group0 + first + k] = scales.rstd[k]
      if (counted < size) {
        const largest = largestNumber(size, x, x0 + first + k, pitch)
        scales.needsFloat64[k] = needsFloat64Partial(largest, scales.rstd[k]) ? 1 : 0
      }
    }
    affineColumns(y, y0 + first, x, x0 + first, pitch, n, size, scales, w, undefined)
  }
}

/** Rules 21 and 22: rows alone; the weight has its offset. */
export function rms_norm_backward(call: Call<'rms_norm_backward'>): void {
  const { dx, dresidual, dweight, dy, x, dsum, rstd, weight, shape, counted, eps, done = 0 } = call
  const { outer, size } = shape
  const to = { dresidual, dsum, residualScale: f32(call.residualScale), dweight, dbias: undefined }
  for (let row = 0; row < outer; row++) {
    const at = row * size
    const r = rstd ? rstd[row] : 1 / Math.sqrt(sumOfSquares(counted, 0, x, at) / counted + eps) // rule 6
    const b = gradientSums(size, dy, x, at, 0, r, weight).q / counted
    const of = { mean: 0, rstd: r, a: 0, b, linear: false }
    const block = blockOfRow(done + row, size)
    gradientRow(dx, dy, x, at, 0, counted, of, weight, block, to)
    const rest = { mean: 0, rstd: r, a: 0, b: 0, linear: true }
    gradientRow(dx, dy, x, at, counted, size, rest, weight, block, to)
  }
}
