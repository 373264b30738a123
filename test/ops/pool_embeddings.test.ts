import { Tensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal } from '../../dist/esm/cases/data.js'
import { backend, backends, EmbeddingPooler, layerNorm, normalize, poolEmbeddings } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { codesPerRow, embeddingModel, type Pooling, type Precision } from '../support/embedding_model.ts'
import {
  type AnyArray,
  dataOf,
  differences,
  firstOther,
  laterEmbeddingDifferences,
  memoryOf,
  patterns,
  poolings,
  quantizations,
  threadDifferences
} from '../support/embeddings.ts'
import { node } from '../support/process.ts'
import { hasRealData, neighboursKept, readNpy, ulpsApart } from '../support/real_data.ts'
import { counting, detach, expectRefusal, type Kind, refuses } from '../support/refusal.ts'
import { integer, ratio } from '../support/truth/oracle.ts'

// biome-ignore lint/suspicious/noExplicitAny: options of every kind, and wrong ones
type Any = any
type Loose = { [name: string]: unknown }

const inf = Number.POSITIVE_INFINITY
const nan = Number.NaN

/** poolEmbeddings without normalisation. */
const pool = (data: Float32Array, dims: readonly number[], options: Loose = {}) =>
  poolEmbeddings({ data, dims }, { normalize: false, ...options } as Any).data as Float32Array

describe.each(backends)('equality: embeddings on %s', name => {
  it('have the bits of the model: every stage, precision, padding and width, in one call and one by one', async () => {
    const found: string[] = []
    if (name === backend) {
      found.push(...differences(), ...threadDifferences())
      for await (const difference of laterEmbeddingDifferences()) found.push(difference)
    } else {
      const program = `
        import { differences, laterEmbeddingDifferences, threadDifferences } from './test/support/embeddings.ts'
        for (const difference of differences()) console.log(difference)
        for (const difference of threadDifferences()) console.log(difference)
        for await (const difference of laterEmbeddingDifferences()) console.log(difference)
        console.log('compared')`
      const args = ['--import', 'tsx', '--input-type=module', '-e', program]
      const { stdout, stderr } = node(args, { EVENKEEL_BACKEND: name })
      expect(stderr).toBe('')
      expect(stdout).toMatch(/compared\n$/)
      found.push(...stdout.split('\n').slice(0, -2))
    }
    expect(found.slice(0, 20)).toEqual([])
  })
})

