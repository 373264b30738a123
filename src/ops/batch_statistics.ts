// BatchStatistics: mean and variance of each channel over a batch, as a value that can be merged and sent. The kernel is
// batch_statistics.
import { kernelOf } from '../backend/choice.js'
import { type ChannelOptions, channelOptions, readVolume, type VolumeInput } from '../call/channels.js'
import { describe, wrongType, wrongValue } from '../call/errors.js'
import { checkBoolean, readOptions } from '../call/options.js'
import { Operands } from '../call/overlap.js'
import type { TensorLike } from '../call/tensor.js'
import { typedArrayKind } from '../kernels/arrays.js'
import { countRows } from '../kernels/columns.js'

/** The statistics of no elements of so many channels, which may be more than memory holds. */
let statisticsOfNothing: (channels: number) => BatchStatistics

const magic = 0x31534245 // "EBS1" in little-endian order
const headerBytes = 16
/** More would fill the memory of JavaScript, which ends the process. */
const MOST_IN_JSON = 2 ** 24

/**
 * Count, mean and sum of squared deviations of each channel, float64: what batch normalisation needs of a batch. Computed
 * from parts of it on any thread or host, merged, and handed to {@link batchNorm} as `statistics`, it is what SyncBatchNorm
 * does. Immutable.
 *
 * Merging (Chan, Golub & LeVeque 1979) in the same order gives the same bits. In any order, with k merges, u = 2^-52, M the
 * largest |mean| of the parts, e = (k + 2) u M and l = max(1, log2(k + 1) / 2), the mean stays within e of the exact one,
 * and the variance v within (3 k + 6) u v + 4 e sqrt(l v) + 4 e^2 l.
 *
 * @example
 * ```ts
 * import { BatchStatistics, batchNorm, batchStatistics } from 'evenkeel'
 *
 * const parts = [1, 3].map(value => ({ data: Float32Array.of(value), dims: [1, 1] })) // on two workers
 * const statistics = BatchStatistics.merge(...parts.map(part => batchStatistics(part)))
 * console.log(statistics.count, statistics.mean, statistics.variance()) // 2 Float64Array(1) [ 2 ] Float64Array(1) [ 1 ]
 * console.log(batchNorm(parts[0], { training: true, statistics, eps: 0 }).data) // Float32Array(1) [ -1 ]
 * ```
 */
export class BatchStatistics {
  /** Number of elements per channel. */
  readonly count: number
  #channels: number
  readonly #mean: Float64Array
  readonly #squaredDeviations: Float64Array

  static {
    statisticsOfNothing = channels => {
      const statistics = new BatchStatistics(0, [], [])
      statistics.#channels = channels
      return statistics
    }
  }

  /**
   * Copies the numbers.
   *
   * @param count number of elements of a channel, the same for all
   * @param mean mean of each channel: a Float64Array or an array of numbers
   * @param squaredDeviations for each channel the sum of (x - mean)^2
   * @throws TypeError for a wrong kind of argument; RangeError for a count that is no integer >= 0, lengths that differ, or
   *   a negative sum of squared deviations
   */
  constructor(count: number, mean: ArrayLike<number>, squaredDeviations: ArrayLike<number>) {
    const op = 'BatchStatistics'
    if (typeof count !== 'number') throw wrongType(op, 'count', 'a number', describe(count))
    if (!Number.isSafeInteger(count) || count < 0) throw wrongValue(op, 'count', 'an integer >= 0', describe(count))
    this.count = count
    this.#mean = copyNumbers(op, 'mean', mean)
    this.#channels = this.#mean.length
    this.#squaredDeviations = copyNumbers(op, 'squaredDeviations', squaredDeviations)
    if (this.#squaredDeviations.length !== this.#mean.length) {
      const length = String(this.#squaredDeviations.length)
      throw wrongValue(op, 'squaredDeviations.length', `${this.#mean.length} (mean.length)`, length)
    }
    for (const value of this.#squaredDeviations) {
      if (value < 0) throw wrongValue(op, 'squaredDeviations', 'numbers >= 0', String(value))
    }
    Object.freeze(this)
  }

  /** Number of channels. */
  get channels(): number {
    return this.#channels
  }

  /** Mean of each channel, a copy; 0 where count is 0. */
  get mean(): Float64Array {
    return this.#copy(this.#mean)
  }

  /** Sum over each channel of (x - mean)^2, a copy. */
  get squaredDeviations(): Float64Array {
    return this.#copy(this.#squaredDeviations)
  }

  /** Those of nothing have no memory: their zeros are made when they are read. */
  #copy(values: Float64Array): Float64Array {
    return values.length === this.#channels ? new Float64Array(values) : new Float64Array(this.#channels)
  }

  /**
   * Variance of each channel. NaN where the divisor is 0.
   *
   * @param options `unbiased: true` divides by count - 1; by default the divisor is count
   */
  variance(options: { unbiased?: boolean | undefined } = {}): Float64Array {
    const op = 'BatchStatistics.variance'
    const { unbiased = false } = readOptions(op, options, { unbiased: true })
    checkBoolean(op, 'unbiased', unbiased)
    const divisor = unbiased ? this.count - 1 : this.count
    const variance = this.squaredDeviations
    for (let c = 0; c < variance.length; c++) variance[c] = divisor > 0 ? variance[c] / divisor : Number.NaN
    return variance
  }

