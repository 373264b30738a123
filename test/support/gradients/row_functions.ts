// What the equality tests of the gradients of functions and layers over rows share.
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, ordinaryWeights } from '../../../dist/esm/cases/data.js'
import { getNumThreads, setNumThreads } from '../../../dist/esm/index.js'
import type { Groups } from '../../../dist/esm/kernels/operands.js'
import { expectSameBits } from '../bits.ts'
import { long } from '../process.ts'
import { all, dataOf, expectEqual, expectModel, type Operands, type Options, type RowFunction } from './results.ts'
import { testRowAxes } from './row_axes.ts'

export function testRowFunction(op: RowFunction): void {
  testRowAxes(op)
  const [rows, size] = [6, 24]
  const rowShape: Groups = { outer: rows, size, inner: 1 }
  const data = (n: number, seed: number) => fill(normal, n, seed)
  const x = fill(finiteRows['N(3,0.5)'], rows * size, 1)
  const dy = data(x.length, 2)
  const residual = data(x.length, 3)
  const dsum = data(x.length, 4)

  /** What every call may have: nothing, a dsum, a residual, both. */
  const extras: { call: Options; operands: Operands }[] = op.hasResidual
    ? [
        { call: {}, operands: {} },
        { call: { dsum }, operands: { dsum } },
        { call: { residual }, operands: { x: x.map((value, i) => value + residual[i]) } },
        {
          call: { residual, residualScale: -0.3, dsum },
          operands: {
            x: x.map((value, i) => value + Math.fround(residual[i] * Math.fround(-0.3))),
            residualScale: -0.3,
            dsum
          }
        }
      ]
    : [{ call: {}, operands: {} }]

  const base = { dy, x, shape: rowShape, eps: op.eps }

  describe(`equality: ${op.name}`, () => {
    it('gives the bits of NUMERICS.md as a function and as a layer, for all combinations of options', () => {
      for (const [i, form] of op.forms(size).entries()) {
        for (const [k, extra] of extras.entries()) {
          const call = { ...extra.call, ...form.call }
          const expected = op.model({ ...base, ...extra.operands, ...form.operands })
          const result = op.backward(dy, x, size, { ...form.layer, ...call })
          expectModel(result, expected, `form ${i}, extra ${k}`)
          expect(result.dresidual !== undefined, 'dresidual').toBe('residual' in call)
          expectEqual(op.layer(size, form.layer ?? {}).backward(dy, x, call), result, `form ${i}, extra ${k}, layer`)
        }
      }
    })

    it('writes into places, which are what it returns', () => {
      const [form] = op.forms(size).slice(-1)
      const extra = extras[extras.length - 1]
      const options = { ...form.layer, ...form.call, ...extra.call }
      const expected = op.backward(dy, x, size, options)
      const places: Options = { dx: new Float32Array(x.length) }
      for (const name of all) if (expected[name]) places[name] = new Float32Array(expected[name].length).fill(7)
      const result = op.backward(dy, x, size, { ...options, ...places })
      expectEqual(result, expected, 'places')
      for (const [name, place] of Object.entries(places)) expect(result[name], name).toBe(place)
    })

    it('writes dx and dresidual on top of any input', () => {
      const [form] = op.forms(size).slice(-1)
      const options = { ...form.layer, ...form.call, ...extras[extras.length - 1].call }
      const inputs: { [name: string]: Float32Array } = op.hasResidual ? { dy, x, dsum, residual } : { dy, x }
      const tensor = (data: Float32Array) => ({ data, dims: [rows / 2, size, 2] })
      for (const [shape, as] of [
        [size, (data: Float32Array) => data],
        [{ axis: 1 }, tensor]
      ] as const) {
        const expected = op.backward(as(dy), as(x), shape, options)
        for (const result of op.hasResidual ? ['dx', 'dresidual'] : ['dx']) {
          for (const what of Object.keys(inputs)) {
            const own = { ...inputs, [what]: inputs[what].slice() }
            const more = op.hasResidual ? { dsum: as(own.dsum), residual: as(own.residual) } : {}
            const all = op.backward(as(own.dy), as(own.x), shape, { ...options, ...more, [result]: as(own[what]) })
            expect(dataOf(all[result])).toBe(own[what])
            expectEqual(all, expected, `${result} is ${what}`)
          }
        }
      }
    })

    it('gives with the statistics of the forward the same bits as without', () => {
      if (op.saved.length === 0) return
      for (const [i, form] of op.forms(size).entries()) {
        const saved = Object.fromEntries(op.saved.map(name => [name, new Float64Array(rows)]))
        op.forward(x, size, { ...form.layer, ...saved })
        const expected = op.backward(dy, x, size, { ...form.layer, ...form.call })
        expectEqual(op.backward(dy, x, size, { ...form.layer, ...form.call, ...saved }), expected, `form ${i}`)
      }
      // They are taken as they are, whatever x says.
      const other = Object.fromEntries(
        op.saved.map((name, k) => [name, Float64Array.from(data(rows, 5 + k), Math.abs)])
      )
      const [{ layer, call, operands }] = op.forms(size)
      expectModel(
        op.backward(dy, x, size, { ...layer, ...call, ...other }),
        op.model({ ...base, ...operands, ...other }),
        'given'
      )
    })

    it('takes padding out, by lengths and by a mask with holes', () => {
      const [samples, positions] = [2, 3]
      const dims = [samples, positions, size]
      const [given, arriving] = [x, dy].map(array => ({ data: array, dims }))
      const extra = extras[extras.length - 1]
      const masks: [Options, number[]][] = [
        [{ lengths: [2, 1] }, [1, 1, 0, 1, 0, 0]],
        [{ lengths: [0, 0] }, [0, 0, 0, 0, 0, 0]],
        [{ lengths: [3, 3] }, [1, 1, 1, 1, 1, 1]],
        [{ mask: [0, 1, 0, 1, 0, 1] }, [0, 1, 0, 1, 0, 1]],
        [{ mask: [0, 0, 0, 0, 1, 0] }, [0, 0, 0, 0, 1, 0]]
      ]
      for (const [i, form] of op.forms(size).entries()) {
        for (const [padding, real] of masks) {
          const cut = (array: Float32Array) => array.filter((_, at) => real[Math.floor(at / size)])
          const options = { ...form.layer, ...form.call, ...extra.call }
          const padded = op.backward(arriving, given, size, { ...options, ...padding })
          if (op.saved.length > 0) {
            const saved = Object.fromEntries(op.saved.map(name => [name, new Float64Array(rows)]))
            const { dsum: _, ...forward } = extra.call
            op.forward(given, size, { ...form.layer, ...forward, ...padding, ...saved })
            expectEqual(op.backward(arriving, given, size, { ...options, ...padding, ...saved }), padded, 'saved')
          }
          const own = { data: dy.slice(), dims }
          expectEqual(op.backward(own, given, size, { ...options, ...padding, dx: own }), padded, 'dx is dy')
          const short = Object.fromEntries(
            Object.entries(extra.call).map(([name, value]) => [
              name,
              ArrayBuffer.isView(value) ? cut(value as Float32Array) : value
            ])
          )
          const dense = op.backward(cut(dy), cut(x), size, { ...options, ...short })
          const what = `form ${i}, ${JSON.stringify(padding)}`
          for (const name of all) {
            if (dense[name] === undefined) continue
            const matrix = name === 'dx' || name === 'dresidual'
            expectSameBits(
              matrix ? cut(dataOf(padded[name])) : dataOf(padded[name]),
              dataOf(dense[name]),
              `${what}: ${name}`
            )
            if (!matrix) continue
            const rest = dataOf(padded[name]).filter((_, at) => !real[Math.floor(at / size)])
            expectSameBits(rest, new Float32Array(rest.length), `${what}: padding of ${name}`)
          }
        }
      }
    })

    it('gives the same bits for any number of threads', () => {
      const [many, wide] = [1500, 96]
      const before = getNumThreads()
      const tall = fill(finiteRows['N(3,0.5)'], many * wide, 8)
      const arriving = data(tall.length, 9)
      const weight = fill(ordinaryWeights, wide, 10)
      const form = op.forms(wide).find(({ layer }) => layer && 'weight' in layer) ?? op.forms(wide)[0]
      const layer = { ...form.layer, ...('weight' in (form.layer ?? {}) ? { weight } : {}) }
      try {
        const results = [1, 2, 5].map(threads => {
          setNumThreads(threads)
          return op.backward(arriving, tall, wide, { ...layer, ...form.call })
        })
        for (const result of results) expectEqual(result, results[0], 'threads')
      } finally {
        setNumThreads(before)
      }
    })

    it.runIf(long)('gives the same bits past the caches, at any alignment of what it writes', () => {
      const [many, wide] = [3600, 768]
      const tile = data(many + wide, 13)
      const large = (shift: number) =>
        Float32Array.from({ length: many * wide }, (_, at) => tile[(at * 7 + shift) % tile.length])
      const [a, b, c] = [1, 2, 3].map(large)
      const weight = fill(ordinaryWeights, wide, 14)
      const form = op.forms(wide).find(({ layer }) => layer && 'weight' in layer) ?? op.forms(wide)[0]
      const options = { ...form.layer, ...('weight' in (form.layer ?? {}) ? { weight } : {}), ...form.call }
      const own = a.slice()
      const inPlace = op.backward(own, b, wide, { ...options, dx: own })
      const more = op.hasResidual ? { dresidual: new Float32Array(a.length + 1).subarray(1), dsum: c } : {}
      for (const offset of [0, 1, 16]) {
        const dx = new Float32Array(a.length + offset).subarray(offset)
        expectEqual(op.backward(a, b, wide, { ...options, dx }), inPlace, `offset ${offset}`)
        if (!op.hasResidual) continue
        const { dresidual } = op.backward(a, b, wide, { ...options, ...more, dx })
        expectSameBits(dresidual, dx, `dresidual with offset ${offset}`)
      }
    })

    it('gives the same bits off the event loop, whatever memory the operands have', async () => {
      const shared = (array: Float32Array) => {
        const copy = new Float32Array(new SharedArrayBuffer(array.byteLength))
        copy.set(array)
        return copy
      }
      for (const [i, form] of op.forms(size).entries()) {
        const layer = op.layer(size, form.layer ?? {})
        for (const [k, extra] of extras.entries()) {
          const call = { ...form.call, ...extra.call }
          const expected = layer.backward(dy, x, call)
          const what = `form ${i}, extra ${k}`
          const [a, b] = [dy.slice(), x.slice()]
          const copied = layer.backwardAsync(a, b, call)
          expectSameBits(a, dy, 'dy is copied')
          a.fill(Number.NaN)
          b.fill(Number.NaN)
          expectEqual(await copied, expected, `${what}, copied`)
          expectEqual(await layer.backwardAsync(shared(dy), shared(x), call), expected, `${what}, shared`)
          const [c, d] = [dy.slice(), x.slice()]
          const taken = layer.backwardAsync(c, d, { ...call, transfer: true })
          expect([c.length, d.length], `${what}: dy and x are taken over`).toEqual([0, 0])
          expectEqual(await taken, expected, `${what}, taken over`)
          const own = dy.slice()
          const result = await layer.backwardAsync(own, x, { ...call, dx: own })
          expect(result.dx).toBe(own)
          expectEqual(result, expected, `${what}, dx is dy`)
          const dims = [2, 3, size]
          const tensors = await layer.backwardAsync({ data: dy.slice(), dims }, { data: x.slice(), dims }, call)
          expect(tensors.dx.dims).toEqual(dims)
          expectEqual(tensors, expected, `${what}, tensors`)
        }
      }
    })
  })
}
