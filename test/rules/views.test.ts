// Views and broadcast inputs: the bits of the same elements in dense tensors, and nothing between the rows is touched.
import { describe, expect, it } from 'vitest'
import { sharingOfRows } from '../../dist/esm/call/views.js'
import { fill, finiteRows, random } from '../../dist/esm/cases/data.js'
import { LayerNorm, layerNorm, normalize, RMSNorm, rmsNorm, type View, view } from '../../dist/esm/index.js'
import { storedOver } from '../../dist/esm/kernels/arrays.js'
import { toFloat16 } from '../../dist/esm/kernels/float16.js'
import { backendsHere } from '../support/backends.ts'
import { expectSameBits } from '../support/bits.ts'

type Elements = Float32Array | Uint16Array
type AnyView = View<Elements>

const types = {
  float32: (n: number, seed: number): Elements => fill(finiteRows['N(3,0.5)'], n, seed),
  float16: (n: number, seed: number): Elements => Uint16Array.from(fill(finiteRows['N(3,0.5)'], n, seed), toFloat16)
}
type Type = keyof typeof types

/** Fails unless elements have the same bits. */
function expectSame(actual: ArrayBufferView, expected: ArrayBufferView, what: string) {
  if (actual instanceof Float32Array) return expectSameBits(actual, expected as Float32Array, what)
  const bytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => new Uint8Array(buffer, byteOffset, byteLength)
  expectSameBits(bytes(actual), bytes(expected), what)
}

const product = (dims: readonly number[]) => dims.reduce((size, dim) => size * dim, 1)

/** Calls visit(place in the data) for each element, in order. */
function eachElement({ dims, strides, offset }: AnyView, visit: (place: number) => void) {
  const index = dims.map(() => 0)
  for (let i = 0; i < product(dims); i++) {
    visit(index.reduce((at, value, d) => at + value * strides[d], offset))
    for (let d = dims.length - 1; d >= 0 && ++index[d] === dims[d]; d--) index[d] = 0
  }
}

/** The same elements one behind the other. */
function dense(of: AnyView): { data: Elements; dims: readonly number[]; type: string | undefined } {
  const numbers: number[] = []
  eachElement(of, place => numbers.push(of.data[place]))
  const Class = of.data.constructor as new (numbers: number[]) => Elements
  return { data: new Class(numbers), dims: of.dims, type: of.type }
}

/** Fails where an element that is not of a view has changed. */
function expectUntouched(of: AnyView, before: Elements, what: string) {
  const mine = new Set<number>()
  eachElement(of, place => mine.add(place))
  before.forEach((value, i) => {
    if (!mine.has(i)) expect(of.data[i], `${what}: between the rows, [${i}]`).toBe(value)
  })
}

/** Dims of 0 to 3 axes of rows, and 1 or 2 that are normalised over; views of them with gaps, in any order of the rows. */
function problem(seed: number) {
  const next = random(seed)
  const below = (n: number) => Math.floor(next() * n)
  const tail = 1 + below(2)
  const rows = Array.from({ length: below(4) }, () => 1 + below(5))
  const dims = [...rows, ...Array.from({ length: tail }, () => 1 + below(seed % 10 === 0 ? 40 : 9))]
  const type: Type = seed % 2 === 0 ? 'float32' : 'float16'
  const viewOf = (shown: readonly number[], broadcast: boolean): AnyView => {
    const strides = shown.map((_, d) => product(shown.slice(d + 1)))
    let extent = product(shown.slice(-tail)) + below(3)
    const order = shown.slice(0, -tail).map((_, d) => d)
    for (const d of order.sort(() => next() - 0.5)) {
      const repeats = broadcast && below(4) === 0
      strides[d] = repeats ? 0 : extent
      if (!repeats) extent = extent * shown[d] + below(4)
    }
    const offset = below(5)
    const length = offset + shown.reduce((last, dim, d) => last + (dim - 1) * strides[d], 1) + below(3)
    return view({ data: types[type](length, seed), type }, { dims: shown, strides, offset }) as AnyView
  }
  return { dims, shape: dims.slice(-tail), type, viewOf, below }
}

const seeds = Array.from({ length: 120 }, (_, i) => i + 1)

