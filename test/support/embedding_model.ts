// Embeddings from hidden states, as the specification of poolEmbeddings says it, stage by stage: plain loops, without a
// thought for speed, sharing no line with src/. LayerNorm and normalize are those of model.ts.
import { layerNormModel, normalizeModel } from './model.ts'

const f32 = Math.fround

export type Pooling = 'mean' | 'mean-sqrt' | 'weighted-mean' | 'cls' | 'last' | 'max' | 'none'
export type Precision = 'float32' | 'float16' | 'bfloat16' | 'int8' | 'uint8' | 'binary' | 'ubinary'
export type CodeScale = 'unit' | 'row' | 'sqlite-vec' | { readonly ranges: readonly [Float32Array, Float32Array] }
export type Codes = Float32Array | Uint16Array | Int8Array | Uint8Array

export interface Quantization {
  readonly precision?: Precision
  readonly scale?: CodeScale
  readonly bitOrder?: 'msb' | 'lsb'
}

export interface Padding {
  /** Whether position p of sample n is real. Default: all are. */
  readonly real?: (n: number, p: number) => boolean
  readonly skip?: number | ArrayLike<number>
}

const rules = ['clamp', 'clamp-square', 'add-square', 'mean-square', 'zero']

export interface Stages extends Quantization {
  readonly pooling?: Pooling | readonly Pooling[]
  readonly layerNorm?: boolean | { readonly weight?: Float32Array; readonly bias?: Float32Array; readonly eps?: number }
  readonly dimensions?: number
  readonly normalize?:
    | boolean
    | { readonly p?: number; readonly eps?: number; readonly rule?: string; readonly scale?: number }
}

// --- Stage 1: pooling ------------------------------------------------------------------------------------------------

/** The real positions of a sample in ascending order, without the first ones that are skipped. */
function reals({ real = () => true, skip = 0 }: Padding, n: number, positions: number): number[] {
  const found: number[] = []
  for (let p = 0; p < positions; p++) if (real(n, p)) found.push(p)
  return found.slice(typeof skip === 'number' ? skip : skip[n])
}

/** One channel of one sample: `values` are its real elements in order. */
function poolChannel(pooling: Pooling, values: readonly number[]): number {
  const count = values.length
  if (count === 0) return 0
  let sum = 0
  let weights = 0
  switch (pooling) {
    case 'mean':
      for (const value of values) sum += value
      return f32(sum / count)
    case 'mean-sqrt':
      for (const value of values) sum += value
      return f32(sum / Math.sqrt(count))
    case 'weighted-mean':
      for (let i = 0; i < count; i++) {
        sum += (i + 1) * values[i]
        weights += i + 1
      }
      return f32(sum / weights)
    case 'cls':
      return values[0]
    case 'last':
      return values[count - 1]
    case 'max': {
      let most = values[0]
      for (const value of values) if (value > most || Number.isNaN(value)) most = value
      return most
    }
    case 'none':
      throw new Error('none pools nothing')
  }
}

/** Rows of float32, and how many there are. */
export interface Rows {
  readonly data: Float32Array
  readonly rows: number
}

/** Stage 1. `dims` are [N, L, C], or for 'none' also [N, C]. */
export function poolModel(
  hidden: Float32Array,
  dims: readonly number[],
  { pooling = 'mean', ...padding }: Pick<Stages, 'pooling'> & Padding
): Rows {
  if (pooling === 'none') {
    if (dims.length === 2) return { data: hidden.slice(), rows: dims[0] }
    const [samples, positions, channels] = dims
    const data = new Float32Array(hidden.length)
    for (let n = 0; n < samples; n++) {
      for (const p of reals(padding, n, positions)) {
        for (let c = 0; c < channels; c++) {
          const at = (n * positions + p) * channels + c
          data[at] = hidden[at]
        }
      }
    }
    return { data, rows: samples * positions }
  }
  const kinds = typeof pooling === 'string' ? [pooling] : pooling
  const [samples, positions, channels] = dims
  const data = new Float32Array(samples * kinds.length * channels)
  for (let n = 0; n < samples; n++) {
    const places = reals(padding, n, positions)
    kinds.forEach((kind, k) => {
      for (let c = 0; c < channels; c++) {
        const values = places.map(p => hidden[(n * positions + p) * channels + c])
        data[(n * kinds.length + k) * channels + c] = poolChannel(kind, values)
      }
    })
  }
  return { data, rows: samples }
}

