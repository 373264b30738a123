// What is refused, and what is read once.
import { describe, expect, it } from 'vitest'
import {
  BatchNorm,
  batchNorm,
  GroupNorm,
  groupNorm,
  InstanceNorm,
  instanceNorm,
  LayerNorm,
  layerNorm,
  layerNormBackward,
  localResponseNorm,
  normalize,
  RMSNorm,
  rmsNorm
} from '../../dist/esm/index.js'

const zeros = (...dims: number[]) => ({ data: new Float32Array(dims.reduce((a, b) => a * b, 1)), dims })

describe('behaviour: dims are compared, not only numbers of elements', () => {
  const x = zeros(2, 3)
  it.each([
    ['residual', () => layerNorm(x, 3, { residual: zeros(3, 2) })],
    ['sum', () => rmsNorm(x, 3, { residual: zeros(2, 3), sum: zeros(3, 2) })],
    ['out', () => layerNorm(x, 3, { out: zeros(3, 2) })],
    ['weight', () => layerNorm(x, [2, 3], { weight: zeros(3, 2) })],
    ['bias', () => layerNorm(x, [2, 3], { bias: zeros(3, 2) })],
    ['weight', () => new LayerNorm([2, 3], { weight: zeros(3, 2) })],
    ['weight', () => new RMSNorm([2, 3]).setWeights({ weight: zeros(3, 2) })],
    ['out', () => groupNorm(zeros(1, 4, 2), 2, { out: zeros(1, 2, 4) })],
    ['out', () => batchNorm(zeros(2, 3, 4), { training: true, layout: 'channels-last', out: zeros(2, 4, 3) })]
  ] as [string, () => unknown][])('of %s', (what, call) => {
    expect(call).toThrow(RangeError)
    expect(call).toThrow(what)
  })

  it('and a weight of one dimension, or with ones, is the same weight', () => {
    for (const weight of [new Float32Array(6), zeros(6), zeros(2, 3), zeros(1, 2, 3)]) {
      expect(() => layerNorm(x, [2, 3], { weight })).not.toThrow()
    }
  })
})

describe('behaviour: tensors that are not dense', () => {
  const dense = { strides: [3, 1], offset: 0 }
  const others = [{ strides: [1, 2] }, { strides: [0, 1] }, { strides: [6, 2] }, { offset: 1 }, { strides: [3] }]

  it('are refused as weight, and by operations over channels and gradients', () => {
    for (const other of others) {
      const odd = { ...zeros(2, 3), ...other }
      const x = zeros(2, 3)
      const calls = [
        () => layerNorm(x, [2, 3], { weight: odd }),
        () => batchNorm(odd, { training: true }),
        () => layerNormBackward(x, odd, 3),
        () => layerNormBackward(odd, x, 3)
      ]
      for (const call of calls) expect(call, JSON.stringify(other)).toThrow(RangeError)
    }
  })

  it('are refused over rows where a row is not contiguous, is beyond the data, or would be written twice', () => {
    const rows = (other: object) => ({ ...zeros(2, 3), ...other })
    const x = zeros(2, 3)
    for (const other of others.filter(({ strides }) => strides?.[0] !== 0)) {
      for (const call of [() => layerNorm(rows(other), 3), () => layerNorm(x, 3, { residual: rows(other) })]) {
        expect(call, JSON.stringify(other)).toThrow(RangeError)
      }
    }
    for (const other of others) expect(() => layerNorm(x, 3, { out: rows(other) })).toThrow(RangeError)
  })

  it('are refused as running statistics of other dims, and as masks that are not dense', () => {
    const x = zeros(1, 4, 2)
    const four = (...dims: number[]) => ({ data: new Float32Array(4).fill(1), dims })
    for (const what of ['runningMean', 'runningVar']) {
      const given = { runningMean: new Float32Array(4), runningVar: new Float32Array(4), [what]: four(2, 2) }
      expect(() => batchNorm(x, given), what).toThrow(/running(Mean|Var)\.dims expected \[4\]/)
      expect(() => new BatchNorm(4, given), what).toThrow(/running(Mean|Var)\.dims expected \[4\]/)
      expect(() => batchNorm(x, { ...given, [what]: four(1, 4, 1) }), what).not.toThrow()
    }
    const mask = { data: Uint8Array.of(1, 0, 1, 1), dims: [2, 2] }
    expect(() => layerNorm(zeros(2, 2, 3), 3, { mask })).not.toThrow()
    for (const other of [{ strides: [1, 2] }, { offset: 1 }]) {
      expect(() => layerNorm(zeros(2, 2, 3), 3, { mask: { ...mask, ...other } })).toThrow(
        /layerNorm: mask\.(strides|offset)/
      )
    }
  })

  it('say what dense ones may say too', () => {
    expect(() => layerNorm({ ...zeros(2, 3), ...dense }, 3)).not.toThrow()
    // Without elements none stands anywhere.
    expect(() => layerNorm({ ...zeros(2, 0, 3), strides: [3, 3, 1] }, 3)).not.toThrow()
    // The stride of a dimension of one element is anybody's.
    expect(() => layerNorm({ ...zeros(1, 3), strides: [77, 1] }, 3)).not.toThrow()
  })
})

