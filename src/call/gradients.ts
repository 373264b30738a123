// What the backward operations share: gradients that come in, places for those that go out, and how a call is run.
import { bufferOf, elementTypeOf, isFloat64, lengthOf, newElements } from '../kernels/arrays.js'
import type { ElementType } from '../kernels/elements.js'
import { roundTo } from '../kernels/float16.js'
import type { Statistic } from '../kernels/operands.js'
import { checkAttached, checkLength, isShared } from './arrays.js'
import { CallMemory, resultMemory } from './async_memory.js'
import { type AsyncOptions, checkTransfer } from './async_options.js'
import { shownAs } from './elements.js'
import { describe, wrongType, wrongValue } from './errors.js'
import { Operands } from './overlap.js'
import { type Plan, runPlanAsync } from './plan.js'
import type { ElementArray } from './result.js'
import { room } from './room.js'
import { type Elements, type Operand, type Output, readPlaceForVector } from './tensor.js'

/**
 * What a backward call returns. What the operation has not, or what was not asked for, is undefined. Gradients of parameters are
 * arrays: in the place that was given, else of the type of the parameter, which in layers is float32.
 */
export interface Gradients<X extends Operand = Operand, Parameter extends ElementArray = ElementArray> {
  /** Gradient of x: an array where x is one, a tensor of x's class and dims where x is a tensor. */
  readonly dx: X
  /** Gradient of the weight, as many elements: where a weight or a place for it is given. */
  readonly dweight: Parameter | undefined
  /** Gradient of the bias: where a bias, a weight of an operation that has a bias, or a place for it is given. */
  readonly dbias: Parameter | undefined
  /** Gradient of the residual, as x: where a residual or a place for it is given. */
  readonly dresidual: X | undefined
  /** Gradient of the scale of `normalize`, one element: where a scale or a place for it is given. */
  readonly dscale: Parameter | undefined
}

/** An array or a tensor of float32. */
type Float32Operand = Float32Array | { readonly data: Float32Array; readonly dims: readonly number[] }

/** Options of a backward call that has gradients of float32 alone: its parameters are that, and the places for their gradients. */
export type InFloat32<Options> = {
  [name in keyof Options]: name extends 'weight' | 'bias' | 'dweight' | 'dbias' | 'dscale'
    ? Float32Operand | undefined
    : Options[name]
}

/** The place that every backward operation has. */
export interface GradientPlaces {
  /** As many elements as x; receives the gradient of x. May be exactly dy or another input of that size. Default: new memory. */
  dx?: Operand | undefined
}

/** Places for the gradients of the parameters. */
export interface ParameterPlaces extends GradientPlaces {
  /** As many elements as the weight; its gradient is written there, not added. Default: new memory, where there is a weight. */
  dweight?: Operand | undefined
  /** As many elements as the bias; its gradient is written there, not added. Default: new memory, where there is a weight or a bias. */
  dbias?: Operand | undefined
}

/** A sum over the call that is wanted, and the caller's place for it. */
export interface Sum {
  readonly place: Float32Array | undefined
  readonly length: number
  /** What it is rounded to: the type of its parameter, where there is no place. */
  readonly type: ElementType
  /** The same memory as the caller sees it. */
  readonly shown: (sum: Float32Array) => ArrayBufferView
}

/** The arrays of a call: those of the caller, or memory of the call's own. */
export interface GradientArrays {
  readonly dy: Float32Array
  readonly x: Float32Array
  readonly residual?: Float32Array | undefined
  readonly dsum?: Float32Array | undefined
  readonly mean?: Float64Array | undefined
  readonly rstd?: Float64Array | undefined
  readonly weight?: Float32Array | undefined
}

/** The same with places for what is as large as x. */
export interface GradientMemory extends GradientArrays {
  readonly dx: Float32Array
  readonly dresidual: Float32Array | undefined
  /** At least so many zeros, for the first or the second sum of the call. */
  readonly zeros: (sum: number, length: number) => Float64Array
}

