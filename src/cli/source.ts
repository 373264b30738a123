// What is read: bytes of a file or of standard input, one after the other, and elements in Fortran order as if in C order.
import type { FileHandle } from 'node:fs/promises'
import { UsageError } from './usage.js'

/** What bytes are read from: a file, or what stands for one. A result of 0 bytes is the end. */
export interface Source {
  read(into: Uint8Array, offset: number, length: number): Promise<{ readonly bytesRead: number }>
  /** Leaves bytes out without reading them, where that can be. */
  skip?(bytes: number): void
}

declare const inCOrder: unique symbol

/** The bytes of an array's elements in C order. A file itself is none: its elements may stand in another order. */
export type Elements = Source & { readonly [inCOrder]: true }

/** A file that is read from its start. */
export async function fileSource(file: FileHandle): Promise<Source> {
  if (!(await file.stat()).isFile()) return file // a pipe has no places
  let position = 0
  return {
    async read(into, offset, length) {
      const { bytesRead } = await file.read(into, offset, length, position)
      position += bytesRead
      return { bytesRead }
    },
    skip(bytes) {
      position += bytes
    }
  }
}

/** The most that a system reads at once. */
const MOST_AT_ONCE = 2 ** 30

/** Fills the buffer from where the source stands; returns how many bytes there were. */
export async function readFully(source: Source, into: Uint8Array): Promise<number> {
  let done = 0
  while (done < into.length) {
    const { bytesRead } = await source.read(into, done, Math.min(MOST_AT_ONCE, into.length - done))
    if (bytesRead === 0) break
    done += bytesRead
  }
  return done
}

const words = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array }

/**
 * The rows of a matrix that stands there column by column, of elements of so many bytes. The first read takes all of it into
 * memory: a pipe has no way back. Reads are of whole elements.
 */
export function inRows(source: Source, name: string, rows: number, columns: number, bytes: number): Elements {
  const Words = words[bytes as keyof typeof words]
  const size = rows * columns
  let all: InstanceType<typeof Words> | undefined
  let at = 0
  async function load() {
    const data = new Uint8Array(size * bytes)
    const got = await readFully(source, data)
    if (got < data.length) throw new Error(`${name}: data expected ${data.length} bytes, got ${got}`)
    return new Words(data.buffer)
  }
  return {
    async read(into, offset, length) {
      all ??= await load()
      const count = Math.min(length / bytes, size - at)
      const y = new Words(into.buffer as ArrayBuffer, into.byteOffset + offset, count)
      for (let i = 0; i < count; i++, at++) y[i] = all[(at % columns) * rows + Math.floor(at / columns)]
      return { bytesRead: count * bytes }
    }
  } as Elements
}

/** A source without its first so many bytes. */
export function without(bytes: number, source: Elements): Elements {
  let left = bytes
  return {
    async read(into, offset, length) {
      if (source.skip && left > 0) {
        source.skip(left)
        left = 0
      }
      while (left > 0) {
        const rest = new Uint8Array(Math.min(left, 2 ** 20))
        const got = await readFully(source, rest)
        left = got < rest.length ? 0 : left - got
      }
      return source.read(into, offset, length)
    }
  } as Elements
}

/** How messages name standard input, which an input of "-" is. */
export const STANDARD_INPUT = 'standard input'

let taken = false

/** Standard input, whatever it is: a file, a pipe or a socket. It has one reader. */
export function standardInput(): Source {
  if (taken) throw new UsageError('- expected once, got it twice: standard input can be read once')
  if (process.stdin.isTTY) throw new UsageError('- expected a file or a pipe on standard input, got a terminal')
  taken = true
  const chunks: AsyncIterator<Uint8Array> = process.stdin[Symbol.asyncIterator]()
  let chunk = new Uint8Array(0)
  return {
    async read(into, offset, length) {
      if (chunk.length === 0) chunk = (await chunks.next()).value ?? chunk
      const part = chunk.subarray(0, length)
      into.set(part, offset)
      chunk = chunk.subarray(part.length)
      return { bytesRead: part.length }
    }
  }
}
