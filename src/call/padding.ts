// Padded sequences: which positions of each sample are real, from `lengths` or `mask`.
import { bufferOf, byteOffsetOf, isTypedArray, lengthOf, typedArrayKind } from '../kernels/arrays.js'
import { endOfSpans, firstSpan, type Spans, spanBegin, spanEnd } from '../kernels/operands.js'
import { gotFlag, gotLength } from './advice.js'
import { copied } from './arrays.js'
import { describe, wrongType, wrongValue } from './errors.js'
import { isTensor, readDims } from './tensor.js'
import { checkDense } from './views.js'

/** Which positions of padded sequences are real. At most one of the two may be given. */
export interface PaddingOptions {
  /**
   * How many positions of each sample are real, from the first on: N integers from 0 to L, in an array or a typed array. x must
   * be a tensor [N, L, C] or [N, C, L]. Default: all are real.
   */
  lengths?: ArrayLike<number | bigint> | undefined
  /**
   * Which positions are real: 1 or true for a real one, 0 or false for a padded one. N * L of them, sample by sample, in an array
   * or in a typed array of any numbers or bigints; or a tensor [N, L] with such `data`, as the int64 attention_mask of a tokenizer.
   * Holes and padding on the left are fine. An additive mask (0 and -Infinity) is refused. x must be a tensor [N, L, C] or
   * [N, C, L]. Default: all are real.
   */
  mask?: ArrayLike<number | bigint | boolean> | { readonly data: unknown; readonly dims: readonly number[] } | undefined
}

export const paddingOptions = { lengths: true, mask: true } as const

const MOST_POSITIONS = 2 ** 31 - 1

/**
 * Reads `lengths` or `mask`, of N samples of L positions. With `joined` all samples are one, of N * L positions. Returns
 * undefined where all positions are real.
 */
export function readPadding(
  op: string,
  { lengths, mask }: PaddingOptions,
  samples: number,
  positions: number,
  joined: boolean
): Spans {
  if (lengths === undefined && mask === undefined) return undefined
  if (lengths !== undefined && mask !== undefined) {
    throw wrongType(op, 'mask', 'undefined, because lengths is given', describe(mask))
  }
  const what = lengths !== undefined ? 'lengths' : 'mask'
  if (samples * positions > MOST_POSITIONS) {
    throw wrongValue(op, what, 'at most 2^31 - 1 positions in all', `${samples * positions}`)
  }
  return lengths !== undefined
    ? readLengths(op, lengths, samples, positions, joined)
    : readMask(op, mask, samples, positions, joined)
}

/** Leaves out the first real positions of each sample: so many of all, or of each its own number. */
export function skipPositions(
  op: string,
  spans: Spans,
  samples: number,
  positions: number,
  skip: number | ArrayLike<number | bigint>
): Spans {
  const isNumber = typeof skip === 'number'
  const given = isNumber ? undefined : elements(op, 'skip', skip, samples, 'samples')
  const list = new SpanList(samples, positions, false)
  for (let n = 0; n < samples; n++) {
    const value = isNumber ? skip : given?.[n]
    const what = isNumber ? 'skip' : `skip[${n}]`
    if (typeof value !== 'number' && typeof value !== 'bigint') throw wrongType(op, what, 'a number', describe(value))
    let left = Number(value)
    if (!Number.isSafeInteger(left) || left < 0) throw wrongValue(op, what, 'an integer >= 0', describe(value))
    for (let at = firstSpan(spans, n); at < endOfSpans(spans, n); at += 2) {
      const begin = spanBegin(spans, at)
      const end = spanEnd(spans, positions, at)
      const first = Math.min(begin + left, end)
      left -= first - begin
      list.add(n, first, end)
    }
    list.end()
  }
  return list.finish()
}

/** The spans of samples of so many positions as those of one sample, in which all positions stand one behind the other. */
export function joinedSpans(spans: Spans, samples: number, positions: number): Spans {
  const list = new SpanList(samples, positions, true)
  for (let n = 0; n < samples; n++) {
    for (let at = firstSpan(spans, n); at < endOfSpans(spans, n); at += 2) {
      list.add(n, spanBegin(spans, at), spanEnd(spans, positions, at))
    }
    list.end()
  }
  return list.finish()
}

/** Room for spans while they are collected, which runs nothing of the caller's. Kept, but for what is large. */
let room: Int32Array = new Int32Array(2 ** 12)
const MOST_KEPT = 2 ** 18

/** Collects the spans of one sample after the other, in the form that kernels take (kernels/operands.ts). */
class SpanList {
  readonly #positions: number
  readonly #joined: boolean
  readonly #all: number
  /** Long enough for a span at every second position. */
  readonly #list: Int32Array
  #ended = 0
  #end: number
  #real = 0

  constructor(samples: number, positions: number, joined: boolean) {
    this.#positions = positions
    this.#joined = joined
    this.#all = samples * positions
    const heads = (joined ? 1 : samples) + 1
    const most = heads + this.#all + samples + 1
    this.#list = most <= room.length ? room : new Int32Array(most)
    if (most <= MOST_KEPT) room = this.#list
    this.#list[0] = heads
    this.#end = heads
  }

