// The exact gradients, and the bound of NUMERICS.md on what the kernels may be off.
//
// With P = variance + eps, a rational number, rstd = 1 / sqrt(P), and dev = x - mean,
//   dx = rstd * (g - mean(g) - dev * mean(g * dev) / P):
// a rational number times one root, which is rounded to 160 bits and more. Nothing cancels but rational numbers.
import { abs, integer, ratio, root } from '../truth/oracle.ts'

/** Exact numbers are integers times 2^-320. */
const F = 320n
const ONE = 1n << F
const U = 2 ** -24

/** An exact result, and what its bound allows beside u * |exact| + 2^-150. */
export interface Exact {
  readonly value: bigint
  readonly slack: number
}

/** A positive, zero or negative num / den as a number. */
const quotient = (num: bigint, den: bigint) => (num < 0n ? -ratio(-num, den) : ratio(num, den))

const fixed = (x: number) => integer(x, 1074) >> (1074n - F)

/** From here on the nearest float32 is Infinity: 2^128 less half a unit in the last place of the largest. */
const BEYOND = ((1n << 128n) - (1n << 103n)) << F
/** Half of the smallest subnormal. */
const HALF_SUBNORMAL = 1n << (F - 150n)

/**
 * How much of the slack a result uses: at most 1 within the bound. A result whose exact value is beyond float32 by more than
 * its slack must be the Infinity of its sign.
 */
export function used(actual: number, { value, slack }: Exact): number {
  const room = fixed(slack)
  const size = abs(value)
  if (Math.abs(actual) === Number.POSITIVE_INFINITY) {
    return (actual > 0 ? value : -value) + room >= BEYOND ? 0 : Number.POSITIVE_INFINITY
  }
  if (Number.isNaN(actual) || size - room >= BEYOND) return Number.POSITIVE_INFINITY
  // What is truncated here is far below a unit of 2^-280.
  const error = abs(fixed(actual) - value) - (size >> 24n) - HALF_SUBNORMAL - (1n << 40n)
  if (error <= 0n) return 0
  return room === 0n ? Number.POSITIVE_INFINITY : ratio(error, room)
}

/** The error of a result as a part of its whole bound. */
export function errorOverBound(actual: number, { value, slack }: Exact): number {
  if (!Number.isFinite(actual)) return used(actual, { value, slack })
  return ratio(abs(fixed(actual) - value), (abs(value) >> 24n) + HALF_SUBNORMAL + fixed(slack))
}

/** value * factor of exact numbers. */
export const timesExactly = ({ value, slack }: Exact, factor: number): Exact => ({
  value: (value * integer(factor, 1074)) >> 1074n,
  slack: slack * Math.abs(factor)
})

// --- The constants of the bound --------------------------------------------------------------------------------------

/** With a mean, by the roundings g of the sums over a group: c of dx, and of dweight. */
export const constants = (g: number) =>
  g <= 800 ? { dx: 0.032 * U, dweight: 0.032 * U } : { dx: 0.1 * U, dweight: 0.051 * U }
/** Roundings of the sums over a row of n elements, without and with those over rows. */
export const rowRoundings = (n: number) => 260 + n / 4096
export const overRows = (rows: number) => 128 + rows / 4096
const withoutMean = (n: number) => (670 + n / 1638) * 2 ** -53

// --- Groups ----------------------------------------------------------------------------------------------------------

/** 1 / sqrt(A / B) as R / 2^k, with 160 bits and more. */
function reciprocalRoot(A: bigint, B: bigint): { R: bigint; k: bigint } {
  const bits = (x: bigint) => x.toString(16).length * 4
  const k = BigInt(Math.max(0, ((bits(A) - bits(B)) >> 1) + 170))
  return { R: root((B << (2n * k)) / A), k }
}

/** A group: its elements, exactly. */
export interface Group {
  /** x - mean of each element, times d * 2^149. */
  readonly D: readonly bigint[]
  readonly d: bigint
  /** What the root is taken of: A / B. */
  readonly A: bigint
  readonly B: bigint
  /** What the sum of g * t is divided by; undefined where there is no such term. */
  readonly share: bigint | undefined
  readonly centered: boolean
  /** The elements that the statistics are of. */
  readonly counted: number
  /** Roundings of its sums. */
  readonly roundings: number
}

