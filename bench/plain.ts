// The loops that people write by hand, the base of every comparison; those over rows are src/cli/bench/plain.ts.
import { plainLayerNorm, plainRmsNorm } from '../dist/esm/cli/bench/plain.js'
import { GROUPS, indexOf, LRN, MOMENTUM, PARTIAL, type Problem } from './problem.ts'

/** The loop for a problem. */
export function plain(given: Problem, y: Float32Array): () => void {
  const { op, x, weight, bias, samples, channels, positions, channelsLast, runningMean, runningVar, eps } = given
  switch (op) {
    case 'layerNorm':
      return () => plainLayerNorm(y, x, weight, bias, samples, channels, eps)
    case 'layerNormChannels':
      return () => plainLayerNormChannels(y, x, weight, bias, samples, channels, positions, eps)
    case 'rmsNorm':
      return () => plainRmsNorm(y, x, weight, samples, channels, eps)
    case 'pRMSNorm':
      return () => plainRmsNorm(y, x, weight, samples, channels, eps, Math.ceil(channels * PARTIAL))
    case 'batchNorm':
      return () => {
        const rstd = Float64Array.from(runningVar, variance => 1 / Math.sqrt(variance + eps))
        const scale = rstd.map((value, c) => value * weight[c])
        const shift = scale.map((value, c) => bias[c] - runningMean[c] * value)
        plainScaleAndShift(y, x, scale, shift, samples, channels, positions, channelsLast)
      }
    case 'batchNormTraining': {
      const [mean, variance] = [runningMean.slice(), runningVar.slice()]
      return () => plainBatchNormTraining(y, given, mean, variance)
    }
    case 'groupNorm':
      return () => plainGroupNorm(y, given, GROUPS)
    case 'instanceNorm':
      return () => plainGroupNorm(y, given, channels)
    case 'normalize':
      return () => plainNormalize(y, x, samples, channels, eps)
    case 'localResponseNorm':
      return () => plainLocalResponseNorm(y, given)
  }
}

function plainLayerNormChannels(
  y: Float32Array,
  x: Float32Array,
  weight: Float32Array,
  bias: Float32Array,
  samples: number,
  channels: number,
  positions: number,
  eps: number
): void {
  for (let n = 0; n < samples; n++) {
    for (let p = 0; p < positions; p++) {
      const start = n * channels * positions + p
      let mean = 0
      for (let c = 0; c < channels; c++) mean += x[start + c * positions]
      mean /= channels
      let variance = 0
      for (let c = 0; c < channels; c++) {
        const deviation = x[start + c * positions] - mean
        variance += deviation * deviation
      }
      const rstd = 1 / Math.sqrt(variance / channels + eps)
      for (let c = 0; c < channels; c++) {
        const i = start + c * positions
        y[i] = (x[i] - mean) * rstd * weight[c] + bias[c]
      }
    }
  }
}

/** What is left of batch normalisation when the statistics are known: y = x * scale + shift for each channel. */
function plainScaleAndShift(
  y: Float32Array,
  x: Float32Array,
  scale: Float64Array,
  shift: Float64Array,
  samples: number,
  channels: number,
  positions: number,
  channelsLast: boolean
): void {
  if (channelsLast) {
    for (let row = 0; row < samples * positions; row++) {
      const start = row * channels
      for (let c = 0; c < channels; c++) y[start + c] = x[start + c] * scale[c] + shift[c]
    }
    return
  }
  for (let n = 0; n < samples; n++) {
    for (let c = 0; c < channels; c++) {
      const start = (n * channels + c) * positions
      const [a, b] = [scale[c], shift[c]]
      for (let i = start; i < start + positions; i++) y[i] = x[i] * a + b
    }
  }
}

