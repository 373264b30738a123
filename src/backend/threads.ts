// The number of threads, for users.
import { describe, wrongType, wrongValue } from '../call/errors.js'
import { chosen } from './choice.js'
import { native } from './native.js'
import { isThreadCount, MOST_THREADS } from './thread_count.js'

/** Whether calls can run in threads, off the event loop. */
export const hasThreads: boolean = chosen.start !== undefined

/**
 * How many threads work on one large call: at first EVENKEEL_THREADS, or all cores that this process may use. One number for
 * the whole process with its worker_threads. 1 on the TypeScript backend.
 *
 * @returns an integer from 1 to 1024
 */
export function getNumThreads(): number {
  return hasThreads && native.addon ? native.addon.threads() : 1
}

/**
 * Sets how many threads work on one large call. Results do not depend on it. Calls that are not worth a second thread do not
 * use one. The TypeScript backend always has one.
 *
 * @param n an integer from 1 to 1024
 * @throws TypeError for no number, RangeError for another number
 */
export function setNumThreads(n: number): void {
  if (typeof n !== 'number') throw wrongType('setNumThreads', 'n', 'a number', describe(n))
  if (!isThreadCount(n)) {
    throw wrongValue('setNumThreads', 'n', `an integer from 1 to ${MOST_THREADS}`, describe(n))
  }
  native.addon?.threads(n)
}
