// BatchNorm: the public operation and layer, and below them the kernel in TypeScript, the twin of native/ops/batch_norm.h.
import { kernelFor } from '../backend.js'
import { type AsyncOptions, asyncOptions, CallMemory, checkAsyncOptions } from '../background.js'
import {
  clear,
  makeColumnScales,
  normaliseColumns,
  normaliseRun,
  type RowSet,
  type Spans,
  STRIP,
  type Statistic,
  scaleOf,
  setColumnScale
} from '../canonical.js'
import {
  type ChannelOptions,
  type ChannelWeights,
  channelOptions,
  checkCount,
  OwnWeights,
  readPerChannel,
  readStatistic,
  readVolume,
  readVolumeOutput,
  volumeMemory
} from '../channels.js'
import { checkEps, checkFinite, checkOptions, describe, wrongType, wrongValue } from '../check.js'
import type { Operand, TensorLike } from '../tensor.js'
import { type BatchStatistics, countValues, readStatistics, statisticsLater, statisticsOf } from './batch_statistics.js'

/** Options of one BatchNorm call that are not parameters of the layer. */
export interface BatchNormForwardOptions extends ChannelOptions {
  /** C elements; receives the mean that was used. */
  mean?: Statistic
  /** C elements; receives 1 / sqrt(variance + eps). */
  rstd?: Statistic
  /** In training: statistics to use in place of x's own, e.g. those of several workers, merged. */
  statistics?: BatchStatistics
  /** As many elements as x; receives the result. May be exactly x. Default: new memory. */
  out?: Operand
}

/** The running statistics: C elements each, float32 or float64. */
export interface RunningStatistics {
  /** Running mean. */
  runningMean?: Operand | Statistic
  /** Running variance. */
  runningVar?: Operand | Statistic
}

/** Options of BatchNorm that are no arrays. */
export interface BatchNormConstants {
  /** Added to the variance, finite and >= 0. Default: 1e-5. */
  eps?: number
  /** Weight of the new value in the running statistics, 0 to 1. ONNX and Keras mean 1 - momentum. Default: 0.1. */
  momentum?: number
  /** Whether the running variance is divided by n - 1 (PyTorch; default) or by n (false: ONNX and Keras). */
  unbiased?: boolean
}

/** Options of {@link batchNorm}. */
export interface BatchNormOptions
  extends BatchNormForwardOptions,
    ChannelWeights,
    RunningStatistics,
    BatchNormConstants {
  /** Whether x is normalised with its own statistics, which update the running ones in place. Default: false. */
  training?: boolean
}

const forwardOptions = [...channelOptions, 'mean', 'rstd', 'statistics', 'out']
const constants = ['eps', 'momentum', 'unbiased']
const functionOptions = ['runningMean', 'runningVar', 'weight', 'bias', 'training', ...constants, ...forwardOptions]

/**
 * Batch normalisation (Ioffe & Szegedy 2015, arXiv 1502.03167; ONNX BatchNormalization):
 * `y = (x - mean) / sqrt(variance + eps) * weight + bias` for each channel. Mean and variance are the running ones, or,
 * with `training`, those of x over samples and positions (variance biased), which then update the running ones in place
 * as PyTorch does: `running = (1 - momentum) * running + momentum * new`, the new variance divided by n - 1.
 *
 * With `lengths` or `mask`, padded positions count in no statistic and become 0.
 *
 * @param x a tensor [N, C] or [N, C, ...], or [N, ..., C] with layout 'channels-last'
 * @returns `options.out` where that is a tensor, else a tensor of x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value (among them training with one value per
 *   channel), before anything is written
 */
export function batchNorm<X extends TensorLike>(x: X, options: BatchNormOptions = {}): X {
  const op = 'batchNorm'
  checkOptions(op, options, functionOptions)
  const { training = false, momentum = 0.1 } = options
  if (typeof training !== 'boolean') throw wrongType(op, 'training', 'a boolean', describe(training))
  const constants = { ...readConstants(op, options), momentum: checkMomentum(op, momentum) }
  return forward(op, x, { ...options, ...constants, training }).y as X
}

/**
 * Batch normalisation with parameters and running statistics, as torch.nn.BatchNorm1d, 2d and 3d. It begins in training;
 * {@link eval} changes to the running statistics. See {@link batchNorm}.
 */
