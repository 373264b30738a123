// The calls of 16 bits that goldens, `verify` and the equality tests make: some of those of float32, with their numbers rounded.
import { lengthOf, newElements } from '../kernels/arrays.js'
import { narrow } from '../kernels/convert.js'
import type { ElementType, Type16 } from '../kernels/elements.js'
import { type Op, signatures } from '../kernels/index.js'
import { type Kind, kinds } from '../kernels/operands.js'
import type { Case } from './run.js'

/** Which of the cases of float32 are taken, of every `one`: no option of theirs has such a period. */
const one = { groups: 13, volume: 11, axes: 11 }
const first = { float16: 0, bfloat16: 5 }

/** Whether the case of this index is among those of a type. */
export function isTaken(op: Op, type: Type16): (index: number) => boolean {
  const every = one[(signatures[op] as { readonly shape: keyof typeof one }).shape]
  return index => index % every === first[type]
}

/** Elements that are never of 16 bits: what codes are made by. */
const float32Alone = ['low', 'step']

/**
 * The same call with elements of 16 bits. Of two calls one has a weight and a bias of float32; y is mostly of the type of x, at times
 * of float32 or of the other type. Gradients and copies have the type of x.
 */
export function storedCase(op: Op, given: Case, type: Type16, index: number): Case {
  const other: Type16 = type === 'float16' ? 'bfloat16' : 'float16'
  const forward: readonly ElementType[] = [type, 'float32', type, other]
  const isForward = !op.endsWith('backward') && op !== 'permute'
  const types: { [operand: string]: ElementType } = {}
  const stored: { [operand: string]: unknown } = {}
  for (const [name, kind] of Object.entries(signatures[op] as { readonly [operand: string]: Kind })) {
    const { role, native } = kinds[kind]
    if (!/<(const )?T>/.test(native) || float32Alone.includes(name)) continue
    if (role === 'parameter' && index % 2 === 0) continue
    types[name] = name === 'y' && isForward ? forward[index % 4] : type
    const array = given[name as keyof Case] as Float32Array | undefined
    if (role !== 'result' && array) stored[name] = rounded(array, type)
  }
  return { ...given, ...stored, name: `${given.name}, ${type} ${index}`, types }
}

/** New memory with these numbers, rounded to a type. */
export function rounded(array: Float32Array, type: Type16): Float32Array {
  const n = lengthOf(array)
  const out = newElements(type, n)
  narrow(out, 0, type === 'float16' ? fitted(array) : array, 0, n, type)
  return out
}

/** Numbers that float16 has: the largest moved to where its are, by a power of two, where it is beyond them or vanishes. */
function fitted(array: Float32Array): Float32Array {
  let largest = 0
  for (const value of array) if (Number.isFinite(value)) largest = Math.max(largest, Math.abs(value))
  if (largest === 0) return array
  let factor = 1
  while (largest * factor >= 2 ** 16) factor /= 2
  while (largest * factor < 2 ** -15) factor *= 2
  return factor === 1 ? array : array.map(value => value * factor)
}
