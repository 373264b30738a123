// Calls of everything public with elements of 16 bits, each held against the same call with the same numbers as float32, whose
// results are rounded (rule 24). They run on the backend that EVENKEEL_BACKEND names, so that a process for each can be asked.
import { Tensor } from 'onnxruntime-common'
import { fill, firstDifference, normal, ordinaryWeights, random } from '../../dist/esm/cases/data.js'
import * as evenkeel from '../../dist/esm/index.js'
import { asFloat32 } from '../../dist/esm/kernels/arrays.js'
import { roundTo } from '../../dist/esm/kernels/float16.js'
import { roundedTo, sumOf } from './elements.ts'
import { patterns } from './embeddings.ts'

type Dtype = 'float16' | 'bfloat16'
type Numbers = Float32Array | Float64Array | Uint16Array
type Results = { readonly [name: string]: unknown }
// biome-ignore lint/suspicious/noExplicitAny: operands and options of every kind
type Any = any

/** Makes the operands of a call: of 16 bits, or the same numbers as float32. */
interface Maker {
  readonly dtype: Dtype
  readonly is16: boolean
  /** Numbers, rounded to the type; with dims a tensor. */
  of(numbers: Float32Array, dims?: readonly number[]): Any
  /** The same as a weight: of float32 in every other call. */
  weight(numbers: Float32Array, dims?: readonly number[]): Any
  /** A place for results, full of marks: of the type, or of another. */
  place(n: number, dims?: readonly number[], type?: Dtype | 'float32'): Any
  /** x with a residual; as float32 their sum as it is rounded. */
  added(x: Float32Array, residual: Float32Array, scale: number, dims?: readonly number[]): { x: Any; options: Any }
}

/** A call, which returns everything that it gave and wrote. */
type MadeCall = (make: Maker) => Results | Promise<Results>

const bitsOf = (dtype: Dtype, numbers: Float32Array) => new Uint16Array(roundedTo(dtype, numbers).buffer)

/** Every third tensor is of onnxruntime's class, or an object that says no type and leaves that to `dtype`. */
function maker(dtype: Dtype, is16: boolean, index: number): Maker {
  const wrap = (data: Numbers, dims: readonly number[] | undefined, type: string) => {
    if (!dims) return data
    if (type === 'bfloat16') return index % 3 === 0 ? { data, dims } : { data, dims, type }
    if (index % 3 === 1) return new Tensor(type as 'float32', data as Float32Array, [...dims])
    return index % 3 === 0 ? { data, dims } : { data, dims, type }
  }
  const of = (numbers: Float32Array, dims?: readonly number[]) => {
    const bits = bitsOf(dtype, numbers)
    return is16 ? wrap(bits, dims, dtype) : wrap(asFloat32(roundedTo(dtype, numbers)), dims, 'float32')
  }
  return {
    dtype,
    is16,
    of,
    weight(numbers, dims) {
      return index % 2 === 0 ? of(numbers, dims) : wrap(numbers, dims, 'float32')
    },
    place(n, dims, type = dtype) {
      if (!is16) return wrap(new Float32Array(n).fill(7), dims, 'float32')
      const data = type === 'float32' ? new Float32Array(n).fill(7) : new Uint16Array(n).fill(0x4700)
      return dims ? { data, dims, type } : data
    },
    added(x, residual, scale, dims) {
      if (is16) return { x: of(x, dims), options: { residual: of(residual, dims), residualScale: scale } }
      const [rounded, other] = [x, residual].map(numbers => roundedTo(dtype, numbers))
      return { x: wrap(asFloat32(sumOf(rounded, other, scale)), dims, 'float32'), options: {} }
    }
  }
}

const pool = { normal: fill(normal, 300_000, 1), weights: fill(ordinaryWeights, 10_000, 2) }
const numbers = (n: number, seed: number) => pool.normal.slice(seed * 101, seed * 101 + n)
const weights = (n: number, seed: number) => pool.weights.slice(seed * 11, seed * 11 + n)
const f64 = (n: number) => new Float64Array(n)

/** What is true of some positions, with holes. */
function holes(n: number, seed: number): boolean[] {
  const next = random(seed)
  return Array.from({ length: n }, () => next() < 0.7)
}

