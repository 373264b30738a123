// calibrate_embeddings: count, range, mean and squared deviations of each dimension over rows, NaN left out (rule 20). The
// twin of native/kernels/calibrate_embeddings.h.
import type { Call } from './signatures.js'

/** Every dimension of a call. */
export function calibrate_embeddings(call: Call<'calibrate_embeddings'>): void {
  const { count, min, max, mean, squares, x, shape } = call
  const { samples, groups: n } = shape
  for (const sums of [count, mean, squares]) sums.fill(0)
  min.fill(Number.POSITIVE_INFINITY)
  max.fill(Number.NEGATIVE_INFINITY)
  for (let row = 0; row < samples; row++) {
    for (let k = 0; k < n; k++) {
      const v = x[row * n + k] + 0 // -0 counts as 0
      if (Number.isNaN(v)) continue
      count[k]++
      mean[k] += v // the sum until all rows are added
      if (v < min[k]) min[k] = v
      if (v > max[k]) max[k] = v
    }
  }
  for (let k = 0; k < n; k++) mean[k] = count[k] > 0 ? mean[k] / count[k] : 0
  for (let row = 0; row < samples; row++) {
    for (let k = 0; k < n; k++) {
      const v = x[row * n + k]
      const deviation = v - mean[k]
      if (!Number.isNaN(v)) squares[k] += deviation * deviation
    }
  }
}
