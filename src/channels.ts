// What the operations over channels share (batch, group and instance normalisation, local response): a tensor
// [N, C, ...] or [N, ..., C], parameters of one element per channel, padding, outputs.
import { type AsyncOptions, type CallMemory, checkTransfer } from './background.js'
import type { Spans, Statistic, Volume } from './canonical.js'
import {
  checkApart,
  checkAttached,
  checkInPlace,
  checkLength,
  checkOptions,
  checkStatisticArray,
  describe,
  isShared,
  lengthOf,
  typedArrayKind,
  wrongType,
  wrongValue
} from './check.js'
import { type Packing, type PaddingOptions, packing, paddingOptions, readPadding } from './padding.js'
import { isTensor, like, type Operand, readOperand, readVector, type TensorLike } from './tensor.js'

/** Where the channels stand: [N, C, ...] or [N, ..., C]. */
export type Layout = 'channels-first' | 'channels-last'

export interface LayoutOption {
  /** Where the channels stand. Default: 'channels-first', [N, C, ...]. */
  layout?: Layout
}

/** Options by which a tensor is read. */
export interface ChannelOptions extends LayoutOption, PaddingOptions {}

export const channelOptions = ['layout', ...paddingOptions]

/** A tensor read as N samples of C channels at P positions. */
export interface VolumeInput {
  /** The caller's elements. */
  readonly source: Float32Array
  /** Its elements; where padding has holes, a copy with the real positions of each sample in front. */
  readonly data: Float32Array
  readonly dims: number[]
  readonly spans: Spans
  /** `groups` is the number of channels and `channels` 1. */
  readonly shape: Volume
  readonly packing: Packing | undefined
}

/** Reads x, its layout and its padding. */
export function readVolume(op: string, x: unknown, options: ChannelOptions): VolumeInput {
  const { layout = 'channels-first', lengths, mask } = options
  if (layout !== 'channels-first' && layout !== 'channels-last') {
    throw (typeof layout === 'string' ? wrongValue : wrongType)(
      op,
      'layout',
      "'channels-first' or 'channels-last'",
      describe(layout)
    )
  }
  if (typedArrayKind(x) !== undefined) throw wrongType(op, 'x', 'a tensor { data, dims }', describe(x))
  const { data, dims } = readOperand(op, 'x', x)
  if (!dims || dims.length < 2) throw wrongValue(op, 'x.dims', 'at least [N, C]', describe(dims))
  const last = layout === 'channels-last'
  const samples = dims[0]
  const channels = last ? dims[dims.length - 1] : dims[1]
  const positions = (last ? dims.slice(1, -1) : dims.slice(2)).reduce((product, dim) => product * dim, 1)
  if (channels === 0) throw wrongValue(op, 'x.dims', 'at least one channel', describe(dims))
  // Without positions the two layouts are one: a matrix, whose channels are columns.
  const shape: Volume = { samples, groups: channels, channels: 1, positions, channelsLast: last || positions === 1 }
  if (lengths === undefined && mask === undefined)
    return { source: data, data, dims, spans: undefined, shape, packing: undefined }
  if (dims.length !== 3) throw wrongValue(op, 'x.dims', '[N, C, L] or [N, L, C] (lengths or mask)', describe(dims))
  const padding = readPadding(op, { lengths, mask }, samples, positions)
  if (!padding || padding.spans) return { source: data, data, dims, spans: padding?.spans, shape, packing: undefined }
  const packed = packing(padding.kept, samples, positions, channels, shape.channelsLast)
  return { source: data, data: packed.pack(data), dims, spans: packed.spans, shape, packing: packed }
}

/** A weight or bias: one element per channel, or absent. */
export function readPerChannel(op: string, what: string, value: Operand | undefined, channels: number) {
  return readVector(op, what, value, channels, 'channels')
}

/** The parameters of the operations over channels. */
export interface ChannelWeights {
  /** Scale, C elements. Default: none (1). */
  weight?: Operand
  /** Shift, C elements. Default: none (0). */
  bias?: Operand
}

/** The copies of its parameters that a layer keeps. */
export class OwnWeights {
  readonly #op: string
  readonly #channels: number
  weight: Float32Array | undefined
  bias: Float32Array | undefined

  constructor(op: string, channels: number, { weight, bias }: ChannelWeights) {
    this.#op = op
    this.#channels = channels
    this.set({ weight, bias })
  }

