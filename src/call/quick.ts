// Short cuts for the plainest calls: Float32Arrays of whole rows, and no option but weight, bias, eps and out. They check all
// that the general way checks; what is anything but plain is left to that, which finds the words for what is wrong.
import type { RunPrepared } from '../backend/types.js'
import { bufferOf, isFloat32, isTypedArray, lengthOf } from '../kernels/arrays.js'
import { shareAPart, sharing } from './overlap.js'

/** Whether `options` is an object that has none but these. What reads them hands the values on: each is read once. */
export function isPlain(options: object): boolean {
  return hasOnly(options, true)
}

/** Whether `options` is an object that has nothing but `out`. */
export function hasOnlyOut(options: object): boolean {
  return hasOnly(options, false)
}

function hasOnly(options: object, orParameters: boolean): boolean {
  if (typeof options !== 'object' || options === null) return false
  let any = false
  for (const key in options) {
    // Compared: to look names up costs as much as to pass two arrays (measured).
    if (key !== 'out' && !(orParameters && (key === 'weight' || key === 'bias' || key === 'eps'))) return false
    any = true
  }
  return any || !(Array.isArray(options) || isTypedArray(options))
}

/** A parameter of so many elements, undefined where there is none, null for anything else. */
function vectorOf(value: unknown, size: number): Float32Array | undefined | null {
  if (value === undefined) return undefined
  return isFloat32(value) && lengthOf(value) === size ? value : null
}

/**
 * Where the result of a plain call of whole rows goes: `out`, or new memory. undefined where the call is not plain, or where
 * anything is wrong.
 */
export function quickOutput(
  x: unknown,
  size: number,
  weight: unknown,
  bias: unknown,
  eps: unknown,
  out: unknown
): Float32Array | undefined {
  if (!isFloat32(x) || typeof eps !== 'number' || !(eps >= 0 && eps < Number.POSITIVE_INFINITY)) return undefined
  const n = lengthOf(x)
  if (n === 0 || !(Number.isSafeInteger(size) && size > 0) || n % size !== 0) return undefined
  const w = vectorOf(weight, size)
  const b = vectorOf(bias, size)
  if (w === null || b === null) return undefined
  if (out === undefined) return new Float32Array(n)
  if (!isFloat32(out) || lengthOf(out) !== n || (out !== x && shareAPart(out, x))) return undefined
  if (w || b) {
    const buffer = bufferOf(out)
    if (w && bufferOf(w) === buffer && sharing(out, w) !== 'none') return undefined
    if (b && bufferOf(b) === buffer && sharing(out, b) !== 'none') return undefined
  }
  return out
}

/** The plain calls of a layer over rows: where kernels are native, its parameters and numbers are in native memory. */
export class QuickLayer {
  readonly #size: number
  /** Prepared at the first call. */
  #run: RunPrepared | undefined
  readonly #prepare: (size: number) => RunPrepared

  constructor(size: number, prepare: (size: number) => RunPrepared) {
    this.#size = size
    this.#prepare = prepare
  }

  /** The parameters have changed. */
  reset(): void {
    this.#run = undefined
  }

  /** Makes the call where it is plain; returns what was written, or undefined: then nothing was. */
  forward(x: unknown, out: unknown): Float32Array | undefined {
    if (!isFloat32(x)) return undefined
    const n = lengthOf(x)
    if (n === 0 || n % this.#size !== 0) return undefined
    if (out !== undefined && (!isFloat32(out) || lengthOf(out) !== n || (out !== x && shareAPart(out, x)))) {
      return undefined
    }
    this.#run ??= this.#prepare(this.#size)
    const y = out === undefined ? new Float32Array(n) : (out as Float32Array)
    this.#run(y, x)
    return y
  }
}
