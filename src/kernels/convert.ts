// Elements of 16 bits as float32, and back (rule 24). The twin of native/kernels/convert.h.
import type { Type16 } from './elements.js'
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from './float16.js'

/** All float16 by their bits: to look one up takes a third of what computing it does (measured). Made at the first use. */
let float16s: Float32Array | undefined

/** Writes n elements, from `first` on, as float32 to `to` from `place` on. */
export function widen(
  to: Float32Array,
  place: number,
  from: ArrayLike<number>,
  first: number,
  n: number,
  type: Type16
): void {
  if (type === 'bfloat16') {
    for (let i = 0; i < n; i++) to[place + i] = fromBfloat16(from[first + i])
  } else {
    float16s ??= Float32Array.from({ length: 65536 }, (_, bits) => fromFloat16(bits))
    for (let i = 0; i < n; i++) to[place + i] = float16s[from[first + i]]
  }
}

/** Writes n float32, from `first` on, to elements of this type from `place` on: the nearest, ties to even; one NaN. */
export function narrow(
  to: Float32Array | Uint16Array,
  place: number,
  from: Float32Array,
  first: number,
  n: number,
  type: Type16
): void {
  if (type === 'bfloat16') {
    for (let i = 0; i < n; i++) to[place + i] = toBfloat16(from[first + i])
  } else {
    for (let i = 0; i < n; i++) to[place + i] = toFloat16(from[first + i])
  }
}
