// One call of group or instance normalisation.
import type { AsyncOptions } from '../call/async_options.js'
import {
  type ChannelOptions,
  type ChannelWeights,
  readPerChannel,
  readVolume,
  readVolumeCall
} from '../call/channels.js'
import { describe, wrongValue } from '../call/errors.js'
import { Operands } from '../call/overlap.js'
import { type ReadCall, runCall, runCallAsync } from '../call/run.js'
import { type Operand, readStatistic, type TensorLike } from '../call/tensor.js'
import type { Call, Statistic } from '../kernels/index.js'

/** Options of one call; documented where users find them. */
export interface GroupOptions extends ChannelOptions {
  readonly mean?: Statistic | undefined
  readonly rstd?: Statistic | undefined
  readonly out?: Operand | undefined
}

/** What a layer has, or a function is given beside them. */
export interface GroupParameters extends ChannelWeights {
  readonly eps: number
  /** undefined: each channel is a group. */
  readonly numGroups: number | undefined
  /** How many channels x must have; undefined: any number. */
  readonly numChannels: number | undefined
}

/** Throws unless groups have whole channels. */
export function checkDivides(op: string, numGroups: number, channels: number): void {
  if (channels % numGroups !== 0) {
    throw wrongValue(op, 'numGroups', `a divisor of ${channels} (channels)`, String(numGroups))
  }
}

/** Runs the call; returns what the caller gets. */
export function normalizeGroups(
  op: string,
  x: TensorLike,
  options: GroupOptions,
  parameters: GroupParameters
): TensorLike {
  const { read, operands } = readCall(op, x, options, parameters, false)
  return runCall('group_norm', operands, read) as TensorLike
}

/** The same off the event loop. */
export async function normalizeGroupsAsync(
  op: string,
  x: TensorLike,
  options: GroupOptions & AsyncOptions,
  parameters: GroupParameters
): Promise<TensorLike> {
  const { read, operands } = readCall(op, x, options, parameters, true)
  return (await runCallAsync(op, 'group_norm', operands, read, options)) as TensorLike
}

/** Checks everything about a call; writes nothing. */
function readCall(
  op: string,
  x: TensorLike,
  options: GroupOptions,
  parameters: GroupParameters,
  async: boolean
): { read: ReadCall; operands: Call<'group_norm'> } {
  const input = readVolume(op, x, options)
  const { samples, groups: channels, positions, spans } = input.shape
  const { numChannels, numGroups, eps } = parameters
  if (numChannels !== undefined && channels !== numChannels) {
    throw wrongValue(op, 'x.dims', `${numChannels} channels`, describe(input.dims))
  }
  const groups = numGroups ?? channels
  checkDivides(op, groups, channels)
  const weight = readPerChannel(op, 'weight', parameters.weight, channels, options.dtype)
  const bias = readPerChannel(op, 'bias', parameters.bias, channels, options.dtype)
  const mean = readStatistic(op, 'mean', options.mean, [samples, groups], 'samples * groups')
  const rstd = readStatistic(op, 'rstd', options.rstd, [samples, groups], 'samples * groups')
  const operands = new Operands(op)
  operands.add('weight', weight, 'parameter')
  operands.add('bias', bias, 'parameter')
  operands.add('mean', mean, 'statistic')
  operands.add('rstd', rstd, 'statistic')
  const read = readVolumeCall(op, input, options.out, operands, async)
  // Without positions a group's channels are neighbours in both layouts: a row.
  const channelsLast = input.shape.channelsLast && positions > 1
  const shape = { samples, groups, channelsPerGroup: channels / groups, positions, channelsLast, spans }
  return { read, operands: { y: read.y, mean, rstd, x: read.x, weight, bias, shape, eps } }
}
