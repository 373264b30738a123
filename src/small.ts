// Small calls: operands are copied through memory that the addon owns, because asking Node-API for the address of each
// costs more than copying it. The kernel is called without arguments: they were prepared at the first call of its kind.
import { arena, type Prepare, preparerFor } from './backend.js'
import { isFloat32, lengthOf, sharing } from './check.js'

/** Elements of x up to which copying pays (measured: bench/results/choices.md). */
const SMALL = 4096
/** Where in the arena an operand stands. */
const PLACE = { x: 0, y: SMALL, weight: 2 * SMALL, bias: 3 * SMALL } as const

export type Place = typeof PLACE

/** The options of a layer's small call. */
export const onlyOut = ['out']

const set = Float32Array.prototype.set

/** The numbers beside the arrays that a prepared call is made for; another call prepares anew. */
type Numbers = readonly [size: number, eps: number, other: number, another: number]

/** How an operation prepares its kernel. An array is a place in the arena, or one to be copied now, or undefined. */
export type Preparation = (
  prepare: Prepare,
  place: Place,
  rows: number,
  numbers: Numbers,
  weight: boolean,
  bias: boolean
) => () => void

/** Whether `options` has none but these: then it is worth trying. Anything odd is left to the general call. */
export function hasOnly(options: object, known: readonly string[]): boolean {
  if (typeof options !== 'object' || options === null) return false
  for (const key in options) if (!known.includes(key)) return false
  return true
}

/** What a prepared call is made for: another kind of call needs another one. */
class Kind {
  #n = 0
  #numbers: Numbers = [0, 0, 0, 0]
  #weight = false
  #bias = false

  is(n: number, size: number, eps: number, other: number, another: number, weight: boolean, bias: boolean): boolean {
    const numbers = this.#numbers
    return (
      n === this.#n &&
      size === numbers[0] &&
      eps === numbers[1] &&
      other === numbers[2] &&
      another === numbers[3] &&
      weight === this.#weight &&
      bias === this.#bias
    )
  }

  set(n: number, numbers: Numbers, weight: boolean, bias: boolean): void {
    this.#n = n
    this.#numbers = numbers
    this.#weight = weight
    this.#bias = bias
  }
}

/**
 * The prepared call of an operation or of a layer, of one kind at a time. It is prepared when a kind comes twice running:
 * kinds that take turns would cost more than they save.
 */
export class SmallCalls {
  readonly #prepare: Prepare | undefined
  readonly #preparation: Preparation
  readonly #prepared = new Kind()
  readonly #last = new Kind()
  #run: (() => void) | undefined
  #result: Float32Array | undefined

  constructor(op: Parameters<typeof preparerFor>[0], preparation: Preparation) {
    this.#prepare = arena && preparerFor(op)
    this.#preparation = preparation
  }

  /** Forgets what is prepared: what was copied into it has changed. */
  reset(): void {
    this.#prepared.set(0, [0, 0, 0, 0], false, false)
  }

  /**
   * Makes the call where it is a small one of Float32Arrays, and gives what was written. undefined where it is not, or
   * where anything is wrong: then nothing was written, and the general call finds the words for it.
   */
  call(
    x: unknown,
    out: unknown,
    weight: unknown,
    bias: unknown,
    size: number,
    eps: number,
    other: number,
    another: number
  ): Float32Array | undefined {
    if (!arena || !this.#prepare || !isFloat32(x)) return undefined
    const n = lengthOf(x)
    if (n === 0 || n > SMALL || !(Number.isSafeInteger(size) && size > 0) || n % size !== 0) return undefined
    if (typeof eps !== 'number' || !(eps >= 0 && eps < Number.POSITIVE_INFINITY)) return undefined
    const w = readVector(weight, size)
    const b = readVector(bias, size)
    if (w === null || b === null) return undefined
    if (out !== undefined) {
      if (!isFloat32(out) || lengthOf(out) !== n || (out !== x && sharing(out, x) === 'part')) return undefined
      if ((w && sharing(out, w) !== 'none') || (b && sharing(out, b) !== 'none')) return undefined
    }
    if (!this.#prepared.is(n, size, eps, other, another, w !== undefined, b !== undefined)) {
      const numbers: Numbers = [size, eps, other, another]
      const again = this.#last.is(n, size, eps, other, another, w !== undefined, b !== undefined)
      this.#last.set(n, numbers, w !== undefined, b !== undefined)
      if (!again) return undefined
      this.#run = this.#preparation(this.#prepare, PLACE, n / size, numbers, w !== undefined, b !== undefined)
      this.#result = arena.subarray(PLACE.y, PLACE.y + n)
      this.#prepared.set(n, numbers, w !== undefined, b !== undefined)
    }
    const y = out ?? new Float32Array(n)
    set.call(arena, x, PLACE.x)
    if (w) set.call(arena, w, PLACE.weight)
    if (b) set.call(arena, b, PLACE.bias)
    ;(this.#run as () => void)()
    set.call(y, this.#result as Float32Array)
    return y
  }
}

/** A weight or bias of so many elements, undefined where there is none, null for anything else. */
function readVector(value: unknown, size: number): Float32Array | undefined | null {
  if (value === undefined) return undefined
  return isFloat32(value) && lengthOf(value) === size ? value : null
}
