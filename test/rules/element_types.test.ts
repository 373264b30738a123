// Rule 24 in JavaScript: which arrays and tensors of 16 bits are taken, what comes back for them, and what is refused before
// anything is written.
import { Tensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { fill, normal } from '../../dist/esm/cases/data.js'
import {
  BatchNorm,
  batchNorm,
  batchNormBackward,
  batchStatistics,
  calibrateEmbeddings,
  EmbeddingPooler,
  GroupNorm,
  groupNorm,
  InstanceNorm,
  instanceNorm,
  LayerNorm,
  layerNorm,
  layerNormBackward,
  localResponseNorm,
  Normalize,
  normalize,
  normalizeBackward,
  poolEmbeddings,
  quantizeEmbeddings,
  RMSNorm,
  rmsNorm,
  rmsNormBackward
} from '../../dist/esm/index.js'
import { fromFloat16, roundTo, toBfloat16, toFloat16 } from '../../dist/esm/kernels/float16.js'
import { patterns } from '../support/embeddings.ts'
import { detach, refuses } from '../support/refusal.ts'

// biome-ignore lint/suspicious/noExplicitAny: wrong arguments of every kind are what is tested
type Any = any

const numbers = fill(normal, 24, 1)
const bits = () => Uint16Array.from(numbers, toFloat16)
const f32 = () => numbers.slice()
const dims = [2, 3, 4]
/** A tensor of these elements. */
const tensor = (data: unknown, type?: string, of: readonly number[] = dims): Any =>
  type === undefined ? { data, dims: of } : { data, dims: of, type }

/** All functions that take x, with the layers' forward: x is a tensor, and so are the operands of its shape. */
const calls: { readonly [name: string]: (x: Any, options?: Any) => Any } = {
  layerNorm: (x, o) => layerNorm(x, 4, o),
  rmsNorm: (x, o) => rmsNorm(x, 4, o),
  normalize: (x, o) => normalize(x, 4, o),
  batchNorm: (x, o) => batchNorm(x, { training: true, ...o }),
  groupNorm: (x, o) => groupNorm(x, 3, o),
  instanceNorm: (x, o) => instanceNorm(x, o),
  localResponseNorm: (x, o) => localResponseNorm(x, 3, o),
  batchStatistics: (x, o) => batchStatistics(x, o),
  poolEmbeddings: (x, o) => poolEmbeddings(x, o),
  quantizeEmbeddings: (x, o) => quantizeEmbeddings(x, 4, o),
  calibrateEmbeddings: (x, o) => calibrateEmbeddings(x, 4, o),
  LayerNorm: (x, o) => new LayerNorm(4).forward(x, o),
  RMSNorm: (x, o) => new RMSNorm(4).forward(x, o),
  Normalize: (x, o) => new Normalize(4).forward(x, o),
  BatchNorm: (x, o) => new BatchNorm(3).forward(x, o),
  GroupNorm: (x, o) => new GroupNorm(3, 3).forward(x, o),
  InstanceNorm: (x, o) => new InstanceNorm(3).forward(x, o),
  EmbeddingPooler: (x, o) => new EmbeddingPooler(4).forward(x, o)
}
const backward: { readonly [name: string]: (dy: Any, x: Any, options?: Any) => Any } = {
  layerNormBackward: (dy, x, o) => layerNormBackward(dy, x, 4, o),
  rmsNormBackward: (dy, x, o) => rmsNormBackward(dy, x, 4, o),
  normalizeBackward: (dy, x, o) => normalizeBackward(dy, x, 4, o),
  batchNormBackward: (dy, x, o) => batchNormBackward(dy, x, { training: true, ...o })
}
/** Those with a place of x's shape. */
const withOut = Object.entries(calls).filter(([name]) => !/mbedding|Statistics/.test(name))

describe('behaviour: elements that are refused, before anything is written', () => {
  it.each(Object.entries(calls))('as x of %s', (op, call) => {
    const data = bits()
    const refused = (
      x: Any,
      options: Any,
      words: string | RegExp,
      kind: typeof TypeError | typeof RangeError = TypeError
    ) => refuses(() => call(x, options), [data], op, kind, words)
    const what = 'x.data expected Float32Array, got Uint16Array'
    refused(tensor(data), {}, what)
    refused(tensor(data), { dtype: 'float32' }, "dtype expected 'float16' or 'bfloat16'", RangeError)
    refused(tensor(data, 'float16'), { dtype: 'half' }, "dtype expected 'float16' or 'bfloat16', got", RangeError)
    refused(tensor(data, 'float16'), { dtype: null }, "dtype expected 'float16' or 'bfloat16', got null")
    refused(tensor(data, 'float32'), { dtype: 'float16' }, 'x.data expected Float32Array')
    refused(
      tensor(f32(), 'float16'),
      {},
      'x.data expected Float16Array or Uint16Array (type float16), got Float32Array'
    )
    refused(tensor(f32(), 'bfloat16'), {}, 'x.data expected Uint16Array (type bfloat16), got Float32Array')
    refused(tensor(data, 'uint16'), {}, 'x.type expected float32, float16 or bfloat16, got uint16')
    refused(
      tensor(new Float64Array(24)),
      {},
      'x.data expected Float32Array, got Float64Array; Float32Array.from(x.data)'
    )
    refused(
      tensor(new Float64Array(24), 'float64'),
      {},
      'got float64; { data: Float32Array.from(x.data), dims: x.dims }'
    )
    refused(tensor(new Int16Array(24), 'float16'), {}, 'got Int16Array')
    refused(tensor(detach(bits()), 'float16'), {}, 'x.data expected an array with memory, got a detached one')
    refused(tensor(bits().subarray(1), 'bfloat16'), {}, 'x.data.length expected 24', RangeError)
    const gpu = { ...tensor(data, 'float16'), location: 'gpu-buffer' }
    refused(gpu, {}, /x\.location expected cpu, got "?gpu-buffer"?; await x\.getData\(\) brings it there/)
  })

  it('as x of a tensor whose data is not there at all, before that is asked for', () => {
    const onGpu = {
      dims: [4],
      type: 'float32',
      location: 'gpu-buffer',
      get data() {
        throw new Error('The data is not on CPU')
      }
    }
    refuses(() => layerNorm(onGpu as Any, 4), [], 'layerNorm', TypeError, /x\.location expected cpu/)
    expect(() => layerNorm({ ...tensor(bits(), 'float16'), location: 'cpu-pinned' }, 4)).not.toThrow()
  })

  it.each(withOut)('as out of %s', (op, call) => {
    const x = bits()
    const out = bits().fill(7)
    const refused = (place: Any, words: string | RegExp, kind: typeof TypeError | typeof RangeError = TypeError) =>
      refuses(() => call(tensor(x, 'float16'), { out: place }), [x, out], op, kind, words)
    refused(tensor(out), 'out.data expected Float32Array, got Uint16Array')
    refused(tensor(new Float64Array(24)), 'out.data expected Float32Array, got Float64Array')
    refused(tensor(out, 'float32'), 'out.data expected Float32Array')
    refused(tensor(new Float32Array(24), 'bfloat16'), 'out.data expected Uint16Array (type bfloat16), got Float32Array')
    refused(tensor(out.subarray(1), 'float16'), 'out.data.length expected 24', RangeError)
    refused(tensor(detach(bits()), 'float16'), 'an array with memory, got a detached one')
    // Other memory of the same buffer: of x a part, or as long in bytes but not in elements.
    const both = new ArrayBuffer(96)
    const [low, high] = [new Uint16Array(both, 0, 24), new Uint16Array(both, 2, 24)]
    const overlapping = () => call(tensor(low, 'float16'), { out: tensor(high, 'float16') })
    refuses(overlapping, [low], op, RangeError, 'out')
    const wider = () => call(tensor(low, 'float16'), { out: tensor(new Float32Array(both), 'float32') })
    refuses(wider, [low], op, RangeError, 'out')
  })

  it.each([
    ['layerNorm', layerNorm],
    ['rmsNorm', rmsNorm]
  ] as [string, Any][])('as residual, sum and weight of %s', (op, call) => {
    const [x, residual, sum] = [bits(), bits(), bits().fill(7)]
    const refused = (given: Any, options: Any, words: string) =>
      refuses(() => call(given, 4, options), [x, residual, sum], op, TypeError, words)
    const half = { dtype: 'float16' }
    refused(x, { ...half, residual: f32() }, 'residual expected float16, the type of x, got float32')
    refused(f32(), { ...half, residual }, 'residual expected float32, the type of x, got float16')
    const other = tensor(residual, 'bfloat16')
    refused(tensor(x, 'float16'), { residual: other }, 'residual expected float16, the type of x, got bfloat16')
    refused(x, { ...half, residual, sum: f32() }, 'sum expected float16, the type of x, got float32')
    const sums = tensor(sum, 'bfloat16')
    refused(tensor(x, 'float16'), { residual: tensor(residual, 'float16'), sum: sums }, 'sum expected float16')
    refused(f32(), { weight: bits().subarray(0, 4) }, 'weight expected Float32Array, got Uint16Array')
    refused(x, { ...half, weight: new Float64Array(4) }, 'weight expected Float32Array, got Float64Array')
    refused(x, { ...half, rstd: new Uint16Array(6) }, 'rstd expected Float32Array or Float64Array')
    refused(
      x,
      { ...half, rstd: tensor(new Uint16Array(6), 'float16', [6]) },
      'rstd expected Float32Array or Float64Array'
    )
  })

  it.each(Object.entries(backward))('as dy and places of %s', (op, call) => {
    const [dy, x] = [bits(), bits()]
    const refused = (given: Any, of: Any, options: Any, words: string) =>
      refuses(() => call(given, of, options), [dy, x], op, TypeError, words)
    const [halfDy, halfX] = [tensor(dy, 'float16'), tensor(x, 'float16')]
    refused(tensor(f32()), halfX, {}, 'dy expected float16, the type of x, got float32')
    refused(halfDy, tensor(f32()), {}, 'dy expected float32, the type of x, got float16')
    refused(tensor(dy, 'bfloat16'), halfX, {}, 'dy expected float16, the type of x, got bfloat16')
    refused(tensor(dy), halfX, {}, 'dy.data expected Float32Array, got Uint16Array')
    refused(halfDy, halfX, { dx: tensor(f32()) }, 'dx expected float16, the type of x, got float32')
    refused(halfDy, halfX, { dx: tensor(bits(), 'bfloat16') }, 'dx expected float16, the type of x, got bfloat16')
    if (op === 'normalizeBackward') return
    const n = op === 'batchNormBackward' ? 3 : 4
    const options = { weight: new Float32Array(n), dweight: new Uint16Array(n) }
    refused(halfDy, halfX, options, 'dweight expected Float32Array, got Uint16Array')
  })

  it('as statistics, pooled embeddings, and parameters of constructors', () => {
    const x = tensor(bits(), 'float16')
    const running = { runningMean: new Float32Array(3), runningVar: new Float32Array(3).fill(1) }
    for (const what of ['runningMean', 'runningVar']) {
      const given = { ...running, [what]: tensor(new Uint16Array(3), 'float16', [3]) }
      refuses(
        () => batchNorm(x, given as Any),
        [x.data],
        'batchNorm',
        TypeError,
        `${what} expected Float32Array or Float64`
      )
    }
    const pooled = tensor(new Uint16Array(8), 'float16', [2, 4])
    refuses(
      () => poolEmbeddings(x, { pooled }),
      [x.data, pooled.data],
      'poolEmbeddings',
      TypeError,
      'pooled expected float32'
    )
    const weight = new Uint16Array(4)
    refuses(
      () => new LayerNorm(4, { weight } as Any),
      [],
      'LayerNorm',
      TypeError,
      'weight expected Float32Array, got Uint16Array'
    )
    refuses(() => new LayerNorm(4, { dtype: 'float16' } as Any), [], 'LayerNorm', TypeError, /got "dtype"/)
  })

  it('off the event loop, and x stays where it was', async () => {
    const layer = new LayerNorm(4)
    const x = bits()
    const wrong: [Any, string][] = [
      [{}, 'x expected Float32Array, got Uint16Array'],
      [{ dtype: 'float16', residual: f32(), transfer: true }, 'residual expected float16, the type of x'],
      [{ dtype: 'float16', out: bits(), transfer: true }, 'out expected undefined, because transfer is given'],
      [{ dtype: 'float16', rstd: bits(), transfer: true }, 'rstd expected Float32Array or Float64Array']
    ]
    for (const [options, words] of wrong) {
      await expect(layer.forwardAsync(x, options), words).rejects.toThrow(words)
      expect(x.length).toBe(24)
    }
    const part = new Uint16Array(48).subarray(24)
    const shared = new Uint16Array(new SharedArrayBuffer(48))
    for (const bad of [part, shared]) {
      const call = layer.forwardAsync(bad, { dtype: 'float16', transfer: true })
      await expect(call).rejects.toThrow(/x expected an array over all of an ArrayBuffer, because transfer is given/)
    }
  })
})

const Float16 = (globalThis as Any).Float16Array

describe('behaviour: what comes back for elements of 16 bits', () => {
  it('bits for bits, in new memory or in out, with offsets', () => {
    const all = new Uint16Array(40)
    const x = all.subarray(5, 29)
    x.set(bits())
    const y: Any = layerNorm(x, 4, { dtype: 'float16' })
    expect(y).toBeInstanceOf(Uint16Array)
    expect([y.length, y.byteOffset, y.buffer.byteLength]).toEqual([24, 0, 48])
    const out = new Uint16Array(60).subarray(7, 31)
    expect(layerNorm(x, 4, { dtype: 'float16', out })).toBe(out)
    expect(out).toEqual(y)
    expect([...new Uint16Array(out.buffer)].filter((value, i) => (i < 7 || i >= 31) && value !== 0)).toEqual([])
    const wide = new Float32Array(24)
    expect(layerNorm(x, 4, { dtype: 'float16', out: wide })).toBe(wide)
    expect(Uint16Array.from(wide, toFloat16)).toEqual(y)
    expect(layerNorm(f32(), 4, { dtype: 'bfloat16', out: out.fill(0) })).toBe(out)
    expect(out).toEqual(Uint16Array.from(layerNorm(f32(), 4), toBfloat16))
  })

  it('tensors for tensors: of their class and type, or of that of out', () => {
    const x = new Tensor('float16', bits() as Any, dims)
    const y: Any = layerNorm(x as Any, 4)
    expect(y).toBeInstanceOf(Tensor)
    expect([y.type, y.dims]).toEqual(['float16', dims])
    const plain: Any = layerNorm(tensor(bits(), 'bfloat16'), 4)
    expect(plain).toMatchObject({ type: 'bfloat16', dims })
    expect(plain.data).toBeInstanceOf(Uint16Array)
    expect(layerNorm(tensor(bits()), 4, { dtype: 'float16' }).data).toEqual(patterns(y.data))
    // An array for a tensor's result: the tensor that comes back says what it is.
    const bare = new Float32Array(24)
    const wrapped: Any = layerNorm(x as Any, 4, { out: bare } as Any)
    expect(wrapped.data).toBe(bare)
    expect(wrapped.type).toBe('float32')
    const gradients: Any = layerNormBackward(x as Any, x as Any, 4, {
      weight: tensor(new Uint16Array(4), 'float16', [4])
    })
    expect(gradients.dx).toBeInstanceOf(Tensor)
    expect(gradients.dx.type).toBe('float16')
    expect(patterns(gradients.dweight)).toBeInstanceOf(Uint16Array)
    expect(layerNormBackward(x as Any, x as Any, 4, { weight: new Float32Array(4) }).dweight).toBeInstanceOf(
      Float32Array
    )
  })

  it('the type of a tensor goes before dtype, which speaks of bits alone', () => {
    const half = layerNorm(tensor(bits(), 'float16'), 4, { dtype: 'bfloat16' })
    expect(half).toEqual(layerNorm(tensor(bits(), 'float16'), 4))
    expect(layerNorm(f32(), 4, { dtype: 'float16' })).toEqual(layerNorm(f32(), 4))
  })

  it('in place where out is the same memory, also of another type', () => {
    const other = tensor(new Uint16Array(24), 'bfloat16')
    layerNorm(tensor(bits(), 'float16'), 4, { out: other })
    const x = bits()
    layerNorm(tensor(x, 'float16'), 4, { out: tensor(x, 'bfloat16') })
    expect(x).toEqual(other.data)
  })

  it('in shared memory, and in that which was transferred', async () => {
    const layer = new RMSNorm(4)
    const wanted = rmsNorm(bits(), 4, { dtype: 'float16' })
    const [x, out] = [new Uint16Array(new SharedArrayBuffer(48)), new Uint16Array(new SharedArrayBuffer(48))]
    x.set(bits())
    expect(await layer.forwardAsync(x, { dtype: 'float16', out })).toBe(out)
    expect([...out]).toEqual([...(wanted as Any)])
    const moved = bits()
    const { buffer } = moved
    const y: Any = await layer.forwardAsync(moved, { dtype: 'float16', transfer: true })
    expect([moved.length, buffer.byteLength, y.length, y.buffer.byteLength]).toEqual([0, 0, 24, 48])
    expect(y).toEqual(wanted)
  })

  it('nothing for nothing', () => {
    const y: Any = layerNorm(new Uint16Array(0), 4, { dtype: 'bfloat16' })
    expect(y).toBeInstanceOf(Uint16Array)
    expect(y.length).toBe(0)
    expect(batchStatistics(tensor(new Uint16Array(0), 'float16', [0, 3, 2])).count ?? 0).toEqual(expect.anything())
  })

  it.skipIf(!Float16)('a Float16Array for a Float16Array, without dtype', async () => {
    const x = new Float16(numbers)
    const wanted = layerNorm(bits(), 4, { dtype: 'float16' })
    const y: Any = layerNorm(x, 4)
    expect(y).toBeInstanceOf(Float16)
    expect(patterns(y)).toEqual(wanted)
    const out = new Float16(24)
    expect(layerNorm(x, 4, { out })).toBe(out)
    expect(patterns(out)).toEqual(wanted)
    const given: Any = layerNorm(tensor(x), 4)
    expect(given.data).toBeInstanceOf(Float16)
    expect(patterns(given.data)).toEqual(wanted)
    expect(layerNorm(tensor(x, 'float16'), 4)).toMatchObject({ type: 'float16' })
    expect(layerNorm(x, 4, { dtype: 'bfloat16' })).toEqual(y)
    refuses(
      () => layerNorm(tensor(x, 'bfloat16'), 4),
      [],
      'layerNorm',
      TypeError,
      'x.data expected Uint16Array (type bf'
    )
    const { dx, dweight }: Any = layerNormBackward(x, x, 4, { weight: new Float16(4).fill(1) })
    expect(dx).toBeInstanceOf(Float16)
    expect(dweight).toBeInstanceOf(Float16)
    const layer = new LayerNorm(4, { weight: new Float16(4).fill(1) })
    const later: Any = await layer.forwardAsync(new Float16(numbers), { transfer: true })
    expect(later).toBeInstanceOf(Float16)
    expect(patterns(later)).toEqual(patterns(layerNorm(x, 4, { weight: new Float32Array(4).fill(1) })))
  })
})

describe('behaviour: sums of gradients of 16 bits', () => {
  it('are rounded once, from float64', () => {
    for (const [type, ulp] of [
      ['float16', 2 ** -10],
      ['bfloat16', 2 ** -7]
    ] as const) {
      const one = roundTo(type, 1)
      const tie = 1 + ulp / 2
      // float32 has nothing between the tie and these: rounded to it first, they would go to even.
      expect(roundTo(type, tie)).toBe(one)
      expect(roundTo(type, tie + 2 ** -40)).toBe(one + 1)
      expect(roundTo(type, tie + ulp)).toBe(one + 2)
      expect(roundTo(type, tie + ulp - 2 ** -40)).toBe(one + 1)
      expect(roundTo(type, -(tie + 2 ** -40))).toBe((one + 1) | 0x8000)
      const infinity = type === 'float16' ? 0x7c00 : 0x7f80
      const limit = type === 'float16' ? 65520 : 2 ** 128 - 2 ** 119
      expect(roundTo(type, limit)).toBe(infinity)
      expect(roundTo(type, limit * (1 - 2 ** -50))).toBe(infinity - 1)
      expect(roundTo(type, 1e300)).toBe(infinity)
      expect(roundTo(type, -1e300)).toBe(infinity | 0x8000)
      expect(roundTo(type, Number.NaN)).toBe(infinity === 0x7c00 ? 0x7e00 : 0x7fc0)
      expect(roundTo(type, -0)).toBe(0x8000)
      expect(roundTo(type, -1e-300)).toBe(0x8000)
      const smallest = type === 'float16' ? 2 ** -24 : 2 ** -133
      expect(roundTo(type, smallest / 2)).toBe(0)
      expect(roundTo(type, (smallest / 2) * (1 + 2 ** -50))).toBe(1)
    }
  })

  it('so dbias has them', () => {
    // 1 + 2^-11 is a tie of float16; the third row takes the sum beyond it, by less than float32 would show.
    const dy = Float32Array.of(1, 2 ** -11, 2 ** -40)
    const x = Float32Array.of(1, 2, 4)
    const bias = tensor(new Uint16Array(1), 'float16', [1])
    const { dbias }: Any = layerNormBackward(dy, x, 1, {
      bias,
      dbias: tensor(new Uint16Array(1), 'float16', [1])
    } as Any)
    expect(fromFloat16(dbias[0] ?? dbias.data[0])).toBe(1 + 2 ** -10)
  })
})
