// The memory of a call that runs off the event loop.
//
// While a thread works, JavaScript may detach, transfer, resize or drop any buffer that it knows. So a thread has memory
// that nothing else knows, which is a copy or was taken over, or memory that cannot be taken away: a SharedArrayBuffer's.

import { chosen } from '../backend/choice.js'
import { arraysOf } from '../backend/flatten.js'
import { native } from '../backend/native.js'
import { hasThreads } from '../backend/threads.js'
import {
  asFloat32,
  bufferOf,
  byteLengthOf,
  copyInto,
  elementTypeOf,
  isFloat64,
  lengthOf,
  newElements,
  storageOf,
  storageOfType,
  storedOver,
  typedArrayKind
} from '../kernels/arrays.js'
import { bytesOfType, type ElementType } from '../kernels/elements.js'
import { type Call, kernels, type Op } from '../kernels/index.js'
import type { Statistic } from '../kernels/operands.js'
import { checkAttached, checkLength, isShared } from './arrays.js'
import { notTransferable, type Signal } from './async_options.js'
import { endTurn, takeTurn } from './queue.js'
import { type RowLayout, scatterRows } from './views.js'

/** As they were when this was loaded. */
const { setTimeout, setImmediate, structuredClone } = globalThis as unknown as {
  setTimeout(run: () => void): void
  setImmediate: ((run: () => void) => void) | undefined
  structuredClone(value: ArrayBuffer, options: { transfer: ArrayBuffer[] }): ArrayBuffer
}

type Memory = Statistic | Uint8Array

/** An array of the same kind over all of other memory. */
function over(array: Memory, buffer: ArrayBufferLike): Memory {
  if (isFloat64(array)) return new Float64Array(buffer as ArrayBuffer)
  if (typedArrayKind(array) === 'Uint8Array') return new Uint8Array(buffer as ArrayBuffer)
  return storedOver(storageOf(array), buffer, 0, buffer.byteLength / bytesOfType(elementTypeOf(array)))
}

/** New memory of the same kind, for as many elements. */
function newOf(array: Memory): Memory {
  return over(array, new ArrayBuffer(byteLengthOf(array)))
}

/** A copy of a layer's parameter as float32, in memory that threads may share. */
export function copyParameter<A extends Float32Array | undefined>(array: A): A | Float32Array {
  if (!array) return array
  const n = lengthOf(array)
  const copy = new Float32Array((hasThreads ? new SharedArrayBuffer(4 * n) : new ArrayBuffer(4 * n)) as ArrayBuffer)
  copyInto(copy, asFloat32(array))
  return copy
}

/**
 * Memory for a result whose every element a kernel writes before it is shown. To clear 16 MiB first would hold the event loop
 * for a millisecond (measured).
 */
export function resultMemory(length: number, type: ElementType = 'float32'): Float32Array {
  const buffer = hasThreads && length >= 2 ** 16 ? native.allocate?.(bytesOfType(type) * length) : undefined
  return buffer ? storedOver(storageOfType(type), buffer, 0, length) : newElements(type, length)
}

/** The memory that one call has for itself, and where its results go in the end. */
export class CallMemory {
  readonly #op: string
  readonly #results: { what: string; from: Memory; to: Memory; length: number; rows?: RowLayout }[] = []

  constructor(op: string) {
    this.#op = op
  }

  /** A copy of an input, memory of the call's own. Shared memory stays what it is. */
  own<A extends Statistic | undefined>(array: A): A {
    if (!array || isShared(array)) return array
    const copy = newOf(array)
    copyInto(copy, array)
    return copy as unknown as A
  }

  /** x taken over: the same memory, now the call's own. */
  take(x: Float32Array): Float32Array {
    const buffer = bufferOf(x) as ArrayBuffer
    const taken = over(x, structuredClone(buffer, { transfer: [buffer] })) as Float32Array
    // Node.js copies what it cannot detach.
    if (lengthOf(x) > 0 || isShared(taken)) throw notTransferable(this.#op, 'one over memory that cannot be detached')
    return taken
  }

  /** A place for a result of the caller's: `deliver` copies it there. Shared memory is written to as it is. */
  place<A extends Memory | undefined>(what: string, to: A, at?: A): A {
    if (!to || isShared(to)) return to
    const length = lengthOf(to)
    const from = at ?? newOf(to)
    this.#results.push({ what, from, to, length })
    return from as A
  }

  /** The same for the rows of a view, which stand one behind the other here: `deliver` writes nothing between them. */
  placeRows(what: string, to: Float32Array, rows: RowLayout): Float32Array {
    const from = newElements(
      elementTypeOf(to),
      rows.dims.reduce((count, dim) => count * dim, rows.size)
    )
    this.#results.push({ what, from, to, length: lengthOf(to), rows })
    return from
  }

  /** Runs a kernel off the event loop when the call's turn has come. Returns the same call, with its arrays as they are then. */
  async run<Name extends Op>(op: Name, call: Call<Name>, signal?: Signal): Promise<Call<Name>> {
    await takeTurn(signal)
    try {
      const start = chosen.start?.[op] as ((call: Call<Name>) => Promise<ArrayBufferLike[]>) | undefined
      if (!start) {
        // No threads here: a turn of the event loop for each call.
        await new Promise<void>(resolve => (setImmediate ?? setTimeout)(resolve))
        const kernel = kernels[op] as (call: Call<Name>) => void
        kernel(call)
        return call
      }
      const arrays = arraysOf(op, call)
      const buffers = await start(call)
      const done: { [operand: string]: unknown } = { ...call }
      arrays.forEach(({ name, array }, i) => {
        if (isShared(array)) return
        const now = over(array, buffers[i])
        done[name] = now
        for (const result of this.#results) if (result.from === array) result.from = now
      })
      // Promises ask what they are resolved with for `then`: a getter of Object.prototype would be shown the memory.
      return Object.defineProperty(done, 'then', { value: undefined }) as Call<Name>
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
    for (const { from, to, rows } of this.#results) {
      if (rows) scatterRows(to as Float32Array, from as Float32Array, rows)
      else copyInto(to, from)
    }
  }
}