export class BatchNorm {
  readonly numFeatures: number
  readonly eps: number
  /** Weight of the new value; null: the running statistics are the plain average over all batches. */
  readonly momentum: number | null
  readonly unbiased: boolean
  /** Running mean, zeros at first, updated in place; undefined with `trackRunningStats: false`. */
  readonly runningMean: Float32Array | undefined
  /** Running variance, ones at first. */
  readonly runningVar: Float32Array | undefined
  /** Number of training calls that updated the running statistics. */
  numBatchesTracked = 0
  #training = true
  /** Settled when all calls of forwardAsync so far have updated the running statistics. */
  #updates: Promise<unknown> = Promise.resolve()
  readonly #weights: OwnWeights

  /**
   * Copies all arrays. Defaults: eps 1e-5, momentum 0.1, unbiased true, running mean 0 and variance 1, no weight, no bias.
   * With `trackRunningStats: false` there are no running statistics, and every call uses x's own. Errors as
   * {@link batchNorm}.
   */
  constructor(
    numFeatures: number,
    options: ChannelWeights &
      RunningStatistics &
      Omit<BatchNormConstants, 'momentum'> & { momentum?: number | null; trackRunningStats?: boolean } = {}
  ) {
    const op = 'BatchNorm'
    checkOptions(op, options, ['weight', 'bias', 'runningMean', 'runningVar', ...constants, 'trackRunningStats'])
    checkCount(op, 'numFeatures', numFeatures)
    const { momentum = 0.1, trackRunningStats = true, runningMean, runningVar } = options
    if (typeof trackRunningStats !== 'boolean') {
      throw wrongType(op, 'trackRunningStats', 'a boolean', describe(trackRunningStats))
    }
    this.numFeatures = numFeatures
    this.momentum = momentum === null ? null : checkMomentum(op, momentum)
    const { eps, unbiased } = readConstants(op, options)
    this.eps = eps
    this.unbiased = unbiased
    const read = (what: string, value: Operand | Statistic | undefined, initial: number) => {
      const given = readStatistic(op, what, value, numFeatures, 'numFeatures')
      if (given && !trackRunningStats) {
        throw wrongType(op, what, 'undefined, because trackRunningStats is false', describe(value))
      }
      return trackRunningStats ? new Float32Array(given ?? new Float64Array(numFeatures).fill(initial)) : undefined
    }
    this.runningMean = read('runningMean', runningMean, 0)
    this.runningVar = read('runningVar', runningVar, 1)
    this.#weights = new OwnWeights(op, numFeatures, options)
  }

  /** Replaces weight and bias by copies of these; what is absent is none. */
  setWeights(weights: ChannelWeights): void {
    this.#weights.set(weights)
  }

  /** Whether calls use and count the statistics of their batch. */
  get training(): boolean {
    return this.#training
  }

  /** From now on each call uses its batch's statistics and updates the running ones. */
  train(training = true): this {
    if (typeof training !== 'boolean') throw wrongType('BatchNorm', 'training', 'a boolean', describe(training))
    this.#training = training
    return this
  }

  /** From now on each call uses the running statistics. */
  eval(): this {
    return this.train(false)
  }

