import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { BatchNorm, batchNorm, batchNormBackward, batchStatistics } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { testGradientBehaviour } from '../support/gradients/behaviour.ts'
import { testChannelBackward } from '../support/gradients/channel_equality.ts'
import { type ChannelForm, channelWeights, testChannelFunction } from '../support/gradients/channel_functions.ts'
import { testChannelGradientTruth } from '../support/gradients/channel_truth.ts'
import { centered, eachGroup, expectDifferences } from '../support/gradients/differences.ts'
import { batchMoments, batchNormBackwardModel } from '../support/gradients/model.ts'

testChannelBackward({
  name: 'batch_norm_backward',
  channels: [1],
  model: given => ({ ...batchNormBackwardModel(given as Parameters<typeof batchNormBackwardModel>[0]) })
})

// float32, as layers keep them.
const running = {
  runningMean: fill(normal, 6, 31).map(value => value + 3),
  runningVar: fill(normal, 6, 32).map(value => value * value + 0.1)
}
const { weight, bias } = channelWeights()
const training = { training: true }
const isTraining = (form: ChannelForm) => form.function?.training === true

testChannelFunction({
  name: 'batchNormBackward',
  backward: batchNormBackward,
  layer: ({ layer, function: own = {} }) => new BatchNorm(6, { ...layer, ...own, training: own.training === true }),
  forward: batchNorm,
  saved: () => 6,
  model(call, form) {
    const rstd = Float64Array.from(running.runningVar, value => 1 / Math.sqrt(value + call.eps))
    const given = { mean: Float64Array.from(running.runningMean), rstd }
    const statistics = isTraining(form) ? batchMoments(call.x, call.shape, call.eps) : given
    return batchNormBackwardModel({ ...call, ...statistics, training: isTraining(form) ? 1 : 0 })
  },
  groups: 6,
  matrixOfColumns: true,
  forms: [
    { layer: {}, function: running },
    { layer: { bias, eps: 1e-3 }, function: training },
    { layer: { weight }, function: { ...running, training: true } },
    { layer: { weight, bias, eps: 1e-3 }, function: running },
    { layer: { weight, bias }, function: training }
  ]
})

testChannelGradientTruth({ name: 'batch_norm_backward', channels: [1] })

describe('truth: batchNormBackward and finite differences', () => {
  it.each(['channels-first', 'channels-last'] as const)('has the gradients of x, weight and bias, %s', layout => {
    const [N, C, L] = [3, 2, 4]
    const at = (n: number, c: number, p: number) =>
      layout === 'channels-last' ? (n * L + p) * C + c : (n * C + c) * L + p
    const dims = layout === 'channels-last' ? [N, L, C] : [N, C, L]
    const channelOf: number[] = []
    const groups = Array.from({ length: C }, (_, c) =>
      Array.from({ length: N * L }, (_, i) => {
        const place = at(Math.floor(i / L), c, i % L)
        channelOf[place] = c
        return place
      })
    )
    const [x, dy] = [fill(normal, N * C * L, 1), fill(normal, N * C * L, 2)]
    const [weight, bias] = [fill(ordinaryWeights, C, 3), fill(normal, C, 4)]
    const eps = 0.01
    const [runningMean, runningVar] = [Float64Array.of(0.5, -1), Float64Array.of(2, 0.3)]
    for (const training of [true, false]) {
      const options = { weight, bias, eps, layout, training, ...(training ? {} : { runningMean, runningVar }) }
      const { dx, dweight, dbias } = batchNormBackward({ data: dy, dims }, { data: x, dims }, options)
      expectDifferences(
        ({ x, weight, bias }) => {
          const t = training
            ? eachGroup(x, groups, group => centered(group, eps))
            : x.map((value, i) => (value - runningMean[channelOf[i]]) / Math.sqrt(runningVar[channelOf[i]] + eps))
          return t.map((value, i) => value * weight[channelOf[i]] + bias[channelOf[i]])
        },
        dy,
        { x, weight, bias },
        { x: dx.data, weight: dweight, bias: dbias },
        `training ${training}`
      )
    }
  })
})

const dims = [3, 4, 2]
const four = { runningMean: new Float32Array(4).fill(0.1), runningVar: new Float32Array(4).fill(2) }

