// The assertions on what a caller hands in, and the one shape of their messages: `op: what expected X, got Y`.

/** A wrong kind of value. */
export function wrongType(op: string, what: string, expected: string, got: string): TypeError {
  return new TypeError(`${op}: ${what} expected ${expected}, got ${got}`)
}

/** A value of the right kind that is not allowed. */
export function wrongValue(op: string, what: string, expected: string, got: string): RangeError {
  return new RangeError(`${op}: ${what} expected ${expected}, got ${got}`)
}

/** A getter of all typed arrays: what it says of an array, no property that somebody gave the array can change. */
function getter<Value>(key: string | symbol): (this: unknown) => Value {
  return Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), key)?.get as () => Value
}

const kindGetter = getter<string | undefined>(Symbol.toStringTag)
const lengthGetter = getter<number>('length')
const bufferGetter = getter<ArrayBufferLike>('buffer')
const byteOffsetGetter = getter<number>('byteOffset')
const byteLengthGetter = getter<number>('byteLength')

/** Number of elements of a typed array. */
export function lengthOf(array: Float32Array | Float64Array): number {
  return lengthGetter.call(array)
}

/** The buffer of a typed array. */
export function bufferOf(array: Float32Array | Float64Array): ArrayBufferLike {
  return bufferGetter.call(array)
}

const unsharedLengthGetter = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength')?.get as () => number

/** Whether a typed array is over a SharedArrayBuffer. */
export function isShared(array: Float32Array | Float64Array): boolean {
  try {
    unsharedLengthGetter.call(bufferGetter.call(array))
    return false
  } catch {
    return true // the getter throws for everything but an ArrayBuffer
  }
}

/** Whether a typed array is over all of its ArrayBuffer. */
export function coversBuffer(array: Float32Array | Float64Array): boolean {
  return byteLengthGetter.call(array) === unsharedLengthGetter.call(bufferGetter.call(array))
}

/** Elements begin to end of a typed array, in place; no method or property that somebody gave the array is asked. */
export function part<A extends Float32Array | Float64Array>(array: A, begin: number, end: number): A {
  const View = typedArrayKind(array) === 'Float64Array' ? Float64Array : Float32Array
  const start = byteOffsetGetter.call(array) + begin * View.BYTES_PER_ELEMENT
  return new View(bufferGetter.call(array) as ArrayBuffer, start, end - begin) as A
}

/** 'Float32Array' and so on for a typed array of any realm, undefined for anything else. It cannot be spoofed. */
export function typedArrayKind(value: unknown): string | undefined {
  return kindGetter.call(value)
}

/** Whether a value is a Float32Array, of any realm. */
export function isFloat32(value: unknown): value is Float32Array {
  return kindGetter.call(value) === 'Float32Array'
}

/** How a message names a value. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value !== 'object' || value === null) return String(value)
  const kind = typedArrayKind(value)
  if (kind !== undefined) return kind
  if (Array.isArray(value)) {
    return value.length <= 8 && value.every(item => typeof item !== 'object')
      ? `[${value.map(describe).join(', ')}]`
      : `an array of ${value.length}`
  }
  const name = (value as { constructor?: { name?: unknown } }).constructor?.name
  return typeof name === 'string' && name !== '' && name !== 'Object' ? `an object of class ${name}` : 'an object'
}

/** Throws unless every key of `options` is one of `known`; names the nearest of them. */
export function checkOptions(op: string, options: unknown, known: readonly string[]): void {
  const isObject = typeof options === 'object' && options !== null
  if (!isObject || Array.isArray(options) || typedArrayKind(options) !== undefined) {
    throw wrongType(op, 'options', 'an object', describe(options))
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      const near = nearest(key, known)
      throw wrongType(op, 'option', `one of ${known.join(', ')} (nearest: ${near})`, JSON.stringify(key))
    }
  }
}

function nearest(word: string, known: readonly string[]): string {
  const ranked = known.map(candidate => ({ candidate, distance: editDistance(word, candidate) }))
  return ranked.sort((a, b) => a.distance - b.distance)[0].candidate
}

