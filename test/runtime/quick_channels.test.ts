// The plain calls of layers over channels: their bits and errors are those of every call.
import { describe, expect, it } from 'vitest'
import { fill, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { BatchNorm, batchNorm, GroupNorm, groupNorm, InstanceNorm, instanceNorm } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'

const channels = 6
const weight = fill(ordinaryWeights, channels, 1)
const bias = fill(normal, channels, 2)
const runningMean = fill(normal, channels, 3)
const runningVar = fill(normal, channels, 4).map(Math.abs)

type Tensor = { data: Float32Array; dims: number[] }
type Options = { out?: Tensor | Float32Array; layout?: 'channels-first' }
type Weights = { weight?: Float32Array; bias?: Float32Array }

/** Each layer, and the function that it is. */
const layers = {
  BatchNorm: {
    layer: (weights: Weights) => new BatchNorm(channels, { ...weights, runningMean, runningVar }),
    call: (x: Tensor, weights: Weights) => batchNorm(x, { ...weights, runningMean, runningVar })
  },
  GroupNorm: {
    layer: (weights: Weights) => new GroupNorm(2, channels, weights),
    call: (x: Tensor, weights: Weights) => groupNorm(x, 2, weights)
  },
  InstanceNorm: {
    layer: (weights: Weights) => new InstanceNorm(channels, weights),
    call: (x: Tensor, weights: Weights) => instanceNorm(x, weights)
  }
}

const tensor = (...dims: number[]): Tensor => {
  const n = dims.reduce((a, b) => a * b)
  return { data: fill(normal, n, n), dims }
}

describe.each(Object.entries(layers))('equality: plain calls of %s', (_, { layer, call }) => {
  it('give the bits of the function, whatever shape came before', () => {
    for (const weights of [{}, { weight }, { bias }, { weight, bias }]) {
      const own = layer(weights)
      for (const [samples, ...rest] of [[1], [3], [1, 1], [2, 5], [70], [1, 3, 4], [2, 40, 7], [1], [300, 400]]) {
        const x = tensor(samples, channels, ...rest)
        const where = `[${x.dims}] ${Object.keys(weights)}`
        const expected = call(x, weights).data
        expectSameBits(own.forward(x).data, expected, where)
        const out = { data: new Float32Array(x.data.length), dims: x.dims }
        expect(own.forward(x, { out })).toBe(out)
        expectSameBits(out.data, expected, `${where}, out`)
        expectSameBits(own.forward(x, { layout: 'channels-first' } as Options).data, expected, `${where}, general`)
        expectSameBits(own.forward(x, { out: x.data }).data, expected, `${where}, in place`)
      }
    }
  })

  it('follow setWeights and loadState', () => {
    const own = layer({ weight, bias })
    const x = tensor(2, channels, 3)
    own.forward(x)
    own.setWeights({ bias: weight })
    expectSameBits(own.forward(x).data, call(x, { bias: weight }).data, 'setWeights')
    own.loadState(layer({ bias }).state())
    expectSameBits(own.forward(x).data, call(x, { bias }).data, 'loadState')
  })
})

describe.each(Object.entries(layers))('behaviour: plain calls of %s', (name, { layer }) => {
  const x = tensor(2, channels, 3)
  const own = layer({ weight, bias })
  const detach = (array: Float32Array) => structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] })

  it('throw what every call throws, and write nothing', () => {
    const memory = new Float32Array(x.data.length + 1).fill(7)
    const part = memory.subarray(0, x.data.length)
    const other = { ...x, data: part }
    const refuses = (given: object, out: object, message: string) => {
      for (const options of [{ out }, { out, layout: 'channels-first' }]) {
        expect(() => own.forward(given as Tensor, options as Options)).toThrow(`${name}: ${message}`)
      }
      expect(memory.every(value => value === 7)).toBe(true)
    }
    refuses(other, memory.subarray(1), 'out expected exactly the memory of x, or none of it, got a part')
    refuses(x, memory, 'out.length expected 36 (x.data.length), got 37')
    refuses(x, { ...other, dims: [2, 3, channels] }, 'out.dims expected [2, 6, 3] (x.dims), got [2, 3, 6]')
    refuses({ ...x, dims: [3, 4, 3] }, part, 'x.dims expected 6 channels')
    refuses(x.data, part, 'x expected a tensor { data, dims }, got Float32Array')
    refuses({ ...x, strides: [1, 2, 12] }, part, 'x.strides expected')
    const gone = x.data.slice()
    detach(gone)
    refuses({ ...x, data: gone }, part, 'x.data expected an array with memory, got a detached one')
    refuses(x, gone, 'out expected an array with memory, got a detached one')
    expect(() => own.forward(x, { uot: part } as object)).toThrow(/got "uot" \(did you mean "out"\?\)|got "uot"/)
  })

  it('throw where the class of x detaches or shrinks arrays under their hands', () => {
    const changes: { [what: string]: (data: Float32Array) => unknown } = {
      'an array with memory, got a detached one': detach,
      '36 (its length when it was read), got 18': data => (data.buffer as ArrayBuffer).resize(18 * 4)
    }
    for (const [message, change] of Object.entries(changes)) {
      if (message.startsWith('36') && !('resize' in ArrayBuffer.prototype)) continue
      const data = new Float32Array(new ArrayBuffer(36 * 4, { maxByteLength: 36 * 4 } as object))
      const trap = new (class Trap {
        data = data
        dims = x.dims
        constructor(_type?: string, given?: Float32Array) {
          if (given) change(data)
        }
      })()
      const out = new Float32Array(36).fill(7)
      for (const options of [{ out }, { out, layout: 'channels-first' }]) {
        if (data.length < 36 && message.startsWith('36')) (data.buffer as ArrayBuffer).resize(36 * 4)
        expect(() => own.forward(trap, options as Options)).toThrow(`${name}: x`)
        if (message.startsWith('an')) break // it is gone for good
      }
      expect(out.every(value => value === 7)).toBe(true)
    }
  })

  it('write nothing into tensors without elements', () => {
    expect(own.forward({ data: new Float32Array(0), dims: [0, channels, 3] }).dims).toEqual([0, channels, 3])
  })
})

