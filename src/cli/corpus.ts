// evenkeel corpus: apply, embed or calibrate over many files, in this process or by workers on a queue.
import { realpath } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { checkPackages } from '../corpus/arrow.js'
import type { Engine } from '../corpus/engine.js'
import { type Format, formatOfName, formats, withoutFormats } from '../corpus/formats.js'
import { checkShards, findShards, wholePaths } from '../corpus/inputs.js'
import { Stopped } from '../corpus/job.js'
import { localEngine } from '../corpus/local.js'
import { Reporter } from '../corpus/report.js'
import { type Corpus, runCorpus } from '../corpus/run.js'
import { calibrateOptions } from './calibrate.js'
import { readDtype } from './elements.js'
import { embedOptions, readEmbedding } from './embed.js'
import { allOptions, operations, readOptions } from './operations.js'
import { type Given, type Known, parseOptions, readList } from './options.js'
import { type Command, optionHint, UsageError, wrongWord } from './usage.js'

const help = `Usage: evenkeel corpus run <op> --in <pattern> --out-dir <folder> [options of the op]
       evenkeel corpus work --redis <url>
       evenkeel corpus status --redis <url>

run     does to many files (shards) what apply, embed or calibrate do to one, and returns when all is done: with exit code
        0, or 1 where a shard failed. Run again, it does only what is missing or changed.
work    a worker for runs with --engine bullmq: waits for work and does it, until it is stopped
status  what waits, runs and failed on the queue

Ops: layer-norm, rms-norm, normalize, batch-norm, group-norm, instance-norm, local-response-norm with the options of
"evenkeel apply", embed with those of "evenkeel embed", calibrate. Two take the statistics of all shards first, merged in the
order of their paths, so that no bit depends on who finished when:
  batch-norm --training    standardises with mean and variance of all shards
  embed --scale ranges     quantises (--precision int8 or uint8) with the ranges of all shards
These and calibrate write them to statistics.json in the output folder.

run:
      --in <pattern>       the shards: a file or a quoted pattern of *, ?, [], {} and **; may be given several times.
                           Paths behind the op are shards, too
      --out-dir <folder>   where results go, each under its shard's base name, beside a manifest: options, version, sha256 of
                           what was read and written, rows, seconds, worker
      --verify             compares all files with their manifests by sha256; default: by size and time, by sha256 where
                           these differ
      --column <name>      the column of embeddings of .parquet and .arrow shards; default: the only one of such lists
      --format <format>    npy, parquet or arrow: the format of results, whose names end so; default: that of the shard
      --force              overwrites files in the output folder that no manifest tells of
      --engine bullmq      has workers do the jobs, over Redis; default: threads of this process
      --jobs <number>      shards at once in this process; default: one for each core

Options of the op that name files for each shard (--lengths, --mask, --skip, --residual, --norm, --scales) may have {name} in
them: the shard's base name without its end. --norm and --scales need it, and go outside of the output folder.

work:
      --jobs <number>      shards at once, default 1
      --drain              ends when nothing is left to do; default: waits for more

run, work, status:
      --redis <url>        redis://[user:password@]host:port[/db], or rediss:// for TLS; default: REDIS_URL of the environment,
                           which keeps a password from lists of processes
      --json               events or state as JSON, one a line, on standard output
  -h, --help               this text

Shards are .npy files of float32, float16 or bfloat16, Parquet (.parquet) or Arrow IPC (.arrow): of a table the op takes one
column, lists of float32 or float16 of one length (with --dtype also of uint16, the bits of such), and every other column stays as
it is. A table is read as a whole into the memory of its worker; files that options name are .npy. Tables need two packages
beside evenkeel: npm install parquet-wasm apache-arrow

--engine bullmq, work and status need two packages beside evenkeel: npm install bullmq ioredis
`

const corpusOptions: Known = {
  in: { type: 'string', multiple: true },
  'out-dir': { type: 'string' },
  engine: { type: 'string' },
  redis: { type: 'string' },
  jobs: { type: 'string' },
  column: { type: 'string' },
  format: { type: 'string' },
  verify: { type: 'boolean' },
  drain: { type: 'boolean' },
  json: { type: 'boolean' }
}

/** What each subcommand takes beside the options of an op. */
const own = {
  run: ['in', 'out-dir', 'column', 'format', 'engine', 'redis', 'jobs', 'verify', 'force', 'json'],
  work: ['redis', 'jobs', 'drain', 'json'],
  status: ['redis', 'json']
}

/** Options of the op; throws where it has not got one of them, or where one has a wrong value. */
function checkOp(op: string | undefined, given: Given): string {
  const ops = [...Object.keys(operations), 'embed', 'calibrate']
  if (op === undefined || !ops.includes(op)) {
    throw wrongWord('op', ops, op)
  }
  if (Object.hasOwn(operations, op)) readOptions(op, given)
  else {
    for (const option of Object.keys(given)) {
      const options = Object.keys(op === 'embed' ? embedOptions : calibrateOptions)
      if (!options.includes(option)) throw new UsageError(`${op} has no --${option}${optionHint(option, options)}`)
    }
    if (op === 'embed') readEmbedding(given)
    else readDtype(given)
  }
  return op
}

