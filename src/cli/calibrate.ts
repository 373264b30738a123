// evenkeel calibrate: statistics of each dimension over the embeddings of .npy files, block by block.
import { type FileHandle, stat } from 'node:fs/promises'
import { calibrateEmbeddings, EmbeddingStatistics } from '../index.js'
import { checkSize, progressBar, readBlocks, resolveOutput, withFile, writeWhole } from './files.js'
import { type NpyHeader, readNpyHeader, shapeText, writeFully } from './npy.js'
import { parseOptions, readPath } from './options.js'
import { type Command, UsageError } from './usage.js'

const help = `Usage: evenkeel calibrate <in.npy>... -o <statistics.json> [options]

Reads embeddings, the rows along the last dimension of .npy files of float32 (C order, little-endian), in blocks. Writes for
each dimension how many numbers there are (NaN is left out and counted), the smallest and the largest, mean and sum of squared
deviations, as EmbeddingStatistics.fromJSON(JSON.parse(text)) and evenkeel embed --scale <file> read them.

Count, smallest and largest number are exact and the same in whatever order files are given, and so are the codes that they
give. Mean and squared deviations depend in their last bits on the order: that of the files and, where a file takes several,
of its blocks of 2^20 numbers. Each file is merged by itself first: several files give the bits of their own statistics,
merged in the order given.

Give it float32 embeddings as they are to be coded: after LayerNorm, cut and division by the norm.

Options:
  -o, --output <file>  where the statistics go
      --force          overwrite the output file
  -h, --help           this text
`

/** Reads the header of an open file of embeddings: how many rows it has, and of how many numbers. */
export async function readRows(file: FileHandle, path: string): Promise<{ rows: number; dimensions: number }> {
  const { dims, size, start }: NpyHeader = await readNpyHeader(file, path)
  const dimensions = dims.at(-1)
  if (!dimensions) throw new Error(`${path}: shape expected a last dimension >= 1, got ${shapeText(dims)}`)
  await checkSize(path, size * 4, start)
  return { rows: size / dimensions, dimensions }
}

/** Reads the header of a file of embeddings; `use` gets the file at its data. */
async function withEmbeddings<Result>(
  path: string,
  use: (file: FileHandle, rows: number, dimensions: number) => Promise<Result>
): Promise<Result> {
  return withFile(path, 'r', async file => {
    const { rows, dimensions } = await readRows(file, path)
    return use(file, rows, dimensions)
  })
}

/** Of blocks of rows of one file, at least one: merged from the first to the last. */
export async function calibrateBlocks(
  path: string,
  dimensions: number,
  blocks: AsyncIterable<{ readonly done: number; readonly data: Float32Array }>,
  update: (done: number) => void
): Promise<EmbeddingStatistics> {
  let all: EmbeddingStatistics | undefined
  try {
    for await (const { done, data } of blocks) {
      const part = calibrateEmbeddings(data, dimensions)
      all = all ? EmbeddingStatistics.merge(all, part) : part
      update(done)
    }
  } catch (error) {
    // An infinite number.
    throw error instanceof RangeError ? new Error(`${path}: ${error.message}`) : error
  }
  return all as EmbeddingStatistics
}

/** Blocks of an open file of so many rows of so many numbers. */
export async function* rowBlocks(file: FileHandle, path: string, rows: number, dimensions: number) {
  for await (const { first, count, data } of readBlocks(file, path, rows, dimensions)) {
    yield { done: first + count, data }
  }
}

/** Of one file. */
async function calibrateFile(path: string): Promise<EmbeddingStatistics> {
  return withEmbeddings(path, async (file, rows, dimensions) => {
    const bar = await progressBar(rows)
    const blocks = rowBlocks(file, path, rows, dimensions)
    return calibrateBlocks(path, dimensions, blocks, done => bar.update(done)).finally(() => bar.stop())
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

export const calibrate: Command = {
  help,
  async run(args) {
    const { given, positionals: paths } = parseOptions(args, {})
    if (paths.length === 0) throw new UsageError('input expected at least one file, got 0')
    const output = readPath('-o statistics.json', 'output', given.output)
    const check = dimensionsCheck()
    // Before the work begins, all that can be read twice.
    for (const path of paths) {
      if (!(await stat(path)).isFile()) continue
      await withEmbeddings(path, async (_file, _rows, dimensions) => check(path, dimensions))
    }
    const place = await resolveOutput(output, given.force === true)
    const parts: EmbeddingStatistics[] = []
    for (const path of paths) {
      const part = await calibrateFile(path)
      check(path, part.dimensions)
      parts.push(part)
    }
    const statistics = EmbeddingStatistics.merge(...parts)
    await writeWhole([place], async ([to]) => writeFully(to, Buffer.from(`${JSON.stringify(statistics)}\n`)))
    console.log(summary(statistics))
    return 0
  }
}
