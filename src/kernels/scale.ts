// What groups are normalized with (rules 6 to 8). The twin of native/kernels/scale.h. "Rule n" is a rule of NUMERICS.md.
import { STRIP } from './columns.js'

const LARGE = 2 ** 100 // rule 8
const SMALL = 2 ** -100
const VANISHING = 2 ** -200

const f32 = Math.fround

/** Rule 8: whether float32 steps could overflow or vanish. `square` is what eps was added to. */
export function needsFloat64(mean: number, square: number, rstd: number): boolean {
  return (
    !(rstd > SMALL && rstd < LARGE && mean >= -LARGE && mean <= LARGE) ||
    (square > 0 && square * rstd * rstd < VANISHING)
  )
}

/** Rule 8b: the same for a group whose statistics are those of a part of it; `largest` is the largest |x| of all. */
export function needsFloat64Partial(largest: number, rstd: number): boolean {
  const scaled = largest * rstd
  return !(rstd > SMALL && rstd < LARGE && (largest === 0 || (scaled > SMALL && scaled < LARGE)))
}

/** What a group is normalized with: rules 6 to 8. */
export interface Scale {
  readonly mean: number
  readonly rstd: number
  readonly needsFloat64: boolean
  /** The mean as a high and a low part, and the scale, in float32. */
  readonly m: number
  readonly r: number
  readonly c: number
}

/** Rules 6 to 8 for a group whose statistics are known. Operations without a mean give 0 for it. */
export function scaleOf(mean: number, square: number, rstd: number): Scale {
  const m = f32(mean)
  return { mean, rstd, needsFloat64: needsFloat64(mean, square, rstd), m, r: f32(rstd), c: f32((m - mean) * rstd) }
}

/** The scales of a strip's columns, as arrays of STRIP; m, r and c are numbers of float32, as doubles. */
export interface ColumnScales {
  readonly mean: Float64Array
  readonly rstd: Float64Array
  readonly m: Float64Array
  readonly r: Float64Array
  readonly c: Float64Array
  readonly needsFloat64: Uint8Array
}

export function makeColumnScales(): ColumnScales {
  const numbers = () => new Float64Array(STRIP)
  return {
    mean: numbers(),
    rstd: numbers(),
    m: numbers(),
    r: numbers(),
    c: numbers(),
    needsFloat64: new Uint8Array(STRIP)
  }
}

/** Rules 6 to 8 for column k of a strip. */
export function setColumnScale(scales: ColumnScales, k: number, mean: number, square: number, rstd: number): void {
  const m = f32(mean)
  scales.mean[k] = mean
  scales.rstd[k] = rstd
  scales.m[k] = m
  scales.r[k] = f32(rstd)
  scales.c[k] = f32((m - mean) * rstd)
  scales.needsFloat64[k] = needsFloat64(mean, square, rstd) ? 1 : 0
}

/** The same for an operation that subtracts no mean, where the steps of one that does are taken: they change no bit. */
export function setColumnScaleWithoutMean(scales: ColumnScales, k: number, square: number, rstd: number): void {
  setColumnScale(scales, k, 0, square, rstd)
  scales.c[k] = -0
}

/** What a channel is normalized with where weight and bias belong to channels: rules 7a and 8a. */
export interface ChannelScale {
  readonly mean: number
  /** rstd * weight. */
  readonly s: number
  readonly bias: number
  readonly needsFloat64: boolean
  /** y = (x - m) * f + c, numbers of float32. */
  readonly m: number
  readonly f: number
  readonly c: number
}

/** What stands in for an absent weight or bias: multiplying by one and adding the other change no bit. */
export const NO_WEIGHT = 1
export const NO_BIAS = -0

/** Rules 7a and 8a for a channel; an absent weight is NO_WEIGHT, an absent bias NO_BIAS. */
export function channelScale(mean: number, rstd: number, weight: number, bias: number): ChannelScale {
  const s = rstd * weight
  const m = f32(mean)
  const low = (m - mean) * s
  return { mean, s, bias, needsFloat64: !isInRange(mean, low, s), m, f: f32(s), c: f32(low + bias) }
}

/** Rule 8a: whether three steps of float32 can neither overflow nor vanish. */
function isInRange(mean: number, low: number, s: number): boolean {
  const magnitude = Math.abs(s)
  return Math.abs(mean) <= LARGE && Math.abs(low) <= LARGE && (s === 0 || (magnitude > SMALL && magnitude < LARGE))
}

/** The same of a strip's columns, as arrays of STRIP; m, f and c are numbers of float32, as doubles. */
export interface ChannelScales {
  readonly mean: Float64Array
  readonly s: Float64Array
  readonly bias: Float64Array
  readonly m: Float64Array
  readonly f: Float64Array
  readonly c: Float64Array
  readonly needsFloat64: Uint8Array
}

export function makeChannelScales(): ChannelScales {
  const numbers = () => new Float64Array(STRIP)
  const needsFloat64 = new Uint8Array(STRIP)
  return { mean: numbers(), s: numbers(), bias: numbers(), m: numbers(), f: numbers(), c: numbers(), needsFloat64 }
}

/** Rules 7a and 8a for column k of a strip. */
export function setChannelScale(
  scales: ChannelScales,
  k: number,
  mean: number,
  rstd: number,
  weight: number,
  bias: number
): void {
  const s = rstd * weight
  const m = f32(mean)
  const low = (m - mean) * s
  scales.mean[k] = mean
  scales.s[k] = s
  scales.bias[k] = bias
  scales.m[k] = m
  scales.f[k] = f32(s)
  scales.c[k] = f32(low + bias)
  scales.needsFloat64[k] = isInRange(mean, low, s) ? 0 : 1
}