/** Functions and layers over rows. */
function* rowCalls(dtype: Dtype): Generator<[string, MadeCall]> {
  const { layerNorm, rmsNorm, normalize, layerNormBackward, rmsNormBackward, normalizeBackward } = evenkeel
  for (const [rows, n] of [
    [1, 1],
    [3, 7],
    [5, 64],
    [2, 5000],
    [40, 100]
  ]) {
    const all = rows * n
    const [x, dy, w, b] = [numbers(all, 1), numbers(all, 2), weights(n, 3), weights(n, 4)]
    const name = `${rows} x ${n}`
    yield [`layerNorm ${name}`, m => ({ y: layerNorm(m.of(x), n, { dtype }) })]
    yield [
      `layerNorm, weight, statistics ${name}`,
      m => {
        const [mean, rstd] = [f64(rows), new Float32Array(rows)]
        const y = layerNorm(m.of(x), n, { dtype, weight: m.weight(w), bias: m.weight(b), mean, rstd })
        return { y, mean, rstd }
      }
    ]
    yield [
      `layerNorm, residual and sum ${name}`,
      m => {
        const { x: in16, options } = m.added(x, dy, 0.3)
        const sum = m.is16 ? m.place(all) : in16
        return { y: layerNorm(in16, n, { dtype, weight: m.weight(w), ...options, ...(m.is16 && { sum }) }), sum }
      }
    ]
    yield [
      `rmsNorm, residual over x, in place ${name}`,
      m => {
        const { x: in16, options } = m.added(x, dy, 1)
        const over = options.residual ?? in16
        const y = rmsNorm(in16, n, { dtype, weight: m.weight(w), weightOffset: 1, ...options, out: over })
        return { y, over }
      }
    ]
    for (const type of ['float32', 'float16', 'bfloat16'] as const) {
      // An array of the other type needs a tensor to say so.
      const dims = [rows, n]
      yield [
        `rmsNorm, out of ${type} ${name}`,
        m => {
          const out = m.place(all, dims, type)
          const given = rmsNorm(m.of(x, dims), n, { dtype, partial: 0.4, out })
          return { out, isOut: given === out }
        }
      ]
    }
    yield [
      `normalize, in place ${name}`,
      m => {
        const over = m.of(x)
        const norm = f64(rows)
        return { y: normalize(over, n, { dtype, p: 1, scale: 3, norm, out: over }), over, norm }
      }
    ]
    yield [`normalize ${name}`, m => ({ y: normalize(m.of(x, [rows, n]), n, { dtype, eps: 0.1 }) })]
    yield [
      `layerNormBackward ${name}`,
      m => ({ ...layerNormBackward(m.of(dy), m.of(x), n, { dtype, weight: m.weight(w), bias: m.weight(b) }) })
    ]
    yield [
      `rmsNormBackward, residual ${name}`,
      m => {
        const { x: in16, options } = m.added(x, dy, -0.5)
        const dsum = m.of(numbers(all, 9))
        const dresidual = m.place(all)
        const more = { residualScale: -0.5, ...options, dsum, dresidual }
        const given = rmsNormBackward(m.of(dy), in16, n, { dtype, weight: m.weight(w), ...more })
        return { ...given, place: dresidual }
      }
    ]
    yield [
      `normalizeBackward, over dy ${name}`,
      m => {
        const over = m.of(dy)
        const given = normalizeBackward(over, m.of(x), n, { dtype, scale: 2, dx: over } as Any)
        return { ...given, over }
      }
    ]
    const layers = {
      LayerNorm: (m: Maker) => new evenkeel.LayerNorm(n, { weight: m.weight(w, [n]), bias: m.weight(b, [n]) } as Any),
      RMSNorm: () => new evenkeel.RMSNorm(n, { weight: w, weightOffset: 0.5 }),
      Normalize: () => new evenkeel.Normalize(n, { scale: 1.5 })
    }
    for (const [layerName, layer] of Object.entries(layers)) {
      // A weight of bits without a type: a constructor takes no dtype.
      const made = (m: Maker): Any =>
        layer({
          ...m,
          weight: (numbers, dims) =>
            m.is16 ? { data: bitsOf(dtype, numbers), dims, type: dtype } : m.of(numbers, dims)
        })
      yield [`${layerName} ${name}`, m => ({ y: made(m).forward(m.of(x), { dtype }) })]
      yield [
        `${layerName}, later ${name}`,
        async m => {
          const one: Any = made(m)
          const taken = m.of(x)
          const out = m.place(all)
          const shared = m.is16 ? new Uint16Array(new SharedArrayBuffer(2 * all)) : new Float32Array(all)
          shared.set(m.of(x))
          const results = {
            y: await one.forwardAsync(m.of(x, [rows, n]), { dtype }),
            shared: await one.forwardAsync(shared, { dtype }),
            moved: await one.forwardAsync(taken, { dtype, transfer: true }),
            out: await one.forwardAsync(m.of(x), { dtype: dtype, out }),
            ...(await one.backwardAsync(m.of(dy), m.of(x), { dtype }))
          }
          return { ...results, left: taken.length }
        }
      ]
    }
  }
}

