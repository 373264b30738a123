// How long the event loop stands still while hidden states are pooled by forwardAsync with `transfer`. A process of its own,
// which prints its result as JSON. usage: embeddings_loop.ts SECONDS
import os from 'node:os'
import { EmbeddingPooler } from '../dist/esm/index.js'
import { embeddingProblem, type Load, type LoopPauses, loadNames, maskOf } from './embeddings_problem.ts'
import { median, Probe, wait } from './probe.ts'

const given = embeddingProblem([32, 128, 768], true)
const { dims, x } = given
const mask = maskOf(given)
const pooler = new EmbeddingPooler(dims[2], { precision: 'int8', scale: 'unit' })
const end = performance.now() + Number(process.argv[2]) * 1000
/** Milliseconds from one call to the next under the steady load. */
const PACE = 10

interface Hidden {
  readonly data: Float32Array
  readonly dims: readonly number[]
}

/** Hidden states for one window: what is transferred is gone, and to fill new memory would be pauses of our own. */
const jobs = Math.max(4, Math.min(8, Math.floor(os.freemem() / 3 / x.byteLength)))
const stock = () => Array.from({ length: jobs }, (): Hidden => ({ data: new Float32Array(x), dims }))
const pool = (hidden: Hidden) => pooler.forwardAsync(hidden, { mask, transfer: true })

const shared: Hidden = { data: new Float32Array(new SharedArrayBuffer(x.byteLength)), dims }
shared.data.set(x)

/** What V8 does for such memory without any pooling: it is taken, held as long as a call takes, and dropped; a result is new. */
async function drop({ data: { buffer } }: Hidden): Promise<Float32Array> {
  const taken = structuredClone(buffer as ArrayBuffer, { transfer: [buffer as ArrayBuffer] })
  const result = new Float32Array(dims[0] * dims[2])
  await wait(2)
  return result.fill(taken.byteLength)
}

/** A batch every few milliseconds, as a model gives them. */
async function steadily(all: readonly Hidden[], call: (hidden: Hidden) => Promise<unknown>): Promise<void> {
  const calls = []
  for (const hidden of all) {
    calls.push(call(hidden))
    await wait(PACE)
  }
  await Promise.all(calls)
}

/** As many as the threads can do: the next one when one is done, four under way. */
async function withoutRest(all: Hidden[]): Promise<void> {
  const chain = async () => {
    for (let hidden = all.pop(); hidden; hidden = all.pop()) await pool(hidden)
  }
  await Promise.all([chain(), chain(), chain(), chain()])
}

const loads: { readonly [load in Load]: (all: Hidden[]) => Promise<unknown> } = {
  idle: () => wait(jobs * PACE),
  dropped: all => steadily(all, drop),
  shared: all => steadily(all, hidden => pooler.forwardAsync(hidden, { mask })),
  steady: all => steadily(all, pool),
  full: withoutRest
}

const probe = new Probe()
await wait(200) // for the probe to start
const longest = loadNames.map((): number[] => [])
for (const load of loadNames) await loads[load](stock()) // compiled
do {
  for (const [i, load] of loadNames.entries()) {
    const all = load === 'idle' ? [] : load === 'shared' ? new Array<Hidden>(jobs).fill(shared) : stock()
    longest[i].push(Math.max(...(await probe.during(() => loads[load](all)))))
  }
} while (performance.now() < end)

const found: LoopPauses = {
  dims,
  jobs,
  pace: PACE,
  windows: longest[0].length,
  longest: Object.fromEntries(loadNames.map((load, i) => [load, median(longest[i])])) as LoopPauses['longest']
}
console.log(JSON.stringify(found))
await probe.end()
