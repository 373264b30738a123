import { Tensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal } from '../../dist/esm/cases/data.js'
import type { NormalizeCase } from '../../dist/esm/cases/normalize.js'
import { normalize, rmsNorm } from '../../dist/esm/index.js'
import { backendsHere } from '../support/backends.ts'
import { expectSameBits } from '../support/bits.ts'
import { rowOperands } from '../support/calls.ts'
import { testCases } from '../support/cases.ts'
import { guarded } from '../support/memory.ts'
import { normalizeModel } from '../support/model.ts'
import { testOnnxCases } from '../support/onnx.ts'
import { errorInHalfUlps } from '../support/truth/oracle.ts'
import { normalizeTruth, relativeError } from '../support/truth/precise.ts'

const rules = ['clamp', 'clamp-square', 'add-square', 'mean-square', 'zero'] as const

testCases<NormalizeCase>('normalize', normalizeModel)

const norms = [2, 1, Number.POSITIVE_INFINITY, 3, 0.5, 2.7, 200]
const kinds = Object.keys(finiteRows) as (keyof typeof finiteRows)[]

describe('truth: normalize', () => {
  it.each(kinds)('keeps the bound for rows of %s, with every norm and rule', kind => {
    let index = 0
    for (const p of norms) {
      for (const rule of p === 2 ? rules : (['clamp', 'zero'] as const)) {
        for (const n of [1, 2, 17, 300]) {
          const eps = [1e-12, 0, 1, 1e-5][index++ % 4]
          const scale = [1, 0.37, -1e3][index % 3]
          const x = fill(finiteRows[kind], n, index)
          const truth = normalizeTruth(x, p, rule, eps)
          if (!truth) continue // 0/0
          const norm = new Float64Array(1)
          const y = normalize(x, n, { p, rule, eps, scale, norm })
          const where = `p ${p}, ${rule}, ${n} elements, eps ${eps}, scale ${scale}`
          const factor = new Float32Array(n).fill(scale)
          expect(errorInHalfUlps(y, truth, factor), where).toBeLessThanOrEqual(scale === 1 ? 2.1 : 3.1)
          if (!truth.norm) expect(norm[0], where).toBe(0)
          // In units of 2^-53. p = 2: half of the sum's roundings and one of the root. Others: the terms' (a division to the
          // p, a power), the sum's, divided by p, then a power, the division 1 / p and a product.
          else {
            const [sum, log] = [20 + n / 16, Math.log2(n)]
            const bound =
              p === Number.POSITIVE_INFINITY
                ? 0
                : p === 2
                  ? sum / 2 + 1
                  : (p + 2 * Math.max(4 + log, 12) + sum + log) / p + 2 * (4 + log / p) + 16
            expect(relativeError(norm[0], truth.norm, 53), where).toBeLessThanOrEqual(bound)
          }
        }
      }
    }
  })

  it('neither overflows nor vanishes where x^p would', () => {
    for (const value of [3.4e38, 1e30, 1e-30, 2 ** -149]) {
      for (const p of norms) {
        const norm = new Float64Array(1)
        const n = 16
        const y = normalize(new Float32Array(n).fill(value), n, { p, eps: 0, norm })
        expect(norm[0] / (Math.fround(value) * n ** (1 / p))).toBeCloseTo(1, 12)
        for (const one of y) expect(one * n ** (1 / p)).toBeCloseTo(1, 6)
      }
    }
  })

  it('keeps the bound for columns', () => {
    for (const rule of rules) {
      const [rows, inner] = [70, kinds.length]
      const columns = kinds.map((kind, k) => fill(finiteRows[kind], rows, k))
      const data = Float32Array.from({ length: rows * inner }, (_, at) => columns[at % inner][Math.floor(at / inner)])
      const y = normalize({ data, dims: [rows, inner] }, { axis: 0 }, { rule, eps: 1e-12, scale: 1.7 })
      columns.forEach((column, k) => {
        const truth = normalizeTruth(column, 2, rule, 1e-12)
        const of = column.map((_, i) => y.data[i * inner + k])
        const factor = column.map(() => 1.7)
        expect(truth && errorInHalfUlps(of, truth, factor), `${kinds[k]}, ${rule}`).toBeLessThanOrEqual(3.1)
      })
    }
  })
})

