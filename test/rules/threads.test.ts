// The same bits for every number of threads.
import { describe, expect, it } from 'vitest'
import { tables } from '../../dist/esm/backend/choice.js'
import { fill, random } from '../../dist/esm/cases/data.js'
import { getNumThreads, groupNorm, layerNorm, rmsNorm, setNumThreads, view } from '../../dist/esm/index.js'
import type { Kernels, Op } from '../../dist/esm/kernels/index.js'
import { codeBytes, codeFormats, type Statistic } from '../../dist/esm/kernels/operands.js'
import { backendsHere } from '../support/backends.ts'
import { expectSameBits } from '../support/bits.ts'
import { rowOperands, volumeOperands } from '../support/calls.ts'
import { type Call, gradientCalls, type Outputs, type Written } from '../support/gradient_calls.ts'
import { long } from '../support/process.ts'

const native = backendsHere.slice(0, -1)

const uniform = (next: () => number) => 2 * next() - 1 + 0.25
const values = fill(uniform, 1 << 21, 1)
const others = fill(uniform, 1 << 21, 2)
const weights = fill(uniform, 1 << 17, 3)
const biases = fill(uniform, 1 << 17, 4)

/** outer, size, inner; stride of the matrices, where they do not follow one another. */
const rowShapes: readonly (readonly [number, number, number, number?])[] = [
  // rows: as many in each piece, more in some, fewer than there would be pieces, one alone
  [512, 768, 1],
  [1031, 768, 1],
  [1031, 768, 1, 781],
  [3, 200_003, 1],
  [1, 400_001, 1],
  // below, at and above the size from which a call is divided, and that of two pieces
  [127, 1032, 1],
  [128, 1024, 1],
  [257, 1020, 1],
  [513, 511, 1],
  [512, 512, 1],
  // columns: of one matrix, unaligned, the last piece one column; of few matrices; of many
  [1, 64, 6000],
  [1, 100, 2623],
  [1, 16_000, 17],
  [1, 150_000, 3],
  [2, 500, 777],
  [3, 300, 1001, 300_311],
  [40, 300, 31]
]

function* rowCalls(): Generator<Call> {
  let index = 0
  for (const [outer, size, inner, given] of rowShapes) {
    const stride = given ?? size * inner
    const n = stride * outer
    const x = values.subarray(index % 7, (index % 7) + n)
    const residual = others.subarray(index % 5, (index % 5) + n)
    const [weight, bias] = [weights.length < size ? undefined : weights, biases.length < size ? undefined : biases]
    const Statistics = index % 2 === 0 ? Float32Array : Float64Array
    const shape = [outer, size, inner]
    const rows = { rows: outer, cols: size, inner, stride }
    const rms = { counted: Math.ceil(size / 2), eps: 1e-6 }
    const statistic = () => new Statistics(outer * inner)
    for (const form of ['plain', 'residual', 'residual and sum', 'in place', 'residual in place'] as const) {
      const added = form.startsWith('residual') ? residual : undefined
      const outputs = () => ({
        y: form.endsWith('in place') ? x.slice() : new Float32Array(n),
        sum: form === 'residual and sum' ? new Float32Array(n) : undefined,
        mean: form === 'plain' ? undefined : statistic(),
        rstd: form === 'in place' ? undefined : statistic()
      })
      const from = (y: Float32Array) => (form.endsWith('in place') ? y : x)
      const name = `[${shape}] ${given ? `stride ${given} ` : ''}${form}`
      yield {
        ...{ name, op: 'layer_norm', outputs },
        operands: ({ y, ...written }) =>
          rowOperands({
            ...rows,
            ...written,
            y,
            x: from(y),
            residual: added,
            weight,
            bias,
            residualScale: 0.75,
            eps: 1e-5
          })
      }
      if (form === 'plain' || form === 'residual') continue
      yield {
        ...{ name, op: 'rms_norm', outputs: () => ({ ...outputs(), mean: undefined }) },
        operands: ({ y, ...written }) =>
          rowOperands({
            ...rows,
            ...written,
            ...rms,
            y,
            x: from(y),
            residual: added,
            weight,
            weightOffset: weight ? 1 : 0
          })
      }
    }
    for (const p of [2, 1]) {
      yield {
        ...{ name: `[${shape}] p ${p}`, op: 'normalize' },
        outputs: () => ({ y: x.slice(), norm: statistic() }),
        operands: ({ y, norm }) => rowOperands({ ...rows, y, norm, x: y, p, rule: 0, eps: 1e-12, factor: 1.5 })
      }
    }
    index++
  }
}

