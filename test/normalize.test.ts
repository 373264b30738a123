import { describe, expect, it } from 'vitest'
import { fill, finiteRows } from '../dist/esm/cases/data.js'
import type { NormalizeCase } from '../dist/esm/cases/normalize.js'
import { normalize } from '../dist/esm/index.js'
import { normalizeModel } from './support/model.ts'
import { errorInHalfUlps } from './support/oracle.ts'
import { normalizeTruth, relativeError } from './support/precise.ts'
import { testCases } from './support/suites.ts'

const rules = ['clamp', 'clamp-square', 'add-square', 'mean-square', 'zero'] as const

testCases<NormalizeCase>('normalize', normalizeModel)

const norms = [2, 1, Number.POSITIVE_INFINITY, 3, 0.5, 2.7, 200]
const kinds = Object.keys(finiteRows) as (keyof typeof finiteRows)[]

describe('truth: normalize', () => {
  it.each(kinds)('keeps the bound for rows of %s, with every norm and rule', kind => {
    let index = 0
    for (const p of norms) {
      for (const rule of p === 2 ? rules : (['clamp', 'zero'] as const)) {
        for (const n of [1, 2, 17, 300]) {
          const eps = [1e-12, 0, 1, 1e-5][index++ % 4]
          const scale = [1, 0.37, -1e3][index % 3]
          const x = fill(finiteRows[kind], n, index)
          const truth = normalizeTruth(x, p, rule, eps)
          if (!truth) continue // 0/0
          const norm = new Float64Array(1)
          const y = normalize(x, n, { p, rule, eps, scale, norm })
          const where = `p ${p}, ${rule}, ${n} elements, eps ${eps}, scale ${scale}`
          const factor = new Float32Array(n).fill(scale)
          expect(errorInHalfUlps(y, truth, factor), where).toBeLessThanOrEqual(scale === 1 ? 2.1 : 3.1)
          if (!truth.norm) expect(norm[0], where).toBe(0)
          // In units of 2^-53. p = 2: half of the sum's roundings and one of the root. Others: the terms' (a division to the
          // p, a power), the sum's, divided by p, then a power, the division 1 / p and a product.
          else {
            const [sum, log] = [20 + n / 16, Math.log2(n)]
            const bound =
              p === Number.POSITIVE_INFINITY
                ? 0
                : p === 2
                  ? sum / 2 + 1
                  : (p + 2 * Math.max(4 + log, 12) + sum + log) / p + 2 * (4 + log / p) + 16
            expect(relativeError(norm[0], truth.norm, 53), where).toBeLessThanOrEqual(bound)
          }
        }
      }
    }
  })

  it('neither overflows nor vanishes where x^p would', () => {
    for (const value of [3.4e38, 1e30, 1e-30, 2 ** -149]) {
      for (const p of norms) {
        const norm = new Float64Array(1)
        const n = 16
        const y = normalize(new Float32Array(n).fill(value), n, { p, eps: 0, norm })
        expect(norm[0] / (Math.fround(value) * n ** (1 / p))).toBeCloseTo(1, 12)
        for (const one of y) expect(one * n ** (1 / p)).toBeCloseTo(1, 6)
      }
    }
  })

  it('keeps the bound for columns', () => {
    for (const rule of rules) {
      const [rows, inner] = [70, kinds.length]
      const columns = kinds.map((kind, k) => fill(finiteRows[kind], rows, k))
      const data = Float32Array.from({ length: rows * inner }, (_, at) => columns[at % inner][Math.floor(at / inner)])
      const y = normalize({ data, dims: [rows, inner] }, { axis: 0 }, { rule, eps: 1e-12, scale: 1.7 })
      columns.forEach((column, k) => {
        const truth = normalizeTruth(column, 2, rule, 1e-12)
        const of = column.map((_, i) => y.data[i * inner + k])
        const factor = column.map(() => 1.7)
        expect(truth && errorInHalfUlps(of, truth, factor), `${kinds[k]}, ${rule}`).toBeLessThanOrEqual(3.1)
      })
    }
  })
})
