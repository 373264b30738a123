// evenkeel/stream: rows normalised on their way through a stream of Node.js.
import { Transform, type TransformCallback } from 'node:stream'
import { gotArray, gotBits } from '../call/advice.js'
import { type Bits16, checkDtype, type Dtype, type Float16ArrayLike } from '../call/elements.js'
import { wrongType, wrongValue } from '../call/errors.js'
import { checkChoice, checkCount, readOptions } from '../call/options.js'
import { type NormalizedShape, readShape } from '../call/rows.js'
import { typedArrayKind } from '../kernels/arrays.js'
import type { ElementType } from '../kernels/elements.js'
import { LayerNorm, type LayerNormWeights } from '../ops/layer_norm.js'
import { Normalize } from '../ops/normalize.js'
import type { NormalizeConstants } from '../ops/normalize_call.js'
import { RMSNorm, type RMSNormWeights } from '../ops/rms_norm.js'
import type { RMSNormConstants } from '../ops/rms_norm_call.js'

/** How a stream of rows reads and writes. */
export interface RowStreamOptions {
  /**
   * What comes out: 'bytes', Buffers in the machine's order, or 'arrays' of whole rows: Float32Arrays, or with `dtype`
   * Uint16Arrays of bits, of a Float16Array a Float16Array. Default: 'bytes'.
   */
  output?: 'bytes' | 'arrays' | undefined
  /** What the numbers are, on their way in and out: those of 'float16' or of 'bfloat16'. Default: float32. */
  dtype?: Dtype | undefined
  /**
   * A number of chunks, of any size: as many may wait to be normalised before `write` returns false. With 'arrays', as many
   * results may also wait for the reader; with 'bytes' the limit for these is that of Node.js, in bytes. Default: 4.
   */
  highWaterMark?: number | undefined
}

type Rows = Float32Array | Float16ArrayLike | Bits16
interface Layer {
  forward(x: Rows, options?: { dtype?: Dtype; out?: Rows }): Rows
}

type Class = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => Rows
const { Float16Array = Uint16Array } = globalThis as { Float16Array?: Class }

interface NumberType {
  /** Bytes of a number. */
  readonly width: 2 | 4
  /** The arrays that chunks may be, beside those of bytes; the first is made of bytes. */
  readonly classes: { readonly [kind: string]: Class }
  /** All chunks, as messages name them. */
  readonly chunks: string
}

const types: { readonly [type in ElementType]: NumberType } = {
  float32: { width: 4, classes: { Float32Array }, chunks: 'Buffer, Uint8Array or Float32Array' },
  float16: {
    width: 2,
    classes: { Uint16Array, Float16Array },
    chunks: 'Buffer, Uint8Array, Uint16Array or Float16Array'
  },
  bfloat16: { width: 2, classes: { Uint16Array }, chunks: 'Buffer, Uint8Array or Uint16Array' }
}

const known = { output: true, dtype: true, highWaterMark: true } as const

/** How a message names a chunk that a stream of this type does not take. */
function gotChunk(chunk: unknown, kind: string, dtype: Dtype | undefined): string {
  if (kind === 'Float16Array') return dtype ? kind : `${kind}; pass { dtype: 'float16' }`
  return kind === 'Uint16Array' ? gotBits('chunk', false) : gotArray('chunk', chunk)
}

/** Normalises rows of so many elements. Chunks may end anywhere: what is left of a row waits for the next one. */
class RowStream extends Transform {
  readonly #op: string
  readonly #layer: Layer
  readonly #arrays: boolean
  readonly #dtype: Dtype | undefined
  readonly #type: NumberType
  /** The bytes of a row that is not whole yet. */
  readonly #part: Uint8Array
  #filled = 0

  constructor(op: string, size: number, layer: Layer, options: RowStreamOptions) {
    const { output = 'bytes', dtype, highWaterMark = 4 } = readOptions(op, options, known)
    checkChoice(op, 'output', output, ['bytes', 'arrays'], "'bytes' or 'arrays'")
    checkDtype(op, dtype)
    checkCount(op, 'highWaterMark', highWaterMark)
    const arrays = output === 'arrays'
    super({
      // Before Node.js 22 a Float32Array is no chunk of bytes.
      writableObjectMode: true,
      writableHighWaterMark: highWaterMark,
      readableObjectMode: arrays,
      ...(arrays && { readableHighWaterMark: highWaterMark })
    })
    this.#op = op
    this.#layer = layer
    this.#arrays = arrays
    this.#dtype = dtype
    this.#type = types[dtype ?? 'float32']
    this.#part = new Uint8Array(this.#type.width * size)
  }

