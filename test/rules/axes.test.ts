// Normalization over any axes of a tensor: the groups of the model, wherever they lie, and ONNX's mean-variance
// normalization.
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal } from '../../dist/esm/cases/data.js'
import { layerNorm, normalize, rmsNorm } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { layerNormModel, normalizeModel, rmsNormModel } from '../support/model.ts'
import { testOnnxCases } from '../support/onnx.ts'
import { errorInHalfUlps, normalizeExactly } from '../support/truth/oracle.ts'

/** Dims, axes to normalize over, and whether rule 14 makes their groups columns: the same with the dims of 1 left out. */
const forms: { dims: number[]; axis: number | number[]; columns: boolean }[] = [
  { dims: [4, 6, 5], axis: 1, columns: true },
  { dims: [4, 6, 5], axis: -2, columns: true },
  { dims: [4, 6, 5], axis: 0, columns: true },
  { dims: [4, 6, 5], axis: -1, columns: false },
  { dims: [4, 6, 5], axis: [1, 2], columns: false },
  { dims: [4, 6, 5], axis: [2, 1], columns: false },
  { dims: [4, 6, 5], axis: [0, 1], columns: true },
  { dims: [4, 6, 5], axis: [0, 1, 2], columns: false },
  { dims: [4, 6, 5], axis: [0, 2], columns: false },
  { dims: [3, 4, 5, 6], axis: [0, 2, 3], columns: false },
  { dims: [3, 4, 5, 6], axis: [1, 3], columns: false },
  { dims: [3, 4, 5, 6], axis: [-3, 0], columns: true },
  { dims: [3, 4, 1, 1], axis: 1, columns: false },
  { dims: [3, 1, 4, 1], axis: [1, 2], columns: false },
  { dims: [1, 4, 5], axis: 0, columns: false },
  { dims: [7], axis: 0, columns: false },
  { dims: [2, 70, 3], axis: 1, columns: true },
  { dims: [2, 3, 300], axis: 1, columns: true }
]

/** A copy with each group a row: its elements in row-major order of their indices; and where each came from. */
function transposed(dims: readonly number[], axis: number | number[]) {
  const axes = [axis].flat().map(one => (one < 0 ? one + dims.length : one))
  const size = axes.reduce((product, one) => product * dims[one], 1)
  const groups = new Map<string, number[]>()
  const count = dims.reduce((product, dim) => product * dim, 1)
  for (let place = 0; place < count; place++) {
    let rest = place
    const index = dims.map(() => 0)
    for (let d = dims.length - 1; d >= 0; d--) {
      index[d] = rest % dims[d]
      rest = Math.floor(rest / dims[d])
    }
    const key = index.filter((_, d) => !axes.includes(d)).join()
    groups.set(key, [...(groups.get(key) ?? []), place])
  }
  return { size, places: [...groups.values()] }
}

/** A weight in the order of the axes as they are given, as groups have their elements: in that of the tensor. */
function asGroups(weight: Float32Array, dims: readonly number[], axis: number | number[]): Float32Array {
  const axes = [axis].flat().map(one => (one < 0 ? one + dims.length : one))
  const ascending = [...axes].sort((a, b) => a - b)
  return weight.map((_, i) => {
    const index = new Map<number, number>()
    let rest = i
    for (const one of [...ascending].reverse()) {
      index.set(one, rest % dims[one])
      rest = Math.floor(rest / dims[one])
    }
    return weight[axes.reduce((at, one) => at * dims[one] + (index.get(one) as number), 0)]
  })
}

/** What the model says of groups in these places, as rows or as columns of a matrix. */
function modelled<Result extends { y: Float32Array }>(
  x: Float32Array,
  places: number[][],
  columns: boolean,
  model: (call: { x: Float32Array; rows: number; cols: number; inner: number }) => Result
) {
  const y = new Float32Array(x.length)
  const results = places.map(group => {
    const values = group.map(at => x[at])
    // Beside a column of zeros.
    const data = columns ? values.flatMap(value => [value, 0]) : values
    const result = model({ x: Float32Array.from(data), rows: 1, cols: values.length, inner: columns ? 2 : 1 })
    group.forEach((at, i) => {
      y[at] = result.y[columns ? 2 * i : i]
    })
    return result
  })
  return { y, results }
}

