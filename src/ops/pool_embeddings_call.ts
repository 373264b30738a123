// The stages of poolEmbeddings: what each call reads, and the kernels that it runs one after the other, at once or in
// threads.
import { kernelOf } from '../backend/choice.js'
import { bareArray } from '../call/advice.js'
import { checkLength, checkStatisticArray, isShared } from '../call/arrays.js'
import { CallMemory, resultMemory } from '../call/async_memory.js'
import { type AsyncOptions, checkTransfer } from '../call/async_options.js'
import { bytesOf, type CodesRead, codesPerRow, type EmbeddingArray, readCodesOutput } from '../call/codes.js'
import { describe, wrongType, wrongValue } from '../call/errors.js'
import { Operands } from '../call/overlap.js'
import { type PaddingOptions, readPadding, skipPositions } from '../call/padding.js'
import { room } from '../call/room.js'
import { type Elements, type Operand, readOperand, type TensorLike } from '../call/tensor.js'
import {
  asFloat32,
  bufferOf,
  byteOffsetOf,
  copyInto,
  elementTypeOf,
  fillWith,
  lengthOf,
  subarrayOf
} from '../kernels/arrays.js'
import type { Call, Op, Statistic } from '../kernels/index.js'
import { firstSpan, type Spans, spanBegin, spanEnd } from '../kernels/operands.js'
import { checkRows, type Quantization, readScales, resultOf } from './embeddings_call.js'
import type { NormalizeNumbers } from './normalize_call.js'

export const poolings = ['mean', 'mean-sqrt', 'weighted-mean', 'cls', 'last', 'max', 'none'] as const

/**
 * How the real positions of a sample become one embedding:
 * - `'mean'`: their mean
 * - `'mean-sqrt'`: their sum over the root of their number
 * - `'weighted-mean'`: their mean with the weights 1, 2, 3, ...
 * - `'cls'`: the first of them
 * - `'last'`: the last of them
 * - `'max'`: the largest number of each channel
 * - `'none'`: each position is an embedding
 */
export type Pooling = (typeof poolings)[number]

/** The kernel's place of each kind. */
const places = {
  mean: 'mean',
  'mean-sqrt': 'meanSqrt',
  'weighted-mean': 'weightedMean',
  cls: 'cls',
  last: 'last',
  max: 'max'
} as const

/** Options of one call; documented where users find them. */
export interface PoolCallOptions extends PaddingOptions {
  readonly skip?: number | ArrayLike<number | bigint> | undefined
  readonly out?: EmbeddingArray | TensorLike | undefined
  readonly pooled?: Operand | undefined
  readonly norm?: Statistic | undefined
  readonly scales?: Float32Array | undefined
}

/** What is the same for every call. */
export interface Plan {
  readonly channels: number
  /** Not 'none' among others. */
  readonly kinds: readonly Pooling[]
  /** channels * kinds: numbers of a row before it is cut. */
  readonly width: number
  readonly layerNorm:
    | { readonly weight: Float32Array | undefined; readonly bias: Float32Array | undefined; readonly eps: number }
    | undefined
  /** The first so many numbers of a row are kept. */
  readonly dimensions: number
  readonly normalize: NormalizeNumbers | undefined
  readonly quantization: Quantization
}

/** What was read of a call. */
interface Read {
  readonly elements: Elements
  /** N and L; with pooling 'none' of rows L is 1. */
  readonly samples: number
  readonly positions: number
  readonly spans: Spans
  readonly rows: number
  readonly dims: readonly number[]
  readonly out: CodesRead | undefined
  readonly codes: Uint8Array | undefined
  readonly pooled: Float32Array | undefined
  readonly norm: Statistic | undefined
  readonly scales: Float32Array | undefined
}

