// Inputs whose exact result is known, and for which earlier rules gave another one.
import { describe, expect, it } from 'vitest'
import {
  BatchNorm,
  BatchStatistics,
  batchNorm,
  instanceNorm,
  layerNorm,
  localResponseNorm,
  normalize,
  rmsNorm
} from '../../dist/esm/index.js'

const f32 = (...values: number[]) => Float32Array.of(...values)
const infer = (x: number, mean: number, variance: number, weight?: number, bias?: number) =>
  batchNorm(
    { data: f32(x), dims: [1, 1] },
    {
      runningMean: Float64Array.of(mean),
      runningVar: Float64Array.of(variance),
      weight: weight === undefined ? undefined : f32(weight),
      bias: bias === undefined ? undefined : f32(bias),
      eps: 0
    }
  ).data[0]

describe('truth: rules 7a and 8a, statistics of others', () => {
  it.each([
    ['a deviation that alone overflows', [1e38, 0, 1e-20, 1e-20], 1e28],
    ['one that alone vanishes', [2 ** -100, 0, 2 ** 100, 2 ** 120], 2 ** -30],
    ['a weight of 0 after an overflow', [2 ** 100, 0, 2 ** -60, 0, 5], 5],
    ['a weight of 0 beyond float32', [1, 1e300, 1e-40, 0, 5], 5],
    ['a mean beyond float32', [1, 1e300, 1e300, 1, 0], -(10 ** 150)],
    ['a mean beyond float32 that a weight brings back', [1, 1e40, 1e80, 2, 1], -1]
  ] as [string, [number, number, number, number?, number?], number][])('%s', (_, given, exact) => {
    const y = infer(...given)
    if (Math.abs(exact) > 3.5e38) expect(y).toBe(exact < 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY)
    else
      expect(Math.abs(y - exact)).toBeLessThanOrEqual(
        4.1 * 2 ** -24 * (Math.abs(exact - (given[4] ?? 0)) + (given[4] ?? 0))
      )
  })

  it('has an input at which the bound is reached', () => {
    const x = 0.9999999403953552
    const [mean, variance] = [1.000000059604666, 0.9999941587703861]
    const exact = -1.1920965903306706e-7
    const error = Math.abs(infer(x, mean, variance) - exact) / Math.abs(exact) / 2 ** -24
    expect(error).toBeGreaterThan(3.9999)
    expect(error).toBeLessThanOrEqual(4.1)
  })

  it('divides by a running variance of exactly 0', () => {
    expect(infer(2, 1, 0)).toBe(Number.POSITIVE_INFINITY)
    expect(infer(0, 1, 0)).toBe(Number.NEGATIVE_INFINITY)
    expect(infer(1, 1, 0)).toBeNaN()
  })
})

describe('truth: rule 8b, elements that partial does not count', () => {
  const partial = (x: Float32Array, eps: number, weight: Float32Array) =>
    rmsNorm(x, x.length, { partial: 0.5, eps, weight })

  it('keeps what the counted elements do not show', () => {
    expect(partial(f32(0, 2 ** -110), 2 ** 90, f32(1, 2 ** 120))[1]).toBe(2 ** -35)
    expect(partial(f32(2 ** -99, 2 ** 100), 0, f32(1, 2 ** -100))[1]).toBe(2 ** 99)
    expect(partial(f32(2 ** -99, 2 ** 100), 0, f32(1, 0))[1]).toBe(0)
  })

  it('keeps it at every place of a row, beyond the counted ones', () => {
    for (let at = 20; at < 40; at++) {
      const x = new Float32Array(40)
      x[at] = 2 ** -110
      const y = partial(x, 2 ** 90, new Float32Array(40).fill(2 ** 120))
      expect(y[at], `element ${at}`).toBe(2 ** -35)
    }
  })
})