/** A group as layerNorm, rmsNorm and the ops over channels see it; undefined where it is 0/0. */
export function groupOf(
  x: readonly number[],
  {
    eps,
    centered,
    counted = x.length,
    roundings
  }: { eps: number; centered: boolean; counted?: number; roundings: number }
): Group | undefined {
  const n = BigInt(x.length)
  const X = x.map(value => integer(value, 149))
  const d = centered ? n : 1n
  const S = X.reduce((sum, value) => sum + value, 0n)
  const D = centered ? X.map(value => n * value - S) : X
  const Q = D.slice(0, counted).reduce((sum, value) => sum + value * value, 0n)
  const share = BigInt(counted)
  const A = (Q << 776n) + integer(eps, 1074) * d * d * share
  if (A === 0n) return undefined
  return { D, d, A, B: (d * d * share) << 1074n, share, centered, counted, roundings }
}

/** A group of normalize by a rule, an index among clamp, clamp-square, add-square, mean-square, zero. */
export function normalizeGroupOf(x: readonly number[], rule: number, eps: number): Group | undefined {
  const n = BigInt(x.length)
  const D = x.map(value => integer(value, 149))
  const Q = D.reduce((sum, value) => sum + value * value, 0n)
  const E = integer(eps, 1074)
  const least = eps > 0 && eps < 2 ** -1022 ? integer(2 ** -1022, 1074) : E
  const byNorm = { A: Q, B: 1n << 298n, share: 1n }
  const division = [
    () => (Q << 1850n >= E * E ? byNorm : { A: least * least, B: 1n << 2148n, share: undefined }),
    () => (Q << 776n >= E ? byNorm : { A: E, B: 1n << 1074n, share: undefined }),
    () => ({ A: (Q << 776n) + E, B: 1n << 1074n, share: 1n }),
    () => ({ A: (Q << 776n) + E * n, B: n << 1074n, share: n }),
    // 1 / 0 counts as 0: a divisor beyond all others.
    () => (Q === 0n ? { A: 1n << 4000n, B: 1n, share: undefined } : byNorm)
  ][rule]()
  if (division.A === 0n) return undefined
  return { D, d: 1n, ...division, centered: false, counted: x.length, roundings: rowRoundings(x.length) }
}

/** The exact gradients of a group, for dy of its elements and their weights. */
export interface GroupGradients {
  readonly dx: readonly Exact[]
  /** The sum of dy * t over some of its elements, one part of dweight. */
  weightSum(elements: readonly number[]): Exact
}

export function gradientsOf(
  group: Group,
  dy: readonly number[],
  weights: readonly number[] | undefined
): GroupGradients {
  const { D, d, A, B, share, centered, counted, roundings } = group
  const n = BigInt(D.length)
  const Y = dy.map(value => integer(value, 149))
  const G = Y.map((value, i) => (weights ? value * integer(weights[i], 149) : value << 149n))
  const SG = centered ? G.reduce((sum, value) => sum + value, 0n) : 0n
  const SGD = G.reduce((sum, value, i) => sum + value * D[i], 0n)
  const { R, k } = reciprocalRoot(A, B)
  // In units of 2^-298: G - SG / n - D * SGD * (B / A) / (d^2 * share * 2^298).
  const divided = (n * A * d * d * (share ?? 1n)) << 298n
  const mean = SG * (divided / n)
  const slope = share === undefined ? 0n : n * B * SGD
  // The numbers of the bound, from exact ones.
  const rstd = ratio(R, 1n << k)
  const t = D.map(value => (Number(value) / (Number(d) * 2 ** 149)) * rstd)
  const g = dy.map((value, i) => Math.abs(value * (weights ? weights[i] : 1)))
  const largest = t.reduce((max, value) => Math.max(max, Math.abs(value)), 0)
  const meanG = g.reduce((sum, value) => sum + value, 0) / g.length
  const products = g.reduce((sum, value, i) => sum + value * Math.abs(t[i]), 0)
  const meanGT = share === undefined ? 0 : products / Number(share)
  const c = centered ? constants(roundings) : { dx: withoutMean(D.length), dweight: (135 + D.length / 8192) * 2 ** -53 }
  const dx = G.map((value, i) => {
    const inside = i < counted
    const num = value * divided - mean - (inside ? D[i] * slope : 0n)
    const T = Math.abs(t[i])
    const without = g[i] + (inside ? T * meanGT : 0)
    const terms = centered ? g[i] + meanG + (T + largest) * meanGT + T * largest * meanG : without
    return { value: shifted(num * R, F - 298n - k) / divided, slack: c.dx * rstd * terms }
  })
  return {
    dx,
    weightSum(elements) {
      const sum = elements.reduce((total, i) => total + Y[i] * D[i], 0n)
      const terms = elements.reduce(
        (total, i) => total + Math.abs(dy[i]) * (Math.abs(t[i]) + (centered ? largest : 0)),
        0
      )
      return { value: shifted(sum * R, F - 298n - k) / d, slack: c.dweight * terms }
    }
  }
}