  /** Adds a span of a sample, behind those before. */
  add(sample: number, begin: number, end: number): void {
    if (begin === end) return
    const list = this.#list
    const at = this.#end
    const first = this.#joined ? sample * this.#positions : 0
    this.#real += end - begin
    if (this.#joined && at > 2 && list[at - 1] === first + begin) {
      list[at - 1] = first + end
      return
    }
    list[at] = first + begin
    list[at + 1] = first + end
    this.#end = at + 2
  }

  /** Ends a sample. */
  end(): void {
    if (!this.#joined) this.#list[++this.#ended] = this.#end
  }

  finish(): Spans {
    if (this.#real === this.#all) return undefined
    if (this.#joined) this.#list[1] = this.#end
    return this.#list.slice(0, this.#end)
  }
}

/** Checks that it is an array of so many elements; a copy, since elements of an array may have getters. */
function elements(op: string, what: string, values: unknown, length: number, why: string): ArrayLike<unknown> {
  if (!Array.isArray(values) && !isTypedArray(values)) throw wrongType(op, what, 'an array', describe(values))
  const { length: given } = values as ArrayLike<unknown>
  if (given !== length) {
    throw wrongValue(op, `${what}.length`, `${length} (${why})`, gotLength(what, values as ArrayLike<unknown>))
  }
  return Array.isArray(values) ? copied(op, what, values, length) : (values as ArrayLike<unknown>)
}

function readLengths(op: string, lengths: unknown, samples: number, positions: number, joined: boolean): Spans {
  const given = elements(op, 'lengths', lengths, samples, 'samples')
  const spans = new SpanList(samples, positions, joined)
  for (let n = 0; n < samples; n++) {
    const value = given[n]
    if (typeof value !== 'number' && typeof value !== 'bigint') {
      throw wrongType(op, `lengths[${n}]`, 'a number', describe(value))
    }
    const length = Number(value)
    if (!Number.isSafeInteger(length) || length < 0 || length > positions) {
      throw wrongValue(op, `lengths[${n}]`, `an integer from 0 to ${positions} (positions)`, describe(value))
    }
    spans.add(n, 0, length)
    spans.end()
  }
  return spans.finish()
}

function readMask(op: string, mask: unknown, samples: number, positions: number, joined: boolean): Spans {
  let values = mask
  if (isTensor(mask)) {
    const dims = readDims(op, 'mask', mask.dims)
    if (dims.length !== 2 || dims[0] !== samples || dims[1] !== positions) {
      throw wrongValue(op, 'mask.dims', `[${samples}, ${positions}]`, describe(dims))
    }
    checkDense(op, 'mask', mask, dims)
    values = mask.data
  }
  const flags = elements(op, 'mask', values, samples * positions, 'samples * positions')
  if (flags.length === 0) return undefined // dims may still name any number of samples
  const spans = new SpanList(samples, positions, joined)
  const kind = typedArrayKind(flags)
  const halves =
    kind === 'BigInt64Array' || kind === 'BigUint64Array' ? halvesOf(flags as unknown as ArrayBufferView) : undefined
  for (let n = 0; n < samples; n++) {
    const first = n * positions
    const end = first + positions
    for (let begin = first; begin < end; ) {
      const real = halves ? endOfHalves(halves, begin, end, 0) : endOfFlags(op, flags, begin, end, false)
      const after = halves ? endOfHalves(halves, real, end, 1) : endOfFlags(op, flags, real, end, true)
      // 64 bits that are neither 0 nor 1: this says so.
      if (after === begin) readFlag(op, begin, flags[begin])
      spans.add(n, real - first, after - first)
      begin = after
    }
    spans.end()
  }
  return spans.finish()
}

const littleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1
const [LOW, HIGH] = littleEndian ? [0, 1] : [1, 0]

/** Numbers of 64 bits as their halves: to read them as BigInt costs an object each. */
const halvesOf = (array: ArrayBufferView): Uint32Array =>
  new Uint32Array(bufferOf(array) as ArrayBuffer, byteOffsetOf(array), 2 * lengthOf(array))

/** The first place from `begin` on at which 64 bits are not this number; `end` where there is none. */
function endOfHalves(halves: Uint32Array, begin: number, end: number, value: number): number {
  let at = 2 * begin
  const last = 2 * end
  while (at < last && halves[at + LOW] === value && halves[at + HIGH] === 0) at += 2
  return at / 2
}

/** The same of flags of any kind. */
function endOfFlags(op: string, flags: ArrayLike<unknown>, begin: number, end: number, value: boolean): number {
  const number = value ? 1 : 0
  let i = begin
  for (; i < end; i++) {
    const flag = flags[i]
    if (flag !== number && (flag === 1 - number || readFlag(op, i, flag) !== value)) break
  }
  return i
}

/** A flag that is not simply 0 or 1. */
function readFlag(op: string, i: number, value: unknown): boolean {
  if (typeof value !== 'boolean' && typeof value !== 'number' && typeof value !== 'bigint') {
    throw wrongType(op, `mask[${i}]`, '0, 1 or a boolean', gotFlag(value))
  }
  const flag = Number(value)
  if (flag !== 0 && flag !== 1) throw wrongValue(op, `mask[${i}]`, '0, 1 or a boolean', gotFlag(value))
  return flag === 1
}
