// How a case becomes a call of rms_norm.
import type { Kernels } from '../backend.js'
import { type RowCase, type RowResult, runRowCase } from './rows.js'

export function runRmsNorm(kernels: Kernels, given: RowCase): RowResult {
  const { x, residual, weight, rows, cols, eps, weightOffset } = given
  return runRowCase(given, false, ({ y, sum, rstd }) =>
    kernels.rms_norm(y, cols, sum, cols, rstd, x, cols, residual, cols, weight, rows, cols, eps, weightOffset)
  )
}
