// How far a result is from the exact one.
import { errorInHalfUlps, integer, normalizeExactly, type Truth } from '../test/support/truth/oracle.ts'
import { GROUPS, indexOf, LRN, type Op, PARTIAL, type Problem } from './problem.ts'

/** What NUMERICS.md guarantees, in ULP, with weight and bias where the op has them. */
export const BOUND: { readonly [op in Op]: number } = {
  layerNorm: 6.1 / 2,
  layerNormChannels: 6.1 / 2,
  rmsNorm: 3.1 / 2,
  pRMSNorm: 3.1 / 2,
  batchNorm: 4.1 / 2,
  batchNormTraining: 4.1 / 2,
  groupNorm: 4.1 / 2,
  instanceNorm: 4.1 / 2,
  normalize: 2.1 / 2,
  localResponseNorm: 1.001 / 2
}

/** What is normalized together: ranges of samples, channels and positions. */
interface Group {
  readonly samples: [number, number]
  readonly channels: [number, number]
  readonly positions: [number, number]
}

/** How many groups a problem has. */
export function countGroups({ op, x, samples, channels, positions }: Problem): number {
  if (op === 'localResponseNorm') return x.length
  if (op === 'batchNorm' || op === 'batchNormTraining') return channels
  if (op === 'instanceNorm') return samples * channels
  if (op === 'groupNorm') return samples * GROUPS
  return samples * positions
}

function groupAt({ op, samples, channels, positions }: Problem, i: number): Group {
  const [all, every] = [[0, channels] as [number, number], [0, positions] as [number, number]]
  const only = (k: number): [number, number] => [k, k + 1]
  switch (op) {
    case 'localResponseNorm': {
      const [sample, rest] = [Math.floor(i / (channels * positions)), i % (channels * positions)]
      return { samples: only(sample), channels: only(Math.floor(rest / positions)), positions: only(rest % positions) }
    }
    case 'batchNorm': // with given statistics a part of the channel tells as much
      return { samples: [0, Math.min(samples, Math.ceil(3000 / positions))], channels: only(i), positions: every }
    case 'batchNormTraining':
      return { samples: [0, samples], channels: only(i), positions: every }
    case 'instanceNorm':
      return { samples: only(Math.floor(i / channels)), channels: only(i % channels), positions: every }
    case 'groupNorm': {
      const width = channels / GROUPS
      const first = (i % GROUPS) * width
      return { samples: only(Math.floor(i / GROUPS)), channels: [first, first + width], positions: every }
    }
    default:
      return { samples: only(Math.floor(i / positions)), channels: all, positions: only(i % positions) }
  }
}

/** The elements of group i: where they stand in x, and their channels. */
export function elementsOf(given: Problem, i: number): { at: number[]; channel: number[] } {
  const { samples, channels, positions } = groupAt(given, i)
  const at: number[] = []
  const channel: number[] = []
  for (let n = samples[0]; n < samples[1]; n++) {
    for (let c = channels[0]; c < channels[1]; c++) {
      for (let p = positions[0]; p < positions[1]; p++) {
        at.push(indexOf(given, n, c, p))
        channel.push(c)
      }
    }
  }
  return { at, channel }
}

/** float64 results, right to 2^-48 or so, in the form of exact ones. */
const inFloat64 = (normalized: readonly number[]): Truth => ({
  mean: { num: 0n, den: 1n },
  rstd: 0,
  normalized: normalized.map(value => integer(value, 1074)),
  shift: 1074n
})

/** The normalized elements of group i; undefined where they are 0/0. */
function truthOf(given: Problem, i: number, at: number[]): Truth | undefined {
  const { op, x, eps, runningMean, runningVar } = given
  const values = Float32Array.from(at, index => x[index])
  const plain = Array.from(values)
  switch (op) {
    case 'batchNorm':
      return inFloat64(plain.map(value => (value - runningMean[i]) / Math.sqrt(runningVar[i] + eps)))
    case 'rmsNorm':
      return normalizeExactly(values, eps, false)
    case 'pRMSNorm': {
      const counted = normalizeExactly(values.subarray(0, Math.ceil(values.length * PARTIAL)), eps, false)
      return counted && inFloat64(plain.map(value => value * counted.rstd))
    }
    case 'normalize': {
      const norm = Math.max(Math.sqrt(plain.reduce((sum, value) => sum + value * value, 0)), eps)
      return inFloat64(plain.map(value => value / norm))
    }
    case 'localResponseNorm':
      return inFloat64([localResponse(given, i)])
    default:
      return normalizeExactly(values, eps, true)
  }
}

function localResponse(given: Problem, i: number): number {
  const { size, alpha, beta, k } = LRN
  const { samples, channels, positions } = groupAt(given, i)
  const value = (c: number) => given.x[indexOf(given, samples[0], c, positions[0])]
  let squares = 0
  const first = channels[0] - (size >> 1)
  for (let c = Math.max(0, first); c < Math.min(first + size, given.channels); c++) squares += value(c) ** 2
  return value(channels[0]) / (k + (alpha / size) * squares) ** beta
}

/** A result's largest error, in units in the last place of the group's largest element. */
export type Judge = (y: Float32Array, affine?: boolean) => number

/**
 * Knows the truth of some groups: the first, the last and some between them, as many as make about `elements`, and not of
 * the others. localResponseNorm's groups are single elements, and so are its units in the last place.
 */
export function judge(given: Problem, elements = 6000): Judge {
  const { op, x, weight, bias } = given
  const count = countGroups(given)
  const samples = Math.min(count, Math.max(2, Math.floor((elements * count) / x.length)))
  const hasWeight = op !== 'normalize' && op !== 'localResponseNorm'
  const hasBias = hasWeight && op !== 'rmsNorm' && op !== 'pRMSNorm'
  const known = Array.from({ length: samples }, (_, k) => {
    const i = samples === 1 ? 0 : Math.floor((k * (count - 1)) / (samples - 1))
    const { at, channel } = elementsOf(given, i)
    const w = hasWeight ? Float32Array.from(channel, c => weight[c]) : undefined
    const b = hasBias ? Float32Array.from(channel, c => bias[c]) : undefined
    return { at, truth: truthOf(given, i, at), w, b }
  })
  return (y, affine = true) => {
    let worst = 0
    for (const { at, truth, w, b } of known) {
      if (!truth) continue
      const values = Float32Array.from(at, index => y[index])
      worst = Math.max(worst, errorInHalfUlps(values, truth, affine ? w : undefined, affine ? b : undefined))
    }
    return worst / 2
  }
}
