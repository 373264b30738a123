import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal } from '../../dist/esm/cases/data.js'
import { groupNormBackward, InstanceNorm, instanceNorm, instanceNormBackward } from '../../dist/esm/index.js'
import { testGradientBehaviour } from '../support/gradients/behaviour.ts'
import { channelWeights, testChannelFunction } from '../support/gradients/channel_functions.ts'
import { groupNormBackwardModel } from '../support/gradients/model.ts'
import { expectEqual } from '../support/gradients/results.ts'

// Its kernel is group_norm_backward, with one channel in a group: test/ops/group_norm_backward.test.ts holds that against the
// model and against exact arithmetic.

const { weight, bias } = channelWeights()

testChannelFunction({
  name: 'instanceNormBackward',
  backward: instanceNormBackward,
  layer: ({ layer }) => new InstanceNorm(6, layer),
  forward: instanceNorm,
  saved: samples => samples * 6,
  model: groupNormBackwardModel,
  groups: 6,
  matrixOfColumns: false,
  forms: [{ layer: {} }, { layer: { bias } }, { layer: { weight, eps: 1e-3 } }, { layer: { weight, bias } }]
})

testGradientBehaviour({
  name: 'instanceNormBackward',
  className: 'InstanceNorm',
  call: (dy, x, options) => instanceNormBackward(dy, x, options),
  layer: options => new InstanceNorm(4, options),
  dims: [3, 4, 2],
  arrays: false,
  saved: { mean: 12, rstd: 12 },
  sums: { dweight: 4, dbias: 4 },
  asks: [
    [{ weight: new Float32Array(4) }, ['dweight', 'dbias']],
    [{ bias: new Float32Array(4) }, ['dbias']]
  ],
  hasResidual: false
})

describe('equality: instanceNormBackward', () => {
  it('is groupNormBackward with a group for each channel', () => {
    for (const layout of ['channels-first', 'channels-last'] as const) {
      const dims = layout === 'channels-first' ? [2, 6, 3, 7] : [2, 3, 7, 6]
      const x = { data: fill(finiteRows['N(1e3,1)'], 252, 1), dims }
      const dy = { data: fill(normal, 252, 2), dims }
      const expected = groupNormBackward(dy, x, 6, { weight, bias, layout })
      expectEqual({ ...instanceNormBackward(dy, x, { weight, bias, layout }) }, { ...expected }, layout)
      expect(expected.dx.dims).toEqual(dims)
    }
  })

  it('gives dx of 0 where a sample has one position, whatever arrives', () => {
    const x = { data: fill(normal, 12, 1), dims: [2, 6] }
    const dy = { data: fill(normal, 12, 2), dims: [2, 6] }
    const { dx, dweight, dbias } = instanceNormBackward(dy, x, { weight, bias })
    expect(dx.data.every(value => value === 0)).toBe(true)
    expect(dweight?.every(value => value === 0)).toBe(true)
    expect([...(dbias as Float32Array)]).toEqual(
      Array.from({ length: 6 }, (_, c) => Math.fround(dy.data[c] + dy.data[6 + c]))
    )
  })
})
