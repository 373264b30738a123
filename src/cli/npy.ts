// The .npy format, as numpy.lib.format defines it (versions 1 to 3): header in and out, data in blocks.
import type { FileHandle } from 'node:fs/promises'

/** Element types that are read, as numpy names them, and how. Data to normalise is '<f4'. */
const readers = {
  '<f4': { bytes: 4, get: (view: DataView, at: number) => view.getFloat32(at, true) },
  '<f8': { bytes: 8, get: (view: DataView, at: number) => view.getFloat64(at, true) },
  '<i4': { bytes: 4, get: (view: DataView, at: number) => view.getInt32(at, true) },
  '<i8': { bytes: 8, get: (view: DataView, at: number) => Number(view.getBigInt64(at, true)) },
  '|u1': { bytes: 1, get: (view: DataView, at: number) => view.getUint8(at) },
  '|b1': { bytes: 1, get: (view: DataView, at: number) => view.getUint8(at) }
}
export type Dtype = keyof typeof readers

/** The header of a little-endian file in C order. */
export interface NpyHeader {
  readonly dtype: Dtype
  readonly dims: readonly number[]
  /** Number of elements. */
  readonly size: number
  /** Where the data begins, in bytes. */
  readonly start: number
}

const magic = Buffer.from('\x93NUMPY', 'latin1')

/** Fills the buffer from the handle's position on; returns how many bytes there were. */
async function readFully(file: FileHandle, into: Uint8Array): Promise<number> {
  let done = 0
  while (done < into.length) {
    const { bytesRead } = await file.read(into, done, into.length - done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return done
}

async function readExactly(file: FileHandle, name: string, what: string, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  const got = await readFully(file, buffer)
  if (got < length) throw new Error(`${name}: ${what} expected ${length} bytes, got ${got}`)
  return buffer
}

/** Reads the header of a file of one of these types; the handle then stands at the data. */
export async function readNpyHeader(
  file: FileHandle,
  name: string,
  dtypes: readonly Dtype[] = ['<f4']
): Promise<NpyHeader> {
  const prefix = Buffer.alloc(8)
  const got = await readFully(file, prefix)
  if (got < 8 || !prefix.subarray(0, 6).equals(magic))
    throw new Error(`${name}: format expected .npy, got something else`)
  const version = prefix[6]
  if (version < 1 || version > 3) throw new Error(`${name}: .npy version expected 1 to 3, got ${version}`)
  const lengthBytes = await readExactly(file, name, 'header length', version === 1 ? 2 : 4)
  const length = version === 1 ? lengthBytes.readUInt16LE() : lengthBytes.readUInt32LE()
  if (length > 2 ** 20) throw new Error(`${name}: header expected at most 1 MiB, got ${length} bytes`)
  const header = await readExactly(file, name, 'header', length)
  const start = 8 + lengthBytes.length + length
  return { ...parseHeader(header.toString(version === 3 ? 'utf8' : 'latin1'), name, dtypes), start }
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

/** Parses a header. */
function parseHeader(text: string, name: string, dtypes: readonly Dtype[]): Omit<NpyHeader, 'start'> {
  const values = readDictionary(text, name)
  const value = (key: string) => values.get(key) as string
  const descr = value('descr')
  const dtype = dtypes.find(one => descr === `'${one}'` || descr === `"${one}"`)
  if (!dtype) {
    const expected =
      dtypes.length === 1 ? "little-endian float32 ('<f4')" : `one of ${dtypes.map(one => `'${one}'`).join(', ')}`
    throw new Error(`${name}: dtype expected ${expected}, got ${shown(descr)}${hint(descr.slice(1, -1), dtypes)}`)
  }
  const order = value('fortran_order')
  if (order !== 'True' && order !== 'False') {
    throw new Error(`${name}: fortran_order expected True or False, got ${shown(order)}`)
  }
  if (order === 'True') {
    throw new Error(`${name}: order expected C (row-major), got Fortran; save numpy.ascontiguousarray(a)`)
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
  return { dtype, dims, size }
}

function hint(dtype: string, dtypes: readonly Dtype[]): string {
  if (dtype.startsWith('>')) return ' (big-endian)'
  if (dtype === '<f8' && dtypes.includes('<f4')) return "; save a.astype('float32')"
  return ''
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

/** The next elements.length elements, read into `elements`. */
export async function readElements(file: FileHandle, name: string, elements: Float32Array): Promise<void> {
  const bytes = new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength)
  const got = await readFully(file, bytes)
  if (got < bytes.length)
    throw new Error(`${name}: data expected ${bytes.length - got} bytes more, got the end of the file`)
}

/** Calls `take` with each element of a file of any type, as a number; reads them in blocks. */
export async function eachNumber(
  file: FileHandle,
  name: string,
  { dtype, size }: NpyHeader,
  take: (value: number, i: number) => void
): Promise<void> {
  const { bytes, get } = readers[dtype]
  for (let first = 0; first < size; first += 2 ** 18) {
    const count = Math.min(2 ** 18, size - first)
    const data = await readExactly(file, name, 'data', count * bytes)
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
    for (let i = 0; i < count; i++) take(get(view, i * bytes), first + i)
  }
}

/** Bytes of an element. */
export const bytesOf = (dtype: Dtype): number => readers[dtype].bytes

/** Writes all elements at the handle's position. */
export async function writeElements(file: FileHandle, elements: ArrayBufferView): Promise<void> {
  await writeFully(file, new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength))
}

/** Writes all bytes at the handle's position. */
export async function writeFully(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done)).bytesWritten
  }
}