function checkFormat(op: string, { format }: Given): void {
  if (format === undefined) return
  if (op === 'calibrate') throw new UsageError('calibrate has no --format')
  if (!formats.includes(format as Format)) throw wrongWord('--format', formats, format as string)
}

function readJobs(given: Given, otherwise: number): number {
  return given.jobs === undefined ? otherwise : readList('jobs', given.jobs as string, 1)[0]
}

function readRedis(given: Given): string {
  const url = (given.redis as string | undefined) ?? process.env.REDIS_URL
  if (!url) throw new UsageError('--redis, or REDIS_URL in the environment, expected redis://host:port, got nothing')
  return url
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Calls `use` with what Ctrl-C and its like abort; a second one ends the process at once. */
async function interruptible(
  use: (signal: AbortSignal, by: () => NodeJS.Signals | undefined) => Promise<number>
): Promise<number> {
  const controller = new AbortController()
  let by: NodeJS.Signals | undefined
  const stop = (name: NodeJS.Signals) => {
    by = name
    for (const signal of signals) process.off(signal, stop)
    controller.abort()
  }
  for (const name of signals) process.on(name, stop)
  try {
    return await use(controller.signal, () => by)
  } finally {
    for (const name of signals) process.off(name, stop)
  }
}

async function run(given: Given, [name, ...paths]: readonly string[]): Promise<number> {
  const {
    in: patterns = [],
    'out-dir': folder,
    engine: engineName,
    redis,
    jobs,
    verify,
    force,
    json,
    ...options
  } = given
  const op = checkOp(name, withoutFormats(options))
  const shards = [...(patterns as readonly string[]), ...paths]
  if (shards.length === 0) throw new UsageError('--in expected a pattern of files, got nothing')
  if (typeof folder !== 'string' || folder === '') throw new UsageError('--out-dir expected a folder, got nothing')
  if (engineName !== undefined && engineName !== 'bullmq') {
    throw new UsageError(`--engine expected bullmq, got ${JSON.stringify(engineName)}`)
  }
  if (engineName === undefined && redis !== undefined) throw new UsageError('--redis needs --engine bullmq')
  if (engineName !== undefined && jobs !== undefined) throw new UsageError('--jobs and --engine exclude each other')
  checkFormat(op, options)
  const inputs = await findShards(shards)
  const whole = wholePaths(op, options)
  const place = await realpath(folder).catch(() => resolve(folder))
  await checkShards(inputs, place, whole, force === true)
  const used = new Set([...inputs.map(formatOfName), options.format as Format | undefined])
  if (options.column !== undefined && !used.has('parquet') && !used.has('arrow')) {
    throw new UsageError('--column needs shards or results in .parquet or .arrow')
  }
  // Workers have packages of their own.
  if (!engineName) await checkPackages(used)
  const corpus: Corpus = { op, given: whole, inputs, folder: place, verify: verify === true }
  const reporter = new Reporter(json === true)
  const engine: Engine = engineName
    ? await (await import('../corpus/bullmq.js')).bullmqEngine(readRedis(given))
    : localEngine(Math.min(inputs.length, readJobs(given, availableParallelism())))
  return interruptible(async (signal, by) => {
    try {
      const complete = await runCorpus(corpus, engine, reporter, signal)
      reporter.end(complete)
      return complete ? 0 : 1
    } catch (error) {
      const name = by()
      if (!(error instanceof Stopped) || !name) throw error
      console.error('evenkeel: interrupted; what is done stays, the same command goes on')
      process.kill(process.pid, name)
      return 1
    } finally {
      await engine.close()
    }
  })
}

async function workOrStatus(name: 'work' | 'status', given: Given, positionals: readonly string[]): Promise<number> {
  if (positionals.length > 0) throw new UsageError(`corpus ${name} expected options only, got ${positionals[0]}`)
  const url = readRedis(given)
  const json = given.json === true
  if (name === 'status') return (await import('../corpus/bullmq_status.js')).status(url, json)
  const { workOnQueue } = await import('../corpus/bullmq_worker.js')
  const options = { jobs: readJobs(given, 1), drain: given.drain === true, json }
  return interruptible(signal => workOnQueue(url, options, signal))
}

export const corpus: Command = {
  help,
  async run(args) {
    const known = { ...allOptions, ...embedOptions, ...corpusOptions }
    const { given, positionals } = parseOptions(args, known)
    const [name, ...rest] = positionals
    if (name !== 'run' && name !== 'work' && name !== 'status') {
      throw wrongWord('corpus', Object.keys(own), name)
    }
    for (const option of Object.keys(given)) {
      const ofAny = Object.values(own).some(options => options.includes(option))
      if (!own[name].includes(option) && (name !== 'run' || ofAny || option === 'output')) {
        throw new UsageError(`corpus ${name} has no --${option}${optionHint(option, own[name])}`)
      }
    }
    return name === 'run' ? run(given, rest) : workOrStatus(name, given, rest)
  }
}
