// forwardAsync: the bits of forward, and what becomes of memory, signals and the event loop meanwhile.
import { getEventListeners } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Tensor } from 'onnxruntime-common'
import { afterEach, describe, expect, it } from 'vitest'
import { tables } from '../../dist/esm/backend/choice.js'
import { fill, normal } from '../../dist/esm/cases/data.js'
import {
  BatchNorm,
  backend,
  backends,
  GroupNorm,
  getNumThreads,
  InstanceNorm,
  LayerNorm,
  RMSNorm,
  setNumThreads
} from '../../dist/esm/index.js'
import { type AnyLayer, laterDifferences } from '../support/async.ts'
import { expectSameBits } from '../support/bits.ts'
import { node, run } from '../support/process.ts'

const threads = getNumThreads()
afterEach(() => setNumThreads(threads))

const d = 768
const f32 = (n: number, seed = 1) => fill(normal, n, seed)
const detach = (array: Float32Array | Float64Array) => {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] })
}
const shared = (n: number) => new Float32Array(new SharedArrayBuffer(4 * n))

/** 64 KiB of WebAssembly's: memory that nobody can detach. */
function wasmPage(): Float32Array {
  const { WebAssembly } = globalThis as unknown as {
    WebAssembly: { Memory: new (pages: { initial: number }) => { readonly buffer: ArrayBuffer } }
  }
  return new Float32Array(new WebAssembly.Memory({ initial: 1 }).buffer)
}

/** A job that takes a while: what is called after it waits, or is still at work when the call comes back. */
const large = (seed = 1) => fill(next => next(), 2048 * d, seed)

/** What became of promises: values, or errors. */
const outcomes = async (promises: Promise<unknown>[]) =>
  (await Promise.allSettled(promises)).map(result => (result.status === 'fulfilled' ? 'done' : result.reason))

describe.each(backends)('equality: forwardAsync on %s', name => {
  it('gives the bits of forward for every layer and option, in every kind of memory', async () => {
    const found: string[] = []
    if (name === backend) {
      for await (const difference of laterDifferences()) found.push(difference)
    } else {
      const program = `
        import { laterDifferences } from './test/support/async.ts'
        for await (const difference of laterDifferences()) console.log(difference)
        console.log('compared')`
      const args = ['--import', 'tsx', '--input-type=module', '-e', program]
      const { stdout, stderr } = node(args, { EVENKEEL_BACKEND: name })
      expect(stderr).toBe('')
      expect(stdout).toMatch(/compared\n$/)
      found.push(...stdout.split('\n').slice(0, -2))
    }
    expect(found).toEqual([])
  })
})

describe('equality: forwardAsync of BatchNorm in training', () => {
  it.each([0.1, 0.75, 1, null])('updates in the order of the calls, with momentum %s', async momentum => {
    setNumThreads(4)
    const channels = 5
    const batches = Array.from({ length: 24 }, (_, i) => {
      const samples = i % 3 === 0 ? 60_000 : 2 + i // a small one could overtake the large one before it
      return { data: f32(samples * channels, i + 1), dims: [samples, channels] }
    })
    const now = new BatchNorm(channels, { momentum })
    const later = new BatchNorm(channels, { momentum })
    const expected = batches.map(batch => now.forward(batch).data)
    const ys = await Promise.all(batches.map(batch => later.forwardAsync(batch)))
    ys.forEach((y, i) => {
      expectSameBits(y.data, expected[i], `batch ${i}`)
    })
    expectSameBits(later.runningMean as Float32Array, now.runningMean as Float32Array, 'runningMean')
    expectSameBits(later.runningVar as Float32Array, now.runningVar as Float32Array, 'runningVar')
    expect(later.numBatchesTracked).toBe(batches.length)
  })

  it('leaves out calls that are cancelled or fail', async () => {
    const [one, two] = [1, 2].map(seed => ({ data: f32(4000, seed), dims: [1000, 4] }))
    const now = new BatchNorm(4)
    const later = new BatchNorm(4)
    now.forward(one)
    now.forward(two)
    const gone = f32(4000)
    const calls = [
      later.forwardAsync(one),
      later.forwardAsync(two, { out: gone }),
      later.forwardAsync(two, { signal: AbortSignal.abort('no') }),
      later.forwardAsync({ data: f32(4), dims: [1, 4] }),
      later.forwardAsync(two)
    ]
    detach(gone)
    const [first, second, third, fourth, fifth] = await outcomes(calls)
    expect([first, third, fifth]).toEqual(['done', 'no', 'done'])
    expect([second, fourth].map(error => error.constructor)).toEqual([TypeError, RangeError])
    expectSameBits(later.runningMean as Float32Array, now.runningMean as Float32Array, 'runningMean')
    expectSameBits(later.runningVar as Float32Array, now.runningVar as Float32Array, 'runningVar')
    expect(later.numBatchesTracked).toBe(2)
  })
})