/** samples, groups, channels of a group, positions. */
const volumeShapes: readonly (readonly [number, number, number, number])[] = [
  // many samples; fewer than there would be pieces; one
  [100, 13, 1, 301],
  [3, 33, 1, 5000],
  [1, 64, 1, 6007],
  [1, 3, 1, 130_001],
  [1, 777, 1, 500],
  [5001, 77, 1, 1],
  // groups of several channels, more and fewer than fit beside one another
  [40, 5, 3, 700],
  [2, 17, 5, 2200],
  [1, 37, 7, 1500],
  [1, 9, 40, 1111],
  [1, 2, 1, 70_001],
  // groups that threads share, run by run or each run
  [1, 1, 320, 1111],
  [1, 3, 2, 80_001]
]

function* volumeCalls(): Generator<Call> {
  let index = 0
  for (const [samples, groups, channels, positions] of volumeShapes) {
    const count = groups * channels
    const n = samples * count * positions
    const next = random(index)
    const spans = Int32Array.from({ length: 2 * samples }, (_, i) =>
      Math.floor((positions * ((i % 2) + next())) / 2 + (i % 2))
    )
    for (const last of positions === 1 ? [true] : [false, true]) {
      for (const padding of [undefined, spans]) {
        const x = values.subarray(index % 7, (index % 7) + n)
        const Statistics = index++ % 2 === 0 ? Float32Array : Float64Array
        const volume = { samples, groups, channels, positions, channelsLast: last, spans: padding }
        const name = `[${samples}, ${groups}, ${channels}, ${positions}]${last ? ' channels last' : ''}${padding ? ' padded' : ''}`
        const y = () => ({ y: x.slice() })
        const perGroup = () => new Statistics(samples * groups)
        yield {
          ...{ name, op: 'group_norm', outputs: () => ({ ...y(), mean: perGroup(), rstd: perGroup() }) },
          operands: ({ y, mean, rstd }) =>
            volumeOperands({ ...volume, y, mean, rstd, x: y, weight: weights, bias: biases, eps: 1e-5 })
        }
        if (channels > 1) continue
        const mean = Float64Array.from(weights.subarray(0, groups))
        const variance = Float64Array.from(biases.subarray(0, groups), Math.abs)
        yield {
          ...{ name, op: 'batch_norm', outputs: y },
          operands: ({ y }) =>
            volumeOperands({ ...volume, y, x: y, mean, variance, weight: weights, bias: biases, eps: 1e-5 })
        }
        yield {
          ...{ name, op: 'batch_statistics' },
          outputs: () => ({ mean: new Float64Array(groups), variance: new Float64Array(groups) }),
          operands: ({ mean, variance }) => volumeOperands({ ...volume, mean, variance, x })
        }
        if (padding || n > 400_000) continue
        yield {
          ...{ name, op: 'local_response_norm', outputs: () => ({ y: new Float32Array(n) }) },
          operands: ({ y }) => volumeOperands({ ...volume, y, x, before: 2, behind: 1, alpha: 1e-4, beta: 0.75, k: 1 })
        }
      }
    }
  }
}

function call(kernels: Kernels, { op, outputs, operands }: Call): Outputs {
  const written = outputs()
  const kernel = kernels[op] as (call: object) => void
  kernel(operands(written as Written))
  return written
}

const bytesOf = (array: Statistic) => Buffer.from(array.buffer, array.byteOffset, array.byteLength)

