// Powers, logarithms and roots in integers, to 160 bits and more: the truth for operations with exponents.
import { integer, type Truth } from '../truth/oracle.ts'

/** Fraction bits of the fixed-point numbers here. */
const P = 160n
const ONE = 1n << P

const bitLength = (n: bigint) => {
  const digits = n.toString(16)
  return 4 * (digits.length - 1) + (32 - Math.clz32(Number.parseInt(digits[0], 16)))
}

/** ln of a mantissa from 1 to 2: atanh's series. */
function ln(mantissa: bigint): bigint {
  const s = ((mantissa - ONE) << P) / (mantissa + ONE)
  const z = (s * s) >> P
  let sum = 0n
  for (let term = s, n = 1n; term !== 0n; n += 2n) {
    sum += term / n
    term = (term * z) >> P
  }
  return 2n * sum
}

const LN2 = ln(2n * ONE)

/** log2 of a positive integer. */
function log2OfInteger(n: bigint): bigint {
  const exponent = bitLength(n) - 1
  const down = BigInt(exponent) - P
  return (BigInt(exponent) << P) + (ln(n >> down) << P) / LN2
}

/** log2 of num / den, in fixed point. */
export const log2 = (num: bigint, den: bigint) => log2OfInteger(num) - log2OfInteger(den)

/** log2 of a positive float64. */
export const log2Of = (x: number) => log2(integer(x, 1074), 1n << 1074n)

/** A positive number m * 2^e. */
export interface Big {
  readonly m: bigint
  readonly e: bigint
}

/** 2^t of a fixed-point number. */
export function exp2(t: bigint): Big {
  const whole = t >> P
  const z = ((t - (whole << P)) * LN2) >> P
  let sum = 0n
  for (let term = ONE, n = 1n; term !== 0n; n++) {
    sum += term
    term = ((term * z) >> P) / n
  }
  return { m: sum, e: whole - P }
}

/** t * factor and t / factor for a float64. */
export const times = (t: bigint, factor: number) => (t * integer(factor, 1074)) >> 1074n
const over = (t: bigint, divisor: number) => (t << 1074n) / integer(divisor, 1074)

const abs = (x: bigint) => (x < 0n ? -x : x)

/** |actual - exact| / exact in units of 2^-bits. */
export function relativeError(actual: number, { m, e }: Big, bits: number): number {
  // Both times 2^(1074 + 400).
  const exact = e + 1474n >= 0n ? m << (e + 1474n) : m >> -(e + 1474n)
  const error = abs((integer(actual, 1074) << 400n) - exact)
  return Number((error << BigInt(bits + 20)) / exact) / 2 ** 20
}

/** x^exponent for a positive x. */
export const powerOf = (x: number, exponent: number) => exp2(times(log2Of(x), exponent))

/** log2 of the p-norm; undefined where it is 0. */
function log2Norm(x: Float32Array, p: number): bigint | undefined {
  const magnitudes = [...x].filter(value => value !== 0).map(Math.abs)
  if (magnitudes.length === 0) return undefined
  const largest = log2Of(Math.max(...magnitudes))
  if (p === Number.POSITIVE_INFINITY) return largest
  const known = new Map<number, bigint>()
  const term = (magnitude: number) => {
    const { m, e } = exp2(times(log2Of(magnitude) - largest, p))
    const value = m >> (-e - P)
    known.set(magnitude, value)
    return value
  }
  const sum = magnitudes.reduce((total, value) => total + (known.get(value) ?? term(value)), 0n)
  return largest + over(log2(sum, ONE), p)
}

export interface NormTruth extends Truth {
  /** The norm, undefined where it is 0. */
  readonly norm: Big | undefined
}

/** normalize's rules; undefined where the division is 0/0. */
export function normalizeTruth(x: Float32Array, p: number, rule: string, eps: number): NormTruth | undefined {
  const size = log2Norm(x, p)
  const norm = size === undefined ? undefined : exp2(size)
  const X = Array.from(x, value => integer(value, 149))
  const squares = X.reduce((sum, value) => sum + value * value, 0n)
  // Everything under a root as num / (n * 2^1074).
  const n = BigInt(x.length)
  const E = integer(eps, 1074)
  const Q = squares << 776n
  const larger = Q > E ? Q : E
  const under = {
    clamp: [0n, n],
    'clamp-square': [larger * n, n],
    'add-square': [(Q + E) * n, n],
    'mean-square': [Q + E * n, n],
    zero: [0n, n]
  }[rule]
  if (!under) throw new Error(rule)
  let log: bigint
  if (rule === 'clamp') {
    if (size === undefined && eps === 0) return undefined
    const least = eps === 0 ? undefined : log2Of(eps)
    log = size === undefined || (least !== undefined && least > size) ? (least as bigint) : size
  } else if (rule === 'zero') {
    log = size ?? 0n
  } else {
    if (under[0] === 0n) return undefined
    log = log2(under[0], under[1] << 1074n) >> 1n
  }
  const { m, e } = exp2(-log)
  return { mean: { num: 0n, den: 1n }, rstd: 0, normalized: X.map(value => value * m), shift: 149n - e, norm }
}

/**
 * The error of y against x / (k + alpha / size * squares)^beta in halves of an ULP of the exact value, 0 where that is
 * beyond float32 and y says so.
 */
export function responseErrorInHalfUlps(
  y: number,
  x: number,
  window: readonly number[],
  { alpha, size, beta, k }: { alpha: number; size: number; beta: number; k: number }
): number {
  const squares = window.reduce((sum, value) => sum + integer(value, 149) ** 2n, 0n) << 776n
  // (k * size + alpha * squares) / size, in units of 2^-2148.
  const base = ((integer(k, 1074) * BigInt(size)) << 1074n) + integer(alpha, 1074) * squares
  if (base <= 0n) throw new Error('the base must be positive')
  const { m, e } = exp2(times(log2(base, BigInt(size) << 2148n), -beta))
  const exact = integer(x, 149) * m // times 2^(e - 149)
  if (exact === 0n) return Object.is(y, x) ? 0 : Number.POSITIVE_INFINITY
  const exponent = BigInt(bitLength(abs(exact)) - 1) + e - 149n
  if (exponent >= 128n) return Math.abs(y) === Number.POSITIVE_INFINITY ? 0 : Number.POSITIVE_INFINITY
  if (!Number.isFinite(y)) return Number.POSITIVE_INFINITY
  const half = (exponent < -126n ? -126n : exponent) - 24n
  // All in units of 2^-400.
  const at = (value: bigint, power: bigint) => (power >= 0n ? value << power : value >> -power)
  const error = abs(at(integer(y, 149), 251n) - at(exact, e - 149n + 400n))
  return Number((error << 60n) / at(1n, half + 400n)) / 2 ** 60
}
