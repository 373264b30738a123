// Calls of poolEmbeddings, EmbeddingPooler, quantizeEmbeddings and dequantizeEmbeddings held against the model. They run on the
// backend that EVENKEEL_BACKEND names, so that a process for each can be asked.
import { Tensor } from 'onnxruntime-common'
import { allRows, fill, firstDifference, normal, ordinaryWeights, random } from '../../dist/esm/cases/data.js'
import {
  backend,
  backends,
  calibrateEmbeddings,
  dequantizeEmbeddings,
  EmbeddingPooler,
  getNumThreads,
  layerNorm,
  normalize,
  poolEmbeddings,
  quantizeEmbeddings,
  setNumThreads
} from '../../dist/esm/index.js'
import {
  type Codes,
  calibrateModel,
  codesPerRow,
  dequantizeModel,
  type Embeddings,
  embeddingModel,
  fromHalf,
  type Pooling,
  type Precision,
  type Quantization,
  quantizeModel,
  type Stages
} from './embedding_model.ts'

/** Arrays of every kind that these functions take and give. */
export type AnyArray = Codes | Float64Array

/** Float16Array where the runtime has it. */
const Float16 = (globalThis as { Float16Array?: new (...args: unknown[]) => ArrayBufferView }).Float16Array

/** What the memory of a result is, unless `out` says otherwise. */
export function memoryOf(precision: Precision): new (length: number) => AnyArray {
  if (precision === 'float32') return Float32Array
  if (precision === 'float16') return (Float16 ?? Uint16Array) as unknown as Uint16ArrayConstructor
  if (precision === 'bfloat16') return Uint16Array
  return precision === 'int8' || precision === 'binary' ? Int8Array : Uint8Array
}

/** What `type` a tensor of these results has. */
export function typeOf(precision: Precision): string {
  if (precision === 'binary') return 'int8'
  return precision === 'ubinary' ? 'uint8' : precision
}

/** The patterns of a Float16Array; any other array as it is. */
export function patterns<Items extends AnyArray>(array: Items): Items | Uint16Array {
  if (Float16 === undefined || !(array instanceof Float16)) return array
  const { buffer, byteOffset, length } = array as unknown as Uint16Array
  return new Uint16Array(buffer as ArrayBuffer, byteOffset, length)
}

/** Index of the first element that differs, -1 where there is none; any NaN of float32 or float64 for any other. */
export function firstOther(given: AnyArray, expected: AnyArray): number {
  const actual = patterns(given)
  if (actual.constructor !== expected.constructor) return 0
  if (expected instanceof Float32Array || expected instanceof Float64Array) {
    return firstDifference(actual as Float32Array, expected)
  }
  if (actual.length !== expected.length) return Math.min(actual.length, expected.length)
  return expected.findIndex((value, i) => value !== actual[i])
}

/** A sentence about the first element that differs, undefined where there is none. */
export function unlike(given: AnyArray, expected: AnyArray, what: string): string | undefined {
  const actual = patterns(given)
  const at = firstOther(actual, expected)
  const kinds = `${actual.constructor.name}(${actual.length}) for ${expected.constructor.name}(${expected.length})`
  return at < 0 ? undefined : `${what}: [${at}] is ${actual[at]}, expected ${expected[at]}; ${kinds}`
}

// --- Data ------------------------------------------------------------------------------------------------------------

/** Hidden states with everything that is no ordinary number. */
const hostile = (next: () => number) => {
  const kind = next()
  if (kind < 0.01) return Number.NaN
  if (kind < 0.02) return kind < 0.015 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY
  if (kind < 0.3) return kind < 0.2 ? -0 : 0
  return normal(next)
}
/** Numbers whose sum depends on the order: what stays of the small ones once the large ones cancel. */
const cancelling = (next: () => number) => {
  const kind = next()
  if (kind < 0.4) return (kind < 0.2 ? 1 : -1) * 2 ** 55
  if (kind < 0.6) return (kind < 0.5 ? 3 : -3) * 2 ** 30
  return normal(next)
}

/** Numbers, zeros of both signs and NaN: everything but infinities. */
export const mixed = fill(hostile, 997, 2).map(value => (Number.isFinite(value) ? value : Number.NaN))

const kinds: typeof allRows = { ...allRows, hostile, cancelling }

