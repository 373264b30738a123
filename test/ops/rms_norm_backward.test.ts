import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { RMSNorm, rmsNorm, rmsNormBackward } from '../../dist/esm/index.js'
import { testGradientBehaviour } from '../support/gradients/behaviour.ts'
import { eachRow, expectDifferences, scaled } from '../support/gradients/differences.ts'
import { testRowBackward } from '../support/gradients/equality.ts'
import { offsetWeight, rmsNormBackwardModel } from '../support/gradients/model.ts'
import { testRowFunction } from '../support/gradients/row_functions.ts'
import { testRowGradientTruth } from '../support/gradients/truth.ts'

/** It has no bias. */
const model = (given: Parameters<typeof rmsNormBackwardModel>[0]) => {
  const { dx, dresidual, dweight } = rmsNormBackwardModel(given)
  return { dx, dresidual, dweight }
}

testRowBackward({
  name: 'rms_norm_backward',
  model,
  saved(x, size) {
    const saved = { rstd: new Float64Array(x.length / size) }
    rmsNorm(x, size, { ...saved, eps: 1e-5 })
    return saved
  }
})

testRowFunction({
  name: 'rmsNormBackward',
  backward: rmsNormBackward,
  layer: (shape, options) => new RMSNorm(shape, options),
  saved: ['rstd'],
  forward: rmsNorm,
  hasResidual: true,
  eps: 1e-6,
  model,
  forms(size) {
    const weight = fill(ordinaryWeights, size, 11)
    const half = Math.ceil(size / 2)
    return [
      {},
      { layer: { weight, eps: 1e-3 }, operands: { weight, eps: 1e-3 } },
      { layer: { partial: 0.5 }, operands: { counted: half } },
      { layer: { weight, weightOffset: 1 }, operands: { weight: offsetWeight(weight, 1) } },
      {
        layer: { weight, weightOffset: 0.3, partial: 1e-9 },
        operands: { weight: offsetWeight(weight, 0.3), counted: 1 }
      }
    ]
  }
})

testRowGradientTruth({ name: 'rms_norm_backward', centered: false })

describe('truth: rmsNormBackward and finite differences', () => {
  const [rows, size] = [3, 7]
  const coarse = (seed: number) =>
    fill(finiteRows['N(0,1)'], rows * size, seed).map(value => Math.round(value * 256) / 256)

  it('has the gradients of x, weight and residual, with what arrives at the sum', () => {
    const [x, residual] = [coarse(1), coarse(2)]
    const dy = fill(normal, rows * size, 3)
    const dsum = fill(normal, rows * size, 4)
    // Of few bits, so that weight + weightOffset is exact.
    const weight = fill(ordinaryWeights, size, 5).map(value => Math.round(value * 256) / 256)
    for (const [partial, counted] of [
      [1, 7],
      [0.4, 3]
    ]) {
      const eps = 0.01
      const options = { weight, weightOffset: 1, partial, residual, residualScale: -0.5, dsum, eps }
      const { dx, dweight, dbias, dresidual } = rmsNormBackward(dy, x, size, options)
      expect(dbias).toBe(undefined)
      expectDifferences(
        ({ x, weight, residual }) => {
          const sum = x.map((value, i) => value - 0.5 * residual[i])
          return [...eachRow(sum, size, row => scaled(row, eps, counted).map((t, i) => t * (1 + weight[i]))), ...sum]
        },
        [...dy, ...dsum],
        { x, weight, residual },
        { x: dx, weight: dweight, residual: dresidual },
        `partial ${partial}`
      )
    }
  })
})

testGradientBehaviour({
  name: 'rmsNormBackward',
  className: 'RMSNorm',
  call: (dy, x, options) => rmsNormBackward(dy, x, 4, options),
  layer: options => new RMSNorm(4, options),
  dims: [3, 4],
  arrays: true,
  saved: { rstd: 3 },
  sums: { dweight: 4 },
  asks: [[{ weight: new Float32Array(4) }, ['dweight']]],
  hasResidual: true
})

describe('behaviour: rmsNormBackward', () => {
  const x = fill(normal, 12, 1)

  it('has no bias and no mean, and refuses a partial and a weightOffset that are none', () => {
    const call = (options: object) => () => rmsNormBackward(x, x, 4, options as never)
    expect(call({ bias: new Float32Array(4) })).toThrow(TypeError)
    expect(call({ dbias: new Float32Array(4) })).toThrow(TypeError)
    expect(call({ mean: new Float64Array(3), rstd: new Float64Array(3) })).toThrow(TypeError)
    expect(call({ partial: 0 })).toThrow('rmsNormBackward: partial expected a number > 0 and <= 1, got 0')
    expect(call({ weightOffset: 1 })).toThrow(
      'rmsNormBackward: weight expected an array, because weightOffset is given'
    )
  })
})