  /** Replaces both by copies of these; what is absent is none. */
  set(weights: ChannelWeights): void {
    checkOptions(this.#op, weights, ['weight', 'bias'])
    const weight = readPerChannel(this.#op, 'weight', weights.weight, this.#channels)
    const bias = readPerChannel(this.#op, 'bias', weights.bias, this.#channels)
    this.weight = weight && new Float32Array(weight)
    this.bias = bias && new Float32Array(bias)
  }
}

/** A positive integer. */
export function checkCount(op: string, what: string, value: unknown): asserts value is number {
  if (typeof value !== 'number') throw wrongType(op, what, 'a number', describe(value))
  if (!Number.isSafeInteger(value) || value < 1) throw wrongValue(op, what, 'a positive integer', describe(value))
}

/** Statistics: a Float32Array, a Float64Array or a tensor of float32, of so many elements, or absent. */
export function readStatistic(
  op: string,
  what: string,
  value: Operand | Statistic | undefined,
  length: number,
  why: string
): Statistic | undefined {
  if (value === undefined) return undefined
  const data: unknown = isTensor(value) ? readOperand(op, what, value).data : value
  checkStatisticArray(op, what, data, length, why)
  return data
}

/** Where a call writes. */
export interface VolumeOutput {
  /** What the kernel writes: `target`, or a packed copy. */
  readonly y: Float32Array
  /** The memory of the result. */
  readonly target: Float32Array
  /** There is no element: nothing to compute. */
  readonly empty: boolean
  /** What the caller gets when its memory has been written. */
  readonly resultOver: (target: Float32Array) => TensorLike
  /** Puts packed results back in their places, and gives what the caller gets. */
  finish(): TensorLike
}

/** An operand beside x and out, with the number of elements that it was found to have. */
export interface Beside {
  readonly array: Statistic | undefined
  readonly length: number
}

/**
 * Reads `out` and makes the result; then checks that everything is still as it was when it was read, and that nothing
 * written shares memory with anything else. `read` and `written` name the other operands. Writes nothing. With `later`,
 * where no `out` is given there is no place for the result yet: `target` and y are x.
 */
export function readVolumeOutput(
  op: string,
  x: TensorLike,
  input: VolumeInput,
  givenOut: Operand | undefined,
  read: { readonly [name: string]: Beside },
  written: { readonly [name: string]: Beside } = {},
  later = false
): VolumeOutput {
  const { source } = input
  const length = lengthOf(input.data)
  const out = givenOut === undefined ? undefined : readOperand(op, 'out', givenOut)
  const target = out?.data ?? (later ? source : new Float32Array(length))
  const resultOver = (target: Float32Array) => (out?.dims ? givenOut : like(x, input.dims, target)) as TensorLike
  const result = later ? undefined : resultOver(target)
  // From here on no code of the caller's runs.
  checkLength(op, 'x.data', source, length, 'its length when it was read')
  checkAttached(op, 'x.data', source)
  checkLength(op, 'out', target, length, 'x.data.length')
  checkAttached(op, 'out', target)
  const beside: { readonly [name: string]: Beside } = { ...read, ...written }
  for (const name of Object.keys(beside)) {
    const { array, length: expected } = beside[name]
    if (array) checkLength(op, name, array, expected, 'its length when it was read')
  }
  if (out) {
    checkInPlace(op, 'out', target, 'x', source)
    for (const name of Object.keys(beside)) checkApart(op, 'out', target, name, beside[name].array)
  }
  const names = Object.keys(written)
  names.forEach((name, i) => {
    const { array } = written[name]
    checkApart(op, name, array, 'x', source)
    for (const other of Object.keys(read)) checkApart(op, name, array, other, read[other].array)
    for (const other of names.slice(0, i)) checkApart(op, name, array, other, written[other].array)
  })
  const { packing } = input
  const y = packing && !later ? new Float32Array(length) : target
  const finish = () => {
    packing?.unpack(y, target)
    return result as TensorLike
  }
  return { y, target, empty: length === 0, resultOver, finish }
}

/** What a call in the background works on. */
export interface VolumeMemory {
  readonly x: Float32Array
  readonly y: Float32Array
  /** Takes what was written to y to where it belongs, and gives what the caller gets. */
  finish(): TensorLike
}

/** Copies x or takes it over. What it gives belongs to the call, or is shared. */
export function volumeMemory(
  op: string,
  memory: CallMemory,
  input: VolumeInput,
  output: VolumeOutput,
  { transfer, out }: AsyncOptions & { out?: unknown }
): VolumeMemory {
  const { source, packing } = input
  const { target, resultOver } = output
  if (transfer) checkTransfer(op, 'x.data', source, out)
  const given = out !== undefined
  if (packing) {
    // What was packed is the call's own already; the result has memory of its own or that of x.
    const place = transfer ? memory.own(source, true) : given ? memory.written('out', target) : undefined
    const result = place ?? new Float32Array(lengthOf(source))
    const packed = input.data
    const finish = () => {
      packing.unpack(memory.now(packed), result)
      memory.deliver()
      return resultOver(given ? target : result)
    }
    return { x: packed, y: packed, finish }
  }
  const x = memory.own(source, transfer)
  // In place where x is the call's own: then there is nothing else to allocate.
  const own = isShared(source) ? undefined : x
  const y = given ? (memory.written('out', target, own) as Float32Array) : (own ?? new Float32Array(lengthOf(x)))
  const finish = () => {
    memory.deliver()
    return resultOver(given ? target : memory.now(y))
  }
  return { x, y, finish }
}
