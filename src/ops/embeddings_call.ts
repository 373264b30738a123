// What the operations on embeddings read alike: rows of numbers, and what becomes of them.
import { checkFloat32, checkLength, copied } from '../call/arrays.js'
import { copyParameter } from '../call/async_memory.js'
import {
  bytesOfRow,
  type CodesRead,
  codesOver,
  type EmbeddingArray,
  type Precision,
  precisions,
  tensorTypeOf
} from '../call/codes.js'
import { checkDtype, type Dtype } from '../call/elements.js'
import { describe, wrongType, wrongValue } from '../call/errors.js'
import { checkChoice, checkCount, readOptions } from '../call/options.js'
import { type Elements, type Operand, readOperand, readVector, type TensorLike, tensorLike } from '../call/tensor.js'
import { lengthOf } from '../kernels/arrays.js'
import { type CodeFormat, codeFormats } from '../kernels/operands.js'

/**
 * How numbers become int8 or uint8:
 * - `{ ranges: [min, max] }`: 256 steps from min to max, each of an element per dimension, finite, min <= max, such as the
 *   ranges of {@link EmbeddingStatistics}. uint8 is the rule of sentence-transformers, clipped; int8 is that less 128
 * - `'unit'` (int8): x * 127 to the nearest, for embeddings of length 1
 * - `'row'` (int8): x * 127 / the largest |x| of the row, to the nearest; the place `scales` receives the factor back
 * - `'sqlite-vec'` (int8): that of vec_quantize_int8(x, 'unit')
 */
export type CodeScale = 'unit' | 'row' | 'sqlite-vec' | { readonly ranges: readonly [min: Operand, max: Operand] }

/** Which bit of a byte belongs to the first dimension: the highest ('msb') or the lowest ('lsb'). */
export type BitOrder = 'msb' | 'lsb'

/** How embeddings are written. */
export interface QuantizeOptions {
  /** What the elements of a result are. Default: 'float32'. */
  precision?: Precision | undefined
  /** How numbers become int8 or uint8. Needed for these, refused for others. */
  scale?: CodeScale | undefined
  /**
   * Order of the bits of 'binary' and 'ubinary'. 'msb' is that of numpy.packbits, sentence-transformers, pgvector and usearch;
   * sqlite-vec wants 'lsb'. Default: 'msb'.
   */
  bitOrder?: BitOrder | undefined
}

export const quantizeOptions = { precision: true, scale: true, bitOrder: true } as const

/** What was read of them. */
export interface Quantization {
  readonly precision: Precision
  /** Index of a CodeFormat; undefined for float32. */
  readonly format: number | undefined
  readonly bytesPerRow: number
  /** Of ranges: the lowest number and the step of each dimension, and the highest. */
  readonly low: Float32Array | undefined
  readonly step: Float32Array | undefined
  readonly high: Float32Array | undefined
}

const f32 = Math.fround
const scales = ['unit', 'row', 'sqlite-vec'] as const

/** Reads the options of a result of so many dimensions. */
export function readQuantization(op: string, options: QuantizeOptions, dimensions: number): Quantization {
  const { precision = 'float32', scale, bitOrder = 'msb' } = options
  checkChoice(op, 'precision', precision, precisions, `one of ${precisions.join(', ')}`)
  checkChoice(op, 'bitOrder', bitOrder, ['msb', 'lsb'], "'msb' or 'lsb'")
  const integers = precision === 'int8' || precision === 'uint8'
  if (!integers && scale !== undefined) {
    throw wrongType(op, 'scale', `undefined, because precision is ${precision}`, describe(scale))
  }
  const of = (name: CodeFormat, ranges?: Ranges): Quantization => ({
    precision,
    format: codeFormats.indexOf(name),
    bytesPerRow: bytesOfRow(name, dimensions),
    low: ranges?.low,
    step: ranges?.step,
    high: ranges?.high
  })
  if (precision === 'float32') {
    return {
      precision,
      format: undefined,
      bytesPerRow: 4 * dimensions,
      low: undefined,
      step: undefined,
      high: undefined
    }
  }
  if (precision === 'float16' || precision === 'bfloat16') return of(precision)
  if (precision === 'binary' || precision === 'ubinary') return of(`${precision}_${bitOrder}`)
  const choices =
    precision === 'int8' ? "'unit', 'row', 'sqlite-vec' or { ranges: [min, max] }" : '{ ranges: [min, max] }'
  const expected = `${choices}, because precision is ${precision}`
  if (typeof scale === 'object' && scale !== null) {
    return of(`${precision}_ranges`, readRanges(op, scale, dimensions))
  }
  if (typeof scale !== 'string') throw wrongType(op, 'scale', expected, describe(scale))
  if (precision === 'uint8' || !scales.includes(scale)) throw wrongValue(op, 'scale', expected, describe(scale))
  return of(scale === 'unit' ? 'int8_unit' : scale === 'row' ? 'int8_row' : 'int8_sqlite_vec')
}

