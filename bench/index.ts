// npm run bench [-- --quick] [-- --only batchNorm]: verifies every implementation against the exact result, then times
// them all in one run: the operations, our calls, gradients, embeddings and the event loop. `--only` takes an operation, its gradients
// with it, or one of the others. The full run writes bench/results/<cpu>-<backend>/ and the README's part.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { fill, normal } from '../dist/esm/cases/data.js'
import { named, ORT, PLAIN, TRANSFORMERS } from '../dist/esm/cli/bench/rows.js'
import { backend, backends, getNumThreads, LayerNorm, layerNorm } from '../dist/esm/index.js'
import { accuracyOf, compareLive } from './accuracy.ts'
import { ownCallLines } from './calls_report.ts'
import { isCopy } from './copies.ts'
import { measureEmbeddings } from './embeddings.ts'
import { embeddingLines } from './embeddings_report.ts'
import { type Entrant, Field, isOurs } from './field.ts'
import { GradientField } from './gradients.ts'
import { type GradientOp, gradientOps } from './gradients_problem.ts'
import { gradientLines, gradientsBesideLines } from './gradients_report.ts'
import { lastCache } from './machine.ts'
import { installPeers, tensorClasses } from './peers.ts'
import { type Op, problemOf, titles } from './problem.ts'
import {
  accuracyLines,
  callLines,
  copyLines,
  eventLoopLines,
  familyLines,
  targetLines,
  threadsLines,
  variantOps,
  variantsLines
} from './report.ts'
import type {
  Accuracy,
  Calls,
  Comparison,
  Embeddings,
  EventLoop,
  Gradients,
  Live,
  Machine,
  Results
} from './results.ts'
import { COLS, shapes, threadRows, variantShapes, widths } from './shapes.ts'
import { compared, contending } from './start.ts'
import { threaded } from './targets.ts'
import { write } from './write.ts'

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, only: { type: 'string' } }
})
const { quick, only } = options
const parts = ['gradients', 'embeddings', 'calls'] as const
const choices = [...Object.keys(titles), ...parts]
if (only !== undefined && !choices.includes(only)) {
  throw new RangeError(`bench: --only expected one of ${choices.join(', ')}, got ${only}`)
}
const isAskedPart = (part: (typeof parts)[number]) => only === undefined || only === part
const start = performance.now()
const wanted = (one: { quick?: boolean }) => one.quick || !quick
const isAsked = (op: Op) => only === undefined || only === op
/** Milliseconds for each candidate, in so many samples; less for what is one line of many. */
const budget = quick ? 16 : 200
const rounds = quick ? 9 : 41
const timing = (share = 1) => [budget * share, { rounds }] as const

const cpu = os.cpus()[0]?.model.trim() ?? 'unknown'
const machine: Machine = {
  cpu,
  cores: os.availableParallelism(),
  cache: lastCache(),
  platform: `${process.platform}-${process.arch}`,
  node: process.versions.node,
  backends,
  backend
}

const comparisons: Comparison[] = []
const accuracy: Accuracy[] = []
const live: Live[] = []
let eventLoop: EventLoop | undefined
let embeddings: Embeddings | undefined
const gradients: Gradients[] = []
const calls: { [backend: string]: Calls } = {}
const field = new Field()

const results = (): Results => ({
  command: `${backend === backends[0] ? '' : `EVENKEEL_BACKEND=${backend} `}npm run bench${quick ? ' -- --quick' : ''}${only ? ` -- --only ${only}` : ''}`,
  seconds: Math.round((performance.now() - start) / 1000),
  machine,
  versions: field.versions,
  absent: field.absent,
  accuracy,
  live,
  comparisons,
  eventLoop,
  ...(gradients.length > 0 && { gradients }),
  embeddings,
  ...(Object.keys(calls).length > 0 && { calls })
})

const print = (title: string, lines: readonly string[]) =>
  lines.length > 0 && console.log([`## ${title} (${results().seconds} s)`, '', ...lines].join('\n'))

