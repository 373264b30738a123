import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal } from '../../dist/esm/cases/data.js'
import type { LocalResponseCase } from '../../dist/esm/cases/local_response_norm.js'
import { localResponseNorm } from '../../dist/esm/index.js'
import { backendsHere } from '../support/backends.ts'
import { expectSameBits } from '../support/bits.ts'
import { testChannelBehaviour } from '../support/channels/behaviour.ts'
import { testVolumeEquality, type VolumeOp } from '../support/channels/equality.ts'
import { localResponseNormModel } from '../support/model.ts'
import { testOnnxCases } from '../support/onnx.ts'
import { responseErrorInHalfUlps } from '../support/truth/precise.ts'

const op: VolumeOp<LocalResponseCase> = {
  name: 'local_response_norm',
  outputs: ({ x }) => ({ y: new Float32Array(x.length) }),
  model: localResponseNormModel,
  inPlace: false,
  bySample: true,
  byGroup: false
}

testVolumeEquality(op)

describe.each(backendsHere)('equality: localResponseNorm beside infinite numbers on %s', (_, kernels) => {
  it('keeps 0 where a power of a negative exponent vanishes, in vectors and one by one', () => {
    for (const [channels, channelsLast] of [
      [2, false],
      [40, false],
      [2, true],
      [40, true]
    ] as const) {
      const x = Float32Array.from({ length: channels }, (_, i) => (i % 3 === 1 ? Number.POSITIVE_INFINITY : -0))
      const shape = { samples: 1, groups: channels, channelsPerGroup: 1, positions: 1, channelsLast }
      const call = { x, shape, before: 1, behind: 1, alpha: 1e-4, beta: -0.3, k: 1 }
      const y = new Float32Array(channels)
      kernels.local_response_norm({ ...call, y })
      const { y: expected } = localResponseNormModel({ ...call, ...shape, channels: 1 })
      expectSameBits(y, expected, `${channels} channels`)
      expect(y[0]).toBe(-0)
    }
  })
})

const kinds = Object.keys(finiteRows) as (keyof typeof finiteRows)[]

describe('truth: localResponseNorm', () => {
  it.each(kinds)('rounds once: half an ULP of the exact value and hardly more, for channels of %s', kind => {
    let index = 0
    for (const beta of [0.75, 0.5, 1, 2, 0.6, -0.3, 0.1, 3.7]) {
      for (const size of [1, 2, 5, 8]) {
        const [alpha, k] = [
          [1e-4, 1],
          [1, 2],
          [3, 1e-5]
        ][index++ % 3]
        const window = index % 2 ? 'pytorch' : 'onnx'
        const layout = index % 4 < 2 ? 'channels-first' : 'channels-last'
        const [channels, positions] = [9, 5]
        const data = fill(finiteRows[kind], channels * positions, index)
        const dims = layout === 'channels-first' ? [1, channels, positions] : [1, positions, channels]
        const y = localResponseNorm({ data, dims }, size, { alpha, beta, k, window, layout }).data
        const at = (c: number, p: number) => (layout === 'channels-first' ? c * positions + p : p * channels + c)
        const before = window === 'pytorch' ? Math.floor(size / 2) : Math.floor((size - 1) / 2)
        const bound = Number.isInteger(beta * 4) && beta >= 0 ? 1 + 2 ** -20 : 1 + 2 ** -16
        for (let c = 0; c < channels; c++) {
          for (let p = 0; p < positions; p++) {
            const near = Array.from({ length: channels }, (_, other) => other)
              .filter(other => other >= c - before && other < c - before + size)
              .map(other => data[at(other, p)])
            const error = responseErrorInHalfUlps(y[at(c, p)], data[at(c, p)], near, { alpha, size, beta, k })
            expect(error, `beta ${beta}, size ${size}, channel ${c}`).toBeLessThanOrEqual(bound)
          }
        }
      }
    }
  })

  it('is right where squares leave float32 and where they vanish', () => {
    for (const value of [3.4e38, 1e-23, 2 ** -149]) {
      const data = new Float32Array(5).fill(value)
      for (const [alpha, k] of [
        [5, 0],
        [1e-4, 1]
      ]) {
        for (const beta of [0.5, 0.75, 0.6]) {
          const y = localResponseNorm({ data, dims: [1, 5] }, 5, { alpha, beta, k }).data
          const near = [...data]
          const error = responseErrorInHalfUlps(y[2], data[0], near, { alpha, size: 5, beta, k })
          expect(error).toBeLessThanOrEqual(beta === 0.6 ? 1 + 2 ** -16 : 1 + 2 ** -20)
        }
      }
    }
  })
})

// ONNX's LRN: alpha is divided by size there, too; `bias` is our k, and the window of an even size stands the other way round.
testOnnxCases('LRN', 2, ({ attributes, inputs: [x] }) => {
  const { alpha, beta, bias, size } = attributes as { [name: string]: number }
  return [localResponseNorm(x, size, { alpha, beta, k: bias, window: 'onnx' }).data]
})

testChannelBehaviour({
  name: 'localResponseNorm',
  call: (x, options) => localResponseNorm(x, 3, options),
  written: {},
  why: '',
  affine: false,
  padding: false
})

