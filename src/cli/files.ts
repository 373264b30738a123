// What commands do with files: reading in blocks, and writing so that no run leaves half a file or overwrites anything unasked.
import { randomUUID } from 'node:crypto'
import { createReadStream, rmSync } from 'node:fs'
import { type FileHandle, link, lstat, open, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { readElements } from './npy.js'
import { UsageError } from './usage.js'

export async function withFile<Result>(
  path: string,
  flags: string,
  use: (file: FileHandle) => Promise<Result>,
  mode?: number
): Promise<Result> {
  const file = await open(path, flags, mode === undefined ? undefined : mode & 0o777)
  try {
    if (mode !== undefined) await file.chmod(mode) // what the umask took away
    return await use(file)
  } finally {
    await file.close()
  }
}

/** Throws where a file is too short for its header. What is no regular file (a pipe) shows it when it is read. */
export async function checkSize(path: string, bytes: number, start: number): Promise<void> {
  const about = await stat(path)
  if (about.isFile() && about.size - start < bytes) {
    throw new Error(`${path}: data expected ${bytes} bytes, got ${about.size - start}`)
  }
}

/** Where a result goes. */
export interface Output {
  readonly path: string
  /** Of the file that it replaces. */
  readonly mode: number | undefined
  readonly force: boolean
}

/** A new file, or with `force` the regular file that is there (at the end of links), whose mode the new one gets. */
export async function resolveOutput(output: string, force: boolean): Promise<Output> {
  const there = await lstat(output).catch(() => undefined)
  if (!there) return { path: output, mode: undefined, force }
  if (!force) throw new Error(`${output} exists; --force overwrites it`)
  const path = await realpath(output)
  const about = await stat(path)
  if (!about.isFile()) throw new Error(`${output}: output expected a regular file, got something else`)
  return { path, mode: about.mode, force }
}

/** The same for several results, each in a file of its own. */
export async function resolveOutputs(outputs: readonly string[], force: boolean): Promise<Output[]> {
  const resolved: Output[] = []
  for (const output of outputs) {
    const next = await resolveOutput(output, force)
    if (resolved.some(({ path }) => resolve(path) === resolve(next.path))) {
      throw new UsageError(`output expected a file for each result, got ${output} twice`)
    }
    resolved.push(next)
  }
  return resolved
}

/** A bar on a terminal, from the moment on when the work has taken a second. */
export async function progressBar(total: number): Promise<{ update(done: number): void; stop(): void }> {
  if (!process.stderr.isTTY) return { update() {}, stop() {} }
  const { default: progress } = await import('cli-progress')
  const bar = new progress.SingleBar({ format: '{bar} {percentage} % | {eta_formatted} left', stream: process.stderr })
  const start = performance.now()
  let shown = false
  return {
    update(done) {
      if (!shown && performance.now() - start < 1000) return
      if (!shown) bar.start(total, done)
      shown = true
      bar.update(done)
    },
    stop() {
      if (shown) bar.stop()
    }
  }
}

/**
 * Puts a finished file in its place. With `force` it replaces what is there; without, nothing may be there, also nothing
 * that appeared meanwhile. `made` has the files of this run that are not what they are to be.
 */
async function place(temporary: string, path: string, force: boolean, made: Set<string>): Promise<void> {
  if (force) return rename(temporary, path)
  try {
    await link(temporary, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') throw error
      // A file system without links.
      return withFile(path, 'wx', file => {
        made.add(path)
        return writeFile(file, createReadStream(temporary))
      })
    })
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === 'EEXIST'
    throw exists ? new Error(`${path} exists; --force overwrites it`) : error
  }
  made.delete(path)
  await rm(temporary, { force: true })
}

/**
 * Writes files under temporary names beside them and puts them in their places when all is there: no run leaves half a file,
 * or some of several.
 */
export async function writeWhole(
  outputs: readonly Output[],
  write: (files: readonly FileHandle[]) => Promise<void>
): Promise<void> {
  // Random: in containers every process has the number 1. Short: a name has 255 bytes at most.
  const temporary = outputs.map(({ path }) => join(dirname(path), `${basename(path).slice(0, 40)}.${randomUUID()}.tmp`))
  const made = new Set(temporary)
  const interrupted = (signal: NodeJS.Signals) => {
    for (const file of made) rmSync(file, { force: true })
    process.kill(process.pid, signal)
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.once(signal, interrupted)
  const openAll = (opened: readonly FileHandle[]): Promise<void> => {
    const i = opened.length
    if (i === outputs.length) return write(opened)
    return withFile(temporary[i], 'wx', file => openAll([...opened, file]), outputs[i].mode)
  }
  try {
    await openAll([])
    for (const [i, { path, force }] of outputs.entries()) {
      await place(temporary[i], path, force, made)
      // Until the others stand in their places as well. What was replaced does not come back.
      if (!force) made.add(path)
    }
  } catch (error) {
    for (const file of made) await rm(file, { force: true })
    throw error
  } finally {
    for (const signal of signals) process.off(signal, interrupted)
  }
}

/** Has the results of one file written: opens where they go, for so many units of work, and says how many are done. */
export type Results = (
  units: number,
  write: (files: readonly FileHandle[], update: (done: number) => void) => Promise<void>
) => Promise<void>

/** Results that go into files, whole or not at all, under a bar of progress. `outputs` is called when all else was checked. */
export function intoFiles(outputs: () => Promise<readonly Output[]>): Results {
  return async (units, write) => {
    const places = await outputs()
    const bar = await progressBar(units)
    await writeWhole(places, files => write(files, done => bar.update(done))).finally(() => bar.stop())
  }
}

/** Elements of a block: large enough to keep the kernels busy, small against any memory. */
const BLOCK_ELEMENTS = 2 ** 20

/** So many units of a file, from `first` on; `data` is valid until the next block is read. */
export interface Part {
  readonly first: number
  readonly count: number
  readonly data: Float32Array
}

/** Reads so many units of so many elements each in blocks of whole units; of none one empty block. */
export async function* readBlocks(
  file: FileHandle,
  name: string,
  units: number,
  elements: number,
  /** What a unit counts, where its result is larger than itself. */
  weight = elements
): AsyncGenerator<Part> {
  const unitsAtOnce = Math.min(units, Math.max(1, Math.floor(BLOCK_ELEMENTS / weight)))
  const memory = new Float32Array(unitsAtOnce * elements)
  for (let first = 0; first === 0 || first < units; first += unitsAtOnce) {
    const count = Math.min(unitsAtOnce, units - first)
    const data = memory.subarray(0, count * elements)
    await readElements(file, name, data)
    yield { first, count, data }
    if (units === 0) return
  }
}
