// The functions of the native binary, called with anything: they throw or do their work, and never touch other memory.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { native } from '../../dist/esm/backend/native.js'
import { type Case, cases, runCase } from '../../dist/esm/cases/index.js'
import { backendInfo } from '../../dist/esm/index.js'
import { kernels, type Op, ops, signatures } from '../../dist/esm/kernels/index.js'
import type { Kind } from '../../dist/esm/kernels/operands.js'
import { argumentsOf, exactArguments, guarded, type NativeFunction, wrongNumbers } from '../support/native_calls.ts'
import { root } from '../support/process.ts'

type Function = NativeFunction

const backends = native.addon?.backends ?? []

const floats = (n: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i + n))

/** How many numbers a call has: which arrays there are, three or five of the shape, a stride or a type, and its own. */
function numbersOf(op: Op): number {
  const count: { readonly [kind in Kind]?: number } = { groups: 3, volume: 5 }
  const ones: readonly Kind[] = ['out', 'maybeOut', 'in', 'maybeIn', 'perGroup', 'counted', 'size', 'number']
  const given = Object.values(signatures[op] as { readonly [operand: string]: Kind })
  return given.reduce((sum, kind) => sum + (count[kind] ?? (ones.includes(kind) ? 1 : 0)), 1)
}

/** Good calls of an op, of different kinds. */
function goodCalls(op: Op): unknown[][] {
  const out: unknown[][] = []
  const recording = {
    ...kernels,
    [op]: (call: object) => {
      out.push(argumentsOf(op, call))
    }
  }
  const small = [...(cases[op]() as Iterable<Case>)].filter(({ x }) => x.length <= 3000)
  const every = Math.max(1, Math.floor(small.length / 12))
  for (let i = 0; i < small.length; i += every) runCase(op, recording, small[i])
  return out.slice(0, 12)
}

describe.skipIf(backends.length === 0)('behaviour: the native binary', () => {
  // That host proves that the binary needs nothing of glibc (npm run matrix -- musl), on machines that have musl.
  it('calls nothing of Node-API that the host without Node.js lacks', () => {
    const binary = readFileSync(backendInfo().loadedFrom as string, 'latin1')
    const called = new Set(binary.match(/\bnapi_[a-z0-9_]+(?=\0)/g))
    const host = readFileSync(join(root, 'matrix/musl_host.c'), 'utf8')
    expect(called.size).toBeGreaterThan(30)
    const known = (name: string) => new RegExp(`napi_status ${name}\\(|UNUSED\\(${name}\\)|void ${name}\\(`).test(host)
    const lacking = [...called].filter(name => !known(name) && !/^napi_(module_)?register/.test(name))
    expect(lacking).toEqual([])
  })
})

