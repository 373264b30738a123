import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, random } from '../../dist/esm/cases/data.js'
import type { VolumeCase } from '../../dist/esm/cases/volumes.js'
import { BatchStatistics, batchNorm, batchStatistics } from '../../dist/esm/index.js'
import { readHiddenStates } from '../../examples/data.ts'
import { expectSameBits } from '../support/bits.ts'
import { testVolumeEquality, type VolumeOp } from '../support/channels/equality.ts'
import { batchStatisticsModel } from '../support/model.ts'
import { integer, ratio } from '../support/truth/oracle.ts'

const op: VolumeOp<VolumeCase> = {
  name: 'batch_statistics',
  outputs: ({ groups }) => ({ mean: new Float64Array(groups), variance: new Float64Array(groups) }),
  model: batchStatisticsModel,
  inPlace: false,
  bySample: false,
  byGroup: true
}

testVolumeEquality(op)

/** Count, mean and squared deviations of all parts together, exactly: num / den each. */
function mergedExactly(parts: readonly BatchStatistics[], channel: number) {
  const N = parts.reduce((sum, { count }) => sum + BigInt(count), 0n)
  const means = parts.map(({ mean }) => integer(mean[channel], 1074))
  const S = parts.reduce((sum, { count }, i) => sum + BigInt(count) * means[i], 0n)
  const within = parts.reduce((sum, part) => sum + integer(part.squaredDeviations[channel], 1074), 0n)
  const between = parts.reduce((sum, { count }, i) => sum + BigInt(count) * (N * means[i] - S) ** 2n, 0n)
  return {
    mean: { num: S, den: N << 1074n },
    squaredDeviations: { num: ((within * N * N) << 1074n) + between, den: (N * N) << 2148n }
  }
}

/** |actual - num / den|. */
function distance(actual: number, { num, den }: { num: bigint; den: bigint }): number {
  const error = integer(actual, 1074) * den - (num << 1074n)
  return Math.abs(ratio(error, den << 1074n))
}

describe('truth: merging BatchStatistics', () => {
  const spreads = {
    'N(0,1)': [0, 1],
    'means far from 0': [1e6, 1],
    'means very far from 0': [1e9, 1e-3],
    'means apart': [0, 1e20]
  }
  type Merge = (parts: BatchStatistics[]) => BatchStatistics
  const inTurn: Merge = parts => BatchStatistics.merge(...parts)
  const asTree: Merge = parts => {
    const half = parts.length >> 1
    return half === 0 ? parts[0] : BatchStatistics.merge(asTree(parts.slice(0, half)), asTree(parts.slice(half)))
  }
  const groupings: { [name: string]: Merge } = {
    'in turn': inTurn,
    'from the last': parts => parts.reduceRight((whole, part) => BatchStatistics.merge(part, whole)),
    'as a tree': asTree,
    'by sevens': parts =>
      inTurn(Array.from({ length: Math.ceil(parts.length / 7) }, (_, i) => inTurn(parts.slice(7 * i, 7 * i + 7))))
  }

  it.each(Object.keys(spreads) as (keyof typeof spreads)[])('keeps the bound for %s, in any grouping', name => {
    const [center, spread] = spreads[name]
    const next = random(5)
    for (const count of [2, 3, 4, 16, 100]) {
      const parts = Array.from({ length: count }, (_, i) => {
        const n = 1 + Math.floor(next() * (i % 3 === 0 ? 1e6 : 20))
        const variance = n === 1 ? 0 : spread * spread * next()
        return new BatchStatistics(n, [center + spread * normal(next), 0, 5], [variance * n, 0, 0])
      })
      const largest = parts.reduce((max, { mean }) => Math.max(max, Math.abs(mean[0])), 0)
      const exact = mergedExactly(parts, 0)
      const truth = ratio(exact.squaredDeviations.num, exact.squaredDeviations.den)
      for (const [grouping, merge] of Object.entries(groupings)) {
        const where = `${count} parts, ${grouping}`
        const merged = merge(parts)
        const n = parts.reduce((sum, part) => sum + part.count, 0)
        expect(merged.count).toBe(n)
        expect([...merged.mean.slice(1), ...merged.squaredDeviations.slice(1)], where).toEqual([0, 5, 0, 0])
        const k = count - 1
        const slip = (k + 2) * 2 ** -52 * largest
        expect(distance(merged.mean[0], exact.mean), where).toBeLessThanOrEqual(slip)
        const variance = truth / n
        const often = Math.max(1, Math.log2(k + 1) / 2)
        const bound =
          (3 * k + 6) * 2 ** -52 * variance + 4 * slip * Math.sqrt(often * variance) + 4 * slip * slip * often
        expect(distance(merged.squaredDeviations[0], exact.squaredDeviations) / n, where).toBeLessThanOrEqual(bound)
      }
    }
  })
})

