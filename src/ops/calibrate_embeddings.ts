// calibrateEmbeddings: the range, mean and spread of each dimension over many embeddings. The kernel is calibrate_embeddings.
import { kernelOf } from '../backend/choice.js'
import type { DtypeOption } from '../call/elements.js'
import { describe, wrongType, wrongValue } from '../call/errors.js'
import { checkBoolean, readOptions } from '../call/options.js'
import { Operands } from '../call/overlap.js'
import type { Operand } from '../call/tensor.js'
import { typedArrayKind } from '../kernels/arrays.js'
import { checkJSONLength, copyNumbers, mergeMoments, numbersFromJSON, numbersToJSON } from './batch_statistics.js'
import { readEmbeddings } from './embeddings_call.js'

const magic = 0x31534545 // "EES1" in little-endian order
const headerBytes = 8

/** The six numbers of each dimension, in the order of the constructor, of JSON and of bytes. */
const names = ['count', 'nan', 'min', 'max', 'mean', 'squaredDeviations'] as const
type Name = (typeof names)[number]

/** Those of a dimension without numbers. */
const none: { readonly [name in Name]: number } = {
  count: 0,
  nan: 0,
  min: Number.POSITIVE_INFINITY,
  max: Number.NEGATIVE_INFINITY,
  mean: 0,
  squaredDeviations: 0
}

/** The statistics of no rows of so many dimensions, which may be more than memory holds; and whether some are such. */
let statisticsOfNothing: (dimensions: number) => EmbeddingStatistics
let areOfNothing: (statistics: EmbeddingStatistics) => boolean

/** What {@link EmbeddingStatistics.toJSON} returns: six arrays, in which -0 and numbers that are not finite are strings. */
export type EmbeddingStatisticsJSON = { [name in Name]: (number | string)[] }

/**
 * Of each dimension of embeddings: how many numbers, how many NaN, the smallest and the largest number, mean and sum of
 * squared deviations; float64. Computed from parts of a corpus on any thread or host and merged, its `ranges` are what int8
 * and uint8 codes are made with. Immutable.
 *
 * Count, NaN, min and max are exact, in whatever order parts are merged. Mean and squared deviations have the same bits in
 * the same order; their error is that of {@link BatchStatistics}.
 *
 * @example
 * ```ts
 * import { calibrateEmbeddings, EmbeddingStatistics } from 'evenkeel'
 *
 * const parts = [Float32Array.of(-1, 2), Float32Array.of(3, 0)].map(part => calibrateEmbeddings(part, 2)) // on two workers
 * const { count, min, max, mean } = EmbeddingStatistics.merge(...parts)
 * console.log(count, min, max, mean) // Float64Array(2) [ 2, 2 ] Float64Array(2) [ -1, 0 ] Float64Array(2) [ 3, 2 ] Float64Array(2) [ 1, 1 ]
 * ```
 */
export class EmbeddingStatistics {
  #dimensions: number
  readonly #values: { readonly [name in Name]: Float64Array }

  static {
    statisticsOfNothing = dimensions => {
      const statistics = new EmbeddingStatistics([], [], [], [], [], [])
      statistics.#dimensions = dimensions
      return statistics
    }
    areOfNothing = statistics => statistics.#values.count.length < statistics.#dimensions
  }

