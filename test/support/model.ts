// NUMERICS.md read word for word, without a thought for speed and sharing no line with the kernels: what the equality
// tests hold every backend against, so that a mistake common to all kernels is seen as well.

const f32 = Math.fround

/** Sums of x - center and of its square over a group, in the group's order. */
interface Sums {
  s: number
  q: number
}

/** A group as the rules see it: how many elements, and the sums about a center (0 for the first pass). */
interface Group {
  readonly n: number
  sumsAbout(center: number): Sums
}

/** Numbers added in order, from +0. */
export const inOrder = (numbers: readonly number[]) => numbers.reduce((sum, value) => sum + value, 0)

const addSums = (parts: readonly Sums[]): Sums => ({
  s: inOrder(parts.map(({ s }) => s)),
  q: inOrder(parts.map(({ q }) => q))
})

/** Neighbors in lots of `size`; the last may be shorter. */
export function lots<Item>(items: readonly Item[], size: number): Item[][] {
  const all: Item[][] = []
  for (let at = 0; at < items.length; at += size) all.push(items.slice(at, at + size))
  return all
}

function foldByHalves(lanes: number[]): number {
  for (let half = lanes.length / 2; half >= 1; half /= 2) {
    for (let j = 0; j < half; j++) lanes[j] += lanes[j + half]
  }
  return lanes[0]
}

/** Rules 1 to 3 for one sum. */
export function laneSum(values: ArrayLike<number>, term: (value: number) => number): number {
  let total = 0
  for (let begin = 0; begin < values.length; begin += 4096) {
    const lanes = new Array<number>(16).fill(0)
    for (let i = 0; i < 4096 && begin + i < values.length; i++) lanes[i % 16] += term(values[begin + i])
    total += foldByHalves(lanes)
  }
  return total
}

const rowSums = (values: ArrayLike<number>, center: number): Sums => ({
  s: laneSum(values, value => value - center),
  q: laneSum(values, value => (value - center) * (value - center))
})

/** A row: rules 1 to 3. */
const rowGroup = (values: ArrayLike<number>): Group => ({
  n: values.length,
  sumsAbout: center => rowSums(values, center)
})

/** Rule 13: the runs of a channel, one of each sample, those of 64 samples together. */
export const runsGroup = (runs: readonly (readonly number[])[]): Group => ({
  n: inOrder(runs.map(run => run.length)),
  sumsAbout: center => addSums(lots(runs, 64).map(part => addSums(part.map(run => rowSums(run, center)))))
})

/** Rule 14: a column, in blocks of 64 rows and parts of 64 blocks. */
export const columnSum = (values: readonly number[]) =>
  values.length <= 64
    ? inOrder(values) // one block, which is the only part
    : inOrder(lots(values, 64 * 64).map(part => inOrder(lots(part, 64).map(inOrder))))

function columnSums(values: readonly number[], center: number): Sums {
  const deviations = values.map(value => value - center)
  return { s: columnSum(deviations), q: columnSum(deviations.map(value => value * value)) }
}

/** Rule 14: neighboring columns, those of 64 channels together. */
export const columnsGroup = (columns: readonly (readonly number[])[]): Group => ({
  n: inOrder(columns.map(column => column.length)),
  sumsAbout: center => addSums(lots(columns, 64).map(part => addSums(part.map(column => columnSums(column, center)))))
})

/** Rules 4 and 5. */
export function momentsOf({ n, sumsAbout }: Group): { mean: number; variance: number } {
  const first = sumsAbout(0)
  const mean = first.s / n
  const variance = first.q / n - mean * mean
  const cancelled = first.q !== 0 && !(variance > mean * mean * 2 ** -12)
  if (!cancelled) return { mean, variance }
  return { mean, variance: sumsAbout(mean).q / n }
}

/** Rule 8. */
function isWide(mean: number, power: number, rstd: number): boolean {
  const ordinary = rstd > 2 ** -100 && rstd < 2 ** 100 && Math.abs(mean) <= 2 ** 100
  return !ordinary || (power > 0 && power * rstd * rstd < 2 ** -200)
}

type Affine = (value: number, weight: number | undefined, bias: number | undefined) => number

/** Rules 7 and 8: what happens to each element of a group that has a mean. */
function centeredMap(mean: number, variance: number, rstd: number): Affine {
  if (isWide(mean, variance, rstd)) {
    return (value, weight, bias) => {
      const normalized = (value - mean) * rstd
      const scaled = weight === undefined ? normalized : normalized * weight
      return f32(bias === undefined ? scaled : scaled + bias)
    }
  }
  const m = f32(mean)
  const r = f32(rstd)
  const c = f32((m - mean) * rstd)
  return (value, weight, bias) => {
    const difference = f32(value - m)
    const product = f32(difference * r)
    const normalized = f32(product + c)
    const scaled = weight === undefined ? normalized : f32(normalized * weight)
    return bias === undefined ? scaled : f32(scaled + bias)
  }
}

