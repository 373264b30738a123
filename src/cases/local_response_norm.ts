// The calls of local_response_norm: windows of every kind over the volumes without padding.
import { all } from './rows.js'
import { type VolumeCase, volumeCases } from './volumes.js'

/** Operands of one call. */
export interface LocalResponseCase extends VolumeCase {
  readonly before: number
  readonly behind: number
  readonly alpha: number
  readonly beta: number
  readonly k: number
}

const windows = [
  [2, 2],
  [0, 0],
  [1, 0],
  [0, 1],
  [3, 2],
  [1, 5]
]
const betas = [0.75, 0.5, 1, 2.25, 0.6, -0.3, 3.7, 0]

export function* localResponseCases(isTaken = all): Generator<LocalResponseCase> {
  let index = 0
  for (const given of volumeCases(false, isTaken)) {
    if (given.spans || given.x.length > 8000) continue
    const [before, behind] = windows[index % windows.length].map(n => Math.min(n, given.groups))
    const beta = betas[index % betas.length]
    const constants = { alpha: [1e-4, 1, 3e-3][index % 3] / (before + behind + 1), beta, k: [1, 2, 0, 0.5][index % 4] }
    yield { ...given, name: `${given.name}, ${before} + ${behind}, beta ${beta}`, before, behind, ...constants }
    index++
  }
}
