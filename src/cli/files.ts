// What commands do with files: opening them, and writing so that no run leaves half a file or overwrites anything unasked.
import { createReadStream, rmSync } from 'node:fs'
import { type FileHandle, link, open, rename, rm, stat, writeFile } from 'node:fs/promises'
import type { Output } from './outputs.js'
import { type ProgressOptions, progressBar } from './progress.js'
import { type Sink, standardOutput } from './sink.js'
import { fileSource, type Source, STANDARD_INPUT, standardInput } from './source.js'
import { temporaryName } from './temporary.js'
import { warn } from './usage.js'

/** Opens an input: a file, or standard input for "-". `use` gets the name for messages. */
export async function withInput<Result>(
  path: string,
  use: (source: Source, name: string) => Promise<Result>
): Promise<Result> {
  if (path === '-') return use(standardInput(), STANDARD_INPUT)
  return withFile(path, 'r', async file => use(await fileSource(file), path))
}

/** The error of a file that cannot be read, in our words. It keeps its code: what may pass is tried again. */
function unreadable(path: string, error: NodeJS.ErrnoException): Error {
  const { code } = error
  if (code === 'ENOENT' || code === 'ENOTDIR') error.message = `${path} is not there`
  if (code === 'EACCES' || code === 'EPERM') error.message = `${path} may not be read by this user`
  return error
}

/** Whether an input is a regular file, which can be read twice. */
export async function isRegular(path: string): Promise<boolean> {
  const about = await stat(path).catch(error => {
    throw unreadable(path, error)
  })
  return about.isFile()
}

/** Opens a file to read it. */
async function openInput(path: string): Promise<FileHandle> {
  const file = await open(path, 'r').catch(error => {
    throw unreadable(path, error)
  })
  if (!(await file.stat()).isDirectory()) return file
  await file.close()
  throw new Error(`${path} is a folder, no file`)
}

/** The text of a file. */
export const readText = (path: string): Promise<string> => withFile(path, 'r', file => file.readFile('utf8'))

export async function withFile<Result>(
  path: string,
  flags: string,
  use: (file: FileHandle) => Promise<Result>,
  mode?: number
): Promise<Result> {
  const file = await (flags === 'r' ? openInput(path) : open(path, flags, mode === undefined ? mode : mode & 0o777))
  try {
    if (mode !== undefined) await file.chmod(mode) // what the umask took away
    return await use(file)
  } finally {
    await file.close()
  }
}

/**
 * Throws where a file is too short for its header, and warns where it is longer. What is no regular file (a pipe, a column of a
 * table) shows it when it is read.
 */
export async function checkSize(path: string, bytes: number, start: number): Promise<void> {
  if (path === STANDARD_INPUT) return
  const about = await stat(path).catch(() => undefined)
  if (!about?.isFile()) return
  const more = about.size - start - bytes
  if (more < 0) throw new Error(`${path}: data expected ${bytes} bytes, got ${about.size - start}`)
  if (more > 0) warn(`${path}: ${more} bytes after the array are not read (several arrays? save one in a file)`)
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
 * or some of several. What goes to standard output goes there at once.
 */
export async function writeWhole(
  outputs: readonly Output[],
  write: (files: readonly Sink[]) => Promise<void>
): Promise<void> {
  const temporary = outputs.map(({ path }) => (path === '-' ? undefined : temporaryName(path)))
  const made = new Set(temporary.filter(path => path !== undefined))
  const interrupted = (signal: NodeJS.Signals) => {
    for (const file of made) rmSync(file, { force: true })
    process.kill(process.pid, signal)
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.once(signal, interrupted)
  const openAll = (opened: readonly Sink[]): Promise<void> => {
    const i = opened.length
    if (i === outputs.length) return write(opened)
    const path = temporary[i]
    if (path === undefined) return openAll([...opened, standardOutput()])
    return withFile(path, 'wx', file => openAll([...opened, file]), outputs[i].mode)
  }
  try {
    await openAll([])
    for (const [i, { path, force }] of outputs.entries()) {
      const file = temporary[i]
      if (file === undefined) continue
      await place(file, path, force, made)
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
  write: (files: readonly Sink[], update: (done: number) => void) => Promise<void>
) => Promise<void>

/** Results that go into files, whole or not at all, and show progress. `outputs` is called when all else was checked. */
export function intoFiles(outputs: () => Promise<readonly Output[]>, shown: ProgressOptions = {}): Results {
  return async (units, write) => {
    const places = await outputs()
    const bar = await progressBar(units, shown)
    await writeWhole(places, files => write(files, done => bar.update(done))).finally(() => bar.stop())
  }
}
