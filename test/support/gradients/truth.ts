// What the truth tests of the gradients share: hostile calls on every backend, held against exact arithmetic.
import { describe, expect, it } from 'vitest'
import {
  fill,
  finiteRows,
  firstDifference,
  normal,
  ordinaryWeights,
  wildWeights
} from '../../../dist/esm/cases/data.js'
import { type Case, type Result, runCase } from '../../../dist/esm/cases/run.js'
import type { Op } from '../../../dist/esm/kernels/index.js'
import { backendsHere } from '../backends.ts'
import { long } from '../process.ts'
import {
  type Exact,
  type ExactResults,
  errorOverBound,
  type Group,
  groupOf,
  normalizeGroupOf,
  rowRoundings,
  rowsExactly,
  used
} from './oracle.ts'

export type Kind = keyof typeof finiteRows
export const kinds = Object.keys(finiteRows) as Kind[]

/** A result beside the exact one. */
export interface Measure {
  readonly output: string
  readonly where: string
  /** The part of the slack that it takes: 1 is the bound. */
  readonly used: number
  /** Its error as a part of the whole bound. */
  readonly whole: () => number
}

/** The largest measures of each output. */
export function worst(measures: Iterable<Measure>): { [output: string]: { used: number; whole: number; n: number } } {
  const table: { [output: string]: { used: number; whole: number; n: number } } = {}
  for (const { output, used, whole } of measures) {
    const { [output]: row = { used: 0, whole: 0, n: 0 } } = table
    table[output] = { used: Math.max(row.used, used), whole: Math.max(row.whole, whole()), n: row.n + 1 }
  }
  return table
}

/** Fails for the first result outside its bound. */
export function expectWithin(measures: Iterable<Measure>): void {
  let count = 0
  for (const { output, where, used } of measures) {
    count++
    if (!(used <= 1)) expect.fail(`${where}: ${output} takes ${used} of what the bound allows beside the rounding`)
  }
  expect(count).toBeGreaterThan(0)
}

/** Every result for which there is an exact one. */
export function* compare(
  results: Result | { [name: string]: Float32Array | undefined },
  exact: ExactResults,
  where: string
) {
  for (const [output, all] of Object.entries(exact)) {
    const actual = results[output]
    if (!actual) continue
    for (const [i, one] of all.entries()) {
      if (one) yield measure(Math.fround(actual[i]), one, output, `${where}, [${i}]`)
    }
  }
}

export const measure = (actual: number, exact: Exact, output: string, where: string): Measure => ({
  output,
  where,
  used: used(actual, exact),
  whole: () => errorOverBound(actual, exact)
})

/** A call of a kernel on every backend: the results of the first, and those of others that differ from it. */
export function* onEveryBackend(op: Op, given: Case): Generator<readonly [string, Result]> {
  const seen: Result[] = []
  for (const [backend, kernels] of backendsHere) {
    const result = runCase(op, kernels, given)
    const same = (other: Result) =>
      Object.entries(result).every(([name, array]) => !array || firstDifference(array, other[name] as never) < 0)
    if (seen.some(same)) continue
    seen.push(result)
    yield [backend, result]
  }
}

// --- Rows ------------------------------------------------------------------------------------------------------------

/** dy of each kind; `x` is x itself, along which the gradient vanishes. */
const dyKinds = ['N(0,1)', 'log-uniform', 'one outlier', 'zeros', 'constant', 'uniform +-3.3e38', 'x'] as const
export type DyKind = (typeof dyKinds)[number]
export const dyOf = (kind: DyKind, x: Float32Array, seed: number) =>
  kind === 'x' ? x.slice() : fill(finiteRows[kind], x.length, seed)

export interface RowGradientOp {
  readonly name: 'layer_norm_backward' | 'rms_norm_backward' | 'normalize_backward'
  readonly centered: boolean
}

/** One call of many rows. */
interface RowPlan {
  readonly rows: readonly Float32Array[]
  readonly size: number
  readonly dy: DyKind
  readonly index: number
  readonly where: string
}

