// The statistics of a group, as NUMERICS.md defines them: its lanes, blocks, folds and thresholds; and the maps over it.
// The twin of native/canonical.h: the same functions in the same order. "Rule n" is a rule of NUMERICS.md.
//
// A group is a row (n neighbouring elements), several runs (rows apart from each other) or a column of a matrix.
import { power } from './power.js'

/** Lanes of a block (rule 1). */
export const LANES = 16
/** Elements of a block (rule 1). */
export const BLOCK = 4096
/** Runs or columns whose totals are added before they join the group's (rules 13, 14), and rows of a column's block. */
export const PART = 64
/** Columns that are worked on together: their sums stay in the first-level cache. No bits depend on it. */
export const STRIP = 256
/** Rows that are added to a column's sums in registers, as addFourRows is written. No bits depend on it. */
const TOGETHER = 4
/** Rows of a matrix that are normalised side by side, as normaliseRowsByColumn is written. No bits depend on it. */
const ABREAST = 4

export const CANCELLED = 2 ** -12 // rule 5
const LARGE = 2 ** 100 // rule 8
const SMALL = 2 ** -100
const VANISHING = 2 ** -200

const f32 = Math.fround

/** A kernel's place for one statistic per row: rounded to float32, or float64 as computed. */
export type Statistic = Float32Array | Float64Array

