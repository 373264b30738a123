// Hidden states to be pooled, normalised and made int8 codes: the same for all contenders of embeddings.ts.
import { fill, normal } from '../dist/esm/cases/data.js'

/** Names of candidates. */
export const POOLER = 'EmbeddingPooler'
export const COPY = 'memcpy of the real rows'
export const COPY_AT_ONCE = 'memcpy of as many bytes in one piece'
export const TRANSFORMERS = 'transformers.js'
/** What the tables call the pooler of a backend. */
export const onBackend = (backend: string) => `${POOLER}, ${backend}`
export const TYPESCRIPT = `${POOLER}, TypeScript`

export interface EmbeddingProblem {
  /** [N, L, C] */
  readonly dims: readonly [number, number, number]
  readonly x: Float32Array
  /** Real positions of each sample, from the first. */
  readonly lengths: readonly number[]
  readonly threads: number
}

/** Lengths from a tenth of L to all of it, 55 % in the mean and in no order; or all of it. */
function lengthsOf(samples: number, positions: number, padded: boolean): number[] {
  const step = 7919 // a prime: it comes by each of the samples once
  return Array.from({ length: samples }, (_, n) =>
    padded ? Math.round(positions * (0.1 + (0.9 * (((n * step) % samples) + 0.5)) / samples)) : positions
  )
}

export function embeddingProblem(dims: EmbeddingProblem['dims'], padded: boolean, threads = 1): EmbeddingProblem {
  const [samples, positions, channels] = dims
  const x = fill(normal, samples * positions * channels, channels)
  return { dims, x, lengths: lengthsOf(samples, positions, padded), threads }
}

export const realOf = ({ lengths }: EmbeddingProblem) => lengths.reduce((sum, length) => sum + length, 0)

/** The mask as tokenizers give it: 64-bit integers. */
export function maskOf({ dims: [samples, positions], lengths }: EmbeddingProblem): BigInt64Array {
  const mask = new BigInt64Array(samples * positions)
  lengths.forEach((length, n) => {
    mask.fill(1n, n * positions, n * positions + length)
  })
  return mask
}

/** The mean of the real rows, divided by its length, times 127: what codes are rounded from. In float64, the plain way. */
export function reference({ dims: [samples, positions, channels], x, lengths }: EmbeddingProblem): Float64Array {
  const y = new Float64Array(samples * channels)
  for (let n = 0; n < samples; n++) {
    const sums = y.subarray(n * channels, (n + 1) * channels)
    for (let p = 0; p < lengths[n]; p++) {
      for (let c = 0; c < channels; c++) sums[c] += x[(n * positions + p) * channels + c]
    }
    const length = Math.hypot(...sums)
    for (let c = 0; c < channels; c++) sums[c] *= 127 / length
  }
  return y
}

/**
 * How far codes may be from the reference: half a step, and what four roundings to float32 (mean, norm, quotient, product)
 * move a number of at most 127, each by 2^-24 of it. That is 3.1e-5.
 */
export const CODE_BOUND = 0.5 + 127 * 4.1 * 2 ** -24

/** What the event loop has to do; `dropped` is the memory of `steady` without the pooling. */
export const loadNames = ['idle', 'dropped', 'shared', 'steady', 'full'] as const
export type Load = (typeof loadNames)[number]

/** The longest pauses of the event loop in windows of time, in milliseconds: medians of the windows. */
export interface LoopPauses {
  readonly dims: readonly number[]
  /** Calls of a window. */
  readonly jobs: number
  /** Milliseconds from one call to the next, but under the full load. */
  readonly pace: number
  readonly windows: number
  readonly longest: { readonly [load in Load]: number }
}