/** Each layer with an x for it, in dims or as an array. */
const layers: { readonly [name: string]: readonly [AnyLayer, (data: Float32Array) => unknown] } = {
  LayerNorm: [new LayerNorm(8), data => data],
  RMSNorm: [new RMSNorm(8), data => data],
  GroupNorm: [new GroupNorm(2, 4), data => ({ data, dims: [3, 4, 2] })],
  InstanceNorm: [new InstanceNorm(4), data => ({ data, dims: [3, 4, 2] })],
  BatchNorm: [new BatchNorm(4), data => ({ data, dims: [3, 4, 2] })]
}

describe.each(Object.entries(layers))('behaviour: memory of %s.forwardAsync', (name, [layer, of]) => {
  const volume = !/LayerNorm|RMSNorm/.test(name)
  const what = 'x'

  /** Fails unless the call rejects so, and leaves x and everything in options as it was. */
  async function refuses(x: Float32Array, options: { [name: string]: unknown }, kind: typeof Error, message: string) {
    const before = x.slice()
    const arrays = Object.values(options).filter((value): value is Float32Array => value instanceof Float32Array)
    const copies = arrays.map(array => array.slice())
    let promise: Promise<unknown> | undefined
    expect(() => {
      promise = layer.forwardAsync(of(x), options)
    }).not.toThrow()
    const [error] = await outcomes([promise as Promise<unknown>])
    expect(error).toBeInstanceOf(kind)
    expect((error as Error).message).toContain(`${name}: ${message}`)
    expectSameBits(x, before, 'x')
    arrays.forEach((array, i) => {
      expectSameBits(array, copies[i], 'an operand')
    })
  }

  it('refuses what cannot be taken over, and leaves it', async () => {
    const all = `${what} expected an array over all of an ArrayBuffer, because transfer is given, got one over`
    const transfer = true
    await refuses(f32(48).subarray(0, 24), { transfer }, TypeError, `${all} a part of it`)
    await refuses(f32(48).subarray(24), { transfer }, TypeError, `${all} a part of it`)
    await refuses(shared(24), { transfer }, TypeError, `${all} a SharedArrayBuffer`)
    await refuses(f32(24), { transfer, out: f32(24) }, TypeError, 'out expected undefined, because transfer is given')
    const page = wasmPage()
    const wide = volume ? ({ data: page, dims: [4096, 4, 1] } as const) : page
    const [error] = await outcomes([layer.forwardAsync(wide, { transfer })])
    expect(String(error)).toBe(`TypeError: ${name}: ${all} memory that cannot be detached`)
    expect(page.length).toBe(16384)
  })

  it('refuses wrong options of its own, and what forward refuses, as rejections', async () => {
    await refuses(f32(24), { transfer: 1 }, TypeError, 'transfer expected a boolean, got 1')
    await refuses(f32(24), { signal: {} }, TypeError, 'signal expected an AbortSignal, got an object')
    await refuses(f32(24), { signal: null }, TypeError, 'signal expected an AbortSignal, got null')
    await refuses(f32(24), { transfr: true }, TypeError, 'option expected one of')
    await refuses(f32(24), { out: f32(23), transfer: false }, RangeError, 'out.length expected 24')
    await refuses(f32(24), { rstd: f32(7), transfer: true }, RangeError, 'rstd.length expected')
    const [error] = await outcomes([layer.forwardAsync(undefined)])
    expect(error).toBeInstanceOf(TypeError)
  })

  it('rejects where a place is gone or of another size when the result is there, and writes nothing', async () => {
    const places = ['out', 'rstd'] as const
    const expected = layer.forward(of(f32(24)))
    const statistics = (data: { length: number }) => new Float64Array(data.length)
    const groups = volume ? { GroupNorm: 6, InstanceNorm: 12, BatchNorm: 4 }[name] : 3
    for (const place of places) {
      const n = place === 'out' ? 24 : (groups as number)
      for (const change of ['detached', 'shrunk', 'grown'] as const) {
        const size = place === 'out' ? 4 * n : 8 * n
        const buffer = new ArrayBuffer(size, { maxByteLength: size + 80 })
        const array = place === 'out' ? new Float32Array(buffer) : new Float64Array(buffer)
        const other = place === 'out' ? statistics({ length: groups as number }) : new Float32Array(24)
        const options = place === 'out' ? { out: array, rstd: other } : { rstd: array, out: other }
        const promise = layer.forwardAsync(of(f32(24)), options)
        if (change === 'detached') detach(array)
        else buffer.resize(change === 'shrunk' ? size - 8 : size + 8)
        const [error] = await outcomes([promise])
        if (change === 'detached') expect(error).toBeInstanceOf(TypeError)
        else expect(error).toBeInstanceOf(RangeError)
        expect(error.message).toContain(`${name}: ${place}`)
        const left = change === 'detached' ? [other] : [array, other]
        expect(left.every(one => one.every(value => value === 0))).toBe(true)
      }
    }
    // It has done no harm.
    const y = (await layer.forwardAsync(of(f32(24)))) as { data?: Float32Array }
    expectSameBits(y.data ?? (y as Float32Array), expected.data ?? expected, 'the next call')
  })

  it('detaches x at once with transfer, and no sooner than everything is checked', async () => {
    const x = f32(24)
    const promise = layer.forwardAsync(of(x), { transfer: true })
    expect(x.length).toBe(0)
    await promise
    const [error] = await outcomes([layer.forwardAsync(of(x), { transfer: true })])
    expect(error).toBeInstanceOf(TypeError)
  })
})

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

