// What normalisation does to training, on a model small enough to try: sooner and steadier convergence, and where it does nothing.
//   npm run example examples/training.ts                  the whole experiment; its charts and numbers go to docs/training/
//   npm run example examples/training.ts -- --quick       less of it, in under a minute; tables only
//   npm run example examples/training.ts -- --controls    what a sceptic tries instead of a norm
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import progress from 'cli-progress'
import { backend, backends } from '../dist/esm/index.js'
import { table } from './data.ts'
import { drawCharts, installCharts } from './training/charts.ts'
import { readEncoder } from './training/encoder.ts'
import { type Mode, runsOf, samples } from './training/experiment.ts'
import { normNames } from './training/norms.ts'
import { trainAll } from './training/pool.ts'
import { type Table, tablesOf, timeTable } from './training/report.ts'
import { asKept, bestRate, hashOf, type Results, resultOf, textOf } from './training/results.ts'
import { measure } from './training/times.ts'
import type { Outcome, Run } from './training/train.ts'

const { values } = parseArgs({ options: { quick: { type: 'boolean' }, controls: { type: 'boolean' } } })
const mode: Mode = values.quick ? 'quick' : values.controls ? 'controls' : 'whole'
const folder = new URL('../docs/training/', import.meta.url)
const print = ({ title, heads, rows }: Table) => table(title, heads, rows)

if (mode === 'whole') installCharts()
const runs = runsOf(mode)
console.log(`${runs.length} runs in 2 threads (backend ${backend}).`)
const start = performance.now()
const outcomes = await withBar(runs)
const losses = hashOf(outcomes)
console.log(`${Math.round((performance.now() - start) / 1000)} s`)
const results = asKept({ losses, runs: runs.map((run, i) => resultOf(run, outcomes[i])) })
for (const one of tablesOf(results.runs)) print(one)
console.log('  Nats per character; mean and [least, most] of the seeds where there are several.')
await checkBits()
if (mode !== 'quick') await write()

/** Trains with a bar on a terminal, and a line for every tenth of it elsewhere. */
async function withBar(runs: readonly Run[]): Promise<Outcome[]> {
  const bar = new progress.SingleBar(
    {
      format: '{bar} {value} of {total} runs, {duration} s',
      noTTYOutput: true,
      notTTYSchedule: 10_000,
      stream: process.stdout
    },
    progress.Presets.rect
  )
  bar.start(runs.length, 0)
  try {
    return await trainAll(runs, { done: () => bar.increment() })
  } finally {
    bar.stop()
  }
}

/** A run that is repeated has the same bits, in any thread and on every backend; fails where it has not. */
async function checkBits(): Promise<void> {
  const repeated = runs.findIndex(({ optimiser, norm }) => optimiser === 'adam' && norm === 'batch')
  const again = await trainAll([runs[repeated]], { threads: 1 })
  if (hashOf(again) !== hashOf([outcomes[repeated]])) throw new Error('a repeated run has other losses')
  const hashes: string[] = []
  for (const name of backends) hashes.push(hashOf(await trainAll(samples, { threads: 1, backend: name })))
  if (new Set(hashes).size > 1) throw new Error(`losses differ between ${backends.join(', ')}`)
  console.log(
    `\nA repeated run has the same losses, bit for bit; so have ${samples.length} short runs on ${backends.join(', ')}.`
  )
  console.log(`sha256 of all losses: ${losses}`)
}

/** The numbers, and the charts that are drawn from them. */
async function write(): Promise<void> {
  const command = `npm run example examples/training.ts${mode === 'controls' ? ' -- --controls' : ''}`
  const file = new URL(mode === 'controls' ? 'controls.json' : 'results.json', folder)
  console.log(
    `The numbers in docs/training/ ${isKept(file) ? 'had the same losses' : 'had other losses, or were not there'}.`
  )
  const more = mode === 'whole' ? await furtherResults() : {}
  const all: Results = asKept({ command, ...results, ...more })
  writeFileSync(file, textOf(all))
  if (mode === 'whole') await drawCharts(all, folder)
}

function isKept(file: URL): boolean {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).losses === losses
  } catch {
    return false
  }
}

/** What is neither a loss nor the same on every machine, and the real encoder. */
async function furtherResults(): Promise<Pick<Results, 'positions' | 'encoder' | 'times'>> {
  const times = measure()
  print(timeTable(times))
  const positions = normNames.map(norm => {
    const rate = bestRate(results.runs, norm, 'sgd')
    const found = runs.findIndex(run => run.positions && run.norm === norm && run.rate === rate)
    return [norm, outcomes[found].positions]
  })
  return { positions: Object.fromEntries(positions), encoder: await readEncoder(), times }
}
