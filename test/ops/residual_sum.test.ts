import { describe, expect, it } from 'vitest'
import { fill, normal } from '../../dist/esm/cases/data.js'
import { backendsHere } from '../support/backends.ts'
import { expectSameBits } from '../support/bits.ts'
import { testCases } from '../support/cases.ts'
import { guarded } from '../support/memory.ts'

const f32 = Math.fround

/** Rule 7. */
const model = (x: Float32Array, residual: Float32Array, scale: number) =>
  x.map((value, i) => value + f32(residual[i] * f32(scale)))

interface Given {
  readonly name: string
  readonly x: Float32Array
  readonly residual: Float32Array
  readonly residualScale: number
}

testCases<Given>('residual_sum', ({ x, residual, residualScale }) => ({ sum: model(x, residual, residualScale) }))

describe.each(backendsHere)('equality: residual_sum on %s', (_, kernels) => {
  it('writes its rows and nothing around them, at every length and offset', () => {
    for (let size = 1; size < 70; size++) {
      const x = fill(normal, 2 * size, size)
      const residual = guarded(2 * size, 3, fill(normal, 2 * size, size + 1))
      const sum = guarded(2 * size, size % 5)
      const shape = { outer: 2, size, inner: 1 }
      kernels.residual_sum({ sum: sum.array, x, residual: residual.array, shape, residualScale: 0.3 })
      expectSameBits(sum.array, model(x, residual.array, 0.3), `${size} elements`)
      expect(sum.intact(), `${size} elements`).toBe(true)
    }
  })
})