/** Fails unless tensors of the peers' classes go in and come back as such, with the bits of the array. */
function checkTensors(): void {
  const x = fill(normal, 6, 1)
  for (const [name, Tensor] of Object.entries(tensorClasses())) {
    const given = new Tensor('float32', x, [2, 3]) as unknown as { data: Float32Array; dims: number[] }
    for (const y of [layerNorm(given, 3), new LayerNorm(3).forward(given)]) {
      const same = y instanceof Tensor && String(y.dims) === '2,3' && String(y.data) === String(layerNorm(x, 3))
      if (!same) throw new Error(`a tensor of ${name} did not come back as one`)
    }
    console.log(`tensors of ${name} go in and come back`)
  }
  console.log()
}

const isCompiled = ({ name, contender }: Entrant) => name === PLAIN || (contender.name === 'js' && isOurs(name))

/** Kernels of all backends, the public calls of the best one; of the others what the table of targets needs. */
function inFamily({ name, contender }: Entrant, rowOp: boolean, hasLayer: boolean): boolean {
  const own = contender.name === backend
  const isCompared = (compared as readonly string[]).includes(contender.name)
  if (isCopy(name)) return own || (rowOp && isCompared)
  if (name.startsWith('function')) return own || (isCompared && !hasLayer)
  if (name.startsWith('prepared')) return isCompared || rowOp || contender.name === 'js'
  return true
}

async function families(op: Op): Promise<void> {
  const rowOp = op === 'layerNorm' || op === 'rmsNorm'
  const hasLayer = !['layerNormChannels', 'normalize', 'localResponseNorm'].includes(op)
  // The JIT compiler makes other code for loops that have seen one number of rows only, at times quicker by a third
  // (measured): who is compiled sees several first, so that the first shape is timed as the others are.
  for (const rows of rowOp ? [256, 1, 32] : []) {
    const part = { given: problemOf({ op, dims: [rows, COLS] }), suffix: '' }
    for (const { contender, key, name } of await field.enter('first', part, isCompiled))
      await contender.warm(key, name, 50)
  }
  for (const shape of shapes) {
    if (shape.op !== op || !wanted(shape)) continue
    const part = { given: problemOf(shape), suffix: '' }
    // It takes a fifth of a second for the larger ones.
    const slow = shape.dims[0] > 1024
    const some = (one: Entrant) => inFamily(one, rowOp, hasLayer) && !(slow && one.name === TRANSFORMERS && quick)
    comparisons.push(await field.compare('family', shape.name, [part], some, ...timing()))
  }
}

async function oneRow(op: 'layerNorm' | 'rmsNorm'): Promise<void> {
  const names = [PLAIN, ...contending.flatMap(name => [named('prepared layer', name), named('function', name)])]
  for (const { cols } of widths.filter(wanted)) {
    const part = { given: problemOf({ op, dims: [1, cols] }), suffix: '' }
    const some = ({ name }: Entrant) => names.includes(name) || name.startsWith('onnxruntime')
    comparisons.push(await field.compare('call', 'one row', [part], some, ...timing(0.5)))
  }
}

/** 1, 2, 4, ... and all threads. */
function threadCounts(): number[] {
  const all = getNumThreads()
  const counts = []
  for (let n = 1; n < all; n *= 2) counts.push(n)
  return [...counts, all]
}

async function threads(op: 'layerNorm' | 'rmsNorm'): Promise<void> {
  for (const { rows } of threadRows.filter(one => wanted(one) && (op === 'layerNorm' || one.rows >= 1024))) {
    const part = (n: number, suffix: string) => ({
      given: problemOf({ op, dims: [rows, COLS] }, undefined, rows, n),
      suffix
    })
    const parts = threadCounts().map(n => part(n, threaded('', n)))
    const ownChoice = String(parts.length)
    if (!quick) parts.push(part(0, ', its own choice'))
    const some = ({ name, key }: Entrant) =>
      name === ORT || name.startsWith('PyTorch') || (name === named('prepared layer', backend) && key !== ownChoice)
    // Threads of onnxruntime spin for some 10 ms when they are done (measured).
    const careful = { rounds: quick ? 3 : 7, rest: 25 }
    comparisons.push(await field.compare('threads', 'several threads', parts, some, budget * 0.75, careful))
  }
}

