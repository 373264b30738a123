// One call of BatchNorm: what it reads, which statistics it uses, and how it updates the running ones.
import { kernelOf } from '../backend/choice.js'
import { checkAttached, checkLength } from '../call/arrays.js'
import { CallMemory } from '../call/async_memory.js'
import type { AsyncOptions } from '../call/async_options.js'
import {
  type ChannelOptions,
  type ChannelWeights,
  checkVolumeCall,
  readPerChannel,
  readVolume,
  readVolumeOutput,
  type VolumeCall,
  type VolumeInput
} from '../call/channels.js'
import { describe, wrongType, wrongValue } from '../call/errors.js'
import type { LoadedState } from '../call/layer_state.js'
import { checkBoolean, checkEps, checkFinite } from '../call/options.js'
import { Operands } from '../call/overlap.js'
import type { QuickChannels } from '../call/quick_channels.js'
import { ownCall, runCall } from '../call/run.js'
import { type Operand, readStatistic, type TensorLike } from '../call/tensor.js'
import { lengthOf } from '../kernels/arrays.js'
import type { Call, Statistic, Volume } from '../kernels/index.js'
import { type BatchStatistics, countValues, readStatistics } from './batch_statistics.js'

/** Options of one call; documented where users find them. */
export interface BatchOptions extends ChannelOptions {
  readonly mean?: Statistic | undefined
  readonly rstd?: Statistic | undefined
  readonly statistics?: BatchStatistics | undefined
  readonly out?: Operand | undefined
}

/** What a layer has, or a function is given beside them. */
export interface BatchParameters extends ChannelWeights {
  readonly runningMean?: Operand | Statistic | undefined
  readonly runningVar?: Operand | Statistic | undefined
  readonly eps: number
  readonly unbiased: boolean
  readonly training: boolean
  /** How many channels x must have; undefined: any number. */
  readonly numFeatures: number | undefined
}