describe.skipIf(backends.length === 0).each(ops)('behaviour: %s of the native binary, called with anything', op => {
  const good = goodCalls(op)

  it('takes good calls', () => {
    expect(good.length).toBeGreaterThan(3)
    for (const { name, float32 } of backends) {
      for (const args of good) expect(() => (float32.run[op] as Function)(...args), name).not.toThrow()
    }
  })

  it('with each number wrong throws or does its work, and writes nowhere else', () => {
    let refused = 0
    for (const { float32 } of backends) {
      for (const args of good) {
        const numbers = args[0] as Float64Array
        const used = numbers.findLastIndex(value => value !== 0) + 2
        for (let place = 0; place < Math.min(used, 30); place++) {
          for (const bad of wrongNumbers) {
            const all = args.slice(1).map(guarded)
            const block = numbers.slice()
            block[place] = bad
            try {
              ;(float32.run[op] as Function)(block, ...all.map(({ array }) => array))
            } catch (error) {
              expect(String(error)).toMatch(new RegExp(`^TypeError: ${op}: .* expected .*, got something else`))
              refused++
            }
            expect(all.every(({ intact }) => intact())).toBe(true)
          }
        }
      }
    }
    expect(refused).toBeGreaterThan(100)
  })

  it('with each argument wrong throws or does its work, and writes nowhere else', () => {
    const gone = new Float32Array(12)
    structuredClone(gone.buffer, { transfer: [gone.buffer] })
    const others = [undefined, null, 5, 'text', Symbol('no'), {}, [1, 2, 3], new DataView(new ArrayBuffer(64)), 5n]
    const arrays = [gone, new Float32Array(0), new Uint8Array(3), new BigInt64Array(4), new Float64Array(1)]
    let refused = 0
    for (const { float32 } of backends) {
      for (const args of good) {
        for (let place = 0; place < args.length; place++) {
          const short = (args[place] as Float32Array).slice(1)
          const odd = new Uint8Array(args[place] instanceof Float64Array ? 4096 : 8192).subarray(1)
          for (const bad of [...others, ...arrays, short, odd]) {
            const all = args.map(guarded)
            const given = all.map(({ array }, i) => (i === place ? bad : array))
            try {
              ;(float32.run[op] as Function)(...given)
            } catch (error) {
              expect(String(error)).toMatch(new RegExp(`^TypeError: ${op}: .* expected .*, got something else`))
              refused++
            }
            expect(all.every(({ intact }) => intact())).toBe(true)
          }
        }
        expect(() => (float32.run[op] as Function)()).toThrow(TypeError)
        expect(() => (float32.run[op] as Function)(...args, ...args, ...args)).not.toThrow()
      }
    }
    expect(refused).toBeGreaterThan(100)
  })

  it('prepares a layer of good parameters alone, whose calls take two arrays of as many whole rows', () => {
    const shape = { outer: 0, size: 24, inner: 1 }
    const numbers = { residualScale: 1, eps: 1e-5, counted: 24, weightOffset: 0, p: 2, rule: 0, factor: 1 }
    for (const { float32 } of backends) {
      const prepare = float32.prepare[op] as Function | undefined
      if (!prepare || !('x' in signatures[op] && signatures[op].shape === 'groups')) continue
      const weight = new Float32Array(24).fill(1)
      const args = argumentsOf(op, { weight, shape, ...numbers })
      const layer = prepare(...args) as Function
      const [x, y] = [new Float32Array(48).fill(3), new Float32Array(48)]
      layer(y, x)
      expect(y.some(value => value !== 0) || op === 'layer_norm').toBe(true)
      // Its rows are dense, whatever strides it was prepared with: there was no memory to hold them against.
      const far = prepare(...argumentsOf(op, { weight, shape, strides: { y: 5, x: 2 ** 20 }, ...numbers })) as Function
      const guards = [x, y].map(guarded)
      far(guards[1].array, guards[0].array)
      expect(guards.every(({ intact }) => intact())).toBe(true)
      expect(guards[1].array).toEqual(y)
      const gone = new Float32Array(48)
      structuredClone(gone.buffer, { transfer: [gone.buffer] })
      for (const bad of [undefined, null, 5, 'text', {}, gone, new Float32Array(47), new Float32Array(0), [1]]) {
        expect(() => layer(bad, x)).toThrow(TypeError)
        expect(() => layer(y, bad)).toThrow(TypeError)
      }
      expect(() => layer(new Float32Array(24), x)).toThrow(TypeError)
      expect(() => layer()).toThrow(TypeError)
      // Rows, arrays of each call and a short weight have no place in a layer.
      for (const wrong of [
        { weight: new Float32Array(23), shape, ...numbers },
        { x, y, weight, shape: { outer: 2, size: 24, inner: 1 }, ...numbers },
        { y, weight, shape, ...numbers },
        { weight, shape: { outer: 0, size: 24, inner: 2 }, ...numbers },
        { weight, shape: { outer: 0, size: 0, inner: 1 }, ...numbers }
      ]) {
        if (op === 'normalize' && wrong.weight.length < 24) continue
        expect(() => prepare(...argumentsOf(op, wrong))).toThrow(TypeError)
      }
    }
  })
})

