// residual_sum: x + residual * scale (rule 7), for the backward of calls that had a residual. The twin of
// native/kernels/residual_sum.h.
import { addResidual } from './maps.js'
import type { Call } from './signatures.js'

/** Every row of a call. */
export function residual_sum({ sum, x, residual, shape, residualScale }: Call<'residual_sum'>): void {
  const scale = Math.fround(residualScale)
  for (let row = 0; row < shape.outer; row++) {
    const at = row * shape.size
    addResidual(sum, at, x, at, residual, at, shape, scale)
  }
}