/** Bytes of all array buffers that are in use: without those that wait for the garbage collector. */
function allocated(): number {
  collect()
  collect() // the first only begins to sweep
  return process.memoryUsage().arrayBuffers
}

describe('behaviour: memory of forwardAsync', () => {
  it('hands the same memory back with transfer: nothing of its size is allocated', async () => {
    const bytes = 2 ** 26
    const layer = new LayerNorm(1024)
    const x = f32(1024).slice()
    const big = new Float32Array(bytes / 4)
    for (let at = 0; at < big.length; at += 1024) big.set(x, at)
    const before = allocated()
    const copied = layer.forwardAsync(big)
    expect(allocated() - before).toBeGreaterThan(0.9 * bytes)
    await copied
    const middle = allocated()
    const taken = layer.forwardAsync(big, { transfer: true })
    expect(allocated() - middle).toBeLessThan(0.1 * bytes)
    const y = await taken
    expect(allocated() - middle).toBeLessThan(0.1 * bytes)
    expect(y.buffer).toBeInstanceOf(ArrayBuffer)
    expect(y.byteLength).toBe(bytes)
    expectSameBits(y.subarray(bytes / 4 - 1024), layer.forward(x), 'the last row')
  })

  it('neither copies nor replaces shared memory', async () => {
    const bytes = 2 ** 26
    const layer = new RMSNorm(1024)
    const x = shared(bytes / 4)
    const before = allocated()
    const y = await layer.forwardAsync(x, { out: x })
    expect(allocated() - before).toBeLessThan(0.1 * bytes)
    expect(y).toBe(x)
  })

  it('refuses a sum that is an x to be taken over', async () => {
    for (const layer of [new LayerNorm(8), new RMSNorm(8)]) {
      const x = f32(24)
      const [error] = await outcomes([layer.forwardAsync(x, { residual: f32(24), sum: x, transfer: true })])
      expect(String(error)).toMatch(
        /^RangeError: \w+: sum expected no memory shared with x, because transfer is given, got an overlap$/
      )
      expect(x.length).toBe(24)
    }
  })

  it('takes resizable memory over as it is, and growable memory while it grows', async () => {
    const layer = new LayerNorm(8)
    const expected = layer.forward(f32(24))
    const x = new Float32Array(new ArrayBuffer(96, { maxByteLength: 960 }))
    x.set(f32(24))
    const y = await layer.forwardAsync(x, { transfer: true })
    expect(x.length).toBe(0)
    expectSameBits(y, expected, 'resizable')

    const copied = new Float32Array(new ArrayBuffer(96, { maxByteLength: 960 }))
    copied.set(f32(24))
    const later = layer.forwardAsync(copied)
    ;(copied.buffer as ArrayBuffer).resize(0)
    expectSameBits(await later, expected, 'copied')

    const buffer = new SharedArrayBuffer(96, { maxByteLength: 96_000 })
    const growing = new Float32Array(buffer)
    growing.set(f32(24))
    const promise = layer.forwardAsync(growing)
    buffer.grow(96_000)
    expectSameBits(await promise, expected, 'growable')
  })

  it('keeps its weights when a layer gets others meanwhile, and a layer its own', async () => {
    const [x, weight, bias] = [f32(4 * d), f32(d, 2), f32(d, 3)]
    const layer = new LayerNorm(d, { weight, bias })
    const expected = layer.forward(x)
    const calls = Array.from({ length: 9 }, () => layer.forwardAsync(x))
    layer.setWeights({ weight: bias })
    for (const y of await Promise.all(calls)) expectSameBits(y, expected, 'called before')
    expectSameBits(await layer.forwardAsync(x), new LayerNorm(d, { weight: bias }).forward(x), 'called after')
  })

  it('uses the running statistics that there are at the call', async () => {
    const x = { data: f32(400), dims: [100, 4] }
    const layer = new BatchNorm(4, { runningMean: f32(4, 2) }).eval()
    const expected = layer.forward(x).data
    const calls = Array.from({ length: 9 }, () => layer.forwardAsync(x))
    layer.runningMean?.fill(7)
    for (const y of await Promise.all(calls)) expectSameBits(y.data, expected, 'called before')
  })

  it('survives any buffer that is detached, dropped or changed while it waits and while it works', () => {
    const { code, stdout, stderr } = run(
      `import { LayerNorm } from 'evenkeel'
       const layer = new LayerNorm(768)
       const make = (shared = false) => new Float32Array(shared ? new SharedArrayBuffer(4 * 768 * 500) : 768 * 500)
       const detach = array => structuredClone(array.buffer, { transfer: [array.buffer] })
       let [done, refused] = [0, 0]
       const count = promise => promise.then(() => done++, () => refused++)
       for (let round = 0; round < 30; round++) {
         const all = []
         for (let i = 0; i < 8; i++) {
           const [x, out, rstd] = [make(i % 3 === 0), make(i % 4 === 0), new Float64Array(500)]
           const transfer = i === 5
           all.push(count(layer.forwardAsync(x, transfer ? { transfer } : { out, rstd })))
           if (i % 3 !== 0 && !transfer) detach(x)
           if (i % 4 === 1) detach(out)
           if (i % 4 === 2) detach(rstd)
         }
         gc()
         if (round % 5 === 0) await Promise.all(all)
         gc()
       }
       process.on('exit', () => console.log(done, refused))`,
      { NODE_OPTIONS: '--expose-gc', EVENKEEL_THREADS: '3' }
    )
    expect(stderr).toBe('')
    expect(stdout).toBe('150 90\n')
    expect(code).toBe(0)
  })
})