const epsilons = [1e-5, 0, 1e-12, 1, 1e40, 1e-320]
const normalizeEpsilons = [1e-12, 0, 1, 1e-5, 1e30, 5e-324, 1e4]

/** Rows of every kind in each call, at every size with every dy (some of them, unless there are many rounds); many rows. */
function* rowPlans(rounds: number): Generator<RowPlan> {
  let index = 0
  for (let round = 0; round < rounds; round++) {
    for (const size of [1, 2, 3, 5, 16, 33, 200]) {
      for (const [k, dy] of dyKinds.entries()) {
        if (rounds === 1 && (k + size) % (size > 16 ? 3 : 2) > 0) continue
        const rows = kinds.map((kind, k) => fill(finiteRows[kind], size, index * 31 + k))
        yield { rows, size, dy, index: index++, where: `${size} elements` }
      }
    }
    const large = ['N(1e6,1)', 'N(3,0.5)', 'log-uniform', 'two neighbours'] as const
    const rows = large.slice(0, rounds).map((kind, k) => fill(finiteRows[kind], 4097, k + round))
    yield { rows, size: 4097, dy: 'N(0,1)', index: index++, where: '4097 elements' }
    const count = rounds === 1 ? 300 : 4200
    const many = Array.from({ length: count }, (_, row) => fill(finiteRows['N(3,0.5)'], 2, row + round))
    yield { rows: many, size: 2, dy: 'N(0,1)', index: index++, where: `${count} rows` }
  }
}

/** Every result of a row op. */
export function* measureRows({ name, centered }: RowGradientOp, rounds = 1): Generator<Measure> {
  for (const { rows, size, dy: dyKind, index, where } of rowPlans(rounds)) {
    const isNormalize = name === 'normalize_backward'
    const all = isNormalize ? normalizeEpsilons : epsilons
    const eps = all[index % all.length]
    const rule = index % 5
    const counted = name === 'rms_norm_backward' && index % 4 === 3 ? Math.ceil(size / 3) : size
    const group = (values: readonly number[]): Group | undefined =>
      isNormalize
        ? normalizeGroupOf(values, rule, eps)
        : groupOf(values, { eps, centered, counted, roundings: rowRoundings(size) })
    // A row that is 0/0 would make the sums over rows NaN.
    const kept = rows.filter(row => group([...row]))
    if (kept.length === 0) continue
    const x = Float32Array.from(kept.flatMap(row => [...row]))
    const dy = dyOf(dyKind, x, index)
    const factor = [1, 0.37, -1e3][index % 3]
    const weights = [undefined, ordinaryWeights, wildWeights][index % 3]
    const weight = isNormalize ? new Float32Array(size).fill(factor) : weights && fill(weights, size, index)
    const sums = [undefined, normal, finiteRows['log-uniform']][(index >> 1) % 3]
    const dsum = isNormalize || !sums ? undefined : fill(sums, x.length, index + 7)
    const residualScale = [1, 0.5, -3.7][(index >> 2) % 3]
    const shape = { outer: kept.length, size, inner: 1 }
    const operands = { dsum, weight, mean: undefined, rstd: undefined, counted, residualScale, rule, factor }
    const given = { name: where, dy, x, shape, eps, keepsSum: true, ...operands }
    const exact = rowsExactly({ dy, x, size, weight, dsum, residualScale }, group)
    const { dx, dresidual, dweight, dbias } = exact
    for (const [backend, results] of onEveryBackend(name, given as unknown as Case)) {
      const what = `${where}, dy ${dyKind}, eps ${eps}, call ${index} on ${backend}`
      yield* compare(results, isNormalize ? { dx } : { dx, dresidual, dweight, dbias }, what)
    }
  }
}

/** Truth: the bound of NUMERICS.md for rows of every kind. */
export function testRowGradientTruth(op: RowGradientOp): void {
  describe(`truth: ${op.name}`, () => {
    it('keeps the bound for rows of every kind, with every dy', () => {
      expectWithin(measureRows(op))
    })

    it.runIf(long)('keeps it in a longer sweep', () => {
      expectWithin(measureRows(op, 6))
    })
  })
}