describe.skipIf(backends.length === 0).each(['batch_norm', 'group_norm'] as const)(
  'behaviour: a prepared layer of %s of the native binary, called with anything',
  op => {
    const shape = { samples: 0, groups: 3, channelsPerGroup: op === 'batch_norm' ? 1 : 2, positions: 1 }
    const channels = shape.groups * shape.channelsPerGroup
    const good = {
      weight: floats(channels),
      bias: floats(channels),
      shape: { ...shape, channelsLast: false },
      eps: 1e-5
    }
    const running = op === 'batch_norm' ? [floats(3), new Float32Array(3).fill(2)] : []
    const each = (check: (prepare: Function) => void) => {
      for (const { float32 } of backends) check(float32.prepare[op] as Function)
    }

    it('takes y, x, positions and statistics, or does nothing, and writes nowhere else', () => {
      each(prepare => {
        const layer = prepare(...argumentsOf(op, good)) as Function
        const x = floats(2 * channels * 5)
        const args: unknown[] = [new Float32Array(x.length), x, 5, ...running]
        const gone = new Float32Array(x.length)
        structuredClone(gone.buffer, { transfer: [gone.buffer] })
        const odd = new Uint8Array(4 * x.length + 1).subarray(1)
        const others = [
          undefined,
          null,
          5,
          'text',
          Symbol('no'),
          {},
          [1],
          new DataView(new ArrayBuffer(64)),
          5n,
          gone,
          odd
        ]
        const wrong = [...others, new Float32Array(0), x.slice(1), ...wrongNumbers.filter(n => n !== 1)]
        for (let place = 0; place < args.length; place++) {
          for (const bad of wrong) {
            const all = args.map(guarded)
            const result = all[0].array as Float32Array
            // Another number of positions is another number of samples.
            const ran = layer(...all.map(({ array }, i) => (i === place ? bad : array)))
            if (place !== 2) expect(ran, `argument ${place}`).toBe(undefined)
            if (ran === undefined) expect(result.every(value => value === 0)).toBe(true)
            expect(all.every(({ intact }) => intact())).toBe(true)
          }
        }
        expect(layer()).toBe(undefined)
        expect(layer(...args)).toBe(true)
        // Memory that y must not share.
        const memory = new Float32Array(x.length + 5)
        const y = memory.subarray(1, x.length + 1)
        expect(layer(y, memory.subarray(0, x.length), 5, ...running)).toBe(undefined)
        for (const place of running.keys()) {
          const shared = running.map((array, i) => (i === place ? memory.subarray(x.length, x.length + 3) : array))
          expect(layer(y, x, 5, ...shared)).toBe(undefined)
        }
        expect(layer(y, y, 5, ...running)).toBe(true)
        if (op === 'batch_norm') {
          expect(layer(y, x, 5, running[0], Float32Array.of(1, -1, 1))).toBe(undefined)
          expect(layer(y, x, 5, Float32Array.of(1, -1, 1), Float32Array.of(1, Number.NaN, 1))).toBe(true)
        }
      })
    })

    it('has parameters of its channels alone', () => {
      each(prepare => {
        const x = floats(10 * channels)
        const shapes = [
          { samples: 2, x, y: x, mean: floats(3), variance: floats(3) },
          { positions: 0 },
          { positions: 2 },
          { groups: 0 },
          { groups: 2 ** 53 - 1, channelsPerGroup: 2 ** 53 - 1 },
          { spans: Int32Array.of(1) }
        ]
        for (const { x, y, mean, variance, ...dims } of shapes as (typeof shapes)[0][]) {
          const call = { ...good, x, y, mean, variance, shape: { ...good.shape, ...dims } }
          expect(() => prepare(...argumentsOf(op, call)), JSON.stringify(dims)).toThrow(TypeError)
        }
        for (const wrong of [{ weight: floats(channels - 1) }, { x }, { y: x }, { mean: new Float64Array(3) }]) {
          expect(() => prepare(...argumentsOf(op, { ...good, ...wrong })), Object.keys(wrong)[0]).toThrow(TypeError)
        }
      })
    })
  }
)

/** A call with guards around all its arrays: throws what the function throws, and expects that nothing else was written. */
function callGuarded(name: string, run: Function, op: Op, call: object): void {
  const [numbers, ...arrays] = argumentsOf(op, call)
  const all = arrays.map(guarded)
  try {
    run(numbers, ...all.map(({ array }) => array))
  } finally {
    expect(
      all.every(({ intact }) => intact()),
      name
    ).toBe(true)
  }
}

const zeros = (n: number) => new Float64Array(n)
const ones = (n: number) => new Float64Array(n).fill(1)