  /**
   * Copies the numbers, one per dimension in each argument. Of a dimension without numbers min is Infinity, max is -Infinity.
   *
   * @param count how many numbers, NaN left out
   * @param nan how many NaN
   * @param min the smallest number
   * @param max the largest number
   * @param mean their mean
   * @param squaredDeviations the sum of (x - mean)^2
   * @throws TypeError for a wrong kind of argument; RangeError for lengths that differ, counts that are no integers >= 0,
   *   min above max where there are numbers, or a negative sum of squared deviations
   */
  constructor(
    count: ArrayLike<number>,
    nan: ArrayLike<number>,
    min: ArrayLike<number>,
    max: ArrayLike<number>,
    mean: ArrayLike<number>,
    squaredDeviations: ArrayLike<number>
  ) {
    const op = 'EmbeddingStatistics'
    const given = { count, nan, min, max, mean, squaredDeviations }
    const values = Object.fromEntries(names.map(name => [name, copyNumbers(op, name, given[name])])) as {
      [name in Name]: Float64Array
    }
    const dimensions = values.count.length
    for (const name of names) {
      const { length } = values[name]
      if (length !== dimensions) throw wrongValue(op, `${name}.length`, `${dimensions} (count.length)`, String(length))
    }
    for (let c = 0; c < dimensions; c++) {
      for (const name of ['count', 'nan'] as const) {
        const n = values[name][c]
        if (!Number.isSafeInteger(n) || n < 0) throw wrongValue(op, `${name}[${c}]`, 'an integer >= 0', String(n))
      }
      checkRange(op, c, values.count[c], values.min[c], values.max[c])
      if (values.squaredDeviations[c] < 0) {
        throw wrongValue(op, `squaredDeviations[${c}]`, 'a number >= 0', String(values.squaredDeviations[c]))
      }
    }
    this.#dimensions = dimensions
    this.#values = values
    Object.freeze(this)
  }

  /** Number of dimensions. */
  get dimensions(): number {
    return this.#dimensions
  }