describe('equality: views over rows', () => {
  it('have the bits of dense tensors as x, residual, sum and out, at once and off the event loop', async () => {
    for (const seed of seeds) {
      const { dims, shape, type, viewOf, below } = problem(seed)
      const [x, residual, sum, out] = [viewOf(dims, true), viewOf(dims, true), viewOf(dims, false), viewOf(dims, false)]
      const before = { sum: sum.data.slice(), out: out.data.slice() }
      const weight = fill(finiteRows['N(0,1)'], product(shape), 3)
      const Layer = (below(2) ? LayerNorm : RMSNorm) as typeof LayerNorm
      const layer = new Layer(shape, { weight })
      const wantedSum = { data: types[type](product(dims), 0), dims, type }
      const wanted = layer.forward(dense(x), { residual: dense(residual), sum: wantedSum })
      const options = { residual, sum, out }
      const got = seed % 3 === 0 ? await layer.forwardAsync(x, options) : layer.forward(x, options)
      const what = `seed ${seed}, ${type} [${dims}], ${Layer.name}`
      expect(got, what).toBe(out)
      expectSame(dense(out).data, wanted.data as Elements, what)
      expectSame(dense(sum).data, wantedSum.data, `${what}, sum`)
      expectUntouched(out, before.out, what)
      expectUntouched(sum, before.sum, what)
      const plain: { data: unknown; dims: unknown } = normalize(x, shape)
      expect(plain.dims).toEqual(dims)
      expectSame(plain.data as Elements, normalize(dense(x), shape).data as Elements, `${what}, normalize`)
    }
  })

  it.each(backendsHere)('have them by the kernels of %s', (_, kernels) => {
    const size = 37
    const strides = [7 * 40, 40]
    for (const dims of [
      [3, 6],
      [4, 2],
      [1, 7]
    ]) {
      for (const type of ['float32', 'float16', 'bfloat16'] as const) {
        const n = dims[0] * dims[1]
        const memory = () => new ArrayBuffer(4 * 7 * 40 * 4)
        const [from, to] = [memory(), memory()]
        const bits = new Uint16Array(from)
        fill(finiteRows['N(0,1)'], bits.length, 5).forEach((value, i) => {
          bits[i] = toFloat16(value)
        })
        const rows = { dims, strides }
        const shape = { outer: n, size, inner: 1 }
        const nothing = { mean: undefined, rstd: undefined, weight: undefined, bias: undefined, sum: undefined }
        const numbers = { residual: undefined, residualScale: 1, eps: 1e-5, ...nothing }
        const all = (buffer: ArrayBuffer) => storedOver({ type, rows }, buffer, 0, 4 * 7 * 40)
        kernels.layer_norm({ y: all(to), x: all(from), shape, ...numbers })
        const Memory = type === 'float32' ? Float32Array : Uint16Array
        const collected = (buffer: ArrayBuffer) => {
          const whole = new Memory(buffer)
          const rows = new Memory(n * size)
          for (let i = 0; i < n; i++) {
            const first = Math.floor(i / dims[1]) * strides[0] + (i % dims[1]) * strides[1]
            rows.set(whole.subarray(first, first + size), i * size)
          }
          return rows
        }
        const x = storedOver({ type }, collected(from).buffer, 0, n * size)
        const y = storedOver({ type }, new Memory(n * size).buffer, 0, n * size)
        kernels.layer_norm({ y, x, shape, ...numbers })
        expectSame(collected(to), y, `${type} [${dims}]`)
      }
    }
  })

  it.each(backendsHere)(
    'have them in place by the kernels of %s, more rows than are listed at a time',
    (_, kernels) => {
      for (const { dims, strides, size } of [
        { dims: [90, 8], strides: [8 * 11 + 3, 11], size: 11 },
        { dims: [5, 3, 41], strides: [20, 100, 300], size: 20 },
        { dims: [3, 200], strides: [200 * 32 + 1, 32], size: 32 },
        { dims: [2, 3], strides: [1200, 400], size: 300 }
      ]) {
        const n = product(dims)
        const length = dims.reduce((last, dim, d) => last + (dim - 1) * strides[d], size)
        const memory = () => fill(finiteRows['N(3,0.5)'], length, 6)
        const [x, residual, rstd] = [memory(), memory().map(value => value / 3), new Float64Array(n)]
        const shown = (data: Float32Array): AnyView =>
          view(data, { dims: [...dims, size], strides: [...strides, 1] }) as AnyView
        const collected = (from: Float32Array) => dense(shown(from)).data as Float32Array
        const weight = fill(finiteRows['N(0,1)'], size, 4)
        const shape = { outer: n, size, inner: 1 }
        // All but a row in the middle and two at the end.
        const middle = Math.floor(n / 2)
        const spans = Int32Array.of(2, 6, 0, middle - 1, middle, n - 2)
        const storage = { type: 'float32', rows: { dims, strides } } as const
        for (const [op, more] of [
          ['layer_norm', { residual: undefined, sum: undefined, mean: undefined, rstd: undefined, bias: undefined }],
          ['layer_norm', { residual: undefined, sum: undefined, mean: undefined, rstd, bias: weight }],
          ['rms_norm', { residual, sum: undefined, rstd: undefined, counted: size, weightOffset: 0 }],
          ['normalize', { norm: undefined, p: 2, rule: 0, factor: 1 }]
        ] as const) {
          for (const padded of [undefined, spans]) {
            const run = (alike: boolean) => {
              const all = alike
                ? (of: Float32Array) => storedOver(storage, of.buffer, 0, length)
                : (of: Float32Array) => of
              const own = (of: Float32Array) => (alike ? of.slice() : collected(of))
              const y = own(x)
              const given = 'residual' in more && more.residual ? all(own(more.residual)) : undefined
              const numbers = { residualScale: 1, eps: 1e-5, weight, ...more, residual: given }
              const call = { y: all(y), x: all(y), shape: padded ? { ...shape, spans: padded } : shape, ...numbers }
              ;(kernels[op] as (call: object) => void)(call)
              return y
            }
            const got = run(true)
            const what = `${op} [${dims}], ${padded ? 'padded' : 'all'}`
            expectSameBits(collected(got), run(false), what)
            expectUntouched(shown(got), x, what)
          }
        }
      }
    }
  )

  it('broadcast a residual whose dims are 1 or missing, with strides said or not', () => {
    const x = { data: types.float32(24, 1) as Float32Array, dims: [2, 3, 4] }
    const residual = types.float32(12, 2) as Float32Array
    const twice = Float32Array.of(...residual, ...residual)
    const wanted = layerNorm(x, 4, { residual: { data: twice, dims: x.dims } }).data
    for (const dims of [
      [3, 4],
      [1, 3, 4]
    ]) {
      expectSameBits(layerNorm(x, 4, { residual: { data: residual, dims } }).data, wanted, `[${dims}]`)
      expectSameBits(layerNorm(x, 4, { residual: view(residual, { dims }) }).data, wanted, `view [${dims}]`)
    }
    const row = { data: residual.subarray(0, 4), dims: [4] }
    const six = { data: Float32Array.from({ length: 24 }, (_, i) => residual[i % 4]), dims: x.dims }
    expectSameBits(rmsNorm(x, 4, { residual: row }).data, rmsNorm(x, 4, { residual: six }).data, 'one row')
  })
})

