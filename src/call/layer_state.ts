// The state of a layer by PyTorch's names: what state() gives, and what loadState takes, from a plain object or from the bytes
// of a .safetensors file. Everything is read and checked before a layer changes.
import { bufferOf, byteLengthOf, byteOffsetOf, lengthOf, typedArrayKind } from '../kernels/arrays.js'
import type { Statistic } from '../kernels/operands.js'
import { gotArray } from './advice.js'
import { checkAttached, checkLength } from './arrays.js'
import type { Float16ArrayLike } from './elements.js'
import { describe, shortened, wrongType, wrongValue } from './errors.js'
import { readOptions } from './options.js'
import { dtypes, type FileTensor, floatDtypes, numbersOf, readHeader } from './safetensors.js'
import { checkVectorDims, isTensor, readDims, type TensorLike } from './tensor.js'
import { checkDense } from './views.js'

/** Copies of what a layer has learned: `{}` where it was constructed without weight and bias. */
export type LayerParameters = {
  /** Scale. */
  weight?: Float32Array
  /** Shift. */
  bias?: Float32Array
}

/** The state of a layer, by PyTorch's names: copies, flat; what the layer has not is not there. */
export type LayerState = LayerParameters & {
  /** Running mean of a BatchNorm. */
  running_mean?: Float32Array
  /** Running variance of a BatchNorm. */
  running_var?: Float32Array
  /** How many batches the running statistics of a BatchNorm have seen: one element. PyTorch has an int64 there, too. */
  num_batches_tracked?: BigInt64Array
}

/**
 * A tensor of a state: an array or a tensor `{ data, dims }` of float32, float64 or float16. `num_batches_tracked` may also be
 * a number, a bigint, or an array or tensor of one integer.
 */
export type StateValue =
  | Float32Array
  | Float64Array
  | Float16ArrayLike
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | TensorLike
  | number
  | bigint

/** What loadState takes: a plain object of tensors by name, or the bytes of a .safetensors file. */
export type LoadableState = { readonly [name: string]: StateValue | undefined } | Uint8Array | ArrayBufferLike

/** Options of loadState. */
export interface LoadStateOptions {
  /** What the names of the layer's tensors begin with, with its dot: 'encoder.layers.3.norm1.'. Default: ''. */
  prefix?: string | undefined
}

/** The names of a layer's state. */
type Name = keyof LayerState

const op = 'loadState'

/** The tensors of a layer, as they were found. */
export class LoadedState {
  readonly #prefix: string
  readonly #tensors = new Map<string, StateTensor>()

  /**
   * Finds the tensors of a layer that knows these names. Throws where there are others under the prefix, or none but elsewhere.
   * A layer that knows no names may find none.
   */
  constructor(state: LoadableState, options: LoadStateOptions, known: readonly Name[]) {
    const { prefix = '' } = readOptions<LoadStateOptions>(op, options, { prefix: true })
    if (typeof prefix !== 'string') throw wrongType(op, 'prefix', 'a string', describe(prefix))
    this.#prefix = prefix
    const bytes = bytesOfFile(state)
    const others: string[] = []
    const file = bytes && readHeader(op, bytes, prefix, others)
    const found = file ? [...file.keys()] : namesIn(state, prefix, others)
    if (found.length === 0 && others.length > 0 && known.length > 0) {
      const got = `none, but ${listed(nearestFirst(others, prefix))}`
      throw wrongType(op, 'state', `names that begin with ${quoted(prefix)}`, got)
    }
    const names = found.map(name => name.slice(prefix.length))
    if (names.some(name => !known.includes(name as Name))) {
      const expected = known.length === 0 ? 'none' : `only ${known.join(', ')}`
      const where = prefix === '' ? 'names' : `names behind ${quoted(prefix)}`
      throw wrongType(op, where, expected, `${listed(names)}${hint(names)}`)
    }
    for (const name of names) {
      const what = prefix + name
      const integer = name === 'num_batches_tracked'
      const tensor = file?.get(what)
      const value = bytes && tensor ? fileTensor(what, bytes, tensor, integer) : givenTensor(what, state, integer)
      if (value) this.#tensors.set(name, value)
    }
  }

