// The tests that operations over channels share: equality on every backend, and truth against exact arithmetic.
import { describe, expect, it } from 'vitest'
import type { Kernels } from '../../dist/esm/backend.js'
import type { Statistic } from '../../dist/esm/canonical.js'
import { fill, finiteRows, normal, ordinaryWeights, wildWeights } from '../../dist/esm/cases/data.js'
import { cases } from '../../dist/esm/cases/index.js'
import type { VolumeCall } from './model.ts'
import { place } from './model.ts'
import { errorInHalfUlps, meanErrorInHalfUlps, normalise } from './oracle.ts'
import { backendsHere, expectSameBits, guarded, testCases } from './suites.ts'

/** A case of any op over channels. */
export type AnyVolume = Omit<VolumeCall, 'spans' | 'weight' | 'bias' | 'eps'> & {
  readonly name: string
  readonly spans?: Int32Array | undefined
  readonly weight?: Float32Array | undefined
  readonly bias?: Float32Array | undefined
}

type Outputs = { readonly [name: string]: Statistic }

/** An op over channels under test. */
export interface VolumeOp<Given extends AnyVolume> {
  readonly name: keyof Kernels
  /** New arrays for what a call writes: `y`, shaped as x, and statistics, each of as many rows of `groups` as it needs. */
  outputs(given: Given): Outputs
  call(kernels: Kernels, given: Given, outputs: Outputs): void
  model(given: Given): Outputs
  /** Whether y may be x. */
  readonly inPlace: boolean
  /** Whether each sample is normalised by itself. */
  readonly bySample: boolean
  /** Whether each group is normalised by itself. */
  readonly byGroup: boolean
}

/** The elements of samples [from, to) of an array that has some for each sample. */
const samplesOf = <Items extends Statistic>(items: Items, samples: number, from: number, to: number) =>
  items.slice((from * items.length) / samples, (to * items.length) / samples)

/** The groups [from, to) of a case, in memory of their own. */
function narrow<Given extends AnyVolume>(given: Given, from: number, to: number): Given {
  const { samples, channels, positions } = given
  const [first, count] = [from * channels, (to - from) * channels]
  const part = { ...given, groups: to - from, x: new Float32Array(samples * count * positions) }
  for (let n = 0; n < samples; n++) {
    for (let c = 0; c < count; c++) {
      for (let p = 0; p < positions; p++) part.x[place(part, n, c, p)] = given.x[place(given, n, first + c, p)]
    }
  }
  const weight = given.weight?.slice(first, first + count)
  return { ...part, weight, bias: given.bias?.slice(first, first + count) }
}

/** Equality: on every backend the bits of NUMERICS.md, wherever the operands lie and whatever stands beside them. */
export function testVolumeEquality<Given extends AnyVolume>(op: VolumeOp<Given>): void {
  testCases<Given>(op.name, op.model)
  const small = () => [...(cases[op.name].all() as Iterable<Given>)].filter(({ x }) => x.length <= 2500)

  describe.each(backendsHere)(`equality: ${op.name} on %s`, (_, kernels) => {
    const run = (given: Given) => {
      const outputs = op.outputs(given)
      op.call(kernels, given, outputs)
      return outputs
    }

    it('gives the same bits at any offset in memory, and writes nothing around its outputs', () => {
      for (const [index, given] of small().entries()) {
        const moved = (array: Float32Array, offset: number) => guarded(array.length, offset % 17, array).array
        const outputs = op.outputs(given)
        const places = Object.entries(outputs).map(([name, array], k) => ({
          name,
          ...guarded(array.length, (index * 3 + k) % 19, array)
        }))
        const { x, weight, bias } = given
        op.call(
          kernels,
          {
            ...given,
            x: moved(x, index),
            weight: weight && moved(weight, index + 5),
            bias: bias && moved(bias, index + 11)
          },
          Object.fromEntries(places.map(({ name, array }) => [name, array]))
        )
        const expected = run(given)
        for (const { name, array, intact } of places) {
          expectSameBits(array, expected[name], `${given.name}: ${name}`)
          expect(intact(), `${given.name}: around ${name}`).toBe(true)
        }
      }
    })

    if (op.inPlace)
      it('gives the same bits in place as out of place', () => {
        for (const given of small()) {
          const y = given.x.slice()
          op.call(kernels, { ...given, x: y }, { ...op.outputs(given), y })
          expectSameBits(y, run(given).y, given.name)
        }
      })

    if (op.bySample)
      it('gives a sample the same bits alone as in a batch', () => {
        for (const given of small()) {
          const { samples, x, spans } = given
          const whole = run(given)
          for (let n = 0; n < samples; n += 1 + (n % 6)) {
            const one = { ...given, samples: 1, x: samplesOf(x, samples, n, n + 1) }
            const alone = run(spans ? { ...one, spans: spans.slice(2 * n, 2 * n + 2) } : one)
            for (const name of Object.keys(alone)) {
              expectSameBits(alone[name], samplesOf(whole[name], samples, n, n + 1), `${given.name}: ${name} of ${n}`)
            }
          }
        }
      })

    if (op.byGroup)
      it('gives a group the same bits alone as beside others', () => {
        for (const given of small()) {
          const { groups } = given
          const whole = run(given)
          for (let from = 0; from < groups; from += 1 + Math.floor(groups / 4)) {
            const to = Math.min(groups, from + 1 + (from % 9))
            const part = narrow(given, from, to)
            const alone = run(part)
            if (alone.y) {
              const y = narrow({ ...given, x: whole.y as Float32Array }, from, to).x
              expectSameBits(alone.y, y, `${given.name}: groups ${from} to ${to}`)
            }
            for (const name of Object.keys(alone).filter(name => name !== 'y')) {
              // Statistics: rows of `groups`.
              const of = whole[name].filter((_, i) => i % groups >= from && i % groups < to)
              expectSameBits(alone[name], of, `${given.name}: ${name} of groups ${from} to ${to}`)
            }
          }
        }
      })

    if ('rstd' in op.outputs(small()[0]))
      it('rounds float32 statistics from the float64 ones', () => {
        for (const given of small().slice(0, 60)) {
          const exact = run(given)
          const outputs = { ...op.outputs(given), mean: new Float32Array(exact.mean.length) }
          const rounded = { ...outputs, rstd: new Float32Array(exact.rstd.length) }
          op.call(kernels, given, rounded)
          for (const name of ['mean', 'rstd'] as const) {
            expectSameBits(rounded[name], Float32Array.from(exact[name]), `${given.name}: ${name}`)
          }
        }
      })
  })
}

