// Backward as people write it by hand: sums in float64, memory in its order. They stand beside the forwards of plain.ts, and take
// mean and rstd of each group as a forward keeps them.
import { type GradientProblem, statisticsOf } from './gradients_problem.ts'
import { GROUPS } from './problem.ts'

export interface PlainGradients {
  readonly dx: Float32Array
  readonly dweight: Float64Array
  readonly dbias: Float64Array
}

/** The loop for a problem. */
export function plainBackward(given: GradientProblem, to: PlainGradients): () => void {
  const { mean, rstd } = statisticsOf(given)
  switch (given.op) {
    case 'layerNorm':
      return () => layerNormBackward(to, given, mean, rstd)
    case 'rmsNorm':
      return () => rmsNormBackward(to, given, rstd)
    case 'batchNormTraining':
      return given.channelsLast
        ? () => batchNormLastBackward(to, given, mean, rstd)
        : () => batchNormBackward(to, given, mean, rstd)
    case 'groupNorm':
      return given.channelsLast
        ? () => groupNormLastBackward(to, given, mean, rstd)
        : () => groupNormBackward(to, given, mean, rstd)
  }
}

function layerNormBackward(
  { dx, dweight, dbias }: PlainGradients,
  { dy, x, weight, samples: rows, channels: cols }: GradientProblem,
  mean: Float64Array,
  rstd: Float64Array
): void {
  dweight.fill(0)
  dbias.fill(0)
  for (let row = 0; row < rows; row++) {
    const start = row * cols
    const [m, r] = [mean[row], rstd[row]]
    let a = 0
    let b = 0
    for (let i = 0; i < cols; i++) {
      const g = dy[start + i] * weight[i]
      a += g
      b += g * (x[start + i] - m) * r
    }
    a /= cols
    b /= cols
    for (let i = 0; i < cols; i++) {
      const given = dy[start + i]
      const t = (x[start + i] - m) * r
      dx[start + i] = r * (given * weight[i] - a - t * b)
      dweight[i] += given * t
      dbias[i] += given
    }
  }
}

function rmsNormBackward(
  { dx, dweight }: PlainGradients,
  { dy, x, weight, samples: rows, channels: cols }: GradientProblem,
  rstd: Float64Array
): void {
  dweight.fill(0)
  for (let row = 0; row < rows; row++) {
    const start = row * cols
    const r = rstd[row]
    let b = 0
    for (let i = 0; i < cols; i++) b += dy[start + i] * weight[i] * x[start + i] * r
    b /= cols
    for (let i = 0; i < cols; i++) {
      const given = dy[start + i]
      const t = x[start + i] * r
      dx[start + i] = r * (given * weight[i] - t * b)
      dweight[i] += given * t
    }
  }
}

function batchNormBackward(
  { dx, dweight, dbias }: PlainGradients,
  { dy, x, weight, samples, channels, positions }: GradientProblem,
  mean: Float64Array,
  rstd: Float64Array
): void {
  const count = samples * positions
  for (let c = 0; c < channels; c++) {
    const [m, r] = [mean[c], rstd[c]]
    let sum = 0
    let dot = 0
    for (let n = 0; n < samples; n++) {
      const start = (n * channels + c) * positions
      for (let i = start; i < start + positions; i++) {
        sum += dy[i]
        dot += dy[i] * (x[i] - m) * r
      }
    }
    dbias[c] = sum
    dweight[c] = dot
    const scale = r * weight[c]
    for (let n = 0; n < samples; n++) {
      const start = (n * channels + c) * positions
      for (let i = start; i < start + positions; i++) {
        dx[i] = scale * (dy[i] - sum / count - ((x[i] - m) * r * dot) / count)
      }
    }
  }
}

