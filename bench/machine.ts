// What the benchmarks say of the machine.
import { readFileSync } from 'node:fs'

/** A name as files and folders of results have it. */
export const fileNameOf = (name: string) =>
  name
    .toLowerCase()
    .replace(/\([^)]*\)/g, ' ')
    .replace(/[^a-z0-9]+/g, '-')

/** Bytes of the largest cache that Linux tells of. */
export function lastCache(): number | undefined {
  try {
    const of = (index: number) => readFileSync(`/sys/devices/system/cpu/cpu0/cache/index${index}/size`, 'utf8')
    return Math.max(...[2, 3].map(index => Number.parseInt(of(index), 10) * 1024))
  } catch {
    return undefined
  }
}

/**
 * The backends of a run, best first: EVENKEEL_BACKEND leaves out what is better. And those that have a column in its tables: the
 * native ones but the portable, two at most; else the one that ran.
 */
export function ranOf(backends: readonly string[], backend: string): { contending: string[]; compared: string[] } {
  const contending = backends.slice(backends.indexOf(backend))
  const vector = contending.filter(name => name !== 'portable' && name !== 'js').slice(0, 2)
  return { contending, compared: vector.length > 0 ? vector : contending.slice(0, 1) }
}