describe('equality: normalize', () => {
  const x = fill(normal, 4 * 24, 1)

  it('has PyTorch’s rule and the second norm unless told otherwise', () => {
    const expected = normalize(x, 24, { p: 2, eps: 1e-12, rule: 'clamp', scale: 1 })
    expectSameBits(normalize(x, 24), expected, 'defaults')
    expectSameBits(normalize({ data: x, dims: [4, 24] }, { axis: -1 }).data, expected, 'axis')
    expectSameBits(normalize({ data: x, dims: [4, 4, 6] }, [4, 6]).data, expected, '[4, 6]')
    expectSameBits(normalize(x, 24, { rule: 'zero' }), expected, 'no norm below eps')
  })

  it('is with mean-square what rmsNorm is, and with scale what ScaleNorm is', () => {
    const rms = rmsNorm(x, 24, { eps: 1e-6 })
    expectSameBits(normalize(x, 24, { rule: 'mean-square', eps: 1e-6 }), rms, 'rmsNorm')
    const weight = new Float32Array(24).fill(0.7)
    const scaled = normalize(x, 24, { rule: 'mean-square', eps: 1e-6, scale: 0.7 })
    expectSameBits(scaled, rmsNorm(x, 24, { eps: 1e-6, weight }), 'scale')
  })

  it('gives 0 for a zero vector by each rule, NaN only where eps is 0 as well, and keeps signs of zeros', () => {
    const zeros = Float32Array.of(0, -0, 0)
    for (const p of norms) {
      for (const rule of p === 2 ? rules : (['clamp', 'zero'] as const)) {
        expectSameBits(normalize(zeros, 3, { p, rule }), zeros, `p ${p}, ${rule}`)
        const none = normalize(zeros, 3, { p, rule, eps: 0 })
        if (rule === 'zero') expectSameBits(none, zeros, `p ${p}, ${rule}, eps 0`)
        else expect(none.every(Number.isNaN), `p ${p}, ${rule}, eps 0`).toBe(true)
      }
    }
  })

  it('gives one element its sign, whatever the norm', () => {
    for (const p of norms) {
      const y = normalize(Float32Array.of(5, -3e38, 1e-45, -1e-40), 1, { p, eps: 0 })
      expectSameBits(y, Float32Array.of(1, -1, 1, -1), `p ${p}`)
    }
  })

  it('turns a row with NaN into NaN, and one with an infinity into 0 and NaN, and no other row', () => {
    for (const p of norms) {
      const expected = normalize(x, 24, { p })
      const nan = normalize(x.with(30, Number.NaN), 24, { p })
      expect(nan.subarray(24, 48).every(Number.isNaN)).toBe(true)
      const infinite = normalize(x.with(30, Number.NEGATIVE_INFINITY), 24, { p })
      const row = x.slice(24, 48).map((value, i) => (i === 6 ? Number.NaN : value < 0 ? -0 : 0))
      expectSameBits(infinite.subarray(24, 48), row, `p ${p}: infinity`)
      for (const y of [nan, infinite]) {
        expectSameBits(y.subarray(0, 24), expected.subarray(0, 24), `p ${p}: before`)
        expectSameBits(y.subarray(48), expected.subarray(48), `p ${p}: after`)
      }
    }
  })
})

describe.each(backendsHere)('equality: normalize on %s', (_, kernels) => {
  it('gives the same bits at any offset and stride, in place, and writes nothing around its outputs', () => {
    for (const p of norms) {
      for (const [cols, inner] of [
        [1, 1],
        [7, 1],
        [33, 1],
        [100, 1],
        [5, 9],
        [70, 17]
      ]) {
        if (inner > 1 && p !== 2) continue
        const [rows, size] = [3, cols * inner]
        const stride = size + 5
        const x = fill(normal, rows * size, cols)
        const y = new Float32Array(rows * size)
        const norm = new Float64Array(rows * inner)
        const shape = { rows, cols, inner, p, rule: 0, eps: 1e-12, factor: 0.3 }
        kernels.normalize(rowOperands({ y, norm, x, ...shape }))

        const spread = new Float32Array(rows * stride).fill(9)
        for (let row = 0; row < rows; row++) spread.set(x.subarray(row * size, (row + 1) * size), row * stride)
        const from = guarded(spread.length, cols % 13, spread)
        const to = guarded(spread.length, (cols + 4) % 15)
        const norms32 = guarded(rows * inner, 3)
        kernels.normalize(rowOperands({ y: to.array, norm: norms32.array, x: from.array, stride, ...shape }))
        const where = `p ${p}, ${cols} x ${inner}`
        expect(to.intact() && norms32.intact(), where).toBe(true)
        expectSameBits(norms32.array, Float32Array.from(norm), `${where}: norm`)
        for (let row = 0; row < rows; row++) {
          const at = row * stride
          expectSameBits(to.array.subarray(at, at + size), y.subarray(row * size, (row + 1) * size), where)
          expect([...to.array.subarray(at + size, at + stride)]).toEqual([0, 0, 0, 0, 0])
        }
        kernels.normalize(rowOperands({ y: from.array, x: from.array, stride, ...shape }))
        expectSameBits(from.array.subarray(0, size), y.subarray(0, size), `${where}: in place`)
        expect([...from.array.subarray(size, stride)]).toEqual([9, 9, 9, 9, 9])
      }
    }
  })
})

// A zero vector stays 0 there: our rule 'zero'. p is 1 or 2.
testOnnxCases('LpNormalization', 6, ({ attributes, inputs: [x] }) => {
  const { axis, p } = attributes as { [name: string]: number }
  return [normalize(x, { axis }, { p, rule: 'zero' }).data]
})