async function variants(): Promise<void> {
  for (const shape of variantShapes.filter(wanted)) {
    const parts = variantOps.map(op => ({ given: problemOf({ op, ...shape }), suffix: ` ${op}` }))
    const some = ({ name, contender }: Entrant) =>
      name.startsWith('kernel') ||
      compared.some(backend => name === named('prepared layer', backend)) ||
      (contender.name === PLAIN && name === PLAIN)
    comparisons.push(await field.compare('variants', shape.name, parts, some, ...timing()))
  }
}

/** What a script of this folder prints, which measures in a process of its own. */
function measured<Found>(script: string, args: readonly string[] = [], env: { [name: string]: string } = {}): Found {
  const path = fileURLToPath(new URL(script, import.meta.url))
  const { stdout, stderr, status } = spawnSync(process.execPath, [...process.execArgv, path, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env }
  })
  if (status !== 0) throw new Error(`${script} ended with ${status}: ${stderr}`)
  return JSON.parse(stdout)
}

async function operations(): Promise<void> {
  try {
    await field.start()
    console.log(`${cpu}, ${backends.join(', ')}, ${machine.cores} cores, Node.js ${machine.node}`)
    for (const [name, version] of Object.entries(field.versions)) console.log(`${name}: ${version}`)
    for (const { name, why } of field.absent) console.log(`without ${name}: ${why}`)
    console.log()
    for (const op of Object.keys(titles) as Op[]) {
      if (!isAsked(op)) continue
      await families(op)
      print(titles[op], familyLines(results(), op))
    }
    const rowOps = (['layerNorm', 'rmsNorm'] as const).filter(isAsked)
    for (const op of rowOps) await oneRow(op)
    print('One row: the cost of a call', callLines(results()))
    print('Against the copy', copyLines(results()))
    for (const op of quick ? rowOps.slice(0, 1) : rowOps) await threads(op)
    print('Threads', threadsLines(results()))
    if (isAsked('pRMSNorm')) await variants()
    print('RMSNorm and pRMSNorm against LayerNorm', variantsLines(results()))
    // At the end: what the JIT compiler learns from hostile numbers is not what it learns from ordinary ones.
    for (const op of Object.keys(titles) as Op[]) {
      if (!isAsked(op)) continue
      const found = await compareLive(field, op, quick ? 5 : 30)
      if (found) live.push(found)
      accuracy.push(...(await accuracyOf(field, op, quick)))
      print(`${titles[op]}: who is right`, accuracyLines(results(), op))
    }
  } finally {
    field.end()
  }
}

async function measureGradients(ops: readonly GradientOp[]): Promise<void> {
  const field = new GradientField(folder, quick)
  try {
    await field.start()
    for (const op of ops) {
      gradients.push(...(await field.compare(op)))
      print(`Gradients: ${titles[op]}`, gradientLines(results(), op))
    }
    print('Gradients beside others', gradientsBesideLines(results()))
  } finally {
    field.end()
  }
}

installPeers()
checkTensors()
if (only === undefined || only in titles) await operations()
const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-bench-'))
try {
  const ops = gradientOps.filter(op => isAsked(op) || only === 'gradients')
  if (ops.length > 0) await measureGradients(ops)
  if (isAskedPart('embeddings')) embeddings = await measureEmbeddings(folder, quick)
  print('Embeddings', embeddingLines(results()))
} finally {
  rmSync(folder, { recursive: true })
}
if (isAskedPart('calls')) {
  for (const name of compared) calls[name] = measured<Calls>('calls.ts', [], { EVENKEEL_BACKEND: name })
}
print('Our calls', ownCallLines(results()))
if (only === undefined) eventLoop = measured<EventLoop>('event_loop.ts', [quick ? '3' : '9'])
print('The event loop', eventLoopLines(results()))
print('Targets', targetLines(results()))
if (quick || only !== undefined) console.log(`${results().seconds} s. Not the full run, which writes bench/results.`)
else console.log(`written: bench/results/${await write(results())}/`)
