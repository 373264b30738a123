// How a case becomes a call of layer_norm.
import type { Kernels } from '../backend.js'
import { type RowCase, type RowResult, runRowCase } from './rows.js'

export function runLayerNorm(kernels: Kernels, given: RowCase): RowResult {
  const { x, residual, weight, bias, rows, cols, eps } = given
  return runRowCase(given, true, ({ y, sum, mean, rstd }) =>
    kernels.layer_norm(y, cols, sum, cols, mean, rstd, x, cols, residual, cols, weight, bias, rows, cols, eps)
  )
}
