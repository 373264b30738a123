// The tests that operations over channels share: equality on every backend, and truth against exact arithmetic.
import { describe, expect, it } from 'vitest'
import { cases } from '../../../dist/esm/cases/index.js'
import type { Kernels, Op } from '../../../dist/esm/kernels/index.js'
import type { Statistic } from '../../../dist/esm/kernels/operands.js'
import { backendsHere } from '../backends.ts'
import { expectSameBits } from '../bits.ts'
import { volumeOperands } from '../calls.ts'
import { testCases } from '../cases.ts'
import { guarded } from '../memory.ts'
import type { VolumeCall } from '../model.ts'
import { place } from '../model.ts'

/** A case of any op over channels. */
export type AnyVolume = Omit<VolumeCall, 'spans' | 'weight' | 'bias' | 'eps'> & {
  readonly eps?: number
  readonly name: string
  readonly spans?: Int32Array | undefined
  readonly weight?: Float32Array | undefined
  readonly bias?: Float32Array | undefined
}

type Outputs = { readonly [name: string]: Statistic }

/** Calls the kernel. */
export function callVolume<Given extends AnyVolume>(
  op: VolumeOp<Given>,
  kernels: Kernels,
  given: Given,
  outputs: Outputs
): void {
  const kernel = kernels[op.name] as (call: object) => void
  kernel(volumeOperands({ ...given, ...op.more?.(given), ...outputs }))
}

/** An op over channels under test. */
export interface VolumeOp<Given extends AnyVolume> {
  readonly name: Op
  /** New arrays for what a call writes: `y`, shaped as x, and statistics, each of as many rows of `groups` as it needs. */
  outputs(given: Given): Outputs
  /** Operands beside those of the case. */
  more?(given: Given): object
  model(given: Given): Outputs
  /** Whether y may be x. */
  readonly inPlace: boolean
  /** Whether each sample is normalized by itself. */
  readonly bySample: boolean
  /** Whether each group is normalized by itself. */
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
  const small = () => [...(cases[op.name]() as Iterable<Given>)].filter(({ x }) => x.length <= 2500)

  describe.each(backendsHere)(`equality: ${op.name} on %s`, (_, kernels) => {
    const run = (given: Given) => {
      const outputs = op.outputs(given)
      callVolume(op, kernels, given, outputs)
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
        callVolume(
          op,
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
          callVolume(op, kernels, { ...given, x: y }, { ...op.outputs(given), y })
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
          callVolume(op, kernels, given, rounded)
          for (const name of ['mean', 'rstd'] as const) {
            expectSameBits(rounded[name], Float32Array.from(exact[name]), `${given.name}: ${name}`)
          }
        }
      })
  })
}
