// A column of embeddings: as a .npy file in memory, and back.
import type { Dtype } from '../call/elements.js'
import { npyHeader, readOwnNpy, shapeText } from '../cli/npy.js'
import type { Source } from '../cli/source.js'
import {
  type ArrowData,
  type ArrowField,
  type ArrowTable,
  type ArrowType,
  bytesOfTable,
  loadArrow,
  tableOf
} from './arrow.js'
import type { TableFormat } from './formats.js'

/** A table, and which of its columns has the embeddings. */
export interface Embeddings {
  readonly table: ArrowTable
  readonly index: number
  /** How messages name them. */
  readonly name: string
  /** The bytes of a .npy file with the column's rows. */
  readonly npy: Source
}

/**
 * The column of a file's bytes that is named, or the only one of lists of float32 or float16; with `dtype` also of uint16, its
 * bits.
 */
export async function readEmbeddings(
  bytes: Uint8Array,
  format: TableFormat,
  path: string,
  column: string | undefined,
  dtype: Dtype | undefined
): Promise<Embeddings> {
  const table = await tableOf(bytes, format, path)
  const { index, descr } = await findColumn(table, path, column, dtype)
  const name = `${path} column ${table.schema.fields[index].name}`
  const parts: Uint8Array[] = []
  let [first, width]: [number, number | undefined] = [0, table.schema.fields[index].type.listSize]
  for (const { data } of filled(table)) {
    const rows = rowsOf(data.children[index], name, first, width)
    if (rows.bytes.length > 0) parts.push(rows.bytes)
    width = rows.width
    first += data.length
  }
  if (width === undefined) {
    const advice = 'leave it out, or make it a list of a fixed size'
    throw new Error(`${name}: expected rows, got none, and lists do not tell how long one would be; ${advice}`)
  }
  return { table, index, name, npy: inOrder([npyHeader([first, width], descr), ...parts]) }
}

/** Batches with rows: what stands for none lacks its columns. */
const filled = ({ batches }: ArrowTable) => batches.filter(({ numRows }) => numRows > 0)

/** Its place, and the type of its elements in .npy. */
async function findColumn(
  { schema }: ArrowTable,
  path: string,
  column: string | undefined,
  dtype: Dtype | undefined
): Promise<{ index: number; descr: string }> {
  const { DataType } = await loadArrow()
  const isList = (type: ArrowType) =>
    DataType.isList(type) || DataType.isLargeList(type) || DataType.isFixedSizeList(type)
  const descrOf = ({ type }: ArrowField) => {
    if (!isList(type)) return undefined
    const item = type.children[0].type
    if (DataType.isFloat(item)) return ['<f2', '<f4'][item.precision]
    return dtype && DataType.isInt(item) && item.bitWidth === 16 && !item.isSigned ? '<u2' : undefined
  }
  const { fields } = schema
  const found = fields.flatMap((field, index) => {
    const descr = descrOf(field)
    return descr ? [{ index, descr }] : []
  })
  const kinds = dtype ? 'float32, float16 or uint16' : 'float32 or float16'
  const all = () => fields.map(({ name, type }) => `${name}: ${type}`).join(', ') || 'none'
  if (column !== undefined) {
    const index = fields.findIndex(({ name }) => name === column)
    if (index < 0) throw new Error(`${path}: columns expected ${column} (--column), got ${all()}`)
    const named = found.find(one => one.index === index)
    if (named) return named
    throw new Error(`${path} column ${column}: type expected lists of ${kinds}, got ${fields[index].type}; cast it`)
  }
  if (found.length === 1) return found[0]
  const expected = `columns expected one of lists of ${kinds}`
  if (found.length === 0) throw new Error(`${path}: ${expected}, got ${all()}; cast one`)
  const names = found.map(({ index }) => fields[index].name).join(', ')
  throw new Error(`${path}: ${expected}, got ${names}; --column names it`)
}

/** The numbers of a batch's rows; `first` is the number of its first row, `width` the length of rows where it is known. */
function rowsOf(data: ArrowData, name: string, first: number, width: number | undefined) {
  const { length, nullCount, valueOffsets: offsets } = data
  const [values] = data.children
  if (nullCount > 0) {
    for (let row = 0; row < length; row++) {
      if (!data.getValid(row)) throw new Error(`${name}: row ${first + row} expected numbers, got null`)
    }
  }
  const at = offsets ? (row: number) => Number(offsets[row]) : (row: number) => row * (width as number)
  const [begin, end] = [at(0), at(length)]
  let known = width
  for (let row = 0; row < length; row++) {
    const got = at(row + 1) - at(row)
    known ??= got
    if (got !== known) throw new Error(`${name}: row ${first + row} expected ${known} numbers, got ${got}`)
  }
  if (values.nullCount > 0) {
    for (let i = begin; i < end; i++) {
      if (values.getValid(i)) continue
      const row = first + Math.floor((i - begin) / (known as number))
      throw new Error(`${name}: row ${row} expected numbers, got null at ${(i - begin) % (known as number)}`)
    }
  }
  if (begin === end) return { width: known, bytes: new Uint8Array(0) }
  const part = values.values.subarray(begin, end)
  return { width: known, bytes: new Uint8Array(part.buffer, part.byteOffset, part.byteLength) }
}

