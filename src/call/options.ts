// Options and numbers that a caller hands in.
import { typedArrayKind } from '../kernels/arrays.js'
import { describe, wrongType, wrongValue } from './errors.js'

/** The names of all options of a call: the compiler compares them with its type. */
export type Known<Options> = { readonly [name in keyof Required<Options>]: true }

/**
 * A copy of `options`, each of them read once: a getter may answer otherwise the second time. Throws where there is one
 * that is not known, and names the nearest.
 */
export function readOptions<Options extends object>(op: string, options: Options, known: Known<Options>): Options {
  const isObject = typeof options === 'object' && options !== null
  if (!isObject || Array.isArray(options) || typedArrayKind(options) !== undefined) {
    throw wrongType(op, 'options', 'an object', describe(options))
  }
  for (const key of Object.keys(options)) {
    // One that is undefined says nothing: code for several layers passes such.
    const isKnown = (known as { readonly [key: string]: unknown })[key] === true
    if (!isKnown && (options as { readonly [key: string]: unknown })[key] !== undefined) {
      const names = Object.keys(known)
      const near = key.length > 40 ? '' : ` (nearest: ${nearest(key, names)})`
      throw wrongType(op, 'option', `one of ${names.join(', ')}${near}`, describe(key))
    }
  }
  const copy: Partial<Options> = {}
  for (const key in known) {
    const value = known[key] === true ? options[key] : undefined // scripts may have put more on Object.prototype
    if (value !== undefined) copy[key] = value
  }
  return copy as Options
}

function nearest(word: string, known: readonly string[]): string {
  const ranked = known.map(candidate => ({ candidate, distance: editDistance(word, candidate) }))
  return ranked.sort((a, b) => a.distance - b.distance)[0].candidate
}

/** Levenshtein's distance, letters compared without case. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1].toLowerCase() === b[j - 1].toLowerCase() ? 0 : 1
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + change)
    }
    row = next
  }
  return row[b.length]
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
