// Each operand and each option is read once: a getter may answer otherwise the second time.
import { describe, expect, it } from 'vitest'
import {
  BatchNorm,
  batchNorm,
  batchNormBackward,
  batchStatistics,
  GroupNorm,
  groupNorm,
  groupNormBackward,
  InstanceNorm,
  instanceNorm,
  LayerNorm,
  layerNorm,
  layerNormBackward,
  localResponseNorm,
  normalize,
  normalizeBackward,
  RMSNorm,
  rmsNorm,
  rmsNormBackward
} from '../../dist/esm/index.js'

type Properties = { readonly [name: string]: unknown }

/** Getters that count in `reads`; from the second reading on they answer what `later` has. */
function counting(prefix: string, given: Properties, reads: Map<string, number>, later: Properties = {}): object {
  const counted = {}
  for (const [name, value] of Object.entries(given)) {
    const get = () => {
      const n = (reads.get(prefix + name) ?? 0) + 1
      reads.set(prefix + name, n)
      return n === 1 ? value : later[name]
    }
    Object.defineProperty(counted, name, { enumerable: true, get })
  }
  return counted
}

const f32 = (n: number) => new Float32Array(n).fill(1.5)
const rows = { data: Float32Array.of(1, 2, 3, 5, 8, 13, 21, 34), dims: [2, 4] }
const volume = { data: Float32Array.from({ length: 24 }, (_, i) => (i * i) % 17), dims: [2, 4, 3] }
const array = rows.data

const affine = () => ({ weight: f32(4), bias: f32(4), eps: 1e-3 })
const rowOptions = () => ({
  residual: f32(8),
  residualScale: 0.5,
  sum: f32(8),
  rstd: f32(2),
  out: f32(8)
})
const statistics = (n: number) => ({ mean: f32(n), rstd: f32(n), out: f32(24) })
const f64 = (n: number) => new Float64Array(n).fill(1.5)
const rowGradients = () => ({
  residual: f32(8),
  residualScale: 0.5,
  dsum: f32(8),
  dx: f32(8),
  dresidual: f32(8),
  dweight: f32(4)
})
const channelGradients = () => ({ dx: f32(24), dweight: f32(4), dbias: f32(4) })
const running = () => ({ runningMean: f32(4), runningVar: f32(4) })
const { signal } = new AbortController()

