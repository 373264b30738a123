// Powers: the bound that power() states, against integers of 160 bits. (Its bits on every backend: rules.test.ts and the
// cases of normalize and local_response_norm.)
import { describe, expect, it } from 'vitest'
import { random } from '../../dist/esm/cases/data.js'
import { power } from '../../dist/esm/kernels/power.js'
import { powerOf, relativeError } from '../support/truth/precise.ts'

/** The largest error in units of 2^-52, less what is allowed for |log2(x^exponent)|. */
function worst(pairs: Iterable<readonly [number, number]>, allowed: (log: number) => number) {
  let worst = { excess: Number.NEGATIVE_INFINITY, x: 0, exponent: 0 }
  for (const [x, exponent] of pairs) {
    const exact = powerOf(x, exponent)
    const log = exponent * Math.log2(x)
    if (Math.abs(log) > 1021) continue // beyond what float64 has with all its bits
    const excess = relativeError(power(x, exponent), exact, 52) - allowed(Math.abs(log))
    if (excess > worst.excess) worst = { excess, x, exponent }
  }
  return worst
}

/**
 * The logarithm carries seven roundings of 2^-53 (m + 1, the quotient, the series' last, the two products, LOG2E's own and the
 * exponent's), as a power of e the log2(result) * ln(2)-fold: 2.5 |log2|. The series of e^z and its factors: 4.
 */
const allowed = (log: number) => 4 + 2.5 * log

describe('truth: power', () => {
  it('keeps its bound for exponents of every size and all positive numbers', () => {
    const next = random(1)
    const pairs = Array.from({ length: 6000 }, (_, i) => {
      const x = (1 + next()) * 2 ** Math.floor((next() - 0.5) * (i % 3 === 0 ? 2000 : i % 3 === 1 ? 300 : 3))
      const exponent = [next(), 3 * next(), -3 * next(), 200 * next(), 1 / (1 + 5 * next()), -0.3][i % 6]
      return [x, exponent] as const
    })
    expect(worst(pairs, allowed).excess).toBeLessThanOrEqual(0)
  })

  it('keeps its bound where the logarithm has no whole part and the exponent is large', () => {
    const next = random(2)
    const pairs = Array.from({ length: 6000 }, (_, i) => {
      const x = Math.SQRT1_2 + next() * (Math.SQRT2 - Math.SQRT1_2)
      return [x, (20 + 2000 * next()) * (i % 2 ? 1 : -1)] as const
    })
    expect(worst(pairs, allowed).excess).toBeLessThanOrEqual(0)
  })

  it('rounds at most 24 times for multiples of 1/4 up to 16', () => {
    const next = random(3)
    const pairs = Array.from({ length: 4000 }, (_, i) => {
      return [(1 + next()) * 2 ** Math.floor((next() - 0.5) * 60), (i % 65) / 4] as const
    })
    expect(worst(pairs, () => 12).excess).toBeLessThanOrEqual(0)
  })

  it('has its values at 0, 1, infinity, NaN and below 0', () => {
    const infinity = Number.POSITIVE_INFINITY
    for (const exponent of [0.3, 0.75, 1, 2.7, 200]) {
      expect(power(0, exponent)).toBe(0)
      expect(power(1, exponent)).toBe(1)
      expect(power(infinity, exponent)).toBe(infinity)
      expect(power(Number.NaN, exponent)).toBeNaN()
    }
    for (const exponent of [-0.3, -1, -200]) {
      expect(power(0, exponent)).toBe(infinity)
      expect(power(1, exponent)).toBe(1)
      expect(power(infinity, exponent)).toBe(0)
    }
    expect(power(-2, 0.3)).toBeNaN()
    expect(power(5, 0)).toBe(1)
    expect(power(2, 1e6)).toBe(infinity)
    expect(power(2, -1e6)).toBe(0)
    expect(power(2 ** -1074, 0.1)).toBeCloseTo(2 ** -107.4, 40)
  })
})
