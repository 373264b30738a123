// What the equality tests of backward kernels over channels share.
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, ordinaryWeights } from '../../../dist/esm/cases/data.js'
import type { VolumeGradientCase } from '../../../dist/esm/cases/gradients.js'
import { cases } from '../../../dist/esm/cases/index.js'
import type { Spans, Statistic, Volume } from '../../../dist/esm/kernels/operands.js'
import { backendsHere } from '../backends.ts'
import { expectSameBits } from '../bits.ts'
import { testCases } from '../cases.ts'
import { guarded } from '../memory.ts'
import { type GradientOp, type Make, runBackward } from './calls.ts'
import { expectSame } from './equality.ts'

/** A backward kernel over channels under test. */
export interface ChannelBackward {
  readonly name: Extract<GradientOp, 'batch_norm_backward' | 'group_norm_backward'>
  readonly model: (given: VolumeGradientCase) => { readonly [output: string]: Statistic }
  readonly channels: readonly number[]
}

/** Shapes beside those of cases: samples, positions. */
const shapes = [
  [3, 5],
  [70, 2],
  [2, 40],
  [1, 17]
] as const

/** An ordinary call. */
export function channelCall(shape: Volume, seed: number) {
  const { samples, groups, channelsPerGroup, positions } = shape
  const count = groups * channelsPerGroup
  const n = samples * count * positions
  return {
    name: `[${samples}, ${groups} x ${channelsPerGroup}, ${positions}], ${seed}`,
    x: fill(finiteRows['N(3,0.5)'], n, seed),
    dy: fill(normal, n, seed + 1),
    weight: seed % 3 === 1 ? undefined : fill(ordinaryWeights, count, seed + 2),
    mean: Float64Array.from(fill(normal, groups, seed + 3), value => value + 3),
    rstd: Float64Array.from(fill(ordinaryWeights, groups, seed + 4), Math.abs),
    shape,
    eps: 1e-5,
    training: seed % 4 === 3 ? 0 : 1
  }
}

/** Spans of the positions of each sample that are real. */
export function spansOfPositions(samples: number, positions: number, real: (n: number, p: number) => boolean): Spans {
  const starts: number[] = []
  const list: number[] = []
  for (let n = 0; n < samples; n++) {
    starts.push(samples + 1 + list.length)
    for (let p = 0; p < positions; p++) if (real(n, p)) list.push(p, p + 1)
  }
  return Int32Array.from([...starts, samples + 1 + list.length, ...list])
}