describe('behaviour: the signal of forwardAsync', () => {
  const layer = new LayerNorm(d)
  /** Calls that have begun: the rest waits. */
  const begun = () => (backend === 'js' ? 1 : 2 * getNumThreads())

  it('rejects with its reason where it is aborted before the call, and leaves x', async () => {
    const reason = { any: 'thing' }
    for (const transfer of [false, true]) {
      const x = f32(d)
      const [error] = await outcomes([layer.forwardAsync(x, { transfer, signal: AbortSignal.abort(reason) })])
      expect(error).toBe(reason)
      expect(x.length).toBe(d)
    }
    const [error] = await outcomes([layer.forwardAsync(f32(d), { signal: AbortSignal.abort() })])
    expect((error as Error).name).toBe('AbortError')
  })

  it('cancels what waits, in any place, and finishes what has begun: no more than twice the threads', async () => {
    for (const n of [1, 2]) {
      setNumThreads(n)
      const controllers = Array.from({ length: 12 }, () => new AbortController())
      const calls = controllers.map(({ signal }) => layer.forwardAsync(large(), { signal }))
      const others = [layer.forwardAsync(f32(d)), layer.forwardAsync(f32(d))]
      controllers.forEach((controller, i) => {
        if (i !== 8) controller.abort(i)
      })
      const expected = controllers.map((_, i) => (i < begun() || i === 8 ? 'done' : i))
      expect(await outcomes(calls)).toEqual(expected)
      expect(await outcomes(others)).toEqual(['done', 'done'])
    }
  })

  it('does nothing once the call has begun or is done', async () => {
    const controller = new AbortController()
    const promise = layer.forwardAsync(f32(d), { signal: controller.signal })
    controller.abort()
    await promise
    const after = new AbortController()
    await layer.forwardAsync(f32(d), { signal: after.signal })
    after.abort()
  })

  it('does not cancel a training call between its statistics and its result', async () => {
    setNumThreads(1)
    const norm = new BatchNorm(3)
    const x = { data: f32(3000), dims: [1000, 3] }
    const controller = new AbortController()
    const first = norm.forwardAsync(x, { signal: controller.signal })
    // Its second half waits behind these.
    const rest = Array.from({ length: 6 }, () => layer.forwardAsync(large()))
    await rest[0]
    await rest[1]
    controller.abort('too late')
    expect(await outcomes([first, ...rest])).toEqual(Array(7).fill('done'))
    expect(norm.numBatchesTracked).toBe(1)
  })

  it('is listened to once, however many calls have it', async () => {
    const controller = new AbortController()
    const { signal } = controller
    const warnings: Error[] = []
    const warned = (warning: Error) => warnings.push(warning)
    process.on('warning', warned)
    const calls = Array.from({ length: 100 }, () => layer.forwardAsync(f32(d), { signal }))
    expect(getEventListeners(signal, 'abort').length).toBe(1)
    controller.abort('all')
    const results = await outcomes(calls)
    expect(results.filter(result => result === 'done').length).toBe(begun())
    expect(results.filter(result => result === 'all').length).toBe(100 - begun())
    expect(getEventListeners(signal, 'abort').length).toBe(0)
    await new Promise(resolve => setImmediate(resolve))
    process.off('warning', warned)
    expect(warnings).toEqual([])
  })
})