/** Axes and padding. */
function* shapedCalls(dtype: Dtype): Generator<[string, MadeCall]> {
  const { layerNorm, rmsNorm, normalize, layerNormBackward } = evenkeel
  for (const dims of [
    [2, 3, 5],
    [4, 9, 40],
    [3, 70, 66]
  ]) {
    const all = dims.reduce((a, b) => a * b)
    const [x, dy] = [numbers(all, 5), numbers(all, 6)]
    for (const axis of [1, [0, 2], [2, 0], [1, 2], 2] as const) {
      const axes = [axis].flat() as number[]
      const shape = axes.map(i => dims[i])
      const n = shape.reduce((a, b) => a * b)
      const name = `axis ${axis} of ${dims}`
      const weight = weights(n, 7)
      yield [
        `layerNorm ${name}`,
        m => ({ y: layerNorm(m.of(x, dims), { axis } as Any, { dtype, weight: m.weight(weight, shape) }) })
      ]
      yield [
        `rmsNorm, residual, sum and out ${name}`,
        m => {
          const { x: in16, options } = m.added(x, dy, 1, dims)
          const sum = m.is16 ? m.place(all, dims) : in16
          const out = m.place(all, dims, dtype === 'float16' ? 'bfloat16' : 'float32')
          const more = { ...options, out, ...(m.is16 && { sum }) }
          rmsNorm(in16, { axis } as Any, { dtype, weight: m.weight(weight, shape), ...more })
          return { out, sum }
        }
      ]
      yield [
        `layerNormBackward ${name}`,
        m => {
          const options = { dtype, weight: m.weight(weight, shape), bias: weight }
          return { ...layerNormBackward(m.of(dy, dims), m.of(x, dims), { axis } as Any, options as Any) }
        }
      ]
      yield [
        `layerNormBackward, residual ${name}`,
        m => {
          const { x: in16, options } = m.added(x, dy, 1, dims)
          const { dx, dweight } = layerNormBackward(m.of(dy, dims), in16, { axis } as Any, {
            ...{ dtype, weight },
            ...options
          })
          return { dx, dweight }
        }
      ]
    }
    const mask = holes(dims[0] * dims[1], 8)
    const lengths = Array.from({ length: dims[0] }, (_, i) => (i * 7) % (dims[1] + 1))
    const padded: [string, Any][] = [
      ['mask with holes', { mask }],
      ['lengths', { lengths }]
    ]
    for (const [padding, given] of padded) {
      const size = dims[2]
      const name = `${padding} of ${dims}`
      yield [
        `layerNorm ${name}`,
        m => {
          const out = m.place(all, dims)
          const rstd = f64(all / size)
          return { y: layerNorm(m.of(x, dims), size, { dtype, ...given, out, rstd }), rstd, out }
        }
      ]
      yield [
        `rmsNorm, residual ${name}`,
        m => {
          const { x: in16, options } = m.added(x, dy, 2, dims)
          return { y: rmsNorm(in16, size, { dtype, ...given, ...options }) }
        }
      ]
      yield [`normalize ${name}`, m => ({ y: normalize(m.of(x, dims), size, { dtype, ...given }) })]
      yield [
        `layerNormBackward ${name}`,
        m => ({
          ...layerNormBackward(m.of(dy, dims), m.of(x, dims), size, { dtype, ...given, weight: weights(size, 1) })
        })
      ]
      yield [
        `LayerNorm, later ${name}`,
        async m => {
          const out = m.place(all, dims)
          await new evenkeel.LayerNorm(size).forwardAsync(m.of(x, dims), { dtype, ...given, out })
          return { out }
        }
      ]
    }
    const columns = lengths.map(length => length % (dims[2] + 1))
    yield [
      `layerNorm, padded columns of ${dims}`,
      m => ({ y: layerNorm(m.of(x, dims), { axis: 1 }, { dtype, lengths: columns, out: m.place(all, dims) }) })
    ]
  }
}

