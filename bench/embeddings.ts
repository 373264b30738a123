// From hidden states to int8 codes: EmbeddingPooler against a copy of the bytes that it reads, a plain loop and transformers.js;
// what a call costs beside its kernels; and how long the event loop stands still meanwhile.
// usage: npx tsx bench/embeddings.ts [--write], after npm run build. With --write: bench/results/embeddings-<cpu>.md
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { kernelOf } from '../dist/esm/backend/choice.js'
import { readPadding } from '../dist/esm/call/padding.js'
import { Contender, textOf } from '../dist/esm/cli/bench/contender.js'
import { here, measure } from '../dist/esm/cli/bench/measure.js'
import { PLAIN } from '../dist/esm/cli/bench/rows.js'
import { backend, backends, EmbeddingPooler, getNumThreads, setNumThreads } from '../dist/esm/index.js'
import { codeFormats } from '../dist/esm/kernels/operands.js'
import {
  CODE_BOUND,
  COPY,
  COPY_AT_ONCE,
  type EmbeddingProblem,
  embeddingProblem,
  type Load,
  type LoopPauses,
  loadNames,
  maskOf,
  POOLER,
  realOf,
  reference,
  TRANSFORMERS
} from './embeddings_problem.ts'
import { installPeers } from './peers.ts'
import { folderName } from './write.ts'

const { values: options } = parseArgs({ options: { write: { type: 'boolean', default: false } } })
const shapes: readonly [EmbeddingProblem['dims'], boolean][] = [
  [[32, 128, 768], true],
  [[1, 512, 1024], false],
  [[256, 32, 384], true]
]
/** Milliseconds for each candidate, in so many samples. */
const BUDGET = 600
const ROUNDS = 41
/** Milliseconds that two threads run before each sample, until the system has put them on cores of their own. */
const SETTLE = 150
const LOOP_SECONDS = 17

const load = () =>
  os
    .loadavg()
    .map(one => one.toFixed(1))
    .join(', ')
const loadAtStart = load()
const lines: string[] = []
function print(...some: string[]): void {
  lines.push(...some)
  console.log(some.join('\n'))
}
const row = (...cells: string[]) => `| ${cells.join(' | ')} |`
const head = (...cells: string[]) => [row(...cells), row('---', ...cells.slice(1).map(() => '--:'))]

/** Nanoseconds. */
interface Time {
  readonly median: number
  readonly quickest: number
}
type Timed = Parameters<typeof measure>[0][number]

/** Times candidates in turn. */
async function timesOf(candidates: readonly Timed[], budget = BUDGET): Promise<Time[]> {
  const quickest = candidates.map(() => Number.POSITIVE_INFINITY)
  const watched = candidates.map((one, i) => ({
    ...one,
    async time(calls: number) {
      const nanoseconds = await one.time(calls)
      quickest[i] = Math.min(quickest[i], nanoseconds)
      return nanoseconds
    }
  }))
  const medians = await measure(watched, budget, { rounds: ROUNDS })
  return medians.map((median, i) => ({ median, quickest: quickest[i] }))
}

const nameOf = (given: EmbeddingProblem) => {
  const { dims } = given
  return `[${dims.join(', ')}], ${((100 * realOf(given)) / dims[0] / dims[1]).toFixed(0)} % real`
}

// Part 1: everyone, each in a process of its own.

const ONE = `${POOLER}, ${backend}`
const TWO = `${ONE}, two threads`
const TYPESCRIPT = `${POOLER}, TypeScript`

async function start(): Promise<Contender[]> {
  const path = fileURLToPath(new URL('embeddings_process.ts', import.meta.url))
  const one = (name: string, which: string, env = {}) =>
    Contender.start(name, process.execPath, [...process.execArgv, path, which], env)
  const ours = [...new Set([backend, 'js'])].map(name => one(name, 'evenkeel', { EVENKEEL_BACKEND: name }))
  return Promise.all([...ours, one(PLAIN, 'plain'), one(TRANSFORMERS, 'transformers')])
}

/** What a candidate is called in the tables; undefined where it is left out. */
function labelOf(contender: string, name: string, threads: number): string | undefined {
  if (contender === backend && name === POOLER) return threads === 1 ? ONE : TWO
  if (threads > 1) return undefined
  if (contender !== 'js' || contender === backend) return name
  return name === POOLER ? TYPESCRIPT : undefined
}

/** Checks what everyone makes of one shape, then times all of them. */
async function compare(contenders: readonly Contender[], given: EmbeddingProblem, folder: string) {
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
  return new Map(entrants.map(({ label }, i) => [label, times[i]]))
}

function checkCodes(what: string, codes: Float32Array, exact: Float64Array): void {
  if (codes.length !== exact.length) throw new Error(`${what}: ${codes.length} codes`)
  for (let i = 0; i < exact.length; i++) {
    const off = Math.abs(codes[i] - exact[i])
    if (!(off <= CODE_BOUND)) throw new Error(`${what}: code ${i} is ${codes[i]}, ${off} off`)
  }
}

/** How many times as long one takes as another. */
const ratio = (times: ReadonlyMap<string, Time>, one: string, other: string, of: keyof Time) =>
  (times.get(one)?.[of] ?? Number.NaN) / (times.get(other)?.[of] ?? Number.NaN)