describe('truth: batchStatistics', () => {
  it('gives variances with a relative error of a few roundings, biased and unbiased', () => {
    const data = fill(finiteRows['N(3,0.5)'], 3000, 1)
    const statistics = batchStatistics({ data, dims: [1000, 3] })
    for (let c = 0; c < 3; c++) {
      const X = Array.from(
        data.filter((_, i) => i % 3 === c),
        value => integer(value, 149)
      )
      const S = X.reduce((sum, value) => sum + value, 0n)
      const squares = X.reduce((sum, value) => sum + (1000n * value - S) ** 2n, 0n)
      const [biased, unbiased] = [ratio(squares, (10n ** 9n) << 298n), ratio(squares, (999n * 10n ** 6n) << 298n)]
      // rule 4: 64 + 16 + 2 roundings of Q / n, which is 37 times the variance here; 3 more.
      expect(Math.abs(statistics.variance()[c] / biased - 1)).toBeLessThanOrEqual(3 * 37 * 85 * 2 ** -53)
      expect(Math.abs(statistics.variance({ unbiased: true })[c] / unbiased - 1)).toBeLessThanOrEqual(
        3 * 37 * 86 * 2 ** -53
      )
    }
    expect([statistics.count, statistics.channels]).toEqual([1000, 3])
  })
})

const layouts = ['channels-last', 'channels-first'] as const

const hiddenStates = await readHiddenStates()

/** Two sequences each. */
function shards(): Float32Array[] {
  const size = hiddenStates.length / 4
  return [0, 1, 2, 3].map(i => hiddenStates.slice(i * size, (i + 1) * size))
}

/** The statistics of the shards, merged in order. */
function mergedHere(layout: (typeof layouts)[number]): BatchStatistics {
  return BatchStatistics.merge(...shards().map(data => batchStatistics({ data, dims: [2, 64, 256] }, { layout })))
}

describe('equality: BatchStatistics', () => {
  const parts = [1, 2, 3, 4].map(seed => batchStatistics({ data: fill(normal, 90, seed), dims: [30, 3] }))
  const same = (a: BatchStatistics, b: BatchStatistics) => {
    expect(a.count).toBe(b.count)
    expectSameBits(a.mean, b.mean, 'mean')
    expectSameBits(a.squaredDeviations, b.squaredDeviations, 'squaredDeviations')
  }

  it('merges to the same bits in the same order, and leaves the parts as they are', () => {
    const copies = parts.map(part => BatchStatistics.fromBytes(part.toBytes()))
    const merged = BatchStatistics.merge(...parts)
    same(BatchStatistics.merge(...copies), merged)
    same(
      parts.slice(1).reduce((a, b) => BatchStatistics.merge(a, b), parts[0]),
      merged
    )
    parts.forEach((part, i) => {
      same(part, copies[i])
    })
  })

  it('takes a part of no elements for nothing, wherever it stands', () => {
    const none = batchStatistics({ data: new Float32Array(0), dims: [0, 3] })
    expect([none.count, ...none.mean, ...none.squaredDeviations]).toEqual([0, 0, 0, 0, 0, 0, 0])
    expect(none.variance().every(Number.isNaN)).toBe(true)
    same(BatchStatistics.merge(none, ...parts, none), BatchStatistics.merge(...parts))
    same(BatchStatistics.merge(none, none), none)
    same(BatchStatistics.merge(parts[0]), parts[0])
  })

  it('keeps NaN and infinities: what has them spoils the whole', () => {
    const bad = new BatchStatistics(2, [Number.NaN, Number.POSITIVE_INFINITY, 0], [Number.NaN, Number.NaN, 0])
    const { mean, squaredDeviations } = BatchStatistics.merge(parts[0], bad, parts[1])
    expect([...mean.slice(0, 2), ...squaredDeviations.slice(0, 2)].every(Number.isNaN)).toBe(true)
    expect(Number.isFinite(mean[2] + squaredDeviations[2])).toBe(true)
  })

  it('comes back from JSON and from bytes bit for bit', () => {
    const odd = [
      0.1,
      -0,
      5e-324,
      1.7976931348623157e308,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY
    ]
    const deviations = odd.map(value => (value < 0 ? 1 / 3 : value))
    for (const one of [...parts, new BatchStatistics(2 ** 53 - 1, odd, deviations), new BatchStatistics(0, [], [])]) {
      same(BatchStatistics.fromJSON(JSON.parse(JSON.stringify(one))), one)
      same(BatchStatistics.fromBytes(one.toBytes()), one)
    }
  })

  it('has the bytes that its docstring says', () => {
    const bytes = new BatchStatistics(3, [1, -2], [0.5, 4]).toBytes()
    const expected = Buffer.alloc(16 + 32)
    expected.write('EBS1', 'latin1')
    expected.writeUInt32LE(2, 4)
    for (const [i, value] of [3, 1, -2, 0.5, 4].entries()) expected.writeDoubleLE(value, 8 + 8 * i)
    expect(Buffer.from(bytes).equals(expected)).toBe(true)
    // From any place in a buffer, and a Buffer is a Uint8Array.
    same(
      BatchStatistics.fromBytes(Buffer.concat([Buffer.of(1), expected]).subarray(1)),
      new BatchStatistics(3, [1, -2], [0.5, 4])
    )
  })

  it.each(layouts)(
    'has the same bits from four workers, sent as bytes and merged, as from this thread: %s',
    async layout => {
      const code = `
      const { parentPort, workerData: { data, layout } } = require('node:worker_threads')
      import(${JSON.stringify(new URL('../../dist/esm/index.js', import.meta.url).href)}).then(({ batchStatistics }) =>
        parentPort.postMessage(batchStatistics({ data, dims: [2, 64, 256] }, { layout }).toBytes()))`
      const sent = await Promise.all(
        shards().map(
          data =>
            new Promise<Uint8Array>((resolve, reject) => {
              const worker = new Worker(code, { eval: true, execArgv: [], workerData: { data, layout } })
              worker.on('message', resolve).on('error', reject)
            })
        )
      )
      const merged = BatchStatistics.merge(...sent.map(BatchStatistics.fromBytes))
      same(merged, mergedHere(layout))
      expect(merged.count).toBe(8 * (layout === 'channels-last' ? 64 : 256))
    }
  )
})