/** x * 2^by. */
const shifted = (x: bigint, by: bigint) => (by >= 0n ? x << by : x >> -by)

/** Exact numbers added. */
export const addExactly = (all: readonly Exact[]): Exact => ({
  value: all.reduce((sum, { value }) => sum + value, 0n),
  slack: all.reduce((sum, { slack }) => sum + slack, 0)
})

/** The sum of numbers by a number of roundings of 2^-53. */
export const sumExactly = (numbers: readonly number[], roundings: number): Exact => ({
  value: numbers.reduce((sum, value) => sum + fixed(value), 0n),
  slack: numbers.reduce((sum, value) => sum + Math.abs(value), 0) * roundings * 2 ** -53
})

/** dx + dsum, which rounds once more. */
export const plusExactly = ({ value, slack }: Exact, dsum: number): Exact => ({
  value: value + fixed(dsum),
  slack: slack + Math.abs(dsum) * 2 ** -53
})

// --- Rows ------------------------------------------------------------------------------------------------------------

/** A call over rows, whose elements are neighbors. */
export interface ExactRowCall {
  readonly dy: Float32Array
  readonly x: Float32Array
  readonly size: number
  readonly weight?: Float32Array | undefined
  readonly dsum?: Float32Array | undefined
  readonly residualScale?: number
}

/** Exact results, by the names of a kernel's. dweight, dbias and dscale are undefined where a row is 0/0. */
export interface ExactResults {
  readonly [name: string]: readonly (Exact | undefined)[]
}

/** The rows of a call, each normalised by its group. */
export function rowsExactly(call: ExactRowCall, group: (x: readonly number[]) => Group | undefined): ExactResults {
  const { dy, x, size, weight, dsum, residualScale = 1 } = call
  const rows = x.length / size
  const weights = weight && [...weight]
  const each = Array.from({ length: rows }, (_, row) => {
    const of = (array: Float32Array) => [...array.subarray(row * size, (row + 1) * size)]
    const own = group(of(x))
    return own && { own, ...gradientsOf(own, of(dy), weights) }
  })
  const dx = each.flatMap((row, at) =>
    Array.from({ length: size }, (_, i) => {
      const exact = row?.dx[i]
      return exact && dsum ? plusExactly(exact, dsum[at * size + i]) : exact
    })
  )
  const whole = each.flatMap(row => (row ? [row] : []))
  const elements = Array.from({ length: size }, (_, i) => i)
  const factor = Math.fround(residualScale)
  /** The sum of |dy * t| over the rows. */
  const magnitude = (i: number) =>
    whole.reduce((sum, { weightSum }) => sum + Math.abs(quotient(weightSum([i]).value, ONE)), 0)
  const dweight = (i: number): Exact => {
    const sum = addExactly(whole.map(({ weightSum }) => weightSum([i])))
    // Of groups with a mean, c has room for the roundings of rule 14.
    if (whole[0]?.own.centered) return sum
    return { ...sum, slack: sum.slack + overRows(rows) * 2 ** -53 * magnitude(i) }
  }
  const dscale = (): Exact => {
    const { value } = addExactly(whole.map(({ weightSum }) => weightSum(elements)))
    const terms = elements.reduce((total, i) => total + magnitude(i), 0)
    return { value, slack: (1.5 * rowRoundings(size) + 5 + overRows(rows)) * 2 ** -53 * terms }
  }
  const all = whole.length === rows
  return {
    dx,
    dresidual: dx.map((exact, at) => {
      if (!exact) return undefined
      const { value, slack } = timesExactly(exact, factor)
      return { value, slack: slack + Math.abs((dsum?.[at] ?? 0) * factor) * 2 ** -53 }
    }),
    dweight: elements.map(i => (all ? dweight(i) : undefined)),
    dbias: elements.map(i =>
      sumExactly(
        Array.from({ length: rows }, (_, row) => dy[row * size + i]),
        overRows(rows)
      )
    ),
    dscale: [all ? dscale() : undefined]
  }
}

