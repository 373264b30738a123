// Padded sequences: statistics over real positions only, 0 in the others, the bits of the sequences without their padding.
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, random } from '../../dist/esm/cases/data.js'
import {
  batchNorm,
  batchStatistics,
  instanceNorm,
  LayerNorm,
  layerNorm,
  RMSNorm,
  rmsNorm
} from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'

const [N, L, C] = [7, 90, 5]
const layouts = ['channels-first', 'channels-last'] as const
type Layout = (typeof layouts)[number]

/** Place of an element of [N, C, L] or [N, L, C]. */
const at = (layout: Layout, n: number, p: number, c: number, length = L) =>
  layout === 'channels-last' ? (n * length + p) * C + c : (n * C + c) * length + p
const dimsOf = (layout: Layout, samples: number, length: number) =>
  layout === 'channels-last' ? [samples, length, C] : [samples, C, length]

/** Flags of N * L positions, of every kind: from the front, from the back, with holes, all, none, and one alone. */
const masks: { [kind: string]: (n: number, p: number) => boolean } = {
  'from the front': (n, p) => p < [90, 64, 1, 0, 33, 65, 2][n],
  'from the back': (n, p) => p >= [0, 26, 89, 90, 57, 25, 88][n],
  'in the middle': (n, p) => p >= 3 * n && p < 80 - 10 * n,
  'with holes': (n, p) => (p * 7 + n) % (n + 2) !== 0,
  'with long holes': (n, p) => Math.floor(p / (10 + n)) % 2 === 0,
  all: () => true
}

/** A tensor with garbage in its padding. */
function padded(layout: Layout, real: (n: number, p: number) => boolean, seed: number) {
  const data = new Float32Array(N * L * C)
  const values = fill(finiteRows['N(3,0.5)'], data.length, seed)
  const garbage = [Number.NaN, Number.POSITIVE_INFINITY, 3e38]
  for (let n = 0; n < N; n++) {
    for (let p = 0; p < L; p++) {
      for (let c = 0; c < C; c++) {
        data[at(layout, n, p, c)] = real(n, p) ? values[(n * L + p) * C + c] : garbage[(p + c) % 3]
      }
    }
  }
  const flags = Array.from({ length: N * L }, (_, i) => real(Math.floor(i / L), i % L))
  return { tensor: { data, dims: dimsOf(layout, N, L) }, flags }
}

/** The real positions of one sample, as a tensor of one sample. */
function unpadded(layout: Layout, data: Float32Array, n: number, real: (n: number, p: number) => boolean) {
  const kept = Array.from({ length: L }, (_, p) => p).filter(p => real(n, p))
  const sequence = new Float32Array(kept.length * C)
  kept.forEach((p, i) => {
    for (let c = 0; c < C; c++) sequence[at(layout, 0, i, c, kept.length)] = data[at(layout, n, p, c)]
  })
  return { data: sequence, dims: dimsOf(layout, 1, kept.length), kept }
}

/** Fails unless y is 0 at padded positions and has, sample for sample, the bits of these sequences in the others. */
function expectUnpadded(
  y: Float32Array,
  layout: Layout,
  real: (n: number, p: number) => boolean,
  expected: (n: number) => Float32Array,
  what: string
) {
  const right = new Float32Array(N * L * C)
  for (let n = 0; n < N; n++) {
    const { kept } = unpadded(layout, right, n, real)
    const sequence = expected(n)
    kept.forEach((p, i) => {
      for (let c = 0; c < C; c++) right[at(layout, n, p, c)] = sequence[at(layout, 0, i, c, kept.length)]
    })
  }
  expectSameBits(y, right, what)
}

const kinds = Object.keys(masks)
const [weight, bias] = [fill(normal, C, 1), fill(normal, C, 2)]

