import { describe, it } from 'vitest'
import { fill, finiteRows, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { LayerNorm, layerNorm, layerNormBackward } from '../../dist/esm/index.js'
import { testGradientBehaviour } from '../support/gradients/behaviour.ts'
import { centered, eachRow, expectDifferences } from '../support/gradients/differences.ts'
import { testRowBackward } from '../support/gradients/equality.ts'
import { layerNormBackwardModel } from '../support/gradients/model.ts'
import { testRowFunction } from '../support/gradients/row_functions.ts'
import { testRowGradientTruth } from '../support/gradients/truth.ts'

testRowBackward({
  name: 'layer_norm_backward',
  model: given => ({ ...layerNormBackwardModel(given) }),
  saved(x, size) {
    const saved = { mean: new Float64Array(x.length / size), rstd: new Float64Array(x.length / size) }
    layerNorm(x, size, saved)
    return saved
  }
})

testRowFunction({
  name: 'layerNormBackward',
  backward: layerNormBackward,
  layer: (shape, options) => new LayerNorm(shape, options),
  saved: ['mean', 'rstd'],
  forward: layerNorm,
  hasResidual: true,
  eps: 1e-5,
  model: call => ({ ...layerNormBackwardModel(call) }),
  forms(size) {
    const [weight, bias] = [fill(ordinaryWeights, size, 11), fill(normal, size, 12)]
    return [
      {},
      { layer: { bias } },
      { layer: { weight, eps: 1e-3 }, operands: { weight, eps: 1e-3 } },
      { layer: { weight, bias }, operands: { weight } }
    ]
  }
})

testRowGradientTruth({ name: 'layer_norm_backward', centered: true })

describe('truth: layerNormBackward and finite differences', () => {
  const [rows, size] = [3, 7]
  /** Of few bits, so that x + scale * residual is exact. */
  const coarse = (seed: number) =>
    fill(finiteRows['N(0,1)'], rows * size, seed).map(value => Math.round(value * 256) / 256)

  it('has the gradients of x, weight, bias and residual, with what arrives at the sum', () => {
    const [x, residual] = [coarse(1), coarse(2)]
    const dy = fill(normal, rows * size, 3)
    const dsum = fill(normal, rows * size, 4)
    const weight = fill(ordinaryWeights, size, 5)
    const bias = fill(normal, size, 6)
    for (const eps of [1e-5, 0.5]) {
      const options = { weight, bias, residual, residualScale: 0.5, dsum, eps }
      const { dx, dweight, dbias, dresidual } = layerNormBackward(dy, x, size, options)
      expectDifferences(
        ({ x, weight, bias, residual }) => {
          const sum = x.map((value, i) => value + 0.5 * residual[i])
          return [...eachRow(sum, size, row => centered(row, eps).map((t, i) => t * weight[i] + bias[i])), ...sum]
        },
        [...dy, ...dsum],
        { x, weight, bias, residual },
        { x: dx, weight: dweight, bias: dbias, residual: dresidual },
        `eps ${eps}`
      )
    }
  })
})

testGradientBehaviour({
  name: 'layerNormBackward',
  className: 'LayerNorm',
  call: (dy, x, options) => layerNormBackward(dy, x, 4, options),
  layer: options => new LayerNorm(4, options),
  dims: [3, 4],
  arrays: true,
  saved: { mean: 3, rstd: 3 },
  sums: { dweight: 4, dbias: 4 },
  asks: [
    [{ weight: new Float32Array(4) }, ['dweight', 'dbias']],
    [{ bias: new Float32Array(4) }, ['dbias']]
  ],
  hasResidual: true
})
