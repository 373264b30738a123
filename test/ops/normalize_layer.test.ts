// Normalize, the layer of normalize; and padding, which late interaction models normalise around.
import { Tensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { fill, normal } from '../../dist/esm/cases/data.js'
import { groupNorm, Normalize, normalize } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { masks } from '../support/embeddings.ts'
import { counting, detach, expectRefusal, type Kind, refuses } from '../support/refusal.ts'

// biome-ignore lint/suspicious/noExplicitAny: options of every kind, and wrong ones
type Any = any
type Loose = { [name: string]: unknown }

const inf = Number.POSITIVE_INFINITY
const nan = Number.NaN

const parameters: readonly Loose[] = [
  {},
  { p: 1 },
  { p: inf, eps: 1e-6 },
  { p: 3, scale: 2 },
  { rule: 'zero' },
  { rule: 'clamp-square', eps: 1 },
  { rule: 'add-square', eps: 1e-6, scale: 0.3 },
  { rule: 'mean-square', eps: 1e-5 }
]

describe('equality: Normalize', () => {
  it('has the bits of normalize: forward and forwardAsync, arrays and tensors, every parameter', async () => {
    for (const options of parameters) {
      for (const d of [1, 3, 8, 17, 64, 511, 768, 1025]) {
        const rows = 6
        const what = `${d}, ${JSON.stringify(options)}`
        const x = fill(normal, rows * d, d)
        x.fill(0, 0, d)
        const norm = new Float64Array(rows)
        const expected = normalize(x, d, { ...options, norm } as Any)
        const layer = new Normalize(d, options as Any)
        expectSameBits(layer.forward(x), expected, what)
        const norms = [new Float64Array(rows), new Float64Array(rows)]
        expectSameBits(layer.forward(x, { norm: norms[0] }), expected, `${what}, norm`)
        expectSameBits(norms[0], norm, `${what}: norm`)
        const tensor = new Tensor('float32', x, [2, 3, d])
        expectSameBits(layer.forward(tensor).data as Float32Array, expected, `${what}, tensor`)
        const later = await layer.forwardAsync(tensor, { norm: norms[1] })
        expect(later).toBeInstanceOf(Tensor)
        expectSameBits(later.data as Float32Array, expected, `${what}, later`)
        expectSameBits(norms[1], norm, `${what}: norm, later`)
        const out = new Float32Array(x.length).fill(7)
        expect(layer.forward(x, { out })).toBe(out)
        expectSameBits(out, expected, `${what}, out`)
        const own = x.slice()
        expect(layer.forward(own, { out: own })).toBe(own)
        expectSameBits(own, expected, `${what}, in place`)
        const given = x.slice()
        const taken = await layer.forwardAsync(given, { transfer: true })
        expect(given.length).toBe(0)
        expectSameBits(taken, expected, `${what}, transfer`)
        const shared = new Float32Array(new SharedArrayBuffer(4 * x.length))
        shared.set(x)
        expect(await layer.forwardAsync(shared, { out: shared })).toBe(shared)
        expectSameBits(shared, expected, `${what}, shared`)
      }
    }
  })

  it('takes a shape of several dimensions', () => {
    const x = fill(normal, 48, 1)
    expectSameBits(new Normalize([3, 4]).forward(x), normalize(x, 12), 'an array')
    const tensor = { data: x, dims: [4, 3, 4] }
    expectSameBits(new Normalize([3, 4]).forward(tensor).data as Float32Array, normalize(x, 12), 'a tensor')
  })
})

const [N, L, C] = [5, 11, 20]

/** Hidden states [N, L, C] with garbage where nothing is real. */
function padded(kind: string, layout: 'last' | 'first' = 'last') {
  const flags = Array.from({ length: N * L }, (_, i) => masks[kind](Math.floor(i / L), i % L, L))
  const values = fill(normal, N * L * C, 3)
  const data = new Float32Array(N * L * C)
  const garbage = [nan, inf, 3e38]
  for (let row = 0; row < N * L; row++) {
    for (let c = 0; c < C; c++) {
      const at = layout === 'last' ? row * C + c : (Math.floor(row / L) * C + c) * L + (row % L)
      data[at] = flags[row] ? values[row * C + c] : garbage[(row + c) % 3]
    }
  }
  return { flags, data }
}

describe.each(Object.keys(masks))('equality: normalize of padded sequences, real positions: %s', kind => {
  const { flags, data } = padded(kind)
  const real = (row: number) => flags[row]

  it('has the bits of each real position, and zeros in the others', async () => {
    for (const options of parameters) {
      const plainNorm = new Float64Array(N * L)
      const expected = normalize(data, C, { ...options, norm: plainNorm } as Any)
      expected.forEach((_, i) => {
        if (!real(Math.floor(i / C))) expected[i] = 0
      })
      const norms = plainNorm.map((value, row) => (real(row) ? value : 0))
      const what = JSON.stringify(options)
      const x = { data, dims: [N, L, C] }
      const norm = new Float64Array(N * L).fill(7)
      const out = new Float32Array(data.length).fill(7)
      normalize(x, C, { ...options, mask: flags, norm, out } as Any)
      expectSameBits(out, expected, what)
      expectSameBits(norm, norms, `${what}: norm`)
      const layer = new Normalize(C, options as Any)
      const mask = BigInt64Array.from(flags, flag => BigInt(flag))
      expectSameBits(layer.forward(x, { mask }).data as Float32Array, expected, `${what}: Normalize`)
      const later = await layer.forwardAsync({ data: data.slice(), dims: [N, L, C] }, { mask, transfer: true })
      expectSameBits(later.data as Float32Array, expected, `${what}: later`)
      const own = data.slice()
      normalize({ data: own, dims: [N, L, C] }, C, { ...options, mask: flags, out: own } as Any)
      expectSameBits(own, expected, `${what}: in place`)
    }
  })

  it('groupNorm has the bits of the sequences without padding', () => {
    for (const layout of ['channels-last', 'channels-first'] as const) {
      const last = layout === 'channels-last'
      const all = padded(kind, last ? 'last' : 'first')
      const statistics = () => ({ mean: new Float64Array(4), rstd: new Float64Array(4) })
      const whole = { mean: new Float64Array(4 * N).fill(7), rstd: new Float64Array(4 * N).fill(7) }
      const x = { data: all.data, dims: last ? [N, L, C] : [N, C, L] }
      const y = groupNorm(x, 4, { layout, mask: flags, ...whole } as Any).data
      for (let n = 0; n < N; n++) {
        const kept = Array.from({ length: L }, (_, p) => p).filter(p => real(n * L + p))
        // Without positions, or with one, a group is none or a row of a matrix: rule 7 and not 7a.
        if (kept.length < 2) continue
        const at = (p: number, c: number) => (last ? (n * L + p) * C + c : (n * C + c) * L + p)
        const own = (i: number, c: number) => (last ? i * C + c : c * kept.length + i)
        const sequence = new Float32Array(kept.length * C)
        kept.forEach((p, i) => {
          for (let c = 0; c < C; c++) sequence[own(i, c)] = all.data[at(p, c)]
        })
        const alone = statistics()
        const dims = last ? [1, kept.length, C] : [1, C, kept.length]
        const result = groupNorm({ data: sequence, dims }, 4, { layout, ...alone }).data
        const actual = new Float32Array(sequence.length)
        for (let p = 0; p < L; p++) {
          const i = kept.indexOf(p)
          for (let c = 0; c < C; c++) {
            if (i >= 0) actual[own(i, c)] = y[at(p, c)]
            else expect(Object.is(y[at(p, c)], 0), `${layout}: padding`).toBe(true)
          }
        }
        expectSameBits(actual, result as Float32Array, `${layout}, sample ${n}`)
        expectSameBits(whole.mean.slice(4 * n, 4 * n + 4), alone.mean, `${layout}: mean`)
        expectSameBits(whole.rstd.slice(4 * n, 4 * n + 4), alone.rstd, `${layout}: rstd`)
      }
    }
  })
})

describe('equality: lengths', () => {
  it('are the mask that they are, for normalize, Normalize and groupNorm', () => {
    const lengths = [0, 11, 5, 1, 7]
    const { data } = padded('all')
    const x = { data, dims: [N, L, C] }
    const mask = Array.from({ length: N * L }, (_, i) => i % L < lengths[Math.floor(i / L)])
    const y = normalize(x, C, { mask } as Any)
    expectSameBits(normalize(x, C, { lengths } as Any).data, y.data, 'normalize')
    expectSameBits(new Normalize(C).forward(x, { lengths }).data, y.data, 'Normalize')
    const z = groupNorm(x, 4, { layout: 'channels-last', mask } as Any)
    expectSameBits(groupNorm(x, 4, { layout: 'channels-last', lengths } as Any).data, z.data, 'groupNorm')
  })
})

describe('behaviour: Normalize', () => {
  const x = fill(normal, 24, 1)

  it('refuses parameters that are none', () => {
    const make = (shape: unknown, options: unknown, kind: Kind, ...words: (string | RegExp)[]) =>
      refuses(() => new Normalize(shape as Any, options as Any), [], 'Normalize', kind, ...words)
    make(0, {}, RangeError, /normalizedShape/)
    make(1.5, {}, RangeError, /normalizedShape/)
    make('4', {}, TypeError, /normalizedShape/)
    make(4, { p: 0 }, RangeError, /\bp\b/)
    make(4, { p: '2' }, TypeError, /\bp\b/)
    make(4, { rule: 'max' }, RangeError, /rule/, /clamp-square/)
    make(4, { rule: 'add-square', p: 1 }, RangeError, /\bp\b/)
    make(4, { eps: -1 }, RangeError, /eps/)
    make(4, { eps: '1' }, TypeError, /eps/)
    make(4, { scale: nan }, RangeError, /scale/)
    make(4, { weight: x }, TypeError, /option/)
    make(4, { norm: x }, TypeError, /option/)
    make(4, 5, TypeError, /options/)
  })

  it('refuses operands that are wrong in kind, length or place, and writes nothing', () => {
    const layer = new Normalize(4)
    function refused(given: unknown, options: Loose, kind: Kind, ...words: (string | RegExp)[]) {
      const places = { out: new Float32Array(24).fill(7), norm: new Float64Array(6).fill(7), ...options }
      const arrays = [x, places.out, places.norm].filter(value => ArrayBuffer.isView(value))
      refuses(() => layer.forward(given as Any, places as Any), arrays, 'Normalize', kind, ...words)
    }
    refused([1, 2, 3, 4], {}, TypeError, /Float32Array/)
    refused(x.subarray(1), {}, RangeError, /length/, /4/, /23/)
    refused({ data: x, dims: [4, 6] }, {}, RangeError, /dims/)
    refused(detach(x.slice()), {}, TypeError, /detached/)
    refused(x, { out: new Float32Array(20) }, RangeError, /out/)
    refused(x, { norm: new Float64Array(4) }, RangeError, /norm/)
    refused(x, { norm: new Int8Array(6) }, TypeError, /norm/)
    refused(x, { p: 1 }, TypeError, /option/)
    refused(x, { lengths: [1] }, TypeError, /tensor/, /lengths/)
    const tensor = { data: x, dims: [2, 3, 4] }
    refused(tensor, { lengths: [1, 4] }, RangeError, /lengths\[1\]/)
    refused(tensor, { mask: [1, 1, 1, 1, 1, 2] }, RangeError, /mask\[5\]/)
    refused(tensor, { lengths: [1, 2], mask: [1] }, TypeError, /mask/)
    const memory = new Float32Array(64).fill(7)
    refused(memory.subarray(0, 24), { out: memory.subarray(1, 25) }, RangeError, /out/)
    refused(memory.subarray(0, 24), { norm: memory.subarray(20, 26) }, RangeError, /norm/)
  })

  it('rejects what forward throws, and knows transfer and signal', async () => {
    const layer = new Normalize(4)
    const rejected = (given: unknown, options: Loose) =>
      layer.forwardAsync(given as Any, options as Any).then(
        () => undefined,
        (error: unknown) => error
      )
    expectRefusal(await rejected(x.subarray(1), {}), 'Normalize', RangeError, /length/)
    expectRefusal(await rejected(x, { transfer: 1 }), 'Normalize', TypeError, /transfer/)
    expectRefusal(await rejected(x, { signal: {} }), 'Normalize', TypeError, /signal/)
    expectRefusal(await rejected(x, { out: new Float32Array(7) }), 'Normalize', RangeError, /out/)
    const part = new Float32Array(48).subarray(0, 24)
    expectRefusal(await rejected(part, { transfer: true }), 'Normalize', TypeError, /transfer/)
    const reason = { any: 'thing' }
    expect(await rejected(x, { signal: AbortSignal.abort(reason) })).toBe(reason)
    expect(x.length).toBe(24)
  })

  it('reads each option once', async () => {
    const { signal } = new AbortController()
    const calls: readonly (readonly [(options: Any) => unknown, Loose])[] = [
      [o => new Normalize(4, o), { p: 2, eps: 1, rule: 'zero', scale: 2 }],
      [o => new Normalize(4).forward(x, o), { norm: new Float32Array(6), out: new Float32Array(24) }],
      [o => new Normalize(4).forward({ data: x, dims: [2, 3, 4] }, o), { lengths: [1, 2], norm: new Float32Array(6) }],
      [o => new Normalize(4).forwardAsync({ data: x, dims: [2, 3, 4] }, o), { mask: [1, 0, 1, 1, 1, 1], signal }],
      [
        o => normalize({ data: x, dims: [2, 3, 4] }, 4, o),
        { p: 1, mask: [1, 0, 1, 1, 1, 1], out: new Float32Array(24) }
      ]
    ]
    for (const [call, given] of calls) {
      const reads = new Map<string, number>()
      await call(counting(given, reads))
      expect(Object.fromEntries(reads)).toEqual(Object.fromEntries(Object.keys(given).map(option => [option, 1])))
    }
  })
})