function expectSame(actual: Outputs, expected: Outputs, what: string): void {
  for (const [name, array] of Object.entries(actual)) {
    const wanted = expected[name]
    // Word by word only where bytes differ: there are hundreds of megabytes.
    if (array && wanted && bytesOf(array).compare(bytesOf(wanted)) !== 0) {
      expectSameBits(array, wanted, `${what}: ${name}`)
    }
  }
}

/** Copies in another order, whose longest dimension is the first, one in the middle or the last. */
function* permuteCalls(): Generator<Call> {
  for (const dims of [[900, 30, 17], [8, 64, 700], [3, 1000, 90], [2, 3, 70_001], [400_001]]) {
    const order = dims.map((_, i) => (i + 1) % dims.length)
    const dense = (dims: number[]) => dims.map((_, i) => dims.slice(i + 1).reduce((size, dim) => size * dim, 1))
    const moved = order.map(i => dims[i])
    const n = dims.reduce((size, dim) => size * dim, 1)
    const [strides, x] = [dense(dims), values.subarray(1, 1 + n)]
    const there = { dims: moved, xStrides: order.map(i => strides[i]), yStrides: dense(moved) }
    for (const shape of [there, { dims: moved, xStrides: there.yStrides, yStrides: there.xStrides }]) {
      yield {
        ...{ name: `[${dims}]`, op: 'permute', outputs: () => ({ y: new Float32Array(n) }) },
        operands: ({ y }) => ({ y, x, shape })
      }
    }
  }
}

/** Padded rows and columns. */
function* paddedRowCalls(): Generator<Call> {
  for (const [samples, positions, size, inner] of [
    [1, 1000, 300, 1],
    [40, 31, 300, 31],
    [2, 777, 500, 777]
  ]) {
    const next = random(size)
    const rows = inner === 1 ? positions : samples
    const n = rows * size * inner
    const x = values.subarray(3, 3 + n)
    const ranges = Array.from({ length: samples }, () => {
      const cuts = Array.from({ length: 6 }, () => Math.floor(next() * positions)).sort((a, b) => a - b)
      return cuts
    })
    const starts = ranges.map((_, i) => samples + 1 + 6 * i)
    const spans = Int32Array.from([...starts, samples + 1 + 6 * samples, ...ranges.flat()])
    const outputs = () => ({
      y: new Float32Array(n).fill(7),
      sum: new Float32Array(n).fill(7),
      rstd: new Float64Array(rows * inner).fill(7)
    })
    const shape = { rows, cols: size, inner, spans, eps: 1e-5, residual: others.subarray(0, n) }
    const operands = ({ y, ...written }: Written) => rowOperands({ ...shape, ...written, y, x })
    const name = `[${samples}, ${positions}] of ${size} padded`
    yield { name, op: 'layer_norm', outputs, operands }
    yield { name, op: 'rms_norm', outputs, operands }
  }
}

/** samples, positions, channels: many samples; few of many channels, also beyond those that are added at a time. */
const embeddingShapes: readonly (readonly [number, number, number])[] = [
  [40, 100, 384],
  [3, 200, 900],
  [1, 512, 1024],
  [2, 70, 2500],
  [1, 5000, 77]
]

