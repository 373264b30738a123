import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal } from '../../dist/esm/cases/data.js'
import { Normalize, normalize, normalizeBackward } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { testGradientBehaviour } from '../support/gradients/behaviour.ts'
import { divided, eachRow, expectDifferences } from '../support/gradients/differences.ts'
import { testRowBackward } from '../support/gradients/equality.ts'
import { type NormalizeGradientCall, normalizeBackwardModel } from '../support/gradients/model.ts'
import { normalizeGroupOf, rowsExactly } from '../support/gradients/oracle.ts'
import { testRowFunction } from '../support/gradients/row_functions.ts'
import { compare, type DyKind, dyOf, expectWithin, kinds, testRowGradientTruth } from '../support/gradients/truth.ts'

const rules = ['clamp', 'clamp-square', 'add-square', 'mean-square', 'zero'] as const

testRowBackward({
  name: 'normalize_backward',
  model(given) {
    const { dx, dots } = normalizeBackwardModel(given)
    return { dx, dots }
  }
})

testRowFunction({
  name: 'normalizeBackward',
  backward: normalizeBackward,
  layer: (shape, options) => new Normalize(shape, options),
  saved: [],
  forward: normalize,
  hasResidual: false,
  eps: 1e-12,
  model(call) {
    const { dx, dscale } = normalizeBackwardModel({ rule: 0, factor: 1, ...call } as NormalizeGradientCall)
    return { dx, dscale: Float64Array.of(dscale) }
  },
  forms: () => [
    {},
    ...rules.map((rule, index) => ({
      layer: { rule, scale: 0.37, eps: 0.25 },
      operands: { rule: index, factor: 0.37, eps: 0.25 }
    })),
    // Beyond every norm: divided by the limit.
    { layer: { rule: 'clamp', eps: 1e9, scale: -2 }, operands: { rule: 0, eps: 1e9, factor: -2 } },
    { layer: { rule: 'clamp-square', eps: 1e9, scale: 1 }, operands: { rule: 1, eps: 1e9, factor: 1 } }
  ]
})

testRowGradientTruth({ name: 'normalize_backward', centered: false })

describe('truth: normalizeBackward', () => {
  it('keeps the bound for dscale, over rows of every kind', () => {
    let index = 0
    for (const size of [1, 3, 33]) {
      for (const dyKind of ['N(0,1)', 'log-uniform', 'x'] as DyKind[]) {
        for (const [rule, name] of rules.entries()) {
          const eps = [1e-12, 1, 1e-5][index % 3]
          const x = Float32Array.from(kinds.flatMap((kind, k) => [...fill(finiteRows[kind], size, index * 20 + k)]))
          const dy = dyOf(dyKind, x, index++)
          const weight = new Float32Array(size).fill(0.37)
          const exact = rowsExactly({ dy, x, size, weight }, values => normalizeGroupOf(values, rule, eps))
          const { dx, dscale } = normalizeBackward(dy, x, size, { rule: name, eps, scale: 0.37 })
          const where = `${size} elements, ${name}, dy ${dyKind}`
          expectWithin(compare({ dx, dscale }, { dx: exact.dx, dscale: exact.dscale }, where))
        }
      }
    }
  })

  it('has the gradients of x and of the scale that finite differences have', () => {
    const [rows, size] = [3, 7]
    const x = fill(normal, rows * size, 1)
    const dy = fill(normal, rows * size, 2)
    for (const rule of rules) {
      for (const eps of [1e-12, 0.3, 1e4]) {
        const scale = Float32Array.of(0.37)
        const { dx, dscale } = normalizeBackward(dy, x, size, { rule, eps, scale: scale[0] })
        expectDifferences(
          ({ x, scale }) => eachRow(x, size, row => divided(row, rule, eps)).map(t => t * scale[0]),
          dy,
          { x, scale },
          { x: dx, scale: dscale },
          `${rule}, eps ${eps}`
        )
      }
    }
  })

  it('takes a norm that is equal to the limit for one that x was divided by', () => {
    const x = Float32Array.of(3, 4, 0)
    const dy = Float32Array.of(1, 2, 5)
    // (g - t * sum(g * t)) / 5 with t = (0.6, 0.8, 0), sum(g * t) = 2.2
    const expected = [(1 - 0.6 * 2.2) / 5, (2 - 0.8 * 2.2) / 5, 1]
    for (const [rule, eps] of [
      ['clamp', 5],
      ['clamp-square', 25]
    ] as const) {
      const { dx } = normalizeBackward(dy, x, 3, { rule, eps })
      expected.forEach((value, i) => {
        expect(Math.abs(dx[i] - value)).toBeLessThanOrEqual(2 ** -23)
      })
      const above = normalizeBackward(dy, x, 3, { rule, eps: eps * (1 + 2 ** -50) }).dx
      expectSameBits(above, Float32Array.of(0.2, 0.4, 1), `${rule}, just above`)
    }
  })
})

