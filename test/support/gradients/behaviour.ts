// What the behaviour tests of the gradients share: errors before anything is written, and what is returned.
import { Tensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { fill, normal } from '../../../dist/esm/cases/data.js'
import { expectSameBits } from '../bits.ts'
import { detach, type Kind, refuses } from '../refusal.ts'
import type { Loose } from './results.ts'

type Options = { [name: string]: unknown }

export interface GradientBehaviour {
  /** Of the function, in its messages. */
  readonly name: string
  /** Of the layer, in its. */
  readonly className: string
  /** A call with the shape or the options that it cannot do without. */
  call(dy: Loose, x: Loose, options?: Loose): Loose
  layer(options?: Loose): Loose
  /** Of x in the tests: three rows of four elements, or three samples of four channels and two positions. */
  readonly dims: readonly number[]
  /** Whether x may be an array. */
  readonly arrays: boolean
  /** Statistics that may be given, with their lengths. */
  readonly saved: { readonly [name: string]: number }
  /** Gradients of parameters, with their lengths. */
  readonly sums: { readonly [name: string]: number }
  /** Options whose presence asks for sums. */
  readonly asks: readonly (readonly [Options, readonly string[]])[]
  readonly hasResidual: boolean
}

export function testGradientBehaviour(op: GradientBehaviour): void {
  const { name, className, dims, saved, sums } = op
  const n = dims.reduce((product, dim) => product * dim, 1)
  const x = fill(normal, n, 1)
  const dy = fill(normal, n, 2)
  /** As the op takes it. */
  const as = (data: unknown, own: readonly number[] = dims): Loose => (op.arrays ? data : { data, dims: own })
  const tensor = (data: unknown, own: readonly number[] = dims): Loose => ({ data, dims: own })
  const dataOf = (result: Loose): Float32Array => (ArrayBuffer.isView(result) ? result : result.data) as Float32Array
  const places = () => ({
    dx: new Float32Array(n).fill(7),
    ...Object.fromEntries(Object.entries(sums).map(([what, length]) => [what, new Float32Array(length).fill(7)])),
    ...(op.hasResidual ? { dresidual: new Float32Array(n).fill(7) } : {})
  })

  /** Fails unless the call is refused with these words and leaves every array as it is. */
  function fails(arriving: unknown, given: unknown, options: Options, kind: Kind, ...words: (string | RegExp)[]) {
    const all = { ...places(), ...options }
    const arrays = [x, dy, ...Object.values(all).filter(one => one instanceof Float32Array)] as Float32Array[]
    refuses(() => op.call(arriving, given, all), arrays, name, kind, ...words)
  }

  describe(`behaviour: errors of ${name}`, () => {
    it('refuses a dy or an x that is neither Float32Array nor a tensor of float32', () => {
      for (const bad of [undefined, null, [1, 2], { data: x }, new Float64Array(n), 'x']) {
        fails(bad, as(x), {}, TypeError, 'dy')
        fails(as(dy), bad, {}, TypeError, 'x')
      }
      fails(tensor(new Float64Array(n)), as(x), {}, TypeError, 'dy')
      fails({ type: 'float16', data: new Uint16Array(n), dims }, as(x), {}, TypeError, 'dy')
    })

    it('refuses a dy of another length or other dims than x', () => {
      fails(as(dy.slice(1), [n - 1]), as(x), {}, RangeError, 'dy')
      fails(as(fill(normal, n * 2, 3), [2, ...dims]), as(x), {}, RangeError, 'dy')
      fails(tensor(dy, [...dims].reverse()), tensor(x), {}, RangeError, 'dy')
      fails(tensor(dy, [n]), tensor(x), {}, RangeError, 'dy')
      fails(tensor(dy, [...dims, 2]), tensor(x), {}, RangeError, 'dy')
    })

    it('refuses places of the wrong length or kind', () => {
      for (const what of Object.keys(places())) {
        const length = what === 'dx' || what === 'dresidual' ? n : sums[what]
        fails(as(dy), as(x), { [what]: new Float32Array(length + 1) }, RangeError, what)
        fails(as(dy), as(x), { [what]: new Float64Array(length) }, TypeError, what)
        fails(as(dy), as(x), { [what]: [0] }, TypeError, what)
        fails(as(dy), as(x), { [what]: null }, TypeError, what)
      }
    })

    it('refuses statistics that are not both there, of the forward’s type and length', () => {
      for (const [what, length] of Object.entries(saved)) {
        const all = Object.fromEntries(Object.entries(saved).map(([one, size]) => [one, new Float64Array(size)]))
        fails(as(dy), as(x), { ...all, [what]: new Float32Array(length) }, TypeError, what, 'Float64Array')
        fails(as(dy), as(x), { ...all, [what]: [1] }, TypeError, what)
        fails(as(dy), as(x), { ...all, [what]: new Float64Array(length + 1) }, RangeError, what)
        if (Object.keys(saved).length > 1) {
          fails(as(dy), as(x), { ...all, [what]: undefined }, Error, what)
        }
      }
    })

    it('refuses what overlaps, but for dx that is exactly an input', () => {
      const memory = new Float32Array(4 * n + 64)
      const at = (start: number, length = n) => memory.subarray(start, start + length)
      const [a, b] = [as(at(0)), as(at(2 * n))]
      fails(a, b, { dx: at(1) }, RangeError, 'dx', 'dy')
      fails(a, b, { dx: at(2 * n + 1) }, RangeError, 'dx', 'x')
      fails(a, b, { dx: at(2 * n - 1) }, RangeError, 'dx')
      for (const [what, length] of Object.entries(sums)) {
        fails(a, b, { [what]: at(n - 1, length) }, RangeError, what, 'dy')
        fails(a, b, { [what]: at(0, length) }, RangeError, what, 'dy')
        fails(a, b, { [what]: at(2 * n, length) }, RangeError, what, 'x')
        fails(a, b, { [what]: at(3 * n, length), dx: at(3 * n) }, RangeError, what, 'dx')
      }
      if ('dweight' in sums && 'dbias' in sums) {
        fails(a, b, { dweight: at(3 * n, 4), dbias: at(3 * n + 3, 4) }, RangeError, 'dweight', 'dbias')
        fails(a, b, { weight: at(3 * n, 4), dweight: at(3 * n, 4) }, RangeError, 'dweight', 'weight')
      }
      if (op.hasResidual) {
        fails(a, b, { dresidual: at(2 * n + 1) }, RangeError, 'dresidual', 'x')
        fails(a, b, { dresidual: at(3 * n), dx: at(3 * n) }, RangeError, 'dresidual', 'dx')
        fails(a, b, { dsum: at(3 * n), dx: at(3 * n + 1) }, RangeError, 'dx', 'dsum')
      }
      const wide = new Float64Array(2 * n + 8)
      const narrow = new Float32Array(wide.buffer)
      for (const [what, length] of Object.entries(saved)) {
        const all = Object.fromEntries(Object.entries(saved).map(([one, size]) => [one, new Float64Array(size)]))
        const own = { ...all, [what]: wide.subarray(0, length) }
        fails(as(dy), as(x), { ...own, dx: narrow.subarray(1, 1 + n) }, RangeError, 'dx', what)
        fails(as(dy), as(x), { ...own, dx: narrow.subarray(0, n) }, RangeError, 'dx', what)
      }
    })

    it('refuses detached memory and views with strides', () => {
      const gone = () => detach(new Float32Array(n))
      fails(as(gone()), as(x), {}, Error, 'dy')
      fails(as(dy), as(gone()), {}, Error, 'x')
      fails(as(dy), as(x), { dx: gone() }, Error, 'dx')
      const strides = [...dims].map((_, d) => dims.slice(d + 1).reduce((product, dim) => product * dim, 1) + 1)
      fails({ data: dy, dims, strides }, tensor(x), {}, RangeError, 'dy')
      fails(tensor(dy), { data: x, dims, strides }, {}, RangeError, 'x')
      fails({ data: dy, dims, offset: 1 }, tensor(x), {}, RangeError, 'dy')
    })

    it('refuses an unknown option, and those of the forward that are places for its results', () => {
      fails(as(dy), as(x), { epsilon: 1 }, TypeError, 'epsilon', 'here it is called eps')
      fails(as(dy), as(x), { dwieght: x }, TypeError, 'dwieght')
      fails(as(dy), as(x), { out: new Float32Array(n) }, TypeError, 'out')
      fails(as(dy), as(x), { eps: -1 }, RangeError, 'eps')
      fails(as(dy), as(x), { eps: Number.NaN }, RangeError, 'eps')
      fails(as(dy), as(x), { eps: '1' }, TypeError, 'eps')
      expect(() => op.call(as(dy), as(x), null)).toThrow(TypeError)
      expect(() => op.call(as(dy), as(x), [])).toThrow(TypeError)
    })

    if (op.hasResidual)
      it('refuses a residual, a dsum and a scale that are none', () => {
        for (const what of ['residual', 'dsum']) {
          fails(as(dy), as(x), { [what]: x.slice(1) }, RangeError, what)
          fails(as(dy), as(x), { [what]: [1] }, TypeError, what)
          fails(as(dy), as(x), { [what]: detach(new Float32Array(n)) }, Error, what)
        }
        fails(as(dy), as(x), { residual: x, residualScale: Number.NaN }, RangeError, 'residualScale')
        fails(as(dy), as(x), { residual: x, residualScale: 3.5e38 }, RangeError, 'residualScale')
      })

    it('refuses in a layer what it refuses in the function, at once and async', async () => {
      const layer = op.layer()
      refuses(() => layer.backward(as(dy.slice(1), [n - 1]), as(x)), [x, dy], className, RangeError, 'dy')
      refuses(() => layer.backward(as(dy), as(x), { weight: x }), [x, dy], className, TypeError, 'weight')
      refuses(() => layer.backward(as(dy), as(x), { dx: new Float32Array(1) }), [x, dy], className, RangeError, 'dx')
      const later = async (options: Options, kind: typeof TypeError | typeof RangeError, word: string) => {
        const promise = layer.backwardAsync(as(dy), as(x), options)
        await expect(promise).rejects.toThrow(kind)
        await expect(promise).rejects.toThrow(word)
      }
      await later({ dx: new Float32Array(1) }, RangeError, 'dx')
      await later({ transfer: 1 }, TypeError, 'transfer')
      await later({ transfer: true, dx: dy }, TypeError, 'transfer')
      expect([x.length, dy.length]).toEqual([n, n])
    })

    it('takes for an error, and writes nothing, what getters change under its hands', () => {
      const own = dy.slice()
      const given = { ...places() }
      const call = () =>
        op.call(as(own), as(x), {
          ...given,
          get dx() {
            detach(own)
            return given.dx
          }
        })
      expect(call).toThrow(`${name}: `)
      for (const place of Object.values(given)) expect(place.every(value => value === 7)).toBe(true)
    })
  })

  describe(`behaviour: results of ${name}`, () => {
    it('returns what is asked for, and nothing else', () => {
      const names = ['dx', 'dweight', 'dbias', 'dresidual', 'dscale']
      const check = (options: Options, expected: readonly string[]) => {
        const result = op.call(as(dy), as(x), options)
        const there = names.filter(one => result[one] !== undefined)
        expect(there.sort(), Object.keys(options).join()).toEqual(['dx', ...expected].sort())
        expect(Object.keys(result).every(one => names.includes(one))).toBe(true)
        for (const [what, length] of Object.entries(sums)) {
          if (expected.includes(what)) expect(result[what]).toBeInstanceOf(Float32Array)
          if (expected.includes(what)) expect(result[what].length).toBe(length)
        }
      }
      check({}, [])
      for (const [options, expected] of op.asks) check(options, expected)
      for (const [what, place] of Object.entries(places())) check({ [what]: place }, what === 'dx' ? [] : [what])
      if (op.hasResidual) check({ residual: x.slice() }, ['dresidual'])
    })

    it('gives arrays for arrays, tensors for tensors, and makes new memory where there is no place', () => {
      const expected = dataOf(op.call(as(dy), as(x)).dx)
      const own = tensor(x)
      const plain = op.call(tensor(dy), own).dx
      expect(plain.dims).toEqual(dims)
      expect(plain.data).not.toBe(x)
      expectSameBits(plain.data, expected, 'plain tensor')
      const onnx = op.call(new Tensor('float32', dy, dims), new Tensor('float32', x, dims)).dx
      expect(onnx).toBeInstanceOf(Tensor)
      expectSameBits(onnx.data as Float32Array, expected, 'onnxruntime')
      const place = tensor(new Float32Array(n))
      expect(op.call(tensor(dy), own, { dx: place }).dx).toBe(place)
      expectSameBits(place.data, expected, 'place')
      const shared = new Float32Array(new SharedArrayBuffer(4 * n))
      shared.set(dy)
      const inPlace = op.call(as(shared), as(x), { dx: as(shared) }).dx
      expectSameBits(dataOf(inPlace), expected, 'shared, in place')
      if (op.hasResidual) {
        const { dx, dresidual } = op.call(tensor(dy), own, { residual: tensor(x) })
        expect(dresidual.dims).toEqual(dims)
        expect(dataOf(dresidual)).not.toBe(dataOf(dx))
      }
    })

    it('gives empty results and sums of 0 for nothing', () => {
      const none = [0, ...dims.slice(1)]
      const result = op.call(as(new Float32Array(0), none), as(new Float32Array(0), none), {
        ...Object.fromEntries(Object.entries(sums).map(([what, length]) => [what, new Float32Array(length).fill(7)]))
      })
      expect(dataOf(result.dx).length).toBe(0)
      for (const [what, length] of Object.entries(sums)) {
        expectSameBits(result[what], new Float32Array(length), what)
      }
    })

    it('turns a group with NaN into NaN and no other', () => {
      const expected = dataOf(op.call(as(dy), as(x)).dx)
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const broken = dataOf(op.call(as(dy.with(1, bad)), as(x)).dx)
        expect(Number.isFinite(broken[1])).toBe(false)
        expectSameBits(broken.slice(n - 1), expected.slice(n - 1), 'another group')
      }
    })
  })
}
