// Options and numbers that a caller hands in.
import { typedArrayKind } from '../kernels/arrays.js'
import { gotOptions, unknownOption } from './advice.js'
import { describe, wrongType, wrongValue } from './errors.js'

/** The names of all options of a call: the compiler compares them with its type. */
export type Known<Options> = { readonly [name in keyof Required<Options>]: true }

/**
 * A copy of `options`, each of them read once: a getter may answer otherwise the second time. Throws where there is one
 * that is not known, and names one that is near.
 */
export function readOptions<Options extends object>(op: string, options: Options, known: Known<Options>): Options {
  const isObject = typeof options === 'object' && options !== null
  if (!isObject || Array.isArray(options) || typedArrayKind(options) !== undefined) {
    throw wrongType(op, 'options', 'an object', gotOptions(options, Object.keys(known)))
  }
  for (const key of Object.keys(options)) {
    // One that is undefined says nothing: code for several layers passes such.
    const isKnown = (known as { readonly [key: string]: unknown })[key] === true
    if (!isKnown && (options as { readonly [key: string]: unknown })[key] !== undefined) {
      throw unknown(op, options, key, Object.keys(known))
    }
  }
  const copy: Partial<Options> = {}
  for (const key in known) {
    const value = known[key] === true ? options[key] : undefined // scripts may have put more on Object.prototype
    if (value !== undefined) copy[key] = value
  }
  return copy as Options
}

function unknown(op: string, options: object, key: string, names: readonly string[]): TypeError {
  // A weight in the place of options.
  if ('data' in options && 'dims' in options) return wrongType(op, 'options', 'an object', gotOptions(options, names))
  const [nearest, advice] = unknownOption(op, key, names)
  return wrongType(op, 'option', `one of ${names.join(', ')}${nearest}`, describe(key) + advice)
}

/** eps: a finite number >= 0. */
export function checkEps(op: string, eps: unknown): number {
  checkFinite(op, 'eps', eps)
  if (eps < 0) throw wrongValue(op, 'eps', 'a finite number >= 0', describe(eps))
  return eps
}

/** A number that is neither NaN nor infinite. */
export function checkFinite(op: string, what: string, value: unknown): asserts value is number {
  if (typeof value !== 'number') throw wrongType(op, what, 'a number', describe(value))
  if (!Number.isFinite(value)) throw wrongValue(op, what, 'a finite number', describe(value))
}

/** A positive integer. */
export function checkCount(op: string, what: string, value: unknown): asserts value is number {
  if (typeof value !== 'number') throw wrongType(op, what, 'a number', describe(value))
  if (!Number.isSafeInteger(value) || value < 1) throw wrongValue(op, what, 'a positive integer', describe(value))
}

/** true or false. */
export function checkBoolean(op: string, what: string, value: unknown): asserts value is boolean {
  if (typeof value !== 'boolean') throw wrongType(op, what, 'a boolean', describe(value))
}

/** One of these words. */
export function checkChoice<Choice extends string>(
  op: string,
  what: string,
  value: unknown,
  choices: readonly Choice[],
  expected: string
): asserts value is Choice {
  if (choices.includes(value as Choice)) return
  throw (typeof value === 'string' ? wrongValue : wrongType)(op, what, expected, describe(value))
}
