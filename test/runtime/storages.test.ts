// Calls of the native binary that say how their arrays stand in memory: types of 16 bits and views. Said wrongly, or of arrays that
// are too short, they throw or do their work, and never touch other memory.
import { describe, expect, it } from 'vitest'
import { native } from '../../dist/esm/backend/native.js'
import { type Case, runCase, storedCases } from '../../dist/esm/cases/index.js'
import { storedOver } from '../../dist/esm/kernels/arrays.js'
import { types16 } from '../../dist/esm/kernels/elements.js'
import { kernels, type Op, ops } from '../../dist/esm/kernels/index.js'
import { exactArguments, guarded, type NativeFunction, wrongNumbers } from '../support/native_calls.ts'
import { long } from '../support/process.ts'

const backends = native.addon?.backends ?? []

/** The first number of calls whose storages follow, and where the numbers of a dense call then begin. */
const HAS_STORAGES = 2 ** 16
const HEADER = 3

/** Copies in memory of exactly their length. */
const copied = (args: readonly unknown[]) => args.map(array => (array as Uint16Array).slice())

/** Good calls of an op with elements of 16 bits. */
function goodCalls(op: Op): unknown[][] {
  const out: unknown[][] = []
  const recording = { ...kernels, [op]: (call: object) => void out.push(copied(exactArguments(op, call))) }
  for (const type of types16) {
    const small = [...storedCases(op, type)].filter(({ x }: Case) => x.length <= 3000)
    const every = long ? Math.ceil(small.length / 6) : small.length
    for (let i = 0; i < small.length; i += every) runCase(op, recording, small[i])
  }
  return out
}