/** Checks everything about a call; writes nothing. */
function readCall(op: string, elements: Elements, options: PoolCallOptions, plan: Plan): Read {
  const { channels, width, dimensions, quantization } = plan
  const none = plan.kinds[0] === 'none'
  const { data, dims } = elements
  if (!dims && !none) throw wrongType(op, 'x', 'a tensor { data, dims } [N, L, C]', bareArray('x', '[N, L, C]'))
  if (dims && !(dims.length === 3 || (none && dims.length === 2))) {
    throw wrongValue(op, 'x.dims', none ? '[N, C] or [N, L, C]' : '[N, L, C]', describe(dims))
  }
  checkRows(op, dims, lengthOf(data), channels, 'channels')
  const [samples, positions] = dims?.length === 3 ? dims : [lengthOf(data) / channels, 1]
  const { lengths, mask, skip } = options
  if (dims?.length !== 3) {
    for (const [what, value] of Object.entries({ lengths, mask, skip })) {
      if (value !== undefined) throw wrongType(op, what, 'undefined, because x has no positions', describe(value))
    }
  }
  const padding = readPadding(op, { lengths, mask }, samples, positions, false)
  const spans = skip === undefined ? padding : skipPositions(op, padding, samples, positions, skip)
  const rows = none ? samples * positions : samples
  const outer = none ? (dims?.slice(0, -1) ?? [rows]) : [samples]
  const resultDims = [...outer, codesPerRow(quantization.precision, dimensions)]
  const out = readCodesOutput(op, options.out, quantization.precision, resultDims)
  const pooled = readPooled(op, options.pooled, [...outer, width])
  const { norm } = options
  if (norm !== undefined) checkStatisticArray(op, 'norm', norm, rows, 'rows')
  const scales = readScales(op, options.scales, quantization, rows)
  const codes = out && bytesOf(out.data)
  return { elements, samples, positions, spans, rows, dims: resultDims, out, codes, pooled, norm, scales }
}

/** Reads `pooled`: as a tensor its dims. */
function readPooled(op: string, value: Operand | undefined, dims: readonly number[]): Float32Array | undefined {
  if (value === undefined) return undefined
  const place = readOperand(op, 'pooled', value)
  checkLength(
    op,
    'pooled',
    place.data,
    dims.reduce((product, dim) => product * dim, 1),
    `[${dims.join(', ')}]`
  )
  const type = elementTypeOf(place.data)
  if (type !== 'float32') throw wrongType(op, 'pooled', 'float32', type)
  if (place.dims && (place.dims.length !== dims.length || place.dims.some((dim, i) => dim !== dims[i]))) {
    throw wrongValue(op, 'pooled.dims', `[${dims.join(', ')}]`, describe(place.dims))
  }
  return place.data
}

/** What memory a call shares. To be called when no code of the caller's runs any more before the first kernel. */
function checkMemory(op: string, { elements, codes, pooled, norm, scales }: Read): void {
  const operands = new Operands(op)
  operands.add('x', elements.data, 'input')
  operands.add('out', codes, 'result')
  operands.add('pooled', pooled, 'statistic')
  operands.add('norm', norm, 'statistic')
  operands.add('scales', scales, 'statistic')
  operands.check()
}

/** The arrays of a call that the stages write: the caller's, or memory of the call's own. */
interface Places {
  readonly x: Float32Array
  /** Whether x may be written to. */
  readonly ownsX: boolean
  readonly codes: Uint8Array
  readonly pooled: Float32Array | undefined
  readonly norm: Statistic | undefined
  readonly scales: Float32Array | undefined
  /** Memory between two stages, with anything in it: so many elements at least. */
  readonly between: (length: number) => Float32Array
}

/** A kernel to be run. */
type Step = { [Name in Op]: { readonly op: Name; readonly call: Call<Name> } }[Op]

/**
 * The kernels of a call, one after the other. Each is answered with its call, with the arrays as they are then: a thread may
 * have given them other memory. Returns the bytes of the result.
 */
