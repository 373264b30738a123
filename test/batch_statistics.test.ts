import type { VolumeCase } from '../dist/esm/cases/volumes.js'
import { batchStatisticsModel } from './support/model.ts'
import { testVolumeEquality, type VolumeOp } from './support/volumes.ts'

const op: VolumeOp<VolumeCase> = {
  name: 'batch_statistics',
  outputs: ({ groups }) => ({ mean: new Float64Array(groups), variance: new Float64Array(groups) }),
  call(kernels, given, outputs) {
    const { samples, groups, channels, positions, channelsLast, spans, x } = given
    const { mean, variance } = outputs as { [name: string]: Float64Array }
    kernels.batch_statistics(mean, variance, x, spans, samples, groups, channels, positions, channelsLast)
  },
  model: batchStatisticsModel,
  inPlace: false,
  bySample: false,
  byGroup: true
}

testVolumeEquality(op)
