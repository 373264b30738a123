// Memory that calls which are made at once have one after the other.
import { lengthOf } from '../kernels/arrays.js'

/**
 * Gives memory of at least so many elements, good until it is asked again; what is in it is of no meaning. Up to `most` of them are
 * kept: new memory costs more than a small call, and fresh pages many times a large one (measured).
 */
export function room<Memory extends Float32Array | Float64Array>(
  Elements: new (length: number) => Memory,
  most: number
): (length: number) => Memory {
  let kept = new Elements(0)
  return length => {
    if (length > most) return new Elements(length)
    if (length > lengthOf(kept)) kept = new Elements(Math.min(most, 2 * length))
    return kept
  }
}
