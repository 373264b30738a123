// Arrays and tensors: what goes in as one comes back as one.
import { checkFloat32, checkLength, describe, typedArrayKind, wrongType, wrongValue } from './check.js'

/**
 * Any object with `data` (a Float32Array) and `dims`: a tensor of onnxruntime or transformers.js, or a plain one.
 * Row-major, the last dimension contiguous. Where there is a `type`, it must say 'float32'.
 */
export interface TensorLike {
  readonly data: unknown
  readonly dims: readonly number[]
  readonly type?: string
}

/** What operations take for a matrix or a vector: a Float32Array, or a tensor of float32. */
export type Operand = Float32Array | TensorLike

/** An operand as it was when it was read: reading it again may run a getter and give something else. */
export interface Elements {
  readonly data: Float32Array
  /** undefined for an array. */
  readonly dims: number[] | undefined
}

const MOST_WITHOUT_ELEMENTS = 2 ** 31

/** Reads an operand that is a Float32Array or a tensor of float32. */
export function readOperand(op: string, what: string, value: unknown): Elements {
  if (!isTensor(value)) {
    if (typedArrayKind(value) === undefined) {
      throw wrongType(op, what, 'Float32Array or a tensor { data, dims }', describe(value))
    }
    checkFloat32(op, what, value)
    return { data: value, dims: undefined }
  }
  const { type } = value
  if (type !== undefined && type !== 'float32') {
    throw wrongType(op, `${what}.type`, 'float32', typeof type === 'string' ? type : describe(type))
  }
  const { data } = value
  checkFloat32(op, `${what}.data`, data)
  const given: unknown = value.dims
  if (!Array.isArray(given) && typedArrayKind(given) === undefined) {
    throw wrongType(op, `${what}.dims`, 'an array of numbers', describe(given))
  }
  const dims = Array.from(given as ArrayLike<number>)
  if (!dims.every(dim => Number.isSafeInteger(dim) && dim >= 0)) {
    throw wrongValue(op, `${what}.dims`, 'integers >= 0', describe(dims))
  }
  const others = dims.reduce((product, dim) => (dim === 0 ? product : product * dim), 1)
  const size = dims.includes(0) ? 0 : others
  // Without elements dims could say anything, and so much would be allocated or counted.
  if (size === 0 && others > MOST_WITHOUT_ELEMENTS) {
    throw wrongValue(op, `${what}.dims`, 'a product of at most 2^31 beside the 0', describe(dims))
  }
  checkLength(op, `${what}.data`, data, size, `the product of ${what}.dims`)
  return { data, dims }
}

/** A weight or bias: so many elements, or absent; `why` names what asks for them. */
export function readVector(
  op: string,
  what: string,
  value: Operand | undefined,
  length: number,
  why: string
): Float32Array | undefined {
  if (value === undefined) return undefined
  const { data } = readOperand(op, what, value)
  checkLength(op, what, data, length, why)
  return data
}

/** Whether a value is to be read as a tensor. Typed arrays are not, whatever properties they carry. */
export function isTensor(value: unknown): value is TensorLike {
  return (
    typeof value === 'object' &&
    value !== null &&
    typedArrayKind(value) === undefined &&
    'data' in value &&
    'dims' in value
  )
}

/**
 * `data` in the clothes of `x`: itself where x is an array, a tensor of x's class and dims where x is a tensor. Where that
 * class has no constructor (type, data, dims) that keeps the data, a plain tensor.
 */
export function like(x: Operand, dims: number[] | undefined, data: Float32Array): Operand {
  if (!dims || !isTensor(x)) return data
  const Class = (x as { constructor?: unknown }).constructor
  if (typeof Class === 'function' && Class !== Object) {
    try {
      const tensor = new (Class as new (type: string, data: Float32Array, dims: number[]) => TensorLike)(
        x.type ?? 'float32',
        data,
        dims
      )
      const kept =
        tensor.data === data && tensor.dims.length === dims.length && tensor.dims.every((d, i) => d === dims[i])
      if (kept) return tensor
    } catch {
      // Not a constructor of that form: a plain tensor says the same.
    }
  }
  return x.type === undefined ? { data, dims } : { type: x.type, data, dims }
}
