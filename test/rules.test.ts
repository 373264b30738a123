// The rules of NUMERICS.md one by one, each on rows made so that breaking it shows. (The equality tests compare every
// kernel with a model that follows all of them; here each rule has its numbers worked out by hand.)
import { describe, expect, it } from 'vitest'
import { fill, normal } from '../dist/esm/cases/data.js'
import { rowCases } from '../dist/esm/cases/rows.js'
import { backendsHere, expectSameBits } from './support/suites.ts'

const none = undefined
const BIG = 2 ** 100

describe.each(backendsHere)('equality: the rules of NUMERICS.md on %s', (_, { layer_norm, rms_norm }) => {
  function statistics(x: Float32Array, eps = 0) {
    const [y, mean, rstd] = [new Float32Array(x.length), new Float64Array(1), new Float64Array(1)]
    layer_norm(y, x.length, none, 0, mean, rstd, x, x.length, none, 0, none, none, 1, x.length, 1, 1, eps)
    return { y, mean: mean[0], rstd: rstd[0] }
  }

  /** n zeros but for these elements; eps keeps the statistics of the first pass. */
  function meanOf(n: number, elements: { [i: number]: number }): number {
    const x = new Float32Array(n)
    for (const i in elements) x[i] = elements[i]
    return statistics(x).mean
  }

  it('rule 1: sixteen lanes', () => {
    // In one lane 2^100 swallows the 1; in different lanes the two large ones cancel first.
    expect(meanOf(64, { 0: BIG, 16: 1, 32: -BIG })).toBe(0)
    expect(meanOf(64, { 0: BIG, 8: 1, 16: -BIG })).toBe(1 / 64)
    expect(meanOf(64, { 0: BIG, 16: -BIG, 32: 1 })).toBe(1 / 64)
  })

  it('rule 1: blocks of 4096', () => {
    // In one block the third element finds the lane at 0 again; in two it meets it only in the total, which swallowed it.
    expect(meanOf(8192, { 0: BIG, 4080: -BIG, 4095: 1 })).toBe(1 / 8192)
    expect(meanOf(8192, { 0: BIG, 4096: 1, 4112: -BIG })).toBe(0)
    expect(meanOf(8192, { 0: BIG, 4080: 1, 4096: -BIG })).toBe(0)
    expect(meanOf(12288, { 0: BIG, 4096: -BIG, 8192: 1 })).toBe(1 / 12288)
  })

  it('rule 2: folds by halves', () => {
    expect(meanOf(16, { 0: BIG, 8: -BIG, 1: 1 })).toBe(1 / 16) // 0 + 8 first, and not 0 + 1
    expect(meanOf(16, { 0: BIG, 4: -BIG, 8: 1 })).toBe(0) // 0 + 8 before 0 + 4
    expect(meanOf(16, { 0: BIG, 2: -BIG, 4: 1 })).toBe(0) // 0 + 4 before 0 + 2
    expect(meanOf(16, { 0: BIG, 1: -BIG, 2: 1 })).toBe(0) // 0 + 2 before 0 + 1
    expect(meanOf(16, { 0: BIG, 1: 1, 2: -BIG })).toBe(1 / 16)
  })

  it('rule 3: a lane without an element receives nothing', () => {
    const x = new Float32Array(17).fill(-0)
    const rstd = new Float64Array(1)
    const y = new Float32Array(17)
    rms_norm(y, 17, none, 0, rstd, x, 17, none, 0, none, 1, 17, 1, 17, 1, 1, 0)
    expectSameBits(y, x, 'minus zeros')
    expect(meanOf(17, { 0: BIG, 16: -BIG, 1: 1 })).toBe(1 / 17)
    // The centred pass: (0 - mean)^2 of the absent elements would count.
    const shifted = statistics(Float32Array.from({ length: 19 }, (_, i) => 1e6 + (i % 2)))
    const q = (9 * 10) / 19 / 19
    expect(1 / shifted.rstd ** 2 / q).toBeCloseTo(1, 12)
  })

  it('rule 4: divides by n, and does not multiply by 1/n', () => {
    let different = 0
    for (let n = 3; n < 100; n++) {
      const x = new Float32Array(n)
      x[0] = 5
      if (5 * (1 / n) !== 5 / n) different++
      expect(statistics(x).mean).toBe(5 / n)
    }
    expect(different).toBeGreaterThan(10)
  })

  it('rule 5: one pass above the threshold, a centred pass below', () => {
    const rows = { above: Math.SQRT2 / 63, below: Math.SQRT2 / 65 } // mean / std of 63 and 65
    for (const [side, spread] of Object.entries(rows)) {
      const x = Float32Array.from(
        { length: 4096 },
        (_, i) => (i % 3 === 0 ? 1 - spread : 1 + spread / 2) + 0.001 * spread * (i % 7)
      )
      const foldedSum = (f: (value: number) => number) => {
        const lanes = new Float64Array(16)
        x.forEach((value, i) => {
          lanes[i % 16] += f(value)
        })
        for (let half = 8; half >= 1; half /= 2) for (let j = 0; j < half; j++) lanes[j] += lanes[j + half]
        return lanes[0]
      }
      const mean = foldedSum(value => value) / 4096
      const onePass = 1 / Math.sqrt(foldedSum(value => value * value) / 4096 - mean * mean)
      const centred = 1 / Math.sqrt(foldedSum(value => (value - mean) * (value - mean)) / 4096)
      expect(onePass).not.toBe(centred)
      expect(statistics(x).rstd).toBe(side === 'above' ? onePass : centred)
    }
  })

  it('rule 6: rstd is a correctly rounded division by a correctly rounded root', () => {
    for (let i = 0; i < 200; i++) {
      const x = fill(normal, 2, i)
      const rstd = new Float64Array(1)
      rms_norm(new Float32Array(2), 2, none, 0, rstd, x, 2, none, 0, none, 1, 2, 1, 2, 1, 1e-3, 0)
      expect(rstd[0]).toBe(1 / Math.sqrt((x[0] * x[0] + x[1] * x[1]) / 2 + 1e-3))
    }
  })

  it('rule 7: rounds every step to float32, with the mean in two parts', () => {
    const f = Math.fround
    const weight = fill(normal, 768, 1)
    const bias = fill(normal, 768, 2)
    let fused = 0
    let unsplit = 0
    for (let seed = 0; seed < 20; seed++) {
      const x = fill(normal, 768, seed + 3).map(value => value + 3)
      const { mean, rstd } = statistics(x, 1e-5)
      const y = new Float32Array(768)
      layer_norm(y, 768, none, 0, none, none, x, 768, none, 0, weight, bias, 1, 768, 1, 1, 1e-5)
      const [m, r] = [f(mean), f(rstd)]
      const c = f((m - mean) * rstd)
      expectSameBits(
        y,
        x.map((v, i) => f(f(f(f(f(v - m) * r) + c) * weight[i]) + bias[i])),
        `seed ${seed}`
      )
      x.forEach((v, i) => {
        if (y[i] !== f(f(f(f(v - m) * r + c) * weight[i]) + bias[i])) fused++
        if (y[i] !== f(f(f(f(v - m) * r) * weight[i]) + bias[i])) unsplit++
      })
    }
    // Had the kernel fused a multiplication and an addition, or left out the low part, these would be the equal ones.
    expect(fused).toBeGreaterThan(100)
    expect(unsplit).toBeGreaterThan(100)
  })

  it('rule 8: a group whose float32 steps would overflow or vanish is computed in float64 and rounded once', () => {
    const kinds: { [why: string]: [Float32Array, number] } = {
      'rstd below 2^-100': [Float32Array.of(1e33, -2e33, 3e33), 0],
      'rstd above 2^100': [Float32Array.of(1e-33, -2e-33, 3e-33), 0],
      'a mean above 2^100': [fill(normal, 64, 1).map(value => 2 ** 101 + Math.round(1000 * value) * 2 ** 78), 0],
      'eps far above the variance': [Float32Array.of(1e-30, 2e-30, -3e-30), 1e4]
    }
    for (const [why, [x, eps]] of Object.entries(kinds)) {
      const { y, mean, rstd } = statistics(x, eps)
      expectSameBits(
        y,
        Float32Array.from(x, value => (value - mean) * rstd),
        why
      )
    }
    const tiny = Float32Array.of(1e-30, 2e-30, -3e-30)
    const rms = new Float32Array(3)
    const rstd = new Float64Array(1)
    const weight = Float32Array.of(2 ** 120, 3, 2 ** -120)
    rms_norm(rms, 3, none, 0, rstd, tiny, 3, none, 0, weight, 1, 3, 1, 3, 1, 1e4, 0)
    expectSameBits(
      rms,
      Float32Array.from(tiny, (value, i) => value * rstd[0] * weight[i]),
      'RMS'
    )
  })

  it('rule 8: the thresholds are where they are said to be', () => {
    // RMS of a constant row is the constant: rstd = 1/|x|. Rounded once or twice tells which way it went.
    const weight = fill(normal, 64, 1)
    const wentWide = (value: number) => {
      const [y, rstd] = [new Float32Array(64), new Float64Array(1)]
      const x = new Float32Array(64).fill(value)
      rms_norm(y, 64, none, 0, rstd, x, 64, none, 0, weight, 1, 64, 1, 64, 1, 0.1 * value * value, 0)
      const once = x.map((v, i) => v * rstd[0] * weight[i])
      const twice = x.map((v, i) => Math.fround(v * Math.fround(rstd[0])) * weight[i])
      expect(once).not.toEqual(twice)
      expect([once, twice]).toContainEqual(y)
      return y.every((v, i) => v === once[i])
    }
    const root = Math.sqrt(1.1)
    expect(wentWide((2 ** 100 / root) * 1.001)).toBe(true)
    expect(wentWide((2 ** 100 / root) * 0.999)).toBe(false)
    expect(wentWide((2 ** -100 / root) * 0.999)).toBe(true)
    expect(wentWide((2 ** -100 / root) * 1.001)).toBe(false)
  })
})

describe('behaviour: the cases of goldens and equality tests', () => {
  it('have all pairs of options', () => {
    const pairs = new Set<string>()
    for (const { residual, keepsSum, weight, bias, eps, weightOffset, inner, residualScale } of rowCases()) {
      const sum = residual ? (keepsSum ? 'sum' : 'residual') : 'alone'
      const options = [
        `${sum}`,
        `weight ${!!weight}`,
        `bias ${!!bias}`,
        `eps ${eps}`,
        `offset ${weightOffset}`,
        `columns ${inner > 1}`,
        `scaled ${residualScale !== 1}`
      ]
      for (let i = 0; i < options.length; i++) for (let j = 0; j < i; j++) pairs.add(`${options[j]}, ${options[i]}`)
    }
    // 3 x 2 + 3 x 2 + 3 x 5 + 3 x 2 + 2 x 2 + 2 x 5 + 2 x 2 - 1 (no offset without a weight) + 2 x 5 + 2 x 2 + 5 x 2
    // + 2 x (3 + 2 + 2 + 5 + 2) columns + 2 x (3 + 2 + 2 + 5 + 2 + 2) scaled - 1 (not alone) - 1 (no offset)
    expect(pairs.size).toBe(74 + 28 + 30)
  })
})
