// Elementwise maps of rows and runs (rules 7 and 8). The twin of native/kernels/maps.h. "Rule n" is a rule of NUMERICS.md.
import { endOfSpans, firstSpan, type Groups, type Spans, type Statistic, spanBegin, spanEnd } from './operands.js'
import type { ChannelScale, Scale } from './scale.js'

const f32 = Math.fround

/** Rule 7: x + residual * scale, each step rounded to float32, over n elements. */
function addResidualRow(
  sum: Float32Array,
  sum0: number,
  x: Float32Array,
  x0: number,
  residual: Float32Array,
  residual0: number,
  n: number,
  scale: number
): void {
  let i = 0
  for (; i + 3 < n; i += 4) {
    const t0 = f32(residual[residual0 + i] * scale)
    const t1 = f32(residual[residual0 + i + 1] * scale)
    const t2 = f32(residual[residual0 + i + 2] * scale)
    const t3 = f32(residual[residual0 + i + 3] * scale)
    sum[sum0 + i] = x[x0 + i] + t0
    sum[sum0 + i + 1] = x[x0 + i + 1] + t1
    sum[sum0 + i + 2] = x[x0 + i + 2] + t2
    sum[sum0 + i + 3] = x[x0 + i + 3] + t3
  }
  for (; i < n; i++) sum[sum0 + i] = x[x0 + i] + f32(residual[residual0 + i] * scale)
}

/** The same for all columns of a matrix, or for some. */
export function addResidual(
  sum: Float32Array,
  sum0: number,
  x: Float32Array,
  x0: number,
  residual: Float32Array,
  residual0: number,
  { size, inner, pitch = inner }: Groups,
  scale: number
): void {
  if (pitch === inner) {
    addResidualRow(sum, sum0, x, x0, residual, residual0, size * inner, scale)
    return
  }
  for (let row = 0; row < size; row++) {
    const at = row * pitch
    addResidualRow(sum, sum0 + at, x, x0 + at, residual, residual0 + at, inner, scale)
  }
}

/** 0 in n elements. */
export function clear(y: Statistic, y0: number, n: number): void {
  for (let i = 0; i < n; i++) y[y0 + i] = 0
}

/** Rule 8 over n elements, with weights and biases `step` apart. */
export function affineFloat64(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  scale: Scale,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined,
  weight0: number,
  step: number
): void {
  for (let i = 0; i < n; i++) {
    let t = (x[x0 + i] - scale.mean) * scale.rstd
    if (weight) t = t * weight[weight0 + i * step]
    if (bias) t = t + bias[weight0 + i * step]
    y[y0 + i] = t
  }
}

// The loops below take four elements at a time, and step by step: V8 reads an array's type, length and address anew in
// every round of a loop, and orders the steps as they are written; one by one they take 1.7 times as long (measured).

/** Rules 7 and 8 over n elements with a weight and a bias each. */
export function affineRow(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  scale: Scale,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined,
  weight0: number
): void {
  if (scale.needsFloat64) {
    affineFloat64(y, y0, x, x0, n, scale, weight, bias, weight0, 1)
    return
  }
  const { m, r, c } = scale
  if (weight && bias) {
    affineWeightedRow(y, y0, x, x0, n, m, r, c, weight, bias, weight0)
    return
  }
  affinePlain(y, y0, x, x0, n, m, r, c)
  if (weight) for (let i = 0; i < n; i++) y[y0 + i] = y[y0 + i] * weight[weight0 + i]
  if (bias) for (let i = 0; i < n; i++) y[y0 + i] = y[y0 + i] + bias[weight0 + i]
}