describe('behaviour: forwardAsync and the event loop', () => {
  it('begins calls in their order', async () => {
    setNumThreads(1)
    const layer = new LayerNorm(d)
    const ended: number[] = []
    const x = f32(300 * d)
    await Promise.all(Array.from({ length: 30 }, (_, i) => layer.forwardAsync(x).then(() => ended.push(i))))
    expect(ended).toEqual(Array.from({ length: 30 }, (_, i) => i))
  })

  it.skipIf(tables.length === 1 || backend === 'js')('leaves the loop free while threads work', async () => {
    const layer = new LayerNorm(d)
    const x = shared(8192 * d).fill(1)
    let working = true
    const calls = Promise.all(Array.from({ length: 20 }, () => layer.forwardAsync(x, { out: x })))
    const promise = calls.then(() => {
      working = false
    })
    let turns = 0
    while (working) {
      turns++
      await new Promise(resolve => setImmediate(resolve))
    }
    await promise
    // Calls on the loop would allow one each.
    expect(turns).toBeGreaterThan(200)
  })

  it('lets the loop turn between calls without threads', () => {
    const { stdout } = run(
      `import { LayerNorm } from 'evenkeel'
       const layer = new LayerNorm(64)
       const x = new Float32Array(64)
       let turns = 0
       let ended = 0
       const calls = Array.from({ length: 20 }, () => layer.forwardAsync(x).then(() => ended++))
       while (ended < 20) {
         await new Promise(resolve => setImmediate(resolve))
         turns++
       }
       console.log(turns >= 20 ? 'free' : turns)`,
      { EVENKEEL_BACKEND: 'js' }
    )
    expect(stdout).toBe('free\n')
  })

  const both = ['', 'js']

  it.each(both)('keeps the process alive while a call is pending, and no longer (backend %j)', backend => {
    const begin = Date.now()
    const { code, stdout, stderr } = run(
      `import { LayerNorm } from 'evenkeel'
       const layer = new LayerNorm(768)
       for (let i = 0; i < 12; i++) layer.forwardAsync(new Float32Array(768 * 400)).then(() => console.log(i))`,
      { EVENKEEL_BACKEND: backend, EVENKEEL_THREADS: '1' }
    )
    expect(stderr).toBe('')
    expect(stdout).toBe([...Array(12).keys(), ''].join('\n'))
    expect(code).toBe(0)
    expect(Date.now() - begin).toBeLessThan(20_000)
  })

  it.each(both)('reports a rejection that nobody handles as Node.js does (backend %j)', backend => {
    for (const call of ['layer.forwardAsync(new Float32Array(7))', 'layer.forwardAsync(x, { out }); detach(out)']) {
      const { code, stderr } = run(
        `import { LayerNorm } from 'evenkeel'
         const layer = new LayerNorm(8)
         const [x, out] = [new Float32Array(8), new Float32Array(8)]
         const detach = array => structuredClone(array.buffer, { transfer: [array.buffer] })
         ${call}`,
        { EVENKEEL_BACKEND: backend }
      )
      expect(code).toBe(1)
      expect(stderr).toMatch(/(RangeError: LayerNorm: x\.length|TypeError: LayerNorm: out) expected/)
    }
  })

  it('gives tensors of x their class, and calls what makes them only then', async () => {
    const layer = new LayerNorm(8)
    const x = new Tensor('float32', f32(24), [3, 8])
    const y = await layer.forwardAsync(x)
    expect(y).toBeInstanceOf(Tensor)
    expect(y.dims).toEqual([3, 8])
    expect(y.data).not.toBe(x.data)
  })
})

