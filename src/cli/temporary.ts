// Files that are being written have names of their own beside their places; one that a killed run left is found by it.
import { createHash, randomUUID } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { readdir, rm, stat } from 'node:fs/promises'
import os from 'node:os'
import { basename, dirname, join } from 'node:path'
import { warn } from './usage.js'

/** What numbers of processes belong to: the machine since it was started and, on Linux, the container. */
function ownWorld(): string {
  const hash = createHash('sha256').update(os.hostname())
  try {
    hash.update(readFileSync('/proc/sys/kernel/random/boot_id')).update(readlinkSync('/proc/self/ns/pid'))
  } catch {
    // Another system: the processes of a machine have one list.
  }
  return hash.digest('hex').slice(0, 8)
}

// Short: a name has 255 bytes at most.
const stemOf = (path: string) => basename(path).slice(0, 40)

/** A name beside a path, which says whose it is. Random, too: a process may write the same file twice at once. */
export function temporaryName(path: string): string {
  return join(dirname(path), `${stemOf(path)}.${ownWorld()}-${process.pid}.${randomUUID()}.tmp`)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/**
 * Removes what runs that were killed left of the same output, and tells so. Those of other machines and containers are told
 * of when nothing was written to them for an hour, and left: nobody here knows whether their runs have ended.
 */
export async function removeStale(path: string): Promise<void> {
  const folder = dirname(path)
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.startsWith(`${stemOf(path)}.`)) continue
    const owner = /^\.([\da-f]{8})-(\d+)\.[\da-f-]{36}\.tmp$/.exec(name.slice(stemOf(path).length))
    if (!owner) continue
    const [, world, pid] = owner
    const file = join(folder, name)
    if (world === ownWorld()) {
      if (Number(pid) === process.pid || isAlive(Number(pid))) continue
      await rm(file, { force: true })
      warn(`removed ${file}, which a run that was killed left (process ${pid})`)
    } else {
      const about = await stat(file).catch(() => undefined)
      if (about && Date.now() - about.mtimeMs > 3_600_000) {
        warn(`${file} was left by a run on another machine or in another container; delete it where that has ended`)
      }
    }
  }
}
