// local_response_norm: y = x / (k + alpha * (sum of x^2 over neighboring channels))^beta. The twin of
// native/kernels/local_response_norm.h.
import { power } from './power.js'
import type { Call } from './signatures.js'

/** A window from `before` channels before to `behind` channels behind. y is not x. */
export function local_response_norm(call: Call<'local_response_norm'>): void {
  const { y, x, shape, before, behind, alpha, beta, k } = call
  const { samples, groups, channelsPerGroup, positions, channelsLast } = shape
  const count = groups * channelsPerGroup
  const [perChannel, perPosition] = channelsLast ? [1, count] : [positions, 1]
  for (let sample = 0; sample < samples; sample++) {
    for (let channel = 0; channel < count; channel++) {
      const first = Math.max(0, channel - before)
      const last = Math.min(count - 1, channel + behind)
      for (let position = 0; position < positions; position++) {
        const base = sample * count * positions + position * perPosition
        let squares = 0
        for (let c = first; c <= last; c++) {
          const v = x[base + c * perChannel]
          squares += v * v
        }
        const at = base + channel * perChannel
        const sum = k + alpha * squares
        y[at] = x[at] === 0 && sum > 0 ? x[at] : x[at] / power(sum, beta)
      }
    }
  }
}
