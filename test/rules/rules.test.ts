// The rules of NUMERICS.md one by one, each on rows made so that breaking it shows. (The equality tests compare every
// kernel with a model that follows all of them; here each rule has its numbers worked out by hand.)
import { describe, expect, it } from 'vitest'
import { fill, normal } from '../../dist/esm/cases/data.js'
import { rowCases } from '../../dist/esm/cases/rows.js'
import { backendsHere } from '../support/backends.ts'
import { expectSameBits } from '../support/bits.ts'
import { rowOperands, volumeOperands } from '../support/calls.ts'

const BIG = 2 ** 100

describe.each(backendsHere)('equality: the rules of NUMERICS.md on %s', (_, { layer_norm, rms_norm }) => {
  function statistics(x: Float32Array, eps = 0) {
    const [y, mean, rstd] = [new Float32Array(x.length), new Float64Array(1), new Float64Array(1)]
    layer_norm(rowOperands({ y, mean, rstd, x, rows: 1, cols: x.length, eps }))
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
    rms_norm(rowOperands({ y, rstd, x, rows: 1, cols: 17, eps: 1 }))
    expectSameBits(y, x, 'minus zeros')
    expect(meanOf(17, { 0: BIG, 16: -BIG, 1: 1 })).toBe(1 / 17)
    // The centered pass: (0 - mean)^2 of the absent elements would count.
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

  it('rule 5: one pass above the threshold, a centered pass below', () => {
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
      const centered = 1 / Math.sqrt(foldedSum(value => (value - mean) * (value - mean)) / 4096)
      expect(onePass).not.toBe(centered)
      expect(statistics(x).rstd).toBe(side === 'above' ? onePass : centered)
    }
  })

  it('rule 6: rstd is a correctly rounded division by a correctly rounded root', () => {
    for (let i = 0; i < 200; i++) {
      const x = fill(normal, 2, i)
      const rstd = new Float64Array(1)
      rms_norm(rowOperands({ y: new Float32Array(2), rstd, x, rows: 1, cols: 2, eps: 1e-3 }))
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
      layer_norm(rowOperands({ y, x, weight, bias, rows: 1, cols: 768, eps: 1e-5 }))
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
    rms_norm(rowOperands({ y: rms, rstd, x: tiny, weight, rows: 1, cols: 3, eps: 1e4 }))
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
      rms_norm(rowOperands({ y, rstd, x, weight, rows: 1, cols: 64, eps: 0.1 * value * value }))
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

describe.each(backendsHere)('equality: rules 13 to 16 of NUMERICS.md on %s', (_, kernels) => {
  type Elements = { [at: number]: number }

  /** Sum of a channel whose elements are zeros but for these, from its mean. */
  function sumOf(samples: number, positions: number, channelsLast: boolean, elements: Elements, spans?: number[]) {
    // A second channel of zeros stands beside it.
    const x = new Float32Array(2 * samples * positions)
    for (const [key, value] of Object.entries(elements)) {
      const [n, p] = [Math.floor(Number(key) / positions), Number(key) % positions]
      x[channelsLast ? Number(key) * 2 : 2 * n * positions + p] = value
    }
    const [mean, variance] = [new Float64Array(2), new Float64Array(2)]
    const shape = { samples, groups: 2, channels: 1, positions, channelsLast, spans: spans && Int32Array.from(spans) }
    kernels.batch_statistics(volumeOperands({ mean, variance, x, ...shape }))
    const kept = spans ? spans.reduce((sum, at, i) => sum + (i % 2 ? at : -at), 0) : samples * positions
    expect(mean[1]).toBe(0)
    return mean[0] * kept
  }

  /** n rows of one position. */
  const columnSum = (n: number, elements: Elements) => sumOf(n, 1, true, elements)

  it('rule 13: a run is summed by itself', () => {
    const runs = (elements: Elements) => sumOf(2, 16, false, elements)
    // As one row 0 and 16 would be one lane, and cancel before the 1 of another lane comes.
    expect(runs({ 0: BIG, 16: -BIG, 17: 1 })).toBe(0)
    expect(runs({ 0: BIG, 8: -BIG, 17: 1 })).toBe(1)
    // Within it: lanes and blocks of 4096.
    expect(sumOf(1, 64, false, { 0: BIG, 16: 1, 32: -BIG })).toBe(0)
    expect(sumOf(1, 8192, false, { 0: BIG, 4080: -BIG, 4095: 1 })).toBe(1)
    expect(sumOf(1, 8192, false, { 0: BIG, 4096: 1, 4112: -BIG })).toBe(0)
    // A run begins a new block, however short the one before: in one block these were the lane 0 of 4096 elements.
    expect(sumOf(2, 2048, false, { 0: BIG, 2048: -BIG, 2049: 1 })).toBe(0)
  })

  it('rule 13: 64 runs are a part, and the parts are added in order', () => {
    const samples = (elements: Elements) =>
      sumOf(130, 2, false, Object.fromEntries(Object.entries(elements).map(([n, value]) => [2 * Number(n), value])))
    expect(samples({ 0: BIG, 1: 1, 2: -BIG })).toBe(0)
    expect(samples({ 0: BIG, 1: -BIG, 2: 1 })).toBe(1)
    expect(samples({ 0: BIG, 32: -BIG, 33: 1 })).toBe(1) // no part begins at 32
    expect(samples({ 0: BIG, 63: -BIG, 64: 1 })).toBe(1) // nor before 64
    expect(samples({ 0: BIG, 64: -BIG, 65: 1 })).toBe(0) // one does at 64
    expect(samples({ 0: BIG, 64: 1, 128: -BIG })).toBe(0)
    expect(samples({ 0: BIG, 64: -BIG, 128: 1 })).toBe(1)
  })

  it('rule 14: a column is summed in order of row, 64 rows a block, 64 blocks a part', () => {
    expect(columnSum(64, { 0: BIG, 1: 1, 2: -BIG })).toBe(0)
    expect(columnSum(64, { 0: BIG, 16: 1, 32: -BIG })).toBe(0)
    expect(columnSum(64, { 0: BIG, 8: 1, 16: -BIG })).toBe(0) // no lanes
    expect(columnSum(130, { 0: BIG, 32: -BIG, 33: 1 })).toBe(1)
    expect(columnSum(130, { 0: BIG, 63: -BIG, 64: 1 })).toBe(1)
    expect(columnSum(130, { 0: BIG, 64: -BIG, 65: 1 })).toBe(0)
    expect(columnSum(130, { 0: BIG, 64: -BIG, 128: 1 })).toBe(1)
    expect(columnSum(8200, { 0: BIG, 2048: -BIG, 2112: 1 })).toBe(1)
    expect(columnSum(8200, { 0: BIG, 4032: -BIG, 4096: 1 })).toBe(1)
    expect(columnSum(8200, { 0: BIG, 4096: -BIG, 4160: 1 })).toBe(0)
    expect(columnSum(8200, { 0: BIG, 4096: 1, 8192: -BIG })).toBe(0)
    expect(columnSum(8200, { 0: BIG, 4096: -BIG, 8192: 1 })).toBe(1)
    // The rows of samples are numbered on: row 64 is in the second one.
    expect(sumOf(3, 50, true, { 0: BIG, 50: -BIG, 51: 1 })).toBe(1)
    expect(sumOf(3, 50, true, { 0: BIG, 64: -BIG, 65: 1 })).toBe(0)
  })

  it('rule 14: columns of a matrix that are groups are summed so too', () => {
    const sumOf = (elements: Elements) => {
      const [x, mean] = [new Float32Array(130 * 2), new Float64Array(2)]
      for (const [row, value] of Object.entries(elements)) x[2 * Number(row)] = value
      const y = new Float32Array(x.length)
      kernels.layer_norm(rowOperands({ y, mean, x, rows: 1, cols: 130, inner: 2, eps: 1 }))
      return mean[0] * 130
    }
    expect(sumOf({ 0: BIG, 16: 1, 32: -BIG })).toBe(0)
    expect(sumOf({ 0: BIG, 63: -BIG, 64: 1 })).toBe(1)
    expect(sumOf({ 0: BIG, 64: -BIG, 65: 1 })).toBe(0)
  })

  it('rule 14: a group of columns adds the totals of 64 channels to a part, and the parts', () => {
    /** Sum of a group of so many channels over 70 positions, from its mean; elements by [position, channel]. */
    const groupSum = (channels: number, ...elements: [number, number, number][]) => {
      // A group of zeros stands on either side.
      const x = new Float32Array(3 * channels * 70)
      for (const [position, channel, value] of elements) x[(3 * position + 1) * channels + channel] = value
      const mean = new Float64Array(3)
      const shape = { samples: 1, groups: 3, channels, positions: 70, channelsLast: true }
      kernels.group_norm(volumeOperands({ y: new Float32Array(x.length), mean, x, eps: 1, ...shape }))
      expect([mean[0], mean[2]]).toEqual([0, 0])
      return Math.round(mean[1] * channels * 70)
    }
    expect(groupSum(3, [0, 0, BIG], [0, 1, 1], [0, 2, -BIG])).toBe(0)
    expect(groupSum(3, [0, 0, BIG], [0, 1, -BIG], [0, 2, 1])).toBe(1)
    // Column by column: row by row the 1 would be swallowed.
    expect(groupSum(3, [0, 0, BIG], [0, 1, 1], [1, 0, -BIG])).toBe(1)
    // A block of a column ends at row 64, and its blocks are added before the next column is.
    expect(groupSum(3, [0, 0, BIG], [64, 0, -BIG], [65, 0, 1])).toBe(0)
    expect(groupSum(3, [0, 0, BIG], [64, 0, -BIG], [0, 1, 1])).toBe(1)
    // Parts of 64 channels, counted from the first of the group.
    for (const channels of [130, 300]) {
      expect(groupSum(channels, [0, 0, BIG], [0, 32, -BIG], [0, 33, 1])).toBe(1)
      expect(groupSum(channels, [0, 0, BIG], [0, 63, -BIG], [0, 64, 1])).toBe(1)
      expect(groupSum(channels, [0, 0, BIG], [0, 64, -BIG], [0, 65, 1])).toBe(0)
      expect(groupSum(channels, [0, 0, BIG], [0, 64, 1], [0, 128, -BIG])).toBe(0)
      expect(groupSum(channels, [0, 0, BIG], [0, 64, -BIG], [0, 128, 1])).toBe(1)
    }
  })

  it('rules 5, 13 and 14: the centered pass has the same order', () => {
    const large = 2 ** 20
    const [mean, variance] = [new Float64Array(2), new Float64Array(2)]
    /** The variance by blocks of so many rows or runs. */
    const ordered = (n: number, block: number, positions: number, channelsLast: boolean) => {
      const values = Array.from({ length: n * positions }, (_, i) => large + ((i * 37) % 11) * 0.25)
      const data = new Float32Array(2 * n * positions)
      values.forEach((value, i) => {
        data[channelsLast ? 2 * i : 2 * Math.floor(i / positions) * positions + (i % positions)] = value
      })
      const shape = { samples: n, groups: 2, channels: 1, positions, channelsLast }
      kernels.batch_statistics(volumeOperands({ mean, variance, x: data, ...shape }))
      const average = mean[0]
      const sums = Array.from({ length: Math.ceil(n / block) }, (_, b) => {
        let total = 0
        for (let i = b * block; i < Math.min(n, (b + 1) * block); i++) {
          // Two positions of a run are lanes 0 and 1 of its own sums; one position is a row.
          let run = 0
          for (let p = 0; p < positions; p++) run += (values[i * positions + p] - average) ** 2
          total += run
        }
        return total
      })
      return sums.reduce((sum, total) => sum + total, 0) / (n * positions)
    }
    for (const [positions, channelsLast] of [
      [1, true],
      [2, false]
    ] as const) {
      let different = 0
      for (let n = 100; n < 200; n += 7) {
        const right = ordered(n, 64, positions, channelsLast)
        if (right !== ordered(n, 1e9, positions, channelsLast)) different++
        expect(variance[0]).toBe(right)
      }
      expect(different).toBeGreaterThan(3)
    }
  })

  it('rule 15: padding is taken out before rows and elements are numbered', () => {
    // Rows 10 to 73 of the first sample are a block; with the padding counted the last ten would be in the next one.
    const spans = [10, 74, 50, 100]
    expect(sumOf(2, 100, true, { 10: BIG, 72: -BIG, 73: 1 }, spans)).toBe(1)
    expect(sumOf(2, 100, true, { 10: BIG, 150: -BIG, 151: 1 }, spans)).toBe(0)
    expect(sumOf(2, 100, true, { 10: BIG, 73: -BIG, 150: 1 }, spans)).toBe(1)
    // A run begins at its first real position: a block ends 4096 behind it.
    const run = [100, 5000]
    expect(sumOf(1, 5000, false, { 100: BIG, 4180: -BIG, 4195: 1 }, run)).toBe(1)
    expect(sumOf(1, 5000, false, { 100: BIG, 4196: -BIG, 4197: 1 }, run)).toBe(0)
    // What is padded counts nowhere.
    for (const channelsLast of [true, false]) {
      expect(sumOf(2, 100, channelsLast, { 9: Number.NaN, 74: BIG, 149: BIG, 10: 3, 199: 4 }, spans)).toBeCloseTo(7, 12)
    }
  })

  it('rule 15: padded positions are written as 0', () => {
    for (const channelsLast of [true, false]) {
      const x = new Float32Array(2 * 5 * 3).fill(Number.NaN)
      const [y, other] = [new Float32Array(30).fill(7), new Float32Array(30).fill(7)]
      const [mean, variance] = [new Float64Array(3), new Float64Array(3).fill(1)]
      const weight = Float32Array.of(1, Number.NaN, -1)
      const spans = Int32Array.of(2, 2, 1, 4) // none of the first sample, the middle of the second
      const shape = { samples: 2, groups: 3, channels: 1, positions: 5, channelsLast, spans }
      kernels.batch_norm(volumeOperands({ y, x, mean, variance, weight, bias: weight, ...shape }))
      kernels.group_norm(volumeOperands({ y: other, x, weight, bias: weight, ...shape }))
      for (const written of [y, other]) {
        const expected = new Float32Array(30)
        for (let c = 0; c < 3; c++) {
          for (let p = 1; p < 4; p++) expected[channelsLast ? 15 + p * 3 + c : 15 + c * 5 + p] = Number.NaN
        }
        expectSameBits(written, expected, `channels last ${channelsLast}`)
      }
    }
  })

  /** The norm of these elements. */
  function normOf(elements: ArrayLike<number>, p: number) {
    const x = Float32Array.from(elements)
    const norm = new Float64Array(1)
    const y = new Float32Array(x.length)
    kernels.normalize(rowOperands({ y, norm, x, rows: 1, cols: x.length, p, rule: 0, factor: 1 }))
    return norm[0]
  }

  it('rule 16: other norms than the second add in the lanes and blocks of rules 1 to 3', () => {
    // 2^53 swallows a 1 that comes alone, and takes two that come together.
    const sumOfMagnitudes = (elements: Elements) =>
      normOf(
        Array.from({ length: 8192 }, (_, i) => elements[i] ?? 0),
        1
      )
    expect(sumOfMagnitudes({ 0: -(2 ** 53), 16: 1, 32: -1 })).toBe(2 ** 53)
    expect(sumOfMagnitudes({ 0: -(2 ** 53), 1: 1, 17: -1 })).toBe(2 ** 53 + 2)
    expect(sumOfMagnitudes({ 0: -(2 ** 53), 1: 1, 9: -1 })).toBe(2 ** 53 + 2) // 1 + 9 first
    expect(sumOfMagnitudes({ 0: 2 ** 53, 4096: 1, 4112: 1 })).toBe(2 ** 53 + 2)
    expect(sumOfMagnitudes({ 0: 2 ** 53, 1: 1, 4097: 1 })).toBe(2 ** 53)
    expect(normOf([3, -4, 0], Number.POSITIVE_INFINITY)).toBe(4)
    expect(normOf([-0, 0], Number.POSITIVE_INFINITY)).toBe(0)
  })

  it('rule 16: powers are divided by the largest first, so that they neither overflow nor vanish', () => {
    for (const scale of [2 ** 120, 1, 2 ** -140]) {
      expect(normOf([scale, -scale], 200) / scale).toBeCloseTo(2 ** (1 / 200), 14)
      expect(normOf([3 * scale, -4 * scale], 3) / scale).toBeCloseTo(91 ** (1 / 3), 13)
      expect(normOf([scale, 4 * scale], 0.5) / scale).toBeCloseTo(9, 13)
      // The division comes first: the same fractions, the same bits.
      expect(normOf([3 * scale, -5 * scale, 7 * scale], 2.7)).toBe(normOf([3, 5, 7], 2.7) * scale)
    }
  })

  it('rule 16: a power is the series of the logarithm and of the exponential, step by step', () => {
    // |x| / max = 1/2, whose logarithm is -1: 2^-0.3 = e^(-0.3 ln 2), fourteen terms.
    const z = -0.3 * Math.LN2
    let power = 1
    for (let n = 14; n >= 1; n--) power = 1 + (power * z) / n
    // Then the sum's: 1 + 0.81..., between 1 and 2 and above the root of 2, so half of it and an exponent of 1.
    const half = (1 + power) * 0.5
    const s = (half - 1) / (half + 1)
    let series = 1 / 25
    for (let n = 23; n >= 1; n -= 2) series = series * (s * s) + 1 / n
    const t = (1 / 0.3) * (1 + 2 * s * series * Math.LOG2E)
    const whole = Math.floor(t + 0.5)
    let fraction = 1
    for (let n = 14; n >= 1; n--) fraction = 1 + (fraction * ((t - whole) * Math.LN2)) / n
    expect(normOf([8, 4], 0.3)).toBe(8 * (fraction * 2 ** whole))
    expect(normOf([8, 4], 0.3) / (8 * (1 + 2 ** -0.3) ** (1 / 0.3))).toBeCloseTo(1, 13)
  })

  it('rule 16: exponents that are multiples of 1/4 up to 16 take multiplications and roots', () => {
    /** x / (x^2)^beta, of one channel by itself. */
    const responseOf = (x: number, beta: number) => {
      const y = new Float32Array(1)
      const shape = { samples: 1, groups: 1, channels: 1, positions: 1, channelsLast: false }
      const window = { before: 0, behind: 0, alpha: 1, beta, k: 0 }
      kernels.local_response_norm(volumeOperands({ y, x: Float32Array.of(x), ...shape, ...window }))
      return y[0]
    }
    const f = Math.fround
    for (let i = 1; i < 300; i++) {
      const x = f(i * 0.37)
      const square = x * x
      const [root, fourth] = [Math.sqrt(square), Math.sqrt(Math.sqrt(square))]
      expect(responseOf(x, 0.25)).toBe(f(x / fourth))
      expect(responseOf(x, 0.5)).toBe(f(x / root))
      expect(responseOf(x, 0.75)).toBe(f(x / (root * fourth)))
      expect(responseOf(x, 1)).toBe(f(x / square))
      expect(responseOf(x, 2.75)).toBe(f(x / (square * square * root * fourth)))
    }
    // A norm shows them in float64: (1 + (1/4)^4)^(1/4).
    expect(normOf([4, 1], 4)).toBe(4 * Math.sqrt(Math.sqrt(1 + 2 ** -8)))
  })

  it('local response: squares are added in ascending order of channel, in float64, and y is rounded once', () => {
    const responses = (x: number[], before: number, behind: number, k: number) => {
      const y = new Float32Array(x.length)
      const shape = { samples: 1, groups: x.length, channels: 1, positions: 1, channelsLast: false }
      const window = { before, behind, alpha: 1, beta: 1, k }
      kernels.local_response_norm(volumeOperands({ y, x: Float32Array.from(x), ...shape, ...window }))
      return [...y]
    }
    // 2^54 and twice 2.25: k takes 2^54 away and leaves what the roundings made of the rest.
    expect(responses([2 ** 27, 1.5, 1.5], 1, 1, -(2 ** 54))[1]).toBe(1.5 / 8)
    expect(responses([1.5, 1.5, 2 ** 27], 1, 1, -(2 ** 54))[1]).toBe(1.5 / 4)
    // Before and behind; channels outside are none.
    expect(responses([1, 2, 4, 8], 2, 0, 0)).toEqual([1, 2 / 5, 4 / 21, 8 / 84].map(Math.fround))
    expect(responses([1, 2, 4, 8], 0, 1, 0)).toEqual([1 / 5, 2 / 20, 4 / 80, 8 / 64].map(Math.fround))
  })

  it('normalize: f32(f32(x * f32(1 / norm)) * f32(scale)), and its eps rules', () => {
    const f = Math.fround
    const x = fill(normal, 40, 1)
    const q = x.reduce((lanes, value, i) => lanes.with(i % 16, lanes[i % 16] + value * value), new Array(16).fill(0))
    for (let half = 8; half >= 1; half /= 2) for (let j = 0; j < half; j++) q[j] += q[j + half]
    const square: number = q[0]
    const reciprocals = [
      (eps: number) => 1 / Math.max(Math.sqrt(square), eps),
      (eps: number) => 1 / Math.sqrt(Math.max(square, eps)),
      (eps: number) => 1 / Math.sqrt(square + eps),
      (eps: number) => 1 / Math.sqrt(square / 40 + eps),
      () => 1 / Math.sqrt(square)
    ]
    reciprocals.forEach((reciprocal, rule) => {
      for (const eps of [0, 0.5, 1e3]) {
        for (const scale of [1, 0.1, -3]) {
          const [y, norm] = [new Float32Array(40), new Float64Array(1)]
          kernels.normalize(rowOperands({ y, norm, x, rows: 1, cols: 40, p: 2, rule, eps, factor: scale }))
          const r = f(reciprocal(eps))
          expectSameBits(
            y,
            x.map(value => f(f(value * r) * f(scale))),
            `rule ${rule}, eps ${eps}, scale ${scale}`
          )
          expect(norm[0]).toBe(Math.sqrt(square))
        }
      }
    })
  })

  it('rule 7: residualScale multiplies in float32 before the sum, and partial statistics take the first elements', () => {
    const f = Math.fround
    const [x, residual] = [fill(normal, 64, 1), fill(normal, 64, 2)]
    const [y, sum, rstd] = [new Float32Array(64), new Float32Array(64), new Float64Array(1)]
    kernels.rms_norm(rowOperands({ y, sum, rstd, x, residual, rows: 1, cols: 64, counted: 3, residualScale: 0.7 }))
    const added = x.map((value, i) => f(value + f(residual[i] * f(0.7))))
    expectSameBits(sum, added, 'sum')
    expect(rstd[0]).toBe(1 / Math.sqrt((added[0] * added[0] + added[2] * added[2] + added[1] * added[1]) / 3))
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