describe('behaviour: normalize', () => {
  const x = fill(normal, 12, 1)

  /** Fails unless the call throws this, and leaves x and `out` untouched. */
  function refuses(given: unknown, options: { [name: string]: unknown }, kind: typeof Error, message: string) {
    const [out, before] = [new Float32Array(12).fill(7), x.slice()]
    const call = () => normalize(given as Float32Array, 4, { out, ...options } as never)
    expect(call).toThrow(kind)
    expect(call).toThrow(`normalize: ${message}`)
    expectSameBits(x, before, 'x')
    expect(out.every(value => value === 7)).toBe(true)
  }

  it('refuses norms, rules, scales and eps that are none', () => {
    for (const p of [0, -1, Number.NaN, Number.NEGATIVE_INFINITY]) {
      refuses(x, { p }, RangeError, `p expected a number > 0, got ${p}`)
    }
    refuses(x, { p: '2' }, TypeError, 'p expected a number, got "2"')
    const known = 'rule expected one of clamp, clamp-square, add-square, mean-square, zero, got'
    refuses(x, { rule: 'max' }, RangeError, `${known} "max"`)
    refuses(x, { rule: 3 }, TypeError, `${known} 3`)
    for (const rule of ['clamp-square', 'add-square', 'mean-square']) {
      refuses(x, { p: 1, rule }, RangeError, `p expected 2 (rule ${rule}), got 1`)
    }
    refuses(x, { eps: -1 }, RangeError, 'eps expected a finite number >= 0, got -1')
    refuses(x, { eps: '1' }, TypeError, 'eps expected a number, got "1"')
    refuses(x, { scale: Number.NaN }, RangeError, 'scale expected a finite number, got NaN')
    refuses(x, { scale: 1e39 }, RangeError, 'scale as float32 expected a finite number, got Infinity')
    refuses(x, { scale: new Float32Array(1) }, TypeError, 'scale expected a number, got Float32Array')
    refuses(x, { weight: x }, TypeError, 'option expected one of')
  })

  it('refuses operands that are wrong in kind, length or place', () => {
    refuses([1, 2, 3, 4], {}, TypeError, 'x expected Float32Array or a tensor { data, dims }, got [1, 2, 3, 4]')
    refuses(x.subarray(1), {}, RangeError, 'x.length expected a multiple of 4 (normalizedShape), got 11')
    refuses(x, { out: new Float32Array(4) }, RangeError, 'out.length expected 12 (x.length), got 4')
    refuses(x, { norm: new Float64Array(4) }, RangeError, 'norm.length expected 3 (rows), got 4')
    refuses(x, { norm: [1, 2, 3] }, TypeError, 'norm expected Float32Array or Float64Array, got [1, 2, 3]')
    const memory = new Float32Array(64)
    const [here, norm] = [memory.subarray(0, 12), memory.subarray(10, 13)]
    refuses(here, { norm }, RangeError, 'norm expected no memory shared with x, got an overlap')
    const out = memory.subarray(1, 13)
    refuses(here, { out }, RangeError, 'out expected exactly the memory of x, or none of it, got a part')
    refuses(x, { out, norm }, RangeError, 'norm expected no memory shared with out, got an overlap')
    const gone = new Float32Array(12)
    structuredClone(gone.buffer, { transfer: [gone.buffer] })
    refuses(gone, {}, TypeError, 'x expected an array with memory, got a detached one')
  })

  it('gives arrays for arrays, tensors for tensors, out itself, and nothing for nothing', () => {
    const expected = normalize(x, 4)
    const tensor = new Tensor('float32', x, [3, 4])
    const y = normalize(tensor, 4)
    expect(y).toBeInstanceOf(Tensor)
    expectSameBits(y.data as Float32Array, expected, 'onnxruntime')
    const out = new Float32Array(12)
    expect(normalize(x, 4, { out })).toBe(out)
    expectSameBits(out, expected, 'out')
    const own = x.slice()
    expect(normalize(own, 4, { out: own })).toBe(own)
    expectSameBits(own, expected, 'in place')
    const shared = new Float32Array(new SharedArrayBuffer(48))
    shared.set(x)
    expectSameBits(normalize(shared, 4, { out: shared }), expected, 'shared')
    expect(normalize(new Float32Array(0), 4, { norm: new Float64Array(0) })).toEqual(new Float32Array(0))
  })

  it('takes for an error, and writes nothing, what getters change under its hands', () => {
    const own = x.slice()
    const out = new Float32Array(12).fill(7)
    const call = () =>
      normalize(own, 4, {
        get out() {
          structuredClone(own.buffer, { transfer: [own.buffer] })
          return out
        }
      })
    expect(call).toThrow('normalize: ')
    expect(out.every(value => value === 7)).toBe(true)
    const flickering = {
      data: x,
      reads: 0,
      get dims() {
        return this.reads++ === 0 ? [16] : [3, 4]
      }
    }
    expect(() => normalize(flickering, 4, { out })).toThrow('normalize: x.data.length expected 16')
  })
})
