// Behaviour that all row operations share: errors before anything is written, memory rules, arrays and tensors.
import { Tensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { fill, normal } from '../../../dist/esm/cases/data.js'
import { expectSameBits } from '../bits.ts'

// The options of row operations, of any kind: wrong ones are what is tested.
type Loose = { [name: string]: unknown }
// biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tested
type Operation = (x: any, normalizedShape: any, options?: any) => any
interface Layer {
  // biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tested
  forward(x: any, options?: any): any
  // biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tested
  setWeights(weights: any): void
}

export function testRowBehaviour(
  name: string,
  operation: Operation,
  // biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tested
  layer: (shape: any, options: any) => Layer,
  statistics: readonly string[]
): void {
  const x = fill(normal, 12, 1)
  const weight = fill(normal, 4, 2)
  const className = name[0].toUpperCase() + name.slice(1).replace('msNorm', 'MSNorm')

  /** Fails unless the call throws this, and leaves x and `out` untouched. */
  function refuses(given: unknown, shape: unknown, options: Loose | undefined, kind: typeof Error, message: string) {
    const out = Float32Array.from((options?.out ?? []) as Float32Array)
    const before = x.slice()
    const call = () => operation(given, shape, options)
    expect(call).toThrow(kind)
    expect(call).toThrow(`${name}: ${message}`)
    expectSameBits(x, before, 'x')
    expectSameBits(Float32Array.from((options?.out ?? []) as Float32Array), out, 'out')
  }

  describe(`behaviour: errors of ${name}`, () => {
    it('refuses an x that is neither Float32Array nor a tensor of float32', () => {
      const either = 'x expected Float32Array or a tensor { data, dims }, got'
      refuses(undefined, 4, undefined, TypeError, `${either} undefined`)
      refuses(null, 4, undefined, TypeError, `${either} null`)
      refuses([1, 2, 3, 4], 4, undefined, TypeError, `${either} [1, 2, 3, 4]`)
      refuses({ data: x }, 4, undefined, TypeError, `${either} an object`)
      refuses(new Float64Array(4), 4, undefined, TypeError, 'x expected Float32Array, got Float64Array')
      refuses(new DataView(new ArrayBuffer(16)), 4, undefined, TypeError, `${either} an object of class DataView`)
      refuses({ data: [1, 2], dims: [2] }, 2, undefined, TypeError, 'x.data expected Float32Array, got [1, 2]')
      const half = { type: 'float16', data: new Float32Array(4), dims: [4] }
      refuses(
        half,
        4,
        undefined,
        TypeError,
        'x.data expected Float16Array or Uint16Array (type float16), got Float32Array'
      )
      const integers = { type: 'int32', data: new Int32Array(4), dims: [4] }
      refuses(integers, 4, undefined, TypeError, 'x.type expected float32, float16 or bfloat16, got int32')
    })

    it('refuses dims that are not those of the data', () => {
      refuses(
        { data: x, dims: [3, 5] },
        5,
        undefined,
        RangeError,
        'x.data.length expected 15 (the product of x.dims), got 12'
      )
      refuses({ data: x, dims: [-3, -4] }, 4, undefined, RangeError, 'x.dims expected integers >= 0, got [-3, -4]')
      refuses({ data: x, dims: [1.5, 8] }, 8, undefined, RangeError, 'x.dims expected integers >= 0, got [1.5, 8]')
      refuses({ data: x, dims: '12' }, 12, undefined, TypeError, 'x.dims expected an array of numbers, got "12"')
    })

    it('refuses a normalizedShape that is no shape, or not that of x', () => {
      const positive = 'normalizedShape expected a positive integer or an array of them, got'
      refuses(x, '4', undefined, TypeError, `${positive} "4"`)
      refuses(x, undefined, undefined, TypeError, `${positive} undefined`)
      refuses(x, { axes: 1 }, undefined, TypeError, `${positive} an object`)
      refuses(x, { axis: 1 }, undefined, TypeError, 'x expected a tensor { data, dims }, because axis is given')
      refuses(x, ['4'], undefined, TypeError, `${positive} ["4"]`)
      for (const bad of [0, -4, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
        refuses(x, bad, undefined, RangeError, `${positive} ${bad}`)
      }
      refuses(x, [], undefined, RangeError, `${positive} []`)
      refuses(x, [2, 0], undefined, RangeError, `${positive} [2, 0]`)
      refuses(x, 5, undefined, RangeError, 'x.length expected a multiple of 5 (normalizedShape), got 12')
      const tensor = { data: x, dims: [3, 4] }
      refuses(tensor, 3, undefined, RangeError, 'normalizedShape expected the last dims of x, [3, 4], got [3]')
      refuses(tensor, 12, undefined, RangeError, 'normalizedShape expected the last dims of x, [3, 4], got [12]')
      refuses(
        tensor,
        [1, 3, 4],
        undefined,
        RangeError,
        'normalizedShape expected the last dims of x, [3, 4], got [1, 3, 4]'
      )
    })

    it('refuses options that are wrong in kind or length', () => {
      const out = new Float32Array(12)
      refuses(x, 4, { out, weight: [1, 2, 3, 4] }, TypeError, 'weight expected Float32Array or a tensor { data, dims }')
      refuses(
        x,
        4,
        { out, weight: null },
        TypeError,
        'weight expected Float32Array or a tensor { data, dims }, got null'
      )
      refuses(x, 4, { out, weight: x }, RangeError, 'weight.length expected 4 (normalizedShape), got 12')
      refuses(x, 4, { out, residual: weight }, RangeError, 'residual.length expected 12 (x.length), got 4')
      refuses(x, 4, { out: weight.slice() }, RangeError, 'out.length expected 12 (x.length), got 4')
      refuses(x, 4, { out: new Float64Array(12) }, TypeError, 'out expected Float32Array, got Float64Array')
      refuses(x, 4, { out, sum: new Float32Array(12) }, TypeError, 'residual expected an array, because sum is given')
      refuses(x, 4, { out, residual: x, sum: weight.slice() }, RangeError, 'sum.length expected 12 (x.length), got 4')
      for (const what of statistics) {
        refuses(
          x,
          4,
          { out, [what]: [0, 0, 0] },
          TypeError,
          `${what} expected Float32Array or Float64Array, got [0, 0, 0]`
        )
        refuses(x, 4, { out, [what]: new Float64Array(4) }, RangeError, `${what}.length expected 3 (rows), got 4`)
      }
    })

    it('refuses an eps that is not finite and >= 0', () => {
      const out = new Float32Array(12)
      refuses(x, 4, { out, eps: Number.NaN }, RangeError, 'eps expected a finite number, got NaN')
      refuses(x, 4, { out, eps: Number.POSITIVE_INFINITY }, RangeError, 'eps expected a finite number, got Infinity')
      refuses(x, 4, { out, eps: -1e-9 }, RangeError, 'eps expected a finite number >= 0, got -1e-9')
      refuses(x, 4, { out, eps: '1e-5' }, TypeError, 'eps expected a number, got "1e-5"')
      refuses(x, 4, { out, eps: 1n }, TypeError, 'eps expected a number, got 1n')
    })

    it('refuses a residualScale that is not finite, or stands alone', () => {
      const out = new Float32Array(12)
      const residual = new Float32Array(12)
      const finite = 'residualScale expected a finite number, got'
      refuses(x, 4, { out, residual, residualScale: Number.NaN }, RangeError, `${finite} NaN`)
      refuses(x, 4, { out, residual, residualScale: Number.POSITIVE_INFINITY }, RangeError, `${finite} Infinity`)
      refuses(x, 4, { out, residual, residualScale: '2' }, TypeError, 'residualScale expected a number, got "2"')
      const narrow = 'residualScale as float32 expected a finite number, got Infinity'
      refuses(x, 4, { out, residual, residualScale: 3.5e38 }, RangeError, narrow)
      refuses(x, 4, { out, residualScale: 2 }, TypeError, 'residual expected an array, because residualScale is given')
      expectSameBits(operation(x, 4, { residualScale: 1 }), operation(x, 4), '1 needs no residual')
    })

    it('refuses an unknown option and names the nearest', () => {
      expect(() => operation(x, 4, { wieght: weight })).toThrow(TypeError)
      expect(() => operation(x, 4, { wieght: weight })).toThrow(
        /option expected one of .*nearest: weight\), got "wieght"/
      )
      expect(() => operation(x, 4, { epsilon: 1 })).toThrow(/got "epsilon"; here it is called eps$/)
      refuses(x, 4, x as unknown as Loose, TypeError, 'options expected an object, got Float32Array')
      expect(() => operation(x, 4, [])).toThrow(`${name}: options expected an object, got []`)
      expect(() => operation(x, 4, null)).toThrow(`${name}: options expected an object, got null`)
    })

    it('refuses overlaps other than in place', () => {
      const memory = new Float32Array(64)
      const at = (start: number, length = 12) => memory.subarray(start, start + length)
      const part = (what: string, other: string) =>
        `${what} expected exactly the memory of ${other}, or none of it, got a part`
      const none = (what: string, other: string) => `${what} expected no memory shared with ${other}, got an overlap`
      const refusesHere = (given: Float32Array, options: Loose, message: string) =>
        refuses(given, 4, options, RangeError, message)
      refusesHere(at(0), { out: at(1) }, part('out', 'x'))
      refusesHere(at(11), { out: at(0) }, part('out', 'x'))
      refusesHere(at(0), { residual: at(20), out: at(31) }, part('out', 'residual'))
      refusesHere(at(0), { residual: at(20), sum: at(3) }, part('sum', 'x'))
      refusesHere(at(0), { weight: at(20, 4), out: at(23) }, none('out', 'weight'))
      refusesHere(at(0), { residual: at(0), out: at(20), sum: at(20) }, none('sum', 'out'))
      refusesHere(at(0), { residual: at(20), weight: at(44, 4), sum: at(40) }, none('sum', 'weight'))
      for (const what of statistics) {
        refusesHere(at(0), { [what]: at(2, 3) }, none(what, 'x'))
        refusesHere(at(0), { [what]: at(20, 3), out: at(20) }, none(what, 'out'))
        refusesHere(at(0), { [what]: at(20, 3), weight: at(22, 4) }, none(what, 'weight'))
      }
      if (statistics.length > 1) refusesHere(at(0), { mean: at(20, 3), rstd: at(22, 3) }, none('rstd', 'mean'))
      operation(at(0), 4, { out: at(12), weight: at(24, 4), [statistics[0]]: at(28, 3) }) // side by side
    })

    it('refuses a detached array instead of taking it for an empty one', () => {
      const gone = new Float32Array(12)
      structuredClone(gone.buffer, { transfer: [gone.buffer] })
      refuses(gone, 4, undefined, TypeError, 'x expected an array with memory, got a detached one')
      const call = () => operation(new Float32Array(0), 4, { out: gone })
      expect(call).toThrow(`${name}: out expected an array with memory, got a detached one`)
    })

    it('refuses in a layer what it refuses in the function', () => {
      expect(() => layer(0, {})).toThrow(`${className}: normalizedShape expected a positive integer`)
      expect(() => layer(4, { weight: x })).toThrow(`${className}: weight.length expected 4 (normalizedShape), got 12`)
      expect(() => layer(4, { eps: -1 })).toThrow(`${className}: eps expected a finite number >= 0, got -1`)
      expect(() => layer(4, { out: x })).toThrow(/option expected one of .* got "out"/)
      expect(() => layer(4, {}).forward(x, { weight })).toThrow(/option expected one of .* got "weight"/)
      expect(() => layer(4, {}).forward(x.subarray(1))).toThrow(`${className}: x.length expected a multiple of 4`)
      expect(() => layer(4, {}).setWeights({ weight: x })).toThrow(`${className}: weight.length expected 4`)
    })
  })

  describe(`behaviour: memory and tensors of ${name}`, () => {
    it('returns out itself, and new memory where there is none', () => {
      const out = new Float32Array(12)
      expect(operation(x, 4, { out })).toBe(out)
      expect(operation(x, 4)).not.toBe(x)
      expectSameBits(operation(x, 4), out, 'new memory')
      const inPlace = x.slice()
      expect(operation(inPlace, 4, { out: inPlace })).toBe(inPlace)
      expectSameBits(inPlace, out, 'in place')
    })

    it('gives an empty result for zero rows', () => {
      expect(operation(new Float32Array(0), 4)).toEqual(new Float32Array(0))
      expect(operation({ data: new Float32Array(0), dims: [0, 4] }, 4)).toEqual({
        data: new Float32Array(0),
        dims: [0, 4]
      })
      const given = Object.fromEntries(statistics.map(what => [what, new Float64Array(0)]))
      expect(operation(new Float32Array(0), 4, given)).toEqual(new Float32Array(0))
    })

    it('takes arrays on shared and on resizable memory', () => {
      const expected = operation(x, 4)
      const shared = new Float32Array(new SharedArrayBuffer(48))
      shared.set(x)
      expectSameBits(operation(shared, 4, { out: shared }), expected, 'shared')
      // lib es2024 types have it; the constructor's second argument is there from Node.js 20 on.
      const resizable = new ArrayBuffer(48, { maxByteLength: 96 })
      const tracking = new Float32Array(resizable)
      tracking.set(x)
      expectSameBits(operation(tracking, 4), expected, 'resizable')
      resizable.resize(96)
      expect(operation(tracking, 4).length).toBe(24)
      resizable.resize(16)
      expectSameBits(operation(tracking, 4), expected.subarray(0, 4), 'shrunk')
    })

    it('gives back a plain tensor for a plain tensor, with its type where it has one', () => {
      const plain = operation({ data: x, dims: [3, 4] }, 4)
      expect(Object.keys(plain)).toEqual(['data', 'dims'])
      expect(plain.dims).toEqual([3, 4])
      expect(operation({ type: 'float32', data: x, dims: [3, 4] }, 4).type).toBe('float32')
    })

    it('gives back a tensor of onnxruntime for one, and takes them for every operand', () => {
      const tensor = (data: Float32Array, dims: number[]) => new Tensor('float32', data, dims)
      const given = tensor(x, [3, 4])
      const y = operation(given, 4, { weight: tensor(weight, [4]), residual: given })
      expect(y).toBeInstanceOf(Tensor)
      expect(y.dims).toEqual([3, 4])
      expectSameBits(y.data, operation(x, 4, { weight, residual: x }), 'tensor')
      const out = tensor(new Float32Array(12), [3, 4])
      expect(operation(given, 4, { out })).toBe(out)
      expectSameBits(out.data as Float32Array, operation(x, 4), 'out')
      expect(() => operation(new Tensor('float64', new Float64Array(4), [4]), 4)).toThrow(
        `${name}: x.type expected float32, float16 or bfloat16, got float64`
      )
    })

    it('gives back a plain tensor where the class of x cannot be made from type, data and dims', () => {
      class Odd {
        data = x
        dims = [3, 4]
      }
      expect(operation(new Odd(), 4)).toEqual({ data: operation(x, 4), dims: [3, 4] })
    })

    it('copies the weights of a layer, and replaces them by setWeights', () => {
      const own = weight.slice()
      const prepared = layer(4, { weight: own })
      own.fill(0)
      expectSameBits(prepared.forward(x), operation(x, 4, { weight }), 'copied')
      prepared.setWeights({})
      expectSameBits(prepared.forward(x), operation(x, 4), 'none')
    })

    it('takes for an error, and writes nothing, what getters and constructors change under its hands', () => {
      const detach = (array: Float32Array) =>
        void structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] })
      const out = new Float32Array(4).fill(7)
      const own = weight.slice()
      const whole = x.slice(0, 4)
      const tensor = new (class Trap {
        data = x.slice(0, 4)
        dims = [1, 4]
        constructor(_type?: string, data?: Float32Array) {
          if (data) detach(tensor.data)
        }
      })()
      const flickering = {
        data: x.slice(0, 6),
        reads: 0,
        get dims() {
          return this.reads++ === 0 ? [6] : [1, 4]
        }
      }
      const hostile: (() => unknown)[] = [
        () =>
          operation(x.slice(0, 4), 4, {
            out,
            weight: own,
            get [statistics[0]]() {
              detach(own)
              return undefined
            }
          }),
        () =>
          operation(whole, 4, {
            get out() {
              detach(whole)
              return out
            }
          }),
        () => operation(tensor, 4),
        () => operation(flickering, 4, { out })
      ]
      for (const call of hostile) expect(call).toThrow(`${name}: `)
      expect(out.every(value => value === 7)).toBe(true)
    })

    it('goes by the memory of an array and not by properties that somebody gave it', () => {
      const forged = Object.defineProperty(x.slice(0, 4), 'length', { value: 2 ** 50 })
      expectSameBits(new Float32Array(operation(forged, 4, { out: forged })), operation(x.slice(0, 4), 4), 'length')
      const memory = new Float32Array(16)
      const out = Object.defineProperty(memory.subarray(1, 5), 'buffer', { value: new ArrayBuffer(0) })
      expect(() => operation(memory.subarray(0, 4), 4, { out })).toThrow('none of it, got a part')
    })

    it('takes subclasses of Float32Array for what they hold', () => {
      class Named extends Float32Array {
        constructor(
          readonly label: string,
          length: number
        ) {
          super(length)
        }
        static get [Symbol.species]() {
          return Float64Array as never
        }
        slice() {
          return this
        }
      }
      const named = new Named('weight', 4)
      named.set(weight)
      const prepared = layer(4, { weight: named })
      const expected = operation(x, 4, { weight })
      expectSameBits(operation(x, 4, { weight: named }), expected, 'function')
      named.fill(0)
      expectSameBits(prepared.forward(x), expected, 'layer')
    })

    it('refuses a view past the end of a buffer that shrank', () => {
      const buffer = new ArrayBuffer(16, { maxByteLength: 32 })
      const view = new Float32Array(buffer, 0, 4)
      buffer.resize(0)
      expect(() => operation(view, 4)).toThrow(`${name}: x expected an array with memory, got a detached one`)
    })

    it('does not take properties of Object.prototype for options', () => {
      Object.defineProperty(Object.prototype, 'foo', { value: 1, enumerable: true, configurable: true })
      try {
        expectSameBits(operation(x, 4, { [statistics[0]]: new Float64Array(3) }), operation(x, 4), 'foo')
      } finally {
        delete (Object.prototype as { foo?: number }).foo
      }
      expect(() => operation(x, 4, { eps: null })).toThrow(`${name}: eps expected a number, got null`)
    })
  })
}
