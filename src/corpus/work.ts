// Does a job: the one function that every thread, process and host runs.
import { type FileHandle, mkdir, readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { applyFile } from '../cli/apply.js'
import { embedFile, readEmbedding } from '../cli/embed.js'
import { type Results, withFile, writeWhole } from '../cli/files.js'
import { writeFully } from '../cli/npy.js'
import { readOptions } from '../cli/operations.js'
import { readFiles } from '../cli/parameters.js'
import type { Work } from '../cli/report.js'
import type { BatchStatistics, EmbeddingStatistics } from '../index.js'
import { VERSION } from '../version.js'
import { DigestedFile, digestShared, type Facts } from './digest.js'
import { withoutFormats } from './formats.js'
import { type Done, type Job, type LastJob, mergedPath, type ShardJob, Stopped, sha256, type Watch } from './job.js'
import { describeWork, findDone, inputsOf, type Manifest, manifestPath, outputsOf } from './manifest.js'
import { makeInMemory, openShard, type Shard } from './shard.js'
import { mergeStatistics, parseStatistics, statisticsOf, toText } from './statistics.js'
import { sweep } from './sweep.js'

/** This host and process, as manifests name them. */
export const workerName = () => `${hostname()}:${process.pid}`

const overwriting = (path: string) => ({ path, mode: undefined, force: true })

/** Does a job, or finds that it is done; `watch` is told of rows and bytes. */
export async function work(job: Job, watch: Watch): Promise<Done> {
  if (job.version !== VERSION) throw new Error(`evenkeel ${job.version} expected (that of the run), got ${VERSION}`)
  const start = performance.now()
  if (!('input' in job)) {
    const statistics = await finish(job)
    return { rows: 0, bytes: 0, seconds: secondsSince(start), worker: workerName(), kept: false, statistics }
  }
  const before = await findDone(job, job.verify ? 'verify' : 'digest')
  const manifest = before ?? (await makeShard(job, start, watch).catch(error => findOthers(job, error)))
  if (before) await writeWhole([overwriting(manifestPath(job))], async ([file]) => writeFully(file, bytesOf(before)))
  const { rows, worker, inputs } = manifest
  const kept = before !== undefined
  return { rows, bytes: inputs.input.bytes, seconds: kept ? 0 : secondsSince(start), worker, kept }
}

const secondsSince = (start: number) => (performance.now() - start) / 1000
const bytesOf = (value: unknown) => Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`)

/** What another run made of the shard meanwhile: then it does not matter what went wrong here. */
async function findOthers(job: ShardJob, error: unknown): Promise<Manifest> {
  const others = error instanceof Stopped ? undefined : await findDone(job, 'quick')
  if (!others) throw error
  return others
}

/** After the shards; returns the digest of merged statistics. */
async function finish(job: LastJob): Promise<string | undefined> {
  await sweep(job.folder)
  if (job.phase === 'sweep') return undefined
  const text = `${JSON.stringify(await mergeStatistics(job))}\n`
  await writeWhole([overwriting(mergedPath(job.folder))], async ([file]) => writeFully(file, Buffer.from(text)))
  return sha256(text)
}

/** Facts of the files beside the shard. */
async function digestBeside(job: ShardJob): Promise<{ [name: string]: Facts }> {
  const facts: { [name: string]: Facts } = {}
  for (const [name, path] of Object.entries(inputsOf(job))) if (name !== 'input') facts[name] = await digestShared(path)
  return facts
}

/**
 * Makes a shard's result or statistics. The manifest is put in its place before the outputs: whatever happens between the
 * two, the manifest tells that they are not what it names.
 */
async function makeShard(job: ShardJob, start: number, watch: Watch): Promise<Manifest> {
  const beside = await digestBeside(job)
  const outputs = outputsOf(job)
  for (const path of Object.values(outputs)) await mkdir(dirname(path), { recursive: true })
  let made: Manifest | undefined
  await withFile(job.input, 'r', async file => {
    const source = new DigestedFile(file)
    const first = await source.look(job.input)
    let rows = 0
    const update = (done: number) => {
      rows = done
      watch(rows, source.bytes)
    }
    const places = [manifestPath(job), ...Object.values(outputs)].map(overwriting)
    const complete = async (facts: Manifest['outputs'], result?: string) => {
      const input = await source.readRest(first)
      const seconds = Math.round(secondsSince(start) * 1000) / 1000
      const about = { inputs: { input, ...beside }, outputs: facts, rows, seconds, worker: workerName() }
      made = { ...describeWork(job), ...about, ...(result === undefined ? {} : { result }) }
      return bytesOf(made)
    }
    const shard = await openShard(source.handle, first.bytes, job)
    if (job.phase === 'statistics') {
      const result = toText(await statisticsOf(shard, job, update))
      const bytes = await complete({}, result)
      return writeWhole(places, async ([manifest]) => writeFully(manifest, bytes))
    }
    await writeOutput(shard, job, async (_units, make) => {
      const { convert } = shard
      const write = convert ? await makeInMemory(make, places.length - 1, update, convert) : make
      await writeWhole(places, async ([manifest, ...files]) => {
        const sinks = files.map(to => new DigestedFile(to as FileHandle)) // never standard output
        await write(
          sinks.map(({ handle }) => handle),
          update
        )
        const facts: { [name: string]: Facts } = {}
        for (const [i, [name, path]] of Object.entries(outputs).entries()) facts[name] = await sinks[i].facts(path)
        await writeFully(manifest, await complete(facts))
      })
    })
  })
  return made as Manifest
}

/** What apply and embed do with a file, with the statistics of all shards where there are such. */
async function writeOutput({ source, name }: Shard, job: ShardJob, results: Results): Promise<Work> {
  const { op } = job
  const given = withoutFormats(job.given)
  const files = await readFiles(given)
  const statistics = await readMerged(job)
  if (op === 'embed') {
    const scale = statistics && { ranges: (statistics as EmbeddingStatistics).ranges }
    return embedFile(source, name, files, { ...readEmbedding(given), scale }, results)
  }
  const read = { ...readOptions(op, given), statistics: statistics as BatchStatistics | undefined }
  return applyFile(source, name, { op, given, read, files }, results)
}

async function readMerged({ op, folder, statistics }: ShardJob) {
  if (statistics === undefined) return undefined
  const path = mergedPath(folder)
  const text = await readFile(path, 'utf8')
  if (sha256(text) !== statistics) throw new Error(`${path}: expected this run's statistics, got those of another run`)
  return parseStatistics(op, text)
}
