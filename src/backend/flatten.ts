// From a call's operands by name to the arguments of a function of the addon: one block of numbers, then the arrays. The order
// is that of the signatures, which native/node/readers.h follows.
import { isFloat64 } from '../kernels/arrays.js'
import {
  type Axes,
  type Groups,
  type Kind,
  kinds,
  type Spans,
  type Statistic,
  type Volume
} from '../kernels/operands.js'
import { type Op, signatures } from '../kernels/signatures.js'
import type { Arrays } from './types.js'

/** The most arrays of a call; a test compares it with the signatures. */
export const MOST_ARRAYS = 10

// Of all calls: the addon reads it before anything else runs.
const numbers = new Float64Array(64)

interface Operands {
  readonly [operand: string]: unknown
}

type Plan = readonly { readonly name: string; readonly kind: Kind; readonly strided: boolean }[]

const planOf = (op: Op): Plan =>
  Object.entries(signatures[op] as { readonly [operand: string]: Kind }).map(([name, kind]) => ({
    name,
    kind,
    strided: kinds[kind].strided === true
  }))

/** The arrays of a call, in order, without those that are absent and without spans. */
export function arraysOf(op: Op, call: object): { readonly name: string; readonly array: Statistic }[] {
  return planOf(op).flatMap(({ name, kind }) => {
    const array = (call as Operands)[name] as Statistic | undefined
    const { role } = kinds[kind]
    return role === 'shape' || role === 'number' || !array ? [] : [{ name, array }]
  })
}

/** Writes all numbers of a call into the block. */
function writeNumbers(plan: Plan, call: Operands): void {
  const strides = call.strides as { readonly [operand: string]: number | undefined } | undefined
  const shape = call.shape as Groups & Volume
  const dense = shape.size * shape.inner
  let at = 0
  for (let i = 0; i < plan.length; i++) {
    const { name, kind, strided } = plan[i]
    if (strided) {
      numbers[at++] = strides?.[name] ?? dense
    } else if (kind === 'number' || kind === 'size' || kind === 'counted') {
      numbers[at++] = call[name] as number
    } else if (kind === 'perGroup') {
      const statistic = call[name]
      numbers[at++] = statistic !== undefined && isFloat64(statistic) ? 1 : 0
    } else if (kind === 'groups') {
      numbers[at++] = shape.outer
      numbers[at++] = shape.size
      numbers[at++] = shape.inner
    } else if (kind === 'volume') {
      numbers[at++] = shape.samples
      numbers[at++] = shape.groups
      numbers[at++] = shape.channelsPerGroup
      numbers[at++] = shape.positions
      numbers[at++] = shape.channelsLast ? 1 : 0
    } else if (kind === 'axes') {
      at = writeAxes(call.shape as Axes, at)
    }
  }
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

/** The same function with the operands of a call by name. */
export function flattened<Result>(
  op: Op,
  native: (numbers: Float64Array, ...arrays: Arrays) => Result
): (call: object) => Result {
  const plan = planOf(op)
  const names = plan.filter(({ kind }) => kinds[kind].role !== 'number').map(({ name }) => name)
  const array = (call: Operands, i: number): ArrayBufferView | undefined => {
    const name = names[i]
    if (name === undefined) return undefined
    const value = call[name]
    return name === 'shape' ? (value as { readonly spans?: Spans }).spans : (value as ArrayBufferView | undefined)
  }
  return given => {
    const call = given as Operands
    writeNumbers(plan, call)
    // biome-ignore format: MOST_ARRAYS of them; a spread array would cost as much as a small kernel (measured)
    return native(
      numbers, array(call, 0), array(call, 1), array(call, 2), array(call, 3), array(call, 4),
      array(call, 5), array(call, 6), array(call, 7), array(call, 8), array(call, 9)
    )
  }
}
