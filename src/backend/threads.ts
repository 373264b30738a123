// The number of threads, for users.
import { describe, wrongType, wrongValue } from '../call/errors.js'
import { chosen } from './choice.js'
import { native } from './native.js'
import { isThreadCount, MOST_THREADS } from './thread_count.js'

/** Whether calls can run in threads, off the event loop. */
export const hasThreads: boolean = chosen.start !== undefined

/**
 * Returns how many threads work on one large call: what {@link setNumThreads} or the environment variable EVENKEEL_THREADS says,
 * else the number of cores that this process may use. One number for the process with all its worker_threads. 1 on the backend 'js'.
 *
 * @returns an integer from 1 to 1024
 * @example
 * ```ts
 * import { getNumThreads } from 'evenkeel'
 *
 * console.log(getNumThreads() >= 1) // true
 * ```
 */
export function getNumThreads(): number {
  return hasThreads && native.addon ? native.addon.threads() : 1
}

/**
 * Sets how many threads work on one large call, for the process with all its worker_threads. `setNumThreads(1)`, or
 * EVENKEEL_THREADS=1 in the environment, turns threads off: each call then computes in the thread that makes it (calls of
 * forwardAsync still in one other). No bit of a result depends on the number. Calls of less than 131,072 elements never use a
 * second thread; the backend 'js' has one.
 *
 * @param n an integer from 1 to 1024
 * @throws TypeError for no number, RangeError for another number
 * @example
 * ```ts
 * import { getNumThreads, setNumThreads } from 'evenkeel'
 *
 * setNumThreads(1) // no threads
 * console.log(getNumThreads()) // 1
 * ```
 */
export function setNumThreads(n: number): void {
  if (typeof n !== 'number') throw wrongType('setNumThreads', 'n', 'a number', describe(n))
  if (!isThreadCount(n)) {
    throw wrongValue('setNumThreads', 'n', `an integer from 1 to ${MOST_THREADS}`, describe(n))
  }
  native.addon?.threads(n)
}
