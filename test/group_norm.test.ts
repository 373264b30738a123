import type { VolumeCase } from '../dist/esm/cases/volumes.js'
import { groupNorm } from '../dist/esm/index.js'
import { groupNormModel } from './support/model.ts'
import { testVolumeEquality, testVolumeTruth, type VolumeOp } from './support/volumes.ts'

const op: VolumeOp<VolumeCase> = {
  name: 'group_norm',
  outputs: ({ x, samples, groups }) => ({
    y: new Float32Array(x.length),
    mean: new Float64Array(samples * groups),
    rstd: new Float64Array(samples * groups)
  }),
  call(kernels, given, outputs) {
    const { samples, groups, channels, positions, channelsLast, spans, x, weight, bias, eps } = given
    const y = outputs.y as Float32Array
    // biome-ignore format: as the kernel's parameters stand
    kernels.group_norm(
      y, outputs.mean, outputs.rstd, x, weight, bias, spans, samples, groups, channels, positions, channelsLast, eps
    )
  },
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
  channels: [1, 2, 5, 40],
  call: ({ tensor, groups, options }) => groupNorm(tensor, groups, options).data
})
