// The .npy format, as numpy.lib.format defines it (versions 1 to 3): header in and out, data in blocks.
import { adviceOn, bytesOf, type Dtype, formatOf, getOf, type Wanted } from './dtypes.js'
import type { Sink } from './sink.js'
import { type Elements, inRows, readFully, type Source } from './source.js'

/** The header of a little-endian file. */
export interface NpyHeader {
  readonly dtype: Dtype
  readonly dims: readonly number[]
  /** Number of elements. */
  readonly size: number
  /** Where the data begins, in bytes. */
  readonly start: number
  /** The elements in C order, from the first. */
  readonly data: Elements
}

const magic = Buffer.from('\x93NUMPY', 'latin1')

async function readExactly(file: Source, name: string, what: string, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  const got = await readFully(file, buffer)
  if (got < length) throw new Error(`${name}: ${what} expected ${length} bytes, got ${got}`)
  return buffer
}

/** Reads the header of a file of one of these types; the handle then stands at the data. */
export async function readNpyHeader(file: Source, name: string, types: Wanted): Promise<NpyHeader> {
  const prefix = Buffer.alloc(8)
  const got = await readFully(file, prefix)
  if (got < 8 || !prefix.subarray(0, 6).equals(magic)) {
    throw new Error(`${name}: format expected .npy, got ${formatOf(prefix.subarray(0, got))}`)
  }
  const version = prefix[6]
  if (version < 1 || version > 3) throw new Error(`${name}: .npy version expected 1 to 3, got ${version}`)
  const lengthBytes = await readExactly(file, name, 'header length', version === 1 ? 2 : 4)
  const length = version === 1 ? lengthBytes.readUInt16LE() : lengthBytes.readUInt32LE()
  if (length > 2 ** 20) throw new Error(`${name}: header expected at most 1 MiB, got ${length} bytes`)
  const header = await readExactly(file, name, 'header', length)
  const start = 8 + lengthBytes.length + length
  const { isFortran, ...parsed } = parseHeader(header.toString(version === 3 ? 'utf8' : 'latin1'), name, types)
  const [rows, columns] = parsed.dims
  const data = isFortran ? inRows(file, name, rows, columns, bytesOf(parsed.dtype)) : (file as Elements)
  return { ...parsed, start, data }
}

/** Text of a header as messages show it: not all of what may be 1 MiB. */
const shown = (text: string) => (text.length > 80 ? `${text.slice(0, 80)}...` : text)

/** The values of the Python dictionary that a header is, as they stand there: nothing else may stand around it. */
function readDictionary(text: string, name: string): Map<string, string> {
  const values = new Map<string, string>()
  const entry = /\s*(?:'(\w+)'|"(\w+)")\s*:\s*('[^']*'|"[^"]*"|\w+|\([^()]*\)|\[.*\])\s*(?:,|(?=\}))/sy
  const opening = /^\s*\{/.exec(text)
  entry.lastIndex = opening ? opening[0].length : 0
  let end = entry.lastIndex
  for (let found = entry.exec(text); opening && found; found = entry.exec(text)) {
    values.set(found[1] ?? found[2], found[3])
    end = entry.lastIndex
  }
  if (!opening || !/^\s*\}\s*$/.test(text.slice(end))) {
    throw new Error(`${name}: header expected a dictionary, got ${JSON.stringify(text.trim().slice(0, 80))}`)
  }
  const expected = ['descr', 'fortran_order', 'shape']
  const keys = [...values.keys()].sort()
  if (keys.join() !== expected.join()) {
    throw new Error(`${name}: header expected the keys ${expected.join(', ')}, got ${shown(keys.join(', ')) || 'none'}`)
  }
  return values
}

