// What the truth tests of the gradients of operations over channels share.
import { describe, it } from 'vitest'
import { fill, finiteRows, ordinaryWeights, wildWeights } from '../../../dist/esm/cases/data.js'
import type { Case } from '../../../dist/esm/cases/run.js'
import { place } from '../model.ts'
import { long } from '../process.ts'
import { batchMoments } from './model.ts'
import { channelsExactly, evaluationExactly, groupOf, type Members, overRows } from './oracle.ts'
import { compare, type DyKind, dyOf, expectWithin, kinds, type Measure, measure, onEveryBackend } from './truth.ts'

export interface ChannelGradientOp {
  readonly name: 'batch_norm_backward' | 'group_norm_backward'
  /** Channels in a group. */
  readonly channels: readonly number[]
}

/** A tensor whose groups are of another kind each. */
interface Plan {
  readonly samples: number
  readonly groups: number
  readonly channels: number
  readonly positions: number
  readonly channelsLast: boolean
  readonly x: Float32Array
  readonly dy: Float32Array
  readonly weight: Float32Array | undefined
  readonly eps: number
  /** Of every group; over the batch those of all samples. */
  readonly members: readonly Members[]
  readonly where: string
}

const shapes = [
  [1, 2],
  [2, 1],
  [3, 3],
  [5, 1],
  [2, 16],
  [70, 2],
  [1, 200],
  [33, 1]
] as const
const dyKinds: readonly DyKind[] = [
  'N(0,1)',
  'log-uniform',
  'one outlier',
  'x',
  'constant',
  'uniform +-3.3e38',
  'zeros'
]

function* plans(op: ChannelGradientOp, rounds: number): Generator<Plan> {
  const overBatch = op.name === 'batch_norm_backward'
  let index = 0
  for (let round = 0; round < rounds; round++) {
    for (const channels of op.channels) {
      for (const [samples, positions] of shapes) {
        for (const channelsLast of [false, true]) {
          if (samples * positions * channels > (rounds === 1 ? 250 : 1000)) continue
          if (rounds === 1 && channels > 1 && (samples + channels) % 2 === Number(channelsLast)) continue
          const eps = [1e-5, 0, 1e-12, 1, 1e40][index % 5]
          const groups = kinds.length
          const count = groups * channels
          const shape = { samples, groups, channels, positions, channelsLast, x: new Float32Array(0) }
          const x = new Float32Array(samples * count * positions)
          const membersOf = (own: readonly number[], group: number): Members => {
            const all = own.flatMap(n =>
              Array.from({ length: channels * positions }, (_, i) => {
                const channel = group * channels + Math.floor(i / positions)
                return { channel, at: place(shape, n, channel, i % positions) }
              })
            )
            return { places: all.map(({ at }) => at), channels: all.map(({ channel }) => channel) }
          }
          const every = Array.from({ length: samples }, (_, n) => n)
          const members = (overBatch ? [every] : every.map(n => [n])).flatMap(own =>
            kinds.map((_, group) => membersOf(own, group))
          )
          members.forEach(({ places }, i) => {
            const kind = kinds[i % groups]
            let values = fill(finiteRows[kind], places.length, index * 100 + i)
            // 0/0 would make sums over samples NaN.
            if (!groupOf([...values], { eps, centered: true, roundings: 0 }))
              values = fill(finiteRows['N(0,1)'], places.length, i)
            places.forEach((at, k) => {
              x[at] = values[k]
            })
          })
          const dy = dyOf(dyKinds[index % dyKinds.length], x, index)
          const weights = [undefined, ordinaryWeights, wildWeights][index % 3]
          const weight = weights && fill(weights, count, index)
          const where = `[${samples}, ${groups} x ${channels}, ${positions}]${channelsLast ? ', last' : ''}, eps ${eps}, call ${index}`
          index++
          yield { ...shape, x, dy, weight, eps, members, where }
        }
      }
    }
  }
}

