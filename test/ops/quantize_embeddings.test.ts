// The bits of every precision on every backend are in pool_embeddings.test.ts; here is what single codes must be.
import { Tensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, random } from '../../dist/esm/cases/data.js'
import { dequantizeEmbeddings, quantizeEmbeddings } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { type Codes, dequantizeModel, type Precision, quantizeModel } from '../support/embedding_model.ts'
import {
  type AnyArray,
  dataOf,
  firstOther,
  memoryOf,
  neighbour,
  patterns,
  quantizations,
  rangesOf,
  typeOf
} from '../support/embeddings.ts'
import { hasRealData, readNpy } from '../support/real_data.ts'
import { counting, detach, type Kind, refuses } from '../support/refusal.ts'

// biome-ignore lint/suspicious/noExplicitAny: options of every kind, and wrong ones
type Any = any
type Loose = { [name: string]: unknown }

const inf = Number.POSITIVE_INFINITY
const nan = Number.NaN
const f32 = Math.fround
const halves = ['float16', 'bfloat16'] as const

/** Codes of numbers, 16-bit types as patterns. */
const codesOf = (x: ArrayLike<number>, options: Loose, dimensions = 1) =>
  patterns(quantizeEmbeddings(new Float32Array(x), dimensions, options as Any) as AnyArray) as Codes
const list = (x: readonly number[], options: Loose, dimensions = 1) => [...codesOf(x, options, dimensions)]
const numbersOf = (codes: Codes, options: Loose, dimensions = 1) =>
  dequantizeEmbeddings(codes, dimensions, options as Any) as Float32Array