  /** The same result as {@link batchNorm} with this layer's parameters and statistics. */
  forward<X extends TensorLike>(x: X, options: BatchNormForwardOptions = {}): X {
    const op = 'BatchNorm'
    checkOptions(op, options, forwardOptions)
    const { y, updated } = forward(op, x, { ...options, ...this.#parameters() })
    if (updated) this.numBatchesTracked++
    return y as X
  }

  /**
   * The same result as a Promise, computed off the event loop. See {@link LayerNorm.forwardAsync}. In training the running
   * statistics are updated before the Promise is fulfilled, in the order of the calls.
   */
  async forwardAsync<X extends TensorLike>(x: X, options: BatchNormForwardOptions & AsyncOptions = {}): Promise<X> {
    const op = 'BatchNorm'
    checkOptions(op, options, [...forwardOptions, ...asyncOptions])
    const call = { ...options, ...this.#parameters() }
    const before = this.#updates
    const y = forwardLater(op, x, call, async update => {
      await before
      if (update(this.#momentum())) this.numBatchesTracked++
    })
    if (call.training) this.#updates = Promise.allSettled([before, y])
    return (await y) as X
  }

  #parameters() {
    const { runningMean, runningVar, eps, unbiased, numFeatures } = this
    const { weight, bias } = this.#weights
    const training = this.#training || !runningMean
    return { weight, bias, runningMean, runningVar, eps, unbiased, momentum: this.#momentum(), training, numFeatures }
  }

  #momentum(): number {
    return this.momentum ?? 1 / (this.numBatchesTracked + 1)
  }
}

function checkMomentum(op: string, momentum: unknown): number {
  checkFinite(op, 'momentum', momentum)
  if (momentum < 0 || momentum > 1) throw wrongValue(op, 'momentum', 'a number from 0 to 1', describe(momentum))
  return momentum
}

function readConstants(op: string, options: BatchNormConstants | { eps?: number; unbiased?: boolean }) {
  const { eps = 1e-5, unbiased = true } = options
  if (typeof unbiased !== 'boolean') throw wrongType(op, 'unbiased', 'a boolean', describe(unbiased))
  return { eps: checkEps(op, eps), unbiased }
}

interface Call extends BatchNormForwardOptions, ChannelWeights, RunningStatistics, Required<BatchNormConstants> {
  training: boolean
  /** How many channels x must have; absent: any number. */
  numFeatures?: number
}

/** One call: the result, and whether the running statistics were updated. */
function forward(op: string, x: TensorLike, call: Call): { y: TensorLike; updated: boolean } {
  const read = readCall(op, x, call, false)
  const { input, output, weight, bias } = read
  const statistics = call.training ? (read.given ?? statisticsOf(input)) : undefined
  const { mean, variance } = usedStatistics(read, statistics)
  writeStatistics(read, mean, variance, call.eps)
  if (!output.empty) kernel(...operandsOf(read, { y: output.y, x: input.data, weight, bias }, mean, variance, call.eps))
  const updated = updateRunning(read, statistics, call)
  return { y: output.finish(), updated }
}

/**
 * The same off the event loop. When the result is there, `update` is called, which updates the running statistics when the
 * calls before this one have.
 */
async function forwardLater(
  op: string,
  x: TensorLike,
  call: Call & AsyncOptions,
  update: (update: (momentum: number) => boolean) => Promise<void>
): Promise<TensorLike> {
  checkAsyncOptions(op, call)
  const read = readCall(op, x, call, true)
  const { input, output } = read
  const memory = new CallMemory(op)
  const own = volumeMemory(op, memory, input, output, call)
  const arrays = { ...own, weight: memory.weight(read.weight), bias: memory.weight(read.bias) }
  const places = { mean: memory.written('mean', read.mean), rstd: memory.written('rstd', read.rstd) }
  // Running statistics as they are now; in training those of the batch.
  const known = call.training ? undefined : usedStatistics(read, undefined)
  const statistics = call.training
    ? (read.given ?? (await statisticsLater(memory, own.x, input, call.signal)))
    : undefined
  const { mean, variance } = known ?? usedStatistics(read, statistics)
  if (!output.empty) {
    const given = [new Float64Array(mean), new Float64Array(variance)] as const // a thread takes them over
    await memory.run('batch_norm', operandsOf(read, arrays, ...given, call.eps), call.signal)
  }
  writeStatistics(places, mean, variance, call.eps)
  const y = own.finish()
  if (call.training) await update(momentum => updateRunning(read, statistics, { ...call, momentum }))
  return y
}

type Read = ReturnType<typeof readCall>

/** Checks everything about a call; writes nothing. */
function readCall(op: string, x: TensorLike, call: Call, later: boolean) {
  const { training } = call
  const input = readVolume(op, x, call)
  const { groups } = input.shape
  if (call.numFeatures !== undefined && groups !== call.numFeatures) {
    throw wrongValue(op, 'x.dims', `${call.numFeatures} channels (numFeatures)`, describe(input.dims))
  }
  const weight = readPerChannel(op, 'weight', call.weight, groups)
  const bias = readPerChannel(op, 'bias', call.bias, groups)
  const perChannel = (what: 'runningMean' | 'runningVar' | 'mean' | 'rstd') =>
    readStatistic(op, what, call[what], groups, 'channels')
  const runningMean = perChannel('runningMean')
  const runningVar = perChannel('runningVar')
  const mean = perChannel('mean')
  const rstd = perChannel('rstd')
  for (const [what, missing, other] of [
    ['runningMean', !runningMean, runningVar],
    ['runningVar', !runningVar, runningMean]
  ] as const) {
    if (!missing) continue
    if (!training) throw wrongType(op, what, 'an array, because training is false', 'undefined')
    if (other) throw wrongType(op, what, 'an array, because the other running statistic is given', 'undefined')
  }
  const given = call.statistics === undefined ? undefined : readStatistics(op, 'statistics', call.statistics)
  if (given && !training) throw wrongType(op, 'statistics', 'undefined, because training is false', 'BatchStatistics')
  if (given && given.channels !== groups) {
    throw wrongValue(op, 'statistics.channels', `${groups} (channels)`, String(given.channels))
  }
  const of = (array: Statistic | undefined) => ({ array, length: groups })
  const running = { runningMean: of(runningMean), runningVar: of(runningVar) }
  const weights = { weight: of(weight), bias: of(bias) }
  const outputs = { mean: of(mean), rstd: of(rstd) }
  const output = training
    ? readVolumeOutput(op, x, input, call.out, weights, { ...running, ...outputs }, later)
    : readVolumeOutput(op, x, input, call.out, { ...weights, ...running }, outputs, later)

  const count = given?.count ?? countValues(input)
  if (training && (count === 1 || (given && count === 0))) {
    const what = given ? 'statistics.count' : 'x'
    throw wrongValue(op, what, 'more than one value per channel in training', String(count))
  }
  return { input, output, given, weight, bias, runningMean, runningVar, mean, rstd }
}

interface VolumeArrays {
  y: Float32Array
  x: Float32Array
  weight: Float32Array | undefined
  bias: Float32Array | undefined
}

/** The kernel's arguments. */
function operandsOf(
  { input: { shape, spans } }: Read,
  { y, x, weight, bias }: VolumeArrays,
  mean: Float64Array,
  variance: Float64Array,
  eps: number
) {
  const { samples, groups, positions, channelsLast } = shape
  return [y, x, mean, variance, weight, bias, spans, samples, groups, 1, positions, channelsLast, eps] as const
}

/** Mean and variance that x is normalised with: of the batch, or the running ones. Copies. */
function usedStatistics({ runningMean, runningVar }: Read, statistics: BatchStatistics | undefined) {
  if (statistics) return { mean: statistics.mean, variance: statistics.variance() }
  return { mean: new Float64Array(runningMean as Statistic), variance: new Float64Array(runningVar as Statistic) }
}

/** The two outputs. */
function writeStatistics(
  { mean, rstd }: Pick<Read, 'mean' | 'rstd'>,
  usedMean: Float64Array,
  variance: Float64Array,
  eps: number
): void {
  for (let c = 0; c < usedMean.length; c++) {
    if (mean) mean[c] = usedMean[c]
    if (rstd) rstd[c] = 1 / Math.sqrt(variance[c] + eps)
  }
}

/** Whether it did. */
function updateRunning(
  { runningMean, runningVar }: Read,
  statistics: BatchStatistics | undefined,
  call: Call
): boolean {
  if (!statistics || !runningMean || !runningVar || statistics.count === 0) return false
  update(runningMean, statistics.mean, call.momentum)
  update(runningVar, statistics.variance({ unbiased: call.unbiased }), call.momentum)
  return true
}

/** running = (1 - momentum) * running + momentum * value, in float64, rounded to the array's type. */
function update(running: Statistic, value: Float64Array, momentum: number): void {
  for (let c = 0; c < value.length; c++) running[c] = (1 - momentum) * running[c] + momentum * value[c]
}

const kernel = kernelFor('batch_norm', batch_norm)
const scales = makeColumnScales()

/** The kernel: each channel with its mean and variance. It checks nothing. */
export function batch_norm(
  y: Float32Array,
  x: Float32Array,
  mean: Float64Array,
  variance: Float64Array,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined,
  spans: Spans,
  samples: number,
  groups: number,
  _channels: number,
  positions: number,
  channelsLast: boolean,
  eps: number
): void {
  if (channelsLast) {
    const rows: RowSet = { first: 0, samples, positions, spans }
    for (let first = 0; first < groups; first += STRIP) {
      const n = Math.min(STRIP, groups - first)
      for (let k = 0; k < n; k++) {
        const v = variance[first + k]
        setColumnScale(scales, k, mean[first + k], v, 1 / Math.sqrt(v + eps)) // rule 6
      }
      const w = weight && { data: weight, start: first, perRow: 0, perColumn: 1 }
      const b = bias && { data: bias, start: first, perRow: 0, perColumn: 1 }
      normaliseColumns(y, first, x, first, groups, n, rows, scales, w, b)
    }
    return
  }
  for (let sample = 0; sample < samples; sample++) {
    const begin = spans ? spans[2 * sample] : 0
    const end = spans ? spans[2 * sample + 1] : positions
    for (let channel = 0; channel < groups; channel++) {
      const at = (sample * groups + channel) * positions
      const v = variance[channel]
      const scale = scaleOf(mean[channel], v, 1 / Math.sqrt(v + eps)) // rule 6
      clear(y, at, begin)
      normaliseRun(y, at + begin, x, at + begin, end - begin, scale, weight?.[channel], bias?.[channel])
      clear(y, at + end, positions - end)
    }
  }
}
