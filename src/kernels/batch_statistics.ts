// batch_statistics: mean and biased variance of each channel over a batch. The twin of native/kernels/batch_statistics.h.
import { subarrayOf } from './arrays.js'
import { bundle, countRows, type RowSet } from './columns.js'
import { runSums } from './lanes.js'
import { CANCELLED, columnMoments } from './moments.js'
import type { Call } from './signatures.js'

/** Mean and biased variance of each channel over the batch. */
export function batch_statistics(call: Call<'batch_statistics'>): void {
  const { mean, variance, x, shape } = call
  const { samples, groups, positions, channelsLast, spans } = shape
  const rows: RowSet = { first: 0, samples, positions, spans }
  if (channelsLast) {
    const width = bundle(groups, 1)
    for (let first = 0; first < groups; first += width) {
      const n = Math.min(width, groups - first)
      columnMoments(subarrayOf(mean, first), subarrayOf(variance, first), n, 1, x, first, groups, rows)
    }
    return
  }
  const n = countRows(rows)
  for (let channel = 0; channel < groups; channel++) {
    const { s, q } = runSums(x, undefined, channel, shape)
    const m = s / n
    const v = q / n - m * m
    const enough = q === 0 || v > m * m * CANCELLED
    mean[channel] = m
    variance[channel] = enough ? v : runSums(x, m, channel, shape).q / n
  }
}