function* stages(plan: Plan, read: Read, given: Places): Generator<Step, Uint8Array, unknown> {
  const { width, dimensions, layerNorm, normalize, quantization } = plan
  const { rows } = read
  const rowsOf = (size: number) => ({ outer: rows, size, inner: 1 })
  let { values, shown } = yield* pool(plan, read, given)
  if (layerNorm && rows > 0) {
    const { weight, bias, eps } = layerNorm
    const y = shown ? given.between(rows * width) : values
    const [sum, mean, rstd, residual] = [undefined, undefined, undefined, undefined]
    const shape = rowsOf(width)
    const call = { y, sum, mean, rstd, x: values, residual, weight, bias, shape, residualScale: 1, eps }
    const done = (yield { op: 'layer_norm', call }) as Call<'layer_norm'>
    values = done.y
    shown = false
  }
  const { format } = quantization
  const strides = { x: width, y: dimensions }
  if (rows > 0 && (normalize || given.norm)) {
    const { p, rule, eps, factor } = normalize ?? { p: 2, rule: 0, eps: 0, factor: 1 }
    const inPlace = !shown && width === dimensions
    const isLast = format === undefined && normalize
    const y = isLast ? numbersOf(given.codes) : inPlace && normalize ? values : given.between(rows * dimensions)
    const call = { y, norm: given.norm, x: values, shape: rowsOf(dimensions), strides, p, rule, eps, factor }
    const done = (yield { op: 'normalize', call }) as Call<'normalize'>
    if (isLast) return bytesOf(done.y)
    if (normalize) return yield* quantize(done.y, dimensions)
    values = done.x
  }
  if (format === undefined) {
    const y = numbersOf(given.codes)
    for (let row = 0; row < rows; row++) {
      copyInto(y, subarrayOf(values, row * width, row * width + dimensions), row * dimensions)
    }
    return given.codes
  }
  return yield* quantize(values, width)

  function* quantize(x: Float32Array, stride: number): Generator<Step, Uint8Array, unknown> {
    if (rows === 0) return given.codes
    const { low, step, format = 0 } = quantization
    const { codes, scales } = given
    const call = { codes, scales, x, low, step, shape: rowsOf(dimensions), strides: { x: stride }, format }
    return ((yield { op: 'quantize_embeddings', call }) as Call<'quantize_embeddings'>).codes
  }
}

const numbersOf = (bytes: Uint8Array) =>
  new Float32Array(bufferOf(bytes) as ArrayBuffer, byteOffsetOf(bytes), lengthOf(bytes) / 4)

/** The rows before stage 2, and whether the caller sees this memory. */
interface PooledRows {
  values: Float32Array
  shown: boolean
}

/** Stage 1. */
function* pool(plan: Plan, read: Read, given: Places): Generator<Step, PooledRows, unknown> {
  const { channels, kinds, width } = plan
  const { samples, positions, spans } = read
  if (kinds[0] === 'none') {
    if (!spans && !given.pooled) return { values: given.x, shown: !given.ownsX }
    const values = given.pooled ?? (given.ownsX ? given.x : new Float32Array(given.x))
    if (given.pooled) copyInto(values, given.x)
    clearPadded(values, channels, samples, positions, spans)
    return { values, shown: given.pooled !== undefined }
  }
  const shown = given.pooled !== undefined
  const size = samples * channels
  if (size === 0 || positions === 0) {
    if (given.pooled) fillWith(given.pooled, 0)
    return { values: given.pooled ?? new Float32Array(samples * width), shown }
  }
  const shape = { samples, groups: channels, channelsPerGroup: 1, positions, channelsLast: true, spans }
  const alone = kinds.length === 1
  const place = (kind: Pooling) => (kinds.includes(kind) ? (alone && given.pooled) || given.between(size) : undefined)
  const call: Call<'pool_embeddings'> = {
    mean: place('mean'),
    meanSqrt: place('mean-sqrt'),
    weightedMean: place('weighted-mean'),
    cls: place('cls'),
    last: place('last'),
    max: place('max'),
    x: given.x,
    shape
  }
  const done = (yield { op: 'pool_embeddings', call }) as Call<'pool_embeddings'>
  const of = kinds.map(kind => done[places[kind as keyof typeof places]] as Float32Array)
  if (alone) return { values: of[0], shown }
  const values = given.pooled ?? given.between(samples * width)
  for (let n = 0; n < samples; n++) {
    of.forEach((rows, i) => {
      copyInto(values, subarrayOf(rows, n * channels, (n + 1) * channels), n * width + i * channels)
    })
  }
  return { values, shown }
}

