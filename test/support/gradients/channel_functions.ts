// What the equality tests of the gradients of functions and layers over channels share.
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, ordinaryWeights } from '../../../dist/esm/cases/data.js'
import { getNumThreads, setNumThreads } from '../../../dist/esm/index.js'
import type { Statistic, Volume } from '../../../dist/esm/kernels/operands.js'
import { expectSameBits } from '../bits.ts'
import { long } from '../process.ts'
import { spansOfPositions } from './channel_equality.ts'
import type { ChannelGradientCall, ChannelGradients } from './model.ts'
import { expectEqual, expectModel, type Loose } from './results.ts'

type Options = { [name: string]: unknown }

export interface ChannelForm {
  /** Parameters of the layer, by their names in the function. */
  readonly layer: Options & { weight?: Float32Array; bias?: Float32Array }
  /** What the function has beside them, and not the layer. */
  readonly function?: Options
}

export interface ChannelFunction {
  readonly name: string
  /** With six channels. */
  backward(dy: Loose, x: Loose, options?: Loose): Loose
  layer(form: ChannelForm): Loose
  forward(x: Loose, options: Loose): unknown
  /** How many statistics the forward saves for so many samples; undefined where none are. */
  saved(samples: number, form: ChannelForm): number | undefined
  model(call: ChannelGradientCall, form: ChannelForm): ChannelGradients
  readonly groups: number
  readonly forms: readonly ChannelForm[]
  /** Whether a matrix [N, C] has columns, and not groups of one sample each. */
  readonly matrixOfColumns: boolean
}

const CHANNELS = 6
export const channelWeights = () => ({
  weight: fill(ordinaryWeights, CHANNELS, 21),
  bias: fill(normal, CHANNELS, 22)
})

/** Samples and the sizes of spatial dimensions. */
const shapes: [number, number[]][] = [
  [3, [5]],
  [2, [3, 4]],
  [70, [2]],
  [4, []],
  [1, [30]],
  [130, []]
]

