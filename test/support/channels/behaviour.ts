// Behaviour that all operations over channels share: errors before anything is written, memory rules, tensors.
import { Tensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { fill, normal } from '../../../dist/esm/cases/data.js'
import { expectSameBits } from '../bits.ts'

type Loose = { [name: string]: unknown }
// biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tested
type Operation = (x: any, options?: any) => any

/** An operation over channels under test. */
export interface ChannelOp {
  /** Of the function, in its messages. */
  readonly name: string
  /** A call with the options that it cannot do without, and these. */
  readonly call: Operation
  /** The layer for four channels; only where there is one. */
  // biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tested
  readonly layer?: (options: any) => { forward: Operation; setWeights(weights: any): void }
  /** Statistics that it writes, with their lengths for x of [3, 4, 2]. */
  readonly written: { readonly [name: string]: number }
  /** Why they have that length. */
  readonly why: string
  /** Whether it has weight, bias and eps. */
  readonly affine: boolean
  readonly padding: boolean
}

export function testChannelBehaviour({ name, call, layer, written, why, affine, padding }: ChannelOp): void {
  const data = fill(normal, 24, 1)
  const dims = [3, 4, 2]
  const x = { data, dims }
  const weight = fill(normal, 4, 2)
  const statistics = Object.keys(written)
  const className = name[0].toUpperCase() + name.slice(1)

  /** Fails unless the call throws this, and leaves x and `out` untouched. */
  function refuses(given: unknown, options: Loose | undefined, kind: typeof Error, message: string) {
    const out = new Float32Array(24).fill(7)
    const before = data.slice()
    const attempt = () => call(given, options && 'out' in options ? options : { out, ...options })
    expect(attempt).toThrow(kind)
    expect(attempt).toThrow(`${name}: ${message}`)
    expectSameBits(data, before, 'x')
    expect(out.every(value => value === 7)).toBe(true)
  }

  describe(`behaviour: errors of ${name}`, () => {
    it('refuses an x that is no tensor of float32 with channels', () => {
      refuses(undefined, {}, TypeError, 'x expected Float32Array or a tensor { data, dims }, got undefined')
      refuses([1, 2], {}, TypeError, 'x expected Float32Array or a tensor { data, dims }, got [1, 2]')
      refuses(data, {}, TypeError, 'x expected a tensor { data, dims }, got Float32Array')
      refuses(new Float64Array(4), {}, TypeError, 'x expected a tensor { data, dims }, got Float64Array')
      const half = { type: 'float16', data: new Float32Array(4), dims: [2, 2] }
      refuses(half, {}, TypeError, 'x.data expected Float16Array or Uint16Array (type float16), got Float32Array')
      const integers = { type: 'int32', data: new Int32Array(4), dims: [2, 2] }
      refuses(integers, {}, TypeError, 'x.type expected float32, float16 or bfloat16, got int32')
      refuses({ data: [1, 2], dims: [1, 2] }, {}, TypeError, 'x.data expected Float32Array, got [1, 2]')
      refuses({ data, dims: [24] }, {}, RangeError, 'x.dims expected at least [N, C], got [24]')
      refuses({ data, dims: [3, 5, 2] }, {}, RangeError, 'x.data.length expected 30 (the product of x.dims), got 24')
      refuses({ data: new Float32Array(0), dims: [2, 0] }, {}, RangeError, 'x.dims expected at least one channel')
      for (const dims of [
        [2 ** 52, 4, 0],
        [0, 4, 2 ** 40],
        [0, 2 ** 31, 2]
      ]) {
        const message = 'x.dims expected a product of at most 2^31 beside the 0'
        refuses({ data: new Float32Array(0), dims }, {}, RangeError, message)
      }
    })

    it('refuses a layout that is none', () => {
      const expected = "layout expected 'channels-first' or 'channels-last', got"
      refuses(x, { layout: 'NCHW' }, RangeError, `${expected} "NCHW"`)
      refuses(x, { layout: 1 }, TypeError, `${expected} 1`)
      refuses(x, { layout: null }, TypeError, `${expected} null`)
    })

    if (affine)
      it('refuses a weight, bias or eps that is wrong in kind or length', () => {
        for (const what of ['weight', 'bias']) {
          refuses(x, { [what]: data }, RangeError, `${what}.length expected 4 (channels), got 24`)
          refuses(
            x,
            { [what]: weight, layout: 'channels-last' },
            RangeError,
            `${what}.length expected 2 (channels), got 4`
          )
          refuses(x, { [what]: [1, 2, 3, 4] }, TypeError, `${what} expected Float32Array or a tensor { data, dims }`)
          refuses(x, { [what]: null }, TypeError, `${what} expected Float32Array or a tensor { data, dims }, got null`)
        }
        refuses(x, { eps: -1e-9 }, RangeError, 'eps expected a finite number >= 0, got -1e-9')
        refuses(x, { eps: Number.NaN }, RangeError, 'eps expected a finite number, got NaN')
        refuses(x, { eps: '1' }, TypeError, 'eps expected a number, got "1"')
      })

    it('refuses outputs that are wrong in kind or length', () => {
      refuses(x, { out: weight }, RangeError, 'out.length expected 24 (x.data.length), got 4')
      refuses(x, { out: new Float64Array(24) }, TypeError, 'out expected Float32Array, got Float64Array')
      for (const [what, length] of Object.entries(written)) {
        refuses(x, { [what]: [1] }, TypeError, `${what} expected Float32Array or Float64Array, got [1]`)
        refuses(x, { [what]: new Float64Array(23) }, RangeError, `${what}.length expected ${length} (${why}), got 23`)
      }
    })

    it('refuses an unknown option and names the nearest', () => {
      expect(() => call(x, { layuot: 'channels-last' })).toThrow(TypeError)
      expect(() => call(x, { layuot: 'channels-last' })).toThrow(
        /option expected one of .*nearest: layout\), got "layuot"/
      )
    })

    it('refuses overlaps other than in place', () => {
      const memory = new Float32Array(128)
      const at = (start: number, length = 24) => memory.subarray(start, start + length)
      const here = { data: at(0), dims }
      const refusesHere = (options: Loose, message: string) => refuses(here, options, RangeError, message)
      refusesHere({ out: at(1) }, 'out expected exactly the memory of x, or none of it, got a part')
      for (const [what, length] of Object.entries(written)) {
        const part = at(20, length)
        const got = (of: string) => `${what} expected no memory shared with ${of}, got an overlap`
        refusesHere({ [what]: part, out: at(64) }, got('x'))
        refusesHere(
          { [what]: at(40, length), out: at(40) },
          `out expected no memory shared with ${what}, got an overlap`
        )
        if (affine) refusesHere({ [what]: at(40, length), weight: at(40, 4), out: at(64) }, got('weight'))
      }
      if (affine)
        refusesHere({ bias: at(40, 4), out: at(43) }, 'out expected no memory shared with bias, got an overlap')
    })

    it('refuses detached memory instead of taking it for an empty one', () => {
      const gone = new Float32Array(8)
      structuredClone(gone.buffer, { transfer: [gone.buffer] })
      refuses({ data: gone, dims: [0, 4] }, {}, TypeError, 'x.data expected an array with memory, got a detached one')
      const empty = { data: new Float32Array(0), dims: [0, 4] }
      expect(() => call(empty, { out: gone })).toThrow(`${name}: out expected an array with memory, got a detached one`)
    })

    if (padding)
      it('refuses lengths and masks that are none', () => {
        const sequences = { data, dims: [3, 4, 2] }
        refuses({ data, dims: [6, 4] }, { lengths: [1] }, RangeError, 'x.dims expected [N, C, L] or [N, L, C]')
        refuses({ data, dims: [3, 2, 2, 2] }, { mask: [1] }, RangeError, 'x.dims expected [N, C, L] or [N, L, C]')
        refuses(sequences, { lengths: [1, 2] }, RangeError, 'lengths.length expected 3 (samples), got 2')
        refuses(
          sequences,
          { lengths: [1, 3, 0] },
          RangeError,
          'lengths[1] expected an integer from 0 to 2 (positions), got 3'
        )
        refuses(sequences, { lengths: [1, 0.5, 0] }, RangeError, 'lengths[1] expected an integer from 0 to 2')
        refuses(sequences, { lengths: [1, -1, 0] }, RangeError, 'lengths[1] expected an integer from 0 to 2')
        refuses(sequences, { lengths: ['1', 1, 0] }, TypeError, 'lengths[0] expected a number, got "1"')
        refuses(sequences, { lengths: 2 }, TypeError, 'lengths expected an array, got 2')
        refuses(sequences, { mask: [1, 0, 1] }, RangeError, 'mask.length expected 6 (samples * positions), got 3')
        refuses(sequences, { mask: [1, 0, 1, 2, 0, 0] }, RangeError, 'mask[3] expected 0, 1 or a boolean, got 2')
        refuses(sequences, { mask: [1, 0, 1, '1', 0, 0] }, TypeError, 'mask[3] expected 0, 1 or a boolean, got "1"')
        refuses(sequences, { mask: { data: [1], dims: [2, 3] } }, RangeError, 'mask.dims expected [3, 2], got [2, 3]')
        refuses(sequences, { mask: [], lengths: [] }, TypeError, 'mask expected undefined, because lengths is given')
      })

    if (layer)
      it('refuses in a layer what it refuses in the function', () => {
        expect(() => layer({ weight: data })).toThrow(`${className}: weight.length expected 4 (channels), got 24`)
        expect(() => layer({ eps: -1 })).toThrow(`${className}: eps expected a finite number >= 0, got -1`)
        expect(() => layer({ out: data })).toThrow(/option expected one of .* got "out"/)
        expect(() => layer({}).forward(x, { weight })).toThrow(/option expected one of .* got "weight"/)
        expect(() => layer({}).forward({ data, dims: [4, 3, 2] })).toThrow(`${className}: x.dims expected 4 channels`)
        expect(() => layer({}).setWeights({ weight: data })).toThrow(`${className}: weight.length expected 4`)
      })
  })

  describe(`behaviour: memory and tensors of ${name}`, () => {
    it('returns out where that is a tensor, writes where it says, and makes new memory where there is none', () => {
      const expected = call(x)
      expect(expected.data).not.toBe(data)
      const out = { data: new Float32Array(24), dims }
      expect(call(x, { out })).toBe(out)
      expectSameBits(out.data, expected.data, 'out')
      const raw = new Float32Array(24)
      expect(call(x, { out: raw }).data).toBe(raw)
      expectSameBits(raw, expected.data, 'raw out')
      const inPlace = { data: data.slice(), dims }
      expect(call(inPlace, { out: inPlace })).toBe(inPlace)
      expectSameBits(inPlace.data, expected.data, 'in place')
    })

    it('gives an empty result for an empty batch and for samples without positions', () => {
      for (const empty of [
        [0, 4],
        [0, 4, 2],
        [3, 4, 0]
      ]) {
        const result = call({ data: new Float32Array(0), dims: empty })
        expect(result).toEqual({ data: new Float32Array(0), dims: empty })
      }
    })

    it('takes arrays on shared and on resizable memory', () => {
      const expected = call(x).data
      const shared = new Float32Array(new SharedArrayBuffer(96))
      shared.set(data)
      expectSameBits(call({ data: shared, dims }, { out: shared }).data, expected, 'shared')
      const buffer = new ArrayBuffer(96, { maxByteLength: 192 })
      const tracking = new Float32Array(buffer)
      tracking.set(data)
      expectSameBits(call({ data: tracking, dims }).data, expected, 'resizable')
      buffer.resize(92)
      expect(() => call({ data: tracking, dims })).toThrow(`${name}: x.data.length expected 24`)
    })

    it('gives back a tensor of onnxruntime for one, and takes them for every operand', () => {
      const tensor = (values: Float32Array, shape: number[]) => new Tensor('float32', values, shape)
      const given = tensor(data, dims)
      const y = call(given, affine ? { weight: tensor(weight, [4]) } : {})
      expect(y).toBeInstanceOf(Tensor)
      expect(y.dims).toEqual(dims)
      expectSameBits(y.data, call(x, affine ? { weight } : {}).data, 'tensor')
      const out = tensor(new Float32Array(24), dims)
      expect(call(given, { out })).toBe(out)
      expect(call({ type: 'float32', data, dims }).type).toBe('float32')
      class Odd {
        data = data
        dims = dims
      }
      expect(call(new Odd())).toEqual({ data: call(x).data, dims })
    })

    it('takes for an error, and writes nothing, what getters and constructors change under its hands', () => {
      const detach = (array: Float32Array) =>
        void structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] })
      const out = new Float32Array(24).fill(7)
      const whole = data.slice()
      const trap = new (class Trap {
        data = data.slice()
        dims = dims
        constructor(_type?: string, given?: Float32Array) {
          if (given) detach(trap.data)
        }
      })()
      const flickering = {
        data,
        reads: 0,
        get dims() {
          return this.reads++ === 0 ? [3, 4, 3] : [3, 4, 2]
        }
      }
      const attempts: (() => unknown)[] = [
        () =>
          call(
            { data: whole, dims },
            {
              get out() {
                detach(whole)
                return out
              }
            }
          ),
        () => call(trap),
        () => call(flickering, { out })
      ]
      for (const what of [...statistics, ...(affine ? ['weight', 'bias'] : [])]) {
        const own = { [what]: new Float32Array(written[what] ?? 4).fill(3) }
        attempts.push(() =>
          call(x, {
            ...own,
            get out() {
              detach(own[what])
              return out
            }
          })
        )
      }
      for (const attempt of attempts) expect(attempt).toThrow(`${name}: `)
      expect(out.every(value => value === 7)).toBe(true)
    })

    it('goes by the memory of an array and not by properties that somebody gave it', () => {
      const forged = Object.defineProperty(data.slice(), 'length', { value: 2 ** 50 })
      expectSameBits(new Float32Array(call({ data: forged, dims }).data), call(x).data, 'length')
      const memory = new Float32Array(64)
      const out = Object.defineProperty(memory.subarray(1, 25), 'buffer', { value: new ArrayBuffer(0) })
      expect(() => call({ data: memory.subarray(0, 24), dims }, { out })).toThrow('none of it, got a part')
    })

    it('takes subclasses of Float32Array for what they hold', () => {
      class Named extends Float32Array {
        static get [Symbol.species]() {
          return Float64Array as never
        }
        slice() {
          return this
        }
      }
      const named = new Named(24)
      named.set(data)
      const expected = call(x).data
      expectSameBits(new Float32Array(call({ data: named, dims }).data), expected, 'out of place')
      const given = { data: named, dims }
      expectSameBits(new Float32Array(call(given, { out: given }).data), expected, 'in place')
    })

    it('does not take properties of Object.prototype for options', () => {
      Object.defineProperty(Object.prototype, 'foo', { value: 1, enumerable: true, configurable: true })
      try {
        const given = Object.fromEntries(Object.entries(written).map(([what, n]) => [what, new Float64Array(n)]))
        expectSameBits(call(x, given).data, call(x).data, 'foo')
      } finally {
        delete (Object.prototype as { foo?: number }).foo
      }
    })

    if (layer)
      it('copies the weights of a layer, and replaces them by setWeights', () => {
        const own = weight.slice()
        const prepared = layer({ weight: own, bias: own })
        own.fill(0)
        expectSameBits(prepared.forward(x).data, call(x, { weight, bias: weight }).data, 'copied')
        prepared.setWeights({ bias: weight })
        expectSameBits(prepared.forward(x).data, call(x, { bias: weight }).data, 'bias alone')
        prepared.setWeights({})
        expectSameBits(prepared.forward(x).data, call(x).data, 'none')
      })
  })
}
