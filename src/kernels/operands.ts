// The kinds of operands that kernels have. The twin of native/operands.h.

/** A place for one statistic per group: rounded to float32, or float64 as computed. */
export type Statistic = Float32Array | Float64Array

/**
 * Which positions of each sample are real (rule 15), as spans [begin, end) of neighbors. First, for each sample and once
 * more, where its spans stand in this array; then the spans, each as two numbers, in order and apart from each other.
 * Absent: all positions are real.
 */
export type Spans = Int32Array | undefined

/** Where the spans of a sample begin; without spans it has one. */
export function firstSpan(spans: Spans, sample: number): number {
  return spans ? spans[sample] : 0
}

/** Where they end: the next begins two numbers later than the last. */
export function endOfSpans(spans: Spans, sample: number): number {
  return spans ? spans[sample + 1] : 2
}

/** The first position of the span at `at`. */
export function spanBegin(spans: Spans, at: number): number {
  return spans ? spans[at] : 0
}

/** The position behind its last. */
export function spanEnd(spans: Spans, positions: number, at: number): number {
  return spans ? spans[at + 1] : positions
}

/** How many positions of a sample are real. */
export function countReal(spans: Spans, positions: number, sample: number): number {
  if (!spans) return positions
  let count = 0
  for (let at = spans[sample]; at < spans[sample + 1]; at += 2) count += spans[at + 1] - spans[at]
  return count
}

/**
 * The shape of an op over rows or columns: `outer` matrices of `size` rows and `inner` columns, each column a group; with
 * inner 1 each matrix is one, and its elements are neighbors. Of `spans`, the samples are the matrices and the positions
 * their columns; with inner 1 there is one sample, whose positions are the matrices.
 */
export interface Groups {
  readonly outer: number
  readonly size: number
  readonly inner: number
  readonly spans?: Spans
  /** Columns of a matrix in memory, of which those of the call are neighbors. Default: inner. */
  readonly pitch?: number
}

/**
 * The shape of an op over channels: samples x (groups * channelsPerGroup) x positions, or, where the channels are last,
 * samples x positions x (groups * channelsPerGroup). A group is `channelsPerGroup` neighboring channels.
 */
export interface Volume {
  readonly samples: number
  readonly groups: number
  readonly channelsPerGroup: number
  readonly positions: number
  readonly channelsLast: boolean
  readonly spans?: Spans
}

/** The most dimensions of a copy in another order. */
export const MOST_AXES = 16

/** The shape of a copy in another order: its dimensions, and how far apart their elements stand in x and in y. */
export interface Axes {
  readonly dims: readonly number[]
  readonly xStrides: readonly number[]
  readonly yStrides: readonly number[]
}

/** What a code of a row's element is, in the order of their numbers (native/operands.h has the same). */
export const codeFormats = [
  'float16',
  'bfloat16',
  'int8_ranges',
  'uint8_ranges',
  'int8_unit',
  'int8_row',
  'int8_sqlite_vec',
  'ubinary_msb',
  'ubinary_lsb',
  'binary_msb',
  'binary_lsb'
] as const
export type CodeFormat = (typeof codeFormats)[number]

/** Bytes of the codes of n elements. */
export function codeBytes(format: number, n: number): number {
  if (format <= codeFormats.indexOf('bfloat16')) return 2 * n
  return format >= codeFormats.indexOf('ubinary_msb') ? Math.ceil(n / 8) : n
}

/** Runs or columns whose totals are added before they join the group's, rows of a block, blocks of a part (rules 13, 14). */
export const FOLD64 = 64

/**
 * Sums over the rows of a call, or over its samples, of n elements each (rule 22): rows of n partial sums, one for every block,
 * or for every sample where there are not more than a part has. In the end the first row is the sum. To be passed with zeros.
 */
export type SumOverRows = Float64Array | undefined

/** How many rows, or samples, add to one row of partial sums. */
export function unitOf(shape: Groups | Volume): number {
  return 'samples' in shape && shape.samples <= FOLD64 * FOLD64 ? 1 : FOLD64
}

/** Elements of the partial sums of a call, of n elements each. */
export function partialSums(shape: Groups | Volume, n: number): number {
  const count = 'samples' in shape ? shape.samples : shape.outer
  return Math.max(1, Math.ceil(count / unitOf(shape))) * n
}

/** What an operand of each kind is in a call. */
export interface OperandTypes {
  out: Float32Array
  maybeOut: Float32Array | undefined
  in: Float32Array
  maybeIn: Float32Array | undefined
  tensorOut: Float32Array
  tensorIn: Float32Array
  perElement: Float32Array | undefined
  perChannel: Float32Array | undefined
  overBatchOut: Float64Array
  overBatchIn: Float64Array
  maybeOverBatch: Float64Array | undefined
  sumOverRows: SumOverRows
  savedPerGroup: Float64Array | undefined
  perGroup: Statistic | undefined
  codes: Uint8Array
  groups: Groups
  volume: Volume
  axes: Axes
  counted: number
  size: number
  number: number
}

export type Kind = keyof OperandTypes

/**
 * What a call does with an operand: `result` is written, element by element of x; `statistic` is written once per group, `sum` once per call;
 * `input` and `parameter` are read, parameters belong to a layer. `shape` and `number` are no arrays.
 */
export type Role = 'result' | 'statistic' | 'sum' | 'input' | 'parameter' | 'shape' | 'number'

/** What follows from an operand's kind. */
export interface Traits {
  /** How native/ops.h writes it. */
  readonly native: string
  readonly role: Role
  /** Whether it is a matrix: its numbers are a stride. */
  readonly strided?: boolean
}

export const kinds: { readonly [kind in Kind]: Traits } = {
  out: { native: 'Out<T>', role: 'result', strided: true },
  maybeOut: { native: 'MaybeOut<T>', role: 'result', strided: true },
  in: { native: 'In<T>', role: 'input', strided: true },
  maybeIn: { native: 'MaybeIn<T>', role: 'input', strided: true },
  tensorOut: { native: 'Tensor<T>', role: 'result' },
  tensorIn: { native: 'Tensor<const T>', role: 'input' },
  perElement: { native: 'PerElement<T>', role: 'parameter' },
  perChannel: { native: 'PerChannel<T>', role: 'parameter' },
  overBatchOut: { native: 'OverBatch<double>', role: 'statistic' },
  overBatchIn: { native: 'OverBatch<const double>', role: 'input' },
  maybeOverBatch: { native: 'MaybeOverBatch', role: 'sum' },
  sumOverRows: { native: 'SumOverRows', role: 'sum' },
  savedPerGroup: { native: 'SavedPerGroup', role: 'input' },
  perGroup: { native: 'PerGroup', role: 'statistic' },
  codes: { native: 'Codes', role: 'result' },
  groups: { native: 'Groups', role: 'shape' },
  volume: { native: 'Volume', role: 'shape' },
  axes: { native: 'Axes', role: 'shape' },
  counted: { native: 'Counted', role: 'number' },
  size: { native: 'size_t', role: 'number' },
  number: { native: 'double', role: 'number' }
}

/** Matrices that are not dense: elements from one to the next, by operand. Default: size * inner. */
export interface Strides {
  readonly [operand: string]: number | undefined
}

/** The strides of y, sum, x and residual. */
export function stridesOf(strides: Strides | undefined, dense: number): readonly [number, number, number, number] {
  const { y = dense, sum = dense, x = dense, residual = dense } = strides ?? {}
  return [y, sum, x, residual]
}
