// GroupNorm: the public operation and layer, and below them the kernel in TypeScript, the twin of native/ops/group_norm.h.
import { kernelFor } from '../backend.js'
import { type AsyncOptions, asyncOptions, CallMemory, checkAsyncOptions } from '../background.js'
import {
  bundle,
  clear,
  columnMoments,
  makeColumnScales,
  moments,
  normaliseColumns,
  normaliseRow,
  normaliseRun,
  type RowSet,
  type Spans,
  STRIP,
  type Statistic,
  scaleOf,
  setColumnScale,
  sums
} from '../canonical.js'
import {
  type ChannelWeights,
  checkCount,
  type LayoutOption,
  OwnWeights,
  readPerChannel,
  readStatistic,
  readVolume,
  readVolumeOutput,
  volumeMemory
} from '../channels.js'
import { checkEps, checkOptions, describe, wrongValue } from '../check.js'
import type { PaddingOptions } from '../padding.js'
import type { Operand, TensorLike } from '../tensor.js'

/** Options of one GroupNorm call that are not parameters of the layer. */
export interface GroupNormForwardOptions extends LayoutOption {
  /** samples * groups elements; receives the mean. */
  mean?: Statistic
  /** samples * groups elements; receives 1 / sqrt(variance + eps). */
  rstd?: Statistic
  /** As many elements as x; receives the result. May be exactly x. Default: new memory. */
  out?: Operand
}

/** Options of {@link groupNorm}. */
export interface GroupNormOptions extends GroupNormForwardOptions, ChannelWeights {
  /** Added to the variance, finite and >= 0. Default: 1e-5. */
  eps?: number
}

const forwardOptions = ['layout', 'mean', 'rstd', 'out']
const functionOptions = ['weight', 'bias', 'eps', ...forwardOptions]

/**
 * Group normalisation (Wu & He 2018, arXiv 1803.08494; ONNX GroupNormalization 21):
 * `y = (x - mean) / sqrt(variance + eps) * weight + bias` for each sample and each of `numGroups` groups of neighbouring
 * channels, with the biased variance of the group; weight and bias belong to channels.
 *
 * @param x a tensor [N, C] or [N, C, ...], or [N, ..., C] with layout 'channels-last'
 * @param numGroups how many groups; divides C
 * @returns `options.out` where that is a tensor, else a tensor of x's class over the memory that was written
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 */
export function groupNorm<X extends TensorLike>(x: X, numGroups: number, options: GroupNormOptions = {}): X {
  const op = 'groupNorm'
  checkOptions(op, options, functionOptions)
  checkCount(op, 'numGroups', numGroups)
  return normaliseGroups(op, x, numGroups, {
    ...options,
    eps: checkEps(op, options.eps === undefined ? 1e-5 : options.eps)
  }) as X
}

/** Group normalisation with its weights resolved once, as torch.nn.GroupNorm. See {@link groupNorm}. */
export class GroupNorm {
  readonly numGroups: number
  readonly numChannels: number
  readonly eps: number
  readonly #weights: OwnWeights

  /** Copies the weights. `eps` is 1e-5 unless given; `numGroups` divides `numChannels`. Errors as {@link groupNorm}. */
  constructor(numGroups: number, numChannels: number, options: ChannelWeights & { eps?: number } = {}) {
    const op = 'GroupNorm'
    checkOptions(op, options, ['weight', 'bias', 'eps'])
    checkCount(op, 'numGroups', numGroups)
    checkCount(op, 'numChannels', numChannels)
    checkDivides(op, numGroups, numChannels)
    this.numGroups = numGroups
    this.numChannels = numChannels
    this.eps = checkEps(op, options.eps === undefined ? 1e-5 : options.eps)
    this.#weights = new OwnWeights(op, numChannels, options)
  }

  /** Replaces weight and bias by copies of these; what is absent is none. */
  setWeights(weights: ChannelWeights): void {
    this.#weights.set(weights)
  }

