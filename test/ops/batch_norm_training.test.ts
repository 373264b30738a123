import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, ordinaryWeights, wildWeights } from '../../dist/esm/cases/data.js'
import { BatchNorm, BatchStatistics, batchNorm, batchStatistics } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { batchNormModel, batchStatisticsModel, type VolumeCall } from '../support/model.ts'

const groups = 7
const shapes = [
  [1, 2],
  [2, 3],
  [5, 16],
  [66, 5],
  [3, 300]
]
const kinds = Object.keys(finiteRows) as (keyof typeof finiteRows)[]

/** Each combination of layout, padding, weights and divisor, with channels of another kind each. */
function* calls() {
  let index = 0
  for (const [samples, positions] of shapes) {
    for (const channelsLast of [false, true]) {
      for (const padded of [false, true]) {
        for (const unbiased of [false, true]) {
          const x = new Float32Array(samples * groups * positions)
          for (let c = 0; c < groups; c++) {
            const values = fill(finiteRows[kinds[(index + c) % kinds.length]], samples * positions, index * 7 + c)
            for (let n = 0; n < samples; n++) {
              for (let p = 0; p < positions; p++) {
                const at = channelsLast ? (n * positions + p) * groups + c : (n * groups + c) * positions + p
                x[at] = values[n * positions + p]
              }
            }
          }
          const lengths = padded ? Array.from({ length: samples }, (_, n) => (n * 5 + 1) % (positions + 1)) : undefined
          const spans = lengths && Int32Array.from(lengths.flatMap(length => [0, length]))
          const weight = [undefined, fill(ordinaryWeights, groups, index), fill(wildWeights, groups, index)][index % 3]
          const bias = index % 2 ? fill(normal, groups, index + 1) : undefined
          const model: VolumeCall = {
            ...{ samples, groups, channels: 1, positions, channelsLast, spans, x, weight, bias },
            eps: [1e-5, 0, 1][index % 3]
          }
          index++
          const dims = channelsLast ? [samples, positions, groups] : [samples, groups, positions]
          const layout = channelsLast ? ('channels-last' as const) : ('channels-first' as const)
          const count = lengths ? lengths.reduce((a, b) => a + b) : samples * positions
          yield { model, dims, layout, lengths, unbiased, count, name: `[${dims}] ${layout}, ${lengths}, ${unbiased}` }
        }
      }
    }
  }
}

/** Rule 17, word for word. */
function moved(running: Float64Array, momentum: number, now: Float64Array): Float64Array {
  return running.map((value, c) => (1 - momentum) * value + momentum * now[c])
}

