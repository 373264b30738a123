// The same bits on every backend: see pool_embeddings.test.ts.
import { Tensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, random } from '../../dist/esm/cases/data.js'
import { calibrateEmbeddings, EmbeddingStatistics, quantizeEmbeddings } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { calibrateModel, mergeModel, quantizeModel, type Statistics } from '../support/embedding_model.ts'
import { hasRealData, readNpy } from '../support/real_data.ts'
import { detach, expectRefusal, type Kind, refuses } from '../support/refusal.ts'
import { integer, ratio } from '../support/truth/oracle.ts'

// biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tested
type Any = any

const inf = Number.POSITIVE_INFINITY
const nan = Number.NaN
const fields = ['count', 'nan', 'min', 'max', 'mean', 'squaredDeviations'] as const

/** Fails unless the statistics have the same bits. */
function expectSame(actual: EmbeddingStatistics, expected: EmbeddingStatistics | Statistics, what: string) {
  for (const field of fields) {
    expect(actual[field], what).toBeInstanceOf(Float64Array)
    expectSameBits(actual[field], Float64Array.from(expected[field]), `${what}: ${field}`)
  }
}

/** Rows of ordinary numbers, zeros of both signs and NaN. */
const mixed = (n: number, seed: number) =>
  fill(
    next => {
      const kind = next()
      return kind < 0.1 ? nan : kind < 0.2 ? -0 : kind < 0.3 ? 0 : normal(next)
    },
    n,
    seed
  )

const parts = (dimensions: number) =>
  [40, 1, 7, 0, 90, 2].map((rows, i) => calibrateEmbeddings(mixed(rows * dimensions, i + 1), dimensions))

const lists = (statistics: EmbeddingStatistics): Statistics =>
  Object.fromEntries(fields.map(field => [field, [...statistics[field]]])) as unknown as Statistics

describe('equality: calibrateEmbeddings', () => {
  it('has the bits of the model, for every width and for every kind of number', () => {
    for (const dimensions of [1, 3, 8, 17, 64, 511, 768, 1025]) {
      for (const rows of [0, 1, 2, 5, 20]) {
        const x = mixed(rows * dimensions, rows + dimensions)
        const what = `[${rows}, ${dimensions}]`
        const expected = calibrateModel(x, dimensions)
        const statistics = calibrateEmbeddings(x, dimensions)
        expect(statistics, what).toBeInstanceOf(EmbeddingStatistics)
        expect(statistics.dimensions).toBe(dimensions)
        expectSame(statistics, expected, what)
        expectSame(
          calibrateEmbeddings({ data: x, dims: [rows, dimensions] }, dimensions),
          expected,
          `${what}, a tensor`
        )
      }
    }
    for (const kind of Object.keys(finiteRows) as (keyof typeof finiteRows)[]) {
      const x = fill(finiteRows[kind], 6 * 33, 1)
      expectSame(calibrateEmbeddings(x, 33), calibrateModel(x, 33), kind)
    }
    // A block of rows is nothing to it.
    const long = fill(finiteRows['N(1e6,1)'], 5000 * 3, 1)
    expectSame(calibrateEmbeddings(long, 3), calibrateModel(long, 3), 'many rows')
  })

  it('leaves NaN out and counts it, and takes -0 for +0', () => {
    const x = Float32Array.of(-0, nan, 3, -0, nan, nan, 0, nan, -1)
    const statistics = calibrateEmbeddings(x, 3)
    expect([...statistics.count]).toEqual([3, 0, 2])
    expect([...statistics.nan]).toEqual([0, 3, 1])
    expect([...statistics.min]).toEqual([0, inf, -1])
    expect([...statistics.max]).toEqual([0, -inf, 3])
    expect([...statistics.mean]).toEqual([0, 0, 1])
    expect([...statistics.squaredDeviations]).toEqual([0, 0, 8])
  })

  it('gives ranges that quantizeEmbeddings takes', () => {
    const x = fill(normal, 50 * 19, 3)
    const { ranges } = calibrateEmbeddings(x, 19)
    const { min, max } = calibrateModel(x, 19)
    expect(ranges.length).toBe(2)
    expectSameBits(ranges[0], Float32Array.from(min), 'min')
    expectSameBits(ranges[1], Float32Array.from(max), 'max')
    const options = { precision: 'uint8', scale: { ranges } } as const
    expect(quantizeEmbeddings(x, 19, options)).toEqual(quantizeModel(x, 19, options).codes)
  })
})

