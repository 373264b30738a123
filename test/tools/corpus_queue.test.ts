// A corpus on Redis, by workers. They run in .ci/run corpus, which installs redis-server; without EVENKEEL_CORPUS=1 they are
// skipped: they take minutes.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { npyFolder } from '../support/npy_folder.ts'
import { evenkeel, node, root } from '../support/process.ts'

const enabled = process.env.EVENKEEL_CORPUS === '1'
const { at, save } = npyFolder()
const shards = 16
const channels = 64
const rows = 2 ** 14

/** Processes to be ended after a test, each by itself. */
const started = new Set<ChildProcess>()

interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<number | NodeJS.Signals>
  /** What it said so far. */
  output(): string
}

function start(program: string, args: readonly string[], env: { [name: string]: string } = {}): Running {
  const child = spawn(program, args, { cwd: root, env: { ...process.env, ...env } })
  started.add(child)
  let said = ''
  child.stdout.on('data', text => {
    said += text
  })
  child.stderr.on('data', text => {
    said += text
  })
  const ended = new Promise<number | NodeJS.Signals>(resolve =>
    child.once('exit', (code, signal) => {
      started.delete(child)
      resolve(code ?? (signal as NodeJS.Signals))
    })
  )
  return { child, ended, output: () => said }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise(resolve => server.close(resolve))
  return port
}

let port = 0
let redis: Running
const password = 's3cret/:@'
const url = () => `redis://:${encodeURIComponent(password)}@127.0.0.1:${port}`

/** An empty Redis on a port of its own. */
async function startRedis(): Promise<void> {
  const options = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--requirepass', password]
  redis = start('redis-server', ['--port', String(port), '--dir', at('.'), ...options])
  while (!redis.output().includes('Ready to accept')) {
    if (redis.child.exitCode !== null) throw new Error(redis.output())
    await sleep(20)
  }
}

async function stopRedis(): Promise<void> {
  redis.child.kill('SIGKILL')
  await redis.ended
}

const corpus = (args: readonly string[], env = {}) =>
  start(process.execPath, ['dist/esm/cli/index.js', 'corpus', ...args], { REDIS_URL: url(), ...env })
const work = (...more: string[]) => corpus(['work', ...more])
const run = (folder: string, ...more: string[]) =>
  corpus([
    ...['run', 'batch-norm', '--training', '--engine', 'bullmq', '--in', at('in/*.npy'), '--out-dir', at(folder)],
    ...more
  ])

const npyFiles = (folder: string) => readdirSync(at(folder)).filter(name => name.endsWith('.npy'))
const finished = (folder: string) => {
  try {
    return readdirSync(at(folder)).filter(name => /\.npy\.(statistics|manifest)\.json$/.test(name)).length
  } catch {
    return 0
  }
}

/** The same files with the same bytes as those of one process, and nothing left over. */
function expectSame(folder: string): void {
  expect(readdirSync(at(folder)).sort()).toEqual(readdirSync(at('one')).sort())
  expect(npyFiles(folder)).toHaveLength(shards)
  for (const name of [...npyFiles('one'), 'statistics.json']) {
    expect(readFileSync(at(`${folder}/${name}`)).equals(readFileSync(at(`one/${name}`))), name).toBe(true)
  }
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await sleep(10)
}

