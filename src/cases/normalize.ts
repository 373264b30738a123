// The calls of normalize: groups of every kind and length with every norm and rule.
import { all, type RowCase, rowCases } from './rows.js'

/** Operands of one call. */
export interface NormalizeCase extends Pick<RowCase, 'name' | 'rows' | 'cols' | 'inner' | 'shape' | 'x' | 'eps'> {
  readonly p: number
  /** Index of a rule of NormalizeRule. */
  readonly rule: number
  readonly factor: number
}

const norms = [2, 1, Number.POSITIVE_INFINITY, 2, 3, 0.5, 2, 2.7, 0.3]

/** Those of row operations; columns, and rules with squares, with p = 2 only; powers that take long only for short rows. */
export function* normalizeCases(isTaken = all): Generator<NormalizeCase> {
  let index = 0
  for (const { name, rows, cols, inner, shape, x, eps } of rowCases(isTaken)) {
    const wanted = norms[index % norms.length]
    const p = inner > 1 || (cols > 800 && ![1, 2, Number.POSITIVE_INFINITY].includes(wanted)) ? 2 : wanted
    const rule = p === 2 ? index % 5 : (index % 2) * 4
    const factor = index % 3 === 0 ? 1 : 0.37 * (index % 7) - 1
    yield { name: `${name}, p ${p}, rule ${rule}, scale ${factor}`, rows, cols, inner, shape, x, eps, p, rule, factor }
    index++
  }
}
