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
import { backend, backends, LayerNorm, layerNorm } from '../dist/esm/index.js'
import { accuracyOf, compareLive } from './accuracy.ts'
import { ownCallLines } from './calls_report.ts'
import { Comparisons } from './comparisons.ts'
import { measureEmbeddings } from './embeddings.ts'
import { embeddingLines } from './embeddings_report.ts'
import { Field } from './field.ts'
import { GradientField } from './gradients.ts'
import { type GradientOp, gradientOps } from './gradients_problem.ts'
import { gradientLines, gradientsBesideLines } from './gradients_report.ts'
import { lastCache } from './machine.ts'
import { installPeers, tensorClasses } from './peers.ts'
import { type Op, titles } from './problem.ts'
import {
  accuracyLines,
  callLines,
  copyLines,
  eventLoopLines,
  familyLines,
  targetLines,
  threadsLines,
  variantsLines
} from './report.ts'
import type { Accuracy, Calls, Embeddings, EventLoop, Gradients, Live, Machine, Results } from './results.ts'
import { compared } from './start.ts'
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
const isAsked = (op: Op) => only === undefined || only === op
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

const accuracy: Accuracy[] = []
const live: Live[] = []
let eventLoop: EventLoop | undefined
let embeddings: Embeddings | undefined
const gradients: Gradients[] = []
const calls: { [backend: string]: Calls } = {}
const field = new Field()
const comparisons = new Comparisons(field, quick)

const results = (): Results => ({
  command: `${backend === backends[0] ? '' : `EVENKEEL_BACKEND=${backend} `}npm run bench${quick ? ' -- --quick' : ''}${only ? ` -- --only ${only}` : ''}`,
  seconds: Math.round((performance.now() - start) / 1000),
  machine,
  versions: field.versions,
  absent: field.absent,
  accuracy,
  live,
  comparisons: comparisons.found,
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
      await comparisons.families(op)
      print(titles[op], familyLines(results(), op))
    }
    const rowOps = (['layerNorm', 'rmsNorm'] as const).filter(isAsked)
    for (const op of rowOps) await comparisons.oneRow(op)
    print('One row: the cost of a call', callLines(results()))
    print('Against the copy', copyLines(results()))
    for (const op of quick ? rowOps.slice(0, 1) : rowOps) await comparisons.threads(op)
    print('Threads', threadsLines(results()))
    if (isAsked('pRMSNorm')) await comparisons.variants()
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
