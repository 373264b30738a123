// From hidden states to int8 codes: EmbeddingPooler against a copy of the bytes that it reads, a plain loop and transformers.js;
// what a call costs beside its kernels; and how long the event loop stands still meanwhile.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { kernelOf } from '../dist/esm/backend/choice.js'
import { readPadding } from '../dist/esm/call/padding.js'
import { type Contender, textOf } from '../dist/esm/cli/bench/contender.js'
import { here, measure } from '../dist/esm/cli/bench/measure.js'
import { PLAIN } from '../dist/esm/cli/bench/rows.js'
import { backend, EmbeddingPooler, getNumThreads, setNumThreads } from '../dist/esm/index.js'
import { codeFormats } from '../dist/esm/kernels/operands.js'
import {
  CODE_BOUND,
  COPY,
  COPY_AT_ONCE,
  type EmbeddingProblem,
  embeddingProblem,
  type LoopPauses,
  maskOf,
  onBackend,
  POOLER,
  realOf,
  reference,
  TRANSFORMERS,
  TYPESCRIPT
} from './embeddings_problem.ts'
import type { Embeddings, Time } from './results.ts'
import { compared, nodeStarter, startAll } from './start.ts'

const shapes: readonly [EmbeddingProblem['dims'], boolean][] = [
  [[32, 128, 768], true],
  [[1, 512, 1024], false],
  [[256, 32, 384], true]
]
/** Milliseconds that two threads run before each sample, until the system has put them on cores of their own. */
const SETTLE = 150

type Timed = Parameters<typeof measure>[0][number]
type Timing = (candidates: readonly Timed[]) => Promise<Time[]>

/** Times candidates in turn, so many milliseconds each. */
const timing =
  (budget: number, rounds: number): Timing =>
  async candidates => {
    const quickest = candidates.map(() => Number.POSITIVE_INFINITY)
    const watched = candidates.map((one, i) => ({
      ...one,
      async time(calls: number) {
        const nanoseconds = await one.time(calls)
        quickest[i] = Math.min(quickest[i], nanoseconds)
        return nanoseconds
      }
    }))
    const medians = await measure(watched, budget, { rounds })
    const rounded = (value: number) => Number(value.toPrecision(5))
    return medians.map((median, i) => ({ median: rounded(median), quickest: rounded(quickest[i]) }))
  }

const nameOf = (given: EmbeddingProblem) => {
  const { dims } = given
  return `[${dims.join(', ')}], ${((100 * realOf(given)) / dims[0] / dims[1]).toFixed(0)} % real`
}

// Everyone, each in a process of its own.

const TWO = `${onBackend(backend)}, two threads`

async function start(): Promise<Contender[]> {
  const node = nodeStarter('embeddings_process.ts')
  const ours = [...new Set([backend, ...compared, 'js'])].map(name =>
    node(name, ['evenkeel'], { EVENKEEL_BACKEND: name })
  )
  return startAll([...ours, node(PLAIN, ['plain']), node(TRANSFORMERS, ['transformers'])])
}

/** What a candidate is called in the tables; undefined where it is left out. */
function labelOf(contender: string, name: string, threads: number): string | undefined {
  if (contender === backend && name === POOLER) return threads === 1 ? onBackend(backend) : TWO
  if (threads > 1) return undefined
  if (name === POOLER) return contender === 'js' ? TYPESCRIPT : onBackend(contender)
  return name === COPY || name === COPY_AT_ONCE ? (contender === backend ? name : undefined) : name
}

/** Checks what everyone makes of one shape, then times all of them. */
async function compare(contenders: readonly Contender[], given: EmbeddingProblem, folder: string, timesOf: Timing) {
  const exact = reference(given)
  let first: Float32Array | undefined
  const entrants: { label: string; timed: Timed }[] = []
  for (const threads of getNumThreads() > 1 ? [1, 2] : [1]) {
    const text = textOf({ ...given, threads }, folder)
    const key = String(threads)
    for (const contender of contenders) {
      for (const { name } of await contender.make(key, text)) {
        const label = labelOf(contender.name, name, threads)
        if (label === undefined) continue
        if (name !== COPY && name !== COPY_AT_ONCE) {
          const codes = await contender.result(key, name, folder)
          checkCodes(`${nameOf(given)}, ${label}`, codes, exact)
          if (name === POOLER) {
            first ??= codes
            if (String(codes) !== String(first)) throw new Error(`${nameOf(given)}, ${label}: other bits`)
          }
        }
        entrants.push({
          label,
          timed: {
            warm: milliseconds => contender.warm(key, name, milliseconds),
            time: calls => contender.time(key, name, calls),
            settle: threads > 1 ? SETTLE : 0
          }
        })
      }
    }
  }
  const times = await timesOf(entrants.map(({ timed }) => timed))
  for (const contender of contenders) for (const key of ['1', '2']) await contender.drop(key)
  return Object.fromEntries(entrants.map(({ label }, i) => [label, times[i]]))
}

