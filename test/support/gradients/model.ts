// Rules 21 to 23 of NUMERICS.md read word for word, without a thought for speed and sharing no line with the kernels: what
// the equality tests of the gradients hold every backend against. Calls have the operands of kernels, by the same names.
import type { Groups, Spans, Volume } from '../../../dist/esm/kernels/operands.js'
import {
  columnSum,
  columnsGroup,
  groupsOf,
  inOrder,
  laneSum,
  lots,
  momentsOf,
  rowOrColumn,
  runsGroup,
  upTo
} from '../model.ts'

const f32 = Math.fround

/** Rules 1 to 3. */
const rowSum = (values: readonly number[]) => laneSum(values, value => value)
/** Rules 13 and 14: sums of 64 samples, or of 64 channels, make a part. */
const sumInParts = (sums: readonly number[]) => inOrder(lots(sums, 64).map(inOrder))

/** Rule 15: the real positions of a sample. */
function realPositions(spans: Spans, sample: number, positions: number): number[] {
  if (!spans) return upTo(positions)
  const own: number[] = []
  for (let at = spans[sample]; at < spans[sample + 1]; at += 2) {
    for (let position = spans[at]; position < spans[at + 1]; position++) own.push(position)
  }
  return own
}

// --- Rows ------------------------------------------------------------------------------------------------------------

/** A call over rows, or (which no kernel takes) over columns, which are copied into rows. */
export interface RowGradientCall {
  readonly dy: Float32Array
  readonly x: Float32Array
  readonly dsum?: Float32Array | undefined
  readonly mean?: Float64Array | undefined
  readonly rstd?: Float64Array | undefined
  /** With its offset. */
  readonly weight?: Float32Array | undefined
  readonly shape: Groups
  readonly eps: number
  readonly residualScale?: number
  /** How many elements of a group pRMSNorm takes its statistics from. */
  readonly counted?: number
}

/** The sums over rows in float64. */
export interface RowGradients {
  readonly dx: Float32Array
  readonly dresidual: Float32Array
  readonly dweight: Float64Array
  readonly dbias: Float64Array
}

/** Rule 7: the weight with its offset. */
export const offsetWeight = (weight: Float32Array, offset: number) =>
  offset === 0 ? weight : weight.map(w => f32(w + f32(offset)))

/** Rule 15: which groups are real; in their order. */
function realGroups({ outer, inner, spans }: Groups): Set<number> {
  // Of columns, the samples are the matrices; rows are the positions of one sample.
  if (inner === 1) return new Set(realPositions(spans, 0, outer))
  return new Set(upTo(outer).flatMap(row => realPositions(spans, row, inner).map(column => row * inner + column)))
}

/** What a group gives: dx before dsum, in float64, and its elements' terms of dweight. */
interface GroupGradient {
  readonly dx: readonly number[]
  readonly terms: readonly number[]
}

/** Rules 21 and 22, but for what a group does. */
function backwardOverRows(call: RowGradientCall, backward: (group: number, places: number[]) => GroupGradient) {
  const { dy, x, dsum, shape, residualScale = 1 } = call
  const { outer, size, inner } = shape
  const real = realGroups(shape)
  const dx = new Float32Array(x.length)
  const dresidual = new Float32Array(x.length)
  const weightTerms = upTo(size).map((): number[] => [])
  const biasTerms = upTo(size).map((): number[] => [])
  groupsOf(outer, size, inner).forEach((places, group) => {
    if (!real.has(group)) return
    const of = backward(group, places)
    places.forEach((at, i) => {
      const result = dsum ? of.dx[i] + dsum[at] : of.dx[i]
      dx[at] = f32(result)
      dresidual[at] = f32(result * f32(residualScale))
      weightTerms[i].push(of.terms[i])
      biasTerms[i].push(dy[at])
    })
  })
  return {
    dx,
    dresidual,
    dweight: Float64Array.from(weightTerms, columnSum),
    dbias: Float64Array.from(biasTerms, columnSum)
  }
}

export function layerNormBackwardModel(call: RowGradientCall): RowGradients {
  const { dy, x, shape, weight, eps } = call
  return backwardOverRows(call, (group, places) => {
    const values = places.map(at => x[at])
    const own = momentsOf(rowOrColumn(values, shape.inner))
    const mean = call.mean ? call.mean[group] : own.mean
    const rstd = call.rstd ? call.rstd[group] : 1 / Math.sqrt(own.variance + eps)
    const t = values.map(value => (value - mean) * rstd)
    const g = places.map((at, i) => dy[at] * (weight ? weight[i] : 1))
    const a = rowSum(g) / shape.size
    const b = rowSum(g.map((value, i) => value * t[i])) / shape.size
    return {
      dx: g.map((value, i) => rstd * (value - a - t[i] * b)),
      terms: places.map((at, i) => dy[at] * t[i])
    }
  })
}