  /**
   * A parameter of this shape, which `why` names, as float32; undefined where there is none, which must not be if it is
   * `needed`. `check` looks at the numbers before they are rounded.
   */
  vector(
    name: Name,
    shape: readonly number[],
    why: string,
    needed: boolean,
    check?: (what: string, numbers: Statistic) => void
  ): Float32Array | undefined {
    const tensor = this.#tensors.get(name)
    const what = this.#prefix + name
    if (!tensor) {
      if (!needed) return undefined
      const got = `none, but ${listed([...this.#tensors.keys()])}`
      throw wrongType(op, what, 'an array, because the layer has one', got)
    }
    const size = shape.reduce((product, dim) => product * dim, 1)
    if (tensor.length !== size) throw wrongValue(op, `${what}.length`, `${size} (${why})`, String(tensor.length))
    checkVectorDims(op, what, tensor.dims, shape, size, why)
    const numbers = tensor.numbers()
    check?.(what, numbers)
    return rounded(op, what, numbers)
  }

  /** A number of things; undefined where there is none. */
  count(name: Name): number | undefined {
    const tensor = this.#tensors.get(name)
    if (!tensor) return undefined
    const what = this.#prefix + name
    if (tensor.length !== 1) throw wrongValue(op, `${what}.length`, '1', String(tensor.length))
    const [count] = tensor.numbers()
    if (!(Number.isSafeInteger(count) && count >= 0)) throw wrongValue(op, what, 'an integer >= 0', String(count))
    return count
  }
}

/** A copy as float32, which a layer keeps. Throws where a finite number is beyond it. */
export function rounded(op: string, what: string, numbers: Statistic): Float32Array {
  const copy = new Float32Array(numbers)
  copy.forEach((value, i) => {
    if (!Number.isFinite(value) && Number.isFinite(numbers[i])) {
      throw wrongValue(op, `${what}[${i}]`, 'a number that float32 has (a layer keeps float32)', String(numbers[i]))
    }
  })
  return copy
}

/** A tensor that was found: `numbers` reads its elements, which then are a copy. */
interface StateTensor {
  readonly length: number
  readonly dims: readonly number[] | undefined
  readonly numbers: () => Statistic
}

/** The bytes, where a state is given as such. */
function bytesOfFile(state: unknown): Uint8Array | undefined {
  if (typedArrayKind(state) === 'Uint8Array') {
    const bytes = state as Uint8Array
    checkAttached(op, 'state', bytes)
    return new Uint8Array(bufferOf(bytes) as ArrayBuffer, byteOffsetOf(bytes), byteLengthOf(bytes))
  }
  if (!isBuffer(state)) return undefined
  try {
    return new Uint8Array(state as ArrayBuffer)
  } catch {
    throw wrongType(op, 'state', 'a buffer with memory', 'a detached one')
  }
}

/** Whether a value is an ArrayBuffer or a SharedArrayBuffer, of any realm. */
function isBuffer(value: unknown): boolean {
  for (const Memory of [ArrayBuffer, globalThis.SharedArrayBuffer] as (ArrayBufferConstructor | undefined)[]) {
    try {
      if (!Memory) continue
      Object.getOwnPropertyDescriptor(Memory.prototype, 'byteLength')?.get?.call(value)
      return true
    } catch {
      // The getter throws for everything else.
    }
  }
  return false
}

/** The names of a plain object that begin with `prefix`; `others` receives the others. */
function namesIn(state: unknown, prefix: string, others: string[]): string[] {
  // A Promise, a Map or a network would pass for an object without tensors.
  const prototype: unknown = typeof state === 'object' && state !== null ? Object.getPrototypeOf(state) : undefined
  if (prototype === undefined || (prototype !== null && Object.getPrototypeOf(prototype) !== null)) {
    throw wrongType(
      op,
      'state',
      'a plain object of arrays by name, or the bytes of a .safetensors file',
      describe(state)
    )
  }
  const names = Object.keys(state as object)
  others.push(...names.filter(name => !name.startsWith(prefix)))
  return names.filter(name => name.startsWith(prefix))
}

