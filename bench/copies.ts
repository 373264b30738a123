// Copies of the same bytes: the quickest of them is what memory allows.
import { createRequire } from 'node:module'
import type { Ready } from '../dist/esm/cli/bench/contender.js'
import { into, MEMCPY, memcpy } from '../dist/esm/cli/bench/rows.js'
import { compileAddon } from './addon.ts'

const SET = 'copy (TypedArray.set)'
const LOOP = 'copy (loop in C)'
const STREAM = 'copy (non-temporal stores)'
export const isCopy = (name: string) => name.startsWith('copy')

export const compileCopies = (folder: string) => compileAddon('copies.c', folder)

type Copy = (to: Float32Array, from: Float32Array) => void
type Add = (to: Float32Array, a: Float32Array, b: Float32Array) => void

/** Those in C, where EVENKEEL_BENCH_COPIES names what compileCopies made. */
const { EVENKEEL_BENCH_COPIES: compiled } = process.env
const native: { loop?: Copy; stream?: Copy; add?: Add } = compiled ? createRequire(import.meta.url)(compiled) : {}

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

const SUM = 'x + dy'
export const isSum = (name: string) => name === SUM

/** x + dy to dx, past the caches: from memory what gradients read and write, with one addition. None where nothing goes past them. */
export function sums(x: Float32Array, dy: Float32Array, dx: Float32Array): Map<string, Ready> {
  const { add } = native
  return new Map(add ? [[SUM, into(dx, () => add(dx, x, dy))]] : [])
}
