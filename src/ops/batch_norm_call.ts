// One call of BatchNorm: what it reads, which statistics it uses, and how it updates the running ones.
import { kernelOf } from '../backend/choice.js'
import { checkAttached, checkLength } from '../call/arrays.js'
import { CallMemory } from '../call/async_memory.js'
import type { AsyncOptions } from '../call/async_options.js'
import {
  type ChannelOptions,
  type ChannelWeights,
  readPerChannel,
  readVolume,
  readVolumeCall,
  type VolumeCall
} from '../call/channels.js'
import { describe, wrongType, wrongValue } from '../call/errors.js'
import { Operands } from '../call/overlap.js'
import { ownCall, runCall } from '../call/run.js'
import { type Operand, readStatistic, type TensorLike } from '../call/tensor.js'
import type { Call, Statistic, Volume } from '../kernels/index.js'
import { type BatchStatistics, countValues, readStatistics } from './batch_statistics.js'

/** Everything that decides one call; its options are documented where users find them. */
export interface BatchCall extends ChannelOptions, ChannelWeights {
  readonly runningMean?: Operand | Statistic
  readonly runningVar?: Operand | Statistic
  readonly mean?: Statistic
  readonly rstd?: Statistic
  readonly statistics?: BatchStatistics
  readonly out?: Operand
  readonly eps: number
  readonly momentum: number
  readonly unbiased: boolean
  readonly training: boolean
  /** How many channels x must have; absent: any number. */
  readonly numFeatures?: number
  /** Whether the running statistics are a layer's own, which were checked when it got them. */
  readonly ownStatistics: boolean
}

/** What was read of a call. */
interface Read extends VolumeCall {
  readonly shape: Volume
  readonly weight: Float32Array | undefined
  readonly bias: Float32Array | undefined
  readonly runningMean: Statistic | undefined
  readonly runningVar: Statistic | undefined
  /** Places of the caller's. */
  readonly mean: Statistic | undefined
  readonly rstd: Statistic | undefined
  /** In training: the statistics to use in place of x's own. */
  readonly given: BatchStatistics | undefined
  /** Values per channel. */
  readonly count: number
}

/** The statistics that x is normalized with, float64, as the kernels take them. */
interface Used {
  readonly mean: Float64Array
  readonly variance: Float64Array
}

/** Throws for a variance that no running statistics have: negative or NaN. */
export function checkVariance(op: string, variance: Statistic | undefined): void {
  if (!variance) return
  for (let c = 0; c < variance.length; c++) {
    if (!(variance[c] >= 0)) throw wrongValue(op, `runningVar[${c}]`, 'a number >= 0', String(variance[c]))
  }
}

/** Checks everything about a call; writes nothing. */
function readCall(op: string, x: TensorLike, call: BatchCall, async: boolean): Read {
  const { training } = call
  const input = readVolume(op, x, call)
  const { shape } = input
  const { groups } = shape
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
  const operands = new Operands(op)
  operands.add('weight', weight, 'parameter')
  operands.add('bias', bias, 'parameter')
  operands.add('runningMean', runningMean, training ? 'statistic' : 'parameter')
  operands.add('runningVar', runningVar, training ? 'statistic' : 'parameter')
  operands.add('mean', mean, 'statistic')
  operands.add('rstd', rstd, 'statistic')
  const read = readVolumeCall(op, input, call.out, operands, async)
  const count = given?.count ?? countValues(input)
  if (training && (count === 1 || (given && count === 0))) {
    const what = given ? 'statistics.count' : 'x'
    throw wrongValue(op, what, 'more than one value per channel in training', String(count))
  }
  if (!training && !call.ownStatistics) checkVariance(op, runningVar)
  return { ...read, shape, weight, bias, runningMean, runningVar, mean, rstd, given, count }
}

/** The kernel's operands. */
function callOf(read: Read, { mean, variance }: Used, { eps }: BatchCall): Call<'batch_norm'> {
  const { y, x, weight, bias, shape } = read
  return { y, x, mean, variance, weight, bias, shape, eps }
}

