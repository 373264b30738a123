import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal } from '../../dist/esm/cases/data.js'
import type { VolumeCase } from '../../dist/esm/cases/volumes.js'
import { GroupNorm, groupNorm, layerNorm } from '../../dist/esm/index.js'
import { backendsHere } from '../support/backends.ts'
import { expectSameBits } from '../support/bits.ts'
import { testChannelBehaviour } from '../support/channels/behaviour.ts'
import { callVolume, testVolumeEquality, type VolumeOp } from '../support/channels/equality.ts'
import { testVolumeTruth } from '../support/channels/truth.ts'
import { groupNormModel } from '../support/model.ts'
import { testOnnxCases } from '../support/onnx.ts'

const op: VolumeOp<Omit<VolumeCase, 'shape'>> = {
  name: 'group_norm',
  outputs: ({ x, samples, groups }) => ({
    y: new Float32Array(x.length),
    mean: new Float64Array(samples * groups),
    rstd: new Float64Array(samples * groups)
  }),
  model: groupNormModel,
  inPlace: true,
  bySample: true,
  byGroup: true
}

testVolumeEquality(op)

testVolumeTruth({
  name: 'groupNorm',
  roundings: 4,
  overBatch: false,
  channels: [1, 5, 40],
  call: ({ tensor, groups, options }) => groupNorm(tensor, groups, options).data
})

// ONNX's operator since opset 21: weight and bias belong to channels. (Opset 18 had them per group, and is deprecated for
// that: each weight is repeated for the channels of its group.)
testOnnxCases('GroupNormalization', 4, ({ opset, attributes, inputs: [x, weight, bias] }) => {
  const numGroups = attributes.num_groups as number
  const perGroup = x.dims[1] / numGroups
  const each = ({ data }: { data: Float32Array }) =>
    opset >= 21 ? data : Float32Array.from({ length: x.dims[1] }, (_, channel) => data[Math.floor(channel / perGroup)])
  const eps = attributes.epsilon as number
  return [groupNorm(x, numGroups, { weight: each(weight), bias: each(bias), eps }).data]
})

testChannelBehaviour({
  name: 'groupNorm',
  call: (x, options) => groupNorm(x, 2, options),
  layer: options => new GroupNorm(2, 4, options),
  written: { mean: 6, rstd: 6 },
  why: 'samples * groups',
  affine: true,
  padding: false
})

describe('behaviour: groups of groupNorm', () => {
  const x = { data: fill(normal, 24, 1), dims: [2, 6, 2] }

  it('refuses numbers of groups that are none, or do not divide the channels', () => {
    for (const bad of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => groupNorm(x, bad)).toThrow(RangeError)
      expect(() => groupNorm(x, bad)).toThrow(`groupNorm: numGroups expected a positive integer, got ${bad}`)
      expect(() => new GroupNorm(bad, 6)).toThrow(`GroupNorm: numGroups expected a positive integer, got ${bad}`)
      expect(() => new GroupNorm(2, bad)).toThrow(`GroupNorm: numChannels expected a positive integer, got ${bad}`)
    }
    expect(() => groupNorm(x, '2' as never)).toThrow(TypeError)
    expect(() => groupNorm(x, 4)).toThrow('groupNorm: numGroups expected a divisor of 6 (channels), got 4')
    expect(() => new GroupNorm(4, 6)).toThrow('GroupNorm: numGroups expected a divisor of 6 (channels), got 4')
  })

  it('shows what it was made with', () => {
    const layer = new GroupNorm(3, 6, { eps: 1e-3 })
    expect([layer.numGroups, layer.numChannels, layer.eps]).toEqual([3, 6, 1e-3])
    expect(new GroupNorm(3, 6).eps).toBe(1e-5)
  })
})

