// How many threads a process may ask for, and how many it has at first.
import type { Native } from './types.js'

export const MOST_THREADS = 1024

export const isThreadCount = (n: unknown) => Number.isInteger(n) && (n as number) >= 1 && (n as number) <= MOST_THREADS

/** Sets the number of threads of the process where it is not set yet: EVENKEEL_THREADS, or all cores that it may use. */
export function setFirstThreadCount({ addon, threads, cores }: Native): void {
  if (threads !== undefined && !isThreadCount(Number(threads))) {
    const expected = `an integer from 1 to ${MOST_THREADS}`
    throw new RangeError(`evenkeel: EVENKEEL_THREADS expected ${expected}, got ${JSON.stringify(threads)}`)
  }
  if (addon?.threads() === 0) addon.threads(threads !== undefined ? Number(threads) : Math.min(cores(), MOST_THREADS))
}
