// Removes what killed jobs left in the output folder.
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** A file that nobody has written to for so long belongs to nobody: a job writes every block, which takes far less. */
const abandonedAfter = 5000

/** The names that writeWhole gives to files that are not whole yet. */
const temporary = /\.[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}\.tmp$/

export async function sweep(folder: string): Promise<void> {
  let left = (await readdir(folder)).filter(name => temporary.test(name)).map(name => join(folder, name))
  const deadline = Date.now() + 2 * abandonedAfter
  while (left.length > 0 && Date.now() < deadline) {
    const young: string[] = []
    for (const path of left) {
      const about = await stat(path).catch(() => undefined)
      if (!about) continue
      if (Date.now() - about.mtimeMs > abandonedAfter) await rm(path, { force: true })
      else young.push(path)
    }
    left = young
    if (left.length > 0) await sleep(200)
  }
}
