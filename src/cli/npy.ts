// The .npy format, as numpy.lib.format defines it (versions 1 to 3): header in and out, data in blocks.
import type { FileHandle } from 'node:fs/promises'

/** The header of a file of little-endian float32 in C order. */
export interface NpyHeader {
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

/** Reads the header; the handle then stands at the data. */
export async function readNpyHeader(file: FileHandle, name: string): Promise<NpyHeader> {
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
  return { ...parseHeader(header.toString(version === 3 ? 'utf8' : 'latin1'), name), start }
}

/** Parses the Python dictionary of a header. */
function parseHeader(text: string, name: string): Omit<NpyHeader, 'start'> {
  const value = (key: string, pattern: string): string => {
    const found = new RegExp(`['"]${key}['"]\\s*:\\s*(${pattern})`).exec(text)
    if (!found) throw new Error(`${name}: header expected '${key}', got ${JSON.stringify(text.trim().slice(0, 80))}`)
    return found[1]
  }
  const descr = value('descr', `'[^']*'|"[^"]*"|\\[.*\\]`)
  const dtype = descr.startsWith('[') ? 'a structured one' : descr.slice(1, -1)
  if (dtype !== '<f4')
    throw new Error(`${name}: dtype expected little-endian float32 ('<f4'), got ${descr}${hint(dtype)}`)
  if (value('fortran_order', 'True|False') === 'True') {
    throw new Error(`${name}: order expected C (row-major), got Fortran; save numpy.ascontiguousarray(a)`)
  }
  const dims = value('shape', '\\([^)]*\\)')
    .slice(1, -1)
    .split(',')
    .map(part => part.trim().replace(/L$/, ''))
    .filter(part => part !== '')
    .map(part => (/^\d+$/.test(part) ? Number(part) : Number.NaN))
  const size = dims.reduce((product, dim) => product * dim, 1)
  if (!Number.isSafeInteger(size))
    throw new Error(`${name}: shape expected integers >= 0, got ${value('shape', '\\([^)]*\\)')}`)
  return { dims, size }
}

function hint(dtype: string): string {
  if (dtype.startsWith('>')) return ' (big-endian)'
  if (dtype === '<f8') return "; save a.astype('float32')"
  return ''
}

/** The header that numpy writes for these dims: the first version that fits, padded to 64 bytes. */
export function npyHeader(dims: readonly number[]): Buffer {
  const shape = dims.length === 1 ? `(${dims[0]},)` : `(${dims.join(', ')})`
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`
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

/** Writes all elements at the handle's position. */
export async function writeElements(file: FileHandle, elements: Float32Array): Promise<void> {
  await writeFully(file, new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength))
}

/** Writes all bytes at the handle's position. */
export async function writeFully(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done)).bytesWritten
  }
}
