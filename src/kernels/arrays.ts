// What typed arrays themselves say of their memory: no property that a caller gave an array is asked.
import { elements } from './elements.js'
import type { Statistic } from './operands.js'

function getter<Value>(key: string | symbol): (this: unknown) => Value {
  return Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), key)?.get as () => Value
}

const kindGetter = getter<string | undefined>(Symbol.toStringTag)
const lengthGetter = getter<number>('length')
const bufferGetter = getter<ArrayBufferLike>('buffer')
const byteOffsetGetter = getter<number>('byteOffset')
const byteLengthGetter = getter<number>('byteLength')

/** 'Float32Array' and so on for a typed array of any realm, undefined for anything else. It cannot be spoofed. */
export function typedArrayKind(value: unknown): string | undefined {
  return kindGetter.call(value)
}

/** Whether a value is a typed array, of any realm. */
export function isTypedArray(value: unknown): boolean {
  return kindGetter.call(value) !== undefined
}

/** Whether a value is a Float32Array, of any realm. */
export function isFloat32(value: unknown): value is Float32Array {
  return kindGetter.call(value) === elements.float32
}

/** Whether a value is a Float64Array, of any realm. */
export function isFloat64(value: unknown): value is Float64Array {
  return kindGetter.call(value) === 'Float64Array'
}

/** Number of elements of a typed array. */
export function lengthOf(array: ArrayBufferView): number {
  return lengthGetter.call(array)
}

/** The buffer of a typed array. */
export function bufferOf(array: ArrayBufferView): ArrayBufferLike {
  return bufferGetter.call(array)
}

/** Where a typed array begins in its buffer. */
export function byteOffsetOf(array: ArrayBufferView): number {
  return byteOffsetGetter.call(array)
}

/** Number of bytes of a typed array. */
export function byteLengthOf(array: ArrayBufferView): number {
  return byteLengthGetter.call(array)
}

/** The elements of an array from `begin` to `end`, or to its own end, in place. */
export function subarrayOf<A extends Statistic>(array: A, begin: number, end = lengthOf(array)): A {
  const View = isFloat64(array) ? Float64Array : Float32Array
  const start = byteOffsetOf(array) + begin * View.BYTES_PER_ELEMENT
  return new View(bufferOf(array) as ArrayBuffer, start, end - begin) as A
}
