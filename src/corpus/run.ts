// One run over a corpus: which shards are missing or changed, phase after phase.
import { mkdir, readdir } from 'node:fs/promises'
import type { Given } from '../cli/options.js'
import { VERSION } from '../version.js'
import type { Engine } from './engine.js'
import { formatOfName, resultName } from './formats.js'
import { optionsOf } from './inputs.js'
import { type Done, type LastJob, type ShardJob, withId } from './job.js'
import { findDone } from './manifest.js'
import type { Reporter } from './report.js'
import { statisticsOptions } from './statistics.js'
import { work } from './work.js'

export interface Corpus {
  readonly op: string
  /** Options of the operation, with whole paths. */
  readonly given: Given
  /** Whole paths, in order. */
  readonly inputs: readonly string[]
  readonly folder: string
  readonly verify: boolean
}

type Phase = 'statistics' | 'output'

/** Shards of a phase that are to be done, and how many are done already. */
async function pendingOf(jobs: readonly ShardJob[]): Promise<ShardJob[]> {
  const pending: ShardJob[] = []
  for (const job of jobs) if (job.verify || !(await findDone(job, 'quick'))) pending.push(job)
  return pending
}

/** Does a phase; undefined where a shard failed. */
async function runPhase(
  { op, inputs, folder, verify }: Corpus,
  phase: Phase,
  given: Given,
  statistics: string | undefined,
  engine: Engine,
  reporter: Reporter,
  signal: AbortSignal
): Promise<Done | undefined> {
  const common = { op, folder, version: VERSION, ...(statistics === undefined ? {} : { statistics }) }
  const jobs: ShardJob[] = inputs.map(input =>
    withId({ ...common, phase, given: optionsOf(given, input), input, verify })
  )
  const pending = await pendingOf(jobs)
  const lastPhase = phase === 'statistics' ? 'merge' : 'sweep'
  const last: LastJob = withId({
    ...common,
    phase: lastPhase,
    given,
    inputs: lastPhase === 'merge' ? inputs : []
  } as const)
  const listener = await reporter.phase(phase, jobs, pending)
  try {
    // Where nothing is to be done, no engine is needed to say so.
    if (pending.length === 0) return await work(last, () => {})
    const done = await engine.run(pending, last, listener, signal)
    return listener.failures > 0 ? undefined : done
  } finally {
    listener.stop()
  }
}

/** Runs all phases; returns whether every shard is done. */
export async function runCorpus(
  corpus: Corpus,
  engine: Engine,
  reporter: Reporter,
  signal: AbortSignal
): Promise<boolean> {
  await mkdir(corpus.folder, { recursive: true })
  const ofStatistics = statisticsOptions(corpus.op, corpus.given)
  let statistics: string | undefined
  if (ofStatistics) {
    const merged = await runPhase(corpus, 'statistics', ofStatistics, undefined, engine, reporter, signal)
    if (!merged) return false
    statistics = merged.statistics
    if (corpus.op === 'calibrate') return true
  }
  const done = await runPhase(corpus, 'output', corpus.given, statistics, engine, reporter, signal)
  const left = await foreignResults(corpus)
  if (left.length > 0) reporter.warn(`${corpus.folder} has results of no shard of this run: ${left.join(', ')}`)
  return done !== undefined
}

/** Names in the output folder that are results, but of none of these shards: of one that was removed since, for example. */
async function foreignResults({ inputs, folder, given }: Corpus): Promise<string[]> {
  const own = new Set(inputs.map(input => resultName(input, given)))
  return (await readdir(folder)).filter(name => formatOfName(name) !== undefined && !own.has(name)).sort()
}
