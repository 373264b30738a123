// Numbers of 16 bits (rule 19), one at a time. The twin of native/kernels/float16.h.

const value32 = new Float32Array(1)
const bits32 = new Uint32Array(value32.buffer)

/** The bits of a float16: the nearest, ties to even; beyond the largest Inf; one NaN. */
export function toFloat16(value: number): number {
  value32[0] = value
  const bits = bits32[0]
  const sign = (bits >>> 16) & 0x8000
  const size = bits & 0x7fffffff
  if (size > 0x7f800000) return 0x7e00
  if (size >= 0x477ff000) return sign | 0x7c00
  if (size >= 0x38800000) return sign | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13)
  // Below 2^-14 the steps are 2^-24: what is added shifts the others out, rounded by the addition.
  value32[0] = Math.abs(value) + 0.5
  return sign | (bits32[0] - 0x3f000000)
}

/** The same of a bfloat16. */
export function toBfloat16(value: number): number {
  value32[0] = value
  const bits = bits32[0]
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff
}

/** The number that the bits of a float16 are. */
export function fromFloat16(code: number): number {
  const sign = code & 0x8000 ? -1 : 1
  const exponent = (code >> 10) & 31
  const fraction = code & 0x3ff
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25))
}

/** The same of a bfloat16. */
export function fromBfloat16(code: number): number {
  bits32[0] = code << 16
  return value32[0]
}

/** The bits of the nearest number of this type, ties to even, of a float64: rounded once. */
export function roundTo(type: 'float16' | 'bfloat16', value: number): number {
  // The float32 below it, in magnitude, with its last bit set where it is not exact: that rounds as the value itself does.
  let single = Math.fround(value)
  if (single !== value && Number.isFinite(single)) {
    value32[0] = single
    if (Math.abs(single) > Math.abs(value)) bits32[0] -= 1
    bits32[0] |= 1
    single = value32[0]
  } else if (single !== value && Number.isFinite(value)) {
    single = Math.sign(value) * 3.4028234663852886e38 // the largest float32: to Inf only where that is nearest
  }
  return type === 'float16' ? toFloat16(single) : toBfloat16(single)
}
