// How a shard is opened and its result made: .npy goes through as a stream, a table as a whole.
import { readDtype } from '../cli/elements.js'
import { writeFully } from '../cli/npy.js'
import type { Sink } from '../cli/sink.js'
import { readFully, type Source } from '../cli/source.js'
import { type Format, formatOfName } from './formats.js'
import type { ShardJob } from './job.js'
import { type Embeddings, readEmbeddings, writeEmbeddings } from './tables.js'

/** An open shard. */
export interface Shard {
  /** The bytes of a .npy file: the shard itself, or a table's column. */
  readonly source: Source
  /** How messages name them. */
  readonly name: string
  /** From the bytes of a result in .npy to those of the format that is wanted, where that is another. */
  readonly convert?: (npy: Uint8Array) => Promise<Uint8Array>
}

/** The column of a table that is made of a .npy file. */
const newColumn = 'embedding'

/** Opens the shard of a job: a file of so many bytes. */
export async function openShard(file: Source, size: number, { input, given }: ShardJob): Promise<Shard> {
  const format = formatOfName(input) as Format
  const wanted = (given.format as Format | undefined) ?? format
  const column = given.column as string | undefined
  const converting = (before: Embeddings | string): Pick<Shard, 'convert'> =>
    wanted === 'npy' ? {} : { convert: npy => writeEmbeddings(npy, wanted, input, before) }
  if (format === 'npy') return { source: file, name: input, ...converting(column ?? newColumn) }
  const bytes = new Uint8Array(size)
  const got = await readFully(file, bytes)
  const embeddings = await readEmbeddings(bytes.subarray(0, got), format, input, column, readDtype(given))
  return { source: embeddings.npy, name: embeddings.name, ...converting(embeddings) }
}

type Write = (files: readonly Sink[], update: (done: number) => void) => Promise<void>

/** Makes results, the one to be converted first, and returns what writes them: files that are not whole are open for a moment. */
export async function makeInMemory(
  write: Write,
  count: number,
  update: (done: number) => void,
  convert: NonNullable<Shard['convert']>
): Promise<Write> {
  const results = Array.from({ length: count }, memorySink)
  await write(results, update)
  const [main, ...beside] = results.map(({ take }) => take())
  const whole = [await convert(main), ...beside]
  return async files => {
    for (const [i, bytes] of whole.entries()) await writeFully(files[i], bytes)
  }
}

/** Keeps what is written to it, until it is taken. */
function memorySink(): Sink & { take(): Uint8Array } {
  let chunks: Uint8Array[] = []
  return {
    async write(from, offset, length) {
      chunks.push(from.slice(offset, offset + length))
      return { bytesWritten: length }
    },
    take() {
      // Not a part of a pool: elements need a place of their own alignment.
      const all = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0))
      let at = 0
      for (const chunk of chunks) {
        all.set(chunk, at)
        at += chunk.length
      }
      chunks = []
      return all
    }
  }
}