/** Some numbers of each kind, of which large inputs are made. */
const stock = new Map(Object.entries(kinds).map(([kind, fillWith]) => [kind, fill(fillWith, 997, 1)]))

export const poolings: readonly Pooling[] = ['mean', 'mean-sqrt', 'weighted-mean', 'cls', 'last', 'max', 'none']
export const several: readonly (readonly Pooling[])[] = [
  ['cls', 'mean', 'max'],
  ['weighted-mean', 'mean-sqrt', 'last', 'mean'],
  ['max', 'cls'],
  ['last']
]

type Real = (n: number, p: number, length: number) => boolean
export const masks: { readonly [name: string]: Real } = {
  all: () => true,
  'from the front': (n, p, length) => p < (n * 5 + 3) % (length + 1),
  'from the back': (n, p, length) => p >= (n * 4 + 1) % (length + 1),
  holes: (n, p) => (p * 7 + n) % (n + 2) !== 0,
  'long holes': (n, p) => Math.floor((p + n) / 3) % 2 === 0,
  'none in some': (n, p) => n % 2 === 1 && p % 3 !== 1,
  none: () => false
}

/** Ranges of each dimension: ordinary ones, one number, none above another, some that float32 cannot subtract. */
export function rangesOf(dimensions: number, seed: number): [Float32Array, Float32Array] {
  const next = random(seed)
  const [min, max] = [new Float32Array(dimensions), new Float32Array(dimensions)]
  for (let c = 0; c < dimensions; c++) {
    const kind = next()
    const low = kind < 0.05 ? -3e38 : kind < 0.1 ? -1e-44 : -next()
    min[c] = low
    max[c] = kind < 0.05 ? 3e38 : kind < 0.1 ? 1e-44 : kind < 0.2 ? low : low + 2 * next()
  }
  return [min, max]
}

/** Every precision, with every scale and order of bits that it has. */
export const quantizations: readonly ((dimensions: number) => Quantization & { precision: Precision })[] = [
  () => ({ precision: 'float32' }),
  () => ({ precision: 'float16' }),
  () => ({ precision: 'bfloat16' }),
  () => ({ precision: 'int8', scale: 'unit' }),
  () => ({ precision: 'int8', scale: 'row' }),
  () => ({ precision: 'int8', scale: 'sqlite-vec' }),
  dimensions => ({ precision: 'int8', scale: { ranges: rangesOf(dimensions, 1) } }),
  dimensions => ({ precision: 'uint8', scale: { ranges: rangesOf(dimensions, 2) } }),
  () => ({ precision: 'binary' }),
  () => ({ precision: 'binary', bitOrder: 'lsb' }),
  () => ({ precision: 'ubinary', bitOrder: 'msb' }),
  () => ({ precision: 'ubinary', bitOrder: 'lsb' })
]

const normalizations: readonly Stages['normalize'][] = [
  true,
  undefined,
  false,
  { p: 1 },
  { p: Number.POSITIVE_INFINITY },
  { rule: 'zero' },
  { rule: 'mean-square', eps: 1e-6, scale: 0.7 },
  { rule: 'clamp-square', eps: 1 }
]

const [weights, biases] = [fill(ordinaryWeights, 4100, 5), fill(normal, 4100, 6)]

function layerNorms(channels: number): readonly Stages['layerNorm'][] {
  const [weight, bias] = [weights.subarray(0, channels), biases.subarray(0, channels)]
  return [undefined, undefined, false, true, { weight, bias }, { eps: 1e-6, weight }, { bias }]
}

/** One call: its arguments, and what the model says. */
export interface Case {
  readonly name: string
  readonly hidden: Float32Array
  readonly dims: readonly number[]
  readonly stages: Stages & Quantization & { readonly precision: Precision }
  readonly forward: { readonly mask?: ArrayLike<unknown>; readonly lengths?: ArrayLike<number>; readonly skip?: number }
  expected(): Embeddings
}