describe.skipIf(tables.length === 1)('behaviour: what starts jobs in the native binary, called with anything', () => {
  const native = tables[0]
  const starts = native.start as { readonly layer_norm: unknown }
  const start = (call: object) => (starts.layer_norm as (call: object) => unknown)(call)
  const good = (y: unknown, x: unknown, rstd: unknown = undefined) => ({
    ...{ y, x, rstd, shape: { outer: 3, size: 4, inner: 1 }, residualScale: 1, eps: 1e-5 }
  })

  it('gives the buffers of the arrays, in turn, and detaches those that were given', async () => {
    const [y, x, rstd] = [new Float32Array(12), f32(12), new Float64Array(3)]
    const expected = new LayerNorm(4).forward(x)
    const promise = start(good(y, x, rstd)) as Promise<ArrayBuffer[]>
    expect([y.length, x.length, rstd.length]).toEqual([0, 0, 0])
    const buffers = await promise
    expect(buffers.map(buffer => buffer.byteLength)).toEqual([48, 24, 48])
    expectSameBits(new Float32Array(buffers[0]), expected, 'y')
    const both = f32(12)
    const [one, other] = (await start(good(both, both))) as ArrayBuffer[]
    expect(one).toBe(other)
    expectSameBits(new Float32Array(one), expected, 'in place')
    const memory = shared(12)
    memory.set(f32(12))
    const [same] = (await start(good(memory, memory))) as ArrayBuffer[]
    expect(same).toBe(memory.buffer)
    expectSameBits(memory, expected, 'shared')
  })

  it('refuses what is not all of a buffer, what was detached, what is too short, and detaches nothing', () => {
    const gone = f32(12)
    detach(gone)
    for (const bad of [f32(24).subarray(12), f32(24).subarray(0, 12), gone, f32(2), f32(0), 5]) {
      const x = f32(12)
      expect(() => start(good(bad, x))).toThrow(/^layer_norm: .* expected /)
      expect(() => start(good(x, bad))).toThrow(/^layer_norm: .* expected /)
      expect(() => start(good(x.slice(), x, bad))).toThrow(/^layer_norm: .* expected /)
      expect(x.length).toBe(12)
    }
    expect(() => start(good(f32(11), f32(12)))).toThrow('arrays expected memory for what the shape says')
    const empty = { ...good(f32(12), f32(12)), shape: { outer: 0, size: 4, inner: 1 } }
    expect(() => start(empty)).toThrow('layer_norm: shape expected at least one element')
  })

  it('refuses memory that cannot be detached', () => {
    const page = wasmPage()
    expect(() => start(good(page, page))).toThrow('structuredClone expected to return the same memory, got other')
    expect(page.length).toBe(16384)
  })

  it('shows the memory of a job to no setter of a prototype', async () => {
    const seen: unknown[] = []
    const names = ['0', '1', 'transfer']
    const set = function (this: object, value: unknown) {
      Reflect.apply(Array.prototype.push, seen, [this, value])
    }
    for (const name of names) {
      for (const prototype of [Object.prototype, Array.prototype]) {
        Object.defineProperty(prototype, name, { set, get: () => undefined, configurable: true })
      }
    }
    let promise: unknown
    try {
      promise = start(good(new Float32Array(12), new Float32Array(12)))
    } finally {
      for (const name of names) {
        for (const prototype of [Object.prototype, Array.prototype]) {
          delete (prototype as { [name: string]: unknown })[name]
        }
      }
    }
    expect(((await promise) as ArrayBuffer[]).map(buffer => buffer.byteLength)).toEqual([48, 48])
    expect(seen).toEqual([])
  })

  it.each([
    ['nothing', '() => undefined'],
    ['other memory', '(value, options) => instead(value, options, ({ byteLength }) => new ArrayBuffer(byteLength))'],
    ['the argument itself', 'value => value'],
    ['a copy', 'value => clone(value)'],
    [
      'shared memory',
      '(value, options) => instead(value, options, ({ byteLength }) => new SharedArrayBuffer(byteLength))'
    ],
    ['an error', '() => { throw new Error("no") }'],
    [
      'a detached result',
      '(value, options) => { const y = clone(value, options); each(y, one => clone(one, { transfer: [one] })); return y }'
    ],
    ['one for all', '(value, options) => { clone(value, options); return globalThis.last ??= clone(value) }'],
    ['fewer', '(value, options) => clone(value, options).slice(0, -1)'],
    [
      'a list that throws',
      '(value, options) => new Proxy(clone(value, options), { get: () => { throw new Error("no") } })'
    ]
  ])('rejects where structuredClone was replaced before the import and gives %s', (_, code) => {
    const {
      code: exit,
      stdout,
      stderr
    } = run(
      `globalThis.clone = structuredClone
       globalThis.each = (value, make) => (Array.isArray(value) ? value.map(one => make(one)) : make(value))
       globalThis.instead = (value, options, make) => {
         const others = each(value, make)
         clone(value, options)
         return others
       }
       globalThis.structuredClone = ${code}
       const { LayerNorm, RMSNorm } = await import('evenkeel')
       const layer = new LayerNorm(768)
       const x = () => new Float32Array(768 * 50).fill(1)
       const rstd = new Float64Array(50)
       const calls = [layer.forwardAsync(x()), layer.forwardAsync(x(), { rstd }), layer.forwardAsync(x(), { transfer: true })]
       const results = await Promise.allSettled(calls)
       console.log(results.map(({ status }) => status).join())
       console.log(layer.forward(x()).length)`,
      { EVENKEEL_BACKEND: backends[0] }
    )
    expect(stderr).toBe('')
    expect(exit).toBe(0)
    expect(stdout).toBe('rejected,rejected,rejected\n38400\n')
  })
})