function batchNormLastBackward(
  { dx, dweight, dbias }: PlainGradients,
  { dy, x, weight, samples, channels, positions }: GradientProblem,
  mean: Float64Array,
  rstd: Float64Array
): void {
  const count = samples * positions
  dweight.fill(0)
  dbias.fill(0)
  for (let row = 0; row < count; row++) {
    const start = row * channels
    for (let c = 0; c < channels; c++) {
      dbias[c] += dy[start + c]
      dweight[c] += dy[start + c] * (x[start + c] - mean[c]) * rstd[c]
    }
  }
  const scale = rstd.map((value, c) => value * weight[c])
  const a = dbias.map(value => value / count)
  const b = dweight.map((value, c) => (value / count) * rstd[c])
  for (let row = 0; row < count; row++) {
    const start = row * channels
    for (let c = 0; c < channels; c++) {
      dx[start + c] = scale[c] * (dy[start + c] - a[c] - (x[start + c] - mean[c]) * b[c])
    }
  }
}

function groupNormBackward(
  { dx, dweight, dbias }: PlainGradients,
  { dy, x, weight, samples, channels, positions }: GradientProblem,
  mean: Float64Array,
  rstd: Float64Array
): void {
  const width = channels / GROUPS
  dweight.fill(0)
  dbias.fill(0)
  for (let group = 0; group < samples * GROUPS; group++) {
    const [m, r] = [mean[group], rstd[group]]
    const first = (group % GROUPS) * width
    let a = 0
    let b = 0
    for (let k = 0; k < width; k++) {
      const start = (group * width + k) * positions
      let sum = 0
      let dot = 0
      for (let i = start; i < start + positions; i++) {
        sum += dy[i]
        dot += dy[i] * (x[i] - m) * r
      }
      dbias[first + k] += sum
      dweight[first + k] += dot
      a += sum * weight[first + k]
      b += dot * weight[first + k]
    }
    a /= width * positions
    b /= width * positions
    for (let k = 0; k < width; k++) {
      const start = (group * width + k) * positions
      const w = weight[first + k]
      for (let i = start; i < start + positions; i++) dx[i] = r * (dy[i] * w - a - (x[i] - m) * r * b)
    }
  }
}

function groupNormLastBackward(
  { dx, dweight, dbias }: PlainGradients,
  { dy, x, weight, samples, channels, positions }: GradientProblem,
  mean: Float64Array,
  rstd: Float64Array
): void {
  const width = channels / GROUPS
  dweight.fill(0)
  dbias.fill(0)
  const [m, r] = [new Float64Array(channels), new Float64Array(channels)]
  const [sum, dot] = [new Float64Array(channels), new Float64Array(channels)]
  const [a, b] = [new Float64Array(channels), new Float64Array(channels)]
  for (let n = 0; n < samples; n++) {
    for (let c = 0; c < channels; c++) {
      const group = n * GROUPS + Math.floor(c / width)
      m[c] = mean[group]
      r[c] = rstd[group]
    }
    sum.fill(0)
    dot.fill(0)
    for (let p = 0; p < positions; p++) {
      const start = (n * positions + p) * channels
      for (let c = 0; c < channels; c++) {
        sum[c] += dy[start + c]
        dot[c] += dy[start + c] * (x[start + c] - m[c]) * r[c]
      }
    }
    for (let first = 0; first < channels; first += width) {
      let [of, ofT] = [0, 0]
      for (let c = first; c < first + width; c++) {
        dbias[c] += sum[c]
        dweight[c] += dot[c]
        of += sum[c] * weight[c]
        ofT += dot[c] * weight[c]
      }
      a.fill(of / width / positions, first, first + width)
      b.fill((ofT / width / positions) * r[first], first, first + width)
    }
    for (let p = 0; p < positions; p++) {
      const start = (n * positions + p) * channels
      for (let c = 0; c < channels; c++) {
        dx[start + c] = r[c] * (dy[start + c] * weight[c] - a[c] - (x[start + c] - m[c]) * b[c])
      }
    }
  }
}
