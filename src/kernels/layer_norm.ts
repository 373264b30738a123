// layer_norm: y = (x - mean) / sqrt(variance + eps) * weight + bias over each group. The twin of
// native/kernels/layer_norm.h.
import { affineColumns } from './column_maps.js'
import { type RowSet, STRIP } from './columns.js'
import { gradientRow } from './gradient_maps.js'
import { blockOfRow, gradientSums } from './gradient_sums.js'
import { sums } from './lanes.js'
import { addResidual, affineRow } from './maps.js'
import { columnMoments, moments } from './moments.js'
import { type Groups, type Statistic, stridesOf } from './operands.js'
import { makeColumnScales, scaleOf, setColumnScale } from './scale.js'
import type { Call } from './signatures.js'

const columnMean = new Float64Array(STRIP)
const columnVariance = new Float64Array(STRIP)
const scales = makeColumnScales()

/** Every group of a call. */
export function layer_norm(call: Call<'layer_norm'>): void {
  const { y, sum, mean, rstd, x, residual, weight, bias, shape, residualScale, eps } = call
  const { outer, size, inner, pitch = inner } = shape
  const [yStride, sumStride, xStride, residualStride] = stridesOf(call.strides, size * inner)
  const scale = Math.fround(residualScale)
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
      layerNormColumns(y, y0, mean, rstd, row * inner, input, x0, weight, bias, shape, eps)
      continue
    }
    const { mean: mean64, variance } = moments(size, input, x0, sums(size, input, x0))
    const of = scaleOf(mean64, variance, 1 / Math.sqrt(variance + eps)) // rule 6
    if (mean) mean[row] = of.mean
    if (rstd) rstd[row] = of.rstd
    affineRow(y, y0, input, x0, size, of, weight, bias, 0)
  }
}

/** The groups of one matrix whose columns they are. */
function layerNormColumns(
  y: Float32Array,
  y0: number,
  mean: Statistic | undefined,
  rstd: Statistic | undefined,
  group0: number,
  x: Float32Array,
  x0: number,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined,
  { size, inner, pitch = inner }: Groups,
  eps: number
): void {
  const rows: RowSet = { first: 0, samples: 1, positions: size, spans: undefined }
  const w = weight && { data: weight, perRow: 1 }
  const b = bias && { data: bias, perRow: 1 }
  for (let first = 0; first < inner; first += STRIP) {
    const n = Math.min(STRIP, inner - first)
    columnMoments(columnMean, columnVariance, n, 1, x, x0 + first, pitch, rows)
    for (let k = 0; k < n; k++) {
      const v = columnVariance[k]
      setColumnScale(scales, k, columnMean[k], v, 1 / Math.sqrt(v + eps)) // rule 6
      if (mean) mean[group0 + first + k] = columnMean[k]
      if (rstd) rstd[group0 + first + k] = scales.rstd[k]
    }
    affineColumns(y, y0 + first, x, x0 + first, pitch, n, size, scales, w, b)
  }
}

/** Rules 21 and 22: rows alone. */
export function layer_norm_backward(call: Call<'layer_norm_backward'>): void {
  const { dx, dresidual, dweight, dbias, dy, x, dsum, mean, rstd, weight, shape, eps, done = 0 } = call
  const { outer, size } = shape
  const to = { dresidual, dsum, residualScale: Math.fround(call.residualScale), dweight, dbias }
  for (let row = 0; row < outer; row++) {
    const at = row * size
    const own = mean && rstd ? undefined : moments(size, x, at, sums(size, x, at))
    const m = own ? own.mean : (mean as Float64Array)[row]
    const r = own ? 1 / Math.sqrt(own.variance + eps) : (rstd as Float64Array)[row] // rule 6
    const { s, q } = gradientSums(size, dy, x, at, m, r, weight)
    const of = { mean: m, rstd: r, a: s / size, b: q / size, linear: false }
    gradientRow(dx, dy, x, at, 0, size, of, weight, blockOfRow(done + row, size), to)
  }
}
