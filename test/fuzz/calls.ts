// Random calls of every kernel. A call is plain JSON, so that it can be printed and made again; its arrays follow from it.
import fc from 'fast-check'
import { allRows, fill, finiteRows, normal, ordinaryWeights, random, wildWeights } from '../../dist/esm/cases/data.js'
import type { Case } from '../../dist/esm/cases/index.js'
import { spansOf, spansOfSamples } from '../../dist/esm/cases/volumes.js'
import type { ElementType } from '../../dist/esm/kernels/elements.js'
import { type Op, ops, signatures } from '../../dist/esm/kernels/index.js'
import { normalizeRules } from '../../dist/esm/kernels/normalize.js'
import { codeFormats, type Groups } from '../../dist/esm/kernels/operands.js'

/** What a call is made of. An op takes what it has. */
export interface CallText {
  readonly op: Op
  /** Of the values. */
  readonly seed: number
  /** What kind of numbers groups hold, in turn. */
  readonly kinds: readonly string[]
  /** Rows, or samples. */
  readonly outer: number
  /** Elements of a row; or groups of channels. */
  readonly size: number
  /** Columns of a matrix; or positions. */
  readonly inner: number
  readonly channelsPerGroup: number
  readonly channelsLast: boolean
  readonly isPadded: boolean
  readonly weight: 'none' | 'ordinary' | 'wild'
  readonly bias: 'none' | 'ordinary' | 'wild'
  readonly hasResidual: boolean
  readonly keepsSum: boolean
  readonly isSaved: boolean
  readonly eps: number
  readonly residualScale: number
  readonly weightOffset: number
  /** What fraction of a group rms_norm counts. */
  readonly counted: number
  readonly p: number
  readonly rule: number
  readonly factor: number
  readonly window: readonly [before: number, behind: number]
  readonly beta: number
  readonly format: number
  readonly threads: number
  /** Of the elements. */
  readonly type?: ElementType
}

/** Any bits: NaN with and without signs, infinities, subnormal numbers, every exponent. */
const anyBits = (next: () => number) => {
  const word = Uint32Array.of(next() * 2 ** 32)
  return new Float32Array(word.buffer)[0]
}
const fills: { readonly [kind: string]: (next: () => number, i: number, n: number) => number } = {
  ...allRows,
  'any bits': anyBits
}
const finiteKinds = Object.keys(finiteRows)

/** Small numbers mostly, the neighbours of vectors, rounds and blocks, and at times large ones. */
const lengths = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 40 }) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 300 }) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(16, 64, 128, 256, 512, 768, 1024, 4096), fc.integer({ min: -1, max: 1 }))
      .map(([a, b]) => a + b)
  },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 9000 }) }
)
const counts = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 5 }) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 70 }) },
  { weight: 1, arbitrary: fc.constantFrom(63, 64, 65, 129, 4097) }
)
const weights = fc.constantFrom<CallText['weight'][]>('none', 'ordinary', 'wild')
const numbers = (...usual: number[]) =>
  fc.oneof(fc.constantFrom(...usual), fc.float({ noNaN: true, noDefaultInfinity: true }))

/** The most elements of a call: the models take microseconds for each. */
const mostOf = (seed: number) => (seed % 16 === 0 ? 40_000 : seed % 4 === 0 ? 6000 : 1500)
/** Whether a call is stretched along one dimension until it is divided among threads; no model computes it. */
export const isStretched = ({ seed }: CallText) => seed % 32 === 1
const stretchedSize = (seed: number) => 131_072 + (seed % 300_007)

export const calls = (chosen: readonly Op[] = ops): fc.Arbitrary<CallText> =>
  fc
    .record<CallText>({
      op: fc.constantFrom(...chosen),
      seed: fc.nat(),
      kinds: fc.array(fc.constantFrom(...Object.keys(fills)), { minLength: 1, maxLength: 3 }),
      outer: counts,
      size: lengths,
      inner: fc.oneof(fc.constant(1), lengths),
      channelsPerGroup: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 70 })),
      channelsLast: fc.boolean(),
      isPadded: fc.boolean(),
      weight: weights,
      bias: weights,
      hasResidual: fc.boolean(),
      keepsSum: fc.boolean(),
      isSaved: fc.boolean(),
      eps: numbers(1e-5, 0, 1e-12, 1, 1e40).map(Math.abs),
      residualScale: numbers(1, 0.5, -3.7),
      weightOffset: numbers(0, 1),
      counted: fc.constantFrom(1, 0.0625, 0.7),
      p: fc.constantFrom(2, 2, 1, Number.MAX_VALUE, 3, 0.5, 2.7, 0.3),
      rule: fc.nat({ max: normalizeRules.length - 1 }),
      factor: numbers(1, 2, -1),
      window: fc.tuple(fc.nat({ max: 5 }), fc.nat({ max: 5 })),
      beta: fc.constantFrom(0.75, 0.5, 1, 2.25, 0.6, -0.3, 3.7, 0),
      format: fc.nat({ max: codeFormats.length - 1 }),
      threads: fc.integer({ min: 1, max: 4 }),
      type: fc.constantFrom('float32', 'float32', 'float16', 'bfloat16')
    })
    .map(fitted)

