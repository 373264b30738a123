// Tensors too large for the caches, whose results are written past them: channels first, where runs are streamed. (Rows:
// native/test/kernels_test.cpp.) In place nothing is streamed, and TypeScript knows no such thing.
import { describe, expect, it } from 'vitest'
import { fill, normal } from '../../dist/esm/cases/data.js'
import { backendsHere } from '../support/backends.ts'
import { expectSameBits } from '../support/bits.ts'
import { volumeOperands } from '../support/calls.ts'

const channels = 3
const positions = 438_001 // odd: runs begin at any place of a vector
const samples = 2
const size = samples * channels * positions
const x = fill(normal, size, 1)
for (let i = positions; i < 2 * positions; i++) x[i] *= 1e38 // this group needs float64
const weight = Float32Array.of(1.5, -0.5, 2)
const bias = Float32Array.of(0.25, 0, -1)
const mean = Float64Array.of(0.5, 0, -0.125)
const variance = Float64Array.of(1, 1e76, 0.5)

const volume = { weight, bias, eps: 1e-5, samples, groups: channels, channels: 1, positions, channelsLast: false }

type Call = (y: Float32Array, x: Float32Array) => void

describe.each(backendsHere)('equality: results past the caches on %s', (_, kernels) => {
  const calls: [string, Call][] = [
    ['batch_norm', (y, x) => kernels.batch_norm(volumeOperands({ y, x, mean, variance, ...volume }))],
    ['group_norm', (y, x) => kernels.group_norm(volumeOperands({ y, x, ...volume }))]
  ]
  it.each(calls)('%s gives the bits that it gives in place, at any alignment', (_, call) => {
    expect(size).toBeGreaterThan(5 << 19) // cached, in native/platform/caches.h
    const expected = x.slice()
    call(expected, expected)
    for (const offset of [0, 1, 15]) {
      const y = new Float32Array(size + 32).fill(7)
      call(y.subarray(offset, offset + size), x)
      expectSameBits(y.subarray(offset, offset + size), expected, `offset ${offset}`)
      expect([...y.subarray(0, offset), ...y.subarray(offset + size)].every(value => value === 7)).toBe(true)
    }
  })
})