export function rmsNormBackwardModel(call: RowGradientCall): RowGradients {
  const { dy, x, shape, weight, eps, counted = shape.size } = call
  return backwardOverRows(call, (group, places) => {
    const values = places.map(at => x[at])
    const power = rowOrColumn(values.slice(0, counted), shape.inner).sumsAbout(0).q / counted
    const rstd = call.rstd ? call.rstd[group] : 1 / Math.sqrt(power + eps)
    const t = values.map(value => value * rstd)
    const g = places.map((at, i) => dy[at] * (weight ? weight[i] : 1))
    const b = rowSum(g.map((value, i) => value * t[i])) / counted
    return {
      dx: g.map((value, i) => (i < counted ? rstd * (value - t[i] * b) : rstd * value)),
      terms: places.map((at, i) => dy[at] * t[i])
    }
  })
}

export interface NormalizeGradientCall extends Pick<RowGradientCall, 'dy' | 'x' | 'shape' | 'eps'> {
  /** Index among clamp, clamp-square, add-square, mean-square, zero. */
  readonly rule: number
  readonly factor: number
}

/** What a group of normalize is divided by: 1 over it, and what B is divided by; undefined where x was not divided by the norm. */
function divisionOf(square: number, n: number, rule: number, eps: number): { rstd: number; share: number | undefined } {
  const norm = Math.sqrt(square)
  if (rule === 0) {
    // Rule 8c: an eps that is subnormal counts as the smallest normal number.
    if (norm < eps) return { rstd: 1 / Math.max(eps, 2 ** -1022), share: undefined }
    return { rstd: 1 / norm, share: 1 }
  }
  if (rule === 1) {
    if (square < eps) return { rstd: 1 / Math.sqrt(eps), share: undefined }
    return { rstd: 1 / Math.sqrt(square), share: 1 }
  }
  if (rule === 2) return { rstd: 1 / Math.sqrt(square + eps), share: 1 }
  if (rule === 3) return { rstd: 1 / Math.sqrt(square / n + eps), share: n }
  return norm === 0 ? { rstd: 0, share: undefined } : { rstd: 1 / norm, share: 1 }
}

/** `dots` are the sums of dy * t of each group, `dscale` their sum over the real ones. */
export function normalizeBackwardModel(call: NormalizeGradientCall) {
  const { dy, x, shape, rule, eps, factor } = call
  const scale = f32(factor)
  const dots = new Float64Array(shape.outer * shape.inner)
  const { dx } = backwardOverRows({ dy, x, shape, eps }, (group, places) => {
    const values = places.map(at => x[at])
    // Rule 22: of the row, of columns as well.
    const square = rowOrColumn(values, 1).sumsAbout(0).q
    const { rstd, share } = divisionOf(square, shape.size, rule, eps)
    const t = values.map(value => value * rstd)
    const terms = places.map((at, i) => dy[at] * t[i])
    dots[group] = rowSum(terms)
    const g = places.map(at => dy[at] * scale)
    if (share === undefined) return { dx: g.map(value => rstd * value), terms }
    const b = share === 1 ? dots[group] * scale : (dots[group] * scale) / share
    return { dx: g.map((value, i) => rstd * (value - t[i] * b)), terms }
  })
  const real = realGroups(shape)
  return { dx, dots, dscale: columnSum([...dots].filter((_, group) => real.has(group))) }
}

// --- Channels --------------------------------------------------------------------------------------------------------

export interface ChannelGradientCall {
  readonly dy: Float32Array
  readonly x: Float32Array
  readonly mean?: Float64Array | undefined
  readonly rstd?: Float64Array | undefined
  readonly weight?: Float32Array | undefined
  readonly shape: Volume
  readonly eps: number
}

/** The sums over channels in float64. */
export interface ChannelGradients {
  readonly dx: Float32Array
  readonly dweight: Float64Array
  readonly dbias: Float64Array
}

/** The places of the real elements of a channel in a sample. */
function placesOf(shape: Volume, n: number, channel: number, real = realPositions(shape.spans, n, shape.positions)) {
  const { groups, channelsPerGroup, positions, channelsLast } = shape
  const count = groups * channelsPerGroup
  return real.map(position =>
    channelsLast ? (n * positions + position) * count + channel : (n * count + channel) * positions + position
  )
}