/** Calls and options; the plainest ones take a way of their own, and so do those that are nearly plain. */
// biome-ignore lint/suspicious/noExplicitAny: options of every kind
const calls: { readonly [name: string]: readonly [(options: any) => unknown, () => Properties] } = {
  'layerNorm, plain': [o => layerNorm(array, 4, o), () => ({ ...affine(), out: f32(8) })],
  'layerNorm, plain but for a tensor': [o => layerNorm(rows, 4, o), () => ({ ...affine(), out: f32(8) })],
  'layerNorm, out a tensor': [o => layerNorm(array, 4, o), () => ({ ...affine(), out: { ...rows, data: f32(8) } })],
  layerNorm: [o => layerNorm(rows, 4, o), () => ({ ...affine(), ...rowOptions(), mean: f32(2) })],
  'layerNorm, padded': [o => layerNorm(volume, 3, o), () => ({ eps: 1, lengths: [1, 4], rstd: f32(8) })],
  'the axes of layerNorm': [o => layerNorm(volume, o), () => ({ axis: [0, 2] })],
  'rmsNorm, plain': [o => rmsNorm(array, 4, o), () => ({ weight: f32(4), eps: 1, out: f32(8) })],
  'rmsNorm, plain but for a tensor': [o => rmsNorm(rows, 4, o), () => ({ weight: f32(4), eps: 1, out: f32(8) })],
  rmsNorm: [
    o => rmsNorm(rows, 4, o),
    () => ({ weight: f32(4), eps: 1, weightOffset: 1, partial: 0.5, ...rowOptions() })
  ],
  'normalize, plain': [o => normalize(array, 4, o), () => ({ eps: 1, out: f32(8) })],
  'normalize, plain but for a tensor': [o => normalize(rows, 4, o), () => ({ eps: 1, out: f32(8) })],
  normalize: [o => normalize(rows, 4, o), () => ({ p: 2, rule: 'zero', eps: 1, scale: 2, norm: f32(2), out: f32(8) })],
  'batchNorm, training': [
    o => batchNorm(volume, o),
    () => ({ ...affine(), ...running(), ...statistics(4), training: true, momentum: 0.5, unbiased: false })
  ],
  'batchNorm, given statistics': [
    o => batchNorm(volume, o),
    () => ({ training: true, statistics: batchStatistics(volume) })
  ],
  batchNorm: [o => batchNorm(volume, o), () => ({ ...affine(), ...running(), ...statistics(4), lengths: [1, 2] })],
  batchStatistics: [o => batchStatistics(volume, o), () => ({ layout: 'channels-first', mask: [1, 1, 0, 0, 1, 1] })],
  groupNorm: [o => groupNorm(volume, 2, o), () => ({ ...affine(), ...statistics(4), layout: 'channels-first' })],
  instanceNorm: [o => instanceNorm(volume, o), () => ({ ...affine(), ...statistics(8), lengths: [2, 3] })],
  localResponseNorm: [
    o => localResponseNorm(volume, 3, o),
    () => ({ alpha: 1, beta: 1, k: 1, window: 'onnx', layout: 'channels-first', out: f32(24) })
  ],
  'LayerNorm.forward, plain': [o => new LayerNorm(4).forward(array, o), () => ({ out: f32(8) })],
  'LayerNorm.forward of a tensor': [o => new LayerNorm(4).forward(rows, o), () => ({ out: f32(8) })],
  'LayerNorm.forward': [o => new LayerNorm(4).forward(rows, o), () => ({ ...rowOptions(), mean: f32(2) })],
  'RMSNorm.forward, plain': [o => new RMSNorm(4).forward(array, o), () => ({ out: f32(8) })],
  'RMSNorm.forward of a tensor': [o => new RMSNorm(4).forward(rows, o), () => ({ out: f32(8) })],
  'BatchNorm.forward, plain': [o => new BatchNorm(4).eval().forward(volume, o), () => ({ out: f32(24) })],
  'GroupNorm.forward, plain': [
    o => new GroupNorm(2, 4).forward(volume, o),
    () => ({ out: { ...volume, data: f32(24) } })
  ],
  'InstanceNorm.forward, plain': [o => new InstanceNorm(4).forward(volume, o), () => ({ out: f32(24) })],
  'LayerNorm.forwardAsync': [o => new LayerNorm(4).forwardAsync(rows, o), () => ({ ...rowOptions(), signal })],
  'LayerNorm.forwardAsync, transfer': [
    o => new LayerNorm(4).forwardAsync(f32(8), o),
    () => ({ rstd: f32(2), transfer: true })
  ],
  'RMSNorm.forwardAsync': [o => new RMSNorm(4).forwardAsync(rows, o), () => ({ ...rowOptions(), signal })],
  'GroupNorm.forwardAsync': [o => new GroupNorm(2, 4).forwardAsync(volume, o), () => ({ ...statistics(4), signal })],
  'InstanceNorm.forwardAsync': [
    o => new InstanceNorm(4).forwardAsync(volume, o),
    () => ({ ...statistics(8), signal, lengths: [1, 3] })
  ],
  'BatchNorm.forwardAsync': [
    o => new BatchNorm(4).forwardAsync(volume, o),
    () => ({ ...statistics(4), signal, mask: [1, 1, 0, 0, 1, 1] })
  ],
  'new LayerNorm': [o => new LayerNorm(4, o), affine],
  'new RMSNorm': [o => new RMSNorm(4, o), () => ({ weight: f32(4), eps: 1, weightOffset: 1, partial: 0.5 })],
  'new GroupNorm': [o => new GroupNorm(2, 4, o), affine],
  'new InstanceNorm': [o => new InstanceNorm(4, o), affine],
  'new BatchNorm': [
    o => new BatchNorm(4, o),
    () => ({ ...affine(), ...running(), momentum: 0.5, unbiased: false, trackRunningStats: true, training: true })
  ],
  'LayerNorm.setWeights': [o => new LayerNorm(4).setWeights(o), () => ({ weight: f32(4), bias: f32(4) })],
  'RMSNorm.setWeights': [o => new RMSNorm(4).setWeights(o), () => ({ weight: f32(4) })],
  'LayerNorm.loadState': [o => new LayerNorm(4).loadState(o), () => ({ weight: f32(4), bias: f32(4) })],
  'the options of loadState': [o => new LayerNorm(4).loadState({ 'n.weight': f32(4) }, o), () => ({ prefix: 'n.' })],
  'BatchNorm.setWeights': [o => new BatchNorm(4).setWeights(o), () => ({ weight: f32(4), bias: f32(4) })],
  layerNormBackward: [
    o => layerNormBackward(f32(8), rows, 4, o),
    () => ({ ...affine(), ...rowGradients(), mean: f64(2), rstd: f64(2), dbias: f32(4) })
  ],
  'layerNormBackward over columns, padded': [
    o => layerNormBackward(f32(24), volume, { axis: 1 }, o),
    () => ({ weight: f32(4), mask: [1, 1, 0, 0, 1, 1] })
  ],
  rmsNormBackward: [
    o => rmsNormBackward(f32(8), rows, 4, o),
    () => ({ weight: f32(4), eps: 1, weightOffset: 1, partial: 0.5, ...rowGradients(), rstd: f64(2) })
  ],
  normalizeBackward: [
    o => normalizeBackward(f32(8), rows, 4, o),
    () => ({ p: 2, rule: 'zero', eps: 1, scale: 2, dx: f32(8), dscale: f32(1) })
  ],
  batchNormBackward: [
    o => batchNormBackward(f32(24), volume, o),
    () => ({ ...affine(), ...running(), ...channelGradients(), training: false, lengths: [1, 2] })
  ],
  groupNormBackward: [
    o => groupNormBackward(f32(24), volume, 2, o),
    () => ({ ...affine(), ...channelGradients(), mean: f64(4), rstd: f64(4), layout: 'channels-first' })
  ],
  'LayerNorm.backwardAsync': [
    o => new LayerNorm(4).backwardAsync(f32(8), rows, o),
    () => ({ ...rowGradients(), signal })
  ]
}

