// Code of the caller's that runs within a call: constructors of tensors, methods of arrays, getters of prototypes and signals.
import { describe, expect, it } from 'vitest'
import {
  batchNorm,
  batchNormBackward,
  groupNormBackward,
  instanceNormBackward,
  LayerNorm,
  layerNorm,
  layerNormBackward,
  localResponseNorm,
  normalize,
  normalizeBackward,
  poolEmbeddings,
  quantizeEmbeddings,
  rmsNorm,
  rmsNormBackward
} from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'

type Data = Float32Array<ArrayBuffer>
const f32 = (n: number, of = (i: number) => Math.sin(i * i + n)): Data =>
  Float32Array.from({ length: n }, (_, i) => of(i))

/** A tensor whose class runs `code` when a call makes one. */
class Guest {
  static code: (() => void) | undefined
  constructor(
    readonly type: string,
    readonly data: Data,
    readonly dims: number[]
  ) {
    const run = Guest.code
    Guest.code = undefined
    run?.()
  }
}

describe('equality: gradients while the class of x makes a call of its own', () => {
  const [weight, scale] = [f32(4), f32(8)]
  const dy = f32(24)
  const x = new Guest('float32', f32(24), [2, 4, 3])
  const rows = new Guest('float32', f32(24), [6, 4])
  const calls: { [op: string]: () => object } = {
    batchNormBackward: () => batchNormBackward(dy, x, { training: true, weight }),
    groupNormBackward: () => groupNormBackward(dy, x, 2, { weight }),
    instanceNormBackward: () => instanceNormBackward(dy, x, { weight }),
    layerNormBackward: () => layerNormBackward(dy, rows, 4, { weight }),
    normalizeBackward: () => normalizeBackward(dy, rows, 4, {}),
    rmsNormBackward: () => rmsNormBackward(dy, rows, 4, { weight })
  }

  it.each(Object.keys(calls))('%s', op => {
    const right = calls[op]() as { [name: string]: Data | Guest | undefined }
    let ran = 0
    Guest.code = () => {
      ran++
      for (const call of Object.values(calls)) call()
      layerNormBackward(scale, scale, 4, { weight: scale.subarray(0, 4) })
    }
    const got = calls[op]() as typeof right
    expect(ran).toBe(1)
    for (const name of Object.keys(right)) {
      const [a, b] = [got[name], right[name]]
      if (b === undefined) continue
      expectSameBits(a instanceof Guest ? a.data : (a as Data), b instanceof Guest ? b.data : (b as Data), name)
    }
  })
})

