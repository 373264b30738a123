// Arrays and tensors: what goes in as one comes back as one.
import { elementTypeOf, isFloat32, lengthOf, newElements, typedArrayKind } from '../kernels/arrays.js'
import type { Statistic } from '../kernels/operands.js'
import { gotArray } from './advice.js'
import { checkLength, checkStatisticArray, copied } from './arrays.js'
import { type Bits16, type Dtype, type Float16ArrayLike, readElements, shownAs } from './elements.js'
import { describe, shortened, wrongType, wrongValue } from './errors.js'
import { checkWithin, type Layout, readLayout, refuseView } from './views.js'

/**
 * Any object with `data` and `dims`: a tensor of onnxruntime or transformers.js, or a plain `{ data, dims }`. Its elements are
 * dense and row-major. layerNorm, rmsNorm, normalize and their layers take views as well, whose `strides` and `offset` say
 * otherwise ({@link view}); all else refuses them.
 */
export interface TensorLike {
  /**
   * A Float32Array; of type 'float16' a Float16Array or its bits in a Uint16Array, of 'bfloat16' their bits in a Uint16Array; of
   * tensors of codes, the array of their precision.
   */
  readonly data: unknown
  /** Size of each dimension; their product is the length of `data`. */
  readonly dims: readonly number[]
  /** Type of the elements: where there is one, it must be 'float32', 'float16' or 'bfloat16', or that of the codes. */
  readonly type?: string | undefined
  /** Of a view: how many elements of `data` there are from one index of each dimension to the next. Default: those of a dense tensor. */
  readonly strides?: readonly number[] | undefined
  /** Of a view: where in `data` its first element is. Default: 0. */
  readonly offset?: number | undefined
}

/**
 * What operations take and return: a Float32Array, a Float16Array, a Uint16Array of the bits of float16 or bfloat16 (with the
 * option `dtype`, which says of which), or a tensor of such.
 */
export type Operand = Float32Array | Float16ArrayLike | Bits16 | TensorLike

/** An operand as it was when it was read: reading it again may run a getter and return something else. */
export interface Elements {
  /** The elements; where they are not float32 the array knows it (elementTypeOf). */
  readonly data: Float32Array
  /** The same array as the caller has it. */
  readonly shown: ArrayBufferView
  /** What the caller says of arrays of bits. */
  readonly dtype: Dtype | undefined
  /** undefined for an array. */
  readonly dims: number[] | undefined
  /** How many elements there are. */
  readonly count: number
  /** Where they stand in the data, where that is not one behind the other from the first on. */
  readonly layout: Layout | undefined
  /** The tensor that it came from, and its type. */
  readonly tensor: TensorLike | undefined
  readonly type: string | undefined
}

const MOST_WITHOUT_ELEMENTS = 2 ** 31

/**
 * Reads an operand: an array or a tensor of float32 or of 16 bits; `dtype` says what arrays of bits are. Views are refused, but with
 * `views`.
 */
export function readOperand(op: string, what: string, value: unknown, dtype?: Dtype, views = false): Elements {
  if (!isTensor(value)) {
    if (typedArrayKind(value) === undefined) {
      throw wrongType(op, what, 'Float32Array or a tensor { data, dims }', gotArray(what, value))
    }
    const data = readElements(op, what, value, dtype)
    const shown = value as Float32Array
    const none = undefined
    return { data, shown, dtype, dims: none, count: lengthOf(data), layout: none, tensor: none, type: none }
  }
  const { type, location } = value as TensorLike & { readonly location?: unknown }
  if (typeof location === 'string' && !location.startsWith('cpu')) {
    throw wrongType(op, `${what}.location`, 'cpu', `${shortened(location)}; await ${what}.getData() brings it there`)
  }
  const { data: shown } = value
  const data = readElements(op, what, shown, dtype, value, type)
  const dims = readDims(op, what, value.dims)
  const others = dims.reduce((product, dim) => (dim === 0 ? product : product * dim), 1)
  const size = dims.includes(0) ? 0 : others
  // Without elements dims could say anything, and so much would be allocated or counted.
  if (size === 0 && others > MOST_WITHOUT_ELEMENTS) {
    throw wrongValue(op, `${what}.dims`, 'a product of at most 2^31 beside the 0', describe(dims))
  }
  const given = readLayout(op, what, value, dims)
  const layout = views && given && !(given.dense && lengthOf(data) === size) ? given : undefined
  if (layout) {
    checkWithin(op, what, lengthOf(data), dims, layout.strides, layout.offset)
  } else {
    refuseView(op, what, given, dims)
    checkLength(op, `${what}.data`, data, size, `the product of ${what}.dims`)
  }
  return { data, shown: shown as Float32Array, dtype, dims, count: size, layout, tensor: value, type }
}

