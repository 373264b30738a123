// The threads of the addon: the same bits for every number of them, and how they behave as guests of a process.
import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { tables } from '../../dist/esm/backend/choice.js'
import { usableCores } from '../../dist/esm/backend/load.cjs'
import { fill, random } from '../../dist/esm/cases/data.js'
import { getNumThreads, setNumThreads } from '../../dist/esm/index.js'
import type { Kernels, Op } from '../../dist/esm/kernels/index.js'
import { codeBytes, codeFormats, type Statistic } from '../../dist/esm/kernels/operands.js'
import { backendsHere } from '../support/backends.ts'
import { expectSameBits } from '../support/bits.ts'
import { rowOperands, volumeOperands } from '../support/calls.ts'
import { type Call, gradientCalls, type Outputs, type Written } from '../support/gradient_calls.ts'
import { long, root, run } from '../support/process.ts'

const native = backendsHere.slice(0, -1)

const uniform = (next: () => number) => 2 * next() - 1 + 0.25
const values = fill(uniform, 1 << 21, 1)
const others = fill(uniform, 1 << 21, 2)
const weights = fill(uniform, 1 << 17, 3)
const biases = fill(uniform, 1 << 17, 4)

/** outer, size, inner; stride of the matrices, where they do not follow one another. */
const rowShapes: readonly (readonly [number, number, number, number?])[] = [
  // rows: as many in each piece, more in some, fewer than there would be pieces, one alone
  [512, 768, 1],
  [1031, 768, 1],
  [1031, 768, 1, 781],
  [3, 200_003, 1],
  [1, 400_001, 1],
  // below, at and above the size from which a call is divided, and that of two pieces
  [127, 1032, 1],
  [128, 1024, 1],
  [257, 1020, 1],
  [513, 511, 1],
  [512, 512, 1],
  // columns: of one matrix, unaligned, the last piece one column; of few matrices; of many
  [1, 64, 6000],
  [1, 100, 2623],
  [1, 16_000, 17],
  [1, 150_000, 3],
  [2, 500, 777],
  [3, 300, 1001, 300_311],
  [40, 300, 31]
]

function* rowCalls(): Generator<Call> {
  let index = 0
  for (const [outer, size, inner, given] of rowShapes) {
    const stride = given ?? size * inner
    const n = stride * outer
    const x = values.subarray(index % 7, (index % 7) + n)
    const residual = others.subarray(index % 5, (index % 5) + n)
    const [weight, bias] = [weights.length < size ? undefined : weights, biases.length < size ? undefined : biases]
    const Statistics = index % 2 === 0 ? Float32Array : Float64Array
    const shape = [outer, size, inner]
    const rows = { rows: outer, cols: size, inner, stride }
    const rms = { counted: Math.ceil(size / 2), eps: 1e-6 }
    const statistic = () => new Statistics(outer * inner)
    for (const form of ['plain', 'residual', 'residual and sum', 'in place', 'residual in place'] as const) {
      const added = form.startsWith('residual') ? residual : undefined
      const outputs = () => ({
        y: form.endsWith('in place') ? x.slice() : new Float32Array(n),
        sum: form === 'residual and sum' ? new Float32Array(n) : undefined,
        mean: form === 'plain' ? undefined : statistic(),
        rstd: form === 'in place' ? undefined : statistic()
      })
      const from = (y: Float32Array) => (form.endsWith('in place') ? y : x)
      const name = `[${shape}] ${given ? `stride ${given} ` : ''}${form}`
      yield {
        ...{ name, op: 'layer_norm', outputs },
        operands: ({ y, ...written }) =>
          rowOperands({
            ...rows,
            ...written,
            y,
            x: from(y),
            residual: added,
            weight,
            bias,
            residualScale: 0.75,
            eps: 1e-5
          })
      }
      if (form === 'plain' || form === 'residual') continue
      yield {
        ...{ name, op: 'rms_norm', outputs: () => ({ ...outputs(), mean: undefined }) },
        operands: ({ y, ...written }) =>
          rowOperands({
            ...rows,
            ...written,
            ...rms,
            y,
            x: from(y),
            residual: added,
            weight,
            weightOffset: weight ? 1 : 0
          })
      }
    }
    for (const p of [2, 1]) {
      yield {
        ...{ name: `[${shape}] p ${p}`, op: 'normalize' },
        outputs: () => ({ y: x.slice(), norm: statistic() }),
        operands: ({ y, norm }) => rowOperands({ ...rows, y, norm, x: y, p, rule: 0, eps: 1e-12, factor: 1.5 })
      }
    }
    index++
  }
}