/** What the kernels have written. Of sums, the first elements count. */
export interface Written {
  readonly dx: Float32Array
  readonly dresidual?: Float32Array | undefined
  readonly dweight?: Float64Array | undefined
  readonly dbias?: Float64Array | undefined
  readonly dscale?: Float64Array | undefined
}

/** What was read of a call. */
export interface GradientCall {
  readonly op: string
  readonly arrays: GradientArrays
  readonly dx: Output
  readonly dresidual: Output | undefined
  readonly sums: {
    readonly dweight?: Sum | undefined
    readonly dbias?: Sum | undefined
    readonly dscale?: Sum | undefined
  }
}

/** Reads statistics that the forward wrote: float64, since others would give other bits than those that are computed. */
export function readSaved(
  op: string,
  what: string,
  value: unknown,
  length: number,
  why: string
): Float64Array | undefined {
  if (value === undefined) return undefined
  if (!isFloat64(value)) throw wrongType(op, what, 'a Float64Array that the forward wrote', describe(value))
  checkAttached(op, what, value)
  checkLength(op, what, value, length, why)
  return value
}

/** mean and rstd come in pairs. */
export function checkPair(op: string, mean: unknown, rstd: unknown): void {
  if ((mean === undefined) === (rstd === undefined)) return
  const [missing, given] = mean === undefined ? ['mean', 'rstd'] : ['rstd', 'mean']
  throw wrongType(op, missing, `a Float64Array, because ${given} is given`, 'undefined')
}

/**
 * Reads a place for the gradient of a parameter, whose type it has where none is given; undefined where it is not wanted. x says
 * what arrays of bits are, and what new ones look like.
 */
export function readSum(
  op: string,
  what: string,
  given: Operand | undefined,
  parameter: Float32Array | undefined,
  wanted: boolean,
  shape: readonly number[],
  why: string,
  x: Pick<Elements, 'shown' | 'dtype'>
): Sum | undefined {
  if (!wanted && given === undefined) return undefined
  let length = 1
  for (const dim of shape) length *= dim
  const fresh = (sum: Float32Array) => shownAs(x.shown, sum)
  if (given === undefined) {
    return { place: undefined, length, type: parameter ? elementTypeOf(parameter) : 'float32', shown: fresh }
  }
  const { data: place, shown } = readPlaceForVector(op, what, given, shape, why, x.dtype)
  return { place, length, type: elementTypeOf(place), shown: () => shown }
}

/**
 * Checks that everything is still as it was when it was read, and what memory is shared. Runs no code of the caller's. `others` are
 * read as well, and stay as they are.
 */
export function checkGradients(
  { op, arrays, dx, dresidual, sums }: GradientCall,
  others: { readonly [name: string]: Statistic | undefined }
): void {
  const { dy, x, residual, dsum, mean, rstd, weight } = arrays
  const operands = new Operands(op)
  operands.add('dy', dy, 'input')
  operands.add('x', x, 'input')
  operands.add('residual', residual, 'input')
  operands.add('dsum', dsum, 'input')
  operands.add('mean', mean, 'parameter')
  operands.add('rstd', rstd, 'parameter')
  operands.add('weight', weight, 'parameter')
  for (const name of Object.keys(others)) operands.add(name, others[name], 'parameter')
  operands.add('dx', dx.out, 'result')
  operands.add('dresidual', dresidual?.out, 'result')
  operands.add('dweight', sums.dweight?.place, 'statistic')
  operands.add('dbias', sums.dbias?.place, 'statistic')
  operands.add('dscale', sums.dscale?.place, 'statistic')
  operands.check()
}

/** Sums of calls that are made at once. */
const MOST_KEPT = 2 ** 20
const rooms = [room(Float64Array, MOST_KEPT), room(Float64Array, MOST_KEPT)]

/** Zeros for one of a call's two sums, good until the next call. There may be more of them than were asked for. */
function zerosInRoom(sum: number, length: number): Float64Array {
  const zeros = rooms[sum](length)
  return length > MOST_KEPT ? zeros : zeros.fill(0, 0, length)
}

const freshZeros = (_: number, length: number) => new Float64Array(length)