// --- Stage 5: codes --------------------------------------------------------------------------------------------------

/** The nearest integer, of two the even one. */
function roundHalfEven(value: number): number {
  const below = Math.floor(value)
  const rest = value - below
  if (rest !== 0.5) return rest > 0.5 ? below + 1 : below
  return below % 2 === 0 ? below : below + 1
}

const clamp = (value: number, low: number, high: number) => (value < low ? low : value > high ? high : value)

/** How many bits a 16-bit type has for the exponent and for the fraction. */
const formats = { float16: [5, 10], bfloat16: [8, 7] } as const

/** The pattern of the nearest number of a 16-bit type, of two the even one. */
export function toHalf(type: 'float16' | 'bfloat16', value: number): number {
  const [exponentBits, fractionBits] = formats[type]
  const bias = 2 ** (exponentBits - 1) - 1
  const infinity = (2 ** exponentBits - 1) * 2 ** fractionBits
  if (Number.isNaN(value)) return infinity + 2 ** (fractionBits - 1)
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const size = Math.abs(value)
  if (size === Number.POSITIVE_INFINITY) return sign + infinity
  let exponent = Math.max(1 - bias, Math.floor(Math.log2(size)) - 1)
  while (size >= 2 ** (exponent + 1)) exponent++
  const units = roundHalfEven(size / 2 ** (exponent - fractionBits))
  // Below the smallest normal number the units are the pattern; each power of two above it has 2^fractionBits patterns more.
  const pattern = units + (exponent - (1 - bias)) * 2 ** fractionBits
  return sign + Math.min(pattern, infinity)
}

/** The number that a pattern of a 16-bit type stands for. */
export function fromHalf(type: 'float16' | 'bfloat16', pattern: number): number {
  const [exponentBits, fractionBits] = formats[type]
  const bias = 2 ** (exponentBits - 1) - 1
  const sign = pattern >= 0x8000 ? -1 : 1
  const exponent = Math.floor((pattern % 0x8000) / 2 ** fractionBits)
  const fraction = pattern % 2 ** fractionBits
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias - fractionBits)
  return sign * (1 + fraction / 2 ** fractionBits) * 2 ** (exponent - bias)
}

/** The step of a range, 1 where it has none. */
function stepOf(min: number, max: number): number {
  const step = f32(f32(max - min) / 255)
  return step === 0 ? 1 : step
}

/** The largest magnitude that is no NaN, divided by 127; 1 where that is 0. */
function rowScale(row: Float32Array): number {
  let largest = 0
  for (const value of row) if (Math.abs(value) > largest) largest = Math.abs(value)
  const scale = f32(largest / 127)
  return scale === 0 ? 1 : scale
}

function rangeCode(value: number, min: number, max: number): number {
  const quotient = f32(f32(value - min) / stepOf(min, max))
  return Number.isNaN(quotient) ? 0 : clamp(Math.floor(quotient), 0, 255)
}

function unitCode(value: number): number {
  return Number.isNaN(value) ? 0 : clamp(roundHalfEven(f32(value * 127)), -127, 127)
}

function rowCode(value: number, scale: number): number {
  if (Number.isNaN(value)) return 0
  if (Math.abs(value) === Number.POSITIVE_INFINITY) return value > 0 ? 127 : -127
  return clamp(roundHalfEven(f32(value / scale)), -127, 127)
}

function sqliteVecCode(value: number): number {
  if (Number.isNaN(value)) return 0
  return Math.trunc(clamp((value + 1) / f32(2 / 255) - 128, -128, 127))
}

/** How many elements a row of codes has. */
export const codesPerRow = (dimensions: number, precision: Precision = 'float32') =>
  precision === 'binary' || precision === 'ubinary' ? Math.ceil(dimensions / 8) : dimensions