testGradientBehaviour({
  name: 'batchNormBackward',
  className: 'BatchNorm',
  call: (dy, x, options) => batchNormBackward(dy, x, options === undefined ? training : addTraining(options)),
  layer: options => new BatchNorm(4, options),
  dims,
  arrays: false,
  saved: { mean: 4, rstd: 4 },
  sums: { dweight: 4, dbias: 4 },
  asks: [
    [{ weight: new Float32Array(4) }, ['dweight', 'dbias']],
    [{ bias: new Float32Array(4) }, ['dbias']]
  ],
  hasResidual: false
})

/** The option that these tests cannot do without, beside getters that stay getters. */
function addTraining(options: unknown) {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) return options as never
  return Object.defineProperties({ ...training }, Object.getOwnPropertyDescriptors(options))
}

describe('behaviour: batchNormBackward', () => {
  const x = { data: fill(finiteRows['N(3,0.5)'], 24, 1), dims }
  const dy = { data: fill(normal, 24, 2), dims }

  it('is in evaluation by default, and then needs statistics', () => {
    expect(() => batchNormBackward(dy, x)).toThrow('batchNormBackward: runningMean')
    expect(() => batchNormBackward(dy, x, { runningMean: four.runningMean })).toThrow('runningVar')
    const expected = batchNormBackward(dy, x, { ...four, training: false }).dx.data
    expectSameBits(batchNormBackward(dy, x, four).dx.data, expected, 'default')
    const saved = { mean: Float64Array.from(four.runningMean), rstd: new Float64Array(4).fill(1 / Math.sqrt(2 + 1e-5)) }
    expectSameBits(batchNormBackward(dy, x, saved).dx.data, expected, 'mean and rstd')
    expect(() => batchNormBackward(dy, x, { ...four, runningVar: new Float32Array(4).fill(-1) })).toThrow(RangeError)
    expect(() => batchNormBackward(dy, x, { training: 1 as never })).toThrow(TypeError)
  })

  it('refuses the statistics of several batches, whose sums it has not', () => {
    const statistics = batchStatistics(x)
    const attempts = [
      () => batchNormBackward(dy, x, { training: true, statistics } as never),
      () => new BatchNorm(4).backward(dy, x, { statistics } as never)
    ]
    for (const attempt of attempts) {
      expect(attempt).toThrow(TypeError)
      expect(attempt).toThrow('statistics')
    }
  })

  it('neither reads nor changes running statistics in training, and ignores momentum and unbiased', () => {
    const own = { runningMean: four.runningMean.slice(), runningVar: four.runningVar.slice() }
    const expected = batchNormBackward(dy, x, { training: true })
    const { dx } = batchNormBackward(dy, x, { ...own, training: true, momentum: 0.5, unbiased: false })
    expectSameBits(dx.data, expected.dx.data, 'training')
    expectSameBits(own.runningMean, four.runningMean, 'runningMean')
    expectSameBits(own.runningVar, four.runningVar, 'runningVar')
    const layer = new BatchNorm(4, own)
    const before = batchNormBackward(dy, x, own).dx.data
    expectSameBits(layer.backward(dy, x).dx.data, before, 'layer with running statistics')
    layer.train()
    expectSameBits(layer.backward(dy, x).dx.data, expected.dx.data, 'layer in training')
    expectSameBits(layer.runningMean as Float32Array, four.runningMean, 'of the layer')
    expect(layer.numBatchesTracked).toBe(0)
  })
})

describe('behaviour: batchNormBackward with running statistics', () => {
  const volume = () => ({ data: Float32Array.of(1, 2, 3, 5, 8, 13), dims: [3, 2] })
  const dy = Float32Array.of(1, 0, 2, 0, 3, 0)

  it('refuses an x that reading them has changed', () => {
    const x = volume()
    const runningVar = {
      dims: [2],
      get data() {
        structuredClone(x.data.buffer, { transfer: [x.data.buffer] })
        return Float32Array.of(1, 1)
      }
    }
    const call = () => batchNormBackward(dy, x, { runningMean: new Float32Array(2), runningVar })
    expect(call).toThrow('batchNormBackward: x expected an array with memory, got a detached one')
  })

  it('refuses a dx over their memory', () => {
    const memory = new Float32Array(8).fill(1)
    const [dx, runningVar] = [memory.subarray(0, 6), memory.subarray(5, 7)]
    const call = () => batchNormBackward(dy, volume(), { runningMean: new Float32Array(2), runningVar, dx })
    expect(call).toThrow('batchNormBackward: dx expected no memory shared with runningVar, got an overlap')
    expect([...memory]).toEqual([1, 1, 1, 1, 1, 1, 1, 1])
  })
})