/** Runs the call; returns what the caller gets. `compute` does not run where there are no elements. */
export function runGradients(call: GradientCall, compute: (memory: GradientMemory) => Written): Gradients {
  const { dy, x, residual, dsum, mean, rstd, weight } = call.arrays
  const length = lengthOf(x)
  const type = elementTypeOf(x)
  const dx = call.dx.out ?? newElements(type, length)
  const dresidual = call.dresidual && (call.dresidual.out ?? newElements(type, length))
  if (length === 0) return deliver(call, { dx, dresidual })
  return deliver(call, compute({ dy, x, residual, dsum, mean, rstd, weight, dx, dresidual, zeros: zerosInRoom }))
}

/** The same off the event loop: everything is checked, and inputs copied or taken over, before this returns its Promise. */
export async function runGradientsAsync(
  call: GradientCall,
  plan: (memory: GradientMemory) => Plan<Written>,
  { transfer = false, signal }: AsyncOptions
): Promise<Gradients> {
  const { op, arrays } = call
  const memory = new CallMemory(op)
  const length = lengthOf(arrays.x)
  const type = elementTypeOf(arrays.x)
  if (transfer) checkTransfers(call)
  const dy = transfer ? memory.take(arrays.dy) : memory.own(arrays.dy)
  const own = {
    dy,
    x: transfer ? memory.take(arrays.x) : memory.own(arrays.x),
    residual: memory.own(arrays.residual),
    dsum: memory.own(arrays.dsum),
    mean: memory.own(arrays.mean),
    rstd: memory.own(arrays.rstd),
    weight: memory.own(arrays.weight)
  }
  // dx is written over the call's own copy of dy.
  const fresh = isShared(dy) ? undefined : dy
  const dx = call.dx.out ? memory.place('dx', call.dx.out, fresh) : (fresh ?? resultMemory(length, type))
  const { dresidual: place } = call
  const dresidual = place && (place.out ? memory.place('dresidual', place.out) : resultMemory(length, type))
  const places = { ...own, dx, dresidual, zeros: freshZeros }
  const written = length === 0 ? { dx, dresidual } : await runPlanAsync(memory, plan(places), signal)
  for (const what of ['dweight', 'dbias', 'dscale'] as const) {
    const sum = call.sums[what]
    if (!sum?.place) continue
    checkAttached(op, what, sum.place)
    checkLength(op, what, sum.place, sum.length, 'its length when it was read')
  }
  memory.deliver()
  return deliver(call, written)
}

/** With `transfer` both x and dy are taken over. */
function checkTransfers({ op, arrays: { dy, x }, dx }: GradientCall): void {
  checkTransfer(op, x, dx.out, 'x', 'dx')
  if (bufferOf(dy) === bufferOf(x)) {
    throw wrongValue(op, 'dy', 'other memory than that of x, because transfer is given', 'the same')
  }
  checkTransfer(op, dy, dx.out, 'dy', 'dx')
}

/** What the caller gets: sums are rounded into their places. */
function deliver(call: GradientCall, written: Written): Gradients {
  const { sums } = call
  const { dx, dresidual } = written
  // First the sums, whose room the next call has: the class of x may make one in its constructor.
  const dweight = rounded(sums.dweight, written.dweight)
  const dbias = rounded(sums.dbias, written.dbias)
  const dscale = rounded(sums.dscale, written.dscale)
  return {
    dx: call.dx.resultOver(call.dx.out ?? dx),
    dweight,
    dbias,
    dresidual: dresidual && call.dresidual?.resultOver(call.dresidual.out ?? dresidual),
    dscale
  }
}

/** A sum in its place; 0 where there were no elements. */
function rounded(sum: Sum | undefined, from: Float64Array | undefined): ElementArray | undefined {
  if (!sum) return undefined
  const to = sum.place ?? newElements(sum.type, sum.length)
  const { type } = sum
  if (type === 'float32') for (let i = 0; i < sum.length; i++) to[i] = from ? from[i] : 0
  else for (let i = 0; i < sum.length; i++) to[i] = from ? roundTo(type, from[i]) : 0
  return sum.shown(to) as ElementArray
}