describe('equality: quantizeEmbeddings', () => {
  it('gives what the definitions say of numbers that lie on their edges', () => {
    expect(list([1, -1, 0.5, -0.5, 2, -2, nan, inf, -inf, -0], { precision: 'int8', scale: 'unit' })).toEqual([
      ...[127, -127, 64, -64, 127, -127, 0, 127, -127, 0]
    ])
    expect(list([1, 0, -1, 0.999, 2, -2, nan, inf, -inf], { precision: 'int8', scale: 'sqlite-vec' })).toEqual([
      ...[126, 0, -128, 126, 127, -128, 0, 127, -128]
    ])
    const [min, max] = [Float32Array.of(-1), Float32Array.of(1)]
    const ranges = { scale: { ranges: [min, max] } }
    // The step rounds up, so that the end of the range has not the last code.
    const values = [-1, 1, 0, -2, 2, nan, inf, -inf, neighbour(1, -1), neighbour(-1, 1)]
    const expected = [0, 254, 127, 0, 255, 0, 255, 0, 254, 0]
    expect(list(values, { precision: 'uint8', ...ranges })).toEqual(expected)
    expect(list(values, { precision: 'int8', ...ranges })).toEqual(expected.map(code => code - 128))
  })

  it('counts a range of one number as one of step 1', () => {
    const ranges = { scale: { ranges: [Float32Array.of(0.25), Float32Array.of(0.25)] } }
    expect(list([0.25, 0.24, 1.3, 300, nan], { precision: 'uint8', ...ranges })).toEqual([0, 0, 1, 255, 0])
    const tiny = { scale: { ranges: [Float32Array.of(0), Float32Array.of(2 ** -149)] } }
    expect(list([0, 2 ** -149, 1, 2.5], { precision: 'uint8', ...tiny })).toEqual([0, 0, 1, 2])
  })

  it('takes 0 where a range cannot be subtracted in float32 and the quotient is no number', () => {
    const ranges = { scale: { ranges: [Float32Array.of(-3e38), Float32Array.of(3e38)] } }
    expect(list([-3e38, 0, 3e38, inf, -inf, nan], { precision: 'uint8', ...ranges })).toEqual([0, 0, 0, 0, 0, 0])
  })

  it('divides each row by its own scale', () => {
    const scales = new Float32Array(5).fill(7)
    const rows = [
      ...[254, -127, 3, 5],
      ...[0, -0, 0, 0],
      ...[nan, nan, nan, nan],
      ...[nan, 1, -127, 63.5],
      ...[inf, -inf, 3e38, nan]
    ]
    expect(list(rows, { precision: 'int8', scale: 'row', scales }, 4)).toEqual([
      ...[127, -64, 2, 2],
      ...[0, 0, 0, 0],
      ...[0, 0, 0, 0],
      ...[0, 1, -127, 64],
      ...[127, -127, 0, 0]
    ])
    expect([...scales]).toEqual([2, 1, 1, 1, inf])
    const small = [2 ** -149, 60 * 2 ** -149, 64 * 2 ** -149, 190 * 2 ** -149]
    expect(list(small, { precision: 'int8', scale: 'row', scales: scales.subarray(0, 4) })).toEqual([0, 0, 64, 127])
    expect([...scales.slice(0, 4)]).toEqual([1, 1, 2 ** -149, 2 ** -149])
    expect(list([3e38, -3.4e38], { precision: 'int8', scale: 'row' }, 2)).toEqual([112, -127])
  })

  it('packs bits of numbers above 0, row by row', () => {
    const row = [1, -1, 0, 2 ** -149, -0, nan, inf, -inf, 1, 0, 1]
    const two = [...row, ...row.map(value => -value)]
    expect(list(two, { precision: 'ubinary' }, 11)).toEqual([0b10010010, 0b10100000, 0b01000001, 0])
    expect(list(two, { precision: 'ubinary', bitOrder: 'msb' }, 11)).toEqual([0b10010010, 0b10100000, 0b01000001, 0])
    expect(list(two, { precision: 'ubinary', bitOrder: 'lsb' }, 11)).toEqual([0b01001001, 0b101, 0b10000010, 0])
    expect(list(two, { precision: 'binary' }, 11)).toEqual([0x92 - 128, 0xa0 - 128, 0x41 - 128, -128])
    expect(list(two, { precision: 'binary', bitOrder: 'lsb' }, 11)).toEqual([0x49 - 128, 5 - 128, 0x82 - 128, -128])
    for (const dimensions of [1, 7, 8, 9, 16, 63, 64, 65, 200]) {
      const ones = codesOf(new Float32Array(3 * dimensions).fill(1), { precision: 'ubinary' }, dimensions)
      const bits = Array.from(ones, byte => byte.toString(2).padStart(8, '0')).join('')
      const padded = '1'.repeat(dimensions) + '0'.repeat((8 - (dimensions % 8)) % 8)
      expect(bits, `${dimensions}`).toBe(padded.repeat(3))
    }
  })

  it('is float32 unless told otherwise, in memory of its own', () => {
    const x = fill(normal, 12, 1)
    for (const y of [quantizeEmbeddings(x, 4), quantizeEmbeddings(x, 4, { precision: 'float32' })]) {
      expect(y).not.toBe(x)
      expectSameBits(y as Float32Array, x, 'float32')
    }
  })
})

describe('equality: dequantizeEmbeddings', () => {
  const all = Int8Array.from({ length: 256 }, (_, i) => i - 128)
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)

  it('gives the number of every code by every scale', () => {
    const [min, max] = rangesOf(256, 3)
    const options: readonly Loose[] = [
      { precision: 'int8', scale: 'unit' },
      { precision: 'int8', scale: 'sqlite-vec' },
      { precision: 'int8', scale: { ranges: [min, max] } },
      { precision: 'uint8', scale: { ranges: [min, max] } }
    ]
    for (const one of options) {
      // Each code in each dimension.
      for (let shift = 0; shift < 256; shift += 15) {
        const codes = (one.precision === 'int8' ? all : bytes).map((_, i, codes) => codes[(i + shift) % 256])
        expectSameBits(numbersOf(codes, one, 256), dequantizeModel(codes, 256, one as Any), JSON.stringify(one.scale))
      }
    }
    const scales = Float32Array.of(1 / 127, 3e38, 2 ** -149, inf)
    const rows = Int8Array.from([0, 1, 2, 3].flatMap(() => [...all]))
    const row = { precision: 'int8', scale: 'row', scales } as const
    expectSameBits(numbersOf(rows, row, 256), dequantizeModel(rows, 256, row), 'row')
  })

  it('gives 1 and -1 for bits', () => {
    for (const precision of ['binary', 'ubinary'] as const) {
      const codes = precision === 'binary' ? Int8Array.of(0x92 - 128, 0x60 - 128) : Uint8Array.of(0x92, 0x60)
      const msb = [1, -1, -1, 1, -1, -1, 1, -1, -1, 1, 1]
      expect([...numbersOf(codes, { precision }, 11)]).toEqual(msb)
      const lsb = [-1, 1, -1, -1, 1, -1, -1, 1, -1, -1, -1]
      expect([...numbersOf(codes, { precision, bitOrder: 'lsb' }, 11)]).toEqual(lsb)
    }
  })

  it('gives what the definition says of a row with an infinity', () => {
    const scales = new Float32Array(1)
    const codes = codesOf([inf, -inf, 3, nan], { precision: 'int8', scale: 'row', scales }, 4)
    const x = numbersOf(codes, { precision: 'int8', scale: 'row', scales }, 4)
    expect([...x]).toEqual([inf, -inf, nan, nan])
  })

  it('copies float32, and is float32 unless told otherwise', () => {
    const x = fill(normal, 12, 1)
    for (const y of [dequantizeEmbeddings(x, 4), dequantizeEmbeddings(x, 4, { precision: 'float32' })]) {
      expect(y).not.toBe(x)
      expectSameBits(y as Float32Array, x, 'float32')
    }
  })
})

