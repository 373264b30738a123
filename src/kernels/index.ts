// The kernels in TypeScript, as a plain table, and what they are called with.
import { batch_norm } from './batch_norm.js'
import { batch_statistics } from './batch_statistics.js'
import { calibrate_embeddings } from './calibrate_embeddings.js'
import { group_norm } from './group_norm.js'
import { layer_norm } from './layer_norm.js'
import { local_response_norm } from './local_response_norm.js'
import { normalize } from './normalize.js'
import { overReal } from './padding.js'
import { permute } from './permute.js'
import { pool_embeddings } from './pool_embeddings.js'
import { quantize_embeddings } from './quantize_embeddings.js'
import { rms_norm } from './rms_norm.js'
import type { Kernels } from './signatures.js'

export type { Groups, Spans, Statistic, Volume } from './operands.js'
export { type Call, type Kernel, type Kernels, type Op, ops, signatures } from './signatures.js'

/** The kernels in TypeScript. */
export const kernels: Kernels = {
  batch_norm,
  batch_statistics,
  calibrate_embeddings,
  group_norm,
  layer_norm: overReal('layer_norm', layer_norm),
  local_response_norm,
  normalize: overReal('normalize', normalize),
  permute,
  pool_embeddings,
  quantize_embeddings,
  rms_norm: overReal('rms_norm', rms_norm)
}