describe('equality: EmbeddingStatistics', () => {
  const all = parts(5)

  it('merges to the bits of the model, and leaves the parts as they are', () => {
    const copies = all.map(lists)
    expectSame(EmbeddingStatistics.merge(...all), copies.reduce(mergeModel), 'in turn')
    all.forEach((part, i) => {
      expectSame(part, copies[i], 'a part')
    })
    expectSame(EmbeddingStatistics.merge(all[0]), copies[0], 'one')
    const nothing = calibrateEmbeddings(new Float32Array(0), 5)
    expectSame(EmbeddingStatistics.merge(nothing, ...all, nothing), copies.reduce(mergeModel), 'with nothing')
    expectSame(EmbeddingStatistics.merge(nothing, nothing), nothing, 'nothing')
  })

  it('has the same count, NaN, min, max and ranges in any order and grouping', () => {
    const x = mixed(140 * 5, 9)
    const whole = calibrateEmbeddings(x, 5)
    const cuts = [0, 100, 105, 300, 500, 700]
    const shards = cuts.slice(1).map((end, i) => calibrateEmbeddings(x.slice(cuts[i], end), 5))
    const next = random(4)
    for (let round = 0; round < 20; round++) {
      const shuffled = shards.map(shard => ({ shard, key: next() })).sort((a, b) => a.key - b.key)
      const order = shuffled.map(({ shard }) => shard)
      const merged = EmbeddingStatistics.merge(
        order[0],
        EmbeddingStatistics.merge(...order.slice(1, 1 + (round % 4) + 1)),
        ...order.slice(2 + (round % 4))
      )
      for (const field of ['count', 'nan', 'min', 'max'] as const) expectSameBits(merged[field], whole[field], field)
      expect(merged.ranges).toEqual(whole.ranges)
    }
  })

  it('comes back from JSON and from bytes bit for bit', () => {
    const odd = new EmbeddingStatistics(
      [2 ** 53 - 1, 3, 0, 1],
      [0, 2 ** 53 - 1, 4, 0],
      [-3e38, 2 ** -149, inf, -1],
      [3e38, 0.1, -inf, 1],
      [0.1, 5e-324, 0, -1 / 3],
      [1.7976931348623157e308, 1 / 3, 0, 0]
    )
    const nothing = calibrateEmbeddings(new Float32Array(0), 3)
    for (const one of [...all, odd, nothing, EmbeddingStatistics.merge(...all)]) {
      const text = JSON.stringify(one)
      expectSame(EmbeddingStatistics.fromJSON(JSON.parse(text)), one, text)
      expectSame(EmbeddingStatistics.fromBytes(one.toBytes()), one, 'bytes')
      const moved = Buffer.concat([Buffer.of(1), one.toBytes()]).subarray(1)
      expectSame(EmbeddingStatistics.fromBytes(moved), one, 'bytes anywhere in a buffer')
    }
  })

  it('has bytes that begin with EES1 and the dimensions, and six numbers for each', () => {
    const bytes = all[0].toBytes()
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    expect(String.fromCharCode(...bytes.subarray(0, 4))).toBe('EES1')
    expect(view.getUint32(4, true)).toBe(5)
    expect(bytes.length).toBe(8 + 6 * 8 * 5)
    const numbers = fields.flatMap(field => [...all[0][field]])
    expect(numbers.map((_, i) => view.getFloat64(8 + 8 * i, true))).toEqual(numbers)
    expect(EmbeddingStatistics.fromBytes(bytes).toBytes()).toEqual(bytes)
  })

  it('gives the variance of each dimension, NaN where there is none', () => {
    const statistics = new EmbeddingStatistics([4, 1, 0], [0, 0, 2], [0, 1, inf], [2, 1, -inf], [1, 1, 0], [3, 0, 0])
    expect([...statistics.variance()]).toEqual([0.75, 0, nan])
    expect([...statistics.variance({ unbiased: false })]).toEqual([0.75, 0, nan])
    expect([...statistics.variance({ unbiased: true })]).toEqual([1, nan, nan])
  })
})