/** samples, groups, channels of a group, positions. */
const volumeShapes: readonly (readonly [number, number, number, number])[] = [
  // many samples; fewer than there would be pieces; one
  [100, 13, 1, 301],
  [3, 33, 1, 5000],
  [1, 64, 1, 6007],
  [1, 3, 1, 130_001],
  [1, 777, 1, 500],
  [5001, 77, 1, 1],
  // groups of several channels, more and fewer than fit beside one another
  [40, 5, 3, 700],
  [2, 17, 5, 2200],
  [1, 37, 7, 1500],
  [1, 9, 40, 1111],
  [1, 2, 1, 70_001]
]

function* volumeCalls(): Generator<Call> {
  let index = 0
  for (const [samples, groups, channels, positions] of volumeShapes) {
    const count = groups * channels
    const n = samples * count * positions
    const next = random(index)
    const spans = Int32Array.from({ length: 2 * samples }, (_, i) =>
      Math.floor((positions * ((i % 2) + next())) / 2 + (i % 2))
    )
    for (const last of positions === 1 ? [true] : [false, true]) {
      for (const padding of [undefined, spans]) {
        const x = values.subarray(index % 7, (index % 7) + n)
        const Statistics = index++ % 2 === 0 ? Float32Array : Float64Array
        const volume = { samples, groups, channels, positions, channelsLast: last, spans: padding }
        const name = `[${samples}, ${groups}, ${channels}, ${positions}]${last ? ' channels last' : ''}${padding ? ' padded' : ''}`
        const y = () => ({ y: x.slice() })
        const perGroup = () => new Statistics(samples * groups)
        yield {
          ...{ name, op: 'group_norm', outputs: () => ({ ...y(), mean: perGroup(), rstd: perGroup() }) },
          operands: ({ y, mean, rstd }) =>
            volumeOperands({ ...volume, y, mean, rstd, x: y, weight: weights, bias: biases, eps: 1e-5 })
        }
        if (channels > 1) continue
        const mean = Float64Array.from(weights.subarray(0, groups))
        const variance = Float64Array.from(biases.subarray(0, groups), Math.abs)
        yield {
          ...{ name, op: 'batch_norm', outputs: y },
          operands: ({ y }) =>
            volumeOperands({ ...volume, y, x: y, mean, variance, weight: weights, bias: biases, eps: 1e-5 })
        }
        yield {
          ...{ name, op: 'batch_statistics' },
          outputs: () => ({ mean: new Float64Array(groups), variance: new Float64Array(groups) }),
          operands: ({ mean, variance }) => volumeOperands({ ...volume, mean, variance, x })
        }
        if (padding || n > 400_000) continue
        yield {
          ...{ name, op: 'local_response_norm', outputs: () => ({ y: new Float32Array(n) }) },
          operands: ({ y }) => volumeOperands({ ...volume, y, x, before: 2, behind: 1, alpha: 1e-4, beta: 0.75, k: 1 })
        }
      }
    }
  }
}

function call(kernels: Kernels, { op, outputs, operands }: Call): Outputs {
  const written = outputs()
  const kernel = kernels[op] as (call: object) => void
  kernel(operands(written as Written))
  return written
}

const bytesOf = (array: Statistic) => Buffer.from(array.buffer, array.byteOffset, array.byteLength)

function expectSame(actual: Outputs, expected: Outputs, what: string): void {
  for (const [name, array] of Object.entries(actual)) {
    const wanted = expected[name]
    // Word by word only where bytes differ: there are hundreds of megabytes.
    if (array && wanted && bytesOf(array).compare(bytesOf(wanted)) !== 0) {
      expectSameBits(array, wanted, `${what}: ${name}`)
    }
  }
}

