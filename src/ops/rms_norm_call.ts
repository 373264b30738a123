// What the forward and the backward of RMSNorm share: its constants.
import { describe, wrongType, wrongValue } from '../call/errors.js'
import { checkEps, checkFinite } from '../call/options.js'

/** The numbers among the parameters of RMSNorm. */
export interface RMSNormConstants {
  /** Added to the mean of squares, finite and >= 0. Default: 1e-6. */
  eps?: number | undefined
  /** Added to every weight in float32 before use: 1 for weights of Gemma and Qwen3-Next. Needs a weight. Default: 0. */
  weightOffset?: number | undefined
  /**
   * Fraction of the group, from its first element on, whose mean of squares is taken for that of all: pRMSNorm, with 0.0625 in
   * the paper. Above 0, at most 1; rounded up to whole elements. Default: 1.
   */
  partial?: number | undefined
}

/** Reads the constants. */
export function readRMSNormConstants(op: string, options: RMSNormConstants): Required<RMSNormConstants> {
  const { eps = 1e-6, weightOffset = 0, partial = 1 } = options
  checkEps(op, eps)
  checkFinite(op, 'weightOffset', weightOffset)
  checkFinite(op, 'weightOffset as float32', Math.fround(weightOffset))
  checkFinite(op, 'partial', partial)
  if (partial <= 0 || partial > 1) throw wrongValue(op, 'partial', 'a number > 0 and <= 1', describe(partial))
  return { eps, weightOffset, partial }
}

/** Throws for an offset of nothing. */
export function checkOffsetHasWeight(op: string, offset: number, weight: unknown): void {
  if (offset !== 0 && !weight) throw wrongType(op, 'weight', 'an array, because weightOffset is given', 'undefined')
}

/** How many elements a fraction is: one that floating point puts just above a whole number is that number. */
export const countedOf = (size: number, partial: number) => Math.max(1, Math.ceil(size * partial - 1e-9))
