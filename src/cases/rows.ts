// The calls of row operations that goldens, `verify` and the equality tests make: every length, kind of row and option.
import type { Statistic } from '../canonical.js'
import { allRows, fill, finiteRows, lengths, normal, ordinaryWeights, wildWeights } from './data.js'

/** Operands of one call of a row op; what an op has not, it leaves out. */
export interface RowCase {
  readonly name: string
  readonly rows: number
  readonly cols: number
  readonly x: Float32Array
  readonly residual: Float32Array | undefined
  readonly keepsSum: boolean
  readonly weight: Float32Array | undefined
  readonly bias: Float32Array | undefined
  readonly eps: number
  readonly weightOffset: number
}

/** What a call gave, in the order in which it is hashed. */
export interface RowResult {
  readonly y: Float32Array
  readonly sum: Float32Array | undefined
  readonly mean: Statistic | undefined
  readonly rstd: Statistic
}

const kinds = Object.keys(allRows)
const finiteKinds = Object.keys(finiteRows)
const epsilons = [1e-5, 0, 1e-12, 1, 1e40]

/** Each option changes in a period of its own, so that all pairs of options meet (tested). */
function caseOf(cols: number, kind: string, index: number): RowCase {
  const rows = cols <= 130 ? 3 : 1
  const seed = cols * 64 + index
  const vector = (wild: boolean, salt: number) => fill(wild ? wildWeights : ordinaryWeights, cols, seed * 8 + salt)
  const wild = index % 3 === 2
  const hasWeight = index % 2 === 1
  const hasResidual = index % 5 >= 3
  const x = new Float32Array(rows * cols)
  for (let row = 0; row < rows; row++) x.set(fill(allRows[kind], cols, seed + row * 7919), row * cols)
  return {
    name: `${rows} x ${cols}, ${kind}, ${index}`,
    rows,
    cols,
    x,
    residual: hasResidual ? fill(normal, rows * cols, seed * 8 + 3) : undefined,
    keepsSum: index % 5 === 4,
    weight: hasWeight ? vector(wild, 1) : undefined,
    bias: index % 4 >= 2 ? vector(wild, 2) : undefined,
    eps: epsilons[index % 7 < 5 ? index % 7 : 0],
    weightOffset: hasWeight && index % 3 === 1 ? 1 : 0
  }
}

/** Every length with three kinds of row each, in turn; then every kind at the lengths where tails and blocks begin. */
export function* rowCases(): Generator<RowCase> {
  let index = 0
  for (const cols of lengths) {
    for (let k = 0; k < (cols > 5000 ? 2 : 3); k++, index++)
      yield caseOf(cols, finiteKinds[index % finiteKinds.length], index)
  }
  for (const cols of [1, 2, 15, 16, 33, 768, 4097]) {
    for (const kind of kinds) {
      for (let k = 0; k < 3; k++, index++) yield caseOf(cols, kind, index)
    }
  }
}

/** Runs a case through `call`, which gets fresh outputs. */
export function runRowCase(given: RowCase, hasMean: boolean, call: (result: RowResult) => void): RowResult {
  const result = {
    y: new Float32Array(given.x.length),
    sum: given.keepsSum ? new Float32Array(given.x.length) : undefined,
    mean: hasMean ? new Float64Array(given.rows) : undefined,
    rstd: new Float64Array(given.rows)
  }
  call(result)
  return result
}