const half = new DataView(new ArrayBuffer(4))

/** Sign, exponent and fraction of a pattern, read by themselves. */
function numberOfPattern(type: (typeof halves)[number], pattern: number): number {
  const size = pattern & 0x7fff
  const sign = pattern >> 15 ? -1 : 1
  if (type === 'bfloat16') {
    half.setUint16(0, pattern)
    return half.getFloat32(0)
  }
  if (size > 0x7c00) return nan
  if (size === 0x7c00) return sign * inf
  const fraction = size & 0x3ff
  return size < 0x400 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** ((size >> 10) - 25)
}

describe.each(halves)('truth: %s', precision => {
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i)
  const infinity = precision === 'float16' ? 0x7c00 : 0x7f80
  const canonical = precision === 'float16' ? 0x7e00 : 0x7fc0

  it('has the number of each of the 65,536 patterns, and gives the pattern back', () => {
    const numbers = new Float32Array(65536)
    for (let pattern = 0; pattern < 65536; pattern++) numbers[pattern] = numberOfPattern(precision, pattern)
    for (const dimensions of [1, 65536]) {
      const x = numbersOf(all, { precision }, dimensions)
      expectSameBits(x, numbers, 'numbers')
      const codes = codesOf(x, { precision }, dimensions)
      const expected = all.map(pattern => ((pattern & 0x7fff) > infinity ? canonical : pattern))
      expect(firstOther(codes, expected)).toBe(-1)
    }
  })

  it('rounds to the nearest, ties to the even one, everything between two of its numbers', () => {
    // Three numbers of each pattern, and the same with the sign.
    const half = 3 * infinity
    const x = new Float32Array(2 * half)
    const expected = new Uint16Array(2 * half)
    for (let pattern = 0; pattern < infinity; pattern++) {
      const low = numberOfPattern(precision, pattern)
      // The first number that is too large counts as the next one here.
      const before = numberOfPattern(precision, pattern - 1)
      const high = pattern + 1 < infinity ? numberOfPattern(precision, pattern + 1) : 2 * low - before
      const middle = (low + high) / 2
      const even = pattern % 2 === 0 ? pattern : pattern + 1
      x.set([middle, neighbour(middle, -1), neighbour(middle, 1)], 3 * pattern)
      expected.set([even, pattern, pattern + 1], 3 * pattern)
    }
    for (let i = 0; i < half; i++) {
      x[half + i] = -x[i]
      expected[half + i] = expected[i] + 0x8000
    }
    expect(firstOther(codesOf(x, { precision }), expected)).toBe(-1)
  })

  it('takes what is too large for an infinity, what is too small for a zero of its sign, and every NaN for one', () => {
    const word = new Uint32Array([0x7fc00000, 0xffc00000, 0x7f800001, 0xff812345, 0x7fffffff, 0x7f900000])
    const nans = new Float32Array(word.buffer)
    const codes = patterns(quantizeEmbeddings(nans, 1, { precision }) as AnyArray)
    expect([...codes]).toEqual(Array(6).fill(canonical))
    const tiny = precision === 'float16' ? 2 ** -25 : 2 ** -134
    const largest = f32(3.4028234663852886e38)
    expect(list([inf, -inf, largest, -largest, tiny, -tiny, 2 ** -149, -0], { precision })).toEqual([
      ...[infinity, infinity + 0x8000, infinity, infinity + 0x8000, 0, 0x8000, 0, 0x8000]
    ])
    expect(list([neighbour(tiny, 1), 3 * tiny], { precision })).toEqual([1, 2])
  })
})