/** Copies in another order, whose longest dimension is the first, one in the middle or the last. */
function* permuteCalls(): Generator<Call> {
  for (const dims of [[900, 30, 17], [8, 64, 700], [3, 1000, 90], [2, 3, 70_001], [400_001]]) {
    const order = dims.map((_, i) => (i + 1) % dims.length)
    const dense = (dims: number[]) => dims.map((_, i) => dims.slice(i + 1).reduce((size, dim) => size * dim, 1))
    const moved = order.map(i => dims[i])
    const n = dims.reduce((size, dim) => size * dim, 1)
    const [strides, x] = [dense(dims), values.subarray(1, 1 + n)]
    const there = { dims: moved, xStrides: order.map(i => strides[i]), yStrides: dense(moved) }
    for (const shape of [there, { dims: moved, xStrides: there.yStrides, yStrides: there.xStrides }]) {
      yield {
        ...{ name: `[${dims}]`, op: 'permute', outputs: () => ({ y: new Float32Array(n) }) },
        operands: ({ y }) => ({ y, x, shape })
      }
    }
  }
}

/** Padded rows and columns. */
function* paddedRowCalls(): Generator<Call> {
  for (const [samples, positions, size, inner] of [
    [1, 1000, 300, 1],
    [40, 31, 300, 31],
    [2, 777, 500, 777]
  ]) {
    const next = random(size)
    const rows = inner === 1 ? positions : samples
    const n = rows * size * inner
    const x = values.subarray(3, 3 + n)
    const ranges = Array.from({ length: samples }, () => {
      const cuts = Array.from({ length: 6 }, () => Math.floor(next() * positions)).sort((a, b) => a - b)
      return cuts
    })
    const starts = ranges.map((_, i) => samples + 1 + 6 * i)
    const spans = Int32Array.from([...starts, samples + 1 + 6 * samples, ...ranges.flat()])
    const outputs = () => ({
      y: new Float32Array(n).fill(7),
      sum: new Float32Array(n).fill(7),
      rstd: new Float64Array(rows * inner).fill(7)
    })
    const shape = { rows, cols: size, inner, spans, eps: 1e-5, residual: others.subarray(0, n) }
    const operands = ({ y, ...written }: Written) => rowOperands({ ...shape, ...written, y, x })
    const name = `[${samples}, ${positions}] of ${size} padded`
    yield { name, op: 'layer_norm', outputs, operands }
    yield { name, op: 'rms_norm', outputs, operands }
  }
}

/** samples, positions, channels: many samples; few of many channels, also beyond those that are added at a time. */
const embeddingShapes: readonly (readonly [number, number, number])[] = [
  [40, 100, 384],
  [3, 200, 900],
  [1, 512, 1024],
  [2, 70, 2500],
  [1, 5000, 77]
]

/** Pooling of all kinds, calibration, and codes in every format. */
function* embeddingCalls(): Generator<Call> {
  const kinds = ['mean', 'meanSqrt', 'weightedMean', 'cls', 'last', 'max']
  for (const [samples, positions, groups] of embeddingShapes) {
    const x = values.subarray(5, 5 + samples * positions * groups)
    const volume = { groups, channelsPerGroup: 1, channelsLast: true }
    // Of each sample two spans, with a hole between.
    const spans = Int32Array.from([
      ...Array.from({ length: samples + 1 }, (_, n) => samples + 1 + 4 * n),
      ...Array.from({ length: samples }, (_, n) => [n % 3, 20, 21 + (n % 7), positions - n]).flat()
    ])
    for (const padding of [undefined, spans]) {
      const shape = { ...volume, samples, positions, spans: padding }
      yield {
        name: `[${samples}, ${positions}, ${groups}]${padding ? ' padded' : ''}`,
        op: 'pool_embeddings',
        outputs: () => Object.fromEntries(kinds.map(kind => [kind, new Float32Array(samples * groups).fill(7)])),
        operands: places => ({ ...places, x, shape })
      }
      const rows = padding ? samples * positions : Math.ceil(131_072 / groups)
      const statistics = ['count', 'min', 'max', 'mean', 'squares']
      yield {
        name: `${rows} rows of ${groups}`,
        op: 'calibrate_embeddings',
        outputs: () => Object.fromEntries(statistics.map(name => [name, new Float64Array(groups)])),
        operands: places => ({
          ...places,
          x: values.subarray(0, rows * groups),
          shape: { ...volume, samples: rows, positions: 1 }
        })
      }
    }
  }
  for (const format of codeFormats.keys()) {
    const [outer, size] = [1031, 300 + format]
    yield {
      name: codeFormats[format],
      op: 'quantize_embeddings',
      outputs: () => ({
        // Bytes are compared like numbers.
        codes: new Uint8Array(outer * codeBytes(format, size)) as object as Float32Array,
        scales: new Float32Array(outer)
      }),
      operands: places => ({
        ...places,
        x: values.subarray(1, 1 + outer * size),
        low: weights,
        step: biases.map(Math.abs),
        shape: { outer, size, inner: 1 },
        format
      })
    }
  }
}

