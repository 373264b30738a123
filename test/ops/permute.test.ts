import { describe, expect, it } from 'vitest'
import type { PermuteCase } from '../../dist/esm/cases/permute.js'
import { backendsHere } from '../support/backends.ts'
import { expectSameBits } from '../support/bits.ts'
import { testCases } from '../support/cases.ts'
import { guarded } from '../support/memory.ts'

/** Every element by its index. */
function permuted({ x, shape: { dims, xStrides, yStrides } }: PermuteCase): { y: Float32Array } {
  const y = new Float32Array(x.length)
  const n = dims.reduce((size, dim) => size * dim, 1)
  for (let i = 0; i < n; i++) {
    let [rest, from, to] = [i, 0, 0]
    dims.forEach((dim, axis) => {
      from += (rest % dim) * xStrides[axis]
      to += (rest % dim) * yStrides[axis]
      rest = Math.floor(rest / dim)
    })
    y[to] = x[from]
  }
  return { y }
}

testCases<PermuteCase>('permute', permuted)

describe.each(backendsHere)('behaviour: permute on %s', (_, kernels) => {
  it('reads and writes what the strides say, and nothing between', () => {
    const x = Float32Array.from({ length: 200 }, (_, i) => i)
    const y = guarded(200, 3)
    y.array.fill(-1)
    kernels.permute({ y: y.array, x, shape: { dims: [3, 4], xStrides: [50, 3], yStrides: [7, 40] } })
    const expected = new Float32Array(200).fill(-1)
    for (let i = 0; i < 3; i++) for (let j = 0; j < 4; j++) expected[i * 7 + j * 40] = x[i * 50 + j * 3]
    expectSameBits(y.array, expected, 'strides')
    expect(y.intact()).toBe(true)
  })

  it('copies one element without dimensions, and nothing where one is 0', () => {
    const y = Float32Array.of(7)
    kernels.permute({ y, x: Float32Array.of(3), shape: { dims: [0, 5], xStrides: [5, 1], yStrides: [1, 1] } })
    expect(y[0]).toBe(7)
    kernels.permute({ y, x: Float32Array.of(3), shape: { dims: [], xStrides: [], yStrides: [] } })
    expect(y[0]).toBe(3)
  })
})
