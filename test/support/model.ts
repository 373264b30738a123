// NUMERICS.md read word for word, without a thought for speed and sharing no line with the kernels: what the equality
// tests hold every backend against, so that a mistake common to all kernels is seen as well.

const f32 = Math.fround

/** Rules 1 to 3, about a centre (0 for the first pass). */
export function sumsOf(x: ArrayLike<number>, centre: number): { s: number; q: number } {
  let s = 0
  let q = 0
  for (let begin = 0; begin < x.length; begin += 4096) {
    const lanesS = new Array<number>(16).fill(0)
    const lanesQ = new Array<number>(16).fill(0)
    for (let i = 0; i < 4096 && begin + i < x.length; i++) {
      const value = x[begin + i] - centre
      lanesS[i % 16] += value
      lanesQ[i % 16] += value * value
    }
    s += foldByHalves(lanesS)
    q += foldByHalves(lanesQ)
  }
  return { s, q }
}

function foldByHalves(lanes: number[]): number {
  if (lanes.length === 1) return lanes[0]
  const half = lanes.length / 2
  return foldByHalves(lanes.slice(0, half).map((lane, j) => lane + lanes[j + half]))
}

/** Rules 4 and 5. */
export function momentsOf(x: ArrayLike<number>): { mean: number; variance: number } {
  const n = x.length
  const first = sumsOf(x, 0)
  const mean = first.s / n
  const variance = first.q / n - mean * mean
  const cancelled = first.q !== 0 && !(variance > mean * mean * 2 ** -12)
  if (!cancelled) return { mean, variance }
  return { mean, variance: sumsOf(x, mean).q / n }
}

/** Rule 8. */
function wide(mean: number, power: number, rstd: number): boolean {
  const ordinary = rstd > 2 ** -100 && rstd < 2 ** 100 && Math.abs(mean) <= 2 ** 100
  return !ordinary || (power > 0 && power * rstd * rstd < 2 ** -200)
}

export interface ModelRow {
  y: Float32Array
  mean: number
  rstd: number
}

/** LayerNorm of one row. */
export function layerNormModel(
  x: Float32Array,
  w: Float32Array | undefined,
  b: Float32Array | undefined,
  eps: number
): ModelRow {
  const { mean, variance } = momentsOf(x)
  const rstd = 1 / Math.sqrt(variance + eps)
  const y = new Float32Array(x.length)
  if (wide(mean, variance, rstd)) {
    x.forEach((value, i) => {
      const normalised = (value - mean) * rstd
      const scaled = w ? normalised * w[i] : normalised
      y[i] = b ? scaled + b[i] : scaled
    })
  } else {
    const m = f32(mean)
    const r = f32(rstd)
    const c = f32((m - mean) * rstd)
    x.forEach((value, i) => {
      const difference = f32(value - m)
      const product = f32(difference * r)
      const normalised = f32(product + c)
      const scaled = w ? f32(normalised * w[i]) : normalised
      y[i] = b ? f32(scaled + b[i]) : scaled
    })
  }
  return { y, mean, rstd }
}

/** RMSNorm of one row. */
export function rmsNormModel(
  x: Float32Array,
  w: Float32Array | undefined,
  eps: number,
  weightOffset: number
): ModelRow {
  const power = sumsOf(x, 0).q / x.length
  const rstd = 1 / Math.sqrt(power + eps)
  const offset = f32(weightOffset)
  const scale = (i: number) => (w === undefined ? undefined : offset === 0 ? w[i] : f32(w[i] + offset))
  const y = new Float32Array(x.length)
  const isWide = wide(0, power, rstd)
  x.forEach((value, i) => {
    const normalised = isWide ? value * rstd : f32(value * f32(rstd))
    const weight = scale(i)
    y[i] = weight === undefined ? normalised : normalised * weight
  })
  return { y, mean: 0, rstd }
}
