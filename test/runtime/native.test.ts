// The functions of the native binary, called with anything: they throw or do their work, and never touch other memory.
import { describe, expect, it } from 'vitest'
import { flattened } from '../../dist/esm/backend/flatten.js'
import { native } from '../../dist/esm/backend/native.js'
import { type Case, cases, runCase } from '../../dist/esm/cases/index.js'
import { kernels, type Op, ops } from '../../dist/esm/kernels/index.js'

type Function = (...args: unknown[]) => unknown

const backends = native.addon?.backends ?? []

/** The arguments of a call as the addon takes them: numbers, then arrays; memory of their own, filled with marks. */
function argumentsOf(op: Op, call: object): unknown[] {
  let args: unknown[] = []
  const take = flattened(op, (numbers, ...arrays) => {
    args = [numbers.slice(), ...arrays.filter(array => array !== undefined).map(array => structuredClone(array))]
  })
  take(call)
  return args
}

/** Good calls of an op, of different kinds. */
function goodCalls(op: Op): unknown[][] {
  const out: unknown[][] = []
  const recording = {
    ...kernels,
    [op]: (call: object) => {
      out.push(argumentsOf(op, call))
    }
  }
  const small = [...(cases[op]() as Iterable<Case>)].filter(({ x }) => x.length <= 3000)
  const every = Math.max(1, Math.floor(small.length / 12))
  for (let i = 0; i < small.length; i += every) runCase(op, recording, small[i])
  return out.slice(0, 12)
}

/** Guards on both sides of an array. */
function guarded(value: unknown): { array: unknown; intact: () => boolean } {
  if (!ArrayBuffer.isView(value)) return { array: value, intact: () => true }
  const array = value as Float32Array
  const bytes = new Uint8Array(array.byteLength + 128).fill(0xa5)
  const Class = array.constructor as unknown as new (
    buffer: ArrayBuffer,
    offset: number,
    length: number
  ) => Float32Array
  const inside = new Class(bytes.buffer, 64, array.length)
  inside.set(array)
  const around = () =>
    bytes.subarray(0, 64).every(b => b === 0xa5) && bytes.subarray(64 + array.byteLength).every(b => b === 0xa5)
  return { array: inside, intact: around }
}

const wrongNumbers = [-1, 0.5, Number.NaN, Infinity, 0, 1, 2, 3, 17, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 60, 1e300]

describe.skipIf(backends.length === 0).each(ops)('behaviour: %s of the native binary, called with anything', op => {
  const good = goodCalls(op)

  it('takes good calls', () => {
    expect(good.length).toBeGreaterThan(3)
    for (const { name, float32 } of backends) {
      for (const args of good) expect(() => (float32.run[op] as Function)(...args), name).not.toThrow()
    }
  })

  it('with each number wrong throws or does its work, and writes nowhere else', () => {
    let refused = 0
    for (const { float32 } of backends) {
      for (const args of good) {
        const numbers = args[0] as Float64Array
        const used = numbers.findLastIndex(value => value !== 0) + 2
        for (let place = 0; place < Math.min(used, 30); place++) {
          for (const bad of wrongNumbers) {
            const all = args.slice(1).map(guarded)
            const block = numbers.slice()
            block[place] = bad
            try {
              ;(float32.run[op] as Function)(block, ...all.map(({ array }) => array))
            } catch (error) {
              expect(String(error)).toMatch(new RegExp(`^TypeError: ${op}: .* expected .*, got something else`))
              refused++
            }
            expect(all.every(({ intact }) => intact())).toBe(true)
          }
        }
      }
    }
    expect(refused).toBeGreaterThan(100)
  })

  it('with each argument wrong throws or does its work, and writes nowhere else', () => {
    const gone = new Float32Array(12)
    structuredClone(gone.buffer, { transfer: [gone.buffer] })
    const others = [undefined, null, 5, 'text', Symbol('no'), {}, [1, 2, 3], new DataView(new ArrayBuffer(64)), 5n]
    const arrays = [gone, new Float32Array(0), new Uint8Array(3), new BigInt64Array(4), new Float64Array(1)]
    let refused = 0
    for (const { float32 } of backends) {
      for (const args of good) {
        for (let place = 0; place < args.length; place++) {
          const short = (args[place] as Float32Array).slice(1)
          const odd = new Uint8Array(args[place] instanceof Float64Array ? 4096 : 8192).subarray(1)
          for (const bad of [...others, ...arrays, short, odd]) {
            const all = args.map(guarded)
            const given = all.map(({ array }, i) => (i === place ? bad : array))
            try {
              ;(float32.run[op] as Function)(...given)
            } catch (error) {
              expect(String(error)).toMatch(new RegExp(`^TypeError: ${op}: .* expected .*, got something else`))
              refused++
            }
            expect(all.every(({ intact }) => intact())).toBe(true)
          }
        }
        expect(() => (float32.run[op] as Function)()).toThrow(TypeError)
        expect(() => (float32.run[op] as Function)(...args, ...args, ...args)).not.toThrow()
      }
    }
    expect(refused).toBeGreaterThan(100)
  })

  it('prepares a layer of good parameters alone, whose calls take two arrays of as many whole rows', () => {
    const shape = { outer: 0, size: 24, inner: 1 }
    const numbers = { residualScale: 1, eps: 1e-5, counted: 24, weightOffset: 0, p: 2, rule: 0, factor: 1 }
    for (const { float32 } of backends) {
      const prepare = float32.prepare[op] as Function | undefined
      if (!prepare) continue
      const weight = new Float32Array(24).fill(1)
      const args = argumentsOf(op, { weight, shape, ...numbers })
      const layer = prepare(...args) as Function
      const [x, y] = [new Float32Array(48).fill(3), new Float32Array(48)]
      layer(y, x)
      expect(y.some(value => value !== 0) || op === 'layer_norm').toBe(true)
      // Its rows are dense, whatever strides it was prepared with: there was no memory to hold them against.
      const far = prepare(...argumentsOf(op, { weight, shape, strides: { y: 5, x: 2 ** 20 }, ...numbers })) as Function
      const guards = [x, y].map(guarded)
      far(guards[1].array, guards[0].array)
      expect(guards.every(({ intact }) => intact())).toBe(true)
      expect(guards[1].array).toEqual(y)
      const gone = new Float32Array(48)
      structuredClone(gone.buffer, { transfer: [gone.buffer] })
      for (const bad of [undefined, null, 5, 'text', {}, gone, new Float32Array(47), new Float32Array(0), [1]]) {
        expect(() => layer(bad, x)).toThrow(TypeError)
        expect(() => layer(y, bad)).toThrow(TypeError)
      }
      expect(() => layer(new Float32Array(24), x)).toThrow(TypeError)
      expect(() => layer()).toThrow(TypeError)
      // Rows, arrays of each call and a short weight have no place in a layer.
      for (const wrong of [
        { weight: new Float32Array(23), shape, ...numbers },
        { x, y, weight, shape: { outer: 2, size: 24, inner: 1 }, ...numbers },
        { y, weight, shape, ...numbers },
        { weight, shape: { outer: 0, size: 24, inner: 2 }, ...numbers },
        { weight, shape: { outer: 0, size: 0, inner: 1 }, ...numbers }
      ]) {
        if (op === 'normalize' && wrong.weight.length < 24) continue
        expect(() => prepare(...argumentsOf(op, wrong))).toThrow(TypeError)
      }
    }
  })
})