  /** A copy; of no rows it is made when it is read. */
  #copy(name: Name): Float64Array {
    return areOfNothing(this)
      ? new Float64Array(this.#dimensions).fill(none[name])
      : new Float64Array(this.#values[name])
  }

  /** How many numbers, NaN left out. A copy, as all that follow. */
  get count(): Float64Array {
    return this.#copy('count')
  }

  /** How many NaN. */
  get nan(): Float64Array {
    return this.#copy('nan')
  }

  /** The smallest number; a zero counts as +0. */
  get min(): Float64Array {
    return this.#copy('min')
  }

  /** The largest number. */
  get max(): Float64Array {
    return this.#copy('max')
  }

  /** Mean; 0 where count is 0. */
  get mean(): Float64Array {
    return this.#copy('mean')
  }

  /** Sum of (x - mean)^2. */
  get squaredDeviations(): Float64Array {
    return this.#copy('squaredDeviations')
  }

  /**
   * [min, max] as float32, for `scale: { ranges }`.
   *
   * @throws RangeError where a dimension has no numbers
   */
  get ranges(): [min: Float32Array, max: Float32Array] {
    const without = areOfNothing(this) ? 0 : this.#values.count.indexOf(0)
    if (without >= 0) throw wrongValue('EmbeddingStatistics.ranges', `count[${without}]`, 'at least one number', '0')
    return [new Float32Array(this.#values.min), new Float32Array(this.#values.max)]
  }

  /**
   * Variance of each dimension. NaN where the divisor is 0.
   *
   * @param options `unbiased: true` divides by count - 1; by default the divisor is count
   */
  variance(options: { unbiased?: boolean | undefined } = {}): Float64Array {
    const op = 'EmbeddingStatistics.variance'
    const { unbiased = false } = readOptions(op, options, { unbiased: true })
    checkBoolean(op, 'unbiased', unbiased)
    const { count, squaredDeviations } = this
    return squaredDeviations.map((squares, c) => {
      const divisor = unbiased ? count[c] - 1 : count[c]
      return divisor > 0 ? squares / divisor : Number.NaN
    })
  }

  /**
   * The statistics of all parts together, merged from the first to the last.
   *
   * @throws TypeError for no part or something else than statistics, RangeError for another number of dimensions
   */
  static merge(...parts: EmbeddingStatistics[]): EmbeddingStatistics {
    const op = 'EmbeddingStatistics.merge'
    if (parts.length === 0) throw wrongType(op, 'parts', 'at least one', 'none')
    return parts.map(part => readPart(op, part)).reduce(mergeTwo)
  }

  /** For JSON.stringify: numbers as they are, -0 and those that are not finite as strings. {@link fromJSON} reads it, bit for bit. */
  toJSON(): EmbeddingStatisticsJSON {
    checkJSONLength('EmbeddingStatistics.toJSON', 'dimensions', this.#dimensions)
    return Object.fromEntries(names.map(name => [name, numbersToJSON(this[name])])) as EmbeddingStatisticsJSON
  }

  /** The statistics that {@link toJSON} wrote, after JSON.parse. Errors as the constructor. */
  static fromJSON(json: EmbeddingStatisticsJSON): EmbeddingStatistics {
    const op = 'EmbeddingStatistics.fromJSON'
    if (typeof json !== 'object' || json === null) throw wrongType(op, 'json', 'an object', describe(json))
    const [count, nan, min, max, mean, squares] = names.map(name => numbersFromJSON(op, name, json[name]))
    return new EmbeddingStatistics(count, nan, min, max, mean, squares)
  }

  /** 8 + 48 * dimensions bytes, little-endian: "EES1", dimensions as uint32, then float64: all counts, NaN, min, max, means, squares. */
  toBytes(): Uint8Array {
    const { dimensions } = this
    const bytes = new Uint8Array(headerBytes + 8 * names.length * dimensions)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, magic, true)
    view.setUint32(4, dimensions, true)
    names.forEach((name, i) => {
      this[name].forEach((value, c) => {
        view.setFloat64(headerBytes + 8 * (i * dimensions + c), value, true)
      })
    })
    return bytes
  }

  /**
   * The statistics that {@link toBytes} wrote.
   *
   * @throws TypeError for no Uint8Array, RangeError for other bytes
   */
  static fromBytes(bytes: Uint8Array): EmbeddingStatistics {
    const op = 'EmbeddingStatistics.fromBytes'
    if (typedArrayKind(bytes) !== 'Uint8Array') throw wrongType(op, 'bytes', 'Uint8Array', describe(bytes))
    const view = new DataView(Uint8Array.prototype.slice.call(bytes).buffer)
    if (view.byteLength < headerBytes || view.getUint32(0, true) !== magic) {
      throw wrongValue(op, 'bytes', 'those of toBytes()', 'others')
    }
    const dimensions = view.getUint32(4, true)
    const size = headerBytes + 8 * names.length * dimensions
    if (view.byteLength !== size) {
      throw wrongValue(op, 'bytes.length', `${size} (${dimensions} dimensions)`, String(view.byteLength))
    }
    const [count, nan, min, max, mean, squares] = names.map((_, i) =>
      Float64Array.from({ length: dimensions }, (_, c) => view.getFloat64(headerBytes + 8 * (i * dimensions + c), true))
    )
    return new EmbeddingStatistics(count, nan, min, max, mean, squares)
  }
}

/** min and max of a dimension are numbers that float32 has; of one without numbers they are Infinity and -Infinity. */
function checkRange(op: string, c: number, count: number, min: number, max: number): void {
  for (const [name, value, none] of [
    ['min', min, Number.POSITIVE_INFINITY],
    ['max', max, Number.NEGATIVE_INFINITY]
  ] as const) {
    if (count === 0 ? value === none : Number.isFinite(Math.fround(value))) continue
    const expected = count === 0 ? `${none}, because count is 0` : 'a finite number of float32'
    throw wrongValue(op, `${name}[${c}]`, expected, String(value))
  }
  if (count > 0 && min > max) throw wrongValue(op, `min[${c}]`, `a number up to ${max} (max[${c}])`, String(min))
}

/** Statistics of either copy of this module, ESM's or CommonJS's: known by their fields, and checked like new ones. */
function readPart(op: string, value: unknown): EmbeddingStatistics {
  if (typeof value !== 'object' || value === null) throw wrongType(op, 'part', 'EmbeddingStatistics', describe(value))
  if (Object.getPrototypeOf(value) === EmbeddingStatistics.prototype) return value as EmbeddingStatistics
  const [count, nan, min, max, mean, squares] = names.map(name => (value as { [name in Name]?: Float64Array })[name])
  if (!count || !nan || !min || !max || !mean || !squares) {
    throw wrongType(op, 'part', 'EmbeddingStatistics', describe(value))
  }
  return new EmbeddingStatistics(count, nan, min, max, mean, squares)
}

function mergeTwo(a: EmbeddingStatistics, b: EmbeddingStatistics): EmbeddingStatistics {
  const op = 'EmbeddingStatistics.merge'
  if (a.dimensions !== b.dimensions) {
    throw wrongValue(op, 'part.dimensions', `${a.dimensions} (the first part's)`, String(b.dimensions))
  }
  if (areOfNothing(b)) return a
  if (areOfNothing(a)) return b
  const [count, nan, min, max, mean, squares] = [a.count, a.nan, a.min, a.max, a.mean, a.squaredDeviations]
  const other = { count: b.count, nan: b.nan, min: b.min, max: b.max, mean: b.mean, squares: b.squaredDeviations }
  for (let c = 0; c < a.dimensions; c++) {
    const merged = mergeMoments(
      { count: count[c], mean: mean[c], squares: squares[c] },
      { count: other.count[c], mean: other.mean[c], squares: other.squares[c] }
    )
    count[c] = merged.count
    mean[c] = merged.mean
    squares[c] = merged.squares
    nan[c] += other.nan[c]
    min[c] = Math.min(min[c], other.min[c])
    max[c] = Math.max(max[c], other.max[c])
  }
  return new EmbeddingStatistics(count, nan, min, max, mean, squares)
}

/**
 * Statistics of each dimension over rows (NUMERICS.md, rule 20); NaN is counted and left out.
 *
 * @param x rows of `dimensions` numbers: a Float32Array, or a tensor whose last dim is `dimensions`
 * @param dimensions how many numbers a row has
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, also for an infinite one in x, whose dimension
 *   the message names
 * @example
 * ```ts
 * import { calibrateEmbeddings, quantizeEmbeddings } from 'evenkeel'
 *
 * const embeddings = Float32Array.of(-1, 0, 1, 5)
 * const { ranges } = calibrateEmbeddings(embeddings, 2)
 * console.log(ranges[0], ranges[1]) // Float32Array(2) [ -1, 0 ] Float32Array(2) [ 1, 5 ]
 * console.log(quantizeEmbeddings(Float32Array.of(0, 9), 2, { precision: 'uint8', scale: { ranges } })) // Uint8Array(2) [ 127, 255 ]
 * ```
 */
export function calibrateEmbeddings(x: Operand, dimensions: number, options: DtypeOption = {}): EmbeddingStatistics {
  const op = 'calibrateEmbeddings'
  const { dtype } = readOptions<DtypeOption>(op, options, { dtype: true })
  const { elements, rows } = readEmbeddings(op, x, dimensions, dtype)
  const operands = new Operands(op)
  operands.add('x', elements.data, 'input')
  operands.check()
  if (rows === 0) return statisticsOfNothing(dimensions)
  const make = () => new Float64Array(dimensions)
  const [count, min, max, mean, squares] = [make(), make(), make(), make(), make()]
  const shape = { samples: rows, groups: dimensions, channelsPerGroup: 1, positions: 1, channelsLast: true }
  kernelOf('calibrate_embeddings')({ count, min, max, mean, squares, x: elements.data, shape })
  for (let c = 0; c < dimensions; c++) {
    const infinite = [min[c], max[c]].find(value => !Number.isFinite(value))
    if (count[c] > 0 && infinite !== undefined) {
      throw wrongValue(op, `x in dimension ${c}`, 'finite numbers', String(infinite))
    }
  }
  const nan = count.map(numbers => rows - numbers)
  return new EmbeddingStatistics(count, nan, min, max, mean, squares)
}
