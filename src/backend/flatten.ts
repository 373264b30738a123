// From a call's operands by name to the arguments of a function of the addon: one block of numbers, then the arrays. The order
// is that of the signatures, which native/node/readers.h follows.
import { isFloat64, lengthOf, storageOf } from '../kernels/arrays.js'
import { elementTypes } from '../kernels/elements.js'
import { type Axes, type Groups, type Kind, kinds, type Statistic, type Volume } from '../kernels/operands.js'
import { type Op, signatures } from '../kernels/signatures.js'
import type { Arrays } from './types.js'

/** The most arrays of a call; a test compares it with the signatures. */
export const MOST_ARRAYS = 11

interface Operands {
  readonly [operand: string]: unknown
}

/** What is done with an operand, by the number of its kind. */
const ARRAY = 0
const MATRIX = 1
const STATISTIC = 2
const CODES = 3
const GROUPS = 4
const VOLUME = 5
const AXES = 6
const NUMBER = 7

interface Step {
  readonly name: string
  readonly what: number
}

function stepOf(name: string, kind: Kind): Step {
  const { role, strided } = kinds[kind]
  if (kind === 'groups') return { name, what: GROUPS }
  if (kind === 'volume') return { name, what: VOLUME }
  if (kind === 'axes') return { name, what: AXES }
  if (role === 'number') return { name, what: NUMBER }
  if (kind === 'codes') return { name, what: CODES }
  return { name, what: kind === 'perGroup' ? STATISTIC : strided ? MATRIX : ARRAY }
}

const stepsOf = (op: Op): readonly Step[] =>
  Object.entries(signatures[op] as { readonly [operand: string]: Kind }).map(([name, kind]) => stepOf(name, kind))

/** The arrays of a call, in order, without those that are absent and without spans. */
export function arraysOf(op: Op, call: object): { readonly name: string; readonly array: Statistic | Uint8Array }[] {
  return stepsOf(op).flatMap(({ name, what }) => {
    const array = (call as Operands)[name] as Statistic | Uint8Array | undefined
    return what > CODES || !array ? [] : [{ name, array }]
  })
}

// Of all calls: the addon reads them before anything else runs. First which arrays there are, a bit each; then all numbers.
const numbers = new Float64Array(256)
const arrays: (ArrayBufferView | undefined)[] = new Array(MOST_ARRAYS).fill(undefined)

/** What the first number says where arrays are no dense float32: their storages follow it. */
const HAS_STORAGES = 2 ** 16

/**
 * Writes how the arrays of a call stand in memory, from the second number on: all their types, two bits each; which are views, a
 * bit each; the dimensions of these, and the strides of each. Returns where the next number belongs.
 */
function writeStorages(steps: readonly Step[], call: Operands): number {
  let types = 0
  let views = 0
  numbers[3] = 0
  let at = 4
  let bit = 1
  for (let i = 0; i < steps.length; i++) {
    const { name, what } = steps[i]
    if (what === NUMBER) continue
    const array = what <= CODES ? (call[name] as ArrayBufferView | undefined) : undefined
    const storage = array && storageOf(array)
    if (storage) {
      types += bit * bit * elementTypes.indexOf(storage.type)
      if (storage.rows) {
        const { dims, strides } = storage.rows
        if (views === 0) {
          numbers[3] = dims.length
          at = writeAll(dims, at)
        }
        views += bit
        at = writeAll(strides, at)
      }
    }
    bit *= 2
  }
  numbers[1] = types
  numbers[2] = views
  return at
}

function writeAll(some: readonly number[], first: number): number {
  for (let i = 0; i < some.length; i++) numbers[first + i] = some[i]
  return first + some.length
}

/** Writes the numbers and the arrays of a call; returns how many arrays there are. `first` is where its numbers begin. */
function write(steps: readonly Step[], call: Operands, first = 1): number {
  const shape = call.shape as Groups & Volume
  const strides = call.strides as { readonly [operand: string]: number | undefined } | undefined
  const dense = shape.size * shape.inner
  let present = first === 1 ? 0 : HAS_STORAGES
  let bit = 1
  let count = 0
  let at = first
  for (let i = 0; i < steps.length; i++) {
    const { name, what } = steps[i]
    if (what === NUMBER) {
      numbers[at++] = call[name] as number
      continue
    }
    let array: ArrayBufferView | undefined
    if (what <= CODES) {
      array = call[name] as ArrayBufferView | undefined
      if (what === MATRIX) numbers[at++] = strides?.[name] ?? dense
      else if (what === STATISTIC) numbers[at++] = array !== undefined && isFloat64(array) ? 1 : 0
      else if (what === CODES) numbers[at++] = call.format as number
    } else {
      at = what === AXES ? writeAxes(call.shape as Axes, at) : writeShape(shape, what, at)
      array = shape.spans
    }
    if (array !== undefined) {
      if (first === 1 && storageOf(array) !== undefined) return write(steps, call, writeStorages(steps, call))
      arrays[count++] = array
      present += bit
    }
    bit *= 2
  }
  numbers[0] = present
  return count
}

