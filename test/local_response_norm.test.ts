import { describe, expect, it } from 'vitest'
import { fill, finiteRows } from '../dist/esm/cases/data.js'
import type { LocalResponseCase } from '../dist/esm/cases/local_response_norm.js'
import { localResponseNorm } from '../dist/esm/index.js'
import { localResponseNormModel } from './support/model.ts'
import { responseErrorInHalfUlps } from './support/precise.ts'
import { testVolumeEquality, type VolumeOp } from './support/volumes.ts'

const op: VolumeOp<LocalResponseCase> = {
  name: 'local_response_norm',
  outputs: ({ x }) => ({ y: new Float32Array(x.length) }),
  call(kernels, given, outputs) {
    const { samples, groups, channels, positions, channelsLast, x, before, behind, alpha, beta, k } = given
    const y = outputs.y as Float32Array
    // biome-ignore format: as the kernel's parameters stand
    kernels.local_response_norm(
      y, x, samples, groups, channels, positions, channelsLast, before, behind, alpha, beta, k
    )
  },
  model: localResponseNormModel,
  inPlace: false,
  bySample: true,
  byGroup: false
}

testVolumeEquality(op)

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
