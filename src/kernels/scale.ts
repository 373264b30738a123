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