describe('behaviour: each option is read once', () => {
  it.each(Object.keys(calls))('%s', async name => {
    const [call, make] = calls[name]
    const given = make()
    const reads = new Map<string, number>()
    // The second time every option would be x, or wrong.
    const later = Object.fromEntries(Object.keys(given).map(option => [option, option === 'out' ? array : null]))
    const before = [array.slice(), volume.data.slice()]
    await call(counting('', given, reads, later))
    expect(Object.fromEntries(reads)).toEqual(Object.fromEntries(Object.keys(given).map(option => [option, 1])))
    expect([array, volume.data]).toEqual(before)
  })
})

describe('behaviour: each element of a mask is read once', () => {
  it('also where the forward and the backward see its positions in another order', () => {
    const reads = new Map<string, number>()
    const mask: number[] = []
    const flags = [1, 1, 0, 0, 1, 1]
    flags.forEach((flag, i) => {
      const get = () => {
        reads.set(`${i}`, (reads.get(`${i}`) ?? 0) + 1)
        return flag
      }
      Object.defineProperty(mask, i, { get, enumerable: true, configurable: true })
    })
    layerNormBackward(f32(24), volume, { axis: 1 }, { mask })
    expect([...reads.values()]).toEqual(flags.map(() => 1))
  })
})

describe('behaviour: each property of a tensor is read once', () => {
  const properties = ({ data, dims }: { data: Float32Array; dims: number[] }) => {
    const strides = dims.map((_, i) => dims.slice(i + 1).reduce((a, b) => a * b, 1))
    return { type: 'float32', data, dims, strides, offset: 0 }
  }

  it.each([
    ['functions', (x: never, o: object) => layerNorm(x, 4, o)],
    ['layers', (x: never, o: object) => new RMSNorm(4).forward(x, o)],
    ['asynchronous calls', (x: never, o: object) => new LayerNorm(4).forwardAsync(x, o)]
  ])('of rows, in %s', async (_, call) => {
    const reads = new Map<string, number>()
    const tensor = (name: string, data = f32(8)) => counting(`${name}.`, properties({ data, dims: [2, 4] }), reads)
    const out = f32(8)
    await call(tensor('x', array) as never, {
      residual: tensor('residual'),
      sum: tensor('sum'),
      out: tensor('out', out)
    })
    expect([...reads].filter(([, n]) => n !== 1)).toEqual([])
    expect(reads.size).toBe(4 * 5)
    expect([...out]).not.toEqual([...f32(8)])
  })

  it('of gradients and of the places for them', () => {
    const reads = new Map<string, number>()
    const tensor = (name: string, data: Float32Array, dims: number[]) =>
      counting(`${name}.`, properties({ data, dims }), reads)
    const places = [f32(8), f32(4), f32(4)]
    layerNormBackward(tensor('dy', f32(8), [2, 4]) as never, tensor('x', array, [2, 4]) as never, 4, {
      weight: tensor('weight', f32(4), [4]) as never,
      dx: tensor('dx', places[0], [2, 4]) as never,
      dweight: tensor('dweight', places[1], [4]) as never,
      dbias: tensor('dbias', places[2], [4]) as never
    })
    expect([...reads].filter(([, n]) => n !== 1)).toEqual([])
    expect(reads.size).toBe(6 * 5)
    expect(places.map(place => [...place].every(value => value === 1.5))).toEqual([false, false, false])
  })

  it.each([
    ['functions', (x: never, o: object) => batchNorm(x, { ...o, training: true })],
    ['asynchronous calls', (x: never, o: object) => new InstanceNorm(4).forwardAsync(x, o)]
  ])('of volumes, in %s', async (_, call) => {
    const reads = new Map<string, number>()
    const tensor = (name: string, data: Float32Array, dims: number[]) =>
      counting(`${name}.`, properties({ data, dims }), reads)
    const mask = counting('mask.', { data: Uint8Array.of(1, 1, 0, 1, 1, 1), dims: [2, 3] }, reads)
    await call(tensor('x', volume.data, [2, 4, 3]) as never, { mask, out: tensor('out', f32(24), [2, 4, 3]) })
    expect([...reads].filter(([, n]) => n !== 1)).toEqual([])
    expect(reads.size).toBe(2 * 5 + 2)
  })
})