describe('behaviour: running variances', () => {
  const running = (value: number) => ({ runningMean: new Float32Array(1), runningVar: Float32Array.of(value) })

  it.each([-1, Number.NaN])('of %d are refused wherever they come in', value => {
    expect(() => batchNorm(zeros(1, 1), running(value))).toThrow(/batchNorm: runningVar/)
    expect(() => new BatchNorm(1, running(value))).toThrow(/BatchNorm: runningVar/)
  })

  it('below 0 are refused by a function in training, too, which may have made NaN itself', () => {
    const x = { data: Float32Array.of(1, 3), dims: [2, 1] }
    expect(() => batchNorm(x, { ...running(-1), training: true })).toThrow(/batchNorm: runningVar/)
    const { runningMean, runningVar } = running(Number.NaN)
    expect([...batchNorm(x, { runningMean, runningVar, training: true, eps: 0 }).data]).toEqual([-1, 1])
    expect(runningVar[0]).toBeNaN()
  })

  it('are checked as they come, and again where they were written to, and must fit float32', () => {
    const layer = new BatchNorm(1, running(1))
    ;(layer.runningVar as Float32Array)[0] = -4
    expect(() => layer.forward(zeros(1, 1))).toThrow(/BatchNorm: runningVar\[0\] expected a number >= 0, got -4/)
    const wide = (mean: number, variance: number) => ({
      runningMean: Float64Array.of(mean),
      runningVar: Float64Array.of(variance)
    })
    expect(() => new BatchNorm(1, wide(0, -1e-60))).toThrow(/BatchNorm: runningVar\[0\] expected a number >= 0/)
    expect(() => new BatchNorm(1, wide(1e39, 1))).toThrow(/runningMean\[0\] expected a number that float32 has/)
    expect(() => new BatchNorm(1, wide(0, 1e80))).toThrow(/runningVar\[0\] expected a number that float32 has/)
  })

  it('that training itself made NaN give NaN', () => {
    const layer = new BatchNorm(1)
    layer.forward({ data: Float32Array.of(Number.NaN, 1), dims: [2, 1] })
    expect(layer.eval().forward({ data: Float32Array.of(1), dims: [1, 1] }).data[0]).toBeNaN()
  })
})

describe('behaviour: properties of layers', () => {
  const layers = {
    BatchNorm: new BatchNorm(2),
    GroupNorm: new GroupNorm(1, 2),
    InstanceNorm: new InstanceNorm(2),
    LayerNorm: new LayerNorm(2),
    RMSNorm: new RMSNorm(2)
  }

  it.each(Object.entries(layers))('of %s cannot be assigned', (_, layer) => {
    const names = Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(layer)))
      .filter(([, { get }]) => get)
      .map(([name]) => name)
    expect(names.length).toBeGreaterThan(0)
    for (const name of names) {
      expect(() => Object.assign(layer, { [name]: 7 }), name).toThrow(TypeError)
    }
    expect(Object.keys(layer)).toEqual([])
  })
})

describe('behaviour: null', () => {
  const row = zeros(2, 1, 4)
  const volume = zeros(2, 4, 3)
  const channels = ['weight', 'bias', 'eps', 'mean', 'rstd', 'out', 'layout']
  const rows = ['weight', 'eps', 'residual', 'residualScale', 'sum', 'rstd', 'out', 'lengths', 'mask']
  // biome-ignore lint/suspicious/noExplicitAny: wrong options are what is tested
  const calls: { readonly [name: string]: readonly [(options: any) => unknown, readonly string[]] } = {
    layerNorm: [o => layerNorm(row, 4, o), [...rows, 'bias', 'mean']],
    rmsNorm: [o => rmsNorm(row, 4, o), [...rows, 'weightOffset', 'partial']],
    normalize: [o => normalize(row, 4, o), ['p', 'rule', 'eps', 'scale', 'norm', 'out']],
    batchNorm: [
      o => batchNorm(volume, { training: true, ...o }),
      [...channels, 'runningMean', 'runningVar', 'training', 'momentum', 'unbiased', 'statistics', 'lengths', 'mask']
    ],
    groupNorm: [o => groupNorm(volume, 2, o), channels],
    instanceNorm: [o => instanceNorm(volume, o), [...channels, 'lengths', 'mask']],
    localResponseNorm: [o => localResponseNorm(volume, 3, o), ['alpha', 'beta', 'k', 'window', 'layout', 'out']],
    'new LayerNorm': [o => new LayerNorm(4, o), ['weight', 'bias', 'eps']],
    'new RMSNorm': [o => new RMSNorm(4, o), ['weight', 'eps', 'weightOffset', 'partial']],
    'new BatchNorm': [
      o => new BatchNorm(4, o),
      ['weight', 'bias', 'eps', 'runningMean', 'runningVar', 'unbiased', 'trackRunningStats', 'training']
    ]
  }

  it.each(Object.keys(calls))('is no option of %s left out', name => {
    const [call, options] = calls[name]
    for (const option of options)
      expect(() => call({ [option]: null }), option).toThrow(
        / expected .*, got null(; leave (weight|bias) out where there is none)?$/
      )
  })
})