/** Operations over channels. */
function* channelCalls(dtype: Dtype): Generator<[string, MadeCall]> {
  for (const [at, dims] of [
    [2, 6, 5],
    [4, 32, 7, 7],
    [3, 6, 70, 40],
    [300, 64],
    [40, 8, 600]
  ].entries()) {
    for (const layout of ['channels-first', 'channels-last'] as const) {
      const all = dims.reduce((a, b) => a * b)
      const last = layout === 'channels-last'
      const channels = last ? (dims.at(-1) as number) : dims[1]
      const positions = all / dims[0] / channels
      const [x, dy, w, b] = [numbers(all, 1), numbers(all, 2), weights(channels, 3), weights(channels, 4)]
      const running = () => ({ runningMean: weights(channels, 5), runningVar: weights(channels, 6).map(Math.abs) })
      const name = `${dims} ${layout}`
      const affine = (m: Maker) => ({ dtype, layout, weight: m.weight(w), bias: m.weight(b) })
      const paddings: [string, Any][] = [['', {}]]
      if (dims.length > 2) {
        paddings.push([
          ', lengths',
          { lengths: Array.from({ length: dims[0] }, (_, i) => (i * 3 + 2) % (positions + 1)) }
        ])
        paddings.push([', mask with holes', { mask: holes(dims[0] * positions, at) }])
      }
      // Lengths count positions of one axis.
      const usable = dims.length > 3 ? paddings.slice(0, 1) : paddings
      for (const [padding, given] of usable) {
        yield [
          `batchNorm${padding} ${name}`,
          m => {
            const out = m.place(all, dims, 'float32')
            const options = { ...affine(m), ...running(), ...given }
            evenkeel.batchNorm(m.of(x, dims), { ...options, out })
            return { y: evenkeel.batchNorm(m.of(x, dims), options), out }
          }
        ]
        yield [
          `batchNorm, training${padding} ${name}`,
          m => {
            const { runningMean, runningVar } = running()
            const options = { ...affine(m), runningMean, runningVar, training: true, ...given }
            const over = m.of(x, dims)
            const y = evenkeel.batchNorm(over, { ...options, out: over })
            return { y, runningMean, runningVar }
          }
        ]
        yield [
          `batchStatistics${padding} ${name}`,
          m => {
            const { mean, variance } = evenkeel.batchStatistics(m.of(x, dims), { dtype, layout, ...given })
            return { mean, variance }
          }
        ]
        yield [
          `batchNormBackward, training${padding} ${name}`,
          m => ({
            ...evenkeel.batchNormBackward(m.of(dy, dims), m.of(x, dims), { ...affine(m), training: true, ...given })
          })
        ]
        yield [
          `BatchNorm, later${padding} ${name}`,
          async m => {
            const layer = new evenkeel.BatchNorm(channels, { weight: w, bias: b })
            const options = { dtype, layout, ...given }
            const y = await layer.forwardAsync(m.of(x, dims), options)
            const moved = await layer.eval().forwardAsync(m.of(x, dims), { ...options, transfer: true })
            const gradients = await layer.train().backwardAsync(m.of(dy, dims), m.of(x, dims), options)
            return { y, moved, mean: layer.runningMean, variance: layer.runningVar, ...gradients }
          }
        ]
        if (dims.length > 2) {
          yield [
            `instanceNorm${padding} ${name}`,
            m => {
              const mean = f64(dims[0] * channels)
              return { y: evenkeel.instanceNorm(m.of(x, dims), { ...affine(m), ...given, mean }), mean }
            }
          ]
          yield [
            `instanceNormBackward${padding} ${name}`,
            m => ({ ...evenkeel.instanceNormBackward(m.of(dy, dims), m.of(x, dims), { ...affine(m), ...given }) })
          ]
        }
      }
      const groups = [4, 3, 5, 7].find(n => channels % n === 0) as number
      yield [
        `groupNorm ${name}`,
        m => {
          const [mean, rstd] = [f64(dims[0] * groups), f64(dims[0] * groups)]
          return { y: evenkeel.groupNorm(m.of(x, dims), groups, { ...affine(m), mean, rstd }), mean, rstd }
        }
      ]
      yield [
        `GroupNorm, later ${name}`,
        async m => {
          const layer = new evenkeel.GroupNorm(groups, channels, { weight: w, bias: b })
          const options = { dtype, layout }
          const y = await layer.forwardAsync(m.of(x, dims), options)
          return { y, ...(await layer.backwardAsync(m.of(dy, dims), m.of(x, dims), options)) }
        }
      ]
      yield [
        `groupNormBackward ${name}`,
        m => ({ ...evenkeel.groupNormBackward(m.of(dy, dims), m.of(x, dims), groups, affine(m)) })
      ]
      yield [
        `localResponseNorm ${name}`,
        m => ({ y: evenkeel.localResponseNorm(m.of(x, dims), 3, { dtype, layout, alpha: 0.3 }) })
      ]
    }
  }
}