/** Stage 5 of rows of `dimensions`. 16-bit types as patterns. `scales` are those of the scale 'row'. */
export function quantizeModel(
  x: Float32Array,
  dimensions: number,
  { precision = 'float32', scale, bitOrder = 'msb' }: Quantization
): { codes: Codes; scales: Float32Array | undefined } {
  const rows = dimensions === 0 ? 0 : x.length / dimensions
  const each = (code: (value: number, c: number, row: number) => number) =>
    Array.from(x, (value, i) => code(value, i % dimensions, Math.floor(i / dimensions)))
  if (precision === 'float32') return { codes: x.slice(), scales: undefined }
  if (precision === 'float16' || precision === 'bfloat16') {
    return { codes: Uint16Array.from(each(value => toHalf(precision, value))), scales: undefined }
  }
  if (precision === 'binary' || precision === 'ubinary') {
    const bytes = new Uint8Array(rows * codesPerRow(dimensions, precision))
    x.forEach((value, i) => {
      const [row, c] = [Math.floor(i / dimensions), i % dimensions]
      const bit = bitOrder === 'msb' ? 7 - (c % 8) : c % 8
      if (value > 0) bytes[row * codesPerRow(dimensions, precision) + Math.floor(c / 8)] += 2 ** bit
    })
    return { codes: precision === 'ubinary' ? bytes : Int8Array.from(bytes, byte => byte - 128), scales: undefined }
  }
  if (scale === undefined) throw new Error('a scale is missing')
  if (typeof scale === 'object') {
    const [min, max] = scale.ranges
    const codes = each((value, c) => rangeCode(value, min[c], max[c]))
    return {
      codes: precision === 'uint8' ? Uint8Array.from(codes) : Int8Array.from(codes, code => code - 128),
      scales: undefined
    }
  }
  if (scale === 'unit') return { codes: Int8Array.from(each(unitCode)), scales: undefined }
  if (scale === 'sqlite-vec') return { codes: Int8Array.from(each(sqliteVecCode)), scales: undefined }
  const scales = new Float32Array(rows)
  for (let row = 0; row < rows; row++) scales[row] = rowScale(x.slice(row * dimensions, (row + 1) * dimensions))
  return { codes: Int8Array.from(each((value, _, row) => rowCode(value, scales[row]))), scales }
}

/** Codes back to numbers. 16-bit types as patterns. */
export function dequantizeModel(
  codes: Codes,
  dimensions: number,
  { precision = 'float32', scale, bitOrder = 'msb', scales }: Quantization & { readonly scales?: Float32Array }
): Float32Array {
  const perRow = codesPerRow(dimensions, precision)
  const rows = perRow === 0 ? 0 : codes.length / perRow
  const x = new Float32Array(rows * dimensions)
  for (let row = 0; row < rows; row++) {
    for (let c = 0; c < dimensions; c++) {
      const at = row * dimensions + c
      if (precision === 'binary' || precision === 'ubinary') {
        const byte = codes[row * perRow + Math.floor(c / 8)] + (precision === 'binary' ? 128 : 0)
        const bit = bitOrder === 'msb' ? 7 - (c % 8) : c % 8
        x[at] = Math.floor(byte / 2 ** bit) % 2 === 1 ? 1 : -1
        continue
      }
      const q = codes[at]
      if (precision === 'float32') x[at] = q
      else if (precision === 'float16' || precision === 'bfloat16') x[at] = fromHalf(precision, q)
      else if (typeof scale === 'object') {
        const [min, max] = [scale.ranges[0][c], scale.ranges[1][c]]
        const code = precision === 'uint8' ? q : q + 128
        const middle = f32(min + f32(f32(code + 0.5) * stepOf(min, max)))
        x[at] = middle > max ? max : middle
      } else if (scale === 'unit') x[at] = f32(q / 127)
      else if (scale === 'row') x[at] = f32(q * (scales as Float32Array)[row])
      else x[at] = f32((q + 128 + 0.5 * Math.sign(q)) * f32(2 / 255) - 1)
    }
  }
  return x
}

// --- All stages ------------------------------------------------------------------------------------------------------

