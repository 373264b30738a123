// How long the event loop stands still while tensors are normalised: with forwardAsync and with forward. A process of
// its own, which prints its result as JSON. usage: event_loop.ts RUNS
import os from 'node:os'
import { fill, normal } from '../dist/esm/cases/data.js'
import { getNumThreads, LayerNorm, setNumThreads } from '../dist/esm/index.js'
import { median, Probe, sorted, wait } from './probe.ts'
import type { EventLoop, Pauses } from './results.ts'

const [rows, cols] = [8192, 768] as const
const size = rows * cols
const runs = Number(process.argv[2])

const probe = new Probe()

/** The pauses while work goes on, of some repetitions: other programs on the machine make pauses, too. */
async function pausesOf(make: () => Promise<unknown>): Promise<Pauses> {
  const all: number[] = []
  const longest: number[] = []
  for (let i = 0; i < runs; i++) {
    const pauses = await probe.during(make)
    longest.push(Math.max(...pauses))
    all.push(...pauses)
  }
  return { p99: sorted(all)[Math.floor(all.length * 0.99)], longest: median(longest), worst: Math.max(...longest) }
}

const tile = fill(normal, 2 ** 18, 1)
function filled<Buffer extends ArrayBufferLike>(buffer: Buffer): Float32Array<Buffer> {
  const x = new Float32Array(buffer)
  for (let i = 0; i < size; i += tile.length) x.set(tile.subarray(0, size - i), i)
  return x
}

const bytes = size * 4
// Each job of the one kind has memory of its own; half of what is free is for it.
const jobs = Math.max(2, Math.min(64, Math.floor(os.freemem() / 2 / bytes)))
const layer = new LayerNorm(cols, { weight: fill(normal, cols, 2), bias: fill(normal, cols, 3) })
const x = filled(new ArrayBuffer(bytes))
const out = new Float32Array(size)

function timeOfCall(): number {
  const times = Array.from({ length: 15 }, () => {
    const start = performance.now()
    layer.forward(x, { out })
    return performance.now() - start
  })
  return median(times)
}

const threads = getNumThreads()
const call = timeOfCall()
setNumThreads(1)
const callOnOne = timeOfCall()
setNumThreads(threads)

await wait(200) // for the probe to start
const idle = await pausesOf(() => wait(150))
const synchronous = await pausesOf(async () => {
  for (let i = 0; i < jobs; i++) {
    layer.forward(x, { out })
    await new Promise(setImmediate)
  }
})
// All are there at once. Their memory is that of the round before: fresh pages would be another's time.
let transferred: Float32Array[] = Array.from({ length: jobs }, () => filled(new ArrayBuffer(bytes)))
const transfer = await pausesOf(async () => {
  transferred = await Promise.all(transferred.map(one => layer.forwardAsync(one, { transfer: true })))
})
transferred = []
const source = filled(new SharedArrayBuffer(bytes))
const results = Array.from({ length: Math.min(jobs, 8) }, () => filled(new SharedArrayBuffer(bytes)))
const shared = await pausesOf(async () => {
  // Each result's jobs follow one another: two must not write it at once.
  const chain = async (result: Float32Array, count: number) => {
    for (let i = 0; i < count; i++) await layer.forwardAsync(source, { out: result })
  }
  await Promise.all(results.map(result => chain(result, jobs / results.length)))
})

const found: EventLoop = {
  dims: [rows, cols],
  runs,
  jobs,
  threads,
  call,
  callOnOne,
  idle,
  synchronous,
  transfer,
  shared
}
console.log(JSON.stringify(found))
await probe.end()
