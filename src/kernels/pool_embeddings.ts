// pool_embeddings: one embedding of each sample's real positions, by as many kinds of pooling as there are places for
// (rule 18). The twin of native/kernels/pool_embeddings.h.
import { copyInto, subarrayOf } from './arrays.js'
import { countReal, endOfSpans, firstSpan, type Statistic, spanBegin, spanEnd } from './operands.js'
import type { Call } from './signatures.js'

/** Channels whose sums are kept at a time. No bits depend on it. */
const POOLED_CHANNELS = 1024
/** Positions that are added to the sums at a time, as addFour is written. No bits depend on it. */
const TOGETHER = 4

const sum = new Float64Array(POOLED_CHANNELS)
const weighted = new Float64Array(POOLED_CHANNELS)
const largest = new Float32Array(POOLED_CHANNELS)

function addFour(n: number, x: Float32Array, start: number, stride: number): void {
  const second = start + stride
  const third = second + stride
  const fourth = third + stride
  for (let k = 0; k < n; k++) {
    sum[k] = sum[k] + x[start + k] + x[second + k] + x[third + k] + x[fourth + k]
  }
}

function addPosition(n: number, x: Float32Array, start: number): void {
  for (let k = 0; k < n; k++) sum[k] += x[start + k]
}

function addWeighted(n: number, x: Float32Array, start: number, weight: number): void {
  for (let k = 0; k < n; k++) weighted[k] += x[start + k] * weight
}

/** The larger of the two, the first of equals, NaN where there was one. */
function keepLargest(n: number, x: Float32Array, start: number): void {
  for (let k = 0; k < n; k++) {
    const v = x[start + k]
    if (v > largest[k] || Number.isNaN(v)) largest[k] = v
  }
}

/** Rounds sum / divisor into the places of n groups. */
function setQuotients(to: Statistic | undefined, group: number, n: number, from: Float64Array, divisor: number): void {
  if (!to) return
  for (let k = 0; k < n; k++) to[group + k] = from[k] / divisor
}

/** Copies; the bits of NaN, too, between arrays of one kind. */
function setElements(to: Statistic | undefined, group: number, n: number, x: Float32Array, start: number): void {
  if (to) copyInto(to, subarrayOf(x, start, start + n), group)
}

/** Every sample of a call. */
export function pool_embeddings(call: Call<'pool_embeddings'>): void {
  const { mean, meanSqrt, weightedMean, cls, last, max, x, shape } = call
  const { samples, groups, positions, spans } = shape
  const adds = mean !== undefined || meanSqrt !== undefined
  const weighs = weightedMean !== undefined
  for (let sample = 0; sample < samples; sample++) {
    const real = countReal(spans, positions, sample)
    for (let first = 0; first < groups; first += POOLED_CHANNELS) {
      const n = Math.min(POOLED_CHANNELS, groups - first)
      const group = sample * groups + first
      // What is not read is not cleared.
      if (adds || real === 0) sum.fill(0, 0, n)
      if (weighs) weighted.fill(0, 0, n)
      if (real === 0) largest.fill(0, 0, n)
      let done = 0
      for (let at = firstSpan(spans, sample); at < endOfSpans(spans, sample); at += 2) {
        const end = spanEnd(spans, positions, at)
        for (let position = spanBegin(spans, at); position < end; ) {
          const take = end - position < TOGETHER ? 1 : TOGETHER
          const start = (sample * positions + position) * groups + first
          if (adds) {
            if (take === TOGETHER) addFour(n, x, start, groups)
            else addPosition(n, x, start)
          }
          for (let p = 0; weighs && p < take; p++) addWeighted(n, x, start + p * groups, done + 1 + p)
          if (done === 0) setElements(cls, group, n, x, start)
          if (max) {
            if (done === 0) largest.set(subarrayOf(x, start, start + n))
            for (let p = 0; p < take; p++) keepLargest(n, x, start + p * groups)
          }
          position += take
          done += take
          if (done === real) setElements(last, group, n, x, start + (take - 1) * groups)
        }
      }
      if (real === 0) {
        // Zeros, whatever the kind.
        setQuotients(cls, group, n, sum, 1)
        setQuotients(last, group, n, sum, 1)
      }
      const count = real === 0 ? 1 : real
      setQuotients(mean, group, n, sum, count)
      setQuotients(meanSqrt, group, n, sum, Math.sqrt(count))
      setQuotients(weightedMean, group, n, weighted, (count * (count + 1)) / 2)
      setElements(max, group, n, largest, 0)
    }
  }
}