/** Rules 7a and 8a: the elements of a channel, where weight and bias belong to channels. */
function channelMap(mean: number, rstd: number): Affine {
  return (value, weight, bias) => {
    const s = weight === undefined ? rstd : rstd * weight
    const m = f32(mean)
    const low = (m - mean) * s
    const ordinary = Math.abs(mean) <= 2 ** 100 && Math.abs(low) <= 2 ** 100
    const factor = s === 0 || (Math.abs(s) > 2 ** -100 && Math.abs(s) < 2 ** 100)
    if (!ordinary || !factor) {
      const scaled = (value - mean) * s
      return f32(bias === undefined ? scaled : scaled + bias)
    }
    const c = f32(bias === undefined ? low : low + bias)
    return f32(f32(f32(value - m) * f32(s)) + c)
  }
}

/** Rule 8b: with statistics of a part of the group. */
function isWideOfPart(values: readonly number[], rstd: number): boolean {
  const largest = Math.max(0, ...values.map(Math.abs).filter(value => !Number.isNaN(value)))
  const inside = (value: number) => value > 2 ** -100 && value < 2 ** 100
  return !inside(rstd) || (largest !== 0 && !inside(largest * rstd))
}

/** Rules 7 and 8 for operations that subtract no mean. */
function scalingMap(power: number, rstd: number, wide = isWide(0, power, rstd)): Affine {
  return (value, weight) => {
    const normalized = wide ? value * rstd : f32(value * f32(rstd))
    return f32(weight === undefined ? normalized : normalized * weight)
  }
}

// --- Rows, and columns of matrices -----------------------------------------------------------------------------------

/** A call over `rows` matrices of `cols` x `inner`, each of whose columns is a group; with inner 1 each matrix is. */
export interface RowCall {
  readonly x: Float32Array
  readonly rows: number
  readonly cols: number
  readonly inner?: number
  readonly residual?: Float32Array | undefined
  readonly residualScale?: number
  readonly weight?: Float32Array | undefined
  readonly bias?: Float32Array | undefined
  readonly eps: number
  readonly weightOffset?: number
  readonly counted?: number
}

export interface RowResult {
  readonly y: Float32Array
  readonly sum: Float32Array
  readonly mean: Float64Array
  readonly rstd: Float64Array
}

/** What is normalized: x, or x + residual * residualScale. */
function summed({ x, residual, residualScale = 1 }: RowCall): Float32Array {
  return residual ? x.map((value, i) => f32(value + f32(residual[i] * f32(residualScale)))) : x
}

/** The places of the elements of each group. */
export function groupsOf(rows: number, cols: number, inner: number): number[][] {
  return Array.from({ length: rows * inner }, (_, group) => {
    const [row, column] = [Math.floor(group / inner), group % inner]
    return Array.from({ length: cols }, (_, i) => (row * cols + i) * inner + column)
  })
}

/** Elements of a matrix of one column are a row; of several, columns (rule 14). */
export const rowOrColumn = (values: number[], inner: number) =>
  inner === 1 ? rowGroup(values) : columnsGroup([values])

function overRows(
  call: RowCall,
  normalizer: (values: number[], inner: number) => { map: Affine; mean: number; rstd: number }
) {
  const { rows, cols, inner = 1, weight, bias, weightOffset = 0 } = call
  const offset = f32(weightOffset)
  const sum = summed(call)
  const y = new Float32Array(sum.length)
  const mean = new Float64Array(rows * inner)
  const rstd = new Float64Array(rows * inner)
  groupsOf(rows, cols, inner).forEach((places, group) => {
    const of = normalizer(
      places.map(at => sum[at]),
      inner
    )
    mean[group] = of.mean
    rstd[group] = of.rstd
    places.forEach((at, i) => {
      const w = weight && (offset === 0 ? weight[i] : f32(weight[i] + offset))
      y[at] = of.map(sum[at], w, bias?.[i])
    })
  })
  return { y, sum, mean, rstd }
}

export function layerNormModel(call: RowCall): RowResult {
  return overRows({ ...call, weightOffset: 0 }, (values, inner) => {
    const { mean, variance } = momentsOf(rowOrColumn(values, inner))
    const rstd = 1 / Math.sqrt(variance + call.eps)
    return { map: centeredMap(mean, variance, rstd), mean, rstd }
  })
}

export function rmsNormModel(call: RowCall): RowResult {
  const { counted = call.cols } = call
  return overRows(call, (values, inner) => {
    const power = rowOrColumn(values.slice(0, counted), inner).sumsAbout(0).q / counted
    const rstd = 1 / Math.sqrt(power + call.eps)
    const wide = counted < call.cols ? isWideOfPart(values, rstd) : undefined
    return { map: scalingMap(power, rstd, wide), mean: 0, rstd }
  })
}

