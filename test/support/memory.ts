// Memory that shows what was written around it.
import type { Statistic } from '../../dist/esm/kernels/operands.js'

/** Memory of n elements that starts `offset` elements into a buffer, with marks around it. */
export function guarded<Items extends Statistic = Float32Array>(
  n: number,
  offset: number,
  from?: Items
): { array: Items; intact: () => boolean } {
  const mark = 12345.5
  const Class = (from?.constructor ?? Float32Array) as Float32ArrayConstructor
  const all = new Class(offset + n + 64).fill(mark)
  const array = all.subarray(offset, offset + n)
  array.set(from ?? new Float32Array(n))
  const around = [...all.keys()].filter(i => i < offset || i >= offset + n)
  return { array: array as Statistic as Items, intact: () => around.every(i => all[i] === mark) }
}
