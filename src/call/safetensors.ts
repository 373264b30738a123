// The .safetensors format: 8 bytes, little-endian, say how long the header is; the header, JSON; the data of all tensors.
// The bytes may be anyone's. The header is read by a grammar of its own, of fixed depth: what is not a tensor of that format is
// refused where it stands, and nothing is allocated by a number that the header says.
import { bufferOf, byteLengthOf, byteOffsetOf } from '../kernels/arrays.js'
import { fromBfloat16, fromFloat16 } from '../kernels/float16.js'
import { MOST_DIMS } from './arrays.js'
import { describe, wrongValue } from './errors.js'

/** A tensor of a file. */
export interface FileTensor {
  /** Its type, as the file says: 'F32'. */
  readonly dtype: string
  readonly dims: readonly number[]
  /** Where its data is in the file. */
  readonly begin: number
  readonly end: number
}

/** The types that are read, and how. */
const readers = {
  F32: { bytes: 4, get: (view: DataView, at: number) => view.getFloat32(at, true) },
  F64: { bytes: 8, get: (view: DataView, at: number) => view.getFloat64(at, true) },
  F16: { bytes: 2, get: (view: DataView, at: number) => fromFloat16(view.getUint16(at, true)) },
  BF16: { bytes: 2, get: (view: DataView, at: number) => fromBfloat16(view.getUint16(at, true)) },
  I32: { bytes: 4, get: (view: DataView, at: number) => view.getInt32(at, true) },
  I64: { bytes: 8, get: (view: DataView, at: number) => Number(view.getBigInt64(at, true)) }
}

/** The type of a tensor that can be read. */
export type Dtype = keyof typeof readers

/** The types of floating point. */
export const floatDtypes: readonly Dtype[] = ['F32', 'F64', 'F16', 'BF16']

export const dtypes = Object.keys(readers) as Dtype[]

/** The longest header, in bytes: the format's own limit. */
const MOST_HEADER_BYTES = 100_000_000

const { TextDecoder } = globalThis as unknown as {
  TextDecoder: new (encoding: string, options: object) => { decode(bytes: Uint8Array): string }
}

/**
 * The tensors of a file by name, of those whose name begins with `prefix`; the others are checked alone. `others` receives a
 * few of their names.
 */
export function readHeader(op: string, bytes: Uint8Array, prefix: string, others: string[]): Map<string, FileTensor> {
  const size = byteLengthOf(bytes)
  const wrong = (what: string, expected: string, got: string) =>
    wrongValue(op, `.safetensors ${what}`, expected, `${got} (is it a .safetensors file, all of it?)`)
  if (size < 8) throw wrong('bytes', 'at least 8', String(size))
  const view = viewOf(bytes, 0, 8)
  const length = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true)
  const most = Math.min(MOST_HEADER_BYTES, size - 8)
  if (length > most) throw wrong('header', `at most ${most} bytes`, String(length))
  const header = new Header(op, textOf(op, bytes, length))
  const tensors = new Map<string, FileTensor>()
  /** begin and end of each tensor, those of one behind the other. */
  const spans: number[][] = []
  header.object(name => {
    if (name === '__metadata__') return header.object(() => header.string())
    const tensor = header.tensor(name)
    spans.push([tensor.begin, tensor.end])
    if (!name.startsWith(prefix)) {
      if (others.length < MOST_OTHERS) others.push(name)
      return
    }
    if (tensors.has(name)) throw wrongValue(op, '.safetensors names', 'each once', `${describe(name)} twice`)
    tensors.set(name, { ...tensor, begin: 8 + length + tensor.begin, end: 8 + length + tensor.end })
  })
  header.end()
  // As the format wants it: one tensor after the other, without overlaps and gaps, and nothing behind them.
  spans.sort((a, b) => a[0] - b[0] || a[1] - b[1])
  let done = 0
  for (const [begin, end] of spans) {
    if (begin !== done || end < begin) throw wrong('data_offsets', `[${done}, ...] next`, `[${begin}, ${end}]`)
    done = end
  }
  if (done !== size - 8 - length) throw wrong('data', `${done} bytes`, String(size - 8 - length))
  return tensors
}

/** So many names of a file are kept for messages. */
const MOST_OTHERS = 10_000

/** The numbers of a tensor: float32 where that has them all, else float64. */
export function numbersOf(bytes: Uint8Array, { dtype, begin, end }: FileTensor): Float32Array | Float64Array {
  const { bytes: each, get } = readers[dtype as Dtype]
  const view = viewOf(bytes, begin, end - begin)
  const Numbers = dtype === 'F64' || dtype.startsWith('I') ? Float64Array : Float32Array
  const numbers = new Numbers((end - begin) / each)
  for (let i = 0; i < numbers.length; i++) numbers[i] = get(view, i * each)
  return numbers
}