/** The largest error of all elements. */
const worst = (x: Float32Array, error: (i: number) => number) => x.reduce((most, _, i) => Math.max(most, error(i)), 0)

describe('truth: codes of 8 bits', () => {
  const n = 4000
  const next = random(7)
  const x = Float32Array.from({ length: n }, () => 2 * next() - 1)

  // A half of a step, and the roundings of float32 on the way.
  it('unit and row keep a number within half a step', () => {
    const unit = { precision: 'int8', scale: 'unit' }
    const y = numbersOf(codesOf(x, unit), unit)
    expect(worst(x, i => Math.abs(y[i] - x[i]))).toBeLessThanOrEqual(0.5 / 127 + 2 ** -23)
    for (const kind of ['N(0,1)', 'N(0,1e20)', 'log-uniform', 'one outlier'] as const) {
      const columns = 200
      const rows = fill(finiteRows[kind], 10 * columns, 3)
      const scales = new Float32Array(10)
      const row = { precision: 'int8', scale: 'row', scales }
      const back = numbersOf(codesOf(rows, row, columns), row, columns)
      const steps = worst(rows, i => Math.abs(back[i] - rows[i]) / scales[Math.floor(i / columns)])
      expect(steps, kind).toBeLessThanOrEqual(0.5 + 2 ** -15)
    }
  })

  it('ranges and sqlite-vec keep a number within a step, and most within half of one', () => {
    const ranges = { precision: 'uint8', scale: { ranges: [Float32Array.of(-1), Float32Array.of(1)] } }
    const sqlite = { precision: 'int8', scale: 'sqlite-vec' }
    for (const options of [ranges, { ...ranges, precision: 'int8' }, sqlite]) {
      const y = numbersOf(codesOf(x, options), options)
      const steps = (i: number) => Math.abs(y[i] - x[i]) * 127.5
      const near0 = (i: number) => Math.abs(x[i] * 127.5) < 2
      expect(worst(x, i => (near0(i) ? 0 : steps(i)))).toBeLessThanOrEqual(0.5 + 2 ** -14)
      expect(worst(x, steps)).toBeLessThanOrEqual((options === sqlite ? 1 : 0.5) + 2 ** -14)
    }
  })

  it('a code comes back as itself', () => {
    const codes = Int8Array.from({ length: 255 }, (_, i) => i - 127)
    const [min, max] = [Float32Array.of(-0.3), Float32Array.of(0.7)]
    const scales = Float32Array.of(0.37 / 127)
    const unit = { precision: 'int8', scale: 'unit' }
    expect([...codesOf(numbersOf(codes, unit), unit)]).toEqual([...codes])
    const row = { precision: 'int8', scale: 'row', scales }
    expect([...codesOf(numbersOf(codes, row, 255), { precision: 'int8', scale: 'row' }, 255)]).toEqual([...codes])
    const sqlite = { precision: 'int8', scale: 'sqlite-vec' }
    expect([...codesOf(numbersOf(codes, sqlite), sqlite)]).toEqual([...codes])
    const ranges = { precision: 'int8', scale: { ranges: [min, max] } }
    const others = codes.subarray(0, 254) // the last one is cut to the end of the range
    expect([...codesOf(numbersOf(others, ranges), ranges)]).toEqual([...others])
  })

  it.skipIf(!hasRealData)('are as near for the embeddings of a pre-trained encoder', () => {
    const x = readNpy('use_embedding_24x512') as Float32Array
    const scales = new Float32Array(24)
    const row = { precision: 'int8', scale: 'row', scales }
    const y = numbersOf(codesOf(x, row, 512), row, 512)
    const steps = worst(x, i => Math.abs(y[i] - x[i]) / scales[Math.floor(i / 512)])
    expect(steps).toBeLessThanOrEqual(0.5 + 2 ** -15)
    for (const [precision, relative, least] of [
      ['float16', 2 ** -11, 2 ** -25],
      ['bfloat16', 2 ** -8, 2 ** -134]
    ] as const) {
      const near = numbersOf(codesOf(x, { precision }, 512), { precision }, 512)
      expect(worst(x, i => Math.abs(near[i] - x[i]) / (Math.abs(x[i]) * relative + least))).toBeLessThanOrEqual(1)
    }
  })
})