/** 0 in the rows of padded positions. */
function clearPadded(values: Float32Array, channels: number, samples: number, positions: number, spans: Spans): void {
  if (!spans) return
  for (let n = 0; n < samples; n++) {
    let done = 0
    for (let at = firstSpan(spans, n); at < spans[n + 1]; at += 2) {
      fillWith(values, 0, (n * positions + done) * channels, (n * positions + spanBegin(spans, at)) * channels)
      done = spanEnd(spans, positions, at)
    }
    fillWith(values, 0, (n * positions + done) * channels, (n + 1) * positions * channels)
  }
}

/** Memory between the stages of a call that is made at once: nothing of the caller's runs meanwhile. */
const rooms: ((length: number) => Float32Array)[] = []
let taken = 0

function keptBetween(length: number): Float32Array {
  const i = taken++
  rooms[i] ??= room(Float32Array, 2 ** 20)
  return rooms[i](length)
}

/** With pooling 'none' x itself goes through the stages: as float32, in memory of the call's own where it has another type. */
function rowsAsFloat32(data: Float32Array, { kinds }: Plan): { x: Float32Array; ownsX: boolean } {
  if (kinds[0] !== 'none') return { x: data, ownsX: false }
  const x = asFloat32(data)
  return { x, ownsX: x !== data }
}

/** One call. */
export function runPooling(
  op: string,
  elements: Elements,
  options: PoolCallOptions,
  plan: Plan
): EmbeddingArray | TensorLike {
  const read = readCall(op, elements, options, plan)
  const { rows, out, pooled, norm, scales } = read
  const codes = read.codes ?? new Uint8Array(rows * plan.quantization.bytesPerRow)
  const result = resultOf(elements, out, codes, plan.quantization.precision, read.dims)
  checkMemory(op, read)
  taken = 0
  const { x, ownsX } = rowsAsFloat32(elements.data, plan)
  const places = { x, ownsX, codes, pooled, norm, scales, between: keptBetween }
  const steps = stages(plan, read, places)
  let step = steps.next()
  while (!step.done) {
    const { op, call } = step.value
    const kernel = kernelOf(op) as (call: unknown) => void
    kernel(call)
    step = steps.next(call)
  }
  return result
}

/** The same off the event loop. */
export async function runPoolingAsync(
  op: string,
  elements: Elements,
  options: PoolCallOptions & AsyncOptions,
  plan: Plan
): Promise<EmbeddingArray | TensorLike> {
  const { transfer = false, signal } = options
  const read = readCall(op, elements, options, plan)
  const { rows } = read
  checkMemory(op, read)
  const memory = new CallMemory(op)
  const { data } = elements
  if (transfer) checkTransfer(op, data, plan.kinds[0] === 'none' ? options.out : undefined)
  const places: Places = {
    x: rowsAsFloat32(transfer ? memory.take(data) : memory.own(data), plan).x,
    ownsX: !isShared(data) || elementTypeOf(data) !== 'float32',
    codes: read.codes && isShared(read.codes) ? read.codes : new Uint8Array(rows * plan.quantization.bytesPerRow),
    pooled: memory.place('pooled', read.pooled),
    norm: memory.place('norm', read.norm),
    scales: memory.place('scales', read.scales),
    between: resultMemory
  }
  const steps = stages(plan, read, places)
  let step = steps.next()
  let first = true
  while (!step.done) {
    const { op, call } = step.value
    step = steps.next(await memory.run(op as 'normalize', call as Call<'normalize'>, first ? signal : undefined))
    first = false
  }
  memory.place('out', read.codes, step.value)
  memory.deliver()
  return resultOf(elements, read.out, step.value, plan.quantization.precision, read.dims)
}
