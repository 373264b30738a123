// What typed arrays themselves say of their memory: no property that a caller gave an array is asked.
import { widen } from './convert.js'
import { bytesOfType, type ElementType, elements } from './elements.js'
import type { Statistic } from './operands.js'

function getter<Value>(key: string | symbol): (this: unknown) => Value {
  return Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), key)?.get as () => Value
}

const kindGetter = getter<string | undefined>(Symbol.toStringTag)
const lengthGetter = getter<number>('length')
const bufferGetter = getter<ArrayBufferLike>('buffer')
const byteOffsetGetter = getter<number>('byteOffset')
const { set: setter, fill: filler } = Object.getPrototypeOf(Uint8Array.prototype) as {
  set: (this: ArrayBufferView, from: ArrayBufferView, at?: number) => void
  fill: (this: ArrayBufferView, value: number, begin?: number, end?: number) => void
}
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

/** Copies the elements of one array into another, from element `at` of that on. */
export function copyInto(to: ArrayBufferView, from: ArrayBufferView, at = 0): void {
  setter.call(to, from, at)
}

/** Writes a value to the elements from `begin` to `end`. */
export function fillWith(array: ArrayBufferView, value: number, begin = 0, end = lengthOf(array)): void {
  filler.call(array, value, begin, end)
}

/** The dimensions that rows of a view have, and how far apart they stand along each. */
export interface Rows {
  readonly dims: readonly number[]
  readonly strides: readonly number[]
}

/** How the elements of an array stand in memory, where they are no dense float32. */
export interface Storage {
  readonly type: ElementType
  /** Of a view. */
  readonly rows?: Rows
}

/** What a constructor that extends this adds its private fields to: the object that it was given. */
class Given {
  constructor(array: object) {
    // biome-ignore lint/correctness/noConstructorReturn: the array itself gets the field
    return array
  }
}

/** An array that knows how its elements stand in memory; no property that a caller could see or forge. */
class Stored extends Given {
  readonly #storage: Storage

  constructor(array: ArrayBufferView, storage: Storage) {
    super(array)
    this.#storage = storage
  }

  static of(array: object): Storage | undefined {
    return typeof array === 'object' && #storage in array ? array.#storage : undefined
  }
}

/** How the elements of an array stand in memory; undefined where they are dense, of the array's own type. */
export function storageOf(array: ArrayBufferView): Storage | undefined {
  return Stored.of(array)
}

/** The storage of dense elements of a type. */
export function storageOfType(type: ElementType): Storage | undefined {
  return type === 'float32' ? undefined : { type }
}

/** The type of an array's elements, which is float32 where it does not say another. */
export function elementTypeOf(array: ArrayBufferView): ElementType {
  return Stored.of(array)?.type ?? 'float32'
}

/**
 * Memory of these elements, as an array that knows how they stand there. Its type is that of the operands of kernels: those that
 * have a storage are no dense float32, and are never read as such.
 */
export function storedOver(
  storage: Storage | undefined,
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number
): Float32Array {
  const Memory = storage === undefined || storage.type === 'float32' ? Float32Array : Uint16Array
  const array = new Memory(buffer as ArrayBuffer, byteOffset, length) as Float32Array
  if (storage) new Stored(array, storage)
  return array
}

/** New memory of so many elements of this type. */
export function newElements(type: ElementType, length: number): Float32Array {
  if (type === 'float32') return new Float32Array(length)
  return storedOver({ type }, new ArrayBuffer(bytesOfType(type) * length), 0, length)
}

/** New memory for as many elements as an array has, of their type. */
export function emptyLike(array: Float32Array): Float32Array {
  return newElements(elementTypeOf(array), lengthOf(array))
}

/** A copy of an array in new memory. */
export function copyOf(array: Float32Array): Float32Array {
  const copy = emptyLike(array)
  copyInto(copy, array)
  return copy
}

/** The elements of an array as float32: itself where they are. */
export function asFloat32(array: Float32Array): Float32Array {
  const type = elementTypeOf(array)
  if (type === 'float32') return array
  const n = lengthOf(array)
  const wide = new Float32Array(n)
  widen(wide, 0, array, 0, n, type)
  return wide
}

/** The elements of an array from `begin` to `end`, or to its own end, in place. */
export function subarrayOf<A extends Statistic>(array: A, begin: number, end = lengthOf(array)): A {
  const buffer = bufferOf(array)
  const first = byteOffsetOf(array)
  if (isFloat64(array)) return new Float64Array(buffer as ArrayBuffer, first + 8 * begin, end - begin) as A
  const size = bytesOfType(elementTypeOf(array))
  return storedOver(storageOf(array), buffer, first + size * begin, end - begin) as A
}
