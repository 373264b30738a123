// What a server feels while large tensors are normalised: the longest pause of its event loop, with forward and with
// forwardAsync. The same bits in the end.
import { performance } from 'node:perf_hooks'
import { firstDifference, random } from '../dist/esm/cases/data.js'
import { backend, getNumThreads, LayerNorm } from '../dist/esm/index.js'
import { table } from './data.ts'

const rows = 4096
const features = 768
const jobs = 16
const next = random(1)
const layer = new LayerNorm(features, { weight: new Float32Array(features).fill(1.5) })
const x = Float32Array.from({ length: rows * features }, () => next() - 0.5)
const expected = layer.forward(x)

/** Nothing is freed meanwhile: returning hundreds of megabytes to the system is a pause, too. */
const kept: Float32Array[][] = []

/** Runs them all while a timer of 1 ms watches; gives the total time and the longest pause beyond 1 ms, in ms. */
async function watch(run: () => Promise<Float32Array[]>): Promise<{ total: number; pause: number; same: boolean }> {
  let longest = 0
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    longest = Math.max(longest, now - last - 1)
    last = now
  }, 1)
  const start = performance.now()
  const results = await run()
  const total = performance.now() - start
  await new Promise(resolve => setTimeout(resolve, 5)) // the last pause is seen, too
  clearInterval(timer)
  kept.push(results)
  return { total, pause: longest, same: results.every(y => firstDifference(y, expected) < 0) }
}

const copies = Array.from({ length: jobs }, () => x.slice())
const shared = Array.from({ length: jobs }, () => {
  const array = new Float32Array(new SharedArrayBuffer(x.byteLength))
  array.set(x)
  return array
})
const ways: [string, () => Promise<Float32Array[]>][] = [
  ['nothing', () => new Promise(resolve => setTimeout(() => resolve([expected]), 50))],
  ['forward', async () => shared.map(array => layer.forward(array))],
  ['forwardAsync, copied', () => Promise.all(copies.map(array => layer.forwardAsync(array)))],
  ['forwardAsync, transfer', () => Promise.all(copies.map(array => layer.forwardAsync(array, { transfer: true })))],
  ['forwardAsync, shared', () => Promise.all(shared.map(array => layer.forwardAsync(array, { out: array })))]
]

const lines: string[][] = []
for (const [name, run] of ways) {
  const { total, pause, same } = await watch(run)
  if (!same) throw new Error(`${name}: other bits`)
  lines.push([name, total.toFixed(0), pause.toFixed(1)])
}
const title = `${jobs} tensors of ${rows} x ${features}, backend ${backend}, ${getNumThreads()} threads; the same bits in every way`
table(title, ['', 'all of them, ms', 'longest pause, ms'], lines)