describe.each(layouts)('equality: padded sequences, %s', layout => {
  it.each(kinds)('instanceNorm gives the bits of the sequences without padding: %s', kind => {
    const real = masks[kind]
    const { tensor, flags } = padded(layout, real, 1)
    const statistics = () => ({ mean: new Float64Array(N * C), rstd: new Float64Array(N * C) })
    const whole = statistics()
    const y = instanceNorm(tensor, { weight, bias, layout, mask: flags, ...whole })
    expectUnpadded(
      y.data,
      layout,
      real,
      n => {
        const alone = { mean: new Float64Array(C), rstd: new Float64Array(C) }
        const sequence = unpadded(layout, tensor.data, n, real)
        const result = instanceNorm(sequence, { weight, bias, layout, ...alone }).data
        if (sequence.kept.length > 1) {
          expectSameBits(whole.mean.slice(n * C, (n + 1) * C), alone.mean, `mean of ${n}`)
          expectSameBits(whole.rstd.slice(n * C, (n + 1) * C), alone.rstd, `rstd of ${n}`)
        }
        return result
      },
      kind
    )
  })

  it.each(kinds)('layerNorm and rmsNorm treat each real position as they would without padding: %s', kind => {
    const real = masks[kind]
    const { tensor, flags } = padded(layout, real, 2)
    const residual = fill(normal, tensor.data.length, 3)
    // Each position is a group over the channels.
    const shape = layout === 'channels-last' ? C : { axis: 1 }
    const sum = new Float32Array(tensor.data.length).fill(7)
    const [mean, rstd] = [new Float64Array(N * L).fill(7), new Float64Array(N * L).fill(7)]
    const y = layerNorm(tensor, shape, { weight, bias, mask: flags, residual, sum, mean, rstd })
    const added = tensor.data.map((value, i) => value + residual[i])
    const plain = { mean: new Float64Array(N * L), rstd: new Float64Array(N * L) }
    const expected = layerNorm({ ...tensor, data: added }, shape, { weight, bias, ...plain })
    const only = (of: Float32Array, n: number) => unpadded(layout, of, n, real).data
    expectUnpadded(y.data, layout, real, n => only(expected.data, n), 'layerNorm')
    expectUnpadded(sum, layout, real, n => only(added, n), 'sum')
    const keptOnly = (array: Float64Array) => array.map((value, i) => (flags[i] ? value : 0))
    expectSameBits(mean, keptOnly(plain.mean), 'mean')
    expectSameBits(rstd, keptOnly(plain.rstd), 'rstd')

    const z = rmsNorm(tensor, shape, { weight, mask: flags, residual, partial: 0.5, residualScale: 2 })
    const doubled = tensor.data.map((value, i) => value + residual[i] * 2)
    const right = rmsNorm({ ...tensor, data: doubled }, shape, { weight, partial: 0.5 })
    expectUnpadded(z.data, layout, real, n => only(right.data, n), 'rmsNorm')
  })

  it.each(kinds)('batchNorm takes no notice of padding: %s', kind => {
    const real = masks[kind]
    const { tensor, flags } = padded(layout, real, 4)
    const running = { runningMean: new Float64Array(C).fill(2), runningVar: new Float64Array(C).fill(3) }
    const inference = batchNorm(tensor, { ...running, weight, bias, layout, mask: flags })
    const sequences = Array.from({ length: N }, (_, n) => unpadded(layout, tensor.data, n, real))
    expectUnpadded(
      inference.data,
      layout,
      real,
      n => batchNorm(sequences[n], { ...running, weight, bias, layout }).data,
      'inference'
    )
    const statistics = batchStatistics(tensor, { layout, mask: flags })
    expect(statistics.count).toBe(flags.filter(flag => flag).length)
    const training = batchNorm(tensor, { training: true, weight, layout, mask: flags, ...running })
    expectUnpadded(
      training.data,
      layout,
      real,
      n => batchNorm(sequences[n], { training: true, statistics, weight, layout }).data,
      'training'
    )
    if (layout === 'channels-last') {
      // The real positions of all samples, one after another, are the rows of a matrix.
      const rows = Float32Array.from(sequences.flatMap(({ data }) => [...data]))
      const matrix = batchStatistics({ data: rows, dims: [rows.length / C, C] })
      expectSameBits(statistics.mean, matrix.mean, 'mean')
      expectSameBits(statistics.squaredDeviations, matrix.squaredDeviations, 'squaredDeviations')
      const again = { runningMean: new Float64Array(C).fill(2), runningVar: new Float64Array(C).fill(3) }
      batchNorm({ data: rows, dims: [rows.length / C, C] }, { training: true, ...again })
      expectSameBits(running.runningMean, again.runningMean, 'running mean')
      expectSameBits(running.runningVar, again.runningVar, 'running variance')
    } else {
      // Packed to the front, or cut to the longest sequence: the same runs.
      const longest = Math.max(...sequences.map(({ kept }) => kept.length))
      const data = new Float32Array(N * C * longest).fill(Number.NaN)
      sequences.forEach(({ data: from, kept }, n) => {
        for (let c = 0; c < C; c++) {
          for (let i = 0; i < kept.length; i++) data[(n * C + c) * longest + i] = from[c * kept.length + i]
        }
      })
      const lengths = sequences.map(({ kept }) => kept.length)
      const packed = batchStatistics({ data, dims: [N, C, longest] }, { lengths })
      expectSameBits(statistics.mean, packed.mean, 'mean')
      expectSameBits(statistics.squaredDeviations, packed.squaredDeviations, 'squaredDeviations')
    }
  })

  it('takes lengths for the mask that they are, and masks of every type', () => {
    const { tensor, flags } = padded(layout, masks['from the front'], 5)
    const lengths = [90, 64, 1, 0, 33, 65, 2]
    const expected = instanceNorm(tensor, { layout, mask: flags }).data
    const forms: { [what: string]: object } = {
      lengths: { lengths },
      Int32Array: { lengths: Int32Array.from(lengths) },
      BigInt64Array: { lengths: BigInt64Array.from(lengths, BigInt) },
      Uint8Array: { mask: Uint8Array.from(flags, Number) },
      'BigInt64Array mask': { mask: BigInt64Array.from(flags, flag => BigInt(flag)) },
      tensor: { mask: { data: Uint8Array.from(flags, Number), dims: [N, L] } },
      'mixed flags': { mask: flags.map((flag, i) => (i % 2 ? flag : flag ? 1 : 0)) }
    }
    for (const [what, form] of Object.entries(forms)) {
      expectSameBits(instanceNorm(tensor, { layout, ...form }).data, expected, what)
    }
  })

  it.each(['in the middle', 'with holes'])('gives the same bits in place and into any memory: %s', kind => {
    const { tensor, flags } = padded(layout, masks[kind], 6)
    const call = (data: Float32Array, out?: Float32Array) => {
      const x = { ...tensor, data }
      const shape = layout === 'channels-last' ? C : { axis: 1 }
      return {
        batchNorm: () => batchNorm(x, { training: true, layout, mask: flags, out }).data,
        instanceNorm: () => instanceNorm(x, { layout, mask: flags, out }).data,
        layerNorm: () => layerNorm(x, shape, { mask: flags, out }).data,
        rmsNorm: () => rmsNorm(x, shape, { mask: flags, out }).data
      }
    }
    for (const name of ['batchNorm', 'instanceNorm', 'layerNorm', 'rmsNorm'] as const) {
      const expected = call(tensor.data)[name]()
      const x = tensor.data.slice()
      expect(call(x, x)[name]()).toBe(x)
      expectSameBits(x, expected, `${name} in place`)
      const memory = new Float32Array(x.length + 40).fill(7)
      const out = memory.subarray(13, 13 + x.length)
      call(tensor.data, out)[name]()
      expectSameBits(out, expected, `${name} elsewhere`)
      expect([...memory.subarray(0, 13), ...memory.subarray(13 + x.length)].every(value => value === 7)).toBe(true)
    }
  })
})