describe('behaviour: plain calls of BatchNorm and its running statistics', () => {
  const x = tensor(2, channels, 3)

  it('use those that the caller changed in place, and what training made of them', () => {
    const layer = new BatchNorm(channels, { weight, runningMean, runningVar })
    layer.forward(x)
    layer.runningMean?.fill(3)
    layer.runningVar?.fill(0.25)
    const same = { runningMean: new Float32Array(channels).fill(3), runningVar: new Float32Array(channels).fill(0.25) }
    expectSameBits(layer.forward(x).data, batchNorm(x, { weight, ...same }).data, 'changed')
    layer.train().forward(x)
    const trained = { runningMean: layer.runningMean, runningVar: layer.runningVar }
    expectSameBits(layer.eval().forward(x).data, batchNorm(x, { weight, ...trained }).data, 'trained')
    expect(layer.numBatchesTracked).toBe(1)
    layer.runningVar?.fill(Number.NaN)
    expect(layer.forward(x).data.every(Number.isNaN)).toBe(true)
  })

  it('throw for a variance below 0, detached ones, and an out over them', () => {
    const layer = new BatchNorm(channels, { runningMean, runningVar })
    const out = new Float32Array(x.data.length).fill(7)
    layer.forward(x)
    layer.runningVar?.fill(-1, 4, 5)
    expect(() => layer.forward(x, { out })).toThrow('BatchNorm: runningVar[4] expected a number >= 0, got -1')
    layer.runningVar?.fill(1)
    const one = { data: fill(normal, channels, 9), dims: [1, channels] }
    for (const what of ['runningMean', 'runningVar'] as const) {
      const before = layer[what]?.slice() as Float32Array
      const shared = () => layer.forward(one, { out: layer[what] as Float32Array })
      expect(shared).toThrow(`BatchNorm: out expected no memory shared with ${what}, got an overlap`)
      expectSameBits(layer[what] as Float32Array, before, what)
    }
    const { buffer } = layer.runningMean as Float32Array
    structuredClone(buffer, { transfer: [buffer as ArrayBuffer] })
    expect(() => layer.forward(x, { out })).toThrow('BatchNorm: runningMean expected an array with memory')
    expect(out.every(value => value === 7)).toBe(true)
  })

  it('count x as its own where there are none, and in training', () => {
    const layer = new BatchNorm(channels, { trackRunningStats: false }).eval()
    expectSameBits(layer.forward(x).data, batchNorm(x, { training: true }).data, 'none')
    const trained = new BatchNorm(channels)
    expectSameBits(trained.forward(x).data, batchNorm(x, { training: true }).data, 'training')
    expect(trained.numBatchesTracked).toBe(1)
  })
})