function checkCodes(what: string, codes: Float32Array, exact: Float64Array): void {
  if (codes.length !== exact.length) throw new Error(`${what}: ${codes.length} codes`)
  for (let i = 0; i < exact.length; i++) {
    const off = Math.abs(codes[i] - exact[i])
    if (!(off <= CODE_BOUND)) throw new Error(`${what}: code ${i} is ${codes[i]}, ${off} off`)
  }
}

// What a call costs beside its kernels, in this process.

/** The kernels of a call one after the other, with everything ready; and what is read of a mask. */
function partsOf(given: EmbeddingProblem) {
  const { dims, x, lengths } = given
  const [samples, positions, channels] = dims
  const mask = maskOf(given)
  const hidden = { data: x, dims }
  const pooler = new EmbeddingPooler(channels, { precision: 'int8', scale: 'unit' })
  const out = new Int8Array(samples * channels)
  const readMask = () => readPadding('x', { mask }, samples, positions, false)
  const mean = new Float32Array(out.length)
  const none = { meanSqrt: undefined, weightedMean: undefined, cls: undefined, last: undefined, max: undefined }
  const volume = { samples, groups: channels, channelsPerGroup: 1, positions, channelsLast: true, spans: readMask() }
  const poolCall = { ...none, mean, x, shape: volume }
  const shape = { outer: samples, size: channels, inner: 1 }
  const normalizeCall = { y: mean, norm: undefined, x: mean, shape, p: 2, rule: 0, eps: 1e-12, factor: 1 }
  const codes = new Uint8Array(out.buffer)
  const format = codeFormats.indexOf('int8_unit')
  const codesCall = { codes, scales: undefined, low: undefined, step: undefined, x: mean, shape, format }
  const [pool, normalize, quantize] = [
    kernelOf('pool_embeddings'),
    kernelOf('normalize'),
    kernelOf('quantize_embeddings')
  ]
  const kernels = () => {
    pool(poolCall)
    normalize(normalizeCall)
    quantize(codesCall)
  }
  return [
    kernels,
    () => void pooler.forward(hidden, { mask, out }),
    () => void pooler.forward(hidden, { lengths, out }),
    () => void pooler.forward(hidden, { out }),
    () => void readMask()
  ]
}

async function beside(timesOf: Timing): Promise<Embeddings['beside']> {
  const threads = getNumThreads()
  setNumThreads(1)
  const found = []
  for (const [dims, padded] of [[[1, 16, 384], true], ...shapes] as typeof shapes) {
    const given = embeddingProblem(dims, padded)
    found.push({ name: nameOf(given), times: await timesOf(partsOf(given).map(here)) })
  }
  setNumThreads(threads)
  return found
}

/** The event loop, in a process of its own. */
function eventLoop(seconds: number): LoopPauses {
  const path = fileURLToPath(new URL('embeddings_loop.ts', import.meta.url))
  const { stdout, stderr, status } = spawnSync(process.execPath, [...process.execArgv, path, String(seconds)], {
    encoding: 'utf8'
  })
  if (status !== 0) throw new Error(`embeddings_loop.ts ended with ${status}: ${stderr}`)
  return JSON.parse(stdout)
}

async function everyone(folder: string, quick: boolean, timesOf: Timing): Promise<Embeddings['shapes']> {
  const contenders = await start()
  try {
    const found = []
    for (const [dims, padded] of quick ? shapes.slice(0, 1) : shapes) {
      const given = embeddingProblem(dims, padded)
      found.push({ name: nameOf(given), times: await compare(contenders, given, folder, timesOf) })
    }
    return found
  } finally {
    for (const contender of contenders) contender.end()
  }
}

export async function measureEmbeddings(folder: string, quick: boolean): Promise<Embeddings> {
  const timesOf = quick ? timing(16, 9) : timing(240, 21)
  const shapes = await everyone(folder, quick, timesOf)
  return { shapes, beside: await beside(timesOf), loop: eventLoop(quick ? 2 : 12) }
}