export interface NormalizeCall {
  readonly x: Float32Array
  readonly rows: number
  readonly cols: number
  readonly inner?: number
  readonly p: number
  /** Index among clamp, clamp-square, add-square, mean-square, zero. */
  readonly rule: number
  readonly eps: number
  readonly factor: number
}

/** Rule 16: the norms that are no root of squares. */
function normOf(values: readonly number[], p: number): number {
  const magnitudes = values.map(Math.abs)
  if (p === 1) return laneSum(magnitudes, value => value)
  const largest = magnitudes.some(Number.isNaN) ? Number.NaN : Math.max(...magnitudes)
  if (p === Number.POSITIVE_INFINITY || largest === 0 || !Number.isFinite(largest)) return largest
  const sum = laneSum(magnitudes, value => powerModel(value / largest, p))
  return largest * powerModel(sum, 1 / p)
}

export function normalizeModel({ x, rows, cols, inner = 1, p, rule, eps, factor }: NormalizeCall) {
  const y = new Float32Array(x.length)
  const norm = new Float64Array(rows * inner)
  groupsOf(rows, cols, inner).forEach((places, group) => {
    const values = places.map(at => x[at])
    const square = rowOrColumn(values, inner).sumsAbout(0).q
    const length = p === 2 ? Math.sqrt(square) : normOf(values, p)
    const atLeast = (value: number) => (value < eps ? eps : value)
    // Rule 8c: an eps that is subnormal counts as the smallest normal number.
    const smallest = eps > 0 && eps < 2 ** -1022 ? 2 ** -1022 : eps
    const reciprocal = [
      () => 1 / (length < eps ? smallest : length),
      () => 1 / Math.sqrt(atLeast(square)),
      () => 1 / Math.sqrt(square + eps),
      () => 1 / Math.sqrt(square / cols + eps),
      () => (length === 0 ? 0 : 1 / length)
    ][rule]()
    // Rule 8c: for p < 1 the norm says nothing about the elements.
    const magnitude = p < 1 ? Math.max(...values.map(Math.abs)) : length
    const map = scalingMap(magnitude * magnitude, reciprocal)
    for (const at of places) y[at] = map(x[at], f32(factor), undefined)
    norm[group] = length
  })
  return { y, norm }
}

// --- Channels --------------------------------------------------------------------------------------------------------

/** A call over samples of groups * channels channels at some positions. */
export interface VolumeCall {
  readonly x: Float32Array
  readonly samples: number
  readonly groups: number
  readonly channels: number
  readonly positions: number
  readonly channelsLast: boolean
  /** First and end of the real positions of each sample. */
  readonly spans: Int32Array | undefined
  readonly weight: Float32Array | undefined
  readonly bias: Float32Array | undefined
  readonly eps: number
}

export const upTo = (n: number) => Array.from({ length: n }, (_, i) => i)

/** Place of an element. */
export function place(
  call: Omit<VolumeCall, 'spans' | 'weight' | 'bias' | 'eps'>,
  n: number,
  channel: number,
  position: number
) {
  const count = call.groups * call.channels
  return call.channelsLast
    ? (n * call.positions + position) * count + channel
    : (n * count + channel) * call.positions + position
}

/** Rule 15: the real positions of a sample. */
function real({ spans, positions }: VolumeCall, n: number): number[] {
  return upTo(positions).filter(p => !spans || (p >= spans[2 * n] && p < spans[2 * n + 1]))
}

/** Writes the real elements of some samples and channels; everything else stays 0. */
function write(call: VolumeCall, y: Float32Array, samples: number[], channels: number[], map: Affine) {
  for (const n of samples) {
    for (const channel of channels) {
      for (const position of real(call, n)) {
        const at = place(call, n, channel, position)
        y[at] = map(call.x[at], call.weight?.[channel], call.bias?.[channel])
      }
    }
  }
}

/** Rules 13 and 14: each channel over the batch. */
export function batchStatisticsModel(call: VolumeCall) {
  const all = upTo(call.groups).map(channel => {
    const runs = upTo(call.samples).map(n => real(call, n).map(p => call.x[place(call, n, channel, p)]))
    return momentsOf(call.channelsLast ? columnsGroup([runs.flat()]) : runsGroup(runs))
  })
  return {
    mean: Float64Array.from(all, ({ mean }) => mean),
    variance: Float64Array.from(all, ({ variance }) => variance)
  }
}

/** Each channel with statistics that are given. */
export function batchNormModel(call: VolumeCall, mean: Float64Array, variance: Float64Array) {
  const y = new Float32Array(call.x.length)
  for (const channel of upTo(call.groups)) {
    const rstd = 1 / Math.sqrt(variance[channel] + call.eps)
    write(call, y, upTo(call.samples), [channel], channelMap(mean[channel], rstd))
  }
  return { y }
}