/** Roundings of a sum over the batch: runs of rule 13, or a column of rule 14. */
const roundingsOverBatch = ({
  samples,
  positions,
  channelsLast
}: Pick<Plan, 'samples' | 'positions' | 'channelsLast'>) =>
  channelsLast ? overRows(samples * positions) : 324 + samples / 64 + positions / 4096

/** Every result of an op over channels that takes its statistics from x. */
export function* measureChannels(op: ChannelGradientOp, rounds = 1): Generator<Measure> {
  const overBatch = op.name === 'batch_norm_backward'
  for (const plan of plans(op, rounds)) {
    const { samples, groups, channels, positions, channelsLast, x, dy, weight, eps, members, where } = plan
    const overSamples = roundingsOverBatch(plan)
    const inSample = (channelsLast ? 128 : 260) + positions / 4096
    const roundings = overBatch
      ? overSamples
      : (channelsLast ? 192 : 260) + (positions * channels) / 4096 + channels / 64
    const biasRoundings = overBatch ? overSamples : inSample + overRows(samples)
    const exact = channelsExactly({
      dy,
      x,
      weight,
      eps,
      count: groups * channels,
      groups: members,
      roundings,
      biasRoundings
    })
    const shape = { samples, groups, channelsPerGroup: channels, positions, channelsLast }
    const given = { name: where, dy, x, weight, eps, shape, training: 1, mean: undefined, rstd: undefined }
    const statistics = overBatch ? batchMoments(x, shape, eps) : {}
    for (const [backend, results] of onEveryBackend(op.name, { ...given, ...statistics } as unknown as Case)) {
      yield* compare(results, exact, `${where} on ${backend}`)
    }
  }
}

/** batchNorm in evaluation, with statistics that have nothing to do with x. */
export function* measureEvaluation(rounds = 1): Generator<Measure> {
  const op = { name: 'batch_norm_backward', channels: [1] } as const
  const means = [0, 1e-3, 1, 1e6, -3e38, 1e-40]
  const variances = [1, 1e-12, 1e4, 3e38, 1e-45, 1e76]
  let index = 0
  for (const { samples, groups, positions, channelsLast, x, dy, weight, members, where } of plans(op, rounds)) {
    const eps = [1e-5, 0, 1, 1e40][index % 4]
    const mean = Float64Array.from({ length: groups }, (_, c) => means[(index + c) % means.length] + 1 / 3)
    const variance = Float64Array.from({ length: groups }, (_, c) => variances[(index + 3 * c) % variances.length])
    index++
    const rstd = variance.map(value => 1 / Math.sqrt(value + eps))
    const shape = { samples, groups, channelsPerGroup: 1, positions, channelsLast }
    const given = { name: where, dy, x, weight, mean, rstd, shape, training: 0 }
    for (const [backend, results] of onEveryBackend(op.name, given as unknown as Case)) {
      for (const [c, { places }] of members.entries()) {
        const exact = evaluationExactly(
          places.map(at => dy[at]),
          places.map(at => x[at]),
          {
            mean: mean[c],
            variance: variance[c],
            eps,
            weight: weight?.[c],
            roundings: roundingsOverBatch({ samples, positions, channelsLast })
          }
        )
        if (!exact) continue
        const at = `${where}, channel ${c} on ${backend}`
        for (const [i, one] of exact.dx.entries()) {
          yield measure((results.dx as Float32Array)[places[i]], one, 'dx', at)
        }
        for (const output of ['dweight', 'dbias'] as const) {
          yield measure(Math.fround((results[output] as Float64Array)[c]), exact[output], output, at)
        }
      }
    }
  }
}

/** Truth: the bound of NUMERICS.md for channels of every kind side by side, in both layouts. */
export function testChannelGradientTruth(op: ChannelGradientOp): void {
  describe(`truth: ${op.name}`, () => {
    it('keeps the bound for groups of every kind, in both layouts, with every dy', () => {
      expectWithin(measureChannels(op))
    })

    if (op.name === 'batch_norm_backward')
      it('keeps the bound with statistics that are given', () => {
        expectWithin(measureEvaluation())
      })

    it.runIf(long)('keeps it in a longer sweep', () => {
      expectWithin(measureChannels(op, 4))
    })
  })
}
