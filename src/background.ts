// Calls that leave the event loop free: what forwardAsync of the layers has in common.
//
// While a thread works, JavaScript may detach, transfer, resize or drop any buffer that it knows. So a thread has memory
// that nobody else knows, which is a copy or was taken over, or memory that nobody can take away: a SharedArrayBuffer's.
import { getNumThreads, type Kernels, starterFor, tables } from './backend.js'
import type { Statistic } from './canonical.js'
import {
  bufferOf,
  checkAttached,
  checkLength,
  coversBuffer,
  describe,
  isShared,
  lengthOf,
  typedArrayKind,
  wrongType
} from './check.js'

/** What is used of an AbortSignal. */
export interface Signal {
  readonly aborted: boolean
  readonly reason?: unknown
  addEventListener(type: 'abort', listener: () => void): void
  removeEventListener(type: 'abort', listener: () => void): void
}

/** Options of forwardAsync beside those of forward. */
export interface AsyncOptions {
  /**
   * Takes the memory of x over instead of copying it: x is detached at once, and the result is over the same memory. x must
   * be an array over all of its ArrayBuffer; `out` must be absent. Default: false.
   */
  transfer?: boolean
  /** Aborting it before the call has begun rejects the Promise with its reason; what has begun is finished. */
  signal?: Signal
}

export const asyncOptions = ['transfer', 'signal']

/** As they were when this was loaded. */
const { setTimeout, setImmediate, structuredClone } = globalThis as unknown as {
  setTimeout(run: () => void): void
  setImmediate: ((run: () => void) => void) | undefined
  structuredClone(value: ArrayBuffer, options: { transfer: ArrayBuffer[] }): ArrayBuffer
}

/** Checks the two options; throws the signal's reason where it is aborted already. */
export function checkAsyncOptions(op: string, { transfer = false, signal }: AsyncOptions): void {
  if (typeof transfer !== 'boolean') throw wrongType(op, 'transfer', 'a boolean', describe(transfer))
  if (signal === undefined) return
  if (typeof signal !== 'object' || signal === null || typeof signal.addEventListener !== 'function') {
    throw wrongType(op, 'signal', 'an AbortSignal', describe(signal))
  }
  if (signal.aborted) throw signal.reason
}

/** With `transfer`: x is an array whose buffer can be detached and holds nothing else, and the result goes nowhere else. */
export function checkTransfer(op: string, what: string, x: Float32Array, out: unknown): void {
  if (out !== undefined) throw wrongType(op, 'out', 'undefined, because transfer is given', describe(out))
  if (isShared(x)) throw notTransferable(op, what, 'one over a SharedArrayBuffer')
  if (!coversBuffer(x)) throw notTransferable(op, what, 'one over a part of it')
}

function notTransferable(op: string, what: string, got: string): TypeError {
  return wrongType(op, what, 'an array over all of an ArrayBuffer, because transfer is given', got)
}

/** A call whose turn has not come. */
interface Waiting {
  readonly signal: Signal | undefined
  readonly begin: () => void
  readonly cancel: (reason: unknown) => void
}

/** In order. */
let waiting: Waiting[] = []
let begun = 0

/**
 * Calls that threads have, or that wait in the pool for one: enough that no thread has to wait for the event loop. Without
 * threads one, so that the loop turns after each.
 */
const most = () => (starterFor('layer_norm') ? 2 * getNumThreads() : 1)

/** Signals that are listened to: one listener each, however many calls have it. */
const heard = new WeakSet<Signal>()

function listen(signal: Signal): void {
  if (heard.has(signal)) return
  heard.add(signal)
  signal.addEventListener('abort', function aborted() {
    signal.removeEventListener('abort', aborted)
    const cancelled = waiting.filter(call => call.signal === signal)
    waiting = waiting.filter(call => call.signal !== signal)
    for (const call of cancelled) call.cancel(signal.reason)
  })
}

/** Comes back when a call may begin; rejects where the signal is aborted before. */
function turn(signal: Signal | undefined): Promise<void> {
  if (begun < most() && waiting.length === 0) {
    begun++
    return Promise.resolve()
  }
  if (signal) listen(signal)
  return new Promise((begin, cancel) => waiting.push({ signal, begin, cancel }))
}