/** Good calls of the backward kernels with all their operands, of exactly the length that they need. */
const [outer, size] = [130, 12]
const rows = {
  ...{ dx: floats(outer * size), dresidual: floats(outer * size), dy: floats(outer * size), x: floats(outer * size) },
  ...{ dsum: floats(outer * size), mean: ones(outer), rstd: ones(outer), weight: floats(size), dots: zeros(outer) },
  ...{ dweight: zeros(3 * size), dbias: zeros(3 * size), shape: { outer, size, inner: 1 }, counted: 5, rule: 0 },
  ...{ residualScale: 0.5, eps: 1e-5, factor: 2 }
}
const volumeOf = (
  samples: number,
  groups: number,
  channelsPerGroup: number,
  positions: number,
  perChannel: boolean
) => {
  const channels = groups * channelsPerGroup
  const sums = perChannel ? groups : channels * (samples > 4096 ? Math.ceil(samples / 64) : samples)
  const n = samples * channels * positions
  return {
    ...{
      dx: floats(n),
      dy: floats(n),
      x: floats(n),
      weight: floats(channels),
      dweight: zeros(sums),
      dbias: zeros(sums)
    },
    ...{ mean: ones(perChannel ? groups : samples * groups), rstd: ones(perChannel ? groups : samples * groups) },
    ...{ shape: { samples, groups, channelsPerGroup, positions, channelsLast: false }, eps: 1e-5, training: 1 }
  }
}
const group = volumeOf(5, 3, 2, 7, false)
const batch = volumeOf(5, 6, 1, 7, true)
const manySamples = volumeOf(4097, 3, 2, 1, false)
const backward: readonly (readonly [Op, { readonly [operand: string]: unknown }])[] = [
  ['layer_norm_backward', rows],
  ['rms_norm_backward', rows],
  ['normalize_backward', rows],
  ['group_norm_backward', group],
  ['group_norm_backward', manySamples],
  ['batch_norm_backward', batch]
]
/** Spans of one sample: the real rows of a call. */
const spans = (...list: number[]) => Int32Array.from([2, 2 + list.length, ...list])

