// Exact normalization in integers: the truth that kernels are measured against.
//
// Every float32 is an integer times 2^-149, every float64 an integer times 2^-1074. Sums, means and variances are exact
// rationals; only the root is rounded, to 160 bits.

const view = new DataView(new ArrayBuffer(8))

/** x * 2^scale as an integer; exact for float32 with scale 149 and for float64 with scale 1074. */
export function integer(x: number, scale: number): bigint {
  view.setFloat64(0, x)
  const word = view.getBigUint64(0)
  const biased = Number((word >> 52n) & 0x7ffn)
  const fraction = word & ((1n << 52n) - 1n)
  const mantissa = biased === 0 ? fraction : fraction | (1n << 52n)
  const shift = (biased === 0 ? 1 : biased) - 1075 + scale
  const size = shift >= 0 ? mantissa << BigInt(shift) : mantissa >> BigInt(-shift)
  return x < 0 ? -size : size
}

/** Floor of the square root. */
export function root(n: bigint): bigint {
  if (n < 2n) return n
  let guess = 1n << BigInt((n.toString(16).length * 4 + 1) >> 1)
  for (;;) {
    const next = (guess + n / guess) >> 1n
    if (next >= guess) return guess
    guess = next
  }
}

export const abs = (x: bigint) => (x < 0n ? -x : x)

/** num / den as a number, right to 2^-50 or better whatever their sizes. */
export function ratio(num: bigint, den: bigint): number {
  const shift = BigInt(Math.max(0, 60 + (den.toString(16).length - abs(num).toString(16).length) * 4))
  return Number((num << shift) / den) / 2 ** Number(shift)
}

/** The exact statistics of a row, and its exact normalized elements. */
export interface Truth {
  /** Exact mean of x, as num / (den * 2^149). */
  readonly mean: { readonly num: bigint; readonly den: bigint }
  /** 1 / sqrt(variance + eps), rounded once. */
  readonly rstd: number
  /** Normalized element i times 2^shift. */
  readonly normalized: readonly bigint[]
  readonly shift: bigint
}

/**
 * Normalizes a row exactly: LayerNorm where `centered`, RMSNorm otherwise, there with the statistics of the first `counted`
 * elements. undefined where it is 0/0.
 */
export function normalizeExactly(
  x: Float32Array,
  eps: number,
  centered: boolean,
  counted = x.length
): Truth | undefined {
  const n = BigInt(counted)
  const X = Array.from(x, value => integer(value, 149))
  const S = X.reduce((sum, value) => sum + value, 0n)
  // deviation = D / (d * 2^149), power = Q / (d^2 * n * 2^298)
  const d = centered ? n : 1n
  const D = centered ? X.map(value => n * value - S) : X
  const Q = D.slice(0, counted).reduce((sum, value) => sum + value * value, 0n)
  // power + eps = A / B
  const B = (d * d * n) << 1074n
  const A = (Q << 776n) + integer(eps, 1074) * d * d * n
  if (A === 0n) return undefined
  // R = 2^k / (d * sqrt(A / B)), with at least 160 bits
  const bitsShort = A.toString(16).length * 4 + d.toString(16).length * 8 - B.toString(16).length * 4 + 320
  const k = BigInt(Math.max(0, (bitsShort + 1) >> 1))
  const R = root((B << (2n * k)) / (A * d * d))
  return {
    mean: { num: S, den: n },
    rstd: ratio(R * d, 1n << k),
    normalized: D.map(value => value * R),
    shift: 149n + k
  }
}

/** (x - mean) / sqrt(variance + eps) exactly, with statistics that are given. undefined where it is 0/0. */
export function normalizeBy(x: Float32Array, mean: number, variance: number, eps: number): Truth | undefined {
  const A = integer(variance, 1074) + integer(eps, 1074)
  if (A === 0n) return undefined
  const k = BigInt(Math.max(0, (A.toString(16).length * 4 - 1074 + 322) >> 1))
  const R = root((1n << (1074n + 2n * k)) / A)
  const M = integer(mean, 1074)
  return {
    mean: { num: M >> 925n, den: 1n },
    rstd: ratio(R, 1n << k),
    normalized: Array.from(x, value => (integer(value, 1074) - M) * R),
    shift: 1074n + k
  }
}

/**
 * The largest error of y over the row in units of 2^-24 * (max|normalized| * |w_i| + |b_i|), after an allowance of 2^-149
 * for subnormal results: the left side of the bound in NUMERICS.md.
 */
export function errorInHalfUlps(y: Float32Array, truth: Truth, w?: Float32Array, b?: Float32Array): number {
  const { normalized, shift } = truth
  // All in units of 2^-(149 + 64).
  const unit = 149n + 64n
  const down = shift + 149n - unit
  let largest = 0n
  for (const value of normalized) if (abs(value) > largest) largest = abs(value)
  let worst = 0
  for (let i = 0; i < y.length; i++) {
    const W = w ? integer(w[i], 149) : 1n << 149n
    const bias = b ? integer(b[i], 149) << 64n : 0n
    const exact = ((normalized[i] * W) >> down) + bias
    if (!Number.isFinite(y[i])) return Number.POSITIVE_INFINITY
    const error = abs((integer(y[i], 149) << 64n) - exact) - (1n << 64n)
    if (error <= 0n) continue
    const allowed = ((largest * abs(W)) >> down) + abs(bias)
    worst = Math.max(worst, allowed === 0n ? Number.POSITIVE_INFINITY : ratio(error << 24n, allowed))
  }
  return worst
}

/** The error of a mean, relative to max|x|, in units of 2^-53. */
export function meanErrorInHalfUlps(mean: number, x: Float32Array, truth: Truth): number {
  const { num, den } = truth.mean
  const error = abs(integer(mean, 1074) * den - (num << 925n))
  const largest = x.reduce((max, value) => Math.max(max, Math.abs(value)), 0)
  return error === 0n ? 0 : ratio(error << 53n, (integer(largest, 149) * den) << 925n)
}