describe('equality: padding in layers', () => {
  it('is that of the functions', () => {
    const { tensor, flags } = padded('channels-last', masks['with holes'], 7)
    const call = { mask: flags }
    const layer = new LayerNorm(C, { weight, bias }).forward(tensor, call)
    expectSameBits(layer.data, layerNorm(tensor, C, { weight, bias, ...call }).data, 'LayerNorm')
    const rms = new RMSNorm(C, { weight }).forward(tensor, call)
    expectSameBits(rms.data, rmsNorm(tensor, C, { weight, ...call }).data, 'RMSNorm')
  })
})

// biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tested
type Loose = (x: any, shape: any, options?: any) => any

describe('behaviour: padding of row operations', () => {
  const tensor = { data: new Float32Array(24), dims: [2, 3, 4] }
  const lengths = [1, 2]

  it.each([
    ['layerNorm', layerNorm],
    ['rmsNorm', rmsNorm]
  ] as [string, Loose][])('%s needs a tensor of three dimensions and a group of one of them', (name, operation) => {
    const refuses = (call: () => unknown, kind: typeof Error, message: string) => {
      expect(call).toThrow(kind)
      expect(call).toThrow(`${name}: ${message}`)
    }
    refuses(
      () => operation(tensor.data, 4, { lengths }),
      TypeError,
      'x expected a tensor { data, dims }, because lengths'
    )
    refuses(
      () => operation(tensor.data, 4, { mask: [] }),
      TypeError,
      'x expected a tensor { data, dims }, because mask'
    )
    const shape = 'x.dims expected [N, L, C] or [N, C, L] with C to normalize over (lengths), got'
    refuses(() => operation(tensor, [3, 4], { lengths }), RangeError, `${shape} [2, 3, 4]`)
    refuses(() => operation({ ...tensor, dims: [6, 4] }, 4, { lengths }), RangeError, `${shape} [6, 4]`)
    refuses(() => operation({ ...tensor, dims: [2, 3, 2, 2] }, 2, { lengths }), RangeError, `${shape} [2, 3, 2, 2]`)
    refuses(() => operation(tensor, { axis: 0 }, { lengths }), RangeError, `${shape} [2, 3, 4]`)
    refuses(() => operation(tensor, { axis: [0, 2] }, { lengths }), RangeError, `${shape} [2, 3, 4]`)
    refuses(() => operation(tensor, 4, { lengths: [1, 4] }), RangeError, 'lengths[1] expected an integer from 0 to 3')
    refuses(
      () => operation(tensor, { axis: 1 }, { lengths: [1, 5] }),
      RangeError,
      'lengths[1] expected an integer from 0 to 4'
    )
    refuses(() => operation(tensor, 4, { lengths, mask: [1] }), TypeError, 'mask expected undefined, because lengths')
    refuses(
      () => operation(tensor, 4, { mask: [1, 1] }),
      RangeError,
      'mask.length expected 6 (samples * positions), got 2'
    )
  })

  it('is read before anything is written', () => {
    const out = new Float32Array(24).fill(7)
    const next = random(1)
    const x = { ...tensor, data: tensor.data.map(() => next()) }
    expect(() => layerNorm(x, 4, { mask: [1, 1, 1, 1, 1, 2], out })).toThrow('mask[5] expected')
    expect(out.every(value => value === 7)).toBe(true)
  })
})