/** Bytes that stand in several places, one after the other. */
function inOrder(parts: readonly Uint8Array[]): Source {
  let [part, position] = [0, 0]
  return {
    async read(into, offset, length) {
      while (part < parts.length && position === parts[part].length) [part, position] = [part + 1, 0]
      if (part === parts.length) return { bytesRead: 0 }
      const bytes = parts[part].subarray(position, position + length)
      into.set(bytes, offset)
      position += bytes.length
      return { bytesRead: bytes.length }
    }
  }
}

/** What elements of results are in Arrow. */
const elements = {
  '<f4': ['Float32', Float32Array],
  '<f2': ['Float16', Uint16Array],
  '<u2': ['Uint16', Uint16Array],
  '<V2': ['Uint16', Uint16Array],
  '|i1': ['Int8', Int8Array],
  '|u1': ['Uint8', Uint8Array]
} as const

/**
 * The bytes of a table with these rows, those of a whole .npy file: in the place of the embeddings that they were made of, or
 * as the only column, of this name.
 */
export async function writeEmbeddings(
  npy: Uint8Array,
  format: TableFormat,
  path: string,
  before: Embeddings | string
): Promise<Uint8Array> {
  const { descr, dims, data } = readOwnNpy(npy)
  if (dims.length !== 2) {
    throw new Error(`${path}: a result for --format ${format} expected 2 dimensions, got ${shapeText(dims)}`)
  }
  const arrow = await loadArrow()
  const [type, Elements] = elements[descr as keyof typeof elements]
  const [rows, width] = dims
  const all = new Elements(data.buffer as ArrayBuffer, data.byteOffset, rows * width)
  const listOf = (old?: ArrowType) => {
    const item = old?.children[0]
    const field = new arrow.Field(item?.name ?? 'item', new arrow[type](), item?.nullable ?? false, item?.metadata)
    if (old && arrow.DataType.isList(old)) return new arrow.List(field)
    if (old && arrow.DataType.isLargeList(old)) return new arrow.LargeList(field)
    return new arrow.FixedSizeList(width, field)
  }
  const dataOf = (list: ArrowType, first: number, count: number) => {
    const values = all.subarray(first * width, (first + count) * width)
    const offsets = arrow.DataType.isLargeList(list)
      ? BigInt64Array.from({ length: count + 1 }, (_, i) => BigInt(i * width))
      : Int32Array.from({ length: count + 1 }, (_, i) => i * width)
    const child = arrow.makeData({ type: list.children[0].type, length: values.length, nullCount: 0, data: values })
    const places = arrow.DataType.isFixedSizeList(list) ? {} : { valueOffsets: offsets }
    return arrow.makeData({ type: list, length: count, nullCount: 0, child, ...places })
  }
  const batch = (schema: ArrowTable['schema'], count: number, children: readonly ArrowData[]) => {
    const type = new arrow.Struct(schema.fields)
    return new arrow.RecordBatch(schema, arrow.makeData({ type, length: count, nullCount: 0, children }))
  }
  if (typeof before === 'string') {
    const schema = new arrow.Schema([new arrow.Field(before, listOf(), false)])
    const children = [dataOf(schema.fields[0].type, 0, rows)]
    return bytesOfTable(new arrow.Table(schema, [batch(schema, rows, children)]), format)
  }
  const { table, index } = before
  const replaced = <One>(list: readonly One[], one: One) => list.map((old, i) => (i === index ? one : old))
  const { name, type: old, nullable, metadata } = table.schema.fields[index]
  const field = new arrow.Field(name, listOf(old), nullable, metadata)
  const schema = new arrow.Schema(replaced(table.schema.fields, field), table.schema.metadata)
  let first = 0
  const batches = filled(table).map(({ numRows, data }) => {
    const children = replaced(data.children, dataOf(field.type, first, numRows))
    first += numRows
    return batch(schema, numRows, children)
  })
  return bytesOfTable(new arrow.Table(schema, batches), format)
}
