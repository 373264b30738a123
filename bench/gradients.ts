// Gradients: our backward against a copy of x, a plain loop and PyTorch, alone and together with the forward.
// usage: npx tsx bench/gradients.ts [--write | --quick | --only layerNorm], after npm run build. With --write:
// bench/results/gradients-<cpu>.md
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Contender, textOf } from '../dist/esm/cli/bench/contender.js'
import { measure } from '../dist/esm/cli/bench/measure.js'
import { PLAIN } from '../dist/esm/cli/bench/rows.js'
import { backend, backends } from '../dist/esm/index.js'
import { compileCopies, isCopy } from './copies.ts'
import {
  ANEW,
  BACKWARD,
  BOTH,
  type Error64,
  errorsOf,
  exactGradients,
  FLOAT32_SUMS,
  FORWARD,
  type GradientOp,
  gradientProblem,
  onThreads,
  outputs,
  takesTwo
} from './gradients_problem.ts'
import { lastCache } from './machine.ts'
import { titles } from './problem.ts'
import { folderName } from './write.ts'

const { values: options } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    only: { type: 'string' }
  }
})
const { quick, only } = options
if (options.write && (quick || only !== undefined)) throw new RangeError('gradients: --write takes the full run')
const start = performance.now()

interface Shape {
  readonly op: GradientOp
  readonly dims: readonly number[]
  readonly channelsLast?: boolean
  readonly quick?: boolean
  /** Whether two threads are timed as well. */
  readonly two?: boolean
}

const rowShapes = [
  { dims: [64, 768], quick: true },
  { dims: [1024, 768], quick: true, two: true },
  { dims: [16384, 768], two: true },
  { dims: [4096, 4096] }
]
const shapes: readonly Shape[] = [
  ...rowShapes.map(shape => ({ op: 'layerNorm' as const, ...shape })),
  ...rowShapes.map(shape => ({ op: 'rmsNorm' as const, ...shape })),
  { op: 'groupNorm', dims: [1, 256, 16, 16], quick: true },
  { op: 'groupNorm', dims: [16, 256, 64, 64], two: true },
  { op: 'groupNorm', dims: [16, 64, 64, 256], channelsLast: true },
  { op: 'batchNormTraining', dims: [8, 64, 14, 14], quick: true },
  { op: 'batchNormTraining', dims: [8192, 256] },
  { op: 'batchNormTraining', dims: [64, 64, 56, 56], two: true },
  { op: 'batchNormTraining', dims: [64, 56, 56, 64], channelsLast: true }
]
const asked = shapes.filter(shape => (shape.quick || !quick) && (only === undefined || shape.op === only))
if (asked.length === 0)
  throw new RangeError(`gradients: --only expected one of ${shapes.map(({ op }) => op)}, got ${only}`)

/** What a backward may take of the time of the best copy of x, where it comes from memory; and what its traffic alone takes. */
const goals: { readonly [op in GradientOp]: readonly [goal: number, floor: number] } = {
  layerNorm: [2, 1.5],
  rmsNorm: [2, 1.5],
  groupNorm: [2, 1.5],
  batchNormTraining: [3.2, 2.5]
}

/** Milliseconds for each candidate, in so many samples: fewer where two threads take their time to settle. */
const BUDGET = quick ? 16 : 200
const roundsOf = ({ two }: Shape) => (quick ? 9 : two ? 11 : 21)
/** Milliseconds that two threads run before each sample. */
const SETTLE = 150
const ASSUMED_CACHE = 32 << 20

const cache = lastCache()

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

const elementsOf = ({ dims }: Shape) => dims.reduce((product, dim) => product * dim, 1)
const bytesOf = (shape: Shape) => 3 * 4 * elementsOf(shape)
const isFromMemory = (shape: Shape) => bytesOf(shape) > (cache ?? ASSUMED_CACHE)
const megabytes = (bytes: number) => `${(bytes / 1e6).toPrecision(bytes < 1e8 ? 2 : 3)} MB`
const nameOf = ({ dims, channelsLast }: Shape) => `[${dims.join(', ')}]${channelsLast ? ', channels last' : ''}`
const isRows = ({ op }: Shape) => op === 'layerNorm' || op === 'rmsNorm'

// Who takes part, and what is timed.

const TORCH = 'PyTorch'
const whoIs = (name: string) => (name === 'js' ? 'TypeScript' : name)
const labelOf = (name: string, contender: string) => `${name}: ${whoIs(contender)}`
const isOurs = (contender: string) => (backends as readonly string[]).includes(contender)
const natives = backends.filter(name => name !== 'js' && name !== 'portable')
const timedBackends: readonly string[] = [...new Set([backend, ...natives, 'js'])]
const DIFFERENCE = 'backward, by the difference'
const tasks = [BACKWARD, ANEW, DIFFERENCE, BOTH, FORWARD].flatMap(name => [name, onThreads(name, 2)])