describe('truth: calibrateEmbeddings', () => {
  // n additions of float64 and a division: (n + 1) * 2^-53 of the largest.
  it('has means and squared deviations within their roundings, and the exact ends', () => {
    const rows = 200
    for (const kind of ['N(0,1)', 'N(3,0.5)', 'N(1e3,1)', 'log-uniform'] as const) {
      const x = fill(finiteRows[kind], rows * 3, 5)
      const statistics = calibrateEmbeddings(x, 3)
      for (let c = 0; c < 3; c++) {
        const column = x.filter((_, i) => i % 3 === c)
        const largest = column.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
        const exact = Array.from(column, value => integer(value, 149))
        const sum = exact.reduce((total, value) => total + value, 0n)
        const n = BigInt(rows)
        const squares = exact.reduce((total, value) => total + (n * value - sum) ** 2n, 0n)
        const slip = (rows + 1) * 2 ** -53 * largest
        expect(Math.abs(statistics.mean[c] - ratio(sum, n << 149n)), kind).toBeLessThanOrEqual(slip)
        const right = ratio(squares, (n * n) << 298n)
        // The mean's slip adds n times its square; each term rounds twice before the sums do.
        const bound = (rows + 4) * 2 ** -53 * right + 2 * rows * slip * slip
        expect(Math.abs(statistics.squaredDeviations[c] - right), kind).toBeLessThanOrEqual(bound)
        expect([statistics.min[c], statistics.max[c]]).toEqual([Math.min(...column), Math.max(...column)])
      }
    }
  })

  it.skipIf(!hasRealData)('ranges of shards of real embeddings, merged in any order, are those of the whole', () => {
    const x = readNpy('use_embedding_24x512') as Float32Array
    const shards = [0, 1, 2, 3].map(i => calibrateEmbeddings(x.slice(i * 6 * 512, (i + 1) * 6 * 512), 512))
    const { ranges } = calibrateEmbeddings(x, 512)
    for (const order of [shards, shards.toReversed(), [shards[2], shards[0], shards[3], shards[1]]]) {
      expect(EmbeddingStatistics.merge(...order).ranges).toEqual(ranges)
    }
  })
})

describe('behaviour: calibrateEmbeddings', () => {
  const x = fill(normal, 12, 1)

  function refused(given: unknown, dimensions: unknown, kind: Kind, ...words: (string | RegExp)[]) {
    const call = () => calibrateEmbeddings(given as Any, dimensions as Any)
    refuses(call, [x], 'calibrateEmbeddings', kind, ...words)
  }

  it('refuses what are no rows', () => {
    refused([1, 2, 3, 4], 4, TypeError, /Float32Array/)
    refused(Float64Array.from(x), 4, TypeError, /Float32Array/)
    refused(x.subarray(1), 4, RangeError, /length/, /4/, /11/)
    refused({ data: x, dims: [4, 3] }, 4, RangeError, /dims/, /4/)
    for (const dimensions of [0, -1, 1.5, nan]) refused(x, dimensions, RangeError, /dimensions/)
    refused(x, '4', TypeError, /dimensions/)
    refused(detach(x.slice()), 4, TypeError, /detached/)
  })

  it('refuses infinities and names their dimension', () => {
    for (const value of [inf, -inf]) {
      for (const at of [0, 5, 11]) refused(x.with(at, value), 4, RangeError, new RegExp(`\\b${at % 4}\\b`), /Infinity/)
    }
    const wide = fill(normal, 3 * 100, 1).with(277, inf)
    refused(wide, 100, RangeError, /\b77\b/)
  })

  it('takes tensors of any class and of more dims', () => {
    const expected = calibrateModel(x, 4)
    expectSame(calibrateEmbeddings(new Tensor('float32', x, [3, 4]), 4), expected, 'onnxruntime')
    const three = { data: x, dims: [1, 3, 4] }
    expectSame(calibrateEmbeddings(three, 4), expected, 'three dims')
  })
})