/** Hidden states of a kind, with garbage where nothing is real. */
export function hiddenStates(dims: readonly number[], kind: string, seed: number, real: Real): Float32Array {
  const [samples, positions, channels] = dims.length === 2 ? [dims[0], 1, dims[1]] : dims
  const garbage = [Number.NaN, Number.POSITIVE_INFINITY, 3e38, Number.NEGATIVE_INFINITY]
  const values = stock.get(kind) as Float32Array
  const data = new Float32Array(samples * positions * channels)
  for (let row = 0; row < samples * positions; row++) {
    const isReal = real(Math.floor(row / positions), row % positions, positions)
    for (let i = row * channels; i < (row + 1) * channels; i++) {
      // Each row begins elsewhere.
      data[i] = isReal ? values[(i + (row * row * 31 + seed * 7)) % values.length] : garbage[(i + seed) % 4]
    }
  }
  return data
}

/** A case whose choices follow from its number. */
function makeCase(
  index: number,
  dims: readonly number[],
  pooling: Pooling | readonly Pooling[],
  among: readonly string[] = Object.keys(masks)
): Case {
  const next = random(index + 1)
  const choose = <Item>(items: readonly Item[]) => items[Math.floor(next() * items.length)]
  const [samples, positions, channels] = dims.length === 2 ? [dims[0], 1, dims[1]] : dims
  const all = channels * (typeof pooling === 'string' ? 1 : pooling.length)
  const padding = dims.length === 2 ? 'all' : choose(among)
  const kind =
    next() < 0.2 ? 'N(0,1)' : next() < 0.3 ? 'cancelling' : next() < 0.3 ? 'hostile' : choose(Object.keys(kinds))
  const real: Real = (n, p) => masks[padding](n, p, positions)
  const flags = Array.from({ length: samples * positions }, (_, i) => real(Math.floor(i / positions), i % positions, 0))
  const dimensions = choose([undefined, undefined, all, Math.ceil(all / 2), Math.max(1, all - 1), 1])
  const stages = {
    ...(pooling === 'mean' && next() < 0.5 ? {} : { pooling }),
    layerNorm: choose(layerNorms(all)),
    dimensions,
    normalize: choose(normalizations),
    ...quantizations[index % quantizations.length](dimensions ?? all)
  }
  // Rows of two dims have no positions.
  const skips = [undefined, undefined, 1, 2, Array.from({ length: samples }, (_, n) => n % 3)] as const
  const skip = dims.length === 2 ? undefined : (choose(skips) as number | undefined)
  const lengths = Array.from({ length: samples }, (_, n) =>
    flags.slice(n * positions, (n + 1) * positions).reduce((sum, flag) => sum + Number(flag), 0)
  )
  const forms = [Uint8Array.from(flags, Number), BigInt64Array.from(flags, flag => BigInt(flag)), flags] as const
  const given =
    padding === 'all'
      ? {}
      : padding === 'from the front' && next() < 0.5
        ? { lengths }
        : { mask: choose(forms) as ArrayLike<unknown> }
  const hidden = hiddenStates(dims, kind, index + 1, real)
  const { precision, scale, bitOrder } = stages as Quantization
  const scaleName = typeof scale === 'object' ? 'ranges' : scale
  const words = [index, `[${dims}]`, pooling, kind, padding, skip && `skip ${skip}`, precision, scaleName, bitOrder]
  const options = JSON.stringify([dimensions, stages.layerNorm && Object.keys(stages.layerNorm), stages.normalize])
  let known: Embeddings | undefined
  return {
    name: `${words.filter(word => word !== undefined).join(' ')} ${options}`,
    hidden,
    dims,
    stages,
    forward: { ...given, ...(skip === undefined ? {} : { skip }) },
    expected() {
      known ??= embeddingModel(hidden, dims, { ...stages, real: (n, p) => real(n, p, positions), skip })
      return known
    }
  }
}

/** Every pooling with widths around those of vectors, and with lengths around those of loops. */
function makeCases(): Case[] {
  const found: Case[] = []
  const add = (dims: readonly number[], pooling: Pooling | readonly Pooling[]) =>
    found.push(makeCase(found.length, dims, pooling))
  for (const channels of [1, 3, 8, 17, 64, 511, 768, 1025]) {
    const wide = channels > 500
    for (const pooling of wide ? poolings : [...poolings, ...poolings]) add([wide ? 2 : 4, 5, channels], pooling)
    for (const pooling of several) add([2, 3, channels], pooling)
    add([3, channels], 'none')
  }
  for (let positions = 1; positions <= 36; positions++) {
    for (const pooling of [poolings[positions % 6], positions % 2 === 0 ? several[(positions / 2) % 4] : 'mean']) {
      add([3, positions, 1 + ((positions * 11) % 37)], pooling as Pooling)
    }
  }
  for (const dims of [
    [0, 4, 8],
    [3, 0, 8],
    [1, 150, 40]
  ]) {
    for (const pooling of ['mean', 'max', 'weighted-mean'] as const) add(dims, pooling)
  }
  return found
}

