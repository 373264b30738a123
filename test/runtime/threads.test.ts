// The threads of the addon as guests of a process.
import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { usableCores } from '../../dist/esm/backend/load.cjs'
import { getNumThreads, setNumThreads } from '../../dist/esm/index.js'
import { backendsHere } from '../support/backends.ts'
import { root, run } from '../support/process.ts'

const native = backendsHere.slice(0, -1)

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
