// Phase one: the statistics of a shard, and those of all shards merged in the order of their whole paths.
import { calibrateBlocks, readRows, rowBlocks } from '../cli/calibrate.js'
import { checkDtype, checkElements, readBlocks, readDtype, readElementsHeader } from '../cli/elements.js'
import { embedBlocks, readEmbedding } from '../cli/embed.js'
import { planChannels, readOptions, unitsOf } from '../cli/operations.js'
import type { Given } from '../cli/options.js'
import { paddingOf, readFiles } from '../cli/parameters.js'
import type { Source } from '../cli/source.js'
import { BatchStatistics, batchStatistics, EmbeddingStatistics } from '../index.js'
import { withoutFormats } from './formats.js'
import { optionsOf } from './inputs.js'
import type { LastJob, ShardJob } from './job.js'
import { readManifest } from './manifest.js'
import type { Shard } from './shard.js'

/** Options that change the statistics; undefined where the operation needs none. */
export function statisticsOptions(op: string, given: Given): Given | undefined {
  const pick = (wanted: (option: string) => boolean) =>
    Object.fromEntries(Object.entries(given).filter(([option]) => wanted(option)))
  if (op === 'calibrate') return pick(option => ['dtype', 'column'].includes(option))
  if (op === 'batch-norm' && given.training) {
    return pick(option => ['training', 'layout', 'lengths', 'mask', 'dtype', 'column'].includes(option))
  }
  // Of the numbers before they become codes.
  if (op === 'embed' && given.scale === 'ranges')
    return pick(option => !['precision', 'scale', 'norm', 'format'].includes(option))
  return undefined
}

type Statistics = BatchStatistics | EmbeddingStatistics

/** Of an open shard, block by block; `update` gets the rows that are done. */
export async function statisticsOf(
  { source: file, name: input }: Shard,
  { op, given: all }: ShardJob,
  update: (done: number) => void
): Promise<Statistics> {
  const given = withoutFormats(all)
  if (op === 'batch-norm') return batchStatisticsOf(file, input, given, update)
  if (op === 'calibrate') {
    const rows = await readRows(file, input, readDtype(given))
    return calibrateBlocks(input, rows, rowBlocks(input, rows), update)
  }
  const files = await readFiles(given)
  let statistics: EmbeddingStatistics | undefined
  await embedBlocks(file, input, files, readEmbedding(given), async ({ dimensions }, blocks) => {
    const rows = { dimensions, type: 'float32' } as const
    statistics = await calibrateBlocks(input, rows, blocks as AsyncIterable<FloatBlock>, update)
  })
  return statistics as EmbeddingStatistics
}

/** Without --precision embeddings are float32. */
interface FloatBlock {
  readonly done: number
  readonly data: Float32Array
}

async function batchStatisticsOf(
  file: Source,
  input: string,
  given: Given,
  update: (done: number) => void
): Promise<BatchStatistics> {
  const files = await readFiles(given)
  const dtype = readDtype(given)
  const header = await readElementsHeader(file, input, dtype)
  const { dims, type, data: source } = header
  const layout = planChannels(input, dims, readOptions('batch-norm', given), files)
  await checkElements(input, header)
  checkDtype(input, header, dtype)
  const { units, elements } = unitsOf(dims, 1)
  let all: BatchStatistics | undefined
  for await (const { first, count, data } of readBlocks(source, input, type, units, elements)) {
    const part = batchStatistics(
      { data, dims: [count, ...dims.slice(1)], type },
      { layout, ...paddingOf(files, first, count) }
    )
    all = all ? BatchStatistics.merge(all, part) : part
    update(first + count)
  }
  return all as BatchStatistics
}

/** For a manifest: no bit is lost on the way. */
export const toText = (statistics: Statistics) => Buffer.from(statistics.toBytes()).toString('base64')

function fromText(op: string, text: string): Statistics {
  const bytes = Uint8Array.from(Buffer.from(text, 'base64'))
  return op === 'batch-norm' ? BatchStatistics.fromBytes(bytes) : EmbeddingStatistics.fromBytes(bytes)
}

const widthOf = (statistics: Statistics) =>
  statistics instanceof BatchStatistics ? statistics.channels : statistics.dimensions

/** Statistics of two parts of a corpus, in this order. */
function mergeTwo(a: Statistics, b: Statistics): Statistics {
  return a instanceof BatchStatistics
    ? BatchStatistics.merge(a, b as BatchStatistics)
    : EmbeddingStatistics.merge(a, b as EmbeddingStatistics)
}

/** Merges the statistics that lie beside the outputs: from the first shard to the last, whoever finished when. */
export async function mergeStatistics({ op, given, folder, version, inputs }: LastJob): Promise<Statistics> {
  let merged: Statistics | undefined
  for (const input of inputs) {
    const options = optionsOf(given, input)
    const job = { id: '', phase: 'statistics', op, given: options, folder, version, input, verify: false } as const
    const manifest = await readManifest(job)
    if (manifest?.result === undefined) throw new Error(`${input}: its statistics are not in ${folder}`)
    const part = fromText(op, manifest.result)
    const [width, expected] = [widthOf(part), widthOf(merged ?? part)]
    if (width !== expected) throw new Error(`${input}: expected ${expected} channels (${inputs[0]}), got ${width}`)
    merged = merged ? mergeTwo(merged, part) : part
  }
  checkMerged(op, merged as Statistics)
  return merged as Statistics
}

/** What no shard could be written with. */
function checkMerged(op: string, merged: Statistics): void {
  if (merged instanceof BatchStatistics) {
    if (merged.count < 2) throw new Error(`--training expected more than one value per channel, got ${merged.count}`)
  } else if (op === 'embed') {
    const without = merged.count.indexOf(0)
    if (without >= 0) throw new Error(`--scale ranges: dimension ${without} has no numbers in any shard`)
  }
}

/** What the file of the merged statistics says. */
export function parseStatistics(op: string, text: string): Statistics {
  return op === 'batch-norm'
    ? BatchStatistics.fromJSON(JSON.parse(text))
    : EmbeddingStatistics.fromJSON(JSON.parse(text))
}