function affineWeightedRow(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  m: number,
  r: number,
  c: number,
  weight: Float32Array,
  bias: Float32Array,
  weight0: number
): void {
  let i = 0
  for (; i + 3 < n; i += 4) {
    const t0 = f32(f32(f32(x[x0 + i] - m) * r) + c)
    const t1 = f32(f32(f32(x[x0 + i + 1] - m) * r) + c)
    const t2 = f32(f32(f32(x[x0 + i + 2] - m) * r) + c)
    const t3 = f32(f32(f32(x[x0 + i + 3] - m) * r) + c)
    y[y0 + i] = f32(t0 * weight[weight0 + i]) + bias[weight0 + i]
    y[y0 + i + 1] = f32(t1 * weight[weight0 + i + 1]) + bias[weight0 + i + 1]
    y[y0 + i + 2] = f32(t2 * weight[weight0 + i + 2]) + bias[weight0 + i + 2]
    y[y0 + i + 3] = f32(t3 * weight[weight0 + i + 3]) + bias[weight0 + i + 3]
  }
  for (; i < n; i++) {
    const t = f32(f32(f32(x[x0 + i] - m) * r) + c)
    y[y0 + i] = f32(t * weight[weight0 + i]) + bias[weight0 + i]
  }
}

/** Three steps: without weight and bias, or with those of a channel. */
function affinePlain(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  m: number,
  r: number,
  c: number
): void {
  let i = 0
  for (; i + 3 < n; i += 4) {
    const t0 = f32(f32(x[x0 + i] - m) * r)
    const t1 = f32(f32(x[x0 + i + 1] - m) * r)
    const t2 = f32(f32(x[x0 + i + 2] - m) * r)
    const t3 = f32(f32(x[x0 + i + 3] - m) * r)
    y[y0 + i] = t0 + c
    y[y0 + i + 1] = t1 + c
    y[y0 + i + 2] = t2 + c
    y[y0 + i + 3] = t3 + c
  }
  for (; i < n; i++) y[y0 + i] = f32(f32(x[x0 + i] - m) * r) + c
}

/** Rules 7a and 8a over n elements of a channel. */
export function affineRun(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  scale: ChannelScale
): void {
  if (scale.needsFloat64) {
    const { mean, s, bias } = scale
    for (let i = 0; i < n; i++) y[y0 + i] = (x[x0 + i] - mean) * s + bias
    return
  }
  affinePlain(y, y0, x, x0, n, scale.m, scale.f, scale.c)
}

/** The same over the real positions of a run (rule 15), in x and y alike; the others become 0. */
export function affineRealRun(
  y: Float32Array,
  x: Float32Array,
  run: number,
  positions: number,
  spans: Spans,
  sample: number,
  scale: ChannelScale
): void {
  const last = endOfSpans(spans, sample)
  let done = 0
  for (let at = firstSpan(spans, sample); at < last; at += 2) {
    const begin = spanBegin(spans, at)
    const end = spanEnd(spans, positions, at)
    clear(y, run + done, begin - done)
    affineRun(y, run + begin, x, run + begin, end - begin, scale)
    done = end
  }
  clear(y, run + done, positions - done)
}

// Without a mean, t = x * r, a weight for each element or one for all: in C++ a line in the ops that need it.

/** Rule 7 of RMS operations over n elements with a weight each. */
export function scaleRow(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  r: number,
  weight: Float32Array
): void {
  let i = 0
  for (; i + 3 < n; i += 4) {
    const t0 = f32(x[x0 + i] * r)
    const t1 = f32(x[x0 + i + 1] * r)
    const t2 = f32(x[x0 + i + 2] * r)
    const t3 = f32(x[x0 + i + 3] * r)
    y[y0 + i] = t0 * weight[i]
    y[y0 + i + 1] = t1 * weight[i + 1]
    y[y0 + i + 2] = t2 * weight[i + 2]
    y[y0 + i + 3] = t3 * weight[i + 3]
  }
  for (; i < n; i++) y[y0 + i] = f32(x[x0 + i] * r) * weight[i]
}

/** The same with one weight for all. */
export function scaleRun(
  y: Float32Array,
  y0: number,
  x: Float32Array,
  x0: number,
  n: number,
  r: number,
  w: number
): void {
  let i = 0
  for (; i + 3 < n; i += 4) {
    const t0 = f32(x[x0 + i] * r)
    const t1 = f32(x[x0 + i + 1] * r)
    const t2 = f32(x[x0 + i + 2] * r)
    const t3 = f32(x[x0 + i + 3] * r)
    y[y0 + i] = t0 * w
    y[y0 + i + 1] = t1 * w
    y[y0 + i + 2] = t2 * w
    y[y0 + i + 3] = t3 * w
  }
  for (; i < n; i++) y[y0 + i] = f32(x[x0 + i] * r) * w
}
