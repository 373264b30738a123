// The packages that read and write Parquet and Arrow IPC: loaded here alone, and only where there is a table.
import { createRequire } from 'node:module'
import type { TableFormat } from './formats.js'
import { orAdvice } from './packages.js'

// Of the packages' types what is used here: they are not installed where this is built.

export interface ArrowType {
  readonly children: readonly ArrowField[]
  /** Of a list of a fixed size. */
  readonly listSize: number | undefined
  /** Of floats: 0, 1 and 2 for 16, 32 and 64 bits. */
  readonly precision: number
  /** Of integers. */
  readonly bitWidth: number
  readonly isSigned: boolean
}

export interface ArrowField {
  readonly name: string
  readonly type: ArrowType
  readonly nullable: boolean
  readonly metadata: Map<string, string>
}

export interface ArrowData {
  readonly type: ArrowType
  readonly length: number
  readonly nullCount: number
  readonly children: readonly ArrowData[]
  readonly values: ArrayBufferView & { subarray(begin: number, end: number): ArrayBufferView }
  /** Of lists, but not of those of a fixed size. */
  readonly valueOffsets: ArrayLike<number | bigint> | undefined
  getValid(row: number): boolean
}

export interface ArrowSchema {
  readonly fields: readonly ArrowField[]
  readonly metadata: Map<string, string>
}

export interface ArrowTable {
  readonly schema: ArrowSchema
  readonly numRows: number
  readonly batches: readonly { readonly numRows: number; readonly data: ArrowData }[]
}

type Made<Result> = new (...args: never[]) => Result
type Chunks = AsyncIterable<Uint8Array>

interface Arrow {
  readonly tableFromIPC: (bytes: Uint8Array) => ArrowTable
  readonly RecordBatchStreamWriter: { writeAll(table: ArrowTable): Chunks }
  readonly RecordBatchFileWriter: { writeAll(table: ArrowTable): Chunks }
  readonly makeData: (about: object) => ArrowData
  readonly DataType: {
    readonly [is in 'isList' | 'isLargeList' | 'isFixedSizeList' | 'isFloat' | 'isInt']: (t: ArrowType) => boolean
  }
  readonly Schema: new (fields: readonly ArrowField[], metadata?: Map<string, string>) => ArrowSchema
  readonly Field: new (name: string, type: ArrowType, nullable?: boolean, metadata?: Map<string, string>) => ArrowField
  readonly Table: new (schema: ArrowSchema, batches: readonly unknown[]) => ArrowTable
  readonly RecordBatch: new (schema: ArrowSchema, data: ArrowData) => ArrowTable['batches'][0]
  readonly Struct: new (fields: readonly ArrowField[]) => ArrowType
  readonly List: new (field: ArrowField) => ArrowType
  readonly LargeList: new (field: ArrowField) => ArrowType
  readonly FixedSizeList: new (size: number, field: ArrowField) => ArrowType
  readonly Float32: Made<ArrowType>
  readonly Float16: Made<ArrowType>
  readonly Uint16: Made<ArrowType>
  readonly Uint8: Made<ArrowType>
  readonly Int8: Made<ArrowType>
}

interface Parquet {
  readonly readParquet: (bytes: Uint8Array, options: { batchSize: number }) => { intoIPCStream(): Uint8Array }
  readonly writeParquet: (table: unknown, properties: unknown) => Uint8Array
  readonly Table: { fromIPCStream(bytes: Uint8Array): unknown }
  readonly Compression: { readonly SNAPPY: number }
  readonly WriterPropertiesBuilder: new () => PropertiesBuilder
}

interface PropertiesBuilder {
  setCompression(codec: number): PropertiesBuilder
  setMaxRowGroupSize(rows: number): PropertiesBuilder
  build(): unknown
}

const load = (name: string, ending = ''): Promise<unknown> =>
  orAdvice(
    async () => import(ending === '' ? name : import.meta.resolve(name) + ending),
    'tables need two packages beside evenkeel: npm install parquet-wasm apache-arrow'
  )

export const loadArrow = () => load('apache-arrow') as Promise<Arrow>

/** Memory that WebAssembly ran out of stays so: the tables that come after get another instance. */
let instances = 0

/** Calls what may end in a trap. */
async function withParquet<Result>(use: (parquet: Parquet) => Result): Promise<Result> {
  const parquet = (await load('parquet-wasm', instances === 0 ? '' : `?${instances}`)) as Parquet
  try {
    return use(parquet)
  } catch (error) {
    const { name, message } = error as Error
    if (name !== 'RuntimeError') throw error
    instances++
    const require = createRequire(import.meta.url)
    delete require.cache[require.resolve('parquet-wasm')]
    throw new Error(`WebAssembly stopped (${message}): the table is damaged, or too large for its 4 GB`)
  }
}

/** Throws where a package is missing that these formats need. */
export async function checkPackages(formats: ReadonlySet<string | undefined>): Promise<void> {
  if (formats.has('parquet') || formats.has('arrow')) await loadArrow()
  if (formats.has('parquet')) await withParquet(() => {})
}

const starts = { parquet: ['PAR1'], arrow: ['ARROW1', '\xff\xff\xff\xff'] }
const names = { parquet: 'Parquet', arrow: 'Arrow IPC' }

/** The table of a file's bytes; `path` is for messages. */
export async function tableOf(bytes: Uint8Array, format: TableFormat, path: string): Promise<ArrowTable> {
  const start = Buffer.from(bytes.subarray(0, 6)).toString('latin1')
  if (!starts[format].some(magic => start.startsWith(magic))) {
    throw new Error(
      `${path}: format expected ${names[format]}, got ${bytes.length === 0 ? 'an empty file' : 'another'}`
    )
  }
  const { tableFromIPC } = await loadArrow()
  const ipc = async () => {
    if (format === 'arrow') return bytes
    // In one batch: a dictionary of strings then is one for all row groups, as a file of Arrow IPC wants it.
    return withParquet(({ readParquet }) => readParquet(bytes, { batchSize: 2 ** 31 - 1 }).intoIPCStream())
  }
  try {
    return tableFromIPC(await ipc())
  } catch (error) {
    throw new Error(`${path}: format expected ${names[format]}, got what cannot be read: ${(error as Error).message}`)
  }
}

/** Rows of a group in Parquet: 100 MB of 384 float32. */
const ROWS_OF_GROUP = 2 ** 16

/** The bytes of a file of this format: the same of the same table, whoever writes it. */
export async function bytesOfTable(table: ArrowTable, format: TableFormat): Promise<Uint8Array> {
  const { RecordBatchFileWriter, RecordBatchStreamWriter } = await loadArrow()
  // Chunk by chunk: the writers' own toUint8Array takes two columns in the same memory for one.
  const chunks: Uint8Array[] = []
  const writer = format === 'arrow' ? RecordBatchFileWriter : RecordBatchStreamWriter
  for await (const chunk of writer.writeAll(table)) chunks.push(chunk)
  const ipc = Buffer.concat(chunks)
  if (format === 'arrow') return ipc
  return withParquet(({ Table, writeParquet, WriterPropertiesBuilder, Compression }) => {
    const builder = new WriterPropertiesBuilder().setCompression(Compression.SNAPPY)
    return writeParquet(Table.fromIPCStream(ipc), builder.setMaxRowGroupSize(ROWS_OF_GROUP).build())
  })
}
