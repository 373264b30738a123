import { createRequire } from 'node:module'
import { Tensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { givenStatistics } from '../../dist/esm/cases/batch_norm.js'
import { fill, finiteRows, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import type { VolumeCase } from '../../dist/esm/cases/volumes.js'
import { BatchNorm, type BatchNormOptions, BatchStatistics, batchNorm, batchStatistics } from '../../dist/esm/index.js'
import { backendsHere } from '../support/backends.ts'
import { expectSameBits } from '../support/bits.ts'
import { volumeOperands } from '../support/calls.ts'
import { testChannelBehaviour } from '../support/channels/behaviour.ts'
import { testVolumeEquality, type VolumeOp } from '../support/channels/equality.ts'
import { testVolumeTruth } from '../support/channels/truth.ts'
import { guarded } from '../support/memory.ts'
import { batchNormModel } from '../support/model.ts'
import { testOnnxCases } from '../support/onnx.ts'
import { errorInHalfUlps, integer, normalizeBy, ratio } from '../support/truth/oracle.ts'

const op: VolumeOp<VolumeCase> = {
  name: 'batch_norm',
  outputs: ({ x }) => ({ y: new Float32Array(x.length) }),
  more: givenStatistics,
  model(given) {
    const { mean, variance } = givenStatistics(given)
    return batchNormModel(given, mean, variance)
  },
  inPlace: true,
  // The statistics that cases are given depend on the shape: tested apart.
  bySample: false,
  byGroup: false
}

testVolumeEquality(op)

testVolumeTruth({
  name: 'batchNorm, training',
  roundings: 4,
  overBatch: true,
  channels: [1],
  call: ({ tensor, options }) => batchNorm(tensor, { ...options, training: true }).data
})

describe.each(backendsHere)('equality: batch_norm on %s', (_, kernels) => {
  it('gives a sample and a channel the same bits alone as in a batch', () => {
    for (const channelsLast of [true, false]) {
      const [samples, groups, positions] = [3, 37, 21]
      const x = fill(finiteRows['N(3,0.5)'], samples * groups * positions, 1)
      const mean = Float64Array.from(fill(normal, groups, 2), value => value + 3)
      const variance = Float64Array.from({ length: groups }, (_, c) => (c % 9 === 5 ? 1e70 : 0.1 + c))
      const [weight, bias] = [fill(normal, groups, 3), fill(normal, groups, 4)]
      const run = (data: Float32Array, n: number, from: number, to: number) => {
        const y = new Float32Array(data.length)
        const of = <Items extends Float32Array | Float64Array>(array: Items) => array.slice(from, to) as Items
        const shape = { samples: n, groups: to - from, channels: 1, positions, channelsLast }
        const parameters = { weight: of(weight), bias: of(bias), eps: 1e-5 }
        kernels.batch_norm(
          volumeOperands({ y, x: data, mean: of(mean), variance: of(variance), ...parameters, ...shape })
        )
        return y
      }
      const whole = run(x, samples, 0, groups)
      const size = groups * positions
      for (let n = 0; n < samples; n++) {
        const one = run(x.slice(n * size, (n + 1) * size), 1, 0, groups)
        expectSameBits(one, whole.slice(n * size, (n + 1) * size), `sample ${n}`)
      }
      for (let from = 0; from < groups; from += 3) {
        const to = Math.min(groups, from + 1 + (from % 17))
        const inside = (_: number, i: number) => {
          const channel = channelsLast ? i % groups : Math.floor(i / positions) % groups
          return channel >= from && channel < to
        }
        expectSameBits(run(x.filter(inside), samples, from, to), whole.filter(inside), `channels ${from} to ${to}`)
      }
    }
  })
})

describe.each(backendsHere)('equality: batch_norm of channels last on %s', (_, kernels) => {
  // Few channels are repeated, many are worked on in parts, of which one may need float64.
  const channels = [1, 3, 16, 17, 100, 257, 513, 1024, 1025]
  it.each(channels)('gives the bits of NUMERICS.md for %d channels, wherever they lie, in place too', groups => {
    const variance = (wild: number) =>
      Float64Array.from({ length: groups }, (_, c) => (c === wild ? 1e70 : 0.1 + (c % 7)))
    for (const [samples, positions, padded, wild, offset] of [
      [1, 1, false, -1, 0],
      [3, 5, false, -1, 4],
      [4, 7, true, -1, 12],
      [5, 3, true, groups - 1, 5],
      [2, 19, false, -1, 1]
    ] as const) {
      const n = samples * groups * positions
      // A span of each sample.
      const spans = padded
        ? Int32Array.from({ length: 2 * samples }, (_, i) => (i % 2 ? positions - (i % 3 ? 1 : 0) : (i / 2) % 2))
        : undefined
      const volume = { samples, groups, channels: 1, positions, channelsLast: true, spans, eps: 1e-5 }
      const parameters = {
        weight: offset % 2 ? undefined : fill(ordinaryWeights, groups, 2),
        bias: fill(normal, groups, 3)
      }
      const statistics = { mean: Float64Array.from(fill(normal, groups, 4)), variance: variance(wild) }
      const x = guarded(n, offset, fill(finiteRows['N(3,0.5)'], n, 1)).array
      const given = { name: '', ...volume, ...parameters, x }
      const expected = batchNormModel(given, statistics.mean, statistics.variance).y
      const { array: y, intact } = guarded(n, offset)
      kernels.batch_norm(volumeOperands({ y, ...given, ...statistics }))
      expectSameBits(y, expected, `${samples} samples of ${positions}`)
      expect(intact()).toBe(true)
      kernels.batch_norm(volumeOperands({ ...given, ...statistics, y: x }))
      expectSameBits(x, expected, 'in place')
    }
  })
})

const layouts = ['channels-first', 'channels-last'] as const

describe('equality: batchNorm', () => {
  const [weight, bias] = [fill(normal, 5, 2), fill(normal, 5, 3)]
  const tensor = (layout: string, seed: number) => {
    const dims = layout === 'channels-first' ? [6, 5, 7] : [6, 7, 5]
    return { data: fill(finiteRows['N(3,0.5)'], 210, seed), dims }
  }

  it('gives the same bits as a function and as a layer, in training and after it', () => {
    for (let choice = 0; choice < 32; choice++) {
      const layout = layouts[choice & 1]
      const weights = { weight: choice & 2 ? weight : undefined, bias: choice & 4 ? bias : undefined }
      const constants = { eps: choice & 8 ? 1e-3 : undefined, unbiased: !(choice & 16), momentum: 0.3 }
      const layer = new BatchNorm(5, { ...weights, ...constants })
      const running = { runningMean: new Float32Array(5), runningVar: new Float32Array(5).fill(1) }
      for (let step = 0; step < 3; step++) {
        const x = tensor(layout, step)
        const expected = batchNorm(x, { ...weights, ...constants, ...running, layout, training: true })
        expectSameBits(layer.forward(x, { layout }).data, expected.data, `options ${choice}, step ${step}`)
        expectSameBits(layer.runningMean as Float32Array, running.runningMean, 'running mean')
        expectSameBits(layer.runningVar as Float32Array, running.runningVar, 'running variance')
      }
      expect(layer.numBatchesTracked).toBe(3)
      const x = tensor(layout, 9)
      const expected = batchNorm(x, { ...weights, ...constants, ...running, layout })
      expectSameBits(layer.eval().forward(x, { layout }).data, expected.data, `options ${choice}, eval`)
      expectSameBits(layer.runningMean as Float32Array, running.runningMean, 'running mean after eval')
    }
  })

  it('is in training inference with the statistics of the batch', () => {
    for (const layout of layouts) {
      const x = tensor(layout, 4)
      const statistics = batchStatistics(x, { layout })
      const [mean, rstd] = [new Float64Array(5), new Float64Array(5)]
      const y = batchNorm(x, { training: true, weight, bias, layout, mean, rstd })
      const given = { runningMean: statistics.mean, runningVar: statistics.variance() }
      expectSameBits(batchNorm(x, { ...given, weight, bias, layout }).data, y.data, layout)
      expectSameBits(mean, statistics.mean, 'mean')
      expectSameBits(
        rstd,
        statistics.variance().map(value => 1 / Math.sqrt(value + 1e-5)),
        'rstd'
      )
    }
  })

  it('gives with the statistics of the whole, to any part of it, what training gives to the whole', () => {
    for (const layout of layouts) {
      const whole = tensor(layout, 5)
      const running = () => ({ runningMean: new Float64Array(5), runningVar: new Float64Array(5) })
      const [one, other] = [running(), running()]
      const expected = batchNorm(whole, { training: true, weight, layout, ...one })
      const statistics = batchStatistics(whole, { layout })
      for (let n = 0; n < 6; n++) {
        const data = whole.data.slice(n * 35, (n + 1) * 35)
        const part = { data, dims: [1, ...whole.dims.slice(1)] }
        const last = n === 5 ? other : {}
        const y = batchNorm(part, { training: true, statistics, weight, layout, ...last })
        expectSameBits(y.data, expected.data.slice(n * 35, (n + 1) * 35), `sample ${n}`)
      }
      expectSameBits(other.runningMean, one.runningMean, 'running mean')
      expectSameBits(other.runningVar, one.runningVar, 'running variance')
    }
  })

  it('gives the two layouts of a matrix the same bits', () => {
    const x = { data: fill(normal, 60, 1), dims: [12, 5] }
    const expected = batchNorm(x, { training: true }).data
    expectSameBits(batchNorm(x, { training: true, layout: 'channels-last' }).data, expected, 'layout')
    expectSameBits(batchNorm({ ...x, dims: [12, 5, 1, 1] }, { training: true }).data, expected, 'one position')
  })

  it('gives the bias for constant channels, NaN for them with eps 0, and NaN to the channel of one in training', () => {
    const constant = { data: new Float32Array(210).fill(-3e38), dims: [6, 5, 7] }
    const expected = Float32Array.from({ length: 210 }, (_, i) => bias[Math.floor(i / 7) % 5])
    expectSameBits(batchNorm(constant, { training: true, weight, bias }).data, expected, 'constant')
    expect(batchNorm(constant, { training: true, eps: 0 }).data.every(Number.isNaN)).toBe(true)
    const x = tensor('channels-first', 1)
    const before = batchNorm(x, { training: true }).data
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const data = x.data.with(10, bad) // channel 1
      const y = batchNorm({ ...x, data }, { training: true }).data
      expectSameBits(
        y,
        before.map((value, i) => (Math.floor(i / 7) % 5 === 1 ? Number.NaN : value)),
        `${bad}`
      )
    }
  })

  it('turns in inference NaN into NaN and infinities into infinities, and no other element', () => {
    const running = { runningMean: new Float32Array(5).fill(3), runningVar: new Float32Array(5).fill(2) }
    const x = tensor('channels-last', 1)
    const expected = batchNorm(x, { ...running, layout: 'channels-last' }).data
    for (const [bad, result] of [
      [Number.NaN, Number.NaN],
      [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
      [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]
    ]) {
      const y = batchNorm({ ...x, data: x.data.with(10, bad) }, { ...running, layout: 'channels-last' }).data
      expectSameBits(y, expected.with(10, result), `${bad}`)
    }
  })
})

describe('truth: batchNorm, inference', () => {
  const kinds = Object.keys(finiteRows) as (keyof typeof finiteRows)[]

  it.each(layouts)('keeps the bound against the exact value of the statistics that it is given, %s', layout => {
    let index = 0
    for (const [samples, positions] of [
      [1, 1],
      [2, 3],
      [20, 16],
      [500, 1]
    ]) {
      const means = [0, 1e-3, 1, 1e6, -3e38, 1e-40]
      const variances = [1, 1e-12, 1e4, 3e38, 1e-45, 0, 1e76]
      for (const eps of [1e-5, 0, 1, 1e40]) {
        const groups = kinds.length
        const at = (n: number, c: number, p: number) =>
          layout === 'channels-last' ? (n * positions + p) * groups + c : (n * groups + c) * positions + p
        const data = new Float32Array(samples * groups * positions)
        const places = kinds.map((kind, c) => {
          const own = Array.from({ length: samples * positions }, (_, i) =>
            at(Math.floor(i / positions), c, i % positions)
          )
          const values = fill(finiteRows[kind], own.length, index * 50 + c)
          own.forEach((place, i) => {
            data[place] = values[i]
          })
          return own
        })
        const runningMean = Float64Array.from(kinds, (kind, c) =>
          kind.startsWith('N(1e') && index % 2 ? 1e3 + Math.PI : means[(index + c) % means.length]
        )
        const runningVar = Float64Array.from(kinds, (_, c) => variances[(index + 3 * c) % variances.length])
        const form = index % 3
        const weight = form > 0 ? fill(ordinaryWeights, groups, index) : undefined
        const bias = form > 1 ? fill(normal, groups, index + 1) : undefined
        index++
        const dims = layout === 'channels-last' ? [samples, positions, groups] : [samples, groups, positions]
        const y = batchNorm({ data, dims }, { runningMean, runningVar, weight, bias, eps, layout }).data
        kinds.forEach((kind, c) => {
          const x = Float32Array.from(places[c], place => data[place])
          const truth = normalizeBy(x, runningMean[c], runningVar[c], eps)
          const where = `${kind}, mean ${runningMean[c]}, variance ${runningVar[c]}, eps ${eps}, [${dims}]`
          if (!truth) return // a division by 0
          // Beyond float32 there is no bound: infinities of the right sign.
          const largest = x.reduce((max, v) => Math.max(max, Math.abs((v - runningMean[c]) * truth.rstd)), 0)
          const beyond = largest * Math.abs(weight?.[c] ?? 1) + Math.abs(bias?.[c] ?? 0) >= 2 ** 128 * (1 - 2 ** -20)
          if (beyond) return
          const each = (of: Float32Array | undefined) => of && new Float32Array(x.length).fill(of[c])
          const result = Float32Array.from(places[c], place => y[place])
          expect(errorInHalfUlps(result, truth, each(weight), each(bias)), where).toBeLessThanOrEqual(4.1 + form)
        })
      }
    }
  })
})

describe('truth: running statistics', () => {
  /** Exact mean and sum of squared deviations of each of four channels, as numbers right to 2^-50. */
  const exact = (data: Float32Array) =>
    Array.from({ length: 4 }, (_, c) => {
      const X = Array.from(
        data.filter((_, i) => i % 4 === c),
        value => integer(value, 149)
      )
      const n = BigInt(X.length)
      const S = X.reduce((sum, value) => sum + value, 0n)
      const D = X.reduce((sum, value) => sum + (n * value - S) ** 2n, 0n)
      return { mean: signedRatio(S, n << 149n), squared: ratio(D, (n * n) << 298n) }
    })
  const signedRatio = (num: bigint, den: bigint) => (num < 0n ? -ratio(-num, den) : ratio(num, den))
  const batch = (seed: number) => fill(finiteRows['N(3,0.5)'], 4 * (5 + seed), seed)

  it.each([
    [0.1, true],
    [0.1, false],
    [0, true],
    [1, true],
    [0.37, false]
  ])('are (1 - momentum) * old + momentum * new, with momentum %s, unbiased %s', (momentum, unbiased) => {
    const wide = { runningMean: Float64Array.of(1, -2, 3, 0), runningVar: Float64Array.of(1, 2, 3, 1e-9) }
    const narrow = { runningMean: Float32Array.from(wide.runningMean), runningVar: Float32Array.from(wide.runningVar) }
    for (let step = 0; step < 6; step++) {
      const data = batch(step)
      const n = data.length / 4
      const x = { data, dims: [n, 4] }
      const before = { mean: wide.runningMean.slice(), variance: wide.runningVar.slice() }
      const rounded = { mean: narrow.runningMean.slice(), variance: narrow.runningVar.slice() }
      batchNorm(x, { ...wide, training: true, momentum, unbiased })
      batchNorm(x, { ...narrow, training: true, momentum, unbiased })
      exact(data).forEach(({ mean, squared }, c) => {
        const variance = squared / (unbiased ? n - 1 : n)
        const after = (old: number, value: number) => (1 - momentum) * old + momentum * value
        // float64: the statistic's own error (n is small: far below 2^-40 of it), and three roundings.
        const near = (value: number) => 2 ** -40 * Math.max(Math.abs(value), 1e-9)
        const right = [after(before.mean[c], mean), after(before.variance[c], variance)]
        expect(Math.abs(wide.runningMean[c] - right[0])).toBeLessThanOrEqual(near(4))
        expect(Math.abs(wide.runningVar[c] - right[1])).toBeLessThanOrEqual(near(right[1]))
        // float32: rounded once more, at each step.
        const kept = [after(rounded.mean[c], mean), after(rounded.variance[c], variance)]
        expect(Math.abs(narrow.runningMean[c] - kept[0])).toBeLessThanOrEqual(2 ** -24 * Math.abs(kept[0]) + near(4))
        expect(Math.abs(narrow.runningVar[c] - kept[1])).toBeLessThanOrEqual((2 ** -24 + 2 ** -40) * kept[1])
      })
    }
  })

  it('are the plain averages over all batches with momentum null', () => {
    for (const unbiased of [true, false]) {
      const layer = new BatchNorm(4, { momentum: null, unbiased })
      const sums = Array.from({ length: 4 }, () => ({ mean: 0, variance: 0 }))
      for (let step = 0; step < 10; step++) {
        const data = batch(step)
        const n = data.length / 4
        layer.forward({ data, dims: [n, 4] })
        exact(data).forEach(({ mean, squared }, c) => {
          sums[c].mean += mean
          sums[c].variance += squared / (unbiased ? n - 1 : n)
          // float32, rounded at each of the steps so far; the errors of old ones fade as 1 / step.
          const bound = (value: number) => (step + 1) * 2 ** -24 * value
          const [average, variance] = [sums[c].mean / (step + 1), sums[c].variance / (step + 1)]
          expect(Math.abs((layer.runningMean?.[c] ?? 0) - average)).toBeLessThanOrEqual(bound(4))
          expect(Math.abs((layer.runningVar?.[c] ?? 0) - variance)).toBeLessThanOrEqual(bound(1))
        })
      }
      expect(layer.numBatchesTracked).toBe(10)
    }
  })
})

// ONNX's momentum is the weight of the old value: momentum = 1 - theirs. Its running variance is the population's:
// unbiased = false. Its outputs are new tensors, ours are updated in place: copies here. Opset 6 is inference with is_test,
// and has x, scale, bias, mean and variance in the same order.
testOnnxCases('BatchNormalization', 9, ({ attributes, inputs: [x, weight, bias, mean, variance] }) => {
  const eps = attributes.epsilon as number
  const running = { runningMean: mean.data.slice(), runningVar: variance.data.slice() }
  const training = attributes.training_mode === 1
  const momentum = 1 - (attributes.momentum as number)
  const y = batchNorm(x, { weight, bias, eps, ...running, training, momentum, unbiased: false })
  return [y.data, running.runningMean, running.runningVar]
})

testChannelBehaviour({
  name: 'batchNorm',
  call: (x, options) => batchNorm(x, { training: true, ...options }),
  layer: options => new BatchNorm(4, options),
  written: { mean: 4, rstd: 4 },
  why: 'channels',
  affine: true,
  padding: true
})

describe('behaviour: running statistics of batchNorm', () => {
  const x = { data: fill(normal, 24, 1), dims: [3, 4, 2] }
  const running = () => ({ runningMean: new Float32Array(4), runningVar: new Float32Array(4).fill(1) })

  /** Fails unless the call throws this and leaves running statistics and out as they were. */
  function refuses(given: typeof x, options: BatchNormOptions, kind: typeof Error, message: string) {
    const [own, out] = [running(), new Float32Array(given.data.length).fill(7)]
    const call = () => batchNorm(given, { ...own, out, ...options })
    expect(call).toThrow(kind)
    expect(call).toThrow(`batchNorm: ${message}`)
    expect(own).toEqual(running())
    expect(out.every(value => value === 7)).toBe(true)
  }

  it('are needed for inference, and both or none in training', () => {
    const why = 'an array, because training is false, got undefined'
    refuses(x, { runningMean: undefined, runningVar: undefined }, TypeError, `runningMean expected ${why}`)
    refuses(x, { runningVar: undefined }, TypeError, `runningVar expected ${why}`)
    const other = 'an array, because the other running statistic is given, got undefined'
    refuses(x, { training: true, runningMean: undefined }, TypeError, `runningMean expected ${other}`)
    refuses(x, { training: true, runningVar: undefined }, TypeError, `runningVar expected ${other}`)
  })

  it('have one element of float32 or float64 per channel', () => {
    refuses(x, { runningMean: new Float32Array(3) }, RangeError, 'runningMean.length expected 4 (channels), got 3')
    refuses(x, { runningVar: new Float64Array(8) }, RangeError, 'runningVar.length expected 4 (channels), got 8')
    const message = 'runningVar expected Float32Array or Float64Array, got [1, 1, 1, 1]'
    refuses(x, { runningVar: [1, 1, 1, 1] as never }, TypeError, message)
  })

  it('share no memory with what else is read or written', () => {
    const memory = new Float32Array(64).fill(1)
    const at = (start: number, length: number) => memory.subarray(start, start + length)
    const inMemory = { data: at(0, 24), dims: [3, 4, 2] }
    const training = { training: true, out: undefined }
    const shared = (what: string, other: string) => `${what} expected no memory shared with ${other}, got an overlap`
    refuses(inMemory, { ...training, runningMean: at(2, 4) }, RangeError, shared('runningMean', 'x'))
    refuses(
      inMemory,
      { ...training, runningVar: at(32, 4), weight: at(33, 4) },
      RangeError,
      shared('runningVar', 'weight')
    )
    const both = { runningMean: at(32, 4), runningVar: at(34, 4) }
    refuses(inMemory, { ...training, ...both }, RangeError, shared('runningVar', 'runningMean'))
    refuses(
      inMemory,
      { ...training, ...running(), runningMean: at(32, 4), mean: at(32, 4) },
      RangeError,
      'mean expected'
    )
    refuses(x, { out: at(0, 24), runningMean: at(20, 4) }, RangeError, shared('out', 'runningMean'))
    expect(memory.every(value => value === 1)).toBe(true)
    // In inference nothing writes them: one array may be both, and lie in x.
    const same = at(32, 4)
    expect(() => batchNorm(inMemory, { runningMean: same, runningVar: same, weight: same })).not.toThrow()
  })

  it('take a tensor of onnxruntime, and are updated in place in it', () => {
    const [mean, variance] = [new Float32Array(4), new Float32Array(4).fill(1)]
    const given = { runningMean: new Tensor('float32', mean, [4]), runningVar: new Tensor('float32', variance, [4]) }
    const own = running()
    batchNorm(x, { ...given, training: true })
    batchNorm(x, { ...own, training: true })
    expectSameBits(given.runningMean.data as Float32Array, own.runningMean, 'mean')
    expectSameBits(given.runningVar.data as Float32Array, own.runningVar, 'variance')
  })

  it('are left alone by an empty batch, in the function and in the layer', () => {
    for (const dims of [
      [0, 4],
      [0, 4, 2],
      [3, 4, 0]
    ]) {
      const own = running()
      expect(batchNorm({ data: new Float32Array(0), dims }, { ...own, training: true }).dims).toEqual(dims)
      expect(own).toEqual(running())
    }
    const layer = new BatchNorm(4)
    layer.forward({ data: new Float32Array(0), dims: [0, 4] })
    layer.forward(x, { lengths: [0, 0, 0] })
    expect(layer.numBatchesTracked).toBe(0)
    expect([layer.runningMean, layer.runningVar]).toEqual([running().runningMean, running().runningVar])
  })

  it('are refused one value per channel, and nothing is written', () => {
    const one = { data: new Float32Array(4).fill(2), dims: [1, 4] }
    const message = 'x expected more than one value per channel in training, got 1'
    refuses(one, { training: true }, RangeError, message)
    refuses({ ...one, dims: [1, 4, 1] }, { training: true }, RangeError, message)
    refuses(x, { training: true, lengths: [0, 1, 0] }, RangeError, message)
    const layer = new BatchNorm(4)
    expect(() => layer.forward(one)).toThrow(`BatchNorm: ${message}`)
    expect([layer.numBatchesTracked, layer.runningMean]).toEqual([0, running().runningMean])
    // In inference, and with statistics from elsewhere, one value is as good as any.
    layer.eval().forward(one)
    batchNorm(one, { training: true, statistics: batchStatistics(x) })
  })

  it('refuse a momentum that is no number from 0 to 1, and other wrong constants', () => {
    refuses(x, { momentum: 1.5 }, RangeError, 'momentum expected a number from 0 to 1, got 1.5')
    refuses(x, { momentum: -0.1 }, RangeError, 'momentum expected a number from 0 to 1, got -0.1')
    refuses(x, { momentum: Number.NaN }, RangeError, 'momentum expected a finite number, got NaN')
    refuses(x, { momentum: null as never }, TypeError, 'momentum expected a number, got null')
    refuses(x, { training: 1 as never }, TypeError, 'training expected a boolean, got 1')
    refuses(x, { unbiased: 'yes' as never }, TypeError, 'unbiased expected a boolean, got "yes"')
  })

  it('refuse statistics that are none, of other channels, of too few values, or in inference', () => {
    const statistics = batchStatistics(x)
    refuses(x, { statistics }, TypeError, 'statistics expected undefined, because training is false')
    refuses(
      x,
      { training: true, statistics: {} as never },
      TypeError,
      'statistics expected BatchStatistics, got an object'
    )
    refuses(
      x,
      { training: true, statistics: null as never },
      TypeError,
      'statistics expected BatchStatistics, got null'
    )
    const three = new BatchStatistics(2, [0, 0, 0], [1, 1, 1])
    refuses(x, { training: true, statistics: three }, RangeError, 'statistics.channels expected 4 (channels), got 3')
    for (const count of [0, 1]) {
      const few = new BatchStatistics(count, [0, 0, 0, 0], [0, 0, 0, 0])
      const message = `statistics.count expected more than one value per channel in training, got ${count}`
      refuses(x, { training: true, statistics: few }, RangeError, message)
    }
  })

  it('give copies away: who changes or detaches one changes no statistics', () => {
    const expected = batchNorm(x, { training: true })
    const statistics = batchStatistics(x)
    for (const part of ['mean', 'squaredDeviations'] as const) {
      const copy = statistics[part]
      copy.fill(5)
      structuredClone(copy.buffer, { transfer: [copy.buffer as ArrayBuffer] })
      expect(copy.length).toBe(0)
      expectSameBits(batchNorm(x, { training: true, statistics }).data, expected.data, part)
    }
    const own = { mean: statistics.mean, squaredDeviations: statistics.squaredDeviations }
    const made = new BatchStatistics(statistics.count, own.mean, own.squaredDeviations)
    own.mean.fill(5)
    own.squaredDeviations.fill(5)
    expectSameBits(batchNorm(x, { training: true, statistics: made }).data, expected.data, 'constructor')
  })

  it('are read once from a class derived from theirs, before anything is written', () => {
    const { count, mean, squaredDeviations } = batchStatistics(x)
    let reads = 0
    class Changing extends BatchStatistics {
      get mean() {
        return reads++ === 0 ? mean : new Float64Array(1)
      }
      variance(): Float64Array {
        throw new Error('not asked')
      }
    }
    const statistics = new Changing(count, mean, squaredDeviations)
    reads = 0
    const given = batchNorm(x, { training: true, statistics: new BatchStatistics(count, mean, squaredDeviations) })
    expectSameBits(batchNorm(x, { training: true, statistics }).data, given.data, 'first reading')
    const out = { data: new Float32Array(24).fill(7), dims: x.dims }
    expect(() => batchNorm(x, { training: true, statistics, out: out.data })).toThrow(RangeError)
    expect(out.data.every(value => value === 7)).toBe(true)
  })

  it('take statistics of the other copy of this module, and nothing that only looks like them', () => {
    const cjs = createRequire(import.meta.url)('../../dist/cjs/index.js') as typeof import('../../dist/esm/index.js')
    const statistics = cjs.batchStatistics(x)
    expect(statistics).not.toBeInstanceOf(BatchStatistics)
    expectSameBits(batchNorm(x, { training: true, statistics }).data, batchNorm(x, { training: true }).data, 'cjs')
    const forged = { count: 24, mean: [0, 0, 0, 0], squaredDeviations: [1, 1, 1, -1] } as never
    const call = () => batchNorm(x, { training: true, statistics: forged })
    expect(call).toThrow('BatchStatistics: squaredDeviations expected numbers >= 0, got -1')
  })
})

describe('behaviour: BatchNorm', () => {
  const x = { data: fill(normal, 24, 1), dims: [3, 4, 2] }

  it('begins in training, and changes by train and eval', () => {
    const layer = new BatchNorm(4)
    expect(layer.training).toBe(true)
    expect(layer.eval()).toBe(layer)
    expect(layer.training).toBe(false)
    expect(layer.train()).toBe(layer)
    expect(layer.training).toBe(true)
    expect(layer.train(false).training).toBe(false)
    expect(() => layer.train(1 as never)).toThrow('BatchNorm: training expected a boolean, got 1')
    expect(layer.training).toBe(false)
    layer.forward(x)
    expect(layer.numBatchesTracked).toBe(0)
    layer.train().forward(x)
    expect(layer.numBatchesTracked).toBe(1)
  })

  it('has the defaults of torch.nn, and shows what it was made with', () => {
    const { numFeatures, eps, momentum, unbiased, runningMean, runningVar, numBatchesTracked } = new BatchNorm(3)
    expect([numFeatures, eps, momentum, unbiased, numBatchesTracked]).toEqual([3, 1e-5, 0.1, true, 0])
    expect([runningMean, runningVar]).toEqual([new Float32Array(3), new Float32Array(3).fill(1)])
    const other = new BatchNorm(3, { eps: 1, momentum: null, unbiased: false })
    expect([other.eps, other.momentum, other.unbiased]).toEqual([1, null, false])
  })

  it('copies the running statistics that it is given', () => {
    const runningMean = Float64Array.of(1, 2, 3, 4)
    const runningVar = new Float32Array(4).fill(2)
    const layer = new BatchNorm(4, { runningMean, runningVar, training: true })
    layer.forward(x)
    expect([...runningMean, ...runningVar]).toEqual([1, 2, 3, 4, 2, 2, 2, 2])
    expect(layer.runningMean).not.toEqual(Float32Array.of(1, 2, 3, 4))
  })

  it('has no running statistics with trackRunningStats false, and uses those of each batch, also in eval', () => {
    const layer = new BatchNorm(4, { trackRunningStats: false })
    expect([layer.runningMean, layer.runningVar]).toEqual([undefined, undefined])
    expectSameBits(layer.eval().forward(x).data, batchNorm(x, { training: true }).data, 'eval')
    expect(layer.numBatchesTracked).toBe(0)
    const given = { trackRunningStats: false, runningMean: new Float32Array(4) }
    expect(() => new BatchNorm(4, given)).toThrow(
      'BatchNorm: runningMean expected undefined, because trackRunningStats'
    )
    expect(() => new BatchNorm(4, { trackRunningStats: 0 as never })).toThrow('trackRunningStats expected a boolean')
  })

  it('refuses numbers of features that are none, and running statistics of another length', () => {
    for (const bad of [0, -1, 1.5, Number.NaN]) {
      expect(() => new BatchNorm(bad)).toThrow(`BatchNorm: numFeatures expected a positive integer, got ${bad}`)
    }
    expect(() => new BatchNorm('4' as never)).toThrow(TypeError)
    expect(() => new BatchNorm(4, { runningVar: new Float32Array(3) })).toThrow(
      'runningVar.length expected 4 (numFeatures)'
    )
    expect(() => new BatchNorm(4, { momentum: 2 })).toThrow('BatchNorm: momentum expected a number from 0 to 1, got 2')
    const options = { training: true } as never
    expect(() => new BatchNorm(4).forward(x, options)).toThrow(/option expected one of .* got "training"/)
  })
})