/** Levenshtein's distance, letters compared without case. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1].toLowerCase() === b[j - 1].toLowerCase() ? 0 : 1
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + change)
    }
    row = next
  }
  return row[b.length]
}

/** eps: a finite number >= 0. */
export function checkEps(op: string, eps: unknown): number {
  checkFinite(op, 'eps', eps)
  if (eps < 0) throw wrongValue(op, 'eps', 'a finite number >= 0', describe(eps))
  return eps
}

/** A number that is neither NaN nor infinite. */
export function checkFinite(op: string, what: string, value: unknown): asserts value is number {
  if (typeof value !== 'number') throw wrongType(op, what, 'a number', describe(value))
  if (!Number.isFinite(value)) throw wrongValue(op, what, 'a finite number', describe(value))
}

/** A Float32Array whose memory is still there. */
export function checkFloat32(op: string, what: string, value: unknown): asserts value is Float32Array {
  if (!isFloat32(value)) throw wrongType(op, what, 'Float32Array', describe(value))
  checkAttached(op, what, value)
}

/** A detached array, or one past the end of a buffer that shrank, reads as empty; it must not pass for zero rows. */
export function checkAttached(op: string, what: string, array: Float32Array | Float64Array): void {
  if (lengthOf(array) > 0) return
  try {
    Float32Array.prototype.fill.call(array as Float32Array, 0) // writes nothing: there is nothing, or it throws
  } catch {
    throw wrongType(op, what, 'an array with memory', 'a detached one')
  }
}

/** A place for so many statistics, whose memory is still there; `why` names what asks for them. */
export function checkStatisticArray(
  op: string,
  what: string,
  value: unknown,
  length: number,
  why: string
): asserts value is Float32Array | Float64Array {
  const kind = typedArrayKind(value)
  if (kind !== 'Float32Array' && kind !== 'Float64Array') {
    throw wrongType(op, what, 'Float32Array or Float64Array', describe(value))
  }
  const array = value as Float32Array | Float64Array
  checkAttached(op, what, array)
  checkLength(op, what, array, length, why)
}

/** Exactly this many elements; `why` names what asks for them. */
export function checkLength(
  op: string,
  what: string,
  array: Float32Array | Float64Array,
  expected: number,
  why: string
): void {
  const length = lengthOf(array)
  if (length !== expected) throw wrongValue(op, `${what}.length`, `${expected} (${why})`, String(length))
}

type Operand = Float32Array | Float64Array | undefined

/**
 * Whether two arrays share memory: not at all, all of it (same start, same length), or a part. JavaScript cannot tell that
 * two SharedArrayBuffer objects have the same memory (one came through a message): that overlap is not seen.
 */
export function sharing(a: Float32Array | Float64Array, b: Float32Array | Float64Array): 'none' | 'all' | 'part' {
  if (bufferGetter.call(a) !== bufferGetter.call(b)) return 'none'
  const [start, size] = [byteOffsetGetter.call(a), byteLengthGetter.call(a)]
  const [otherStart, otherSize] = [byteOffsetGetter.call(b), byteLengthGetter.call(b)]
  if (start === otherStart && size === otherSize) return size > 0 ? 'all' : 'none'
  return start < otherStart + otherSize && otherStart < start + size ? 'part' : 'none'
}

/**
 * Whether two Float32Arrays of one length share a part of their memory, and neither all nor none. Mostly both begin at the
 * same place of their buffers, and then it need not ask for these, which costs more than the rest of a small call.
 */
export function shareAPart(a: Float32Array, b: Float32Array): boolean {
  return byteOffsetGetter.call(a) !== byteOffsetGetter.call(b) && sharing(a, b) === 'part'
}

/** Throws where something that is written shares memory with this other operand. */
export function checkApart(op: string, what: string, written: Operand, other: string, operand: Operand): void {
  if (written && operand && sharing(written, operand) !== 'none') {
    throw wrongValue(op, what, `no memory shared with ${other}`, 'an overlap')
  }
}

/** Throws where something that is written shares a part of its memory with this operand; all of it is in place. */
export function checkInPlace(op: string, what: string, written: Operand, other: string, operand: Operand): void {
  if (written && operand && sharing(written, operand) === 'part') {
    throw wrongValue(op, what, `exactly the memory of ${other}, or none of it`, 'a part')
  }
}
