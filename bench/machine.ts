// What the benchmarks say of the machine.
import { readFileSync } from 'node:fs'

/** Bytes of the largest cache that Linux tells of. */
export function lastCache(): number | undefined {
  try {
    const of = (index: number) => readFileSync(`/sys/devices/system/cpu/cpu0/cache/index${index}/size`, 'utf8')
    return Math.max(...[2, 3].map(index => Number.parseInt(of(index), 10) * 1024))
  } catch {
    return undefined
  }
}