  /**
   * The statistics of all parts together, merged from the first to the last.
   *
   * @throws TypeError for no part or something else than statistics, RangeError for another number of channels
   */
  static merge(...parts: BatchStatistics[]): BatchStatistics {
    const op = 'BatchStatistics.merge'
    if (parts.length === 0) throw wrongType(op, 'parts', 'at least one', 'none')
    return parts.map(part => readStatistics(op, 'part', part)).reduce(mergeTwo)
  }

  /** For JSON.stringify: numbers as they are, -0 and those that are not finite as strings. {@link fromJSON} reads it, bit for bit. */
  toJSON(): BatchStatisticsJSON {
    checkJSONLength('BatchStatistics.toJSON', 'channels', this.channels)
    const { count, mean, squaredDeviations } = this
    return { count, mean: numbersToJSON(mean), squaredDeviations: numbersToJSON(squaredDeviations) }
  }

  /** The statistics that {@link toJSON} wrote, after JSON.parse. Errors as the constructor. */
  static fromJSON(json: BatchStatisticsJSON): BatchStatistics {
    const op = 'BatchStatistics.fromJSON'
    if (typeof json !== 'object' || json === null) throw wrongType(op, 'json', 'an object', describe(json))
    const numbers = (what: 'mean' | 'squaredDeviations') => numbersFromJSON(op, what, json[what])
    return new BatchStatistics(json.count, numbers('mean'), numbers('squaredDeviations'))
  }

  /** 16 + 16 * channels bytes, little-endian: "EBS1", channels as uint32, count, means and squared deviations as float64. */
  toBytes(): Uint8Array {
    const bytes = new Uint8Array(headerBytes + 16 * this.channels)
    const view = new DataView(bytes.buffer)
    const { mean, squaredDeviations } = this
    view.setUint32(0, magic, true)
    view.setUint32(4, this.channels, true)
    view.setFloat64(8, this.count, true)
    for (let c = 0; c < this.channels; c++) {
      view.setFloat64(headerBytes + 8 * c, mean[c], true)
      view.setFloat64(headerBytes + 8 * (this.channels + c), squaredDeviations[c], true)
    }
    return bytes
  }

  /**
   * The statistics that {@link toBytes} wrote.
   *
   * @throws TypeError for no Uint8Array, RangeError for other bytes
   */
  static fromBytes(bytes: Uint8Array): BatchStatistics {
    const op = 'BatchStatistics.fromBytes'
    if (typedArrayKind(bytes) !== 'Uint8Array') throw wrongType(op, 'bytes', 'Uint8Array', describe(bytes))
    const view = new DataView(Uint8Array.prototype.slice.call(bytes).buffer)
    if (view.byteLength < headerBytes || view.getUint32(0, true) !== magic) {
      throw wrongValue(op, 'bytes', 'those of toBytes()', 'others')
    }
    const channels = view.getUint32(4, true)
    if (view.byteLength !== headerBytes + 16 * channels) {
      const size = `${headerBytes + 16 * channels} (${channels} channels)`
      throw wrongValue(op, 'bytes.length', size, String(view.byteLength))
    }
    const numbers = (from: number) =>
      Float64Array.from({ length: channels }, (_, c) => view.getFloat64(headerBytes + 8 * (from + c), true))
    return new BatchStatistics(view.getFloat64(8, true), numbers(0), numbers(channels))
  }
}

/** What {@link BatchStatistics.toJSON} returns: -0 and numbers that are not finite are strings. */
export interface BatchStatisticsJSON {
  /** Number of elements of a channel. */
  count: number
  /** Mean of each channel. */
  mean: (number | string)[]
  /** Sum of (x - mean)^2 of each channel. */
  squaredDeviations: (number | string)[]
}

const texts = ['NaN', 'Infinity', '-Infinity', '-0']
const text = (value: number) => (Object.is(value, -0) ? '-0' : String(value))

/** Throws for more numbers than are written to JSON. */
export function checkJSONLength(op: string, what: string, length: number): void {
  if (length <= MOST_IN_JSON) return
  throw wrongValue(op, what, `at most ${MOST_IN_JSON} (toBytes has no such limit)`, String(length))
}

/** Numbers as JSON has them: those that it has not, as strings. */
export function numbersToJSON(values: Float64Array): (number | string)[] {
  return Array.from(values, v => (Number.isFinite(v) && !Object.is(v, -0) ? v : text(v)))
}

/** Reads them again. */
export function numbersFromJSON(op: string, what: string, values: unknown): Float64Array {
  if (!Array.isArray(values)) throw wrongType(op, what, 'an array', describe(values))
  return copiedNumbers(op, what, values, value =>
    typeof value === 'string' && texts.includes(value) ? Number(value) : value
  )
}

