// How a case becomes a call of rms_norm.
import type { Kernels } from '../backend.js'
import { type RowCase, type RowResult, runRowCase } from './rows.js'

export function runRmsNorm(kernels: Kernels, given: RowCase): RowResult {
  const { x, residual, weight, rows, cols, inner, counted, residualScale, eps, weightOffset } = given
  const n = cols * inner
  return runRowCase(given, false, ({ y, sum, rstd }) =>
    // biome-ignore format: as the kernel's parameters stand
    kernels.rms_norm(
      y, n, sum, n, rstd, x, n, residual, n, weight, rows, cols, inner, counted, residualScale, eps, weightOffset
    )
  )
}