describe('equality: localResponseNorm', () => {
  it('places windows of even sizes as PyTorch or as ONNX, and those of odd sizes in the middle', () => {
    // One channel apart from 0: the outputs that are not x^beta * 1 show who sees it.
    const seen = (size: number, window?: 'pytorch' | 'onnx') => {
      const data = new Float32Array(9).fill(1)
      data[4] = 1e4
      const y = localResponseNorm({ data, dims: [1, 9] }, size, { alpha: 1, beta: 1, window }).data
      return [...y.keys()].filter(c => c !== 4 && y[c] < 0.1).map(c => c - 4)
    }
    expect(seen(1)).toEqual([])
    expect(seen(2)).toEqual([1]) // one before, none behind
    expect(seen(2, 'onnx')).toEqual([-1])
    expect(seen(3)).toEqual([-1, 1])
    expect(seen(3, 'onnx')).toEqual([-1, 1])
    expect(seen(4)).toEqual([-1, 1, 2]) // two before, one behind
    expect(seen(4, 'onnx')).toEqual([-2, -1, 1])
    expect(seen(5)).toEqual([-2, -1, 1, 2])
    expect(seen(100)).toEqual([-4, -3, -2, -1, 1, 2, 3, 4])
  })

  it('gives both layouts the same bits, of any rank, and in place', () => {
    const [first, last] = [new Float32Array(2 * 7 * 15), new Float32Array(2 * 7 * 15)]
    const values = fill(normal, 210, 1)
    for (let n = 0; n < 2; n++) {
      for (let c = 0; c < 7; c++) {
        for (let p = 0; p < 15; p++) {
          first[(n * 7 + c) * 15 + p] = values[(n * 7 + c) * 15 + p]
          last[(n * 15 + p) * 7 + c] = values[(n * 7 + c) * 15 + p]
        }
      }
    }
    for (const beta of [0.75, 0.6]) {
      const options = { beta, alpha: 2, k: 0.5 }
      const y = localResponseNorm({ data: first, dims: [2, 7, 3, 5] }, 4, options)
      const z = localResponseNorm({ data: last, dims: [2, 3, 5, 7] }, 4, { ...options, layout: 'channels-last' })
      expect([y.dims, z.dims]).toEqual([
        [2, 7, 3, 5],
        [2, 3, 5, 7]
      ])
      const back = first.map((_, i) => {
        const [n, c, p] = [Math.floor(i / 105), Math.floor(i / 15) % 7, i % 15]
        return z.data[(n * 15 + p) * 7 + c]
      })
      expectSameBits(y.data, back, `beta ${beta}`)
      const own = { data: last.slice(), dims: [2, 15, 7] }
      localResponseNorm(own, 4, { ...options, layout: 'channels-last', out: own })
      expectSameBits(own.data, z.data, 'in place')
    }
  })

  it('turns NaN into NaN in every window that has it, and infinities into 0 beside and NaN at them', () => {
    const data = Float32Array.of(1, 2, Number.NaN, 4, 5, 6, Number.POSITIVE_INFINITY, 8, 9)
    const clean = localResponseNorm({ data: data.map(v => (Number.isFinite(v) ? v : 0)), dims: [1, 9] }, 3).data
    const y = localResponseNorm({ data, dims: [1, 9] }, 3).data
    const expected = [clean[0], Number.NaN, Number.NaN, Number.NaN, clean[4], 0, Number.NaN, 0, clean[8]]
    expectSameBits(y, Float32Array.from(expected), 'NaN and infinity')
    // -0 and subnormal numbers are kept.
    const small = Float32Array.of(-0, 2 ** -149, -(2 ** -140))
    expectSameBits(localResponseNorm({ data: small, dims: [1, 3] }, 3).data, small, 'small')
  })
})

describe('behaviour: localResponseNorm', () => {
  const x = { data: new Float32Array(24), dims: [2, 3, 4] }

  it('refuses sizes, constants and windows that are none', () => {
    const refuses = (size: unknown, options: object, kind: typeof Error, message: string) => {
      const call = () => localResponseNorm(x, size as number, options)
      expect(call).toThrow(kind)
      expect(call).toThrow(`localResponseNorm: ${message}`)
    }
    for (const bad of [0, -1, 2.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      refuses(bad, {}, RangeError, `size expected a positive integer, got ${bad}`)
    }
    refuses('3', {}, TypeError, 'size expected a number, got "3"')
    refuses(undefined, {}, TypeError, 'size expected a number, got undefined')
    for (const what of ['alpha', 'beta', 'k']) {
      refuses(3, { [what]: Number.NaN }, RangeError, `${what} expected a finite number, got NaN`)
      refuses(3, { [what]: '1' }, TypeError, `${what} expected a number, got "1"`)
    }
    refuses(3, { window: 'keras' }, RangeError, "window expected 'pytorch' or 'onnx', got \"keras\"")
    refuses(3, { window: 2 }, TypeError, "window expected 'pytorch' or 'onnx', got 2")
    refuses(3, { lengths: [1, 2] }, TypeError, 'option expected one of')
  })
})
