// What memory the arrays of a call may share.
import { bufferOf, byteLengthOf, byteOffsetOf, lengthOf } from '../kernels/arrays.js'
import type { Role, Statistic } from '../kernels/operands.js'
import { checkAttached, checkLength } from './arrays.js'
import { wrongValue } from './errors.js'

/**
 * Whether two arrays share memory: not at all, all of it (same start, same length), or a part. JavaScript cannot tell that
 * two SharedArrayBuffer objects have the same memory (one came through a message): that overlap is not seen.
 */
export function sharing(a: Statistic, b: Statistic): 'none' | 'all' | 'part' {
  if (bufferOf(a) !== bufferOf(b)) return 'none'
  const [start, size] = [byteOffsetOf(a), byteLengthOf(a)]
  const [otherStart, otherSize] = [byteOffsetOf(b), byteLengthOf(b)]
  if (start === otherStart && size === otherSize) return size > 0 ? 'all' : 'none'
  return start < otherStart + otherSize && otherStart < start + size ? 'part' : 'none'
}

/**
 * Whether two Float32Arrays of one length share a part of their memory, and neither all nor none. Mostly both begin at the
 * same place of their buffers, and then it need not ask for these, which costs more than the rest of a small call.
 */
export function shareAPart(a: Float32Array, b: Float32Array): boolean {
  return byteOffsetOf(a) !== byteOffsetOf(b) && sharing(a, b) === 'part'
}

/** An array of a call, as it was when it was read. */
export interface Used {
  readonly name: string
  readonly array: Statistic
  readonly length: number
  readonly role: Role
}

/** The arrays of a call, in the order in which they are compared. */
export class Operands {
  readonly #op: string
  readonly #used: Used[] = []

  constructor(op: string) {
    this.#op = op
  }

  /** Adds an array, where there is one. */
  add(name: string, array: Statistic | undefined, role: Role): void {
    if (array) this.#used.push({ name, array, length: lengthOf(array), role })
  }

  /**
   * Throws unless every array is still as it was when it was added, and unless what is written shares no memory with
   * anything else. A result may be exactly an input: that is in place. To be called when no code of the caller's runs any
   * more before the kernel.
   */
  check(): void {
    for (const { name, array, length } of this.#used) {
      checkLength(this.#op, name, array, length, 'its length when it was read')
      checkAttached(this.#op, name, array)
    }
    this.#used.forEach((written, i) => {
      const { role } = written
      if (role !== 'result' && role !== 'statistic') return
      this.#used.forEach((other, k) => {
        const isWritten = other.role === 'result' || other.role === 'statistic'
        if (k === i || (isWritten && k > i)) return
        const shared = sharing(written.array, other.array)
        if (shared === 'none') return
        if (role === 'result' && other.role === 'input') {
          if (shared === 'all') return
          throw wrongValue(this.#op, written.name, `exactly the memory of ${other.name}, or none of it`, 'a part')
        }
        throw wrongValue(this.#op, written.name, `no memory shared with ${other.name}`, 'an overlap')
      })
    })
  }
}
