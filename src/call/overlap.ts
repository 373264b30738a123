// What memory the arrays of a call may share.
import { bufferOf, byteLengthOf, byteOffsetOf, lengthOf } from '../kernels/arrays.js'
import type { Role, Statistic } from '../kernels/operands.js'
import { checkAttached, checkLength } from './arrays.js'
import { wrongValue } from './errors.js'
import { type RowLayout, sharingOfRows } from './views.js'

/**
 * Whether two arrays share memory: not at all, all of it (same start, same length), or a part. JavaScript cannot tell that
 * two SharedArrayBuffer objects have the same memory (one came through a message): that overlap is not seen.
 */
export function sharing(a: Statistic | Uint8Array, b: Statistic | Uint8Array): 'none' | 'all' | 'part' {
  if (a === b) return byteLengthOf(a) > 0 ? 'all' : 'none' // in place, mostly: one question in place of six
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
interface Used {
  readonly name: string
  readonly array: Statistic | Uint8Array
  readonly length: number
  readonly buffer: ArrayBufferLike
  readonly role: Role
  /** Of a view: its rows, the only part that is read or written. */
  readonly rows: RowLayout | undefined
}

const isWritten = ({ role }: Used) => role === 'result' || role === 'statistic'

/** The arrays of a call, in the order in which they are compared. */
export class Operands {
  readonly #op: string
  readonly #used: Used[] = []

  constructor(op: string) {
    this.#op = op
  }

  /** Adds an array, where there is one; `length` is what it had when it was read, `rows` what of it belongs to a view. */
  add(
    name: string,
    array: Statistic | Uint8Array | undefined,
    role: Role,
    length = array ? lengthOf(array) : 0,
    rows?: RowLayout | undefined
  ): void {
    if (array) this.#used.push({ name, array, length, buffer: bufferOf(array), role, rows })
  }

  /**
   * Throws unless every array is still as it was when it was added, and unless what is written shares no memory with
   * anything else. A result may be exactly an input: that is in place. To be called when no code of the caller's runs any
   * more before the kernel.
   */
  check(): void {
    const used = this.#used
    for (let i = 0; i < used.length; i++) {
      const { name, array, length } = used[i]
      if (lengthOf(array) !== length) checkLength(this.#op, name, array, length, 'its length when it was read')
      if (length === 0) checkAttached(this.#op, name, array)
    }
    for (let i = 0; i < used.length; i++) {
      const written = used[i]
      if (!isWritten(written)) continue
      for (let k = 0; k < used.length; k++) {
        const other = used[k]
        if (written.buffer !== other.buffer || k === i || (k > i && isWritten(other))) continue
        this.#compare(written, other)
      }
    }
  }

  /** Of two arrays over the same buffer, the first of which is written. */
  #compare(written: Used, other: Used): void {
    const { rows } = written
    const near = sharing(written.array, other.array)
    const isView = rows !== undefined || other.rows !== undefined
    const shared = near === 'none' || !isView ? near : sharingOfRows(written.array, rows, other.array, other.rows)
    if (shared === 'none') return
    if (written.role === 'result' && other.role === 'input') {
      if (shared === 'all') return
      throw wrongValue(this.#op, written.name, `exactly the memory of ${other.name}, or none of it`, 'a part')
    }
    throw wrongValue(this.#op, written.name, `no memory shared with ${other.name}`, 'an overlap')
  }
}
