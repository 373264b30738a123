// What calls with elements of 16 bits have to give: the float32 results on the widened inputs, rounded (rule 24).
import { type Case, type Result, runCase } from '../../dist/esm/cases/index.js'
import { asFloat32, copyOf, elementTypeOf, newElements } from '../../dist/esm/kernels/arrays.js'
import { narrow } from '../../dist/esm/kernels/convert.js'
import type { ElementType } from '../../dist/esm/kernels/elements.js'
import type { Groups, Kernels, Op } from '../../dist/esm/kernels/index.js'
import { clearPadded } from '../../dist/esm/kernels/padding.js'
import { expectSameBits } from './bits.ts'

/** The numbers rounded to a type, in new memory. */
export function roundedTo(type: ElementType, numbers: Float32Array): Float32Array {
  if (type === 'float32') return numbers.slice()
  const out = newElements(type, numbers.length)
  narrow(out, 0, numbers, 0, numbers.length, type)
  return out
}

/** The sum that a forward normalises, of the type of x. */
export function sumOf(x: Float32Array, residual: Float32Array, scale: number): Float32Array {
  const wide = asFloat32(residual)
  const sum = asFloat32(x).map((value, i) => value + Math.fround(wide[i] * Math.fround(scale)))
  return roundedTo(elementTypeOf(x), sum)
}

type Operands = { -readonly [name in keyof Case]: Case[name] } & {
  residual?: Float32Array | undefined
  residualScale?: number
}

/** What a call has to write, by the float32 kernels. */
export function roundedResult(op: Op, kernels: Kernels, given: Case): Result {
  const wide: Operands = { ...given }
  let sum: Float32Array | undefined
  if (/^(layer|rms)_norm$/.test(op) && wide.residual) {
    sum = sumOf(given.x, wide.residual, wide.residualScale ?? 1)
    Object.assign(wide, { x: sum, residual: undefined, keepsSum: false })
  }
  for (const [name, value] of Object.entries(wide)) {
    if (ArrayBuffer.isView(value)) Object.assign(wide, { [name]: asFloat32(value as Float32Array) })
  }
  const exact = runCase(op, kernels, { ...wide, types: {} })
  const results = Object.entries(exact).map(([name, array]) => {
    const type = given.types?.[name]
    return [name, array && type ? roundedTo(type, array as Float32Array) : array]
  })
  if (!given.keepsSum || !sum) return Object.fromEntries(results)
  const kept = copyOf(sum)
  clearPadded(kept, given.shape as Groups)
  return { ...Object.fromEntries(results), sum: kept }
}

/** Fails unless a call writes what it has to. */
export function expectRounded(op: Op, kernels: Kernels, given: Case, wanted: Result): void {
  const result = runCase(op, kernels, given)
  for (const [name, array] of Object.entries(result)) {
    const right = wanted[name]
    if (array && right) expectSameBits(array, right, `${op}, ${given.name}: ${name}`)
    else if (array) throw new Error(`${given.name}: nothing is said of ${name}`)
  }
}
