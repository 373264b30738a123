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

/** The prepared call of an operation or of a layer: one kind at a time, the last. */
export class SmallCalls {
  readonly #prepare: Prepare | undefined
  readonly #preparation: Preparation
  #run: (() => void) | undefined
  #result: Float32Array | undefined
  #n = 0
  #weight = false
  #bias = false
  #size = 0
  #eps = 0
  #other = 0
  #another = 0

  constructor(op: Parameters<typeof preparerFor>[0], preparation: Preparation) {
    this.#prepare = arena && preparerFor(op)
    this.#preparation = preparation
  }

  /** Forgets what is prepared: what was copied into it has changed. */
  reset(): void {
    this.#n = 0
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
    if (weight !== undefined && !(isFloat32(weight) && lengthOf(weight) === size)) return undefined
    if (bias !== undefined && !(isFloat32(bias) && lengthOf(bias) === size)) return undefined
    let y: Float32Array
    if (out === undefined) y = new Float32Array(n)
    else if (!isFloat32(out) || lengthOf(out) !== n || (out !== x && sharing(out, x) === 'part')) return undefined
    else if (weight && sharing(out, weight as Float32Array) !== 'none') return undefined
    else if (bias && sharing(out, bias as Float32Array) !== 'none') return undefined
    else y = out
    const known =
      n === this.#n && size === this.#size && eps === this.#eps && other === this.#other && another === this.#another
    if (!known || this.#weight !== (weight !== undefined) || this.#bias !== (bias !== undefined)) {
      this.#run = this.#preparation(
        this.#prepare,
        PLACE,
        n / size,
        [size, eps, other, another],
        weight !== undefined,
        bias !== undefined
      )
      this.#result = arena.subarray(PLACE.y, PLACE.y + n)
      this.#n = n
      this.#size = size
      this.#eps = eps
      this.#other = other
      this.#another = another
      this.#weight = weight !== undefined
      this.#bias = bias !== undefined
    }
    set.call(arena, x, PLACE.x)
    if (weight) set.call(arena, weight as Float32Array, PLACE.weight)
    if (bias) set.call(arena, bias as Float32Array, PLACE.bias)
    ;(this.#run as () => void)()
    set.call(y, this.#result as Float32Array)
    return y
  }
}