const cases = makeCases()

// --- The calls -------------------------------------------------------------------------------------------------------

type Loose = { [name: string]: unknown }
// biome-ignore lint/suspicious/noExplicitAny: options of every kind
type Any = any

export const dataOf = (value: unknown) => (ArrayBuffer.isView(value) ? value : (value as Tensor).data) as AnyArray

interface Places {
  readonly pooled: Float32Array
  readonly norm: Float32Array | Float64Array
  readonly scales?: Float32Array | undefined
}

/** Places for everything that a call writes beside its result, with garbage in them. */
function places({ pooled, norm, scales }: Embeddings, index: number): Places {
  const Norms = index % 2 === 0 ? Float32Array : Float64Array
  return {
    pooled: new Float32Array(pooled.length).fill(7),
    norm: new Norms(norm.length).fill(7),
    ...(scales ? { scales: new Float32Array(scales.length).fill(7) } : {})
  }
}

/** What differs between the side outputs of a call and those of the model. */
function* unlikeBeside(written: Places, expected: Embeddings, name: string): Generator<string> {
  const norms = written.norm instanceof Float32Array ? Float32Array.from(expected.norm) : expected.norm
  const found = [
    unlike(written.pooled, expected.pooled, `${name}: pooled`),
    unlike(written.norm, norms, `${name}: norm`),
    written.scales && unlike(written.scales, expected.scales as Float32Array, `${name}: scales`)
  ]
  for (const one of found) if (one !== undefined) yield one
}

/** The stages called one by one. */
function byStages({ hidden, dims, stages, forward }: Case): AnyArray {
  const { pooling, layerNorm: norm = false, dimensions, normalize: division = true, ...codes } = stages
  const kinds = typeof pooling === 'object' ? pooling.length : 1
  const channels = dims[dims.length - 1] * kinds
  let x = poolEmbeddings({ data: hidden, dims }, { pooling, normalize: false, ...forward } as Any).data as Float32Array
  if (norm) x = layerNorm(x, channels, norm === true ? {} : norm)
  const k = dimensions ?? channels
  const rows = x.length / channels
  const cut = new Float32Array(rows * k)
  for (let row = 0; row < rows; row++) cut.set(x.subarray(row * channels, row * channels + k), row * k)
  const y = division ? normalize(cut, k, division === true ? {} : (division as Any)) : cut
  return quantizeEmbeddings(y, k, codes as Any) as AnyArray
}

/** Every way in which poolEmbeddings and its kin differ from the model, in words. */
export function* differences(): Generator<string> {
  let index = 0
  for (const given of cases) {
    const { name, hidden, dims, stages, forward } = given
    const expected = given.expected()
    const written = places(expected, index++)
    const before = hidden.slice()
    const tensor = { type: 'float32', data: hidden, dims }
    const result = poolEmbeddings(tensor, { ...stages, ...forward, ...written } as Any)
    const found = [
      unlike(dataOf(result), expected.y, `${name}: y`),
      unlike(byStages(given), expected.y, `${name}: by stages`),
      unlike(hidden, before, `${name}: hidden`),
      String(result.dims) === String(expected.dims) ? undefined : `${name}: dims are ${result.dims}`,
      result.type === typeOf(stages.precision) ? undefined : `${name}: type is ${result.type}`,
      dataOf(result).constructor === memoryOf(stages.precision) ? undefined : `${name}: memory`
    ]
    for (const one of found) if (one !== undefined) yield one
    yield* unlikeBeside(written, expected, name)

    // The same by a layer, into memory of the caller's that lies inside of a buffer and holds garbage.
    const channels = dims[dims.length - 1]
    const Class = expected.y.constructor as Uint8ArrayConstructor
    const memory = new Class(expected.y.length + 9).fill(7)
    const out = memory.subarray(5, 5 + expected.y.length)
    new EmbeddingPooler(channels, stages as Any).forward(tensor, { ...forward, out } as Any)
    const other = unlike(out, expected.y, `${name}: EmbeddingPooler`)
    if (other !== undefined) yield other
    const around = [...memory.subarray(0, 5), ...memory.subarray(5 + expected.y.length)]
    if (around.some(value => value !== 7)) yield `${name}: written around out`
    if (stages.pooling === 'none' && dims.length === 2) {
      const array = new EmbeddingPooler(channels, stages as Any).forward(hidden) as unknown as AnyArray
      const one = unlike(array, expected.y, `${name}: an array`)
      if (one !== undefined) yield one
    }
  }
  yield* divisionDifferences()
  yield* codeDifferences()
  yield* statisticsDifferences()
}

