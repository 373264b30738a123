// Padded sequences: which positions of each sample are real, from `lengths` or `mask`.
import { clear, type Spans } from './canonical.js'
import { describe, typedArrayKind, wrongType, wrongValue } from './check.js'
import { isTensor } from './tensor.js'

/** Options of operations that leave out padded positions. At most one of the two may be given. */
export interface PaddingOptions {
  /** Real positions of each sample, from the first; N integers from 0 to L. Needs a tensor [N, L, C] or [N, C, L]. */
  lengths?: ArrayLike<number | bigint>
  /** N * L of 1 or true (real) and 0 or false (padded), or a tensor [N, L] of them. */
  mask?: ArrayLike<number | bigint | boolean> | { readonly data: unknown; readonly dims: readonly number[] }
}

export const paddingOptions = ['lengths', 'mask']

/** Which positions are real: one span in each sample, or, where a sample has more than one, a flag for each position. */
export interface Padding {
  /** Where every sample has one span at most. */
  readonly spans: Int32Array | undefined
  /** samples * positions flags. */
  readonly kept: Uint8Array
}

/** Reads `lengths` or `mask`. undefined where neither is given. */
export function readPadding(
  op: string,
  options: PaddingOptions,
  samples: number,
  positions: number
): Padding | undefined {
  const { lengths, mask } = options
  if (lengths === undefined && mask === undefined) return undefined
  if (lengths !== undefined && mask !== undefined)
    throw wrongType(op, 'mask', 'undefined, because lengths is given', describe(mask))
  const kept =
    lengths !== undefined ? fromLengths(op, lengths, samples, positions) : fromMask(op, mask, samples, positions)
  return { kept, spans: spansOf(kept, samples, positions) }
}

function elements(op: string, what: string, values: unknown, length: number, why: string): unknown[] {
  if (!Array.isArray(values) && typedArrayKind(values) === undefined) {
    throw wrongType(op, what, 'an array', describe(values))
  }
  const copy = Array.from(values as ArrayLike<unknown>)
  if (copy.length !== length) throw wrongValue(op, `${what}.length`, `${length} (${why})`, String(copy.length))
  return copy
}

function fromLengths(op: string, lengths: unknown, samples: number, positions: number): Uint8Array {
  const kept = new Uint8Array(samples * positions)
  elements(op, 'lengths', lengths, samples, 'samples').forEach((given, n) => {
    if (typeof given !== 'number' && typeof given !== 'bigint') {
      throw wrongType(op, `lengths[${n}]`, 'a number', describe(given))
    }
    const length = Number(given)
    if (!Number.isSafeInteger(length) || length < 0 || length > positions) {
      throw wrongValue(op, `lengths[${n}]`, `an integer from 0 to ${positions} (positions)`, describe(given))
    }
    kept.fill(1, n * positions, n * positions + length)
  })
  return kept
}

function fromMask(op: string, mask: unknown, samples: number, positions: number): Uint8Array {
  let values = mask
  if (isTensor(mask)) {
    const dims = Array.from(mask.dims as ArrayLike<unknown>)
    if (dims.length !== 2 || dims[0] !== samples || dims[1] !== positions) {
      throw wrongValue(op, 'mask.dims', `[${samples}, ${positions}]`, describe(dims))
    }
    values = mask.data
  }
  const flags = elements(op, 'mask', values, samples * positions, 'samples * positions').map((value, i) => {
    if (typeof value !== 'boolean' && typeof value !== 'number' && typeof value !== 'bigint') {
      throw wrongType(op, `mask[${i}]`, '0, 1 or a boolean', describe(value))
    }
    const flag = Number(value)
    if (flag !== 0 && flag !== 1) throw wrongValue(op, `mask[${i}]`, '0, 1 or a boolean', describe(value))
    return flag
  })
  return Uint8Array.from(flags)
}

/** [begin, end) of the real positions of each sample, undefined where one has holes. */
function spansOf(kept: Uint8Array, samples: number, positions: number): Int32Array | undefined {
  const spans = new Int32Array(2 * samples)
  for (let n = 0; n < samples; n++) {
    const flags = kept.subarray(n * positions, (n + 1) * positions)
    const begin = Math.max(0, flags.indexOf(1))
    const end = flags.lastIndexOf(1) + 1
    if (flags.subarray(begin, end).includes(0)) return undefined
    spans[2 * n] = begin
    spans[2 * n + 1] = Math.max(begin, end)
  }
  return spans
}

/** The ranges [begin, end) of neighbouring real positions, over all samples. */
export function keptRanges(kept: Uint8Array): [number, number][] {
  const ranges: [number, number][] = []
  for (let begin = kept.indexOf(1); begin >= 0; ) {
    const gap = kept.indexOf(0, begin)
    const end = gap < 0 ? kept.length : gap
    ranges.push([begin, end])
    begin = kept.indexOf(1, end)
  }
  return ranges
}

/** How a tensor with holes is packed: the real positions of each sample moved to its front. */
export interface Packing {
  readonly spans: Spans
  /** Copies the real positions to the front. */
  pack(from: Float32Array): Float32Array
  /** Copies them back to where they were; 0 everywhere else. */
  unpack(from: Float32Array, to: Float32Array): void
}

/** Packs samples of [channels, positions], or of [positions, channels] where the channels are last. */
export function packing(
  kept: Uint8Array,
  samples: number,
  positions: number,
  channels: number,
  channelsLast: boolean
): Packing {
  const spans = new Int32Array(2 * samples)
  for (let n = 0; n < samples; n++) {
    for (let p = 0; p < positions; p++) spans[2 * n + 1] += kept[n * positions + p]
  }
  const [perPosition, perChannel] = channelsLast ? [channels, 1] : [1, positions]
  function move(from: Float32Array, to: Float32Array, back: boolean): void {
    for (let n = 0; n < samples; n++) {
      const base = n * positions * channels
      for (let p = 0, front = 0; p < positions; p++) {
        if (!kept[n * positions + p]) continue
        for (let c = 0; c < channels; c++) {
          const spread = base + p * perPosition + c * perChannel
          const packed = base + front * perPosition + c * perChannel
          if (back) to[spread] = from[packed]
          else to[packed] = from[spread]
        }
        front++
      }
    }
  }
  return {
    spans,
    pack(from) {
      const to = new Float32Array(samples * positions * channels)
      move(from, to, false)
      return to
    },
    unpack(from, to) {
      clear(to, 0, samples * positions * channels)
      move(from, to, true)
    }
  }
}
