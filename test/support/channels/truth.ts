// What the truth tests of operations over channels share.
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, ordinaryWeights, wildWeights } from '../../../dist/esm/cases/data.js'
import { place } from '../model.ts'
import { errorInHalfUlps, meanErrorInHalfUlps, normalizeExactly } from '../truth/oracle.ts'

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
              const truth = normalizeExactly(x, eps, true)
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
              // Weight and bias of a channel are folded (rule 7a); of a row they round on their own.
              const own = op.overBatch || positions > 1 ? 0 : more
              expect(error, where).toBeLessThanOrEqual(op.roundings + own + 0.1)
              expect(meanErrorInHalfUlps(statistics.mean[at], x, truth), where).toBeLessThanOrEqual(roundings)
              expect(Math.abs(statistics.rstd[at] / truth.rstd - 1), where).toBeLessThanOrEqual(2 ** -28)
            })
          }
        }
      }
    })
  })
}
