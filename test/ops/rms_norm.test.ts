import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { RMSNorm, rmsNorm } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { rmsNormModel } from '../support/model.ts'
import { testOnnxCases, trailing } from '../support/onnx.ts'
import { testRowBehaviour } from '../support/rows/behaviour.ts'
import { type RowOp, testRowEquality } from '../support/rows/equality.ts'
import { testRowTruth } from '../support/rows/truth.ts'
import { errorInHalfUlps, normalizeExactly } from '../support/truth/oracle.ts'

const op: RowOp = {
  name: 'rms_norm',
  centered: false,
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

  it('gives with residualScale the same bits as the scaled sum written out', () => {
    const added = x.map((value, i) => value + Math.fround(residual[i] * Math.fround(0.3)))
    const expected = rmsNorm(added, 24, { weight })
    expectSameBits(rmsNorm(x, 24, { weight, residual, residualScale: 0.3 }), expected, 'function')
    const layer = new RMSNorm(24, { weight })
    expectSameBits(layer.forward(x, { residual, residualScale: 0.3 }), expected, 'layer')
  })

  it('takes with partial its statistics from the first elements, rounded up to whole ones', () => {
    for (const [partial, counted] of [
      [1, 24],
      [0.5, 12],
      [0.0625, 2],
      [0.04, 1],
      [1e-12, 1],
      [0.51, 13],
      [1 / 3, 8],
      [0.7 + 0.05, 18]
    ]) {
      const rstd = new Float64Array(4)
      const y = rmsNorm(x, 24, { weight, partial, rstd })
      const prefix = new Float64Array(4)
      const head = Float32Array.from({ length: 4 * counted }, (_, i) => x[Math.floor(i / counted) * 24 + (i % counted)])
      rmsNorm(head, counted, { rstd: prefix })
      expectSameBits(rstd, prefix, `partial ${partial}`)
      const expected = rmsNormModel({ x, rows: 4, cols: 24, weight, counted, eps: 1e-6 })
      expectSameBits(y, expected.y, `partial ${partial}`)
      expectSameBits(new RMSNorm(24, { weight, partial }).forward(x), y, `partial ${partial}, layer`)
    }
    // 0.07 * 100 is 7.000000000000001 in floating point: seven elements, not eight.
    const hundred = fill(normal, 100, 9)
    expectSameBits(
      rmsNorm(hundred, 100, { partial: 0.07 }),
      rmsNormModel({ x: hundred, rows: 1, cols: 100, counted: 7, eps: 1e-6 }).y,
      '0.07'
    )
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

describe('truth: partial statistics of rmsNorm', () => {
  it('keep the bound against the root mean square of the first elements', () => {
    for (const kind of ['N(0,1)', 'N(1e6,1)', 'uniform +-3.3e38', 'subnormal', 'N(0,1e20)'] as const) {
      for (const [cols, partial] of [
        [16, 0.0625],
        [768, 0.0625],
        [100, 0.33]
      ]) {
        const x = fill(finiteRows[kind], cols, 3)
        const weight = fill(ordinaryWeights, cols, 4)
        const counted = Math.ceil(cols * partial)
        const truth = normalizeExactly(x, 1e-6, false, counted)
        const y = rmsNorm(x, cols, { weight, partial })
        expect(truth && errorInHalfUlps(y, truth, weight), `${kind}, ${cols}`).toBeLessThanOrEqual(3.1)
      }
    }
  })
})

describe('behaviour: partial of rmsNorm', () => {
  const x = new Float32Array(4)
  it.each([
    ['1', TypeError, 'partial expected a number, got "1"'],
    [Number.NaN, RangeError, 'partial expected a finite number, got NaN'],
    [0, RangeError, 'partial expected a number > 0 and <= 1, got 0'],
    [-0.5, RangeError, 'partial expected a number > 0 and <= 1, got -0.5'],
    [1.01, RangeError, 'partial expected a number > 0 and <= 1, got 1.01']
  ])('refuses %s', (partial, kind, message) => {
    for (const call of [
      () => rmsNorm(x, 4, { partial: partial as number }),
      () => new RMSNorm(4, { partial: partial as number })
    ]) {
      expect(call).toThrow(kind)
      expect(call).toThrow(message)
    }
  })
})

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

describe('behaviour: options of RMSNorm that it does not know', () => {
  it('are refused where they say something, and passed over where they are undefined', () => {
    const layer = new RMSNorm(2)
    const weight = Float32Array.of(1, 2)
    layer.setWeights({ weight, bias: undefined } as object)
    expect(layer.weight).toEqual(weight)
    expect(() => layer.setWeights({ weight, bias: weight } as object)).toThrow(
      /^RMSNorm: option expected one of weight/
    )
    expect(() => rmsNorm(weight, 2, { ep: 1 } as object)).toThrow(/nearest: eps/)
  })
})
