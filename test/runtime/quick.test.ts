// The short cuts of plain calls: their bits and errors are those of every call.
import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'
import { tables } from '../../dist/esm/backend/choice.js'
import { fill, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { backend, LayerNorm, layerNorm, normalize, RMSNorm, rmsNorm } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { rowOperands } from '../support/calls.ts'

const { float32 } = tables.find(({ name }) => name === backend) ?? tables[0]
const size = 24
const weight = fill(ordinaryWeights, size, 1)
const bias = fill(normal, size, 2)

/** The kernel itself on the caller's memory. */
function layerNormKernel(x: Float32Array, n: number, w?: Float32Array, b?: Float32Array, eps = 1e-5): Float32Array {
  const y = new Float32Array(x.length)
  float32.layer_norm(rowOperands({ y, x, weight: w, bias: b, rows: x.length / n, cols: n, eps }))
  return y
}

/** A kind of call is prepared when it comes twice running: the first, the second and the third may go different ways. */
function thrice(call: () => Float32Array, expected: Float32Array, where: string): void {
  for (const time of ['first', 'second', 'third']) expectSameBits(call(), expected, `${where}, ${time} time`)
}

describe('equality: small calls', () => {
  it('give the bits of the kernel at every size up to where copying ends, and beyond', () => {
    for (const n of [1, 2, 15, 16, 17, 100, 768, 1000, 4095, 4096, 4097, 5000]) {
      for (const rows of [1, 2, 3]) {
        const x = fill(normal, n * rows, n)
        const w = fill(ordinaryWeights, n, n + 1)
        thrice(() => layerNorm(x, n, { weight: w, bias: w }), layerNormKernel(x, n, w, w), `${rows} x ${n}`)
        const layer = new LayerNorm(n, { weight: w, bias: w })
        thrice(() => layer.forward(x), layerNormKernel(x, n, w, w), `${rows} x ${n}, layer`)
        const [rms, unit] = [new Float32Array(x.length), new Float32Array(x.length)]
        float32.rms_norm(rowOperands({ y: rms, x, weight: w, rows, cols: n, eps: 1e-6 }))
        thrice(() => rmsNorm(x, n, { weight: w }), rms, `${rows} x ${n}, rmsNorm`)
        const rmsLayer = new RMSNorm(n, { weight: w })
        thrice(() => rmsLayer.forward(x), rms, `${rows} x ${n}, RMSNorm`)
        float32.normalize(rowOperands({ y: unit, x, rows, cols: n, p: 2, rule: 0, eps: 1e-12, factor: 1 }))
        thrice(() => normalize(x, n), unit, `${rows} x ${n}, normalize`)
      }
    }
  })

  it('follow every change from call to call', () => {
    const x = fill(normal, 3 * size, 3)
    const layer = new LayerNorm(size, { weight, bias })
    for (let i = 0; i < 64; i++) {
      const rows = 1 + (i % 3)
      const part = x.subarray(0, rows * size)
      const w = i & 4 ? weight : undefined
      const b = i & 8 ? bias : undefined
      const eps = i & 16 ? 1 : 1e-5
      const n = i & 32 ? size / 2 : size
      const given = { weight: n === size ? w : undefined, bias: n === size ? b : undefined, eps }
      const expected = layerNormKernel(part, n, given.weight, given.bias, eps)
      // Once, twice or three times before the next change.
      for (let time = 0; time <= i % 3; time++) expectSameBits(layerNorm(part, n, given), expected, `call ${i}`)
      layer.setWeights({ weight: w, bias: b })
      thrice(() => layer.forward(part), layerNormKernel(part, size, w, b), `layer ${i}`)
    }
  })

  it('write out, in place and beside x in the same memory', () => {
    const x = fill(normal, size, 4)
    const expected = layerNormKernel(x, size)
    const layer = new LayerNorm(size)
    for (let time = 0; time < 3; time++) {
      const own = x.slice()
      expect(layerNorm(own, size, { out: own })).toBe(own)
      expectSameBits(own, expected, 'in place')
      const memory = new Float32Array(3 * size)
      memory.set(x)
      const [from, to] = [memory.subarray(0, size), memory.subarray(size, 2 * size)]
      expect(layer.forward(from, { out: to })).toBe(to)
      expectSameBits(to, expected, 'beside')
      expectSameBits(from, x, 'x')
      expect(memory.subarray(2 * size).every(value => value === 0)).toBe(true)
      const again = memory.subarray(0, size)
      expectSameBits(layerNorm(from, size, { out: again }), expected, 'another view of the same elements')
    }
  })
})

describe('behaviour: small calls', () => {
  it('throw what every call throws', () => {
    const memory = new Float32Array(3 * size)
    const layer = new LayerNorm(size)
    const x = memory.subarray(0, size)
    for (let time = 0; time < 3; time++) {
      layer.forward(x, { out: new Float32Array(size) })
      layerNorm(x, size, { out: new Float32Array(size) })
    }
    expect(() => layer.forward(x, { out: memory.subarray(1, size + 1) })).toThrow(
      'LayerNorm: out expected exactly the memory of x, or none of it, got a part'
    )
    expect(() =>
      layerNorm(x, size, { weight: memory.subarray(size, 2 * size), out: memory.subarray(size, 2 * size) })
    ).toThrow('layerNorm: out expected no memory shared with weight, got an overlap')
    expect(() => layer.forward(x, { out: new Float32Array(size + 1) })).toThrow('LayerNorm: out.length expected 24')
    for (const wrong of [-size, 1.5, 0, Number.NaN]) {
      expect(() => layerNorm(x, wrong)).toThrow('layerNorm: normalizedShape expected a positive integer')
    }
    for (const wrong of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => layerNorm(x, size, { eps: wrong })).toThrow('layerNorm: eps expected a finite number')
    }
    expect(() => layerNorm(x, size, { weight: bias.subarray(1) })).toThrow('layerNorm: weight.length expected 24')
    expect(() => layer.forward(x, { wieght: x } as object)).toThrow(/got "wieght"/)
  })

  it('take no more memory however often weights change', async () => {
    const n = 2048
    const weights = { weight: fill(ordinaryWeights, n, 1), bias: fill(normal, n, 2) }
    const layer = new LayerNorm(n, weights)
    const x = fill(normal, 2 * n, 6)
    const out = [new Float32Array(n), new Float32Array(2 * n)]
    const change = async () => {
      for (let i = 0; i < 10000; i++) {
        layer.setWeights(weights)
        layer.forward(x.subarray(0, n), { out: out[0] })
        layer.forward(x, { out: out[1] })
        layerNorm(out[0], n, { eps: i, out: out[0] })
        // What is no longer needed is released when the event loop turns.
        if (i % 500 === 0) await new Promise(resolve => setImmediate(resolve))
      }
      return process.memoryUsage().rss
    }
    // The second time with memory that the first has released. To keep all copies would take 330 MB more.
    const before = await change()
    expect((await change()) - before).toBeLessThan(150e6)
    expectSameBits(out[1], layerNormKernel(x, n, weights.weight, weights.bias), 'layer')
  })

  it('use the copy of its weights that a layer has, in every order of calls, in both copies of the JavaScript', () => {
    const cjs = createRequire(import.meta.url)('../../dist/cjs/index.js') as typeof import('../../dist/esm/index.js')
    const own = weight.slice()
    const [one, other] = [new LayerNorm(size, { weight: own }), new cjs.LayerNorm(size, { weight: bias })]
    const x = fill(normal, size, 5)
    const expected = [layerNormKernel(x, size, weight), layerNormKernel(x, size, bias)]
    structuredClone(own.buffer, { transfer: [own.buffer] })
    for (let i = 0; i < 27; i++) {
      // All orders of three calls: of either layer, and of the function with weights of its own.
      for (const turn of [i % 3, Math.floor(i / 3) % 3, Math.floor(i / 9)]) {
        if (turn < 2) expectSameBits([one, other][turn].forward(x), expected[turn], `${i}: layer ${turn}`)
        else expectSameBits(layerNorm(x, size, { weight: x }), layerNormKernel(x, size, x), `${i}: function`)
      }
    }
  })
})
