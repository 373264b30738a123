// evenkeel/stream: rows normalised on their way through a stream of Node.js.
import { Transform, type TransformCallback } from 'node:stream'
import { gotArray } from '../call/advice.js'
import { wrongType, wrongValue } from '../call/errors.js'
import { checkChoice, checkCount, readOptions } from '../call/options.js'
import { type NormalizedShape, readShape } from '../call/rows.js'
import { isFloat32, typedArrayKind } from '../kernels/arrays.js'
import { LayerNorm, type LayerNormWeights } from '../ops/layer_norm.js'
import { Normalize } from '../ops/normalize.js'
import type { NormalizeConstants } from '../ops/normalize_call.js'
import { RMSNorm, type RMSNormWeights } from '../ops/rms_norm.js'
import type { RMSNormConstants } from '../ops/rms_norm_call.js'

/** How a stream of rows reads and writes. */
export interface RowStreamOptions {
  /** What comes out: 'bytes', Buffers of float32 in the machine's order, or 'arrays', Float32Arrays of whole rows. Default: 'bytes'. */
  output?: 'bytes' | 'arrays' | undefined
  /**
   * A number of chunks, of any size: as many may wait to be normalised before `write` returns false. With 'arrays', as many
   * results may also wait for the reader; with 'bytes' the limit for these is that of Node.js, in bytes. Default: 4.
   */
  highWaterMark?: number | undefined
}

interface Layer {
  forward(x: Float32Array, options?: { out?: Float32Array }): Float32Array
}

const known = { output: true, highWaterMark: true } as const

/** Normalises rows of so many elements. Chunks may end anywhere: what is left of a row waits for the next one. */
class RowStream extends Transform {
  readonly #op: string
  readonly #layer: Layer
  readonly #arrays: boolean
  /** The bytes of a row that is not whole yet. */
  readonly #part: Uint8Array
  #filled = 0

  constructor(op: string, size: number, layer: Layer, options: RowStreamOptions) {
    const { output = 'bytes', highWaterMark = 4 } = readOptions(op, options, known)
    checkChoice(op, 'output', output, ['bytes', 'arrays'], "'bytes' or 'arrays'")
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
    this.#part = new Uint8Array(4 * size)
  }

  override _transform(chunk: unknown, _encoding: string, done: TransformCallback): void {
    try {
      const x = this.#rowsOf(this.#bytesOf(chunk))
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

  #bytesOf(chunk: unknown): Uint8Array {
    if (typedArrayKind(chunk) !== 'Uint8Array' && !isFloat32(chunk)) {
      throw wrongType(this.#op, 'chunk', 'Buffer, Uint8Array or Float32Array', gotArray('chunk', chunk))
    }
    const { buffer, byteOffset, byteLength } = chunk as Uint8Array
    return new Uint8Array(buffer, byteOffset, byteLength)
  }

  /** The whole rows that there are now; what is behind them waits. */
  #rowsOf(bytes: Uint8Array): { readonly data: Float32Array; readonly isOwn: boolean } | undefined {
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
    const isOwn = before > 0 || taken.byteOffset % 4 !== 0
    let data: Float32Array = new Float32Array(isOwn ? whole / 4 : 0)
    if (isOwn) {
      const copy = new Uint8Array(data.buffer)
      copy.set(part.subarray(0, before))
      copy.set(taken, before)
    } else data = new Float32Array(taken.buffer, taken.byteOffset, whole / 4)
    part.set(bytes.subarray(whole - before))
    this.#filled = total - whole
    return { data, isOwn }
  }

  /** New memory: the chunk belongs to whoever wrote it. */
  #normalized({ data, isOwn }: { data: Float32Array; isOwn: boolean }): Float32Array | Buffer {
    const y = this.#layer.forward(data, isOwn ? { out: data } : {})
    return this.#arrays ? y : Buffer.from(y.buffer, y.byteOffset, y.byteLength)
  }
}

/**
 * A stream of layer normalisation: rows of float32 go in, as bytes in the machine's order or as Float32Arrays, and come out
 * normalised, with the bits of {@link LayerNorm}. Chunks may end in the middle of a row, even of an element.
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