/** The sums of a group. */
export interface Sums {
  /** Sum of x - centre. */
  s: number
  /** Sum of (x - centre)^2. */
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

/** Rules 1 to 3 for the squares alone, of x - centre: with centre 0 the subtraction changes nothing. */
export function sumOfSquares(n: number, centre: number, x: Float32Array, start: number): number {
  let q = 0
  const stop = start + n
  for (let begin = start; begin < stop; begin += BLOCK) {
    const end = Math.min(begin + BLOCK, stop)
    const even = squareFourLanes(x, begin, end, centre) + squareFourLanes(x, begin + 2, end, centre)
    q += even + (squareFourLanes(x, begin + 1, end, centre) + squareFourLanes(x, begin + 3, end, centre))
  }
  return q
}

/** Every fourth lane of a block from that of x[first] on, folded. */
function squareFourLanes(x: Float32Array, first: number, end: number, centre: number): number {
  let q0 = 0
  let q1 = 0
  let q2 = 0
  let q3 = 0
  let i = first
  for (; i + 12 < end; i += LANES) {
    const v0 = x[i] - centre
    const v1 = x[i + 4] - centre
    const v2 = x[i + 8] - centre
    const v3 = x[i + 12] - centre
    q0 += v0 * v0
    q1 += v1 * v1
    q2 += v2 * v2
    q3 += v3 * v3
  }
  if (i < end) {
    const v = x[i] - centre
    q0 += v * v
  }
  if (i + 4 < end) {
    const v = x[i + 4] - centre
    q1 += v * v
  }
  if (i + 8 < end) {
    const v = x[i + 8] - centre
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

/** Rule 16: sum of (|x| / largest)^p: no term is above 1, and one is 1. */
export function sumOfPowers(n: number, x: Float32Array, start: number, largest: number, p: number): number {
  return laneSum(n, x, start, magnitude => power(magnitude / largest, p))
}

/** Rule 7: x + residual * scale, each step rounded to float32, over n elements. */
export function addResidual(
  sum: Float32Array,
  sum0: number,
  x: Float32Array,
  x0: number,
  residual: Float32Array,
  residual0: number,
  n: number,
  scale: number
): void {
  let i = 0
  for (; i + 3 < n; i += 4) {
    const t0 = f32(residual[residual0 + i] * scale)
    const t1 = f32(residual[residual0 + i + 1] * scale)
    const t2 = f32(residual[residual0 + i + 2] * scale)
    const t3 = f32(residual[residual0 + i + 3] * scale)
    sum[sum0 + i] = x[x0 + i] + t0
    sum[sum0 + i + 1] = x[x0 + i + 1] + t1
    sum[sum0 + i + 2] = x[x0 + i + 2] + t2
    sum[sum0 + i + 3] = x[x0 + i + 3] + t3
  }
  for (; i < n; i++) sum[sum0 + i] = x[x0 + i] + f32(residual[residual0 + i] * scale)
}

/** Rule 15: which positions of each sample are real: [begin, end) for each, in turn. Absent: all. */
export type Spans = Int32Array | undefined

/** The shape of an op over channels: its groups are `channels` neighbouring channels each. */
export interface Volume {
  samples: number
  groups: number
  channels: number
  positions: number
  channelsLast: boolean
}

/**
 * Rule 13: the sums of one channel over the batch, a run in each sample: channels first. With a centre, of the squares
 * alone: s is 0.
 */
export function runSums(
  x: Float32Array,
  centre: number | undefined,
  channel: number,
  spans: Spans,
  shape: Volume
): Sums {
  const { samples, positions } = shape
  const total = { s: 0, q: 0 }
  for (let first = 0; first < samples; first += PART) {
    const part = { s: 0, q: 0 }
    const end = Math.min(first + PART, samples)
    for (let n = first; n < end; n++) {
      const begin = spans ? spans[2 * n] : 0
      const length = (spans ? spans[2 * n + 1] : positions) - begin
      const start = (n * shape.groups * shape.channels + channel) * positions + begin
      const run = centre === undefined ? sums(length, x, start) : { s: 0, q: sumOfSquares(length, centre, x, start) }
      part.s += run.s
      part.q += run.q
    }
    total.s += part.s
    total.q += part.q
  }
  return total
}

/** Rows of a matrix: those of `samples` samples from the first, `positions` in each, of which `spans` says the real ones. */
export interface RowSet {
  first: number
  samples: number
  positions: number
  spans: Spans
}

/** How many rows a set has. */
export function countRows({ first, samples, positions, spans }: RowSet): number {
  if (!spans) return samples * positions
  let count = 0
  for (let n = first; n < first + samples; n++) count += spans[2 * n + 1] - spans[2 * n]
  return count
}

/** The same rows in as few samples as can be: without padding those of all samples from 0 on are neighbours. */
function joined(rows: RowSet): RowSet {
  const { first, samples, positions, spans } = rows
  return spans || first > 0 ? rows : { first: 0, samples: 1, positions: samples * positions, spans }
}

/** Sums of the columns of a strip; `columnSums` leaves them in `total`. */
const column = () => ({ s: new Float64Array(STRIP), q: new Float64Array(STRIP) })
const inBlock = column()
const inPart = column()
const total = column()

function moveColumns(n: number, from: typeof total, to: typeof total): void {
  for (let k = 0; k < n; k++) {
    to.s[k] += from.s[k]
    to.q[k] += from.q[k]
    from.s[k] = 0
    from.q[k] = 0
  }
}

/**
 * Rule 14: the sums of n <= STRIP columns of the matrix whose row r begins at x[start + r * stride]. With centres, one
 * for each column, the sums are of the squares alone.
 */
function columnSums(
  n: number,
  centre: Float64Array | undefined,
  x: Float32Array,
  start: number,
  stride: number,
  given: RowSet
): typeof total {
  const rows = joined(given)
  for (const sums of [inBlock, inPart, total]) {
    sums.s.fill(0, 0, n)
    sums.q.fill(0, 0, n)
  }
  let count = 0
  for (let sample = rows.first; sample < rows.first + rows.samples; sample++) {
    const begin = rows.spans ? rows.spans[2 * sample] : 0
    const end = rows.spans ? rows.spans[2 * sample + 1] : rows.positions
    for (let position = begin; position < end; ) {
      const take = Math.min(TOGETHER, PART - (count % PART), end - position)
      addRows(n, centre, x, start + (sample * rows.positions + position) * stride, stride, take)
      position += take
      count += take
      if (count % PART === 0) moveColumns(n, inBlock, inPart)
      if (count % (PART * PART) === 0) moveColumns(n, inPart, total)
    }
  }
  moveColumns(n, inBlock, inPart)
  moveColumns(n, inPart, total)
  return total
}

/** Adds `count` rows, the first of which begins at x[start], to the sums of n columns. */
function addRows(
  n: number,
  centre: Float64Array | undefined,
  x: Float32Array,
  start: number,
  stride: number,
  count: number
): void {
  if (count === TOGETHER) {
    if (centre) squareFourRows(n, centre, x, start, stride)
    else addFourRows(n, x, start, stride)
    return
  }
  for (let row = 0; row < count; row++) addRow(n, centre ?? zeros, x, start + row * stride)
}

function addFourRows(n: number, x: Float32Array, start: number, stride: number): void {
  const { s, q } = inBlock
  const second = start + stride
  const third = second + stride
  const fourth = third + stride
  for (let k = 0; k < n; k++) {
    const v0 = x[start + k]
    const v1 = x[second + k]
    const v2 = x[third + k]
    const v3 = x[fourth + k]
    s[k] = s[k] + v0 + v1 + v2 + v3
    q[k] = q[k] + v0 * v0 + v1 * v1 + v2 * v2 + v3 * v3
  }
}

function squareFourRows(n: number, centre: Float64Array, x: Float32Array, start: number, stride: number): void {
  const { q } = inBlock
  const second = start + stride
  const third = second + stride
  const fourth = third + stride
  for (let k = 0; k < n; k++) {
    const mean = centre[k]
    const v0 = x[start + k] - mean
    const v1 = x[second + k] - mean
    const v2 = x[third + k] - mean
    const v3 = x[fourth + k] - mean
    q[k] = q[k] + v0 * v0 + v1 * v1 + v2 * v2 + v3 * v3
  }
}

const zeros = new Float64Array(STRIP)

function addRow(n: number, centre: Float64Array, x: Float32Array, start: number): void {
  const { s, q } = inBlock
  for (let k = 0; k < n; k++) {
    const v = x[start + k] - centre[k]
    s[k] += v
    q[k] += v * v
  }
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
  return { mean, variance: sumOfSquares(n, mean, x, start) / n }
}

const centres = new Float64Array(STRIP)

/** How many groups of `channels` neighbouring columns are worked on together: at most STRIP columns, or one group. */
export function bundle(groups: number, channels: number): number {
  return Math.min(groups, Math.max(1, Math.floor(STRIP / channels)))
}

const centredSquares = new Float64Array(STRIP)

/** Rule 14: adds the sums of a strip's columns to those of their groups; PART of them make a part. */
function addColumns(to: Float64Array, columns: Float64Array, first: number, width: number, channels: number): void {
  let part = 0
  for (let k = 0; k < width; k++) {
    const channel = (first + k) % channels
    part += columns[k]
    if (channel % PART === PART - 1 || channel === channels - 1) {
      to[Math.floor((first + k) / channels)] += part
      part = 0
    }
  }
}

/**
 * Rules 4, 5 and 14: mean and biased variance of `groups` groups of `channels` neighbouring columns each, as many as
 * `bundle` says at most, into the first elements of the two arrays.
 */
export function columnMoments(
  mean: Float64Array,
  variance: Float64Array,
  groups: number,
  channels: number,
  x: Float32Array,
  start: number,
  stride: number,
  rows: RowSet
): void {
  const columns = groups * channels
  const n = countRows(rows) * channels
  mean.fill(0, 0, groups)
  variance.fill(0, 0, groups)
  for (let first = 0; first < columns; first += STRIP) {
    const width = Math.min(STRIP, columns - first)
    const { s, q } = columnSums(width, undefined, x, start + first, stride, rows)
    addColumns(mean, s, first, width, channels)
    addColumns(variance, q, first, width, channels)
  }
  const cancelled: boolean[] = []
  for (let group = 0; group < groups; group++) {
    const q = variance[group]
    mean[group] /= n
    variance[group] = q / n - mean[group] * mean[group]
    cancelled[group] = !(q === 0 || variance[group] > mean[group] * mean[group] * CANCELLED)
  }
  if (!cancelled.includes(true)) return
  centredSquares.fill(0, 0, groups)
  for (let first = 0; first < columns; first += STRIP) {
    const width = Math.min(STRIP, columns - first)
    for (let k = 0; k < width; k++) centres[k] = mean[Math.floor((first + k) / channels)]
    const { q } = columnSums(width, centres, x, start + first, stride, rows)
    addColumns(centredSquares, q, first, width, channels)
  }
  for (let group = 0; group < groups; group++) if (cancelled[group]) variance[group] = centredSquares[group] / n
}

/** Rule 14: sums of the squares of n <= STRIP columns. */
export function columnSquares(
  squares: Float64Array,
  n: number,
  x: Float32Array,
  start: number,
  stride: number,
  rows: RowSet
): void {
  squares.set(columnSums(n, undefined, x, start, stride, rows).q.subarray(0, n))
}

/** Rule 8: whether float32 steps could overflow or vanish. `square` is what eps was added to. */
export function isWide(mean: number, square: number, rstd: number): boolean {
  return (
    !(rstd > SMALL && rstd < LARGE && mean >= -LARGE && mean <= LARGE) ||
    (square > 0 && square * rstd * rstd < VANISHING)
  )
}

/** What a group is normalised with: rules 6 to 8. */
export interface Scale {
  readonly mean: number
  readonly rstd: number
  readonly wide: boolean
  /** The mean as a high and a low part, and the scale, in float32. */
  readonly m: number
  readonly r: number
  readonly c: number
}

/** Rules 6 to 8 for a group whose statistics are known. Operations without a mean give 0 for it. */
export function scaleOf(mean: number, square: number, rstd: number): Scale {
  const m = f32(mean)
  return { mean, rstd, wide: isWide(mean, square, rstd), m, r: f32(rstd), c: f32((m - mean) * rstd) }
}

/** 0 in n elements. */
export function clear(y: Float32Array, y0: number, n: number): void {
  for (let i = 0; i < n; i++) y[y0 + i] = 0
}

/** What stands in for an absent weight or bias: multiplying by one and adding the other change no bit. */
const NO_WEIGHT = 1
const NO_BIAS = -0

/** Rule 8 over n elements, with weights and biases `step` apart. */
export function normaliseWide(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  scale: Scale,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined,
  weight0: number,
  step: number
): void {
  for (let i = 0; i < n; i++) {
    let t = (x[x0 + i] - scale.mean) * scale.rstd
    if (weight) t = t * weight[weight0 + i * step]
    if (bias) t = t + bias[weight0 + i * step]
    y[y0 + i] = t
  }
}

// The loops below take four elements at a time, and step by step: V8 reads an array's type, length and address anew in
// every round of a loop, and orders the steps as they are written; one by one they take 1.7 times as long (measured).

/** Rules 7 and 8 over n elements with a weight and a bias each. */
export function normaliseRow(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  scale: Scale,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined,
  weight0: number
): void {
  if (scale.wide) {
    normaliseWide(y, y0, x, x0, n, scale, weight, bias, weight0, 1)
    return
  }
  const { m, r, c } = scale
  if (weight && bias) {
    normaliseWeightedRow(y, y0, x, x0, n, m, r, c, weight, bias, weight0)
    return
  }
  normalisePlain(y, y0, x, x0, n, m, r, c)
  if (weight) for (let i = 0; i < n; i++) y[y0 + i] = y[y0 + i] * weight[weight0 + i]
  if (bias) for (let i = 0; i < n; i++) y[y0 + i] = y[y0 + i] + bias[weight0 + i]
}

function normaliseWeightedRow(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  m: number,
  r: number,
  c: number,
  weight: Float32Array,
  bias: Float32Array,
  weight0: number
): void {
  let i = 0
  for (; i + 3 < n; i += 4) {
    const t0 = f32(f32(f32(x[x0 + i] - m) * r) + c)
    const t1 = f32(f32(f32(x[x0 + i + 1] - m) * r) + c)
    const t2 = f32(f32(f32(x[x0 + i + 2] - m) * r) + c)
    const t3 = f32(f32(f32(x[x0 + i + 3] - m) * r) + c)
    y[y0 + i] = f32(t0 * weight[weight0 + i]) + bias[weight0 + i]
    y[y0 + i + 1] = f32(t1 * weight[weight0 + i + 1]) + bias[weight0 + i + 1]
    y[y0 + i + 2] = f32(t2 * weight[weight0 + i + 2]) + bias[weight0 + i + 2]
    y[y0 + i + 3] = f32(t3 * weight[weight0 + i + 3]) + bias[weight0 + i + 3]
  }
  for (; i < n; i++) {
    const t = f32(f32(f32(x[x0 + i] - m) * r) + c)
    y[y0 + i] = f32(t * weight[weight0 + i]) + bias[weight0 + i]
  }
}

/** Without weight and bias. */
function normalisePlain(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  m: number,
  r: number,
  c: number
): void {
  let i = 0
  for (; i + 3 < n; i += 4) {
    const t0 = f32(f32(x[x0 + i] - m) * r)
    const t1 = f32(f32(x[x0 + i + 1] - m) * r)
    const t2 = f32(f32(x[x0 + i + 2] - m) * r)
    const t3 = f32(f32(x[x0 + i + 3] - m) * r)
    y[y0 + i] = t0 + c
    y[y0 + i + 1] = t1 + c
    y[y0 + i + 2] = t2 + c
    y[y0 + i + 3] = t3 + c
  }
  for (; i < n; i++) y[y0 + i] = f32(f32(x[x0 + i] - m) * r) + c
}

/** Rules 7 and 8 over n elements that share weight[channel] and bias[channel]. */
export function normaliseRun(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  scale: Scale,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined,
  channel: number
): void {
  if (scale.wide) {
    normaliseWide(y, y0, x, x0, n, scale, weight, bias, channel, 0)
    return
  }
  const { m, r, c } = scale
  if (!weight && !bias) {
    normalisePlain(y, y0, x, x0, n, m, r, c)
    return
  }
  const w = weight ? weight[channel] : NO_WEIGHT
  const b = bias ? bias[channel] : NO_BIAS
  // Where the mean is a number of float32, as running statistics are, c is 0. Adding that changes at most the sign of a
  // zero, which a bias other than 0 takes away.
  if (c === 0 && b !== 0) normaliseRunWithoutLow(y, y0, x, x0, n, m, r, w, b)
  else normaliseWeightedRun(y, y0, x, x0, n, m, r, c, w, b)
}

/** The mean has no low part: takes 0.77 times as long as with one (measured). */
function normaliseRunWithoutLow(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  m: number,
  r: number,
  w: number,
  b: number
): void {
  let i = 0
  for (; i + 3 < n; i += 4) {
    const t0 = f32(f32(f32(x[x0 + i] - m) * r) * w)
    const t1 = f32(f32(f32(x[x0 + i + 1] - m) * r) * w)
    const t2 = f32(f32(f32(x[x0 + i + 2] - m) * r) * w)
    const t3 = f32(f32(f32(x[x0 + i + 3] - m) * r) * w)
    y[y0 + i] = t0 + b
    y[y0 + i + 1] = t1 + b
    y[y0 + i + 2] = t2 + b
    y[y0 + i + 3] = t3 + b
  }
  for (; i < n; i++) y[y0 + i] = f32(f32(f32(x[x0 + i] - m) * r) * w) + b
}

function normaliseWeightedRun(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  m: number,
  r: number,
  c: number,
  w: number,
  b: number
): void {
  let i = 0
  for (; i + 3 < n; i += 4) {
    const t0 = f32(f32(f32(x[x0 + i] - m) * r) + c)
    const t1 = f32(f32(f32(x[x0 + i + 1] - m) * r) + c)
    const t2 = f32(f32(f32(x[x0 + i + 2] - m) * r) + c)
    const t3 = f32(f32(f32(x[x0 + i + 3] - m) * r) + c)
    y[y0 + i] = f32(t0 * w) + b
    y[y0 + i + 1] = f32(t1 * w) + b
    y[y0 + i + 2] = f32(t2 * w) + b
    y[y0 + i + 3] = f32(t3 * w) + b
  }
  for (; i < n; i++) y[y0 + i] = f32(f32(f32(f32(x[x0 + i] - m) * r) + c) * w) + b
}

// Without a mean, t = x * r, a weight for each element or one for all: in C++ a line in the ops that need it.

/** Rule 7 of RMS operations over n elements with a weight each. */
export function multiplyRow(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  r: number,
  weight: Float32Array
): void {
  let i = 0
  for (; i + 3 < n; i += 4) {
    const t0 = f32(x[x0 + i] * r)
    const t1 = f32(x[x0 + i + 1] * r)
    const t2 = f32(x[x0 + i + 2] * r)
    const t3 = f32(x[x0 + i + 3] * r)
    y[y0 + i] = t0 * weight[i]
    y[y0 + i + 1] = t1 * weight[i + 1]
    y[y0 + i + 2] = t2 * weight[i + 2]
    y[y0 + i + 3] = t3 * weight[i + 3]
  }
  for (; i < n; i++) y[y0 + i] = f32(x[x0 + i] * r) * weight[i]
}

/** The same with one weight for all. */
export function multiplyRun(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  r: number,
  w: number
): void {
  let i = 0
  for (; i + 3 < n; i += 4) {
    const t0 = f32(x[x0 + i] * r)
    const t1 = f32(x[x0 + i + 1] * r)
    const t2 = f32(x[x0 + i + 2] * r)
    const t3 = f32(x[x0 + i + 3] * r)
    y[y0 + i] = t0 * w
    y[y0 + i + 1] = t1 * w
    y[y0 + i + 2] = t2 * w
    y[y0 + i + 3] = t3 * w
  }
  for (; i < n; i++) y[y0 + i] = f32(x[x0 + i] * r) * w
}

/** The scales of a strip's columns, as arrays of STRIP; m, r and c are numbers of float32, as doubles. */
export interface ColumnScales {
  readonly mean: Float64Array
  readonly rstd: Float64Array
  readonly m: Float64Array
  readonly r: Float64Array
  readonly c: Float64Array
  readonly wide: Uint8Array
}

export function makeColumnScales(): ColumnScales {
  const numbers = () => new Float64Array(STRIP)
  return { mean: numbers(), rstd: numbers(), m: numbers(), r: numbers(), c: numbers(), wide: new Uint8Array(STRIP) }
}

/** Rules 6 to 8 for column k of a strip. */
export function setColumnScale(scales: ColumnScales, k: number, mean: number, square: number, rstd: number): void {
  const m = f32(mean)
  scales.mean[k] = mean
  scales.rstd[k] = rstd
  scales.m[k] = m
  scales.r[k] = f32(rstd)
  scales.c[k] = f32((m - mean) * rstd)
  scales.wide[k] = isWide(mean, square, rstd) ? 1 : 0
}

/** The same for an operation that subtracts no mean, where the steps of one that does are taken: they change no bit. */
export function setColumnScaleWithoutMean(scales: ColumnScales, k: number, square: number, rstd: number): void {
  setColumnScale(scales, k, 0, square, rstd)
  scales.c[k] = -0
}

/** Weights or biases of a matrix: that of row i and column k is data[start + i * perRow + k * perColumn]. */
export interface Weights {
  data: Float32Array
  start: number
  perRow: number
  perColumn: number
}

/** The weight or bias of row i and column k. */
function weightAt(weights: Weights | undefined, i: number, k: number, absent: number): number {
  return weights ? weights.data[weights.start + i * weights.perRow + k * weights.perColumn] : absent
}

/**
 * Rules 7 and 8 over n <= STRIP columns, a scale for each. Rows that are not real become 0 (rule 15).
 */
export function normaliseColumns(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  stride: number,
  n: number,
  given: RowSet,
  scales: ColumnScales,
  weight: Weights | undefined,
  bias: Weights | undefined
): void {
  const rows = joined(given)
  const anyWide = scales.wide.subarray(0, n).includes(1)
  const byRow = (weight ? weight.perRow : 0) + (bias ? bias.perRow : 0) > 0
  for (let k = 0; k < n && !byRow; k++) {
    columnWeight[k] = weightAt(weight, 0, k, NO_WEIGHT)
    columnBias[k] = weightAt(bias, 0, k, NO_BIAS)
  }
  for (let sample = rows.first; sample < rows.first + rows.samples; sample++) {
    const begin = rows.spans ? rows.spans[2 * sample] : 0
    const end = rows.spans ? rows.spans[2 * sample + 1] : rows.positions
    const first = sample * rows.positions
    for (let position = 0; position < begin; position++) clear(y, y0 + (first + position) * stride, n)
    for (let position = begin; position < end; position += ABREAST) {
      const row = first + position
      const count = Math.min(ABREAST, end - position)
      const at = x0 + row * stride
      const to = y0 + row * stride
      if (anyWide) {
        for (let i = 0; i < count; i++) {
          normaliseMixedRow(y, to + i * stride, x, at + i * stride, row + i, n, scales, weight, bias)
        }
      } else if (byRow) {
        for (let i = 0; i < count; i++) {
          rowWeight[i] = weightAt(weight, row + i, 0, NO_WEIGHT)
          rowBias[i] = weightAt(bias, row + i, 0, NO_BIAS)
        }
        normaliseRowsByRow(y, to, x, at, stride, n, count, scales)
      } else normaliseRowsByColumn(y, to, x, at, stride, n, count, scales)
    }
    for (let position = end; position < rows.positions; position++) clear(y, y0 + (first + position) * stride, n)
  }
}

const columnWeight = new Float64Array(STRIP)
const columnBias = new Float64Array(STRIP)

// Four rows side by side, so that the scales of a column are read once. Where `count` is less, the first stands in for
// those that are not there: it is read before it is written, and written four times alike.

/** `count` rows with `columnWeight` and `columnBias`. */
function normaliseRowsByColumn(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  stride: number,
  n: number,
  count: number,
  { m, r, c }: ColumnScales
): void {
  const second = count > 1 ? stride : 0
  const third = count > 2 ? 2 * stride : 0
  const fourth = count > 3 ? 3 * stride : 0
  const x1 = x0 + second
  const x2 = x0 + third
  const x3 = x0 + fourth
  const y1 = y0 + second
  const y2 = y0 + third
  const y3 = y0 + fourth
  const w = columnWeight
  const b = columnBias
  for (let k = 0; k < n; k++) {
    // V8 reads an element as often as it is written.
    const mean = m[k]
    const rstd = r[k]
    const low = c[k]
    const weight = w[k]
    const bias = b[k]
    const t0 = f32(f32(f32(f32(x[x0 + k] - mean) * rstd) + low) * weight)
    const t1 = f32(f32(f32(f32(x[x1 + k] - mean) * rstd) + low) * weight)
    const t2 = f32(f32(f32(f32(x[x2 + k] - mean) * rstd) + low) * weight)
    const t3 = f32(f32(f32(f32(x[x3 + k] - mean) * rstd) + low) * weight)
    y[y0 + k] = t0 + bias
    y[y1 + k] = t1 + bias
    y[y2 + k] = t2 + bias
    y[y3 + k] = t3 + bias
  }
}

const rowWeight = new Float64Array(ABREAST)
const rowBias = new Float64Array(ABREAST)

/** `count` rows with a number of `rowWeight` and of `rowBias` each. */
function normaliseRowsByRow(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  stride: number,
  n: number,
  count: number,
  { m, r, c }: ColumnScales
): void {
  const i1 = count > 1 ? 1 : 0
  const i2 = count > 2 ? 2 : 0
  const i3 = count > 3 ? 3 : 0
  const x1 = x0 + i1 * stride
  const x2 = x0 + i2 * stride
  const x3 = x0 + i3 * stride
  const y1 = y0 + i1 * stride
  const y2 = y0 + i2 * stride
  const y3 = y0 + i3 * stride
  const w0 = rowWeight[0]
  const w1 = rowWeight[i1]
  const w2 = rowWeight[i2]
  const w3 = rowWeight[i3]
  const b0 = rowBias[0]
  const b1 = rowBias[i1]
  const b2 = rowBias[i2]
  const b3 = rowBias[i3]
  for (let k = 0; k < n; k++) {
    const mean = m[k]
    const rstd = r[k]
    const low = c[k]
    const t0 = f32(f32(f32(f32(x[x0 + k] - mean) * rstd) + low) * w0)
    const t1 = f32(f32(f32(f32(x[x1 + k] - mean) * rstd) + low) * w1)
    const t2 = f32(f32(f32(f32(x[x2 + k] - mean) * rstd) + low) * w2)
    const t3 = f32(f32(f32(f32(x[x3 + k] - mean) * rstd) + low) * w3)
    y[y0 + k] = t0 + b0
    y[y1 + k] = t1 + b1
    y[y2 + k] = t2 + b2
    y[y3 + k] = t3 + b3
  }
}

/** A row where some columns are wide. */
function normaliseMixedRow(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  row: number,
  n: number,
  { mean, rstd, m, r, c, wide }: ColumnScales,
  weight: Weights | undefined,
  bias: Weights | undefined
): void {
  for (let k = 0; k < n; k++) {
    const v = x[x0 + k]
    const w = weightAt(weight, row, k, NO_WEIGHT)
    const b = weightAt(bias, row, k, NO_BIAS)
    if (wide[k]) y[y0 + k] = (v - mean[k]) * rstd[k] * w + b
    else y[y0 + k] = f32(f32(f32(f32(v - m[k]) * r[k]) + c[k]) * w) + b
  }
}
