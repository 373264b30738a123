import { describe, expect, it } from 'vitest'
import { normal, random } from '../dist/esm/cases/data.js'
import type { VolumeCase } from '../dist/esm/cases/volumes.js'
import { BatchStatistics } from '../dist/esm/index.js'
import { batchStatisticsModel } from './support/model.ts'
import { integer, ratio } from './support/oracle.ts'
import { testVolumeEquality, type VolumeOp } from './support/volumes.ts'

const op: VolumeOp<VolumeCase> = {
  name: 'batch_statistics',
  outputs: ({ groups }) => ({ mean: new Float64Array(groups), variance: new Float64Array(groups) }),
  call(kernels, given, outputs) {
    const { samples, groups, channels, positions, channelsLast, spans, x } = given
    const { mean, variance } = outputs as { [name: string]: Float64Array }
    kernels.batch_statistics(mean, variance, x, spans, samples, groups, channels, positions, channelsLast)
  },
  model: batchStatisticsModel,
  inPlace: false,
  bySample: false,
  byGroup: true
}

testVolumeEquality(op)

/** Count, mean and squared deviations of all parts together, exactly: num / den each. */
function mergedExactly(parts: readonly BatchStatistics[], channel: number) {
  const N = parts.reduce((sum, { count }) => sum + BigInt(count), 0n)
  const means = parts.map(({ mean }) => integer(mean[channel], 1074))
  const S = parts.reduce((sum, { count }, i) => sum + BigInt(count) * means[i], 0n)
  const within = parts.reduce((sum, part) => sum + integer(part.squaredDeviations[channel], 1074), 0n)
  const between = parts.reduce((sum, { count }, i) => sum + BigInt(count) * (N * means[i] - S) ** 2n, 0n)
  return {
    mean: { num: S, den: N << 1074n },
    squaredDeviations: { num: ((within * N * N) << 1074n) + between, den: (N * N) << 2148n }
  }
}

/** |actual - num / den|. */
function distance(actual: number, { num, den }: { num: bigint; den: bigint }): number {
  const error = integer(actual, 1074) * den - (num << 1074n)
  return Math.abs(ratio(error, den << 1074n))
}

describe('truth: merging BatchStatistics', () => {
  const spreads = {
    'N(0,1)': [0, 1],
    'means far from 0': [1e6, 1],
    'means very far from 0': [1e9, 1e-3],
    'means apart': [0, 1e20]
  }
  type Merge = (parts: BatchStatistics[]) => BatchStatistics
  const inTurn: Merge = parts => BatchStatistics.merge(...parts)
  const asTree: Merge = parts => {
    const half = parts.length >> 1
    return half === 0 ? parts[0] : BatchStatistics.merge(asTree(parts.slice(0, half)), asTree(parts.slice(half)))
  }
  const groupings: { [name: string]: Merge } = {
    'in turn': inTurn,
    'from the last': parts => parts.reduceRight((whole, part) => BatchStatistics.merge(part, whole)),
    'as a tree': asTree,
    'by sevens': parts =>
      inTurn(Array.from({ length: Math.ceil(parts.length / 7) }, (_, i) => inTurn(parts.slice(7 * i, 7 * i + 7))))
  }

  it.each(Object.keys(spreads) as (keyof typeof spreads)[])('keeps the bound for %s, in any grouping', name => {
    const [centre, spread] = spreads[name]
    const next = random(5)
    for (const count of [2, 3, 4, 16, 100]) {
      const parts = Array.from({ length: count }, (_, i) => {
        const n = 1 + Math.floor(next() * (i % 3 === 0 ? 1e6 : 20))
        const variance = n === 1 ? 0 : spread * spread * next()
        return new BatchStatistics(n, [centre + spread * normal(next), 0, 5], [variance * n, 0, 0])
      })
      const largest = parts.reduce((max, { mean }) => Math.max(max, Math.abs(mean[0])), 0)
      const exact = mergedExactly(parts, 0)
      const truth = ratio(exact.squaredDeviations.num, exact.squaredDeviations.den)
      for (const [grouping, merge] of Object.entries(groupings)) {
        const where = `${count} parts, ${grouping}`
        const merged = merge(parts)
        const n = parts.reduce((sum, part) => sum + part.count, 0)
        expect(merged.count).toBe(n)
        expect([...merged.mean.slice(1), ...merged.squaredDeviations.slice(1)], where).toEqual([0, 5, 0, 0])
        const k = count - 1
        const slip = (k + 2) * 2 ** -52 * largest
        expect(distance(merged.mean[0], exact.mean), where).toBeLessThanOrEqual(slip)
        const variance = truth / n
        const often = Math.max(1, Math.log2(k + 1) / 2)
        const bound =
          (3 * k + 6) * 2 ** -52 * variance + 4 * slip * Math.sqrt(often * variance) + 4 * slip * slip * often
        expect(distance(merged.squaredDeviations[0], exact.squaredDeviations) / n, where).toBeLessThanOrEqual(bound)
      }
    }
  })
})