// --- Behaviour -------------------------------------------------------------------------------------------------------

const garbage = <A extends AnyArray>(array: A): A => array.fill(7) as A
const fourRanges = (): [Float32Array, Float32Array] => [new Float32Array(4).fill(-1), new Float32Array(4).fill(1)]

describe('behaviour: errors of quantizeEmbeddings', () => {
  const x = fill(normal, 12, 1)

  function refused(given: unknown, dimensions: unknown, options: Loose, kind: Kind, ...words: (string | RegExp)[]) {
    const arrays = [x, ...Object.values(options)].filter(value => ArrayBuffer.isView(value)) as AnyArray[]
    const call = () => quantizeEmbeddings(given as Any, dimensions as Any, options as Any)
    refuses(call, arrays, 'quantizeEmbeddings', kind, ...words)
  }

  it('rows that are none', () => {
    refused([1, 2, 3, 4], 4, {}, TypeError, /Float32Array/)
    refused(Float64Array.from(x), 4, {}, TypeError, /Float32Array/)
    refused(x.subarray(1), 4, {}, RangeError, /length/, /4/, /11/)
    refused({ data: x, dims: [4, 3] }, 4, {}, RangeError, /dims/, /4/, /\[4, 3\]/)
    refused({ data: x, dims: [3, 5] }, 5, {}, RangeError, /length/)
    for (const dimensions of [0, -1, 1.5, nan]) refused(x, dimensions, {}, RangeError, /dimensions/)
    refused(x, '4', {}, TypeError, /dimensions/)
    refused(detach(x.slice()), 4, {}, TypeError, /detached/)
  })

  it('options that are none', () => {
    refused(x, 4, { precision: 'int4' }, RangeError, /precision/, /"int4"/)
    refused(x, 4, { precision: 'int8' }, TypeError, /scale/, /unit/, /row/, /sqlite-vec/, /ranges/)
    refused(x, 4, { precision: 'uint8' }, TypeError, /scale/, /ranges/)
    refused(x, 4, { precision: 'uint8', scale: 'unit' }, Error, /scale/, /ranges/)
    refused(x, 4, { precision: 'ubinary', bitOrder: 'MSB' }, RangeError, /bitOrder/)
    refused(x, 4, { precison: 'int8' }, TypeError, /option/, /precision/)
    refused(x, 4, { normalize: true }, TypeError, /option/)
    const [min, max] = fourRanges()
    const withRanges = (ranges: unknown) => ({ precision: 'uint8', scale: { ranges } })
    refused(x, 4, withRanges([min.subarray(1), max]), RangeError, /ranges/, /4/, /3/)
    refused(x, 4, withRanges([min, max.with(1, nan)]), RangeError, /ranges/, /\b1\b/)
    refused(x, 4, withRanges([min.with(3, 2), max]), RangeError, /ranges/, /\b3\b/)
  })

  it('places', () => {
    refused(x, 4, { out: garbage(new Float32Array(11)) }, RangeError, /out/, /12/, /11/)
    refused(x, 4, { precision: 'float16', out: garbage(new Float32Array(12)) }, TypeError, /out/)
    refused(x, 4, { precision: 'ubinary', out: garbage(new Uint8Array(2)) }, RangeError, /out/, /3/)
    refused(x, 4, { precision: 'ubinary', out: garbage(new Int8Array(3)) }, TypeError, /out/)
    const row = { precision: 'int8', scale: 'row' }
    refused(x, 4, { ...row, scales: garbage(new Float32Array(4)) }, RangeError, /scales/, /3/)
    refused(x, 4, { ...row, scales: new Int32Array(3) }, TypeError, /scales/)
    refused(x, 4, { out: detach(new Float32Array(12)) }, TypeError, /out/, /detached/)
    const memory = garbage(new Float32Array(32))
    const rows = memory.subarray(0, 12)
    refused(rows, 4, { out: memory.subarray(1, 13) }, RangeError, /out/)
    refused(rows, 4, { ...row, scales: memory.subarray(9, 12) }, RangeError, /scales/)
    const bytes = new Int8Array(memory.buffer, 64, 12)
    refused(x, 4, { ...row, out: bytes, scales: memory.subarray(18, 21) }, RangeError, /out|scales/)
  })
})