/** Pooling of all kinds, calibration, and codes in every format. */
function* embeddingCalls(): Generator<Call> {
  const kinds = ['mean', 'meanSqrt', 'weightedMean', 'cls', 'last', 'max']
  for (const [samples, positions, groups] of embeddingShapes) {
    const x = values.subarray(5, 5 + samples * positions * groups)
    const volume = { groups, channelsPerGroup: 1, channelsLast: true }
    // Of each sample two spans, with a hole between.
    const spans = Int32Array.from([
      ...Array.from({ length: samples + 1 }, (_, n) => samples + 1 + 4 * n),
      ...Array.from({ length: samples }, (_, n) => [n % 3, 20, 21 + (n % 7), positions - n]).flat()
    ])
    for (const padding of [undefined, spans]) {
      const shape = { ...volume, samples, positions, spans: padding }
      yield {
        name: `[${samples}, ${positions}, ${groups}]${padding ? ' padded' : ''}`,
        op: 'pool_embeddings',
        outputs: () => Object.fromEntries(kinds.map(kind => [kind, new Float32Array(samples * groups).fill(7)])),
        operands: places => ({ ...places, x, shape })
      }
      const rows = padding ? samples * positions : Math.ceil(131_072 / groups)
      const statistics = ['count', 'min', 'max', 'mean', 'squares']
      yield {
        name: `${rows} rows of ${groups}`,
        op: 'calibrate_embeddings',
        outputs: () => Object.fromEntries(statistics.map(name => [name, new Float64Array(groups)])),
        operands: places => ({
          ...places,
          x: values.subarray(0, rows * groups),
          shape: { ...volume, samples: rows, positions: 1 }
        })
      }
    }
  }
  for (const format of codeFormats.keys()) {
    const [outer, size] = [1031, 300 + format]
    yield {
      name: codeFormats[format],
      op: 'quantize_embeddings',
      outputs: () => ({
        // Bytes are compared like numbers.
        codes: new Uint8Array(outer * codeBytes(format, size)) as object as Float32Array,
        scales: new Float32Array(outer)
      }),
      operands: places => ({
        ...places,
        x: values.subarray(1, 1 + outer * size),
        low: weights,
        step: biases.map(Math.abs),
        shape: { outer, size, inner: 1 },
        format
      })
    }
  }
}

const calls = [
  ...rowCalls(),
  ...paddedRowCalls(),
  ...volumeCalls(),
  ...permuteCalls(),
  ...embeddingCalls(),
  ...gradientCalls({ values, others, weights }, volumeShapes)
]

// One is what all other tests of equality have.
const counts = long ? [1, 2, 3, 4, 5, 6, 7, 8] : [5]

describe('equality: elements of 16 bits on threads', () => {
  // One long row, which threads share; a view of two, whose rows are apart; groups of one sample.
  const n = 150_001
  const half = Uint16Array.from({ length: 2 * n + 40 }, (_, i) => 0x2c00 + ((i * 7919) % 0x1800))
  const tensor = { data: half, type: 'float16' } as const
  const calls: [string, () => ArrayLike<number>][] = [
    ['layerNorm', () => layerNorm(half.subarray(0, n), n, { dtype: 'float16' })],
    ['rmsNorm', () => rmsNorm(half.subarray(3, 3 + n), n, { dtype: 'bfloat16' })],
    ['rmsNorm of a view', () => rmsNorm(view(tensor, { dims: [2, n], strides: [n + 37, 1] }), n).data],
    ['groupNorm', () => groupNorm({ data: half.subarray(0, 2 * n), dims: [1, 2, n], type: 'float16' }, 1).data]
  ]
  it.skipIf(native.length === 0).each(calls)('%s', (_, run) => {
    const before = getNumThreads()
    try {
      setNumThreads(1)
      const expected = [...Array.from(run())]
      for (const threads of [2, 3, 5]) {
        setNumThreads(threads)
        expect(Array.from(run())).toEqual(expected)
      }
    } finally {
      setNumThreads(before)
    }
  })
})

describe.each(Object.keys(tables[tables.length - 1].float32) as Op[])('equality: %s on threads', op => {
  it.skipIf(native.length === 0)(`gives the bits of TypeScript on ${counts} threads, on every backend`, () => {
    const before = getNumThreads()
    const [, typescript] = backendsHere[backendsHere.length - 1]
    try {
      const own = calls.filter(call => call.op === op)
      expect(own.length).toBeGreaterThan(9)
      for (const given of own) {
        const expected = call(typescript, given)
        for (const [name, kernels] of native) {
          for (const threads of counts) {
            setNumThreads(threads)
            expectSame(call(kernels, given), expected, `${name}, ${threads} threads, ${given.name}`)
          }
        }
      }
    } finally {
      setNumThreads(before)
    }
  })
})