const targets: readonly [what: string, one: string, other: string, sign: '<=' | '>=' | '', goal: number][] = [
  [`time against ${COPY}`, ONE, COPY, '<=', 1.2],
  [`${TRANSFORMERS} takes`, TRANSFORMERS, ONE, '>=', 25],
  [`${PLAIN} takes`, PLAIN, ONE, '>=', 6],
  ['two threads are quicker by', ONE, TWO, '', 0],
  [`${PLAIN} against TypeScript`, PLAIN, TYPESCRIPT, '', 0]
]

async function everyone(): Promise<void> {
  const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-embeddings-'))
  const contenders: Contender[] = []
  const found: { name: string; times: Map<string, Time> }[] = []
  try {
    contenders.push(...(await start()))
    for (const { name, about } of contenders) print(`- ${name}: ${about}`)
    for (const [dims, padded] of shapes) {
      const given = embeddingProblem(dims, padded)
      found.push({ name: nameOf(given), times: await compare(contenders, given, folder) })
    }
  } finally {
    for (const contender of contenders) contender.end()
    rmSync(folder, { recursive: true })
  }
  const milliseconds = (nanoseconds: number) => (nanoseconds / 1e6).toFixed(nanoseconds < 1e7 ? 3 : 1)
  print('', '## Pooled, normalised, int8 codes', '', 'Milliseconds of a call, the median and (the quickest):', '')
  print(...head('', ...found.map(({ name }) => name)))
  for (const label of found[0].times.keys()) {
    const cells = found.map(({ times }) => times.get(label) as Time)
    print(row(label, ...cells.map(({ median, quickest }) => `${milliseconds(median)} (${milliseconds(quickest)})`)))
  }
  print(
    '',
    'Ratios of the medians, and (of the quickest):',
    '',
    ...head('', 'target', ...found.map(({ name }) => name))
  )
  for (const [what, one, other, sign, goal] of targets) {
    const cells = found.map(({ times }) => {
      const [median, quickest] = (['median', 'quickest'] as const).map(of => ratio(times, one, other, of))
      const missed = sign && !(sign === '<=' ? median <= goal : median >= goal)
      return `${median.toFixed(2)} (${quickest.toFixed(2)})${missed ? ', missed' : ''}`
    })
    print(row(what, sign && `${sign} ${goal}`, ...cells))
  }
}

// Part 2: what a call costs beside its kernels, in this process.

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

async function beside(): Promise<void> {
  setNumThreads(1)
  print('', '## A call beside its kernels', '', 'Microseconds, the median and (the quickest):', '')
  print(...head('', 'kernels', 'forward, mask', 'with lengths', 'all real', 'mask alone', 'forward less kernels'))
  for (const [dims, padded] of [[[1, 16, 384], true], ...shapes] as typeof shapes) {
    const given = embeddingProblem(dims, padded)
    const times = await timesOf(partsOf(given).map(here))
    const cell = ({ median, quickest }: Time) => `${(median / 1e3).toFixed(1)} (${(quickest / 1e3).toFixed(1)})`
    const [kernels, withMask] = times
    const rest = {
      median: withMask.median - kernels.median,
      quickest: withMask.quickest - kernels.quickest
    }
    print(row(nameOf(given), ...times.map(cell), cell(rest)))
  }
}

// Part 3: the event loop, in a process of its own.

function eventLoop(): void {
  const path = fileURLToPath(new URL('embeddings_loop.ts', import.meta.url))
  const { stdout, stderr, status } = spawnSync(process.execPath, [...process.execArgv, path, String(LOOP_SECONDS)], {
    encoding: 'utf8'
  })
  if (status !== 0) throw new Error(`embeddings_loop.ts ended with ${status}: ${stderr}`)
  const { dims, jobs, pace, windows, longest }: LoopPauses = JSON.parse(stdout)
  const names: { readonly [load in Load]: string } = {
    idle: 'idle',
    dropped: 'the memory alone, transferred and dropped, no pooling',
    shared: '`forwardAsync` over a SharedArrayBuffer',
    steady: '`forwardAsync` with `transfer`',
    full: '`forwardAsync` with `transfer`, four under way all the time'
  }
  print('', '## The event loop', '')
  print(`The longest pause of a window of ${jobs} calls, one every ${pace} ms, [${dims.join(', ')}]: ms, the median of`)
  print(`${windows} windows each, in turn. Target with \`transfer\`: at most 1 ms more than the idle loop's.`, '')
  print(...head('', 'longest pause', 'more than idle'))
  for (const load of loadNames) {
    const more = longest[load] - longest.idle
    const missed = (load === 'steady' || load === 'full') && more > 1
    print(row(names[load], longest[load].toFixed(2), `${more.toFixed(2)}${missed ? ', missed' : ''}`))
  }
}

installPeers()
const cpu = os.cpus()[0]?.model.trim() ?? 'unknown'
print(`# Embeddings: ${cpu}, ${backend}`, '')
print('`npx tsx bench/embeddings.ts --write` (after `npm run build`) repeats it.', '')
print(`- ${backends.join(', ')}; ${os.availableParallelism()} cores; Node.js ${process.versions.node}`)
await everyone()
await beside()
eventLoop()
print('', `Load average at the start ${loadAtStart}, at the end ${load()}: of this run, and of what ran beside it.`)
if (options.write) {
  const file = `embeddings-${folderName({ cpu, backend })}.md`
  writeFileSync(new URL(`results/${file}`, import.meta.url), `${lines.join('\n')}\n`)
  console.log(`written: bench/results/${file}`)
}
