// What NUMERICS.md says of a random call, where test/support has a model of the op.

import type { BatchNormCase } from '../../dist/esm/cases/batch_norm.js'
import type { VolumeGradientCase } from '../../dist/esm/cases/gradients.js'
import type { Case } from '../../dist/esm/cases/index.js'
import type { Op } from '../../dist/esm/kernels/index.js'
import type { Groups, Statistic } from '../../dist/esm/kernels/operands.js'
import {
  batchNormBackwardModel,
  groupNormBackwardModel,
  layerNormBackwardModel,
  normalizeBackwardModel,
  rmsNormBackwardModel
} from '../support/gradients/model.ts'
import {
  batchNormModel,
  batchStatisticsModel,
  groupNormModel,
  layerNormModel,
  localResponseNormModel,
  normalizeModel,
  rmsNormModel
} from '../support/model.ts'

export type Results = { readonly [name: string]: Statistic | undefined }

// Cases have the operands of kernels and the words of models.
const models: { readonly [op in Op]?: (given: never) => object } = {
  layer_norm: layerNormModel,
  rms_norm: rmsNormModel,
  normalize: normalizeModel,
  batch_norm: (given: BatchNormCase) => batchNormModel(given, given.mean, given.variance),
  batch_statistics: batchStatisticsModel,
  group_norm: groupNormModel,
  local_response_norm: localResponseNormModel,
  layer_norm_backward: layerNormBackwardModel,
  rms_norm_backward: rmsNormBackwardModel,
  normalize_backward: normalizeBackwardModel,
  batch_norm_backward: (given: VolumeGradientCase & { mean: Float64Array; rstd: Float64Array }) =>
    batchNormBackwardModel(given),
  group_norm_backward: groupNormBackwardModel
}

/** The results of the model by name; undefined where there is none for such a call. */
export function modelOf(op: Op, given: Case): Results | undefined {
  const { spans } = given.shape as Groups
  // Those of rows know no padding: there it is the same as fewer rows.
  if (spans && ['layer_norm', 'rms_norm', 'normalize'].includes(op)) return undefined
  return models[op]?.(given as never) as Results | undefined
}