export function testChannelFunction(op: ChannelFunction): void {
  const layouts = ['channels-first', 'channels-last'] as const
  const product = (dims: readonly number[]) => dims.reduce((size, dim) => size * dim, 1)

  function* tensors() {
    let seed = 1
    for (const [samples, spatial] of shapes) {
      for (const layout of layouts) {
        const dims = layout === 'channels-first' ? [samples, CHANNELS, ...spatial] : [samples, ...spatial, CHANNELS]
        const n = product(dims)
        const channelsLast = spatial.length === 0 ? op.matrixOfColumns : layout === 'channels-last'
        const shape: Volume = {
          samples,
          groups: op.groups,
          channelsPerGroup: CHANNELS / op.groups,
          positions: product(spatial),
          channelsLast
        }
        const x = { dims, data: fill(finiteRows['N(3,0.5)'], n, seed) }
        yield { x, dy: { dims, data: fill(normal, n, seed + 100) }, layout, shape, dims, what: `[${dims}], ${layout}` }
        seed++
      }
    }
  }

  describe(`equality: ${op.name}`, () => {
    it('gives the bits of NUMERICS.md in both layouts, as a function and as a layer', () => {
      for (const { x, dy, layout, shape, dims, what } of tensors()) {
        for (const [i, form] of op.forms.entries()) {
          const { weight, eps = 1e-5 } = form.layer as { weight?: Float32Array; eps?: number }
          const expected = op.model({ dy: dy.data, x: x.data, weight, shape, eps }, form)
          const result = op.backward(dy, x, { ...form.layer, ...form.function, layout })
          expectModel(result, expected as unknown as { [name: string]: Statistic }, `${what}, form ${i}`)
          expect(result.dx.dims).toEqual(dims)
          expect([result.dweight, result.dbias].map(one => one !== undefined)).toEqual([
            'weight' in form.layer,
            'weight' in form.layer || 'bias' in form.layer
          ])
          expectEqual(op.layer(form).backward(dy, x, { layout }), result, `${what}, form ${i}, layer`)
        }
      }
    })

    it('writes into places, which are what it returns, dx on top of dy or x as well', () => {
      for (const { x, dy, layout, what } of tensors()) {
        const form = op.forms[op.forms.length - 1]
        const options = { ...form.layer, ...form.function, layout }
        const expected = op.backward(dy, x, options)
        const places = {
          dx: { ...dy, data: new Float32Array(dy.data.length).fill(7) },
          dweight: new Float32Array(CHANNELS).fill(7),
          dbias: new Float32Array(CHANNELS).fill(7)
        }
        const result = op.backward(dy, x, { ...options, ...places })
        for (const [name, place] of Object.entries(places)) expect(result[name], name).toBe(place)
        expectSameBits(places.dx.data, expected.dx.data, `${what}: dx`)
        if (expected.dweight) expectSameBits(places.dweight, expected.dweight, `${what}: dweight`)
        if (expected.dbias) expectSameBits(places.dbias, expected.dbias, `${what}: dbias`)
        const own = { ...dy, data: dy.data.slice() }
        expect(op.backward(own, x, { ...options, dx: own }).dx).toBe(own)
        expectSameBits(own.data, expected.dx.data, `${what}: dx is dy`)
        const other = { ...x, data: x.data.slice() }
        op.backward(dy, other, { ...options, dx: other })
        expectSameBits(other.data, expected.dx.data, `${what}: dx is x`)
      }
    })

    it('gives with the statistics of the forward the same bits as without', () => {
      for (const { x, dy, layout, shape, what } of tensors()) {
        for (const [i, form] of op.forms.entries()) {
          const n = op.saved(shape.samples, form)
          if (n === undefined) continue
          const saved = { mean: new Float64Array(n), rstd: new Float64Array(n) }
          const { bias, ...rest } = { ...form.layer, ...form.function, layout } as Options
          op.forward(x, { ...rest, bias, ...saved })
          const expected = op.backward(dy, x, { ...rest, bias })
          expectEqual(op.backward(dy, x, { ...rest, bias, ...saved }), expected, `${what}, form ${i}`)
        }
      }
    })

    it('takes padding out, by lengths and by a mask with holes', () => {
      const [samples, positions] = [3, 7]
      const masks: { padding: Options; real: (n: number, p: number) => boolean }[] = [
        { padding: { lengths: [7, 2, 0] }, real: (n, p) => p < [7, 2, 0][n] },
        { padding: { lengths: [0, 0, 0] }, real: () => false },
        { padding: { lengths: [7, 7, 7] }, real: () => true },
        { padding: { lengths: [0, 2, 0] }, real: (n, p) => n === 1 && p < 2 },
        {
          padding: { mask: Array.from({ length: 21 }, (_, i) => i % 3 !== 1) },
          real: (n, p) => (n * 7 + p) % 3 !== 1
        }
      ]
      for (const layout of layouts) {
        const channelsLast = layout === 'channels-last'
        const dims = channelsLast ? [samples, positions, CHANNELS] : [samples, CHANNELS, positions]
        const [x, dy] = [1, 2].map(seed => ({ dims, data: fill(normal, product(dims), seed) }))
        for (const { padding, real } of masks) {
          for (const [i, form] of op.forms.entries()) {
            const { weight, eps = 1e-5 } = form.layer as { weight?: Float32Array; eps?: number }
            const spans = spansOfPositions(samples, positions, real)
            const shape = {
              samples,
              groups: op.groups,
              channelsPerGroup: CHANNELS / op.groups,
              positions,
              channelsLast,
              spans
            }
            const expected = op.model({ dy: dy.data, x: x.data, weight, shape, eps }, form)
            const result = op.backward(dy, x, { ...form.layer, ...form.function, layout, ...padding })
            const what = `${layout}, ${JSON.stringify(padding)}, form ${i}`
            expectModel(result, expected as never, what)
            const own = { dims, data: dy.data.slice() }
            const inPlace = op.backward(own, x, { ...form.layer, ...form.function, layout, ...padding, dx: own })
            expectEqual(inPlace, result, `${what}, dx is dy`)
            const n = op.saved(samples, form)
            if (n === undefined) continue
            const saved = { mean: new Float64Array(n), rstd: new Float64Array(n) }
            const options = { ...form.layer, ...form.function, layout, ...padding }
            op.forward(x, { ...options, ...saved })
            expectEqual(op.backward(dy, x, { ...options, ...saved }), result, `${what}, saved`)
          }
        }
      }
    })

    it('gives the same bits for any number of threads', () => {
      const before = getNumThreads()
      try {
        for (const layout of layouts) {
          const dims = layout === 'channels-first' ? [200, CHANNELS, 100] : [200, 100, CHANNELS]
          const [x, dy] = [1, 2].map(seed => ({ dims, data: fill(finiteRows['N(3,0.5)'], product(dims), seed) }))
          for (const form of op.forms.slice(-2)) {
            const results = [1, 2, 5].map(threads => {
              setNumThreads(threads)
              return op.backward(dy, x, { ...form.layer, ...form.function, layout })
            })
            for (const result of results) expectEqual(result, results[0], `threads, ${layout}`)
          }
        }
      } finally {
        setNumThreads(before)
      }
    })

    it.runIf(long)('gives the same bits past the caches, at any alignment of what it writes', () => {
      const n = 75 * CHANNELS * 6400
      const tile = fill(normal, 5003, 13)
      const [a, b] = [1, 2].map(shift => Float32Array.from({ length: n }, (_, at) => tile[(at * 7 + shift) % 5003]))
      const form = op.forms[op.forms.length - 1]
      for (const layout of layouts) {
        const dims = layout === 'channels-first' ? [75, CHANNELS, 6400] : [75, 6400, CHANNELS]
        const [dy, x] = [a, b].map(data => ({ data, dims }))
        const options = { ...form.layer, ...form.function, layout }
        const own = { data: a.slice(), dims }
        const inPlace = op.backward(own, x, { ...options, dx: own })
        for (const offset of [0, 1]) {
          const dx = new Float32Array(n + offset).subarray(offset)
          expectEqual(op.backward(dy, x, { ...options, dx }), inPlace, `${layout}, offset ${offset}`)
        }
      }
    })

    it('gives the same bits off the event loop, whatever memory the operands have', async () => {
      const shared = ({ data, dims }: { data: Float32Array; dims: number[] }) => {
        const copy = new Float32Array(new SharedArrayBuffer(data.byteLength))
        copy.set(data)
        return { data: copy, dims }
      }
      const copyOf = ({ data, dims }: { data: Float32Array; dims: number[] }) => ({ data: data.slice(), dims })
      for (const { x, dy, layout, what } of tensors()) {
        for (const [i, form] of op.forms.entries()) {
          const layer = op.layer(form)
          const expected = layer.backward(dy, x, { layout })
          const [a, b] = [copyOf(dy), copyOf(x)]
          const copied = layer.backwardAsync(a, b, { layout })
          a.data.fill(Number.NaN)
          b.data.fill(Number.NaN)
          expectEqual(await copied, expected, `${what}, form ${i}, copied`)
          expectEqual(
            await layer.backwardAsync(shared(dy), shared(x), { layout }),
            expected,
            `${what}, form ${i}, shared`
          )
          const [c, d] = [copyOf(dy), copyOf(x)]
          const taken = layer.backwardAsync(c, d, { layout, transfer: true })
          expect([c.data.length, d.data.length], `${what}: dy and x are taken over`).toEqual([0, 0])
          expectEqual(await taken, expected, `${what}, form ${i}, taken over`)
          const own = copyOf(dy)
          const result = await layer.backwardAsync(own, x, { layout, dx: own })
          expect(result.dx).toBe(own)
          expectEqual(result, expected, `${what}, form ${i}, dx is dy`)
        }
      }
    })
  })
}