/** Each group of neighboring channels in each sample. */
export function groupNormModel(call: VolumeCall) {
  const { x, samples, groups, channels, channelsLast, eps } = call
  const y = new Float32Array(x.length)
  const mean = new Float64Array(samples * groups)
  const rstd = new Float64Array(samples * groups)
  for (const n of upTo(samples)) {
    for (const group of upTo(groups)) {
      const members = upTo(channels).map(k => group * channels + k)
      const columns = members.map(channel => real(call, n).map(position => x[place(call, n, channel, position)]))
      // Channels first, a group is one stretch of memory: a row.
      const of = momentsOf(channelsLast ? columnsGroup(columns) : rowGroup(columns.flat()))
      const scale = 1 / Math.sqrt(of.variance + eps)
      mean[n * groups + group] = of.mean
      rstd[n * groups + group] = scale
      // Without positions, channels first, the group is a row whose weights belong to elements.
      const isRow = call.positions === 1 && !channelsLast
      write(call, y, [n], members, isRow ? centeredMap(of.mean, of.variance, scale) : channelMap(of.mean, scale))
    }
  }
  return { y, mean, rstd }
}

export interface LocalResponseCall extends Omit<VolumeCall, 'spans' | 'weight' | 'bias' | 'eps'> {
  readonly before: number
  readonly behind: number
  readonly alpha: number
  readonly beta: number
  readonly k: number
}

export function localResponseNormModel(call: LocalResponseCall) {
  const { x, samples, groups, channels, positions, before, behind, alpha, beta, k } = call
  const y = new Float32Array(x.length)
  for (const n of upTo(samples)) {
    for (const channel of upTo(groups * channels)) {
      const window = upTo(groups * channels).filter(c => c >= channel - before && c <= channel + behind)
      for (const position of upTo(positions)) {
        const values = window.map(c => x[place(call, n, c, position)])
        const squares = inOrder(values.map(value => value * value))
        const at = place(call, n, channel, position)
        const base = k + alpha * squares
        y[at] = x[at] === 0 && base > 0 ? x[at] : x[at] / powerModel(base, beta)
      }
    }
  }
  return { y }
}

// --- Rule 16: powers -------------------------------------------------------------------------------------------------

/** x = mantissa * 2^exponent with a mantissa in (sqrt(1/2), sqrt(2)]. Doubling and halving are exact. */
function split(x: number): { mantissa: number; exponent: number } {
  let [mantissa, exponent] = [x, 0]
  while (mantissa >= 2) [mantissa, exponent] = [mantissa / 2, exponent + 1]
  while (mantissa < 1) [mantissa, exponent] = [mantissa * 2, exponent - 1]
  return mantissa > Math.SQRT2 ? { mantissa: mantissa / 2, exponent: exponent + 1 } : { mantissa, exponent }
}

/** 2 atanh(s) = ln(mantissa), thirteen terms of its series, from the smallest. */
function log2Model(x: number): number {
  const { mantissa, exponent } = split(x)
  const s = (mantissa - 1) / (mantissa + 1)
  const terms = upTo(13).map(i => 1 / (25 - 2 * i))
  const series = terms.reduce((sum, term) => sum * (s * s) + term)
  return exponent + 2 * s * series * Math.LOG2E
}

/** e^z for the fraction, fourteen terms from the smallest, times a power of two in two steps. */
function exp2Model(t: number): number {
  if (t >= 1024) return Number.POSITIVE_INFINITY
  if (t < -1080) return 0
  const whole = Math.floor(t + 0.5)
  const z = (t - whole) * Math.LN2
  const series = upTo(14).reduce((sum, i) => 1 + (sum * z) / (14 - i), 1)
  const half = Math.floor(whole / 2)
  return series * 2 ** half * 2 ** (whole - half)
}

/** x^exponent. */
export function powerModel(x: number, exponent: number): number {
  if (exponent >= 0 && exponent <= 16 && Number.isInteger(exponent * 4)) {
    const whole = Math.floor(exponent)
    let result = 1
    // Squaring from the lowest bit of the exponent up.
    for (let bit = 0, square = x; 2 ** bit <= whole; bit++, square *= square) {
      if (Math.floor(whole / 2 ** bit) % 2 === 1) result *= square
    }
    const fourths = (exponent - whole) * 4
    if (fourths >= 2) result *= Math.sqrt(x)
    if (fourths % 2 === 1) result *= Math.sqrt(Math.sqrt(x))
    return result
  }
  if (Number.isNaN(x) || x < 0) return Number.NaN
  if (x === 0 || x === Number.POSITIVE_INFINITY) return (x === 0) === exponent > 0 ? 0 : Number.POSITIVE_INFINITY
  return exp2Model(exponent * log2Model(x))
}
