// The loops that people write by hand, the base of every comparison: passes for the statistics, one for the output.

export function plainLayerNorm(
  y: Float32Array,
  x: Float32Array,
  weight: Float32Array,
  bias: Float32Array,
  rows: number,
  cols: number,
  eps: number
): void {
  for (let row = 0; row < rows; row++) {
    const start = row * cols
    let mean = 0
    for (let i = 0; i < cols; i++) mean += x[start + i]
    mean /= cols
    let variance = 0
    for (let i = 0; i < cols; i++) {
      const deviation = x[start + i] - mean
      variance += deviation * deviation
    }
    const rstd = 1 / Math.sqrt(variance / cols + eps)
    for (let i = 0; i < cols; i++) y[start + i] = (x[start + i] - mean) * rstd * weight[i] + bias[i]
  }
}

/** RMSNorm; pRMSNorm where fewer than all columns are `counted`. */
export function plainRmsNorm(
  y: Float32Array,
  x: Float32Array,
  weight: Float32Array,
  rows: number,
  cols: number,
  eps: number,
  counted = cols
): void {
  for (let row = 0; row < rows; row++) {
    const start = row * cols
    let power = 0
    for (let i = 0; i < counted; i++) power += x[start + i] * x[start + i]
    const rstd = 1 / Math.sqrt(power / counted + eps)
    for (let i = 0; i < cols; i++) y[start + i] = x[start + i] * rstd * weight[i]
  }
}
