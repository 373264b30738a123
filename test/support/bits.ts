// Arrays compared bit by bit.
import { expect } from 'vitest'
import { bits, firstDifference } from '../../dist/esm/cases/data.js'
import type { Statistic } from '../../dist/esm/kernels/operands.js'

type Items = Statistic | Uint8Array | Uint16Array

/** Fails unless two arrays have the same bits (any NaN for any NaN); names the first that differs. */
export function expectSameBits(actual: Items, expected: Items, what: string) {
  const at = firstDifference(actual, expected)
  if (at >= 0) expect.fail(`${what}: [${at}] is ${actual[at]}, expected ${expected[at]}`)
}

/** Bits as a string, to compare many calls with one. */
export const bitString = (array: Statistic) => bits(array).join(' ')
