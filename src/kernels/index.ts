// The kernels in TypeScript, as a plain table, and what they are called with.
import { batch_norm, batch_norm_backward } from './batch_norm.js'
import { batch_statistics } from './batch_statistics.js'
import { calibrate_embeddings } from './calibrate_embeddings.js'
import { group_norm, group_norm_backward } from './group_norm.js'
import { layer_norm, layer_norm_backward } from './layer_norm.js'
import { local_response_norm } from './local_response_norm.js'
import { normalize, normalize_backward } from './normalize.js'
import { overReal, withSums } from './padding.js'
import { permute } from './permute.js'
import { pool_embeddings } from './pool_embeddings.js'
import { quantize_embeddings } from './quantize_embeddings.js'
import { residual_sum } from './residual_sum.js'
import { rms_norm, rms_norm_backward } from './rms_norm.js'
import { type Kernel, type Kernels, type Op, ops } from './signatures.js'
import { staged } from './stage.js'

export type { Groups, Spans, Statistic, Volume } from './operands.js'
export { type Call, type Kernel, type Kernels, type Op, ops, signatures } from './signatures.js'

/** The kernels in TypeScript, for dense float32. */
const plain: Kernels = {
  batch_norm,
  batch_norm_backward,
  batch_statistics,
  calibrate_embeddings,
  group_norm,
  group_norm_backward: withSums('group_norm_backward', group_norm_backward),
  layer_norm: overReal('layer_norm', layer_norm),
  layer_norm_backward: withSums('layer_norm_backward', overReal('layer_norm_backward', layer_norm_backward)),
  local_response_norm,
  normalize: overReal('normalize', normalize),
  normalize_backward: overReal('normalize_backward', normalize_backward),
  permute,
  pool_embeddings,
  quantize_embeddings,
  residual_sum,
  rms_norm: overReal('rms_norm', rms_norm),
  rms_norm_backward: withSums('rms_norm_backward', overReal('rms_norm_backward', rms_norm_backward))
}

/** The kernels in TypeScript. What copies elements takes them as they are. */
export const kernels: Kernels = {
  ...(Object.fromEntries(ops.map(op => [op, staged(op, plain[op] as Kernel<Op>)])) as unknown as Kernels),
  permute
}