describe('equality: groupNorm', () => {
  const [weight, bias] = [fill(normal, 6, 2), fill(normal, 6, 3)]

  it('gives the same bits as a function and as a layer, for all combinations of options', () => {
    for (let choice = 0; choice < 16; choice++) {
      const weights = { weight: choice & 1 ? weight : undefined, bias: choice & 2 ? bias : undefined, eps: 1e-3 }
      const layout = choice & 4 ? 'channels-last' : 'channels-first'
      const x = { data: fill(normal, 240, choice), dims: choice & 4 ? [2, 20, 6] : [2, 6, 20] }
      const statistics = () => ({ mean: new Float64Array(6), rstd: new Float64Array(6) })
      const [one, other] = [statistics(), statistics()]
      const expected = groupNorm(x, 3, { ...weights, layout, ...(choice & 8 ? one : {}) })
      const y = new GroupNorm(3, 6, weights).forward(x, { layout, ...(choice & 8 ? other : {}) })
      expectSameBits(y.data, expected.data, `options ${choice}`)
      expectSameBits(one.mean, other.mean, 'mean')
      expectSameBits(one.rstd, other.rstd, 'rstd')
    }
  })

  it('is, channels first and without weights, layerNorm of each group', () => {
    const data = fill(normal, 2 * 6 * 5 * 7, 4)
    const y = groupNorm({ data, dims: [2, 6, 5, 7] }, 2)
    expectSameBits(y.data, layerNorm(data, 3 * 5 * 7), 'a group is a row')
    expect(y.dims).toEqual([2, 6, 5, 7])
  })

  it('gives the bias exactly for constant groups, NaN with eps 0, and NaN for the whole of a group with NaN or infinities', () => {
    for (const layout of ['channels-first', 'channels-last'] as const) {
      const dims = layout === 'channels-first' ? [2, 6, 5] : [2, 5, 6]
      const channelAt = (i: number) => (layout === 'channels-first' ? Math.floor(i / 5) % 6 : i % 6)
      const constant = { data: new Float32Array(60).fill(0.1), dims }
      const expected = Float32Array.from({ length: 60 }, (_, i) => bias[channelAt(i)])
      expectSameBits(groupNorm(constant, 3, { weight, bias, layout }).data, expected, 'constant')
      expect(groupNorm(constant, 3, { eps: 0, layout }).data.every(Number.isNaN)).toBe(true)
      const ordinary = fill(normal, 60, 1)
      const before = groupNorm({ data: ordinary, dims }, 3, { layout }).data
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const data = ordinary.with(7, bad)
        const y = groupNorm({ data, dims }, 3, { layout }).data
        const group = Math.floor(channelAt(7) / 2)
        const wanted = before.map((value, i) => (i < 30 && Math.floor(channelAt(i) / 2) === group ? Number.NaN : value))
        expectSameBits(y, wanted, `${layout}, ${bad}`)
      }
    }
  })
})

describe.each(backendsHere)('equality: groupNorm without positions on %s', (_, kernels) => {
  it('takes a group of channels for a row', () => {
    for (const [samples, groups, channels] of [
      [3, 2, 5],
      [2, 3, 16],
      [1, 1, 33],
      [2, 5, 130],
      [1, 2, 4097],
      [4, 7, 1]
    ]) {
      for (const kind of ['N(3,0.5)', 'N(1e3,1)', 'uniform +-3.3e38', 'one outlier'] as const) {
        const x = fill(finiteRows[kind], samples * groups * channels, channels)
        const [weight, bias] = [fill(normal, groups * channels, 2), fill(normal, groups * channels, 3)]
        const shape = { samples, groups, channels, positions: 1, channelsLast: false, spans: undefined }
        for (const weights of [{}, { weight }, { bias }, { weight, bias }]) {
          const given = { ...shape, name: '', x, weight: undefined, bias: undefined, eps: 1e-5, ...weights }
          const outputs = op.outputs(given)
          callVolume(op, kernels, given, outputs)
          const expected = groupNormModel(given)
          expectSameBits(outputs.y, expected.y, `[${samples}, ${groups} x ${channels}], ${kind}`)
          expectSameBits(outputs.rstd, expected.rstd, 'rstd')
          const tensor = { data: x, dims: [samples, groups * channels] }
          for (const layout of ['channels-first', 'channels-last'] as const) {
            expectSameBits(groupNorm(tensor, groups, { ...weights, layout }).data, expected.y, layout)
          }
        }
      }
    }
  })
})

describe('equality: groupNorm with padding', () => {
  it.each(['channels-first', 'channels-last'] as const)(
    'gives each sample the bits of its real positions, %s',
    layout => {
      const first = layout === 'channels-first'
      const [channels, positions] = [6, 7]
      const dims = first ? [2, channels, positions] : [2, positions, channels]
      const x = { data: fill(normal, 2 * channels * positions, 1), dims }
      const at = (n: number, c: number, p: number) =>
        n * channels * positions + (first ? c * positions + p : p * channels + c)
      const weight = fill(normal, channels, 2)
      const layer = new GroupNorm(2, channels, { weight })
      const mask = [1, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
      const y = layer.forward(x, { layout, mask })
      const real = [0, 1, 3, 6]
      const cut = new Float32Array(channels * real.length)
      for (let c = 0; c < channels; c++) for (let p = 0; p < 4; p++) cut[c * 4 + p] = x.data[at(0, c, real[p])]
      const expected = groupNorm({ data: cut, dims: [1, channels, 4] }, 2, { weight }).data
      for (let c = 0; c < channels; c++) {
        for (let p = 0; p < positions; p++) {
          const k = real.indexOf(p)
          const wanted = k < 0 ? 0 : expected[c * 4 + k]
          expect(Object.is(y.data[at(0, c, p)], wanted), `${c}, ${p}`).toBe(true)
          expect(Object.is(y.data[at(1, c, p)], 0), `sample 1, ${c}, ${p}`).toBe(true)
        }
      }
      expectSameBits(groupNorm(x, 2, { weight, layout, mask }).data, y.data, 'function')
    }
  )
})
