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
  }
} as const satisfies { readonly [op: string]: { readonly [operand: string]: Kind } }

/** Name of a kernel: the stem of its files on both sides. */
export type Op = keyof typeof signatures
type Signature<Name extends Op> = (typeof signatures)[Name]

/** The operands of one call, by name. `strides` belong to its matrices, `format` (of codeFormats) to its codes. */
export type Call<Name extends Op> = {
  readonly [operand in keyof Signature<Name>]: Signature<Name>[operand] extends Kind
    ? OperandTypes[Signature<Name>[operand]]
    : never
} & { readonly strides?: Strides; readonly format?: number }

/** A kernel, of TypeScript or native. It checks nothing that a user should read of. */
export type Kernel<Name extends Op> = (call: Call<Name>) => void

/** The kernels of one backend for one element type. */
export type Kernels = { readonly [name in Op]: Kernel<name> }

/** All names, in order. */
export const ops = Object.keys(signatures) as Op[]
