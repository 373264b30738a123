// Reads the calls of all operations over channels (batch, group and instance normalisation, local response): a tensor
// [N, C, ...] or [N, ..., C], parameters of one element per channel, padding, outputs.
import { lengthOf, typedArrayKind } from '../kernels/arrays.js'
import type { Spans, Volume } from '../kernels/operands.js'
import { gotTensor } from './advice.js'
import { checkDtype, type Dtype, type DtypeOption } from './elements.js'
import { describe, wrongType, wrongValue } from './errors.js'
import { checkChoice } from './options.js'
import type { Operands } from './overlap.js'
import { type PaddingOptions, paddingOptions, readPadding } from './padding.js'
import type { ReadCall } from './run.js'
import { type Elements, newLike, type Operand, readOperand, readOutput, readVector } from './tensor.js'

/** Where the channels of a tensor stand: first, [N, C, ...], or last, [N, ..., C]. */
export type Layout = 'channels-first' | 'channels-last'

/** How the dims of a tensor are read. */
export interface LayoutOption {
  /** Where the channels stand: [N, C, ...], or [N, ..., C] for 'channels-last'. Default: 'channels-first'. */
  layout?: Layout | undefined
}

/** How a tensor of channels is read. */
export interface ChannelOptions extends LayoutOption, PaddingOptions, DtypeOption {}

export const channelOptions = { layout: true, ...paddingOptions, dtype: true } as const

/** The parameters of the operations over channels. */
export interface ChannelWeights {
  /** Scale of each channel, C elements. Default: none (1). */
  weight?: Operand | undefined
  /** Shift of each channel, C elements. Default: none (0). */
  bias?: Operand | undefined
}

/** A tensor read as N samples of C channels at P positions. */
export interface VolumeInput {
  readonly elements: Elements
  readonly data: Float32Array
  readonly dims: number[]
  /** `groups` is the number of channels. */
  readonly shape: Volume & { readonly spans: Spans }
}

/** Reads x, its layout and its padding. */
export function readVolume(op: string, x: unknown, options: ChannelOptions): VolumeInput {
  const { layout = 'channels-first', lengths, mask, dtype } = options
  checkDtype(op, dtype)
  checkChoice(op, 'layout', layout, ['channels-first', 'channels-last'], "'channels-first' or 'channels-last'")
  if (typedArrayKind(x) !== undefined) {
    throw wrongType(op, 'x', 'a tensor { data, dims }', gotTensor('x', x, '[N, C, ...]'))
  }
  const elements = readOperand(op, 'x', x, dtype)
  const { data, dims } = elements
  if (!dims || dims.length < 2) throw wrongValue(op, 'x.dims', 'at least [N, C]', describe(dims))
  const last = layout === 'channels-last'
  const samples = dims[0]
  const groups = last ? dims[dims.length - 1] : dims[1]
  let positions = 1
  for (let i = last ? 1 : 2; i < dims.length - (last ? 1 : 0); i++) positions *= dims[i]
  if (groups === 0) throw wrongValue(op, 'x.dims', 'at least one channel', describe(dims))
  const padded = lengths !== undefined || mask !== undefined
  if (padded && dims.length !== 3) {
    throw wrongValue(op, 'x.dims', '[N, C, L] or [N, L, C] (lengths or mask)', describe(dims))
  }
  const spans = padded ? readPadding(op, { lengths, mask }, samples, positions, false) : undefined
  // Without positions the two layouts are one: a matrix, whose channels are columns.
  const channelsLast = last || positions === 1
  return { elements, data, dims, shape: { samples, groups, channelsPerGroup: 1, positions, channelsLast, spans } }
}

/** A weight or bias: one element per channel, or absent. */
export function readPerChannel(
  op: string,
  what: string,
  value: Operand | undefined,
  channels: number,
  dtype?: Dtype
): Float32Array | undefined {
  return readVector(op, what, value, [channels], 'channels', dtype)
}

/** What every operation over channels reads of a call. */
export interface VolumeCall extends ReadCall {
  readonly y: Float32Array
  /** Elements of x and y when they were read. */
  readonly length: number
}

/**
 * Reads `out` and makes the result. Writes nothing. With `async`, where no `out` is given there is no place for the result
 * yet: y is x.
 */
export function readVolumeOutput(
  op: string,
  { elements, data }: VolumeInput,
  givenOut: Operand | undefined,
  async = false
): VolumeCall {
  const length = lengthOf(data)
  const { out, resultOver } = readOutput(op, elements, givenOut)
  const y = out ?? (async ? data : newLike(elements))
  const result = async ? undefined : resultOver(y)
  return { x: data, y, length, out, empty: length === 0, result, resultOver }
}

/**
 * Checks that everything is still as it was when it was read, and what memory is shared. `operands` has all but x and out.
 * From here on no code of the caller's may run.
 */
export function checkVolumeCall({ x, out, length }: VolumeCall, operands: Operands): void {
  operands.add('x', x, 'input', length)
  operands.add('out', out, 'result', length)
  operands.check()
}

/** Both. */
export function readVolumeCall(
  op: string,
  input: VolumeInput,
  out: Operand | undefined,
  operands: Operands
): VolumeCall {
  const call = readVolumeOutput(op, input, out)
  checkVolumeCall(call, operands)
  return call
}