describe('truth: statistics of shards of real activations', () => {
  it.each(layouts)('are, merged, those of the whole within the bounds of both: %s', layout => {
    const x = { data: hiddenStates, dims: [8, 64, 256] }
    const [merged, whole] = [mergedHere(layout), batchStatistics(x, { layout })]
    // Sums of the whole and of the shards each round 262 times at most, 3 and 8 samples more (rules 1, 13), and blocks and
    // parts of 512 rows 72 times (rule 14): 345 of 2^-53 each. Merging adds its bound for three merges. |x| <= 1.
    const slip = (345 + 5) * 2 ** -52
    for (let c = 0; c < whole.channels; c++) {
      expect(Math.abs(merged.mean[c] - whole.mean[c])).toBeLessThanOrEqual(slip)
      // var = Q / n - mean^2: three times the error of the sums.
      expect(Math.abs(merged.variance()[c] - whole.variance()[c])).toBeLessThanOrEqual(3 * slip)
    }
    const y = batchNorm(x, { training: true, statistics: merged, layout }).data
    const z = batchNorm(x, { training: true, layout }).data
    const largest = z.reduce((max, value) => Math.max(max, Math.abs(value)), 0)
    const apart = y.reduce((max, value, i) => Math.max(max, Math.abs(value - z[i])), 0)
    expect(apart).toBeLessThanOrEqual(2 * 4.1 * 2 ** -24 * largest)
  })
})

