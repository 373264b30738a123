// oneDNN, where its headers and library are installed (Debian: libdnnl-dev), through an addon that adds a native call only.
import { createRequire } from 'node:module'
import type { Ready } from '../dist/esm/cli/bench/contender.js'
import { compileAddon } from './addon.ts'
import type { Problem } from './problem.ts'
import { compared, nodeStarter, type Started, startAll } from './start.ts'

/** Names of it: that of a process which may take the instructions of this backend. */
export const oneDnn = (backend: string) => `oneDNN (${backend})`
export const isOneDnn = ({ name }: { name: string }) => name.startsWith('oneDNN')

/** One for each backend that is compared, held to its instructions and to one thread. */
export async function startOneDnn(folder: string): Promise<Started> {
  const { path, why } = compileAddon('onednn.cpp', folder, ['-ldnnl'])
  if (path === undefined) return { contenders: [], absent: [{ name: 'oneDNN', why: why ?? '' }] }
  const node = nodeStarter('process.ts', { EVENKEEL_BENCH_ONEDNN: path, OMP_NUM_THREADS: '1' })
  const limits = (backend: string) => ({ DNNL_MAX_CPU_ISA: backend === 'avx2' ? 'AVX2' : 'DEFAULT' })
  const starting = compared.map(backend => node(oneDnn(backend), ['onednn', backend], limits(backend)))
  try {
    return { contenders: await startAll(starting), absent: [] }
  } catch (error) {
    return { contenders: [], absent: [{ name: 'oneDNN', why: (error as Error).message }] }
  }
}

interface Addon {
  readonly version: string
  make(operands: object): (() => void) | undefined
}

/** What startOneDnn compiled. */
export const loadOneDnn = (): Addon => createRequire(import.meta.url)(process.env.EVENKEEL_BENCH_ONEDNN as string)

/** One thread always; nothing where oneDNN has no such op. Training moves no running statistics. */
export function oneDnnRuns({ make }: Addon, backend: string, given: Problem): Map<string, Ready> {
  if (given.threads !== 1) return new Map()
  const y = new Float32Array(given.x.length)
  // Training writes the statistics of the batch there.
  const [runningMean, runningVar] = [given.runningMean.slice(), given.runningVar.slice()]
  const operands = { ...given, y, runningMean, runningVar }
  const run = make(operands)
  if (!run) return new Map()
  // This holds all operands: the addon knows their addresses only.
  const result = () => operands.y
  return new Map([[oneDnn(backend), { run, result }]])
}
