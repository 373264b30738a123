// The operands of every kernel, by name and kind, in the order of native/ops.h; test/tools/architecture.test.ts compares the two. No
// other file of TypeScript states an order.
import type { Kind, OperandTypes, Strides } from './operands.js'

export const signatures = {
  batch_norm: {
    y: 'tensorOut',
    x: 'tensorIn',
    mean: 'overBatchIn',
    variance: 'overBatchIn',
    weight: 'perChannel',
    bias: 'perChannel',
    shape: 'volume',
    eps: 'number'
  },
  batch_norm_backward: {
    dx: 'tensorOut',
    dweight: 'maybeOverBatch',
    dbias: 'maybeOverBatch',
    dy: 'tensorIn',
    x: 'tensorIn',
    mean: 'overBatchIn',
    rstd: 'overBatchIn',
    weight: 'perChannel',
    shape: 'volume',
    training: 'size'
  },
  batch_statistics: { mean: 'overBatchOut', variance: 'overBatchOut', x: 'tensorIn', shape: 'volume' },
  calibrate_embeddings: {
    count: 'overBatchOut',
    min: 'overBatchOut',
    max: 'overBatchOut',
    mean: 'overBatchOut',
    squares: 'overBatchOut',
    x: 'tensorIn',
    shape: 'volume'
  },
  group_norm: {
    y: 'tensorOut',
    mean: 'perGroup',
    rstd: 'perGroup',
    x: 'tensorIn',
    weight: 'perChannel',
    bias: 'perChannel',
    shape: 'volume',
    eps: 'number'
  },
  group_norm_backward: {
    dx: 'tensorOut',
    dweight: 'sumOverRows',
    dbias: 'sumOverRows',
    dy: 'tensorIn',
    x: 'tensorIn',
    mean: 'savedPerGroup',
    rstd: 'savedPerGroup',
    weight: 'perChannel',
    shape: 'volume',
    eps: 'number'
  },
  layer_norm: {
    y: 'out',
    sum: 'maybeOut',
    mean: 'perGroup',
    rstd: 'perGroup',
    x: 'in',
    residual: 'maybeIn',
    weight: 'perElement',
    bias: 'perElement',
    shape: 'groups',
    residualScale: 'number',
    eps: 'number'
  },
  layer_norm_backward: {
    dx: 'out',
    dresidual: 'maybeOut',
    dweight: 'sumOverRows',
    dbias: 'sumOverRows',
    dy: 'in',
    x: 'in',
    dsum: 'maybeIn',
    mean: 'savedPerGroup',
    rstd: 'savedPerGroup',
    weight: 'perElement',
    shape: 'groups',
    residualScale: 'number',
    eps: 'number'
  },
  local_response_norm: {
    y: 'tensorOut',
    x: 'tensorIn',
    shape: 'volume',
    before: 'size',
    behind: 'size',
    alpha: 'number',
    beta: 'number',
    k: 'number'
  },
  normalize: {
    y: 'out',
    norm: 'perGroup',
    x: 'in',
    shape: 'groups',
    p: 'number',
    rule: 'size',
    eps: 'number',
    factor: 'number'
  },
  normalize_backward: {
    dx: 'out',
    dots: 'perGroup',
    dy: 'in',
    x: 'in',
    shape: 'groups',
    rule: 'size',
    eps: 'number',
    factor: 'number'
  },
  permute: { y: 'tensorOut', x: 'tensorIn', shape: 'axes' },
  pool_embeddings: {
    mean: 'perGroup',
    meanSqrt: 'perGroup',
    weightedMean: 'perGroup',
    cls: 'perGroup',
    last: 'perGroup',
    max: 'perGroup',
    x: 'tensorIn',
    shape: 'volume'
  },
  quantize_embeddings: {
    codes: 'codes',
    scales: 'perGroup',
    x: 'in',
    low: 'perElement',
    step: 'perElement',
    shape: 'groups'
  },
  residual_sum: { sum: 'out', x: 'in', residual: 'in', shape: 'groups', residualScale: 'number' },
  rms_norm: {
    y: 'out',
    sum: 'maybeOut',
    rstd: 'perGroup',
    x: 'in',
    residual: 'maybeIn',
    weight: 'perElement',
    shape: 'groups',
    counted: 'counted',
    residualScale: 'number',
    eps: 'number',
    weightOffset: 'number'
  },
  rms_norm_backward: {
    dx: 'out',
    dresidual: 'maybeOut',
    dweight: 'sumOverRows',
    dy: 'in',
    x: 'in',
    dsum: 'maybeIn',
    rstd: 'savedPerGroup',
    weight: 'perElement',
    shape: 'groups',
    counted: 'counted',
    residualScale: 'number',
    eps: 'number'
  }
} as const satisfies { readonly [op: string]: { readonly [operand: string]: Kind } }

/** Name of a kernel: the stem of its files on both sides. */
export type Op = keyof typeof signatures
type Signature<Name extends Op> = (typeof signatures)[Name]

/** The operands of one call, by name. `strides` belong to its matrices, `format` (of codeFormats) to its codes; `done` are the
 * rows before these in sums over rows. */
export type Call<Name extends Op> = {
  readonly [operand in keyof Signature<Name>]: Signature<Name>[operand] extends Kind
    ? OperandTypes[Signature<Name>[operand]]
    : never
} & { readonly strides?: Strides; readonly format?: number; readonly done?: number }

/** A kernel, of TypeScript or native. It checks nothing that a user should read of. */
export type Kernel<Name extends Op> = (call: Call<Name>) => void

/** The kernels of one backend for one element type. */
export type Kernels = { readonly [name in Op]: Kernel<name> }

/** All names, in order. */
export const ops = Object.keys(signatures) as Op[]