/** Sums whose quotient is 1 - 2^-25, half way between two numbers of float32: a product with some inverses is less. */
function* divisionDifferences(): Generator<string> {
  const quotients: readonly (readonly [Pooling, positions: number, divisor: number, secondWeight: number])[] = [
    ...[49, 103, 107, 161].map(n => ['mean', n, n, 1] as const),
    ...[22, 33].map(n => ['weighted-mean', n, (n * (n + 1)) / 2, 2] as const),
    ['mean-sqrt', 49 * 49, 49, 1]
  ]
  for (const [pooling, positions, divisor, secondWeight] of quotients) {
    const channels = 33
    const data = new Float32Array(positions * channels)
    data.fill(divisor, 0, channels)
    data.fill((-divisor * 2 ** -25) / secondWeight, channels, 2 * channels)
    const result = poolEmbeddings({ data, dims: [1, positions, channels] }, { pooling, normalize: false })
    const one = unlike(dataOf(result), new Float32Array(channels).fill(1), `${pooling} of ${positions}`)
    if (one !== undefined) yield one
  }
}

/** What calibrateEmbeddings says of rows of every width. */
function* statisticsDifferences(): Generator<string> {
  for (const dimensions of [1, 3, 8, 17, 64, 511, 768, 1025]) {
    const x = new Float32Array(9 * dimensions)
    for (let i = 0; i < x.length; i++) x[i] = mixed[(i * i + 3 * i) % mixed.length]
    const expected = calibrateModel(x, dimensions)
    const statistics = calibrateEmbeddings(x, dimensions)
    for (const field of Object.keys(expected) as (keyof typeof expected)[]) {
      const one = unlike(
        statistics[field],
        Float64Array.from(expected[field]),
        `calibrateEmbeddings ${dimensions} ${field}`
      )
      if (one !== undefined) yield one
    }
  }
}

const word = new Int32Array(1)
const view = new Float32Array(word.buffer)

/** The float32 next above or next below one that is not 0. */
export function neighbour(x: number, step: 1 | -1): number {
  view[0] = x
  // Patterns of negative numbers count downwards.
  word[0] += x > 0 ? step : -step
  return view[0]
}

/** Numbers on the edges between codes, and their neighbours, in rows of 61 whose largest is 127 or Inf. */
function edges(): Float32Array {
  const on: number[] = []
  for (let k = 0; k < 256; k++) on.push((k - 127.5) / 127, k / 127.5 - 1, k - 127.5, k / 255)
  for (const type of ['float16', 'bfloat16'] as const) {
    const infinity = type === 'float16' ? 0x7c00 : 0x7f80
    for (let i = 0; i < 150; i++) {
      const pattern = i < 4 ? i : i < 8 ? infinity - 4 + (i - 4) : Math.floor((i * infinity) / 150)
      // The first number that is too large would be twice the last one's step away.
      const low = fromHalf(type, pattern)
      const above = pattern + 1 < infinity ? fromHalf(type, pattern + 1) : 2 * low - fromHalf(type, pattern - 1)
      on.push((low + above) / 2, -(low + above) / 2)
    }
  }
  const all = on.flatMap(value => [value, neighbour(value, 1), neighbour(value, -1)])
  const rows = Math.floor(all.length / 60)
  return Float32Array.from({ length: rows * 61 }, (_, i) => {
    const [row, c] = [Math.floor(i / 61), i % 61]
    if (c === 0) return row % 9 === 0 ? Number.POSITIVE_INFINITY : 127
    const value = all[row * 60 + c - 1]
    // The scales of some rows have the large ones, too.
    return Math.abs(value) > 127 && row % 2 === 0 ? Math.sign(value) : value
  })
}

