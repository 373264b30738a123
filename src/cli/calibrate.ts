// evenkeel calibrate: statistics of each dimension over the embeddings of .npy files, block by block.
import type { Dtype } from '../call/elements.js'
import { calibrateEmbeddings, EmbeddingStatistics } from '../index.js'
import type { ElementType } from '../kernels/elements.js'
import { checkDtype, checkElements, type FileArray, readBlocks, readDtype, readElementsHeader } from './elements.js'
import { isRegular, withInput, writeWhole } from './files.js'
import { shapeText, writeFully } from './npy.js'
import { type Known, parseOptions, readInputs, readPath } from './options.js'
import { checkFormat, resolveOutput } from './outputs.js'
import { progressBar } from './progress.js'
import { isStandardOutput } from './sink.js'
import type { Elements, Source } from './source.js'
import type { Command } from './usage.js'

const help = `Usage: evenkeel calibrate <in.npy>... -o <statistics.json> [options]

Reads embeddings, the rows along the last dimension of .npy files of float32 ('<f4'), float16 ('<f2') or bfloat16 ('<V2', as
numpy holds it), little-endian, in blocks; - is standard input. Writes for each dimension how many numbers there are (NaN is left
out and counted), the smallest and the largest, mean and sum of squared deviations, as
EmbeddingStatistics.fromJSON(JSON.parse(text)) and evenkeel embed --scale <file> read them.

Count, smallest and largest number are exact and the same in whatever order files are given, and so are the codes that they
give. Mean and squared deviations depend in their last bits on the order: that of the files and, where a file takes several,
of its blocks of 2^20 numbers. Each file is merged by itself first: several files give the bits of their own statistics,
merged in the order given.

Give it embeddings as they are to be coded, no codes: after LayerNorm, cut and division by the norm.

Options:
  -o, --output <file>  where the statistics go; - is standard output
      --dtype <name>   float16 or bfloat16: what the bits in files of '<u2' are; default: such files are refused
      --force          overwrite the output file; default: that is an error
      --quiet          no progress and no line about the work
      --json           that line as JSON: count, dimensions, nan, withoutNumbers (dimensions without any number)
  -h, --help           this text
`

export const calibrateOptions: Known = { dtype: { type: 'string' } }

/** So many rows of so many numbers. */
interface Rows {
  readonly rows: number
  readonly dimensions: number
  readonly type: ElementType
  readonly data: Elements
}

/** Reads the header of an open file of embeddings: how many rows it has, and of how many numbers. */
export async function readRows(file: Source, path: string, dtype: Dtype | undefined): Promise<Rows> {
  const header = await readElementsHeader(file, path, dtype)
  const { dims, size, type, data } = header
  const dimensions = dims.at(-1)
  if (!dimensions) throw new Error(`${path}: shape expected a last dimension >= 1, got ${shapeText(dims)}`)
  await checkElements(path, header)
  checkDtype(path, header, dtype)
  return { rows: size / dimensions, dimensions, type, data }
}

/** Reads the header of a file of embeddings; `use` gets the file at its data. */
async function withEmbeddings<Result>(
  path: string,
  dtype: Dtype | undefined,
  use: (rows: Rows, name: string) => Promise<Result>
): Promise<Result> {
  return withInput(path, async (file, name) => use(await readRows(file, name, dtype), name))
}

/** Of blocks of rows of one file, at least one: merged from the first to the last. */
export async function calibrateBlocks(
  path: string,
  { dimensions, type }: Pick<Rows, 'dimensions' | 'type'>,
  blocks: AsyncIterable<{ readonly done: number; readonly data: FileArray }>,
  update: (done: number) => void
): Promise<EmbeddingStatistics> {
  let all: EmbeddingStatistics | undefined
  try {
    for await (const { done, data } of blocks) {
      const part = calibrateEmbeddings({ data, dims: [data.length / dimensions, dimensions], type }, dimensions)
      all = all ? EmbeddingStatistics.merge(all, part) : part
      update(done)
    }
  } catch (error) {
    // An infinite number.
    throw error instanceof RangeError ? new Error(`${path}: ${error.message}`) : error
  }
  return all as EmbeddingStatistics
}

/** Blocks of the rows of a file of this name. */
export async function* rowBlocks(name: string, { rows, dimensions, type, data: source }: Rows) {
  for await (const { first, count, data } of readBlocks(source, name, type, rows, dimensions)) {
    yield { done: first + count, data }
  }
}

/** Of one file. */
async function calibrateFile(path: string, dtype: Dtype | undefined, quiet: boolean): Promise<EmbeddingStatistics> {
  return withEmbeddings(path, dtype, async (rows, name) => {
    const bar = await progressBar(rows.rows, { quiet, name })
    const blocks = rowBlocks(name, rows)
    return calibrateBlocks(name, rows, blocks, done => bar.update(done)).finally(() => bar.stop())
  })
}

/** Rows of all files are of the same length: that of the first one that was read. */
function dimensionsCheck(): (path: string, dimensions: number) => void {
  let first: { path: string; dimensions: number } | undefined
  return (path, dimensions) => {
    first ??= { path, dimensions }
    if (dimensions !== first.dimensions) {
      throw new Error(`${path}: last dimension expected ${first.dimensions} (that of ${first.path}), got ${dimensions}`)
    }
  }
}

/** What was found, in a line or two. */
function summary({ count, nan, dimensions }: EmbeddingStatistics): string {
  const total = nan.reduce((sum, n) => sum + n, 0)
  const left = total > 0 ? `, NaN ${total} in ${nan.filter(n => n > 0).length} dimensions, left out` : ''
  const line = `count ${count[0] + nan[0]}, dimensions ${dimensions}${left}`
  const without = count.indexOf(0)
  return without < 0 ? line : `${line}\ndimension ${without} has no numbers: these are no statistics for --scale`
}

function summaryJson({ count, nan, dimensions }: EmbeddingStatistics): string {
  const total = nan.reduce((sum, n) => sum + n, 0)
  const empty = Array.from(count.keys()).filter(i => count[i] === 0)
  return JSON.stringify({
    command: 'calibrate',
    count: count[0] + nan[0],
    dimensions,
    nan: total,
    withoutNumbers: empty
  })
}

export const calibrate: Command = {
  help,
  async run(args) {
    const { given, positionals } = parseOptions(args, calibrateOptions)
    const paths = readInputs(positionals)
    const output = readPath('-o statistics.json, or -o - for standard output', 'output', given.output)
    if (!isStandardOutput(output)) checkFormat('output', output, '.json')
    const quiet = given.quiet === true
    const dtype = readDtype(given)
    const check = dimensionsCheck()
    // Before the work begins, all that can be read twice.
    for (const path of paths) {
      if (path === '-' || !(await isRegular(path))) continue
      await withEmbeddings(path, dtype, async ({ dimensions }) => check(path, dimensions))
    }
    const place = await resolveOutput(output, given.force === true)
    const parts: EmbeddingStatistics[] = []
    for (const path of paths) {
      const part = await calibrateFile(path, dtype, quiet)
      check(path, part.dimensions)
      parts.push(part)
    }
    const statistics = EmbeddingStatistics.merge(...parts)
    await writeWhole([place], async ([to]) => writeFully(to, Buffer.from(`${JSON.stringify(statistics)}\n`)))
    const print = isStandardOutput(output) ? console.error : console.log
    if (!quiet) print(given.json === true ? summaryJson(statistics) : summary(statistics))
    return 0
  }
}