// --- Channels --------------------------------------------------------------------------------------------------------

/** Elements of groups of a tensor: their places, and the channel of each. */
export interface Members {
  readonly places: readonly number[]
  readonly channels: readonly number[]
}

export interface ExactChannelCall {
  readonly dy: Float32Array
  readonly x: Float32Array
  readonly weight?: Float32Array | undefined
  readonly eps: number
  readonly count: number
  readonly groups: readonly Members[]
  /** Roundings of the sums over a group, and of dbias. */
  readonly roundings: number
  readonly biasRoundings: number
}

/** batchNorm in training, groupNorm and instanceNorm. */
export function channelsExactly(call: ExactChannelCall): ExactResults {
  const { dy, x, weight, eps, count, groups, roundings, biasRoundings } = call
  const dx: (Exact | undefined)[] = new Array(x.length).fill(undefined)
  const parts = Array.from({ length: count }, (): (Exact | undefined)[] => [])
  const biases = Array.from({ length: count }, (): number[] => [])
  for (const { places, channels } of groups) {
    const group = groupOf(
      places.map(at => x[at]),
      { eps, centered: true, roundings }
    )
    const of =
      group &&
      gradientsOf(
        group,
        places.map(at => dy[at]),
        weight && channels.map(channel => weight[channel])
      )
    places.forEach((at, i) => {
      dx[at] = of?.dx[i]
      biases[channels[i]].push(dy[at])
    })
    for (const channel of new Set(channels)) {
      const own = channels.flatMap((one, i) => (one === channel ? [i] : []))
      parts[channel].push(of?.weightSum(own))
    }
  }
  return {
    dx,
    dweight: parts.map(all => (all.includes(undefined) ? undefined : addExactly(all as Exact[]))),
    dbias: biases.map(all => sumExactly(all, biasRoundings))
  }
}

/** batchNorm in evaluation: exact for the statistics that are given. undefined where it divides by 0. */
export function evaluationExactly(
  dy: readonly number[],
  x: readonly number[],
  {
    mean,
    variance,
    eps,
    weight = 1,
    roundings
  }: { mean: number; variance: number; eps: number; weight?: number; roundings: number }
): { dx: Exact[]; dweight: Exact; dbias: Exact } | undefined {
  const A = integer(variance, 1074) + integer(eps, 1074)
  if (A === 0n) return undefined
  const { R, k } = reciprocalRoot(A, 1n << 1074n)
  const scale = (num: bigint, unit: bigint) => shifted(num * R, F - unit - k)
  const M = integer(mean, 1074)
  const W = integer(weight, 149)
  const products = dy.map((value, i) => integer(value, 149) * (integer(x[i], 1074) - M))
  const rstd = ratio(R, 1n << k)
  const terms = dy.reduce((sum, value, i) => sum + Math.abs(value * (x[i] - mean)) * rstd, 0)
  return {
    // rstd is 2.5 roundings off, the product one.
    dx: dy.map(value => ({
      value: scale(integer(value, 149) * W, 298n),
      slack: 4 * 2 ** -53 * rstd * Math.abs(value * weight)
    })),
    // x - mean, rstd, their product, that with dy: 6 beside those of the sum.
    dweight: {
      value: scale(
        products.reduce((sum, value) => sum + value, 0n),
        1223n
      ),
      slack: (roundings + 6) * 2 ** -53 * terms
    },
    dbias: sumExactly(dy, roundings)
  }
}