/** The same with few enough elements. */
function fitted(text: CallText): CallText {
  const most = mostOf(text.seed)
  const upTo = (n: number, size: number) => Math.max(1, Math.min(n, Math.floor(most / size)))
  const channelsPerGroup = hasGroups(text.op) ? upTo(text.channelsPerGroup, text.size) : 1
  const inner = upTo(text.inner, text.size * channelsPerGroup)
  const outer = upTo(text.outer, text.size * channelsPerGroup * inner)
  const call = { ...text, channelsPerGroup, inner, outer }
  if (!isStretched(text)) return call
  const along = (['size', 'inner', 'outer'] as const)[Math.floor(text.seed / 32) % 3]
  const times = Math.ceil(stretchedSize(text.seed) / (text.size * channelsPerGroup * inner * outer))
  return { ...call, [along]: call[along] * times }
}

const hasGroups = (op: Op) => op.startsWith('group_norm')
const shapeOf = (op: Op) => (signatures[op] as { shape: string }).shape

/** The call, with its arrays. */
export function caseOf(text: CallText): Case {
  const kind = shapeOf(text.op)
  return kind === 'groups' ? rowCase(text) : kind === 'volume' ? volumeCase(text) : permuteCase(text)
}

const vector = (what: CallText['weight'], n: number, seed: number) =>
  what === 'none' ? undefined : fill(what === 'wild' ? wildWeights : ordinaryWeights, n, seed)

/** Numbers of float64 that statistics may be. */
const statistics = (n: number, seed: number, of: (next: () => number) => number) => {
  const next = random(seed)
  return Float64Array.from({ length: n }, () => of(next))
}

function rowCase(text: CallText): Case {
  const { op, seed, size, isSaved, eps, residualScale, weightOffset, factor, format } = text
  // No kernel of gradients or codes takes columns.
  const inner = /backward|quantize|residual_sum/.test(op) ? 1 : text.inner
  const { outer } = text
  const groups = outer * inner
  const isPadded = text.isPadded && /^(layer_norm|rms_norm|normalize)/.test(op)
  const x = new Float32Array(groups * size)
  for (let group = 0; group < groups; group++) {
    const values = fill(fills[text.kinds[group % text.kinds.length]], size, seed + group)
    const first = Math.floor(group / inner) * size * inner + (group % inner)
    for (let i = 0; i < size; i++) x[first + i * inner] = values[i]
  }
  const power = inner > 1 ? 2 : text.p === Number.MAX_VALUE ? Number.POSITIVE_INFINITY : text.p
  const rule = power === 2 || op === 'normalize_backward' ? text.rule : (text.rule % 2) * 4
  const shape: Groups = { outer, size, inner, spans: isPadded ? spansOfRows(text, inner) : undefined }
  const arriving = {
    dy: fill(fills[text.kinds.at(-1) ?? ''], x.length, seed + 7),
    dsum: text.hasResidual ? fill(normal, x.length, seed + 8) : undefined,
    mean: isSaved ? statistics(groups, seed + 9, normal) : undefined,
    rstd: isSaved ? statistics(groups, seed + 10, next => 1 / (next() + 0.1)) : undefined
  }
  const codes = {
    low: fill(normal, size, seed + 5),
    step: fill(normal, size, seed + 6).map(value => Math.abs(value) / 64 || 1),
    format
  }
  return {
    name: op,
    x,
    shape,
    keepsSum: text.keepsSum && (op.endsWith('backward') || text.hasResidual),
    ...{ rows: outer, cols: size, inner },
    residual: text.hasResidual || op === 'residual_sum' ? fill(normal, x.length, seed + 3) : undefined,
    weight: vector(text.weight, size, seed + 1),
    bias: vector(text.bias, size, seed + 2),
    residualScale: text.hasResidual || op === 'residual_sum' || op.endsWith('backward') ? residualScale : 1,
    weightOffset: text.weight === 'none' ? 0 : weightOffset,
    counted: Math.max(1, Math.ceil(size * text.counted)),
    ...{ eps, p: power, rule, factor },
    ...(op.endsWith('backward') && arriving),
    ...(op === 'quantize_embeddings' && codes)
  } as Case
}

