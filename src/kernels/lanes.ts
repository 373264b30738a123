// Sums of rows and runs: lanes, blocks and folds (rules 1 to 3, 13, 15, 16). The twin of native/kernels/lanes.h. "Rule n" is a rule of NUMERICS.md.
import { countReal, endOfSpans, FOLD64, firstSpan, type Spans, spanBegin, type Volume } from './operands.js'
import { power } from './power.js'

/** Lanes of a block (rule 1). */
export const LANES = 16
/** Elements of a block (rule 1). */
export const BLOCK = 4096

/** The sums of a group. */
export interface Sums {
  /** Sum of x - center. */
  s: number
  /** Sum of (x - center)^2. */
  q: number
}

// Lanes j, j + 4, j + 8 and j + 12 fold to one number before any other is needed (rule 2), so four loops with four lanes
// each make a block: their sums stay in registers, which those of all sixteen do not (measured).
const STEP = LANES / 4
const partS = new Float64Array(STEP)
const partQ = new Float64Array(STEP)

/** Rules 1 to 3: the sums of the n elements from x[start]. */
export function sums(n: number, x: Float32Array, start: number): Sums {
  let s = 0
  let q = 0
  const stop = start + n
  for (let begin = start; begin < stop; begin += BLOCK) {
    const end = Math.min(begin + BLOCK, stop)
    for (let lane = 0; lane < STEP; lane++) sumFourLanes(x, begin, end, lane)
    s += partS[0] + partS[2] + (partS[1] + partS[3])
    q += partQ[0] + partQ[2] + (partQ[1] + partQ[3])
  }
  return { s, q }
}

/** Every fourth lane of the block x[begin..end) from `lane` on, folded: element i of a block belongs to lane i mod 16. */
function sumFourLanes(x: Float32Array, begin: number, end: number, lane: number): void {
  let s0 = 0
  let s1 = 0
  let s2 = 0
  let s3 = 0
  let q0 = 0
  let q1 = 0
  let q2 = 0
  let q3 = 0
  let i = begin + lane
  for (; i + 12 < end; i += LANES) {
    const v0 = x[i]
    const v1 = x[i + 4]
    const v2 = x[i + 8]
    const v3 = x[i + 12]
    s0 += v0
    s1 += v1
    s2 += v2
    s3 += v3
    q0 += v0 * v0
    q1 += v1 * v1
    q2 += v2 * v2
    q3 += v3 * v3
  }
  if (i < end) {
    s0 += x[i]
    q0 += x[i] * x[i]
  }
  if (i + 4 < end) {
    s1 += x[i + 4]
    q1 += x[i + 4] * x[i + 4]
  }
  if (i + 8 < end) {
    s2 += x[i + 8]
    q2 += x[i + 8] * x[i + 8]
  }
  partS[lane] = s0 + s2 + (s1 + s3)
  partQ[lane] = q0 + q2 + (q1 + q3)
}

/** Rules 1 to 3 for the squares alone, of x - center: with center 0 the subtraction changes nothing. */
export function sumOfSquares(n: number, center: number, x: Float32Array, start: number): number {
  let q = 0
  const stop = start + n
  for (let begin = start; begin < stop; begin += BLOCK) {
    const end = Math.min(begin + BLOCK, stop)
    const even = squareFourLanes(x, begin, end, center) + squareFourLanes(x, begin + 2, end, center)
    q += even + (squareFourLanes(x, begin + 1, end, center) + squareFourLanes(x, begin + 3, end, center))
  }
  return q
}

/** Every fourth lane of a block from that of x[first] on, folded. */
function squareFourLanes(x: Float32Array, first: number, end: number, center: number): number {
  let q0 = 0
  let q1 = 0
  let q2 = 0
  let q3 = 0
  let i = first
  for (; i + 12 < end; i += LANES) {
    const v0 = x[i] - center
    const v1 = x[i + 4] - center
    const v2 = x[i + 8] - center
    const v3 = x[i + 12] - center
    q0 += v0 * v0
    q1 += v1 * v1
    q2 += v2 * v2
    q3 += v3 * v3
  }
  if (i < end) {
    const v = x[i] - center
    q0 += v * v
  }
  if (i + 4 < end) {
    const v = x[i + 4] - center
    q1 += v * v
  }
  if (i + 8 < end) {
    const v = x[i + 8] - center
    q2 += v * v
  }
  return q0 + q2 + (q1 + q3)
}

const lanes = new Float64Array(LANES)

