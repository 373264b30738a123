// quantizeEmbeddings: embeddings as codes of fewer bits, and dequantizeEmbeddings, back. The kernel is quantize_embeddings.
import { kernelOf } from '../backend/choice.js'
import { bytesOf, codesPerRow, type EmbeddingArray, type Precision, readCodesOutput } from '../call/codes.js'
import type { DtypeOption } from '../call/elements.js'
import { type Known, readOptions } from '../call/options.js'
import { Operands } from '../call/overlap.js'
import type { Embeddings } from '../call/result.js'
import type { Operand, TensorLike } from '../call/tensor.js'
import { asFloat32, copyInto } from '../kernels/arrays.js'
import {
  type QuantizeOptions,
  quantizeOptions,
  readEmbeddings,
  readQuantization,
  readScales,
  resultOf
} from './embeddings_call.js'

/** Options of {@link quantizeEmbeddings}. */
export interface QuantizeEmbeddingsOptions extends QuantizeOptions, DtypeOption {
  /**
   * Receives the codes: the array of the precision, or a tensor of it. Must share no memory with anything else in the call, unless
   * it is exactly that of x. Default: new memory.
   */
  out?: EmbeddingArray | TensorLike | undefined
  /** One element per row; receives what its codes are to be multiplied by. With `scale: 'row'` only. */
  scales?: Float32Array | undefined
}

const known: Known<QuantizeEmbeddingsOptions> = { ...quantizeOptions, dtype: true, out: true, scales: true }

/**
 * Embeddings in another precision, row by row (NUMERICS.md, rule 19; the last stage of {@link poolEmbeddings}).
 *
 * @param x rows of `dimensions` numbers: a Float32Array, or a tensor whose last dim is `dimensions`
 * @param dimensions how many numbers a row has; cuts nothing
 * @returns for an array the array of the precision; for a tensor `options.out` where that is a tensor, else a tensor of x's
 *   class over the memory that was written. A row of 'binary' and 'ubinary' has ceil(dimensions / 8) elements
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * ```ts
 * import { quantizeEmbeddings } from 'evenkeel'
 *
 * const embeddings = Float32Array.of(0.6, -0.8, 1, 0) // two of length 1
 * console.log(quantizeEmbeddings(embeddings, 2, { precision: 'int8', scale: 'unit' })) // Int8Array(4) [ 76, -102, 127, 0 ]
 * console.log(quantizeEmbeddings(embeddings, 2, { precision: 'ubinary' })) // Uint8Array(2) [ 128, 128 ]
 * ```
 */
export function quantizeEmbeddings<
  X extends Operand,
  P extends Precision = 'float32',
  Out extends EmbeddingArray | TensorLike | undefined = undefined
>(
  x: X,
  dimensions: number,
  options?: QuantizeEmbeddingsOptions & { precision?: P | undefined; out?: Out }
): Embeddings<X, P, Out>
export function quantizeEmbeddings(
  x: Operand,
  dimensions: number,
  options: QuantizeEmbeddingsOptions = {}
): EmbeddingArray | TensorLike {
  const op = 'quantizeEmbeddings'
  const given = readOptions(op, options, known)
  const { elements, rows } = readEmbeddings(op, x, dimensions, given.dtype)
  const quantization = readQuantization(op, given, dimensions)
  const { precision, format, bytesPerRow, low, step } = quantization
  const dims = [...(elements.dims?.slice(0, -1) ?? [rows]), codesPerRow(precision, dimensions)]
  const out = readCodesOutput(op, given.out, precision, dims)
  const scales = readScales(op, given.scales, quantization, rows)
  const codes = out ? bytesOf(out.data) : new Uint8Array(rows * bytesPerRow)
  const result = resultOf(elements, out, codes, precision, dims)
  const operands = new Operands(op)
  operands.add('x', elements.data, 'input')
  operands.add('out', out && codes, 'result')
  operands.add('scales', scales, 'statistic')
  operands.check()
  if (format === undefined) copyInto(codes, bytesOf(asFloat32(elements.data)))
  else if (rows > 0) {
    const shape = { outer: rows, size: dimensions, inner: 1 }
    kernelOf('quantize_embeddings')({ codes, scales, x: elements.data, low, step, shape, format })
  }
  return result
}

export { type DequantizeEmbeddingsOptions, dequantizeEmbeddings } from './dequantize_embeddings_call.js'