function viewOf(bytes: Uint8Array, begin: number, length: number): DataView {
  return new DataView(bufferOf(bytes) as ArrayBuffer, byteOffsetOf(bytes) + begin, length)
}

/** The text of a header. */
function textOf(op: string, bytes: Uint8Array, length: number): string {
  // A copy: no TextDecoder takes shared memory, and that could change while it is read.
  const copy = new Uint8Array(length)
  copy.set(new Uint8Array(bufferOf(bytes) as ArrayBuffer, byteOffsetOf(bytes) + 8, length))
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(copy)
  } catch {
    throw wrongValue(op, '.safetensors header', 'UTF-8', 'other bytes (is it a .safetensors file?)')
  }
}

/** A header, read from its first character to its last. */
class Header {
  readonly #op: string
  readonly #text: string
  #at = 0

  constructor(op: string, text: string) {
    this.#op = op
    this.#text = text
  }

  #wrong(expected: string): RangeError {
    const got = this.#at < this.#text.length ? describe(this.#text.slice(this.#at, this.#at + 20)) : 'its end'
    return wrongValue(this.#op, `.safetensors header at ${this.#at}`, expected, got)
  }

  /** The code of the next character that is no white space; NaN at the end. */
  #peek(): number {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at)
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return code
      this.#at++
    }
  }

  /** Whether this character is next; then it is passed. */
  #next(character: string): boolean {
    if (this.#peek() !== character.charCodeAt(0)) return false
    this.#at++
    return true
  }

  #take(character: string): void {
    if (!this.#next(character)) throw this.#wrong(`'${character}'`)
  }

  /** Nothing is left. */
  end(): void {
    if (!Number.isNaN(this.#peek())) throw this.#wrong('its end')
  }

  /** An object: `value` reads the value of each name. */
  object(value: (name: string) => void): void {
    this.#take('{')
    if (this.#next('}')) return
    do {
      const name = this.string()
      this.#take(':')
      value(name)
    } while (this.#next(','))
    this.#take('}')
  }

  string(): string {
    this.#take('"')
    const begin = this.#at
    let plain = true
    for (let code = 0; code !== 0x22; this.#at++) {
      code = this.#text.charCodeAt(this.#at)
      if (!(code >= 0x20)) throw this.#wrong("a string's characters and its '\"'")
      if (code !== 0x5c) continue
      plain = false
      this.#at++
    }
    const text = this.#text.slice(begin, this.#at - 1)
    if (plain) return text
    try {
      return JSON.parse(`"${text}"`) as string
    } catch {
      throw this.#wrong('a string of JSON before it')
    }
  }

  /** An integer >= 0 that a number has exactly, as JSON writes it. */
  #integer(): number {
    this.#peek()
    const begin = this.#at
    let value = 0
    for (;;) {
      const digit = this.#text.charCodeAt(this.#at) - 0x30
      if (!(digit >= 0 && digit <= 9)) break
      if (value === 0 && this.#at > begin) throw this.#wrong('no digit behind a 0')
      value = value * 10 + digit
      if (!Number.isSafeInteger(value)) throw this.#wrong('integers below 2^53')
      this.#at++
    }
    if (this.#at === begin) throw this.#wrong('an integer >= 0')
    return value
  }

  #integers(most: number): number[] {
    const integers: number[] = []
    this.#take('[')
    if (this.#next(']')) return integers
    do {
      if (integers.length === most) throw this.#wrong(`at most ${most} integers`)
      integers.push(this.#integer())
    } while (this.#next(','))
    this.#take(']')
    return integers
  }

  /** What the header says of a tensor; begin and end are those of its data among all data. */
  tensor(name: string): FileTensor {
    let dtype: string | undefined
    let dims: number[] | undefined
    let offsets: number[] | undefined
    this.object(key => {
      if (key === 'dtype' && dtype === undefined) dtype = this.string()
      else if (key === 'shape' && !dims) dims = this.#integers(MOST_DIMS)
      else if (key === 'data_offsets' && !offsets) offsets = this.#integers(2)
      else throw this.#wrong('dtype, shape and data_offsets, once each')
    })
    if (dtype === undefined || !dims || offsets?.length !== 2)
      throw this.#wrong('dtype, shape and two data_offsets before it')
    const [begin, end] = offsets
    const reader = Object.hasOwn(readers, dtype) ? readers[dtype as Dtype] : undefined
    const size = dims.reduce((product, dim) => product * dim, reader?.bytes ?? Number.NaN)
    if (reader && end - begin !== size) {
      throw wrongValue(
        this.#op,
        `.safetensors data_offsets of ${describe(name)}`,
        `${size} bytes (${dtype}, shape ${describe(dims)})`,
        `[${begin}, ${end}]`
      )
    }
    return { dtype, dims, begin, end }
  }
}
