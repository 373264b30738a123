// The one shape of error messages: `op: what expected X, got Y`.
import { typedArrayKind } from '../kernels/arrays.js'

/** A wrong kind of value. */
export function wrongType(op: string, what: string, expected: string, got: string): TypeError {
  return new TypeError(`${op}: ${what} expected ${expected}, got ${got}`)
}

/** A value of the right kind that is not allowed. */
export function wrongValue(op: string, what: string, expected: string, got: string): RangeError {
  return new RangeError(`${op}: ${what} expected ${expected}, got ${got}`)
}

const short = (text: string) => (text.length > 40 ? `${text.slice(0, 40)}…` : text)

/** A word that a caller gave, without quotes. */
export const shortened = (value: unknown) => (typeof value === 'string' ? short(value) : describe(value))

/** How a message names a value. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(short(value))
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'bigint') return value < 2n ** 64n && value > -(2n ** 64n) ? `${value}n` : 'a bigint beyond 2^64'
  if (typeof value === 'symbol') return 'a symbol'
  if (typeof value !== 'object' || value === null) return String(value)
  const kind = typedArrayKind(value)
  if (kind !== undefined) return kind
  if (Array.isArray(value)) {
    // Its length is read once: a proxy may say more the second time.
    const { length } = value
    const items: string[] = []
    for (let i = 0; i < length && length <= 8; i++) {
      const item: unknown = value[i]
      if (typeof item === 'object') break
      items.push(describe(item))
    }
    return items.length === length ? `[${items.join(', ')}]` : `an array of ${length}`
  }
  const name = (value as { constructor?: { name?: unknown } }).constructor?.name
  return typeof name === 'string' && name !== '' && name !== 'Object'
    ? `an object of class ${short(name)}`
    : 'an object'
}