describe('behaviour: BatchStatistics', () => {
  const loose = BatchStatistics as unknown as {
    // biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tested
    new (...args: any[]): BatchStatistics
    // biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tested
    [name: string]: (...args: any[]) => unknown
  }
  const refuses = (call: () => unknown, kind: typeof Error, message: string) => {
    expect(call).toThrow(kind)
    expect(call).toThrow(message)
  }

  it('refuses what is no count, mean or sum of squared deviations', () => {
    const make =
      (...args: unknown[]) =>
      () =>
        new loose(...args)
    refuses(make('3', [0], [0]), TypeError, 'BatchStatistics: count expected a number, got "3"')
    for (const count of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      refuses(make(count, [0], [0]), RangeError, `BatchStatistics: count expected an integer >= 0, got ${count}`)
    }
    refuses(make(3, 5, [0]), TypeError, 'mean expected Float64Array or an array of numbers, got 5')
    refuses(
      make(3, new Float32Array(1), [0]),
      TypeError,
      'mean expected Float64Array or an array of numbers, got Float32'
    )
    refuses(make(3, ['1'], [0]), TypeError, 'mean expected numbers, got "1"')
    refuses(make(3, [0, 1], [0]), RangeError, 'squaredDeviations.length expected 2 (mean.length), got 1')
    refuses(make(3, [0], [-1e-9]), RangeError, 'squaredDeviations expected numbers >= 0, got -1e-9')
  })

  it('copies what it is given, and cannot be given other fields', () => {
    const mean = Float64Array.of(1)
    const statistics = new BatchStatistics(2, mean, [3])
    mean[0] = 9
    expect(statistics.mean[0]).toBe(1)
    expect(() => Object.assign(statistics, { count: 5 })).toThrow(TypeError)
    expect(() => Object.assign(statistics, { more: 5 })).toThrow(TypeError)
    expect(statistics.count).toBe(2)
  })

  it('refuses to merge nothing, something else, or other numbers of channels', () => {
    const one = new BatchStatistics(2, [1], [3])
    refuses(() => BatchStatistics.merge(), TypeError, 'BatchStatistics.merge: parts expected at least one, got none')
    refuses(() => loose.merge(one, 5), TypeError, 'BatchStatistics.merge: part expected BatchStatistics, got 5')
    refuses(() => loose.merge(one, null), TypeError, 'BatchStatistics.merge: part expected BatchStatistics, got null')
    refuses(() => loose.merge([one, one]), TypeError, 'BatchStatistics.merge: part expected BatchStatistics, got')
    const two = new BatchStatistics(2, [1, 1], [3, 3])
    refuses(() => BatchStatistics.merge(one, two), RangeError, "part.channels expected 1 (the first part's), got 2")
    refuses(() => BatchStatistics.merge(one, new BatchStatistics(0, [0, 0], [0, 0])), RangeError, 'got 2')
  })

  it('refuses JSON that is none of its own', () => {
    const json = { count: 2, mean: [1], squaredDeviations: [3] }
    const read = (value: unknown) => () => loose.fromJSON(value)
    const op = 'BatchStatistics.fromJSON'
    refuses(read(null), TypeError, `${op}: json expected an object, got null`)
    refuses(read('{}'), TypeError, `${op}: json expected an object, got "{}"`)
    refuses(read({}), TypeError, `${op}: mean expected an array, got undefined`)
    refuses(read({ ...json, mean: [null] }), TypeError, `${op}: mean expected numbers, got null`)
    refuses(read({ ...json, mean: ['1'] }), TypeError, `${op}: mean expected numbers, got "1"`)
    refuses(read({ ...json, squaredDeviations: [-3] }), RangeError, 'squaredDeviations expected numbers >= 0, got -3')
    refuses(read({ ...json, squaredDeviations: ['-Infinity'] }), RangeError, 'squaredDeviations expected numbers >= 0')
    refuses(read({ ...json, count: '2' }), TypeError, 'count expected a number, got "2"')
    expect(() => loose.fromJSON(json)).not.toThrow()
  })

  it('refuses bytes that are none of its own', () => {
    const bytes = new BatchStatistics(2, [1], [3]).toBytes()
    const read = (value: unknown) => () => loose.fromBytes(value)
    const op = 'BatchStatistics.fromBytes'
    refuses(read([...bytes]), TypeError, `${op}: bytes expected Uint8Array, got an array of 32`)
    refuses(read(bytes.buffer), TypeError, `${op}: bytes expected Uint8Array, got`)
    for (const other of [new Uint8Array(0), bytes.slice(0, 15), bytes.with(0, 0)]) {
      refuses(read(other), RangeError, `${op}: bytes expected those of toBytes(), got others`)
    }
    refuses(read(bytes.slice(0, 31)), RangeError, `${op}: bytes.length expected 32 (1 channels), got 31`)
    refuses(read(bytes.with(4, 255).with(7, 255)), RangeError, `${op}: bytes.length expected`)
    refuses(read(bytes.with(15, 0xc0)), RangeError, 'count expected an integer >= 0, got -2')
    refuses(read(bytes.with(31, 0xc0)), RangeError, 'squaredDeviations expected numbers >= 0')
  })

  it('refuses options that variance and batchStatistics have not', () => {
    const statistics = new BatchStatistics(1, [1], [0])
    expect(() => statistics.variance({ biased: true } as never)).toThrow('nearest: unbiased), got "biased"')
    expect(() => statistics.variance({ unbiased: 1 as never })).toThrow('unbiased expected a boolean, got 1')
    expect([...statistics.variance(), ...statistics.variance({ unbiased: true })]).toEqual([0, Number.NaN])
    const x = { data: new Float32Array(4), dims: [2, 2] }
    expect(() => batchStatistics(x, { eps: 1 } as never)).toThrow(
      /batchStatistics: option expected one of .* got "eps"/
    )
    expect(() => batchStatistics(x.data as never)).toThrow('batchStatistics: x expected a tensor { data, dims }')
    expect(() => batchStatistics(x, { layout: 'NHWC' as never })).toThrow(RangeError)
  })
})
