// One call of group or instance normalisation.
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
import { describe, wrongValue } from '../call/errors.js'
import { Operands } from '../call/overlap.js'
import type { QuickChannels } from '../call/quick_channels.js'
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

/** Runs the call; returns what the caller gets. `quick` runs it where no option but `out` is given. */
export function normalizeGroups(
  op: string,
  x: TensorLike,
  options: GroupOptions,
  parameters: GroupParameters,
  quick?: QuickChannels
): TensorLike {
  const input = readInput(op, x, options, parameters)
  const call = quick && readVolumeOutput(op, input, options.out)
  if (call && quick.run(input, call)) return call.result as TensorLike
  const { read, operands } = readCall(op, input, options, parameters, false, call)
  return runCall('group_norm', operands, read) as TensorLike
}

/** The same off the event loop. */
export async function normalizeGroupsAsync(
  op: string,
  x: TensorLike,
  options: GroupOptions & AsyncOptions,
  parameters: GroupParameters
): Promise<TensorLike> {
  const { read, operands } = readCall(op, readInput(op, x, options, parameters), options, parameters, true)
  return (await runCallAsync(op, 'group_norm', operands, read, options)) as TensorLike
}

/** Reads x, which must have the layer's channels. */
function readInput(op: string, x: TensorLike, options: GroupOptions, { numChannels }: GroupParameters): VolumeInput {
  const input = readVolume(op, x, options)
  if (numChannels !== undefined && input.shape.groups !== numChannels) {
    throw wrongValue(op, 'x.dims', `${numChannels} channels`, describe(input.dims))
  }
  return input
}

/** Checks everything about a call; writes nothing. `output` where that was read already. */
function readCall(
  op: string,
  input: VolumeInput,
  options: GroupOptions,
  parameters: GroupParameters,
  async: boolean,
  output?: VolumeCall
): { read: ReadCall; operands: Call<'group_norm'> } {
  const { samples, groups: channels, positions, spans } = input.shape
  const { numGroups, eps } = parameters
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
  const read = output ?? readVolumeOutput(op, input, options.out, async)
  checkVolumeCall(read, operands)
  // Without positions a group's channels are neighbours in both layouts: a row.
  const channelsLast = input.shape.channelsLast && positions > 1
  const shape = { samples, groups, channelsPerGroup: channels / groups, positions, channelsLast, spans }
  return { read, operands: { y: read.y, mean, rstd, x: read.x, weight, bias, shape, eps } }
}
