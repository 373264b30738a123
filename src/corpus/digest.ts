// What is known of a file: its size, its time and the digest of its bytes.
import { createHash, type Hash } from 'node:crypto'
import { type FileHandle, stat } from 'node:fs/promises'
import { withFile } from '../cli/files.js'
import type { Sink } from '../cli/sink.js'
import type { Source } from '../cli/source.js'

export interface Facts {
  readonly path: string
  readonly bytes: number
  /** Nanoseconds since 1970. */
  readonly modified: string
  readonly sha256: string
}

type Look = Omit<Facts, 'sha256'>

const factsOf = (path: string, { size, mtimeNs }: { size: bigint; mtimeNs: bigint }): Look => ({
  path,
  bytes: Number(size),
  modified: String(mtimeNs)
})

/** A file that is not there has no facts. */
export async function lookAt(path: string): Promise<Look | undefined> {
  const about = await stat(path, { bigint: true }).catch(() => undefined)
  return about && factsOf(path, about)
}

const sameLook = (a: Look, b: Look) => a.bytes === b.bytes && a.modified === b.modified

/** An open file whose bytes go through a digest as they are read or written, from the first to the last. */
export class DigestedFile {
  readonly #file: FileHandle
  readonly #hash: Hash = createHash('sha256')
  /** Bytes so far. */
  bytes = 0
  /** To be used in the file's place. */
  readonly handle: Source & Sink

  constructor(file: FileHandle) {
    this.#file = file
    const take = (buffer: Uint8Array, offset: number, count: number) => {
      this.#hash.update(buffer.subarray(offset, offset + count))
      this.bytes += count
    }
    this.handle = {
      async read(buffer: Uint8Array, offset: number, length: number) {
        const result = await file.read(buffer, offset, length)
        take(buffer, offset, result.bytesRead)
        return result
      },
      async write(buffer: Uint8Array, offset: number, length: number) {
        const result = await file.write(buffer, offset, length)
        take(buffer, offset, result.bytesWritten)
        return result
      }
    }
  }

  async look(path: string): Promise<Look> {
    return factsOf(path, await this.#file.stat({ bigint: true }))
  }

  /** Of a file that was read: what is left of it, and that it stayed what it was at first. */
  async readRest(first: Look): Promise<Facts> {
    const buffer = Buffer.allocUnsafe(2 ** 20)
    while ((await this.handle.read(buffer, 0, buffer.length)).bytesRead > 0);
    const last = await this.facts(first.path)
    if (!sameLook(first, last) || last.bytes !== this.bytes) throw new Error(`${first.path}: changed while it was read`)
    return last
  }

  /** Once, at the end. */
  async facts(path: string): Promise<Facts> {
    return { ...(await this.look(path)), sha256: this.#hash.digest('hex') }
  }
}

/** Facts of a file, all of which is read. */
export async function digestFile(path: string): Promise<Facts> {
  return withFile(path, 'r', async file => {
    const digested = new DigestedFile(file)
    return digested.readRest(await digested.look(path))
  })
}

/** Of files that many shards use, e.g. weights: as long as size and time stay. */
const known = new Map<string, Facts>()

export async function digestShared(path: string): Promise<Facts> {
  const [before, now] = [known.get(path), await lookAt(path)]
  if (before && now && sameLook(before, now)) return before
  const facts = await digestFile(path)
  known.set(path, facts)
  return facts
}

/**
 * Whether the file at `path` has the bytes that it had. 'quick' looks at size and time alone; 'digest' at the bytes where
 * these differ; 'verify' always at the bytes.
 */
export async function isUnchanged(
  facts: Facts,
  path: string,
  how: 'quick' | 'digest' | 'verify'
): Promise<Facts | undefined> {
  const now = await lookAt(path)
  if (!now || now.bytes !== facts.bytes) return undefined
  if (how !== 'verify' && sameLook(now, facts)) return { ...facts, path }
  if (how === 'quick') return undefined
  const digested = await digestFile(path)
  return digested.sha256 === facts.sha256 ? digested : undefined
}
