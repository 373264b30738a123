// Runs a call that was read: at once, or off the event loop in memory of its own. What an operand's role is decides what
// becomes of it.
import { kernelOf } from '../backend/choice.js'
import { elementTypeOf, emptyLike, fillWith, lengthOf, subarrayOf } from '../kernels/arrays.js'
import type { Call, Op } from '../kernels/index.js'
import { type Axes, type Kind, kinds, type Statistic } from '../kernels/operands.js'
import { signatures } from '../kernels/signatures.js'
import { isShared } from './arrays.js'
import { CallMemory, resultMemory } from './async_memory.js'
import { type AsyncOptions, checkTransfer } from './async_options.js'
import { inverse } from './axes.js'
import { wrongValue } from './errors.js'
import { sharing } from './overlap.js'
import { room } from './room.js'
import type { Operand } from './tensor.js'
import { type RowLayout, refuseTransfer } from './views.js'

/** As it was when this was loaded. */

/** What was read of a call. */
export interface ReadCall {
  readonly x: Float32Array
  /** The caller's place for the result. */
  readonly out: Float32Array | undefined
  /** Where groups are neither rows nor columns: the copy in which each is a row. */
  readonly permutation?: Axes | undefined
  /** There is no element: nothing to compute. */
  readonly empty: boolean
  /** What the caller gets; of a call off the event loop it is made when its memory is there. */
  readonly result: Operand | undefined
  /** The result over other memory. */
  readonly resultOver: (y: Float32Array) => Operand
  /** Where operands are views: the rows of each that is one. */
  readonly views?: { readonly [operand: string]: RowLayout | undefined } | undefined
}

/** The arrays that every call has, and those that some have. */
type Arrays = {
  readonly x: Float32Array
  readonly y: Float32Array
  readonly residual?: Float32Array | undefined
  readonly sum?: Float32Array | undefined
}

/** Runs the kernel; returns what the caller gets. */
export function runCall<Name extends Op>(name: Name, call: Call<Name>, read: ReadCall): Operand {
  const { permutation } = read
  if (read.empty) {
    clearStatistics(name, call)
    return read.result as Operand
  }
  if (!permutation) {
    kernelOf(name)(call)
    return read.result as Operand
  }
  const permute = kernelOf('permute')
  const { x, y, residual, sum } = call as unknown as Arrays
  const rowsOf = (array: Float32Array, operand: 'x' | 'residual') => {
    const rows = rowsLike(array, operand)
    permute({ y: rows, x: array, shape: permutation })
    return rows
  }
  const rows = rowsOf(x, 'x')
  const residualRows = residual && rowsOf(residual, 'residual')
  const sumRows = sum && rowsLike(sum, 'sum')
  // In the same memory, where the result has the type of x.
  const yRows = elementTypeOf(y) === elementTypeOf(x) ? rows : emptyLike(y)
  kernelOf(name)({ ...call, x: rows, y: yRows, residual: residualRows, sum: sumRows })
  const back = inverse(permutation)
  permute({ y, x: yRows, shape: back })
  if (sum && sumRows) permute({ y: sum, x: sumRows, shape: back })
  return read.result as Operand
}

/** Rows between two copies of a call that is made at once. */
const rooms = {
  x: room(Float32Array, 2 ** 22),
  residual: room(Float32Array, 2 ** 22),
  sum: room(Float32Array, 2 ** 22)
}

function rowsLike(array: Float32Array, operand: keyof typeof rooms): Float32Array {
  if (elementTypeOf(array) !== 'float32') return emptyLike(array)
  const n = lengthOf(array)
  return subarrayOf(rooms[operand](n), 0, n)
}

/** Groups without elements have the statistics of padded ones: NaN. */
function clearStatistics<Name extends Op>(name: Name, call: Call<Name>): void {
  const signature: { readonly [operand: string]: Kind } = signatures[name]
  const given = call as unknown as { readonly [operand: string]: Statistic | undefined }
  for (const operand of Object.keys(signature)) {
    const place = given[operand]
    if (signature[operand] === 'perGroup' && place) fillWith(place, Number.NaN)
  }
}