/** Sums over the batch of a channel: rule 13 of runs, one in each sample, rule 14 of a column. */
const sumOverBatch = (samples: readonly (readonly number[])[], channelsLast: boolean) =>
  channelsLast ? columnSum(samples.flat()) : sumInParts(samples.map(rowSum))

/** The mean and rstd of each channel over the batch, as the forward gives them. */
export function batchMoments(x: Float32Array, shape: Volume, eps: number) {
  const all = upTo(shape.groups).map(channel => {
    const samples = upTo(shape.samples).map(n => placesOf(shape, n, channel).map(at => x[at]))
    return momentsOf(shape.channelsLast ? columnsGroup([samples.flat()]) : runsGroup(samples))
  })
  return {
    mean: Float64Array.from(all, ({ mean }) => mean),
    rstd: Float64Array.from(all, ({ variance }) => 1 / Math.sqrt(variance + eps))
  }
}

/** batchNorm: with the statistics of the batch (`training`) or with others. */
export function batchNormBackwardModel(
  call: ChannelGradientCall & { readonly mean: Float64Array; readonly rstd: Float64Array; readonly training: number }
): ChannelGradients {
  const { dy, x, mean, rstd, weight, shape, training } = call
  const dx = new Float32Array(x.length)
  const sums = upTo(shape.groups).map(channel => {
    const w = weight ? weight[channel] : 1
    const samples = upTo(shape.samples).map(n => placesOf(shape, n, channel))
    const n = inOrder(samples.map(places => places.length))
    const t = (at: number) => (x[at] - mean[channel]) * rstd[channel]
    const D = sumOverBatch(
      samples.map(places => places.map(at => dy[at])),
      shape.channelsLast
    )
    const E = sumOverBatch(
      samples.map(places => places.map(at => dy[at] * t(at))),
      shape.channelsLast
    )
    const a = (w * D) / n
    const b = (w * E) / n
    for (const at of samples.flat()) {
      const g = dy[at] * w
      dx[at] = f32(training ? rstd[channel] * (g - a - t(at) * b) : rstd[channel] * g)
    }
    return { D, E }
  })
  return { dx, dweight: Float64Array.from(sums, ({ E }) => E), dbias: Float64Array.from(sums, ({ D }) => D) }
}

/** groupNorm, and instanceNorm with one channel in a group. */
export function groupNormBackwardModel(call: ChannelGradientCall): ChannelGradients {
  const { dy, x, weight, shape, eps } = call
  const { samples, groups, channelsPerGroup, channelsLast } = shape
  const dx = new Float32Array(x.length)
  const count = groups * channelsPerGroup
  // Of each channel, a row in each sample.
  const [D, E] = [0, 1].map(() => upTo(count).map((): number[] => []))
  const sum = channelsLast ? columnSum : rowSum
  for (const n of upTo(samples)) {
    const real = realPositions(shape.spans, n, shape.positions)
    for (const group of upTo(groups)) {
      const members = upTo(channelsPerGroup).map(k => group * channelsPerGroup + k)
      const columns = members.map(channel => placesOf(shape, n, channel, real))
      const values = columns.map(places => places.map(at => x[at]))
      const own = momentsOf(channelsLast ? columnsGroup(values) : rowOrColumn(values.flat(), 1))
      const mean = call.mean ? call.mean[n * groups + group] : own.mean
      const rstd = call.rstd ? call.rstd[n * groups + group] : 1 / Math.sqrt(own.variance + eps)
      const t = (at: number) => (x[at] - mean) * rstd
      const w = members.map(channel => (weight ? weight[channel] : 1))
      members.forEach((channel, k) => {
        D[channel].push(sum(columns[k].map(at => dy[at])))
        E[channel].push(sum(columns[k].map(at => dy[at] * t(at))))
      })
      const size = inOrder(columns.map(places => places.length))
      const a = sumInParts(members.map((channel, k) => w[k] * D[channel][n])) / size
      const b = sumInParts(members.map((channel, k) => w[k] * E[channel][n])) / size
      columns.forEach((places, k) => {
        for (const at of places) dx[at] = f32(rstd * (dy[at] * w[k] - a - t(at) * b))
      })
    }
  }
  return { dx, dweight: Float64Array.from(E, columnSum), dbias: Float64Array.from(D, columnSum) }
}
