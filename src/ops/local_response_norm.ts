// LocalResponseNorm: the public operation, and below it the kernel in TypeScript, the twin of native/ops/local_response_norm.h.
import { kernelFor } from '../backend.js'
import { type LayoutOption, readVolume, readVolumeOutput } from '../channels.js'
import { checkFinite, checkOptions, describe, wrongType, wrongValue } from '../check.js'
import { power } from '../power.js'
import type { Operand, TensorLike } from '../tensor.js'

/** Options of {@link localResponseNorm}. */
export interface LocalResponseNormOptions extends LayoutOption {
  /** Factor of the mean of squares. Default: 1e-4. */
  alpha?: number
  /** Exponent. Default: 0.75. */
  beta?: number
  /** Added to alpha times the mean of squares. Default: 1. */
  k?: number
  /**
   * Where a window of even size stands: 'pytorch' takes size / 2 channels before and size / 2 - 1 behind, 'onnx' the other
   * way round. Odd sizes are centred in both. Default: 'pytorch'.
   */
  window?: 'pytorch' | 'onnx'
  /** As many elements as x; receives the result. May be exactly x, at the cost of a copy. Default: new memory. */
  out?: Operand
}

const known = ['alpha', 'beta', 'k', 'window', 'layout', 'out']

/**
 * Local response normalisation (Krizhevsky, Sutskever & Hinton 2012; ONNX LRN):
 * `y = x / (k + alpha / size * (sum of x^2 over the window of neighbouring channels))^beta`. Channels outside the tensor
 * count as 0. float64 inside, rounded once.
 *
 * @param x a tensor [N, C, ...], or [N, ..., C] with layout 'channels-last'
 * @param size number of channels in a window
 * @returns `options.out` where that is a tensor, else a tensor of x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 */
export function localResponseNorm<X extends TensorLike>(x: X, size: number, options: LocalResponseNormOptions = {}): X {
  const op = 'localResponseNorm'
  checkOptions(op, options, known)
  if (typeof size !== 'number') throw wrongType(op, 'size', 'a number', describe(size))
  if (!Number.isSafeInteger(size) || size < 1) throw wrongValue(op, 'size', 'a positive integer', describe(size))
  const { alpha = 1e-4, beta = 0.75, k = 1, window = 'pytorch' } = options
  for (const [what, value] of Object.entries({ alpha, beta, k })) checkFinite(op, what, value)
  if (window !== 'pytorch' && window !== 'onnx') {
    throw (typeof window === 'string' ? wrongValue : wrongType)(op, 'window', "'pytorch' or 'onnx'", describe(window))
  }
  const input = readVolume(op, x, { layout: options.layout })
  const { samples, groups, positions, channelsLast } = input.shape
  const output = readVolumeOutput(op, x, input, options.out, {})
  const before = Math.floor(window === 'pytorch' ? size / 2 : (size - 1) / 2)
  // The window reads channels that in place would be written already. Channels beyond the tensor are none.
  const source = output.y === input.data ? new Float32Array(input.data) : input.data
  const [left, right] = [Math.min(before, groups), Math.min(size - 1 - before, groups)]
  if (!output.empty)
    kernel(output.y, source, samples, groups, 1, positions, channelsLast, left, right, alpha / size, beta, k)
  return output.finish() as X
}

const kernel = kernelFor('local_response_norm', local_response_norm)

/** The kernel: a window from `before` channels before to `behind` channels behind. y is not x. It checks nothing. */
export function local_response_norm(
  y: Float32Array,
  x: Float32Array,
  samples: number,
  groups: number,
  channels: number,
  positions: number,
  channelsLast: boolean,
  before: number,
  behind: number,
  alpha: number,
  beta: number,
  k: number
): void {
  const count = groups * channels
  const [perChannel, perPosition] = channelsLast ? [1, count] : [positions, 1]
  for (let sample = 0; sample < samples; sample++) {
    for (let channel = 0; channel < count; channel++) {
      const first = Math.max(0, channel - before)
      const last = Math.min(count - 1, channel + behind)
      for (let position = 0; position < positions; position++) {
        const base = sample * count * positions + position * perPosition
        let squares = 0
        for (let c = first; c <= last; c++) {
          const v = x[base + c * perChannel]
          squares += v * v
        }
        const at = base + channel * perChannel
        y[at] = x[at] / power(k + alpha * squares, beta)
      }
    }
  }
}