export function testChannelBackward(op: ChannelBackward): void {
  testCases<VolumeGradientCase>(op.name, op.model)
  let known: VolumeGradientCase[] | undefined
  /** Some of the small cases. */
  const small = () => {
    known ??= [...(cases[op.name]() as Iterable<VolumeGradientCase>)].filter(
      ({ x }, i) => x.length <= 1500 && i % 5 === 0
    )
    return known
  }
  const expected = new Map<string, { readonly [output: string]: Statistic }>()
  const overBatch = op.name === 'batch_norm_backward'

  function* calls() {
    let seed = 1
    for (const channelsPerGroup of op.channels) {
      for (const [samples, positions] of shapes) {
        for (const channelsLast of [false, true]) {
          const shape = { samples, groups: 3, channelsPerGroup, positions, channelsLast }
          const given = channelCall(shape, seed++)
          yield overBatch ? given : { ...given, mean: undefined, rstd: undefined }
        }
      }
    }
  }

  describe.each(backendsHere)(`equality: ${op.name} on %s`, (_, kernels) => {
    it('gives the same bits at any offset in memory, and writes nothing around its results', () => {
      for (const [index, given] of small().entries()) {
        const moved = (array: Float32Array | undefined, offset: number) =>
          array && guarded(array.length, (index + offset) % 17, array).array
        const places: { intact: () => boolean }[] = []
        const make: Make = (n, Class) => {
          const place = guarded(n, (index * 3 + places.length) % 19, new Class(n))
          places.push(place)
          return place.array
        }
        const x = moved(given.x, 0) as Float32Array
        const there = { ...given, x, dy: moved(given.dy, 5), weight: moved(given.weight, 11) }
        expectSame(
          runBackward(op.name, kernels, there as never, {}, make),
          runBackward(op.name, kernels, given as never),
          given.name
        )
        expect(
          places.every(({ intact }) => intact()),
          `${given.name}: around its results`
        ).toBe(true)
      }
    })

    it('gives the same bits where dx is dy', () => {
      for (const given of calls()) {
        const dy = given.dy.slice()
        const inPlace = runBackward(op.name, kernels, { ...given, dy }, { dx: dy })
        expectSame(inPlace, runBackward(op.name, kernels, given), given.name)
      }
    })

    it('takes padding out before anything is numbered', () => {
      // Of one sample, whose real positions together are a sample of that many.
      const masks = [(p: number) => p % 3 !== 1, (p: number) => p < 9, () => false, () => true, (p: number) => p === 4]
      for (const channelsPerGroup of op.channels) {
        for (const channelsLast of [false, true]) {
          for (const [k, mask] of masks.entries()) {
            const positions = 23
            const shape = { samples: 1, groups: 3, channelsPerGroup, positions, channelsLast }
            const count = 3 * channelsPerGroup
            const given = channelCall(shape, k + 1)
            const own = overBatch ? given : { ...given, mean: undefined, rstd: undefined }
            const real = (at: number) => mask(channelsLast ? Math.floor(at / count) : at % positions)
            const spans = spansOfPositions(1, positions, (_, p) => mask(p))
            const padded = runBackward(op.name, kernels, { ...own, shape: { ...shape, spans } })
            const cut = (array: Float32Array) => array.filter((_, at) => real(at))
            const x = cut(given.x)
            const dense = runBackward(op.name, kernels, {
              ...own,
              x,
              dy: cut(given.dy),
              shape: { ...shape, positions: x.length / count }
            })
            const what = `mask ${k}, ${channelsPerGroup} channels${channelsLast ? ', last' : ''}`
            expectSame(padded, dense, what, ['dweight', 'dbias'])
            expectSameBits(cut(padded.dx as Float32Array), dense.dx, `${what}: dx`)
            const rest = padded.dx.filter((_: number, at: number) => !real(at))
            expectSameBits(rest, rest.slice().fill(0), `${what}: padding of dx`)
          }
        }
      }
    })

    it('gives the bits of NUMERICS.md with holes in every sample', () => {
      let seed = 1
      for (const channelsPerGroup of op.channels) {
        for (const channelsLast of [false, true]) {
          for (const [samples, positions] of shapes) {
            const spans = spansOfPositions(samples, positions, (n, p) => n % 5 !== 3 && (n * 7 + p * 3) % 4 !== 1)
            const shape = { samples, groups: 3, channelsPerGroup, positions, channelsLast, spans }
            const given = channelCall(shape, seed++)
            const own = overBatch ? given : { ...given, mean: undefined, rstd: undefined }
            const right = expected.get(given.name) ?? op.model(own as never)
            expected.set(given.name, right)
            expectSame(runBackward(op.name, kernels, own), right, given.name)
          }
        }
      }
    })

    if (!overBatch)
      it('gives a sample the same dx alone as in a batch', () => {
        for (const given of calls()) {
          const { shape, x, dy } = given
          const whole = runBackward(op.name, kernels, given).dx
          const n = x.length / shape.samples
          for (let sample = 0; sample < shape.samples; sample += 1 + (sample % 9)) {
            const part = (array: Float32Array) => array.slice(sample * n, (sample + 1) * n)
            const one = { ...given, x: part(x), dy: part(dy), shape: { ...shape, samples: 1 } }
            const alone = runBackward(op.name, kernels, one).dx
            expectSameBits(alone, part(whole as Float32Array), `${given.name}: sample ${sample}`)
          }
        }
      })
  })
}
