// Calls that must throw, with the one shape of messages, before anything is written.
import { expect } from 'vitest'
import { type AnyArray, firstOther, patterns } from './embeddings.ts'

/** An error of this kind: a TypeError, a RangeError, or either. */
export type Kind = typeof TypeError | typeof RangeError | typeof Error

/** Fails unless it is such an error, whose message is `op: what expected X, got Y` and has these words in it. */
export function expectRefusal(error: unknown, op: string, kind: Kind, ...words: (string | RegExp)[]) {
  expect(error, `${op} ${words}: no error`).toBeInstanceOf(Error)
  const { name, message } = error as Error
  const kinds = kind === Error ? ['TypeError', 'RangeError'] : [kind.name]
  expect(kinds, message).toContain(name)
  expect(message).toMatch(/^[A-Za-z.]+: .+ expected .+, got .+/s)
  expect(message.slice(0, message.indexOf(':'))).toBe(op)
  for (const word of words) expect(message).toMatch(word)
}

/** Fails unless the call throws so and leaves these arrays as they are. */
export function refuses(
  call: () => unknown,
  arrays: readonly AnyArray[],
  op: string,
  kind: Kind,
  ...words: (string | RegExp)[]
) {
  // Those whose memory is gone cannot be copied.
  const present = arrays.filter(array => array.length > 0)
  const copies = present.map(array => array.slice())
  let error: unknown
  try {
    call()
  } catch (thrown) {
    error = thrown
  }
  expectRefusal(error, op, kind, ...words)
  present.forEach((array, i) => {
    expect(firstOther(patterns(array), patterns(copies[i])), `${words}: an array was written`).toBe(-1)
  })
}

/** Takes the memory of an array away. */
export function detach<Items extends AnyArray>(array: Items): Items {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] })
  return array
}

/** An object whose properties count in `reads` how often they are read; from the second time on they are null. */
export function counting<Given extends object>(given: Given, reads: Map<string, number>, prefix = ''): Given {
  const counted = {}
  for (const [name, value] of Object.entries(given)) {
    const get = () => {
      const n = (reads.get(prefix + name) ?? 0) + 1
      reads.set(prefix + name, n)
      return n === 1 ? value : null
    }
    Object.defineProperty(counted, name, { enumerable: true, get })
  }
  return counted as Given
}