describe('behaviour: memory that changes under a call', () => {
  it.each([
    ['layerNorm', (x: Float32Array, o: object) => layerNorm(x, 4, o)],
    ['LayerNorm.forward', (x: Float32Array, o: object) => new LayerNorm(4).forward(x, o)],
    ['LayerNorm.forwardAsync', (x: Float32Array, o: object) => new LayerNorm(4).forwardAsync(x, o)]
  ])('%s takes a shared buffer that grows as long as it was, or refuses it', async (_, call) => {
    const buffer = new SharedArrayBuffer(16, { maxByteLength: 1600 })
    const x = new Float32Array(buffer)
    x.set([1, 2, 3, 5])
    const out = new Float32Array(new SharedArrayBuffer(16, { maxByteLength: 1600 }))
    const options = {
      get out() {
        buffer.grow(1600)
        return out
      }
    }
    const expected = [...layerNorm(Float32Array.of(1, 2, 3, 5), 4)]
    const result = await Promise.resolve()
      .then(() => call(x, options))
      .catch(error => error)
    if (result instanceof RangeError) expect([...out]).toEqual([0, 0, 0, 0])
    else expect([...result]).toEqual(expected)
  })

  it('goes by the size that elements have, not by what an array says', () => {
    const x = Float32Array.of(1, 2, 3, 5)
    const out = Object.defineProperty(new Float32Array(4), 'BYTES_PER_ELEMENT', { value: 1 })
    expect(layerNorm(x, 4, { out })).toBe(out)
    expect([...out]).toEqual([...layerNorm(x, 4)])
    const beside = Object.defineProperty(new Float32Array(x.buffer, 4, 3), 'BYTES_PER_ELEMENT', { value: 1 })
    expect(() => layerNorm(x.subarray(0, 3), 3, { out: beside })).toThrow('none of it, got a part')
  })
})