/** Ranges whose codes have their edges there. */
function edgeRanges(): [Float32Array, Float32Array] {
  const ends = [
    [-1, 1],
    [0, 255],
    [-127.5, 127.5],
    [0, 1]
  ]
  const side = (which: 0 | 1) => Float32Array.from({ length: 61 }, (_, c) => ends[c % 4][which])
  return [side(0), side(1)]
}

/** Rows, and everything that quantizeEmbeddings and dequantizeEmbeddings make of them. */
function* codeDifferences(): Generator<string> {
  for (const dimensions of [1, 3, 8, 17, 64, 511, 768, 1025]) {
    const others = ['uniform +-3.3e38', 'log-uniform', 'subnormal', 'both Inf']
    for (const kind of ['N(0,1)', 'hostile', ...(dimensions > 500 ? [] : others)]) {
      const scaled = kind === 'N(0,1)' ? 0.5 : 1
      const x = fill(kinds[kind], 3 * dimensions, dimensions).map(value => value * scaled)
      x.fill(0, 0, kind === 'hostile' ? dimensions : 0)
      for (const make of quantizations) yield* codeDifferencesOf(kind, x, dimensions, make(dimensions))
    }
  }
  const x = edges()
  const scale = { ranges: edgeRanges() }
  for (const make of quantizations) {
    const quantization = make(61)
    yield* codeDifferencesOf(
      'edges',
      x,
      61,
      typeof quantization.scale === 'object' ? { ...quantization, scale } : quantization
    )
  }
}

function* codeDifferencesOf(
  kind: string,
  x: Float32Array,
  dimensions: number,
  quantization: Quantization & { readonly precision: Precision }
): Generator<string> {
  const { precision, scale, bitOrder } = quantization
  const rows = x.length / dimensions
  const name = `${kind} [${rows}, ${dimensions}] ${precision} ${JSON.stringify(scale)?.slice(0, 12)} ${bitOrder}`
  const { codes, scales } = quantizeModel(x, dimensions, quantization)
  const place = scales && { scales: new Float32Array(rows).fill(7) }
  const given = { ...quantization, ...place } as Any
  const actual = quantizeEmbeddings(x, dimensions, given) as AnyArray
  const back = dequantizeEmbeddings(codes as Any, dimensions, given) as Any
  const right = dequantizeModel(codes, dimensions, { ...quantization, scales: scales as Float32Array })
  const tensor = quantizeEmbeddings({ data: x, dims: [rows, dimensions] }, dimensions, given) as Any
  const found = [
    unlike(actual, codes, `quantizeEmbeddings ${name}`),
    scales && unlike(place?.scales as Float32Array, scales, `scales ${name}`),
    unlike(dataOf(tensor), codes, `quantizeEmbeddings of a tensor ${name}`),
    unlike(back, right, `dequantizeEmbeddings ${name}`),
    String(tensor.dims) === `${rows},${codesPerRow(dimensions, precision)}` ? undefined : `dims ${name}`,
    tensor.type === typeOf(precision) ? undefined : `type ${name}`
  ]
  for (const one of found) if (one !== undefined) yield one
}

// --- Calls off the event loop ----------------------------------------------------------------------------------------

/** Gives arrays their memory. */
type Memory = <A extends AnyArray>(array: A) => A

const plain: Memory = array => array
const shared: Memory = array => {
  const Class = array.constructor as new (buffer: SharedArrayBuffer) => typeof array
  const copy = new Class(new SharedArrayBuffer(array.byteLength))
  copy.set(array)
  return copy
}
/** In the middle of a buffer. */
const inside: Memory = array => {
  const Class = array.constructor as new (length: number) => typeof array
  const part = new Class(array.length + 20).subarray(7, 7 + array.length) as typeof array
  part.set(array)
  return part
}

/** Where the hidden states lie and what is written: [hidden states, what is written, whether there is an out, transfer]. */
const modes: { readonly [name: string]: readonly [Memory, Memory, out: boolean, transfer?: boolean] } = {
  copied: [plain, plain, false],
  'copied, out': [plain, plain, true],
  'copied, views': [inside, inside, true],
  'copied, shared out': [plain, shared, true],
  'taken over': [plain, plain, false, true],
  shared: [shared, plain, false],
  'shared, shared out': [shared, shared, true]
}

