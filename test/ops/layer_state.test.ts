// parameters(), state() and loadState() of the layers: what they give, what they take, and what they refuse.
import { Tensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { BatchNorm, GroupNorm, InstanceNorm, LayerNorm, Normalize, RMSNorm } from '../../dist/esm/index.js'
import { toBfloat16, toFloat16 } from '../../dist/esm/kernels/float16.js'
import { expectSameBits } from '../support/bits.ts'
import { counting, detach, refuses } from '../support/refusal.ts'
import { codes, f32, i64, safetensors, type Written } from '../support/safetensors.ts'

// biome-ignore lint/suspicious/noExplicitAny: states of every kind, and wrong ones
type Any = any

const w = Float32Array.of(1, 2, 3, 4)
const b = Float32Array.of(5, 6, 7, 8)
const x = Float32Array.of(1, -2, 3, 5, 0, 7, -1, 4)
const volume = { data: x, dims: [2, 4] }
const positions = { data: Float32Array.from({ length: 24 }, (_, i) => Math.sin(i)), dims: [2, 4, 3] }

/** Each layer of 4 elements or channels, its parameters, and a result of it. */
const layers: { readonly [name: string]: [(options?: Any) => Any, string[], (layer: Any) => Float32Array] } = {
  LayerNorm: [options => new LayerNorm(4, options), ['weight', 'bias'], layer => layer.forward(x)],
  RMSNorm: [options => new RMSNorm(4, options), ['weight'], layer => layer.forward(x)],
  BatchNorm: [options => new BatchNorm(4, options), ['weight', 'bias'], layer => layer.eval().forward(volume).data],
  GroupNorm: [options => new GroupNorm(2, 4, options), ['weight', 'bias'], layer => layer.forward(volume).data],
  InstanceNorm: [options => new InstanceNorm(4, options), ['weight', 'bias'], layer => layer.forward(positions).data]
}
const all = { weight: w, bias: b } as const
const given = (names: string[]) => Object.fromEntries(names.map(name => [name, all[name as 'weight']]))
/** What a state of a BatchNorm must have besides. */
const running = (name: string) =>
  name === 'BatchNorm' ? { running_mean: new Float32Array(4), running_var: new Float32Array(4).fill(1) } : {}

describe.each(Object.keys(layers))('behaviour: parameters and state of %s', name => {
  const [make, names, run] = layers[name]

  it('are copies; what the layer has not is not there', () => {
    const layer = make(given(names))
    for (const copies of [layer.parameters(), layer.state()]) {
      for (const parameter of names) {
        expect(copies[parameter]).toEqual(all[parameter as 'weight'])
        expect(copies[parameter].buffer).toBeInstanceOf(ArrayBuffer) // not the shared memory of the layer
        copies[parameter].fill(99)
      }
    }
    const before = run(layer).slice()
    for (const parameter of names) layer[parameter].fill(99)
    expectSameBits(run(layer), before, 'after the copies were written')
    expect(Object.keys(layer.parameters())).toEqual(names)
    expect(() => Object.assign(layer, { weight: b })).toThrow(TypeError)
    const bare = make()
    expect(bare.parameters()).toEqual({})
    for (const parameter of names) expect(bare[parameter]).toBeUndefined()
    expect('weight' in bare.state()).toBe(false)
    layer.setWeights({ weight: b })
    expect(layer.weight).toEqual(b)
    expect(layer.bias).toBeUndefined()
  })

  it('loads what state() gave, into a layer with parameters and into one without', () => {
    const trained = make(given(names))
    for (const layer of [make(), make(Object.fromEntries(names.map(parameter => [parameter, new Float32Array(4)])))]) {
      run(layer) // a prepared kernel has the old ones
      expect(layer.loadState(trained.state())).toBe(layer)
      expect(layer.state()).toEqual(trained.state())
      expectSameBits(run(layer), run(trained), 'loaded')
    }
    const bare = make()
    expect(make().loadState(bare.state()).state()).toEqual(bare.state())
  })

  it('takes arrays and tensors of every floating type, and keeps copies', () => {
    const expected = run(make({ weight: w }))
    const own = w.slice()
    const states: Any[] = [own, Float64Array.from(w), new Tensor('float32', w, [4]), { data: w, dims: [1, 4, 1] }]
    states.push({ type: 'float64', data: Float64Array.from(w), dims: [4] })
    const { Float16Array } = globalThis as Any
    if (Float16Array) states.push(Float16Array.from(w), { type: 'float16', data: Float16Array.from(w), dims: [4] })
    for (const weight of states) {
      const layer = make().loadState({ weight, ...running(name) })
      own.fill(0)
      expectSameBits(run(layer), expected, String(weight))
      own.set(w)
    }
  })

  it('reads float32, float64, float16 and bfloat16 of files at any offset', () => {
    const expected = run(make({ weight: w }))
    const statistics: { [name: string]: Written } =
      name === 'BatchNorm' ? { 'n.running_mean': f32(0, 0, 0, 0), 'n.running_var': f32(1, 1, 1, 1) } : {}
    const weights = {
      F32: f32(...w),
      F64: { dtype: 'F64', shape: [4], data: Float64Array.from(w) },
      F16: codes('F16', ...Array.from(w, toFloat16)),
      BF16: codes('BF16', ...Array.from(w, toBfloat16))
    }
    for (const [dtype, weight] of Object.entries(weights)) {
      const file = safetensors({
        other: { dtype: 'U8', shape: [3], data: new Uint8Array(3) },
        'n.weight': weight,
        ...statistics
      })
      const apart = new Uint8Array(file.length + 3).subarray(3)
      apart.set(file)
      const shared = new Uint8Array(new SharedArrayBuffer(file.length))
      shared.set(file)
      for (const bytes of [file, file.buffer, Buffer.from(file), apart, shared, shared.buffer] as Any[]) {
        const layer = make().loadState(bytes, { prefix: 'n.' })
        expectSameBits(run(layer), expected, dtype)
      }
    }
  })

  it('refuses a state with other names, without one that it has, of other lengths, shapes or types, and stays as it was', () => {
    const needed = running(name)
    const full = { ...given(names), ...needed }
    const layer = make({ ...given(names) })
    const { state: before, result } = { state: layer.state(), result: run(layer).slice() }
    const arrays = [w, b, x]
    const { weight: _, ...without } = full as Any
    const refused: [unknown, typeof TypeError | typeof RangeError, ...string[]][] = [
      [without, TypeError, 'weight expected an array, because the layer has one'],
      [{ ...full, gamma: w }, TypeError, '"gamma"', '(gamma is the weight, beta the bias)'],
      [{ 'LayerNorm.gamma': w, 'LayerNorm.beta': b }, TypeError, 'only weight', '"LayerNorm.gamma", "LayerNorm.beta"'],
      [{ 'norm.weight': w }, TypeError, "(prefix says which of them are the layer's)"],
      [{ ...full, weight: w.subarray(1) }, RangeError, 'weight.length expected 4', 'got 3'],
      [{ ...full, weight: { data: w, dims: [2, 2] } }, RangeError, 'weight.dims expected [4]', 'got [2, 2]'],
      [{ ...full, weight: { data: w, dims: [5] } }, RangeError, 'weight.data.length expected 5'],
      [{ ...full, weight: { data: w, dims: [4], strides: [2] } }, RangeError, 'weight.strides'],
      [
        { ...full, weight: { type: 'float16', data: w, dims: [4] } },
        TypeError,
        'weight.type expected float32, got float16'
      ],
      [{ ...full, weight: Int32Array.from(w) }, TypeError, 'weight expected Float32Array', 'got Int32Array'],
      [{ ...full, weight: [1, 2, 3, 4] }, TypeError, 'got [1, 2, 3, 4]'],
      [{ ...full, weight: null }, TypeError, 'got null'],
      [{ ...full, weight: detach(w.slice()) }, TypeError, 'detached'],
      [{ ...full, weight: Float64Array.of(1, 2, 1e39, 4) }, RangeError, 'weight[2]', 'float32', 'got 1e+39'],
      [[], TypeError, 'a plain object'],
      [w, TypeError, 'got Float32Array'],
      [new Map([['weight', w]]), TypeError, 'class Map'],
      [Promise.resolve(), TypeError, 'class Promise'],
      [layer, TypeError, `class ${name}`],
      [undefined, TypeError, 'got undefined'],
      ['model.safetensors', TypeError, 'got "model.safetensors"'],
      [detach(new Uint8Array(9)), TypeError, 'detached'],
      [detach(new Uint8Array(9)).buffer, TypeError, 'detached']
    ]
    if (name !== 'BatchNorm')
      refused.push([{ ...full, running_mean: w }, TypeError, 'only a BatchNorm that tracks them'])
    if (name === 'RMSNorm') refused.push([{ ...full, bias: b }, TypeError, 'only weight, got "weight", "bias"'])
    for (const [state, kind, ...words] of refused)
      refuses(() => layer.loadState(state), arrays, 'loadState', kind, ...words)
    const prefixes: [unknown, typeof TypeError, string][] = [
      [{ prefix: 1 }, TypeError, 'prefix expected a string'],
      [{ prefx: '' }, TypeError, 'nearest: prefix'],
      [{ prefix: 'x.' }, TypeError, 'names that begin with "x."']
    ]
    for (const [options, kind, word] of prefixes)
      refuses(() => layer.loadState(full, options), arrays, 'loadState', kind, word)
    expect(layer.state()).toEqual(before)
    expectSameBits(run(layer), result, 'after what was refused')
  })

  it("reads each value of a state once, and none that is not the layer's", () => {
    const reads = new Map<string, number>()
    const mine = Object.fromEntries(
      Object.entries({ ...given(names), ...running(name) }).map(([key, value]) => [`n.${key}`, value])
    )
    make().loadState(counting({ ...mine, 'other.weight': w }, reads), { prefix: 'n.' })
    expect(Object.fromEntries(reads)).toEqual(Object.fromEntries(Object.keys(mine).map(key => [key, 1])))
  })
})

describe('behaviour: prefixes', () => {
  const file = safetensors({
    'encoder.layers.3.norm1.weight': f32(...w),
    'encoder.layers.3.norm1.bias': f32(...b),
    'encoder.layers.3.norm10.weight': f32(...b),
    'norm.weight': f32(...b)
  })

  it('pick the tensors of a layer out of a file', () => {
    const layer = new LayerNorm(4).loadState(file, { prefix: 'encoder.layers.3.norm1.' })
    expect(layer.parameters()).toEqual({ weight: w, bias: b })
    const alone = new LayerNorm(4).loadState(file, { prefix: 'norm.' })
    expect(alone.parameters()).toEqual({ weight: b })
  })

  it('that fit nothing, or too much, are errors that say what there is', () => {
    const load = (prefix: string) => () => new LayerNorm(4).loadState(file, { prefix })
    refuses(load('encoder.layer.3.norm1.'), [], 'loadState', TypeError, 'but "encoder.layers.3.norm1.weight"')
    refuses(load('encoder.layers.3.norm1'), [], 'loadState', TypeError, '".weight", ".bias", "0.weight"')
    refuses(load('encoder.layers.3.norm10'), [], 'loadState', TypeError, 'does the prefix want a dot at its end?')
    refuses(load(''), [], 'loadState', TypeError, 'prefix says which of them')
  })

  it('may lead to nothing only where a layer never has parameters, or a state has no names at all', () => {
    const layer = new Normalize(4, { scale: 2 })
    expect(layer.loadState(file, { prefix: 'l2.' })).toBe(layer)
    expect([layer.parameters(), layer.state()]).toEqual([{}, {}])
    refuses(() => layer.loadState(file, { prefix: 'norm.' }), [], 'loadState', TypeError, 'expected none, got "weight"')
    expect(new LayerNorm(4).loadState({}).parameters()).toEqual({})
    expect(new LayerNorm(4).loadState(safetensors({})).parameters()).toEqual({})
    expect(new LayerNorm(4).loadState({ weight: w, bias: undefined }).parameters()).toEqual({ weight: w })
  })
})

describe('behaviour: shapes of states', () => {
  it('flat, as normalizedShape, or with dimensions of 1', () => {
    const flat = Float32Array.of(1, 2, 3, 4, 5, 6)
    for (const dims of [[6], [2, 3], [1, 2, 3], [2, 1, 3]]) {
      expect(new LayerNorm([2, 3]).loadState({ weight: { data: flat, dims } }).weight).toEqual(flat)
      const file = safetensors({ weight: { dtype: 'F32', shape: dims, data: flat } })
      expect(new RMSNorm([2, 3]).loadState(file).weight).toEqual(flat)
    }
    for (const dims of [
      [3, 2],
      [6, 1, 0]
    ]) {
      const file = safetensors({
        weight: { dtype: 'F32', shape: dims, data: dims.includes(0) ? new Uint8Array(0) : flat }
      })
      refuses(() => new LayerNorm([2, 3]).loadState(file), [], 'loadState', RangeError, /weight\.(dims|length)/)
    }
  })

  it('a weight offset wants a weight in every state', () => {
    const layer = new RMSNorm(4, { weight: w, weightOffset: 1 })
    refuses(() => layer.loadState({}), [], 'loadState', TypeError, 'weight expected an array')
    expect(layer.loadState({ weight: b }).weight).toEqual(b)
  })
})

describe('behaviour: the state of BatchNorm', () => {
  const statistics = { running_mean: Float32Array.of(1, 2, 3, 4), running_var: Float32Array.of(4, 3, 2, 1) }

  it('has the running statistics, and an int64 of one element', () => {
    const layer = new BatchNorm(4)
    layer.forward(volume)
    const state = layer.state()
    expect(Object.keys(state)).toEqual(['running_mean', 'running_var', 'num_batches_tracked'])
    expect(state.num_batches_tracked).toEqual(BigInt64Array.of(1n))
    expect(state.running_mean).toEqual(layer.runningMean)
    state.running_mean?.fill(9)
    expect(layer.runningMean).not.toEqual(state.running_mean)
    expect(new BatchNorm(4, { trackRunningStats: false, weight: w }).state()).toEqual({ weight: w })
  })

  it('leaves training or evaluation as it is, and writes the running statistics in place', () => {
    for (const training of [true, false]) {
      const layer = new BatchNorm(4, { training })
      const { runningMean, runningVar } = layer
      layer.loadState({ ...all, ...statistics, num_batches_tracked: 7 })
      expect(layer.training).toBe(training)
      expect(layer.runningMean).toBe(runningMean)
      expect([runningMean, runningVar]).toEqual([statistics.running_mean, statistics.running_var])
      expect(layer.numBatchesTracked).toBe(7)
      layer.eval()
      const expected = new BatchNorm(4, { ...all, runningMean, runningVar }).forward(volume)
      expectSameBits(layer.forward(volume).data, expected.data, 'loaded')
    }
  })

  it('goes on training where it stopped, momentum null too', () => {
    for (const momentum of [0.1, null]) {
      const whole = new BatchNorm(4, { momentum })
      whole.forward(volume)
      const resumed = new BatchNorm(4, { momentum }).loadState(whole.state())
      const next = { data: x.map(value => 3 - value), dims: [2, 4] }
      for (const layer of [whole, resumed]) layer.forward(next)
      expect(resumed.state()).toEqual(whole.state())
    }
  })

  it('takes num_batches_tracked as every kind of number, and keeps its own where there is none', () => {
    const counts: Any[] = [5, 5n, BigInt64Array.of(5n), BigUint64Array.of(5n), Int32Array.of(5), Float32Array.of(5)]
    counts.push({ data: BigInt64Array.of(5n), dims: [] }, new Tensor('int64', [5n], [1]))
    const layer = new BatchNorm(4)
    for (const num_batches_tracked of counts) {
      layer.loadState({ ...statistics, num_batches_tracked: 1 })
      layer.loadState({ ...statistics, num_batches_tracked })
      expect(layer.numBatchesTracked).toBe(5)
      layer.loadState(statistics)
      expect(layer.numBatchesTracked).toBe(5)
    }
    const file = { running_mean: f32(1, 2, 3, 4), running_var: f32(4, 3, 2, 1) }
    expect(layer.loadState(safetensors({ ...file, num_batches_tracked: i64(8n) })).numBatchesTracked).toBe(8)
    const halves = { dtype: 'F16', shape: [], data: Uint16Array.of(toFloat16(9)) } // of a state dict cast as a whole
    expect(layer.loadState(safetensors({ ...file, num_batches_tracked: halves })).numBatchesTracked).toBe(9)
  })

  it('refuses what the constructor refuses, and more, and stays as it was', () => {
    const layer = new BatchNorm(4, { ...all, runningMean: w, runningVar: b })
    const before = layer.state()
    const full = { ...all, ...statistics, num_batches_tracked: 3 }
    const { running_var: _, ...without } = full
    const big = BigInt64Array.of(2n ** 60n)
    const refused: [Any, typeof TypeError | typeof RangeError, ...string[]][] = [
      [without, TypeError, 'running_var expected an array, because the layer has one'],
      [
        { ...full, running_var: Float32Array.of(1, -1, 1, 1) },
        RangeError,
        'running_var[1] expected a number >= 0, got -1'
      ],
      [{ ...full, running_var: Float64Array.of(1, 1, 1, -1e-60) }, RangeError, 'running_var[3]', '-1e-60'],
      [{ ...full, running_var: Float32Array.of(1, 1, Number.NaN, 1) }, RangeError, 'running_var[2]', 'NaN'],
      [{ ...full, running_var: Float64Array.of(1, 1, 1, 1e39) }, RangeError, 'running_var[3]', 'float32'],
      [{ ...full, running_mean: Float64Array.of(1e39, 1, 1, 1) }, RangeError, 'running_mean[0]', 'float32'],
      [{ ...full, running_mean: w.subarray(2) }, RangeError, 'running_mean.length expected 4 (numFeatures), got 2'],
      [{ ...full, num_batches_tracked: -1 }, RangeError, 'num_batches_tracked expected an integer >= 0, got -1'],
      [{ ...full, num_batches_tracked: 0.5 }, RangeError, 'got 0.5'],
      [{ ...full, num_batches_tracked: big }, RangeError, 'num_batches_tracked'],
      [
        { ...full, num_batches_tracked: new BigInt64Array(2) },
        RangeError,
        'num_batches_tracked.length expected 1, got 2'
      ],
      [{ ...full, num_batches_tracked: '3' }, TypeError, 'num_batches_tracked expected a number'],
      [{ ...full, weight: w.subarray(1) }, RangeError, 'weight.length'],
      [{ ...full, bias: w.subarray(1) }, RangeError, 'bias.length']
    ]
    for (const [state, kind, ...words] of refused) {
      refuses(() => layer.loadState(state), [w, b], 'loadState', kind, ...words)
      expect(layer.state()).toEqual(before)
    }
    const untracked = new BatchNorm(4, { trackRunningStats: false })
    for (const state of [statistics, { ...all, num_batches_tracked: 3 }] as Any[]) {
      refuses(() => untracked.loadState(state), [], 'loadState', TypeError, 'only weight, bias')
    }
    expect(untracked.loadState(all).parameters()).toEqual(all)
  })

  it('is not loaded by halves where the memory of the running statistics is gone', () => {
    const layer = new BatchNorm(4, all)
    detach(layer.runningVar as Float32Array)
    refuses(() => layer.loadState({ weight: b, bias: b, ...statistics }), [], 'loadState', TypeError, 'runningVar')
    expect(layer.weight).toEqual(w)
    expect(layer.runningMean).toEqual(new Float32Array(4))
  })
})

describe('behaviour: calls that have begun', () => {
  it('go on with the parameters that they began with', async () => {
    const layer = new LayerNorm(4, all)
    const expected = layer.forward(x)
    const later = layer.forwardAsync(x)
    layer.loadState({ weight: b, bias: w })
    expectSameBits(await later, expected, 'begun before')
    expectSameBits(await layer.forwardAsync(x), new LayerNorm(4, { weight: b, bias: w }).forward(x), 'begun after')
  })
})
