// exp and log with + - * / alone: Math.exp and Math.log are not the same in every engine, and one bit in a loss is another training.

const float = new Float64Array(1)
const words = new Uint32Array(float.buffer)
/** ln 2 in two parts: the first has so few bits that its product with a small integer is exact. */
const [LN2_HIGH, LN2_LOW] = [0.6931471803691238, 1.9082149292705877e-10]

/** e^x within about an ULP, for any x but NaN: 2^k times Taylor's polynomial of the rest, |r| <= ln 2 / 2. */
export function exp(x: number): number {
  if (x < -700) return 0
  if (x > 700) return Number.POSITIVE_INFINITY
  const k = Math.floor(x / Math.LN2 + 0.5)
  const r = x - k * LN2_HIGH - k * LN2_LOW
  let p = 1
  for (let i = 14; i >= 1; i--) p = 1 + (p * r) / i
  words[0] = 0
  words[1] = (k + 1023) << 20
  return p * float[0]
}

/** ln x within about an ULP, for normal x > 0: the exponent, and 2 artanh of (m - 1) / (m + 1) for the mantissa m. */
export function log(x: number): number {
  float[0] = x
  let exponent = (words[1] >>> 20) - 1023
  words[1] = (words[1] & 0xfffff) | (1023 << 20)
  let m = float[0]
  if (m > Math.SQRT2) {
    m /= 2
    exponent++
  }
  const z = (m - 1) / (m + 1)
  let series = 0
  for (let i = 21; i >= 1; i -= 2) series = series * z * z + 1 / i
  return 2 * z * series + exponent * Math.LN2
}