/**
 * The call with memory of its own: inputs are copied, x is taken over with `transfer`, results get places. Shared memory
 * stays what it is. Where x is the call's own, the result is written in place.
 */
export function ownCall<Name extends Op>(
  op: string,
  memory: CallMemory,
  name: Name,
  call: Call<Name>,
  read: ReadCall,
  { transfer = false }: AsyncOptions
): Call<Name> {
  const given = call as unknown as { readonly [operand: string]: Statistic | undefined }
  const { x, out, views } = read
  if (transfer) {
    refuseTransfer(op, views?.x)
    checkTransfer(op, x, out)
    if (given.sum && sharing(given.sum, x) !== 'none') {
      throw wrongValue(op, 'sum', 'no memory shared with x, because transfer is given', 'an overlap')
    }
  }
  const own: { [operand: string]: unknown } = { ...call }
  const strides = { ...call.strides } as { [operand: string]: number | undefined }
  /** A place for a result: of a view one behind the other, and only its rows are copied to where they belong. */
  const place = (what: string, operand: string, to: Float32Array, fresh?: Float32Array) => {
    const rows = views?.[what]
    if (!rows || isShared(to)) return memory.place(what, to, fresh)
    strides[operand] = undefined
    return memory.placeRows(what, to, rows)
  }
  const signature: { readonly [operand: string]: Kind } = signatures[name]
  for (const operand of Object.keys(signature)) {
    const { role } = kinds[signature[operand]]
    const array = given[operand]
    if (role === 'parameter' || (role === 'input' && operand !== 'x')) own[operand] = memory.own(array)
    else if (operand === 'sum' && array) own.sum = place('sum', 'sum', array as Float32Array)
    else if (role === 'statistic') own[operand] = memory.place(operand, array)
  }
  const ownX = transfer ? memory.take(x) : memory.own(x)
  own.x = ownX
  const type = elementTypeOf(x)
  const fresh = isShared(x) ? undefined : ownX
  if (out) own.y = place('out', 'y', out, elementTypeOf(out) === type && !views ? fresh : undefined)
  else if (!views) own.y = fresh ?? resultMemory(lengthOf(x), type)
  own.strides = strides
  return own as unknown as Call<Name>
}

/**
 * Runs the kernel off the event loop. Everything is checked, and x copied or taken over, before this returns its Promise of
 * what the caller gets.
 */
export async function runCallAsync<Name extends Op>(
  op: string,
  name: Name,
  call: Call<Name>,
  read: ReadCall,
  options: AsyncOptions
): Promise<Operand> {
  const memory = new CallMemory(op)
  const own = ownCall(op, memory, name, call, read, options)
  const done = (await runOwn(memory, name, own, read, options)) as unknown as Arrays
  memory.deliver()
  return read.resultOver(read.out ?? done.y)
}

/** Runs the kernel in the call's own memory; returns the call with its arrays as they are then. */
async function runOwn<Name extends Op>(
  memory: CallMemory,
  name: Name,
  own: Call<Name>,
  { permutation, empty }: ReadCall,
  { signal }: AsyncOptions
): Promise<Call<Name>> {
  if (empty) {
    clearStatistics(name, own)
    return own
  }
  if (!permutation) return memory.run(name, own, signal)
  const { x, y, residual, sum } = own as unknown as Arrays
  const space = (like: Float32Array) => resultMemory(lengthOf(like), elementTypeOf(like))
  const back = inverse(permutation)
  const first = await memory.run('permute', { y: space(x), x, shape: permutation }, signal)
  const target = y === x ? first.x : y
  const residualRows =
    residual && (await memory.run('permute', { y: space(residual), x: residual, shape: permutation })).y
  const yRows = elementTypeOf(y) === elementTypeOf(x) ? first.y : space(y)
  const rows = { ...own, x: first.y, y: yRows, residual: residualRows, sum: sum && space(sum) }
  const done = (await memory.run(name, rows)) as unknown as Arrays
  const result = await memory.run('permute', { y: target, x: done.y, shape: back })
  if (sum && done.sum) await memory.run('permute', { y: sum, x: done.sum, shape: back })
  return { ...own, y: result.y }
}