/** Parses a header. `isFortran` where the order makes a difference. */
function parseHeader(text: string, name: string, types: Wanted) {
  const values = readDictionary(text, name)
  const value = (key: string) => values.get(key) as string
  const descr = value('descr')
  const dtype = types.dtypes.find(one => descr === `'${one}'` || descr === `"${one}"`)
  if (!dtype) {
    throw new Error(`${name}: dtype expected ${types.text}, got ${shown(descr)}${adviceOn(descr, types)}`)
  }
  const order = value('fortran_order')
  if (order !== 'True' && order !== 'False') {
    throw new Error(`${name}: fortran_order expected True or False, got ${shown(order)}`)
  }
  const shape = value('shape')
  if (!/^\(\s*\)$|^\(.*,.*\)$/s.test(shape)) throw new Error(`${name}: shape expected a tuple, got ${shown(shape)}`)
  const parts = shape.slice(1, -1).split(',')
  // The comma behind the last one; () has none.
  if (parts[parts.length - 1].trim() === '') parts.pop()
  const dims = parts.map(part => (/^\s*(?:0|[1-9]\d*)L?\s*$/.test(part) ? Number.parseInt(part, 10) : Number.NaN))
  const size = dims.includes(0) ? 0 : dims.reduce((product, dim) => product * dim, 1)
  if (dims.some(Number.isNaN) || !Number.isSafeInteger(size)) {
    throw new Error(`${name}: shape expected integers >= 0, got ${shown(shape)}`)
  }
  // Where at most one dimension has several elements the two orders are one.
  const isFortran = order === 'True' && size > 0 && dims.filter(dim => dim !== 1).length > 1
  if (isFortran && dims.length > 2) {
    const advice = 'save numpy.ascontiguousarray(a)'
    throw new Error(`${name}: order expected C, or two dimensions, got Fortran of shape ${shapeText(dims)}; ${advice}`)
  }
  return { dtype, dims, size, isFortran }
}

/** A shape as numpy writes it. */
export function shapeText(dims: readonly number[]): string {
  return dims.length === 1 ? `(${dims[0]},)` : `(${dims.join(', ')})`
}

/** The header that numpy writes for these dims and this type: the first version that fits, padded to 64 bytes. */
export function npyHeader(dims: readonly number[], descr = '<f4'): Buffer {
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shapeText(dims)}, }`
  const build = (version: number): Buffer => {
    const prefix = version === 1 ? 10 : 12
    const padded = text.padEnd(Math.ceil((prefix + text.length + 1) / 64) * 64 - prefix - 1) + '\n'
    const start = Buffer.alloc(prefix)
    magic.copy(start)
    start[6] = version
    if (version === 1) start.writeUInt16LE(padded.length, 8)
    else start.writeUInt32LE(padded.length, 8)
    return Buffer.concat([start, Buffer.from(padded, 'latin1')])
  }
  return text.length < 65000 ? build(1) : build(2)
}

/** What a whole file says that {@link npyHeader} began. */
export function readOwnNpy(file: Uint8Array): { descr: string; dims: number[]; data: Uint8Array } {
  const start = 10 + new DataView(file.buffer, file.byteOffset).getUint16(8, true)
  const text = Buffer.from(file.subarray(10, start)).toString('latin1')
  const [, descr, dims] = /'descr': '([^']+)'.*'shape': \(([\d, ]*)\)/.exec(text) as RegExpExecArray
  return { descr, dims: dims.split(',').filter(Boolean).map(Number), data: file.subarray(start) }
}

/** The next elements.length elements, read into `elements`. */
export async function readElements(file: Elements, name: string, elements: ArrayBufferView): Promise<void> {
  const bytes = new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength)
  const got = await readFully(file, bytes)
  if (got < bytes.length)
    throw new Error(`${name}: data expected ${bytes.length - got} bytes more, got the end of the file`)
}

/** Calls `take` with each element of a file of any type, as a number; reads them in blocks. */
export async function eachNumber(
  name: string,
  { dtype, size, data }: NpyHeader,
  take: (value: number, i: number) => void
): Promise<void> {
  const [bytes, get] = [bytesOf(dtype), getOf(dtype)]
  for (let first = 0; first < size; first += 2 ** 18) {
    const count = Math.min(2 ** 18, size - first)
    const block = await readExactly(data, name, 'data', count * bytes)
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength)
    for (let i = 0; i < count; i++) take(get(view, i * bytes), first + i)
  }
}

/** Writes all elements at the handle's position. */
export async function writeElements(file: Sink, elements: ArrayBufferView): Promise<void> {
  await writeFully(file, new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength))
}

/** Writes all bytes at the handle's position. */
export async function writeFully(file: Sink, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done)).bytesWritten
  }
}
