import { describe, expect, it } from 'vitest'
import { fill, normal, ordinaryWeights } from '../dist/esm/cases/data.js'
import { RMSNorm, rmsNorm } from '../dist/esm/index.js'
import { testRowBehaviour } from './support/behaviour.ts'
import { rmsNormModel } from './support/model.ts'
import { testOnnxCases, trailing } from './support/onnx.ts'
import { expectSameBits, type RowOp, testRowEquality, testRowTruth } from './support/suites.ts'

const op: RowOp = {
  name: 'rms_norm',
  centred: false,
  call(kernels, { y, x, rows, cols, inner = 1, stride = cols * inner, sum, residual, ...rest }) {
    const { rstd, weight, counted = cols, residualScale = 1, eps, weightOffset = 0 } = rest
    // biome-ignore format: as the kernel's parameters stand
    kernels.rms_norm(
      y, stride, sum, stride, rstd, x, stride, residual, stride, weight,
      rows, cols, inner, counted, residualScale, eps, weightOffset
    )
  },
  model: rmsNormModel
}

testRowEquality(op)

describe('equality: rmsNorm', () => {
  const x = fill(normal, 4 * 24, 1)
  const weight = fill(ordinaryWeights, 24, 2)
  const residual = fill(normal, 4 * 24, 4)

  it('gives the same bits as a function and as a layer, fused and separate, for all combinations of options', () => {
    for (let choice = 0; choice < 16; choice++) {
      const weights = choice & 1 ? { weight, weightOffset: choice & 2 ? 1 : 0, eps: 1e-3 } : { eps: 1e-3 }
      const sum = (choice & 12) === 12 ? new Float32Array(96) : undefined
      const call = { residual: choice & 4 ? residual : undefined, sum }
      const one = rmsNorm(x, 24, { ...weights, ...call })
      expectSameBits(new RMSNorm(24, weights).forward(x, call), one, `options ${choice}, layer`)
      const added = x.map((value, i) => value + residual[i])
      expectSameBits(rmsNorm(choice & 4 ? added : x, 24, weights), one, `options ${choice}, separate`)
      if (sum) expectSameBits(sum, added, `options ${choice}, sum`)
    }
  })

  it('uses weight + weightOffset rounded to float32', () => {
    const shifted = weight.map(w => w + 1)
    expectSameBits(rmsNorm(x, 24, { weight, weightOffset: 1 }), rmsNorm(x, 24, { weight: shifted }), '1 + w')
  })

  it('gives 0 for the finite elements beside an infinity, NaN for it, and NaN for a row with NaN', () => {
    const row = Float32Array.of(1, Number.NEGATIVE_INFINITY, -2, 0)
    expectSameBits(rmsNorm(row, 4), Float32Array.of(0, Number.NaN, -0, 0), '-Inf')
    expect(rmsNorm(Float32Array.of(1, Number.NaN), 2).every(Number.isNaN)).toBe(true)
  })

  it('gives plus or minus the weight for one column as eps goes to 0', () => {
    const y = rmsNorm(Float32Array.of(5, -3e38, 1e-45), 1, { weight: Float32Array.of(2), eps: 0 })
    expectSameBits(y, Float32Array.of(2, -2, 2), 'd = 1')
  })
})

testRowTruth(op, 2)

testOnnxCases('RMSNormalization', 19, given => {
  const [x, weight] = given.inputs
  const { group, eps } = trailing(given)
  return [rmsNorm(x, group, { weight, eps }).data]
})

testRowBehaviour('rmsNorm', rmsNorm, (shape, options) => new RMSNorm(shape, options), ['rstd'])

describe('behaviour: weightOffset of rmsNorm', () => {
  const x = new Float32Array(4)
  it.each([
    ['1', TypeError, 'rmsNorm: weightOffset expected a number, got "1"'],
    [Number.NaN, RangeError, 'rmsNorm: weightOffset expected a finite number, got NaN'],
    [1e39, RangeError, 'rmsNorm: weightOffset as float32 expected a finite number, got Infinity']
  ])('refuses %s', (weightOffset, kind, message) => {
    const options = { weight: new Float32Array(4), weightOffset: weightOffset as number }
    const call = () => rmsNorm(x, 4, options)
    expect(call).toThrow(kind)
    expect(call).toThrow(message)
  })

  it('needs a weight, in the function, in the layer and in setWeights', () => {
    const message = 'weight expected an array, because weightOffset is given, got undefined'
    expect(() => rmsNorm(x, 4, { weightOffset: 1 })).toThrow(`rmsNorm: ${message}`)
    expect(() => new RMSNorm(4, { weightOffset: 1 })).toThrow(`RMSNorm: ${message}`)
    const layer = new RMSNorm(4, { weight: x, weightOffset: 1 })
    expect(() => layer.setWeights({})).toThrow(`RMSNorm: ${message}`)
  })
})
