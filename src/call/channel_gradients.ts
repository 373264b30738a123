// Reads the calls of the backward operations over channels.
import type { Statistic } from '../kernels/operands.js'
import { type ChannelOptions, channelOptions, readPerChannel, readVolume, type VolumeInput } from './channels.js'
import { describe, wrongValue } from './errors.js'
import { checkGradients, checkPair, type GradientCall, type ParameterPlaces, readSaved, readSum } from './gradients.js'
import { type Operand, readLikeX, readOutput, readStatistic, type TensorLike } from './tensor.js'

/** Options of a backward call over channels that are not parameters of the layer. */
export interface ChannelGradientOptions extends ChannelOptions, ParameterPlaces {
  /** The Float64Array that the forward wrote as `mean`. With `rstd`, or not at all. Default: computed again. */
  mean?: Float64Array | undefined
  /** The Float64Array that the forward wrote as `rstd`; the bits are the same. Default: computed again. */
  rstd?: Float64Array | undefined
}

/** The options of {@link ChannelGradientOptions}. */
export const channelGradientOptions = {
  ...channelOptions,
  mean: true,
  rstd: true,
  dx: true,
  dweight: true,
  dbias: true
} as const

/** What a layer has, or a function is given. */
export interface ChannelGradientParameters {
  readonly weight?: Operand | undefined
  readonly bias?: Operand | undefined
  /** How many channels x must have, and the name of that number; undefined: any number. */
  readonly channels?: readonly [number, string] | undefined
  /** Running statistics, where they are used. */
  readonly runningMean?: Operand | Statistic | undefined
  readonly runningVar?: Operand | Statistic | undefined
}

export interface ChannelGradientCall extends GradientCall {
  readonly input: VolumeInput
  readonly runningMean: Statistic | undefined
  readonly runningVar: Statistic | undefined
}

/**
 * Checks everything about one call; writes nothing. `statistics(channels)` is how many of mean and rstd there are, of so many
 * channels, and `why` says it.
 */
export function readChannelGradients(
  op: string,
  givenDy: Operand,
  givenX: TensorLike,
  options: ChannelGradientOptions,
  parameters: ChannelGradientParameters,
  statistics: (samples: number, channels: number) => number,
  why: string
): ChannelGradientCall {
  const input = readVolume(op, givenX, options)
  const { elements: x, dims } = input
  const { samples, groups: channels } = input.shape
  const expected = parameters.channels
  if (expected && channels !== expected[0]) {
    throw wrongValue(op, 'x.dims', `${expected[0]} channels (${expected[1]})`, describe(dims))
  }
  const dy = readLikeX(op, 'dy', givenDy, x)
  const weight = readPerChannel(op, 'weight', parameters.weight, channels, options.dtype)
  const bias = readPerChannel(op, 'bias', parameters.bias, channels, options.dtype)
  const running = (what: 'runningMean' | 'runningVar') =>
    readStatistic(op, what, parameters[what], [channels], 'channels')
  const runningMean = running('runningMean')
  const runningVar = running('runningVar')
  checkPair(op, options.mean, options.rstd)
  const count = statistics(samples, channels)
  const mean = readSaved(op, 'mean', options.mean, count, why)
  const rstd = readSaved(op, 'rstd', options.rstd, count, why)
  const dx = readOutput(op, x, options.dx, 'dx', true)
  const hasParameters = weight !== undefined || bias !== undefined
  const dweight = readSum(op, 'dweight', options.dweight, weight, weight !== undefined, [channels], 'channels', x)
  const dbias = readSum(op, 'dbias', options.dbias, bias ?? weight, hasParameters, [channels], 'channels', x)
  const arrays = { dy, x: x.data, mean, rstd, weight }
  const sums = { dweight, dbias }
  const call = { op, arrays, dx, dresidual: undefined, sums, input, runningMean, runningVar }
  checkGradients(call, { bias, runningMean, runningVar })
  return call
}