describe('behaviour: views over rows', () => {
  const qkv = () => Float32Array.from({ length: 4 * 3 * 2 * 8 }, (_, i) => (i * 7) % 13)
  const heads = (data: Float32Array, k: number) => view(data, { dims: [4, 2, 8], strides: [48, 8, 1], offset: 16 * k })

  it('are written in place, and beside each other in the same memory', () => {
    const data = qkv()
    const queries = rmsNorm(heads(data, 0), 8).data
    const keys = rmsNorm(heads(data, 1), 8).data
    const values = dense(heads(data, 2)).data as Float32Array
    rmsNorm(heads(data, 1), 8, { out: heads(data, 0) })
    expectSameBits(dense(heads(data, 0)).data as Float32Array, keys, 'keys in the place of queries')
    const again = qkv()
    rmsNorm(heads(again, 0), 8, { out: heads(again, 0) })
    expectSameBits(dense(heads(again, 0)).data as Float32Array, queries, 'in place')
    expectSameBits(dense(heads(again, 2)).data as Float32Array, values, 'values')
  })

  it('are refused where they are no rows, share memory, or leave the data, before anything is written', async () => {
    const data = qkv()
    const before = data.slice()
    const x = heads(data, 0)
    const overlapping = view(data, { dims: x.dims, strides: [8, 4, 1] })
    const refused: [call: () => unknown, message: RegExp][] = [
      [() => rmsNorm(x, 8, { out: { ...x, offset: 1 } }), /out expected exactly the memory of x/],
      [() => rmsNorm(x, 8, { out: view(new Float32Array(64), { dims: x.dims, strides: [0, 8, 1] }) }), /out\.strides/],
      [() => rmsNorm(x, 8, { out: view(new Float32Array(64), { dims: x.dims, strides: [8, 4, 1] }) }), /out\.strides/],
      [() => rmsNorm({ ...x, strides: [48, 16, 2] }, 8), /x\.strides\[2\] expected 1/],
      [() => rmsNorm(overlapping, 8, { out: overlapping }), /out\.strides expected rows that share no memory/],
      [() => rmsNorm({ ...x, strides: [48, 8] }, 8), /x\.strides expected 3 of them/],
      [() => rmsNorm({ ...x, strides: [-48, 8, 1] }, 8), /x\.strides expected integers >= 0/],
      [() => rmsNorm({ ...x, offset: 33 }, 8), /x\.data\.length expected at least/],
      [() => rmsNorm(x, 8, { residual: { data: new Float32Array(32), dims: [4, 1, 8, 1] } }), /residual\.dims/],
      [() => rmsNorm(x, 8, { residual: { data: new Float32Array(8), dims: [4, 2, 1] } }), /residual\.strides\[2\]/],
      [() => layerNorm(x, { axis: 1 }), /x\.strides/],
      [() => view(data, { dims: [4, 2, 8], strides: [48, 8, 1], offset: 40 }), /of\.data\.length expected at least/],
      [() => view([1] as never, { dims: [1] }), /of\.data expected a typed array/],
      [() => view(data, { dims: [-1] }), /dims expected integers >= 0/]
    ]
    for (const [call, message] of refused) expect(call, String(message)).toThrow(message)
    await expect(new RMSNorm(8).forwardAsync(x, { transfer: true })).rejects.toThrow(/x expected a dense tensor/)
    expectSameBits(data, before, 'nothing was written')
  })

  it('may have no elements, whatever they say of these', async () => {
    const none = { data: new Float32Array(0), dims: [0, 2, 3] }
    const apart = () => ({ data: new Float32Array(10), dims: [0, 2, 3], strides: [10, 4, 1] })
    const behind = { data: new Float32Array(10), dims: [0, 2, 3], offset: 11 }
    const out = apart()
    expect(layerNorm(none, 3, { out })).toBe(out)
    expect(out.data).toEqual(new Float32Array(10))
    expect(normalize(behind, 3).data).toEqual(new Float32Array(0))
    expect((await new LayerNorm(3).forwardAsync(none, { out: apart() })).dims).toEqual([0, 2, 3])
    expect((await new LayerNorm(3).forwardAsync(behind)).data).toEqual(new Float32Array(0))
  })

  it('share memory exactly where they have an element in common', () => {
    const buffer = new ArrayBuffer(4000)
    const next = random(9)
    const below = (n: number) => Math.floor(next() * n)
    let shared = 0
    for (let round = 0; round < 3000; round++) {
      const layout = () => ({ size: 1 + below(3), dims: [1 + below(4), 1 + below(3)], strides: [below(14), below(5)] })
      type Layout = ReturnType<typeof layout>
      const over = ({ size, dims, strides }: Layout) => {
        const extent = dims.reduce((extent, dim, i) => extent + (dim - 1) * strides[i], size)
        return new Float32Array(buffer, 4 * below(30), extent)
      }
      const places = (array: Float32Array, { size, dims, strides }: Layout) => {
        const all = new Set<number>()
        for (let i = 0; i < product(dims) * size; i++) {
          const row = Math.floor(i / size)
          const first = Math.floor(row / dims[1]) * strides[0] + (row % dims[1]) * strides[1]
          all.add(array.byteOffset / 4 + first + (i % size))
        }
        return all
      }
      const first = layout()
      const second = round % 2 === 0 ? first : layout()
      const [a, b] = [over(first), over(second)]
      const other = places(b, second)
      const common = [...places(a, first)].some(place => other.has(place))
      expect(sharingOfRows(a, first, b, second) !== 'none').toBe(common)
      shared += common ? 1 : 0
    }
    expect(shared).toBeGreaterThan(500)
    expect(shared).toBeLessThan(2900)
  })
})
