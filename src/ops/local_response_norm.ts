// LocalResponseNorm: the public operation. Its kernel is local_response_norm.
import { type LayoutOption, readVolume, readVolumeCall } from '../call/channels.js'
import type { DtypeOption } from '../call/elements.js'
import { wrongValue } from '../call/errors.js'
import { checkChoice, checkCount, checkFinite, type Known, readOptions } from '../call/options.js'
import { Operands, sharing } from '../call/overlap.js'
import type { Result } from '../call/result.js'
import { runCall } from '../call/run.js'
import type { Operand, TensorLike } from '../call/tensor.js'
import { copyOf } from '../kernels/arrays.js'

/** Options of {@link localResponseNorm}. */
export interface LocalResponseNormOptions extends LayoutOption, DtypeOption {
  /** Factor of the sum of squares divided by size: 0, or from 1e-200 to 1e200. Default: 1e-4. */
  alpha?: number | undefined
  /** Exponent; finite, of either sign. Default: 0.75. */
  beta?: number | undefined
  /** Added to that, finite and >= 0. Default: 1. */
  k?: number | undefined
  /**
   * Where a window of even size stands: with 'pytorch' size / 2 channels before and size / 2 - 1 behind, with 'onnx' the other
   * way round. Odd sizes are centred in both. Default: 'pytorch'.
   */
  window?: 'pytorch' | 'onnx' | undefined
  /** Receives the result: as many elements as x, as a tensor its dims. May be exactly x, at the cost of a copy. Default: new memory. */
  out?: Operand | undefined
}

const known: Known<LocalResponseNormOptions> = {
  alpha: true,
  beta: true,
  k: true,
  window: true,
  layout: true,
  dtype: true,
  out: true
}

/**
 * Local response normalisation (Krizhevsky, Sutskever & Hinton 2012; ONNX LRN):
 * `y = x / (k + alpha / size * (sum of x^2 over the window of neighbouring channels))^beta`. Channels outside the tensor
 * count as 0. float64 inside, rounded once.
 *
 * @param x a tensor [N, C, ...], or [N, ..., C] with layout 'channels-last'
 * @param size number of channels in a window
 * @returns `options.out` where that is a tensor, else a tensor of x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * ```ts
 * import { localResponseNorm } from 'evenkeel'
 *
 * const x = { data: Float32Array.of(2, 0, 2), dims: [1, 3] } // one sample of three channels
 * console.log(localResponseNorm(x, 3, { alpha: 3, beta: 1, k: 4 }).data) // Float32Array(3) [ 0.25, 0, 0.25 ]
 * ```
 */
export function localResponseNorm<X extends TensorLike, Out extends Operand | undefined = undefined>(
  x: X,
  size: number,
  options: LocalResponseNormOptions & { out?: Out } = {}
): Result<X, Out> {
  const op = 'localResponseNorm'
  const { alpha = 1e-4, beta = 0.75, k = 1, window = 'pytorch', layout, dtype, out } = readOptions(op, options, known)
  checkCount(op, 'size', size)
  for (const [what, value] of Object.entries({ alpha, beta, k })) checkFinite(op, what, value)
  if (!(alpha === 0 || (alpha >= 1e-200 && alpha <= 1e200))) {
    throw wrongValue(op, 'alpha', '0 or a number from 1e-200 to 1e200', String(alpha))
  }
  if (k < 0) throw wrongValue(op, 'k', 'a number >= 0', String(k))
  checkChoice(op, 'window', window, ['pytorch', 'onnx'], "'pytorch' or 'onnx'")
  const input = readVolume(op, x, { layout, dtype })
  const { shape } = input
  const call = readVolumeCall(op, input, out, new Operands(op))
  const before = Math.floor(window === 'pytorch' ? size / 2 : (size - 1) / 2)
  // Channels beyond the tensor are none.
  const [left, right] = [Math.min(before, shape.groups), Math.min(size - 1 - before, shape.groups)]
  // The window reads channels that in place would be written already.
  const source = sharing(call.y, call.x) !== 'none' ? copyOf(call.x) : call.x
  const operands = { y: call.y, x: source, shape, before: left, behind: right, alpha: alpha / size, beta, k }
  return runCall('local_response_norm', operands, call) as Result<X, Out>
}
