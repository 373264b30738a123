import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { GroupNorm, groupNorm, groupNormBackward, layerNormBackward } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { testGradientBehaviour } from '../support/gradients/behaviour.ts'
import { testChannelBackward } from '../support/gradients/channel_equality.ts'
import { channelWeights, testChannelFunction } from '../support/gradients/channel_functions.ts'
import { testChannelGradientTruth } from '../support/gradients/channel_truth.ts'
import { centered, eachGroup, expectDifferences } from '../support/gradients/differences.ts'
import { groupNormBackwardModel } from '../support/gradients/model.ts'

testChannelBackward({
  name: 'group_norm_backward',
  channels: [1, 2, 70],
  model: given => ({ ...groupNormBackwardModel(given) })
})

const { weight, bias } = channelWeights()

testChannelFunction({
  name: 'groupNormBackward',
  backward: (dy, x, options) => groupNormBackward(dy, x, 2, options),
  layer: ({ layer }) => new GroupNorm(2, 6, layer),
  forward: (x, options) => groupNorm(x, 2, options),
  saved: samples => samples * 2,
  model: groupNormBackwardModel,
  groups: 2,
  matrixOfColumns: false,
  forms: [{ layer: {} }, { layer: { bias } }, { layer: { weight, eps: 1e-3 } }, { layer: { weight, bias } }]
})

testChannelGradientTruth({ name: 'group_norm_backward', channels: [1, 2, 5] })

describe('truth: groupNormBackward and finite differences', () => {
  it.each(['channels-first', 'channels-last'] as const)('has the gradients of x, weight and bias, %s', layout => {
    const [N, C, L] = [2, 4, 3]
    const at = (n: number, c: number, p: number) =>
      layout === 'channels-last' ? (n * L + p) * C + c : (n * C + c) * L + p
    const dims = layout === 'channels-last' ? [N, L, C] : [N, C, L]
    const channelOf: number[] = []
    const groups = Array.from({ length: N * 2 }, (_, g) =>
      Array.from({ length: 2 * L }, (_, i) => {
        const channel = (g % 2) * 2 + Math.floor(i / L)
        const place = at(Math.floor(g / 2), channel, i % L)
        channelOf[place] = channel
        return place
      })
    )
    const [x, dy] = [fill(normal, N * C * L, 1), fill(normal, N * C * L, 2)]
    const [weight, bias] = [fill(ordinaryWeights, C, 3), fill(normal, C, 4)]
    const { dx, dweight, dbias } = groupNormBackward({ data: dy, dims }, { data: x, dims }, 2, {
      weight,
      bias,
      eps: 0.01,
      layout
    })
    expectDifferences(
      ({ x, weight, bias }) =>
        eachGroup(x, groups, group => centered(group, 0.01)).map(
          (t, i) => t * weight[channelOf[i]] + bias[channelOf[i]]
        ),
      dy,
      { x, weight, bias },
      { x: dx.data, weight: dweight, bias: dbias },
      layout
    )
  })
})

testGradientBehaviour({
  name: 'groupNormBackward',
  className: 'GroupNorm',
  call: (dy, x, options) => groupNormBackward(dy, x, 2, options),
  layer: options => new GroupNorm(2, 4, options),
  dims: [3, 4, 2],
  arrays: false,
  saved: { mean: 6, rstd: 6 },
  sums: { dweight: 4, dbias: 4 },
  asks: [
    [{ weight: new Float32Array(4) }, ['dweight', 'dbias']],
    [{ bias: new Float32Array(4) }, ['dbias']]
  ],
  hasResidual: false
})

describe('behaviour: groupNormBackward', () => {
  it('refuses numbers of groups that are none, or do not divide the channels', () => {
    const x = { data: fill(normal, 24, 1), dims: [2, 6, 2] }
    for (const bad of [0, -1, 1.5, Number.NaN]) {
      expect(() => groupNormBackward(x, x, bad)).toThrow('groupNormBackward: numGroups expected a positive integer')
    }
    expect(() => groupNormBackward(x, x, 4)).toThrow(
      'groupNormBackward: numGroups expected a divisor of 6 (channels), got 4'
    )
    expect(() => groupNormBackward(x, x, '2' as never)).toThrow(TypeError)
    expect(() => groupNormBackward(x, x, 2, { layout: 'NCHW' as never })).toThrow('layout')
  })
})

describe('equality: groupNormBackward', () => {
  it('is, of one channel a group and without weights, layerNormBackward of each channel', () => {
    const dims = [2, 6, 35]
    const x = { data: fill(finiteRows['N(3,0.5)'], 420, 1), dims }
    const dy = { data: fill(normal, 420, 2), dims }
    const { dx } = groupNormBackward(dy, x, 6)
    expectSameBits(dx.data, layerNormBackward(dy.data, x.data, 35).dx, 'a group is a row')
  })
})
