// Short rows whose statistics are computed together (each_abreast of native/kernels/rows.h): among them some that rules 5
// and 8 take another way, and rows that are left over.
import { describe, it } from 'vitest'
import { allRows, fill, finiteRows, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { type Case, runCase } from '../../dist/esm/cases/run.js'
import type { Groups, Statistic } from '../../dist/esm/kernels/operands.js'
import { backendsHere } from '../support/backends.ts'
import { expectSameBits } from '../support/bits.ts'

const [, typescript] = backendsHere[backendsHere.length - 1]

const OUTER = 61 // of 16, 8 and 4 rows each some are left over
const sizes = [1, 7, 16, 64, 100, 255, 256]
const odd = Object.values(allRows)

/** N(3,0.5); every `step` rows one of another kind. Without a step none is. */
function rowsOf(size: number, step?: number): Float32Array {
  const x = fill(finiteRows['N(3,0.5)'], OUTER * size, size)
  for (let row = 5; step && row < OUTER; row += step) x.set(fill(odd[row % odd.length], size, row), row * size)
  return x
}

type Operands = Partial<Case> & { readonly [operand: string]: unknown }

const variants: { readonly [op: string]: readonly Operands[] } = {
  layer_norm: [{}, { affine: true }, { residual: true, keepsSum: true, affine: true }, { eps: 0 }],
  rms_norm: [{}, { affine: true, weightOffset: 1 }, { residual: true, affine: true }, { eps: 0 }, { partial: true }],
  normalize: [0, 1, 2, 3, 4].flatMap(rule => [
    { rule, eps: 1e-12 },
    { rule, eps: 30, factor: 2 }
  ])
}

function casesOf(op: string, size: number, step?: number): Case[] {
  const x = rowsOf(size, step)
  return variants[op].map(({ affine, residual, partial, ...others }) => ({
    name: op,
    x,
    shape: { outer: OUTER, size, inner: 1 },
    residual: residual ? fill(normal, x.length, 7) : undefined,
    weight: affine ? fill(ordinaryWeights, size, 8) : undefined,
    bias: affine ? fill(normal, size, 9) : undefined,
    residualScale: 0.7,
    weightOffset: 0,
    counted: partial ? Math.ceil(size / 2) : size,
    eps: 1e-5,
    p: 2,
    factor: 1,
    ...others
  }))
}

/** Row `row` of `given` alone. */
function rowOf(given: Case & { readonly residual?: Float32Array }, row: number): Case {
  const { size } = given.shape as Groups
  const part = (rows: Float32Array) => rows.slice(row * size, (row + 1) * size)
  const residual = given.residual && part(given.residual)
  return Object.assign({}, given, { x: part(given.x), residual, shape: { outer: 1, size, inner: 1 } })
}

describe.each(backendsHere)('equality: short rows on %s', (_, kernels) => {
  it.each(Object.keys(variants) as ('layer_norm' | 'rms_norm' | 'normalize')[])(
    '%s of many has the bits of one',
    op => {
      for (const size of sizes) {
        for (const step of [undefined, 3, 17]) {
          for (const given of casesOf(op, size, step)) {
            const actual = runCase(op, kernels, given)
            for (let row = 0; row < OUTER; row++) {
              const alone = runCase(op, typescript, rowOf(given, row))
              for (const [name, rows] of Object.entries(actual)) {
                if (!rows) continue
                const length = rows.length / OUTER
                const ofRow = rows.subarray(row * length, (row + 1) * length) as Statistic
                expectSameBits(ofRow, alone[name] as Statistic, `${size} elements, step ${step}, row ${row}: ${name}`)
              }
            }
          }
        }
      }
    }
  )
})