/** Embeddings. */
function* embeddingCalls(dtype: Dtype): Generator<[string, MadeCall]> {
  const { calibrateEmbeddings, EmbeddingPooler } = evenkeel
  // Of tensors and arrays alike.
  const { poolEmbeddings, quantizeEmbeddings }: { [name: string]: (...args: Any[]) => Any } = evenkeel as Any
  const dims = [3, 9, 40]
  const all = 3 * 9 * 40
  const x = numbers(all, 1)
  const mask = holes(27, 3)
  for (const pooling of ['mean', 'cls', 'last', 'max', 'weighted-mean', 'mean-sqrt', 'none'] as const) {
    yield [
      `poolEmbeddings, ${pooling}`,
      m => {
        const pooled = new Float32Array(pooling === 'none' ? all : 120)
        const plain = poolEmbeddings(m.of(x, dims), { dtype, pooling, mask, pooled, normalize: false })
        const stages = {
          layerNorm: { weight: weights(40, 1) },
          dimensions: 17,
          precision: 'int8',
          scale: 'row'
        } as const
        const scales = new Float32Array(pooling === 'none' ? 27 : 3)
        const codes = poolEmbeddings(m.of(x, dims), { dtype, pooling, mask, scales, ...stages })
        return { pooled, exact: plain.data, codes: codes.data, scales }
      }
    ]
    yield [
      `EmbeddingPooler, ${pooling}, later`,
      async m => {
        const pooler: Any = new EmbeddingPooler(40, { pooling, precision: 'int8', scale: 'unit' })
        return { codes: (await pooler.forwardAsync(m.of(x, dims), { dtype, mask })).data }
      }
    ]
  }
  for (const precision of ['float32', 'float16', 'bfloat16'] as const) {
    yield [
      `quantizeEmbeddings, ${precision}`,
      // Codes of 16 bits are bits in both calls.
      m => ({
        codes: new Uint8Array(
          ((quantizeEmbeddings(m.of(x, dims), 40, { dtype, precision }) as Any).data as Uint16Array).buffer.slice(0)
        )
      })
    ]
  }
  for (const precision of ['int8', 'uint8', 'binary', 'ubinary'] as const) {
    yield [
      `quantizeEmbeddings, ${precision}`,
      m => {
        const { ranges } = calibrateEmbeddings(m.of(x, dims), 40, { dtype })
        const scale = precision.endsWith('int8') ? { scale: { ranges } } : {}
        return { codes: (quantizeEmbeddings(m.of(x, dims), 40, { dtype, precision, ...scale }) as Any).data }
      }
    ]
  }
  yield [
    'calibrateEmbeddings',
    m => {
      const { count, mean, ranges } = calibrateEmbeddings(m.of(x), 40, { dtype })
      return { count, mean, ...ranges }
    }
  ]
}