/** Reads the dims of a tensor: integers >= 0. */
export function readDims(op: string, what: string, given: unknown): number[] {
  if (!Array.isArray(given) && typedArrayKind(given) === undefined) {
    throw wrongType(op, `${what}.dims`, 'an array of numbers', describe(given))
  }
  const dims = copied(op, `${what}.dims`, given as ArrayLike<unknown>) as number[]
  for (const dim of dims) {
    if (!(Number.isSafeInteger(dim) && dim >= 0)) throw wrongValue(op, `${what}.dims`, 'integers >= 0', describe(dims))
  }
  return dims
}

/** Throws unless a tensor has these dims. */
export function checkDims(op: string, what: string, { dims }: Elements, expected: readonly number[] | undefined): void {
  if (!dims || !expected) return
  if (dims.length !== expected.length || dims.some((dim, i) => dim !== expected[i])) {
    throw wrongValue(op, `${what}.dims`, `[${expected.join(', ')}] (x.dims)`, describe(dims))
  }
}

/** Reads an array of x's shape and of its type. */
export function readLikeX(op: string, what: string, value: Operand, x: Elements): Float32Array {
  const read = readOperand(op, what, value, x.dtype)
  checkLength(op, what, read.data, x.count, 'x.length')
  checkDims(op, what, read, x.dims)
  checkType(op, what, read, x)
  return read.data
}

/** The same where it may be a view, or have dims that are broadcast to those of x: 1, or missing from the left. */
export function readViewLikeX(op: string, what: string, value: Operand, x: Elements): Elements {
  const read = readOperand(op, what, value, x.dtype, true)
  checkType(op, what, read, x)
  const { dims } = read
  if (!dims || !x.dims) {
    checkLength(op, what, read.data, x.count, 'x.length')
    return read
  }
  const missing = x.dims.length - dims.length
  if (missing < 0 || dims.some((dim, i) => dim !== 1 && dim !== x.dims?.[i + missing])) {
    throw wrongValue(
      op,
      `${what}.dims`,
      `[${x.dims.join(', ')}] (x.dims), or what is broadcast to them`,
      describe(dims)
    )
  }
  return read
}

/** Throws unless elements have the type of x. */
function checkType(op: string, what: string, { data }: Elements, x: Elements): void {
  const [expected, got] = [elementTypeOf(x.data), elementTypeOf(data)]
  if (got !== expected) throw wrongType(op, what, `${expected}, the type of x`, got)
}

/**
 * A weight or bias: as many elements as `shape` has, or absent; `why` names what asks for them. A tensor may have that shape,
 * one dimension of that length, or either with dimensions of 1 added.
 */
export function readVector(
  op: string,
  what: string,
  value: Operand | undefined,
  shape: readonly number[],
  why: string,
  dtype?: Dtype | undefined
): Float32Array | undefined {
  if (value === undefined) return undefined
  let size = 1
  for (let i = 0; i < shape.length; i++) size *= shape[i]
  if (isFloat32(value) && lengthOf(value) === size) return value
  return readPlaceForVector(op, what, value, shape, why, dtype).data
}

/** The same of a place for one: also how the caller sees its memory. */
export function readPlaceForVector(
  op: string,
  what: string,
  value: Operand,
  shape: readonly number[],
  why: string,
  dtype?: Dtype | undefined
): Elements {
  const read = readOperand(op, what, value, dtype)
  const size = shape.reduce((size, dim) => size * dim, 1)
  checkLength(op, what, read.data, size, why)
  checkVectorDims(op, what, read.dims, shape, size, why)
  return read
}

