// Arrays of elements of any type: what callers have, and what calls pass on.
import {
  bufferOf,
  byteOffsetOf,
  elementTypeOf,
  isFloat32,
  lengthOf,
  storedOver,
  typedArrayKind
} from '../kernels/arrays.js'
import { type ElementType, types16 } from '../kernels/elements.js'
import { gotArray, gotBits, gotType } from './advice.js'
import { checkAttached } from './arrays.js'
import { shortened, wrongType } from './errors.js'
import { checkChoice } from './options.js'

/** What the 16 bits of each element of a Uint16Array are. */
export type Dtype = 'float16' | 'bfloat16'

/** A Uint16Array, whose elements are the bits of float16 or bfloat16. */
export type Bits16 = Uint16Array

/** What is used of a Float16Array, which not every runtime and not every version of TypeScript has. */
export interface Float16ArrayLike extends ArrayBufferView {
  /** Names the class. */
  readonly [Symbol.toStringTag]: 'Float16Array'
  /** Number of elements. */
  readonly length: number
  [index: number]: number
}

/** The option of a call that says what arrays of bits are. */
export interface DtypeOption {
  /**
   * What the elements of every Uint16Array of the call are that is not in a tensor with a `type`: the bits of 'float16' or of
   * 'bfloat16'. Default: none, and a Uint16Array is refused.
   */
  dtype?: Dtype | undefined
}

/** The option `dtype`. */
export function checkDtype(op: string, dtype: unknown): asserts dtype is Dtype | undefined {
  if (dtype !== undefined) checkChoice(op, 'dtype', dtype, types16, "'float16' or 'bfloat16'")
}

/**
 * Reads an array of elements: a Float32Array as it is, others as memory that knows its type. In a tensor `type` says it, where
 * that is given.
 */
export function readElements(
  op: string,
  what: string,
  value: unknown,
  dtype: Dtype | undefined,
  tensor?: { readonly data: unknown },
  type?: unknown | undefined
): Float32Array {
  const name = tensor ? `${what}.data` : what
  if (type === undefined || type === 'float32') {
    if (isFloat32(value)) {
      checkAttached(op, name, value)
      return value
    }
  } else if (!types16.some(dtype => dtype === type)) {
    throw wrongType(op, `${what}.type`, 'float32, float16 or bfloat16', gotType(what, shortened(type), value))
  }
  const kind = typedArrayKind(value)
  const is = type ?? (kind === 'Float16Array' ? 'float16' : kind === 'Uint16Array' ? dtype : undefined)
  if (is === undefined && kind === 'Uint16Array') {
    throw wrongType(op, name, 'Float32Array', gotBits(what, tensor !== undefined))
  }
  const takes =
    is === 'float16' ? ['Float16Array', 'Uint16Array'] : is === 'bfloat16' ? ['Uint16Array'] : ['Float32Array']
  if (kind === undefined || !takes.includes(kind)) {
    const expected = takes.join(' or ') + (type === undefined ? '' : ` (type ${type})`)
    throw wrongType(op, name, expected, gotArray(name, value))
  }
  const array = value as Uint16Array
  checkAttached(op, name, array as unknown as Float32Array)
  return storedOver({ type: is as ElementType }, bufferOf(array), byteOffsetOf(array), lengthOf(array))
}

type Class = new (buffer: ArrayBuffer, byteOffset: number, length: number) => ArrayBufferView
const { Float16Array } = globalThis as unknown as { Float16Array?: Class }

/** Elements as a caller sees them whose array is `given`: over the same memory an array of its kind. */
export function shownAs(given: ArrayBufferView, elements: Float32Array): ArrayBufferView {
  if (elementTypeOf(elements) === 'float32') return elements
  const Shown = Float16Array && typedArrayKind(given) === 'Float16Array' ? Float16Array : Uint16Array
  return new Shown(bufferOf(elements) as ArrayBuffer, byteOffsetOf(elements), lengthOf(elements))
}