describe('behaviour: scales of float64', () => {
  it('are refused: they are float32', () => {
    const scales = garbage(new Float64Array(3))
    const row = { precision: 'int8', scale: 'row', scales } as Any
    const quantize = () => quantizeEmbeddings(fill(normal, 12, 1), 4, row)
    refuses(quantize, [scales], 'quantizeEmbeddings', TypeError, /scales/)
    const dequantize = () => dequantizeEmbeddings(new Int8Array(12), 4, row)
    refuses(dequantize, [scales], 'dequantizeEmbeddings', TypeError, /scales/)
  })
})

describe('behaviour: errors of dequantizeEmbeddings', () => {
  function refused(given: unknown, dimensions: unknown, options: Loose, kind: Kind, ...words: (string | RegExp)[]) {
    const call = () => dequantizeEmbeddings(given as Any, dimensions as Any, options as Any)
    refuses(call, [], 'dequantizeEmbeddings', kind, ...words)
  }

  it('codes of another kind than the precision', () => {
    refused(new Uint8Array(8), 4, { precision: 'int8', scale: 'unit' }, TypeError, /Int8Array/)
    refused(new Int8Array(8), 4, { precision: 'ubinary' }, TypeError, /Uint8Array/)
    refused(new Float32Array(8), 4, { precision: 'bfloat16' }, TypeError, /Uint16Array/)
    refused(new Int8Array(8), 4, {}, TypeError, /Float32Array/)
    refused([1, 2, 3, 4], 4, { precision: 'int8', scale: 'unit' }, TypeError, /Int8Array/)
    refused(new Int8Array(7), 4, { precision: 'int8', scale: 'unit' }, RangeError, /length/, /4/, /7/)
    refused(new Uint8Array(3), 9, { precision: 'ubinary' }, RangeError, /length/, /2/, /3/)
    refused({ data: new Uint8Array(4), dims: [1, 4] }, 9, { precision: 'ubinary' }, RangeError, /dims/, /2/)
    refused(detach(new Int8Array(8)), 4, { precision: 'int8', scale: 'unit' }, TypeError, /detached/)
  })

  it('options', () => {
    const codes = new Int8Array(8)
    refused(codes, 4, { precision: 'int8' }, TypeError, /scale/, /unit/, /row/, /sqlite-vec/, /ranges/)
    refused(codes, 4, { precision: 'int8', scale: 'row' }, TypeError, /scales/)
    refused(codes, 4, { precision: 'int8', scale: 'row', scales: new Float32Array(3) }, RangeError, /scales/, /2/)
    refused(codes, 4, { precision: 'int8', scale: { ranges: [new Float32Array(4)] } }, Error, /ranges/)
    refused(codes, 4, { precision: 'int8', scale: 'unit', out: new Float32Array(8) }, TypeError, /option/)
    for (const dimensions of [0, -1, 0.5]) {
      refused(codes, dimensions, { precision: 'int8', scale: 'unit' }, RangeError, /dimensions/)
    }
  })
})