/** Statistics that are known before x is looked at, as float64: the running ones, or given ones. */
function knownStatistics({ runningMean, runningVar, given }: Read, training: boolean): Used | undefined {
  if (given) return { mean: given.mean, variance: given.variance() }
  if (training) return undefined
  return { mean: new Float64Array(runningMean as Statistic), variance: new Float64Array(runningVar as Statistic) }
}

/** One call: the result, and whether the running statistics were updated. */
export function normalizeBatch(op: string, x: TensorLike, call: BatchCall): { y: TensorLike; updated: boolean } {
  const read = readCall(op, x, call, false)
  const used = knownStatistics(read, call.training) ?? batchMoments(read)
  const y = runCall('batch_norm', callOf(read, used, call), read) as TensorLike
  writeStatistics(read, used, call)
  return { y, updated: call.training && updateRunning(read, used, call) }
}

/** Mean and variance of x. */
function batchMoments({ x, shape, count }: Read): Used {
  const mean = new Float64Array(shape.groups)
  const variance = new Float64Array(shape.groups)
  if (count > 0) kernelOf('batch_statistics')({ mean, variance, x, shape })
  return { mean, variance }
}

/**
 * The same off the event loop. When the result is there, `inTurn` is called with what updates the running statistics, to be
 * done when the calls before this one have.
 */
export async function normalizeBatchAsync(
  op: string,
  x: TensorLike,
  call: BatchCall,
  options: AsyncOptions,
  inTurn: (update: (momentum: number) => boolean) => Promise<void>
): Promise<TensorLike> {
  const { signal } = options
  const read = readCall(op, x, call, true)
  const memory = new CallMemory(op)
  // Running statistics as they are now; a thread takes the copies over.
  let used = knownStatistics(read, call.training)
  const nothing = new Float64Array(0)
  const own = ownCall(
    op,
    memory,
    'batch_norm',
    callOf(read, used ?? { mean: nothing, variance: nothing }, call),
    read,
    options
  )
  let { x: ownX, y } = own
  if (!used) {
    const { groups } = read.shape
    const empty = { mean: new Float64Array(groups), variance: new Float64Array(groups) }
    const moments = { ...empty, x: ownX, shape: read.shape }
    const done = read.count > 0 ? await memory.run('batch_statistics', moments, signal) : moments
    used = { mean: done.mean, variance: done.variance }
    if (y === ownX) y = done.x
    ownX = done.x
  }
  if (!read.empty) {
    const copies = { mean: new Float64Array(used.mean), variance: new Float64Array(used.variance) }
    const begun = call.training && !read.given
    y = (await memory.run('batch_norm', { ...own, x: ownX, y, ...copies }, begun ? undefined : signal)).y
  }
  for (const what of ['mean', 'rstd', 'runningMean', 'runningVar'] as const) {
    const place = read[what]
    if (!place) continue
    checkAttached(op, what, place)
    checkLength(op, what, place, read.shape.groups, 'channels')
  }
  memory.deliver()
  writeStatistics(read, used, call)
  const final = used
  if (call.training) await inTurn(momentum => updateRunning(read, final, { ...call, momentum }))
  return read.resultOver(read.out ?? y) as TensorLike
}

/** Writes mean and rstd where the caller wants them. */
function writeStatistics({ mean, rstd }: Read, used: Used, { eps }: BatchCall): void {
  const channels = used.mean.length
  for (let c = 0; mean && c < channels; c++) mean[c] = used.mean[c]
  for (let c = 0; rstd && c < channels; c++) rstd[c] = 1 / Math.sqrt(used.variance[c] + eps) // rule 6
}

/** Updates the running statistics, where there are both a batch and such (rule 17); returns whether it did. */
function updateRunning({ runningMean, runningVar, given, count }: Read, used: Used, call: BatchCall): boolean {
  if (!runningMean || !runningVar || count === 0) return false
  const { momentum, unbiased } = call
  const deviations = given?.squaredDeviations
  for (let c = 0; c < used.mean.length; c++) {
    const squares = deviations ? deviations[c] : used.variance[c] * count
    const variance = unbiased ? squares / (count - 1) : used.variance[c]
    runningMean[c] = (1 - momentum) * runningMean[c] + momentum * used.mean[c]
    runningVar[c] = (1 - momentum) * runningVar[c] + momentum * variance
  }
  return true
}
