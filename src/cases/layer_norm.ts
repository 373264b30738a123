// How a case becomes a call of layer_norm.
import type { Kernels } from '../backend.js'
import { type RowCase, type RowResult, runRowCase } from './rows.js'

export function runLayerNorm(kernels: Kernels, given: RowCase): RowResult {
  const { x, residual, weight, bias, rows, cols, inner, residualScale, eps } = given
  const n = cols * inner
  return runRowCase(given, true, ({ y, sum, mean, rstd }) =>
    // biome-ignore format: as the kernel's parameters stand
    kernels.layer_norm(
      y, n, sum, n, mean, rstd, x, n, residual, n, weight, bias, rows, cols, inner, residualScale, eps
    )
  )
}
