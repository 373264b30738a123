// Results that are no float32: codes of embeddings, as arrays of the kind that belongs to a precision.
import { bufferOf, byteLengthOf, byteOffsetOf, lengthOf, typedArrayKind } from '../kernels/arrays.js'
import { type CodeFormat, codeBytes, codeFormats } from '../kernels/operands.js'
import { gotCodes, gotCodesType } from './advice.js'
import { checkAttached, checkLength } from './arrays.js'
import type { Float16ArrayLike } from './elements.js'
import { describe, shortened, wrongType, wrongValue } from './errors.js'
import { isTensor, readDims, type TensorLike } from './tensor.js'
import { checkDense } from './views.js'

/** What the elements of embeddings are. 'binary' and 'ubinary' have 8 of them in a byte, as int8 and as uint8. */
export type Precision = 'float32' | 'float16' | 'bfloat16' | 'int8' | 'uint8' | 'binary' | 'ubinary'

/** The array of each precision. A result of float16 is a Float16Array where the runtime has it, else the bits as Uint16Array. */
export interface EmbeddingArrays {
  /** The numbers. */
  float32: Float32Array
  /** The numbers, or their bits. */
  float16: Float16ArrayLike | Uint16Array
  /** The bits: the upper half of a float32. */
  bfloat16: Uint16Array
  /** Codes from -128 to 127. */
  int8: Int8Array
  /** Codes from 0 to 255. */
  uint8: Uint8Array
  /** The bytes of ubinary less 128. */
  binary: Int8Array
  /** 8 bits in a byte, 1 where the number is above 0. */
  ubinary: Uint8Array
}

/** Embeddings as an array of any precision. */
export type EmbeddingArray = EmbeddingArrays[Precision]

/** A result as a tensor: of the class of what went in, where that takes the type, else a plain one. */
export interface EmbeddingTensor<P extends Precision = Precision> extends TensorLike {
  /** The array of the precision. */
  readonly data: EmbeddingArrays[P]
  /** Size of each dimension. */
  readonly dims: number[]
  /** 'float32', 'float16', 'bfloat16', 'int8' (also of binary) or 'uint8' (also of ubinary). */
  readonly type: string
}

type ArrayClass = new (buffer: ArrayBuffer, byteOffset?: number, length?: number) => EmbeddingArray

const { Float16Array } = globalThis as unknown as { Float16Array?: ArrayClass }

/** For each precision: the class of new results, the kinds of arrays that are taken, and the type of a tensor. */
const classes: {
  readonly [precision in Precision]: {
    readonly make: ArrayClass
    readonly taken: readonly string[]
    readonly type: string
  }
} = {
  float32: { make: Float32Array, taken: ['Float32Array'], type: 'float32' },
  float16: { make: Float16Array ?? Uint16Array, taken: ['Float16Array', 'Uint16Array'], type: 'float16' },
  bfloat16: { make: Uint16Array, taken: ['Uint16Array'], type: 'bfloat16' },
  int8: { make: Int8Array, taken: ['Int8Array'], type: 'int8' },
  uint8: { make: Uint8Array, taken: ['Uint8Array'], type: 'uint8' },
  binary: { make: Int8Array, taken: ['Int8Array'], type: 'int8' },
  ubinary: { make: Uint8Array, taken: ['Uint8Array'], type: 'uint8' }
}

export const precisions = Object.keys(classes) as Precision[]

/** The type of a tensor of these elements. */
export const tensorTypeOf = (precision: Precision): string => classes[precision].type

/** Elements of a row of a result whose row has n numbers. */
export function codesPerRow(precision: Precision, n: number): number {
  return precision === 'binary' || precision === 'ubinary' ? Math.ceil(n / 8) : n
}

/** Bytes of a row of codes. */
export const bytesOfRow = (format: CodeFormat, n: number): number => codeBytes(codeFormats.indexOf(format), n)

/** All bytes of a typed array, whatever its kind. */
export function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(bufferOf(array) as ArrayBuffer, byteOffsetOf(array), byteLengthOf(array))
}

/** Over all of this memory the array of a precision. */
export function codesOver(precision: Precision, { buffer }: Uint8Array): EmbeddingArray {
  return new classes[precision].make(buffer as ArrayBuffer)
}

/** An array or tensor of codes, as it was when it was read. */
export interface CodesRead {
  readonly data: EmbeddingArray
  readonly dims: number[] | undefined
  readonly tensor: TensorLike | undefined
}

/** Reads an array or tensor of codes. */
export function readCodes(op: string, what: string, value: unknown, precision: Precision): CodesRead {
  const { taken, type } = classes[precision]
  const expected = `${taken.join(' or ')} (precision ${precision})`
  const check = (name: string, data: unknown) => {
    if (!taken.includes(typedArrayKind(data) ?? '')) {
      const kind = typedArrayKind(data)
      const others = precisions.filter(other => classes[other].taken.some(name => name === kind))
      throw wrongType(op, name, expected, gotCodes(name, data, taken[0], others))
    }
    checkAttached(op, name, data as Float32Array)
    return data as EmbeddingArray
  }
  if (!isTensor(value)) return { data: check(what, value), dims: undefined, tensor: undefined }
  const given = value.type
  if (given !== undefined && given !== type) {
    const others = precisions.filter(other => classes[other].type === given)
    throw wrongType(op, `${what}.type`, type, gotCodesType(shortened(given), others))
  }
  const data = check(`${what}.data`, value.data)
  const dims = readDims(op, what, value.dims)
  const size = dims.reduce((product, dim) => product * dim, 1)
  checkLength(op, `${what}.data`, data as Float32Array, size, `the product of ${what}.dims`)
  checkDense(op, what, value, dims)
  return { data, dims, tensor: value }
}

/** Reads `out`: an array of so many elements, as a tensor of these dims. */
export function readCodesOutput(
  op: string,
  value: unknown,
  precision: Precision,
  dims: readonly number[]
): CodesRead | undefined {
  if (value === undefined) return undefined
  const out = readCodes(op, 'out', value, precision)
  const size = dims.reduce((product, dim) => product * dim, 1)
  if (lengthOf(out.data) !== size) throw wrongValue(op, 'out.length', String(size), String(lengthOf(out.data)))
  if (out.dims && (out.dims.length !== dims.length || out.dims.some((dim, i) => dim !== dims[i]))) {
    throw wrongValue(op, 'out.dims', `[${dims.join(', ')}]`, describe(out.dims))
  }
  return out
}
