// Runs a case on a backend: what it takes follows from the operands' kinds.
import { lengthOf, newElements } from '../kernels/arrays.js'
import type { ElementType } from '../kernels/elements.js'
import { type Call, type Kernels, type Op, signatures } from '../kernels/index.js'
import {
  codeBytes,
  type Groups,
  type Kind,
  kinds,
  partialSums,
  type Statistic,
  type Volume
} from '../kernels/operands.js'

/** One call of an op, but for what it writes. Operands that the op has not are left out. */
export interface Case {
  readonly name: string
  readonly x: Float32Array
  readonly shape: unknown
  /** Whether the sum of x and residual is kept. */
  readonly keepsSum?: boolean
  /** Of codes. */
  readonly format?: number
  /** Of results; float32 where nothing is said. */
  readonly types?: { readonly [operand: string]: ElementType }
}

/** What a call wrote, by name, in the order of its operands. */
export interface Result {
  readonly [operand: string]: Statistic | Uint8Array | undefined
}

/** How many statistics a kind has. */
function countOf(kind: Kind, shape: unknown): number {
  const { outer, inner } = shape as Groups
  const { samples, groups } = shape as Volume
  if (kind !== 'perGroup') return groups
  return outer === undefined ? samples * groups : outer * inner
}

/** Runs a case; returns everything that it wrote. */
export function runCase(op: Op, kernels: Kernels, given: Case): Result {
  const operands: { [operand: string]: unknown } = { format: given.format }
  const result: { [operand: string]: Statistic | Uint8Array | undefined } = {}
  for (const [name, kind] of Object.entries(signatures[op] as { readonly [operand: string]: Kind })) {
    const { role } = kinds[kind]
    if (kind === 'codes') {
      const { outer, size } = given.shape as Groups
      result[name] = new Uint8Array(outer * codeBytes(given.format ?? 0, size))
    } else if (role === 'result') {
      const type = given.types?.[name] ?? 'float32'
      result[name] = kind !== 'maybeOut' || given.keepsSum ? newElements(type, lengthOf(given.x)) : undefined
    } else if (role === 'statistic') {
      result[name] = new Float64Array(countOf(kind, given.shape))
    } else if (role === 'sum') {
      // Behind the sums stand partial ones, which are nobody's result.
      const shape = given.shape as Groups & Volume
      const n = shape.size ?? shape.groups * shape.channelsPerGroup
      const sums = new Float64Array(kind === 'sumOverRows' ? partialSums(shape, n) : n)
      result[name] = sums.subarray(0, n)
      operands[name] = sums
    }
    operands[name] ??= name in result ? result[name] : given[name as keyof Case]
  }
  const kernel = kernels[op] as (call: unknown) => void
  kernel(operands as unknown as Call<Op>)
  return result
}