function endTurn(): void {
  begun--
  while (begun < most() && waiting.length > 0) {
    begun++
    waiting.shift()?.begin()
  }
}

/** Layers' weights, which never change, over memory that threads may share. */
const sharedWeights = new WeakMap<Float32Array, Float32Array>()

function sharedCopy(weight: Float32Array): Float32Array {
  const known = sharedWeights.get(weight)
  if (known) return known
  const copy = new Float32Array(new SharedArrayBuffer(4 * lengthOf(weight)))
  copy.set(weight)
  sharedWeights.set(weight, copy)
  return copy
}

/** An array of the same kind and length over other memory. */
function over<A extends Statistic>(array: A, buffer: ArrayBufferLike): A {
  const View = typedArrayKind(array) === 'Float64Array' ? Float64Array : Float32Array
  return new View(buffer as ArrayBuffer) as unknown as A
}

/** The memory that one call has for itself, and where its results go in the end. */
export class CallMemory {
  readonly #op: string
  /** An array as it was given to a thread -> the same memory as it came back. */
  readonly #now = new Map<Statistic, Statistic>()
  readonly #results: { readonly what: string; readonly from: Statistic; readonly to: Statistic; length: number }[] = []

  constructor(op: string) {
    this.#op = op
  }

  /** A copy of x or of another operand, memory of the call's own. Shared memory stays what it is. */
  own(array: Float32Array): Float32Array {
    return isShared(array) ? array : new Float32Array(array)
  }

  /** x taken over, after {@link checkTransfer}: the same memory, now the call's own. `what` is its name. */
  take(what: string, array: Float32Array): Float32Array {
    const buffer = bufferOf(array) as ArrayBuffer
    const taken = new Float32Array(structuredClone(buffer, { transfer: [buffer] }))
    // Node.js copies what it cannot detach.
    if (lengthOf(array) > 0) throw notTransferable(this.#op, what, 'one over memory that cannot be detached')
    return taken
  }

  /** A layer's weight, the layer's own copy. */
  weight(array: Float32Array | undefined): Float32Array | undefined {
    return array && starterFor('layer_norm') ? sharedCopy(array) : array
  }

  /** A place for a result of the caller's: `deliver` copies it there. Shared memory is written to as it is. */
  written<A extends Statistic>(what: string, to: A | undefined, place?: A): A | undefined {
    if (!to || isShared(to)) return to
    const from = place ?? over(to, new ArrayBuffer(to.BYTES_PER_ELEMENT * lengthOf(to)))
    this.#results.push({ what, from, to, length: lengthOf(to) })
    return from
  }

  /** What an array that was given to a thread is now. */
  now<A extends Statistic>(array: A): A {
    return (this.#now.get(array) ?? array) as A
  }

  /** Runs a kernel off the event loop when the call's turn has come. `operands` are the kernel's, in arrays of this call. */
  async run(kernel: keyof Kernels, operands: readonly unknown[], signal?: Signal): Promise<void> {
    const arrays = operands.filter(ArrayBuffer.isView).filter(array => !(array instanceof Int32Array)) as Statistic[]
    const current = operands.map(operand => (ArrayBuffer.isView(operand) ? this.now(operand as Statistic) : operand))
    await turn(signal)
    try {
      const start = starterFor(kernel)
      if (start) {
        const buffers = await start(...current)
        arrays.forEach((array, i) => {
          if (!isShared(array)) this.#now.set(array, over(array, buffers[i]))
        })
      } else {
        // No threads here: a turn of the event loop for each call.
        await new Promise<void>(resolve => (setImmediate ?? setTimeout)(resolve))
        const typescript = tables[tables.length - 1].float32[kernel] as (...operands: readonly unknown[]) => void
        typescript(...current)
      }
    } finally {
      endTurn()
    }
  }

  /** Copies the results to where they belong. Throws before anything is written where a place is gone. */
  deliver(): void {
    for (const { what, to, length } of this.#results) {
      checkAttached(this.#op, what, to)
      checkLength(this.#op, what, to, length, 'its length when it was read')
    }
    for (const { from, to } of this.#results) set.call(to, this.now(from))
  }
}

const set = Object.getPrototypeOf(Float32Array.prototype).set as (this: Statistic, from: Statistic) => void
