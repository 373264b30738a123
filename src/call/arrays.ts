// Checks of the arrays that a caller hands in.
import { bufferOf, byteLengthOf, isFloat32, lengthOf, typedArrayKind } from '../kernels/arrays.js'
import type { Statistic } from '../kernels/operands.js'
import { gotArray } from './advice.js'
import { describe, wrongType, wrongValue } from './errors.js'

const unsharedLengthGetter = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength')?.get as () => number

/** Whether a typed array is over a SharedArrayBuffer. */
export function isShared(array: Statistic | Uint8Array): boolean {
  try {
    unsharedLengthGetter.call(bufferOf(array))
    return false
  } catch {
    return true // the getter throws for everything but an ArrayBuffer
  }
}

/** Whether a typed array is over all of its ArrayBuffer. */
export function coversBuffer(array: Statistic): boolean {
  return byteLengthOf(array) === unsharedLengthGetter.call(bufferOf(array))
}

/** A Float32Array whose memory is still there. */
export function checkFloat32(op: string, what: string, value: unknown): asserts value is Float32Array {
  if (!isFloat32(value)) throw wrongType(op, what, 'Float32Array', gotArray(what, value))
  checkAttached(op, what, value)
}

/** A detached array, or one past the end of a buffer that shrank, reads as empty; it must not pass for zero rows. */
export function checkAttached(op: string, what: string, array: Statistic | Uint8Array): void {
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
): asserts value is Statistic {
  const kind = typedArrayKind(value)
  if (kind !== 'Float32Array' && kind !== 'Float64Array') {
    throw wrongType(op, what, 'Float32Array or Float64Array', gotArray(what, value))
  }
  const array = value as Statistic
  checkAttached(op, what, array)
  checkLength(op, what, array, length, why)
}

/** Exactly this many elements; `why` names what asks for them. */
export function checkLength(
  op: string,
  what: string,
  array: Statistic | Uint8Array,
  expected: number,
  why: string
): void {
  const length = lengthOf(array)
  if (length !== expected) throw wrongValue(op, `${what}.length`, `${expected} (${why})`, String(length))
}

/** The most dimensions of a tensor, and of anything that has one number for each. */
export const MOST_DIMS = 64

/**
 * A copy of an array or array-like, each element read once. How many there are is looked at first: to copy what only says
 * that it has 2^32 could end the process.
 */
export function copied(op: string, what: string, given: ArrayLike<unknown>, most = MOST_DIMS): unknown[] {
  const { length } = given
  if (!(length >= 0 && length <= most)) {
    throw wrongValue(op, `${what}.length`, `at most ${most}`, describe(length))
  }
  const copy: unknown[] = []
  for (let i = 0; i < length; i++) copy.push(given[i])
  return copy
}
