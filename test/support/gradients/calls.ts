// Calls of backward kernels with memory of the caller's.
import { type Kernels, type Op, signatures } from '../../../dist/esm/kernels/index.js'
import {
  type Groups,
  type Kind,
  kinds,
  partialSums,
  type Statistic,
  type Volume
} from '../../../dist/esm/kernels/operands.js'

export type GradientOp = Extract<Op, `${string}_backward`>

/** Operands by name, those that are written among them. */
export interface Operands {
  readonly [operand: string]: unknown
}

interface Given extends Operands {
  readonly x: Float32Array
  readonly shape: Groups | Volume
}

/** Makes memory: a length and its class. */
export type Make = (n: number, Class: Float32ArrayConstructor | Float64ArrayConstructor) => Statistic

const zeros: Make = (n, Class) => new Class(n)

/** Runs a kernel; everything that it wrote, the sums without the partial ones behind them. */
export function runBackward(op: GradientOp, kernels: Kernels, given: Given, places: Operands = {}, make = zeros) {
  const { x, shape } = given
  const result: { [operand: string]: Statistic } = {}
  const operands: { [operand: string]: unknown } = { ...given }
  for (const [name, kind] of Object.entries(signatures[op] as { readonly [operand: string]: Kind })) {
    const { role } = kinds[kind]
    // What is there before is nobody's result; sums are to be passed with zeros.
    if (role === 'result') result[name] = (places[name] ?? make(x.length, Float32Array).fill(7)) as Statistic
    if (role === 'statistic') result[name] = make((shape as Groups).outer, Float64Array).fill(7)
    if (name in result) operands[name] = result[name]
    if (role === 'sum') {
      const n = 'size' in shape ? shape.size : shape.groups * shape.channelsPerGroup
      const sums = make(kind === 'sumOverRows' ? partialSums(shape, n) : n, Float64Array)
      operands[name] = sums
      result[name] = sums.subarray(0, n)
    }
  }
  const kernel = kernels[op] as (call: unknown) => void
  kernel(operands)
  return result
}
