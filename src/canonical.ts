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
  for (let i = 0; i < n; i++) sum[sum0 + i] = x[x0 + i] + f32(residual[residual0 + i] * scale)
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

/** Rule 13: the sums of one channel over the batch, a run in each sample: channels first. */
export function runSums(x: Float32Array, centre: number, channel: number, spans: Spans, shape: Volume): Sums {
  const { samples, positions } = shape
  const total = { s: 0, q: 0 }
  for (let first = 0; first < samples; first += PART) {
    const part = { s: 0, q: 0 }
    const end = Math.min(first + PART, samples)
    for (let n = first; n < end; n++) {
      const begin = spans ? spans[2 * n] : 0
      const length = (spans ? spans[2 * n + 1] : positions) - begin
      const run = sums(length, centre, x, (n * shape.groups * shape.channels + channel) * positions + begin)
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
 * Rule 14: the sums of n <= STRIP columns of the matrix whose row r begins at x[start + r * stride], less a centre each.
 * With centres 0 the subtraction changes nothing.
 */
function columnSums(
  n: number,
  centre: Float64Array,
  x: Float32Array,
  start: number,
  stride: number,
  rows: RowSet
): typeof total {
  for (const sums of [inBlock, inPart, total]) {
    sums.s.fill(0, 0, n)
    sums.q.fill(0, 0, n)
  }
  let count = 0
  for (let sample = rows.first; sample < rows.first + rows.samples; sample++) {
    const begin = rows.spans ? rows.spans[2 * sample] : 0
    const end = rows.spans ? rows.spans[2 * sample + 1] : rows.positions
    for (let position = begin; position < end; position++) {
      addRow(n, centre, x, start + (sample * rows.positions + position) * stride)
      count++
      if (count % PART === 0) moveColumns(n, inBlock, inPart)
      if (count % (PART * PART) === 0) moveColumns(n, inPart, total)
    }
  }
  moveColumns(n, inBlock, inPart)
  moveColumns(n, inPart, total)
  return total
}

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
  return { mean, variance: sums(n, mean, x, start).q / n }
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
    const { s, q } = columnSums(width, centres.fill(0), x, start + first, stride, rows)
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
  squares.set(columnSums(n, centres.fill(0), x, start, stride, rows).q.subarray(0, n))
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
  const { mean, rstd, m, r, c } = scale
  if (scale.wide) {
    for (let i = 0; i < n; i++) {
      let t = (x[x0 + i] - mean) * rstd
      if (weight) t = t * weight[weight0 + i]
      if (bias) t = t + bias[weight0 + i]
      y[y0 + i] = t
    }
    return
  }
  for (let i = 0; i < n; i++) {
    let t = f32(f32(f32(x[x0 + i] - m) * r) + c)
    if (weight) t = f32(t * weight[weight0 + i])
    if (bias) t = f32(t + bias[weight0 + i])
    y[y0 + i] = t
  }
}

/** Rules 7 and 8 over n elements that share a weight and a bias: a channel. */
export function normaliseRun(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  scale: Scale,
  weight: number | undefined,
  bias: number | undefined
): void {
  const { mean, rstd, m, r, c } = scale
  if (scale.wide) {
    for (let i = 0; i < n; i++) {
      let t = (x[x0 + i] - mean) * rstd
      if (weight !== undefined) t = t * weight
      if (bias !== undefined) t = t + bias
      y[y0 + i] = t
    }
    return
  }
  for (let i = 0; i < n; i++) {
    let t = f32(f32(f32(x[x0 + i] - m) * r) + c)
    if (weight !== undefined) t = f32(t * weight)
    if (bias !== undefined) t = f32(t + bias)
    y[y0 + i] = t
  }
}

/** The scales of a strip's columns, as arrays of STRIP. */
export interface ColumnScales {
  readonly mean: Float64Array
  readonly rstd: Float64Array
  readonly m: Float32Array
  readonly r: Float32Array
  readonly c: Float32Array
  readonly wide: Uint8Array
}

export function makeColumnScales(): ColumnScales {
  const [mean, rstd] = [new Float64Array(STRIP), new Float64Array(STRIP)]
  const [m, r, c] = [new Float32Array(STRIP), new Float32Array(STRIP), new Float32Array(STRIP)]
  return { mean, rstd, m, r, c, wide: new Uint8Array(STRIP) }
}

/** Rules 6 to 8 for column k of a strip. */
export function setColumnScale(scales: ColumnScales, k: number, mean: number, square: number, rstd: number): void {
  const m = f32(mean)
  scales.mean[k] = mean
  scales.rstd[k] = rstd
  scales.m[k] = m
  scales.r[k] = rstd
  scales.c[k] = (m - mean) * rstd
  scales.wide[k] = isWide(mean, square, rstd) ? 1 : 0
}

/** The same for an operation that subtracts no mean, where the steps of one that does are taken: they change no bit. */
export function setColumnScaleWithoutMean(scales: ColumnScales, k: number, square: number, rstd: number): void {
  setColumnScale(scales, k, 0, square, rstd)
  scales.c[k] = -0
}

/** Weights of a matrix: that of row i and column k is data[start + i * perRow + k * perColumn]. */
export interface Weights {
  data: Float32Array
  start: number
  perRow: number
  perColumn: number
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
  rows: RowSet,
  scales: ColumnScales,
  weight: Weights | undefined,
  bias: Weights | undefined
): void {
  const anyWide = scales.wide.subarray(0, n).includes(1)
  for (let sample = rows.first; sample < rows.first + rows.samples; sample++) {
    const begin = rows.spans ? rows.spans[2 * sample] : 0
    const end = rows.spans ? rows.spans[2 * sample + 1] : rows.positions
    for (let position = 0; position < rows.positions; position++) {
      const row = sample * rows.positions + position
      const at = y0 + row * stride
      if (position < begin || position >= end) clear(y, at, n)
      else normaliseMatrixRow(y, at, x, x0 + row * stride, row, n, scales, anyWide, weight, bias)
    }
  }
}

/** t = (x - m) * r + c, a scale for each column. */
function scaleColumns(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  m: Float32Array,
  r: Float32Array,
  c: Float32Array
): void {
  for (let k = 0; k < n; k++) y[y0 + k] = f32(f32(x[x0 + k] - m[k]) * r[k]) + c[k]
}

function multiplyColumns(y: Float32Array, y0: number, n: number, weight: Float32Array, weight0: number): void {
  for (let k = 0; k < n; k++) y[y0 + k] = y[y0 + k] * weight[weight0 + k]
}

function addColumnsTo(y: Float32Array, y0: number, n: number, bias: Float32Array, bias0: number): void {
  for (let k = 0; k < n; k++) y[y0 + k] = y[y0 + k] + bias[bias0 + k]
}

function normaliseMatrixRow(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  row: number,
  n: number,
  scales: ColumnScales,
  anyWide: boolean,
  weight: Weights | undefined,
  bias: Weights | undefined
): void {
  if (!anyWide && weight?.perColumn !== 0 && bias?.perColumn !== 0) {
    // Three short passes, each of which rounds as it stores: one with all operands takes 1.2 times as long (measured).
    scaleColumns(y, y0, x, x0, n, scales.m, scales.r, scales.c)
    if (weight) multiplyColumns(y, y0, n, weight.data, weight.start)
    if (bias) addColumnsTo(y, y0, n, bias.data, bias.start)
    return
  }
  normaliseMixedRow(y, y0, x, x0, row, n, scales, anyWide, weight, bias)
}

/** Where some column is wide or the weights depend on the row. A function of its own: the other is inlined (measured). */
function normaliseMixedRow(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  row: number,
  n: number,
  scales: ColumnScales,
  anyWide: boolean,
  weight: Weights | undefined,
  bias: Weights | undefined
): void {
  const { mean, rstd, m, r, c, wide } = scales
  const w = weight?.data
  const w0 = weight ? weight.start + row * weight.perRow : 0
  const wStep = weight ? weight.perColumn : 0
  const b = bias?.data
  const b0 = bias ? bias.start + row * bias.perRow : 0
  const bStep = bias ? bias.perColumn : 0
  for (let k = 0; k < n; k++) {
    const v = x[x0 + k]
    if (anyWide && wide[k]) {
      let t = (v - mean[k]) * rstd[k]
      if (w) t = t * w[w0 + k * wStep]
      if (b) t = t + b[b0 + k * bStep]
      y[y0 + k] = t
      continue
    }
    let t = f32(f32(f32(v - m[k]) * r[k]) + c[k])
    if (w) t = f32(t * w[w0 + k * wStep])
    if (b) t = f32(t + b[b0 + k * bStep])
    y[y0 + k] = t
  }
}