describe('equality: axes', () => {
  it.each(forms)(
    '$dims over $axis: layerNorm, rmsNorm and normalize give the bits of the model',
    ({ dims, axis, columns }) => {
      const { size, places } = transposed(dims, axis)
      const count = places.length
      const data = fill(finiteRows['N(1e3,1)'], size * count, 1)
      const x = { data, dims }
      const [weight, bias] = [fill(normal, size, 2), fill(normal, size, 3)]
      const residual = fill(normal, data.length, 4)
      const sum = new Float32Array(data.length)
      const [mean, rstd] = [new Float64Array(count), new Float64Array(count)]

      const layer = layerNorm(x, { axis }, { weight, bias, residual, residualScale: 0.5, sum, mean, rstd })
      const added = data.map((value, i) => value + residual[i] * 0.5)
      const expected = modelled(added, places, columns, call =>
        layerNormModel({ ...call, weight: asGroups(weight, dims, axis), bias: asGroups(bias, dims, axis), eps: 1e-5 })
      )
      expectSameBits(layer.data, expected.y, 'layerNorm')
      expect(layer.dims).toEqual(dims)
      expectSameBits(sum, added, 'sum')
      expectSameBits(
        mean,
        Float64Array.from(expected.results, result => result.mean[0]),
        'mean'
      )
      expectSameBits(
        rstd,
        Float64Array.from(expected.results, result => result.rstd[0]),
        'rstd'
      )

      const counted = Math.ceil(size / 2)
      const rms = rmsNorm(x, { axis }, { weight, weightOffset: 1, partial: 0.5, rstd })
      const partial = modelled(data, places, columns, call =>
        rmsNormModel({ ...call, weight: asGroups(weight, dims, axis), weightOffset: 1, counted, eps: 1e-6 })
      )
      expectSameBits(rms.data, partial.y, 'rmsNorm')
      expectSameBits(
        rstd,
        Float64Array.from(partial.results, result => result.rstd[0]),
        'rstd of rmsNorm'
      )

      const norm = new Float64Array(count)
      for (const p of [2, 1, Number.POSITIVE_INFINITY, 3]) {
        const y = normalize(x, { axis }, { p, norm, scale: 2 })
        // Sums of other powers than squares are made over rows.
        const right = modelled(data, places, columns && p === 2, call =>
          normalizeModel({ ...call, p, rule: 0, eps: 1e-12, factor: 2 })
        )
        expectSameBits(y.data, right.y, `normalize, p ${p}`)
        expectSameBits(
          norm,
          Float64Array.from(right.results, result => result.norm[0]),
          `norm, p ${p}`
        )
      }
    }
  )

  it.each(forms)('$dims over $axis: in place, and as the trailing dimensions where they are', ({ dims, axis }) => {
    const { size, places } = transposed(dims, axis)
    const data = fill(normal, size * places.length, 5)
    const expected = layerNorm({ data, dims }, { axis }).data
    const x = { data: data.slice(), dims }
    expect(layerNorm(x, { axis }, { out: x })).toBe(x)
    expectSameBits(x.data, expected, 'layerNorm in place')
    const trailing = places.every(group => group.every((at, i) => at === group[0] + i))
    if (trailing) expectSameBits(layerNorm(data, size), expected, 'rows')
    const residual = data.slice()
    const fused = layerNorm({ data, dims }, { axis }, { residual, out: residual, sum: x.data }).data
    expectSameBits(fused, layerNorm({ data: data.map(value => value + value), dims }, { axis }).data, 'out is residual')
  })

  it('is channel LayerNorm of [N, C, H, W]: the model, and within one rounding of the transposed copy', () => {
    const dims = [2, 16, 3, 5]
    const data = fill(normal, 480, 6)
    const { places } = transposed(dims, 1)
    const y = layerNorm({ data, dims }, { axis: 1 }).data
    for (const group of places) {
      const rows = layerNorm(
        Float32Array.from(group, at => data[at]),
        16
      )
      // Rule 14 adds in another order than rules 1 to 3: rstd may round the other way, and with it everything else.
      const largest = Math.max(...rows.map(Math.abs))
      group.forEach((at, i) => {
        expect(Math.abs(y[at] - rows[i])).toBeLessThanOrEqual(2 ** -23 * largest)
      })
    }
  })
})