/** Of one sample of rows, or of the columns of each matrix: some spans of real ones. */
function spansOfRows({ outer, seed }: CallText, inner: number): Int32Array {
  const [samples, positions] = inner === 1 ? [1, outer] : [outer, inner]
  return spansOfSamples(spansOf(samples, positions, seed + 11)) as Int32Array
}

function volumeCase(text: CallText): Case {
  const { op, seed, outer: samples, size: groups, channelsPerGroup, eps, beta } = text
  const isCalibrate = op === 'calibrate_embeddings'
  const channelsLast = text.channelsLast || isCalibrate || op === 'pool_embeddings'
  const positions = isCalibrate ? 1 : text.inner
  const channels = groups * channelsPerGroup
  const x = new Float32Array(samples * channels * positions)
  const [perChannel, perPosition] = channelsLast ? [1, channels] : [positions, 1]
  // What is infinite is refused before this kernel.
  const kinds = isCalibrate ? text.kinds.map((kind, i) => (kind in finiteRows ? kind : finiteKinds[i])) : text.kinds
  for (let group = 0; group < groups; group++) {
    const values = fill(fills[kinds[group % kinds.length]], samples * channelsPerGroup * positions, seed + group)
    let at = 0
    for (let n = 0; n < samples; n++) {
      for (let c = group * channelsPerGroup; c < (group + 1) * channelsPerGroup; c++) {
        for (let p = 0; p < positions; p++)
          x[n * channels * positions + c * perChannel + p * perPosition] = values[at++]
      }
    }
  }
  const isPadded = text.isPadded && !isCalibrate && op !== 'local_response_norm'
  const spans = isPadded ? spansOf(samples, positions, seed + 11) : undefined
  const shape = { samples, groups, channelsPerGroup, positions, channelsLast, spans: spansOfSamples(spans) }
  const isGiven = op.startsWith('batch_norm') || text.isSaved
  const count = op.startsWith('group_norm') ? samples * groups : groups
  const window = text.window.map(n => Math.min(n, groups))
  const backward = {
    dy: fill(fills[text.kinds.at(-1) ?? ''], x.length, seed + 7),
    mean: isGiven ? statistics(count, seed + 9, normal) : undefined,
    rstd: isGiven ? statistics(count, seed + 10, next => 2 ** Math.floor(20 * next() - 10)) : undefined,
    training: Number(text.keepsSum)
  }
  const given = {
    mean: statistics(count, seed + 9, next => normal(next) * 10 ** Math.floor(next() * 9)),
    variance: statistics(count, seed + 10, next => next() * 10 ** Math.floor(60 * next() - 30))
  }
  return {
    name: op,
    x,
    shape,
    ...{ samples, groups, channels: channelsPerGroup, positions, channelsLast, spans, eps },
    weight: vector(text.weight, channels, seed + 1),
    bias: vector(text.bias, channels, seed + 2),
    ...{ before: window[0], behind: window[1], alpha: 1e-3 / (window[0] + window[1] + 1), beta, k: 1 },
    ...(op.endsWith('backward') && backward),
    ...(op === 'batch_norm' && given)
  } as Case
}

function permuteCase({ seed, outer, size, inner, channelsLast }: CallText): Case {
  const dims = channelsLast ? [outer, size, inner] : [outer, inner, size]
  const next = random(seed)
  const order = dims.map((_, i) => ({ i, at: next() })).sort((a, b) => a.at - b.at)
  const dense = (dims: readonly number[]) => dims.map((_, i) => dims.slice(i + 1).reduce((all, dim) => all * dim, 1))
  const moved = order.map(({ i }) => dims[i])
  const shape = { dims: moved, xStrides: order.map(({ i }) => dense(dims)[i]), yStrides: dense(moved) }
  return { name: 'permute', x: fill(anyBits, outer * size * inner, seed), shape } as Case
}