describe('equality: normalizeBackward of columns', () => {
  it('takes their norms of the copied rows, to the last bit of float64', () => {
    for (const n of [70, 200, 300]) {
      for (let seed = 0; seed < 5; seed++) {
        // Beside a column whose t is 1 and 0s, which takes the rounded sum of the other off: the low bits are left.
        const [x, dy] = [new Float32Array(2 * n), new Float32Array(2 * n)]
        fill(normal, n, seed).forEach((value, i) => {
          x[2 * i] = value
        })
        fill(normal, n, seed + 50).forEach((value, i) => {
          dy[2 * i] = value
        })
        x[1] = 1
        const call = { dy, x, shape: { outer: 1, size: n, inner: 2 }, rule: 0, eps: 1e-12, factor: 1 }
        dy[1] = -normalizeBackwardModel(call).dscale
        const { dscale } = normalizeBackward(
          { data: dy, dims: [n, 2] },
          { data: x, dims: [n, 2] },
          { axis: 0 },
          { scale: 1 }
        )
        const expected = Float32Array.of(normalizeBackwardModel(call).dscale)
        expectSameBits(dscale as Float32Array, expected, `${n} rows, ${seed}`)
      }
    }
  })
})

describe('equality: normalizeBackward of zeros', () => {
  it('gives zeros by the rule zero, and dy over the limit by the others', () => {
    const zeros = new Float32Array(3)
    const dy = Float32Array.of(1, -2, 0)
    const gradient = (rule: (typeof rules)[number], eps: number) => [
      ...normalizeBackward(dy, zeros, 3, { rule, eps }).dx
    ]
    expect(gradient('zero', 0).map(value => value + 0)).toEqual([0, 0, 0])
    expect(gradient('clamp', 0.5)).toEqual([2, -4, 0])
    expect(gradient('clamp-square', 0.25)).toEqual([2, -4, 0])
    expect(gradient('add-square', 0.25)).toEqual([2, -4, 0])
    expect(gradient('mean-square', 0.25)).toEqual([2, -4, 0])
    for (const rule of ['clamp', 'clamp-square', 'add-square', 'mean-square'] as const) {
      expect(gradient(rule, 0).every(Number.isNaN), rule).toBe(true)
    }
  })
})

testGradientBehaviour({
  name: 'normalizeBackward',
  className: 'Normalize',
  call: (dy, x, options) => normalizeBackward(dy, x, 4, options),
  layer: options => new Normalize(4, options),
  dims: [3, 4],
  arrays: true,
  saved: {},
  sums: { dscale: 1 },
  asks: [[{ scale: 2 }, ['dscale']]],
  hasResidual: false
})

describe('behaviour: normalizeBackward', () => {
  it('refuses a p other than 2, in the function and in the layer', () => {
    const x = fill(normal, 12, 1)
    for (const p of [1, 3, 0.5, Number.POSITIVE_INFINITY]) {
      expect(() => normalizeBackward(x, x, 4, { p })).toThrow(RangeError)
      expect(() => normalizeBackward(x, x, 4, { p })).toThrow('normalizeBackward: p expected 2')
      expect(() => new Normalize(4, { p }).backward(x, x)).toThrow(RangeError)
    }
    expect(() => normalizeBackward(x, x, 4, { p: '2' as never })).toThrow(TypeError)
    expectSameBits(normalizeBackward(x, x, 4, { p: 2 }).dx, normalizeBackward(x, x, 4).dx, 'p = 2')
    expect(() => normalizeBackward(x, x, 4, { rule: 'max' as never })).toThrow('rule')
  })
})
