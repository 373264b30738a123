// One call to be made, as plain numbers: every implementation is given the same one.
import { fill, finiteRows, normal, ordinaryWeights } from '../dist/esm/cases/data.js'

export type Op =
  | 'layerNorm'
  | 'layerNormChannels'
  | 'rmsNorm'
  | 'pRMSNorm'
  | 'batchNorm'
  | 'batchNormTraining'
  | 'groupNorm'
  | 'instanceNorm'
  | 'normalize'
  | 'localResponseNorm'

/** What the tables call an op. */
export const titles: { readonly [op in Op]: string } = {
  layerNorm: 'layerNorm',
  layerNormChannels: 'layerNorm over axis 1',
  rmsNorm: 'rmsNorm',
  pRMSNorm: 'pRMSNorm',
  batchNorm: 'batchNorm, inference',
  batchNormTraining: 'batchNorm, training',
  groupNorm: 'groupNorm(32)',
  instanceNorm: 'instanceNorm',
  normalize: 'normalize',
  localResponseNorm: 'localResponseNorm(5)'
}

/** Constants of the ops that are not arrays. */
export const GROUPS = 32
export const LRN = { size: 5, alpha: 1e-4, beta: 0.75, k: 1 }
export const MOMENTUM = 0.1
export const PARTIAL = 0.0625

export interface Problem {
  readonly op: Op
  readonly dims: readonly number[]
  readonly x: Float32Array
  /** A matrix [rows, features] is read as samples and channels of one position. */
  readonly samples: number
  readonly channels: number
  readonly positions: number
  readonly channelsLast: boolean
  /** One element per channel; unused by normalize and localResponseNorm. */
  readonly weight: Float32Array
  readonly bias: Float32Array
  /** For batchNorm the statistics of x, rounded; for training 0 and 1, to be copied before they are updated. */
  readonly runningMean: Float32Array
  readonly runningVar: Float32Array
  readonly eps: number
  /** How many threads; 0: as many as an implementation takes by itself. */
  readonly threads: number
  /** For PyTorch, which cannot import the above. */
  readonly constants: typeof constants
}

const constants = { groups: GROUPS, lrn: LRN, momentum: MOMENTUM, partial: PARTIAL }

/** Row operations: each sample is a group. */
export const isRowOp = (op: Op) => ['layerNorm', 'rmsNorm', 'pRMSNorm', 'normalize'].includes(op)

const epsilons: { readonly [op in Op]?: number } = { rmsNorm: 1e-6, pRMSNorm: 1e-6, normalize: 1e-12 }

export type Kind = keyof typeof finiteRows

/** More elements than that are the same ones again, which saves seconds. */
const PERIOD = 524_309 // a prime: rows and channels differ all the same

function numbers(kind: Kind | undefined, size: number, seed: number): Float32Array {
  const some = fill(kind ? finiteRows[kind] : normal, Math.min(size, PERIOD), seed)
  const all = new Float32Array(size)
  for (let i = 0; i < size; i += PERIOD) all.set(some.subarray(0, size - i), i)
  return all
}

export function problemOf(
  { op, dims, channelsLast = false }: { op: Op; dims: readonly number[]; channelsLast?: boolean },
  kind?: Kind,
  seed = dims[0],
  threads = 1
): Problem {
  const samples = dims[0]
  const channels = channelsLast ? dims[dims.length - 1] : dims[1]
  const size = dims.reduce((product, dim) => product * dim, 1)
  const given = {
    op,
    dims,
    x: numbers(kind, size, seed),
    samples,
    channels,
    positions: size / samples / channels,
    channelsLast: channelsLast || dims.length === 2,
    weight: fill(ordinaryWeights, channels, 1),
    bias: fill(normal, channels, 2),
    runningMean: new Float32Array(channels),
    runningVar: new Float32Array(channels).fill(1),
    eps: epsilons[op] ?? 1e-5,
    threads,
    constants
  }
  if (op === 'batchNorm') takeStatistics(given)
  return given
}

/** Index of an element. */
export function indexOf({ channels, positions, channelsLast }: Problem, n: number, c: number, p: number): number {
  return channelsLast ? (n * positions + p) * channels + c : (n * channels + c) * positions + p
}

function takeStatistics(given: Problem): void {
  const { x, samples, channels, positions, runningMean, runningVar } = given
  const count = samples * positions
  for (let c = 0; c < channels; c++) {
    let [mean, variance] = [0, 0]
    for (let n = 0; n < samples; n++) for (let p = 0; p < positions; p++) mean += x[indexOf(given, n, c, p)] / count
    for (let n = 0; n < samples; n++)
      for (let p = 0; p < positions; p++) variance += (x[indexOf(given, n, c, p)] - mean) ** 2 / count
    runningMean[c] = mean
    runningVar[c] = variance
  }
}