describe('truth: rule 8c, normalize', () => {
  it.each([1, 2, 3, Number.POSITIVE_INFINITY])('gives 0 for zeros with the smallest eps, p %d', p => {
    expect([...normalize(f32(0, 0), 2, { p, eps: 5e-324 })]).toEqual([0, 0])
  })

  it('keeps its bound where the norm is far larger than any element', () => {
    // 2^(1/p) is the norm of two ones.
    expect(normalize(f32(2 ** -60, 2 ** -60), 2, { p: 1 / 140, scale: 1.25 * 2 ** 120 })[0]).toBe(1.25 * 2 ** -20)
    const y = normalize(f32(3 * 2 ** -61, 2 ** -60), 2, { p: 1 / 143, scale: 1.25 * 2 ** 120 })[0]
    // M is the normalized second element, (4 / 3) of this one; two roundings, and one of the scale.
    const exact = 1.8247498250881408e-7
    expect(Math.abs(y - exact)).toBeLessThanOrEqual(3.1 * 2 ** -24 * (4 / 3) * exact)
  })
})

describe('truth: rule 16, localResponseNorm', () => {
  const lrn = (x: number[], size: number, options: object) =>
    localResponseNorm({ data: f32(...x), dims: [1, x.length] }, size, options).data

  it('gives 0 for 0, whatever the power is', () => {
    expect(lrn([0], 1, { alpha: 0, k: 2 ** -600, beta: 2 })[0]).toBe(0)
    expect(lrn([0, 8], 3, { alpha: 1e200, k: 1, beta: -3 })[0]).toBe(0)
  })

  it.each([{ alpha: -1 }, { k: -1 }, { alpha: 1e-300 }, { alpha: 1e201 }])('refuses %o', options => {
    expect(() => lrn([2], 1, { k: 1, ...options })).toThrow(RangeError)
  })
})

describe('truth: rule 17, statistics that last', () => {
  const merge = (count: number, ...means: number[]) =>
    BatchStatistics.merge(...means.map(mean => new BatchStatistics(count, [mean], [0])))

  it('merges means whose difference is beyond float64', () => {
    expect(merge(1, 1e308, -1e308).mean[0]).toBe(0)
    expect(merge(1, 1e308, -1e308).variance()[0]).toBe(Number.POSITIVE_INFINITY)
  })

  it('merges deviations whose square alone overflows or vanishes', () => {
    expect(merge(1, 0, 2 ** 512).squaredDeviations[0]).toBe(2 ** 1023)
    expect(merge(2 ** 40, 0, 2 ** -540).squaredDeviations[0]).toBe(2 ** -1041)
  })

  it('normalizes a trained layer with what it was given, from the first call', () => {
    const given = { runningMean: f32(5), runningVar: f32(4), eps: 0 }
    const x = { data: f32(5, 9), dims: [2, 1] }
    const layer = new BatchNorm(1, given)
    expect(layer.training).toBe(false)
    expect([...layer.forward(x).data]).toEqual([0, 2])
    expect([...(layer.runningMean as Float32Array)]).toEqual([5])
    const training = new BatchNorm(1, { ...given, training: true })
    expect([...training.forward(x).data]).toEqual([-1, 1])
  })
})

describe('truth: weights in the order of the axes', () => {
  it('reads weight[k][j] for axis [2, 1], as a tensor and as an array', () => {
    const dims = [1, 2, 3]
    const x = { data: f32(1, 2, 3, 4, 5, 7), dims }
    const weight = f32(1, 2, 3, 4, 5, 6) // [3, 2]
    const plain = layerNorm(x, { axis: [2, 1] }).data
    const expected = plain.map((value, i) => Math.fround(value * weight[(i % 3) * 2 + Math.floor(i / 3)]))
    expect([...layerNorm(x, { axis: [2, 1] }, { weight: { data: weight, dims: [3, 2] } }).data]).toEqual([...expected])
    expect([...layerNorm(x, { axis: [2, 1] }, { weight }).data]).toEqual([...expected])
    expect(() => layerNorm(x, { axis: [2, 1] }, { weight: { data: weight, dims: [2, 3] } })).toThrow(RangeError)
  })
})

describe('truth: padded samples of one position', () => {
  it('are cleared', () => {
    const x = { data: f32(5, 7), dims: [2, 1, 1] }
    const out = { data: f32(9, 9), dims: [2, 1, 1] }
    expect([...instanceNorm(x, { lengths: [0, 1], out }).data]).toEqual([0, 0])
  })
})