function isTimed(name: string, contender: string, { two }: Shape): boolean {
  if (isCopy(name)) return true
  if (takesTwo(name) && (quick || !two || os.availableParallelism() === 1)) return false
  if (!isOurs(contender)) return true
  if (takesTwo(name) || name === ANEW) return contender === backend
  return timedBackends.includes(contender)
}

/**
 * PyTorch makes new tensors. glibc takes those above 32 MiB from the system anew each time, and of their pages a virtual machine may
 * make ten times the work of the kernel (measured): it is to keep them.
 */
const KEPT_MEMORY = { MALLOC_MMAP_MAX_: '0', MALLOC_TRIM_THRESHOLD_: String(32 * 2 ** 30) }

async function startAll(folder: string): Promise<{ contenders: Contender[]; without: string[] }> {
  const path = fileURLToPath(new URL('gradients_process.ts', import.meta.url))
  const { path: compiled, why } = compileCopies(folder)
  const env = { EVENKEEL_BENCH_COPIES: compiled ?? '' }
  const node = (name: string, which: string, more = {}) =>
    Contender.start(name, process.execPath, [...process.execArgv, path, which], { ...env, ...more })
  const own = [...backends.map(name => node(name, 'evenkeel', { EVENKEEL_BACKEND: name })), node(PLAIN, PLAIN)]
  const script = fileURLToPath(new URL('gradients_torch.py', import.meta.url))
  const pythons = ['python3', '/usr/bin/python3'].map(python => Contender.start(TORCH, python, [script], KEPT_MEMORY))
  const all = await Promise.allSettled([...own, ...pythons])
  const started = all.flatMap(one => (one.status === 'fulfilled' ? [one.value] : []))
  const reasons = all.flatMap(one => (one.status === 'rejected' ? [one.reason as Error] : []))
  const torches = started.filter(({ name }) => name === TORCH)
  for (const other of torches.slice(1)) other.end()
  const contenders = started.filter(one => one.name !== TORCH || one === torches[0])
  if (contenders.length < own.length) {
    for (const one of contenders) one.end()
    throw reasons[0]
  }
  const without = why ? [`copies in C: ${why}`] : []
  if (torches.length === 0) without.push(`${TORCH}: ${reasons[0].message}`)
  return { contenders, without }
}

interface Found {
  readonly shape: Shape
  /** Nanoseconds. */
  readonly times: ReadonlyMap<string, number>
  readonly best: { readonly name: string; readonly time: number }
  /** Of everyone; ours are one. */
  readonly errors: ReadonlyMap<string, readonly Error64[]>
}

const digestOf = ({ buffer, byteOffset, byteLength }: Float32Array) =>
  createHash('sha1')
    .update(new Uint8Array(buffer, byteOffset, byteLength))
    .digest('hex')

/** Checks what everyone makes of one shape, then times all of them in turn. */
async function compare(contenders: readonly Contender[], shape: Shape, folder: string): Promise<Found> {
  const key = nameOf(shape)
  const given = gradientProblem(shape)
  const exact = exactGradients(given)
  const text = textOf(given, folder)
  const errors = new Map<string, readonly Error64[]>()
  const entrants: { label: string; timed: Parameters<typeof measure>[0][number] }[] = []
  let first: string | undefined
  const lists = await Promise.all(contenders.map(contender => contender.make(key, text)))
  for (const [k, contender] of contenders.entries()) {
    const mine = isOurs(contender.name)
    for (const { name } of lists[k]) {
      if (isCopy(name) && contender.name !== backend) continue
      const label = isCopy(name) ? name : labelOf(name, contender.name)
      const fail = (what: string) => {
        throw new Error(`${titles[shape.op]} ${key}, ${label}: ${what}`)
      }
      if (isCopy(name)) {
        if ((await contender.digest(key, name)) !== digestOf(given.x)) fail('not a copy')
      } else if (mine && first !== undefined) {
        if ((await contender.digest(key, name)) !== first) fail('other bits')
      } else if (name !== FORWARD && name !== onThreads(FORWARD, 2)) {
        const found = errorsOf(await contender.result(key, name, folder), exact) ?? fail('another number of results')
        for (const [i, { worst, rounded }] of found.entries()) {
          if (!(mine ? rounded : worst <= FLOAT32_SUMS)) fail(`${outputs[i]} is ${worst} of the largest off`)
        }
        if (mine) first = await contender.digest(key, name)
        if (name === BACKWARD || mine) errors.set(mine ? 'ours' : contender.name, found)
      }
      if (!isTimed(name, contender.name, shape)) continue
      entrants.push({
        label,
        timed: {
          warm: milliseconds => contender.warm(key, name, milliseconds),
          time: calls => contender.time(key, name, calls),
          settle: takesTwo(name) ? SETTLE : 0
        }
      })
    }
    if (mine && !timedBackends.includes(contender.name)) await contender.drop(key)
  }
  const medians = await measure(
    entrants.map(({ timed }) => timed),
    BUDGET,
    { rounds: roundsOf(shape) }
  )
  for (const contender of contenders) await contender.drop(key)
  const times = new Map(entrants.map(({ label }, i) => [label, medians[i]]))
  const best = { name: '', time: Number.POSITIVE_INFINITY }
  for (const [name, time] of times) if (isCopy(name) && time < best.time) Object.assign(best, { name, time })
  for (const threads of [1, 2]) {
    const [both, forward] = [BOTH, FORWARD].map(name => times.get(labelOf(onThreads(name, threads), TORCH)))
    if (both && forward) times.set(labelOf(onThreads(DIFFERENCE, threads), TORCH), both - forward)
  }
  return { shape, times, best, errors }
}

