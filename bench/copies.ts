// Copies of the same bytes: the quickest of them is what memory allows.
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Ready } from '../dist/esm/cli/bench/contender.js'
import { into, MEMCPY, memcpy } from '../dist/esm/cli/bench/rows.js'
import { findHeaders } from '../dist/esm/cli/compile.js'

const SET = 'copy (TypedArray.set)'
const LOOP = 'copy (loop in C)'
const STREAM = 'copy (non-temporal stores)'
export const isCopy = (name: string) => name.startsWith('copy')

/** Compiles copies.c into a folder; its path, or why there is none. */
export function compileCopies(folder: string): { path?: string; why?: string } {
  const headers = findHeaders()
  if (headers === undefined) return { why: "Node.js's headers are not beside it" }
  const path = join(folder, 'copies.node')
  const source = fileURLToPath(new URL('copies.c', import.meta.url))
  const undefinedSymbols = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : []
  const args = [
    '-O3',
    '-shared',
    '-fPIC',
    ...undefinedSymbols,
    `-I${join(headers, 'include', 'node')}`,
    source,
    '-o',
    path
  ]
  const { status, error, stderr } = spawnSync(process.env.CC ?? 'cc', args, { encoding: 'utf8' })
  if (status === 0) return { path }
  return { why: error ? error.message : `the C compiler says ${stderr.trim().split('\n')[0]}` }
}

type Copy = (to: Float32Array, from: Float32Array) => void

/** Those in C, where EVENKEEL_BENCH_COPIES names what compileCopies made. */
const { EVENKEEL_BENCH_COPIES: compiled } = process.env
const native: { loop?: Copy; stream?: Copy } = compiled ? createRequire(import.meta.url)(compiled) : {}

/** All copies from x to y. */
export function copies(x: Float32Array, y: Float32Array): Map<string, Ready> {
  const { loop, stream } = native
  const all = new Map([
    [MEMCPY, into(y, memcpy(x, y))],
    [SET, into(y, () => y.set(x))]
  ])
  if (loop)
    all.set(
      LOOP,
      into(y, () => loop(y, x))
    )
  if (stream)
    all.set(
      STREAM,
      into(y, () => stream(y, x))
    )
  return all
}