interface Ranges {
  readonly low: Float32Array
  readonly high: Float32Array
  readonly step: Float32Array
}

/** Copies of the ranges, and the step of each dimension. */
function readRanges(op: string, scale: object, dimensions: number): Ranges {
  const { ranges } = readOptions(op, scale as { ranges: readonly [Operand, Operand] }, { ranges: true })
  const pair = Array.isArray(ranges) ? copied(op, 'scale.ranges', ranges, 2) : []
  if (pair.length !== 2) throw wrongType(op, 'scale.ranges', 'an array [min, max]', describe(ranges))
  const [low, high] = ['min', 'max'].map((what, i) => {
    const values = readVector(op, `scale.ranges[${i}]`, pair[i] as Operand, [dimensions], 'dimensions')
    if (!values) throw wrongType(op, `scale.ranges[${i}]`, `a Float32Array (${what})`, 'undefined')
    return new Float32Array(values)
  })
  const step = new Float32Array(dimensions)
  for (let c = 0; c < dimensions; c++) {
    if (!Number.isFinite(low[c])) throw wrongValue(op, `scale.ranges[0][${c}]`, 'a finite number', String(low[c]))
    if (!Number.isFinite(high[c])) throw wrongValue(op, `scale.ranges[1][${c}]`, 'a finite number', String(high[c]))
    if (low[c] > high[c]) {
      throw wrongValue(op, `scale.ranges[1][${c}]`, `at least ${low[c]} (scale.ranges[0][${c}])`, String(high[c]))
    }
    step[c] = f32(f32(high[c] - low[c]) / 255) || 1
  }
  // Calls off the event loop share them.
  return { low: copyParameter(low), high, step: copyParameter(step) }
}

/** Rows of numbers. */
export interface EmbeddingRows {
  readonly elements: Elements
  readonly rows: number
}

/** Reads rows of so many numbers: an array, or a tensor whose last dim that is. */
export function readEmbeddings(op: string, x: unknown, dimensions: unknown, dtype: Dtype | undefined): EmbeddingRows {
  checkCount(op, 'dimensions', dimensions)
  checkDtype(op, dtype)
  const elements = readOperand(op, 'x', x, dtype)
  const { data, dims } = elements
  checkRows(op, dims, lengthOf(data), dimensions)
  return { elements, rows: lengthOf(data) / dimensions }
}

/** Whole rows of an array, or a tensor whose last dim they are; `why` names what gives their length. */
export function checkRows(
  op: string,
  dims: readonly number[] | undefined,
  length: number,
  perRow: number,
  why = 'dimensions'
): void {
  if (dims && dims.at(-1) !== perRow) throw wrongValue(op, 'x.dims', `[..., ${perRow}] (${why})`, describe(dims))
  if (length % perRow !== 0) throw wrongValue(op, 'x.length', `a multiple of ${perRow} (${why})`, String(length))
}

const rowFormat = codeFormats.indexOf('int8_row')

/** Reads `scales`, one per row, which only the scale 'row' has. */
export function readScales(
  op: string,
  scales: unknown,
  { format }: Quantization,
  rows: number
): Float32Array | undefined {
  if (scales === undefined) return undefined
  if (format !== rowFormat) throw wrongType(op, 'scales', "undefined, because scale is not 'row'", describe(scales))
  checkFloat32(op, 'scales', scales)
  checkLength(op, 'scales', scales, rows, 'rows')
  return scales
}

/** What the caller gets: a tensor where x is one, over the memory that is written. */
export function resultOf(
  x: Elements,
  out: CodesRead | undefined,
  codes: Uint8Array,
  precision: Precision,
  dims: readonly number[]
): EmbeddingArray | TensorLike {
  const data = out?.data ?? codesOver(precision, codes)
  if (!x.dims || !x.tensor) return data
  return out?.tensor ?? tensorLike(x.tensor, tensorTypeOf(precision), data, [...dims])
}
