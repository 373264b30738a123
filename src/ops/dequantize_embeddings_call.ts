// dequantizeEmbeddings: the numbers that codes stand for. For looking at results and comparing them, so TypeScript alone.
import { bytesOf, codesPerRow, type EmbeddingArray, type Precision, readCodes } from '../call/codes.js'
import { wrongType } from '../call/errors.js'
import { checkCount, type Known, readOptions } from '../call/options.js'
import type { Embeddings } from '../call/result.js'
import { type TensorLike, tensorLike } from '../call/tensor.js'
import { lengthOf } from '../kernels/arrays.js'
import { fromBfloat16, fromFloat16 } from '../kernels/float16.js'
import { codeFormats } from '../kernels/operands.js'
import { SQLITE_VEC_STEP } from '../kernels/quantize_embeddings.js'
import {
  checkRows,
  type Quantization,
  type QuantizeOptions,
  quantizeOptions,
  readQuantization,
  readScales
} from './embeddings_call.js'

/** Options of {@link dequantizeEmbeddings}: those with which the codes were made. */
export interface DequantizeEmbeddingsOptions extends QuantizeOptions {
  /** What the codes are: that of the call which made them. The result is float32 whatever they are. Default: 'float32'. */
  precision?: Precision | undefined
  /** One element per row, what its codes are multiplied by. Needed with `scale: 'row'`. */
  scales?: Float32Array | undefined
}

const known: Known<DequantizeEmbeddingsOptions> = { ...quantizeOptions, scales: true }
const f32 = Math.fround

/**
 * The numbers that codes stand for, as float32: of float16 and bfloat16 exactly; of ranges the middle of a step, at most the
 * dimension's max; of 'unit' q / 127; of 'row' q times the row's scale; of 'sqlite-vec' the middle of a step; of bits 1 and -1.
 *
 * @param x the codes, the result of {@link quantizeEmbeddings} or {@link poolEmbeddings}: an array or a tensor
 * @param dimensions how many numbers a row has
 * @param options those with which the codes were made
 * @returns a Float32Array, or for a tensor a tensor of float32
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value
 * @example
 * ```ts
 * import { dequantizeEmbeddings } from 'evenkeel'
 *
 * console.log(dequantizeEmbeddings(Int8Array.of(127, -127, 0), 3, { precision: 'int8', scale: 'unit' })) // Float32Array(3) [ 1, -1, 0 ]
 * ```
 */
export function dequantizeEmbeddings<X extends EmbeddingArray | TensorLike>(
  x: X,
  dimensions: number,
  options?: DequantizeEmbeddingsOptions
): Embeddings<X, 'float32'>
export function dequantizeEmbeddings(
  x: EmbeddingArray | TensorLike,
  dimensions: number,
  options: DequantizeEmbeddingsOptions = {}
): Float32Array | TensorLike {
  const op = 'dequantizeEmbeddings'
  const given = readOptions(op, options, known)
  checkCount(op, 'dimensions', dimensions)
  const quantization = readQuantization(op, given, dimensions)
  const { precision, format, bytesPerRow } = quantization
  const { data, dims, tensor } = readCodes(op, 'x', x, precision)
  const perRow = codesPerRow(precision, dimensions)
  checkRows(op, dims, lengthOf(data), perRow, precision.endsWith('binary') ? 'ceil(dimensions / 8)' : 'dimensions')
  const bytes = bytesOf(data)
  const rows = bytes.length / bytesPerRow
  const scales = readScales(op, given.scales, quantization, rows)
  if (format === codeFormats.indexOf('int8_row') && !scales) {
    throw wrongType(op, 'scales', "an array, because scale is 'row'", 'undefined')
  }
  const y = new Float32Array(rows * dimensions)
  for (let row = 0; row < rows; row++) {
    const number = numberOf(
      bytes.subarray(row * bytesPerRow, (row + 1) * bytesPerRow),
      quantization,
      scales?.[row] ?? 1
    )
    for (let c = 0; c < dimensions; c++) y[row * dimensions + c] = number(c)
  }
  return dims && tensor ? tensorLike(tensor, 'float32', y, [...dims.slice(0, -1), dimensions]) : y
}

/** What the code of dimension c of a row stands for. */
function numberOf(codes: Uint8Array, { format, low, step, high }: Quantization, scale: number): (c: number) => number {
  const view = new DataView(codes.buffer, codes.byteOffset, codes.byteLength)
  const name = format === undefined ? 'float32' : codeFormats[format]
  if (name === 'float32') return c => view.getFloat32(4 * c, true)
  if (name === 'float16') return c => fromFloat16(view.getUint16(2 * c, true))
  if (name === 'bfloat16') return c => fromBfloat16(view.getUint16(2 * c, true))
  if (name === 'int8_unit') return c => view.getInt8(c) / 127
  if (name === 'int8_row') return c => view.getInt8(c) * scale
  if (name === 'int8_sqlite_vec') return c => (middle(view.getInt8(c)) + 128) * SQLITE_VEC_STEP - 1
  if (name === 'int8_ranges' || name === 'uint8_ranges') {
    const [from, by, to] = [low, step, high] as [Float32Array, Float32Array, Float32Array]
    const flip = name === 'int8_ranges' ? 0x80 : 0
    return c => Math.min(to[c], f32(from[c] + f32(f32((codes[c] ^ flip) + 0.5) * by[c])))
  }
  const flip = name.startsWith('binary') ? 0x80 : 0
  const first = name.endsWith('msb') ? 7 : 0
  return c => (((codes[c >> 3] ^ flip) >> Math.abs(first - (c & 7))) & 1 ? 1 : -1)
}

/** Codes of sqlite-vec were truncated toward 0. */
const middle = (q: number) => q + Math.sign(q) / 2