describe('truth: axes', () => {
  it.each(forms)('$dims over $axis: layerNorm and rmsNorm keep their bounds', ({ dims, axis }) => {
    const { size, places } = transposed(dims, axis)
    for (const kind of ['N(1e6,1)', 'uniform +-3.3e38', 'subnormal', 'one outlier'] as const) {
      const data = fill(finiteRows[kind], size * places.length, 7)
      const weight = fill(normal, size, 8)
      const layer = layerNorm({ data, dims }, { axis }, { weight, bias: weight, eps: 1e-12 }).data
      const rms = rmsNorm({ data, dims }, { axis }, { weight, eps: 1e-12 }).data
      for (const group of places) {
        const x = Float32Array.from(group, at => data[at])
        const of = (y: Float32Array) => Float32Array.from(group, at => y[at])
        for (const [y, centered, bound] of [
          [layer, true, 6.1],
          [rms, false, 3.1]
        ] as const) {
          const truth = normalizeExactly(x, 1e-12, centered)
          if (!truth) expect.fail('eps keeps every group from 0/0')
          const ordered = asGroups(weight, dims, axis)
          const error = errorInHalfUlps(of(y), truth, ordered, centered ? ordered : undefined)
          expect(error, `${kind}, centered ${centered}`).toBeLessThanOrEqual(bound)
        }
      }
    }
  })
})

// ONNX divides by the standard deviation + 1e-9, not by a root with eps in it: eps = 1e-18 is the same where the deviation
// is 0, and nothing beside it elsewhere.
testOnnxCases('MeanVarianceNormalization', 1, ({ attributes, inputs: [x] }) => [
  layerNorm(x, { axis: attributes.axes as number[] }, { eps: 1e-18 }).data
])

// biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tested
type Loose = (x: any, shape: any, options?: any) => any

describe('behaviour: axes', () => {
  const x = { data: new Float32Array(24), dims: [2, 3, 4] }

  it.each([
    ['layerNorm', layerNorm],
    ['rmsNorm', rmsNorm],
    ['normalize', normalize]
  ] as [string, Loose][])('%s refuses axes that are none, or come twice', (name, operation) => {
    const refuses = (shape: unknown, kind: typeof Error, message: string) => {
      const call = () => operation(x, shape as never)
      expect(call).toThrow(kind)
      expect(call).toThrow(`${name}: ${message}`)
    }
    const integers = 'axis expected an integer or an array of them, got'
    refuses({ axis: '1' }, TypeError, `${integers} "1"`)
    refuses({ axis: undefined }, TypeError, `${integers} undefined`)
    refuses({ axis: ['1'] }, TypeError, `${integers} ["1"]`)
    refuses({ axis: [] }, RangeError, `${integers} []`)
    refuses({ axis: 0.5 }, RangeError, `${integers} 0.5`)
    refuses({ axis: Number.NaN }, RangeError, `${integers} NaN`)
    refuses({ axis: 3 }, RangeError, 'axis expected integers from -3 to 2, got 3')
    refuses({ axis: [0, -4] }, RangeError, 'axis expected integers from -3 to 2, got -4')
    refuses({ axis: [1, -2] }, RangeError, 'axis expected each axis once, got [1, -2]')
    refuses({ axis: 1, keepdims: true }, TypeError, 'option expected one of axis, got "keepdims"')
    expect(() => operation(x.data as never, { axis: 0 } as never)).toThrow(
      `${name}: x expected a tensor { data, dims }`
    )
    const none = { data: new Float32Array(0), dims: [2, 0, 3] }
    expect(() => operation(none, { axis: 1 })).toThrow(`${name}: axis expected axes with elements, got dims [2, 0, 3]`)
    expect(operation(none, { axis: 0 })).toEqual(none)
    expect(operation(none, { axis: [0, 2] })).toEqual(none)
  })

  it('give weights and statistics the sizes of the axes and of the rest', () => {
    const message = (option: object) => () => layerNorm(x, { axis: [0, 2] }, option)
    expect(message({ weight: new Float32Array(3) })).toThrow('layerNorm: weight.length expected 8 (axis), got 3')
    expect(message({ mean: new Float64Array(8) })).toThrow('layerNorm: mean.length expected 3 (rows), got 8')
  })
})
