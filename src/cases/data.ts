// Seeded test data, the same numbers on every platform: only + - * / and integer arithmetic, no Math.log or Math.cos.

/** Uniform in [0, 1), multiples of 2^-32: a counter through a 32-bit mixer (two xor-multiply rounds). */
export function random(seed: number): () => number {
  let counter = Math.imul(seed, 0x9e3779b9) >>> 0
  return () => {
    counter = (counter + 0x9e3779b9) >>> 0
    let z = counter
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
    return ((z ^ (z >>> 16)) >>> 0) / 2 ** 32
  }
}

/** Standard normal, nearly: the sum of twelve uniforms less six (Irwin-Hall). */
export function normal(next: () => number): number {
  let sum = -6
  for (let i = 0; i < 12; i++) sum += next()
  return sum
}

/** A distribution: the number of element i of n. */
export type Fill = (next: () => number, i: number, n: number) => number

const powerOfTwo = (next: () => number, low: number, high: number) => 2 ** (low + Math.floor(next() * (high - low + 1)))
const around =
  (mean: number, std: number): Fill =>
  next =>
    mean + std * normal(next)

/** Rows of finite numbers, from the ordinary to the hostile. */
export const finiteRows = {
  'N(0,1)': around(0, 1),
  'N(3,0.5)': around(3, 0.5),
  'N(1e3,1)': around(1e3, 1),
  'N(1e4,1)': around(1e4, 1),
  'N(1e6,1)': around(1e6, 1),
  'N(0,1e-6)': around(0, 1e-6),
  'N(0,1e20)': around(0, 1e20),
  'uniform +-3.3e38': next => (2 * next() - 1) * 3.3e38,
  subnormal: next => Math.floor((2 * next() - 1) * 2 ** 20) * 2 ** -149,
  'one outlier': (next, i, n) => (i === n >> 1 ? 1e30 : normal(next)),
  'log-uniform': next => (next() < 0.5 ? -1 : 1) * (1 + next()) * powerOfTwo(next, -140, 120),
  'two neighbours': (next, i) => (i === 0 || next() < 0.5 ? 1 : 1 + 2 ** -23),
  constant: () => 0.1,
  zeros: () => 0,
  'signed zeros': next => (next() < 0.5 ? 0 : -0),
  'all -0': () => -0
} satisfies { [name: string]: Fill }

/** Rows with numbers that are not finite. */
export const nonFiniteRows = {
  NaN: (next, i, n) => (i === n - 1 ? Number.NaN : normal(next)),
  '+Inf': (next, i, n) => (i === n >> 1 ? Number.POSITIVE_INFINITY : normal(next)),
  'both Inf': (next, i) => (i < 2 ? (i === 0 ? 1 : -1) * Number.POSITIVE_INFINITY : normal(next))
} satisfies { [name: string]: Fill }

export const allRows: { readonly [name: string]: Fill } = { ...finiteRows, ...nonFiniteRows }

/** n numbers of a kind, each rounded to float32. */
export function fill(kind: Fill, n: number, seed: number): Float32Array {
  const next = random(seed)
  return Float32Array.from({ length: n }, (_, i) => kind(next, i, n))
}

/** Ordinary weights and biases, or such as no model has: from 2^-60 to 2^60, with zeros. */
export const ordinaryWeights: Fill = next => 1 + 0.2 * normal(next)
export const wildWeights: Fill = next => (next() < 0.1 ? 0 : (2 * next() - 1) * powerOfTwo(next, -60, 60))

/** Every length from 1 to 130, each multiple of a vector, a round and a block with its neighbours, and real widths. */
export const lengths: readonly number[] = [
  ...new Set([
    ...Array.from({ length: 130 }, (_, i) => i + 1),
    ...[144, 160, 192, 256, 512, 1024, 2048, 4096].flatMap(n => [n - 1, n, n + 1, n + 4]),
    ...[384, 768, 4096, 8192, 65537]
  ])
].sort((a, b) => a - b)

const float64Bits = (array: Float64Array) => new BigUint64Array(array.buffer, array.byteOffset, array.length)
const float32Bits = (array: Float32Array) => new Uint32Array(array.buffer, array.byteOffset, array.length)

/** Elements, or the bits of such. Those of 16 bits have one NaN. */
type Numbers = Float32Array | Float64Array | Uint8Array | Uint16Array

/** The bits, with one pattern for every NaN: which NaN comes out is not part of the contract (rule 10). */
export function bits(array: Numbers): Uint32Array | BigUint64Array | Uint8Array | Uint16Array {
  if (array instanceof Uint8Array || array instanceof Uint16Array) return array
  const copy = array.slice()
  if (copy instanceof Float64Array) {
    const out = float64Bits(copy)
    for (let i = 0; i < copy.length; i++) if (Number.isNaN(copy[i])) out[i] = 0x7ff8000000000000n
    return out
  }
  const out = float32Bits(copy as Float32Array)
  for (let i = 0; i < copy.length; i++) if (Number.isNaN(copy[i])) out[i] = 0x7fc00000
  return out
}

/** Index of the first element whose bits differ, -1 where there is none. */
export function firstDifference(a: Numbers, b: Numbers): number {
  if (a.length !== b.length) return Math.min(a.length, b.length)
  const left = bits(a)
  const right = bits(b)
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return i
  return -1
}