/** Our TypeScript and the plain loop see several numbers of rows first: V8 makes other code for loops that know one only. */
async function warmUp(contenders: readonly Contender[], op: GradientOp, folder: string): Promise<void> {
  for (const dims of [
    [256, 768],
    [1, 768],
    [32, 384]
  ]) {
    const text = textOf(gradientProblem({ op, dims }), folder)
    for (const contender of contenders.filter(({ name }) => name === 'js' || name === PLAIN)) {
      await contender.make('first', text)
      for (const name of [BACKWARD, BOTH]) await contender.warm('first', name, 30)
      await contender.drop('first')
    }
  }
}

// Tables.

const number = (value: number) => (value < 1000 ? value.toPrecision(3) : value.toFixed(0))

function printOp(op: GradientOp, all: readonly Found[]): void {
  const found = all.filter(({ shape }) => shape.op === op)
  const unit = isRows(found[0].shape) ? 'a row' : 'a thousand elements'
  const per = ({ shape }: Found) => (isRows(shape) ? shape.dims[0] : elementsOf(shape) / 1000)
  print('', `## ${titles[op]}`, '', `Nanoseconds of ${unit}, and (how many times that of the best copy of x):`, '')
  const state = (shape: Shape) => `${megabytes(bytesOf(shape))}${isFromMemory(shape) ? ', from memory' : ''}`
  print(...head('', ...found.map(({ shape }) => `${nameOf(shape)}: ${state(shape)}`)))
  const copy = (one: Found) => `${number(one.best.time / per(one))} (${one.best.name.replace(/^copy \(|\)$/g, '')})`
  print(row('best copy of x', ...found.map(copy)))
  const labels = new Set(found.flatMap(({ times }) => [...times.keys()]))
  for (const task of tasks) {
    for (const label of [...labels].filter(label => label.startsWith(`${task}: `))) {
      const cells = found.map(one => {
        const time = one.times.get(label)
        return time === undefined ? '' : `${number(time / per(one))} (${(time / one.best.time).toFixed(2)})`
      })
      print(row(label, ...cells))
    }
  }
}

/** How many times as long one takes as another; undefined where one of them was not timed. */
function ratio({ times }: Found, one: string, other: string): number | undefined {
  const [a, b] = [times.get(one), times.get(other)]
  return a === undefined || b === undefined ? undefined : a / b
}

const besides: readonly [what: string, one: string, other: string][] = [
  ['forward + backward: PyTorch takes', labelOf(BOTH, TORCH), labelOf(BOTH, backend)],
  ['the same, two threads', labelOf(onThreads(BOTH, 2), TORCH), labelOf(onThreads(BOTH, 2), backend)],
  ['backward alone: PyTorch takes', labelOf(BACKWARD, TORCH), labelOf(BACKWARD, backend)],
  ['the same, two threads', labelOf(onThreads(BACKWARD, 2), TORCH), labelOf(onThreads(BACKWARD, 2), backend)],
  ['backward: the plain loop takes', labelOf(BACKWARD, PLAIN), labelOf(BACKWARD, backend)],
  ['the plain loop, of our TypeScript', labelOf(BACKWARD, PLAIN), labelOf(BACKWARD, 'js')],
  ['one thread, of two', labelOf(BACKWARD, backend), labelOf(onThreads(BACKWARD, 2), backend)]
]