export interface Embeddings {
  /** 16-bit types as patterns. */
  readonly y: Codes
  readonly dims: number[]
  readonly pooled: Float32Array
  readonly norm: Float64Array
  readonly scales: Float32Array | undefined
}

/** The one call: hidden states [N, L, C], or for pooling 'none' also [N, C]. */
export function embeddingModel(
  hidden: Float32Array,
  dims: readonly number[],
  options: Stages & Padding = {}
): Embeddings {
  const { layerNorm = false, normalize = true } = options
  const { data: pooled, rows } = poolModel(hidden, dims, options)
  const kinds = typeof options.pooling === 'object' ? options.pooling.length : 1
  const channels = dims[dims.length - 1] * kinds
  let x = pooled
  if (layerNorm) {
    const { weight, bias, eps = 1e-5 } = layerNorm === true ? {} : layerNorm
    x = layerNormModel({ x, rows, cols: channels, weight, bias, eps }).y
  }
  const { dimensions = channels } = options
  const cut = new Float32Array(rows * dimensions)
  for (let row = 0; row < rows; row++) {
    for (let c = 0; c < dimensions; c++) cut[row * dimensions + c] = x[row * channels + c]
  }
  const { p = 2, eps = 1e-12, rule = 'clamp', scale = 1 } = typeof normalize === 'object' ? normalize : {}
  const normalized = normalizeModel({
    ...{ x: cut, rows, cols: dimensions, p, rule: rules.indexOf(rule), eps, factor: scale }
  })
  const { codes, scales } = quantizeModel(normalize === false ? cut : normalized.y, dimensions, options)
  const outer = options.pooling === 'none' ? dims.slice(0, -1) : [rows]
  return {
    y: codes,
    dims: [...outer, codesPerRow(dimensions, options.precision)],
    pooled,
    norm: normalized.norm,
    scales
  }
}

// --- Calibration -----------------------------------------------------------------------------------------------------

/** One number per dimension each. */
export interface Statistics {
  readonly count: number[]
  readonly nan: number[]
  readonly min: number[]
  readonly max: number[]
  readonly mean: number[]
  readonly squaredDeviations: number[]
}

export function calibrateModel(x: Float32Array, dimensions: number): Statistics {
  const result: Statistics = { count: [], nan: [], min: [], max: [], mean: [], squaredDeviations: [] }
  for (let c = 0; c < dimensions; c++) {
    const all: number[] = []
    for (let i = c; i < x.length; i += dimensions) all.push(x[i])
    const values = all.filter(value => !Number.isNaN(value))
    let [min, max, sum, squares] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0]
    for (const value of values) {
      if (value < min) min = value
      if (value > max) max = value
      sum += value
    }
    const mean = values.length === 0 ? 0 : sum / values.length
    for (const value of values) squares += (value - mean) * (value - mean)
    result.count.push(values.length)
    result.nan.push(all.length - values.length)
    // A zero counts as +0.
    result.min.push(min + 0)
    result.max.push(max + 0)
    result.mean.push(mean)
    result.squaredDeviations.push(squares)
  }
  return result
}

/** Two parts together: rule 17, for each dimension by itself. */
export function mergeModel(a: Statistics, b: Statistics): Statistics {
  const all = a.count.map((countA, c) => {
    const countB = b.count[c]
    const count = countA + countB
    const delta = b.mean[c] - a.mean[c]
    const between = delta * (delta * ((countA * countB) / count))
    const [mean, squares] =
      countB === 0
        ? [a.mean[c], a.squaredDeviations[c]]
        : countA === 0
          ? [b.mean[c], b.squaredDeviations[c]]
          : [a.mean[c] + delta * (countB / count), a.squaredDeviations[c] + b.squaredDeviations[c] + between]
    return { count, mean, squares, min: Math.min(a.min[c], b.min[c]), max: Math.max(a.max[c], b.max[c]) }
  })
  return {
    count: all.map(({ count }) => count),
    nan: a.nan.map((nan, c) => nan + b.nan[c]),
    min: all.map(({ min }) => min),
    max: all.map(({ max }) => max),
    mean: all.map(({ mean }) => mean),
    squaredDeviations: all.map(({ squares }) => squares)
  }
}
