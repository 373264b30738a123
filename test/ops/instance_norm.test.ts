import { describe, expect, it } from 'vitest'
import { fill, normal } from '../../dist/esm/cases/data.js'
import { groupNorm, InstanceNorm, instanceNorm } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { testChannelBehaviour } from '../support/channels/behaviour.ts'
import { testVolumeTruth } from '../support/channels/truth.ts'
import { testOnnxCases } from '../support/onnx.ts'

// Its kernel is group_norm's, with one channel in a group: test/ops/group_norm.test.ts holds that against the model.

testVolumeTruth({
  name: 'instanceNorm',
  roundings: 4,
  overBatch: false,
  channels: [1],
  call: ({ tensor, options }) => instanceNorm(tensor, options).data
})

// The conventions are the same.
testOnnxCases('InstanceNormalization', 2, ({ attributes, inputs: [x, weight, bias] }) => [
  instanceNorm(x, { weight, bias, eps: attributes.epsilon as number }).data
])

testChannelBehaviour({
  name: 'instanceNorm',
  call: (x, options) => instanceNorm(x, options),
  layer: options => new InstanceNorm(4, options),
  written: { mean: 12, rstd: 12 },
  why: 'samples * groups',
  affine: true,
  padding: true
})

describe('behaviour: instanceNorm', () => {
  it('refuses a number of features that is none, and shows what it was made with', () => {
    for (const bad of [0, 1.5, Number.NaN]) {
      expect(() => new InstanceNorm(bad)).toThrow(`InstanceNorm: numFeatures expected a positive integer, got ${bad}`)
    }
    expect(() => new InstanceNorm('4' as never)).toThrow(TypeError)
    const layer = new InstanceNorm(4, { eps: 0.5 })
    expect([layer.numFeatures, layer.eps]).toEqual([4, 0.5])
    expect(new InstanceNorm(4).eps).toBe(1e-5)
  })

  it('gives NaN as the statistics of a sample without real positions, and 0 in its places', () => {
    const [mean, rstd] = [new Float64Array(6), new Float64Array(6)]
    const y = instanceNorm({ data: fill(normal, 24, 1), dims: [2, 3, 4] }, { lengths: [0, 3], mean, rstd })
    expect([...mean.slice(0, 3), ...rstd.slice(0, 3)].every(Number.isNaN)).toBe(true)
    expect([...mean.slice(3), ...rstd.slice(3)].every(Number.isFinite)).toBe(true)
    expectSameBits(y.data.subarray(0, 12), new Float32Array(12), 'no positions')
  })

  it.each([{}, { lengths: [0] }])(
    'gives NaN as the statistics of no positions at all, at once and async: %o',
    async options => {
      const x = { data: new Float32Array(0), dims: [1, 2, 0] }
      const places = () => ({ mean: new Float64Array(2).fill(7), rstd: new Float32Array(2).fill(7) })
      const [atOnce, later, grouped] = [places(), places(), places()]
      instanceNorm(x, { ...options, ...atOnce })
      await new InstanceNorm(2).forwardAsync(x, { ...options, ...later })
      groupNorm(x, 2, grouped)
      for (const { mean, rstd } of [atOnce, later, grouped]) {
        expect([...mean, ...rstd]).toEqual([Number.NaN, Number.NaN, Number.NaN, Number.NaN])
      }
    }
  )
})

describe('equality: instanceNorm', () => {
  const [weight, bias] = [fill(normal, 5, 2), fill(normal, 5, 3)]

  it('is groupNorm with a group for each channel, as a function and as a layer', () => {
    for (const layout of ['channels-first', 'channels-last'] as const) {
      const x = {
        data: fill(normal, 2 * 5 * 3 * 7, 1),
        dims: layout === 'channels-first' ? [2, 5, 3, 7] : [2, 3, 7, 5]
      }
      for (const weights of [{}, { weight }, { bias, eps: 0 }, { weight, bias }]) {
        const expected = groupNorm(x, 5, { ...weights, layout })
        const y = instanceNorm(x, { ...weights, layout })
        expectSameBits(y.data, expected.data, layout)
        expect(y.dims).toEqual(x.dims)
        expectSameBits(new InstanceNorm(5, weights).forward(x, { layout }).data, expected.data, `${layout}, layer`)
      }
    }
  })

  it('gives the bias for a single position', () => {
    const y = instanceNorm({ data: fill(normal, 10, 1), dims: [2, 5] }, { weight, bias })
    expectSameBits(y.data, Float32Array.from([...bias, ...bias]), '[2, 5]')
  })
})