/** Rules 1 to 3 for one sum alone, of term(|x|): for norms other than the second. */
function laneSum(n: number, x: Float32Array, start: number, term: (magnitude: number) => number): number {
  let total = 0
  for (let begin = 0; begin < n; begin += BLOCK) {
    const end = Math.min(begin + BLOCK, n)
    lanes.fill(0)
    for (let i = begin; i < end; i++) lanes[i % LANES] += term(Math.abs(x[start + i]))
    for (let half = LANES / 2; half >= 1; half /= 2) for (let j = 0; j < half; j++) lanes[j] += lanes[j + half]
    total += lanes[0]
  }
  return total
}

/** Sum of |x|. */
export function sumOfMagnitudes(n: number, x: Float32Array, start: number): number {
  return laneSum(n, x, start, magnitude => magnitude)
}

/** Largest |x|; NaN where there is one. */
export function largestMagnitude(n: number, x: Float32Array, start: number): number {
  let largest = 0
  for (let i = 0; i < n; i++) {
    const magnitude = Math.abs(x[start + i])
    if (magnitude > largest || Number.isNaN(magnitude)) largest = magnitude
    if (Number.isNaN(largest)) break
  }
  return largest
}

/** Largest |x|, NaN left out. */
export function largestNumber(n: number, x: Float32Array, start: number, step = 1): number {
  let largest = 0
  for (let i = 0; i < n; i++) {
    const magnitude = Math.abs(x[start + i * step])
    if (magnitude > largest) largest = magnitude
  }
  return largest
}

/** Rule 16: sum of (|x| / largest)^p: no term is above 1, and one is 1. */
export function sumOfPowers(n: number, x: Float32Array, start: number, largest: number, p: number): number {
  return laneSum(n, x, start, magnitude => power(magnitude / largest, p))
}

/** The real elements of a row or run that has gaps, one after the other. It grows as needed. */
let packed = new Float32Array(0)

/** Copies the real ones of the elements of `channels` runs, the first of which begins at x[start], into `packed`. */
function pack(x: Float32Array, start: number, channels: number, positions: number, spans: Spans, sample: number): void {
  const n = channels * countReal(spans, positions, sample)
  if (packed.length < n) packed = new Float32Array(n)
  const last = endOfSpans(spans, sample)
  let to = 0
  for (let channel = 0; channel < channels; channel++) {
    const run = start + channel * positions
    for (let at = firstSpan(spans, sample); at < last; at += 2) {
      const end = run + (spans as Int32Array)[at + 1]
      for (let i = run + (spans as Int32Array)[at]; i < end; i++) packed[to++] = x[i]
    }
  }
}

/**
 * Calls use(n, x, start) with the real elements of `channels` runs of a sample, one after the other (rule 15): where they
 * stand, or, where they have gaps, a copy. The copy is good until the next call.
 */
export function withReal<Result>(
  x: Float32Array,
  start: number,
  channels: number,
  positions: number,
  spans: Spans,
  sample: number,
  use: (n: number, x: Float32Array, start: number) => Result
): Result {
  if (!spans) return use(channels * positions, x, start)
  const n = channels * countReal(spans, positions, sample)
  if (n === 0) return use(0, x, start)
  const first = firstSpan(spans, sample)
  const whole = n === channels * positions
  const single = channels === 1 && endOfSpans(spans, sample) === first + 2
  if (whole || single) return use(n, x, start + spanBegin(spans, first))
  pack(x, start, channels, positions, spans, sample)
  return use(n, packed, 0)
}

/**
 * Rule 13: the sums of one channel over the batch, a run in each sample: channels first. With a center, of the squares
 * alone: s is 0.
 */
export function runSums(x: Float32Array, center: number | undefined, channel: number, shape: Volume): Sums {
  const { samples, positions, spans } = shape
  const sumsOfRun =
    center === undefined
      ? sums
      : (n: number, x: Float32Array, start: number) => ({ s: 0, q: sumOfSquares(n, center, x, start) })
  return foldedSums(samples, n => {
    const start = (n * shape.groups * shape.channelsPerGroup + channel) * positions
    return withReal(x, start, 1, positions, spans, n, sumsOfRun)
  })
}

/** Rules 13 and 14: n sums added up in order; 64 of them make a part. */
export function foldedSums(n: number, sumsOf: (i: number) => Sums): Sums {
  const total = { s: 0, q: 0 }
  for (let first = 0; first < n; first += FOLD64) {
    const part = { s: 0, q: 0 }
    const end = Math.min(first + FOLD64, n)
    for (let i = first; i < end; i++) {
      const { s, q } = sumsOf(i)
      part.s += s
      part.q += q
    }
    total.s += part.s
    total.q += part.q
  }
  return total
}