/** A copy of an array of numbers, each read once. How many there are is looked at first: an array can say anything. */
function copiedNumbers(
  op: string,
  what: string,
  values: readonly unknown[],
  read = (value: unknown): unknown => value
): Float64Array {
  const { length } = values
  if (!(length <= MOST_IN_JSON)) throw wrongValue(op, `${what}.length`, `at most ${MOST_IN_JSON}`, String(length))
  const copy = new Float64Array(length)
  for (let i = 0; i < length; i++) {
    const value = values[i]
    const number = read(value)
    if (typeof number !== 'number') throw wrongType(op, what, 'numbers', describe(value))
    copy[i] = number
  }
  return copy
}

export function copyNumbers(op: string, what: string, values: unknown): Float64Array {
  if (typedArrayKind(values) === 'Float64Array') return new Float64Array(values as Float64Array)
  if (!Array.isArray(values)) throw wrongType(op, what, 'Float64Array or an array of numbers', describe(values))
  return copiedNumbers(op, what, values)
}

/** Statistics of either copy of this module, ESM's or CommonJS's: known by their fields, and checked like new ones. */
export function readStatistics(op: string, what: string, value: unknown): BatchStatistics {
  // Not of a class derived from it: that may answer otherwise the next time.
  if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === BatchStatistics.prototype) {
    return value as BatchStatistics
  }
  if (typeof value !== 'object' || value === null) throw wrongType(op, what, 'BatchStatistics', describe(value))
  const { count, channels } = value as Partial<BatchStatistics>
  // Their zeros are made when they are read, by that copy as by this.
  if (count === 0 && Number.isSafeInteger(channels) && (channels as number) >= 0) {
    return statisticsOfNothing(channels as number)
  }
  const { mean, squaredDeviations } = value as Partial<BatchStatistics>
  if (!mean || !squaredDeviations) throw wrongType(op, what, 'BatchStatistics', describe(value))
  return new BatchStatistics(count as number, mean, squaredDeviations)
}

function mergeTwo(a: BatchStatistics, b: BatchStatistics): BatchStatistics {
  if (a.channels !== b.channels) {
    throw wrongValue('BatchStatistics.merge', 'part.channels', `${a.channels} (the first part's)`, String(b.channels))
  }
  if (b.count === 0) return a
  if (a.count === 0) return b
  const [mean, squaredDeviations] = [a.mean, a.squaredDeviations]
  const added = { mean: b.mean, squares: b.squaredDeviations }
  for (let c = 0; c < mean.length; c++) {
    const merged = mergeMoments(
      { count: a.count, mean: mean[c], squares: squaredDeviations[c] },
      { count: b.count, mean: added.mean[c], squares: added.squares[c] }
    )
    mean[c] = merged.mean
    squaredDeviations[c] = merged.squares
  }
  return new BatchStatistics(a.count + b.count, mean, squaredDeviations)
}

/** Count, mean and sum of squared deviations of some numbers. */
interface Moments {
  readonly count: number
  readonly mean: number
  readonly squares: number
}

/** Those of two sets of numbers together (rule 17). */
export function mergeMoments(a: Moments, b: Moments): Moments {
  if (b.count === 0) return a
  if (a.count === 0) return b
  const count = a.count + b.count
  const delta = b.mean - a.mean
  // Where the difference of two numbers leaves float64 their mean does not.
  const overflows = !Number.isFinite(delta) && Number.isFinite(a.mean) && Number.isFinite(b.mean)
  const mean = overflows ? a.mean * (a.count / count) + b.mean * (b.count / count) : a.mean + delta * (b.count / count)
  // The square of delta alone might overflow or vanish.
  const between = delta * (delta * ((a.count * b.count) / count))
  return { count, mean, squares: a.squares + b.squares + between }
}

/**
 * Mean and sum of squared deviations of each channel over samples and positions: the statistics of training-mode batch
 * normalisation, to be merged with those of other parts of the batch.
 *
 * @param x a tensor [N, C, ...], or [N, ..., C] with layout 'channels-last'
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value
 * @example
 * ```ts
 * import { batchStatistics } from 'evenkeel'
 *
 * const { count, mean, squaredDeviations } = batchStatistics({ data: Float32Array.of(1, 10, 3, 50), dims: [2, 2] })
 * console.log(count, mean, squaredDeviations) // 2 Float64Array(2) [ 2, 30 ] Float64Array(2) [ 2, 800 ]
 * ```
 */
export function batchStatistics(x: TensorLike, options: ChannelOptions = {}): BatchStatistics {
  const op = 'batchStatistics'
  const input = readVolume(op, x, readOptions(op, options, channelOptions))
  const operands = new Operands(op)
  operands.add('x', input.data, 'input')
  operands.check()
  const count = countValues(input)
  const { groups } = input.shape
  if (count === 0) return statisticsOfNothing(groups)
  const mean = new Float64Array(groups)
  const variance = new Float64Array(groups)
  kernelOf('batch_statistics')({ mean, variance, x: input.data, shape: input.shape })
  return new BatchStatistics(
    count,
    mean,
    variance.map(v => v * count)
  )
}

/** How many values a channel has. */
export function countValues({ shape: { samples, positions, spans } }: VolumeInput): number {
  return countRows({ first: 0, samples, positions, spans })
}
