// The calls of batch_norm: volumes, and statistics for each channel.
import { allRows, fill } from './data.js'
import { all } from './rows.js'
import { type VolumeCase, volumeCases } from './volumes.js'

/** Operands of one call. */
export interface BatchNormCase extends VolumeCase {
  readonly mean: Float64Array
  readonly variance: Float64Array
}

/** Statistics that a channel may have: ordinary ones, and such as make float32 steps overflow or vanish. */
export function givenStatistics({ samples, groups, positions }: VolumeCase) {
  const seed = samples * 31 + groups * 7 + positions
  const variances = [1, 0.3, 1e-12, 1e40, 7e-40, 4, 1e-5, 100]
  return {
    mean: Float64Array.from(fill(allRows[groups % 2 ? 'N(3,0.5)' : 'log-uniform'], groups, seed)),
    variance: Float64Array.from({ length: groups }, (_, c) => variances[(seed + c) % variances.length])
  }
}

export function* batchNormCases(isTaken = all): Generator<BatchNormCase> {
  for (const given of volumeCases(false, isTaken)) yield { ...given, ...givenStatistics(given) }
}