describe('equality: batchNorm in training and rule 17', () => {
  it('is the model: statistics, elements, running statistics', () => {
    let compared = 0
    for (const { model, dims, layout, lengths, unbiased, count, name } of calls()) {
      if (count < 2) continue
      const { mean, variance } = batchStatisticsModel(model)
      const expected = batchNormModel(model, mean, variance)
      const before = { mean: fill(normal, groups, 1), variance: fill(normal, groups, 2).map(Math.abs) }
      const running = { runningMean: Float64Array.from(before.mean), runningVar: Float64Array.from(before.variance) }
      const statistics = { mean: new Float64Array(groups), rstd: new Float64Array(groups) }
      const options = {
        ...{ weight: model.weight, bias: model.bias, eps: model.eps, layout, lengths, unbiased, momentum: 0.3 },
        ...running,
        ...statistics
      }
      const y = batchNorm({ data: model.x, dims }, { ...options, training: true })
      expectSameBits(y.data, expected.y, name)
      expectSameBits(statistics.mean, mean, `${name}, mean`)
      expectSameBits(
        statistics.rstd,
        variance.map(value => 1 / Math.sqrt(value + model.eps)),
        `${name}, rstd`
      )
      const divided = unbiased ? variance.map(value => (value * count) / (count - 1)) : variance
      expectSameBits(running.runningMean, moved(Float64Array.from(before.mean), 0.3, mean), `${name}, running mean`)
      expectSameBits(
        running.runningVar,
        moved(Float64Array.from(before.variance), 0.3, divided),
        `${name}, running variance`
      )
      compared++
    }
    expect(compared).toBeGreaterThan(30)
  })

  it('gives a layer, and its asynchronous calls, the same bits', async () => {
    for (const { model, dims, layout, lengths, unbiased, count, name } of calls()) {
      if (count < 2) continue
      const { mean, variance } = batchStatisticsModel(model)
      const expected = batchNormModel(model, mean, variance).y
      const parameters = { weight: model.weight, bias: model.bias, eps: model.eps, unbiased }
      const [layer, other] = [new BatchNorm(groups, parameters), new BatchNorm(groups, parameters)]
      const x = { data: model.x, dims }
      expectSameBits(layer.forward(x, { layout, lengths }).data, expected, name)
      expectSameBits((await other.forwardAsync(x, { layout, lengths })).data, expected, `${name}, asynchronous`)
      expectSameBits(other.runningMean as Float32Array, layer.runningMean as Float32Array, `${name}, running mean`)
      expectSameBits(other.runningVar as Float32Array, layer.runningVar as Float32Array, `${name}, running variance`)
    }
  })

  it.each([0, 0.3, 1])('is, with given statistics, the model of these, with momentum %s', momentum => {
    for (const { model, dims, layout, lengths, unbiased, name } of calls()) {
      const [mean, squares] = [fill(normal, groups, 3), fill(normal, groups, 4).map(Math.abs)]
      const given = new BatchStatistics(7, Float64Array.from(mean), Float64Array.from(squares))
      const variance = Float64Array.from(squares, value => value / 7)
      const expected = batchNormModel(model, Float64Array.from(mean), variance)
      const before = { mean: Float64Array.from(fill(normal, groups, 1)), variance: new Float64Array(groups).fill(2) }
      const running = { runningMean: before.mean.slice(), runningVar: before.variance.slice() }
      const { weight, bias, eps } = model
      const options = { ...running, weight, bias, eps, layout, lengths, unbiased, momentum, statistics: given }
      const y = batchNorm({ data: model.x, dims }, { ...options, training: true })
      expectSameBits(y.data, expected.y, name)
      const now = unbiased ? Float64Array.from(squares, value => value / 6) : variance
      expectSameBits(running.runningMean, moved(before.mean, momentum, given.mean), `${name}, running mean`)
      expectSameBits(running.runningVar, moved(before.variance, momentum, now), `${name}, running variance`)
      // float32: the same, rounded once.
      const narrow = { runningMean: Float32Array.from(before.mean), runningVar: Float32Array.from(before.variance) }
      batchNorm({ data: model.x, dims }, { ...options, ...narrow, training: true })
      expectSameBits(narrow.runningVar, Float32Array.from(running.runningVar), `${name}, float32`)
    }
  })

  it('keeps the variance in statistics as they come, and merges them by the rule', () => {
    for (const { model, dims, layout, lengths, count, name } of calls()) {
      if (count < 2) continue
      const { mean, variance } = batchStatisticsModel(model)
      const statistics = batchStatistics({ data: model.x, dims }, { layout, lengths })
      expectSameBits(statistics.mean, mean, `${name}, mean`)
      expectSameBits(
        statistics.squaredDeviations,
        variance.map(value => value * count),
        `${name}, squares`
      )
      const other = new BatchStatistics(3, [...fill(normal, groups, 5)], [...fill(normal, groups, 6)].map(Math.abs))
      const both = BatchStatistics.merge(statistics, other)
      const n = count + 3
      for (let c = 0; c < groups; c++) {
        const delta = other.mean[c] - mean[c]
        if (!Number.isFinite(delta)) continue
        expect(both.mean[c], name).toBe(mean[c] + delta * (3 / n))
        const between = delta * (delta * ((count * 3) / n))
        expect(both.squaredDeviations[c], name).toBe(
          statistics.squaredDeviations[c] + other.squaredDeviations[c] + between
        )
      }
    }
  })
})
