// The calls of the backward kernels: those of the forward with gradients that arrive, and calls of many rows and samples, whose sums
// are brought together.
import { normalizeRules } from '../kernels/normalize.js'
import type { Groups, Spans } from '../kernels/operands.js'
import { allRows, fill, finiteRows, normal, ordinaryWeights, random } from './data.js'
import { all, type RowCase, rowCases } from './rows.js'
import { type VolumeCase, volumeCases } from './volumes.js'

/** What arrives and what the forward saved, beside the operands of the forward. */
interface Arriving {
  readonly dy: Float32Array
  readonly dsum: Float32Array | undefined
  readonly mean: Float64Array | undefined
  readonly rstd: Float64Array | undefined
}

/** Operands of one call of a backward kernel over rows; what an op has not, it leaves out. */
export interface RowGradientCase extends Arriving {
  readonly name: string
  readonly x: Float32Array
  readonly shape: Groups
  readonly weight: Float32Array | undefined
  readonly eps: number
  readonly residualScale: number
  readonly counted: number
  /** Whether dresidual is written. */
  readonly keepsSum: boolean
  /** Of normalize. */
  readonly rule: number
  readonly factor: number
}

const kinds = Object.keys(allRows)
const finiteKinds = Object.keys(finiteRows)

/** Gradients are mostly ordinary, and at times as hostile as any row. */
function arriving(length: number, index: number, groups: number): Arriving {
  const kind =
    index % 4 === 3 ? kinds[index % kinds.length] : index % 4 === 2 ? finiteKinds[index % finiteKinds.length] : 'N(0,1)'
  const isSaved = index % 6 === 5
  const next = random(index)
  return {
    dy: fill(allRows[kind], length, index * 31 + 7),
    dsum: index % 5 === 2 ? fill(normal, length, index + 11) : undefined,
    mean: isSaved ? Float64Array.from({ length: groups }, () => normal(next)) : undefined,
    rstd: isSaved ? Float64Array.from({ length: groups }, () => 1 / (next() + 0.1)) : undefined
  }
}

/** Real rows of a call: some at the end of each lot of seven are padding. */
function spansOfRows(rows: number, index: number): Spans {
  if (index % 3 !== 1) return undefined
  const list: number[] = []
  for (let first = index % 2; first < rows; first += 7) list.push(first, Math.min(rows, first + 1 + (index % 5)))
  return Int32Array.from([2, 2 + list.length, ...list])
}

function gradientsOf(given: RowCase, index: number): RowGradientCase {
  const { name, x, rows, cols, weight, eps, residualScale, counted, keepsSum } = given
  const shape = { outer: rows, size: cols, inner: 1, spans: spansOfRows(rows, index) }
  const numbers = { rule: index % normalizeRules.length, factor: index % 3 === 0 ? 1 : 0.37 * (index % 7) - 1 }
  return {
    ...{ name: `${name}, gradients ${index}`, x, shape, weight, eps, residualScale, counted, keepsSum },
    ...numbers,
    ...arriving(x.length, index, rows)
  }
}

/** Calls of so many rows that their sums are made of several blocks and parts. */
const manyRows: readonly (readonly [number, number])[] = [
  [63, 5],
  [64, 17],
  [65, 3],
  [129, 40],
  [700, 16],
  [4097, 2],
  [8200, 3]
]

export function* rowGradientCases(isTaken = all): Generator<RowGradientCase> {
  let index = 0
  let seen = 0
  for (const given of rowCases(isTaken)) {
    seen++
    // Two of five: each length, kind and option still occurs.
    if (given.inner > 1 || given.cols > 8192 || (seen % 5 !== 0 && seen % 5 !== 2)) continue
    yield gradientsOf(given, index++)
  }
  for (const [rows, cols] of manyRows) {
    for (let k = 0; k < 3; k++, index++) {
      if (!isTaken(index)) continue
      const x = fill(finiteRows[k === 2 ? 'N(1e3,1)' : 'N(3,0.5)'], rows * cols, index)
      const weight = k === 1 ? undefined : fill(ordinaryWeights, cols, index)
      const counted = k === 2 ? Math.ceil(cols / 3) : cols
      const shape = { outer: rows, size: cols, inner: 1 }
      const more = { rows, cols, inner: 1, shape, residual: undefined, bias: undefined, eps: 1e-5, weightOffset: 0 }
      const name = `${rows} x ${cols}, ${k}`
      yield gradientsOf({ name, x, weight, counted, keepsSum: k === 0, residualScale: 1, ...more }, index)
    }
  }
}

/** Operands of one call of a backward kernel over channels. */
export interface VolumeGradientCase extends VolumeCase, Arriving {
  readonly training: number
}

/** `withGroups`: of group_norm, whose statistics may be absent; else of batch_norm, which is given them. */
export function* volumeGradientCases(withGroups: boolean, isTaken = all): Generator<VolumeGradientCase> {
  let index = 0
  for (const given of volumeCases(withGroups, isTaken)) {
    const { samples, groups, x } = given
    const statistics = arriving(x.length, index, withGroups ? samples * groups : groups)
    const next = random(index)
    const { mean, rstd } = withGroups
      ? statistics
      : {
          mean: Float64Array.from({ length: groups }, () => normal(next)),
          rstd: Float64Array.from({ length: groups }, () => 2 ** Math.floor(20 * next() - 10))
        }
    yield { ...given, ...statistics, mean, rstd, training: index % 3 === 0 ? 0 : 1 }
    index++
  }
}

/** Operands of one call of residual_sum. */
export interface ResidualCase {
  readonly name: string
  readonly x: Float32Array
  readonly residual: Float32Array
  readonly shape: Groups
  readonly residualScale: number
}

export function* residualCases(isTaken = all): Generator<ResidualCase> {
  let n = 0
  for (const [index, kind] of kinds.entries()) {
    for (const size of [1, 3, 8, 15, 16, 17, 33, 100]) {
      if (!isTaken(n++)) continue
      const x = fill(allRows[kind], 2 * size, index)
      const residual = fill(index % 2 === 0 ? normal : allRows[kind], 2 * size, index + size)
      const residualScale = [1, 0.3, -3.7, 2 ** 30][(index + size) % 4]
      yield { name: `${kind} of ${size}`, x, residual, shape: { outer: 2, size, inner: 1 }, residualScale }
    }
  }
}