describe('equality: poolEmbeddings', () => {
  // Three samples of four positions, two channels.
  const dims = [3, 4, 2]
  const data = Float32Array.from({ length: 24 }, (_, i) => [1, 2, 4, 8, -16, 32, 64, 128][i % 8] + (i >> 3))

  it('pools each channel over the real positions', () => {
    const mask = [0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    const expected: { [pooling in Exclude<Pooling, 'none'>]: number[] } = {
      mean: [52 / 3, 168 / 3, 3.5, 6, 0, 0],
      'mean-sqrt': [52 / Math.sqrt(3), 168 / Math.sqrt(3), 7 / Math.SQRT2, 12 / Math.SQRT2, 0, 0],
      'weighted-mean': [(4 - 32 + 192) / 6, (8 + 64 + 384) / 6, 4, 7, 0, 0],
      cls: [4, 8, 2, 3, 0, 0],
      last: [64, 128, 5, 9, 0, 0],
      max: [64, 128, 5, 9, 0, 0]
    }
    for (const [pooling, right] of Object.entries(expected)) {
      expectSameBits(pool(data, dims, { pooling, mask }), Float32Array.from(right), pooling)
    }
    const rows = pool(data, dims, { pooling: 'none', mask })
    expectSameBits(
      rows,
      data.map((value, i) => (mask[i >> 1] ? value : 0)),
      'none'
    )
  })

  it('puts several poolings side by side', () => {
    const y = pool(data, dims, { pooling: ['last', 'cls'], lengths: [3, 1, 0] })
    expectSameBits(y, Float32Array.of(-16, 32, 1, 2, 2, 3, 2, 3, 0, 0, 0, 0), 'last, cls')
    const again = pool(data, dims, { pooling: ['mean'] })
    expectSameBits(again, pool(data, dims), 'one of them')
  })

  it('skips the first real positions, as many as each sample says', () => {
    const mask = [0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0]
    const y = (options: Loose) => pool(data, dims, { mask, ...options })
    expectSameBits(y({ pooling: 'cls', skip: 1 }), Float32Array.of(-16, 32, 5, 9, -14, 34), 'cls')
    expectSameBits(y({ pooling: 'cls', skip: [0, 3, 2] }), Float32Array.of(4, 8, 65, 129, 0, 0), 'one per sample')
    expectSameBits(y({ pooling: 'cls', skip: Int32Array.of(0, 3, 2) }), Float32Array.of(4, 8, 65, 129, 0, 0), 'Int32')
    const weighted = Float32Array.of((-16 + 128) / 3, (32 + 256) / 3, (5 - 30 + 195) / 6, (9 + 66 + 387) / 6, -14, 34)
    expectSameBits(y({ pooling: 'weighted-mean', skip: 1 }), weighted, 'its weights begin at 1 after it')
    expectSameBits(y({ skip: 4 }), new Float32Array(6), 'all of them')
  })

  it('keeps NaN, infinities and signs of zeros as each pooling says', () => {
    const column = (values: number[], pooling: string, options: Loose = {}) =>
      pool(Float32Array.from(values), [1, values.length, 1], { pooling, ...options })[0]
    expect(column([-0, -0], 'mean')).toBe(0)
    expect(column([-0, -0], 'mean-sqrt')).toBe(0)
    expect(column([-0, -0], 'weighted-mean')).toBe(0)
    expect(column([-0, 0], 'cls')).toBe(-0)
    expect(column([0, -0], 'last')).toBe(-0)
    expect(column([-0, 0], 'max')).toBe(-0)
    expect(column([0, -0], 'max')).toBe(0)
    expect(column([-5, -0, 0], 'max')).toBe(-0)
    expect(column([nan, 7], 'max')).toBe(nan)
    expect(column([7, nan, 8], 'max')).toBe(nan)
    expect(column([-inf, -inf], 'max')).toBe(-inf)
    expect(column([-inf, -3e38], 'max')).toBe(Math.fround(-3e38))
    expect(column([inf, -inf], 'mean')).toBe(nan)
    expect(column([inf, 1], 'mean')).toBe(inf)
    expect(column([3e38, 3e38, 3e38], 'mean')).toBe(Math.fround(3e38))
    expect(column([3e38, 3e38, 3e38], 'mean-sqrt')).toBe(inf)
    for (const pooling of poolings) {
      const only = pooling === 'none' ? 0 : 5
      expect(column([nan, 5, inf, nan], pooling, { mask: [0, 1, 0, 0] }), pooling).toBe(only)
    }
  })

  it('adds up in order of position, in float64', () => {
    // In float64 the order of these decides whether 1 is lost.
    const lost = Float32Array.of(2 ** 60, 1, -(2 ** 60), 1)
    expectSameBits(pool(lost, [1, 4, 1]), Float32Array.of(0.25), 'in order')
    // Each of the small ones is lost beside 1; blocks or lanes of them would not be.
    const many = new Float32Array(5000).fill(2 ** -54)
    many[0] = 1
    many[4999] = -1
    expectSameBits(pool(many, [1, 5000, 1], { pooling: 'mean-sqrt' }), Float32Array.of(0), 'no blocks')
  })

  it('runs the later stages on the zeros of samples without real positions', () => {
    const bias = Float32Array.of(3, 4)
    const norm = new Float64Array(3)
    const pooled = new Float32Array(6)
    const options = { lengths: [0, 2, 0], layerNorm: { bias }, norm, pooled }
    const y = poolEmbeddings({ data, dims }, options as Any).data as Float32Array
    expectSameBits(y.slice(0, 2), Float32Array.of(0.6, 0.8), 'the bias, normalised')
    expectSameBits(pooled, Float32Array.of(0, 0, 3.5, 6, 0, 0), 'pooled tells')
    expect(norm[0]).toBe(5)
    const plain = new Float64Array(3)
    poolEmbeddings({ data, dims }, { lengths: [0, 2, 0], norm: plain } as Any)
    expect(plain[0]).toBe(0)
    expect(plain[1]).toBe(Math.sqrt(3.5 * 3.5 + 36))
  })

  it('says in norm what the fourth stage receives, also without it, and by its p', () => {
    const one = Float32Array.of(3, -4, 12)
    const norms = (options: Loose) => {
      const norm = new Float64Array(1)
      poolEmbeddings({ data: one, dims: [1, 1, 3] }, { norm, ...options } as Any)
      return norm[0]
    }
    expect(norms({})).toBe(13)
    expect(norms({ normalize: false })).toBe(13)
    expect(norms({ dimensions: 2 })).toBe(5)
    expect(norms({ normalize: { p: 1 } })).toBe(19)
    expect(norms({ normalize: { p: inf } })).toBe(12)
    expect(norms({ normalize: { eps: 100, scale: 3 } })).toBe(13)
  })

  it('has the defaults mean, no layerNorm, all channels, normalize, float32', () => {
    const x = { data, dims }
    const all = { pooling: 'mean', layerNorm: false, dimensions: 2, normalize: true, precision: 'float32', skip: 0 }
    const expected = normalize(pool(data, dims), 2)
    expectSameBits(poolEmbeddings(x).data as Float32Array, expected, 'none given')
    expectSameBits(poolEmbeddings(x, all as Any).data as Float32Array, expected, 'all given')
    expectSameBits(poolEmbeddings(x, { normalize: {}, layerNorm: false } as Any).data as Float32Array, expected, '{}')
    const normed = layerNorm(pool(data, dims), 2, { eps: 1e-5 })
    expectSameBits(pool(data, dims, { layerNorm: true }), normed, 'layerNorm: true')
    expectSameBits(pool(data, dims, { layerNorm: {} }), normed, 'layerNorm: {}')
  })

  it('takes lengths for the mask that they are, and masks of every type', () => {
    const x = { data: fill(normal, 24, 1), dims }
    const lengths = [4, 1, 2]
    const flags = [1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0]
    const big = BigInt64Array.from(flags, BigInt)
    const forms: { readonly [what: string]: Loose } = {
      lengths: { lengths },
      'lengths, Int32Array': { lengths: Int32Array.from(lengths) },
      'lengths, BigInt64Array': { lengths: BigInt64Array.from(lengths, BigInt) },
      'number[]': { mask: flags },
      'boolean[]': { mask: flags.map(Boolean) },
      'bigint[]': { mask: flags.map(BigInt) },
      'mixed flags': { mask: flags.map((flag, i) => (i % 3 === 0 ? BigInt(flag) : i % 3 === 1 ? flag === 1 : flag)) },
      BigInt64Array: { mask: big },
      BigUint64Array: { mask: BigUint64Array.from(big) },
      Int32Array: { mask: Int32Array.from(flags) },
      Int8Array: { mask: Int8Array.from(flags) },
      Uint8Array: { mask: Uint8Array.from(flags) },
      Uint8ClampedArray: { mask: Uint8ClampedArray.from(flags) },
      Float32Array: { mask: Float32Array.from(flags) },
      'inside a buffer': { mask: BigInt64Array.of(7n, 7n, ...big, 7n).subarray(2, 14) },
      'tensor of int64': { mask: new Tensor('int64', big, [3, 4]) },
      'tensor of bool': { mask: new Tensor('bool', Uint8Array.from(flags), [3, 4]) },
      'plain tensor': { mask: { data: Uint8Array.from(flags), dims: [3, 4] } },
      'plain tensor of bool': { mask: { type: 'bool', data: flags.map(Boolean), dims: [3, 4] } }
    }
    for (const pooling of poolings) {
      const real = (n: number, p: number) => p < lengths[n]
      const expected = embeddingModel(x.data, dims, { pooling, real }).y as Float32Array
      for (const [what, form] of Object.entries(forms)) {
        const y = poolEmbeddings(x, { pooling, ...form } as Any).data as Float32Array
        expectSameBits(y, expected, `${pooling}, ${what}`)
        const later = new EmbeddingPooler(2, { pooling }).forward(x, form as Any).data as Float32Array
        expectSameBits(later, expected, `${pooling}, ${what}, EmbeddingPooler`)
      }
    }
  })

  it('gives the bits of the sequences without their padding, wherever it stands', () => {
    const [length, channels] = [9, 21]
    const sequence = fill(normal, length * channels, 4)
    for (const pooling of [...poolings.slice(0, 6), ['mean', 'max'] as const]) {
      const expected = poolEmbeddings({ data: sequence, dims: [1, length, channels] }, { pooling }).data as Float32Array
      for (const places of [
        [0, 1, 2, 3, 4, 5, 6, 7, 8],
        [6, 7, 8, 9, 10, 11, 12, 13, 14],
        [0, 2, 3, 5, 6, 7, 11, 12, 14]
      ]) {
        const padded = new Float32Array(15 * channels).fill(nan)
        const mask = new Uint8Array(15)
        places.forEach((place, i) => {
          padded.set(sequence.subarray(i * channels, (i + 1) * channels), place * channels)
          mask[place] = 1
        })
        const y = poolEmbeddings({ data: padded, dims: [1, 15, channels] }, { pooling, mask } as Any)
        expectSameBits(y.data as Float32Array, expected, `${pooling} ${places}`)
      }
    }
  })
})

describe('truth: poolEmbeddings', () => {
  const factors = {
    mean: { weight: () => 1n, den: (n: number) => [BigInt(n), 0n] },
    'mean-sqrt': { weight: () => 1n, den: (n: number) => [integer(Math.sqrt(n), 1074), 1074n] },
    'weighted-mean': { weight: (i: number) => BigInt(i + 1), den: (n: number) => [BigInt((n * (n + 1)) / 2), 0n] }
  } as const
  const kinds = Object.keys(finiteRows) as (keyof typeof finiteRows)[]

  // n - 1 additions, a division, and a root: (n + 3) * 2^-53 of the sum of the magnitudes; then half an ULP of float32.
  it.each(Object.keys(factors) as (keyof typeof factors)[])('%s is the exact one within its roundings', pooling => {
    const { weight, den } = factors[pooling]
    const channels = kinds.length
    for (const n of [1, 2, 3, 5, 16, 50, 257]) {
      const columns = kinds.map((kind, c) => fill(finiteRows[kind], n, c + n))
      const data = Float32Array.from(
        { length: n * channels },
        (_, i) => columns[i % channels][Math.floor(i / channels)]
      )
      const y = pool(data, [1, n, channels], { pooling })
      columns.forEach((column, c) => {
        const where = `${kinds[c]}, ${n} positions`
        const terms = Array.from(column, (value, i) => weight(i) * integer(value, 149))
        const [divisor, shift] = den(n)
        const exact = terms.reduce((sum, term) => sum + term, 0n) << shift
        const magnitudes = terms.reduce((sum, term) => sum + (term < 0n ? -term : term), 0n) << shift
        const unit = divisor << 149n
        if (!Number.isFinite(y[c])) {
          expect(Math.abs(ratio(exact, unit)), where).toBeGreaterThanOrEqual(2 ** 128 * (1 - 2 ** -25))
          return
        }
        const error = Math.abs(ratio(integer(y[c], 149) * divisor - exact, unit))
        const bound = 2 ** -24 * Math.abs(ratio(exact, unit)) + (n + 3) * 2 ** -53 * ratio(magnitudes, unit) + 2 ** -150
        expect(error, where).toBeLessThanOrEqual(bound)
      })
    }
  })

  it('max is the largest of each channel, cls and last are those positions', () => {
    const [n, channels] = [33, 19]
    const data = fill(finiteRows['log-uniform'], n * channels, 1)
    const column = (c: number) => Array.from({ length: n }, (_, p) => data[p * channels + c])
    const channelsOf = (of: (values: number[]) => number) =>
      Float32Array.from({ length: channels }, (_, c) => of(column(c)))
    const y = (pooling: Pooling) => pool(data, [1, n, channels], { pooling })
    expect(y('max')).toEqual(channelsOf(values => Math.max(...values)))
    expect(y('cls')).toEqual(data.slice(0, channels))
    expect(y('last')).toEqual(data.slice(-channels))
  })
})

describe('truth: a pre-trained encoder', () => {
  const read = (name: string) => readNpy(name) as Float32Array
  const dims = [24, 26, 512]
  const lastStage = { pooling: 'none', normalize: { rule: 'clamp-square', eps: 1e-12 } }

  it.skipIf(!hasRealData)('its pooled vectors within 2 ULP of the largest of each row', () => {
    const lengths = readNpy('use_lengths_24')
    const y = pool(read('use_hidden_24x26x512'), dims, { lengths })
    expect(ulpsApart(y, read('use_pooled_24x512'), 512)).toBeLessThanOrEqual(2)
  })

  it.skipIf(!hasRealData)('its embeddings within 2 ULP of the largest of each row', () => {
    const tanh = read('use_tanh_24x512')
    const expected = read('use_embedding_24x512')
    expect(ulpsApart(normalize(tanh, 512, { rule: 'clamp-square', eps: 1e-12 }), expected, 512)).toBeLessThanOrEqual(2)
    const y = poolEmbeddings({ data: tanh, dims: [24, 512] }, lastStage as Any).data as Float32Array
    expect(ulpsApart(y, expected, 512)).toBeLessThanOrEqual(2)
  })

  it.skipIf(!hasRealData)('its LayerNorm within 2 ULP of the largest of each row', () => {
    const [weight, bias] = [read('use_layer_norm_weight_512'), read('use_layer_norm_bias_512')]
    const options = { pooling: 'none', layerNorm: { weight, bias, eps: 1e-6 } }
    const y = pool(read('use_layer_norm_in_8x26x512'), [8, 26, 512], options)
    expect(ulpsApart(y, read('use_layer_norm_out_8x26x512'), 512)).toBeLessThanOrEqual(2)
  })

  it.skipIf(!hasRealData)('22 of 22 paraphrases are the nearest', () => {
    const y = poolEmbeddings({ data: read('use_tanh_24x512'), dims: [24, 512] }, lastStage as Any).data as Float32Array
    expect(neighboursKept(y, 512)).toBe(22)
  })
})

// --- Behaviour -------------------------------------------------------------------------------------------------------

const dims = [2, 3, 4]
const makeTensor = () => ({ data: fill(normal, 24, 1), dims })
const ranges = (): [Float32Array, Float32Array] => [new Float32Array(4).fill(-1), new Float32Array(4).fill(1)]
const garbage = <A extends AnyArray>(array: A): A => array.fill(7) as A

/** The function, and the class with the options of its constructor apart. */
const ways: { readonly [op: string]: (hidden: unknown, options: Loose) => unknown } = {
  poolEmbeddings: (hidden, options) => poolEmbeddings(hidden as Any, options as Any),
  EmbeddingPooler: (hidden, options) => {
    const own = ['lengths', 'mask', 'skip', 'out', 'pooled', 'norm', 'scales']
    const entries = Object.entries(options)
    const constants = Object.fromEntries(entries.filter(([name]) => !own.includes(name)))
    const others = Object.fromEntries(entries.filter(([name]) => own.includes(name)))
    return new EmbeddingPooler(4, constants as Any).forward(hidden as Any, others as Any)
  }
}

describe.each(Object.entries(ways))('behaviour: errors of %s', (op, call) => {
  /** Fails unless the call throws so, with every place that it might write to untouched. */
  function refused(hidden: unknown, options: Loose, kind: Kind, ...words: (string | RegExp)[]) {
    const { pooling = 'mean', precision = 'float32', dimensions } = options as Any
    const kinds = Array.isArray(pooling) ? pooling.length : 1
    const rows = pooling === 'none' ? 6 : 2
    const k = Number.isInteger(dimensions) && dimensions > 0 ? dimensions : 4 * kinds
    const Class = typeof precision === 'string' ? memoryOf(precision as Precision) : Float32Array
    const places = {
      out: garbage(new Class(rows * codesPerRow(k, precision))),
      pooled: garbage(new Float32Array(rows * 4 * kinds)),
      norm: garbage(new Float64Array(rows)),
      ...options
    }
    const isArray = (value: unknown) => ArrayBuffer.isView(value) && !/Big/.test(value.constructor.name)
    const data = (hidden as { data?: unknown } | undefined)?.data
    const arrays = [...Object.values(places), data].filter(isArray) as AnyArray[]
    refuses(() => call(hidden, places), arrays, op, kind, ...words)
  }
  const tensor = makeTensor()

  it('hidden states that are none', () => {
    refused(undefined, {}, TypeError)
    refused([1, 2], {}, TypeError)
    refused(tensor.data, {}, TypeError, /tensor/)
    refused({ ...tensor, data: Float64Array.from(tensor.data) }, {}, TypeError, /Float32Array/)
    refused({ ...tensor, type: 'float64' }, {}, TypeError, /type/)
    refused({ ...tensor, dims: [6, 4] }, {}, RangeError, /dims/, /\[6, 4\]/)
    refused({ ...tensor, dims: [24] }, { pooling: 'none' }, RangeError, /dims/, /\[24\]/)
    refused({ ...tensor, dims: [1, 2, 3, 4] }, {}, RangeError, /dims/, /\[1, 2, 3, 4\]/)
    refused({ ...tensor, dims: [2, 2, 4] }, {}, RangeError, /length/)
    refused({ ...tensor, dims: [2, -3, 4] }, {}, RangeError, /dims/)
    refused({ ...tensor, offset: 1 }, {}, RangeError, /offset/)
    refused({ ...tensor, strides: [12, 1, 3] }, {}, RangeError, /strides/)
  })

  it('poolings', () => {
    refused(tensor, { pooling: 'median' }, RangeError, /pooling/, /mean-sqrt/, /"median"/)
    refused(tensor, { pooling: 3 }, TypeError, /pooling/)
    refused(tensor, { pooling: null }, TypeError, /pooling/)
    refused(tensor, { pooling: [] }, Error, /pooling/)
    refused(tensor, { pooling: ['mean', 'median'] }, RangeError, /pooling/, /"median"/)
    refused(tensor, { pooling: ['mean', 3] }, TypeError, /pooling/)
    refused(tensor, { pooling: ['mean', 'none'] }, Error, /pooling/, /none/)
  })

  it('numbers of dimensions', () => {
    for (const dimensions of [0, -1, 1.5, nan, inf]) refused(tensor, { dimensions }, RangeError, /dimensions/)
    refused(tensor, { dimensions: '2' }, TypeError, /dimensions/)
    refused(tensor, { dimensions: 5 }, RangeError, /dimensions/, /4/, /got 5/)
    refused(tensor, { dimensions: 9, pooling: ['mean', 'max'] }, RangeError, /dimensions/, /8/, /got 9/)
  })

  it('precisions and orders of bits', () => {
    refused(tensor, { precision: 'int4' }, RangeError, /precision/, /bfloat16/, /"int4"/)
    refused(tensor, { precision: 8 }, TypeError, /precision/)
    refused(tensor, { precision: 'ubinary', bitOrder: 'big' }, RangeError, /bitOrder/, /msb/, /lsb/)
    refused(tensor, { precision: 'ubinary', bitOrder: 1 }, TypeError, /bitOrder/)
  })

  it('scales', () => {
    refused(tensor, { precision: 'int8' }, TypeError, /scale/, /unit/, /row/, /sqlite-vec/, /ranges/)
    refused(tensor, { precision: 'uint8' }, TypeError, /scale/, /ranges/)
    refused(tensor, { precision: 'int8', scale: 'max' }, RangeError, /scale/, /"max"/)
    refused(tensor, { precision: 'int8', scale: 127 }, TypeError, /scale/)
    for (const scale of ['unit', 'row', 'sqlite-vec']) {
      refused(tensor, { precision: 'uint8', scale }, Error, /scale/, /ranges/)
    }
    const withRanges = (value: unknown) => ({ precision: 'int8', scale: { ranges: value } })
    const [min, max] = ranges()
    refused(tensor, { precision: 'int8', scale: {} }, TypeError, /ranges/)
    refused(tensor, withRanges(min), TypeError, /ranges/)
    refused(tensor, withRanges([min]), Error, /ranges/)
    refused(tensor, withRanges([[...min], max]), TypeError, /ranges/)
    refused(tensor, withRanges([min, Float64Array.from(max)]), TypeError, /ranges/)
    refused(tensor, withRanges([min, max.subarray(1)]), RangeError, /ranges/, /3/)
    refused(tensor, { ...withRanges([min, max]), dimensions: 2 }, RangeError, /ranges/, /2/, /4/)
    for (const wrong of [nan, inf, -inf]) {
      refused(tensor, withRanges([min.with(2, wrong), max]), RangeError, /ranges/, /\b2\b/)
      refused(tensor, withRanges([min, max.with(3, wrong)]), RangeError, /ranges/, /\b3\b/)
    }
    refused(tensor, withRanges([min.with(2, 1.5), max]), RangeError, /ranges/, /\b2\b/)
    refused(tensor, withRanges([detach(min.slice()), max]), TypeError, /ranges/)
  })

  it('options of the stages', () => {
    refused(tensor, { normalize: 2 }, TypeError, /normalize/)
    refused(tensor, { normalize: { p: 0 } }, RangeError, /\bp\b/)
    refused(tensor, { normalize: { p: '2' } }, TypeError, /\bp\b/)
    refused(tensor, { normalize: { rule: 'least' } }, RangeError, /rule/, /clamp-square/)
    refused(tensor, { normalize: { rule: 'clamp-square', p: 1 } }, RangeError, /\bp\b/)
    refused(tensor, { normalize: { eps: -1 } }, RangeError, /eps/)
    refused(tensor, { normalize: { scale: nan } }, RangeError, /scale/)
    refused(tensor, { normalize: { pp: 1 } }, TypeError, /"pp"/)
    refused(tensor, { layerNorm: 1e-5 }, TypeError, /layerNorm/)
    refused(tensor, { layerNorm: { eps: -1 } }, RangeError, /eps/)
    refused(tensor, { layerNorm: { eps: '1' } }, TypeError, /eps/)
    refused(tensor, { layerNorm: { weight: new Float32Array(3) } }, RangeError, /weight/, /got 3/)
    refused(tensor, { layerNorm: { bias: [1, 2, 3, 4] } }, TypeError, /bias/)
    refused(tensor, { layerNorm: { bias: new Float32Array(4) }, pooling: ['cls', 'mean'] }, RangeError, /bias/, /8/)
    refused(tensor, { layerNorm: { gain: 1 } }, TypeError, /"gain"/)
  })

  it('options that there are not', () => {
    refused(tensor, { poling: 'mean' }, TypeError, /option/, /pooling/, /"poling"/)
  })

  it('padding', () => {
    refused(tensor, { lengths: [1, 2], mask: [1, 1, 1, 1, 1, 1] }, TypeError, /mask/)
    refused(tensor, { lengths: [1] }, RangeError, /lengths/, /2/)
    refused(tensor, { lengths: [1, 4] }, RangeError, /lengths\[1\]/)
    refused(tensor, { lengths: 3 }, TypeError, /lengths/)
    refused(tensor, { mask: [1, 1] }, RangeError, /mask/, /6/)
    refused(tensor, { mask: [1, 1, 1, 1, 1, 2] }, RangeError, /mask\[5\]/)
    refused(tensor, { mask: BigInt64Array.of(1n, 1n, 2n, 1n, 1n, 1n) }, RangeError, /mask\[2\]/)
    refused(tensor, { mask: [1n, 1n, 1n, -1n, 1n, 1n] }, RangeError, /mask\[3\]/)
    // Also where one half of the 64 bits is a flag, on each place, behind real and behind padded positions.
    for (const wrong of [2n, -1n, 2n ** 32n, 2n ** 32n + 1n, -(2n ** 63n)]) {
      for (const others of [0n, 1n]) {
        for (let i = 0; i < 6; i++) {
          const mask = new BigInt64Array(6).fill(others)
          mask[i] = wrong
          refused(tensor, { mask }, RangeError, new RegExp(`mask\\[${i}\\] .* got ${wrong}`))
        }
      }
    }
    refused(tensor, { mask: ['1', 1, 1, 1, 1, 1] }, TypeError, /mask\[0\]/)
    refused(tensor, { mask: Float32Array.of(1, nan, 1, 1, 1, 1) }, RangeError, /mask\[1\]/)
    refused(tensor, { mask: { data: new Uint8Array(6), dims: [3, 2] } }, RangeError, /mask/, /dims/)
    refused({ data: tensor.data, dims: [6, 4] }, { pooling: 'none', lengths: [1] }, Error, /lengths/)
  })

  it('numbers of positions to skip', () => {
    for (const skip of [-1, 0.5, nan]) refused(tensor, { skip }, RangeError, /skip/)
    refused(tensor, { skip: '1' }, TypeError, /skip/)
    refused(tensor, { skip: [1] }, RangeError, /skip/, /2/)
    refused(tensor, { skip: [1, -1] }, RangeError, /skip/)
    refused(tensor, { skip: [1, '1'] }, TypeError, /skip/)
  })

  it('places of the wrong kind or size', () => {
    const wrong: { readonly [precision: string]: readonly AnyArray[] } = {
      float32: [new Float64Array(8), new Uint16Array(8), new Int8Array(8)],
      float16: [new Float32Array(8), new Int8Array(8)],
      bfloat16: [new Float32Array(8), new Uint8Array(8)],
      int8: [new Uint8Array(8), new Float32Array(8)],
      uint8: [new Int8Array(8), new Uint16Array(8)],
      binary: [new Uint8Array(2)],
      ubinary: [new Int8Array(2)]
    }
    for (const [precision, arrays] of Object.entries(wrong)) {
      const scale = /int8/.test(precision) ? { scale: { ranges: ranges() } } : {}
      for (const out of arrays) refused(tensor, { precision, ...scale, out: garbage(out) }, TypeError, /out/)
    }
    refused(tensor, { out: [1, 2, 3, 4, 5, 6, 7, 8] }, TypeError, /out/)
    refused(tensor, { out: new Float32Array(24) }, RangeError, /out/, /8/, /24/)
    refused(tensor, { out: { data: new Float32Array(8), dims: [4, 2] } }, RangeError, /out/, /dims/)
    refused(tensor, { precision: 'ubinary', out: new Uint8Array(8) }, RangeError, /out/, /2/, /8/)
    refused(tensor, { pooled: new Float64Array(8) }, TypeError, /pooled/)
    refused(tensor, { pooled: new Float32Array(24) }, RangeError, /pooled/, /8/)
    refused(
      tensor,
      { pooled: new Float32Array(8), pooling: ['mean', 'max'], dimensions: 4 },
      RangeError,
      /pooled/,
      /16/
    )
    refused(tensor, { norm: new Int8Array(2) }, TypeError, /norm/)
    refused(tensor, { norm: new Float32Array(6) }, RangeError, /norm/, /2/)
    const row = { precision: 'int8', scale: 'row', out: garbage(new Int8Array(8)) }
    refused(tensor, { ...row, scales: new Int32Array(2) }, TypeError, /scales/)
    refused(tensor, { ...row, scales: new Float32Array(3) }, RangeError, /scales/, /2/)
  })

  it('scales of float64: they are float32', () => {
    refused(tensor, { precision: 'int8', scale: 'row', scales: new Float64Array(2) }, TypeError, /scales/)
  })

  it('memory that is gone', () => {
    refused({ ...tensor, data: detach(tensor.data.slice()) }, {}, TypeError, /detached/)
    refused(tensor, { out: detach(new Float32Array(8)) }, TypeError, /out/, /detached/)
    refused(tensor, { pooled: detach(new Float32Array(8)) }, TypeError, /pooled/, /detached/)
    refused(tensor, { norm: detach(new Float32Array(2)) }, TypeError, /norm/, /detached/)
    const row = { precision: 'int8', scale: 'row', out: garbage(new Int8Array(8)) }
    refused(tensor, { ...row, scales: detach(new Float32Array(2)) }, TypeError, /scales/, /detached/)
  })

  it('memory that is gone, or dims that are others, once a getter was read', () => {
    const data = fill(normal, 24, 1)
    const out = garbage(new Float32Array(8))
    const options = {
      out,
      get norm() {
        detach(data)
        return undefined
      }
    }
    const own = () =>
      op === 'poolEmbeddings'
        ? poolEmbeddings({ data, dims }, options as Any)
        : new EmbeddingPooler(4).forward({ data, dims }, options as Any)
    refuses(own, [], op, Error)
    expect(out.every(value => value === 7)).toBe(true)
  })

  it('places that overlap', () => {
    const memory = garbage(new Float32Array(64))
    const data = memory.subarray(0, 24)
    const hidden = { data, dims }
    refused(hidden, { out: memory.subarray(0, 8) }, RangeError, /out/)
    refused(hidden, { out: memory.subarray(20, 28) }, RangeError, /out/)
    refused(hidden, { pooled: memory.subarray(0, 8) }, RangeError, /pooled/)
    refused(hidden, { norm: memory.subarray(22, 24) }, RangeError, /norm/)
    const free = { data: fill(normal, 24, 1), dims }
    const out = memory.subarray(0, 8)
    refused(free, { out, pooled: memory.subarray(7, 15) }, RangeError, /out|pooled/)
    refused(free, { out, norm: memory.subarray(7, 9) }, RangeError, /out|norm/)
    refused(free, { pooled: out, norm: memory.subarray(7, 9), out: new Float32Array(8) }, RangeError, /pooled|norm/)
    const bytes = new Int8Array(memory.buffer, 0, 8)
    const row = { precision: 'int8', scale: 'row', scales: memory.subarray(0, 2) }
    refused(free, { ...row, out: bytes }, RangeError, /out|scales/)
    refused(free, { ...row, out: new Int8Array(8), norm: memory.subarray(1, 3) }, RangeError, /norm|scales/)
    const bytesOfHidden = new Int8Array(memory.buffer, 90, 8)
    refused(hidden, { precision: 'int8', scale: 'unit', out: bytesOfHidden }, RangeError, /out/)
  })
})

describe('behaviour: results of poolEmbeddings', () => {
  const { data } = makeTensor()

  it('overwrites out of every kind, wherever it lies, and nothing around it', () => {
    for (const make of quantizations) {
      const quantization = make(4)
      const options = { ...quantization, layerNorm: true }
      const expected = embeddingModel(data, dims, options).y
      const Class = expected.constructor as Uint8ArrayConstructor
      for (const offset of [0, 1, 3]) {
        const memory = garbage(new Class(expected.length + 11))
        const out = memory.subarray(offset, offset + expected.length)
        const y = poolEmbeddings({ data, dims }, { ...options, out } as Any)
        expect(dataOf(y)).toBe(out)
        expect(firstOther(out, expected), JSON.stringify(quantization)).toBe(-1)
        const around = [...memory.subarray(0, offset), ...memory.subarray(offset + expected.length)]
        expect(around.every(value => value === 7)).toBe(true)
      }
    }
  })

  it('gives tensors of the class of the hidden states, with dims and type, or out itself', () => {
    const hidden = new Tensor('float32', data, dims)
    const types = {
      float32: 'float32',
      float16: 'float16',
      int8: 'int8',
      uint8: 'uint8',
      binary: 'int8',
      ubinary: 'uint8'
    }
    for (const [precision, type] of Object.entries(types)) {
      const options = { precision, scale: /int8/.test(precision) ? { ranges: ranges() } : undefined }
      const y = poolEmbeddings(hidden, options as Any)
      const expected = embeddingModel(data, dims, options as Any)
      expect(y, precision).toBeInstanceOf(Tensor)
      expect([y.type, ...y.dims], precision).toEqual([type, ...expected.dims])
      expect(dataOf(y).constructor, precision).toBe(memoryOf(precision as Any))
      expect(firstOther(dataOf(y), expected.y), precision).toBe(-1)
    }
    const brain = poolEmbeddings(hidden, { precision: 'bfloat16' })
    expect([brain.type as string, ...brain.dims]).toEqual(['bfloat16', 2, 4])
    expect(patterns(dataOf(brain))).toBeInstanceOf(Uint16Array)
    const plain = poolEmbeddings({ data, dims }) as { data: unknown; dims: readonly number[] }
    expect([plain.dims, plain.data instanceof Float32Array]).toEqual([[2, 4], true])
    const out = new Tensor('float32', new Float32Array(8), [2, 4])
    expect(poolEmbeddings(hidden, { out } as Any)).toBe(out)
    expectSameBits(out.data as Float32Array, plain.data as Float32Array, 'out')
    const array = new Float32Array(8)
    const over = poolEmbeddings(hidden, { out: array } as Any)
    expect(over.data).toBe(array)
    expect(over).toBeInstanceOf(Tensor)
  })

  it('has dims [N, L, k] for rows of three dims, [N, k] for those of two, and bytes for bits', () => {
    const x = fill(normal, 60, 1)
    const dimsOf = (dims: number[], options: Loose) => {
      const data = dims.includes(0) ? new Float32Array(0) : x
      return [...poolEmbeddings({ data, dims }, options as Any).dims]
    }
    expect(dimsOf([2, 3, 10], { pooling: 'none' })).toEqual([2, 3, 10])
    expect(dimsOf([6, 10], { pooling: 'none' })).toEqual([6, 10])
    expect(dimsOf([2, 3, 10], { pooling: 'none', precision: 'ubinary' })).toEqual([2, 3, 2])
    expect(dimsOf([2, 3, 10], { precision: 'binary', dimensions: 9 })).toEqual([2, 2])
    expect(dimsOf([2, 3, 10], { precision: 'binary', pooling: ['cls', 'max'] })).toEqual([2, 3])
    expect(dimsOf([0, 3, 10], {})).toEqual([0, 10])
    expect(dimsOf([2, 0, 10], {})).toEqual([2, 10])
  })

  it('leaves the hidden states alone, over shared memory too', () => {
    const shared = new Float32Array(new SharedArrayBuffer(96))
    shared.set(data)
    const y = poolEmbeddings({ data: shared, dims }, { pooling: ['mean', 'last'], layerNorm: true })
    expectSameBits(shared, data, 'hidden')
    const expected = embeddingModel(data, dims, { pooling: ['mean', 'last'], layerNorm: true }).y
    expectSameBits(y.data as Float32Array, expected as Float32Array, 'y')
  })
})

describe('behaviour: EmbeddingPooler', () => {
  const { data } = makeTensor()
  const rows = { data, dims: [6, 4] }

  it('refuses numbers of channels that are none, and hidden states of another', () => {
    for (const channels of [0, -1, 1.5, nan]) {
      refuses(() => new EmbeddingPooler(channels), [], 'EmbeddingPooler', RangeError, /channels/)
    }
    refuses(() => new EmbeddingPooler('4' as Any), [], 'EmbeddingPooler', TypeError, /channels/)
    refuses(() => new EmbeddingPooler(3).forward(makeTensor()), [], 'EmbeddingPooler', RangeError, /dims/, /3/)
    refuses(() => new EmbeddingPooler(5, { dimensions: 6 }), [], 'EmbeddingPooler', RangeError, /dimensions/)
    refuses(() => new EmbeddingPooler(5, { precision: 'int8' }), [], 'EmbeddingPooler', TypeError, /sqlite-vec/)
    refuses(() => new EmbeddingPooler(5, { skip: 1 } as Any), [], 'EmbeddingPooler', TypeError, /"skip"/)
    const call = () => new EmbeddingPooler(4).forward(makeTensor(), { pooling: 'max' } as Any)
    refuses(call, [], 'EmbeddingPooler', TypeError, /"pooling"/)
  })

  it('takes arrays of whole rows with pooling none, and gives arrays', () => {
    const pooler = new EmbeddingPooler(4, { pooling: 'none', precision: 'ubinary' })
    const y = pooler.forward(data) as Any
    expect(y).toBeInstanceOf(Uint8Array)
    expect(firstOther(y, embeddingModel(data, [6, 4], { pooling: 'none', precision: 'ubinary' }).y)).toBe(-1)
    expect(dataOf(pooler.forward(rows))).toEqual(y)
    refuses(() => pooler.forward(data.subarray(1)), [data], 'EmbeddingPooler', RangeError, /length/, /4/, /23/)
    const mean = new EmbeddingPooler(4)
    refuses(() => mean.forward(data as Any), [data], 'EmbeddingPooler', TypeError, /tensor/)
  })

  it('copies weights, ranges and poolings', () => {
    const [weight, bias, [min, max]] = [fill(normal, 8, 2), fill(normal, 8, 3), ranges()]
    const pooling: Pooling[] = ['mean', 'max']
    const scale = { ranges: [min, max] as [Float32Array, Float32Array] }
    const layer = { weight, bias }
    const options = { pooling, layerNorm: layer, dimensions: 4, precision: 'int8', scale } as const
    const pooler = new EmbeddingPooler(4, options)
    const expected = embeddingModel(data, dims, options).y
    weight.fill(9)
    bias.fill(9)
    min.fill(-9)
    max.fill(9)
    pooling.pop()
    scale.ranges.pop()
    expect(firstOther(dataOf(pooler.forward({ data, dims })), expected)).toBe(-1)
  })

  it('rejects what forward throws, and leaves what it was given', async () => {
    const pooler = new EmbeddingPooler(4)
    const rejected = async (hidden: unknown, options: Loose) => {
      let promise: Promise<unknown> | undefined
      expect(() => {
        promise = pooler.forwardAsync(hidden as Any, options as Any)
      }).not.toThrow()
      return (promise as Promise<unknown>).then(
        () => undefined,
        (error: unknown) => error
      )
    }
    const out = garbage(new Float32Array(7))
    expectRefusal(await rejected({ data, dims }, { out }), 'EmbeddingPooler', RangeError, /out/)
    expectRefusal(await rejected({ data, dims }, { transfer: 1 }), 'EmbeddingPooler', TypeError, /transfer/)
    expectRefusal(await rejected({ data, dims }, { signal: {} }), 'EmbeddingPooler', TypeError, /signal/)
    expectRefusal(await rejected({ data, dims }, { transfr: true }), 'EmbeddingPooler', TypeError, /option/)
    expectRefusal(await rejected({ data, dims }, { mask: [1] }), 'EmbeddingPooler', RangeError, /mask/)
    expectRefusal(await rejected(undefined, {}), 'EmbeddingPooler', TypeError)
    const part = new Float32Array(48).subarray(0, 24)
    const shared = new Float32Array(new SharedArrayBuffer(96))
    for (const given of [part, shared]) {
      const error = await rejected({ data: given, dims }, { transfer: true })
      expectRefusal(error, 'EmbeddingPooler', TypeError, /transfer/)
      expect(given.length).toBe(24)
    }
    const reason = { any: 'thing' }
    const own = data.slice()
    const signal = AbortSignal.abort(reason)
    expect(await rejected({ data: own, dims }, { signal, transfer: true })).toBe(reason)
    expect(own.length).toBe(24)
    expect(out.every(value => value === 7)).toBe(true)
    expectSameBits(data, makeTensor().data, 'hidden')
  })

  it('rejects where a place is gone when the result is there, and writes nothing', async () => {
    const pooler = new EmbeddingPooler(4)
    for (const gone of ['out', 'pooled', 'norm'] as const) {
      const places = { out: new Float32Array(8), pooled: new Float32Array(8), norm: new Float64Array(2) }
      for (const place of Object.values(places)) garbage(place as AnyArray)
      const promise = pooler.forwardAsync({ data, dims }, places as Any)
      detach(places[gone])
      const error = await promise.then(
        () => undefined,
        (reason: unknown) => reason
      )
      expectRefusal(error, 'EmbeddingPooler', TypeError, gone)
      const left = Object.values(places).filter(place => place !== places[gone])
      for (const place of left) expect([...place].every(value => value === 7)).toBe(true)
    }
  })

  it('takes no notice of masks, lengths and skips that change after the call', async () => {
    const pooler = new EmbeddingPooler(4)
    const mask = Uint8Array.of(0, 1, 1, 1, 1, 0)
    const skip = Int32Array.of(1, 0)
    const promise = pooler.forwardAsync({ data, dims }, { mask, skip } as Any)
    mask.fill(0)
    skip.fill(3)
    const real = (n: number, p: number) => [0, 1, 1, 1, 1, 0][3 * n + p] === 1
    const expected = embeddingModel(data, dims, { real, skip: [1, 0] }).y
    expectSameBits((await promise).data as Float32Array, expected as Float32Array, 'y')
  })
})

describe('behaviour: poolEmbeddings reads each option once', () => {
  const { data } = makeTensor()
  const constants = () => ({
    pooling: ['mean', 'max'],
    layerNorm: true,
    dimensions: 4,
    normalize: true,
    precision: 'int8',
    scale: 'row',
    bitOrder: 'msb'
  })
  const forward = () => ({
    mask: [1, 1, 0, 1, 1, 1],
    skip: [0, 1],
    out: new Int8Array(8),
    pooled: new Float32Array(16),
    norm: new Float32Array(2),
    scales: new Float32Array(2)
  })
  const { signal } = new AbortController()
  const nested = {
    layerNorm: () => ({ weight: new Float32Array(4).fill(1), bias: new Float32Array(4), eps: 1 }),
    normalize: () => ({ p: 2, eps: 1, rule: 'zero', scale: 2 }),
    scale: () => ({ ranges: ranges() })
  }
  const hidden = { data, dims }
  const calls: { readonly [name: string]: readonly [(options: Any) => unknown, () => Loose] } = {
    poolEmbeddings: [o => poolEmbeddings(hidden, o), () => ({ ...constants(), ...forward() })],
    'poolEmbeddings with lengths': [o => poolEmbeddings(hidden, o), () => ({ lengths: [1, 2], skip: 1 })],
    'poolEmbeddings of rows': [o => poolEmbeddings(hidden, o), () => ({ pooling: 'none', norm: new Float64Array(6) })],
    'new EmbeddingPooler': [o => new EmbeddingPooler(4, o), constants],
    'EmbeddingPooler.forward': [o => new EmbeddingPooler(4, constants() as Any).forward(hidden, o), forward],
    'EmbeddingPooler.forwardAsync': [
      o => new EmbeddingPooler(4, constants() as Any).forwardAsync(hidden, o),
      () => ({ ...forward(), signal })
    ],
    'EmbeddingPooler.forwardAsync with transfer': [
      o => new EmbeddingPooler(4).forwardAsync({ data: data.slice(), dims }, o),
      () => ({ lengths: [1, 2], transfer: true })
    ]
  }

  it.each(Object.keys(calls))('%s', async name => {
    const [call, make] = calls[name]
    const given = make()
    const reads = new Map<string, number>()
    await call(counting(given, reads))
    expect(Object.fromEntries(reads)).toEqual(Object.fromEntries(Object.keys(given).map(option => [option, 1])))
  })

  it.each(Object.keys(nested) as (keyof typeof nested)[])('those inside of %s', async name => {
    const given = nested[name]() as Loose
    const once = Object.fromEntries(Object.keys(given).map(option => [option, 1]))
    const more = name === 'scale' ? { precision: 'int8' } : {}
    const ways = [
      (value: object) => poolEmbeddings(hidden, { ...more, [name]: value } as Any),
      (value: object) => new EmbeddingPooler(4, { ...more, [name]: value } as Any).forward(hidden)
    ]
    for (const way of ways) {
      const reads = new Map<string, number>()
      way(counting(given, reads))
      expect(Object.fromEntries(reads)).toEqual(once)
    }
  })

  it('and each property of the hidden states', async () => {
    const properties = { type: 'float32', data, dims, strides: [12, 4, 1], offset: 0 }
    const once = { type: 1, data: 1, dims: 1, strides: 1, offset: 1 }
    const pooler = new EmbeddingPooler(4)
    const ways = [poolEmbeddings, (x: Any) => pooler.forward(x), (x: Any) => pooler.forwardAsync(x)]
    for (const way of ways) {
      const reads = new Map<string, number>()
      await way(counting(properties, reads) as Any)
      expect(Object.fromEntries(reads)).toEqual(once)
    }
  })
})