/** Every way in which forwardAsync differs from the model, in words. */
export async function* laterEmbeddingDifferences(): AsyncGenerator<string> {
  let index = 0
  for (const given of cases) {
    if (index++ % 5 !== 0) continue
    const { hidden, dims, stages, forward } = given
    const expected = given.expected()
    const pooler = new EmbeddingPooler(dims[dims.length - 1], stages as Any)
    for (const [mode, [memory, place, hasOut, transfer = false]] of Object.entries(modes)) {
      const name = `${given.name}, ${mode}`
      const beside = places(expected, index)
      const written = Object.fromEntries(Object.entries(beside).map(([key, array]) => [key, place(array)]))
      const Class = expected.y.constructor as Uint8ArrayConstructor
      const out = hasOut ? { out: place(new Class(expected.y.length).fill(7)) } : {}
      const data = memory(hidden.slice())
      const options: Loose = { ...forward, ...written, ...out, ...(transfer ? { transfer } : {}) }
      const promise = pooler.forwardAsync(new Tensor('float32', data, dims), options as Any)
      if (transfer && data.length !== 0) yield `${name}: the hidden states are still there`
      // They may be used again at once.
      if (!transfer && !(data.buffer instanceof SharedArrayBuffer)) data.fill(Number.NaN)
      const later = await promise
      const one = unlike(dataOf(later), expected.y, `${name}: y`)
      if (one !== undefined) yield one
      yield* unlikeBeside(written as unknown as Places, expected, name)
      if (out.out && dataOf(later) !== out.out) yield `${name}: the result is not out`
      if (String(later.dims) !== String(expected.dims)) yield `${name}: dims are ${later.dims}`
    }
  }
}

// --- Threads ---------------------------------------------------------------------------------------------------------

/** Large inputs: many samples, few long ones, one, wide and narrow, and rows alone. */
function largeCases(): Case[] {
  const shapes: readonly (readonly [readonly number[], Pooling | readonly Pooling[]])[] = [
    [[12, 64, 768], 'mean'],
    [[3, 200, 1025], 'weighted-mean'],
    [
      [1, 1200, 384],
      ['mean', 'max', 'last']
    ],
    [[1, 2500, 65], 'mean-sqrt'],
    [
      [1500, 3, 64],
      ['cls', 'max']
    ],
    [[2, 400, 512], 'none'],
    [[2000, 200], 'none']
  ]
  return shapes.map(([dims, pooling], i) => makeCase(1000 + i, dims, pooling))
}

/**
 * Every way in which a number of threads changes a result, in words. The best backend is held against the model, the others
 * against themselves with one thread, which smaller cases hold against the model.
 */
export function* threadDifferences(): Generator<string> {
  if (backend === 'js') return
  const before = getNumThreads()
  for (const { name, hidden, dims, stages, forward, expected } of largeCases()) {
    let right = backend === backends[0] ? expected() : undefined
    for (const threads of [1, 2, 4]) {
      setNumThreads(threads)
      const options = { ...stages, ...forward }
      const written = emptyPlaces(dims, stages)
      const result = poolEmbeddings({ data: hidden, dims }, { ...options, ...written } as Any)
      right ??= { scales: undefined, ...written, y: patterns(dataOf(result)) as Codes, dims: [] }
      const what = `${name}, ${threads} threads`
      const one = unlike(dataOf(result), right.y, what)
      if (one !== undefined) yield one
      yield* unlikeBeside(written, right, what)
    }
  }
  setNumThreads(before)
}

/** Places for what a large call writes beside its result. */
function emptyPlaces(dims: readonly number[], { pooling, scale }: Stages): Places & { readonly norm: Float64Array } {
  const rows = pooling === 'none' ? dims.slice(0, -1).reduce((product, dim) => product * dim, 1) : dims[0]
  const kinds = typeof pooling === 'object' ? pooling.length : 1
  const channels = dims[dims.length - 1] * kinds
  return {
    pooled: new Float32Array(rows * channels).fill(7),
    norm: new Float64Array(rows).fill(7),
    scales: scale === 'row' ? new Float32Array(rows).fill(7) : undefined
  }
}