describe.skipIf(!enabled)('behaviour: evenkeel corpus on Redis (EVENKEEL_CORPUS=1; .ci/run corpus)', () => {
  beforeAll(async () => {
    mkdirSync(at('in'))
    for (let i = 0; i < shards; i++) {
      const data = Float32Array.from({ length: rows * channels }, (_, j) => Math.sin(j * 0.37 + i) * (i + 1))
      save(`in/shard${i}.npy`, data, [rows, channels])
    }
    const one = evenkeel(['corpus', 'run', 'batch-norm', '--training', '--in', at('in/*.npy'), '--out-dir', at('one')])
    expect(one).toMatchObject({ code: 0 })
    port = await freePort()
    await startRedis()
  }, 60_000)

  afterEach(async () => {
    for (const child of [...started].filter(child => child !== redis.child)) child.kill('SIGKILL')
  })
  afterAll(() => stopRedis())

  it('gives the bytes of one process; workers wait before the first run, and end when told or with --drain', async () => {
    expect(await work('--drain').ended).toBe(0)
    const workers = [work(), work('--jobs', '2')]
    await until(() => workers.every(worker => worker.output().includes('waits for work')))
    const state = evenkeel(['corpus', 'status', '--json'], { REDIS_URL: url() })
    expect(JSON.parse(state.stdout)).toMatchObject({ runs: 0, workers: [expect.any(String), expect.any(String)] })
    const job = run('queue', '--json')
    await until(() => finished('queue') > 0)
    const drained = work('--drain')
    expect(await job.ended).toBe(0)
    expect(await drained.ended).toBe(0)
    expectSame('queue')
    expect(job.output().match(/"event":"shard"/g)).toHaveLength(2 * shards)
    expect(JSON.parse(job.output().trim().split('\n').at(-1) as string)).toEqual({
      event: 'end',
      complete: true,
      failed: []
    })
    // Nothing to do: no worker is needed.
    for (const { child, ended } of workers) {
      child.kill('SIGTERM')
      expect(await ended).toBe(0)
    }
    expect(await run('queue').ended).toBe(0)
    // Nothing of it stays in Redis, and the password nowhere.
    const left = evenkeel(['corpus', 'status'], { REDIS_URL: url() })
    expect(left.stdout).toContain('waiting 0, prioritized 0, delayed 0, active 0, waiting-children 0, failed 0')
    const said = [job, drained, ...workers].map(({ output }) => output()).join('') + left.stdout + state.stdout
    expect(said).not.toMatch(/s3cret/)
  })

  it('takes a wrong password and a Redis that is not there for what they are', async () => {
    for (const wrong of [url().replace('s3cret', 'wr0ng'), `redis://:wr0ng@127.0.0.1:1`]) {
      const { code, stderr } = node(['dist/esm/cli/index.js', 'corpus', 'work'], { REDIS_URL: wrong })
      expect(code).toBe(1)
      expect(stderr).toMatch(/^evenkeel: Redis at 127\.0\.0\.1:\d+: .*(WRONGPASS|ECONNREFUSED)/)
      expect(stderr).not.toContain('wr0ng')
    }
  })

  it('goes on while workers are killed again and again', async () => {
    const workers = [work(), work(), work(), work()]
    await until(() => workers.every(worker => worker.output().includes('waits for work')))
    const job = run('killed')
    let ended = false
    job.ended.then(() => {
      ended = true
    })
    for (let kills = 0; kills < 8; kills++) {
      // As soon as one more job is done the next one has begun.
      const before = finished('killed')
      await until(() => finished('killed') > before || ended)
      expect(ended, `after ${kills} kills`).toBe(false)
      workers.shift()?.child.kill('SIGKILL')
      workers.push(work())
    }
    expect(await job.ended, job.output()).toBe(0)
    expectSame('killed')
  }, 170_000)

  it('goes on where Redis is restarted empty', async () => {
    const workers = [work(), work()]
    await until(() => workers.every(worker => worker.output().includes('waits for work')))
    const job = run('restarted')
    await until(() => finished('restarted') > 3)
    await stopRedis()
    // Also without Redis a worker ends when told.
    workers[1].child.kill('SIGTERM')
    expect(await workers[1].ended).toBe(0)
    await startRedis()
    expect(await job.ended, job.output()).toBe(0)
    expectSame('restarted')
  })

  it('does the work of two runs at once, and of a run after one that was interrupted or killed', async () => {
    const both = [run('both'), run('both')]
    const worker = work()
    expect(await Promise.all(both.map(({ ended }) => ended))).toEqual([0, 0])
    expectSame('both')
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      rmSync(at('both/shard3.npy.statistics.json'))
      for (const name of npyFiles('both').slice(2)) rmSync(at(`both/${name}`))
      const first = run('both')
      await until(() => npyFiles('both').length > 4)
      first.child.kill(signal)
      expect(await first.ended).toBe(signal)
      if (signal === 'SIGINT') {
        await sleep(1000)
        const { stdout } = evenkeel(['corpus', 'status'], { REDIS_URL: url() })
        expect(stdout).toMatch(/waiting 0, .*active 0, waiting-children 0, failed 0/)
      }
      expect(await run('both').ended).toBe(0)
      expectSame('both')
    }
    worker.child.kill('SIGTERM')
    expect(await worker.ended).toBe(0)
  })

  it('hands a job back when a worker is stopped in the middle of it', async () => {
    const first = work()
    const job = run('handed')
    await until(() => finished('handed') > 3)
    first.child.kill('SIGINT')
    expect(await first.ended).toBe(0)
    const begin = performance.now()
    work()
    expect(await job.ended).toBe(0)
    expectSame('handed')
    expect(performance.now() - begin).toBeLessThan(60_000)
  })

  it('names a broken shard, does the others, and only that one when it is mended', async () => {
    mkdirSync(at('broken'))
    for (let i = 0; i < 4; i++) cpSync(at(`in/shard${i}.npy`), at(`broken/shard${i}.npy`))
    writeFileSync(at('broken/shard2.npy'), readFileSync(at('in/shard2.npy')).subarray(0, 5000))
    work()
    const both = [['layer-norm'], ['batch-norm', '--training']].map(op =>
      corpus(['run', ...op, '--engine', 'bullmq', '--in', at('broken/*.npy'), '--out-dir', at(`mended-${op[0]}`)])
    )
    for (const { ended, output } of both) {
      expect(await ended).toBe(1)
      expect(output()).toMatch(/broken\/shard2\.npy: data expected \d+ bytes/)
    }
    expect(npyFiles('mended-layer-norm')).toEqual(['shard0.npy', 'shard1.npy', 'shard3.npy'])
    expect(npyFiles('mended-batch-norm')).toEqual([])
    cpSync(at('in/shard2.npy'), at('broken/shard2.npy'))
    const options = ['--engine', 'bullmq', '--in', at('broken/*.npy'), '--out-dir', at('mended-layer-norm'), '--json']
    const again = corpus(['run', 'layer-norm', ...options])
    expect(await again.ended).toBe(0)
    expect(again.output().match(/"event":"shard"/g)).toHaveLength(1)
    expect(npyFiles('mended-layer-norm')).toHaveLength(4)
  })

  it('leaves what is whole where the disk is full, and goes on when there is room', async ({ skip }) => {
    mkdirSync(at('small'))
    // A disk of five shards and a half; only root may make one.
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=23m', 'tmpfs', at('small')]).status === 0
    if (!mounted) skip()
    try {
      work()
      const job = run('small')
      expect(await job.ended).toBe(1)
      expect(job.output()).toContain('ENOSPC')
      const whole = npyFiles('small')
      expect(whole.length).toBeGreaterThan(2)
      expect(readdirSync(at('small')).filter(name => name.endsWith('.tmp'))).toEqual([])
      for (const name of whole)
        expect(readFileSync(at(`small/${name}`)).equals(readFileSync(at(`one/${name}`)))).toBe(true)
      spawnSync('mount', ['-o', 'remount,size=300m', at('small')])
      expect(await run('small').ended).toBe(0)
      expectSame('small')
    } finally {
      spawnSync('umount', [at('small')])
    }
  })
})
