// Rule 15 in the kernels, on every backend and number of threads: spans of every kind, over memory full of garbage.
import { afterAll, describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { getNumThreads, setNumThreads } from '../../dist/esm/index.js'
import type { Kernels } from '../../dist/esm/kernels/index.js'
import type { Statistic } from '../../dist/esm/kernels/operands.js'
import { backendsHere } from '../support/backends.ts'
import { expectSameBits } from '../support/bits.ts'
import { batchNormModel, batchStatisticsModel, groupNormModel, place } from '../support/model.ts'

const threadsBefore = getNumThreads()
afterAll(() => setNumThreads(threadsBefore))

/** Which positions of sample n are real. */
const kinds: { readonly [kind: string]: (n: number, p: number, positions: number) => boolean } = {
  none: () => false,
  all: () => true,
  'one, at any place': (n, p, positions) => p === (n * 5) % positions,
  'all but one': (n, p, positions) => p !== (n * 3 + 1) % positions,
  'by turns': (n, p) => (p + n) % 2 === 0,
  'long stretches': (n, p, positions) => Math.floor((p * (n + 2)) / positions) % 2 === n % 2,
  'of each sample another kind': (n, p, positions) => (n % 3 === 0 ? false : n % 3 === 1 ? true : p === positions - 1)
}

/** The spans of so many samples, as kernels take them: where each sample's begin and end, then the spans. */
function spansOf(samples: number, positions: number, real: (n: number, p: number) => boolean): Int32Array {
  const starts = [samples + 1]
  const ranges: number[] = []
  for (let n = 0; n < samples; n++) {
    for (let p = 0; p < positions; p++) {
      if (!real(n, p)) continue
      const begins = p === 0 || !real(n, p - 1)
      if (begins) ranges.push(p, p + 1)
      else ranges[ranges.length - 1] = p + 1
    }
    starts.push(samples + 1 + ranges.length)
  }
  return Int32Array.from([...starts, ...ranges])
}

const garbage = [Number.NaN, 7, Number.POSITIVE_INFINITY, -3e38]
const dirty = <Items extends Statistic>(array: Items): Items => {
  for (let i = 0; i < array.length; i++) array[i] = garbage[i % 4]
  return array
}

/** One thread, and several where there are any. */
const counts = backendsHere.length > 1 ? [1, 3] : [1]

type Written = { readonly [name: string]: Statistic }

/** Fails unless the padded call writes what the call without padding writes where `real` says so, and 0 elsewhere. */
function expectPadded(
  padded: Written,
  plain: Written,
  realElement: (i: number) => boolean,
  realGroup: (group: number) => boolean,
  what: string
) {
  for (const [name, array] of Object.entries(padded)) {
    const isReal = array.length === plain.y.length && (name === 'y' || name === 'sum') ? realElement : realGroup
    const expected = plain[name].map((value, i) => (isReal(i) ? value : 0)) as Statistic
    expectSameBits(array, expected, `${what}: ${name}`)
  }
}

/** rows of `size`, or matrices of `size` x `inner` whose columns are groups. */
const groupShapes = [
  { outer: 1, size: 5, inner: 1 },
  { outer: 2, size: 1, inner: 1 },
  { outer: 40, size: 33, inner: 1 },
  { outer: 1100, size: 256, inner: 1 }, // divided among threads
  { outer: 3, size: 4, inner: 2 },
  { outer: 4, size: 9, inner: 37 },
  { outer: 2, size: 3, inner: 600 },
  { outer: 3, size: 130, inner: 700 } // divided among threads
]

/** Calls of row operations; `sum` is dirty, and so are the statistics, of either type. */
const rowOps: { readonly [op: string]: (kernels: Kernels, given: RowGiven) => Written } = {
  layer_norm(kernels, { x, residual, shape, Statistics }) {
    const groups = shape.outer * shape.inner
    const out = { y: dirty(new Float32Array(x.length)), sum: dirty(new Float32Array(x.length)) }
    const statistics = { mean: dirty(new Statistics(groups)), rstd: dirty(new Statistics(groups)) }
    const [weight, bias] = [fill(ordinaryWeights, shape.size, 1), fill(normal, shape.size, 2)]
    kernels.layer_norm({ ...out, ...statistics, x, residual, weight, bias, shape, residualScale: 0.5, eps: 1e-5 })
    return { ...out, ...statistics }
  },
  rms_norm(kernels, { x, shape, Statistics }) {
    const out = { y: dirty(new Float32Array(x.length)), rstd: dirty(new Statistics(shape.outer * shape.inner)) }
    const weight = fill(ordinaryWeights, shape.size, 1)
    const numbers = { counted: Math.ceil(shape.size / 2), residualScale: 1, eps: 1e-6, weightOffset: 1 }
    kernels.rms_norm({ ...out, sum: undefined, x, residual: undefined, weight, shape, ...numbers })
    return out
  },
  'rms_norm with a sum in place of x'(kernels, { x, residual, shape }) {
    const out = { y: dirty(new Float32Array(x.length)), sum: x.slice() }
    const numbers = { counted: shape.size, residualScale: 1, eps: 1e-6, weightOffset: 0 }
    kernels.rms_norm({ ...out, rstd: undefined, x: out.sum, residual, weight: undefined, shape, ...numbers })
    return out
  },
  normalize(kernels, { x, shape, Statistics }) {
    const out = { y: dirty(new Float32Array(x.length)), norm: dirty(new Statistics(shape.outer * shape.inner)) }
    kernels.normalize({ ...out, x, shape, p: 2, rule: 0, eps: 1e-12, factor: 3 })
    return out
  },
  'normalize in place'(kernels, { x, shape }) {
    const y = x.slice()
    kernels.normalize({ y, norm: undefined, x: y, shape, p: 2, rule: 3, eps: 1e-12, factor: 1 })
    return { y }
  }
}

interface RowGiven {
  readonly x: Float32Array
  readonly residual: Float32Array
  readonly shape: { outer: number; size: number; inner: number; spans?: Int32Array }
  readonly Statistics: typeof Float32Array | typeof Float64Array
}

/** samples, groups, channels of a group, positions. */
const volumes = [
  [3, 2, 1, 1],
  [7, 3, 1, 2],
  [4, 5, 1, 40],
  [70, 2, 1, 9],
  [2, 3, 1, 4200],
  [3, 2, 3, 17],
  [4, 33, 1, 1500] // divided among threads
]

/** Calls over channels with what the model says of them, where the real positions of each sample are its first ones. */
function makeVolumeCalls(channelsLast: boolean) {
  return volumes.flatMap(([samples, groups, channels, positions], index) => {
    const count = groups * channels
    const size = samples * count * positions
    const large = size > 100_000
    return Object.entries(kinds).flatMap(([kind, realAt]) => {
      if (large && kind !== 'by turns') return []
      const real = (n: number, p: number) => realAt(n, p, positions)
      const values = fill(finiteRows['N(3,0.5)'], size, index)
      const x = dirty(new Float32Array(size))
      const packed = { samples, groups, channels, positions, channelsLast, x: new Float32Array(size) }
      const spans = new Int32Array(2 * samples)
      const from = new Map<number, number>()
      for (let n = 0; n < samples; n++) {
        const kept = Array.from({ length: positions }, (_, p) => p).filter(p => real(n, p))
        spans[2 * n + 1] = kept.length
        kept.forEach((p, i) => {
          for (let c = 0; c < count; c++) {
            const [at, target] = [place(packed, n, c, p), place(packed, n, c, i)]
            x[at] = values[at]
            packed.x[target] = values[at]
            from.set(at, target)
          }
        })
      }
      const affine = { weight: fill(ordinaryWeights, count, 1), bias: fill(normal, count, 2), eps: 1e-5 }
      const statistics = {
        mean: Float64Array.from(affine.weight),
        variance: Float64Array.from(affine.bias, Math.abs)
      }
      const model = { ...packed, ...affine, spans }
      const unpacked = (y: Float32Array) => x.map((_, i) => y[from.get(i) ?? -1] ?? 0)
      const group = groupNormModel(model)
      const batch = channels === 1 && {
        ...batchStatisticsModel(model),
        y: unpacked(batchNormModel(model, statistics.mean, statistics.variance).y)
      }
      const shape = {
        ...{ samples, groups, channelsPerGroup: channels, positions, channelsLast },
        spans: spansOf(samples, positions, real)
      }
      const name = `[${samples}, ${groups} x ${channels}, ${positions}], ${kind}`
      return [{ name, x, shape, affine, statistics, expected: { group: { ...group, y: unpacked(group.y) }, batch } }]
    })
  })
}

/** The same, made once for all backends. */
const volumeCalls: { [layout: string]: ReturnType<typeof makeVolumeCalls> } = {}

describe.each(backendsHere)('equality: rule 15 on %s', (_, kernels) => {
  it.each(Object.keys(rowOps))('%s of real rows and columns is that of a call without padding', op => {
    for (const [index, shape] of groupShapes.entries()) {
      const { outer, size, inner } = shape
      const [samples, positions] = inner === 1 ? [1, outer] : [outer, inner]
      const x = fill(finiteRows['N(3,0.5)'], outer * size * inner, index)
      const residual = fill(normal, x.length, index + 1)
      const given = { x, residual, Statistics: index % 2 ? Float32Array : Float64Array }
      const plain = rowOps[op](kernels, { ...given, shape })
      for (const [kind, real] of Object.entries(kinds)) {
        if (x.length > 100_000 && !['by turns', 'long stretches'].includes(kind)) continue
        // Without columns the groups are those of one sample.
        const isReal = (group: number) => real(Math.floor(group / positions), group % positions, positions)
        const groupOf = (i: number) => Math.floor(i / (size * inner)) * inner + (i % inner)
        const spans = spansOf(samples, positions, (n, p) => real(n, p, positions))
        for (const threads of counts) {
          setNumThreads(threads)
          const padded = rowOps[op](kernels, { ...given, shape: { ...shape, spans } })
          const what = `[${outer}, ${size}, ${inner}], ${kind}, ${threads} threads`
          expectPadded(padded, plain, i => isReal(groupOf(i)), isReal, what)
        }
      }
    }
  })

  it.each([false, true])('batch and group normalization count real positions alone, channels last %s', channelsLast => {
    volumeCalls[`${channelsLast}`] ??= makeVolumeCalls(channelsLast)
    for (const given of volumeCalls[`${channelsLast}`]) {
      const { name, x, shape, affine, statistics, expected } = given
      const groups = shape.samples * shape.groups
      for (const threads of counts) {
        setNumThreads(threads)
        const what = `${name}, ${threads} threads`
        const y = dirty(new Float32Array(x.length))
        const own = { mean: dirty(new Float64Array(groups)), rstd: dirty(new Float64Array(groups)) }
        kernels.group_norm({ ...affine, ...own, x, shape, y })
        expectSameBits(y, expected.group.y, `${what}: group_norm`)
        expectSameBits(own.mean, expected.group.mean, `${what}: mean of group_norm`)
        expectSameBits(own.rstd, expected.group.rstd, `${what}: rstd of group_norm`)
        if (!expected.batch) continue
        const places = { mean: dirty(new Float64Array(shape.groups)), variance: dirty(new Float64Array(shape.groups)) }
        kernels.batch_statistics({ ...places, x, shape })
        expectSameBits(places.mean, expected.batch.mean, `${what}: mean`)
        expectSameBits(places.variance, expected.batch.variance, `${what}: variance`)
        const inPlace = x.slice()
        kernels.batch_norm({ ...affine, ...statistics, shape, x: inPlace, y: inPlace })
        expectSameBits(inPlace, expected.batch.y, `${what}: batch_norm in place`)
        kernels.batch_norm({ ...affine, ...statistics, shape, x, y: dirty(y) })
        expectSameBits(y, expected.batch.y, `${what}: batch_norm`)
      }
    }
  })
})

describe('behaviour: the spans of this file', () => {
  it('have every kind: none, one, all, several', () => {
    const of = (kind: string) => [...spansOf(3, 6, (n, p) => kinds[kind](n, p, 6))]
    expect(of('none')).toEqual([4, 4, 4, 4])
    expect(of('all')).toEqual([4, 6, 8, 10, 0, 6, 0, 6, 0, 6])
    expect(of('by turns').length).toBeGreaterThan(4 + 3 * 4)
  })
})
