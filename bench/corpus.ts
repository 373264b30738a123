// A corpus of 60 shards, 1 GB: one process, then 1, 2 and 4 workers on Redis, then 4 of which one is killed every few seconds.
// Prints the table of docs/corpus.md and fails where any byte differs. Starts redis-server (Debian: apt install redis-server)
// on loopback. usage: npx tsx bench/corpus.ts [--shards 60] [--rows 10900] [--folder /tmp/...]
// [--workers 0,1,2,4] [--killed 4] [--kill-every 2]
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { npyHeader } from '../dist/esm/cli/npy.js'

const { values } = parseArgs({
  options: {
    shards: { type: 'string', default: '60' },
    rows: { type: 'string', default: '10900' },
    folder: { type: 'string', default: tmpdir() },
    workers: { type: 'string', default: '0,1,2,4' },
    killed: { type: 'string', default: '4' },
    'kill-every': { type: 'string', default: '2' },
    port: { type: 'string', default: '7392' }
  }
})
const dimensions = 384
const [shards, rows] = [Number(values.shards), Number(values.rows)]
const folder = mkdtempSync(join(values.folder, 'evenkeel-corpus-'))
const redis = `redis://127.0.0.1:${values.port}`
const command = fileURLToPath(new URL('../dist/esm/cli/index.js', import.meta.url))

/** Random numbers, each dimension about a mean of its own. */
function writeShards(): void {
  mkdirSync(join(folder, 'in'))
  let state = 1
  for (let shard = 0; shard < shards; shard++) {
    const data = new Float32Array(rows * dimensions)
    for (let i = 0; i < data.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      data[i] = state / 2 ** 32 - 0.5 + (i % dimensions) / 100
    }
    const name = `shard-${String(shard).padStart(3, '0')}.npy`
    writeFileSync(join(folder, 'in', name), Buffer.concat([npyHeader([rows, dimensions]), Buffer.from(data.buffer)]))
  }
}

/** Ended with this process, each by itself. */
const children = new Set<ChildProcess>()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

function start(args: readonly string[]): { child: ChildProcess; ended: Promise<number | null> } {
  const child = spawn(process.execPath, [command, 'corpus', ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
  children.add(child)
  child.once('exit', () => children.delete(child))
  return { child, ended: new Promise(resolve => child.once('exit', resolve)) }
}

/** CPU seconds and the most memory of a process, as Linux counts them. */
interface Usage {
  readonly cpu: number
  readonly memory: number
}

/** As long as it runs; what it was before, afterwards. */
function usage({ pid }: ChildProcess, before: Usage): Usage {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
    const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    const cpu = (Number(fields[11]) + Number(fields[12])) / 100
    return { cpu, memory: Math.max(before.memory, peak ? Number(peak[1]) / 1000 : 0) }
  } catch {
    return before
  }
}

const runArguments = (out: string, more: readonly string[]) => [
  ...['run', 'batch-norm', '--training', '--in', join(folder, 'in', '*.npy'), '--out-dir', join(folder, out)],
  ...more
]

async function digests(out: string): Promise<string> {
  const lines: string[] = []
  for (const name of readdirSync(join(folder, out)).sort()) {
    if (!name.endsWith('.npy')) continue
    const hash = createHash('sha256')
    await pipeline(createReadStream(join(folder, out, name)), hash)
    lines.push(`${hash.digest('hex')}  ${name}`)
  }
  return lines.join('\n')
}

/** Seconds of jobs, as the manifests have them. */
function worked(out: string): number {
  const manifests = readdirSync(join(folder, out)).filter(name => /\.npy\.(manifest|statistics)\.json$/.test(name))
  return manifests.reduce((sum, name) => sum + JSON.parse(readFileSync(join(folder, out, name), 'utf8')).seconds, 0)
}

async function measure(workers: number, killEvery: number): Promise<void> {
  const out = `out-${workers}-${killEvery}`
  const alive = new Map<ChildProcess, Usage>()
  const add = () => alive.set(start(['work', '--redis', redis]).child, { cpu: 0, memory: 0 })
  for (let i = 0; i < workers; i++) add()
  if (workers > 0) await sleep(1000 + 1000 * workers) // they start before the clock does
  const begin = performance.now()
  const engine = workers > 0 ? ['--engine', 'bullmq', '--redis', redis] : ['--jobs', '1']
  const run = start(runArguments(out, engine))
  let own: Usage = { cpu: 0, memory: 0 }
  let [ended, killed, gone, most] = [false, 0, 0, 0]
  run.ended.then(() => {
    ended = true
  })
  let lastKill = begin
  while (!ended) {
    await sleep(200)
    own = usage(run.child, own)
    for (const [child, before] of alive) alive.set(child, usage(child, before))
    for (const { memory } of alive.values()) most = Math.max(most, memory)
    if (killEvery > 0 && performance.now() - lastKill > killEvery * 1000) {
      lastKill = performance.now()
      const [[victim, { cpu }]] = alive
      victim.kill('SIGKILL')
      gone += cpu
      killed++
      alive.delete(victim)
      add()
    }
  }
  const seconds = (performance.now() - begin) / 1000
  const code = await run.ended
  const cpu = [...alive.values()].reduce((sum, { cpu }) => sum + cpu, gone)
  for (const child of alive.keys()) child.kill('SIGTERM')
  if (code !== 0) throw new Error(`run with ${workers} workers: exit code ${code}`)
  const digest = await digests(out)
  reference ||= digest
  if (digest !== reference) throw new Error(`run with ${workers} workers: other bytes`)
  const name = workers === 0 ? 'one process, --jobs 1' : `${workers} ${workers === 1 ? 'worker' : 'workers'}`
  const how = killEvery > 0 ? `${name}, one killed every ${killEvery} s (${killed})` : name
  const cells = [
    how,
    seconds.toFixed(1),
    worked(out).toFixed(1),
    (cpu + own.cpu).toFixed(1),
    (most || own.memory).toFixed(0)
  ]
  console.log(`| ${cells.join(' | ')} |`)
  rmSync(join(folder, out), { recursive: true })
}

let reference = ''
const server = spawn(
  'redis-server',
  ['--port', values.port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder],
  { stdio: 'ignore' }
)
children.add(server)
try {
  writeShards()
  const bytes = shards * rows * dimensions * 4
  console.log(`${cpus()[0].model}, cores to use: ${availableParallelism()}, Node.js ${process.versions.node}`)
  console.log(
    `batch-norm --training, ${shards} shards, ${(bytes / 1e9).toFixed(2)} GB, ${shards * rows} rows of ${dimensions}\n`
  )
  console.log('| | seconds | seconds of jobs | CPU seconds | MB a worker |')
  console.log('| --- | ---: | ---: | ---: | ---: |')
  for (const workers of values.workers.split(',')) await measure(Number(workers), 0)
  await measure(Number(values.killed), Number(values['kill-every']))
  console.log(`\nsha256 of all files: ${createHash('sha256').update(reference).digest('hex')}`)
} finally {
  server.kill()
  rmSync(folder, { recursive: true })
}