function writeShape(shape: Groups & Volume, what: number, first: number): number {
  let at = first
  if (what === GROUPS) {
    numbers[at++] = shape.outer
    numbers[at++] = shape.size
    numbers[at++] = shape.inner
  } else {
    numbers[at++] = shape.samples
    numbers[at++] = shape.groups
    numbers[at++] = shape.channelsPerGroup
    numbers[at++] = shape.positions
    numbers[at++] = shape.channelsLast ? 1 : 0
  }
  return at
}

function writeAxes({ dims, xStrides, yStrides }: Axes, first: number): number {
  let at = first
  numbers[at++] = dims.length
  for (let i = 0; i < dims.length; i++) {
    numbers[at++] = dims[i]
    numbers[at++] = xStrides[i]
    numbers[at++] = yStrides[i]
  }
  return at
}

/** An array of the call, which is not kept. */
function take(i: number): ArrayBufferView | undefined {
  const array = arrays[i]
  arrays[i] = undefined
  return array
}

/** The same function with the operands of a call by name. */
export function flattened<Result>(
  op: Op,
  native: (numbers: Float64Array, ...arrays: Arrays) => Result
): (call: object) => Result {
  const steps = stepsOf(op)
  return call => {
    const count = write(steps, call as Operands)
    // Each array that is passed costs, also one that is absent; to spread them costs as much as a small kernel (measured).
    if (count <= 2) return native(numbers, take(0), take(1))
    if (count <= 4) return native(numbers, take(0), take(1), take(2), take(3))
    // biome-ignore format: MOST_ARRAYS of them
    return native(
      numbers, take(0), take(1), take(2), take(3), take(4), take(5), take(6), take(7), take(8), take(9), take(10)
    )
  }
}

/** A call of dense rows without residual, padding and statistics: y, x, the elements of a row, what the op has of weight and bias, eps. */
export type PlainKernel = (
  y: Float32Array,
  x: Float32Array,
  size: number,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined,
  eps: number
) => void

/**
 * The same function for plain calls, whose numbers are written straight to where the signature has them: a third of what a
 * call by name costs (measured). `constants` are the other numbers.
 */
export function flattenedPlain(
  op: Op,
  native: (numbers: Float64Array, ...arrays: Arrays) => void,
  constants: { readonly [operand: string]: number }
): PlainKernel {
  // Where each number stands in the block, and which bit each array has.
  const at: { [operand: string]: number } = {}
  const bits: { [operand: string]: number } = {}
  let next = 1
  let bit = 1
  for (const { name, what } of stepsOf(op)) {
    at[name] = next
    next += what === GROUPS ? 3 : what === ARRAY ? 0 : 1
    if (what === NUMBER) continue
    bits[name] = bit
    bit *= 2
  }
  const block = new Float64Array(next)
  for (const name of Object.keys(constants)) block[at[name]] = constants[name]
  const { y: yAt, x: xAt, shape, eps: epsAt, counted = next } = at
  block[shape + 2] = 1
  const always = bits.y + bits.x
  const { weight: weightBit = 0, bias: biasBit = 0 } = bits
  return (y, x, size, weight, bias, eps) => {
    block[yAt] = size
    block[xAt] = size
    block[shape] = lengthOf(x) / size
    block[shape + 1] = size
    block[counted] = size // beyond the block where the op counts all
    block[epsAt] = eps
    if (weight) {
      block[0] = always + weightBit + (bias ? biasBit : 0)
      if (bias) native(block, y, x, weight, bias)
      else native(block, y, x, weight)
    } else {
      block[0] = always + (bias ? biasBit : 0)
      if (bias) native(block, y, x, bias)
      else native(block, y, x)
    }
  }
}
