import type { LocalResponseCase } from '../dist/esm/cases/local_response_norm.js'
import { localResponseNormModel } from './support/model.ts'
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
