// Powers by + - * / and roots alone (rule 16), so that they have the same bits everywhere. The twin of native/kernels/power.h.

const { LN2, LOG2E } = Math
const bits = new DataView(new ArrayBuffer(8))

/** 2^k for -1022 <= k <= 1023. */
function twoTo(k: number): number {
  bits.setUint32(0, (k + 1023) << 20)
  bits.setUint32(4, 0)
  return bits.getFloat64(0)
}

/** log2 of a positive finite number: the exponent, and atanh's series for the mantissa between sqrt(1/2) and sqrt(2). */
function log2(x: number): number {
  let e = 0
  if (x < 2 ** -1022) {
    x *= 2 ** 54
    e = -54
  }
  bits.setFloat64(0, x)
  const high = bits.getUint32(0)
  e += (high >>> 20) - 1023
  bits.setUint32(0, (high & 0xfffff) | 0x3ff00000)
  let m = bits.getFloat64(0)
  if (m > Math.SQRT2) {
    m *= 0.5
    e += 1
  }
  const s = (m - 1) / (m + 1)
  const z = s * s
  let sum = 1 / 21
  for (let n = 19; n >= 1; n -= 2) sum = sum * z + 1 / n
  return e + 2 * s * sum * LOG2E
}

/** 2^t: a power of two, and the series of e^z for |z| <= ln(2) / 2. */
function exp2(t: number): number {
  if (t >= 1024) return Number.POSITIVE_INFINITY
  if (t < -1080) return 0
  const k = Math.floor(t + 0.5)
  const z = (t - k) * LN2
  let sum = 1
  for (let n = 14; n >= 1; n--) sum = 1 + (sum * z) / n
  const half = Math.floor(k * 0.5)
  return sum * twoTo(half) * twoTo(k - half)
}

/** Whether an exponent is a multiple of 1/4 from 0 to 16, which takes multiplications and roots only. */
export function isQuarter(exponent: number): boolean {
  return exponent >= 0 && exponent <= 16 && exponent * 4 === Math.floor(exponent * 4)
}

/** x^exponent for such an exponent. */
export function quarterPower(x: number, exponent: number): number {
  const quarters = exponent * 4
  let result = 1
  let square = x
  for (let left = Math.floor(quarters / 4); left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) result = result * square
    square = square * square
  }
  if (quarters % 4 >= 2) result = result * Math.sqrt(x)
  if (quarters % 2 === 1) result = result * Math.sqrt(Math.sqrt(x))
  return result
}

/**
 * x^exponent for x >= 0, within (4 + 2.5 |log2(x^exponent)|) * 2^-52 of itself where that is a normal number; for a multiple
 * of 1/4 up to 16 within 24 roundings. NaN for x < 0.
 */
export function power(x: number, exponent: number): number {
  if (isQuarter(exponent)) return quarterPower(x, exponent)
  if (x === 0) return exponent > 0 ? 0 : Number.POSITIVE_INFINITY
  if (x === Number.POSITIVE_INFINITY) return exponent > 0 ? x : 0
  if (!(x > 0)) return Number.NaN
  return exp2(exponent * log2(x))
}