/** The type of a tensor of each kind of array. */
const floats: { readonly [kind: string]: string } = {
  Float32Array: 'float32',
  Float64Array: 'float64',
  Float16Array: 'float16'
}
const integers: { readonly [kind: string]: string } = {
  BigInt64Array: 'int64',
  BigUint64Array: 'uint64',
  Int32Array: 'int32',
  Uint32Array: 'uint32'
}

/** A tensor of a plain object; undefined where it says so. */
function givenTensor(what: string, state: unknown, integer: boolean): StateTensor | undefined {
  const value = (state as { readonly [name: string]: unknown })[what]
  if (value === undefined) return undefined
  if (integer && (typeof value === 'number' || typeof value === 'bigint')) {
    return { length: 1, dims: undefined, numbers: () => Float64Array.of(Number(value)) }
  }
  const types = integer ? { ...integers, ...floats } : floats
  const read = (what: string, array: unknown) => {
    const kind = typedArrayKind(array) ?? ''
    if (types[kind] === undefined) {
      const expected = Object.keys(types).join(', ')
      throw wrongType(
        op,
        what,
        `${integer ? 'a number, ' : ''}${expected} or a tensor { data, dims }`,
        gotArray(what, array)
      )
    }
    checkAttached(op, what, array as Statistic)
    return { array: array as Statistic, kind }
  }
  if (!isTensor(value)) {
    const { array, kind } = read(what, value)
    return { length: lengthOf(array), dims: undefined, numbers: () => copyOf(array, kind) }
  }
  const { type } = value
  const { array, kind } = read(`${what}.data`, value.data)
  if (type !== undefined && type !== types[kind]) throw wrongType(op, `${what}.type`, types[kind], shortened(type))
  const dims = readDims(op, what, value.dims)
  const size = dims.reduce((product, dim) => product * dim, 1)
  checkLength(op, `${what}.data`, array, size, `the product of ${what}.dims`)
  checkDense(op, what, value, dims)
  return { length: size, dims, numbers: () => copyOf(array, kind) }
}

/** The elements of an array: float32 where that has them all, else float64. */
function copyOf(array: Statistic, kind: string): Statistic {
  if (kind === 'Float32Array' || kind === 'Float16Array') return new Float32Array(array)
  if (kind === 'Float64Array') return new Float64Array(array)
  const copy = new Float64Array(lengthOf(array))
  for (let i = 0; i < copy.length; i++) copy[i] = Number(array[i])
  return copy
}

/** A tensor of a file. */
function fileTensor(what: string, bytes: Uint8Array, tensor: FileTensor, integer: boolean): StateTensor {
  const { dtype, dims } = tensor
  const taken: readonly string[] = integer ? dtypes : floatDtypes
  if (!taken.includes(dtype)) throw wrongType(op, `${what}.dtype`, taken.join(', '), shortened(dtype))
  const length = dims.reduce((product, dim) => product * dim, 1)
  return { length, dims, numbers: () => numbersOf(bytes, tensor) }
}

const quoted = (name: string) => JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name)

/** Some names, as messages have them. */
function listed(names: readonly string[]): string {
  if (names.length === 0) return 'nothing'
  const more = names.length > 6 ? ` and ${names.length - 6} more` : ''
  return names.slice(0, 6).map(quoted).join(', ') + more
}

/** Names that begin as the prefix does come first. */
function nearestFirst(names: readonly string[], prefix: string): string[] {
  const common = (name: string) => {
    let length = 0
    while (length < prefix.length && name[length] === prefix[length]) length++
    return length
  }
  return [...names].sort((a, b) => common(b) - common(a))
}

/** What may be meant by names that are not known. */
function hint(names: readonly string[]): string {
  if (names.every(name => name.startsWith('.'))) return ' (does the prefix want a dot at its end?)'
  if (names.some(name => /(^|\.)(gamma|beta)$/.test(name))) return ' (gamma is the weight, beta the bias)'
  if (names.some(name => name.startsWith('running_')))
    return ' (only a BatchNorm that tracks them has running statistics)'
  if (names.some(name => name.includes('.'))) return " (prefix says which of them are the layer's)"
  return ''
}
