// What the truth tests of row operations share.
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, ordinaryWeights, wildWeights } from '../../../dist/esm/cases/data.js'
import { backendsHere } from '../backends.ts'
import { errorInHalfUlps, meanErrorInHalfUlps, normalizeExactly } from '../truth/oracle.ts'
import { type RowOp, runRows } from './equality.ts'

/** Truth: the bound that NUMERICS.md argues, `roundings` + 0.1 half ulps and one more for the weight and for the bias. */
export function testRowTruth(op: RowOp, roundings: number): void {
  const [, kernels] = backendsHere[0]
  const forms = [
    { name: 'no weight, no bias', more: 0 },
    { name: 'weight', more: 1, weights: ordinaryWeights },
    { name: 'weight and bias', more: 2, weights: ordinaryWeights, biases: normal },
    { name: 'wild weight and bias', more: 2, weights: wildWeights, biases: wildWeights }
  ].filter(({ biases }) => op.centered || biases !== normal)

  describe(`truth: ${op.name}`, () => {
    it.each(Object.keys(finiteRows) as (keyof typeof finiteRows)[])('keeps the bound for rows of %s', kind => {
      for (const cols of [1, 2, 3, 16, 100, 768, 4097]) {
        for (const [seed, eps] of [1e-5, 0, 1e-12, 1, 1e40].entries()) {
          const x = fill(finiteRows[kind], cols, seed + cols)
          const truth = normalizeExactly(x, eps, op.centered)
          if (!truth) continue // 0/0
          for (const { name, more, weights, biases } of forms) {
            const weight = weights && fill(weights, cols, seed + 1)
            const bias = op.centered && biases ? fill(biases, cols, seed + 2) : undefined
            const { y, mean, rstd } = runRows(op, kernels, x, cols, { weight, bias, eps })
            const where = `${cols} columns, eps ${eps}, ${name}`
            const bound = roundings + (op.centered ? more : Math.min(more, 1)) + 0.1
            expect(errorInHalfUlps(y, truth, weight, bias), where).toBeLessThanOrEqual(bound)
            if (op.centered)
              expect(meanErrorInHalfUlps(mean[0], x, truth), where).toBeLessThanOrEqual(262 + cols / 4096)
            expect(Math.abs(rstd[0] / truth.rstd - 1), where).toBeLessThanOrEqual(2 ** -28)
          }
        }
      }
    })

    it('keeps the bound for columns of every kind side by side, and for columns of many rows', () => {
      const names = Object.keys(finiteRows) as (keyof typeof finiteRows)[]
      for (const cols of [1, 2, 3, 64, 65, 300, 4097]) {
        const inner = names.length
        const columns = names.map((name, k) => fill(finiteRows[name], cols, cols + k))
        const x = Float32Array.from({ length: cols * inner }, (_, at) => columns[at % inner][Math.floor(at / inner)])
        const weight = fill(ordinaryWeights, cols, 1)
        const bias = op.centered ? fill(normal, cols, 2) : undefined
        const { y, mean, rstd } = runRows(op, kernels, x, cols, { inner, weight, bias, eps: 1e-12 })
        columns.forEach((column, k) => {
          const truth = normalizeExactly(column, 1e-12, op.centered)
          if (!truth) expect.fail('eps keeps every column from 0/0')
          const of = column.map((_, i) => y[i * inner + k])
          const where = `${names[k]}, ${cols} rows`
          const bound = roundings + (op.centered ? 2 : 1) + 0.1
          expect(errorInHalfUlps(of, truth, weight, bias), where).toBeLessThanOrEqual(bound)
          if (op.centered)
            expect(meanErrorInHalfUlps(mean[k], column, truth), where).toBeLessThanOrEqual(262 + cols / 4096)
          expect(Math.abs(rstd[k] / truth.rstd - 1), where).toBeLessThanOrEqual(2 ** -28)
        })
      }
    })

    it.each([16384, 65536])('keeps the bound for ordinary and hostile rows of %i', cols => {
      for (const kind of ['N(0,1)', 'N(1e3,1)', 'N(1e6,1)', 'N(0,1e20)', 'uniform +-3.3e38', 'log-uniform'] as const) {
        const x = fill(finiteRows[kind], cols, 3)
        const truth = normalizeExactly(x, 1e-5, op.centered)
        expect(truth && errorInHalfUlps(runRows(op, kernels, x, cols).y, truth), kind).toBeLessThanOrEqual(
          roundings + 0.1
        )
      }
    })
  })
}
