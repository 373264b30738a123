// Starts contenders, each in a process of its own.
import { fileURLToPath } from 'node:url'
import { Contender } from '../dist/esm/cli/bench/contender.js'
import { PLAIN } from '../dist/esm/cli/bench/rows.js'
import { backend, backends } from '../dist/esm/index.js'
import { compileCopies } from './copies.ts'
import { ranOf } from './machine.ts'

/** The backends that take part, and those that the tables compare. */
export const { contending, compared } = ranOf(backends, backend)

export interface Absent {
  readonly name: string
  readonly why: string
}
export interface Started {
  readonly contenders: readonly Contender[]
  readonly absent: readonly Absent[]
}

const TORCH = 'PyTorch'
/** Where ours is held to AVX2, PyTorch is as well. */
const torchLimits: { readonly [name: string]: string } =
  backend === 'avx2' ? { ATEN_CPU_CAPABILITY: 'avx2', DNNL_MAX_CPU_ISA: 'AVX2' } : {}

type Env = { readonly [name: string]: string }

/** What starts a script of this folder by this process' own arguments: those that load TypeScript. */
export function nodeStarter(script: string, common: Env = {}) {
  const path = fileURLToPath(new URL(script, import.meta.url))
  return (name: string, args: readonly string[], env: Env = {}) =>
    Contender.start(name, process.execPath, [...process.execArgv, path, ...args], { ...common, ...env })
}

/** Starts those that must not fail; ends all of them where one does. */
export async function startAll(starting: readonly Promise<Contender>[]): Promise<Contender[]> {
  const all = await Promise.allSettled(starting)
  const started = all.flatMap(one => (one.status === 'fulfilled' ? [one.value] : []))
  for (const one of all) {
    if (one.status === 'fulfilled') continue
    for (const other of started) other.end()
    throw one.reason
  }
  return started
}

/** Ours on some backends and the plain loop, by a script that serves them. */
export async function startOwn(script: string, folder: string, names: readonly string[]): Promise<Started> {
  const { path, why } = compileCopies(folder)
  const node = nodeStarter(script, { EVENKEEL_BENCH_COPIES: path ?? '' })
  const ours = names.map(name => node(name, ['evenkeel'], { EVENKEEL_BACKEND: name }))
  const contenders = await startAll([...ours, node(PLAIN, [PLAIN])])
  return { contenders, absent: why ? [{ name: 'copies in C', why }] : [] }
}

/** PyTorch of either python3, the first that has it. */
export async function startTorch(script: string, env: Env = {}): Promise<Started> {
  const path = fileURLToPath(new URL(script, import.meta.url))
  let why = ''
  for (const python of ['python3', '/usr/bin/python3']) {
    try {
      return { contenders: [await Contender.start(TORCH, python, [path], { ...torchLimits, ...env })], absent: [] }
    } catch (error) {
      why ||= (error as Error).message
    }
  }
  return { contenders: [], absent: [{ name: TORCH, why }] }
}
