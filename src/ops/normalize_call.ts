// What the forward and the backward of normalize share: its constants.
import { describe, wrongType, wrongValue } from '../call/errors.js'
import { checkChoice, checkEps, checkFinite, type Known, readOptions } from '../call/options.js'
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

/** The constants of {@link normalize} and {@link Normalize}. */
export interface NormalizeConstants {
  /** Which norm: a number above 0; Infinity is the largest |x|. Default: 2. */
  p?: number | undefined
  /** Keeps the division from zero, as `rule` says; finite and >= 0. Default: 1e-12. */
  eps?: number | undefined
  /** How eps is used. Those with a square in their name need p = 2. Default: 'clamp'. */
  rule?: NormalizeRule | undefined
  /** Multiplies every result: the learned scale of ScaleNorm (Nguyen & Salazar 2019, arXiv 1910.05895). Default: 1. */
  scale?: number | undefined
}

/** The options of {@link NormalizeConstants}. */
export const normalizeConstants: Known<NormalizeConstants> = { p: true, eps: true, rule: true, scale: true }

/** The numbers of the kernel that are the same for every call. */
export interface NormalizeNumbers {
  readonly p: number
  readonly rule: number
  readonly eps: number
  readonly factor: number
}

/** Reads the constants. */
export function readNormalizeConstants(op: string, given: NormalizeConstants): NormalizeNumbers {
  const { p = 2, eps = 1e-12, rule = 'clamp', scale = 1 } = readOptions(op, given, normalizeConstants)
  if (typeof p !== 'number') throw wrongType(op, 'p', 'a number', describe(p))
  if (!(p > 0 && 1 / p < Number.POSITIVE_INFINITY)) throw wrongValue(op, 'p', 'a number > 0', describe(p))
  checkEps(op, eps)
  checkChoice(op, 'rule', rule, rules, `one of ${rules.join(', ')}`)
  if (p !== 2 && rule.endsWith('square')) throw wrongValue(op, 'p', `2 (rule ${rule})`, String(p))
  checkFinite(op, 'scale', scale)
  checkFinite(op, 'scale as float32', Math.fround(scale))
  return { p, rule: rules.indexOf(rule), eps, factor: scale }
}