describe('behaviour: results of quantizeEmbeddings and dequantizeEmbeddings', () => {
  const x = fill(normal, 24, 1)
  const made = quantizations.map(make => make(4))

  it('are arrays for arrays, tensors for tensors, and out itself', () => {
    for (const quantization of made) {
      const { precision } = quantization
      const { codes, scales } = quantizeModel(x, 4, quantization)
      const width = codes.length / 6
      const what = JSON.stringify(quantization)
      const array = quantizeEmbeddings(x, 4, quantization as Any) as AnyArray
      expect(array.constructor, what).toBe(memoryOf(precision))
      const tensor = quantizeEmbeddings({ type: 'float32', data: x, dims: [2, 3, 4] }, 4, quantization as Any) as Any
      expect([tensor.type, ...tensor.dims], what).toEqual([typeOf(precision), 2, 3, width])
      expect(firstOther(dataOf(tensor), codes), what).toBe(-1)

      const Class = codes.constructor as Uint8ArrayConstructor
      const memory = garbage(new Class(codes.length + 9))
      const out = memory.subarray(3, 3 + codes.length)
      expect(quantizeEmbeddings(x, 4, { ...quantization, out } as Any)).toBe(out)
      expect(firstOther(out, codes), what).toBe(-1)
      const around = [...memory.subarray(0, 3), ...memory.subarray(3 + codes.length)]
      expect(around.every(value => value === 7)).toBe(true)
      const place = { type: typeOf(precision), data: garbage(new Class(codes.length)), dims: [6, width] }
      expect(quantizeEmbeddings({ data: x, dims: [6, 4] }, 4, { ...quantization, out: place } as Any)).toBe(place)
      expect(firstOther(place.data, codes), what).toBe(-1)

      const given = { ...quantization, ...(scales ? { scales } : {}) } as Any
      const back = dequantizeEmbeddings(tensor, 4, given) as Any
      expect([...back.dims], what).toEqual([2, 3, 4])
      expectSameBits(back.data, dequantizeModel(codes, 4, given), what)
      expectSameBits(dequantizeEmbeddings(array as Any, 4, given) as Float32Array, back.data, what)
    }
    const onnx = quantizeEmbeddings(new Tensor('float32', x, [6, 4]), 4, { precision: 'int8', scale: 'unit' }) as Any
    expect(onnx).toBeInstanceOf(Tensor)
    expect(dequantizeEmbeddings(onnx, 4, { precision: 'int8', scale: 'unit' })).toBeInstanceOf(Tensor)
  })

  it('leave what they read alone, over shared memory too', () => {
    const shared = new Float32Array(new SharedArrayBuffer(96))
    shared.set(x)
    for (const quantization of made) {
      const y = quantizeEmbeddings(shared, 4, quantization as Any) as AnyArray
      expect(firstOther(y, quantizeModel(x, 4, quantization).codes)).toBe(-1)
      expectSameBits(shared, x, 'x')
    }
  })

  it('are nothing for nothing', () => {
    for (const quantization of made) {
      const y = quantizeEmbeddings(new Float32Array(0), 4, quantization as Any) as AnyArray
      expect([y.length, y.constructor]).toEqual([0, memoryOf(quantization.precision as Precision)])
      const scales = new Float32Array(0)
      const given = { ...quantization, ...(quantization.scale === 'row' ? { scales } : {}) }
      expect(dequantizeEmbeddings(y as Any, 4, given as Any)).toEqual(new Float32Array(0))
    }
  })

  it('come of options that are read once', () => {
    const quantize = () => ({
      ...{ precision: 'int8', scale: 'row', bitOrder: 'msb' },
      ...{ out: new Int8Array(24), scales: new Float32Array(6) }
    })
    const dequantize = () => ({ precision: 'int8', scale: 'row', bitOrder: 'lsb', scales: new Float32Array(6) })
    const calls = [
      [(options: Any) => quantizeEmbeddings(x, 4, options), quantize()],
      [(options: Any) => dequantizeEmbeddings(new Int8Array(24), 4, options), dequantize()]
    ] as const
    for (const [call, given] of calls) {
      const reads = new Map<string, number>()
      call(counting(given, reads))
      expect(Object.fromEntries(reads)).toEqual(Object.fromEntries(Object.keys(given).map(option => [option, 1])))
    }
    const properties = { data: x, dims: [6, 4], type: 'float32' }
    const reads = new Map<string, number>()
    quantizeEmbeddings(counting(properties, reads) as Any, 4)
    expect(Object.fromEntries(reads)).toEqual({ data: 1, dims: 1, type: 1 })
  })
})
