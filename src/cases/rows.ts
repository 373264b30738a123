// The calls of row operations that goldens, `verify` and the equality tests make: every length, kind of row and option.
import type { Groups } from '../kernels/operands.js'
import { allRows, fill, finiteRows, lengths, normal, ordinaryWeights, wildWeights } from './data.js'

/** Operands of one call of a row op; what an op has not, it leaves out. */
export interface RowCase {
  readonly name: string
  readonly rows: number
  readonly cols: number
  /** 1: each row is a group; more: each column of a matrix of cols rows is one. */
  readonly inner: number
  readonly shape: Groups
  readonly x: Float32Array
  readonly residual: Float32Array | undefined
  readonly keepsSum: boolean
  readonly weight: Float32Array | undefined
  readonly bias: Float32Array | undefined
  readonly eps: number
  readonly weightOffset: number
  readonly residualScale: number
  /** How many elements of a group pRMSNorm takes its statistics from. */
  readonly counted: number
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
    inner: 1,
    shape: { outer: rows, size: cols, inner: 1 },
    x,
    residual: hasResidual ? fill(normal, rows * cols, seed * 8 + 3) : undefined,
    keepsSum: index % 5 === 4,
    weight: hasWeight ? vector(wild, 1) : undefined,
    bias: index % 4 >= 2 ? vector(wild, 2) : undefined,
    eps: epsilons[index % 7 < 5 ? index % 7 : 0],
    weightOffset: hasWeight && index % 3 === 1 ? 1 : 0,
    residualScale: 1,
    counted: cols
  }
}

/** Matrices of cols x inner whose columns are groups, of another kind each, so that hostile ones stand beside ordinary ones. */
function columnCaseOf(cols: number, inner: number, index: number): RowCase {
  const rows = cols * inner <= 4096 ? 2 : 1
  const base = caseOf(cols, finiteKinds[0], index)
  const x = new Float32Array(rows * cols * inner)
  for (let group = 0; group < rows * inner; group++) {
    const kind = index % 4 === 3 ? kinds[group % kinds.length] : finiteKinds[(index + group) % finiteKinds.length]
    const column = fill(allRows[kind], cols, cols * 4096 + index + group * 7919)
    const first = Math.floor(group / inner) * cols * inner + (group % inner)
    for (let i = 0; i < cols; i++) x[first + i * inner] = column[i]
  }
  const residual = base.residual && fill(normal, x.length, index)
  return {
    ...base,
    name: `${rows} x ${cols} x ${inner}, ${index}`,
    rows,
    inner,
    shape: { outer: rows, size: cols, inner },
    x,
    residual
  }
}

/** Which cases are made, by their number. To make one takes longer than to run it. */
export type Taken = (index: number) => boolean
export const all: Taken = () => true

const columnShapes = [
  ...[1, 2, 5, 63, 64, 65].flatMap(cols => [2, 3, 7, 8, 9, 15, 16, 17, 33].map(inner => [cols, inner])),
  ...[
    [3, 255],
    [3, 256],
    [2, 257],
    [2, 600],
    [130, 20],
    [700, 5],
    [4095, 2],
    [4096, 3],
    [4161, 2],
    [8200, 2]
  ]
]

/** Every length with three kinds of row each, in turn; then every kind at the lengths where tails and blocks begin. */
export function* rowCases(isTaken = all): Generator<RowCase> {
  let index = 0
  for (const cols of lengths) {
    for (let k = 0; k < (cols > 5000 ? 2 : 3); k++, index++) {
      if (isTaken(index)) yield caseOf(cols, finiteKinds[index % finiteKinds.length], index)
    }
  }
  for (const cols of [1, 2, 15, 16, 33, 768, 4097]) {
    for (const kind of kinds) {
      for (let k = 0; k < 3; k++, index++) if (isTaken(index)) yield caseOf(cols, kind, index)
    }
  }
  for (const [cols, inner] of columnShapes) {
    for (let k = 0; k < 4; k++, index++) if (isTaken(index)) yield columnCaseOf(cols, inner, index)
  }
  for (const cols of [1, 5, 16, 100, 768, 5000]) {
    for (const inner of cols > 1000 ? [1] : [1, 19]) {
      for (const residualScale of [0.5, -3.7]) {
        if (!isTaken(index++)) continue
        const base = inner === 1 ? caseOf(cols, 'N(3,0.5)', index - 1) : columnCaseOf(cols, inner, index - 1)
        const residual = fill(normal, base.x.length, index)
        const counted = Math.ceil(cols * (residualScale === 0.5 ? 0.0625 : 0.7))
        const name = `${base.name}, residualScale ${residualScale}, ${counted} counted`
        yield { ...base, name, residual, residualScale, counted, weightOffset: 0 }
      }
    }
  }
}
