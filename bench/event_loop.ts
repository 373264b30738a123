// How long the event loop stands still while tensors are normalised: with forwardAsync and with forward. A process of its
// own, which prints its result as JSON. usage: event_loop.ts
import os from 'node:os'
import { fill, normal } from '../dist/esm/cases/data.js'
import { getNumThreads, LayerNorm, setNumThreads } from '../dist/esm/index.js'
import type { EventLoop, Pauses } from './results.ts'

const [rows, cols] = [8192, 768] as const
const size = rows * cols
const REPEATS = 5

const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b)
const median = (values: readonly number[]) => sorted(values)[values.length >> 1]
const wait = (milliseconds: number) => new Promise(resolve => setTimeout(resolve, milliseconds))

/** The pauses that a probe every millisecond sees while `work` goes on. */
async function pausesOf(work: () => Promise<unknown>): Promise<Pauses> {
  const pauses: number[] = []
  let last = performance.now()
  const probe = () => {
    const now = performance.now()
    pauses.push(Math.max(0, now - last - 1))
    last = now
  }
  const timer = setInterval(probe, 1)
  await work()
  probe() // what was in the way of the last one
  clearInterval(timer)
  const all = sorted(pauses)
  return { p99: all[Math.floor(all.length * 0.99)], longest: all[all.length - 1] }
}

/** Medians of some repetitions: other programs on the machine make pauses, too. */
async function repeated(make: () => Promise<() => Promise<unknown>>): Promise<Pauses> {
  const all: Pauses[] = []
  for (let i = 0; i < REPEATS; i++) {
    const work = await make()
    await wait(20)
    all.push(await pausesOf(work))
  }
  return { p99: median(all.map(one => one.p99)), longest: median(all.map(one => one.longest)) }
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

const idle = await repeated(async () => () => wait(200))
const synchronous = await repeated(async () => async () => {
  for (let i = 0; i < jobs; i++) {
    layer.forward(x, { out })
    await new Promise(setImmediate)
  }
})
// All are there at once. Their memory is that of the round before: fresh pages would be another's time.
let transferred = Array.from({ length: jobs }, () => filled(new ArrayBuffer(bytes)))
const transfer = await repeated(async () => async () => {
  transferred = await Promise.all(transferred.map(one => layer.forwardAsync(one, { transfer: true })))
})
transferred = []
const source = filled(new SharedArrayBuffer(bytes))
const results = Array.from({ length: Math.min(jobs, 8) }, () => filled(new SharedArrayBuffer(bytes)))
const shared = await repeated(async () => async () => {
  // Each result's jobs follow one another: two must not write it at once.
  const chain = async (result: Float32Array, count: number) => {
    for (let i = 0; i < count; i++) await layer.forwardAsync(source, { out: result })
  }
  await Promise.all(results.map(result => chain(result, jobs / results.length)))
})

const found: EventLoop = { dims: [rows, cols], jobs, threads, call, callOnOne, idle, synchronous, transfer, shared }
console.log(JSON.stringify(found))