/** Throws unless a tensor has the dims that {@link readVector} takes. */
export function checkVectorDims(
  op: string,
  what: string,
  dims: readonly number[] | undefined,
  shape: readonly number[],
  size: number,
  why: string
): void {
  const above1 = (dims: readonly number[]) => dims.filter(dim => dim !== 1).join(', ')
  if (dims && ![above1(shape), above1([size])].includes(above1(dims))) {
    throw wrongValue(op, `${what}.dims`, `[${shape.join(', ')}] (${why})`, describe(dims))
  }
}

/**
 * Statistics: a Float32Array, a Float64Array or a tensor of float32, of as many elements as `shape` has, or absent. A tensor
 * may have the dims that {@link readVector} takes.
 */
export function readStatistic(
  op: string,
  what: string,
  value: Operand | Statistic | undefined,
  shape: readonly number[],
  why: string
): Statistic | undefined {
  if (value === undefined) return undefined
  let size = 1
  for (let i = 0; i < shape.length; i++) size *= shape[i]
  let data: unknown = value
  let dims: readonly number[] | undefined
  // Of 16 bits it is refused as what the caller has.
  if (isTensor(value)) ({ shown: data, dims } = readOperand(op, what, value))
  checkStatisticArray(op, what, data, size, why)
  checkVectorDims(op, what, dims, shape, size, why)
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

/** Where the result of a call goes: `out`, or new memory; and what the caller gets. */
export interface Output {
  /** The caller's `out`, if there is one. */
  readonly out: Float32Array | undefined
  /** Where its elements stand, where it is a view. */
  readonly layout?: Layout | undefined
  /** What the caller gets when the result was written to this memory: `out`, or something like x. */
  readonly resultOver: (y: Float32Array) => Operand
}

/** New memory for a result like x: of its type. */
export function newLike({ data, count }: Elements): Float32Array {
  return newElements(elementTypeOf(data), count)
}

/**
 * Reads `out`, or another place for a result: as many elements as x, and as a tensor its dims; of any type, or with `sameType`
 * of x's.
 */
export function readOutput(
  op: string,
  x: Elements,
  given: Operand | undefined,
  what = 'out',
  sameType = false,
  views = false
): Output {
  if (given === undefined) return { out: undefined, resultOver: y => like(x, y, shownAs(x.shown, y)) }
  // In place what was read stands: nothing is read twice.
  const out = given === x.tensor ? x : readOperand(op, what, given, x.dtype, views)
  const { layout } = out
  if (!layout) checkLength(op, what, out.data, x.count, x.dims ? 'x.data.length' : 'x.length')
  checkDims(op, what, out, x.dims)
  if (layout && !x.dims) throw wrongType(op, 'x', 'a tensor { data, dims }, because out is a view', 'an array')
  if (sameType) checkType(op, what, out, x)
  // Over other memory than the place the result is shown as that is.
  const shown = (y: Float32Array) => (y === out.data ? out.shown : shownAs(out.shown, y))
  return { out: out.data, layout, resultOver: y => (x.dims && out.dims ? given : like(x, y, shown(y))) }
}

/**
 * Wraps elements the way x was passed: `shown`, which is what the caller sees of them, where x is an array; a tensor of x's
 * class and dims where x is a tensor. Where that class has no constructor (type, data, dims) that keeps the data, a plain tensor.
 */
function like({ dims, tensor, type, data: x }: Elements, data: Float32Array, shown: ArrayBufferView): Operand {
  if (!dims || !tensor) return shown as Float32Array
  const own = elementTypeOf(data)
  return tensorLike(tensor, own === elementTypeOf(x) ? type : own, shown, dims)
}

/** A tensor of the class of another, where that can be; else a plain one. */
export function tensorLike(
  tensor: TensorLike,
  type: string | undefined,
  data: ArrayBufferView,
  dims: number[]
): TensorLike {
  const Class = (tensor as { constructor?: unknown }).constructor
  if (typeof Class === 'function' && Class !== Object) {
    try {
      const wrapped = new (Class as new (type: string, data: ArrayBufferView, dims: number[]) => TensorLike)(
        type ?? 'float32',
        data,
        dims
      )
      const kept =
        wrapped.data === data && wrapped.dims.length === dims.length && wrapped.dims.every((d, i) => d === dims[i])
      if (kept) return wrapped
    } catch {
      // Not a constructor of that form: a plain tensor says the same.
    }
  }
  return type === undefined ? { data, dims } : { type, data, dims }
}
