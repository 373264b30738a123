// permute: a copy of x in another order of its dimensions. The twin of native/kernels/permute.h.
import type { Call } from './signatures.js'

/** y[sum of i * yStrides] = x[sum of i * xStrides] for every index i. */
export function permute({ y, x, shape }: Call<'permute'>): void {
  const { dims, xStrides, yStrides } = shape
  const last = dims.length - 1
  if (dims.includes(0)) return
  if (last < 0) {
    y[0] = x[0]
    return
  }
  const n = dims[last]
  const xStep = xStrides[last]
  const yStep = yStrides[last]
  const index = dims.map(() => 0)
  for (let x0 = 0, y0 = 0; ; ) {
    for (let i = 0; i < n; i++) y[y0 + i * yStep] = x[x0 + i * xStep]
    let axis = last - 1
    for (; axis >= 0; axis--) {
      x0 += xStrides[axis]
      y0 += yStrides[axis]
      if (++index[axis] < dims[axis]) break
      x0 -= dims[axis] * xStrides[axis]
      y0 -= dims[axis] * yStrides[axis]
      index[axis] = 0
    }
    if (axis < 0) return
  }
}
