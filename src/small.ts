// Small calls: operands are copied through memory that the addon owns, because asking Node-API for the address of each
// costs more than copying it. The kernel is called without arguments: they were prepared at the first call of its kind.
import { arena, type Prepare, preparerFor } from './backend.js'
import { isFloat32, lengthOf, shareAPart, sharing } from './check.js'

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

/** How an operation prepares its kernel: each array is a place in the arena or undefined. */
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
  if (typeof options !== 'object' || options === null || Array.isArray(options)) return false
  for (const key in options) if (!known.includes(key)) return false
  return true
}

/** A call without arguments, and where its result stands. */
interface PreparedCall {
  readonly run: () => void
  readonly result: Float32Array
}

/** More kinds of calls than that are not prepared: they would stay for good. */
const MOST = 256

/** Who copied its weights into the arena last: they need not be copied again. */
let owner: SmallCalls | undefined

/** The prepared calls of an operation: by kind, for all its layers. */
export class Preparations {
  readonly prepare: Prepare | undefined
  readonly #preparation: Preparation
  readonly #calls = new Map<string, PreparedCall>()

  constructor(op: Parameters<typeof preparerFor>[0], preparation: Preparation) {
    this.prepare = arena && preparerFor(op)
    this.#preparation = preparation
  }

  find(n: number, numbers: Numbers, weight: boolean, bias: boolean): PreparedCall | undefined {
    const key = `${n} ${numbers.join(' ')} ${weight} ${bias}`
    const known = this.#calls.get(key)
    if (known || !arena || !this.prepare || this.#calls.size >= MOST) return known
    const run = this.#preparation(this.prepare, PLACE, n / numbers[0], numbers, weight, bias)
    const call = { run, result: arena.subarray(PLACE.y, PLACE.y + n) }
    this.#calls.set(key, call)
    return call
  }
}

/** The small calls of a layer, or of all uses of a function. */
export class SmallCalls {
  readonly #preparations: Preparations
  /** The last call and its kind. */
  #call: PreparedCall | undefined
  #n = 0
  #numbers: Numbers = [0, 0, 0, 0]
  #weight = false
  #bias = false

  constructor(preparations: Preparations) {
    this.#preparations = preparations
  }

  /** A layer's weights have changed: those in the arena are old. */
  reset(): void {
    if (owner === this) owner = undefined
  }

  /**
   * Makes the call where it is a small one of Float32Arrays, and gives what was written. undefined where it is not, or
   * where anything is wrong: then nothing was written, and the general call finds the words for it. `own`: the weights are
   * this layer's, which change only with a `reset`.
   */
  call(
    x: unknown,
    out: unknown,
    weight: unknown,
    bias: unknown,
    own: boolean,
    size: number,
    eps: number,
    other: number,
    another: number
  ): Float32Array | undefined {
    if (!arena || !this.#preparations.prepare || !isFloat32(x)) return undefined
    const n = lengthOf(x)
    if (n === 0 || n > SMALL || !(Number.isSafeInteger(size) && size > 0) || n % size !== 0) return undefined
    if (typeof eps !== 'number' || !(eps >= 0 && eps < Number.POSITIVE_INFINITY)) return undefined
    const w = vectorOf(weight, size)
    const b = vectorOf(bias, size)
    if (w === null || b === null) return undefined
    if (out !== undefined) {
      if (!isFloat32(out) || lengthOf(out) !== n || (out !== x && shareAPart(out, x))) return undefined
      if (!own && ((w && sharing(out, w) !== 'none') || (b && sharing(out, b) !== 'none'))) return undefined
    }
    if (!this.#isLast(n, size, eps, other, another, w !== undefined, b !== undefined)) {
      const numbers: Numbers = [size, eps, other, another]
      this.#call = this.#preparations.find(n, numbers, w !== undefined, b !== undefined)
      this.#n = n
      this.#numbers = numbers
      this.#weight = w !== undefined
      this.#bias = b !== undefined
    }
    if (!this.#call) return undefined
    const y = out ?? new Float32Array(n)
    set.call(arena, x, PLACE.x)
    if (!own || owner !== this) {
      if (w) set.call(arena, w, PLACE.weight)
      if (b) set.call(arena, b, PLACE.bias)
      owner = own ? this : undefined
    }
    this.#call.run()
    set.call(y, this.#call.result)
    return y
  }

  #isLast(n: number, size: number, eps: number, other: number, another: number, weight: boolean, bias: boolean) {
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
}

/** A weight or bias of so many elements, undefined where there is none, null for anything else. */
function vectorOf(value: unknown, size: number): Float32Array | undefined | null {
  if (value === undefined) return undefined
  return isFloat32(value) && lengthOf(value) === size ? value : null
}