describe('behaviour: EmbeddingStatistics', () => {
  const good = [[2], [1], [-1], [3], [1], [8]] as const
  const statistics = new EmbeddingStatistics(...good)

  function refused(call: () => unknown, op: string, kind: Kind, ...words: (string | RegExp)[]) {
    refuses(call, [], op, kind, ...words)
  }
  const make = (changes: { readonly [field: number]: unknown }) => () =>
    new EmbeddingStatistics(...(good.map((value, i) => (i in changes ? changes[i] : value)) as Any as typeof good))

  it('refuses what are no statistics', () => {
    const op = 'EmbeddingStatistics'
    fields.forEach((field, i) => {
      refused(make({ [i]: 5 }), op, TypeError, field)
      refused(make({ [i]: ['1'] }), op, TypeError, field)
      if (i > 0) refused(make({ [i]: [1, 2] }), op, RangeError, /length/)
    })
    for (const count of [-1, 0.5, nan, inf]) {
      refused(make({ 0: [count] }), op, RangeError, /count/)
      refused(make({ 1: [count] }), op, RangeError, /nan/)
    }
    refused(make({ 2: [4] }), op, RangeError, /min|max/)
    refused(make({ 2: [nan] }), op, RangeError, /min/)
    refused(make({ 3: [nan] }), op, RangeError, /max/)
    refused(make({ 5: [-1] }), op, RangeError, /squaredDeviations/)
  })

  it('takes arrays of numbers and typed arrays, and copies them', () => {
    const mean = Float64Array.of(1)
    const one = new EmbeddingStatistics([2], [1], Float64Array.of(-1), Float64Array.of(3), mean, [8])
    mean[0] = 9
    one.mean[0] = 9
    one.count[0] = 9
    expectSame(one, statistics, 'copies')
    expect(() => Object.assign(one, { count: 5 })).toThrow(TypeError)
    expect(() => Object.assign(one, { more: 5 })).toThrow(TypeError)
    one.ranges[0].fill(9)
    expect([...one.ranges[0]]).toEqual([-1])
  })

  it('has no ranges where a dimension has no numbers, and says which', () => {
    const x = Float32Array.of(1, nan, 2, 3, nan, 4)
    const { ranges } = calibrateEmbeddings(Float32Array.of(1, 5, 2), 3)
    expect(ranges.map(range => [...range])).toEqual([
      [1, 5, 2],
      [1, 5, 2]
    ])
    let error: unknown
    try {
      calibrateEmbeddings(x, 3).ranges
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(RangeError)
    expectRefusal(error, (error as Error).message.split(':')[0], RangeError, /\b1\b/)
    expect(() => calibrateEmbeddings(new Float32Array(0), 3).ranges).toThrow(RangeError)
  })

  it('refuses to merge nothing, something else, or other numbers of dimensions', () => {
    const op = 'EmbeddingStatistics.merge'
    const merge = (...given: unknown[]) => EmbeddingStatistics.merge(...(given as EmbeddingStatistics[]))
    refused(() => merge(), op, TypeError, /parts/)
    refused(() => merge(statistics, 5), op, TypeError, /part/, /5/)
    refused(() => merge(statistics, null), op, TypeError, /part/, /null/)
    refused(() => merge([statistics]), op, TypeError, /part/)
    const two = calibrateEmbeddings(new Float32Array(4), 2)
    refused(() => merge(statistics, two), op, RangeError, /dimensions/, /1/, /2/)
    refused(() => merge(statistics, calibrateEmbeddings(new Float32Array(0), 2)), op, RangeError, /dimensions/)
  })

  it('refuses JSON and bytes that are none of its own', () => {
    const json = JSON.parse(JSON.stringify(statistics))
    const fromJSON = (value: unknown) => () => EmbeddingStatistics.fromJSON(value as Any)
    const op = 'EmbeddingStatistics.fromJSON'
    refused(fromJSON(null), op, TypeError, /json/)
    refused(fromJSON('{}'), op, TypeError, /json/)
    refused(fromJSON({}), op, TypeError)
    for (const field of fields) {
      expect(() => EmbeddingStatistics.fromJSON({ ...json, [field]: undefined })).toThrow(TypeError)
      expect(() => EmbeddingStatistics.fromJSON({ ...json, [field]: [null] })).toThrow(TypeError)
      expect(() => EmbeddingStatistics.fromJSON({ ...json, [field]: ['1'] })).toThrow(TypeError)
    }
    expect(() => EmbeddingStatistics.fromJSON({ ...json, squaredDeviations: [-1] })).toThrow(RangeError)

    const bytes = statistics.toBytes()
    const fromBytes = (value: unknown) => () => EmbeddingStatistics.fromBytes(value as Any)
    const op2 = 'EmbeddingStatistics.fromBytes'
    refused(fromBytes([...bytes]), op2, TypeError, /bytes/, /Uint8Array/)
    refused(fromBytes(bytes.buffer), op2, TypeError, /bytes/)
    for (const other of [new Uint8Array(0), bytes.slice(0, 15), bytes.with(0, 0), bytes.with(1, 0x42)]) {
      refused(fromBytes(other), op2, RangeError, /bytes/)
    }
    refused(fromBytes(bytes.slice(0, -1)), op2, RangeError, /length/)
    refused(fromBytes(bytes.with(4, 255).with(7, 255)), op2, RangeError, /length/)
    expect(fromBytes(bytes.with(bytes.length - 1, 0xc0))).toThrow(RangeError)
  })

  it('refuses options that variance has not', () => {
    expect(() => statistics.variance({ biased: true } as Any)).toThrow(TypeError)
    expect(() => statistics.variance({ unbiased: 1 } as Any)).toThrow(TypeError)
  })
})