  override _transform(chunk: unknown, _encoding: string, done: TransformCallback): void {
    try {
      const kind = typedArrayKind(chunk) as string
      const x = this.#rowsOf(this.#bytesOf(chunk, kind), this.#classOf(kind))
      if (x) this.push(this.#normalized(x))
      done()
    } catch (error) {
      done(error as Error)
    }
  }

  override _flush(done: TransformCallback): void {
    const row = this.#part.length
    const left = `${this.#filled} of ${row} bytes at the end`
    done(this.#filled > 0 ? wrongValue(this.#op, 'bytes', `whole rows of ${row} bytes`, left) : null)
  }

  #bytesOf(chunk: unknown, kind: string): Uint8Array {
    if (kind !== 'Uint8Array' && !Object.hasOwn(this.#type.classes, kind)) {
      throw wrongType(this.#op, 'chunk', this.#type.chunks, gotChunk(chunk, kind, this.#dtype))
    }
    const { buffer, byteOffset, byteLength } = chunk as Uint8Array
    return new Uint8Array(buffer, byteOffset, byteLength)
  }

  /** Rows are arrays of the kind of the chunk that ends them. */
  #classOf(kind: string): Class {
    const { classes } = this.#type
    return Object.hasOwn(classes, kind) ? classes[kind] : Object.values(classes)[0]
  }

  /** The whole rows that there are now; what is behind them waits. */
  #rowsOf(bytes: Uint8Array, Class: Class): { readonly data: Rows; readonly isOwn: boolean } | undefined {
    const part = this.#part
    const before = this.#filled
    const total = before + bytes.length
    const whole = total - (total % part.length)
    if (whole === 0) {
      part.set(bytes, before)
      this.#filled = total
      return undefined
    }
    const taken = bytes.subarray(0, whole - before)
    const isOwn = before > 0 || taken.byteOffset % this.#type.width !== 0
    let rows = taken
    if (isOwn) {
      rows = new Uint8Array(whole)
      rows.set(part.subarray(0, before))
      rows.set(taken, before)
    }
    part.set(bytes.subarray(whole - before))
    this.#filled = total - whole
    return { data: new Class(rows.buffer, rows.byteOffset, whole / this.#type.width), isOwn }
  }

  /** New memory: the chunk belongs to whoever wrote it. */
  #normalized({ data, isOwn }: { data: Rows; isOwn: boolean }): Rows | Buffer {
    const options = this.#dtype === undefined ? {} : { dtype: this.#dtype }
    const y = this.#layer.forward(data, isOwn ? { ...options, out: data } : options)
    return this.#arrays ? y : Buffer.from(y.buffer as ArrayBuffer, y.byteOffset, y.byteLength)
  }
}

/**
 * A stream of layer normalisation: rows go in, as bytes in the machine's order or as Float32Arrays, and come out normalised,
 * with the bits of {@link LayerNorm}. With `dtype` their numbers are float16 or bfloat16. Chunks may end in the middle of a
 * row, even of an element.
 *
 * @param normalizedShape elements of a row, e.g. 768 or [3, 256]
 * @param options as {@link LayerNorm} has them
 * @param stream what comes out, and how much waits
 * @returns a Transform; it fails with a TypeError for a chunk of another kind and with a RangeError where the last row is not
 *   whole
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value
 * @example
 * ```ts
 * import { Readable } from 'node:stream'
 * import { layerNormStream } from 'evenkeel/stream'
 *
 * // for bytes: await pipeline(process.stdin, layerNormStream(768, { weight, bias }), process.stdout)
 * const chunks = Readable.from([Float32Array.of(1, 3, 5), Float32Array.of(9)])
 * const rows = await chunks.pipe(layerNormStream(2, { eps: 0 }, { output: 'arrays' })).toArray()
 * console.log(rows) // [ Float32Array(2) [ -1, 1 ], Float32Array(2) [ -1, 1 ] ]
 * ```
 */
export function layerNormStream(
  normalizedShape: NormalizedShape,
  options: LayerNormWeights & {
    /** Added to the variance, finite and >= 0. Default: 1e-5. */
    eps?: number | undefined
  } = {},
  stream: RowStreamOptions = {}
): Transform {
  const op = 'layerNormStream'
  return new RowStream(op, readShape(op, normalizedShape).size, new LayerNorm(normalizedShape, options), stream)
}

/**
 * A stream of {@link RMSNorm}. See {@link layerNormStream}, which it is like in all else.
 *
 * @param normalizedShape elements of a row, e.g. 768 or [3, 256]
 * @param options as {@link RMSNorm} has them
 * @param stream what comes out, and how much waits
 * @returns a Transform
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value
 * @example
 * ```ts
 * import { Readable } from 'node:stream'
 * import { rmsNormStream } from 'evenkeel/stream'
 *
 * const rows = Readable.from([Float32Array.of(3, 4)]).pipe(rmsNormStream(2, { eps: 3.5 }, { output: 'arrays' }))
 * console.log(await rows.toArray()) // [ Float32Array(2) [ 0.75, 1 ] ]
 * ```
 */
export function rmsNormStream(
  normalizedShape: NormalizedShape,
  options: RMSNormWeights & RMSNormConstants = {},
  stream: RowStreamOptions = {}
): Transform {
  const op = 'rmsNormStream'
  return new RowStream(op, readShape(op, normalizedShape).size, new RMSNorm(normalizedShape, options), stream)
}

/**
 * A stream of {@link Normalize}: each row divided by its norm. See {@link layerNormStream}, which it is like in all else.
 *
 * @param normalizedShape elements of a row, e.g. 768 or [3, 256]
 * @param options as {@link Normalize} has them
 * @param stream what comes out, and how much waits
 * @returns a Transform
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value
 * @example
 * ```ts
 * import { Readable } from 'node:stream'
 * import { normalizeStream } from 'evenkeel/stream'
 *
 * const rows = Readable.from([Float32Array.of(3, 4)]).pipe(normalizeStream(2, {}, { output: 'arrays' }))
 * console.log(await rows.toArray()) // [ Float32Array(2) [ 0.6000000238418579, 0.800000011920929 ] ]
 * ```
 */
export function normalizeStream(
  normalizedShape: NormalizedShape,
  options: NormalizeConstants = {},
  stream: RowStreamOptions = {}
): Transform {
  const op = 'normalizeStream'
  return new RowStream(op, readShape(op, normalizedShape).size, new Normalize(normalizedShape, options), stream)
}