function plainBatchNormTraining(
  y: Float32Array,
  { x, weight, bias, samples, channels, positions, channelsLast, eps }: Problem,
  runningMean: Float32Array,
  runningVar: Float32Array
): void {
  const count = samples * positions
  const mean = new Float64Array(channels)
  const variance = new Float64Array(channels)
  if (channelsLast) {
    for (let row = 0; row < count; row++) for (let c = 0; c < channels; c++) mean[c] += x[row * channels + c]
    for (let c = 0; c < channels; c++) mean[c] /= count
    for (let row = 0; row < count; row++) {
      for (let c = 0; c < channels; c++) {
        const deviation = x[row * channels + c] - mean[c]
        variance[c] += deviation * deviation
      }
    }
  } else {
    for (let c = 0; c < channels; c++) {
      let sum = 0
      for (let n = 0; n < samples; n++) {
        const start = (n * channels + c) * positions
        for (let i = start; i < start + positions; i++) sum += x[i]
      }
      const m = sum / count
      let squares = 0
      for (let n = 0; n < samples; n++) {
        const start = (n * channels + c) * positions
        for (let i = start; i < start + positions; i++) squares += (x[i] - m) * (x[i] - m)
      }
      mean[c] = m
      variance[c] = squares
    }
  }
  const scale = new Float64Array(channels)
  const shift = new Float64Array(channels)
  for (let c = 0; c < channels; c++) {
    scale[c] = weight[c] / Math.sqrt(variance[c] / count + eps)
    shift[c] = bias[c] - mean[c] * scale[c]
    runningMean[c] += MOMENTUM * (mean[c] - runningMean[c])
    runningVar[c] += MOMENTUM * (variance[c] / (count - 1) - runningVar[c])
  }
  plainScaleAndShift(y, x, scale, shift, samples, channels, positions, channelsLast)
}

/** Group normalisation, and instance normalisation where each channel is a group. Loops follow the order in memory. */
function plainGroupNorm(y: Float32Array, given: Problem, groups: number): void {
  const { x, weight, bias, samples, channels, positions, channelsLast, eps } = given
  const width = channels / groups
  const count = width * positions
  const [outer, inner] = channelsLast ? [positions, width] : [width, positions]
  const step = channelsLast ? channels : positions
  for (let n = 0; n < samples; n++) {
    for (let group = 0; group < groups; group++) {
      const first = indexOf(given, n, group * width, 0)
      let mean = 0
      for (let i = 0; i < outer; i++) {
        const start = first + i * step
        for (let j = 0; j < inner; j++) mean += x[start + j]
      }
      mean /= count
      let variance = 0
      for (let i = 0; i < outer; i++) {
        const start = first + i * step
        for (let j = 0; j < inner; j++) {
          const deviation = x[start + j] - mean
          variance += deviation * deviation
        }
      }
      const rstd = 1 / Math.sqrt(variance / count + eps)
      for (let i = 0; i < outer; i++) {
        const start = first + i * step
        for (let j = 0; j < inner; j++) {
          const c = group * width + (channelsLast ? j : i)
          y[start + j] = (x[start + j] - mean) * rstd * weight[c] + bias[c]
        }
      }
    }
  }
}

function plainNormalize(y: Float32Array, x: Float32Array, rows: number, cols: number, eps: number): void {
  for (let row = 0; row < rows; row++) {
    const start = row * cols
    let squares = 0
    for (let i = 0; i < cols; i++) squares += x[start + i] * x[start + i]
    const factor = 1 / Math.max(Math.sqrt(squares), eps)
    for (let i = 0; i < cols; i++) y[start + i] = x[start + i] * factor
  }
}

function plainLocalResponseNorm(y: Float32Array, given: Problem): void {
  const { x, samples, channels, positions, channelsLast } = given
  const { size, alpha, beta, k } = LRN
  const step = channelsLast ? 1 : positions
  const [outer, inner] = channelsLast ? [positions, channels] : [channels, positions]
  for (let n = 0; n < samples; n++) {
    for (let i = 0; i < outer; i++) {
      for (let j = 0; j < inner; j++) {
        const at = (n * outer + i) * inner + j
        const c = channelsLast ? j : i
        const before = Math.min(c, size >> 1)
        const behind = Math.min(channels - 1 - c, size >> 1)
        let squares = 0
        for (let d = -before; d <= behind; d++) squares += x[at + d * step] * x[at + d * step]
        y[at] = x[at] / (k + (alpha / size) * squares) ** beta
      }
    }
  }
}