/** A tensor and what goes with it, for a public function. */
export interface TruthCall {
  readonly tensor: { data: Float32Array; dims: number[] }
  readonly groups: number
  readonly options: {
    layout: 'channels-first' | 'channels-last'
    weight?: Float32Array
    bias?: Float32Array
    eps: number
    mean: Float64Array
    rstd: Float64Array
  }
}

/** Where the groups of an op over channels lie. */
export interface TruthOp {
  readonly name: string
  readonly roundings: number
  /** Groups over the whole batch, or one in each sample. */
  readonly overBatch: boolean
  /** Channels in a group. */
  readonly channels: readonly number[]
  call(given: TruthCall): Float32Array
}

const kinds = Object.keys(finiteRows) as (keyof typeof finiteRows)[]

/** Truth: the bound of NUMERICS.md over hostile channels side by side, in both layouts. */
export function testVolumeTruth(op: TruthOp): void {
  const shapes = [
    [1, 2],
    [2, 1],
    [3, 3],
    [2, 16],
    [70, 2],
    [1, 500],
    [2, 4100],
    [4200, 1]
  ]
  const forms = [
    { more: 0 },
    { more: 1, weights: ordinaryWeights },
    { more: 2, weights: ordinaryWeights, biases: normal },
    { more: 2, weights: wildWeights, biases: wildWeights }
  ]

  describe(`truth: ${op.name}`, () => {
    it.each(['channels-first', 'channels-last'] as const)('keeps the bound for channels of every kind, %s', layout => {
      let index = 0
      for (const channels of op.channels) {
        for (const [samples, positions] of shapes) {
          if (samples * positions * channels > 9000 || (samples > 100 && !op.overBatch)) continue
          const eps = [1e-5, 0, 1e-5, 1e40, 0][index % 5]
          const { more, weights, biases } = forms[index++ % forms.length]
          const groups = kinds.length
          const count = groups * channels
          const volume = {
            samples,
            groups,
            channels,
            positions,
            channelsLast: layout === 'channels-last',
            x: new Float32Array(samples * count * positions)
          }
          const members = (n: number, group: number) =>
            Array.from({ length: channels * positions }, (_, i) => {
              const channel = group * channels + Math.floor(i / positions)
              return { channel, at: place(volume, n, channel, i % positions) }
            })
          const samplesOfGroup = (n: number) => (op.overBatch ? Array.from({ length: samples }, (_, i) => i) : [n])
          const batches = op.overBatch ? 1 : samples
          kinds.forEach((kind, group) => {
            for (let n = 0; n < batches; n++) {
              const all = samplesOfGroup(n).flatMap(sample => members(sample, group))
              const values = fill(finiteRows[kind], all.length, index * 100 + n)
              all.forEach(({ at }, i) => {
                volume.x[at] = values[i]
              })
            }
          })
          const weight = weights && fill(weights, count, index)
          const bias = biases && fill(biases, count, index + 1)
          const spatial = positions === 1 ? [] : [positions]
          const dims = layout === 'channels-last' ? [samples, ...spatial, count] : [samples, count, ...spatial]
          const statistics = { mean: new Float64Array(batches * groups), rstd: new Float64Array(batches * groups) }
          const y = op.call({
            tensor: { data: volume.x, dims },
            groups,
            options: { layout, weight, bias, eps, ...statistics }
          })
          // What rounds in the sums: lanes and folds, blocks, runs and their parts (rules 1 to 3, 13, 14), columns.
          const roundings = 262 + positions / 4096 + Math.min(samples, 64) + samples / 64 + channels
          for (let n = 0; n < batches; n++) {
            kinds.forEach((kind, group) => {
              const all = samplesOfGroup(n).flatMap(sample => members(sample, group))
              const x = Float32Array.from(all, ({ at }) => volume.x[at])
              const truth = normalise(x, eps, true)
              if (!truth) return // 0/0
              const each = (of: Float32Array | undefined) => of && Float32Array.from(all, ({ channel }) => of[channel])
              const error = errorInHalfUlps(
                Float32Array.from(all, ({ at }) => y[at]),
                truth,
                each(weight),
                each(bias)
              )
              const where = `[${dims}] ${channels} a group, ${kind}, eps ${eps}, form ${more}`
              const at = n * groups + group
              expect(error, where).toBeLessThanOrEqual(op.roundings + more + 0.1)
              expect(meanErrorInHalfUlps(statistics.mean[at], x, truth), where).toBeLessThanOrEqual(roundings)
              expect(Math.abs(statistics.rstd[at] / truth.rstd - 1), where).toBeLessThanOrEqual(2 ** -28)
            })
          }
        }
      }
    })
  })
}