function printBesides(all: readonly Found[]): void {
  print('', `## Beside others`, '', `How many times as long as ours, ${backend}, one thread unless said:`, '')
  print(...head('', ...besides.map(([what]) => what)))
  for (const one of all) {
    const cells = besides.map(([, a, b]) => ratio(one, a, b)?.toFixed(2) ?? '')
    print(row(`${titles[one.shape.op]} ${nameOf(one.shape)}`, ...cells))
  }
}

function printErrors(all: readonly Found[]): void {
  print(
    '',
    '## Errors',
    '',
    'The largest, in parts of the largest element; a rounding to float32 is 6e-8 of an element at most:',
    ''
  )
  const whos = [...new Set(all.flatMap(({ errors }) => [...errors.keys()]))]
  print(...head('', ...whos.flatMap(who => outputs.map(output => `${output}: ${who}`))))
  for (const { shape, errors } of all) {
    const cells = whos.flatMap(who => outputs.map((_, i) => errors.get(who)?.[i]?.worst.toExponential(0) ?? ''))
    print(row(`${titles[shape.op]} ${nameOf(shape)}`, ...cells))
  }
}

function printTargets(all: readonly Found[]): void {
  const found = all.filter(({ shape }) => isFromMemory(shape))
  if (found.length === 0) return
  print('', '## Targets', '', 'The backward alone, one thread, from memory, against the best copy of x:', '')
  print(...head('', 'target', 'floor: what is read and written', ...natives))
  for (const { shape, times, best } of found) {
    const [goal, floor] = goals[shape.op]
    const cells = natives.map(name => {
      const against = (times.get(labelOf(BACKWARD, name)) ?? Number.NaN) / best.time
      return `${against.toFixed(2)}, ${against <= goal ? 'reached' : '**missed**'}`
    })
    print(row(`${titles[shape.op]} ${nameOf(shape)}`, `<= ${goal}`, String(floor), ...cells))
  }
}

const cpu = os.cpus()[0]?.model.trim() ?? 'unknown'
print(`# Gradients: ${cpu}, ${backend}`, '')
print('`npx tsx bench/gradients.ts --write` (after `npm run build`) repeats it.', '')
print(`- ${backends.join(', ')}; ${os.availableParallelism()} cores; Node.js ${process.versions.node}`)
print(`- last-level cache: ${cache ? megabytes(cache) : `not told, taken for ${megabytes(ASSUMED_CACHE)}`}`)
const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-gradients-'))
const contenders: Contender[] = []
const found: Found[] = []
try {
  const { contenders: all, without } = await startAll(folder)
  contenders.push(...all)
  for (const { name, about } of contenders) print(`- ${name}: ${about}`)
  for (const one of without) print(`- without ${one}`)
  print('', ...about())
  for (const op of new Set(asked.map(shape => shape.op))) {
    const mine = asked.filter(shape => shape.op === op)
    if (isRows(mine[0])) await warmUp(contenders, op, folder)
    for (const shape of mine) found.push(await compare(contenders, shape, folder))
    printOp(op, found)
  }
} finally {
  for (const contender of contenders) contender.end()
  rmSync(folder, { recursive: true })
}
printBesides(found)
printErrors(found)
printTargets(found)
const seconds = ((performance.now() - start) / 1000).toFixed(0)
print(
  '',
  `${seconds} s. Load average at the start ${loadAtStart}, at the end ${load()}: of this run, and of what ran beside it.`
)
if (options.write) {
  const file = `gradients-${folderName({ cpu, backend })}.md`
  writeFileSync(new URL(`results/${file}`, import.meta.url), `${lines.join('\n')}\n`)
  console.log(`written: bench/results/${file}`)
}

/** What the numbers are. */
function about(): string[] {
  return [
    'Medians of interleaved samples of one run; each contender has a process of its own; float32, one thread unless said. Before it is',
    'timed, everyone is held against the formulas in float64: dx, dweight and dbias of ours are those, rounded once, with the same',
    'bits on all backends, on one thread and on two; the others are right to 1e-3 of the largest element.',
    'Ours are layers as a training loop calls them, with places for all results; `backward` takes the mean and rstd that the forward',
    'kept, `statistics anew` computes them once more. PyTorch makes new tensors, in memory that malloc is told to keep; its `backward`',
    'is native_layer_norm_backward (group, batch) with the statistics of the forward, that of rmsNorm, which is written out, autograd',
    'over a graph that is kept; `forward + backward` is torch.autograd.grad, `by the difference` that less the forward. The plain loop',
    'takes statistics that were kept. The best copy is the quickest of memcpy (Buffer.copy), TypedArray.set, a loop in C and',
    'non-temporal stores, from x to dx. MB: x, dy and dx together; from memory: more than the last-level cache.'
  ]
}