  /** The same result as {@link groupNorm} with this layer's parameters. */
  forward<X extends TensorLike>(x: X, options: GroupNormForwardOptions = {}): X {
    checkOptions('GroupNorm', options, forwardOptions)
    return normaliseGroups('GroupNorm', x, this.numGroups, { ...options, ...this.#parameters() }) as X
  }

  /** The same result as a Promise, computed off the event loop. See {@link LayerNorm.forwardAsync}. */
  async forwardAsync<X extends TensorLike>(x: X, options: GroupNormForwardOptions & AsyncOptions = {}): Promise<X> {
    checkOptions('GroupNorm', options, [...forwardOptions, ...asyncOptions])
    const call = { ...options, ...this.#parameters() }
    return (await normaliseGroupsLater('GroupNorm', x, this.numGroups, call)) as X
  }

  #parameters() {
    const { weight, bias } = this.#weights
    return { weight, bias, eps: this.eps, numChannels: this.numChannels }
  }
}

function checkDivides(op: string, numGroups: number, channels: number): void {
  if (channels % numGroups !== 0) {
    throw wrongValue(op, 'numGroups', `a divisor of ${channels} (channels)`, String(numGroups))
  }
}

type GroupCall = GroupNormForwardOptions &
  ChannelWeights &
  PaddingOptions &
  AsyncOptions & { eps: number; numChannels?: number }

/** One call of group or instance normalisation; `numGroups` undefined: each channel is a group. */
export function normaliseGroups(op: string, x: TensorLike, numGroups: number | undefined, call: GroupCall): TensorLike {
  const { input, output, operands } = readCall(op, x, numGroups, call, false)
  if (!output.empty) kernel(...operands({ x: input.data, y: output.y }))
  return output.finish()
}

/** The same off the event loop. */
export async function normaliseGroupsLater(
  op: string,
  x: TensorLike,
  numGroups: number | undefined,
  call: GroupCall
): Promise<TensorLike> {
  checkAsyncOptions(op, call)
  const { input, output, operands, mean, rstd, weight, bias } = readCall(op, x, numGroups, call, true)
  const memory = new CallMemory(op)
  const own = volumeMemory(op, memory, input, output, call)
  const place = {
    mean: memory.written('mean', mean),
    rstd: memory.written('rstd', rstd),
    weight: memory.weight(weight),
    bias: memory.weight(bias)
  }
  if (!output.empty) await memory.run('group_norm', operands({ ...own, ...place }), call.signal)
  return own.finish()
}

/** The arrays of a call that are not as they were read. */
interface GroupArrays {
  x: Float32Array
  y: Float32Array
  mean?: Statistic | undefined
  rstd?: Statistic | undefined
  weight?: Float32Array | undefined
  bias?: Float32Array | undefined
}

/** Checks everything about a call; writes nothing. */
function readCall(op: string, x: TensorLike, numGroups: number | undefined, call: GroupCall, later: boolean) {
  const input = readVolume(op, x, call)
  const { samples, groups: count, positions } = input.shape
  // Without positions a group's channels are neighbours in both layouts: a row.
  const channelsLast = input.shape.channelsLast && positions > 1
  if (call.numChannels !== undefined && count !== call.numChannels) {
    throw wrongValue(op, 'x.dims', `${call.numChannels} channels`, describe(input.dims))
  }
  const groups = numGroups ?? count
  checkDivides(op, groups, count)
  const weight = readPerChannel(op, 'weight', call.weight, count)
  const bias = readPerChannel(op, 'bias', call.bias, count)
  const perGroup = samples * groups
  const mean = readStatistic(op, 'mean', call.mean, perGroup, 'samples * groups')
  const rstd = readStatistic(op, 'rstd', call.rstd, perGroup, 'samples * groups')
  const output = readVolumeOutput(
    op,
    x,
    input,
    call.out,
    { weight: { array: weight, length: count }, bias: { array: bias, length: count } },
    { mean: { array: mean, length: perGroup }, rstd: { array: rstd, length: perGroup } },
    later
  )
  /** The kernel's arguments. */
  const operands = (given: GroupArrays) => {
    const of = { mean, rstd, weight, bias, ...given }
    // biome-ignore format: as the kernel's parameters stand
    return [
      of.y, of.mean, of.rstd, of.x, of.weight, of.bias, input.spans,
      samples, groups, count / groups, positions, channelsLast, call.eps
    ] as const
  }
  return { input, output, operands, mean, rstd, weight, bias }
}

const kernel = kernelFor('group_norm', group_norm)
const groupMean = new Float64Array(STRIP)
const groupVariance = new Float64Array(STRIP)
const scales = makeColumnScales()

/** The kernel. `spans` with one channel per group only. It checks nothing. */
export function group_norm(
  y: Float32Array,
  mean: Statistic | undefined,
  rstd: Statistic | undefined,
  x: Float32Array,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined,
  spans: Spans,
  samples: number,
  groups: number,
  channels: number,
  positions: number,
  channelsLast: boolean,
  eps: number
): void {
  if (channelsLast) {
    columns(y, mean, rstd, x, weight, bias, spans, samples, groups, channels, positions, eps)
    return
  }
  for (let sample = 0; sample < samples; sample++) {
    const begin = spans ? spans[2 * sample] : 0
    const end = spans ? spans[2 * sample + 1] : positions
    for (let group = 0; group < groups; group++) {
      const at = (sample * groups + group) * channels * positions
      const n = channels * positions - (begin + positions - end)
      const of = moments(n, x, at + begin, sums(n, 0, x, at + begin))
      const scale = scaleOf(of.mean, of.variance, 1 / Math.sqrt(of.variance + eps)) // rule 6
      if (mean) mean[sample * groups + group] = of.mean
      if (rstd) rstd[sample * groups + group] = scale.rstd
      if (positions === 1) {
        normaliseRow(y, at, x, at, n, scale, weight, bias, group * channels)
        continue
      }
      for (let k = 0; k < channels; k++) {
        const run = at + k * positions
        const channel = group * channels + k
        clear(y, run, begin)
        normaliseRun(y, run + begin, x, run + begin, end - begin, scale, weight?.[channel], bias?.[channel])
        clear(y, run + end, positions - end)
      }
    }
  }
}

/** Groups of neighbouring columns, in every sample. */
function columns(
  y: Float32Array,
  mean: Statistic | undefined,
  rstd: Statistic | undefined,
  x: Float32Array,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined,
  spans: Spans,
  samples: number,
  groups: number,
  channels: number,
  positions: number,
  eps: number
): void {
  const stride = groups * channels
  const width = bundle(groups, channels)
  for (let sample = 0; sample < samples; sample++) {
    const rows: RowSet = { first: sample, samples: 1, positions, spans }
    for (let first = 0; first < groups; first += width) {
      const count = Math.min(width, groups - first)
      columnMoments(groupMean, groupVariance, count, channels, x, first * channels, stride, rows)
      for (let group = 0; group < count; group++) {
        const at = sample * groups + first + group
        if (mean) mean[at] = groupMean[group]
        if (rstd) rstd[at] = 1 / Math.sqrt(groupVariance[group] + eps) // rule 6
      }
      for (let strip = 0; strip < count * channels; strip += STRIP) {
        const n = Math.min(STRIP, count * channels - strip)
        for (let k = 0; k < n; k++) {
          const group = Math.floor((strip + k) / channels)
          const v = groupVariance[group]
          setColumnScale(scales, k, groupMean[group], v, 1 / Math.sqrt(v + eps))
        }
        const start = first * channels + strip
        const w = weight && { data: weight, start, perRow: 0, perColumn: 1 }
        const b = bias && { data: bias, start, perRow: 0, perColumn: 1 }
        normaliseColumns(y, start, x, start, stride, n, rows, scales, w, b)
      }
    }
  }
}
