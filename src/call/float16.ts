// float16 and bfloat16 widened: every number of either is one of float32.

const bits = new Uint32Array(1)
const value = new Float32Array(bits.buffer)

/** The number that the 16 bits of a bfloat16 are. */
export function fromBfloat16(code: number): number {
  bits[0] = code << 16
  return value[0]
}

/** The number that the 16 bits of a float16 are. */
export function fromFloat16(code: number): number {
  const sign = code & 0x8000 ? -1 : 1
  const exponent = (code >> 10) & 31
  const fraction = code & 0x3ff
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25))
}
