import { givenStatistics } from '../dist/esm/cases/batch_norm.js'
import type { VolumeCase } from '../dist/esm/cases/volumes.js'
import { batchNorm } from '../dist/esm/index.js'
import { batchNormModel } from './support/model.ts'
import { testVolumeEquality, testVolumeTruth, type VolumeOp } from './support/volumes.ts'

const op: VolumeOp<VolumeCase> = {
  name: 'batch_norm',
  outputs: ({ x }) => ({ y: new Float32Array(x.length) }),
  call(kernels, given, outputs) {
    const { samples, groups, channels, positions, channelsLast, spans, x, weight, bias, eps } = given
    const { mean, variance } = givenStatistics(given)
    const y = outputs.y as Float32Array
    // biome-ignore format: as the kernel's parameters stand
    kernels.batch_norm(
      y, x, mean, variance, weight, bias, spans, samples, groups, channels, positions, channelsLast, eps
    )
  },
  model(given) {
    const { mean, variance } = givenStatistics(given)
    return batchNormModel(given, mean, variance)
  },
  inPlace: true,
  // The statistics that cases are given depend on the shape: tested apart.
  bySample: false,
  byGroup: false
}

testVolumeEquality(op)

testVolumeTruth({
  name: 'batchNorm, training',
  roundings: 4,
  overBatch: true,
  channels: [1],
  call: ({ tensor, options }) => batchNorm(tensor, { ...options, training: true }).data
})