/** Of so many elements that a call is divided among threads. */
function* largeCalls(dtype: Dtype): Generator<[string, MadeCall]> {
  const [rows, n] = [260, 520]
  const all = rows * n
  const [x, dy, w] = [numbers(all, 1), numbers(all, 2), weights(n, 3)]
  yield [
    'large layerNorm, residual and sum',
    m => {
      const { x: in16, options } = m.added(x, dy, 1)
      const sum = m.is16 ? m.place(all) : in16
      return { y: evenkeel.layerNorm(in16, n, { dtype, weight: m.weight(w), ...options, ...(m.is16 && { sum }) }), sum }
    }
  ]
  yield [
    'large LayerNorm, later, transferred; gradients',
    async m => {
      const layer = new evenkeel.LayerNorm(n, { weight: w, bias: w })
      const y = await layer.forwardAsync(m.of(x), { dtype, transfer: true })
      return { y, ...(await layer.backwardAsync(m.of(dy), m.of(x), { dtype })) }
    }
  ]
  const dims = [4, 20, 52, 33]
  const volume = numbers(4 * 20 * 52 * 33, 4)
  for (const layout of ['channels-first', 'channels-last'] as const) {
    yield [
      `large batchNorm and groupNorm, ${layout}`,
      m => ({
        trained: evenkeel.batchNorm(m.of(volume, dims), { dtype, layout, training: true }),
        grouped: evenkeel.groupNorm(m.of(volume, dims), layout === 'channels-last' ? 3 : 5, { dtype, layout }),
        ...evenkeel.batchNormBackward(m.of(volume, dims), m.of(volume, dims), { dtype, layout, training: true })
      })
    ]
  }
  yield ['large layerNorm over columns', m => ({ y: evenkeel.layerNorm(m.of(volume, dims), { axis: 1 }, { dtype }) })]
}

/** Half of what a float32 is apart from the next. */
const half32 = (value: number) => {
  const next = new Float32Array([value])
  new Int32Array(next.buffer)[0] += 1
  return Math.abs(next[0] - value) / 2
}

/** Whether bits are those of a number that also rounds to this float32: sums of gradients are rounded once, from float64. */
function isRoundingOf(bits: number, type: Dtype, value: number): boolean {
  const near = [value, value - half32(value), value + half32(value)]
  return near.some(number => roundTo(type, number) === bits)
}

/** What differs between what a call of 16 bits gave and what it has to give; '' where nothing does. */
function difference(name: string, given: Any, want: Any, dtype: Dtype): string {
  let got = given
  if (got === undefined || want === undefined) return got === want ? '' : `${name} is ${got} and ${want}`
  if (typeof got !== 'object') return got === want ? '' : `${name} is ${got} and ${want}`
  if (!ArrayBuffer.isView(got)) {
    const { data, dims, type } = got
    if (`${dims}` !== `${want.dims}`) return `${name}.dims are ${dims} and ${want.dims}`
    const is = type ?? dtype
    return difference(name, data, want.data, is === 'float32' ? dtype : is)
  }
  got = patterns(got as Uint16Array)
  if (got instanceof Int8Array) return difference(name, Uint8Array.from(got), Uint8Array.from(want), dtype)
  if (!(got instanceof Uint16Array) || want instanceof Uint16Array) {
    const at = firstDifference(got as Float32Array, want)
    return at < 0 ? '' : `${name}[${at}] is ${(got as Float32Array)[at]} and ${want[at]}`
  }
  if (/^d(weight|bias|scale)$/.test(name)) {
    const at = got.findIndex((bits, i) => !isRoundingOf(bits, dtype, want[i]))
    return at < 0 && got.length === want.length ? '' : `${name}[${at}] is ${got[at]}, of ${want[at]}`
  }
  const right = roundedTo(dtype, want)
  const at = firstDifference(got, right)
  return at < 0 ? '' : `${name}[${at}] is ${got[at]} and ${right[at]}, of ${want[at]}`
}

/** Every difference, in words; the last line tells how many calls there were: all of both types, or each call of one. */
export async function* elementDifferences(all: boolean): AsyncGenerator<string> {
  let calls = 0
  const before = evenkeel.getNumThreads()
  for (const [t, dtype] of (['float16', 'bfloat16'] as const).entries()) {
    let index = 0
    for (const [threads, group] of [
      [1, rowCalls],
      [1, shapedCalls],
      [1, channelCalls],
      [1, embeddingCalls],
      [1, largeCalls],
      [2, largeCalls]
    ] as const) {
      evenkeel.setNumThreads(threads)
      for (const [name, call] of group(dtype)) {
        if (!all && Math.floor(index++ / 3) % 2 !== t) continue
        const got = await call(maker(dtype, true, calls))
        const want = await call(maker(dtype, false, calls))
        calls++
        for (const key of Object.keys({ ...want, ...got })) {
          const found = difference(key, got[key], want[key], dtype)
          if (found) yield `${dtype}, ${name}: ${found}`
        }
      }
    }
  }
  evenkeel.setNumThreads(before)
  yield `${calls} calls`
}