describe('behaviour: methods that a caller put on an array', () => {
  const methods = ['set', 'fill', 'subarray', 'slice', 'map', 'copyWithin', 'indexOf', 'at', 'forEach'] as const

  /** An array each of whose methods, and what else it says of itself, counts as asked. */
  function watched<A extends ArrayBufferView>(array: A, asked: string[]): A {
    for (const name of [...methods, 'length', 'buffer', 'byteOffset', 'byteLength', 'constructor'] as const) {
      const own = (array as unknown as { [name: string]: unknown })[name]
      Object.defineProperty(array, name, {
        get() {
          asked.push(name)
          return own
        }
      })
    }
    return array
  }

  const volume = (data: Data) => ({ data, dims: [2, 4, 3] })
  const mean = () => new Float64Array(4)
  const calls: { [op: string]: (of: <A extends ArrayBufferView>(array: A) => A) => unknown } = {
    layerNorm: of => layerNorm(of(f32(24)), 4, { weight: of(f32(4)), out: of(f32(24)), mean: of(new Float64Array(6)) }),
    rmsNorm: of => rmsNorm(of(f32(24)), 4, { residual: of(f32(24)), sum: of(f32(24)), out: of(f32(24)) }),
    'layerNorm over axes': of =>
      layerNorm(
        { data: of(f32(24)), dims: [2, 4, 3] },
        { axis: [0, 2] },
        { out: { data: of(f32(24)), dims: [2, 4, 3] } }
      ),
    normalize: of => normalize(of(f32(24)), 4, { out: of(f32(24)), norm: of(new Float64Array(6)) }),
    batchNorm: of => batchNorm(volume(of(f32(24))), { training: true, mean: of(mean()), out: volume(of(f32(24))) }),
    localResponseNorm: of => localResponseNorm(volume(of(f32(24))), 3, { out: volume(of(f32(24))) }),
    batchNormBackward: of =>
      batchNormBackward(
        { data: of(f32(24)), dims: [2, 3, 4] },
        { data: of(f32(24)), dims: [2, 3, 4] },
        {
          layout: 'channels-last',
          mean: of(mean()),
          rstd: of(mean().fill(1)),
          dweight: of(f32(4))
        }
      ),
    groupNormBackward: of =>
      groupNormBackward({ data: of(f32(24)), dims: [2, 3, 4] }, { data: of(f32(24)), dims: [2, 3, 4] }, 2, {
        layout: 'channels-last',
        mean: of(mean()),
        rstd: of(mean().fill(1))
      }),
    'poolEmbeddings of several kinds': of =>
      poolEmbeddings(volume(of(f32(24))), { pooling: ['mean', 'max', 'cls'], normalize: false, pooled: of(f32(18)) }),
    'poolEmbeddings of one kind': of =>
      poolEmbeddings(volume(of(f32(24))), { pooling: 'cls', pooled: of(f32(6)), out: of(f32(6)) }),
    'poolEmbeddings of every row': of =>
      poolEmbeddings(volume(of(f32(24))), { pooling: 'none', pooled: of(f32(24)), lengths: [1, 2] }),
    quantizeEmbeddings: of => quantizeEmbeddings(of(f32(24)), 4, { precision: 'float32', out: of(f32(24)) } as never)
  }

  it.each(Object.keys(calls))('are not asked by %s', op => {
    const asked: string[] = []
    try {
      calls[op](array => watched(array, asked))
    } catch (error) {
      if (!(error instanceof TypeError) && !(error instanceof RangeError)) throw error
      throw new Error(`the call itself: ${error.message}`)
    }
    expect(asked).toEqual([])
  })
})

describe('behaviour: code that is asked within a call off the event loop', () => {
  it('is shown no memory of a job by `then` of a prototype', async () => {
    const layer = new LayerNorm(2, { weight: Float32Array.of(1, 1) })
    const seen: unknown[] = []
    for (const prototype of [Array.prototype, Object.prototype]) {
      Object.defineProperty(prototype, 'then', {
        configurable: true,
        get() {
          seen.push(this)
        }
      })
    }
    try {
      await layer.forwardAsync(Float32Array.of(1, 3), { rstd: new Float64Array(1) })
    } finally {
      for (const prototype of [Array.prototype, Object.prototype]) delete (prototype as { then?: unknown }).then
    }
    const buffers = seen
      .flatMap(value => [value, ...Object.values(value as object)])
      .map(value => {
        return ArrayBuffer.isView(value) ? value.buffer : value
      })
    expect(buffers.filter(buffer => buffer instanceof SharedArrayBuffer)).toEqual([])
    expect(layer.weight).toEqual(Float32Array.of(1, 1))
  })

  it('settles every call whose signal throws its reason, or takes no listener', async () => {
    const layer = new LayerNorm(16)
    const x = () => new Float32Array(2 ** 18)
    let abort = () => {}
    const odd = {
      aborted: false,
      addEventListener: (_: string, run: () => void) => {
        abort = run
      },
      removeEventListener: () => {},
      throwIfAborted: () => {},
      get reason(): never {
        throw new Error('no reason')
      }
    }
    const deaf = {
      ...{ aborted: false, removeEventListener: () => {}, throwIfAborted: () => {}, reason: 'none' },
      addEventListener: () => {
        throw new Error('no listener')
      }
    }
    const signals = [undefined, undefined, undefined, undefined, odd, odd, deaf, deaf, undefined]
    const calls = signals.map(signal => layer.forwardAsync(x(), { signal: signal as AbortSignal | undefined }))
    abort()
    const settled = await Promise.allSettled(calls)
    const messages = settled.map(one => (one.status === 'rejected' ? (one.reason as Error).message : 'good'))
    expect(messages.slice(4)).toEqual([...Array(2).fill('no reason'), ...Array(2).fill('no listener'), 'good'])
  })
})