describe.skipIf(backends.length === 0).each(ops)('behaviour: %s of the native binary with storages', op => {
  const good = goodCalls(op)
  const message = new RegExp(`^${op}: .* expected .*, got something else`)

  /** Calls with guards around all arrays; whether it was refused. */
  function isRefused(run: NativeFunction, numbers: Float64Array, arrays: readonly unknown[]): boolean {
    const all = arrays.map(guarded)
    let refused = false
    try {
      run(numbers, ...all.map(({ array }) => array))
    } catch (error) {
      expect(error).toBeInstanceOf(TypeError)
      expect((error as Error).message).toMatch(message)
      refused = true
    }
    expect(all.every(({ intact }) => intact())).toBe(true)
    return refused
  }

  it('takes good calls', () => {
    expect(good.length).toBeGreaterThan(1)
    for (const { float32 } of backends) {
      for (const [numbers, ...arrays] of good) {
        expect((numbers as Float64Array)[0]).toBeGreaterThanOrEqual(HAS_STORAGES)
        expect(isRefused(float32.run[op] as NativeFunction, numbers as Float64Array, arrays)).toBe(false)
      }
    }
  })

  it('with the types, the views, their dimensions and strides wrong', () => {
    let refused = 0
    const { float32 } = backends[0]
    for (const [block, ...arrays] of good) {
      const numbers = block as Float64Array
      const wrong = [...wrongNumbers, 0b11, 0b1100, 0x55555555, 0xaaaaaaaa, 0xffffffff, 2 ** 40 - 1]
      for (let place = 0; place < 1 + HEADER; place++) {
        for (const bad of wrong) {
          const own = numbers.slice()
          own[place] = place === 0 && bad < HAS_STORAGES ? bad + HAS_STORAGES : bad
          if (isRefused(float32.run[op] as NativeFunction, own, arrays)) refused++
        }
      }
      // Views of 1 to 17 dimensions, of every array, with strides of every kind.
      for (const rank of [1, 2, 16, 17]) {
        for (const dim of long ? [0, 1, 2, 3, 2 ** 31, 2 ** 53 - 1] : [0, 2, 2 ** 53 - 1]) {
          for (const stride of long ? [0, 1, 7, 2 ** 32, 2 ** 53 - 1, -1] : [0, 7, 2 ** 53 - 1]) {
            for (const views of [1, 2, 16, 0xffff]) {
              const shape = new Array(rank).fill(dim)
              const count = [...Array(16).keys()].filter(i => views & (1 << i)).length
              const header = [numbers[1], views, rank, ...shape, ...new Array(count * rank).fill(stride)]
              const own = Float64Array.of(numbers[0], ...header, ...numbers.subarray(1 + HEADER))
              if (isRefused(float32.run[op] as NativeFunction, own, arrays)) refused++
            }
          }
        }
      }
      for (let n = 1; n < 1 + HEADER; n++) {
        expect(isRefused(float32.run[op] as NativeFunction, numbers.slice(0, n), arrays)).toBe(true)
      }
    }
    expect(refused).toBeGreaterThan(100)
  })

  it('with elements said to be of another type, and arrays that are too short or at odd addresses', () => {
    let refused = 0
    const { float32 } = backends[backends.length - 1]
    for (const [block, ...arrays] of good) {
      const numbers = block as Float64Array
      // All float32: the arrays of 16 bits are too short for that.
      const own = numbers.slice()
      own[1] = 0
      if (isRefused(float32.run[op] as NativeFunction, own, arrays)) refused++
      arrays.forEach((array, i) => {
        if (!(array instanceof Uint16Array)) return
        const short = arrays.map((other, k) => (k === i ? array.slice(0, -1) : other))
        expect(isRefused(float32.run[op] as NativeFunction, numbers, short), `array ${i}`).toBe(true)
        const odd = new Uint8Array(2 * array.length + 1).subarray(1)
        const moved = arrays.map((other, k) => (k === i ? odd : other))
        expect(() => (float32.run[op] as NativeFunction)(numbers, ...moved), `array ${i}`).toThrow(message)
        refused += 2
      })
    }
    expect(refused).toBeGreaterThan(2)
  })

  it('prepares no layer of such, and starts no call that is wrong', () => {
    for (const { float32 } of backends) {
      const [[block, ...arrays]] = good
      const short = arrays.map(array => (array instanceof Uint16Array ? array.slice(0, -1) : array))
      expect(() => (float32.start[op] as NativeFunction)(block, ...short)).toThrow(message)
      const prepare = float32.prepare[op] as NativeFunction | undefined
      if (prepare) expect(() => prepare(block, ...arrays)).toThrow(message)
    }
  })
})

describe.skipIf(backends.length === 0)('behaviour: views of the native binary', () => {
  it('are held against the memory of each, to the last element', () => {
    // Two rows of three, a head apart: elements 0 to 2 and 10 to 12.
    const view = (length: number, strides: number[], dims = [2]) =>
      storedOver({ type: 'float16', rows: { dims, strides } }, new ArrayBuffer(2 * length), 0, length)
    const shape = { outer: 2, size: 3, inner: 1 }
    const numbers = {
      sum: undefined,
      mean: undefined,
      rstd: undefined,
      weight: undefined,
      bias: undefined,
      eps: 1,
      residualScale: 1
    }
    for (const { float32 } of backends) {
      const call = (x: Float32Array, y: Float32Array) => () =>
        (float32.run.layer_norm as NativeFunction)(
          ...exactArguments('layer_norm', { ...numbers, residual: undefined, y, x, shape })
        )
      expect(call(view(13, [10]), view(13, [10]))).not.toThrow()
      expect(call(view(12, [10]), view(13, [10]))).toThrow(/^layer_norm: .* expected/)
      expect(call(view(13, [10]), view(12, [10]))).toThrow(/^layer_norm: .* expected/)
      expect(call(view(3, [0]), view(13, [10]))).not.toThrow()
      // As many rows as the shape has, no more and no fewer.
      expect(call(view(13, [1], [3]), view(13, [1], [3]))).toThrow(TypeError)
      expect(call(view(13, [1], [1]), view(13, [1], [1]))).toThrow(TypeError)
    }
  })
})