const calls = [
  ...rowCalls(),
  ...paddedRowCalls(),
  ...volumeCalls(),
  ...permuteCalls(),
  ...embeddingCalls(),
  ...gradientCalls({ values, others, weights }, volumeShapes)
]

// One is what all other tests of equality have.
const counts = long ? [1, 2, 3, 4, 5, 6, 7, 8] : [3, 8]

describe.each(Object.keys(tables[tables.length - 1].float32) as Op[])('equality: %s on threads', op => {
  it.skipIf(native.length === 0)(`gives the bits of TypeScript on ${counts} threads, on every backend`, () => {
    const before = getNumThreads()
    const [, typescript] = backendsHere[backendsHere.length - 1]
    try {
      const own = calls.filter(call => call.op === op)
      expect(own.length).toBeGreaterThan(9)
      for (const given of own) {
        const expected = call(typescript, given)
        for (const [name, kernels] of native) {
          for (const threads of counts) {
            setNumThreads(threads)
            expectSame(call(kernels, given), expected, `${name}, ${threads} threads, ${given.name}`)
          }
        }
      }
    } finally {
      setNumThreads(before)
    }
  })
})

const most = 'an integer from 1 to 1024'

describe('behaviour: how many threads', () => {
  const printed = (env: { [name: string]: string } = {}, program = '') =>
    run(
      `import { backendInfo, getNumThreads, setNumThreads } from 'evenkeel'; ${program}; console.log(getNumThreads())`,
      env
    )

  it.skipIf(native.length === 0)('are as many as the process may use cores, or what EVENKEEL_THREADS says', () => {
    expect(printed().stdout).toBe(`${usableCores()}\n`)
    expect(printed({ EVENKEEL_THREADS: '' }).stdout).toBe(`${usableCores()}\n`)
    expect(printed({ EVENKEEL_THREADS: '5' }).stdout).toBe('5\n')
    expect(printed({ EVENKEEL_THREADS: '1024' }).stdout).toBe('1024\n')
    expect(printed({ EVENKEEL_THREADS: '5' }, 'setNumThreads(3)').stdout).toBe('3\n')
    expect(printed({ EVENKEEL_THREADS: '5' }, 'console.log(backendInfo().threads)').stdout).toBe('5\n5\n')
  })

  it.each(['0', '-1', '1.5', '1025', 'many', 'NaN', 'Infinity', ' '])(
    'throws at import for EVENKEEL_THREADS=%j',
    text => {
      for (const backend of ['', 'js']) {
        const { code, stderr } = run(
          `import('evenkeel').catch(error => { console.error(String(error)); process.exitCode = 7 })`,
          { EVENKEEL_THREADS: text, EVENKEEL_BACKEND: backend }
        )
        expect(code).toBe(7)
        expect(stderr).toBe(`RangeError: evenkeel: EVENKEEL_THREADS expected ${most}, got ${JSON.stringify(text)}\n`)
      }
    }
  )

  const taskset = spawnSync('taskset', ['--version']).status === 0
  it.skipIf(native.length === 0 || !taskset)('are one where affinity leaves one core', () => {
    const program = `import { getNumThreads } from 'evenkeel'; console.log(getNumThreads())`
    const { stdout } = spawnSync('taskset', ['-c', '0', process.execPath, '--input-type=module', '-e', program], {
      cwd: root,
      encoding: 'utf8'
    })
    expect(stdout).toBe('1\n')
  })

  it.skipIf(process.platform !== 'linux')('are no more than the time that cgroups grant', () => {
    const cores = (files: { [path: string]: string }, available = 64) =>
      usableCores(path => files[path] ?? '', available)
    const group = { '/proc/self/cgroup': '12:cpuset:/x\n0::/a/b\n' }
    expect(cores({})).toBe(64)
    expect(cores({ ...group })).toBe(64)
    // version 2: of the group, of one around it, of the container's root, the least of all
    expect(cores({ ...group, '/sys/fs/cgroup/a/b/cpu.max': '300000 100000\n' })).toBe(3)
    expect(cores({ ...group, '/sys/fs/cgroup/a/cpu.max': '400000 100000\n' })).toBe(4)
    expect(cores({ ...group, '/sys/fs/cgroup/cpu.max': '500000 100000\n' })).toBe(5)
    const several = {
      ...group,
      '/sys/fs/cgroup/a/b/cpu.max': 'max 100000\n',
      '/sys/fs/cgroup/a/cpu.max': '200000 100000\n',
      '/sys/fs/cgroup/cpu.max': '800000 100000\n'
    }
    expect(cores(several)).toBe(2)
    // both versions mounted: version 2 in a folder of its own
    expect(cores({ ...group, '/sys/fs/cgroup/unified/a/cpu.max': '200000 100000\n' })).toBe(2)
    expect(cores({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': '150000 50000\n' })).toBe(3)
    // whole cores, one at least, and never more than there are
    expect(cores({ ...group, '/sys/fs/cgroup/a/b/cpu.max': '290000 100000\n' })).toBe(2)
    expect(cores({ ...group, '/sys/fs/cgroup/a/b/cpu.max': '20000 100000\n' })).toBe(1)
    expect(cores({ ...group, '/sys/fs/cgroup/a/b/cpu.max': '9900000 100000\n' }, 8)).toBe(8)
    // version 1
    const first = (quota: string) => ({
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': quota,
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n'
    })
    expect(cores(first('-1\n'))).toBe(64)
    expect(cores(first('600000\n'))).toBe(6)
    expect(cores(first('50000\n'))).toBe(1)
    // what no kernel writes
    expect(cores({ ...group, '/sys/fs/cgroup/a/b/cpu.max': 'nonsense 100000\n' })).toBe(64)
    // Version 1, a sub-group, under either name of the controller's folder.
    const subGroup = { '/proc/self/cgroup': '4:memory:/m\n3:cpu,cpuacct:/a/b\n1:name=systemd:/a/b\n' }
    for (const root of ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup/cpu,cpuacct', '/sys/fs/cgroup/cpuacct,cpu']) {
      const half = { [`${root}/a/b/cpu.cfs_quota_us`]: '50000\n', [`${root}/a/b/cpu.cfs_period_us`]: '100000\n' }
      expect(cores({ ...subGroup, ...half }, 8)).toBe(1)
      const three = { [`${root}/a/cpu.cfs_quota_us`]: '300000\n', [`${root}/a/cpu.cfs_period_us`]: '100000\n' }
      expect(cores({ ...subGroup, ...three }, 8)).toBe(3)
      expect(cores({ ...subGroup, ...three, ...half }, 8)).toBe(1)
      const none = { [`${root}/a/b/cpu.cfs_quota_us`]: '-1\n', [`${root}/a/b/cpu.cfs_period_us`]: '100000\n' }
      expect(cores({ ...subGroup, ...none }, 8)).toBe(8)
      const own = { [`${root}/cpu.cfs_quota_us`]: '200000\n', [`${root}/cpu.cfs_period_us`]: '100000\n' }
      expect(cores({ ...subGroup, ...own }, 8)).toBe(2)
    }
    expect(cores({ '/proc/self/cgroup': '3:cpuset:/a\n', '/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us': '50000' }, 8)).toBe(8)
  })

  it('setNumThreads refuses what is no integer from 1 to 1024, and changes nothing', () => {
    const before = getNumThreads()
    for (const bad of ['4', undefined, null, 4n, [4], {}]) {
      const call = () => setNumThreads(bad as number)
      expect(call).toThrow(TypeError)
      expect(call).toThrow(/^setNumThreads: n expected a number, got /)
    }
    for (const bad of [0, -1, 1.5, 1025, Number.NaN, Number.POSITIVE_INFINITY]) {
      const call = () => setNumThreads(bad)
      expect(call).toThrow(RangeError)
      expect(call).toThrow(`setNumThreads: n expected ${most}, got ${bad}`)
    }
    expect(getNumThreads()).toBe(before)
  })

  it.skipIf(native.length === 0)(
    'is one number for the process: for import and require, for the main thread and its workers',
    () => {
      const { stdout, stderr } = run(
        `import { createRequire } from 'node:module'
       import { Worker } from 'node:worker_threads'
       import { getNumThreads, setNumThreads } from 'evenkeel'
       const cjs = createRequire(import.meta.url)('evenkeel')
       setNumThreads(3)
       console.log(cjs.getNumThreads())
       const code = 'import * as e from "evenkeel"; console.log(e.getNumThreads()); e.setNumThreads(6)'
       await new Promise(resolve => new Worker(code, { eval: true, env: { EVENKEEL_THREADS: '2' } }).on('exit', resolve))
       console.log(getNumThreads())`
      )
      expect(stderr).toBe('')
      expect(stdout).toBe('3\n3\n6\n')
    }
  )

  it('is 1 without a native binary', () => {
    const { stdout } = run(
      `import { getNumThreads, setNumThreads } from 'evenkeel/js'; setNumThreads(4); console.log(getNumThreads())`
    )
    expect(stdout).toBe('1\n')
  })
})

const tasks = `const tasks = () => fs.readdirSync('/proc/self/task').length;`
const large = `
  import fs from 'node:fs'
  import { Worker } from 'node:worker_threads'
  import * as evenkeel from 'evenkeel'
  const { layerNorm, LayerNorm, setNumThreads } = evenkeel
  const x = Float32Array.from({ length: 2048 * 768 }, (_, i) => (i * 7919) % 1009)
  const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
`

describe.skipIf(native.length === 0)('behaviour: the pool', () => {
  const linux = process.platform === 'linux'

  it.skipIf(!linux)('has no thread before the first large call, none for small ones, and one less than threads', () => {
    const { stdout, stderr } = run(
      `${large} ${tasks}
       const before = tasks()
       const counts = []
       for (let i = 0; i < 100; i++) layerNorm(x.subarray(0, 128 * 768), 768)
       counts.push(tasks() - before)
       for (const n of [1, 4, 2, 6]) {
         setNumThreads(n)
         layerNorm(x, 768)
         counts.push(tasks() - before)
       }
       console.log(counts.join())`,
      { EVENKEEL_THREADS: '8', EVENKEEL_BACKEND: native[0][0] }
    )
    expect(stderr).toBe('')
    expect(stdout).toBe('0,0,3,3,5\n')
  })

  it('sleeps when there is nothing to do', () => {
    const { stdout } = run(
      `${large}
       for (let i = 0; i < 20; i++) layerNorm(x, 768)
       await new LayerNorm(768).forwardAsync(x)
       await sleep(100)
       const before = process.cpuUsage()
       await sleep(400)
       const { user, system } = process.cpuUsage(before)
       console.log(user + system < 100_000 ? 'asleep' : user + system)`,
      { EVENKEEL_THREADS: '4' }
    )
    expect(stdout).toBe('asleep\n')
  })

  it.each([
    ['after calls', ''],
    ['asleep', 'await sleep(300)'],
    ['by process.exit', 'process.exit(0)'],
    [
      'by process.exit with jobs at work and waiting',
      'for (let i = 0; i < 50; i++) layer.forwardAsync(x); process.exit(0)'
    ],
    [
      'by process.exit a moment later',
      'for (let i = 0; i < 50; i++) layer.forwardAsync(x); await sleep(2); process.exit(0)'
    ]
  ])('lets the process end at once: %s', (_, how) => {
    const { code, stdout, stderr } = run(
      `${large}
       const layer = new LayerNorm(768)
       for (let i = 0; i < 10; i++) layerNorm(x, 768)
       await layer.forwardAsync(x)
       process.on('exit', () => fs.writeSync(1, String(Date.now())))
       ${how}`,
      { EVENKEEL_THREADS: '8' }
    )
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(Date.now() - Number(stdout)).toBeLessThan(1000)
  })

  it('serves several workers that call together, and gives each the right bits', () => {
    const { stdout, stderr } = run(
      `${large}
       const worker = \`
         import { workerData as x, parentPort } from 'node:worker_threads'
         import { layerNorm, LayerNorm } from 'evenkeel'
         const expected = Buffer.from(layerNorm(x, 768).buffer)
         const same = y => Buffer.from(y.buffer).equals(expected)
         ;(async () => {
           const layer = new LayerNorm(768)
           let right = 0
           for (let i = 0; i < 6; i++) {
             const later = [layer.forwardAsync(x), layer.forwardAsync(x.slice(), { transfer: true })]
             if (same(layerNorm(x, 768))) right++
             for (const y of await Promise.all(later)) if (same(y)) right++
           }
           parentPort.postMessage(right)
         })()\`
       setNumThreads(1)
       const expected = Buffer.from(layerNorm(x, 768).buffer)
       setNumThreads(4)
       const ended = Array.from({ length: 4 }, () => new Promise((resolve, reject) => {
         new Worker(worker, { eval: true, workerData: x }).on('message', resolve).on('error', reject)
       }))
       let right = 0
       for (let i = 0; i < 10; i++) if (Buffer.from(layerNorm(x, 768).buffer).equals(expected)) right++
       console.log(right, (await Promise.all(ended)).join())`
    )
    expect(stderr).toBe('')
    expect(stdout).toBe('10 18,18,18,18\n')
  })

  it('survives workers that are terminated in the middle of calls and jobs', () => {
    const { stdout, stderr, code } = run(
      `${large}
       const worker = \`
         import { workerData as x, parentPort } from 'node:worker_threads'
         import { layerNorm, LayerNorm, BatchNorm } from 'evenkeel'
         const layer = new LayerNorm(768)
         const batch = new BatchNorm(768)
         parentPort.postMessage('here')
         ;(async () => { for (;;) { for (let i = 0; i < 9; i++) { layer.forwardAsync(x); batch.forwardAsync({ data: x, dims: [x.length / 768, 768] }) } await layer.forwardAsync(x) } })()
         setInterval(() => layerNorm(x, 768), 1)\`
       const shared = new Float32Array(new SharedArrayBuffer(x.byteLength)).fill(3)
       for (let round = 0; round < 6; round++) {
         const workers = Array.from({ length: 3 }, () => new Worker(worker, { eval: true, workerData: round % 2 ? x : shared }))
         await Promise.all(workers.map(worker => new Promise(resolve => worker.once('message', resolve))))
         await sleep(round * 3)
         await Promise.all(workers.map(worker => worker.terminate()))
       }
       const [y] = await Promise.all([new LayerNorm(768).forwardAsync(x)])
       console.log(Buffer.from(y.buffer).equals(Buffer.from(layerNorm(x, 768).buffer)))`,
      { EVENKEEL_THREADS: '4' }
    )
    expect(stderr).toBe('')
    expect(stdout).toBe('true\n')
    expect(code).toBe(0)
  })

  it('outlives the only worker that loaded the addon, and is found again by the next', () => {
    const worker = `
      import { layerNorm, LayerNorm, getNumThreads, setNumThreads } from 'evenkeel'
      const x = Float32Array.from({ length: 2048 * 768 }, (_, i) => (i * 7919) % 1009)
      const y = layerNorm(x, 768)
      new LayerNorm(768).forwardAsync(x).then(z => {
        console.log(Buffer.from(y.buffer).equals(Buffer.from(z.buffer)), getNumThreads())
        setNumThreads(5)
      })`
    const { stdout, stderr, code } = run(
      `import { Worker } from 'node:worker_threads'
       for (let i = 0; i < 3; i++) {
         await new Promise(resolve => new Worker(${JSON.stringify(worker)}, { eval: true }).on('exit', resolve))
         await new Promise(resolve => setTimeout(resolve, 50))
       }`,
      { EVENKEEL_THREADS: '3' }
    )
    expect(stderr).toBe('')
    expect(stdout).toBe('true 3\ntrue 5\ntrue 5\n')
    expect(code).toBe(0)
  })
})
