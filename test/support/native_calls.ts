// Calls of the functions of the native binary, by arguments: numbers, then arrays.
import { flattened } from '../../dist/esm/backend/flatten.js'
import type { Op } from '../../dist/esm/kernels/index.js'

/** A function of the binary. */
export type NativeFunction = (...args: unknown[]) => unknown

/** The arguments of a call as the addon takes them: numbers, then arrays; memory of their own, filled with marks. */
export function argumentsOf(op: Op, call: object): unknown[] {
  let args: unknown[] = []
  const take = flattened(op, (numbers, ...arrays) => {
    args = [numbers.slice(), ...arrays.filter(array => array !== undefined).map(array => structuredClone(array))]
  })
  take(call)
  return args
}

/** The same with the arrays themselves. */
export function exactArguments(op: Op, call: object): unknown[] {
  let args: unknown[] = []
  const take = flattened(op, (numbers, ...arrays) => {
    args = [numbers.slice(), ...arrays.filter(array => array !== undefined)]
  })
  take(call)
  return args
}

/** Guards on both sides of an array. */
export function guarded(value: unknown): { array: unknown; intact: () => boolean } {
  if (!ArrayBuffer.isView(value)) return { array: value, intact: () => true }
  const array = value as Float32Array
  const bytes = new Uint8Array(array.byteLength + 128).fill(0xa5)
  const Class = array.constructor as unknown as new (
    buffer: ArrayBuffer,
    offset: number,
    length: number
  ) => Float32Array
  const inside = new Class(bytes.buffer, 64, array.length)
  inside.set(array)
  const around = () =>
    bytes.subarray(0, 64).every(b => b === 0xa5) && bytes.subarray(64 + array.byteLength).every(b => b === 0xa5)
  return { array: inside, intact: around }
}

/** What is no number of a call. */
export const wrongNumbers = [
  -1,
  0.5,
  Number.NaN,
  Infinity,
  0,
  1,
  2,
  3,
  17,
  2 ** 31,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 60,
  1e300
]
