// Whose turn it is: calls begin in the order in which they were made, as many at a time as keep the threads busy.
import { getNumThreads, hasThreads } from '../backend/threads.js'
import type { Signal } from './async_options.js'

/** A call whose turn has not come. A node of a list, so that leaving it takes no longer in a long queue. */
interface Waiting {
  readonly begin: () => void
  readonly cancel: (reason: unknown) => void
  previous: Waiting | undefined
  next: Waiting | undefined
}

let first: Waiting | undefined
let last: Waiting | undefined
let begun = 0

/**
 * Calls that threads have, or that wait in the pool for one: enough that no thread has to wait for the event loop. Without
 * threads one, so that the loop turns after each.
 */
const most = () => (hasThreads ? 2 * getNumThreads() : 1)

function enter(call: Waiting): void {
  call.previous = last
  if (last) last.next = call
  else first = call
  last = call
}

function leave(call: Waiting): void {
  if (call.previous) call.previous.next = call.next
  else first = call.next
  if (call.next) call.next.previous = call.previous
  else last = call.previous
}

/** The calls that wait under a signal: one listener each, however many calls have it. */
const waitingUnder = new WeakMap<Signal, Set<Waiting>>()

function listen(signal: Signal): Set<Waiting> {
  const known = waitingUnder.get(signal)
  if (known) return known
  const calls = new Set<Waiting>()
  signal.addEventListener('abort', function aborted() {
    signal.removeEventListener('abort', aborted)
    waitingUnder.delete(signal)
    let reason: unknown
    try {
      reason = signal.reason
    } catch (error) {
      reason = error // of a signal of the caller's own
    }
    for (const call of calls) {
      leave(call)
      call.cancel(reason)
    }
    calls.clear()
  })
  waitingUnder.set(signal, calls)
  return calls
}

/** Resolves when a call may begin; rejects where the signal is aborted before. */
export function takeTurn(signal: Signal | undefined): Promise<void> {
  if (begun < most() && !first) {
    begun++
    return Promise.resolve()
  }
  return new Promise((resolve, cancel) => {
    const calls = signal && listen(signal)
    const call: Waiting = {
      begin() {
        calls?.delete(call)
        resolve()
      },
      cancel,
      previous: undefined,
      next: undefined
    }
    calls?.add(call)
    enter(call)
  })
}

/** Ends a call's turn: the next ones begin. */
export function endTurn(): void {
  begun--
  while (begun < most() && first) {
    const call = first
    leave(call)
    begun++
    call.begin()
  }
}