describe.skipIf(backends.length === 0)('behaviour: backward kernels of the native binary, called with anything', () => {
  const eachCall = (check: (name: string, run: Function, op: Op, good: { [operand: string]: unknown }) => void) => {
    for (const { name, float32 } of backends) {
      for (const [op, good] of backward) check(`${name} ${op}`, float32.run[op] as Function, op, good)
    }
  }

  it('refuse each array that is shorter by one element, sums and statistics among them', () => {
    let refused = 0
    eachCall((name, run, op, good) => {
      expect(() => callGuarded(name, run, op, good), name).not.toThrow()
      for (const [operand, array] of Object.entries(good)) {
        if (!ArrayBuffer.isView(array) || !(operand in signatures[op])) continue
        const short = (array as Float32Array).slice(0, -1)
        expect(() => callGuarded(name, run, op, { ...good, [operand]: short }), `${name} ${operand}`).toThrow(TypeError)
        refused++
      }
    })
    expect(refused).toBe(backends.length * (10 + 8 + 4 + 8 + 8 + 8))
  })

  it('refuse sums where no float64 stands, and statistics over a batch that are absent', () => {
    const odd = (n: number) => new Float32Array(new ArrayBuffer(8 * n + 8), 4, 2 * n)
    eachCall((name, run, op, good) => {
      for (const operand of ['dweight', 'dbias', 'mean', 'rstd']) {
        if (!(operand in signatures[op])) continue
        const wrong = { ...good, [operand]: odd((good[operand] as Float64Array).length) }
        expect(() => run(...exactArguments(op, wrong)), `${name} ${operand}`).toThrow(TypeError)
        const absent = () => callGuarded(name, run, op, { ...good, [operand]: undefined })
        if (op === 'batch_norm_backward' && !operand.startsWith('d')) expect(absent, name).toThrow(TypeError)
        else expect(absent, name).not.toThrow()
      }
    })
  })

  it('compute both statistics where one is absent', () => {
    for (const { float32 } of backends) {
      for (const [op, good] of [
        ['layer_norm_backward', rows],
        ['group_norm_backward', group]
      ] as const) {
        const dxOf = (statistics: object) => {
          const dx = new Float32Array(good.dx.length)
          ;(float32.run[op] as Function)(...exactArguments(op, { ...good, ...statistics, dx }))
          return dx
        }
        const own = dxOf({ mean: undefined, rstd: undefined })
        expect(dxOf({ mean: undefined })).toEqual(own)
        expect(dxOf({ rstd: undefined })).toEqual(own)
        expect(dxOf({})).not.toEqual(own)
      }
    }
  })

  it('refuse spans of more rows than there are, and work within memory for all others', () => {
    const wrong = [spans(0, outer + 1), spans(0, 70, 60, 80), spans(5, 3), spans(-1, 4), Int32Array.of(2, 99, 0, 1)]
    const right = [
      spans(),
      spans(7, 7),
      spans(129, 130),
      spans(0, outer),
      spans(...Array.from({ length: 130 }, (_, i) => i))
    ]
    for (const { name, float32 } of backends) {
      for (const op of ['layer_norm_backward', 'rms_norm_backward', 'normalize_backward'] as const) {
        const run = float32.run[op] as Function
        const padded = (spans: Int32Array) => callGuarded(name, run, op, { ...rows, shape: { ...rows.shape, spans } })
        for (const list of wrong) expect(() => padded(list), `${name} ${op} ${list}`).toThrow(TypeError)
        for (const list of right) expect(() => padded(list), `${name} ${op} ${list}`).not.toThrow()
      }
    }
  })

  it('write nothing without rows, samples or positions', () => {
    eachCall((name, run, op, good) => {
      const shape = good.shape as object
      const empty = 'outer' in shape ? [{ outer: 0 }] : [{ samples: 0 }, { positions: 0 }]
      for (const dims of empty) {
        const args = exactArguments(op, { ...good, shape: { ...shape, ...dims } })
        const bytes = () => Buffer.concat(args.map(array => new Uint8Array((array as Float32Array).buffer)))
        const before = bytes()
        run(...args)
        expect(bytes().equals(before), name).toBe(true)
      }
    })
  })

  it('stay within memory where arrays are one another, and where rows are columns', () => {
    eachCall((name, run, op, good) => {
      const [dx, sums] = [good.dx as Float32Array, good.dweight as Float64Array]
      const buffer = new ArrayBuffer(Math.max(dx.byteLength, sums.byteLength) + 128)
      const bytes = new Uint8Array(buffer).fill(0xa5)
      const memory = { dx: new Float32Array(buffer, 64, dx.length), dweight: new Float64Array(buffer, 64, sums.length) }
      const all = { ...good, ...memory, dbias: memory.dweight, dy: memory.dx, mean: good.mean, rstd: good.mean }
      run(...exactArguments(op, all))
      expect(
        bytes.subarray(0, 64).every(byte => byte === 0xa5),
        name
      ).toBe(true)
      const end = 64 + Math.max(dx.byteLength, sums.byteLength)
      expect(
        bytes.subarray(end).every(byte => byte === 0xa5),
        name
      ).toBe(true)
    })
    for (const { name, float32 } of backends) {
      for (const op of ['layer_norm_backward', 'rms_norm_backward', 'normalize_backward'] as const) {
        for (const columns of [undefined, Int32Array.from([14, 16, ...new Array(12).fill(16), 1, 9])]) {
          // 13 matrices of 12 rows and 10 columns: sums of one block, statistics of every column.
          const shape = { outer: 13, size: 12, inner: 10, spans: columns }
          const statistics = {
            mean: ones(130),
            rstd: ones(130),
            dots: zeros(130),
            dweight: zeros(12),
            dbias: zeros(12)
          }
          const call = () => callGuarded(name, float32.run[op] as Function, op, { ...rows, ...statistics, shape })
          expect(call, `${name} ${op}`).not.toThrow()
        }
      }
    }
  })

  it('refuse what they lack of numbers, and say so before a thread begins', () => {
    for (const { name, float32 } of backends) {
      for (const [op, good] of backward) {
        const [block, ...arrays] = exactArguments(op, good)
        const numbers = block as Float64Array
        const used = numbersOf(op)
        const cut = (n: number) => () => (float32.run[op] as Function)(numbers.slice(0, n), ...arrays)
        expect(cut(used), `${name} ${op}`).not.toThrow()
        for (let n = 0; n < used; n++) expect(cut(n), `${name} ${op}`).toThrow(TypeError)
        const short = 'dweight' in signatures[op] ? { dweight: zeros(1) } : { x: floats(1) }
        const start = () => (float32.start[op] as Function)(...exactArguments(op, { ...good, ...short }))
        expect(start, `${name} ${op}`).toThrow(TypeError)
      }
    }
  })
})
