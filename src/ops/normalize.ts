// normalize: the public operation. Its kernel is normalize.
import { plainKernelOf } from '../backend/choice.js'
import type { Axis } from '../call/axes.js'
import { describe, wrongType, wrongValue } from '../call/errors.js'
import { checkChoice, checkEps, checkFinite, type Known, readOptions } from '../call/options.js'
import { isPlain, quickOutput } from '../call/quick.js'
import { type NormalizedShape, readGroups, readRowCall } from '../call/rows.js'
import { runCall } from '../call/run.js'
import type { Operand, TensorLike } from '../call/tensor.js'
import type { Statistic } from '../kernels/index.js'
import { normalizeRules as rules } from '../kernels/normalize.js'

/**
 * How eps keeps the division from zero. n is the size of a group:
 * - `'clamp'`: x / max(norm, eps), PyTorch's
 * - `'clamp-square'`: x / sqrt(max(sum of squares, eps)), TensorFlow's
 * - `'add-square'`: x / sqrt(sum of squares + eps), Qwen3-Next's
 * - `'mean-square'`: x / sqrt(sum of squares / n + eps), Llama 4's and SGLang's; that of rmsNorm
 * - `'zero'`: x / norm, and 0 where the norm is 0; no eps, ONNX's
 */
export type NormalizeRule = (typeof rules)[number]

/** Options of {@link normalize}. */
export interface NormalizeOptions {
  /** Which norm: > 0, Infinity for the largest magnitude. Default: 2. */
  p?: number
  /** Finite and >= 0; what it does, `rule` says. Default: 1e-12. */
  eps?: number
  /** How eps is used; those with a square need p = 2. Default: 'clamp'. */
  rule?: NormalizeRule
  /** Multiplies every result: the learned scale of ScaleNorm (Nguyen & Salazar 2019, arXiv 1910.05895). Default: 1. */
  scale?: number
  /** One element per group; receives the norm. */
  norm?: Statistic
  /** As many elements as x; receives the result. May be exactly x. Default: new memory. */
  out?: Operand
}

const known: Known<NormalizeOptions> = { p: true, eps: true, rule: true, scale: true, norm: true, out: true }
const plain = plainKernelOf('normalize', { p: 2, rule: 0, factor: 1 })

/**
 * Division by the p-norm (torch.nn.functional.normalize; ONNX LpNormalization): `y = x / max(norm, eps) * scale` for each
 * group of `normalizedShape` elements, with `norm = (sum of |x|^p)^(1/p)`.
 *
 * @param x whole groups: a Float32Array, or a tensor whose last dims are normalizedShape
 * @param normalizedShape the trailing dimensions of a group, e.g. 768; or, for a tensor, `{ axis }`
 * @returns for an array the Float32Array that was written; for a tensor `options.out` where that is a tensor, else a tensor
 *   of x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 */
export function normalize(x: Float32Array, normalizedShape: NormalizedShape, options?: NormalizeOptions): Float32Array
export function normalize<X extends TensorLike>(
  x: X,
  normalizedShape: NormalizedShape | Axis,
  options?: NormalizeOptions
): X
export function normalize(
  x: Operand,
  normalizedShape: NormalizedShape | Axis,
  options: NormalizeOptions = {}
): Operand {
  const op = 'normalize'
  let read = options
  if (typeof normalizedShape === 'number' && isPlain(options) && !('weight' in options || 'bias' in options)) {
    const { eps = 1e-12, out } = options
    const y = quickOutput(x, normalizedShape, undefined, undefined, eps, out)
    if (y) {
      plain(y, x as Float32Array, normalizedShape, undefined, undefined, eps)
      return y
    }
    read = { eps, out }
  }
  const { p = 2, eps = 1e-12, rule = 'clamp', scale = 1, norm, out } = readOptions(op, read, known)
  const groups = readGroups(op, normalizedShape)
  if (typeof p !== 'number') throw wrongType(op, 'p', 'a number', describe(p))
  if (!(p > 0 && 1 / p < Number.POSITIVE_INFINITY)) throw wrongValue(op, 'p', 'a number > 0', describe(p))
  checkEps(op, eps)
  checkChoice(op, 'rule', rule, rules, `one of ${rules.join(', ')}`)
  if (p !== 2 && rule.endsWith('square')) throw wrongValue(op, 'p', `2 (rule ${rule})`, String(p))
  checkFinite(op, 'scale', scale)
  checkFinite(op, 'scale as float32', Math.fround(scale))
  // Sums of other powers than squares are made over rows only.
  const call = readRowCall(op, x, groups, { out, norm }, undefined, undefined, { asRows: p !== 2 })
  const { y, x: data, shape, norm: place } = call
  const operands = { y, norm: place, x: data, shape, p, rule: rules.indexOf(rule), eps, factor: scale }
  return runCall('normalize', operands, call)
}
