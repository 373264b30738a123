// The statistics of a group, as NUMERICS.md defines them: its lanes, blocks, folds and thresholds.
// The twin of native/canonical.h: the same functions in the same order. "Rule n" is a rule of NUMERICS.md.

/** Lanes of a block (rule 1). */
export const LANES = 16
/** Elements of a block (rule 1). */
export const BLOCK = 4096

const CANCELLED = 2 ** -12 // rule 5
const LARGE = 2 ** 100 // rule 8
const SMALL = 2 ** -100
const VANISHING = 2 ** -200

/** A kernel's place for one statistic per row: rounded to float32, or float64 as computed. */
export type Statistic = Float32Array | Float64Array

/** The sums of a group. */
export interface Sums {
  /** Sum of x - centre. */
  s: number
  /** Sum of (x - centre)^2. */
  q: number
}

const laneS = new Float64Array(LANES)
const laneQ = new Float64Array(LANES)

/**
 * Rules 1 to 3: the sums of the n elements from x[start]. With centre 0 the subtraction changes nothing and the squares
 * are exact; with another centre they round.
 */
export function sums(n: number, centre: number, x: Float32Array, start: number): Sums {
  const total = { s: 0, q: 0 }
  const stop = start + n
  for (let begin = start; begin < stop; begin += BLOCK) {
    const end = Math.min(begin + BLOCK, stop)
    // Four lanes at a time: their eight sums stay in registers, which those of all sixteen do not (measured).
    for (let lane = 0; lane < LANES; lane += 4) sumFourLanes(x, begin, end, lane, centre)
    for (let half = LANES / 2; half >= 1; half /= 2) {
      for (let j = 0; j < half; j++) {
        laneS[j] += laneS[j + half]
        laneQ[j] += laneQ[j + half]
      }
    }
    total.s += laneS[0]
    total.q += laneQ[0]
  }
  return total
}

/** Lanes `lane` to `lane + 3` of the block x[begin..end): element i of a block belongs to lane i mod 16. */
function sumFourLanes(x: Float32Array, begin: number, end: number, lane: number, centre: number): void {
  let s0 = 0
  let s1 = 0
  let s2 = 0
  let s3 = 0
  let q0 = 0
  let q1 = 0
  let q2 = 0
  let q3 = 0
  let i = begin + lane
  for (; i + 3 < end; i += LANES) {
    const v0 = x[i] - centre
    const v1 = x[i + 1] - centre
    const v2 = x[i + 2] - centre
    const v3 = x[i + 3] - centre
    s0 += v0
    s1 += v1
    s2 += v2
    s3 += v3
    q0 += v0 * v0
    q1 += v1 * v1
    q2 += v2 * v2
    q3 += v3 * v3
  }
  laneS[lane] = s0
  laneS[lane + 1] = s1
  laneS[lane + 2] = s2
  laneS[lane + 3] = s3
  laneQ[lane] = q0
  laneQ[lane + 1] = q1
  laneQ[lane + 2] = q2
  laneQ[lane + 3] = q3
  for (; i < end; i++, lane++) {
    const v = x[i] - centre
    laneS[lane] += v
    laneQ[lane] += v * v
  }
}

/**
 * The sums of the row that an op normalises: of x as it is, or of x + residual rounded to float32, which is written to
 * `sum`.
 */
export function rowSums(
  n: number,
  x: Float32Array,
  x0: number,
  residual: Float32Array | undefined,
  residual0: number,
  sum: Float32Array,
  sum0: number
): Sums {
  if (!residual) return sums(n, 0, x, x0)
  for (let i = 0; i < n; i++) sum[sum0 + i] = x[x0 + i] + residual[residual0 + i]
  return sums(n, 0, sum, sum0)
}

/** Mean and biased variance of a group. */
export interface Moments {
  mean: number
  variance: number
}

/** Rules 4 and 5: mean and biased variance of the n elements from x[start], whose sums are given. */
export function moments(n: number, x: Float32Array, start: number, raw: Sums): Moments {
  const mean = raw.s / n
  const variance = raw.q / n - mean * mean
  if (raw.q === 0 || variance > mean * mean * CANCELLED) return { mean, variance }
  return { mean, variance: sums(n, mean, x, start).q / n }
}

/** Rule 8: whether float32 steps could overflow or vanish. `power` is what eps was added to. */
export function isWide(mean: number, power: number, rstd: number): boolean {
  return (
    !(rstd > SMALL && rstd < LARGE && mean >= -LARGE && mean <= LARGE) || (power > 0 && power * rstd * rstd < VANISHING)
  )
}