/** What was read of a call. */
interface Read {
  readonly call: VolumeCall
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

/** The statistics that x is normalised with, float64, as the kernels take them. */
interface Used {
  readonly mean: Float64Array
  readonly variance: Float64Array
}

/** Throws for a variance that no running statistics have: negative or NaN. With `training`, which may make it NaN, negative. */
export function checkVariance(
  op: string,
  variance: Statistic | undefined,
  training = false,
  n = variance ? lengthOf(variance) : 0,
  what = 'runningVar'
): void {
  for (let c = 0; variance && c < n; c++) {
    const value = variance[c]
    if (value >= 0 || (training && Number.isNaN(value))) continue
    throw wrongValue(op, `${what}[${c}]`, 'a number >= 0', String(value))
  }
}

const { set } = Float32Array.prototype

/** PyTorch's names of what a layer's running statistics are. */
export const runningNames = ['running_mean', 'running_var', 'num_batches_tracked'] as const

/**
 * Reads the running statistics of a layer that has such from a state. What this returns writes them, and returns how many
 * batches they have seen, where the state says so.
 */
export function readRunning(
  state: LoadedState,
  runningMean: Float32Array | undefined,
  runningVar: Float32Array | undefined,
  numFeatures: number
): () => number | undefined {
  if (!runningMean || !runningVar) return () => undefined
  const op = 'loadState'
  const read = (name: (typeof runningNames)[number], check?: (what: string, numbers: Statistic) => void) =>
    state.vector(name, [numFeatures], 'numFeatures', true, check) as Float32Array
  const mean = read('running_mean')
  const variance = read('running_var', (what, numbers) => checkVariance(op, numbers, false, numFeatures, what))
  const count = state.count('num_batches_tracked')
  checkAttached(op, 'runningMean', runningMean)
  checkAttached(op, 'runningVar', runningVar)
  return () => {
    set.call(runningMean, mean)
    set.call(runningVar, variance)
    return count
  }
}

/** Reads x, which must have the layer's channels. */
function readInput(op: string, x: TensorLike, options: BatchOptions, { numFeatures }: BatchParameters): VolumeInput {
  const input = readVolume(op, x, options)
  if (numFeatures !== undefined && input.shape.groups !== numFeatures) {
    throw wrongValue(op, 'x.dims', `${numFeatures} channels (numFeatures)`, describe(input.dims))
  }
  return input
}

/** Checks everything about a call; writes nothing. `output` where that was read already. */
function readCall(
  op: string,
  input: VolumeInput,
  options: BatchOptions,
  parameters: BatchParameters,
  async: boolean,
  output?: VolumeCall
): Read {
  const { training } = parameters
  const { shape } = input
  const { groups } = shape
  const weight = readPerChannel(op, 'weight', parameters.weight, groups, options.dtype)
  const bias = readPerChannel(op, 'bias', parameters.bias, groups, options.dtype)
  const runningMean = readStatistic(op, 'runningMean', parameters.runningMean, [groups], 'channels')
  const runningVar = readStatistic(op, 'runningVar', parameters.runningVar, [groups], 'channels')
  const mean = readStatistic(op, 'mean', options.mean, [groups], 'channels')
  const rstd = readStatistic(op, 'rstd', options.rstd, [groups], 'channels')
  if (!runningMean || !runningVar) checkRunning(op, runningMean, runningVar, training)
  const { statistics } = options
  const given = statistics === undefined ? undefined : readStatistics(op, 'statistics', statistics)
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
  const call = output ?? readVolumeOutput(op, input, options.out, async)
  checkVolumeCall(call, operands)
  const count = given?.count ?? countValues(input)
  if (training && (count === 1 || (given && count === 0))) {
    const what = given ? 'statistics.count' : 'x'
    throw wrongValue(op, what, 'more than one value per channel in training', String(count))
  }
  if (training) checkVariance(op, runningVar, true)
  return { call, shape, weight, bias, runningMean, runningVar, mean, rstd, given, count }
}

/** The numbers that a call and a layer are given. */
export function readConstants(op: string, { eps = 1e-5, unbiased = true }: { eps?: number; unbiased?: boolean }) {
  checkBoolean(op, 'unbiased', unbiased)
  return { eps: checkEps(op, eps), unbiased }
}

/** A number from 0 to 1. */
export function checkMomentum(op: string, momentum: unknown): void {
  checkFinite(op, 'momentum', momentum)
  if (momentum < 0 || momentum > 1) throw wrongValue(op, 'momentum', 'a number from 0 to 1', describe(momentum))
}

/** Running statistics are needed without training, and come in pairs. */
function checkRunning(op: string, runningMean: unknown, runningVar: unknown, training: boolean): void {
  for (const [what, missing, other] of [
    ['runningMean', !runningMean, runningVar],
    ['runningVar', !runningVar, runningMean]
  ] as const) {
    if (!missing) continue
    if (!training) throw wrongType(op, what, 'an array, because training is false', 'undefined')
    if (other) throw wrongType(op, what, 'an array, because the other running statistic is given', 'undefined')
  }
}

/** The kernel's operands. */
function callOf(read: Read, { mean, variance }: Used, eps: number): Call<'batch_norm'> {
  const { call, weight, bias, shape } = read
  return { y: call.y, x: call.x, mean, variance, weight, bias, shape, eps }
}

/** Statistics that are known before x is looked at, as float64: the running ones, or given ones. */
function knownStatistics(
  op: string,
  { runningMean, runningVar, given, shape: { groups } }: Read,
  { training, numFeatures }: BatchParameters,
  places: Used | undefined
): Used | undefined {
  if (given) return { mean: given.mean, variance: given.variance() }
  if (training) return undefined
  const mean = asFloat64(runningMean as Statistic, places?.mean)
  const variance = asFloat64(runningVar as Statistic, places?.variance)
  // A layer's own may be NaN by its training, and have been written to since. After the copy, which is quicker to look at.
  checkVariance(op, variance, numFeatures !== undefined, groups)
  return { mean, variance }
}

/** Of calls that are made at once: running statistics of few channels as float64. */
const scratch: Used = { mean: new Float64Array(256), variance: new Float64Array(256) }

/** A copy as float64, in `place` where it fits. By a loop: a constructor of typed arrays converts far slower (measured). */
export function asFloat64(array: Statistic, place?: Float64Array): Float64Array {
  const n = lengthOf(array)
  const copy = place && place.length >= n ? place : new Float64Array(n)
  for (let i = 0; i < n; i++) copy[i] = array[i]
  return copy
}

/**
 * One call: the result, and whether the running statistics were updated. `quick` runs it in evaluation where no option but
 * `out` is given, with a layer's running statistics.
 */
export function normalizeBatch(
  op: string,
  x: TensorLike,
  options: BatchOptions,
  parameters: BatchParameters,
  momentum: number,
  quick?: QuickChannels
): { y: TensorLike; updated: boolean } {
  const { training, eps, unbiased, runningMean, runningVar } = parameters
  const input = readInput(op, x, options, parameters)
  const output = quick && readVolumeOutput(op, input, options.out)
  if (output && quick.run(input, output, runningMean as Float32Array, runningVar as Float32Array)) {
    return { y: output.result as TensorLike, updated: false }
  }
  const read = readCall(op, input, options, parameters, false, output)
  const used = knownStatistics(op, read, parameters, scratch) ?? batchMoments(read)
  const y = runCall('batch_norm', callOf(read, used, eps), read.call) as TensorLike
  writeStatistics(read, used, eps)
  return { y, updated: training && updateRunning(read, used, momentum, unbiased) }
}

/** Mean and variance of x. */
function batchMoments({ call, shape, count }: Read): Used {
  if (call.empty) return none
  const mean = new Float64Array(shape.groups)
  const variance = new Float64Array(shape.groups)
  if (count === 0) return { mean, variance } // all is padding, which the kernel clears
  kernelOf('batch_statistics')({ mean, variance, x: call.x, shape })
  return { mean, variance }
}

/** The statistics of no elements: however many channels there are, no memory is needed for them. */
const none: Used = { mean: new Float64Array(0), variance: new Float64Array(0) }

/**
 * The same off the event loop. When the result is there, `inTurn` is called with what updates the running statistics, to be
 * done when the calls before this one have.
 */
export async function normalizeBatchAsync(
  op: string,
  x: TensorLike,
  options: BatchOptions & AsyncOptions,
  parameters: BatchParameters,
  inTurn: (update: (momentum: number) => boolean) => Promise<void>
): Promise<TensorLike> {
  const { signal } = options
  const { training, eps, unbiased } = parameters
  const read = readCall(op, readInput(op, x, options, parameters), options, parameters, true)
  const { call, shape, count, given } = read
  const memory = new CallMemory(op)
  // Running statistics as they are now; a thread takes the copies over.
  let used = knownStatistics(op, read, parameters, undefined)
  const base = callOf(read, used ?? none, eps)
  const own = ownCall(op, memory, 'batch_norm', base, call, options)
  let { x: ownX, y } = own
  if (!used) {
    used = call.empty ? none : { mean: new Float64Array(shape.groups), variance: new Float64Array(shape.groups) }
    if (count > 0) {
      const places = { mean: new Float64Array(shape.groups), variance: new Float64Array(shape.groups) }
      const done = await memory.run('batch_statistics', { ...places, x: ownX, shape }, signal)
      used = { mean: done.mean, variance: done.variance }
      if (y === ownX) y = done.x
      ownX = done.x
    }
  }
  if (!call.empty) {
    const copies = { mean: new Float64Array(used.mean), variance: new Float64Array(used.variance) }
    const begun = training && !given
    y = (await memory.run('batch_norm', { ...own, x: ownX, y, ...copies }, begun ? undefined : signal)).y
  }
  for (const what of ['mean', 'rstd', 'runningMean', 'runningVar'] as const) {
    const place = read[what]
    if (!place) continue
    checkAttached(op, what, place)
    checkLength(op, what, place, shape.groups, 'channels')
  }
  memory.deliver()
  writeStatistics(read, used, eps)
  const final = used
  if (training) await inTurn(momentum => updateRunning(read, final, momentum, unbiased))
  return call.resultOver(call.out ?? y) as TensorLike
}

/** Writes mean and rstd where the caller wants them. */
function writeStatistics({ mean, rstd, shape }: Read, used: Used, eps: number): void {
  const channels = shape.groups
  const empty = used === none // of no elements: 0
  for (let c = 0; mean && c < channels; c++) mean[c] = empty ? 0 : used.mean[c]
  for (let c = 0; rstd && c < channels; c++) rstd[c] = 1 / Math.sqrt((empty ? 0 : used.variance[c]) + eps) // rule 6
}

/** Updates the running statistics, where there are both a batch and such (rule 17); returns whether it did. */
function updateRunning(
  { runningMean, runningVar, given, count, shape }: Read,
  used: Used,
  momentum: number,
  unbiased: boolean
): boolean {
  if (!runningMean || !runningVar || count === 0) return false
  const deviations = given?.squaredDeviations
  for (let c = 0; c < shape.groups; c++) {
    const squares = deviations ? deviations[c] : used.variance[c] * count
    const variance = unbiased ? squares / (count - 1) : used.variance[c]
    runningMean[c] = (1 - momentum) * runningMean[c] + momentum * used.mean[c]
    runningVar[c] = (1 - momentum) * runningVar[c] + momentum * variance
  }
  return true
}
