// Rule 24: elements of float16 and bfloat16. Widening and rounding, all patterns and all ties of them; and what every kernel makes
// of such elements, which is the rounding of what it makes of the same numbers as float32.
import { afterAll, describe, expect, it } from 'vitest'
import { type Fill, fill, finiteRows, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { storedCase } from '../../dist/esm/cases/elements.js'
import { type Case, goldenOf, type Result, storedCases } from '../../dist/esm/cases/index.js'
import { spansOf, spansOfSamples } from '../../dist/esm/cases/volumes.js'
import { getNumThreads, setNumThreads } from '../../dist/esm/index.js'
import { newElements, storedOver } from '../../dist/esm/kernels/arrays.js'
import { type ElementType, types16 } from '../../dist/esm/kernels/elements.js'
import { type Kernels, type Op, ops, kernels as typescript } from '../../dist/esm/kernels/index.js'
import golden from '../golden.json' with { type: 'json' }
import { backendsHere } from '../support/backends.ts'
import { expectSameBits } from '../support/bits.ts'
import { expectRounded, roundedResult } from '../support/elements.ts'
import { long } from '../support/process.ts'

/** The formats: bits of the exponent, of the fraction, the exponent's bias; and the one NaN. */
const formats = {
  float16: { fraction: 10, bias: 15, infinity: 0x7c00, nan: 0x7e00 },
  bfloat16: { fraction: 7, bias: 127, infinity: 0x7f80, nan: 0x7fc0 }
}
type Format = (typeof formats)['float16']

/** The number of a positive pattern, by the definition of IEEE 754; of Infinity's, the number that would stand there. */
function numberOf({ fraction, bias }: Format, pattern: number): number {
  const exponent = pattern >> fraction
  const rest = pattern & ((1 << fraction) - 1)
  return exponent === 0 ? rest * 2 ** (1 - bias - fraction) : (2 ** fraction + rest) * 2 ** (exponent - bias - fraction)
}

/** Copies numbers from one memory into another by a kernel that leaves each as it is: x / 1^0. */
function copy(kernels: Kernels, y: Float32Array, x: Float32Array): void {
  const shape = { samples: 1, groups: 1, channelsPerGroup: 1, positions: x.length, channelsLast: false }
  kernels.local_response_norm({ y, x, shape, before: 0, behind: 0, alpha: 0, beta: 0, k: 1 })
}

const stored = (type: ElementType, patterns: ArrayLike<number>) => {
  const array = newElements(type, patterns.length)
  array.set(patterns)
  return array
}

const float32 = new Float32Array(1)
const pattern32 = new Int32Array(float32.buffer)
/** The float32 next to a positive one. */
function neighbour(value: number, step: 1 | -1): number {
  float32[0] = value
  pattern32[0] += step
  return float32[0]
}

/** Float32 with the patterns that they round to: all numbers of a type, the ties between them, and the neighbours of both. */
function* roundings(format: Format): Generator<[value: number, pattern: number]> {
  for (let low = 0; low < format.infinity; low++) {
    const value = numberOf(format, low)
    const next = numberOf(format, low + 1)
    const tie = value / 2 + next / 2
    yield [value, low]
    // Those of float32's own subnormals and beyond have no neighbour between.
    if (Math.fround(tie) !== tie) throw new Error(`no tie at ${low}`)
    yield [tie, low % 2 === 0 ? low : low + 1]
    yield [neighbour(tie, 1), low + 1]
    yield [neighbour(tie, -1), low]
    if (low > 0) {
      yield [neighbour(value, 1), low]
      yield [neighbour(value, -1), low]
    }
  }
  yield [3.4028234663852886e38, format.infinity]
  yield [Number.POSITIVE_INFINITY, format.infinity]
  for (const tiny of [2 ** -149, 2 ** -140, 2 ** -135])
    yield [tiny, format === formats.float16 ? 0 : Math.round(tiny * 2 ** 133)]
}

/** The same with both signs, made once. */
const made = new Map<Format, { values: Float32Array; patterns: Uint16Array }>()
function allRoundings(format: Format) {
  const known = made.get(format)
  if (known) return known
  const values = new Float32Array(400_000)
  const patterns = new Uint16Array(400_000)
  let n = 0
  for (const [value, pattern] of roundings(format)) {
    values[n] = value
    patterns[n++] = pattern
    values[n] = -value
    patterns[n++] = pattern | 0x8000
  }
  const both = { values: values.slice(0, n), patterns: patterns.slice(0, n) }
  made.set(format, both)
  return both
}

describe.each(backendsHere)('equality: numbers of 16 bits on %s', (_, kernels) => {
  it.each(types16)('%s: all 65,536 patterns are widened exactly, and come back as they were', type => {
    const format = formats[type]
    const all = Uint16Array.from({ length: 65536 }, (_, pattern) => pattern)
    const wide = new Float32Array(65536)
    copy(kernels, wide, stored(type, all))
    const exact = Float32Array.from(all, pattern => {
      const size = pattern & 0x7fff
      const value = size > format.infinity ? Number.NaN : size === format.infinity ? Infinity : numberOf(format, size)
      return pattern < 32768 ? value : -value
    })
    expectSameBits(wide, exact, type)
    const back = newElements(type, 65536)
    copy(kernels, back, wide)
    const same = all.map(pattern => ((pattern & 0x7fff) > format.infinity ? format.nan : pattern))
    expectSameBits(back, stored(type, same), `${type} and back`)
    const copied = newElements(type, 65536)
    copy(kernels, copied, stored(type, all))
    expectSameBits(copied, stored(type, same), `${type} to ${type}`)
    const permuted = newElements(type, 65536)
    kernels.permute({ y: permuted, x: stored(type, all), shape: { dims: [65536], xStrides: [1], yStrides: [1] } })
    expectSameBits(permuted, all, 'a copy leaves also NaN as it is')
  })

  it.each(types16)('%s: float32 is rounded to the nearest, ties to even, at every number and tie', type => {
    const { values, patterns } = allRoundings(formats[type])
    expect(values.length).toBeGreaterThan(2 * 6 * 31_000)
    const rounded = newElements(type, values.length)
    copy(kernels, rounded, values)
    expectSameBits(rounded, patterns, type)
  })

  it.each(types16)('%s: every NaN of float32 gives the one of the type', type => {
    const bits = [0x7fc00000, 0x7f800001, 0xffc00000, 0xff800001, 0x7fffffff, 0xffffffff, 0x7f802000, 0x7f80ffff]
    const nans = new Float32Array(Uint32Array.from([...bits, ...bits, ...bits]).buffer)
    const rounded = newElements(type, nans.length)
    copy(kernels, rounded, nans)
    expectSameBits(rounded, stored(type, new Array(nans.length).fill(formats[type].nan)), type)
  })

  it.each(types16)('%s: at every length and offset, and nothing around it is written', type => {
    const { layer_norm } = kernels
    for (const n of [...Array.from({ length: 70 }, (_, i) => i + 1), 127, 128, 129, 768, 4095, 4096, 4097, 8193]) {
      for (const offset of n < 70 ? [1, 2, 3] : [5]) {
        const marks = new Uint16Array(n + 80).fill(0xa5a5)
        const source = fill(normal, n, n)
        const x = storedOver({ type }, new ArrayBuffer(2 * (n + offset)), 2 * offset, n)
        copy(typescript, x, source)
        const y = storedOver({ type }, marks.buffer, 2 * offset, n)
        copy(kernels, y, x)
        expectSameBits(y, x.slice(), `${n} at ${offset}`)
        const shape = { outer: 1, size: n, inner: 1 }
        layer_norm({ ...without, y, x, shape, residualScale: 1, eps: 1e-5 })
        const around = [...marks.keys()].filter(i => i < offset || i >= offset + n)
        expect(
          around.every(i => marks[i] === 0xa5a5),
          `${n} at ${offset}`
        ).toBe(true)
      }
    }
  })
})

const without = {
  sum: undefined,
  mean: undefined,
  rstd: undefined,
  residual: undefined,
  weight: undefined,
  bias: undefined
}

/** The results that cases have to have, made once. */
const results = new Map<string, [Case, Result][]>()
function casesOf(op: Op, type: (typeof types16)[number]): [Case, Result][] {
  const key = `${op} ${type}`
  const known =
    results.get(key) ?? [...storedCases(op, type)].map(given => [given, roundedResult(op, typescript, given)])
  results.set(key, known as [Case, Result][])
  return known as [Case, Result][]
}

describe.each(backendsHere)('equality: kernels with elements of 16 bits on %s', (_, kernels) => {
  it.each(ops)('%s gives the rounding of its float32 results, whose hashes are the golden ones', op => {
    for (const type of types16) {
      const all = casesOf(op, type)
      for (const [given, wanted] of all) expectRounded(op, kernels, given, wanted)
      // Of one backend: the others' bits were the same.
      if (kernels !== typescript) continue
      const hashes = goldenOf(
        op,
        kernels,
        all.map(([given]) => given)
      )
      expect(hashes, type).toEqual((golden as { [line: string]: unknown })[`${op} ${type}`])
    }
  })
})

/** Numbers of a distribution, the same again for another seed from another place on: to make them takes most of a call. */
const pools = new Map<Fill, Float32Array>()
function numbersOf(of: Fill, n: number, seed: number): Float32Array {
  const pool = pools.get(of) ?? fill(of, 200_000, 1)
  pools.set(of, pool)
  return pool.slice(seed * 97, seed * 97 + n)
}

/** Rows, columns, both layouts and padding, of sizes beyond a block of 4096 elements and such as are divided among threads. */
function* largeCases(): Generator<[Op, Case]> {
  const numbers = { residualScale: 0.7, eps: 1e-5, weightOffset: 0, p: 2, rule: 0, factor: 1.5 }
  for (const [i, [outer, size, inner]] of [
    [260, 520, 1],
    [2, 70_000, 1],
    [3, 520, 90],
    [1, 9000, 17],
    [2, 300, 33], // brought in by 32 columns and one
    [40, 4, 900]
  ].entries()) {
    const n = outer * size * inner
    const x = numbersOf(finiteRows[i % 2 ? 'N(3,0.5)' : 'N(0,1)'], n, i)
    const weight = fill(ordinaryWeights, size, i)
    const samples = inner === 1 ? 1 : outer
    for (const isPadded of [false, true]) {
      const spans = isPadded ? spansOfSamples(spansOf(samples, inner === 1 ? outer : inner, i)) : undefined
      const shape = { outer, size, inner, spans }
      const more = { x, weight, bias: weight, shape, keepsSum: false, counted: Math.ceil(size / 3), ...numbers }
      const name = `${outer} x ${size} x ${inner}${isPadded ? ', padded' : ''}`
      const residual = isPadded ? undefined : numbersOf(normal, n, i + 1)
      for (const op of ['layer_norm', 'rms_norm', 'normalize'] as const) {
        yield [op, { name, ...more, residual, keepsSum: !!residual } as Case]
      }
      if (inner > 1) continue
      const dy = numbersOf(normal, n, i + 2)
      for (const op of ['layer_norm_backward', 'rms_norm_backward', 'normalize_backward'] as const) {
        yield [op, { name, ...more, dy, dsum: isPadded ? dy : undefined, keepsSum: isPadded } as Case]
      }
      yield ['residual_sum', { name, ...more, shape: { outer, size, inner }, residual: dy } as Case]
    }
  }
  for (const [i, [samples, groups, channelsPerGroup, positions]] of [
    [3, 30, 1, 1600],
    [2, 3, 7, 3300],
    [600, 40, 6, 1],
    [1, 2, 1, 70_000]
  ].entries()) {
    for (const channelsLast of [false, true]) {
      for (const isPadded of [false, true]) {
        const spans = isPadded ? spansOfSamples(spansOf(samples, positions, i)) : undefined
        const shape = { samples, groups, channelsPerGroup, positions, channelsLast, spans }
        const channels = groups * channelsPerGroup
        const n = samples * channels * positions
        const x = numbersOf(finiteRows['N(3,0.5)'], n, i)
        const weight = fill(ordinaryWeights, channels, i)
        const one = { ...shape, groups: channels, channelsPerGroup: 1 }
        const given = { mean: new Float64Array(channels).fill(0.5), variance: new Float64Array(channels).fill(2) }
        const more = { x, weight, bias: weight, eps: 1e-5, dy: numbersOf(normal, n, i + 9), training: 1 }
        const window = { before: 1, behind: Math.min(2, channels), alpha: 0.1, beta: 0.75, k: 1 }
        const name = `[${samples}, ${groups} x ${channelsPerGroup}, ${positions}]${channelsLast ? ' last' : ''}${isPadded ? ', padded' : ''}`
        yield ['batch_norm', { name, ...more, ...given, shape: one } as Case]
        yield ['batch_statistics', { name, ...more, shape: one } as Case]
        yield ['group_norm', { name, ...more, shape } as Case]
        yield ['batch_norm_backward', { name, ...more, mean: given.mean, rstd: given.variance, shape: one } as Case]
        yield ['group_norm_backward', { name, ...more, shape } as Case]
        if (!isPadded) yield ['local_response_norm', { name, ...more, ...window, shape: one } as Case]
        if (channelsLast) yield ['pool_embeddings', { name, ...more, shape: one } as Case]
      }
    }
  }
}

describe('equality: large calls with elements of 16 bits', () => {
  const before = getNumThreads()
  afterAll(() => setNumThreads(before))
  const native = backendsHere.filter(([name]) => name !== 'js')

  it.skipIf(native.length === 0)('have the same bits on one thread and on several', () => {
    let index = 0
    for (const [op, given] of largeCases()) {
      index++
      if (!long && index % 5 !== 0) continue
      const stored = storedCase(op, given, types16[index % 2], index)
      setNumThreads(2)
      const wanted = roundedResult(op, native[0][1], stored)
      // Each backend on its turn with both.
      const [, kernels] = native[index % native.length]
      for (const threads of [1, 2]) {
        setNumThreads(threads)
        expectRounded(op, kernels, stored, wanted)
      }
    }
  })

  it.runIf(long)('have them in TypeScript', () => {
    let index = 0
    for (const [op, given] of largeCases()) {
      const stored = storedCase(op, given, types16[index % 2], index++)
      expectRounded(op, typescript, stored, roundedResult(op, native[0]?.[1] ?? typescript, stored))
    }
  })
})
