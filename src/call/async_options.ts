// The options of forwardAsync beside those of forward.
import { coversBuffer, isShared } from './arrays.js'
import { describe, wrongType } from './errors.js'
import { checkBoolean } from './options.js'

/** What is used of an AbortSignal: pass one of those. */
export interface Signal {
  /** Whether it has been aborted. */
  readonly aborted: boolean
  /** What the Promise is rejected with. */
  readonly reason?: unknown | undefined
  /** Calls the listener when it is aborted. */
  addEventListener(type: 'abort', listener: () => void): void
  /** Ends that. */
  removeEventListener(type: 'abort', listener: () => void): void
}

/** Options of forwardAsync and backwardAsync beside those of forward and backward. */
export interface AsyncOptions {
  /**
   * Takes over the memory of x (of backwardAsync: of dy and x) instead of copying it. The array is detached at once, and the result
   * has its memory. It must be over all of its ArrayBuffer, and `out` (`dx`) must be absent. Default: false.
   */
  transfer?: boolean | undefined
  /** An AbortSignal. Aborted before the call has begun, it rejects the Promise with its reason; a call that has begun is finished. */
  signal?: Signal | undefined
}

export const asyncOptions = { transfer: true, signal: true } as const

/** Checks the two options; throws the signal's reason where it is aborted already. */
export function checkAsyncOptions(op: string, { transfer = false, signal }: AsyncOptions): void {
  checkBoolean(op, 'transfer', transfer)
  if (signal === undefined) return
  if (typeof signal !== 'object' || signal === null || typeof signal.addEventListener !== 'function') {
    throw wrongType(op, 'signal', 'an AbortSignal', describe(signal))
  }
  if (signal.aborted) throw signal.reason
}

/**
 * With `transfer`: an input is an array whose buffer can be detached and holds nothing else, and the result goes nowhere else.
 */
export function checkTransfer(op: string, x: Float32Array, out: unknown, what = 'x', place = 'out'): void {
  if (out !== undefined) throw wrongType(op, place, 'undefined, because transfer is given', describe(out))
  if (isShared(x)) throw notTransferable(op, 'one over a SharedArrayBuffer', what)
  if (!coversBuffer(x)) throw notTransferable(op, 'one over a part of it', what)
}

export function notTransferable(op: string, got: string, what = 'x'): TypeError {
  return wrongType(op, what, 'an array over all of an ArrayBuffer, because transfer is given', got)
}
